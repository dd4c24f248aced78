"""One frame at work: which track was seen where.

A frame begins with the tracks of the frame before, all unseen. `look` asks the detector what is now at the place where
each of them should be, and gives the tracks their sightings; of two that found the same face one gives it up. A search
hands its faces to `take`: each goes to the track that it is nearest to, where tracks out of sight must look like it,
too. The faces left over come back, and the caller lets them `begin` a track or has them `recognised` as somebody who
was gone. `finished` gives the tracks as they are after the frame: those seen at their new places, the others as they
were.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.detect.align import crop_faces
from mien.detect.boxes import overlap
from mien.detect.detector import Detector
from mien.faces import Faces, Floats, Frame
from mien.planes import Pixels
from mien.tracking._changed import changed
from mien.tracking.appearance import describe_looks, likeness, recognise
from mien.tracking.settings import TrackSettings
from mien.tracking.tracks import SAME_SHARE, Track, assign, matching_costs

SURE_SCORE = 0.8  # what MTCNN takes for a face in a still image
NEAR_SCORE = 0.02  # below it there is nothing like a face, and a second look is wasted
LOST_AGAIN_S, MOST_LOST_AGAIN_S = 0.08, 0.25  # pause before a lost face is searched again: grows with the time lost
LOOKS_EVERY_S, MOST_LOOKS = 0.5, 4
YOUNG_S = 1.0  # how long after somebody's coming a number may still be found to be an old one's
LOOKS_WEIGHT = 0.7
LOOKS_RANGE = (0.6, 0.95)  # likeness of strangers and of the same person
CLEAR_LEAD = 0.05
STRANGER = 0.4  # below this likeness a face is somebody else, wherever it is
BODY = (-0.4, -0.4, 0.4, 1.5)  # in widths and heights of the face: what a person hides
APART_SHARE = 0.05  # boxes that share more of the smaller one may hide each other


@dataclass(frozen=True)
class Sighting:
    """A face of the present frame.

    Attributes:
        image: The frame's planes, or (H, W, 3) uint8 RGB.
        faces: Where it comes from.
        number: Which of them it is.
        searched: Whether a search found it, which makes it sure.
    """

    image: Pixels
    faces: Faces
    number: int
    searched: bool

    @property
    def xyxy(self) -> Floats:
        """(4,) float32 box."""
        box: Floats = self.faces.xyxy[self.number]
        return box

    @property
    def score(self) -> float:
        """The detector's score."""
        return float(self.faces.score[self.number])

    @cached_property
    def looks(self) -> Floats:
        """(LENGTH,) float32 description of how it looks."""
        one = self.faces[self.number : self.number + 1]
        return describe_looks(self.image, self.xyxy, crop_faces(self.image, one)[0])

    def like(self, track: Track) -> float:
        """Return how much it looks like a track, 0-1."""
        if track.looks is None:
            return 0.5
        shape, colours = likeness(self.looks, track.looks.astype(np.float32))
        low, high = LOOKS_RANGE
        return 0.7 * float(np.clip((shape - low) / (high - low), 0, 1)) + 0.3 * colours

    def recognised_among(self, people: Sequence[Track]) -> int | None:
        """Return whose face it surely is, None where that is not sure."""
        empty = np.zeros((0, 0), np.float32)
        looks = [empty if p.looks is None else p.looks.astype(np.float32) for p in people]
        return recognise(self.looks, looks) if people else None

    def is_inside(self) -> bool:
        """Return whether no border of the image cuts it off."""
        height, width = self.image.shape[:2]
        return bool((self.xyxy >= 0).all() and self.xyxy[2] <= width and self.xyxy[3] <= height)


@dataclass
class _Known:
    """A track during one frame.

    Attributes:
        track: As it was after the frame before, or began in this one.
        sighting: Its face in this frame, or None while it is unseen.
        cost: How far the face at its place is from where it should be; see `matching_costs`.
    """

    track: Track
    sighting: Sighting | None = None
    cost: float = np.inf

    def after(self, time_s: float, *, searched: bool, free: bool = True) -> Track:
        """Return the track after this frame.

        Args:
            time_s: Time of the frame, seconds.
            searched: Whether the whole frame was searched.
            free: Whether no other face hides this one.
        """
        track = changed(self.track, searched_s=time_s) if searched else self.track
        seen = self.sighting
        if seen is None or track.seen_s == time_s:
            return track
        sure = seen.searched or seen.score >= SURE_SCORE
        return track.seen(seen.faces, seen.number, time_s, sure=sure, steer=free)


class FrameSightings:
    """The tracks during one frame, and where each was seen. Lives for that frame."""

    def __init__(self, frame: Frame, tracks: Sequence[Track], settings: TrackSettings) -> None:
        self.frame, self.time_s = frame, frame.time_s
        self._known = [_Known(track) for track in tracks]
        self._searched = False
        self._settings = settings

    def look(self, detector: Detector) -> None:
        """Look at every track where it should be by now."""
        if not self._known:
            return
        tracks = [known.track for known in self._known]
        places = np.stack([track.at(self.time_s)[0] for track in tracks])
        looked = _look_twice(
            detector, self.frame.pixels if detector.planes else self.frame.image, places, self._settings.keep_score
        )
        costs = np.diagonal(matching_costs(tracks, looked, self.time_s))
        for i in np.flatnonzero((looked.score >= self._settings.keep_score) & np.isfinite(costs)).tolist():
            self._known[i].sighting = Sighting(self.frame.pixels, looked, i, False)
            self._known[i].cost = float(costs[i])
        self._settle_doubles()

    def _settle_doubles(self) -> None:
        """Where two tracks found the same face, leave it to the one it looks like, else to the one seen just before."""
        seen = [known for known in self._known if known.sighting is not None]
        if len(seen) < 2:
            return
        shares = overlap(self.boxes(), self.boxes(), of="smaller")
        for a, b in combinations(range(len(seen)), 2):
            first, second = seen[a].sighting, seen[b].sighting
            if shares[a, b] > SAME_SHARE and first is not None and second is not None:
                face = second if second.score > first.score else first
                _stranger(face, seen[a], seen[b]).sighting = None

    def boxes(self) -> Floats:
        """Return (N, 4) float32 boxes of the tracks seen so far."""
        seen = [known.sighting.xyxy for known in self._known if known.sighting is not None]
        return np.array(seen, np.float32).reshape(-1, 4)

    def _unseen(self) -> list[_Known]:
        return [known for known in self._known if known.sighting is None]

    def lost(self, last_s: float | None) -> bool:
        """Return whether a track should be searched: lost since the frame before, or lost and not searched for long."""
        return any(self._misses(known.track, last_s) for known in self._unseen())

    def _misses(self, track: Track, last_s: float | None) -> bool:
        pause = min(LOST_AGAIN_S + max(track.searched_s - track.seen_s, 0.0), MOST_LOST_AGAIN_S)
        return track.seen_s == last_s or self.time_s - track.searched_s >= pause

    def take(self, found: Faces, *, whole: bool) -> list[Sighting]:
        """Give the faces of a search to the tracks, and return those that belong to none.

        Args:
            found: The faces of the search.
            whole: Whether the whole frame was searched; faces in part of it may be cut off, so what is seen already
                stays as it is.
        """
        self._searched |= whole
        sightings = [Sighting(self.frame.pixels, found, number, True) for number in range(len(found))]
        current = [known.after(self.time_s, searched=self._searched) for known in self._known]
        cost = self._with_looks(matching_costs(current, found, self.time_s), sightings)
        pairs = assign(cost, limit=1.0 + LOOKS_WEIGHT + 1e-6)
        taken = overlap(found.xyxy, self.boxes(), of="smaller").max(axis=1, initial=0) > SAME_SHARE
        for row, column in pairs:
            taken[column] = True
            if whole or self._known[row].sighting is None:
                self._known[row].sighting = sightings[column]
        taken |= self._emerging(found)
        return [sighting for sighting, gone in zip(sightings, taken, strict=True) if not gone]

    def _with_looks(self, cost: NDArray[np.float64], sightings: Sequence[Sighting]) -> NDArray[np.float64]:
        """Return the cost with that of looking different added, for tracks out of sight."""
        for i, known in enumerate(self._known):
            if known.sighting is not None or known.track.looks is None:
                continue
            for j in np.flatnonzero(np.isfinite(cost[i])).tolist():
                like = sightings[j].like(known.track)
                cost[i, j] = np.inf if like < STRANGER else cost[i, j] + LOOKS_WEIGHT * (1 - like)
        return cost

    def _emerging(self, found: Faces) -> NDArray[np.bool_]:
        """Return (N,) which faces are at once beside a seen face and where a lost one may be: half hidden, still."""
        lost = [known.track for known in self._unseen()]
        expected = np.isfinite(matching_costs(lost, found, self.time_s)).any(axis=0)
        boxes = self.boxes()
        bodies = boxes + np.array(BODY, np.float32) * np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        hidden = overlap(found.xyxy, bodies, of="smaller").max(axis=1, initial=0) > APART_SHARE
        return np.asarray(expected & hidden)

    def begin(self, track_id: int, sighting: Sighting) -> None:
        """Begin a track with a face of the search."""
        self._known.append(_Known(self._first(track_id, sighting), sighting))

    def _first(self, track_id: int, sighting: Sighting) -> Track:
        return Track.first(track_id, sighting.faces, sighting.number, self.time_s)

    def recognised(self, sighting: Sighting, gone: list[Track]) -> bool:
        """Take a face for somebody seen before if its looks surely say so; return whether they do.

        Args:
            sighting: The face.
            gone: Ended tracks; the one that comes back is taken out.
        """
        unseen = self._unseen()
        people = [*gone, *(known.track for known in unseen)]
        who = sighting.recognised_among(people)
        if who is None:
            return False
        old = people[who]
        back = replace(self._first(old.track_id, sighting), looks=old.looks, looked_s=old.looked_s)
        if who < len(gone):
            del gone[who]
            self._known.append(_Known(back, sighting))
        else:
            known = unseen[who - len(gone)]
            known.track, known.sighting = back, sighting
        return True

    def reunited(self, gone: Sequence[Track]) -> list[Track]:
        """Give young tracks their old number back where their looks surely say so; return who is still gone.

        Who comes into the image is cut off by its border at first, and recognised a moment later.
        """
        left = list(gone)
        for known in self._known:
            track, sighting = known.track, known.sighting
            young = track.born_s < self.time_s <= track.born_s + YOUNG_S
            newest = track.track_id > max((g.track_id for g in left), default=0)
            if sighting is not None and young and newest and sighting.is_inside():
                who = sighting.recognised_among(left)
                if who is not None:
                    known.track = replace(track, track_id=left[who].track_id, looks=left[who].looks)
                    del left[who]
        return left

    def finished(self) -> list[Track]:
        """Return all tracks as they are after this frame."""
        seen = [known for known in self._known if known.sighting is not None]
        free = {id(known): apart for known, apart in zip(seen, self._apart(), strict=True)}
        return [self._finished(known, free=free.get(id(known), True)) for known in self._known]

    def _apart(self) -> list[bool]:
        """Return of each track seen whether no other one hides it."""
        boxes = self.boxes()
        if len(boxes) < 2:
            return [True] * len(boxes)
        share = overlap(boxes, boxes, of="smaller")
        np.fill_diagonal(share, 0)
        return [bool(apart) for apart in share.max(axis=1, initial=0) <= APART_SHARE]

    def _finished(self, known: _Known, *, free: bool) -> Track:
        """Return a track after this frame, with its looks of now added when it is time and nobody hides it."""
        track = known.after(self.time_s, searched=self._searched, free=free)
        if known.sighting is None or not free or self.time_s - track.looked_s < LOOKS_EVERY_S:
            return track
        now = known.sighting.looks[None].astype(np.float16)
        looks = now if track.looks is None else np.concatenate([track.looks, now])[-MOST_LOOKS:]
        return changed(track, looks=looks, looked_s=self.time_s)


def _stranger(face: Sighting, one: _Known, other: _Known) -> _Known:
    """Return which of two tracks does not belong to the face that both found."""
    first, second = one.track, other.track
    if first.looks is not None and second.looks is not None:
        lead = face.like(first) - face.like(second)
        if abs(lead) > CLEAR_LEAD:
            return other if lead > 0 else one
    if first.seen_s != second.seen_s:
        return one if first.seen_s < second.seen_s else other
    return one if one.cost > other.cost else other


def _look_twice(detector: Detector, image: Any, places: Floats, keep_score: float) -> Faces:
    """Return what is at each place, after a second look from where the first one led if that was no clear success."""
    looked = detector.refine(image, places)
    unclear = np.flatnonzero((looked.score < keep_score) & (looked.score >= NEAR_SCORE))
    if not len(unclear):
        return looked
    again = detector.refine(image, looked.xyxy[unclear])
    better = again.score > looked.score[unclear]
    xyxy, score = looked.xyxy.copy(), looked.score.copy()
    landmarks = None if looked.landmarks is None else looked.landmarks.copy()
    xyxy[unclear[better]], score[unclear[better]] = again.xyxy[better], again.score[better]
    if landmarks is not None and again.landmarks is not None:
        landmarks[unclear[better]] = again.landmarks[better]
    return Faces(xyxy, score, landmarks)


def seen_faces(tracks: Sequence[Track], frame: Frame) -> Faces:
    """Return the faces seen in this frame, in the order of their numbers."""
    seen = sorted((t for t in tracks if t.seen_s == frame.time_s), key=lambda t: t.track_id)
    points = [t.landmarks for t in seen if t.landmarks is not None]
    return Faces(
        np.array([t.xyxy for t in seen], np.float32).reshape(-1, 4),
        np.array([t.score for t in seen], np.float32),
        np.array(points) if points and len(points) == len(seen) else None,
        track_id=np.array([t.track_id for t in seen], np.int64),
    ).at(frame)
