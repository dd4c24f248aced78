"""What was measured of one person over a video: medians, against which single frames are read, and blinks.

Memory does not grow with the length of the video, but for the times of blinks.
"""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from mien.attributes.measure import RANGES
from mien.faces import ATTRIBUTES, RELATIVE_TO, WITH_RELATIVE

MEASURES = tuple(column for name, columns in ATTRIBUTES.items() if name not in ("people",) for column in columns)
ALL_MEASURES = (*MEASURES, *(RELATIVE_TO + column for column in WITH_RELATIVE))
(SHUT,) = ATTRIBUTES["blinks"]
BINS = 720  # of the histogram that a median comes from
SPANS = {  # from where to where the histogram of a column reaches
    **RANGES, "yaw": (-90.0, 90.0), "pitch": (-90.0, 90.0), "roll": (-180.0, 180.0), "quality": (0.0, 1.0),
    "age_estimate": (0.0, 120.0), "gender_estimate": (0.0, 1.0),
}  # fmt: skip

CLOSED, OPEN = 0.6, 0.4  # `eyes_closed` above and below which eyes are closed, and open again
SHORTEST_S, LONGEST_S = 0.03, 0.5  # of a blink
SLOWEST_S = 0.09  # frames farther apart than this miss blinks
LOST_S = 0.5  # eyes that were not seen for so long begin anew


class Histogram:
    """Where the values of one column lie, and so their median, in memory that does not grow."""

    def __init__(self, column: str) -> None:
        """Start empty.

        Args:
            column: One of `MEASURES`.
        """
        self._low, high = SPANS[column]
        self._width = high - self._low
        self._counts = np.zeros(BINS, np.int32)

    def add(self, value: float) -> None:
        """Add a finite value; one beyond the span counts at its end."""
        place = (value - self._low) / self._width * BINS
        self._counts[min(max(int(place), 0), BINS - 1)] += 1

    def median(self) -> float:
        """Return the median, off by less than a 720th of the span; NaN without a value."""
        total = np.cumsum(self._counts)
        half = total[-1] / 2
        if not half:
            return math.nan
        k = int(np.searchsorted(total, half))
        before = float(total[k - 1]) if k else 0.0
        return float(self._low + self._width * (k + (half - before) / float(self._counts[k])) / BINS)


class Blinks:
    """Finds blinks in eyes as they come, frame by frame: closed for between `SHORTEST_S` and `LONGEST_S`.

    Attributes:
        times_s: The middle of each blink, seconds of the video.
        seconds: How long the eyes were seen.
    """

    def __init__(self) -> None:
        """Start without any."""
        self.times_s: list[float] = []
        self.seconds = 0.0
        self._shut_s: float | None = None
        self._last_s = -math.inf
        self._gaps: deque[float] = deque(maxlen=100)

    @property
    def fast_enough(self) -> bool:
        """Whether the frames are near enough to each other to catch blinks."""
        return bool(self._gaps) and float(np.median(self._gaps)) <= SLOWEST_S

    def add(self, time_s: float, closed: float) -> None:
        """Add a frame.

        Args:
            time_s: Its time, seconds; later than that before.
            closed: How closed the eyes are, 0-1; NaN where they are not seen.
        """
        if not math.isfinite(closed):
            return
        gap = time_s - self._last_s
        if gap > LOST_S:
            self._shut_s = None
        else:
            self._gaps.append(gap)
            self.seconds += gap
        self._last_s = time_s
        if self._shut_s is None:
            self._shut_s = time_s if closed > CLOSED else None
        elif closed < OPEN:
            if SHORTEST_S <= time_s - self._shut_s <= LONGEST_S:
                self.times_s.append((self._shut_s + time_s) / 2)
            self._shut_s = None


class TrackMeasures:
    """What was measured of one track, summed up."""

    def __init__(self) -> None:
        """Start empty."""
        self._columns: dict[str, Histogram] = {}
        self._blinks: Blinks | None = None

    def add(self, time_s: float, measured: Mapping[str, float]) -> None:
        """Add a frame.

        Args:
            time_s: Its time, seconds.
            measured: Values by column; NaN where one could not be measured.
        """
        for name, value in measured.items():
            if name in SPANS and math.isfinite(value):
                if name not in self._columns:
                    self._columns[name] = Histogram(name)
                self._columns[name].add(value)
        if SHUT in measured:
            self._blinks = self._blinks or Blinks()
            self._blinks.add(time_s, measured[SHUT])

    def to_dict(self) -> dict[str, Any]:
        """Return the medians by column, and the blinks where they were asked for, as plain values.

        `blinks` is None where the frames are too far apart to catch them.
        """
        told: dict[str, Any] = {"medians": {name: round(one.median(), 4) for name, one in self._columns.items()}}
        blinks = self._blinks
        if blinks is not None:
            told["blinks"] = None
            if blinks.fast_enough:
                told["blinks"] = {
                    "count": len(blinks.times_s),
                    "per_minute": round(60 * len(blinks.times_s) / blinks.seconds, 2),
                    "seconds": round(blinks.seconds, 3),
                    "times_s": [round(time_s, 3) for time_s in blinks.times_s],
                }
        return told
