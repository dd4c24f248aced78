"""One model on several sets: the figures of each, and their means, in which every set counts alike.

A model is tuned on one data set and used on faces of other origin. One number per set tells how far it carries, and
the mean over sets, not over images, keeps a large set from deciding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mien.datasets.dataset import PUBLIC_TEST, TRAINING, CropDataset
from mien.errors import InputError, shown
from mien.evaluate.evaluation import evaluate
from mien.evaluate.measures import accuracy_of, balanced_accuracy_of, estimate, resample
from mien.evaluate.values import Estimate, LeftOut, Predictions, PredictProba, Progress, Report
from mien.labels import LabelSet


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """Images of one origin.

    Attributes:
        name: What readers call it.
        data: The images.
        groups: Attribute → (N,) str, the group of each image.
        trained_on: (M, 48, 48) uint8, crops that a model may have learnt from; adds figures without these.
    """

    name: str
    data: CropDataset
    groups: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    trained_on: NDArray[np.uint8] | None = None


@dataclass(frozen=True, eq=False)
class SetReport:
    """The figures of one set.

    Attributes:
        name: Its name.
        report: Everything measured on it.
        balanced_accuracy: Mean recall of the expressions that occur, 0-1.
    """

    name: str
    report: Report
    balanced_accuracy: Estimate


@dataclass(frozen=True, eq=False)
class SetsReport:
    """The figures of one model on several sets; each set counts alike in the means.

    Attributes:
        labels: The label set that is scored.
        sets: Figures per set, in the order given.
        accuracy: Mean accuracy, 0-1; its interval by resampling the images within each set.
        balanced_accuracy: Mean of the balanced accuracies, likewise.
        ece: Mean of the expected calibration errors, 0-1.
        resamples: Bootstrap resamples behind each interval.
        seed: Their seed.
        left_out: What each set gives when all that was chosen is chosen without it; none where that was not asked.
    """

    labels: LabelSet
    sets: tuple[SetReport, ...]
    accuracy: Estimate
    balanced_accuracy: Estimate
    ece: float
    resamples: int
    seed: int
    left_out: tuple[LeftOut, ...] = ()

    def predictions(self) -> dict[str, Predictions]:
        """Return the answers and the truth of each set, by name."""
        return {one.name: one.report.predictions for one in self.sets}


def sets_in(
    data: CropDataset, name: str, *, split: str | None = None, groups: Mapping[str, NDArray[np.str_]] | None = None
) -> tuple[EvaluationSet, ...]:
    """Return what of a data set is measured on.

    Args:
        data: The data set.
        name: Its name.
        split: The split to take; None takes PublicTest where there is one, else every split but Training as a set of
            its own.
        groups: Attribute → (N,) str, the group of each image of `data`.

    Raises:
        InputError: It has no such split, or Training alone.
    """
    present = data.splits()
    chosen = (split or PUBLIC_TEST,) if split or PUBLIC_TEST in present else tuple(s for s in present if s != TRAINING)
    if not chosen:
        raise InputError(f"{name} has the split {TRAINING} alone; name it (--split), or give other images")
    trained_on = data.split(TRAINING).crops if TRAINING in present and chosen != (TRAINING,) else None
    return tuple(
        EvaluationSet(
            name if len(present) == 1 else f"{name} {part}",
            data.split(part),
            {attribute: of_image[data.usage == part] for attribute, of_image in (groups or {}).items()},
            trained_on,
        )
        for part in chosen
    )


def with_slices(sets: Sequence[EvaluationSet], slices: Mapping[str, NDArray[np.str_]]) -> tuple[EvaluationSet, ...]:
    """Return sets with further groups.

    Args:
        sets: The sets.
        slices: Attribute → (N,) str, the group of every image of all sets, in order.
    """
    ends = np.cumsum([len(s.data) for s in sets])
    parts = {attribute: np.split(of_image, ends[:-1]) for attribute, of_image in slices.items()}
    return tuple(
        replace(s, groups={**s.groups, **{attribute: of_set[i] for attribute, of_set in parts.items()}})
        for i, s in enumerate(sets)
    )


def evaluate_sets(
    predict_proba: PredictProba,
    sets: Sequence[EvaluationSet],
    labels: LabelSet,
    *,
    target: LabelSet | None = None,
    resamples: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> SetsReport:
    """Measure a model on several sets.

    Args:
        predict_proba: (n, 48, 48) uint8 → (n, len(labels)) float32 probabilities.
        sets: At least one, with different names.
        labels: The label set of the model's columns.
        target: The label set to score in; the model's own by default. Images whose label it lacks are left out.
        resamples: Bootstrap resamples behind each interval.
        seed: Their seed.
        progress: Called after every batch, with images done and the total.

    Raises:
        InputError: There is no set, a name comes twice, or no image of a set counts.
    """
    _check_names(sets)
    total, done, reports = sum(len(s.data) for s in sets), 0, []
    for one in sets:
        before = done
        report = evaluate(
            predict_proba, one.data, labels, target=target, trained_on=one.trained_on, groups=one.groups,
            resamples=resamples, seed=seed,
            progress=lambda n, _, before=before: progress(before + n, total) if progress else None,  # type: ignore[misc]
        )  # fmt: skip
        done += len(one.data)
        reports.append((one.name, report))
    drawn = [resample(report.confusion, resamples, seed + i) for i, (_, report) in enumerate(reports)]
    exact = [report.confusion for _, report in reports]
    balanced = [(balanced_accuracy_of(c), balanced_accuracy_of(d)) for c, d in zip(exact, drawn, strict=True)]
    return SetsReport(
        labels=target or labels,
        sets=tuple(SetReport(n, r, estimate(*b)) for (n, r), b in zip(reports, balanced, strict=True)),
        accuracy=estimate(_mean([accuracy_of(c) for c in exact]), _mean([accuracy_of(d) for d in drawn])),
        balanced_accuracy=estimate(_mean([value for value, _ in balanced]), _mean([of for _, of in balanced])),
        ece=float(np.mean([report.overall.ece for _, report in reports])),
        resamples=resamples,
        seed=seed,
    )


def _check_names(sets: Sequence[EvaluationSet]) -> None:
    names = [s.name for s in sets]
    if not names:
        raise InputError("there is nothing to measure on; give one set or more")
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise InputError(f"two sets are named {shown(twice[0])}; rename one of the files")


def _mean(values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.asarray(np.mean(values, axis=0))
