"""Tables of crops: FER2013 in its CSV forms, the five-class file, and lists of images."""

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mien.datasets._meaning import Meaning, meaning_of, parse_label
from mien.datasets.dataset import (
    SHOWN_CHARACTERS,
    SPLIT_NAMES,
    TEST,
    TRAINING,
    UNLABELLED,
    UNSPLIT,
    VOTE_COLUMNS,
    BadRow,
    CropDataset,
    ReadResult,
    missing_classes,
    own_classes,
    refuse_bad_rows,
)
from mien.datasets.folders import CropReader, WholeImageReader
from mien.errors import InputError, listed, shown
from mien.faces import CROP_PX
from mien.files import plain_cell
from mien.labels import FIVE, LabelSet

LABEL_NAMES = ("emotion", "label", "class", "expression")
PATH_NAMES = ("path", "file", "filename", "image", "image_path")
SPLIT_COLUMN_NAMES = ("usage", "split")
HARMLESS_NAMES = ("", "id", "row", "index", "name")
ZERO_DECIMALS = re.compile(r"(?<=\d)\.0*$")  # 70.0, as pandas and NumPy write numbers that were floats
T = TypeVar("T")

DIGIT_OR_SPACE = np.zeros(256, np.bool_)
DIGIT_OR_SPACE[[*b"0123456789 "]] = True


@dataclass(frozen=True)
class Table:
    """An open CSV: the names of its columns, lower-cased, and an iterator of (line number, fields)."""

    path: Path
    header: tuple[str, ...]
    rows: Iterator[tuple[int, list[str]]]

    def column(self, names: tuple[str, ...]) -> int | None:
        """Return the number of the first column with one of these names, or None."""
        return next((self.header.index(name) for name in names if name in self.header), None)

    def lacks(self, what: str) -> InputError:
        """Return the error for a missing column."""
        found = ", ".join(self.header)[:200] or "nothing"
        return InputError(f"{self.path} lacks the column(s) {what}; its first line has {found}")


def with_table(path: Path, use: Callable[[Table], T]) -> T:
    """Open a CSV, hand it to `use`, and turn what the csv module dislikes into an error with a line number."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.reader(file, skipinitialspace=True)
        try:
            header = tuple(plain_cell(name).strip().lower() for name in next(reader, []))
            rows = ((reader.line_num, [plain_cell(cell) for cell in fields]) for fields in reader if fields)
            return use(Table(path, header, rows))
        except csv.Error as error:
            raise InputError(f"{path}, line {reader.line_num}: {error}; is a quote left open?") from error


@dataclass
class _Rows:
    """Rows collected so far; a label is a number or a name until the label set is known."""

    width: int
    bad: list[BadRow] = field(default_factory=list)
    crops: list[NDArray[np.uint8]] = field(default_factory=list)
    label: list[int | str] = field(default_factory=list)
    usage: list[str] = field(default_factory=list)
    name: list[str] = field(default_factory=list)
    line: list[int] = field(default_factory=list)

    def add(self, line: int, crop: NDArray[np.uint8], label: int | str, usage: str, name: str) -> None:
        """Append one row."""
        self.line.append(line)
        self.crops.append(crop)
        self.label.append(label)
        self.usage.append(usage)
        self.name.append(name)


class RowError(ValueError):
    """What is wrong with one row; never leaves this module."""


def read_pixel_table(
    path: Path, labels: LabelSet | None, *, skip_bad: bool, usages: tuple[str, ...] = SPLIT_NAMES
) -> ReadResult:
    """Read a CSV with a column of pixels: FER2013 and all that descends from it.

    Args:
        path: The file.
        labels: What the numbers in its label column mean; None decides by the numbers, see `meaning_of`.
        skip_bad: Leave malformed rows out instead of refusing the file.
        usages: The splits that a Usage column may name.

    Raises:
        InputError: A column is missing or rows are malformed; they are named by line number.
    """
    return with_table(path, lambda table: _read_pixel_rows(table, labels, skip_bad=skip_bad, usages=usages))


def _read_pixel_rows(table: Table, labels: LabelSet | None, *, skip_bad: bool, usages: tuple[str, ...]) -> ReadResult:
    label_at, usage_at = table.column(LABEL_NAMES), table.column(SPLIT_COLUMN_NAMES)
    pixels_at = table.column(("pixels",))
    if pixels_at is None:
        raise table.lacks("pixels")
    if label_at is None and set(table.header) - {"pixels", *SPLIT_COLUMN_NAMES, *HARMLESS_NAMES}:
        raise table.lacks("emotion")
    default_usage = TEST if label_at is None else TRAINING
    rows = _Rows(len(table.header))
    for number, (line, fields) in enumerate(table.rows):
        try:
            _check_width(fields, rows.width)
            crop = parse_pixels(fields[pixels_at])
            label = UNLABELLED if label_at is None else _parse_label(fields[label_at])
            usage = default_usage if usage_at is None else _parse_usage(fields[usage_at], usages)
            rows.add(line, crop, label, usage, row_name(number))
        except RowError as error:
            rows.bad.append(BadRow(f"line {line}", str(error)))
    shape = "FER2013 CSV" if usage_at is not None else "challenge CSV"
    return _finish(table.path, rows, labels, skip_bad, "unlabelled CSV" if label_at is None else shape)


def row_name(number: int) -> str:
    """Return FER+'s name of a row of FER2013, counted from 0."""
    return f"fer{number:07d}.png"


def _check_width(fields: list[str], width: int) -> None:
    if len(fields) != width:
        raise RowError(f"a row must have {width} fields, got {len(fields)}")


def parse_pixels(text: str) -> NDArray[np.uint8]:
    """Return the (48, 48) uint8 crop that 2,304 numbers between spaces spell.

    Args:
        text: The numbers, row by row from the top left, 0 to 255.

    Raises:
        RowError: It is something else.
    """
    wanted = CROP_PX * CROP_PX
    letters = np.frombuffer(text.encode("ascii", "replace"), np.uint8)
    if DIGIT_OR_SPACE[letters].all():
        values = np.fromstring(text, dtype=np.int64, sep=" ") if text.strip() else np.zeros(0, np.int64)
    else:
        values = np.array([_parse_pixel(word) for word in text.split()], dtype=np.int64)
    if len(values) != wanted:
        raise RowError(
            f"pixels must be {wanted} numbers ({CROP_PX}x{CROP_PX}), got {len(values)}{_square(len(values))}"
        )
    if values.min() < 0 or values.max() > 255:
        raise RowError(f"pixels must be 0 to 255, got {values.min()} to {values.max()}")
    return values.astype(np.uint8).reshape(CROP_PX, CROP_PX)


def _parse_pixel(word: str) -> int:
    try:
        return max(-(2**31), min(int(ZERO_DECIMALS.sub("", word)), 2**31))
    except ValueError:
        raise RowError(f"pixels must be whole numbers between spaces, got {word[:20]!r}") from None


def _square(count: int) -> str:
    side = round(count**0.5)
    return f" (a {side}x{side} image)" if count and side * side == count else ""


def _parse_label(text: str) -> int | str:
    try:
        label = parse_label(text)
    except ValueError as error:
        raise RowError(str(error)) from None
    if label is None:
        raise RowError("the label is empty")
    return label


def _parse_usage(text: str, usages: tuple[str, ...]) -> str:
    if text.strip() not in usages:
        raise RowError(f"Usage must be one of {listed(usages)}, got {shown(text)}")
    return text.strip()


def read_list_table(
    path: Path, labels: LabelSet | None, *, skip_bad: bool, crop_of: CropReader | None = None
) -> ReadResult:
    """Read a CSV with a column of paths and one of labels, names or numbers; paths count from the CSV's folder.

    Args:
        path: The file.
        labels: What numbers in its label column mean; None decides as for `read_pixel_table`.
        skip_bad: Leave malformed rows out instead of refusing the file.
        crop_of: How an image becomes a crop; None resizes it whole.

    Raises:
        InputError: A column is missing or rows are malformed; they are named by line number.
    """
    reader = crop_of or WholeImageReader()
    result = with_table(path, lambda table: _read_list_rows(table, labels, reader, skip_bad=skip_bad))
    return replace(result, notes=(*result.notes, *reader.notes()))


def _read_list_rows(table: Table, labels: LabelSet | None, reader: CropReader, *, skip_bad: bool) -> ReadResult:
    path_at, label_at = table.column(PATH_NAMES), table.column(LABEL_NAMES)
    usage_at = table.column(SPLIT_COLUMN_NAMES)
    if path_at is None or label_at is None:
        raise table.lacks("path, label" if path_at is None else "label")
    rows = _Rows(len(table.header))
    for line, fields in table.rows:
        try:
            _check_width(fields, rows.width)
            crop = _read_listed(table.path.parent / fields[path_at], reader)
            usage = UNSPLIT if usage_at is None else _parse_usage(fields[usage_at], SPLIT_NAMES)
            rows.add(line, crop, _parse_label(fields[label_at]), usage, fields[path_at])
        except RowError as error:
            rows.bad.append(BadRow(f"line {line}", str(error)))
    return _finish(table.path, rows, labels, skip_bad, "list of images")


def _read_listed(image: Path, reader: CropReader) -> NDArray[np.uint8]:
    try:
        return reader(image)
    except InputError as error:
        raise RowError(str(error)) from None


def listed_images(path: Path) -> list[Path]:
    """Return the images of a list CSV that exist, for a digest of its content."""

    def collect(table: Table) -> list[Path]:
        at = table.column(PATH_NAMES)
        if at is None:
            raise table.lacks("path, label")
        found = (path.parent / fields[at] for _, fields in table.rows if len(fields) > at)
        return [image for image in found if image.is_file()]

    return with_table(path, collect)


def _finish(path: Path, rows: _Rows, labels: LabelSet | None, skip_bad: bool, shape: str) -> ReadResult:
    meaning = meaning_of(set(rows.label), labels, where=path, stem=path.stem, rows=len(rows.label))
    chosen, notes = meaning.labels, meaning.notes
    label, known = _to_numbers(rows, meaning)
    if not skip_bad:
        refuse_bad_rows(path, rows.bad)
    if not known.any():
        gone = f"; all {len(rows.bad):,} were left out: {rows.bad[0]}" if rows.bad else "; is the download complete?"
        raise InputError(f"{path} has no usable rows{gone}")
    kept = np.flatnonzero(known)
    data = CropDataset(
        np.stack([rows.crops[i] for i in kept]), label[known], np.array(rows.usage)[known], chosen,
        name=np.array(rows.name)[known],
    )  # fmt: skip
    shape = f"five-class {shape}" if chosen == FIVE else shape
    return ReadResult(data, shape, tuple(rows.bad), (*notes, *own_classes(chosen), *missing_classes(data)))


def _to_numbers(rows: _Rows, meaning: Meaning) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    """Return label numbers and which rows have a valid one; the others become bad rows."""
    if set(rows.label) == {UNLABELLED}:
        return np.full(len(rows.label), UNLABELLED, np.int8), np.ones(len(rows.label), np.bool_)
    found = [meaning.index(value) for value in rows.label]
    label = np.array([-2 if index is None else index for index in found], np.int8)
    for i in np.flatnonzero(label == -2):
        got = repr(rows.label[i])[:SHOWN_CHARACTERS]
        rows.bad.append(BadRow(f"line {rows.line[i]}", f"the label must be {meaning.rule}, got {got}"))
    rows.bad.sort(key=lambda row: int(row.where.split()[1]))
    return label, label != -2


def is_votes_header(header: tuple[str, ...]) -> bool:
    """Return whether these are the columns of FER+'s `fer2013new.csv`, which holds no image."""
    return set(name.lower() for name in VOTE_COLUMNS) <= set(header)
