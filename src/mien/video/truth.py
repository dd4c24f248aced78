"""What people really showed: a table of spans or of images, looked up while a video runs and scored at its end.

Two kinds of CSV are read, and may be mixed by column, not by row:

    start_s,end_s,expression[,track_id][,file]      spans of videos; a time may also be written 1:05.5 or 1:02:03
    file,expression                                 images

An empty `end_s` means: to the end. Without `track_id` a span holds for every face, without `file` for every video; but
a video that has rows of its own takes those alone, and so does a track.
"""

import csv
import io
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, listed, shown
from mien.faces import Faces, Frame, Record
from mien.files import FileNames, plain_cell, tidy_name
from mien.labels import LabelSet
from mien.video.held import Held, Holder, Sight

SPAN_COLUMNS, OPTIONAL_COLUMNS = ("start_s", "end_s", "expression"), ("track_id", "file")
IMAGE_COLUMNS = ("file", "expression")
HOW = "it needs the columns start_s,end_s,expression (and track_id, file) for videos, or file,expression for images"
MOST_COMPLAINTS = 5
LARGEST_BYTES = 64 * 2**20


@dataclass(frozen=True, order=True)
class TruthSpan:
    """A time with a known expression.

    Attributes:
        start_s: Its start, seconds.
        end_s: Its end, infinity for the end of the video; the span does not hold at the end itself.
        expression: The expression, as the label set names it.
        track_id: The track it holds for; None for every face.
        file: The video or image it holds for; empty for every one.
    """

    start_s: float
    end_s: float
    expression: str
    track_id: int | None = None
    file: str = ""


class Truth:
    """Known expressions, to be looked up by video, time and track."""

    def __init__(self, spans: Iterable[TruthSpan], labels: LabelSet) -> None:
        """Sort the spans.

        Args:
            spans: The spans; those of one video and track must not overlap.
            labels: The label set of their expressions.

        Raises:
            InputError: Spans overlap, or an expression is not in the label set.
        """
        self.labels = labels
        self.spans = sorted(spans, key=lambda span: (span.start_s, span.end_s))
        self._lines: dict[tuple[str, int | None], list[TruthSpan]] = {}
        for span in self.spans:
            labels.index(span.expression)
            line = self._lines.setdefault((tidy_name(span.file), span.track_id), [])
            if line and line[-1].end_s > span.start_s:
                raise InputError(f"two spans overlap: {_words(line[-1])} and {_words(span)}; cut one of them")
            line.append(span)
        self._files = FileNames(file for file, _ in self._lines)

    def __len__(self) -> int:
        """Return the number of spans."""
        return len(self.spans)

    def at(self, time_s: float, *, track_id: int | None = None, source: str = "") -> str | None:
        """Return the expression that is known for a time, or None.

        Args:
            time_s: Time in the video, seconds; 0 for an image.
            track_id: The face's track.
            source: The video or image; its name may be longer or shorter than in the table by leading folders.
        """
        line = self._line(track_id, source)
        place = _place(line, time_s)
        return line[place].expression if place >= 0 and time_s < line[place].end_s else None

    def parts(
        self, start_s: float, end_s: float, *, track_id: int | None = None, source: str = ""
    ) -> Iterator[tuple[str, float]]:
        """Yield the expressions that are known within a time, each with how long, seconds.

        Args:
            start_s: Start of the time, seconds.
            end_s: Its end.
            track_id: The face's track.
            source: The video.
        """
        line = self._line(track_id, source)
        for place in range(max(0, _place(line, start_s)), len(line)):
            span = line[place]
            if span.start_s >= end_s:
                return
            if span.end_s > start_s:
                yield span.expression, min(end_s, span.end_s) - max(start_s, span.start_s)

    def of(self, faces: Faces) -> list[str | None]:
        """Return what is known about each face of a frame, for `mien.output.draw.faces.draw_faces`.

        Args:
            faces: The faces, with their source and time.
        """
        tracks: Sequence[int | None] = [None] * len(faces) if faces.track_id is None else faces.track_id.tolist()
        return [self.at(faces.time_s, track_id=track, source=faces.source) for track in tracks]

    def spans_of(self, *, track_id: int | None = None, source: str = "") -> list[TruthSpan]:
        """Return the spans that hold for a track of a video, in the order of time, those for every face included.

        Args:
            track_id: The track.
            source: The video.
        """
        return list(self._line(track_id, source))

    def _line(self, track_id: int | None, source: str) -> list[TruthSpan]:
        files, tracks = dict.fromkeys((self._files.of(source), "")), dict.fromkeys((track_id, None))
        keys = ((file, track) for file in files for track in tracks)
        return next((self._lines[key] for key in keys if key in self._lines), [])


def _place(line: Sequence[TruthSpan], time_s: float) -> int:
    """Return the number of the last span that has begun, or -1."""
    return bisect_right(line, time_s, key=lambda span: span.start_s) - 1


def _words(span: TruthSpan) -> str:
    end = "the end" if math.isinf(span.end_s) else f"{span.end_s:g} s"
    track = "" if span.track_id is None else f" of track {span.track_id}"
    video = f" of {span.file}" if span.file else ""
    return f"{span.start_s:g} s to {end} ({span.expression}){track}{video}"


# Reading --------------------------------------------------------------------------------------------------------------


def read_truth(path: str | Path, labels: LabelSet) -> Truth:
    """Read a table of known expressions; see the module for its columns.

    Args:
        path: A CSV file, UTF-8, separated by comma, semicolon or tab.
        labels: The label set of the results; synonyms (`joy`) and any case are understood.

    Raises:
        InputError: The table cannot be read; the message names the rows and what is wrong with them.
    """
    rows = _read_rows(Path(path))
    number, head = next(rows, (0, []))
    columns = [name.strip().lower() for name in head]
    _check_columns(path, columns)
    spans: list[tuple[int, TruthSpan]] = []
    complaints: list[str] = []
    for number, cells in rows:
        try:
            spans.append((number, _span(dict(zip(columns, cells, strict=False)), labels)))
        except InputError as error:
            complaints.append(f"row {number}: {error}")
    complaints += _overlaps(spans)
    if complaints:
        more = f"; and {len(complaints) - MOST_COMPLAINTS} more" if len(complaints) > MOST_COMPLAINTS else ""
        raise InputError(f"{path}: {'; '.join(complaints[:MOST_COMPLAINTS])}{more}")
    if not spans:
        raise InputError(f"{path} has no rows; {HOW}")
    return Truth([span for _, span in spans], labels)


def _read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield number of the line and cells of each row that is not empty, the header first."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise InputError(f"{path} is larger than {LARGEST_BYTES >> 20} MiB; is it a table of known expressions?")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8; save it as CSV (UTF-8)") from error
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, [plain_cell(cell) for cell in cells]
    except csv.Error as error:
        raise InputError(f"{path}: row {reader.line_num}: {error}; check the quotation marks") from error


def _check_columns(path: str | Path, columns: Sequence[str]) -> None:
    known = {*SPAN_COLUMNS, *OPTIONAL_COLUMNS}
    whole = set(SPAN_COLUMNS) <= set(columns) or (
        set(IMAGE_COLUMNS) <= set(columns) and not {"start_s", "end_s"} & set(columns)
    )
    if not whole or len(set(columns)) != len(columns):
        raise InputError(f"{path} has the columns {listed(columns) or '(none)'}; {HOW}")
    strange = [name for name in columns if name not in known]
    if strange:
        raise InputError(f"{path} has a column that is not known: {listed(strange)}; {HOW}")


def _span(row: dict[str, str], labels: LabelSet) -> TruthSpan:
    name = row.get("expression", "").strip()
    if not name:
        raise InputError("the expression is missing")
    expression = labels.names[labels.index(name)]
    file = row.get("file", "").strip()
    if "start_s" not in row:
        if not file:
            raise InputError("the file is missing")
        return TruthSpan(-math.inf, math.inf, expression, None, file)
    start_s = parse_time(row["start_s"], "start_s")
    end_s = parse_time(row["end_s"], "end_s") if row.get("end_s", "").strip() else math.inf
    if end_s <= start_s:
        raise InputError(f"end_s must be after start_s, got {row['start_s'].strip()} and {row['end_s'].strip()}")
    return TruthSpan(start_s, end_s, expression, _track(row.get("track_id", "")), file)


def _track(text: str) -> int | None:
    if not text.strip():
        return None
    try:
        return int(text)
    except ValueError:
        raise InputError(f"track_id must be a whole number, got {shown(text.strip())}") from None


def parse_time(text: str, what: str = "a time") -> float:
    """Read a time: seconds (`65.5`), or `1:05.5`, or `1:02:03`.

    Args:
        text: The time.
        what: Its name, for the error.

    Returns:
        Seconds.

    Raises:
        InputError: It is none, or negative.
    """
    parts = text.strip().split(":")
    try:
        seconds = float(parts[-1])
        for place, part in enumerate(reversed(parts[:-1]), 1):
            seconds += int(part) * 60**place
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and len(parts) <= 3) or "-" in text:
        raise InputError(f"{what} must be seconds (65.5) or min:s (1:05.5), got {shown(text.strip())}")
    return seconds


def _overlaps(spans: Sequence[tuple[int, TruthSpan]]) -> list[str]:
    lines: dict[tuple[str, int | None], tuple[int, TruthSpan]] = {}
    found = []
    for number, span in sorted(spans, key=lambda item: (item[1].start_s, item[1].end_s)):
        key = tidy_name(span.file), span.track_id
        before = lines.get(key)
        if before is not None and before[1].end_s > span.start_s:
            found.append(_clash(*before, number, span))
        if before is None or span.end_s > before[1].end_s:
            lines[key] = number, span
    return found


def _clash(first: int, one: TruthSpan, second: int, other: TruthSpan) -> str:
    if math.isinf(one.start_s):
        return f"rows {min(first, second)} and {max(first, second)} are both about {one.file}; keep one"
    return f"rows {first} and {second} overlap: {_words(one)}, {_words(other)}"


# Scoring --------------------------------------------------------------------------------------------------------------


class TruthScore:
    """Compares results with what is known, by time and by frames.

    In a video every face counts whose track (or any face, where a span names none) has a known expression at that time,
    for as long as its frame is held. Of an image the best face counts. What counts as the answer is what is shown:
    the steady expression of a video, else the most probable one. A frame with something known and no face in it is
    `missed`; it counts in neither accuracy.
    """

    def __init__(self, truth: Truth) -> None:
        """Start empty.

        Args:
            truth: What is known.
        """
        self.truth, self.labels = truth, truth.labels
        classes = len(self.labels)
        self._holders: dict[str, Holder] = {}
        self._frames = np.zeros((classes, classes), np.int64)
        self._seconds = np.zeros((classes, classes))
        self._raw = 0
        self._missed, self._missed_s = 0, 0.0
        self._sources: set[str] = set()

    def add(self, frame: Frame, faces: Faces) -> None:
        """Add a frame of a video, or an image; several videos one after another.

        Args:
            frame: The frame.
            faces: Its faces.

        Raises:
            InputError: Another label set, or a time that runs backwards.
        """
        for held in self._holder_of(frame.source).add(frame, faces):
            self._score(held)

    def add_record(self, row: Record) -> None:
        """Add a row of a table of results; see `mien.video.summary.VideoSummary.add_record`.

        Args:
            row: The row.
        """
        for held in self._holder_of(str(row.get("source") or "")).add_record(row):
            self._score(held)

    def _holder_of(self, source: str) -> Holder:
        """Return the holder of a source, having finished those before: sources come one after another."""
        if source not in self._holders:
            self._finish()
            self._holders = {source: Holder(self.labels)}
        return self._holders[source]

    def _finish(self) -> None:
        holders, self._holders = self._holders, {}
        for holder in holders.values():
            for held in holder.finish():
                self._score(held)

    def _score(self, held: Held) -> None:
        sights = held.sights
        if not sights:
            if self._known_any(held):
                self._missed += 1
                self._missed_s += held.end_s - held.start_s
            return
        if self._is_image(held.source):
            sights = sights[:1]
        for sight in sights:
            if sight.shown >= 0:
                self._count(sight, held)

    def _known_any(self, held: Held) -> bool:
        return self.truth.at(held.start_s, source=held.source) is not None

    def _is_image(self, source: str) -> bool:
        spans = self.truth.spans_of(source=source)
        return bool(spans) and math.isinf(spans[0].start_s)

    def _count(self, sight: Sight, held: Held) -> None:
        who: dict[str, Any] = {"track_id": sight.track_id, "source": held.source}
        for name, seconds in self.truth.parts(held.start_s, held.end_s, **who):
            self._seconds[self.labels.index(name), sight.shown] += seconds
        name_now = self.truth.at(held.start_s, **who)
        if name_now is not None:
            actual = self.labels.index(name_now)
            self._frames[actual, sight.shown] += 1
            self._raw += sight.best == actual
            self._sources.add(held.source)

    def to_dict(self) -> dict[str, Any]:
        """Return the score as plain values, ready for JSON. Ends the video that is running.

        `accuracy` is by frames with `n` of them, `accuracy_by_time` by seconds, `accuracy_raw` that of the most
        probable expression of each frame alone. `confusion` counts frames, rows the truth, columns the answer.
        """
        self._finish()
        n, right = int(self._frames.sum()), int(np.trace(self._frames))
        seconds = float(self._seconds.sum())
        per_class = self._per_class()
        known = [entry["f1"] for entry in per_class.values() if entry["n"]]
        return {
            "n": n,
            "seconds": round(seconds, 3),
            "sources": len(self._sources),
            "accuracy": _ratio(right, n),
            "accuracy_95": _wilson(right, n),
            "accuracy_by_time": _ratio(float(np.trace(self._seconds)), seconds),
            "accuracy_raw": _ratio(self._raw, n),
            "macro_f1": round(float(np.mean(known)), 4) if known else None,
            "missed": self._missed,
            "missed_s": round(self._missed_s, 3),
            "per_class": per_class,
            "expressions": list(self.labels.names),
            "confusion": self._frames.tolist(),
            "confusion_s": np.round(self._seconds, 3).tolist(),
        }

    def _per_class(self) -> dict[str, dict[str, Any]]:
        table: dict[str, dict[str, Any]] = {}
        for number, name in enumerate(self.labels.names):
            row, column = self._frames[number], self._frames[:, number]
            hits = int(row[number])
            table[name] = {
                "n": int(row.sum()),
                "seconds": round(float(self._seconds[number].sum()), 3),
                "recall": _ratio(hits, int(row.sum())),
                "precision": _ratio(hits, int(column.sum())),
                "f1": _ratio(2 * hits, int(row.sum() + column.sum())),
                "recall_by_time": _ratio(float(self._seconds[number, number]), float(self._seconds[number].sum())),
            }
        return table

    def to_markdown(self) -> str:
        """Return the score as tables for people to read."""
        return score_as_markdown(self.to_dict())


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None


def _wilson(right: int, n: int) -> list[float] | None:
    """Return the 95 % interval of a share (Wilson 1927); for images, since frames of a video resemble one another."""
    if not n:
        return None
    z, p = 1.959964, right / n
    middle, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return [round(max(0.0, (middle + sign * spread) / (1 + z * z / n)), 4) for sign in (-1, 1)]


def score_as_markdown(score: dict[str, Any]) -> str:
    """Return a score as Markdown tables.

    Args:
        score: From `TruthScore.to_dict`.
    """
    if not score["n"]:
        return f"Nothing to score: no face in a frame with a known expression ({score['missed']} such frames).\n"
    by_time = "" if not score["seconds"] else f", {score['accuracy_by_time']:.1%} of {score['seconds']:.1f} s"
    lines = [
        f"Right in {score['accuracy']:.1%} of {score['n']:,} frames{by_time}; macro-F1 {score['macro_f1']:.3f}; "
        f"{score['missed']:,} frames with a known expression had no face.",
        "",
        "| truth | N | recall | precision | F1 |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, entry in score["per_class"].items():
        if entry["n"] or entry["precision"] is not None:
            cells = (_percent(entry["recall"]), _percent(entry["precision"]), _percent(entry["f1"]))
            lines.append(f"| {name} | {entry['n']:,} | {' | '.join(cells)} |")
    lines += ["", "Frames by truth (rows) and answer (columns):", ""]
    return "\n".join(lines + _confusion(score["expressions"], np.array(score["confusion"]))) + "\n"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _confusion(names: Sequence[str], counts: NDArray[np.int64]) -> list[str]:
    used = [i for i in range(len(names)) if counts[i].any() or counts[:, i].any()]
    head = f"| | {' | '.join(names[i] for i in used)} |"
    rows = [f"| {names[i]} | {' | '.join(str(counts[i, j]) for j in used)} |" for i in used]
    return [head, "| --- |" + " ---: |" * len(used), *rows]
