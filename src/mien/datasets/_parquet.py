"""Parquet: mien's own, pandas' copy of FER2013's CSV, and what Hugging Face's datasets write."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.datasets._meaning import Meaning, meaning_of, meaning_of_names, parse_label
from mien.datasets._tables import (
    LABEL_NAMES,
    SPLIT_COLUMN_NAMES,
    RowError,
    parse_pixels,
)
from mien.datasets.dataset import (
    SHOWN_CHARACTERS,
    SPLIT_NAMES,
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
from mien.datasets.folders import SPLIT_FOLDERS, decode_gray, resized_note, to_crop
from mien.errors import InputError, require_extra
from mien.faces import CROP_PX
from mien.labels import LabelSet, canonical_name, label_set

LABELS_KEY, LABEL_NAMES_KEY = b"mien.labels", b"mien.label_names"
HUGGING_FACE_KEY = b"huggingface"
PIXEL_COLUMNS = ("pixels", "image", "img", "img_bytes", "image_bytes", "bytes")
LABEL_COLUMNS = (*LABEL_NAMES, "labels")
GRAY_OF_RGB = np.array([0.299, 0.587, 0.114])  # ITU-R 601


def write_parquet(data: CropDataset, path: Path) -> None:
    """Write one row per crop: name, label (the expression's name), usage, pixels (2,304 bytes) and the votes.

    Args:
        data: The data set.
        path: Where to; written directly, not by way of a temporary name.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    arrow, parquet = require_extra("data", "pyarrow"), require_extra("data", "pyarrow.parquet")
    names = [data.labels.names[i] if i != UNLABELLED else None for i in data.label]
    columns = {
        "label": arrow.array(names, arrow.string()),
        "usage": arrow.array(data.usage.tolist(), arrow.string()),
        "pixels": arrow.array([crop.tobytes() for crop in data.crops], arrow.binary(CROP_PX * CROP_PX)),
    }
    if data.name is not None:
        columns = {"name": arrow.array(data.name.tolist(), arrow.string())} | columns
    if data.votes is not None:
        columns |= {name: arrow.array(data.votes[:, i]) for i, name in enumerate(VOTE_COLUMNS)}
    about = {LABELS_KEY: data.labels.key.encode(), LABEL_NAMES_KEY: json.dumps(data.labels.names).encode()}
    parquet.write_table(arrow.table(columns).replace_schema_metadata(about), path, compression="zstd")


def read_parquet(paths: Sequence[Path], source: Path, labels: LabelSet | None, *, skip_bad: bool) -> ReadResult:
    """Read Parquet tables with a column of labels and one of pixels, or of images.

    Pixels are 2,304 bytes, FER2013's text of numbers, or a list of numbers; images are the bytes of an image file, as
    they are or in Hugging Face's `{bytes, path}`. What the numbers mean stands in mien's or Hugging Face's metadata,
    else they are FER2013's. Without a column of splits a file named `train-….parquet` gives one.

    Args:
        paths: The files of one data set.
        source: The file or folder that the user named, for messages.
        labels: The label set; None takes the one named in the file, or decides by looking.
        skip_bad: Leave malformed rows out instead of refusing the whole.

    Raises:
        InputError: Columns are missing or rows are malformed; they are named by number, from 1.
        MissingExtraError: pyarrow is not installed.
    """
    tables = [_Rows(path, several=len(paths) > 1) for path in paths]
    values = {value for rows in tables for value in rows.label if value is not None}
    asked, names = labels or tables[0].own_labels(), tables[0].names_of_numbers()
    if asked is None and names:
        meaning = meaning_of_names(names, where=source)
    else:
        meaning = meaning_of(values, asked, where=source, rows=sum(len(rows.label) for rows in tables))
    for rows in tables:
        rows.check_labels(meaning)
    bad = [BadRow(rows.where(row), rows.bad[row]) for rows in tables for row in sorted(rows.bad)]
    if not skip_bad:
        refuse_bad_rows(source, bad)
    if not any(rows.kept for rows in tables):
        raise InputError(f"{source} has no usable rows; is the file complete?")
    named, voted = all(rows.name is not None for rows in tables), all(rows.votes is not None for rows in tables)
    data = CropDataset(
        np.stack([crop for rows in tables for row in rows.kept if (crop := rows.crops[row]) is not None]),
        np.array([rows.index(row, meaning) for rows in tables for row in rows.kept], np.int8),
        np.array([rows.usage[row] for rows in tables for row in rows.kept]),
        meaning.labels,
        votes=np.concatenate([rows.votes[rows.kept] for rows in tables if rows.votes is not None]) if voted else None,
        name=np.array([rows.name[row] for rows in tables for row in rows.kept if rows.name]) if named else None,
    )
    sizes = {size for rows in tables for size in rows.sizes}
    notes = (*meaning.notes, *own_classes(meaning.labels), *resized_note(sizes), *missing_classes(data))
    return ReadResult(data, "Parquet", tuple(bad), notes)


class _Rows:
    """The rows of one file: crops, labels, splits, names, votes, and what is wrong with some."""

    def __init__(self, path: Path, *, several: bool) -> None:
        arrow, parquet = require_extra("data", "pyarrow"), require_extra("data", "pyarrow.parquet")
        try:
            table = parquet.read_table(path)
        except (arrow.ArrowInvalid, OSError) as error:
            raise InputError(f"{path} is no Parquet file that can be read: {str(error)[:SHOWN_CHARACTERS]}") from error
        self.path = path
        self.file = f"{path.name}, " if several else ""
        self.about: Mapping[bytes, bytes] = table.schema.metadata or {}
        self.bad: dict[int, str] = {}
        self.sizes: set[tuple[int, int]] = set()
        columns = {name.lower(): name for name in table.column_names}
        pixels, self.label_column = _first(PIXEL_COLUMNS, columns), _first(LABEL_COLUMNS, columns)
        if pixels is None or self.label_column is None:
            found = ", ".join(table.column_names)[:SHOWN_CHARACTERS]
            raise InputError(f"{path} must have the columns label and pixels (or image); it has {found}")
        paths: list[str | None] = []
        self.crops = [self._crop(row, value, paths) for row, value in enumerate(_values(table.column(pixels)))]
        self.label = [self._label(row, v) for row, v in enumerate(table.column(self.label_column).to_pylist())]
        split = _first(SPLIT_COLUMN_NAMES, columns)
        self.usage = (
            [_usage_of(path)] * len(self.crops) if split is None else
            [self._usage(row, value) for row, value in enumerate(table.column(split).to_pylist())]
        )  # fmt: skip
        self.name: list[str] | None = None
        if "name" in columns:
            self.name = [str(name) for name in table.column(columns["name"]).to_pylist()]
        elif paths and all(paths):
            self.name = [str(name) for name in paths]
        self.votes: NDArray[np.uint8] | None = None
        if set(VOTE_COLUMNS) <= set(table.column_names):
            self.votes = np.array([table.column(name).to_pylist() for name in VOTE_COLUMNS], np.uint8).T

    @property
    def kept(self) -> list[int]:
        """The numbers of the rows that can be used."""
        return [row for row in range(len(self.crops)) if row not in self.bad]

    def where(self, row: int) -> str:
        """Return the name of a row for people."""
        return f"{self.file}row {row + 1}"

    def check_labels(self, meaning: Meaning) -> None:
        """Note the rows whose label the label set does not have."""
        for row, value in enumerate(self.label):
            if value is not None and meaning.index(value) is None:
                self.bad.setdefault(row, f"the label must be {meaning.rule}, got {repr(value)[:SHOWN_CHARACTERS]}")

    def index(self, row: int, meaning: Meaning) -> int:
        """Return the number of a row's class."""
        value = self.label[row]
        index = None if value is None else meaning.index(value)
        return UNLABELLED if index is None else index

    def own_labels(self) -> LabelSet | None:
        """Return the label set that mien wrote into the file, or None.

        Raises:
            InputError: Its list of classes is malformed.
        """
        if LABELS_KEY not in self.about and LABEL_NAMES_KEY not in self.about:
            return None
        key = self.about.get(LABELS_KEY, b"fer2013").decode()
        if LABEL_NAMES_KEY not in self.about:
            return label_set(key)
        try:
            return LabelSet(key, tuple(map(str, json.loads(self.about[LABEL_NAMES_KEY]))))
        except (ValueError, TypeError) as error:
            raise InputError(f"{self.path}: its list of classes is malformed ({error}); write it again") from error

    def names_of_numbers(self) -> list[str]:
        """Return the canonical names that Hugging Face's metadata give the numbers, in order, or none."""
        try:
            features = json.loads(self.about.get(HUGGING_FACE_KEY, b"{}"))["info"]["features"]
            names = [canonical_name(name) for name in features[self.label_column]["names"]]
            return [] if all(name.isdigit() for name in names) else names
        except (ValueError, KeyError, TypeError, AttributeError):
            return []  # a column of plain numbers or texts, or another's metadata

    def _label(self, row: int, value: Any) -> int | str | None:
        try:
            return parse_label(value)
        except (ValueError, TypeError) as error:
            self.bad.setdefault(row, str(error)[:SHOWN_CHARACTERS])
            return None

    def _usage(self, row: int, value: Any) -> str:
        text = str(value).strip()
        usage = text if text in SPLIT_NAMES else SPLIT_FOLDERS.get(text.lower())
        if usage is None:
            self.bad.setdefault(row, f"the split must be one of {', '.join(SPLIT_NAMES)}, got {text[:50]!r}")
        return usage or UNSPLIT

    def _crop(self, row: int, value: Any, paths: list[str | None]) -> NDArray[np.uint8] | None:
        try:
            if isinstance(value, Mapping):  # Hugging Face's Image
                name = value.get("path")
                paths.append(PurePath(name).name if name else None)
                value = value.get("bytes")
            gray = _gray_of(value)
            if gray.shape != (CROP_PX, CROP_PX):
                self.sizes.add((gray.shape[1], gray.shape[0]))
            return to_crop(gray)
        except (InputError, RowError, ValueError, TypeError) as error:
            self.bad[row] = str(error)[:SHOWN_CHARACTERS]
            return None


def _first(names: tuple[str, ...], columns: Mapping[str, str]) -> str | None:
    return next((columns[name] for name in names if name in columns), None)


def _values(column: Any) -> Iterator[Any]:
    """Yield the values of a column one by one: 30,000 lists of 2,304 Python numbers would fill the memory."""
    return (value.as_py() for chunk in column.chunks for value in chunk)


def _usage_of(path: Path) -> str:
    return SPLIT_FOLDERS.get(re.split(r"[^a-z]", path.stem.lower(), maxsplit=1)[0], UNSPLIT)


def _gray_of(value: Any) -> NDArray[np.uint8]:
    """Return the image (H, W) uint8 that a cell holds."""
    if isinstance(value, str):
        return parse_pixels(value)
    if isinstance(value, bytes):
        raw = np.frombuffer(value, np.uint8)
        return raw.reshape(CROP_PX, CROP_PX) if len(raw) == CROP_PX * CROP_PX else decode_gray(raw, "the image")
    if not isinstance(value, list):
        raise ValueError(f"pixels must be {CROP_PX * CROP_PX} bytes or an image, got {type(value).__name__}")
    numbers = np.array(value)
    if not np.issubdtype(numbers.dtype, np.number) or not numbers.size or (numbers != np.round(numbers)).any():
        raise ValueError("pixels must be a list of whole numbers")
    if numbers.min() < 0 or numbers.max() > 255:
        raise ValueError(f"pixels must be 0 to 255, got {numbers.min():g} to {numbers.max():g}")
    if numbers.ndim == 1:
        numbers = numbers.reshape(CROP_PX, CROP_PX)
    if numbers.ndim == 3 and numbers.shape[2] in (1, 3):
        numbers = numbers[:, :, 0] if numbers.shape[2] == 1 else np.round(numbers @ GRAY_OF_RGB)
    if numbers.ndim != 2:
        raise ValueError(f"an image must be (H, W) or (H, W, 3), got {numbers.shape}")
    return numbers.astype(np.uint8)
