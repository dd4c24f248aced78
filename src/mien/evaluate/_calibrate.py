"""Temperature scaling."""

import math

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError

TEMPERATURES = (0.05, 20.0)


def fit_temperature(log_probs: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """Find the temperature that minimises the log loss of softmax(log_probs / temperature) (Guo et al. 2017).

    The loss is convex in the inverse temperature, so halving an interval on its slope finds the one minimum.

    Args:
        log_probs: (N, C) logits or logarithms of probabilities, which differ by a constant that softmax ignores.
        truth: (N,) index of the label; -1 leaves the image out.

    Returns:
        The temperature, 0.05 to 20; above 1 makes a model less confident. Where every answer is right the loss has no
        minimum and the smallest temperature comes back.

    Raises:
        InputError: No image has a label, or a value is NaN.
    """
    counted = np.asarray(truth) >= 0
    if log_probs.ndim != 2 or counted.shape != (len(log_probs),) or not counted.any():
        raise InputError(
            f"fit_temperature needs (N, C) logits and (N,) labels with at least one label of 0 or more, got "
            f"{log_probs.shape} and {counted.shape}; pass a labelled split"
        )
    z = np.asarray(log_probs, np.float64)[counted]
    if np.isnan(z).any():
        raise InputError("logits must not be NaN; check the model's output before fitting")
    z = np.maximum(z - z.max(axis=1, keepdims=True), -100.0)  # a probability of exactly 0 has no logarithm
    of_truth = z[np.arange(len(z)), np.asarray(truth)[counted]]
    low, high = (math.log(1 / t) for t in reversed(TEMPERATURES))
    for _ in range(60):
        middle = (low + high) / 2
        weights = np.exp(math.exp(middle) * z)
        slope = ((weights * z).sum(axis=1) / weights.sum(axis=1) - of_truth).mean()
        low, high = (middle, high) if slope < 0 else (low, middle)
    return math.exp(-(low + high) / 2)


def apply_temperature(probs: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Return probabilities made less (above 1) or more (below 1) confident; the answers stay the same.

    Args:
        probs: (N, C) float32, rows sum to 1.
        temperature: As returned by `fit_temperature`.

    Returns:
        (N, C) float32, rows sum to 1.

    Raises:
        InputError: The temperature is not above 0.
    """
    if not temperature > 0:
        raise InputError(f"a temperature must be above 0, got {temperature}; take it from fit_temperature()")
    z = log_of_probs(probs) / temperature
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    scaled: NDArray[np.float32] = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return scaled


def log_of_probs(probs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return logarithms fit for `fit_temperature`; a probability of 0 becomes float32's smallest normal number.

    Args:
        probs: (N, C) float32.

    Returns:
        (N, C) float64.
    """
    return np.log(np.maximum(probs.astype(np.float64), float(np.finfo(np.float32).tiny)))
