"""Where the faces of a video are, frame by frame, and who is who: searched now and then, followed in between.

A search looks at the whole frame with the detector. It runs on the first frame, on a schedule, after a cut, when a face
gets lost and when something changes outside the known faces. In between each known face is looked at where it should be
by now with the detector's `refine`, for a fraction of the time. A detector that cannot refine searches every frame: its
boxes are what was seen, never a guess, and only the identities are worked out here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.detect.align import crop_faces
from mien.detect.boxes import overlap
from mien.detect.detector import Detector
from mien.faces import Faces, Floats, Frame
from mien.tracking.appearance import describe, likeness, recognise
from mien.tracking.scene import Glance, News, Part, SceneMemory, glance, news
from mien.tracking.tracks import SAME_SHARE, Track, assign, distances

SURE_SCORE = 0.8  # what MTCNN takes for a face in a still image
NEAR_SCORE = 0.02  # below it there is nothing like a face, and a second look is wasted
LOST_AGAIN_S, MOST_LOST_AGAIN_S = 0.08, 0.25  # pause before a lost face is searched again: grows with the time lost
CLOCK_S = 1e-6  # times are sums of fractions
LOOKS_EVERY_S, MOST_LOOKS = 0.5, 4
MOST_GONE = 64
YOUNG_S = 1.0  # how long after somebody's coming a number may still be found to be an old one's
LOOKS_WEIGHT = 0.7
LOOKS_RANGE = (0.6, 0.95)  # likeness of strangers and of the same person
CLEAR_LEAD = 0.05
STRANGER = 0.4  # below this likeness a face is somebody else, wherever it is
BODY = (-0.4, -0.4, 0.4, 1.5)  # in widths and heights of the face: what a person hides
APART_SHARE = 0.05  # boxes that share more of the smaller one may hide each other


@dataclass(frozen=True)
class LocateSettings:
    """When to search and how long to wait.

    Attributes:
        detect_every_s: Time between two searches by the clock, seconds; others come in between.
        change_every_s: Shortest time between a search and the next one that is due to changes all over the image,
            seconds; changes in a part of it are searched sooner in proportion.
        max_age_s: How long a track lives on unseen, seconds.
        keep_score: Detector score from which a known face is still one; new faces need the detector's own threshold.
        reid: Whether somebody who comes back gets the old number, at once or within a second, when the looks are surely
            the same.
        detect_max_side_px: Longer frames are searched in a copy reduced to this side, pixels.
    """

    detect_every_s: float = 0.5
    change_every_s: float = 0.2
    max_age_s: float = 1.0
    keep_score: float = 0.5
    reid: bool = False
    detect_max_side_px: int = 1920


@dataclass(frozen=True)
class Memory:
    """All that is known of a video up to a frame; a new one is made for every frame.

    Attributes:
        tracks: Who is in view, or was a moment ago.
        gone: Who was in view before, for recognition; empty unless that is asked for.
        scene: What the image looked like.
        next_id: The next new track's number.
        time_s: Time of the last frame, seconds; None before the first.
        glimpsed_s: Time of the last search of the frame or a part of it, seconds.
        cuts: How many cuts there were.
        searches: How many searches there were.
    """

    tracks: tuple[Track, ...] = ()
    gone: tuple[Track, ...] = ()
    scene: SceneMemory = field(default_factory=SceneMemory)
    next_id: int = 1
    time_s: float | None = None
    glimpsed_s: float = 0.0
    cuts: int = 0
    searches: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        plain = {name: getattr(self, name) for name in ("next_id", "time_s", "glimpsed_s", "cuts", "searches")}
        people = {name: [t.to_json() for t in getattr(self, name)] for name in ("tracks", "gone")}
        return plain | people | {"scene": self.scene.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        people = {name: tuple(Track.from_json(t) for t in value[name]) for name in ("tracks", "gone")}
        return cls(**{**value, **people, "scene": SceneMemory.from_json(value["scene"])})


@dataclass(frozen=True)
class Prepared:
    """A frame with what can be told of it before the frames in front are done.

    Attributes:
        frame: The frame.
        now: Its tiny copy.
        found: Its faces where a search is due by the clock, else None.
    """

    frame: Frame
    now: Glance
    found: Faces | None


class Locator:
    """Finds and follows the faces of videos; keeps nothing itself, so one serves any number of videos and threads."""

    def __init__(self, detector: Detector, settings: LocateSettings | None = None) -> None:
        """Choose detector and settings.

        Args:
            detector: Any; one that `refines` makes tracking fast.
            settings: None takes the defaults.
        """
        self._detector = detector
        self._settings = settings or LocateSettings()

    def prepare(self, frame: Frame, last_s: float | None) -> Prepared:
        """Do the part of a frame's work that no memory is needed for; it may run ahead in another thread.

        Args:
            frame: A frame.
            last_s: Time of the frame before, seconds; None where there is none.
        """
        now = glance(frame.image)
        if not now.flat:
            _ = now.contrast  # made here, kept with it
        due = not self._detector.refines or last_s is None or self._scheduled(last_s, frame.time_s)
        return Prepared(frame, now, self._detect(frame.image) if due else None)

    def _scheduled(self, last_s: float, time_s: float) -> bool:
        """Return whether a search falls between two times: they go by the video's clock, whatever else is searched."""
        every = self._settings.detect_every_s
        return every <= 0 or (time_s + CLOCK_S) // every != (last_s + CLOCK_S) // every

    def step(self, memory: Memory, prepared: Prepared) -> tuple[Memory, Faces]:
        """Return what is known after one more frame, and its faces.

        Args:
            memory: What was known after the frame before.
            prepared: The next frame.

        Returns:
            The new memory, and the frame's faces with `track_id`, in its order.
        """
        frame, now = prepared.frame, prepared.now
        memory = self._begin(memory, frame, now)
        view = _View(frame, memory.tracks, self._settings)
        if self._detector.refines:
            view.track(self._detector)
        if prepared.found is not None or memory.scene.searched is None or view.lost(memory.time_s):
            memory = self._search(memory, view, prepared)
        else:
            found = self._due_news(memory, view, now)
            for one in found:
                memory = self._search_part(memory, view, one.part)
            if found:
                memory = replace(memory, scene=memory.scene.looked_at(now, found))
        if memory.gone:
            memory = replace(memory, gone=tuple(view.reunited(memory.gone)))
        tracks = tuple(view.finished())
        memory = replace(memory, tracks=tracks, scene=memory.scene.after(now), time_s=frame.time_s)
        return memory, _seen_faces(tracks, frame)

    def _begin(self, memory: Memory, frame: Frame, now: Glance) -> Memory:
        """Return the memory without the tracks that ended: by a cut, a jump back in time, or old age."""
        cut = memory.scene.is_cut(now)
        back = memory.time_s is not None and frame.time_s < memory.time_s
        alive = [] if cut or back else [t for t in memory.tracks if self._alive(t, memory.time_s, frame.time_s)]
        ended = [t for t in memory.tracks if t not in alive] if self._settings.reid else []
        gone = (*memory.gone, *(t for t in ended if t.looks is not None))[-MOST_GONE:]
        scene = SceneMemory() if cut or back else memory.scene
        return replace(memory, tracks=tuple(alive), gone=gone, scene=scene, cuts=memory.cuts + int(cut))

    def _alive(self, track: Track, last_s: float | None, time_s: float) -> bool:
        """Return whether a track goes on: seen in the frame before, however long ago that was, or not long ago."""
        max_age = self._settings.max_age_s
        sure = track.seen_s - track.sure_s <= max_age
        return sure and (track.seen_s == last_s or time_s - track.seen_s <= max_age)

    def _due_news(self, memory: Memory, view: "_View", now: Glance) -> list[News]:
        """Return the places that changed since they were last searched, if it is time to search there.

        The smaller they are, the sooner: the work per second stays the same.
        """
        reference = memory.scene.searched
        if reference is None or now.flat:
            return []
        height, width = view.frame.image.shape[:2]
        found = news(reference, now, view.boxes(), (width, height))
        parts = (one.part for one in found)
        share = sum((right - left) * (bottom - top) for left, top, right, bottom in parts) / (width * height)
        pause = view.time_s - memory.glimpsed_s
        return found if pause >= min(share, 1.0) * self._settings.change_every_s - 1e-6 else []

    def _search(self, memory: Memory, view: "_View", prepared: Prepared) -> Memory:
        """Search the whole frame, bring the view up to date and return the memory with the new tracks counted."""
        found = self._detect(view.frame.image) if prepared.found is None else prepared.found
        memory = self._welcome(memory, view, found, whole=True)
        return replace(memory, scene=replace(memory.scene, searched=prepared.now), searches=memory.searches + 1)

    def _search_part(self, memory: Memory, view: "_View", part: Part) -> Memory:
        """Search a part of the frame for new faces."""
        left, top, right, bottom = part
        found = self._detect(np.ascontiguousarray(view.frame.image[top:bottom, left:right]))
        corner = np.array([left, top], np.float32)
        landmarks = None if found.landmarks is None else found.landmarks + corner
        found = replace(found, xyxy=found.xyxy + np.tile(corner, 2), landmarks=landmarks)
        return self._welcome(memory, view, found, whole=False)

    def _welcome(self, memory: Memory, view: "_View", found: Faces, *, whole: bool) -> Memory:
        """Give the faces found to their tracks and begin new ones for the rest."""
        gone, next_id = list(memory.gone), memory.next_id
        for number in view.take(found, whole=whole):
            if self._settings.reid and view.recognised(found, number, gone):
                continue
            view.add(Track.first(next_id, found, number, view.time_s), found, number)
            next_id += 1
        return replace(memory, gone=tuple(gone), next_id=next_id, glimpsed_s=view.time_s)

    def _detect(self, image: NDArray[np.uint8]) -> Faces:
        """Return the faces of an image, searched in a reduced copy where it is large."""
        height, width = image.shape[:2]
        shrink = self._settings.detect_max_side_px / max(height, width)
        if shrink >= 1:
            return self._detector.detect(image)
        size = (max(round(width * shrink), 1), max(round(height * shrink), 1))
        small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        faces = self._detector.detect(small)
        ratio = np.array([width / size[0], height / size[1]], np.float32)
        landmarks = None if faces.landmarks is None else faces.landmarks * ratio
        return replace(faces, xyxy=faces.xyxy * np.tile(ratio, 2), landmarks=landmarks)


@dataclass(frozen=True)
class _Sighting:
    """A face of the present frame.

    Attributes:
        faces: Where it comes from.
        number: Which of them it is.
        searched: Whether the search found it, which makes it sure.
    """

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


class _View:
    """One frame at work: which track was seen where. Lives for one step."""

    def __init__(self, frame: Frame, tracks: Sequence[Track], settings: LocateSettings) -> None:
        self.frame = frame
        self.time_s = frame.time_s
        self._tracks = list(tracks)
        self._seen: dict[int, _Sighting] = {}
        self._searched = False
        self._settings = settings
        self._looks: dict[tuple[int, int], Floats] = {}

    def track(self, detector: Detector) -> None:
        """Look at every track where it should be by now."""
        if not self._tracks:
            return
        places = np.stack([track.at(self.time_s)[0] for track in self._tracks])
        looked = _look_twice(detector, self.frame.image, places, self._settings.keep_score)
        cost = distances(self._tracks, looked, self.time_s)
        for i in np.flatnonzero((looked.score >= self._settings.keep_score) & np.isfinite(np.diagonal(cost))).tolist():
            self._seen[i] = _Sighting(looked, i, False)
        self._settle_doubles(np.diagonal(cost))

    def _settle_doubles(self, cost: NDArray[np.float64]) -> None:
        """Where two tracks found the same face, leave it to the one it looks like, else to the one seen just before."""
        numbers = list(self._seen)
        if len(numbers) < 2:
            return
        shares = overlap(self.boxes(), self.boxes(), of="smaller")
        for a, i in enumerate(numbers):
            for b in range(a + 1, len(numbers)):
                j = numbers[b]
                if shares[a, b] > SAME_SHARE and i in self._seen and j in self._seen:
                    del self._seen[self._stranger(i, j, cost)]

    def _stranger(self, i: int, j: int, cost: NDArray[np.float64]) -> int:
        """Return which of two tracks does not belong to the face that both found."""
        first, second = self._tracks[i], self._tracks[j]
        sighting = max(self._seen[i], self._seen[j], key=lambda s: s.score)
        if first.looks is not None and second.looks is not None:
            lead = self._like(sighting, first) - self._like(sighting, second)
            if abs(lead) > CLEAR_LEAD:
                return j if lead > 0 else i
        if first.seen_s != second.seen_s:
            return i if first.seen_s < second.seen_s else j
        return i if cost[i] > cost[j] else j

    def _like(self, sighting: _Sighting, track: Track) -> float:
        """Return how much a face looks like a track, 0-1."""
        if track.looks is None:
            return 0.5
        shape, colours = likeness(self._description(sighting), track.looks.astype(np.float32))
        low, high = LOOKS_RANGE
        return 0.7 * float(np.clip((shape - low) / (high - low), 0, 1)) + 0.3 * colours

    def _description(self, sighting: _Sighting) -> Floats:
        key = (id(sighting.faces), sighting.number)
        if key not in self._looks:
            one = sighting.faces[sighting.number : sighting.number + 1]
            self._looks[key] = describe(self.frame.image, sighting.xyxy, crop_faces(self.frame.image, one)[0])
        return self._looks[key]

    def boxes(self) -> Floats:
        """Return (N, 4) float32 boxes of the tracks seen so far."""
        return np.array([s.xyxy for s in self._seen.values()], np.float32).reshape(-1, 4)

    def lost(self, last_s: float | None) -> bool:
        """Return whether a track should be searched: lost since the frame before, or lost and not searched for long."""
        return any(self._misses(t, last_s) for i, t in enumerate(self._tracks) if i not in self._seen)

    def _misses(self, track: Track, last_s: float | None) -> bool:
        pause = min(LOST_AGAIN_S + max(track.searched_s - track.seen_s, 0.0), MOST_LOST_AGAIN_S)
        return track.seen_s == last_s or self.time_s - track.searched_s >= pause

    def take(self, found: Faces, *, whole: bool) -> list[int]:
        """Give the faces of a search to the tracks, and return the numbers of those that belong to none.

        Args:
            found: The faces of the search.
            whole: Whether the whole frame was searched; faces in part of it may be cut off, so what is seen already
                stays as it is.
        """
        self._searched |= whole
        current = [self._updated(i) for i in range(len(self._tracks))]
        cost = self._with_looks(distances(current, found, self.time_s), found)
        pairs = {column: row for row, column in assign(cost, limit=1.0 + LOOKS_WEIGHT + 1e-6)}
        followed = self.boxes()
        for column, row in pairs.items():
            if whole or row not in self._seen:
                self._seen[row] = _Sighting(found, column, True)
        taken = overlap(found.xyxy, followed, of="smaller").max(axis=1, initial=0) > SAME_SHARE
        taken |= self._emerging(found)
        return [j for j in range(len(found)) if j not in pairs and not taken[j]]

    def _emerging(self, found: Faces) -> NDArray[np.bool_]:
        """Return (N,) which faces are at once beside a seen face and where a lost one may be: half hidden, still."""
        lost = [track for i, track in enumerate(self._tracks) if i not in self._seen]
        expected = np.isfinite(distances(lost, found, self.time_s)).any(axis=0)
        return np.asarray(expected & ~self._free(found.xyxy))

    def _free(self, xyxy: Floats) -> NDArray[np.bool_]:
        """Return (N,) which boxes no seen person hides."""
        boxes = self.boxes()
        bodies = boxes + np.array(BODY, np.float32) * np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        return np.asarray(overlap(xyxy, bodies, of="smaller").max(axis=1, initial=0) <= APART_SHARE)

    def _with_looks(self, cost: NDArray[np.float64], found: Faces) -> NDArray[np.float64]:
        """Return the cost with that of looking different added, for tracks out of sight."""
        for i, track in enumerate(self._tracks):
            if i in self._seen or track.looks is None:
                continue
            for j in np.flatnonzero(np.isfinite(cost[i])).tolist():
                like = self._like(_Sighting(found, j, True), track)
                cost[i, j] = np.inf if like < STRANGER else cost[i, j] + LOOKS_WEIGHT * (1 - like)
        return cost

    def recognised(self, found: Faces, number: int, gone: list[Track]) -> bool:
        """Take a face for somebody seen before if its looks surely say so; return whether they do.

        Args:
            found: The faces of the whole frame.
            number: Which of them.
            gone: Ended tracks; the one that comes back is taken out.
        """
        unseen = [i for i in range(len(self._tracks)) if i not in self._seen]
        people = [*gone, *(self._tracks[i] for i in unseen)]
        sighting = _Sighting(found, number, True)
        who = self._recognise(sighting, people)
        if who is None:
            return False
        old = people[who]
        back = replace(Track.first(old.track_id, found, number, self.time_s), looks=old.looks, looked_s=old.looked_s)
        if who < len(gone):
            del gone[who]
            self.add(back, found, number)
        else:
            self._tracks[unseen[who - len(gone)]] = back
            self._seen[unseen[who - len(gone)]] = sighting
        return True

    def reunited(self, gone: Sequence[Track]) -> list[Track]:
        """Give young tracks their old number back where their looks surely say so; return who is still gone.

        Who comes into the image is cut off by its border at first, and recognised a moment later.
        """
        left = list(gone)
        for i, sighting in self._seen.items():
            track = self._tracks[i]
            young = track.born_s < self.time_s <= track.born_s + YOUNG_S
            if young and track.track_id > max((g.track_id for g in left), default=0) and self._inside(sighting.xyxy):
                who = self._recognise(sighting, left)
                if who is not None:
                    self._tracks[i] = replace(track, track_id=left[who].track_id, looks=left[who].looks)
                    del left[who]
        return left

    def _recognise(self, sighting: _Sighting, people: Sequence[Track]) -> int | None:
        empty = np.zeros((0, 0), np.float32)
        looks = [empty if p.looks is None else p.looks.astype(np.float32) for p in people]
        return recognise(self._description(sighting), looks) if people else None

    def _inside(self, xyxy: Floats) -> bool:
        height, width = self.frame.image.shape[:2]
        return bool((xyxy >= 0).all() and xyxy[2] <= width and xyxy[3] <= height)

    def add(self, track: Track, found: Faces, number: int) -> None:
        """Add a track that begins with a face of the search."""
        self._seen[len(self._tracks)] = _Sighting(found, number, True)
        self._tracks.append(track)

    def finished(self) -> list[Track]:
        """Return all tracks as they are after this frame."""
        free = dict(zip(self._seen, self._apart(), strict=True))
        tracks = [self._updated(i, free=free.get(i, True)) for i in range(len(self._tracks))]
        return [self._looked_at(i, t) if free.get(i) else t for i, t in enumerate(tracks)]

    def _apart(self) -> list[bool]:
        """Return of each track seen whether no other one hides it."""
        if len(self._seen) < 2:
            return [True] * len(self._seen)
        boxes = self.boxes()
        share = overlap(boxes, boxes, of="smaller") - np.eye(len(boxes), dtype=np.float32)
        return [bool(apart) for apart in share.max(axis=1) <= APART_SHARE]

    def _updated(self, i: int, *, free: bool = True) -> Track:
        """Return a track after this frame; `free` says that no other face hides it."""
        track, sighting = self._tracks[i], self._seen.get(i)
        if self._searched:
            track = replace(track, searched_s=self.time_s)
        if sighting is None or track.seen_s == self.time_s:
            return track
        sure = sighting.searched or sighting.score >= SURE_SCORE
        return track.seen(sighting.faces, sighting.number, self.time_s, sure=sure, steer=free)

    def _looked_at(self, i: int, track: Track) -> Track:
        """Return the track with its looks of now added, when it is time."""
        if self.time_s - track.looked_s < LOOKS_EVERY_S:
            return track
        now = self._description(self._seen[i])[None].astype(np.float16)
        looks = now if track.looks is None else np.concatenate([track.looks, now])[-MOST_LOOKS:]
        return replace(track, looks=looks, looked_s=self.time_s)


def _look_twice(detector: Detector, image: NDArray[np.uint8], places: Floats, keep_score: float) -> Faces:
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


def _seen_faces(tracks: Sequence[Track], frame: Frame) -> Faces:
    """Return the faces seen in this frame, in the order of their numbers."""
    seen = sorted((t for t in tracks if t.seen_s == frame.time_s), key=lambda t: t.track_id)
    if not seen:
        return replace(Faces.empty(frame=frame), track_id=np.zeros(0, np.int64))
    points = [t.landmarks for t in seen if t.landmarks is not None]
    return Faces(
        np.stack([t.xyxy for t in seen]),
        np.array([t.score for t in seen], np.float32),
        np.stack(points) if len(points) == len(seen) else None,
        track_id=np.array([t.track_id for t in seen], np.int64),
    ).at(frame)
