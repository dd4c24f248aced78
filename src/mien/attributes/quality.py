"""How far the answer on a face can be trusted, from what the image is like: one number from 0 to 1.

Each penalty is 0 for a good image. Their weights were fitted so that the quality is the share that is left of the
accuracy on good images: a logistic regression with weights of at least 0 on spoilt crops (`benchmarks/quality.py`, one
half of the faces; the other half shows how accuracy rises with quality: docs/attributes.md).
"""

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.attributes.geometry import Points
from mien.faces import CROP_PX, Floats

WHOLE = slice(6, 46), slice(6, 42)  # the face in the standard crop: rows, columns
EYES, MOUTH = (slice(12, 25), slice(8, 40)), (slice(31, 44), slice(12, 36))
EYE_DISTANCE_PX = 18.25  # in the standard crop: a face whose eyes are nearer to each other is enlarged
OCTAVES = (0.15, 0.17, 0.22)  # detail of good crops between one scale and half of it, from the finest, in contrasts
GRAINY, TEXTURED = 0.12, 0.15  # noise and change from row to row of good crops
BLACK, WHITE = 2, 253  # gray levels at and beyond which nothing is told apart
NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)  # Immerkær 1996

PENALTIES = ("detail", "noise", "clipped", "turned", "absent", "eyes covered", "mouth covered")
WEIGHTS = np.array([0.09, 0.14, 0.87, 3.2, 0.31, 0.33, 0.48])
GOOD = 0.6  # logit of the accuracy on good crops of that set


def qualities(crops: NDArray[np.uint8], eye_px: Points, pose: Points, presence: Floats) -> Floats:
    """Return the quality of every face.

    Args:
        crops: (N, 48, 48) uint8, what the expression model sees.
        eye_px: (N,) distance between the eyes in the image, pixels.
        pose: (N, 3) yaw, pitch and roll, degrees.
        presence: (N,) how sure the mesh is that there is a face, 0-1.

    Returns:
        (N,) float32, 0-1.
    """
    return quality_of(penalties(crops, eye_px, pose, presence))


def quality_of(told: Points, *, weights: Points | None = None) -> Floats:
    """Return the quality that penalties leave: the share that is left of the accuracy on good images.

    Args:
        told: (N, 7), from `penalties`.
        weights: (7,), one per penalty; None takes those that were fitted.

    Returns:
        (N,) float32, 0-1.
    """
    lost = told @ (WEIGHTS if weights is None else weights)
    return np.asarray((1 + np.exp(-GOOD)) / (1 + np.exp(np.minimum(lost, 50.0) - GOOD)), np.float32)


def penalties(crops: NDArray[np.uint8], eye_px: Points, pose: Points, presence: Floats) -> Points:
    """Return what is wrong with the image of every face.

    Args:
        crops: As for `qualities`.
        eye_px: As for `qualities`.
        pose: As for `qualities`.
        presence: As for `qualities`.

    Returns:
        (N, 7) float64 in the order of `PENALTIES`, each 0 or more, 0 for a good image.
    """
    if not len(crops):
        return np.zeros((0, len(PENALTIES)))
    small = np.log2(EYE_DISTANCE_PX / np.maximum(np.nan_to_num(np.asarray(eye_px, np.float64)), 1.0))
    yaw, pitch = np.radians(np.nan_to_num(pose[:, 0], nan=90.0)), np.radians(np.nan_to_num(pose[:, 1]))
    turned = 1 - np.cos(yaw) * np.cos(pitch)
    seen = np.array([_seen(crop) for crop in crops])
    detail = np.maximum(np.maximum(seen[:, 0], small), 0) ** 2  # octaves that are missing
    found = np.column_stack([detail, seen[:, 1:3], turned, 1 - presence, seen[:, 3:]])
    return np.asarray(np.maximum(found, 0))


def _seen(crop: NDArray[np.uint8]) -> tuple[float, ...]:
    """Return the penalties that the crop alone gives."""
    gray = crop.astype(np.float32)
    spread = float(gray.std()) + 1
    scales = [gray, *(_at_scale(gray, factor) for factor in (2, 4, 8))]
    bands = [float((a - b)[WHOLE].std()) / spread for a, b in pairwise(scales)]
    missing = sum(max(0.0, 1 - band / good) for band, good in zip(bands, OCTAVES, strict=True))
    grain = float(np.abs(cv2.filter2D(gray, -1, NOISE_KERNEL)[WHOLE]).mean()) * np.sqrt(np.pi / 2) / 6 / spread
    clipped = float(((crop <= BLACK) | (crop >= WHITE))[WHOLE].mean())
    eyes, mouth = (float(np.abs(np.diff(gray[part], axis=0)).mean()) / spread for part in (EYES, MOUTH))
    return missing, 10 * (grain - GRAINY), clipped, 1 - eyes / TEXTURED, 1 - mouth / TEXTURED


def _at_scale(gray: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Return a crop without the detail below so many pixels."""
    small = cv2.resize(gray, (CROP_PX // factor, CROP_PX // factor), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (CROP_PX, CROP_PX)), np.float32)
