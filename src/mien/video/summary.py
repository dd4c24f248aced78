"""What a video shows, in figures: shares of time, transitions, longest spans, and averages over intervals of time.

Time is that of the container's time stamps, never a number of frames: what a frame shows is held until the next frame
of the video, and the last frame for as long as the one before it. So videos of variable rate, and videos of which every
tenth frame was analyzed, give the same shares. Everything here works in flat memory.
"""

import copy
import heapq
import json
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.faces import SMOOTHED, STEADY, Faces, Frame, Record
from mien.files import write_whole
from mien.labels import EMOJI, LabelSet
from mien.output.kinds import SUMMARY

LONGEST_SPANS = 5
BRIDGED_S = 0.5  # a face lost for less than this does not end a span
INSTANT_S = 1e-9  # what a video of one frame weighs, so that its shares exist


# Held frames ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sight:
    """One face in one frame.

    Attributes:
        track_id: Its track, or None.
        shown: Number of the expression it shows: the steady one of a video, else the most probable; -1 for none.
        best: Number of the most probable expression; -1 for none.
        probs: (C,) the smoothed probabilities of a video, else those of the frame; None where there are none.
    """

    track_id: int | None
    shown: int
    best: int
    probs: NDArray[np.float32] | None


@dataclass(frozen=True)
class Held:
    """What one frame shows, and how long.

    Attributes:
        source: The video.
        start_s: Time of the frame, seconds.
        end_s: Time of the next frame.
        sights: Its faces.
    """

    source: str
    start_s: float
    end_s: float
    sights: tuple[Sight, ...]

    @property
    def seconds(self) -> float:
        """How long the frame is held; never quite 0."""
        return max(self.end_s - self.start_s, INSTANT_S)


class Holder:
    """Turns frames that come one after another into held ones, from results or from the rows of a table."""

    def __init__(self, labels: LabelSet) -> None:
        """Start without a frame.

        Args:
            labels: The label set of the results.
        """
        self._labels = labels
        self._numbers = {name: number for number, name in enumerate(labels.names)}
        self._now: Held | None = None
        self._gap_s = 0.0
        self._key: tuple[object, object] | None = None
        self._rows: list[Record] = []

    def add(self, frame: Frame, faces: Faces) -> list[Held]:
        """Add a frame.

        Args:
            frame: The frame; times must not run backwards.
            faces: Its faces.

        Returns:
            The frame before, now that it is known how long it was held; empty for the first.

        Raises:
            InputError: The faces carry another label set, or the time runs backwards.
        """
        if faces.labels is not None and faces.labels.names != self._labels.names:
            came = faces.labels.key
            raise InputError(f"the faces carry the label set {came!r}, the summary is for {self._labels.key!r}")
        return self._next(frame.source, frame.time_s, tuple(map(_sight, faces)))

    def add_record(self, row: Record) -> list[Held]:
        """Add a row of a table of results, which must hold a row for every frame, those without faces, too.

        Args:
            row: As `Faces.to_records` makes it, or read back from CSV, where numbers are text. Rows with an `error`
                are passed over.

        Returns:
            As `add`.

        Raises:
            InputError: The row lacks a column or holds no number where one must be.
        """
        if row.get("error") or row.get("frame") in (None, ""):
            return []
        key = row.get("source"), row.get("frame")
        ready = self._flush_rows() if key != self._key else []
        self._key = key
        self._rows.append(row)
        return ready

    def finish(self) -> list[Held]:
        """Return the last frame, held as long as the one before it."""
        ready = self._flush_rows()
        now, self._now = self._now, None
        return ready if now is None else [*ready, _until(now, now.start_s + self._gap_s)]

    def _next(self, source: str, time_s: float, sights: tuple[Sight, ...]) -> list[Held]:
        before, self._now = self._now, Held(source, time_s, time_s, sights)
        if before is None:
            return []
        if source != before.source:
            self._now = before
            raise InputError(f"one video at a time: after {before.source!r} came {source!r}; make another for that")
        if time_s < before.start_s:
            self._now = before
            raise InputError(
                f"{source}: time runs backwards, from {before.start_s:g} s to {time_s:g} s; sort the frames"
            )
        self._gap_s = time_s - before.start_s
        return [_until(before, time_s)]

    def _flush_rows(self) -> list[Held]:
        rows, self._rows, self._key = self._rows, [], None
        if not rows:
            return []
        try:
            sights = tuple(self._sight_of(row) for row in rows if row.get("face") not in (None, ""))
            return self._next(str(rows[0].get("source") or ""), float(rows[0]["time_s"]), sights)  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"a row of results lacks a value or holds a wrong one ({error}): {rows[0]}") from error

    def _sight_of(self, row: Record) -> Sight:
        prefix = SMOOTHED if row.get(STEADY) else ""
        values = [row.get(prefix + name) for name in self._labels.names]
        known = all(value not in (None, "") for value in values)
        track, best = row.get("track_id"), row.get("expression")
        shown = row.get(STEADY) or best
        return Sight(
            None if track in (None, "") else int(float(track)),
            self._number(shown),
            self._number(best),
            np.array(values, np.float32) if known else None,
        )

    def _number(self, name: object) -> int:
        if name in (None, ""):
            return -1
        if name not in self._numbers:
            raise InputError(f"the rows name the expression {name!r}, which {self._labels.key!r} has not")
        return self._numbers[str(name)]


def _sight(face: Any) -> Sight:
    best = -1 if face.probs is None else int(face.probs.argmax())
    if face.steady is not None:
        return Sight(face.track_id, face.steady, best, face.smoothed)
    return Sight(face.track_id, best, best, face.probs)


def _until(held: Held, end_s: float) -> Held:
    return Held(held.source, held.start_s, end_s, held.sights)


# Sums -----------------------------------------------------------------------------------------------------------------


@dataclass(order=True, frozen=True)
class Span:
    """A time during which a track showed one expression.

    Attributes:
        seconds: Its length.
        start_s: Its start in the video, seconds.
        end_s: Its end.
        expression: Number of the expression.
        track_id: The track.
    """

    seconds: float
    start_s: float
    end_s: float
    expression: int
    track_id: int | None = field(compare=False)


@dataclass
class _Sums:
    """Sums over a track or a video."""

    classes: int
    frames: int = 0
    first_s: float = math.inf
    last_s: float = -math.inf
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.shown = np.zeros(self.classes)
        self.probs = np.zeros(self.classes)
        self.weight = 0.0
        self.transitions: Counter[tuple[int, int]] = Counter()
        self.spans: list[Span] = []  # the longest, as a heap

    def see(self, sight: Sight, held: Held) -> None:
        """Add what a face shows while a frame is held."""
        self.frames += 1
        self.first_s, self.last_s = min(self.first_s, held.start_s), max(self.last_s, held.end_s)
        self.seconds += held.seconds
        if sight.shown >= 0:
            self.shown[sight.shown] += held.seconds
        if sight.probs is not None:
            self.probs += held.seconds * sight.probs
            self.weight += held.seconds

    def keep(self, span: Span) -> None:
        """Remember a span if it is one of the longest."""
        heapq.heappush(self.spans, span)
        if len(self.spans) > LONGEST_SPANS:
            heapq.heappop(self.spans)


class _Track(_Sums):
    """Sums over one track, with the span that still goes on."""

    def __init__(self, classes: int, track_id: int) -> None:
        super().__init__(classes)
        self.track_id = track_id
        self.now: Span | None = None

    def track(self, sight: Sight, held: Held) -> tuple[Span | None, tuple[int, int] | None]:
        """Add a frame, and return the span that ended with it and the transition it was."""
        self.see(sight, held)
        before = self.now
        goes_on = before is not None and held.start_s - before.end_s <= BRIDGED_S
        if before is not None and goes_on and before.expression == sight.shown:
            self.now = self._span(before.start_s, held.end_s, sight.shown)
            return None, None
        self.now = self._span(held.start_s, held.end_s, sight.shown) if sight.shown >= 0 else None
        changed = before is not None and 0 <= sight.shown != before.expression
        step = (before.expression, sight.shown) if before is not None and changed else None
        return before, step

    def _span(self, start_s: float, end_s: float, expression: int) -> Span:
        return Span(end_s - start_s, start_s, end_s, expression, self.track_id)


class SummaryBuilder(ABC):
    """What reads a video's results, as they come (`add`) or from the rows of a table (`add_record`), each held in time.

    Attributes:
        labels: The label set of the results.
    """

    def __init__(self, labels: LabelSet) -> None:
        """Start before the first frame.

        Args:
            labels: The label set of the results.
        """
        self.labels = labels
        self._holder = Holder(labels)

    def add(self, frame: Frame, faces: Faces) -> None:
        """Add a frame of the video, in the order of time.

        Args:
            frame: The frame.
            faces: Its faces; none is a result, too.

        Raises:
            InputError: Another video, another label set, or a time that runs backwards.
        """
        for held in self._holder.add(frame, faces):
            self._take(held)

    def add_record(self, row: Record) -> None:
        """Add a row of a table of the video's results.

        Args:
            row: From JSON Lines, CSV or Parquet, in the order of the table.

        Raises:
            InputError: As `add`, or the row lacks a value.
        """
        for held in self._holder.add_record(row):
            self._take(held)

    def _finish(self) -> None:
        """Take the last frame, too."""
        for held in self._holder.finish():
            self._take(held)

    @abstractmethod
    def _take(self, held: Held) -> None: ...


class VideoSummary(SummaryBuilder):
    """Who shows what, when: sums over a video and over each of its tracks, in memory that does not grow with time.

    Works on results as they come (`add`) or on the rows of a table (`add_record`), with the same outcome.
    """

    def __init__(self, labels: LabelSet) -> None:
        """Start empty.

        Args:
            labels: The label set of the results.
        """
        super().__init__(labels)
        self._video = _Sums(len(labels))
        self._tracks: dict[int, _Track] = {}
        self._source: str | None = None
        self._span_s = [math.inf, -math.inf]
        self._frames = self._with_faces = self._most = 0
        self._with_faces_s = 0.0
        self._errors: list[str] = []

    def add_record(self, row: Record) -> None:
        """Add a row of a table of the video's results; `error` rows are counted. See `SummaryBuilder.add_record`."""
        if row.get("error"):
            self.fail(str(row["error"]))
        super().add_record(row)

    def fail(self, message: str) -> None:
        """Note that something went wrong in the video, for the summary's `errors`; the first ten are kept."""
        self._errors = [*self._errors, message][:10]

    def _take(self, held: Held) -> None:
        self._source = held.source
        self._span_s = [min(self._span_s[0], held.start_s), max(self._span_s[1], held.end_s)]
        self._frames += 1
        self._most = max(self._most, len(held.sights))
        if held.sights:
            self._with_faces += 1
            self._with_faces_s += held.seconds
        for sight in held.sights:
            self._video.see(sight, held)
            if sight.track_id is not None:
                self._follow(sight, held)

    def _follow(self, sight: Sight, held: Held) -> None:
        number = int(sight.track_id or 0)
        track = self._tracks.get(number)
        if track is None:
            track = self._tracks[number] = _Track(len(self.labels), number)
        ended, step = track.track(sight, held)
        if ended is not None:
            track.keep(ended)
            self._video.keep(ended)
        if step is not None:
            track.transitions[step] += 1
            self._video.transitions[step] += 1

    def to_dict(self) -> dict[str, Any]:
        """Return the summary so far as plain values, ready for JSON; more frames may follow.

        Times and lengths are seconds. Shares are of the time in which the face (for the video: any face, each for
        itself) was seen, and sum to 1. `mean_probs` are averages over time.
        """
        whole = self._completed()
        video = whole._video
        start, end = whole._span_s if whole._frames else (0.0, 0.0)
        return {
            "source": whole._source,
            "labels": self.labels.key,
            "start_s": _s(start),
            "end_s": _s(end),
            "seconds": _s(end - start),
            "frames": whole._frames,
            "frames_with_faces": whole._with_faces,
            "seconds_with_faces": _s(whole._with_faces_s),
            "faces": video.frames,
            "most_faces": whole._most,
            "people": len(whole._tracks),
            **whole._figures(video, (track.now for track in whole._tracks.values())),
            "tracks": [whole._track_figures(track) for _, track in sorted(whole._tracks.items())],
            "errors": list(self._errors),
        }

    def _completed(self) -> "VideoSummary":
        """Return a copy that holds the last frame, too."""
        whole = copy.deepcopy(self)
        whole._finish()
        return whole

    def _track_figures(self, track: _Track) -> dict[str, Any]:
        return {
            "track_id": track.track_id,
            "first_s": _s(track.first_s),
            "last_s": _s(track.last_s),
            "seconds": _s(track.seconds),
            "frames": track.frames,
            **self._figures(track, [track.now]),
        }

    def _figures(self, sums: _Sums, running: Iterable[Span | None]) -> dict[str, Any]:
        names = self.labels.names
        total, weight = sums.shown.sum(), sums.weight
        spans = [*sums.spans, *(span for span in running if span is not None)]
        longest = sorted(spans, key=lambda span: (-span.seconds, span.start_s))[:LONGEST_SPANS]
        return {
            "dominant": names[int(sums.shown.argmax())] if total else None,
            "share": {name: _share(value, total) for name, value in zip(names, sums.shown, strict=True)},
            "seconds_shown": {name: _s(value) for name, value in zip(names, sums.shown, strict=True)},
            "mean_probs": {name: _share(value, weight) for name, value in zip(names, sums.probs, strict=True)},
            "transitions": [
                {"from": names[a], "to": names[b], "count": count}
                for (a, b), count in sorted(sums.transitions.items(), key=lambda item: (-item[1], item[0]))
            ],
            "longest_spans": [
                {"track_id": span.track_id, "expression": names[span.expression], "start_s": _s(span.start_s),
                 "end_s": _s(span.end_s), "seconds": _s(span.seconds)}
                for span in longest
            ],
        }  # fmt: skip

    def to_json(self) -> str:
        """Return the summary as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2) + "\n"

    def to_markdown(self) -> str:
        """Return the summary as tables for people to read."""
        return summary_as_markdown(self.to_dict())

    def write(self, path: str | Path) -> Path:
        """Write the summary; the file appears whole or not at all.

        Args:
            path: Ends in `.json`, or in `.md` or `.txt` for tables.

        Returns:
            The path.

        Raises:
            InputError: Another extension.
            OutputError: It cannot be written.
        """
        kind = SUMMARY.check(path)
        return write_whole(path, self.to_json() if kind == ".json" else self.to_markdown())


def _s(value: float) -> float:
    return round(float(value), 3)


def _share(value: float, total: float) -> float:
    return round(float(value / total), 4) if total else 0.0


def summary_as_markdown(summary: dict[str, Any]) -> str:
    """Return a summary as Markdown tables.

    Args:
        summary: From `VideoSummary.to_dict`.
    """
    lines = [
        f"# {summary['source'] or 'video'}",
        "",
        f"{clock(summary['seconds'])} analyzed, {summary['frames']:,} frames; a face in view for "
        f"{clock(summary['seconds_with_faces'])} ({summary['frames_with_faces']:,} frames); "
        f"{_count(summary['people'], 'track')}, at most {_count(summary['most_faces'], 'face')} at once.",
        "",
        *_table(["", "seen", *summary["share"]], map(_share_row, [summary, *summary["tracks"]])),
    ]
    if summary["longest_spans"]:
        spans = ([span["track_id"], span["expression"], clock(span["start_s"]), clock(span["end_s"]),
                  f"{span['seconds']:.1f} s"] for span in summary["longest_spans"])  # fmt: skip
        lines += ["", "## Longest spans", "", *_table(["track", "expression", "from", "to", "length"], spans)]
    if summary["transitions"]:
        steps = ([step["from"], step["to"], step["count"]] for step in summary["transitions"])
        lines += ["", "## Transitions", "", *_table(["from", "to", "times"], steps)]
    if summary["errors"]:
        lines += ["", "## Errors", "", *(f"- {error}" for error in summary["errors"])]
    return "\n".join(lines) + "\n"


def clock(time_s: float) -> str:
    """Return a time as people read it: `4.2 s`, `1:05.0`, `1:02:03`."""
    if time_s < 60:
        return f"{time_s:.1f} s"
    tenths = round(10 * time_s)
    if tenths < 36_000:
        return f"{tenths // 600}:{tenths % 600 / 10:04.1f}"
    seconds = round(time_s)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _share_row(entry: dict[str, Any]) -> list[object]:
    who = f"#{entry['track_id']}" if "track_id" in entry else "video"
    first, last = (entry["first_s"], entry["last_s"]) if "track_id" in entry else (entry["start_s"], entry["end_s"])
    shares = (f"{share:.0%}" if share else "" for share in entry["share"].values())
    return [who, f"{clock(first)} – {clock(last)}", *shares]


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    titled = [f"{EMOJI[name]} {name}" if name in EMOJI else name for name in head]
    cells = [titled, ["---"] * len(head), *([("" if v is None else str(v)) for v in row] for row in rows)]
    return ["| " + " | ".join(row) + " |" for row in cells]


# Intervals ------------------------------------------------------------------------------------------------------------

INTERVAL_COLUMNS = (
    "source", "interval", "start_s", "end_s", "track_id", "frames", "seconds", "expression", "confidence",
)  # fmt: skip


class IntervalTable:
    """One row per track and interval of time: what the track showed on the average.

    `expression` is the one shown for most of the time that the track was seen in the interval, `confidence` and the
    columns of the label set are averages over that time (of the smoothed probabilities, where there are any),
    `seconds` is how long it was seen, `frames` how many frames of it began in the interval. Intervals start at 0, so
    that those of several videos can be compared; one in which nobody was seen has no row.
    """

    def __init__(self, labels: LabelSet, interval_s: float) -> None:
        """Start empty.

        Args:
            labels: The label set of the results.
            interval_s: Length of an interval, seconds.

        Raises:
            InputError: The length is not a positive number, or an expression has the name of another column.
        """
        if not (math.isfinite(interval_s) and interval_s >= 0.001):
            raise InputError(f"interval_s must be at least 0.001 seconds, got {interval_s}; 1 is a row per second")
        clash = sorted(set(labels.names) & set(INTERVAL_COLUMNS))
        if clash:
            raise InputError(f"label set {labels.key!r} has the name of another column: {', '.join(clash)}; rename it")
        self.columns = (*INTERVAL_COLUMNS, *labels.names)
        self._labels, self._interval_s = labels, interval_s
        self._holder = Holder(labels)
        self._number = 0
        self._sums: dict[int | None, _Sums] = {}
        self._source = ""

    def add(self, frame: Frame, faces: Faces) -> list[Record]:
        """Add a frame of the video.

        Args:
            frame: The frame.
            faces: Its faces.

        Returns:
            The rows of the intervals that are over now, in the order of time and track.

        Raises:
            InputError: Another video, another label set, or a time that runs backwards.
        """
        return [row for held in self._holder.add(frame, faces) for row in self._spread(held)]

    def add_record(self, row: Record) -> list[Record]:
        """Add a row of a table of the video's results; see `VideoSummary.add_record`.

        Args:
            row: The row.

        Returns:
            As `add`.
        """
        return [made for held in self._holder.add_record(row) for made in self._spread(held)]

    def finish(self) -> list[Record]:
        """Return the last rows, and be ready for another video."""
        rows = [row for held in self._holder.finish() for row in self._spread(held)]
        rows += self._rows()
        self._number = 0
        return rows

    def _spread(self, held: Held) -> Iterator[Record]:
        """Share a held frame out over the intervals it lies in."""
        self._source = held.source
        for number, start_s, end_s in pieces(held.start_s, held.end_s, self._interval_s):
            if number != self._number:
                yield from self._rows()
                self._number = number
            part = Held(held.source, start_s, end_s, held.sights)
            for sight in held.sights:
                sums = self._sums.setdefault(sight.track_id, _Sums(len(self._labels)))
                sums.see(sight, part)
                sums.frames -= start_s > held.start_s  # it began in an earlier interval

    def _rows(self) -> list[Record]:
        known, self._sums = self._sums, {}
        order = sorted(known, key=lambda track: -1 if track is None else track)
        return [self._row(track, known[track]) for track in order]

    def _row(self, track: int | None, sums: _Sums) -> Record:
        names = self._labels.names
        mean = sums.probs / sums.weight if sums.weight else None
        best = int(sums.shown.argmax()) if sums.shown.any() else None
        row: Record = {
            "source": self._source,
            "interval": self._number,
            "start_s": round(self._number * self._interval_s, 6),
            "end_s": round((self._number + 1) * self._interval_s, 6),
            "track_id": track,
            "frames": int(sums.frames),
            "seconds": round(sums.seconds, 6),
            "expression": None if best is None else names[best],
            "confidence": None if mean is None or best is None else round(float(mean[best]), 4),
        }
        return row | {name: None if mean is None else round(float(mean[i]), 4) for i, name in enumerate(names)}


def pieces(start_s: float, end_s: float, length_s: float) -> Iterator[tuple[int, float, float]]:
    """Cut a span of time at the multiples of a length.

    Args:
        start_s: Start of the span, seconds.
        end_s: Its end; a span without length is one piece.
        length_s: The length.

    Yields:
        Number of the interval, and start and end of the part of the span that lies in it.
    """
    number = math.floor(start_s / length_s + 1e-9)
    last = max(number, math.ceil(end_s / length_s - 1e-9) - 1)
    for k in range(number, last + 1):
        yield k, max(start_s, k * length_s), max(start_s, min(end_s, (k + 1) * length_s))
