"""Videos and people side by side, aligned at an event: curves around it, means of groups with intervals, and changes.

A person's curve is the mean of the smoothed probabilities in short bins of time around the event, each frame weighing
as long as it is held, and of several events of one person the mean of all. A group's mean is that of its people, each
weighing the same, however long or often they were seen: somebody whom `--people` found in several videos of one table
counts once, with the mean of these videos. Names that people gave hold within one video. The mean's interval is a
95 % t interval over people. It says how far the mean of other people like them may be, not how wrong the model is; with
few people it is wide, with one there is none.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.faces import CORRECTED, PERSON, Record
from mien.labels import LabelSet
from mien.output.read_rows import ResultTable
from mien.video.corrections import Corrections, People, told_by_person
from mien.video.held import Held, SummaryBuilder, pieces
from mien.video.summary import VideoSummary

BINS = 60  # across the window
MOST_LANES = 500
Z975 = 1.959964
T975 = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448,
    2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484,
    2.0452, 2.0423,
)  # fmt: skip
Floats = NDArray[np.float64]


def t975(df: int) -> float:
    """Return the 97.5th percentile of Student's t with some degrees of freedom, at least 1."""
    if df <= len(T975):
        return T975[df - 1]
    return Z975 + (Z975**3 + Z975) / (4 * df) + (5 * Z975**5 + 16 * Z975**3 + 3 * Z975) / (96 * df**2)


@dataclass(frozen=True)
class TimeWindow:
    """The time around an event.

    Attributes:
        before_s: Seconds before it.
        after_s: Seconds after it.
    """

    before_s: float = 2.0
    after_s: float = 5.0

    def __post_init__(self) -> None:
        """Check the times."""
        if not (0 <= self.before_s < math.inf and 0 < self.after_s < math.inf):
            raise InputError(
                f"the window must be 0 s or more before and more than 0 s after the event, got {self.before_s:g} and "
                f"{self.after_s:g}"
            )

    @property
    def step_s(self) -> float:
        """Width of a bin, seconds."""
        return (self.before_s + self.after_s) / BINS

    @property
    def times(self) -> Floats:
        """(BINS,) middle of each bin, seconds after the event."""
        return np.asarray(-self.before_s + self.step_s * (np.arange(BINS) + 0.5), np.float64)


@dataclass
class SeenPerson:
    """What somebody showed in a video: for how long which probabilities.

    Attributes:
        name: What the person is called.
        start_s: (N,) start of each frame in which the person was seen, seconds; end_s likewise.
        end_s: (N,) its end.
        probs: (N, C) smoothed probabilities.
        key: The same for one person in several videos, and for nobody else.
    """

    name: str
    start_s: list[float] = field(default_factory=list)
    end_s: list[float] = field(default_factory=list)
    probs: list[NDArray[np.float32]] = field(default_factory=list)
    key: tuple[str, ...] = ()


@dataclass(frozen=True)
class SeenVideo:
    """A video to be compared.

    Attributes:
        source: Its name.
        figures: Its summary, an entry per person: see `mien.video.corrections.corrected_summary`.
        people: Who was seen.
    """

    source: str
    figures: dict[str, Any]
    people: tuple[SeenPerson, ...]


class _Collector(SummaryBuilder):
    """Collects what people show, from rows whose `track_id` is a number of `People`."""

    def __init__(self, labels: LabelSet) -> None:
        super().__init__(labels)
        self.seen: dict[int, SeenPerson] = {}

    def _take(self, held: Held) -> None:
        for sight in held.sights:
            if sight.track_id is not None and sight.probs is not None:
                one = self.seen.setdefault(sight.track_id, SeenPerson(""))
                one.start_s.append(held.start_s)
                one.end_s.append(held.start_s + held.seconds)
                one.probs.append(sight.probs)

    def finish(self) -> dict[int, SeenPerson]:
        self._finish()
        return self.seen


def seen_videos(table: ResultTable, corrections: Corrections | None = None) -> list[SeenVideo]:
    """Return the videos of a table, each with its people.

    Args:
        table: Rows of one video, or of several, one after another.
        corrections: Who people really are, for a table of one video; None takes the table's own `corrected_person`,
            where it has one.

    Raises:
        InputError: A row cannot be read.
    """
    videos: list[SeenVideo] = []
    rows: Iterable[Record] = table
    now: tuple[str, People, VideoSummary, _Collector] | None = None
    for row in rows:
        source = str(row.get("source") or "")
        if now is None or source != now[0]:
            videos += [] if now is None else [_video(table, *now)]
            now = source, People(corrections or Corrections()), VideoSummary(table.labels), _Collector(table.labels)
        one = {**row, "track_id": now[1].number_of(row), PERSON: None}
        now[2].add_record(one)
        now[3].add_record(one)
    return videos if now is None else [*videos, _video(table, *now)]


def _video(table: ResultTable, source: str, people: People, summary: VideoSummary, collector: _Collector) -> SeenVideo:
    seen = collector.finish()
    for number, person in seen.items():
        person.name = people.name_of(number)
        in_all_videos = people.found[number][PERSON] and not people.found[number][CORRECTED]
        person.key = (str(table.path), "" if in_all_videos else source, person.name)
    return SeenVideo(source, told_by_person(summary, people), tuple(seen.values()))


@dataclass(frozen=True)
class ChosenVideo:
    """A video of a comparison.

    Attributes:
        video: The video.
        label: What it is called; empty for its name.
        group: Its group; videos without one are a group of their own.
        events_s: When the event happened in it, seconds; none for the video's beginning.
        people: Who of it, by name; None for all.
    """

    video: SeenVideo
    label: str = ""
    group: str = ""
    events_s: tuple[float, ...] = ()
    people: frozenset[str] | None = None

    @property
    def name(self) -> str:
        """What it is called."""
        return self.label or self.video.source


@dataclass(frozen=True)
class Curve:
    """What a person showed around the event.

    Attributes:
        video: The video.
        person: The person.
        group: The group.
        events: At how many events the person was seen.
        probs: (BINS, C) mean probabilities, NaN where the person was not seen.
        before: (C,) mean before the event, NaN where not seen; after likewise.
        after: (C,) mean after it.
        key: The same for one person in several videos.
    """

    video: str
    person: str
    group: str
    events: int
    probs: Floats
    before: Floats
    after: Floats
    key: tuple[str, ...]


@dataclass(frozen=True)
class Mean:
    """A mean over people, with a 95 % t interval; NaN where nobody was seen, the interval where fewer than two were.

    Attributes:
        n: Of how many people.
        mean: The mean.
        low: Lower end.
        high: Upper end.
    """

    n: NDArray[np.int64]
    mean: Floats
    low: Floats
    high: Floats

    @classmethod
    def over(cls, values: Sequence[Floats]) -> "Mean":
        """Return the mean over the first axis.

        Args:
            values: An array per person, all of one shape, NaN where there is no value.
        """
        stacked = np.stack(values)
        known = np.isfinite(stacked)
        n = known.sum(axis=0)
        total = np.where(known, stacked, 0).sum(axis=0)
        mean = np.where(n > 0, total / np.maximum(n, 1), np.nan)
        squares = np.where(known, (stacked - mean) ** 2, 0).sum(axis=0)
        quantile = np.array([math.nan, math.nan, *(t975(df) for df in range(1, len(values)))])[n]
        half = quantile * np.sqrt(squares / np.maximum(n - 1, 1) / np.maximum(n, 1))
        return cls(n.astype(np.int64), mean, mean - half, mean + half)


@dataclass(frozen=True)
class Alignment:
    """Videos and people around an event.

    Attributes:
        labels: The expressions.
        window: The time around the event.
        event: Its name; empty where the beginning of each video is time 0.
        curves: Of each person in each video.
        choices: The videos.
    """

    labels: LabelSet
    window: TimeWindow
    event: str
    curves: tuple[Curve, ...]
    choices: tuple[ChosenVideo, ...]

    @property
    def people(self) -> dict[str, list[list[Curve]]]:
        """The curves by group, in the order of their first, and person: one per video in which the person was seen."""
        found: dict[str, dict[tuple[str, ...], list[Curve]]] = {}
        for curve in self.curves:
            found.setdefault(curve.group, {}).setdefault(curve.key, []).append(curve)
        return {group: list(of_people.values()) for group, of_people in found.items()}

    def means(self) -> dict[str, Mean]:
        """Return each group's mean curve, (BINS, C)."""
        return self._over_people(lambda curve: curve.probs)

    def changes(self) -> dict[str, Mean]:
        """Return each group's mean change from before the event to after it, (C,)."""
        return self._over_people(lambda curve: curve.after - curve.before)

    def _over_people(self, value: Callable[[Curve], Floats]) -> dict[str, Mean]:
        return {
            group: Mean.over([_nanmean(np.stack([value(curve) for curve in own])) for own in people])
            for group, people in self.people.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the alignment as plain values, ready for JSON; None stands for what is not known."""
        return {
            "event": self.event,
            "before_s": self.window.before_s,
            "after_s": self.window.after_s,
            "times_s": _plain(self.window.times),
            "expressions": list(self.labels.names),
            "curves": [
                {"video": c.video, "person": c.person, "group": c.group, "events": c.events, "probs": _plain(c.probs),
                 "change": _plain(c.after - c.before)}
                for c in self.curves
            ],
            "groups": [
                {"group": group, "n": mean.n.max(initial=0).item(), "mean": _plain(mean.mean), "low": _plain(mean.low),
                 "high": _plain(mean.high)}
                for group, mean in self.means().items()
            ],
            "changes": [
                {"group": group, "n": mean.n.max(initial=0).item(), "mean": _plain(mean.mean), "low": _plain(mean.low),
                 "high": _plain(mean.high)}
                for group, mean in self.changes().items()
            ],
            "interval": "95 % t interval over people",
        }  # fmt: skip


def _plain(values: Floats) -> Any:
    """Return an array as lists, with None for what is no number."""
    rounded = np.round(values, 4).astype(object)
    rounded[~np.isfinite(values)] = None
    return rounded.tolist()


def align(
    choices: Sequence[ChosenVideo], labels: LabelSet, *, window: TimeWindow | None = None, event: str = ""
) -> Alignment:
    """Put videos side by side around an event.

    Args:
        choices: The videos, all of one label set.
        labels: Their label set.
        window: The time around the event; None for two seconds before and five after.
        event: Its name, for people.

    Raises:
        InputError: There is nobody to compare, or there are more people than can be shown.
    """
    chosen = window or TimeWindow()
    curves = [
        _curve(choice, person, chosen, len(labels))
        for choice in choices
        for person in choice.video.people
        if choice.people is None or person.name in choice.people
    ]
    curves = [curve for curve in curves if curve.events]
    if not curves:
        raise InputError("nobody was seen around the event; choose other people, another event or a longer window")
    if len(curves) > MOST_LANES:
        raise InputError(f"at most {MOST_LANES} people are compared, got {len(curves)}; choose some of them")
    return Alignment(labels, chosen, event, tuple(curves), tuple(choices))


def _curve(choice: ChosenVideo, person: SeenPerson, window: TimeWindow, classes: int) -> Curve:
    start = choice.video.figures["start_s"]
    moments = choice.events_s or (start,)
    each = [_around(person, moment, window, classes) for moment in moments]
    seen = [(bins, sides) for bins, sides in each if np.isfinite(bins).any()]
    nothing = np.full((BINS, classes), np.nan), np.full((2, classes), np.nan)
    bins, sides = (np.stack(parts) for parts in zip(*(seen or [nothing]), strict=True))
    before, after = _nanmean(sides)
    return Curve(choice.name, person.name, choice.group, len(seen), _nanmean(bins), before, after, person.key)


def _around(person: SeenPerson, moment_s: float, window: TimeWindow, classes: int) -> tuple[Floats, Floats]:
    """Return (BINS, C) and (2, C), before and after: mean probabilities by time, NaN where the person was not seen."""
    sums, weights = np.zeros((BINS, classes)), np.zeros((BINS, 1))
    sides, held = np.zeros((2, classes)), np.zeros((2, 1))
    first, last = moment_s - window.before_s, moment_s + window.after_s
    place = int(np.searchsorted(np.asarray(person.end_s), first, side="right"))
    for start, end, probs in zip(person.start_s[place:], person.end_s[place:], person.probs[place:], strict=True):
        if start >= last:
            break
        start_s, end_s = max(start, first) - first, min(end, last) - first
        values = probs.astype(np.float64)
        for number, a, b in pieces(start_s, end_s, window.step_s):
            if 0 <= number < BINS and b > a:
                sums[number] += (b - a) * values
                weights[number] += b - a
        for side, (low, high) in enumerate(((0.0, window.before_s), (window.before_s, last - first))):
            length = max(0.0, min(end_s, high) - max(start_s, low))
            sides[side] += length * values
            held[side] += length
    with np.errstate(invalid="ignore"):
        return np.where(weights > 1e-9, sums / weights, np.nan), np.where(held > 1e-9, sides / held, np.nan)


def _nanmean(values: Floats) -> Floats:
    known = np.isfinite(values)
    n = known.sum(axis=0)
    mean: Floats = np.where(n > 0, np.where(known, values, 0).sum(axis=0) / np.maximum(n, 1), np.nan)
    return mean


def shown_expressions(alignment: Alignment, wanted: Sequence[str] | None, *, most: int = 4) -> list[int]:
    """Return the numbers of the expressions to show: those wanted, else those that vary most around the event.

    Args:
        alignment: The people.
        wanted: Names; synonyms are understood.
        most: How many where none are named.

    Raises:
        InputError: One is unknown.
    """
    if wanted:
        return list(dict.fromkeys(alignment.labels.index(name) for name in wanted))
    means: Mapping[str, Mean] = alignment.means()
    spread = np.max([_spread(mean.mean) for mean in means.values()], axis=0)
    return sorted(np.argsort(-spread, kind="stable")[:most].tolist())


def _spread(values: Floats) -> Floats:
    """Return by how much each column varies; minus infinity where there is no value."""
    known = np.isfinite(values)
    highest, lowest = np.where(known, values, -np.inf).max(axis=0), np.where(known, values, np.inf).min(axis=0)
    spread: Floats = highest - lowest
    return spread
