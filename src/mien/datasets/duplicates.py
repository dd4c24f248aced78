"""Crops that occur more than once, within a split and across splits."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.faces import Floats

HASH_BITS = 64
HASH_DISTANCE = 12
CORRELATION = 0.92  # on FER2013, 0.90 lets the first pairs of different people in
ROUGH_CORRELATION = 0.6  # of unshifted crops; a real copy shifted by SHIFT_PX keeps more
SHIFT_PX = 2
BLOCK = 2048


def seen_in(crops: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which crops occur, pixel for pixel, among others.

    Args:
        crops: (N, 48, 48) uint8.
        others: (M, 48, 48) uint8.

    Returns:
        (N,) bool.
    """
    known = {crop.tobytes() for crop in others}
    return np.array([crop.tobytes() in known for crop in crops], dtype=bool)


@dataclass(frozen=True)
class Duplicates:
    """Which crops are copies of one another.

    Attributes:
        exact: (N,) int64, the number of the first crop with the same pixels; its own number where there is none before.
        near: (N,) int64, the same for images that look alike; contains the exact copies.
    """

    exact: NDArray[np.int64]
    near: NDArray[np.int64]


def find_duplicates(crops: NDArray[np.uint8], *, near: bool = True) -> Duplicates:
    """Find exact and near copies.

    A near copy agrees in at least 52 of the 64 bits of a DCT hash (Zauner 2010) and, at the best of all shifts by up
    to 2 px, correlates at 0.92 or more with the other crop pixel by pixel: another brightness, contrast, compression,
    watermark or cut-out of one photo is a copy, another photo of the same person is not. Copies of copies belong
    together.

    Args:
        crops: (N, 48, 48) uint8.
        near: Whether to look for near copies; if not, `near` repeats `exact`.
    """
    exact = exact_groups(crops)
    if not near:
        return Duplicates(exact, exact)
    firsts = np.flatnonzero(exact == np.arange(len(crops)))
    pairs = firsts[near_pairs(crops[firsts])]
    return Duplicates(exact, _merge(exact, pairs))


def exact_groups(crops: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return, for each crop, the number of the first crop with the same pixels.

    Args:
        crops: (N, 48, 48) uint8.

    Returns:
        (N,) int64.
    """
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(crop.tobytes(), i) for i, crop in enumerate(crops)], np.int64)


def dct_hash(crops: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the perceptual hash of crops: which of the 64 lowest DCT coefficients exceed their median (Zauner 2010).

    Args:
        crops: (N, 48, 48) uint8.

    Returns:
        (N, 64) bool; the constant term is left out.
    """
    side = crops.shape[-1]
    place = (np.arange(side) + 0.5) * np.pi / side
    basis = np.cos(np.arange(9)[:, None] * place).astype(np.float32)
    waves = (basis @ crops.astype(np.float32) @ basis.T).reshape(len(crops), 81)
    order = np.argsort(np.add.outer(np.arange(9), np.arange(9)).ravel(), kind="stable")[1 : HASH_BITS + 1]
    lowest = waves[:, order]
    return np.asarray(lowest > np.median(lowest, axis=1, keepdims=True))


def near_pairs(crops: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the pairs of crops that look alike, without comparing a crop to itself.

    Args:
        crops: (N, 48, 48) uint8.

    Returns:
        (P, 2) int64, the smaller number first.
    """
    signs = np.where(dct_hash(crops), np.float32(1), np.float32(-1))
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(crops), BLOCK):
        agreement = signs[start : start + BLOCK] @ signs[start:].T
        left, right = np.nonzero(agreement >= HASH_BITS - 2 * HASH_DISTANCE)
        later = right > left
        found.append(np.stack([left[later], right[later]], axis=1) + start)
    pairs = np.concatenate(found)
    pairs = pairs[_correlation(crops, pairs, shift_px=0) >= ROUGH_CORRELATION]
    return pairs[_correlation(crops, pairs, shift_px=SHIFT_PX) >= CORRELATION]


def _correlation(crops: NDArray[np.uint8], pairs: NDArray[np.int64], *, shift_px: int) -> Floats:
    """Return the pixel correlation of each pair at the best shift; a crop without contrast correlates with nothing."""
    result = np.zeros(len(pairs), np.float32)
    for start in range(0, len(pairs), BLOCK):
        left, right = crops[pairs[start : start + BLOCK].T]
        result[start : start + BLOCK] = _best_correlation(left, right, shift_px)
    return result


def _best_correlation(left: NDArray[np.uint8], right: NDArray[np.uint8], shift_px: int) -> Floats:
    """Return the correlation of the middle of `left` with the best-fitting window of `right`, both (N, S, S)."""
    side = left.shape[-1] - 2 * shift_px
    middle = _standardised(left[:, shift_px : shift_px + side, shift_px : shift_px + side])
    best = np.full(len(left), -1, np.float32)
    for y in range(2 * shift_px + 1):
        for x in range(2 * shift_px + 1):
            window = _standardised(right[:, y : y + side, x : x + side])
            best = np.maximum(best, np.einsum("ij,ij->i", middle, window) / (side * side))
    return best


def _standardised(crops: NDArray[np.uint8]) -> Floats:
    flat = crops.reshape(len(crops), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    deviation = flat.std(axis=1, keepdims=True)
    return np.where(deviation > 1, flat / np.maximum(deviation, 1), np.float32(0)).astype(np.float32)


def _merge(groups: NDArray[np.int64], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the groups with those joined that a pair connects; a group is named by its first member."""
    root = groups.copy()

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = i = int(root[root[i]])
        return i

    for a, b in pairs.tolist():
        first, second = sorted((find(a), find(b)))
        root[second] = first
    return np.array([find(i) for i in range(len(root))], np.int64)


def copies_within(groups: NDArray[np.int64], split: NDArray[np.str_]) -> dict[str, int]:
    """Return, for each split, how many of its crops repeat an earlier crop of the same split.

    Args:
        groups: (N,) int64, `exact` or `near` of `Duplicates`.
        split: (N,) str.
    """
    size = Counter(split.tolist())
    distinct = Counter(name for name, _ in set(zip(split.tolist(), groups.tolist(), strict=True)))
    return {name: size[name] - distinct[name] for name in size}


def copies_across(groups: NDArray[np.int64], split: NDArray[np.str_]) -> dict[tuple[str, str], int]:
    """Return, for each ordered pair of splits (a, b), how many crops of b have a copy in a.

    Args:
        groups: (N,) int64, `exact` or `near` of `Duplicates`.
        split: (N,) str.
    """
    names = list(dict.fromkeys(split.tolist()))
    return {(a, b): int(_copied(groups, split, a)[split == b].sum()) for a in names for b in names if a != b}


def _copied(groups: NDArray[np.int64], split: NDArray[np.str_], source: str) -> NDArray[np.bool_]:
    return np.asarray(np.isin(groups, groups[split == source]))
