"""Where the faces of a video are, frame by frame, and who is who: searched now and then, tracked in between.

A search looks at the whole frame with the detector. It runs on the first frame, on a schedule, after a cut, when a face
gets lost and when something changes outside the known faces. In between each known face is looked at where it should be
by now with the detector's `refine`, for a fraction of the time. A detector that cannot refine searches every frame: its
boxes are what was seen, never a guess, and only the identities are worked out here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.detect.detector import Detector
from mien.faces import Faces, Frame
from mien.planes import part_of
from mien.tracking._changed import changed
from mien.tracking._sightings import FrameSightings, seen_faces
from mien.tracking.scene import Glance, News, Part, SceneMemory, glance, news
from mien.tracking.settings import TrackSettings
from mien.tracking.tracks import Track

CLOCK_S = 1e-6  # times are sums of fractions
MOST_GONE = 64
AFRESH_SEARCHES = 2
LEAST_FRAMES = 4  # from one fresh start to the next; with fewer, motion is all that is known of the time in between


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


class BoxTracker:
    """Finds and tracks the faces of videos; keeps nothing itself, so one serves any number of videos and threads."""

    def __init__(self, detector: Detector, settings: TrackSettings | None = None) -> None:
        """Choose detector and settings.

        Args:
            detector: Any; one that `refines` makes tracking fast.
            settings: None takes the defaults.
        """
        self._detector = detector
        self._settings = settings or TrackSettings()

    def prepare(self, frame: Frame, last_s: float | None) -> Prepared:
        """Do the part of a frame's work that no memory is needed for; it may run ahead in another thread.

        Args:
            frame: A frame.
            last_s: Time of the frame before, seconds; None where there is none.
        """
        now = glance(frame.pixels)
        if not now.flat:
            _ = now.contrast  # made here, kept with it
        due = not self._detector.refines or last_s is None or self._scheduled(last_s, frame.time_s)
        return Prepared(frame, now, self._detect(frame.image) if due else None)

    def _scheduled(self, last_s: float, time_s: float) -> bool:
        """Return whether a search falls between two times: they go by the video's clock, whatever else is searched."""
        every = self._settings.detect_every_s
        return every <= 0 or (time_s + CLOCK_S) // every != (last_s + CLOCK_S) // every

    def _starts_afresh(self, last_s: float | None, time_s: float) -> bool:
        """Return whether motion is measured anew from this frame on: at every second search by the clock.

        A search forgets where a face was followed to, and this how: so a tracker that began anywhere before knows the
        same as one that began long ago, to the last bit, and a video can be analyzed in segments.
        """
        every = self._settings.detect_every_s * AFRESH_SEARCHES
        if last_s is None or not self._detector.refines or time_s - last_s > every / LEAST_FRAMES:
            return False
        return (time_s + CLOCK_S) // every != (last_s + CLOCK_S) // every

    def step(self, memory: Memory, prepared: Prepared) -> tuple[Memory, Faces]:
        """Return what is known after one more frame, and its faces.

        Args:
            memory: What was known after the frame before.
            prepared: The next frame.

        Returns:
            The new memory, and the frame's faces with `track_id`, in its order.
        """
        frame, now, last_s = prepared.frame, prepared.now, memory.time_s
        memory = self._begin(memory, frame, now)
        sightings = FrameSightings(frame, memory.tracks, self._settings)
        if self._detector.refines:
            sightings.look(self._detector)
        if prepared.found is not None or memory.scene.searched is None or sightings.lost(memory.time_s):
            memory = self._search(memory, sightings, prepared)
        else:
            found = self._due_news(memory, sightings, now)
            for one in found:
                memory = self._search_part(memory, sightings, one.part)
            if found:
                memory = changed(memory, scene=memory.scene.looked_at(now, found))
        if memory.gone:
            memory = changed(memory, gone=tuple(sightings.reunited(memory.gone)))
        tracks = tuple(sightings.finished())
        if prepared.found is not None and self._starts_afresh(last_s, frame.time_s):
            tracks = tuple(t.afresh() if t.seen_s == frame.time_s else t for t in tracks)
        memory = changed(memory, tracks=tracks, scene=memory.scene.after(now), time_s=frame.time_s)
        return memory, seen_faces(tracks, frame)

    def _begin(self, memory: Memory, frame: Frame, now: Glance) -> Memory:
        """Return the memory without the tracks that ended: by a cut, a jump back in time, or old age."""
        cut = memory.scene.is_cut(now)
        back = memory.time_s is not None and frame.time_s < memory.time_s
        alive = [] if cut or back else [t for t in memory.tracks if self._alive(t, memory.time_s, frame.time_s)]
        ended = [t for t in memory.tracks if t not in alive] if self._settings.reid else []
        gone = (*memory.gone, *(t for t in ended if t.looks is not None))[-MOST_GONE:]
        scene = SceneMemory() if cut or back else memory.scene
        return changed(memory, tracks=tuple(alive), gone=gone, scene=scene, cuts=memory.cuts + int(cut))

    def _alive(self, track: Track, last_s: float | None, time_s: float) -> bool:
        """Return whether a track goes on: seen in the frame before, however long ago that was, or not long ago."""
        max_age = self._settings.max_age_s
        sure = track.seen_s - track.sure_s <= max_age
        return sure and (track.seen_s == last_s or time_s - track.seen_s <= max_age)

    def _due_news(self, memory: Memory, sightings: FrameSightings, now: Glance) -> list[News]:
        """Return the places that changed since they were last searched, if it is time to search there.

        The smaller they are, the sooner: the work per second stays the same.
        """
        reference = memory.scene.searched
        if reference is None or now.flat:
            return []
        height, width = sightings.frame.pixels.shape[:2]
        found = news(reference, now, sightings.boxes(), (width, height))
        parts = (one.part for one in found)
        share = sum((right - left) * (bottom - top) for left, top, right, bottom in parts) / (width * height)
        pause = sightings.time_s - memory.glimpsed_s
        return found if pause >= min(share, 1.0) * self._settings.change_every_s - 1e-6 else []

    def _search(self, memory: Memory, sightings: FrameSightings, prepared: Prepared) -> Memory:
        """Search the whole frame, bring the sightings up to date and return the memory with the new tracks counted."""
        found = self._detect(sightings.frame.image) if prepared.found is None else prepared.found
        memory = self._welcome(memory, sightings, found, whole=True)
        return changed(memory, scene=changed(memory.scene, searched=prepared.now), searches=memory.searches + 1)

    def _search_part(self, memory: Memory, sightings: FrameSightings, part: Part) -> Memory:
        """Search a part of the frame for new faces."""
        left, top, right, bottom = part
        found = self._detect(part_of(sightings.frame.pixels, left, top, right, bottom))
        corner = np.array([left, top], np.float32)
        landmarks = None if found.landmarks is None else found.landmarks + corner
        found = replace(found, xyxy=found.xyxy + np.tile(corner, 2), landmarks=landmarks)
        return self._welcome(memory, sightings, found, whole=False)

    def _welcome(self, memory: Memory, sightings: FrameSightings, found: Faces, *, whole: bool) -> Memory:
        """Give the faces found to their tracks and begin new ones for the rest."""
        gone, next_id = list(memory.gone), memory.next_id
        for sighting in sightings.take(found, whole=whole):
            if self._settings.reid and sightings.recognised(sighting, gone):
                continue
            sightings.begin(next_id, sighting)
            next_id += 1
        return changed(memory, gone=tuple(gone), next_id=next_id, glimpsed_s=sightings.time_s)

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
