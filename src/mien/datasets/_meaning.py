"""What the labels of a data set mean: names that mien knows, names of a person's own, and numbers."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mien.datasets.dataset import UNLABELLED, label_set_of_names
from mien.errors import InputError, shown
from mien.labels import FER7, FIVE, LabelSet, canonical_name

RAF_DB = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")  # of 1 to 7 (Li et al. 2017)
FIVE_EVIDENCE_ROWS = 1000  # with so many rows and nothing above 4, no surprise or neutral face is no accident
WHOLE_NUMBER = re.compile(r"-?\d+(\.0*)?")  # pandas writes 3.0 where the column has gaps
BROKEN_NUMBER = re.compile(r"-?\d*\.\d+|nan", re.IGNORECASE)
HOW_TO_NAME = 'give the names in the order of the numbers, labels="sad,happy" say (--labels sad,happy)'
SHOWN_NAMES = 8


@dataclass(frozen=True)
class Meaning:
    """What the labels of a data set mean.

    Attributes:
        labels: The label set.
        numbers: Number in the data → index into `labels`.
        notes: What was guessed, for people.
    """

    labels: LabelSet
    numbers: dict[int, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def index(self, value: int | str) -> int | None:
        """Return the index of a number or canonical name; None where the label set has no such."""
        if isinstance(value, str):
            return self.labels.names.index(value) if value in self.labels.names else None
        return self.numbers.get(value)

    @property
    def rule(self) -> str:
        """What a label must be."""
        names = ", ".join(self.labels.names)
        return f"{min(self.numbers)} to {max(self.numbers)} or one of {names}" if self.numbers else f"one of {names}"


def parse_label(value: Any) -> int | str | None:
    """Return a label as a whole number or a canonical name; None where there is none.

    Args:
        value: A number, a text such as `"3"`, `"3.0"` or `"Happiness"`, or None.

    Raises:
        ValueError: It is empty, or a number that is not whole.
    """
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    if not isinstance(value, str):
        if float(value) != int(value):
            raise ValueError(f"the label must be a whole number or a name, got {shown(value)}")
        return int(value)
    text = value.strip()
    if not text:
        raise ValueError("the label is empty")
    if BROKEN_NUMBER.fullmatch(text) and not WHOLE_NUMBER.fullmatch(text):
        raise ValueError(f"the label must be a whole number or a name, got {text[:50]!r}")
    return int(text.partition(".")[0]) if WHOLE_NUMBER.fullmatch(text) else canonical_name(text)


def meaning_of(
    values: Collection[int | str], asked: LabelSet | None, *, where: object, stem: str = "", rows: int = 0
) -> Meaning:
    """Decide what labels mean.

    Args:
        values: The labels that occur, numbers or canonical names.
        asked: The label set that the user gave, or None.
        where: The file or folder, for messages.
        stem: Name of the file, which tells the five-class file.
        rows: How many rows there are, which tells it too.

    Raises:
        InputError: Some names are known and others are not, or nobody can tell what the numbers mean.
    """
    names = {value for value in values if isinstance(value, str)}
    numbers = {value for value in values if isinstance(value, int)} - {UNLABELLED}
    if asked is not None:
        return _as_asked(asked, numbers)
    if names:
        labels = label_set_of_names(names, where=where)
        return Meaning(labels, _from(0, len(labels)))
    if numbers == set(range(1, len(RAF_DB) + 1)):
        spelled = ", ".join(f"{number} {name}" for number, name in enumerate(RAF_DB, 1))
        note = f"labels are 1 to 7: taken for RAF-DB's numbers ({spelled}); for others {HOW_TO_NAME}"
        return Meaning(FER7, {number: FER7.names.index(name) for number, name in enumerate(RAF_DB, 1)}, (note,))
    labels, notes = _number_set(stem, max(numbers, default=UNLABELLED), rows)
    return Meaning(labels, _from(0, len(labels)), notes)


def meaning_of_names(names: Sequence[str], *, where: object) -> Meaning:
    """Return what numbers mean for which a file gives the names.

    Args:
        names: Canonical names in the order of the numbers, from 0.
        where: The file, for messages.

    Raises:
        InputError: Some names are known and others are not.
    """
    labels = label_set_of_names(set(names), where=where)
    known = {number: labels.names.index(name) for number, name in enumerate(names) if name in labels.names}
    return Meaning(labels, known)


def _as_asked(labels: LabelSet, numbers: set[int]) -> Meaning:
    """Count from 1 where the numbers do, and every name that the user gave has one."""
    if numbers == set(range(1, len(labels) + 1)):
        spelled = ", ".join(f"{number} {name}" for number, name in enumerate(labels.names, 1))
        return Meaning(labels, _from(1, len(labels)), (f"no label is 0, so the numbers are taken for {spelled}",))
    return Meaning(labels, _from(0, len(labels)))


def _from(first: int, count: int) -> dict[int, int]:
    return {number: number - first for number in range(first, first + count)}


def meaning_of_folders(names: Collection[str], asked: LabelSet | None, *, where: object) -> Meaning:
    """Decide what the names of class folders mean: expressions, classes of a person's own, or numbers.

    Args:
        names: Canonical names of the class folders.
        asked: The label set that the user gave, or None.
        where: The folder that holds them, for messages.

    Raises:
        InputError: Some names are known and others are not, or nobody can tell what the numbers mean.
    """
    if not names or not all(name.isascii() and name.isdigit() for name in names):
        return meaning_of(set(names), asked, where=where)
    numbers = sorted({int(name) for name in names})
    is_fer2013 = (numbers[0], numbers[-1]) == (0, len(FER7) - 1)
    if asked is None and not is_fer2013 and numbers != list(range(1, len(RAF_DB) + 1)):
        shown = ", ".join(map(str, numbers[:SHOWN_NAMES])) + " …" * (len(numbers) > SHOWN_NAMES)
        raise InputError(
            f"{where} has the class folders {shown}: mien knows FER2013's 0 to 6 and RAF-DB's 1 to 7; {HOW_TO_NAME}"
        )
    found = meaning_of(numbers, asked, where=where)
    if found.notes:
        return found
    spelled = ", ".join(f"{number} {found.labels.names[index]}" for number, index in found.numbers.items())
    notes = (f"class folders are numbered, taken for {spelled}; for others {HOW_TO_NAME}",)
    return Meaning(found.labels, found.numbers, notes)


def _number_set(stem: str, largest: int, rows: int) -> tuple[LabelSet, tuple[str, ...]]:
    """Tell FER2013's numbers from the five-class file's, which have no 5 and 6."""
    if not 0 <= largest <= 4:
        return FER7, ()
    if stem.lower().startswith("ferdata") or rows >= FIVE_EVIDENCE_ROWS:
        return FIVE, (
            f"no label is above 4: taken for the five-class file ({_spelled(FIVE)}); "
            'for FER2013\'s numbers give labels="fer2013"',
        )
    return FER7, (
        f"no label is above 4, but with {rows:,} rows that may be chance: taken for FER2013's numbers "
        f'({_spelled(FER7)}); for the five-class file give labels="five" (--labels)',
    )


def _spelled(labels: LabelSet) -> str:
    return ", ".join(f"{number} {name}" for number, name in enumerate(labels.names))
