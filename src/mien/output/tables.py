"""Tables of rows: JSON lines, CSV and Parquet."""

import csv
import json
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TextIO

from mien.errors import OutputError, require_extra
from mien.faces import ERROR, Faces, Frame, Record
from mien.files import PartFile, explained, guarded_cells
from mien.labels import LabelSet
from mien.output.base import Sink, SinkSettings
from mien.output.rows import INTERRUPTED_ROW, complete_row, rows_of, table_columns, type_of

ROWS_PER_GROUP = 8192


class TableSink(Sink):
    """Turns results into rows."""

    def __init__(self, settings: SinkSettings, columns: Sequence[str] | None = None) -> None:
        """Check the columns.

        Args:
            settings: Label set, and whether frames without a face get a row.
            columns: The columns, where rows are not faces; those of `table_columns` without.

        Raises:
            InputError: An expression has the name of another column.
        """
        super().__init__()
        self.columns = list(
            columns or table_columns(settings.labels, tracked=settings.tracked, attributes=settings.attributes)
        )
        self._settings = settings

    def add_rows(self, rows: Sequence[Record]) -> None:
        """Add rows that are made already, those of an earlier run or of another table, say.

        Args:
            rows: Columns that are missing stay empty, others are left out.

        Raises:
            InputError: The writer is closed.
            OutputError: They cannot be written; the unfinished file is removed.
        """
        self._check_open()
        self._add([complete_row(row, self.columns) for row in rows])

    def interrupt(self) -> None:
        """Complete the table, with a last row whose `error` says that the run was interrupted.

        Raises:
            OutputError: The table cannot be completed; the unfinished file is removed.
        """
        if not self._closed:
            self._add([complete_row({ERROR: INTERRUPTED_ROW}, self.columns)])
        self.close()

    def _write(self, frame: Frame, faces: Faces) -> None:
        what = self._settings
        self._add(
            rows_of(
                faces.at(frame), what.labels, keep_empty=what.keep_empty, tracked=what.tracked,
                attributes=what.attributes,
            )
        )  # fmt: skip

    def _fail(self, source: str, message: str) -> None:
        self._add([complete_row({"source": source, ERROR: message}, self.columns)])

    def _add(self, rows: list[Record]) -> None:
        try:
            self._put(rows)
        except OutputError:
            self.discard()
            raise

    @abstractmethod
    def _put(self, rows: list[Record]) -> None: ...


class JsonLinesStream(TableSink):
    """One JSON object per row on an open text stream, standard output say, which stays open.

    Each frame's rows go out at once. A reader that goes away raises BrokenPipeError, as everywhere in Python.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        labels: LabelSet,
        keep_empty: bool = True,
        tracked: bool = False,
        attributes: Sequence[str] = (),
    ) -> None:
        """Use an open stream.

        Args:
            stream: The stream; one that is not UTF-8 gets other letters than ASCII as JSON escapes.
            labels: The label set of the results.
            keep_empty: Whether a frame without a face gets a row.
            tracked: Whether there are the columns of videos.
            attributes: Names of `mien.faces.ATTRIBUTES` that have columns.
        """
        super().__init__(SinkSettings(labels, keep_empty=keep_empty, tracked=tracked, attributes=tuple(attributes)))
        self._stream = stream
        self._name = str(getattr(stream, "name", "the stream"))
        self._ascii = not (stream.encoding or "utf-8").lower().startswith("utf")

    def _put(self, rows: list[Record]) -> None:
        with explained(self._name):
            self._stream.write("".join(_json_line(row, ascii_only=self._ascii) for row in rows))
            self._stream.flush()

    def _commit(self) -> None:
        """Nothing is left to do."""

    def _drop(self) -> None:
        """What is out is out."""


def _json_line(row: Record, *, ascii_only: bool = False) -> str:
    return json.dumps(row, ensure_ascii=ascii_only, allow_nan=False) + "\n"


class FileTableSink(TableSink):
    """A table in a file."""

    def __init__(self, path: Path, settings: SinkSettings, columns: Sequence[str] | None = None) -> None:
        """Start the file.

        Args:
            path: The file.
            settings: Label set, and whether frames without a face get a row.
            columns: As in `TableSink`.

        Raises:
            InputError: An expression has the name of another column.
            OutputError: Nothing can be written there.
        """
        super().__init__(settings, columns)
        self._part = PartFile(path)
        self._file = self._part.start()

    def _commit(self) -> None:
        self._part.commit()

    def _drop(self) -> None:
        self._part.discard()


class JsonLinesSink(FileTableSink):
    """One JSON object per row, UTF-8, null where there is no value."""

    def _put(self, rows: list[Record]) -> None:
        with self._part.guarded() as file:
            file.write("".join(map(_json_line, rows)).encode())


class _Utf8Lines:
    """What the csv module needs of a file: a `write`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(text.encode())


class CsvSink(FileTableSink):
    """Comma-separated values, UTF-8, a header always, empty where there is no value.

    A text that a spreadsheet would take for a formula, a file name that begins with `=` say, gets an apostrophe before
    it: `mien.files.guarded_cells`.
    """

    def __init__(self, path: Path, settings: SinkSettings, columns: Sequence[str] | None = None) -> None:
        """Start the file with its header.

        Args:
            path: The file.
            settings: Label set, and whether frames without a face get a row.
            columns: As in `TableSink`.

        Raises:
            InputError: An expression has the name of another column.
            OutputError: Nothing can be written there.
        """
        super().__init__(path, settings, columns)
        self._csv = csv.writer(_Utf8Lines(self._file), lineterminator="\n")
        with self._part.guarded():
            self._csv.writerow(guarded_cells(self.columns))

    def _put(self, rows: list[Record]) -> None:
        with self._part.guarded():
            self._csv.writerows(guarded_cells(row[column] for column in self.columns) for row in rows)


def arrow_schema(columns: Sequence[str]) -> Any:
    """Return the `pyarrow.Schema` of rows.

    Args:
        columns: Their names, in order.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    arrow: Any = require_extra("data", "pyarrow")
    types = {str: arrow.string(), int: arrow.int64(), float: arrow.float64()}
    return arrow.schema([(name, types[type_of(name)]) for name in columns])


class ParquetSink(FileTableSink):
    """A typed Parquet table, written in groups of rows, so that memory stays flat."""

    def __init__(self, path: Path, settings: SinkSettings, columns: Sequence[str] | None = None) -> None:
        """Start the file with its schema.

        Args:
            path: The file.
            settings: Label set, and whether frames without a face get a row.
            columns: As in `TableSink`.

        Raises:
            InputError: An expression has the name of another column.
            MissingExtraError: pyarrow is not installed.
            OutputError: Nothing can be written there.
        """
        self._arrow: Any = require_extra("data", "pyarrow")
        parquet: Any = require_extra("data", "pyarrow.parquet")
        super().__init__(path, settings, columns)
        self._rows: list[Record] = []
        self._flushing = False
        self._schema = arrow_schema(self.columns)
        with self._part.guarded() as file:
            self._writer = parquet.ParquetWriter(file, self._schema)

    def _put(self, rows: list[Record]) -> None:
        self._rows += rows
        if len(self._rows) >= ROWS_PER_GROUP:
            self._flush()

    def interrupt(self) -> None:
        """Complete the table, unless Ctrl-C came while a group of rows was on its way to the disk.

        Raises:
            OutputError: The table cannot be completed; the unfinished file is removed.
        """
        if self._flushing:
            self.discard()
        super().interrupt()

    def _flush(self) -> None:
        table = self._arrow.Table.from_pylist(self._rows, schema=self._schema)
        self._flushing = True
        with self._part.guarded():
            self._writer.write_table(table)
        self._flushing = False
        self._rows = []

    def _commit(self) -> None:
        if self._rows:
            self._flush()
        with self._part.guarded():
            self._writer.close()
        super()._commit()

    def _drop(self) -> None:
        with suppress(OSError, ValueError):  # the disk may be full, the file closed already
            self._writer.close()
        super()._drop()


TABLES: dict[str, type[FileTableSink]] = {
    ".jsonl": JsonLinesSink,
    ".csv": CsvSink,
    ".parquet": ParquetSink,
}
