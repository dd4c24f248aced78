"""Sums over a track or a video: how long each expression was shown, transitions and the longest spans."""

import heapq
import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from mien.video.held import Held, Sight
from mien.video.track_measures import TrackMeasures

LONGEST_SPANS = 5
BRIDGED_S = 0.5  # a face lost for less than this does not end a span


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
class Sums:
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


class TrackSums(Sums):
    """Sums over one track, with the span that still goes on."""

    def __init__(self, classes: int, track_id: int) -> None:
        super().__init__(classes)
        self.track_id = track_id
        self.person: str | None = None
        self.now: Span | None = None
        self.measures: TrackMeasures | None = None

    def add(self, sight: Sight, held: Held) -> tuple[Span | None, tuple[int, int] | None]:
        """Add a frame, and return the span that ended with it and the transition it was."""
        self.see(sight, held)
        self.person = sight.person or self.person
        if sight.measured:
            self.measures = self.measures or TrackMeasures()
            self.measures.add(held.start_s, sight.measured)
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
