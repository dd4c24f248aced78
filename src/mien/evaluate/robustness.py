"""Accuracy against the strength of what spoils an image."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.datasets.dataset import CropDataset
from mien.errors import InputError
from mien.evaluate.corruptions import CORRUPTIONS, corrupt, known_corruption
from mien.evaluate.evaluation import predict_in, truth_of
from mien.evaluate.measures import check_labelled
from mien.evaluate.values import PredictProba, Progress
from mien.labels import LabelSet


@dataclass(frozen=True)
class RobustnessCurve:
    """Accuracy against the strength of one corruption.

    Attributes:
        kind: Key in `CORRUPTIONS`.
        title: What people read.
        strengths: (K,) strengths, the first one 0.
        settings: (K,) what each strength means, `"×1.5"` say.
        accuracy: (K,) accuracy at each strength, 0-1.
        mean_accuracy: Mean over the strengths above 0.
    """

    kind: str
    title: str
    strengths: tuple[float, ...]
    settings: tuple[str, ...]
    accuracy: tuple[float, ...]
    mean_accuracy: float


@dataclass(frozen=True)
class RobustnessReport:
    """All curves of one model.

    Attributes:
        n: Images counted.
        accuracy: Accuracy on the untouched images, 0-1.
        mean_accuracy: Mean of the curves' means.
        curves: One per corruption.
        seed: Seed of everything random.
    """

    n: int
    accuracy: float
    mean_accuracy: float
    curves: tuple[RobustnessCurve, ...]
    seed: int


def measure_robustness(
    predict_proba: PredictProba,
    data: CropDataset,
    labels: LabelSet,
    *,
    target: LabelSet | None = None,
    kinds: tuple[str, ...] = tuple(CORRUPTIONS),
    strengths: Mapping[str, tuple[float, ...]] | None = None,
    sample: int | None = None,
    seed: int = 0,
    batch_size: int = 256,
    progress: Progress | None = None,
) -> RobustnessReport:
    """Measure accuracy on spoilt images.

    Args:
        predict_proba: (n, 48, 48) uint8 → (n, len(labels)) float32 probabilities.
        data: The images; pass one split.
        labels: The label set of the model's columns.
        target: The label set to score in, as for `mien.evaluate.evaluate`; the model's own by default.
        kinds: Keys in `CORRUPTIONS`.
        strengths: Other strengths for some kinds, each ascending from 0.
        sample: Measure on this many images, drawn with the seed; None takes all.
        seed: Seed of everything random.
        batch_size: Crops per call of `predict_proba`.
        progress: Called after every point of a curve with the number done and the total.

    Returns:
        One curve per kind.

    Raises:
        InputError: No image has a label, a kind is unknown or strengths do not start at 0.
    """
    target = target or labels
    truth = truth_of(data, target)
    drawn = _drawn(np.flatnonzero(truth >= 0), sample, seed)
    check_labelled(len(drawn))
    plan = {kind: (strengths or {}).get(kind) or known_corruption(kind).strengths for kind in kinds}
    if any(chosen[0] != 0 for chosen in plan.values()):
        raise InputError("strengths must start at 0, the untouched image; put 0 first")
    crops, total = data.crops[drawn], 1 + sum(len(chosen) - 1 for chosen in plan.values())

    def measure(spoilt: NDArray[np.uint8], done: int) -> float:
        answers = predict_in(target, predict_proba, spoilt, labels, batch_size=batch_size).argmax(axis=1)
        if progress:
            progress(done, total)
        return float((answers == truth[drawn]).mean())

    clean, step = measure(crops, 1), itertools.count(2)
    curves = tuple(
        _curve(kind, chosen, (clean, *(measure(corrupt(crops, kind, s, seed=seed), next(step)) for s in chosen[1:])))
        for kind, chosen in plan.items()
    )
    mean = float(np.mean([curve.mean_accuracy for curve in curves])) if curves else clean
    return RobustnessReport(len(drawn), clean, mean, curves, seed)


def _drawn(indices: NDArray[np.int64], sample: int | None, seed: int) -> NDArray[np.int64]:
    if sample is None or sample >= len(indices):
        return indices
    return np.sort(np.random.default_rng(seed).choice(indices, sample, replace=False))


def _curve(kind: str, strengths: tuple[float, ...], accuracy: tuple[float, ...]) -> RobustnessCurve:
    corruption = CORRUPTIONS[kind]
    settings = tuple(corruption.setting(s) for s in strengths)
    mean = float(np.mean(accuracy[1:])) if len(accuracy) > 1 else accuracy[0]
    return RobustnessCurve(kind, corruption.title, strengths, settings, accuracy, mean)
