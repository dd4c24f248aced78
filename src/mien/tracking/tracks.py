"""Who is who from one frame to the next: motion of a face, and the globally best assignment of faces to tracks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mien.detect.boxes import overlap
from mien.faces import Faces, Floats
from mien.tracking._changed import changed

VELOCITY_HALF_LIFE_S = 0.08
COAST_S = 2.0  # time constant with which an unseen face's motion dies down
LEAST_STEP_S = 1e-3
MOST_GROWTH = 2.0  # of the logarithm of a face's size, per second

REACH, REACH_PER_S, MOST_REACH = 0.5, 3.0, 1.5  # in sides of the face: how far from its place a face may turn up
SIZE_RATIO, SIZE_RATIO_PER_S = 1.6, 1.0
SAME_SHARE = 0.6  # two boxes that share this much of the smaller one hold one face
NOT_MATCHED = 1e6

Doubles = NDArray[np.float64]


def assign(cost: Doubles, *, limit: float) -> list[tuple[int, int]]:
    """Return the pairs with the least total cost, each pair costing less than `limit`.

    Shortest augmenting paths (Jonker & Volgenant 1987), a row at a time; leaving a row alone costs `limit`.

    Args:
        cost: (N, M) float64; infinite where a pair must not be.
        limit: Cost from which a row rather stays alone.

    Returns:
        Pairs (row, column), rows in order; every row and column occurs at most once.
    """
    rows, columns = cost.shape
    if not rows or not columns:
        return []
    alone = np.full((rows, rows), limit)
    table = np.concatenate([np.minimum(cost, NOT_MATCHED), alone], axis=1)
    row_price, column_price = np.zeros(rows), np.zeros(columns + rows)
    owner = np.full(columns + rows, -1)
    for row in range(rows):
        _augment(table, row, owner, row_price, column_price)
    pairs = [(int(owner[j]), j) for j in range(columns) if owner[j] >= 0 and cost[owner[j], j] < limit]
    return sorted(pairs)


def _augment(table: Doubles, row: int, owner: NDArray[np.int64], row_price: Doubles, column_price: Doubles) -> None:
    """Give `row` a column along the cheapest path of reassignments; prices and owners change in place."""
    count = table.shape[1]
    distance, before = np.full(count, np.inf), np.full(count, -1)
    done = np.zeros(count, bool)
    current, column, reached = row, -1, 0.0
    while True:
        path = reached + table[current] - row_price[current] - column_price
        better = ~done & (path < distance)
        distance[better], before[better] = path[better], column
        column = int(np.where(done, np.inf, distance).argmin())
        reached, done[column] = distance[column], True
        if owner[column] < 0:
            break
        current = int(owner[column])
    settled = done & (owner >= 0)
    row_price[row] += reached
    row_price[owner[settled]] += reached - distance[settled]
    column_price[done] += distance[done] - reached
    while column >= 0:
        previous = int(before[column])
        owner[column] = owner[previous] if previous >= 0 else row
        column = previous


@dataclass(frozen=True)
class Track:
    """One face over time.

    Attributes:
        track_id: Its number, from 1.
        xyxy: (4,) float32, where it was last seen, pixels.
        landmarks: (5, 2) float32, or None where the detector gives none.
        score: The detector's score when last seen.
        velocity: (3,) float64: pixels per second in x and y, and growth of the logarithm of the side per second.
        seen_s: When it was last seen, seconds.
        sure_s: When the detector was last sure of it, seconds.
        searched_s: When it was last searched for in the whole frame, seconds.
        sightings: In how many frames it was seen.
        looks: (K, LENGTH) float16, how it looked at up to `appearance.MOST_LOOKS` times.
        looked_s: When its looks were last taken, seconds.
        born_s: When it was first seen, seconds.
    """

    track_id: int
    xyxy: Floats
    landmarks: Floats | None
    score: float
    velocity: Doubles
    seen_s: float
    sure_s: float
    searched_s: float
    sightings: int = 1
    looks: NDArray[np.float16] | None = None
    looked_s: float = -np.inf
    born_s: float = 0.0

    @classmethod
    def first(cls, track_id: int, faces: Faces, number: int, time_s: float) -> Self:
        """Start with one face.

        Args:
            track_id: Its number.
            faces: The faces of a frame.
            number: Which of them.
            time_s: Time of the frame, seconds.
        """
        landmarks = None if faces.landmarks is None else faces.landmarks[number]
        score = float(faces.score[number])
        place = faces.xyxy[number]
        return cls(track_id, place, landmarks, score, np.zeros(3), time_s, time_s, time_s, born_s=time_s)

    @property
    def side(self) -> float:
        """The longer side of the box, pixels, at least 1."""
        return max(float((self.xyxy[2:] - self.xyxy[:2]).max()), 1.0)

    def at(self, time_s: float) -> tuple[Floats, Floats | None]:
        """Return box and landmarks as they should be by now: constant velocity, dying down while it is out of sight.

        Args:
            time_s: Now, seconds.
        """
        gap = max(time_s - self.seen_s, 0.0)
        step = COAST_S * (1 - math.exp(-gap / COAST_S))
        centre = (self.xyxy[:2] + self.xyxy[2:]) / 2
        scale = math.exp(min(max(float(self.velocity[2]) * min(step, 0.2), -0.5), 0.5))
        place = centre + self.velocity[:2] * step
        points = np.concatenate([self.xyxy.reshape(2, 2), *([] if self.landmarks is None else [self.landmarks])])
        moved = ((points - centre) * scale + place).astype(np.float32)
        return moved[:2].reshape(4), None if self.landmarks is None else moved[2:]

    def seen(self, faces: Faces, number: int, time_s: float, *, sure: bool, steer: bool = True) -> Self:
        """Return the track after it was seen again.

        Args:
            faces: The faces of a frame.
            number: Which of them it is.
            time_s: Time of the frame, seconds.
            sure: Whether the detector is sure that this is a face.
            steer: Whether the velocity follows; it should not where another face covers part of this one.
        """
        xyxy = faces.xyxy[number]
        return changed(
            self,
            xyxy=xyxy,
            landmarks=None if faces.landmarks is None else faces.landmarks[number],
            score=float(faces.score[number]),
            velocity=self._steered(xyxy, time_s) if steer else self.velocity,
            seen_s=time_s,
            sure_s=time_s if sure else self.sure_s,
            sightings=self.sightings + 1,
        )

    def afresh(self) -> Self:
        """Return the track without the motion that it had: the next sighting tells all of it."""
        return changed(self, velocity=np.zeros(3), sightings=1)

    def _steered(self, xyxy: Floats, time_s: float) -> Doubles:
        """Return the velocity after the box was measured at `xyxy`: an alpha-beta filter whose alpha is 1."""
        step = max(time_s - self.seen_s, LEAST_STEP_S)
        centre, before = (xyxy[:2] + xyxy[2:]) / 2, (self.xyxy[:2] + self.xyxy[2:]) / 2
        growth = 0.5 * float(np.log(max(_area(xyxy), 1.0) / max(_area(self.xyxy), 1.0))) / step
        x, y = (centre - before).tolist()
        measured = np.array([x / step, y / step, min(max(growth, -MOST_GROWTH), MOST_GROWTH)])
        gain = max(1 - 0.5 ** (step / VELOCITY_HALF_LIFE_S), 1 / self.sightings if self.sightings < 4 else 0.0)
        steered: Doubles = self.velocity + gain * (measured - self.velocity)
        return steered

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        plain = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in values.items()}
        return plain | {"looked_s": None if np.isinf(self.looked_s) else self.looked_s, "looks": _packed(self.looks)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        points, looked_s = value["landmarks"], value["looked_s"]
        arrays = {
            "xyxy": np.array(value["xyxy"], np.float32),
            "landmarks": None if points is None else np.array(points, np.float32),
            "velocity": np.array(value["velocity"], np.float64),
            "looks": _unpacked(value["looks"]),
            "looked_s": -np.inf if looked_s is None else looked_s,
        }
        return cls(**{**value, **arrays})


def _area(xyxy: Floats) -> float:
    return float((xyxy[2] - xyxy[0]) * (xyxy[3] - xyxy[1]))


def _packed(looks: NDArray[np.float16] | None) -> list[str] | None:
    return None if looks is None else [row.tobytes().hex() for row in looks]


def _unpacked(rows: Sequence[str] | None) -> NDArray[np.float16] | None:
    return None if rows is None else np.stack([np.frombuffer(bytes.fromhex(row), np.float16) for row in rows])


def matching_costs(tracks: Sequence[Track], faces: Faces, time_s: float) -> Doubles:
    """Return the cost of taking each face for each track.

    Half of it is what the boxes do not share (1 - IoU), half the mean distance of the landmarks (of the box centres,
    where there are none) as a share of what is within reach. A face is within reach when its centre is less than half a
    side, and three more per second out of sight, from where the track should be, and its size is similar.

    Args:
        tracks: N tracks.
        faces: M faces.
        time_s: Time of the frame, seconds.

    Returns:
        (N, M) float64, 0-1; infinite beyond reach.
    """
    if not tracks or not len(faces):
        return np.full((len(tracks), len(faces)), np.inf)
    places = [track.at(time_s) for track in tracks]
    xyxy = np.stack([box for box, _ in places])
    points = [landmarks for _, landmarks in places if landmarks is not None]
    gap = np.maximum(time_s - np.array([track.seen_s for track in tracks]), 0.0)[:, None]
    reach = np.minimum(REACH + REACH_PER_S * gap, MOST_REACH)
    away, ratio = _offsets(xyxy, faces.xyxy)
    apart = away
    if faces.landmarks is not None and len(points) == len(tracks):
        apart = _points_apart(np.stack(points), faces.landmarks, xyxy)
    near = (away <= reach) & (ratio <= SIZE_RATIO + SIZE_RATIO_PER_S * np.minimum(gap, 1.0))
    cost = 0.5 * (1 - overlap(xyxy, faces.xyxy)) + 0.5 * np.minimum(apart / reach, 1)
    return np.where(near, cost, np.inf)


def _offsets(xyxy: Floats, others: Floats) -> tuple[Doubles, Doubles]:
    """Return (N, M) distances of the centres in sides of the smaller box, and (N, M) ratios of the sides, 1 or more."""
    side, sides = _sides(xyxy)[:, None], _sides(others)[None]
    centre, centres = (xyxy[:, :2] + xyxy[:, 2:]) / 2, (others[:, :2] + others[:, 2:]) / 2
    step = (centres[None] - centre[:, None]).astype(np.float64)
    away = np.hypot(step[..., 0], step[..., 1]) / np.minimum(sides, side)
    return away, np.maximum(sides / side, side / sides)


def _points_apart(landmarks: Floats, others: Floats, xyxy: Floats) -> Doubles:
    """Return (N, M) mean distances of the landmarks in sides of the tracks' boxes."""
    step = (others[None] - landmarks[:, None]).astype(np.float64)
    apart: Doubles = np.hypot(step[..., 0], step[..., 1]).mean(axis=2) / _sides(xyxy)[:, None]
    return apart


def _sides(xyxy: Floats) -> Doubles:
    """Return the longer side of each box, at least 1 pixel."""
    sides: Doubles = np.maximum((xyxy[:, 2:] - xyxy[:, :2]).max(axis=1), 1.0).astype(np.float64)
    return sides
