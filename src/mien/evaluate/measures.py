"""The measures, from predictions to figures; none depends on the order of the images."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.datasets.votes import ferplus_distribution, is_face
from mien.errors import InputError
from mien.evaluate.values import (
    Calibration,
    ClassFigures,
    Estimate,
    Figures,
    GroupFigures,
    Mistake,
    OperatingPoint,
    Predictions,
    ReliabilityBin,
    RiskCoverage,
    VoteFigures,
)
from mien.faces import Floats
from mien.labels import LabelSet

RELIABILITY_BINS = 15


LOG_FLOOR = float(np.finfo(np.float32).eps)  # the smallest probability that the log loss tells from 0


THRESHOLDS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def figures(predictions: Predictions, *, resamples: int = 1000, seed: int = 0) -> Figures:
    """Return the headline figures with bootstrap intervals.

    Drawing N images with replacement and counting them is drawing the cells of the confusion matrix from a multinomial
    distribution, so the resamples cost nothing. An interval of a figure at exactly 0 or 1 has no width.

    Args:
        predictions: Images without a label are left out.
        resamples: Number of resamples.
        seed: Their seed.

    Raises:
        InputError: No image has a label.
    """
    counted = predictions.where(predictions.counted)
    check_labelled(len(counted))
    confusion = confusion_matrix(counted)
    n, drawn = len(counted), resample(confusion, resamples, seed)
    return Figures(
        n=n,
        accuracy=estimate(accuracy_of(confusion), accuracy_of(drawn)),
        macro_f1=estimate(_macro_f1(confusion), _macro_f1(drawn)),
        top2_accuracy=top_accuracy(counted, 2),
        log_loss=log_loss(counted),
        ece=calibration(counted).ece,
    )


def check_labelled(count: int) -> None:
    """Refuse to measure on nothing.

    Args:
        count: How many images have a label.

    Raises:
        InputError: None has.
    """
    if not count:
        raise InputError("no image has a label in this label set, nothing to measure; choose another split or set")


def resample(counts: NDArray[np.int64], resamples: int, seed: int) -> NDArray[np.int64]:
    """Draw counts (…) anew, as drawing the images with replacement would: (resamples, …)."""
    n = int(counts.sum())
    drawn = np.random.default_rng(seed).multinomial(n, counts.ravel() / n, size=resamples)
    return drawn.reshape(resamples, *counts.shape)


def estimate(value: float | NDArray[np.float64], resampled: NDArray[np.float64]) -> Estimate:
    """Return a figure with its 95 % interval, from the figures of the resamples (R,)."""
    low, high = np.percentile(resampled, (2.5, 97.5)) if len(resampled) else (value, value)
    return Estimate(float(value), float(low), float(high))


def accuracy_of(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the accuracy of confusion matrices (…, C, C), rows the label."""
    return np.asarray(np.trace(confusion, axis1=-2, axis2=-1) / confusion.sum(axis=(-2, -1)))


def balanced_accuracy_of(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean recall of the classes that occur, of confusion matrices (…, C, C), rows the label."""
    hits, support = np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(axis=-1)
    return np.asarray((hits / np.maximum(support, 1)).sum(axis=-1) / (support > 0).sum(axis=-1))


def _macro_f1(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean F1 over the classes that occur among labels or answers, as scikit-learn does."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    total = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    f1 = 2 * hits / np.maximum(total, 1)
    return np.asarray(f1.sum(axis=-1) / (total > 0).sum(axis=-1))


def confusion_matrix(predictions: Predictions) -> NDArray[np.int64]:
    """Count answers per label.

    Args:
        predictions: Images without a label are left out.

    Returns:
        (C, C) int64, rows the label, columns the answer.
    """
    classes, counted = len(predictions.labels), predictions.counted
    cells = predictions.truth[counted] * classes + predictions.predicted[counted]
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def class_figures(confusion: NDArray[np.int64], labels: LabelSet) -> tuple[ClassFigures, ...]:
    """Return precision, recall, F1 and support of each expression.

    Args:
        confusion: (C, C) int64, rows the label, columns the answer.
        labels: Their label set.
    """
    hits, support, answers = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = _share(hits, answers), _share(hits, support)
    f1 = _share(2 * hits, support + answers)
    rows = zip(labels.names, precision, recall, f1, support, strict=True)
    return tuple(ClassFigures(name, float(p), float(r), float(f), int(s)) for name, p, r, f, s in rows)


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return part / whole, NaN where the whole is nothing."""
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def top_accuracy(predictions: Predictions, k: int) -> float:
    """Return the share of the images whose label is among the `k` most probable expressions.

    Args:
        predictions: At least one image, all with a label.
        k: How many answers count.
    """
    best = np.argsort(-predictions.probs, axis=1, kind="stable")[:, :k]
    return float((best == predictions.truth[:, None]).any(axis=1).mean())


def log_loss(predictions: Predictions) -> float:
    """Return the mean negative logarithm of the label's probability, nats, clipped at float32's epsilon.

    Args:
        predictions: At least one image, all with a label.
    """
    of_truth = predictions.probs[np.arange(len(predictions)), predictions.truth].astype(np.float64)
    return float(-np.log(np.clip(of_truth, LOG_FLOOR, 1)).mean())


def calibration(predictions: Predictions, *, bins: int = RELIABILITY_BINS) -> Calibration:
    """Compare confidence with accuracy.

    Args:
        predictions: At least one image, all with a label.
        bins: Number of bins.
    """
    confidence, correct = predictions.confidence, predictions.correct
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    with np.errstate(invalid="ignore"):  # an empty bin has no mean: NaN
        mean_confidence = np.bincount(bin_of, confidence, minlength=bins) / count
        accuracy = np.bincount(bin_of, correct, minlength=bins) / count
    rows = zip(np.arange(bins) / bins, np.arange(1, bins + 1) / bins, count, mean_confidence, accuracy, strict=True)
    table = tuple(ReliabilityBin(float(lo), float(hi), int(n), float(c), float(a)) for lo, hi, n, c, a in rows)
    ece = np.nansum(count * np.abs(mean_confidence - accuracy)) / len(confidence)
    return Calibration(float(ece), _adaptive_ece(confidence, correct, bins), table)


def _adaptive_ece(confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int) -> float:
    order = np.lexsort((correct, confidence))  # ties by correctness: the images' order must not matter
    parts = np.array_split(order, bins)
    gaps = [abs(float((confidence[part] - correct[part]).sum())) for part in parts]
    return sum(gaps) / len(confidence)


def risk_coverage(predictions: Predictions, *, steps: int = 100) -> RiskCoverage:
    """Return the error rate when only the most confident images are answered.

    Images of equal confidence share their errors evenly, so that their order does not matter.

    Args:
        predictions: At least one image, all with a label.
        steps: Points kept of the curve; the area is that of the full one.
    """
    n = len(predictions)
    _, tie, size = np.unique(-predictions.confidence, return_inverse=True, return_counts=True)
    errors = (np.bincount(tie, ~predictions.correct) / size)[np.sort(tie)]
    risk = np.cumsum(errors) / np.arange(1, n + 1)
    kept = np.unique(np.ceil(n * np.arange(1, steps + 1) / steps).astype(np.int64))
    return RiskCoverage(
        coverage=tuple((kept / n).tolist()),
        risk=tuple(risk[kept - 1].tolist()),
        aurc=float(risk.mean()),
        points=tuple(operating_point(predictions, threshold) for threshold in THRESHOLDS),
    )


def operating_point(predictions: Predictions, threshold: float) -> OperatingPoint:
    """Return what answering only from a confidence on gives; below it the answer is «uncertain».

    Args:
        predictions: At least one image, all with a label.
        threshold: Lowest confidence that is answered, 0-1.
    """
    answered = predictions.confidence >= threshold
    accuracy = float(predictions.correct[answered].mean()) if answered.any() else math.nan
    return OperatingPoint(threshold, float(answered.mean()), accuracy)


def vote_figures(probs: Floats, votes: NDArray[np.uint8]) -> VoteFigures | None:
    """Compare probabilities with the distribution of the FER+ votes (Barsoum et al. 2016).

    Args:
        probs: (N, 8) float32 in the order of FERPLUS8.
        votes: (N, 10) uint8.

    Returns:
        The figures; None where no image has a vote for an expression.
    """
    target = ferplus_distribution(votes).astype(np.float64)
    kept = is_face(votes) & (target.sum(axis=1) > 0)
    if not kept.any():
        return None
    p, q = np.clip(probs[kept].astype(np.float64), LOG_FLOOR, 1), target[kept]
    cross_entropy = -(q * np.log(p)).sum(axis=1).mean()
    entropy = -(q * np.log(np.where(q > 0, q, 1))).sum(axis=1).mean()
    agreement = q[np.arange(len(q)), p.argmax(axis=1)].mean()
    return VoteFigures(
        n=int(kept.sum()),
        cross_entropy=float(cross_entropy),
        kl_divergence=float(cross_entropy - entropy),
        expected_accuracy=float(agreement),
        best_accuracy=float(q.max(axis=1).mean()),
    )


def by_group(
    predictions: Predictions,
    groups: NDArray[np.str_],
    *,
    attribute: str = "group",
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[GroupFigures, ...]:
    """Return the figures of each group of images, in the order of the group names.

    Args:
        predictions: Images without a label are left out, and so is a group that has no others.
        groups: (N,) str, the group of each image.
        attribute: What the groups are, for the report.
        resamples: Bootstrap resamples behind each interval.
        seed: Their seed.

    Raises:
        InputError: `groups` has another length.
    """
    check_length(f"groups of {attribute!r}", groups, predictions)
    return tuple(
        GroupFigures(attribute, str(group), figures(predictions.where(groups == group), resamples=resamples, seed=seed))
        for group in np.unique(groups[predictions.counted])
    )


def worst_mistakes(predictions: Predictions, *, count: int = 24) -> tuple[Mistake, ...]:
    """Return the wrong answers of highest confidence, worst first.

    Args:
        predictions: Images without a label are left out.
        count: How many at most.
    """
    wrong = np.flatnonzero(predictions.counted & ~predictions.correct)
    worst = wrong[np.argsort(-predictions.confidence[wrong], kind="stable")][:count]
    names, answers = predictions.labels.names, predictions.predicted
    return tuple(
        Mistake(
            int(i), names[predictions.truth[i]], names[answers[i]], float(predictions.confidence[i]),
            float(predictions.probs[i, predictions.truth[i]]),
        )
        for i in worst
    )  # fmt: skip


def check_length(name: str, values: NDArray[Any], predictions: Predictions) -> None:
    """Refuse an array that has another length than the predictions."""
    if values.shape != (len(predictions),):
        raise InputError(f"{name} must have one entry for each of the {len(predictions)} images, got {values.shape}")
