"""Arithmetic on boxes that several detectors share."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.faces import Floats

SUPPRESSION_BLOCK = 256  # bounds the memory of suppression: it compares this many boxes at a time with all kept ones


def sigmoid(logit: Floats) -> Floats:
    """Return 1 / (1 + exp(-logit)), finite for any finite input.

    Args:
        logit: float32 of any shape.

    Returns:
        float32 of the same shape, 0-1.
    """
    value: Floats = (0.5 * (1 + np.tanh(0.5 * logit))).astype(np.float32)
    return value


def logit(probability: float) -> float:
    """Return the inverse of `sigmoid`, with 0 and 1 moved inside by one millionth.

    Args:
        probability: 0-1.
    """
    inside = min(max(probability, 1e-6), 1 - 1e-6)
    return float(np.log(inside / (1 - inside)))


def squared(xyxy: Floats) -> Floats:
    """Return the squares with the centre and the longer side of the given boxes.

    Args:
        xyxy: (N, 4) float32 boxes.

    Returns:
        (N, 4) float32, sides at least one pixel.
    """
    centre = (xyxy[:, :2] + xyxy[:, 2:]) / 2
    half = np.maximum((xyxy[:, 2:] - xyxy[:, :2]).max(axis=1, keepdims=True, initial=1), 1) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def move_sides(xyxy: Floats, offset: Floats) -> Floats:
    """Return boxes whose four sides moved by a share of the box's width or height.

    Args:
        xyxy: (N, 4) float32 boxes.
        offset: (N, 4) float32, in widths (x) and heights (y).

    Returns:
        (N, 4) float32; right and bottom never left of or above left and top.
    """
    size = xyxy[:, 2:] - xyxy[:, :2]
    moved: Floats = xyxy + offset * np.concatenate([size, size], axis=1)
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2])
    return moved


def overlap(first: Floats, second: Floats, *, of: Literal["union", "smaller"] = "union") -> Floats:
    """Return the overlap of every box of one list with every box of another.

    Args:
        first: (N, 4) float32 boxes.
        second: (M, 4) float32 boxes.
        of: What the shared area is divided by: the union (IoU) or the smaller box.

    Returns:
        (N, M) float32, 0-1.
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    size = np.maximum(high - low, 0)
    shared = size[..., 0] * size[..., 1]
    area_first, area_second = _areas(first)[:, None], _areas(second)[None]
    whole = area_first + area_second - shared if of == "union" else np.minimum(area_first, area_second)
    share: Floats = shared / np.maximum(whole, 1e-12)
    return share


def _areas(xyxy: Floats) -> Floats:
    areas: Floats = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
    return areas


def suppress(
    xyxy: Floats,
    score: Floats,
    limit: float,
    *,
    of: Literal["union", "smaller"] = "union",
    group: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Return which boxes remain after greedy non-maximum suppression, best first.

    Args:
        xyxy: (N, 4) float32 boxes.
        score: (N,) float32.
        limit: Overlap with a better box above which a box goes.
        of: See `overlap`.
        group: (N,) int64; boxes of different groups leave one another alone. None puts all into one.

    Returns:
        (K,) int64 numbers of the remaining boxes; of equal scores the earlier box comes first.
    """
    order = np.argsort(-score, kind="stable")
    kept = order[:0]
    for start in range(0, len(order), SUPPRESSION_BLOCK):
        block = order[start : start + SUPPRESSION_BLOCK]
        if len(kept):
            block = block[~_hits(xyxy, group, kept, block, limit, of).any(axis=0)]
        hits = np.triu(_hits(xyxy, group, block, block, limit, of), k=1)
        kept = np.concatenate([kept, block[_survivors(hits)]])
    return kept


def _hits(
    xyxy: Floats,
    group: NDArray[np.int64] | None,
    better: NDArray[np.int64],
    worse: NDArray[np.int64],
    limit: float,
    of: Literal["union", "smaller"],
) -> NDArray[np.bool_]:
    hits = overlap(xyxy[better], xyxy[worse], of=of) > limit
    if group is not None:
        hits &= group[better][:, None] == group[worse][None]
    return hits


def _survivors(hits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which boxes no surviving better box hits; `hits[i, j]` says that i is better than j and hits it.

    Repeating «alive is who no one alive hits» settles the best box in the first round and at least one more box in each
    further one, so it ends, at the result of the usual one-by-one loop. In practice it takes a few rounds.
    """
    alive = np.ones(len(hits), dtype=bool)
    while True:
        update: NDArray[np.bool_] = np.logical_not(hits[alive].any(axis=0))
        if np.array_equal(update, alive):
            return alive
        alive = update


def checked_boxes(xyxy: object) -> Floats:
    """Return boxes as (N, 4) float32.

    Args:
        xyxy: Boxes that somebody gave, pixels.

    Raises:
        InputError: They are something else, or not all finite.
    """
    boxes = np.asarray(xyxy)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        raise InputError(f"xyxy must be (N, 4) finite numbers, got {boxes.shape} {boxes.dtype}; pass faces.xyxy")
    return boxes.astype(np.float32)
