"""Who showed what in the last seconds of a live session, in memory that stays flat."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mien.faces import Faces
from mien.labels import LabelSet
from mien.output.draw.marks import shown_expression

SPAN_S = 20.0  # how far back the timeline reaches
GAP_S = 0.7  # a person unseen for longer leaves a hole
POINTS = 1024  # per person
POINT_S = SPAN_S / POINTS


@dataclass
class PersonHistory:
    """The last smoothed probabilities of one track, oldest first from `start`.

    Attributes:
        times: (POINTS,) float64, seconds; a ring.
        probs: (POINTS, C) float32; a ring.
        count: How many points were ever added.
        expression: What the person shows now, or None.
    """

    times: NDArray[np.float64]
    probs: NDArray[np.float32]
    count: int = 0
    expression: str | None = None

    def add(self, time_s: float, probs: NDArray[np.float32]) -> None:
        """Add a point; what comes too soon after the last one to be told apart takes its place."""
        if self.count and time_s - self.last_s < POINT_S:
            time_s = self.last_s
            self.count -= 1
        self.times[self.count % POINTS], self.probs[self.count % POINTS] = time_s, probs
        self.count += 1

    @property
    def last_s(self) -> float:
        """Time of the newest point."""
        return float(self.times[(self.count - 1) % POINTS])

    def at(self, times: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the probabilities at some times.

        Args:
            times: (T,) float64, seconds.

        Returns:
            (T, C) float32, and (T,) bool: whether the person was seen then.
        """
        held = min(self.count, POINTS)
        order = (self.count - held + np.arange(held)) % POINTS
        known = self.times[order]
        after = np.searchsorted(known, times, side="right")
        before = np.maximum(after - 1, 0)
        within = known[np.minimum(after, held - 1)] - known[before] <= GAP_S
        seen = (after > 0) & np.where(after < held, within, times - self.last_s <= POINT_S)
        return self.probs[order[before]], seen


@dataclass
class History:
    """Who showed what in the last `SPAN_S` seconds. Memory stays flat.

    Attributes:
        labels: The label set, None before the first face.
        now_s: Time of the newest frame, seconds.
        people: The persons seen, by track number.
    """

    labels: LabelSet | None = None
    now_s: float = 0.0
    people: dict[int, PersonHistory] = field(default_factory=dict)

    def add(self, faces: Faces, *, time_s: float) -> None:
        """Add the faces of one frame; another label set or a length_text that goes back starts anew.

        Args:
            faces: The faces; those without a track or probabilities are left out.
            time_s: Time of the frame, seconds.
        """
        if time_s < self.now_s or (faces.labels is not None and faces.labels != self.labels):
            self.people.clear()
        self.labels, self.now_s = faces.labels or self.labels, time_s
        for face in faces:
            probs = face.probs if face.smoothed is None else face.smoothed
            if face.track_id is not None and probs is not None:
                person = self._person(face.track_id, len(probs))
                person.add(time_s, probs)
                person.expression = shown_expression(face)[0]
        for number in [n for n, person in self.people.items() if time_s - person.last_s > SPAN_S]:
            del self.people[number]

    def _person(self, number: int, classes: int) -> PersonHistory:
        if number not in self.people:
            self.people[number] = PersonHistory(np.full(POINTS, -np.inf), np.zeros((POINTS, classes), np.float32))
        return self.people[number]

    def lanes(self, most: int) -> list[tuple[int, PersonHistory]]:
        """Return those seen last, at most `most`, in the order of their numbers."""
        latest = sorted(self.people.items(), key=lambda item: (-item[1].last_s, item[0]))[: max(0, most)]
        return sorted(latest, key=lambda item: item[0])
