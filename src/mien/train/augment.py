"""Batched, seeded augmentation of gray crops with kornia, on CPU or GPU."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import kornia.augmentation as K
import torch
from torch import Tensor, nn

from mien.errors import InputError, shown
from mien.faces import CROP_PX

AFFINE_SHARE = 0.9  # of the crops are rotated, scaled and shifted
LIGHT_SHARE = 0.3  # of the crops change their gamma, and as many their brightness
EXAMPLE_STRENGTH = 0.3  # what `transformations` shows of a setting that is off


@dataclass(frozen=True)
class AugmentSettings:
    """What training does to a crop before the network sees it.

    Attributes:
        view_px: Side of the random view that is cut out of a crop; training takes the side its network runs on.
        flip: Probability of a horizontal flip.
        rotate_deg: Rotation is uniform in plus or minus this many degrees.
        scale: Zoom is uniform in 1 minus to 1 plus this.
        shift: Shift is uniform in plus or minus this fraction of the side.
        contrast: Gamma is uniform in 1 minus to 1 plus this, on 30 % of the crops.
        blur: Probability of a Gaussian blur.
        low_resolution: Probability that a whole batch element is shrunk and enlarged again.
        noise: Probability of additive Gaussian noise.
        erase: Probability that a rectangle is painted over (Zhong et al. 2020).
        mixup: Parameter of the Beta distribution of mixup (Zhang et al. 2018); 0 switches it off.
        mixup_share: Share of the batches that mixup mixes.
        flip_vertical: Probability of a vertical flip.
        brightness: Brightness changes by up to plus or minus this (of full white), on 30 % of the crops.
        cutmix: Parameter of the Beta distribution of cutmix (Yun et al. 2019); 0 switches it off.
        cutmix_share: Share of the batches that cutmix mixes.
    """

    view_px: int = 44
    flip: float = 0.5
    rotate_deg: float = 14.0
    scale: float = 0.15
    shift: float = 0.08
    contrast: float = 0.3
    blur: float = 0.1
    low_resolution: float = 0.1
    noise: float = 0.1
    erase: float = 0.4
    mixup: float = 0.2
    mixup_share: float = 0.5
    flip_vertical: float = 0.0
    brightness: float = 0.0
    cutmix: float = 0.0
    cutmix_share: float = 0.5

    def __post_init__(self) -> None:
        """Check the ranges."""
        for f in fields(self):
            value = getattr(self, f.name)
            high = {"rotate_deg": 180.0, "view_px": CROP_PX, "mixup": 100.0, "cutmix": 100.0}.get(f.name, 1.0)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= high:
                raise InputError(f"augment.{f.name} must be 0 to {high:g}, got {shown(value)}")


NO_AUGMENTATION = AugmentSettings(
    flip=0.0, rotate_deg=0.0, scale=0.0, shift=0.0, contrast=0.0, blur=0.0, low_resolution=0.0, noise=0.0, erase=0.0,
    mixup=0.0,
)  # fmt: skip


class Augment(nn.Module):
    """Turns a batch of crops into a batch of random views."""

    def __init__(self, settings: AugmentSettings) -> None:
        """Build kornia's transformations; what is off costs nothing.

        Args:
            settings: Strengths and probabilities.
        """
        super().__init__()
        s = settings
        self.view_px = s.view_px
        self.low_resolution = s.low_resolution
        self.geometry = nn.Sequential(*_geometry(s))
        self.light = nn.Sequential(*_light(s))
        self.erase = _erasing(s.erase) if s.erase else nn.Identity()

    def forward(self, crops: Tensor) -> Tensor:
        """Return random views.

        Args:
            crops: (N, H, W) uint8.

        Returns:
            (N, 1, view_px, view_px) float32 in 0-255.
        """
        x = crops.unsqueeze(1).to(torch.float32) / 255.0
        x = self.light(self.geometry(x)).clamp(0, 1)
        erased: Tensor = self.erase(_lower_resolution(x, self.low_resolution))
        return 255.0 * erased


def _geometry(s: AugmentSettings) -> list[nn.Module]:
    steps: list[nn.Module] = [K.RandomHorizontalFlip(p=s.flip)] if s.flip else []
    if s.flip_vertical:
        steps.append(K.RandomVerticalFlip(p=s.flip_vertical))
    if s.rotate_deg or s.shift or s.scale:
        steps.append(_affine(degrees=s.rotate_deg, shift=s.shift, scale=s.scale))
    return [*steps, K.RandomCrop((s.view_px, s.view_px))] if s.view_px < CROP_PX else steps


def _affine(*, degrees: float = 0.0, shift: float = 0.0, scale: float = 0.0, p: float = AFFINE_SHARE) -> nn.Module:
    affine: nn.Module = K.RandomAffine(
        degrees=degrees,
        translate=(shift, shift) if shift else None,
        scale=(1 - scale, 1 + scale) if scale else None,
        padding_mode="reflection",
        p=p,
    )
    return affine


def _light(s: AugmentSettings) -> list[nn.Module]:
    steps: list[nn.Module] = []
    if s.contrast:
        steps.append(K.RandomGamma(gamma=(1 - s.contrast, 1 + s.contrast), p=LIGHT_SHARE))
    if s.brightness:
        steps.append(K.RandomBrightness(brightness=(1 - s.brightness, 1 + s.brightness), p=LIGHT_SHARE))
    if s.blur:
        steps.append(K.RandomGaussianBlur((5, 5), (0.4, 1.2), p=s.blur))
    if s.noise:
        steps.append(K.RandomGaussianNoise(std=0.04, p=s.noise))
    return steps


def _erasing(p: float) -> nn.Module:
    erasing: nn.Module = K.RandomErasing(scale=(0.02, 0.25), ratio=(0.4, 2.5), value=0.5, p=p)
    return erasing


def _lower_resolution(x: Tensor, share: float) -> Tensor:
    chosen = torch.rand(len(x), device=x.device) < share
    if not chosen.any():
        return x
    side = int(torch.randint(x.shape[-1] // 3, x.shape[-1] * 3 // 4, ()).item())
    small = nn.functional.interpolate(x[chosen], size=side, mode="bilinear", antialias=True)
    x = x.clone()
    x[chosen] = nn.functional.interpolate(small, size=x.shape[-2:], mode="bilinear")
    return x


def central_views(crops: Tensor, view_px: int) -> Tensor:
    """Cut out the middle of crops: what a network sees at run time.

    Args:
        crops: (N, H, W) uint8 or float in 0-255.
        view_px: Side of the view; a crop that is smaller is taken whole.

    Returns:
        (N, 1, view_px, view_px) float32 in 0-255.
    """
    top, left = max(0, (crops.shape[-2] - view_px) // 2), max(0, (crops.shape[-1] - view_px) // 2)
    return crops[:, top : top + view_px, left : left + view_px].to(torch.float32).unsqueeze(1)


Targets = tuple[Tensor, ...]


def mix(views: Tensor, targets: Targets, settings: AugmentSettings) -> tuple[Tensor, Targets]:
    """Leave a batch alone, or mix it with mixup or cutmix, by the shares of the settings.

    Args:
        views: (N, 1, H, W) float32.
        targets: Soft targets, each (N, C) float32.
        settings: Which, how often and how strongly.

    Returns:
        Views and targets, same shapes.
    """
    by_mixup = settings.mixup_share if settings.mixup > 0 else 0.0
    by_cutmix = settings.cutmix_share if settings.cutmix > 0 else 0.0
    if by_mixup + by_cutmix == 0:
        return views, targets
    drawn = torch.rand(()).item()
    if drawn < by_mixup:
        return mixup(views, targets, settings.mixup)
    if drawn < by_mixup + by_cutmix:
        return cutmix(views, targets, settings.cutmix)
    return views, targets


def mixup(views: Tensor, targets: Targets, alpha: float) -> tuple[Tensor, Targets]:
    """Mix every image and its targets with another of the batch (Zhang et al. 2018).

    Args:
        views: (N, 1, H, W) float32.
        targets: Soft targets, each (N, C) float32.
        alpha: Parameter of the symmetric Beta distribution.

    Returns:
        The mixed views and targets, same shapes.
    """
    share = torch.distributions.Beta(alpha, alpha).sample().item()
    order = torch.randperm(len(views), device=views.device)
    mixed = tuple(share * t + (1 - share) * t[order] for t in targets)
    return share * views + (1 - share) * views[order], mixed


def cutmix(views: Tensor, targets: Targets, alpha: float) -> tuple[Tensor, Targets]:
    """Paste a rectangle of another image of the batch and mix the targets by area (Yun et al. 2019).

    Args:
        views: (N, 1, H, W) float32.
        targets: Soft targets, each (N, C) float32.
        alpha: Parameter of the symmetric Beta distribution.

    Returns:
        The mixed views and targets, same shapes.
    """
    high, wide = views.shape[-2:]
    side = (1 - torch.distributions.Beta(alpha, alpha).sample().item()) ** 0.5
    top, left = (int(torch.randint(0, size, ()).item()) for size in (high, wide))
    rows = slice(max(0, top - round(side * high / 2)), min(high, top + round(side * high / 2)))
    columns = slice(max(0, left - round(side * wide / 2)), min(wide, left + round(side * wide / 2)))
    order = torch.randperm(len(views), device=views.device)
    pasted = views.clone()
    pasted[..., rows, columns] = views[order][..., rows, columns]
    share = 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (high * wide)
    return pasted, tuple(share * t + (1 - share) * t[order] for t in targets)


def transformations(settings: AugmentSettings) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return each transformation alone, for images of what it does: (N, 1, H, W) float32 in 0-1 to the same.

    Each acts on every crop that it is given, however rare the settings make it; one that the settings switch off is
    shown at a moderate strength. Draws come from PyTorch's generator: seed it with `torch.manual_seed`.

    Args:
        settings: The strengths.

    Returns:
        By name, in the order of training.
    """
    s = settings
    scale, shift = s.scale or EXAMPLE_STRENGTH, s.shift or EXAMPLE_STRENGTH
    gamma, light = s.contrast or EXAMPLE_STRENGTH, s.brightness or EXAMPLE_STRENGTH
    kornias: dict[str, nn.Module] = {
        "flip": K.RandomHorizontalFlip(p=1.0),
        "vertical flip": K.RandomVerticalFlip(p=1.0),
        "rotation": _affine(degrees=s.rotate_deg or 90 * EXAMPLE_STRENGTH, p=1.0),
        "zoom": _affine(scale=scale, p=1.0),
        "shift": _affine(shift=shift, p=1.0),
        "contrast": K.RandomGamma(gamma=(1 - gamma, 1 + gamma), p=1.0),
        "brightness": K.RandomBrightness(brightness=(1 - light, 1 + light), p=1.0),
        "blur": K.RandomGaussianBlur((5, 5), (0.4, 1.2), p=1.0),
        "noise": K.RandomGaussianNoise(std=0.04, p=1.0),
    }
    return {
        **{name: _clamped(module) for name, module in kornias.items()},
        "low resolution": lambda x: _lower_resolution(x, 1.0),
        "erasing": _clamped(_erasing(1.0)),
        "mixup": lambda x: mixup(x, (), s.mixup or 1.0)[0],
        "cutmix": lambda x: cutmix(x, (), s.cutmix or 1.0)[0],
    }


def _clamped(module: nn.Module) -> Callable[[Tensor], Tensor]:
    def transform(x: Tensor) -> Tensor:
        changed: Tensor = module(x)
        return changed.clamp(0, 1)

    return transform
