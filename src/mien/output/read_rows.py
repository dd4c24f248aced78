"""Tables of results, read back: the rows that `mien.output.tables` wrote, in the order in which they were written."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from mien.errors import InputError, require_extra, shown
from mien.faces import ATTRIBUTES, COLUMNS, CORRECTED, ERROR, NOTE, STEADY, Record
from mien.files import plain_cell
from mien.labels import LabelSet, named_labels
from mien.output.kinds import TABLE
from mien.output.rows import type_of

HOW = "give a table of faces: mien analyze video.mp4 -o rows.csv"
AFTER_LABELS = {STEADY, NOTE, CORRECTED, ERROR, *(column for columns in ATTRIBUTES.values() for column in columns)}


@dataclass(frozen=True)
class ResultTable:
    """A table of faces on the disk.

    Attributes:
        path: The file.
        columns: Its columns, in order.
        labels: The label set of its probabilities.
    """

    path: Path
    columns: tuple[str, ...]
    labels: LabelSet

    @classmethod
    def open(cls, path: str | Path) -> "ResultTable":
        """Look at a table's columns.

        Args:
            path: Ends in `.jsonl`, `.csv` or `.parquet`.

        Raises:
            InputError: It is no table of faces, or cannot be read.
            MissingExtraError: It is Parquet, and pyarrow is not installed.
        """
        file = Path(path)
        TABLE.check(file)
        columns = tuple(_columns(file))
        first, *rest = COLUMNS
        begin = [name for name in columns if name in COLUMNS]
        if begin != [first, *rest]:
            raise InputError(f"{file} has not the columns of a table of faces, got {shown(', '.join(columns))}; {HOW}")
        names = list(takewhile(lambda name: name not in AFTER_LABELS, columns[len(COLUMNS) :]))
        if not names:
            raise InputError(f"{file} has no column of probabilities, so nothing can be told of expressions; {HOW}")
        return cls(file, columns, named_labels(names))

    def __iter__(self) -> Iterator[Record]:
        """Yield the rows, with numbers as numbers and None where there is no value.

        Raises:
            InputError: A row cannot be read; the message names it.
        """
        read = {".jsonl": _json_rows, ".csv": _csv_rows, ".parquet": _parquet_rows}[self.path.suffix.lower()]
        for number, row in enumerate(read(self.path), 1):
            try:
                yield {name: _value(name, row.get(name)) for name in self.columns}
            except (TypeError, ValueError, AttributeError) as error:
                raise InputError(f"{self.path}: row {number}: {shown(str(error))}; {HOW}") from error


def _value(name: str, value: Any) -> str | int | float | None:
    if value is None or value == "":
        return None
    kind = type_of(name)
    return str(value) if kind is str else int(float(value)) if kind is int else float(value)


def _columns(path: Path) -> Sequence[str]:
    try:
        if path.suffix.lower() == ".parquet":
            return list(require_extra("data", "pyarrow.parquet").read_schema(path).names)
        if path.suffix.lower() == ".jsonl":
            return list(next(_json_rows(path), {}))
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [plain_cell(cell) for cell in next(csv.reader(file), [])]
    except OSError as error:  # pyarrow's, too
        raise InputError(f"cannot read {path}: {error.strerror or shown(str(error))}; check the path") from error
    except (UnicodeDecodeError, csv.Error, AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a table of rows ({shown(str(error))}); {HOW}") from error


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(f"{path}: row {number} is no JSON; {HOW}") from error
            yield dict(row)


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            yield {name: plain_cell(cell) for name, cell in row.items() if name is not None and cell is not None}


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    parquet: Any = require_extra("data", "pyarrow.parquet")
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield from batch.to_pylist()
