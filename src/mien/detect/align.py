"""From a face in an image to a crop with the framing of FER2013. Pure functions."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.detect.detector import Detector
from mien.faces import CROP_PX, FAR_PX, Faces, check_pixels
from mien.planes import Pixels, part_around, rgb_of

TEMPLATE_PX = np.array(  # median landmarks that `mtcnn` finds on FER2013's Training crops: docs/benchmarks.md
    [[14.65, 18.34], [32.90, 17.94], [23.81, 28.48], [16.26, 37.40], [31.42, 37.29]], np.float32
)
BOX_PX = np.array([3.61, -1.70, 42.28, 49.14], np.float32)  # median box of `mtcnn` on the same crops
MAX_OVERSAMPLING = 8
REACH_PX = 32_000  # OpenCV's warp addresses pixels with 15 bits
BORDER_PX = 2  # beyond the crop's own pixels, for the interpolation


def crop_faces(image: Pixels, faces: Faces, *, template_px: NDArray[np.float32] = TEMPLATE_PX) -> NDArray[np.uint8]:
    """Cut every face out with the framing of FER2013: upright, eyes and mouth where the training crops have them.

    Where the detector gave landmarks they decide; otherwise the box does.

    Args:
        image: (H, W, 3) uint8 RGB, or planes.
        faces: Faces of that image.
        template_px: (5, 2) float32, where the landmarks shall come to lie in the crop.

    Returns:
        (N, 48, 48) uint8 gray; what lies beyond the image repeats its border.
    """
    check_pixels(image)
    matrices = crop_matrices(faces, template_px=template_px)
    crops = [warp(image, matrix) for matrix in matrices]
    return np.stack(crops) if crops else np.zeros((0, CROP_PX, CROP_PX), np.uint8)


def crops_of_all(detector: Detector, images: Sequence[Pixels], found: Sequence[Faces]) -> NDArray[np.uint8]:
    """Do what `crops_of` does for several images; where each crop lies is worked out for all at once.

    Args:
        detector: The one that found the faces.
        images: (H, W, 3) uint8 RGB each, or planes.
        found: The faces of each image.

    Returns:
        (N, 48, 48) uint8 gray, image by image.
    """
    if detector.framed or any(faces.landmarks is None for faces in found):
        crops = [crops_of(detector, image, faces) for image, faces in zip(images, found, strict=True)]
        return np.concatenate(crops) if crops else np.zeros((0, CROP_PX, CROP_PX), np.uint8)
    points = [faces.landmarks for faces in found if faces.landmarks is not None and len(faces)]
    if not points:
        return np.zeros((0, CROP_PX, CROP_PX), np.uint8)
    xyxy, landmarks = np.concatenate([f.xyxy for f in found]), np.concatenate(points)
    matrices = crop_matrices(Faces(xyxy, np.zeros(len(xyxy), np.float32), landmarks))
    of_each = [check_pixels(image) for image, faces in zip(images, found, strict=True) for _ in range(len(faces))]
    return np.stack([warp(image, matrix) for image, matrix in zip(of_each, matrices, strict=True)])


def crops_of(detector: Detector, image: Pixels, faces: Faces) -> NDArray[np.uint8]:
    """Return what a model sees of each face: aligned, or the whole image where the detector says it is a crop.

    Args:
        detector: The one that found the faces.
        image: (H, W, 3) uint8 RGB, or planes.
        faces: N faces of this image.

    Returns:
        (N, 48, 48) uint8 gray.
    """
    return crop_whole(image) if detector.framed else crop_faces(image, faces)


def crop_whole(image: Pixels) -> NDArray[np.uint8]:
    """Take the whole image for a crop that already has the framing of FER2013.

    Args:
        image: (H, W, 3) uint8 RGB, or planes.

    Returns:
        (1, 48, 48) uint8 gray; an image that is not square is squeezed.
    """
    gray = cv2.cvtColor(rgb_of(check_pixels(image)), cv2.COLOR_RGB2GRAY)
    shrinks = min(gray.shape) > CROP_PX
    crop = cv2.resize(gray, (CROP_PX, CROP_PX), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(crop, np.uint8)[None]


def crop_matrices(faces: Faces, *, template_px: NDArray[np.float32] = TEMPLATE_PX) -> NDArray[np.float32]:
    """Return the maps from image to crop.

    Args:
        faces: Faces with or without landmarks.
        template_px: As for `crop_faces`.

    Returns:
        (N, 2, 3) float32 affine maps from pixel centres of the image to pixel centres of the crop.
    """
    if faces.landmarks is None or not len(faces):
        return box_matrices(faces.xyxy)
    from_points = similarity_matrices(faces.landmarks, template_px)
    usable = np.asarray(np.isfinite(from_points).all(axis=(1, 2)))
    if usable.all():
        return from_points
    from_box = box_matrices(faces.xyxy)
    return np.where(usable[:, None, None], from_points, from_box).astype(np.float32)


def similarity_matrices(points: NDArray[np.float32], template_px: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the least-squares similarity maps (rotation, scale, shift) from points to a template.

    In the plane, with points as complex numbers, Umeyama's solution (1991) is one division.

    Args:
        points: (N, K, 2) float32.
        template_px: (K, 2) float32.

    Returns:
        (N, 2, 3) float32; not finite where all points of a face coincide, or one is no place in any image.
    """
    places = known_places(points)
    source = places[..., 0] + 1j * places[..., 1]
    target = template_px[:, 0].astype(np.float64) + 1j * template_px[:, 1]
    source_mean, target_mean = source.mean(axis=1, keepdims=True), target.mean()
    centred = source - source_mean
    with np.errstate(divide="ignore", invalid="ignore"):  # points that coincide or are missing
        turn = (centred.conj() * (target - target_mean)).sum(axis=1) / (np.abs(centred) ** 2).sum(axis=1)
        shift = target_mean - turn * source_mean[:, 0]
    rows = np.stack([turn.real, -turn.imag, shift.real, turn.imag, turn.real, shift.imag], axis=1)
    return rows.reshape(-1, 2, 3).astype(np.float32)


def known_places(points: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return landmarks in double precision, NaN for those that are missing: not finite, or out of any image.

    Args:
        points: (N, K, 2) float32.
    """
    return np.where(np.abs(points) <= FAR_PX, points, np.nan).astype(np.float64)


def box_matrices(xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return upright maps that put a face box where the boxes of the training crops lie.

    Args:
        xyxy: (N, 4) float32, pixels.

    Returns:
        (N, 2, 3) float32.
    """
    size = np.maximum(xyxy[:, 2:] - xyxy[:, :2], 1e-3)
    scale = np.sqrt(np.prod(BOX_PX[2:] - BOX_PX[:2]) / np.prod(size, axis=1))
    shift = (BOX_PX[2:] + BOX_PX[:2]) / 2 - scale[:, None] * (xyxy[:, 2:] + xyxy[:, :2]) / 2
    zero = np.zeros_like(scale)
    rows = np.stack([scale, zero, shift[:, 0], zero, scale, shift[:, 1]], axis=1)
    return rows.reshape(-1, 2, 3).astype(np.float32)


def warp(
    image: Pixels, matrix: NDArray[np.floating], *, side: int = CROP_PX, colour: bool = False
) -> NDArray[np.uint8]:
    """Cut a square out of an image, at a multiple of its size and averaged down, so that large faces do not alias.

    Args:
        image: (H, W, 3) uint8 RGB, or planes.
        matrix: (2, 3) rotation, scale and shift from pixel centres of the image to pixel centres of the square.
        side: Its side, pixels.
        colour: Whether it is RGB; else gray.

    Returns:
        (side, side) uint8 gray, or (side, side, 3) RGB; what lies beyond the image repeats its border.
    """
    shrink = 1.0 / max(float(np.hypot(matrix[0, 0], matrix[1, 0])), 1e-6)
    k = min(max(round(shrink), 1), MAX_OVERSAMPLING)
    part, scaled = _within_reach(image, matrix.astype(np.float64), side)
    scaled *= k
    scaled[:, 2] += (k - 1) / 2  # pixel centres
    if shrink <= MAX_OVERSAMPLING and not colour:  # the warp reads about every pixel, and one channel is faster
        part = np.asarray(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), np.uint8)
    large = k * side, k * side
    patch = cv2.warpAffine(part, scaled, large, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    patch = patch if colour or patch.ndim == 2 else cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY)
    crop = patch if k == 1 else cv2.resize(patch, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(crop, np.uint8)


def _within_reach(
    image: Pixels, matrix: NDArray[np.float64], side: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Cut out what the crop shows, no more than OpenCV can warp, with the map that fits."""
    turn, shift = complex(matrix[0, 0], matrix[1, 0]), complex(matrix[0, 2], matrix[1, 2])
    length = max(abs(turn), 1e-9)
    half = min(side / 2 * (abs(turn.real) + abs(turn.imag)) / length**2 + BORDER_PX, REACH_PX / 2)
    middle = ((side - 1) / 2 * (1 + 1j) - shift) * turn.conjugate() / length**2
    height, width = image.shape[:2]
    left, right = (int(min(max(middle.real + to, 0), width - 1)) for to in (-half, half))
    top, bottom = (int(min(max(middle.imag + to, 0), height - 1)) for to in (-half, half))
    left, top, part = part_around(image, left, top, right + 1, bottom + 1)
    moved = matrix[:, 2] + matrix[:, :2] @ (left, top)
    return part, np.column_stack([matrix[:, :2], moved])
