"""How fast a live session is: the delay from capture to screen, and frames per second."""

import math
from collections import deque

import numpy as np

RATE_S = 2.0  # the frame rate is that of the last seconds
RECENT = 30  # the delay shown is the median of so many frames
BIN_MS, LONGEST_MS = 0.25, 10_000.0


class Delays:
    """Delays of any number of frames in flat memory: a histogram with bins of `BIN_MS`."""

    def __init__(self) -> None:
        """Start empty."""
        self._counts = np.zeros(round(LONGEST_MS / BIN_MS) + 1, np.int64)
        self._recent: deque[float] = deque(maxlen=RECENT)

    def add(self, milliseconds: float) -> None:
        """Add one delay."""
        self._recent.append(milliseconds)
        self._counts[min(max(0, int(milliseconds / BIN_MS)), len(self._counts) - 1)] += 1

    @property
    def count(self) -> int:
        """How many were added."""
        return int(self._counts.sum())

    def quantile(self, share: float) -> float:
        """Return the delay that a share of all frames stayed below, milliseconds; NaN without a frame.

        Args:
            share: 0-1; 0.5 for the median.
        """
        if not self.count:
            return math.nan
        number = max(1, math.ceil(share * self.count))
        return (int(np.searchsorted(np.cumsum(self._counts), number)) + 0.5) * BIN_MS

    @property
    def recent_ms(self) -> float | None:
        """Median of the last frames, or None before the first."""
        return float(np.median(list(self._recent))) if self._recent else None


class FrameRate:
    """Frames per second over the last `RATE_S` seconds."""

    def __init__(self) -> None:
        """Start empty."""
        self._times: deque[float] = deque(maxlen=1024)

    def tick(self, now_s: float) -> None:
        """Count a frame."""
        self._times.append(now_s)

    def at(self, now_s: float) -> float | None:
        """Return the rate, or None before the second frame. May be called while another thread counts."""
        times = [time_s for time_s in list(self._times) if now_s - time_s <= RATE_S]
        return (len(times) - 1) / max(1e-6, times[-1] - times[0]) if len(times) > 1 else None
