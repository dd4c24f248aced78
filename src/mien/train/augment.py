"""Batched, seeded augmentation of gray crops with kornia, on CPU or GPU."""

from dataclasses import dataclass

import kornia.augmentation as K
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class AugmentSettings:
    """What training does to a crop before the network sees it.

    Attributes:
        view_px: Side of the random view that is cut out last.
        flip: Probability of a horizontal flip.
        rotate_deg: Rotation is uniform in plus or minus this many degrees.
        scale: Scale is uniform in 1 minus to 1 plus this.
        shift: Shift is uniform in plus or minus this fraction of the side.
        contrast: Gamma is uniform in 1 minus to 1 plus this, on 30 % of the crops.
        blur: Probability of a Gaussian blur.
        low_resolution: Probability that a whole batch element is shrunk and enlarged again.
        noise: Probability of additive Gaussian noise.
        erase: Probability that a rectangle is painted over.
        mixup: Parameter of the Beta distribution of mixup (Zhang et al. 2018); 0 switches it off.
        mixup_share: Share of the batches that are mixed.
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


class Augment(nn.Module):
    """Turns a batch of crops into a batch of random views."""

    def __init__(self, settings: AugmentSettings) -> None:
        """Build kornia's transformations.

        Args:
            settings: Strengths and probabilities.
        """
        super().__init__()
        s = settings
        self.low_resolution = s.low_resolution
        self.geometry = nn.Sequential(
            K.RandomHorizontalFlip(p=s.flip),
            K.RandomAffine(
                degrees=s.rotate_deg,
                translate=(s.shift, s.shift),
                scale=(1 - s.scale, 1 + s.scale),
                padding_mode="reflection",
                p=0.9,
            ),
            K.RandomCrop((s.view_px, s.view_px)),
        )
        self.light = nn.Sequential(
            K.RandomGamma(gamma=(1 - s.contrast, 1 + s.contrast), p=0.3),
            K.RandomGaussianBlur((5, 5), (0.4, 1.2), p=s.blur),
            K.RandomGaussianNoise(std=0.04, p=s.noise),
        )
        self.erase = K.RandomErasing(scale=(0.02, 0.25), ratio=(0.4, 2.5), value=0.5, p=s.erase)

    def forward(self, crops: Tensor) -> Tensor:
        """Return random views.

        Args:
            crops: (N, H, W) uint8.

        Returns:
            (N, 1, view_px, view_px) float32 in 0-255.
        """
        x = crops.unsqueeze(1).to(torch.float32) / 255.0
        x = self.light(self.geometry(x)).clamp(0, 1)
        return 255.0 * self.erase(self._lower_resolution(x))

    def _lower_resolution(self, x: Tensor) -> Tensor:
        chosen = torch.rand(len(x), device=x.device) < self.low_resolution
        if not chosen.any():
            return x
        side = int(torch.randint(x.shape[-1] // 3, x.shape[-1] * 3 // 4, ()).item())
        small = nn.functional.interpolate(x[chosen], size=side, mode="bilinear", antialias=True)
        x = x.clone()
        x[chosen] = nn.functional.interpolate(small, size=x.shape[-2:], mode="bilinear")
        return x


def mixup(views: Tensor, targets: tuple[Tensor, ...], alpha: float) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Mix every picture and its targets with another of the batch (Zhang et al. 2018).

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
