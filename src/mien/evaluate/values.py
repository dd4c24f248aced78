"""What an evaluation returns: figures with intervals, tables and curves, all frozen."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.faces import Floats
from mien.labels import LabelSet

PredictProba = Callable[[NDArray[np.uint8]], Floats]
"""(N, 48, 48) uint8 gray crops → (N, C) float32 probabilities, rows sum to 1."""


Progress = Callable[[int, int], None]
"""Called with the number done and the total."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % bootstrap interval.

    Attributes:
        value: The figure on the images themselves.
        low: 2.5th percentile over resamples.
        high: 97.5th percentile over resamples.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Figures:
    """The headline figures of one set of images.

    Attributes:
        n: Images counted.
        accuracy: Share classified right, 0-1.
        macro_f1: Mean F1 over the expressions that occur among labels or answers, 0-1.
        top2_accuracy: Share whose label is among the two most probable expressions, 0-1.
        log_loss: Mean negative natural logarithm of the label's probability, clipped at float32's epsilon.
        ece: Expected calibration error over 15 bins of equal width, 0-1 (Guo et al. 2017).
    """

    n: int
    accuracy: Estimate
    macro_f1: Estimate
    top2_accuracy: float
    log_loss: float
    ece: float


@dataclass(frozen=True)
class ClassFigures:
    """The figures of one expression; NaN where there is nothing to divide by, as for the recall of one without images.

    Attributes:
        name: The expression.
        precision: Share of the answers of this expression that are right, 0-1.
        recall: Share of the images of this expression that are found, 0-1.
        f1: Harmonic mean of the two, 0-1.
        support: Images of this expression.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class ReliabilityBin:
    """One bin of the reliability table.

    Attributes:
        low: Lowest confidence of the bin, excluded.
        high: Highest confidence of the bin, included.
        count: Images in it.
        confidence: Their mean confidence; NaN for an empty bin.
        accuracy: Their accuracy; NaN for an empty bin.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """How far confidence and accuracy agree.

    Attributes:
        ece: Expected calibration error over bins of equal width, 0-1 (Guo et al. 2017).
        adaptive_ece: The same over bins of equal count, 0-1 (Nguyen & O'Connor 2015).
        bins: The reliability table, bins of equal width.
    """

    ece: float
    adaptive_ece: float
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True)
class OperatingPoint:
    """What answering only from a confidence on gives.

    Attributes:
        threshold: Lowest confidence that is answered.
        coverage: Share of the images answered, 0-1.
        accuracy: Accuracy on those, 0-1; NaN where none is answered.
    """

    threshold: float
    coverage: float
    accuracy: float


@dataclass(frozen=True)
class RiskCoverage:
    """The risk of answering only the most confident share of the images (Geifman & El-Yaniv 2017).

    Attributes:
        coverage: Shares answered, ascending, 0-1.
        risk: Error rate at each coverage, 0-1.
        aurc: Area under the full curve: the mean risk over all coverages; smaller is better.
        points: Coverage and accuracy at round confidence thresholds.
    """

    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    aurc: float
    points: tuple[OperatingPoint, ...]


@dataclass(frozen=True)
class VoteFigures:
    """Agreement with the distribution of the FER+ votes rather than with one label.

    Attributes:
        n: Images with a vote for an expression left, unknown and not-a-face excluded.
        cross_entropy: Mean cross-entropy of the probabilities against the votes, nats.
        kl_divergence: The same less the entropy of the votes, nats; 0 is perfect.
        expected_accuracy: Chance that a vote drawn at random agrees with the answer, 0-1.
        best_accuracy: The highest expected accuracy that any answers can reach on these images.
    """

    n: int
    cross_entropy: float
    kl_divergence: float
    expected_accuracy: float
    best_accuracy: float


@dataclass(frozen=True)
class GroupFigures:
    """The figures of one slice.

    Attributes:
        attribute: What the images are grouped by, `"age"` say.
        group: The value of the attribute, `"60-69"` say.
        figures: Its figures.
    """

    attribute: str
    group: str
    figures: Figures


@dataclass(frozen=True)
class Mistake:
    """A wrong answer.

    Attributes:
        index: Position of the image in the data set.
        truth: Its label.
        predicted: The answer.
        confidence: The probability of the answer, 0-1.
        truth_prob: The probability of the label, 0-1.
    """

    index: int
    truth: str
    predicted: str
    confidence: float
    truth_prob: float


@dataclass(frozen=True)
class Latency:
    """Wall time of one call.

    Attributes:
        batch_size: Crops per call.
        median_ms: Median over the calls, milliseconds.
        p90_ms: 90th percentile over the calls, milliseconds.
        faces_per_s: Crops per second at the median.
    """

    batch_size: int
    median_ms: float
    p90_ms: float
    faces_per_s: float


@dataclass(frozen=True)
class Comparison:
    """Two models on the same images.

    Attributes:
        n: Images counted.
        accuracy_a: Accuracy of the first model, 0-1.
        accuracy_b: Accuracy of the second, 0-1.
        difference: First less second, with its paired bootstrap interval.
        only_a: Images that only the first gets right.
        only_b: Images that only the second gets right.
        p_value: Two-sided exact McNemar test: the chance of a split at least so uneven between equals.
    """

    n: int
    accuracy_a: float
    accuracy_b: float
    difference: Estimate
    only_a: int
    only_b: int
    p_value: float


@dataclass(frozen=True)
class LeftOut:
    """What one set gives when all that is chosen is chosen on the others.

    Attributes:
        name: The set.
        choice: The rule that the others choose.
        temperature: The temperature that they choose.
        balanced_accuracy: Mean recall of the expressions that occur in the set, 0-1.
        ece: Expected calibration error on the set, 0-1.
    """

    name: str
    choice: str
    temperature: float
    balanced_accuracy: float
    ece: float


@dataclass(frozen=True, eq=False)
class Predictions:
    """Probabilities beside the truth, for all images of a data set in its order.

    Attributes:
        probs: (N, len(labels)) float32, rows sum to 1.
        truth: (N,) int64, index into `labels`; -1 where the image is left out.
        labels: The label set that is scored.
    """

    probs: Floats
    truth: NDArray[np.int64]
    labels: LabelSet

    def __post_init__(self) -> None:
        """Check shapes and values."""
        n = len(self.truth)
        check_probs(self.probs, n, len(self.labels))
        if n and not (self.truth.min() >= -1 and self.truth.max() < len(self.labels)):
            raise InputError(f"truth must be -1 to {len(self.labels) - 1}; take it from truth_of(data, labels)")

    def __len__(self) -> int:
        """Return the number of images, those left out included."""
        return len(self.truth)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """(N,) bool, the images that have a label."""
        return np.asarray(self.truth >= 0)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(N,) int64, the most probable expression of each image."""
        return np.asarray(self.probs.argmax(axis=1), np.int64)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(N,) bool, whether that is the label."""
        return np.asarray(self.predicted == self.truth)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """(N,) float64, the probability of the most probable expression."""
        return np.asarray(self.probs.max(axis=1, initial=0), np.float64)

    def where(self, mask: NDArray[np.bool_]) -> "Predictions":
        """Return the images for which `mask` (N,) holds."""
        return Predictions(self.probs[mask], self.truth[mask], self.labels)


@dataclass(frozen=True, eq=False)
class Report:
    """Everything measured about one model on one data set.

    Attributes:
        labels: The label set that is scored.
        rule: Where the truth comes from: `"ferplus-majority"` or `"labels"`.
        n_left_out: Images without a label in this set by that rule.
        overall: Figures over all images counted.
        unseen: The same without images that occur pixel-identical in the training data; None where those were not
            given.
        n_duplicates: Images counted that do occur there; None likewise.
        classes: Figures per expression, in the order of `labels`.
        confusion: (C, C) int64, rows the label, columns the answer.
        calibration: Calibration errors and the reliability table.
        selective: Risk against coverage.
        votes: Agreement with the vote distribution; None without FER+ votes.
        groups: Figures per slice.
        mistakes: The most confident wrong answers, worst first.
        predictions: What all of it was computed from.
        resamples: Bootstrap resamples behind each interval.
        seed: Their seed.
    """

    labels: LabelSet
    rule: str
    n_left_out: int
    overall: Figures
    unseen: Figures | None
    n_duplicates: int | None
    classes: tuple[ClassFigures, ...]
    confusion: NDArray[np.int64]
    calibration: Calibration
    selective: RiskCoverage
    votes: VoteFigures | None
    groups: tuple[GroupFigures, ...]
    mistakes: tuple[Mistake, ...]
    predictions: Predictions
    resamples: int
    seed: int


def check_probs(probs: Floats, n: int, classes: int) -> Floats:
    """Return probabilities (n, classes) as they came, or refuse what is no such array."""
    came = np.asarray(probs)
    if came.shape != (n, classes):
        raise InputError(
            f"probabilities must be ({n}, {classes}), got {came.shape}; pass the label set of the model's columns"
        )
    if n and not (np.isfinite(came).all() and came.min() >= 0 and np.allclose(came.sum(axis=1), 1, atol=2e-3)):
        raise InputError("probabilities must be finite, not negative and sum to 1 in each row; apply softmax to logits")
    return came
