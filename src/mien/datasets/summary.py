"""What a data set holds, in figures."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.datasets.dataset import CropDataset, ReadResult
from mien.datasets.duplicates import Duplicates, copies_across, copies_within, find_duplicates
from mien.datasets.votes import ferplus_majority, is_face
from mien.errors import InputError

SHOWN_BAD = 20
NO_LABEL = "unlabelled"


@dataclass(frozen=True)
class PixelFigures:
    """Pixel statistics of one split.

    Attributes:
        mean: Mean of all pixels, 0-255.
        std: Standard deviation of all pixels.
        darkest: Mean of the darkest crop.
        brightest: Mean of the brightest crop.
        black: Share of pixels that are 0.
        white: Share of pixels that are 255.
        blank: Number of crops without any contrast (standard deviation below 1).
    """

    mean: float
    std: float
    darkest: float
    brightest: float
    black: float
    white: float
    blank: int


@dataclass(frozen=True)
class CopyFigures:
    """How often crops are repeated.

    Attributes:
        within: Per split, crops that repeat an earlier crop of the same split.
        across: Per ordered pair of splits «a → b», crops of b that have a copy in a.
        conflicting: Labelled crops with a copy that carries another label.
    """

    within: dict[str, int]
    across: dict[str, int]
    conflicting: int


@dataclass(frozen=True)
class VoteSummary:
    """What the FER+ votes say.

    Attributes:
        voted: Crops with votes.
        not_a_face: Of them, those voted «unknown» or «not a face».
        majority: Crops that the authors' majority rule keeps, per split.
    """

    voted: int
    not_a_face: int
    majority: dict[str, int]


@dataclass(frozen=True)
class DatasetSummary:
    """The figures of one data set.

    Attributes:
        format: What the file was taken for.
        crops: Number of crops.
        labels: Key of the label set.
        counts: Crops per split and class.
        imbalance: Crops of the largest class per crop of the smallest that is there; None without labels.
        largest_share: Share of the largest class: the accuracy of always answering it; None without labels.
        pixels: Pixel statistics per split.
        exact: Copies pixel for pixel.
        near: Copies that look alike, exact ones included; None where nobody looked.
        votes: What FER+ says; None without votes.
        bad: Number of rows left out.
        bad_rows: The first of them, spelled out.
        notes: What the reader remarked.
        digest: SHA-256 of the data.
    """

    format: str
    crops: int
    labels: str
    counts: dict[str, dict[str, int]]
    imbalance: float | None
    largest_share: float | None
    pixels: dict[str, PixelFigures]
    exact: CopyFigures
    near: CopyFigures | None
    votes: VoteSummary | None
    bad: int
    bad_rows: tuple[str, ...]
    notes: tuple[str, ...]
    digest: str

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON-ready values."""
        return asdict(self)


def summarise_dataset(result: ReadResult, *, duplicates: Duplicates | None = None) -> DatasetSummary:
    """Count classes, splits, pixels, copies and broken rows.

    Args:
        result: What `read_dataset` returned.
        duplicates: What `find_duplicates` returned; None looks for exact copies only.

    Raises:
        InputError: There is no crop.
    """
    data = result.data
    if not len(data):
        raise InputError("the data set has no crop to describe; read one that has")
    counts = {split: _class_counts(data.split(split)) for split in data.splits()}
    total = np.bincount(data.label[data.is_labelled], minlength=len(data.labels))
    found = total[total > 0]
    copies = duplicates or find_duplicates(data.crops, near=False)
    return DatasetSummary(
        format=result.format,
        crops=len(data),
        labels=data.labels.key,
        counts=counts,
        imbalance=float(found.max() / found.min()) if len(found) else None,
        largest_share=float(found.max() / found.sum()) if len(found) else None,
        pixels={split: _pixel_figures(data.crops[data.usage == split]) for split in counts},
        exact=_copy_figures(data, copies.exact),
        near=_copy_figures(data, copies.near) if duplicates is not None else None,
        votes=_vote_figures(data),
        bad=len(result.bad),
        bad_rows=tuple(str(row) for row in result.bad[:SHOWN_BAD]),
        notes=result.notes,
        digest=data.digest(),
    )


def _class_counts(data: CropDataset) -> dict[str, int]:
    found = np.bincount(data.label[data.is_labelled], minlength=len(data.labels))
    counts = dict(zip(data.labels.names, found.tolist(), strict=True))
    unlabelled = int((~data.is_labelled).sum())
    return counts | ({NO_LABEL: unlabelled} if unlabelled else {})


def _pixel_figures(crops: NDArray[np.uint8]) -> PixelFigures:
    share = np.bincount(crops.ravel(), minlength=256) / crops.size
    values = np.arange(256)
    mean = float(share @ values)
    of_crop = crops.reshape(len(crops), -1).mean(axis=1)
    return PixelFigures(
        mean=mean,
        std=float(share @ (values - mean) ** 2) ** 0.5,
        darkest=float(of_crop.min()),
        brightest=float(of_crop.max()),
        black=float(share[0]),
        white=float(share[255]),
        blank=int((crops.reshape(len(crops), -1).std(axis=1, dtype=np.float32) < 1).sum()),
    )


def _copy_figures(data: CropDataset, groups: NDArray[np.int64]) -> CopyFigures:
    across = copies_across(groups, data.usage)
    return CopyFigures(
        within=copies_within(groups, data.usage),
        across={f"{a} → {b}": count for (a, b), count in across.items()},
        conflicting=int(conflicting_labels(data, groups).sum()),
    )


def conflicting_labels(data: CropDataset, groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which labelled crops have a copy that carries another label.

    Args:
        data: The data set.
        groups: (N,) int64, `exact` or `near` of `Duplicates`.

    Returns:
        (N,) bool.
    """
    _, unit = np.unique(groups, return_inverse=True)
    kinds = np.zeros((int(unit.max(initial=-1)) + 1, len(data.labels)), np.bool_)
    kinds[unit[data.is_labelled], data.label[data.is_labelled]] = True
    return np.asarray((kinds.sum(axis=1) > 1)[unit] & data.is_labelled)


def _vote_figures(data: CropDataset) -> VoteSummary | None:
    if data.votes is None:
        return None
    voted = data.votes.sum(axis=1) > 0
    kept = ferplus_majority(data.votes) >= 0
    majority = {split: int(kept[data.usage == split].sum()) for split in data.splits()}
    return VoteSummary(int(voted.sum()), int((voted & ~is_face(data.votes)).sum()), majority)


def present_classes(summary: DatasetSummary) -> list[str]:
    """Return the classes that have a crop, in the order of the label set."""
    every = dict.fromkeys(name for counts in summary.counts.values() for name in counts)
    return [name for name in every if any(counts.get(name) for counts in summary.counts.values())]


def class_totals(summary: DatasetSummary) -> dict[str, int]:
    """Return the crops per class over all splits, classes without a crop included."""
    every = dict.fromkeys(name for counts in summary.counts.values() for name in counts)
    return {name: sum(counts.get(name, 0) for counts in summary.counts.values()) for name in every}


def copy_rows(summary: DatasetSummary) -> list[tuple[str, int, int | None]]:
    """Return what to say about copies: a sentence, the exact count, the count that includes near ones (or None)."""
    near: Mapping[str, int] = {} if summary.near is None else summary.near.within
    rows = [
        (f"{split}: repeats an earlier crop of it", n, near.get(split)) for split, n in summary.exact.within.items()
    ]
    near = {} if summary.near is None else summary.near.across
    for pair, count in summary.exact.across.items():
        a, b = pair.split(" → ")
        rows.append((f"{b}: has a copy in {a}", count, near.get(pair)))
    conflicting = None if summary.near is None else summary.near.conflicting
    return [*rows, ("has a copy with another label", summary.exact.conflicting, conflicting)]
