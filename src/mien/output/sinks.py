"""Writers of results, chosen by extension: tables (`.jsonl`, `.csv`, `.parquet`), images, annotated videos.

Every writer is a context manager, and a file appears complete or not at all: it grows under a hidden name in the same
folder and takes its own name when the `with` block ends. An error in the block removes it. Ctrl-C does not: what was
done by then is kept, as a valid file; a table then ends with a row whose `error` says that the run was interrupted.

A table has one row per face with the columns of `columns_of`. The last one, `error`, is empty but for sources that gave
no result, which get a row of their own with nothing else in it but the `source`. An image without a face is a result:
it gets a row with `source`, `frame` and `time_s`, and nothing else, unless `keep_empty` is off. Tables of videos
(`tracked`) have further columns: the steady expression of the track and its smoothed probabilities.
"""

import csv
import json
import math
import os
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self, TextIO
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from mien import faces as _faces
from mien.errors import InputError, OutputError, require_extra
from mien.faces import STEADY, Faces, Frame, Record
from mien.files import PartFile, check_not_source, explained
from mien.labels import LabelSet
from mien.output.kinds import FOLDER, IMAGE, TABLE, VIDEO, kind_of
from mien.output.video_sink import VideoWriter, time_base_of
from mien.video.intervals import IntervalTable

if TYPE_CHECKING:
    from mien.sources.videos import VideoInfo

Draw = Callable[[NDArray[np.uint8], Faces], NDArray[np.uint8]]

ERROR = "error"
INTERRUPTED = "interrupted: what comes after this was not analyzed"
ROWS_PER_GROUP = 8192
JPEG_QUALITY, WEBP_QUALITY, PNG_COMPRESSION = 92, 90, 4
MARK = b"Annotated by mien"
LONGEST_NAME = 150  # bytes; file systems allow 255


@dataclass(frozen=True)
class SinkSettings:
    """What a writer needs to know before the first result.

    Attributes:
        labels: The label set of the results, for the columns of a table.
        draw: Draws faces on a copy of an image; `mien.draw_faces` does. Needed for images and videos only.
        keep_empty: Whether a frame without a face gets a row in tables.
        tracked: Whether tables have the columns of videos.
        video: The video that is annotated, where the result is one.
        interval_s: Length of the intervals of a table that has a row for each, seconds; None where rows are faces.
    """

    labels: LabelSet
    draw: Draw | None = None
    keep_empty: bool = True
    tracked: bool = False
    video: "VideoInfo | None" = None
    interval_s: float | None = None


class Sink(ABC):
    """Takes the results of one frame after another. For one thread at a time."""

    def __init__(self) -> None:
        """Start open."""
        self._closed = False

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Complete the output; discard it after an error other than Ctrl-C."""
        if kind is None:
            self.close()
        elif issubclass(kind, KeyboardInterrupt):
            self.interrupt()
        else:
            self.discard()

    def write(self, frame: Frame, faces: Faces) -> None:
        """Add the faces of one frame.

        Args:
            frame: The frame; rows take source, number and time from it.
            faces: Its faces; none is a result, too.

        Raises:
            InputError: The faces carry another label set, or the writer is closed.
            OutputError: The result cannot be written; the unfinished file is removed.
        """
        self._check_open()
        self._write(frame, faces)

    def fail(self, source: str, message: str) -> None:
        """Note that a source gave no result; writers of images have no place for it and do nothing.

        Args:
            source: The path, URL or name.
            message: What went wrong.

        Raises:
            InputError: The writer is closed.
            OutputError: The note cannot be written; the unfinished file is removed.
        """
        self._check_open()
        self._fail(source, message)

    def close(self) -> None:
        """Complete the output; a second call does nothing.

        Raises:
            OutputError: The output cannot be completed; the unfinished file is removed.
        """
        if not self._closed:
            self._closed = True
            self._commit()

    def interrupt(self) -> None:
        """Complete the output with what is there, marked as interrupted where it has a place for that.

        Raises:
            OutputError: The output cannot be completed; the unfinished file is removed.
        """
        self.close()

    def discard(self) -> None:
        """Drop the unfinished output."""
        self._closed = True
        self._drop()

    def _check_open(self) -> None:
        if self._closed:
            raise InputError("this writer is closed; open a new one with open_sink()")

    @abstractmethod
    def _write(self, frame: Frame, faces: Faces) -> None: ...

    @abstractmethod
    def _fail(self, source: str, message: str) -> None: ...

    @abstractmethod
    def _commit(self) -> None: ...

    @abstractmethod
    def _drop(self) -> None: ...


Factory = Callable[[Path, SinkSettings], Sink]


def open_sink(
    path: str | Path,
    *,
    labels: LabelSet,
    draw: Draw | None = None,
    keep_empty: bool = True,
    tracked: bool = False,
    video: "VideoInfo | None" = None,
) -> Sink:
    """Open the writer that fits a path: a known extension, or else a folder for annotated images.

    A path is taken for a folder when it ends with a slash, has no extension, or is one and has no extension of a file
    that mien writes. Missing folders are made.

    Args:
        path: Where the result goes.
        labels: The label set of the results.
        draw: Draws faces on a copy of an image, `mien.draw_faces` say; needed for images and videos only.
        keep_empty: Whether a frame without a face gets a row in tables.
        tracked: Whether tables have the columns of videos: steady expression and smoothed probabilities.
        video: The video that is analyzed; needed for annotated videos, which take times and sound from it.

    Returns:
        An open writer, for use in a `with` statement.

    Raises:
        InputError: Unknown extension (the message lists the known ones), an image is asked for without `draw`, or a
            video without `video`.
        OutputError: Nothing can be written there.
        MissingExtraError: The format needs an extra.
    """
    settings = SinkSettings(labels, draw, keep_empty, tracked, video)
    target = Path(path)
    if kind_of(path) is FOLDER:
        return FolderSink(target, settings)
    return SINKS[target.suffix.lower()](target, settings)


def open_interval_sink(path: str | Path, *, labels: LabelSet, interval_s: float) -> Sink:
    """Open a table with one row per track and interval of time; see `mien.video.intervals.IntervalTable`.

    Args:
        path: Ends in `.jsonl`, `.csv` or `.parquet`.
        labels: The label set of the results.
        interval_s: Length of an interval, seconds.

    Raises:
        InputError: Another extension, or the length is not positive.
        OutputError: Nothing can be written there.
        MissingExtraError: The format needs an extra.
    """
    target = Path(path)
    TABLE.check(target)
    return IntervalSink(target, SinkSettings(labels, interval_s=interval_s))


# Tables ---------------------------------------------------------------------------------------------------------------


def columns_of(labels: LabelSet, *, tracked: bool = False) -> list[str]:
    """Return the columns of a table: those of `mien.faces.columns_of`, then `error`.

    Args:
        labels: The label set of the results.
        tracked: Whether it is the table of a video.

    Raises:
        InputError: An expression has the name of another column.
    """
    columns = [*_faces.columns_of(labels, tracked=tracked), ERROR]
    taken = sorted({name for name in labels.names if columns.count(name) > 1})
    if taken:
        clash = ", ".join(taken)
        raise InputError(f"label set {labels.key!r} has the name of another column: {clash}; rename the expression")
    return columns


def rows_of(
    frame: Frame, faces: Faces, labels: LabelSet, *, keep_empty: bool = True, tracked: bool = False
) -> list[Record]:
    """Return the rows of one frame, every one with all the columns of `columns_of(labels, tracked=tracked)`.

    Args:
        frame: The frame; gives source, number and time.
        faces: Its faces.
        labels: The label set of the table.
        keep_empty: Whether a frame without a face gets a row with its source, number and time alone.
        tracked: Whether it is the table of a video.

    Raises:
        InputError: The faces carry another label set.
    """
    if faces.labels is not None and faces.labels.names != labels.names:
        raise InputError(
            f"the faces carry the label set {faces.labels.key!r}, the table is for {labels.key!r}; "
            "open it for that one or use convert_probs()"
        )
    records = faces.at(frame).to_records()
    if not records and keep_empty:
        records = [{"source": frame.source, "frame": frame.index, "time_s": round(frame.time_s, 6)}]
    columns = columns_of(labels, tracked=tracked)
    return [_complete(record, columns) for record in records]


def _complete(record: Record, columns: Sequence[str]) -> Record:
    return {column: _storable(record.get(column)) for column in columns}


def _storable(value: str | int | float | None) -> str | int | float | None:
    """Return what every format can hold: no NaN, and text that is UTF-8 whatever a file name was."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _table_columns(settings: SinkSettings) -> list[str]:
    if settings.interval_s is None:
        return columns_of(settings.labels, tracked=settings.tracked)
    return [*IntervalTable(settings.labels, settings.interval_s).columns, ERROR]


class TableSink(Sink):
    """Turns results into rows."""

    def __init__(self, settings: SinkSettings) -> None:
        """Check the columns.

        Args:
            settings: Label set, and whether frames without a face get a row.

        Raises:
            InputError: An expression has the name of another column.
        """
        super().__init__()
        self.columns = _table_columns(settings)
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
        self._add([_complete(row, self.columns) for row in rows])

    def interrupt(self) -> None:
        """Complete the table, with a last row whose `error` says that the run was interrupted.

        Raises:
            OutputError: The table cannot be completed; the unfinished file is removed.
        """
        if not self._closed:
            self._add([_complete({ERROR: INTERRUPTED}, self.columns)])
        self.close()

    def _write(self, frame: Frame, faces: Faces) -> None:
        what = self._settings
        self._add(rows_of(frame, faces, what.labels, keep_empty=what.keep_empty, tracked=what.tracked))

    def _fail(self, source: str, message: str) -> None:
        self._add([_complete({"source": source, ERROR: message}, self.columns)])

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

    def __init__(self, stream: TextIO, *, labels: LabelSet, keep_empty: bool = True, tracked: bool = False) -> None:
        """Use an open stream.

        Args:
            stream: The stream; one that is not UTF-8 gets other letters than ASCII as JSON escapes.
            labels: The label set of the results.
            keep_empty: Whether a frame without a face gets a row.
            tracked: Whether there are the columns of videos.
        """
        super().__init__(SinkSettings(labels, keep_empty=keep_empty, tracked=tracked))
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

    def __init__(self, path: Path, settings: SinkSettings) -> None:
        """Start the file.

        Args:
            path: The file.
            settings: Label set, and whether frames without a face get a row.

        Raises:
            InputError: An expression has the name of another column.
            OutputError: Nothing can be written there.
        """
        super().__init__(settings)
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

    Text is written as it is: a file name that starts with `=` stays one, so import tables from strangers as text.
    """

    def __init__(self, path: Path, settings: SinkSettings) -> None:
        """Start the file with its header.

        Args:
            path: The file.
            settings: Label set, and whether frames without a face get a row.

        Raises:
            InputError: An expression has the name of another column.
            OutputError: Nothing can be written there.
        """
        super().__init__(path, settings)
        self._csv = csv.DictWriter(_Utf8Lines(self._file), self.columns, lineterminator="\n")
        with self._part.guarded():
            self._csv.writeheader()

    def _put(self, rows: list[Record]) -> None:
        with self._part.guarded():
            self._csv.writerows(rows)


class ParquetSink(FileTableSink):
    """A typed Parquet table, written in groups of rows, so that memory stays flat."""

    def __init__(self, path: Path, settings: SinkSettings) -> None:
        """Start the file with its schema.

        Args:
            path: The file.
            settings: Label set, and whether frames without a face get a row.

        Raises:
            InputError: An expression has the name of another column.
            MissingExtraError: pyarrow is not installed.
            OutputError: Nothing can be written there.
        """
        self._arrow: Any = require_extra("data", "pyarrow")
        parquet: Any = require_extra("data", "pyarrow.parquet")
        super().__init__(path, settings)
        self._rows: list[Record] = []
        self._flushing = False
        self._schema = self._arrow.schema([(name, self._type_of(name)) for name in self.columns])
        with self._part.guarded() as file:
            self._writer = parquet.ParquetWriter(file, self._schema)

    def _type_of(self, column: str) -> Any:
        if column in ("source", "expression", STEADY, ERROR):
            return self._arrow.string()
        whole = column in ("frame", "face", "track_id", "interval", "frames")
        return self._arrow.int64() if whole else self._arrow.float64()

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


class IntervalSink(Sink):
    """A table with one row per track and interval of time."""

    def __init__(self, path: Path, settings: SinkSettings) -> None:
        """Start the file.

        Args:
            path: The file.
            settings: Label set and length of the intervals.

        Raises:
            InputError: The length is missing or not positive, or an expression has the name of another column.
            OutputError: Nothing can be written there.
            MissingExtraError: The format needs an extra.
        """
        super().__init__()
        if settings.interval_s is None:
            raise InputError("a table of intervals needs their length; pass interval_s, 1.0 for a second")
        self._intervals, self._source = IntervalTable(settings.labels, settings.interval_s), ""
        self._table = TABLES[path.suffix.lower()](path, settings)

    def _write(self, frame: Frame, faces: Faces) -> None:
        if frame.source != self._source:  # the next video
            self._table.add_rows(self._intervals.finish())
            self._source = frame.source
        self._table.add_rows(self._intervals.add(frame, faces))

    def _fail(self, source: str, message: str) -> None:
        self._table.add_rows(self._intervals.finish())
        self._table.fail(source, message)

    def _commit(self) -> None:
        self._table.add_rows(self._intervals.finish())
        self._table.close()

    def interrupt(self) -> None:
        """Complete the table, with a last row whose `error` says that the run was interrupted.

        Raises:
            OutputError: The table cannot be completed; the unfinished file is removed.
        """
        if not self._closed:
            self._table.add_rows(self._intervals.finish())
            self._table.interrupt()
            self._closed = True

    def _drop(self) -> None:
        self._table.discard()


# What is drawn --------------------------------------------------------------------------------------------------------


class DrawingSink(Sink):
    """Draws faces on what it writes."""

    def __init__(self, settings: SinkSettings) -> None:
        """Check that there is something to draw with.

        Args:
            settings: Its `draw` draws the faces.

        Raises:
            InputError: It is missing.
        """
        super().__init__()
        if settings.draw is None:
            raise InputError("an annotated image needs a function that draws; pass draw=mien.draw_faces")
        self._draw = settings.draw

    def _fail(self, source: str, message: str) -> None:
        """An image or video has no place for it."""


# Videos ---------------------------------------------------------------------------------------------------------------


class VideoSink(DrawingSink):
    """An annotated video: the images with faces drawn on them, at their own times, and the sound of the source.

    After Ctrl-C the video holds what was done by then.
    """

    def __init__(self, path: Path, settings: SinkSettings) -> None:
        """Start the file.

        Args:
            path: Ends in one of `mien.output.kinds.VIDEO.extensions`.
            settings: Its `draw` draws the faces, its `video` is the source.

        Raises:
            InputError: One of those is missing, or the video would replace its source.
            OutputError: Nothing can be written there.
            MissingExtraError: PyAV is not installed.
        """
        super().__init__(settings)
        video = settings.video
        if video is None:
            raise InputError(f"{path} is a video, but what is analyzed is not; give a folder for annotated images")
        source = Path(str(video.source)).expanduser()
        check_not_source(path, source)
        known = source.is_file()  # a camera or a stream is none
        sound = source if known and video.has_audio else None
        self._writer = VideoWriter(path, sound=sound, time_base=time_base_of(source) if known else None)

    @property
    def problems(self) -> list[str]:
        """What could not be kept without harm to the image."""
        return self._writer.problems

    def _write(self, frame: Frame, faces: Faces) -> None:
        drawn = self._draw(frame.image, faces.at(frame))
        try:
            self._writer.add(drawn, frame.time_s, start_s=frame.time_s if frame.index else 0.0)
        except OutputError:
            self.discard()
            raise

    def _commit(self) -> None:
        self._writer.close()

    def _drop(self) -> None:
        self._writer.discard()


# Images -------------------------------------------------------------------------------------------------------------


def encode_image(image: NDArray[np.uint8], extension: str) -> bytes:
    """Return an image as the bytes of a file that says in its metadata that mien annotated it.

    Args:
        image: (H, W, 3) uint8 RGB.
        extension: `.jpg`, `.jpeg`, `.png` or `.webp`.

    Raises:
        OutputError: The format cannot hold an image of that size.
    """
    options = {
        ".png": [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION],
        ".webp": [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY],
    }.get(extension, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    try:
        done, data = cv2.imencode(extension, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    except cv2.error:
        done, data = False, np.zeros(0, np.uint8)
    if not done:
        height, width = image.shape[:2]
        raise OutputError(f"an image of {width} x {height} cannot be written as {extension}; use .png")
    return _marked(data.tobytes(), extension)


def _marked(data: bytes, extension: str) -> bytes:
    """Put `MARK` where the format keeps comments; WebP gets a chunk of its own, which readers pass over."""
    if extension == ".png":
        chunk = b"tEXtSoftware\0" + MARK
        head = 8 + 25  # signature and IHDR
        length, check = len(chunk) - 4, zlib.crc32(chunk)
        return data[:head] + length.to_bytes(4, "big") + chunk + check.to_bytes(4, "big") + data[head:]
    if extension == ".webp":
        chunk = b"mien" + len(MARK).to_bytes(4, "little") + MARK + b"\0" * (len(MARK) % 2)
        return data[:4] + (len(data) + len(chunk) - 8).to_bytes(4, "little") + data[8:] + chunk
    head = 4 + int.from_bytes(data[4:6], "big")  # the JFIF header comes first
    return data[:head] + b"\xff\xfe" + (len(MARK) + 2).to_bytes(2, "big") + MARK + data[head:]


def _is_annotated(path: Path) -> bool:
    """Whether a file is an image that `encode_image` made."""
    with path.open("rb") as file:
        head = file.read(256)
        file.seek(max(0, path.stat().st_size - 64))
        return MARK in head or MARK in file.read()


class EncodedSink(DrawingSink):
    """Writes annotated images, one file each."""

    _part: PartFile

    def _encoded(self, frame: Frame, faces: Faces, extension: str) -> bytes:
        return encode_image(self._draw(frame.image, faces), extension.lower())

    def _fill(self, data: bytes) -> None:
        with self._part.guarded() as file:
            file.write(data)

    def _drop(self) -> None:
        self._part.discard()


class ImageSink(EncodedSink):
    """One annotated image."""

    def __init__(self, path: Path, settings: SinkSettings) -> None:
        """Start the file.

        Args:
            path: The file.
            settings: Its `draw` draws the faces.

        Raises:
            InputError: `settings.draw` is missing.
            OutputError: Nothing can be written there.
        """
        super().__init__(settings)
        self._path = path
        self._part = PartFile(path)
        self._part.start()
        self._written = False

    def _write(self, frame: Frame, faces: Faces) -> None:
        if self._written:
            folder = f"{self._path.with_suffix('')}/"
            raise InputError(f"{self._path} holds one image, but there are more; give a folder: {folder}")
        check_not_source(self._path, frame.source, kind="image", instead="another file or a folder")
        self._fill(self._encoded(frame, faces, self._path.suffix))
        self._written = True

    def _commit(self) -> None:
        if self._written:
            self._part.commit()
        else:
            self._part.discard()


class FolderSink(EncodedSink):
    """Annotated images in a folder, each named after its source and complete or absent.

    Two sources of one name get `x.jpg` and `x-2.jpg`. Images that mien wrote there in an earlier run are replaced;
    any other file is left alone, so originals are safe even in their own folder. After an error or Ctrl-C the images
    finished by then stay.
    """

    def __init__(self, path: Path, settings: SinkSettings) -> None:
        """Make the folder and see that it can be written to.

        Args:
            path: The folder.
            settings: Its `draw` draws the faces.

        Raises:
            InputError: `settings.draw` is missing.
            OutputError: Nothing can be written there.
        """
        super().__init__(settings)
        self._folder = path
        self._next_number: dict[str, int] = {}
        self._names: set[str] = set()
        if path.exists() and not path.is_dir():
            raise OutputError(f"cannot write images into {path}: it is a file; give a folder")
        self._part = PartFile(path / "image")
        self._part.start()
        self._part.discard()

    def _write(self, frame: Frame, faces: Faces) -> None:
        stem, extension = image_name(frame.source)
        if frame.index:
            stem = f"{stem}-{frame.index:06d}"
        data = self._encoded(frame, faces, extension)
        self._part = PartFile(self._free(stem, extension))
        self._fill(data)
        self._part.commit()

    def _free(self, stem: str, extension: str) -> Path:
        """Return the first path in the folder that may be written: new, or an image of an earlier run."""
        wanted = f"{stem}{extension}".casefold()
        number = self._next_number.get(wanted, 1)
        while not self._is_free(name := f"{stem}{extension}" if number == 1 else f"{stem}-{number}{extension}"):
            number += 1
        self._names.add(name.casefold())
        self._next_number[wanted] = number + 1
        return self._folder / name

    def _is_free(self, name: str) -> bool:
        path = self._folder / name
        with explained(path):
            return name.casefold() not in self._names and (
                not path.exists() or (path.is_file() and _is_annotated(path))
            )

    def _commit(self) -> None:
        self._part.discard()  # the others are complete; this one is where Ctrl-C came while it was written


def image_name(source: str) -> tuple[str, str]:
    """Return a file name for the annotated image of a source, safe on every file system.

    Args:
        source: A path, a URL, `-` for standard input, or any name.

    Returns:
        The stem, and the extension: the source's own where mien can write it, else `.jpg`.
    """
    name = _last_part(source)
    stem, dot, extension = name.rpartition(".")
    known = bool(dot) and f".{extension.lower()}" in IMAGE.extensions
    if not dot or not re.fullmatch(r"[A-Za-z0-9]{1,5}", extension):
        stem = name
    safe = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*\ud800-\udfff]+', "_", stem).strip(" .")
    short = safe.encode()[:LONGEST_NAME].decode("utf-8", "ignore").strip(" .")
    return short or "image", f".{extension}" if known else ".jpg"


def _last_part(source: str) -> str:
    if source == "-":
        return "stdin"
    if "://" in source:
        with suppress(ValueError):  # brackets that hold no address
            url = urlsplit(source)
            return unquote(url.path.rstrip("/").rpartition("/")[2]) or (url.hostname or "").replace(".", "_")
    return re.split(r"[/\\]" if os.sep == "\\" else "/", source.rstrip("/"))[-1]


TABLES: dict[str, Callable[[Path, SinkSettings], FileTableSink]] = {
    ".jsonl": JsonLinesSink,
    ".csv": CsvSink,
    ".parquet": ParquetSink,
}

SINKS: dict[str, Factory] = {
    **TABLES,
    **dict.fromkeys(IMAGE.extensions, ImageSink),
    **dict.fromkeys(VIDEO.extensions, VideoSink),
}
