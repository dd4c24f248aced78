"""From a face in an image to a colour crop with the framing of dlib's networks: identity, age, gender."""

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.detect.align import TEMPLATE_PX, box_matrices, similarity_matrices
from mien.faces import Faces, Floats, check_image

# Where the five landmarks of `mtcnn` lie on dlib's own face (`get_face_chip_details`, five points), whose square is 1:
# medians over 146 faces of 152 photos. Compared with others in docs/benchmarks.md, «Who it is».
TEMPLATE = np.array(
    [[0.2219, 0.2005], [0.7638, 0.1973], [0.4898, 0.5296], [0.2541, 0.7776], [0.7389, 0.7804]], np.float32
)
MAX_OVERSAMPLING = 8
REACH_PX = 32_000  # OpenCV's warp addresses pixels with 15 bits
BORDER_PX = 2


def face_chips(image: NDArray[np.uint8], faces: Faces, side_px: int, *, padding: float) -> NDArray[np.uint8]:
    """Cut every face out as dlib's `get_face_chip` does: upright, in colour, with a margin.

    Where the detector gave landmarks they decide; otherwise the box does, which is coarse.

    Args:
        image: (H, W, 3) uint8 RGB.
        faces: N faces of that image.
        side_px: Width and height of a crop.
        padding: Margin on each side, in sides of dlib's square, which reaches from the brows to the mouth.

    Returns:
        (N, side_px, side_px, 3) uint8 RGB; what lies beyond the image is black.
    """
    check_image(image)
    chips = [_warped(image, matrix, side_px) for matrix in chip_matrices(faces, side_px, padding=padding)]
    return np.stack(chips) if chips else np.zeros((0, side_px, side_px, 3), np.uint8)


def chip_matrices(faces: Faces, side_px: int, *, padding: float) -> NDArray[np.float64]:
    """Return the maps from image to crop.

    Args:
        faces: N faces with or without landmarks.
        side_px: As for `face_chips`.
        padding: As for `face_chips`.

    Returns:
        (N, 2, 3) float64 affine maps from pixel centres of the image to pixel centres of the crop.
    """
    template = (TEMPLATE + np.float32(padding)) * np.float32(side_px / (1 + 2 * padding))
    from_gray = _square(similarity_matrices(TEMPLATE_PX[None], template)[0])
    from_box = np.stack([(from_gray @ _square(m))[:2] for m in box_matrices(faces.xyxy)] or [np.zeros((2, 3))])
    if faces.landmarks is None or not len(faces):
        return from_box[: len(faces)]
    from_points = similarity_matrices(faces.landmarks - np.float32(0.5), template).astype(np.float64)
    usable = np.asarray(np.isfinite(from_points).all(axis=(1, 2)))
    return np.where(usable[:, None, None], from_points, from_box)


def _square(matrix: Floats) -> NDArray[np.float64]:
    return np.vstack([matrix.astype(np.float64), [0, 0, 1]])


def _warped(image: NDArray[np.uint8], matrix: NDArray[np.float64], side_px: int) -> NDArray[np.uint8]:
    """Warp at a multiple of the crop's size and average down, so that large faces do not alias."""
    shrink = 1.0 / max(float(np.hypot(matrix[0, 0], matrix[1, 0])), 1e-6)
    k = int(np.clip(np.ceil(shrink), 1, MAX_OVERSAMPLING))
    part, moved = _part_of(image, matrix, side_px)
    scaled = moved * k
    scaled[:, 2] += (k - 1) / 2  # pixel centres
    chip = cv2.warpAffine(part, scaled, (k * side_px,) * 2, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    if k > 1:
        chip = cv2.resize(chip, (side_px, side_px), interpolation=cv2.INTER_AREA)
    return np.asarray(chip, np.uint8)


def _part_of(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], side_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Cut out what the crop shows, no more than OpenCV can warp, with the map that fits."""
    back = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0], [side_px, 0], [0, side_px], [side_px, side_px]]) @ back[:, :2].T + back[:, 2]
    middle = corners.mean(axis=0)
    half = np.minimum(np.abs(corners - middle).max(axis=0) + BORDER_PX, REACH_PX / 2)
    height, width = image.shape[:2]
    left, top = np.clip(np.floor(middle - half), 0, (width - 1, height - 1)).astype(int).tolist()
    right, bottom = np.clip(np.ceil(middle + half), 0, (width - 1, height - 1)).astype(int).tolist()
    moved = matrix[:, 2] + matrix[:, :2] @ (left, top)
    return image[top : bottom + 1, left : right + 1], np.column_stack([matrix[:, :2], moved])
