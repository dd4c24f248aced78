"""Readers of expression data sets, their splits, and checks for leaks between splits."""

import csv
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.labels import FER7, FERPLUS8, LabelSet

CROP_PX = 48
TRAINING, PUBLIC_TEST, PRIVATE_TEST = "Training", "PublicTest", "PrivateTest"
USAGES = (TRAINING, PUBLIC_TEST, PRIVATE_TEST)
VOTE_COLUMNS = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF",
)  # fmt: skip
CACHE_VERSION = 1


@dataclass(frozen=True)
class CropDataset:
    """Labelled face crops with their official split and, where known, the FER+ votes.

    Attributes:
        crops: (N, 48, 48) uint8 gray.
        label: (N,) int8, index into `labels`.
        usage: (N,) str, the official split of each crop.
        labels: The label set of `label`.
        votes: (N, 10) uint8, FER+ annotators' votes in the order of `VOTE_COLUMNS`; None where there are none.
    """

    crops: NDArray[np.uint8]
    label: NDArray[np.int8]
    usage: NDArray[np.str_]
    labels: LabelSet = FER7
    votes: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        """Check shapes, dtypes and label range."""
        n = len(self.crops)
        if self.crops.shape != (n, CROP_PX, CROP_PX) or self.crops.dtype != np.uint8:
            raise InputError(
                f"crops must be (N, {CROP_PX}, {CROP_PX}) uint8, got {self.crops.shape} {self.crops.dtype}; "
                "read the data set with read_fer2013()"
            )
        if self.label.shape != (n,) or self.usage.shape != (n,):
            raise InputError(f"label and usage need one entry for each of the {n} crops; check the reader")
        if self.votes is not None and self.votes.shape != (n, len(VOTE_COLUMNS)):
            raise InputError(f"votes must be ({n}, {len(VOTE_COLUMNS)}), got {self.votes.shape}; join them by row")
        if n and not (0 <= self.label.min() and self.label.max() < len(self.labels)):
            raise InputError(f"labels must be 0 to {len(self.labels) - 1}; map them to {self.labels.key!r} first")

    def __len__(self) -> int:
        """Return the number of crops."""
        return len(self.crops)

    def where(self, mask: NDArray[np.bool_]) -> Self:
        """Return the crops for which `mask` (N,) holds."""
        votes = None if self.votes is None else self.votes[mask]
        return replace(self, crops=self.crops[mask], label=self.label[mask], usage=self.usage[mask], votes=votes)

    def split(self, usage: str) -> Self:
        """Return one official split.

        Args:
            usage: `"Training"`, `"PublicTest"` or `"PrivateTest"`.

        Raises:
            InputError: The data set has no crop of that split.
        """
        mask = self.usage == usage
        if not mask.any():
            present = ", ".join(sorted(set(self.usage.tolist())))
            raise InputError(f"the data set has no split {usage!r}; it has {present}")
        return self.where(mask)


def read_fer2013(csv_path: str | Path, *, votes_path: str | Path | None = None, cache: bool = True) -> CropDataset:
    """Read Kaggle's `fer2013.csv` and, where given, the FER+ votes of the same rows.

    The parsed crops are kept in an `.npz` file beside the CSV and used again while the CSV's content is the same.

    Args:
        csv_path: File with the columns emotion, pixels and Usage (Goodfellow et al. 2013).
        votes_path: `fer2013new.csv` with ten vote columns, one row per row of `csv_path` (Barsoum et al. 2016).
        cache: Whether to keep and use the parsed copy.

    Returns:
        All rows in file order.

    Raises:
        InputError: A column is missing, a row is malformed (its number is named) or the two files do not match.
    """
    path = Path(csv_path)
    if not path.is_file():
        raise InputError(f"no file {path}; give the path of Kaggle's fer2013.csv")
    data = _cached(path) if cache else _parse_fer2013(path)
    return data if votes_path is None else replace(data, votes=read_ferplus_votes(votes_path, data.usage))


def _cached(path: Path) -> CropDataset:
    with path.open("rb") as file:
        digest = f"{CACHE_VERSION}-{hashlib.file_digest(file, 'sha256').hexdigest()}"
    cache_path = path.with_name(f".{path.name}.mien.npz")
    try:
        with np.load(cache_path) as kept:
            if str(kept["digest"]) == digest:
                return CropDataset(kept["crops"], kept["label"], kept["usage"])
    except (OSError, ValueError, KeyError):
        pass  # no cache yet, or one that an older version or an interrupted run left
    data = _parse_fer2013(path)
    part = cache_path.with_name(f"{cache_path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            np.savez(file, digest=np.array(digest), crops=data.crops, label=data.label, usage=data.usage)
        part.replace(cache_path)
    except OSError:
        part.unlink(missing_ok=True)  # a read-only folder: go on without a cache
    return data


def _parse_fer2013(path: Path) -> CropDataset:
    crops, label, usage = [], [], []
    for number, row in _rows(path, required=("emotion", "pixels", "Usage")):
        crops.append(_parse_pixels(row["pixels"], path, number))
        label.append(_parse_label(row["emotion"], path, number))
        usage.append(_parse_usage(row["Usage"], path, number))
    if not crops:
        raise InputError(f"{path} has no rows; is the download complete?")
    return CropDataset(np.stack(crops), np.array(label, np.int8), np.array(usage))


def _rows(path: Path, *, required: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        missing = [name for name in required if name not in (reader.fieldnames or [])]
        if missing:
            found = ", ".join(reader.fieldnames or []) or "nothing"
            raise InputError(f"{path} lacks the column(s) {', '.join(missing)}; its first line has {found}")
        yield from enumerate(reader, start=2)


def _parse_pixels(text: str | None, path: Path, number: int) -> NDArray[np.uint8]:
    try:
        values = np.array((text or "").split(), dtype=np.int64)
    except ValueError:
        raise InputError(f"{path}, line {number}: pixels must be whole numbers; mend or remove the line") from None
    if values.size != CROP_PX**2:
        raise InputError(f"{path}, line {number}: {CROP_PX**2} pixels expected, got {values.size}; mend the line")
    if values.min() < 0 or values.max() > 255:
        raise InputError(f"{path}, line {number}: pixels must be 0 to 255; mend or remove the line")
    return values.astype(np.uint8).reshape(CROP_PX, CROP_PX)


def _parse_label(text: str | None, path: Path, number: int) -> int:
    if text is None or not text.strip().isdigit() or int(text) >= len(FER7):
        raise InputError(f"{path}, line {number}: emotion must be 0 to {len(FER7) - 1}, got {text!r}; mend the line")
    return int(text)


def _parse_usage(text: str | None, path: Path, number: int) -> str:
    if text not in USAGES:
        raise InputError(f"{path}, line {number}: Usage must be one of {', '.join(USAGES)}, got {text!r}")
    return text


def read_ferplus_votes(path: str | Path, usage: NDArray[np.str_]) -> NDArray[np.uint8]:
    """Read the FER+ votes, one row per row of `fer2013.csv`.

    Args:
        path: `fer2013new.csv`.
        usage: (N,) split of each row of the FER2013 file, used to check that the files belong together.

    Returns:
        (N, 10) uint8, columns in the order of `VOTE_COLUMNS`.

    Raises:
        InputError: A column is missing, a row is malformed, or the rows are not those of the FER2013 file.
    """
    votes_path = Path(path)
    if not votes_path.is_file():
        raise InputError(f"no file {votes_path}; give the path of the FER+ file fer2013new.csv")
    rows = list(_rows(votes_path, required=("Usage", *VOTE_COLUMNS)))
    if [row["Usage"] for _, row in rows] != usage.tolist():
        raise InputError(
            f"{votes_path} has {len(rows)} rows and does not follow the {len(usage)} rows of the FER2013 file; "
            "give the two files of the same rows"
        )
    try:
        return np.array([[int(row[name]) for name in VOTE_COLUMNS] for _, row in rows], dtype=np.uint8)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{votes_path}: every vote must be a whole number from 0 to 10; mend the file") from None


def _without_single_votes(votes: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.where(votes > 1, votes, 0).astype(np.int64)


def ferplus_majority(votes: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Return the FER+ label of each crop by its authors' «majority» rule (Barsoum et al. 2016).

    Votes of one are dropped; the winner must hold more than half of what remains; «unknown» and «not a face» are no
    label.

    Args:
        votes: (N, 10) uint8.

    Returns:
        (N,) int8, index into `FERPLUS8`, or -1 where the crop is left out.
    """
    kept = _without_single_votes(votes)
    winner = kept.argmax(axis=1)
    clear = 2 * kept.max(axis=1) > kept.sum(axis=1)
    return np.where(clear & (winner < len(FERPLUS8)), winner, -1).astype(np.int8)


def ferplus_distribution(votes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the distribution of the votes over the eight expressions, votes of one dropped.

    Args:
        votes: (N, 10) uint8.

    Returns:
        (N, 8) float32; rows sum to 1, or to 0 where no vote for an expression remains.
    """
    kept = _without_single_votes(votes)[:, : len(FERPLUS8)].astype(np.float32)
    distribution: NDArray[np.float32] = kept / np.maximum(kept.sum(axis=1, keepdims=True), 1)
    return distribution


def is_face(votes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which crops the annotators took for a face with a nameable expression.

    Args:
        votes: (N, 10) uint8.

    Returns:
        (N,) bool: False where «unknown» or «not a face» has the most votes.
    """
    return np.asarray(votes.argmax(axis=1) < len(FERPLUS8))


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
