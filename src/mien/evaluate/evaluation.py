"""From a model and a data set to a report."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mien.datasets.dataset import UNLABELLED, CropDataset
from mien.datasets.duplicates import seen_in
from mien.datasets.votes import ferplus_majority
from mien.evaluate.measures import (
    by_group,
    calibration,
    check_length,
    class_figures,
    confusion_matrix,
    figures,
    risk_coverage,
    vote_figures,
    worst_mistakes,
)
from mien.evaluate.values import Figures, Predictions, PredictProba, Progress, Report, check_probs
from mien.faces import Floats
from mien.labels import FERPLUS8, LabelSet, convert_probs

FERPLUS_MAJORITY, DATA_LABELS = "ferplus-majority", "labels"


def evaluate(
    predict_proba: PredictProba,
    data: CropDataset,
    labels: LabelSet,
    *,
    target: LabelSet | None = None,
    trained_on: NDArray[np.uint8] | None = None,
    groups: Mapping[str, NDArray[np.str_]] | None = None,
    mistakes: int = 24,
    resamples: int = 1000,
    seed: int = 0,
    batch_size: int = 256,
    progress: Progress | None = None,
) -> Report:
    """Measure a model on a data set.

    Args:
        predict_proba: (n, 48, 48) uint8 → (n, len(labels)) float32 probabilities.
        data: The images; pass one split.
        labels: The label set of the model's columns.
        target: The label set to score in; the model's own by default. Columns are mapped by name, so an expression
            that the model does not know counts as wrong. `FERPLUS8` on data with votes is scored by the FER+
            authors' majority rule, everything else by the data's labels.
        trained_on: (M, 48, 48) uint8, the crops the model has learnt from; adds the figures without those.
        groups: Attribute → (N,) str group of each image, for figures per slice.
        mistakes: How many wrong answers to list.
        resamples: Bootstrap resamples behind each interval.
        seed: Their seed.
        batch_size: Crops per call of `predict_proba`.
        progress: Called after every batch.

    Returns:
        The report.

    Raises:
        InputError: No image counts, or `predict_proba` returns something else than probabilities.
    """
    target = target or labels
    probs = predict_in(target, predict_proba, data.crops, labels, batch_size=batch_size, progress=progress)
    by_votes = target == FERPLUS8 and data.votes is not None
    return report_on(
        Predictions(probs, truth_of(data, target), target),
        rule=FERPLUS_MAJORITY if by_votes else DATA_LABELS,
        votes=data.votes if by_votes else None,
        seen=None if trained_on is None else seen_in(data.crops, trained_on),
        groups=groups,
        mistakes=mistakes,
        resamples=resamples,
        seed=seed,
    )


def predict(
    predict_proba: PredictProba,
    crops: NDArray[np.uint8],
    classes: int,
    *,
    batch_size: int = 256,
    progress: Progress | None = None,
) -> Floats:
    """Run a model over many crops in batches and check what it returns.

    Args:
        predict_proba: (n, 48, 48) uint8 → (n, classes) probabilities.
        crops: (N, 48, 48) uint8.
        classes: Columns expected.
        batch_size: Crops per call.
        progress: Called after every batch.

    Returns:
        (N, classes) float32.

    Raises:
        InputError: The model returns another shape, or rows that are not probabilities.
    """
    probs = np.zeros((len(crops), classes), np.float32)
    for start in range(0, len(crops), batch_size):
        batch = crops[start : start + batch_size]
        probs[start : start + len(batch)] = check_probs(predict_proba(batch), len(batch), classes)
        if progress:
            progress(start + len(batch), len(crops))
    return probs


def predict_in(
    target: LabelSet,
    predict_proba: PredictProba,
    crops: NDArray[np.uint8],
    labels: LabelSet,
    *,
    batch_size: int = 256,
    progress: Progress | None = None,
) -> Floats:
    """Run a model over many crops, and return its probabilities in another label set.

    Args:
        target: The label set wanted; columns are mapped by name.
        predict_proba: (n, 48, 48) uint8 → (n, len(labels)) probabilities.
        crops: (N, 48, 48) uint8.
        labels: The label set of the model's columns.
        batch_size: Crops per call.
        progress: Called after every batch.

    Returns:
        (N, len(target)) float32.

    Raises:
        InputError: The model returns another shape, or rows that are not probabilities.
    """
    probs = predict(predict_proba, crops, len(labels), batch_size=batch_size, progress=progress)
    return probs if target == labels else convert_probs(probs, labels, target)


def truth_of(data: CropDataset, target: LabelSet) -> NDArray[np.int64]:
    """Return the truth of each image in a label set.

    Args:
        data: The images. With votes and `target` FERPLUS8 the FER+ authors' majority rule decides (Barsoum et al.
            2016); otherwise the data's labels, mapped by name.
        target: The label set wanted.

    Returns:
        (N,) int64, index into `target`; -1 where the image has no label in it.
    """
    if target == FERPLUS8 and data.votes is not None:
        return ferplus_majority(data.votes).astype(np.int64)
    columns = np.append(target.columns_for(data.labels), UNLABELLED)  # which a label of -1 picks
    return np.asarray(columns[data.label], np.int64)


def report_on(
    predictions: Predictions,
    *,
    rule: str = DATA_LABELS,
    votes: NDArray[np.uint8] | None = None,
    seen: NDArray[np.bool_] | None = None,
    groups: Mapping[str, NDArray[np.str_]] | None = None,
    mistakes: int = 24,
    resamples: int = 1000,
    seed: int = 0,
) -> Report:
    """Turn predictions into a report.

    Args:
        predictions: Probabilities and truth.
        rule: Where the truth comes from, for the report.
        votes: (N, 10) uint8 FER+ votes; adds the agreement with their distribution.
        seen: (N,) bool, which images occur in the training data.
        groups: Attribute → (N,) str group of each image.
        mistakes: How many wrong answers to list.
        resamples: Bootstrap resamples behind each interval.
        seed: Their seed.

    Raises:
        InputError: No image counts, or an argument has another length.
    """
    if seen is not None:
        check_length("seen", seen, predictions)
    counted = predictions.where(predictions.counted)
    unseen = None if seen is None else ~seen
    confusion = confusion_matrix(counted)
    return Report(
        labels=predictions.labels,
        rule=rule,
        n_left_out=len(predictions) - len(counted),
        overall=figures(counted, resamples=resamples, seed=seed),
        unseen=None if unseen is None else _figures_or_none(predictions.where(unseen), resamples, seed),
        n_duplicates=None if unseen is None else int((~unseen & predictions.counted).sum()),
        classes=class_figures(confusion, predictions.labels),
        confusion=confusion,
        calibration=calibration(counted),
        selective=risk_coverage(counted),
        votes=None if votes is None else vote_figures(predictions.probs, votes),
        groups=tuple(
            group
            for attribute, of_image in (groups or {}).items()
            for group in by_group(predictions, of_image, attribute=attribute, resamples=resamples, seed=seed)
        ),
        mistakes=worst_mistakes(predictions, count=mistakes),
        predictions=predictions,
        resamples=resamples,
        seed=seed,
    )


def _figures_or_none(predictions: Predictions, resamples: int, seed: int) -> Figures | None:
    return figures(predictions, resamples=resamples, seed=seed) if predictions.counted.any() else None
