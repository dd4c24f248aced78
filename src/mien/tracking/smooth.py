"""Probabilities of one face over time: smoothed with a half-life in seconds, and an expression without flicker.

The average is one of probabilities, not of their logarithms: on videos of a smile, with and without noise, both are
equally steady at the same half-life, and this one follows a change sooner.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mien.faces import Faces, Floats
from mien.tracking._changed import changed
from mien.tracking.settings import TrackSettings

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class RunningExpression:
    """What is kept of one face's expressions.

    Attributes:
        total: (C,) float64, weighted sum of the probabilities, or those of the first frame.
        fresh: Whether there was one frame only.
        time_s: Time of the newest frame, seconds.
        steady: Number of the steady expression.
        rival: Number of the expression that leads in its stead, or None.
        rival_since_s: Since when, seconds.
        smoothed: (C,) float32, sums to 1.
    """

    total: Doubles
    fresh: bool
    time_s: float
    steady: int
    rival: int | None = None
    rival_since_s: float = 0.0
    smoothed: Floats = field(default_factory=lambda: np.zeros(0, np.float32))

    @classmethod
    def first(cls, probs: Floats, time_s: float) -> Self:
        """Start with one frame.

        Args:
            probs: (C,) float32, sums to 1.
            time_s: Its time, seconds.
        """
        return cls(probs.astype(np.float64), True, time_s, int(probs.argmax()), smoothed=probs)

    def after(self, probs: Floats, time_s: float, settings: TrackSettings) -> Self:
        """Return what is kept after one more frame.

        An exponential average with weights that halve every `half_life_s`: every frame counts for the time that it
        stands for, so the frame rate makes no difference; the first frame counts like the second. Gaps in time make
        older frames count less, as they should.

        Args:
            probs: (C,) float32, sums to 1.
            time_s: Its time, seconds, not before the one before.
            settings: How to smooth.
        """
        step = max(time_s - self.time_s, 1e-3)
        kept = 0.5 ** (step / settings.half_life_s) if settings.half_life_s > 0 else 0.0
        share = 1 - kept
        before = share * self.total if self.fresh else self.total
        total = kept * before + share * probs.astype(np.float64)
        smoothed = (total / total.sum()).astype(np.float32)
        newer = changed(self, total=total, fresh=False, time_s=time_s, smoothed=smoothed)
        return newer._settle(settings)

    def _settle(self, settings: TrackSettings) -> Self:
        """Return the same with the steady expression changed where another leads clearly, or for long."""
        leader = int(self.smoothed.argmax())
        if leader == self.steady:
            return self if self.rival is None else changed(self, rival=None)
        since = self.rival_since_s if self.rival == leader else self.time_s
        lead = float(self.smoothed[leader] - self.smoothed[self.steady])
        if lead >= settings.steady_margin or self.time_s - since >= settings.steady_after_s:
            return changed(self, steady=leader, rival=None)
        return changed(self, rival=leader, rival_since_s=since)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "total": self.total.tolist(), "fresh": self.fresh, "time_s": self.time_s, "steady": self.steady,
            "rival": self.rival, "rival_since_s": self.rival_since_s, "smoothed": self.smoothed.tolist(),
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        arrays = {"total": np.array(value["total"], np.float64), "smoothed": np.array(value["smoothed"], np.float32)}
        return cls(**{**value, **arrays})


def smooth(
    faces: Faces, running: Mapping[int, RunningExpression], settings: TrackSettings
) -> tuple[Faces, Mapping[int, RunningExpression]]:
    """Return the faces of the next frame with smoothed probabilities and steady expressions, and what is kept of them.

    Args:
        faces: With probabilities and `track_id`; of none, none is returned.
        running: What was kept after the frame before.
        settings: How to smooth.
    """
    kept = {i: m for i, m in running.items() if 0 <= faces.time_s - m.time_s <= settings.max_age_s}
    if faces.probs is None:
        return faces, kept
    now = {}
    for track_id, probs in zip(() if faces.track_id is None else faces.track_id.tolist(), faces.probs, strict=True):
        before = kept.get(track_id)
        now[track_id] = (
            RunningExpression.first(probs, faces.time_s)
            if before is None
            else before.after(probs, faces.time_s, settings)
        )
    smoothed = np.array([one.smoothed for one in now.values()], np.float32).reshape(faces.probs.shape)
    steady = np.array([one.steady for one in now.values()], np.int64)
    return faces.with_smoothed(smoothed, steady), kept | now
