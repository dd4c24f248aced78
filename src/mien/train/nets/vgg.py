"""VGG16 for transfer, and its ImageNet weights.

The weights come from a file or from the official place; both are read only if the SHA-256 is right.
"""

import os
import shutil
import urllib.request
from pathlib import Path

import torch
from torch import Tensor, nn

from mien.errors import InputError, ModelError, SourceError, shortened
from mien.faces import CROP_PX
from mien.files import sha256_of, whole_or_nothing
from mien.labels import LabelSet
from mien.train.nets.blocks import ONE_HEAD, MultiHeadNet

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VGG16_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions
WEIGHTS_URL = "https://download.pytorch.org/models/vgg16-397923af.pth"
WEIGHTS_SHA256 = "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"
BLOCK_BYTES = 1 << 20
TIMEOUT_S = 30.0


class VggNet(MultiHeadNet):
    """VGG16's convolutions under mien's heads."""

    def normalise(self, views: Tensor) -> Tensor:
        """Repeat gray views (N, 1, v, v) in 0-255 over three channels and scale them as the ImageNet weights expect."""
        mean = torch.tensor(IMAGENET_MEAN, dtype=views.dtype, device=views.device)[:, None, None]
        deviation = torch.tensor(IMAGENET_DEVIATION, dtype=views.dtype, device=views.device)[:, None, None]
        return (views / 255.0 - mean) / deviation


def vgg16(heads: tuple[LabelSet, ...] = ONE_HEAD) -> VggNet:
    """VGG16 for transfer (Simonyan & Zisserman 2015): 14,714,688 values in the convolutions, one linear layer per head.

    `load_imagenet_weights` fills and freezes the convolutions, so that 3,591 values are trained
    for seven classes and 2,565 for five. A 48x48 crop ends as one 512-vector.

    Args:
        heads: One label set per head.

    Returns:
        The network with fresh weights; run on 48x48 crops.
    """
    layers: list[nn.Module] = []
    channels = 3
    for width, repeats in VGG16_STAGES:
        for _ in range(repeats):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return VggNet(nn.Sequential(*layers), channels, heads=heads, view_px=CROP_PX, dropout=0.0)


def load_imagenet_weights(net: VggNet, path: Path, *, sha256: str = WEIGHTS_SHA256, frozen: bool = True) -> None:
    """Fill the convolutions of a VGG16 with ImageNet weights (torchvision's IMAGENET1K_V1, 528 MB).

    Args:
        net: The network to change; its heads stay as they are.
        path: The file at `WEIGHTS_URL`, or another state dictionary with the same `features.*` names.
        sha256: What the file must hash to.
        frozen: Whether the convolutions are left out of training, as the tutorials do.

    Raises:
        ModelError: The file is missing, has another hash, or holds other layers.
    """
    if not os.path.isfile(path):
        raise ModelError(
            f"no weights at {shortened(str(path))}; download {WEIGHTS_URL} (in Python: download_imagenet_weights())"
        )
    found = sha256_of(path)
    if found != sha256:
        raise ModelError(f"{path} must have SHA-256 {sha256}, got {found}; download {WEIGHTS_URL} again")
    state = torch.load(path, map_location="cpu", weights_only=True)
    convolutions = {k.removeprefix("features."): v for k, v in state.items() if k.startswith("features.")}
    try:
        net.trunk.load_state_dict(convolutions)
    except RuntimeError as error:
        raise ModelError(f"{path} does not hold the layers of VGG16 ({error}); download {WEIGHTS_URL}") from error
    net.trunk.requires_grad_(not frozen)


def download_imagenet_weights(path: Path, *, url: str = WEIGHTS_URL, sha256: str = WEIGHTS_SHA256) -> Path:
    """Download the weights unless the file is there already; it appears whole and with the right hash, or not at all.

    Args:
        path: The file to write.
        url: Where it is.
        sha256: What it must hash to.

    Returns:
        `path`.

    Raises:
        InputError: The URL is not an HTTPS one.
        SourceError: The download fails or gives another file.
        OutputError: The file cannot be written.
    """
    if path.is_file() and sha256_of(path) == sha256:
        return path
    if not url.startswith("https://"):
        raise InputError(f"the weights must come over https, got {url}; give an https URL")
    return _fetch(path, url, sha256)


def _fetch(path: Path, url: str, sha256: str) -> Path:
    with whole_or_nothing(path) as part:
        with part.open("wb") as file:
            try:
                with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
                    shutil.copyfileobj(answer, file, BLOCK_BYTES)
            except OSError as error:
                raise SourceError(f"cannot download {url} ({error}); fetch it by hand and give its path") from error
        if (found := sha256_of(part)) != sha256:
            raise SourceError(f"{url} must have SHA-256 {sha256}, got {found}; try again, or fetch it by hand")
    return path
