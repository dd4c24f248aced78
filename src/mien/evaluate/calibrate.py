"""Temperature scaling, with one temperature for all images or one that follows the spread of an image's logits."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.faces import Floats

TEMPERATURES = (0.05, 20.0)
EXPONENTS = (-0.9, 2.0)  # at -1 every image would get the same confidence
TRIED_TEMPERATURES = np.exp(np.linspace(math.log(0.5), math.log(2), 71))
LEAST_SPREAD = 1e-6
LEAST_IMAGES = 50  # with fewer a temperature fits their chance; where all are right it falls to the lowest there is
FEW_IMAGES = 500  # with fewer an exponent fits their chance


@dataclass(frozen=True)
class ConfidenceScaling:
    """What logits are divided by before the softmax; no answer changes, only its confidence.

    Attributes:
        temperature: The divisor where the logits of an image have a standard deviation of 1.
        exponent: The divisor grows with this power of their standard deviation; 0 is plain temperature scaling.
    """

    temperature: float = 1.0
    exponent: float = 0.0

    def __post_init__(self) -> None:
        """Check the range."""
        if not self.temperature > 0:
            raise InputError(f"a temperature must be above 0, got {self.temperature}; take it from fit_confidence()")

    def probs(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return calibrated probabilities.

        Args:
            logits: (N, C); a constant added to a row changes nothing.

        Returns:
            (N, C) float64, rows sum to 1.
        """
        divisor = self.temperature * spread(logits) ** self.exponent
        return _softmax(logits / divisor[:, None])

    def logits(self, probs: Floats) -> NDArray[np.float64]:
        """Return the logits that `probs` made these probabilities of, up to a constant of each image.

        Args:
            probs: (N, C) float32, rows sum to 1.

        Returns:
            (N, C) float64.
        """
        scaled = log_of_probs(probs)
        before = (self.temperature * spread(scaled)) ** (1 / (1 - self.exponent))
        return scaled * (self.temperature * before**self.exponent)[:, None]


def spread(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the standard deviation of each image's logits, (N, C) to (N,), not below a small positive number."""
    return np.asarray(np.maximum(np.std(logits.astype(np.float64), axis=1), LEAST_SPREAD))


def fit_confidence(logits: NDArray[np.floating], truth: NDArray[np.integer]) -> ConfidenceScaling:
    """Fit the scaling whose confidences best foretell which answers are right.

    One temperature makes confident answers too modest where it mends the others, so it follows the spread of the logits
    (a parametrised temperature, Tomani et al. 2022, with one input). What is minimised is the Brier score of the
    confidence, a proper score of what calibration error measures; the log loss would look at wrong answers, too.

    Args:
        logits: (N, C) logits.
        truth: (N,) index of the label; -1 leaves the image out. Below `FEW_IMAGES` labels the exponent stays 0.

    Raises:
        InputError: No image has a label, or a value is NaN.
    """
    start = fit_temperature(logits, truth)
    counted = np.asarray(truth) >= 0
    z = np.maximum(logits[counted].astype(np.float64) - logits[counted].max(axis=1, keepdims=True), -100.0)
    if len(z) < FEW_IMAGES:
        return ConfidenceScaling(start)
    right = z.argmax(axis=1) == np.asarray(truth)[counted]
    log_spread = np.log(spread(z))
    middle = float(log_spread.mean())

    def score(log_temperature: float, exponent: float) -> float:
        divisor = np.exp(log_temperature + exponent * (log_spread - middle))
        return float(np.square(1 / np.exp(z / divisor[:, None]).sum(axis=1) - right).mean())

    limits = ((math.log(TEMPERATURES[0]), math.log(TEMPERATURES[1])), EXPONENTS)
    log_temperature, exponent = _least(score, (math.log(start), 0.0), limits)
    return ConfidenceScaling(math.exp(log_temperature - exponent * middle), exponent)


def _least(
    score: Callable[[float, float], float], start: tuple[float, float], limits: tuple[tuple[float, float], ...]
) -> tuple[float, float]:
    """Find a minimum by a search along the axes with steps that halve (Hooke & Jeeves 1961)."""
    best, at, step = score(*start), start, 0.25
    while step > 1e-4:
        moves = [(at[0] + dx, at[1] + dy) for dx, dy in ((step, 0), (-step, 0), (0, step), (0, -step))]
        inside = [move for move in moves if all(low <= x <= high for x, (low, high) in zip(move, limits, strict=True))]
        found = min((score(*move), move) for move in inside)
        if found[0] < best:
            best, at = found
        else:
            step /= 2
    return at


def _softmax(z: NDArray[np.floating]) -> NDArray[np.float64]:
    powers = np.exp(z.astype(np.float64) - z.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


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


def apply_temperature(probs: Floats, temperature: float) -> Floats:
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
    return _softmax(log_of_probs(probs) / temperature).astype(np.float32)


def log_of_probs(probs: Floats) -> NDArray[np.float64]:
    """Return logarithms fit for `fit_temperature`; a probability of 0 becomes float32's smallest normal number.

    Args:
        probs: (N, C) float32.

    Returns:
        (N, C) float64.
    """
    return np.log(np.maximum(probs.astype(np.float64), float(np.finfo(np.float32).tiny)))
