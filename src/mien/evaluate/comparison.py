"""Two models on the same images."""

import math

import numpy as np

from mien.errors import InputError
from mien.evaluate.measures import estimate, resample
from mien.evaluate.values import Comparison, Predictions


def compare(a: Predictions, b: Predictions, *, resamples: int = 1000, seed: int = 0) -> Comparison:
    """Compare two models image by image.

    Args:
        a: Predictions of the first model.
        b: Predictions of the second on the same images, scored in the same label set.
        resamples: Resamples of the paired bootstrap.
        seed: Their seed.

    Returns:
        The difference with its interval, and McNemar's exact test (McNemar 1947).

    Raises:
        InputError: The two do not hold the same images and label set, or no image counts.
    """
    if a.labels != b.labels or not np.array_equal(a.truth, b.truth):
        raise InputError(
            "a comparison needs both models on the same images and label set; pass the same target to both"
        )
    right_a, right_b = a.correct[a.counted], b.correct[b.counted]
    n = len(right_a)
    if not n:
        raise InputError("no image has a label in this label set, nothing to compare; choose another split or set")
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    drawn = resample(np.array([only_a, only_b, n - only_a - only_b]), resamples, seed)
    difference = estimate((only_a - only_b) / n, (drawn[:, 0] - drawn[:, 1]) / n)
    p_value = mcnemar_exact(only_a, only_b)
    return Comparison(n, float(right_a.mean()), float(right_b.mean()), difference, only_a, only_b, p_value)


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value of McNemar's exact (binomial) test.

    Args:
        only_a: Images that only the first model gets right.
        only_b: Images that only the second gets right.
    """
    n = only_a + only_b
    tail = sum(math.comb(n, k) for k in range(min(only_a, only_b) + 1))
    return min(1.0, float(2 * tail / 2**n))
