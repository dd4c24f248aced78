"""What spoils an image: blur, noise, compression, light, pose, occlusion.

Each corruption takes crops, (N, 48, 48) uint8, and gives as many of the same kind; a strength of 0 changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.detect.align import TEMPLATE_PX
from mien.errors import InputError, check_known
from mien.faces import CROP_PX

Spoil = Callable[[NDArray[np.uint8], float, int], NDArray[np.uint8]]
"""(N, 48, 48) uint8 crops, strength, seed → (N, 48, 48) uint8 crops."""

BAND_PX = 16  # height of the whole eye or mouth band, a third of the crop


@dataclass(frozen=True)
class Corruption:
    """One way to spoil an image.

    Attributes:
        title: What people read.
        apply: crops, strength, seed → crops; strength 0 changes nothing.
        strengths: The strengths of the curve, ascending from 0.
        setting: strength → what people read on the axis, `"×1.5"` say.
    """

    title: str
    apply: Spoil
    strengths: tuple[float, ...]
    setting: Callable[[float], str]


def blur(crops: NDArray[np.uint8], strength: float, seed: int = 0) -> NDArray[np.uint8]:
    """Blur with a Gaussian of standard deviation `strength`, pixels of the crop; `seed` is not used."""
    return _each(crops, strength, lambda crop, _: np.asarray(cv2.GaussianBlur(crop, (0, 0), strength), np.uint8))


def noise(crops: NDArray[np.uint8], strength: float, seed: int = 0) -> NDArray[np.uint8]:
    """Add Gaussian noise of standard deviation `strength`, gray levels; the pattern depends on `seed` alone."""
    pattern = np.random.default_rng(seed).standard_normal(crops.shape, np.float32)
    return _gray(crops + np.float32(strength) * pattern) if strength else crops


def jpeg(crops: NDArray[np.uint8], strength: float, seed: int = 0) -> NDArray[np.uint8]:
    """Compress as JPEG of quality 100 less `strength` and decode again; `seed` is not used."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, max(1, round(100 - strength))]

    def through_jpeg(crop: NDArray[np.uint8], _: int) -> NDArray[np.uint8]:
        return np.asarray(cv2.imdecode(cv2.imencode(".jpg", crop, quality)[1], cv2.IMREAD_GRAYSCALE), np.uint8)

    return _each(crops, strength, through_jpeg)


def low_resolution(crops: NDArray[np.uint8], strength: float, seed: int = 0) -> NDArray[np.uint8]:
    """Shrink the side by the share `strength` (0 to below 1) and enlarge again; `seed` is not used."""
    side = _side_left(strength)

    def through_small(crop: NDArray[np.uint8], _: int) -> NDArray[np.uint8]:
        small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, crop.shape[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)

    return _each(crops, strength, through_small)


def _side_left(strength: float) -> int:
    return max(1, round(CROP_PX * (1 - strength)))


def darkness(crops: NDArray[np.uint8], strength: float, seed: int = 0) -> NDArray[np.uint8]:
    """Take away the share `strength` (0-1) of the light and round to whole gray levels; `seed` is not used."""
    return _gray(crops * np.float32(1 - strength)) if strength else crops


def overexposure(crops: NDArray[np.uint8], strength: float, seed: int = 0) -> NDArray[np.uint8]:
    """Multiply by 1 plus `strength` and clip at white; `seed` is not used."""
    return _gray(crops * np.float32(1 + strength)) if strength else crops


def rotation(crops: NDArray[np.uint8], strength: float, seed: int = 0) -> NDArray[np.uint8]:
    """Rotate in the plane by `strength` degrees, each crop to the side that `seed` decides; the border repeats."""
    angle = np.random.default_rng(seed).choice((-1.0, 1.0), len(crops)) * strength
    centre = (CROP_PX - 1) / 2
    return _each(crops, strength, lambda crop, i: _warp(crop, cv2.getRotationMatrix2D((centre, centre), angle[i], 1)))


def shift(crops: NDArray[np.uint8], strength: float, seed: int = 0) -> NDArray[np.uint8]:
    """Move by `strength` pixels, each crop in the direction that `seed` decides; the border repeats."""
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, len(crops))
    offset = strength * np.stack((np.cos(angle), np.sin(angle)), axis=1)
    return _each(crops, strength, lambda crop, i: _warp(crop, np.column_stack((np.eye(2), offset[i]))))


def occluded_eyes(crops: NDArray[np.uint8], strength: float, seed: int = 0) -> NDArray[np.uint8]:
    """Cover the share `strength` (0-1) of a 16-pixel band at the eyes with the mean gray; `seed` is not used."""
    return _cover_band(crops, strength, float(TEMPLATE_PX[:2, 1].mean()))


def occluded_mouth(crops: NDArray[np.uint8], strength: float, seed: int = 0) -> NDArray[np.uint8]:
    """Cover the share `strength` (0-1) of a 16-pixel band at the mouth with the mean gray; `seed` is not used."""
    return _cover_band(crops, strength, float(TEMPLATE_PX[3:, 1].mean()))


def _cover_band(crops: NDArray[np.uint8], strength: float, row: float) -> NDArray[np.uint8]:
    half = strength * BAND_PX / 2
    top, bottom = max(0, round(row + 0.5 - half)), min(CROP_PX, round(row + 0.5 + half))
    covered = crops.copy()
    covered[:, top:bottom] = _gray(crops.mean(axis=(1, 2)))[:, None, None]
    return covered


def _each(
    crops: NDArray[np.uint8], strength: float, change: Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    if not strength or not len(crops):
        return crops
    return np.stack([change(crop, i) for i, crop in enumerate(crops)])


def _warp(crop: NDArray[np.uint8], matrix: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(cv2.warpAffine(crop, matrix, crop.shape[::-1], borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _gray(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


CORRUPTIONS: dict[str, Corruption] = {
    "blur": Corruption("Blur (σ, px)", blur, (0, 0.5, 1, 1.5, 2, 3), lambda s: f"{s:g}"),
    "noise": Corruption("Noise (σ, levels)", noise, (0, 5, 10, 20, 30, 40), lambda s: f"{s:g}"),
    "jpeg": Corruption("JPEG (quality)", jpeg, (0, 50, 70, 80, 90, 95), lambda s: f"{100 - s:g}" if s else "none"),
    "low-resolution": Corruption(
        "Low resolution (px)", low_resolution, (0, 0.25, 0.5, 2 / 3, 0.75, 5 / 6), lambda s: f"{_side_left(s)}"
    ),
    "darkness": Corruption(
        "Light left (%)", darkness, (0, 0.5, 0.75, 0.9, 0.95, 0.98), lambda s: f"{100 * (1 - s):.0f}"
    ),
    "overexposure": Corruption("Over-exposure (gain)", overexposure, (0, 0.5, 1, 1.5, 2, 3), lambda s: f"×{1 + s:g}"),
    "rotation": Corruption("Rotation", rotation, (0, 5, 10, 20, 30, 45), lambda s: f"{s:g}°"),
    "shift": Corruption("Shift (px)", shift, (0, 2, 4, 6, 8, 10), lambda s: f"{s:g}"),
    "occluded-eyes": Corruption("Eyes covered", occluded_eyes, (0, 0.25, 0.5, 0.75, 1), lambda s: f"{s:.0%}"),
    "occluded-mouth": Corruption("Mouth covered", occluded_mouth, (0, 0.25, 0.5, 0.75, 1), lambda s: f"{s:.0%}"),
}


def corrupt(crops: NDArray[np.uint8], kind: str, strength: float, *, seed: int = 0) -> NDArray[np.uint8]:
    """Spoil crops.

    Args:
        crops: (N, 48, 48) uint8.
        kind: Key in `CORRUPTIONS`.
        strength: How much, in the unit of that corruption; 0 changes nothing.
        seed: Seed of what is random; the same seed gives the same crops.

    Returns:
        (N, 48, 48) uint8.

    Raises:
        InputError: The kind is unknown, the strength negative or the crops of another kind.
    """
    corruption = known_corruption(kind)
    if not strength >= 0:
        raise InputError(f"strength must be 0 or more, got {strength}; 0 leaves the crops as they are")
    if crops.shape[1:] != (CROP_PX, CROP_PX) or crops.dtype != np.uint8:
        raise InputError(f"crops must be (N, {CROP_PX}, {CROP_PX}) uint8, got {crops.shape} {crops.dtype}; align first")
    return corruption.apply(crops, strength, seed)


def known_corruption(kind: str) -> Corruption:
    """Return the corruption of a kind, or refuse a kind that is not in `CORRUPTIONS`."""
    check_known("corruption", kind, CORRUPTIONS)
    return CORRUPTIONS[kind]
