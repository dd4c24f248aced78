"""Does this face belong to somebody seen before? A compact description of looks, and a judge who must be sure.

A face is described by histograms of gradient directions over its aligned crop (Dalal & Triggs 2005) and by the colours
of the image around the head and below it, hair and clothes. Neither is a biometric identity: the description tells
the few people of one video apart, and says so only where both parts agree.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.faces import Floats
from mien.planes import Pixels, part_of

CELLS, DIRECTIONS = 6, 8
COLOUR_PX = 12  # side of the tiny patch that the colours are counted in
COLOUR_BINS = (6, 6, 6)
AROUND = (-0.6, -0.6, 1.6, 2.0)  # in widths and heights of the box: hair, shoulders, chest
GRADIENTS = CELLS * CELLS * DIRECTIONS
COLOURS = COLOUR_BINS[0] * COLOUR_BINS[1] * COLOUR_BINS[2]
LENGTH = GRADIENTS + COLOURS

# Of 25,195 pairs of faces from different photos none passes both; of faces turned, scaled and relit 9 in 10 do.
SURE_SHAPE, SURE_COLOURS, SURE_LEAD = 0.92, 0.75, 0.03


def describe_looks(image: Pixels, xyxy: Floats, crop: NDArray[np.uint8]) -> Floats:
    """Return the description of one face.

    Args:
        image: (H, W, 3) uint8 RGB, or planes.
        xyxy: (4,) float32 box, pixels.
        crop: (48, 48) uint8 aligned crop of the same face.

    Returns:
        (LENGTH,) float32: the gradients' part has length 1, the colours' part sums to 1.
    """
    return np.concatenate([_gradients(crop), _colours(image, xyxy)])


def _gradients(crop: NDArray[np.uint8]) -> Floats:
    pixels = cv2.GaussianBlur(crop.astype(np.float32), (0, 0), 1.0)
    dx, dy = cv2.Sobel(pixels, cv2.CV_32F, 1, 0), cv2.Sobel(pixels, cv2.CV_32F, 0, 1)
    size, angle = cv2.cartToPolar(dx, dy)
    place = angle * (DIRECTIONS / (2 * np.pi))
    low = np.floor(place).astype(np.int64)
    share = place - low
    side = crop.shape[0]
    cell = np.arange(side) * CELLS // side
    number = (cell[:, None] * CELLS + cell[None]) * DIRECTIONS
    counts = np.bincount((number + low % DIRECTIONS).ravel(), (size * (1 - share)).ravel(), GRADIENTS)
    counts += np.bincount((number + (low + 1) % DIRECTIONS).ravel(), (size * share).ravel(), GRADIENTS)
    cells = np.sqrt(counts.reshape(-1, DIRECTIONS))  # the square root tames single strong edges
    cells /= np.linalg.norm(cells, axis=1, keepdims=True) + 1e-3 * np.sqrt(255 * side)
    return (cells.ravel() / max(float(np.linalg.norm(cells)), 1e-6)).astype(np.float32)


def _colours(image: Pixels, xyxy: Floats) -> Floats:
    height, width = image.shape[:2]
    size = np.tile(xyxy[2:] - xyxy[:2], 2)
    corners = np.tile(xyxy[:2], 2) + np.array(AROUND, np.float32) * size
    left, top = int(np.clip(corners[0], 0, width - 1)), int(np.clip(corners[1], 0, height - 1))
    right, bottom = int(np.clip(corners[2], left + 1, width)), int(np.clip(corners[3], top + 1, height))
    part = part_of(image, left, top, right, bottom)
    patch = cv2.resize(part, (4 * COLOUR_PX,) * 2, interpolation=cv2.INTER_NEAREST)
    patch = cv2.resize(patch, (2 * COLOUR_PX,) * 2, interpolation=cv2.INTER_AREA)
    counts = cv2.calcHist(
        [cv2.cvtColor(patch, cv2.COLOR_RGB2Lab)], [0, 1, 2], None, COLOUR_BINS, [0, 256, 88, 168, 88, 168]
    )
    return (counts.ravel() / max(float(counts.sum()), 1.0)).astype(np.float32)


def likeness(description: Floats, known: Floats) -> tuple[float, float]:
    """Return how much a face looks like one described before, at its best: by gradients and by colours, 0-1 each.

    Args:
        description: (LENGTH,) float32.
        known: (K, LENGTH) float32 descriptions of one person, K at least 1.
    """
    shapes = known[:, :GRADIENTS] @ description[:GRADIENTS]
    colours = np.sqrt(known[:, GRADIENTS:]) @ np.sqrt(description[GRADIENTS:])
    return float(shapes.max()), float(colours.max())


def recognise(description: Floats, people: Sequence[Floats]) -> int | None:
    """Return who of the people seen before this is, if that is sure.

    Args:
        description: (LENGTH,) float32.
        people: (K, LENGTH) float32 descriptions of each person.

    Returns:
        The number of the person; None where nobody is like enough, or two are.
    """
    likely = [likeness(description, known) if len(known) else (0.0, 0.0) for known in people]
    ranked = sorted(range(len(people)), key=lambda i: -likely[i][0])
    if not ranked:
        return None
    shape, colours = likely[ranked[0]]
    if shape < SURE_SHAPE or colours < SURE_COLOURS:
        return None
    if len(ranked) > 1 and likely[ranked[1]][0] > shape - SURE_LEAD:
        return None
    return ranked[0]
