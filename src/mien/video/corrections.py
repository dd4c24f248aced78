"""Who people really are, as somebody who looked says it: names for tracks, kept beside the model's answer.

A correction gives a track, or a part of its time, a name. Two tracks with one name are one person (they are merged); a
track of a person that gets another name is taken out (it is split off), and so is a part of a track on which the
tracker went from one person to another. What nobody corrected keeps the model's `person`, or is its track alone. The
rows keep all they had; the names stand in a column of their own, `corrected_person`.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.errors import InputError, shown
from mien.faces import CORRECTED, ERROR, PERSON, Record
from mien.output.base import SinkSettings
from mien.output.kinds import TABLE
from mien.output.read_rows import ResultTable
from mien.output.tables import TABLES
from mien.video.summary import VideoSummary

LONGEST_NAME = 80
MOST_CORRECTIONS = 2000
ROWS_AT_ONCE = 1000


@dataclass(frozen=True, order=True)
class Correction:
    """Who a track is.

    Attributes:
        track_id: The track.
        person: The name.
        start_s: From when on, seconds of the video; minus infinity from the beginning.
        end_s: Until when; infinity to the end. It does not hold at the end itself.
    """

    track_id: int
    person: str
    start_s: float = -math.inf
    end_s: float = math.inf


class Corrections:
    """The corrections of one video."""

    def __init__(self, corrections: Iterable[Correction] = ()) -> None:
        """Sort and check them.

        Args:
            corrections: Those of one track must not overlap.

        Raises:
            InputError: Two overlap, a time ends before it begins, a name is empty or too long, or there are too many.
        """
        self._lines: dict[int, list[Correction]] = {}
        self.all = sorted(corrections, key=lambda one: (one.track_id, one.start_s, one.end_s))
        if len(self.all) > MOST_CORRECTIONS:
            raise InputError(f"a video has at most {MOST_CORRECTIONS} corrections, got {len(self.all)}; merge some")
        for one in self.all:
            _check(one)
            line = self._lines.setdefault(one.track_id, [])
            if line and line[-1].end_s > one.start_s:
                raise InputError(
                    f"two corrections of track {one.track_id} overlap, {shown(line[-1].person)} and "
                    f"{shown(one.person)}; end one where the other begins"
                )
            line.append(one)

    @classmethod
    def from_values(cls, values: Iterable[Mapping[str, Any]]) -> "Corrections":
        """Return corrections from what `to_values` gave, or a client sent.

        Raises:
            InputError: As the class, or a value is missing or wrong.
        """
        try:
            return cls(
                Correction(
                    int(one["track_id"]),
                    str(one["person"]).strip(),
                    -math.inf if one.get("start_s") is None else float(one["start_s"]),
                    math.inf if one.get("end_s") is None else float(one["end_s"]),
                )
                for one in values
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"a correction has track_id and person (and start_s, end_s in seconds), got {shown(str(error))}"
            ) from error

    def to_values(self) -> list[dict[str, Any]]:
        """Return the corrections as plain values, ready for JSON; None stands for the beginning and the end."""
        return [
            {
                "track_id": one.track_id,
                "person": one.person,
                "start_s": _finite(one.start_s),
                "end_s": _finite(one.end_s),
            }
            for one in self.all
        ]

    def __len__(self) -> int:
        """Return the number of corrections."""
        return len(self.all)

    def of(self, track_id: int | None, time_s: float) -> str | None:
        """Return who a track is at a time, or None where nobody corrected it."""
        line = () if track_id is None else self._lines.get(track_id, ())
        return next((one.person for one in line if one.start_s <= time_s < one.end_s), None)

    def rows(self, rows: Iterable[Record]) -> Iterator[Record]:
        """Yield rows with the column `corrected_person`, None where nobody corrected; all else stays as it was."""
        for row in rows:
            track, time_s = row.get("track_id"), row.get("time_s")
            known = None if track is None or time_s is None else self.of(int(track), float(time_s))
            yield {**row, CORRECTED: known}


def _check(one: Correction) -> None:
    if not one.person or len(one.person) > LONGEST_NAME or not one.person.isprintable():
        raise InputError(f"a name has 1 to {LONGEST_NAME} printable characters, got {shown(one.person)}")
    if math.isnan(one.start_s) or math.isnan(one.end_s) or one.end_s <= one.start_s:
        raise InputError(f"end_s must be after start_s, got {one.start_s:g} and {one.end_s:g} for track {one.track_id}")


def _text(value: object) -> str | None:
    return str(value) if value else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def corrected_columns(columns: Sequence[str]) -> list[str]:
    """Return the columns of a table with `corrected_person`: after `person` where there is one, else before `error`."""
    kept = [name for name in columns if name != CORRECTED]
    place = kept.index(PERSON) + 1 if PERSON in kept else kept.index(ERROR) if ERROR in kept else len(kept)
    return [*kept[:place], CORRECTED, *kept[place:]]


def write_corrected(table: ResultTable, corrections: Corrections, path: str | Path) -> Path:
    """Write a table once more, with the column `corrected_person`; the file appears whole or not at all.

    Args:
        table: The table of the model's answers.
        corrections: Who people really are.
        path: Ends in `.jsonl`, `.csv` or `.parquet`.

    Raises:
        InputError: Another extension, or a row cannot be read.
        OutputError: It cannot be written.
    """
    file = Path(path)
    with TABLES[TABLE.check(file)](file, SinkSettings(table.labels), corrected_columns(table.columns)) as sink:
        batch: list[Record] = []
        for row in corrections.rows(table):
            batch.append(row)
            if len(batch) >= ROWS_AT_ONCE:
                sink.add_rows(batch)
                batch = []
        sink.add_rows(batch)
    return file


class People:
    """Who is who in the rows of a video, one after another: whoever was corrected, else as the model says.

    Attributes:
        found: By the number that stands for somebody: the tracks, and the names by either.
    """

    def __init__(self, corrections: Corrections) -> None:
        """Start with nobody."""
        self._corrections = corrections
        self._numbers: dict[str | int, int] = {}
        self.found: dict[int, dict[str, Any]] = {}

    def number_of(self, row: Record) -> int | None:
        """Return a number that stands for whoever a row shows, the same for all tracks of one person.

        Args:
            row: With `track_id` and `time_s`; `person` where the model was asked, `corrected_person` where the table
                has the corrections already.

        Returns:
            The number, from 0 on in the order of appearance; None for a face without a track.
        """
        track, time_s = row.get("track_id"), row.get("time_s")
        if track is None or time_s is None:
            return None
        corrected, model = self._corrections.of(int(track), float(time_s)) or _text(row.get(CORRECTED)), row.get(PERSON)
        key = corrected or (str(model) if model else int(track))
        number = self._numbers.setdefault(key, len(self._numbers))
        one = self.found.setdefault(number, {"tracks": [], PERSON: None, CORRECTED: None})
        if int(track) not in one["tracks"]:
            one["tracks"].append(int(track))
        one[PERSON] = one[PERSON] or (str(model) if model else None)
        one[CORRECTED] = corrected or one[CORRECTED]
        return number

    def name_of(self, number: int) -> str:
        """Return what somebody is called: the corrected name, else the model's, else the track's number."""
        one = self.found[number]
        return str(one[CORRECTED] or one[PERSON] or f"#{one['tracks'][0]}")


def corrected_summary(table: ResultTable, corrections: Corrections) -> dict[str, Any]:
    """Return the summary of a video with one entry per person, as corrected.

    Args:
        table: The table of the model's answers.
        corrections: Who people really are.

    Returns:
        As `VideoSummary.to_dict`; an entry of `tracks` has its person's first track as `track_id`, all of them as
        `tracks`, the model's `person` and `corrected_person`, where there are such.
    """
    people, summary = People(corrections), VideoSummary(table.labels)
    for row in table:
        summary.add_record({**row, "track_id": people.number_of(row), PERSON: None})
    return told_by_person(summary, people)


def told_by_person(summary: VideoSummary, people: People) -> dict[str, Any]:
    """Return a summary whose tracks are the numbers of `people`, with the names and tracks of each.

    Args:
        summary: Of rows whose `track_id` is from `People.number_of`.
        people: Who they are.
    """
    figures = summary.to_dict()
    for entry in figures["tracks"]:
        entry |= _told(people, entry["track_id"])
    for span in [*figures["longest_spans"], *(span for entry in figures["tracks"] for span in entry["longest_spans"])]:
        if span["track_id"] is not None:
            span |= {**_told(people, span["track_id"]), "track_id": people.found[span["track_id"]]["tracks"][0]}
    return figures


def _told(people: People, number: int) -> dict[str, Any]:
    one = people.found[number]
    names = {key: one[key] for key in (PERSON, CORRECTED) if one[key]}
    return {"track_id": one["tracks"][0], "tracks": sorted(one["tracks"]), **names}
