"""Averages over intervals of time: a row per track and interval."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from mien.errors import InputError, listed
from mien.faces import ERROR, NOTE, PERSON, Faces, Frame, Record, attribute_columns
from mien.labels import LabelSet
from mien.output.base import Sink, SinkSettings
from mien.output.kinds import TABLE
from mien.output.rows import INTERVAL_COLUMNS
from mien.output.tables import TABLES
from mien.video._sums import Sums
from mien.video.held import Held, Holder, Sight, pieces


class IntervalTable:
    """One row per track and interval of time: what the track showed on the average.

    `expression` is the one shown for most of the time that the track was seen in the interval, `confidence` and the
    columns of the label set are averages over that time (of the smoothed probabilities, where there are any),
    `seconds` is how long it was seen, `frames` how many frames of it began in the interval. Columns of attributes are
    averages over the time in which they could be measured. Intervals start at 0, so that those of several videos can be
    compared; one in which nobody was seen has no row.
    """

    def __init__(self, labels: LabelSet, interval_s: float, attributes: Sequence[str] = ()) -> None:
        """Start empty.

        Args:
            labels: The label set of the results.
            interval_s: Length of an interval, seconds.
            attributes: Names of `mien.faces.ATTRIBUTES` that were asked for; each adds its columns.

        Raises:
            InputError: The length is not a positive number, or an expression has the name of another column.
        """
        if not (math.isfinite(interval_s) and interval_s >= 0.001):
            raise InputError(f"interval_s must be at least 0.001 seconds, got {interval_s}; 1 is a row per second")
        clash = sorted(set(labels.names) & {*INTERVAL_COLUMNS, *attribute_columns(attributes)})
        if clash:
            raise InputError(f"label set {labels.key!r} has the name of another column: {listed(clash)}; rename it")
        added = [column for column in attribute_columns(attributes) if column != NOTE]
        self._measures = [column for column in added if column != PERSON]
        self._people: dict[int | None, str | None] | None = {} if PERSON in added else None
        self.columns = (*INTERVAL_COLUMNS, *labels.names, *added)
        self._labels, self._interval_s = labels, interval_s
        self._holder = Holder(labels)
        self._number = 0
        self._sums: dict[int | None, Sums] = {}
        self._means: dict[int | None, _Means] = {}
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
                sums = self._sums.setdefault(sight.track_id, Sums(len(self._labels)))
                sums.see(sight, part)
                sums.frames -= start_s > held.start_s  # it began in an earlier interval
                if self._measures:
                    self._means.setdefault(sight.track_id, _Means()).see(sight, part)
                if self._people is not None:
                    self._people[sight.track_id] = sight.person

    def _rows(self) -> list[Record]:
        known, self._sums = self._sums, {}
        order = sorted(known, key=lambda track: -1 if track is None else track)
        rows = [self._row(track, known[track]) for track in order]
        self._means = {}
        return rows

    def _row(self, track: int | None, sums: Sums) -> Record:
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
        row |= {name: None if mean is None else round(float(mean[i]), 4) for i, name in enumerate(names)}
        means = self._means.get(track, _Means())
        row |= {column: means.of(column) for column in self._measures}
        return row if self._people is None else row | {PERSON: self._people.get(track)}


class _Means:
    """Averages of measures over the time in which they could be measured."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, float]] = {}

    def see(self, sight: Sight, held: Held) -> None:
        """Add what was measured while a frame is held."""
        for name, value in sight.measured.items():
            if math.isfinite(value):
                total, seconds = self._sums.get(name, (0.0, 0.0))
                self._sums[name] = total + held.seconds * value, seconds + held.seconds

    def of(self, name: str) -> float | None:
        """Return one, None where it could never be measured."""
        total, seconds = self._sums.get(name, (0.0, 0.0))
        return round(total / seconds, 4) if seconds else None


def open_interval_sink(
    path: str | Path, *, labels: LabelSet, interval_s: float, attributes: Sequence[str] = ()
) -> Sink:
    """Open a table with one row per track and interval of time; see `IntervalTable`.

    Args:
        path: Ends in `.jsonl`, `.csv` or `.parquet`.
        labels: The label set of the results.
        interval_s: Length of an interval, seconds.
        attributes: As for `IntervalTable`.

    Raises:
        InputError: Another extension, or the length is not positive.
        OutputError: Nothing can be written there.
        MissingExtraError: The format needs an extra.
    """
    target = Path(path)
    TABLE.check(target)
    return IntervalSink(target, labels, interval_s, attributes)


class IntervalSink(Sink):
    """A table with one row per track and interval of time."""

    def __init__(self, path: Path, labels: LabelSet, interval_s: float, attributes: Sequence[str] = ()) -> None:
        """Start the file.

        Args:
            path: The file.
            labels: The label set of the results.
            interval_s: Length of an interval, seconds.
            attributes: As for `IntervalTable`.

        Raises:
            InputError: The length is not positive, or an expression has the name of another column.
            OutputError: Nothing can be written there.
            MissingExtraError: The format needs an extra.
        """
        super().__init__()
        self._intervals, self._source = IntervalTable(labels, interval_s, attributes), ""
        self._table = TABLES[path.suffix.lower()](path, SinkSettings(labels), [*self._intervals.columns, ERROR])

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
