"""Frames held in time: what a frame shows lasts until the next frame of the video.

Time is that of the container's time stamps, never a number of frames. The last frame lasts as long as the one before
it. So videos of variable rate, and videos of which every tenth frame was analyzed, give the same shares. Everything
here works in flat memory.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, shown
from mien.faces import PERSON, SMOOTHED, STEADY, Face, Faces, Frame, Record
from mien.labels import LabelSet
from mien.video.track_measures import ALL_MEASURES

INSTANT_S = 1e-9  # what a video of one frame weighs, so that its shares exist


@dataclass(frozen=True)
class Sight:
    """One face in one frame.

    Attributes:
        track_id: Its track, or None.
        shown: Number of the expression it shows: the steady one of a video, else the most probable; -1 for none.
        best: Number of the most probable expression; -1 for none.
        probs: (C,) the smoothed probabilities of a video, else those of the frame; None where there are none.
        person: Who it is, where that was asked for and is known.
        measured: What else was measured, by column; NaN where it could not be.
    """

    track_id: int | None
    shown: int
    best: int
    probs: NDArray[np.float32] | None
    person: str | None = None
    measured: Mapping[str, float] = field(default_factory=dict)


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
    """Turns frames that come one after another into held ones, from results or from the rows of a table.

    Where it is known who the people are, all tracks of one person count as the first of them.
    """

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
        self._first_tracks: dict[str, int] = {}

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
            raise InputError(f"the faces carry the label set {shown(came)}, the summary is for {self._labels.key!r}")
        return self._next(frame.source, frame.time_s, tuple(map(self._sight, faces)))

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
            raise InputError(
                f"one video at a time: after {shown(before.source)} came {shown(source)}; make another for that"
            )
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
        person = str(row.get(PERSON) or "") or None
        return Sight(
            self._number_of(None if track in (None, "") else int(float(track)), person),
            self._number(shown),
            self._number(best),
            np.array(values, np.float32) if known else None,
            person,
            {name: _measure(row[name]) for name in ALL_MEASURES if name in row},
        )

    def _sight(self, face: Face) -> Sight:
        best = -1 if face.probs is None else int(face.probs.argmax())
        track = self._number_of(face.track_id, face.person)
        if face.steady is not None:
            return Sight(track, face.steady, best, face.smoothed, face.person, face.attributes)
        return Sight(track, best, best, face.probs, face.person, face.attributes)

    def _number_of(self, track: int | None, person: str | None) -> int | None:
        """Return the number of a person's first track; that of the track itself for nobody known."""
        return track if person is None or track is None else self._first_tracks.setdefault(person, track)

    def _number(self, name: object) -> int:
        if name in (None, ""):
            return -1
        if name not in self._numbers:
            raise InputError(f"the rows name the expression {shown(name)}, which {self._labels.key!r} has not")
        return self._numbers[str(name)]


def _measure(value: object) -> float:
    return math.nan if value in (None, "") else float(value)  # type: ignore[arg-type]


def _until(held: Held, end_s: float) -> Held:
    return Held(held.source, held.start_s, end_s, held.sights)


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
