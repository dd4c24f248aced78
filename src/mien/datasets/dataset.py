"""`CropDataset`, the one value that every reader returns."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, shown
from mien.faces import CROP_PX
from mien.labels import FER7, FERPLUS8, FIVE, LabelSet, named_labels

TRAINING, PUBLIC_TEST, PRIVATE_TEST = "Training", "PublicTest", "PrivateTest"
VALIDATION, TEST, UNSPLIT, LEFT_OUT = "Validation", "Test", "Unsplit", "LeftOut"
USAGES = (TRAINING, PUBLIC_TEST, PRIVATE_TEST)
SPLIT_NAMES = (*USAGES, VALIDATION, TEST, UNSPLIT, LEFT_OUT)
UNLABELLED = -1
SHOWN_CHARACTERS = 120
KNOWN_NAMES = frozenset((*FER7.names, *FERPLUS8.names))
VOTE_COLUMNS = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF",
)  # fmt: skip


@dataclass(frozen=True)
class CropDataset:
    """Face crops with their labels, their split and, where known, the FER+ votes.

    Attributes:
        crops: (N, 48, 48) uint8 gray.
        label: (N,) int8, index into `labels`, or -1 (`UNLABELLED`) where the data set gives none.
        usage: (N,) str, the split of each crop: an official one of FER2013 (`USAGES`) or another of `SPLIT_NAMES`.
        labels: The label set of `label`.
        votes: (N, 10) uint8, FER+ annotators' votes in the order of `VOTE_COLUMNS`; None where there are none.
        name: (N,) str, where each crop came from: `fer0000042.png` for row 42 of a CSV (FER+'s naming), the path below
            the folder for an image; None where nobody asked.
    """

    crops: NDArray[np.uint8]
    label: NDArray[np.int8]
    usage: NDArray[np.str_]
    labels: LabelSet = FER7
    votes: NDArray[np.uint8] | None = None
    name: NDArray[np.str_] | None = None

    def __post_init__(self) -> None:
        """Check shapes, dtypes and label range."""
        n = len(self.crops)
        if self.crops.shape != (n, CROP_PX, CROP_PX) or self.crops.dtype != np.uint8:
            raise InputError(
                f"crops must be (N, {CROP_PX}, {CROP_PX}) uint8, got {self.crops.shape} {self.crops.dtype}; "
                "read the data set with read_dataset()"
            )
        if self.label.shape != (n,) or self.usage.shape != (n,):
            raise InputError(f"label and usage need one entry for each of the {n} crops; check the reader")
        if self.votes is not None and self.votes.shape != (n, len(VOTE_COLUMNS)):
            raise InputError(f"votes must be ({n}, {len(VOTE_COLUMNS)}), got {self.votes.shape}; join them by row")
        if self.name is not None and self.name.shape != (n,):
            raise InputError(f"name must be ({n},), got {self.name.shape}; give one name for each crop")
        if n and not (self.label.min() >= UNLABELLED and self.label.max() < len(self.labels)):
            raise InputError(
                f"labels must be 0 to {len(self.labels) - 1}, or {UNLABELLED} for none; "
                f"map them to {self.labels.key!r} first"
            )

    def __len__(self) -> int:
        """Return the number of crops."""
        return len(self.crops)

    @property
    def is_labelled(self) -> NDArray[np.bool_]:
        """(N,) bool: which crops have a label."""
        return np.asarray(self.label != UNLABELLED)

    def where(self, mask: NDArray[np.bool_]) -> Self:
        """Return the crops for which `mask` (N,) holds."""
        return replace(
            self,
            crops=self.crops[mask],
            label=self.label[mask],
            usage=self.usage[mask],
            votes=None if self.votes is None else self.votes[mask],
            name=None if self.name is None else self.name[mask],
        )

    def split(self, usage: str) -> Self:
        """Return one split.

        Args:
            usage: `"Training"`, `"PublicTest"`, `"PrivateTest"` or another split that the data set has.

        Raises:
            InputError: The data set has no crop of that split.
        """
        mask = self.usage == usage
        if not mask.any():
            present = ", ".join(self.splits()) or "no crop at all"
            raise InputError(f"the data set has no split {shown(usage)}; it has {present}")
        return self.where(mask)

    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits that have crops, the known ones in their usual order first."""
        present = set(self.usage.tolist())
        known = [name for name in SPLIT_NAMES if name in present]
        return (*known, *sorted(present.difference(known)))

    def digest(self) -> str:
        """Return a SHA-256 of crops, labels, split, label set and votes: equal data, equal digest."""
        digest = hashlib.sha256(f"{self.labels.key} {len(self)}".encode())
        for array in (self.crops, self.label.astype(np.int8), self.votes):
            digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
        digest.update("\n".join(self.usage.tolist()).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class BadRow:
    """A row or image that could not be read.

    Attributes:
        where: `"line 17"` of a table, or the path of an image below its folder.
        reason: What must hold and what came.
    """

    where: str
    reason: str

    def __str__(self) -> str:
        """Say both."""
        return f"{self.where}: {self.reason}"


@dataclass(frozen=True)
class ReadResult:
    """A data set and what reading it brought to light.

    Attributes:
        data: The crops.
        format: What the file was taken for, for people to read.
        bad: The rows or images left out; empty unless the reader was told to skip them.
        notes: What a person should know: a label set that was guessed, classes without a crop, images resized.
    """

    data: CropDataset
    format: str
    bad: tuple[BadRow, ...] = ()
    notes: tuple[str, ...] = ()


def refuse_bad_rows(path: object, bad: Sequence[BadRow], *, shown: int = 5) -> None:
    """Raise an error that names the first bad rows and counts them all; nothing happens when there is none.

    Args:
        path: The file or folder, for the message.
        bad: The bad rows.
        shown: How many the message spells out.

    Raises:
        InputError: `bad` is not empty.
    """
    if not bad:
        return
    if len(bad) == 1:
        raise InputError(f"{path}, {bad[0]}; mend it, or leave it out with skip_bad (--skip-bad)")
    listed = "\n  ".join(map(str, bad[:shown]))
    more = f"\n  … and {len(bad) - shown:,} more" if len(bad) > shown else ""
    raise InputError(
        f"{path} has {len(bad):,} bad rows; mend them, or leave them out with skip_bad (--skip-bad):\n  {listed}{more}"
    )


def label_set_of_names(names: set[str], *, where: object) -> LabelSet:
    """Return the label set for some class names: the five classes, FER2013's seven, or FER+'s eight with contempt.

    Names of which no known set has any make a set of their own, in alphabetical order.

    Args:
        names: Canonical names.
        where: What has these classes, for the error.

    Raises:
        InputError: mien knows some of the names and others not, so the user must say what is meant.
    """
    known, others = sorted(names & KNOWN_NAMES), sorted(names - KNOWN_NAMES)
    if known and others:
        raise InputError(
            f"{where} has classes that mien knows ({_some(known)}) and others ({_some(others)}); for classes of your "
            f'own give all their names, labels="{_some([*known, *others], ",")}" (--labels NAME,NAME…); to leave the '
            f'others out give labels="{_known_set(known).key}" with skip_bad (--labels {_known_set(known).key} '
            "--skip-bad)"
        )
    if len(others) > 1:
        return named_labels(others)
    return _known_set(known)


def _known_set(names: Sequence[str]) -> LabelSet:
    if set(names) == set(FIVE.names):
        return FIVE
    return FERPLUS8 if "contempt" in names else FER7


def _some(names: Sequence[str], between: str = ", ") -> str:
    text = between.join(names)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def own_classes(labels: LabelSet) -> tuple[str, ...]:
    """Return a note where the classes are a person's own."""
    return (f"classes of your own: {', '.join(labels.names)}",) if not set(labels.names) & KNOWN_NAMES else ()


def missing_classes(data: CropDataset) -> tuple[str, ...]:
    """Return a note where labelled data have no crop of some class."""
    present = set(data.label[data.is_labelled].tolist())
    missing = [name for number, name in enumerate(data.labels.names) if number not in present]
    return (f"no crop shows {', '.join(missing)}",) if missing and present else ()
