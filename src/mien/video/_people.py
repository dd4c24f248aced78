"""Who is who in a video whose tracks are known: the second look at its frames, for a few good crops of each track.

The first pass left every face of every frame in a journal. From it each track's best sightings are chosen, spread over
time; then the video is read once more, up to the last of them, and those faces alone are cut out and embedded. So a
run that is stopped or resumed gives the same people, and no embedding is ever written anywhere.
"""

import itertools
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.detect.chips import face_chips
from mien.detect.detector import Detector
from mien.errors import InputError, SourceError
from mien.faces import Faces, Floats, Frame
from mien.people.embedding import LENGTH, PADDING, SIDE_PX, SMALL_PX, WEIGHTS, FaceEmbedder
from mien.people.gallery import Gallery, read_gallery
from mien.people.grouping import group_tracks
from mien.tracking.settings import AUTO, TrackSettings
from mien.weights import path_of

CROPS, CANDIDATES = 3, 6  # of each track: crops that are embedded, and sightings that they are chosen from
APART_S = 0.5  # from one candidate to the next
MODEL_PX = 150.0  # a larger face shows the network nothing more

Named = Mapping[int, str | None]
"""Number of a track → who it is."""


@dataclass(frozen=True)
class SeenTracks:
    """The tracks of one video, and what tells them apart: some 1.5 KB each, however long they are.

    Attributes:
        tracks: Their numbers, in the order of their first sighting.
        apart: (N, N) bool, which were seen together.
        embeddings: (k, 128) float32 of each: its best crops; k is 0 for faces that are always too small.
        resumed: How many frames of the video an earlier run had done.
        seconds: How long the search for them took.
    """

    tracks: tuple[int, ...]
    apart: NDArray[np.bool_]
    embeddings: tuple[Floats, ...]
    resumed: int = 0
    seconds: float = 0.0

    @classmethod
    def none(cls) -> "SeenTracks":
        """Return those of a video that nothing is known of."""
        return cls((), np.zeros((0, 0), np.bool_), ())


@dataclass(frozen=True)
class KnownPeople:
    """Who the tracks of a video are, found among those of several videos.

    Attributes:
        tracks: Who each is.
        problems: Warnings about pictures of people with names.
        resumed: As in `SeenTracks`.
        seconds: As in `SeenTracks`.
    """

    tracks: Named
    problems: tuple[str, ...] = ()
    resumed: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class _Sighting:
    """A face of a frame that is worth a crop.

    Attributes:
        worth: How good it is, from its size, its score, and how far it looks into the camera.
        frame_index: Number of the frame.
        number: Which of the frame's faces.
    """

    worth: float
    frame_index: int
    number: int


@dataclass
class Sightings:
    """The best sightings of each track, and which tracks were seen at the same time."""

    _best: dict[int, dict[int, _Sighting]] = field(default_factory=dict)
    _together: set[tuple[int, int]] = field(default_factory=set)

    def add(self, faces: Faces) -> None:
        """Take the faces of a frame, with their `track_id`."""
        if faces.track_id is None or not len(faces):
            return
        tracks = faces.track_id.tolist()
        self._together.update((a, b) for a in tracks for b in tracks if a < b)
        for number, (track, worth) in enumerate(zip(tracks, _worths(faces).tolist(), strict=True)):
            best = self._best.setdefault(track, {})
            slot = int(faces.time_s / APART_S)
            if worth > 0 and (slot not in best or best[slot].worth < worth):
                best[slot] = _Sighting(worth, faces.frame_index, number)
            if len(best) > CANDIDATES:
                del best[min(best, key=lambda s: best[s].worth)]

    @property
    def tracks(self) -> list[int]:
        """The numbers of the tracks, in the order of their first sighting."""
        return list(self._best)

    def by_frame(self) -> dict[int, list[tuple[int, int]]]:
        """Return the frames that are wanted: number of each → track and number of the face."""
        wanted: dict[int, list[tuple[int, int]]] = {}
        for track, best in self._best.items():
            for sighting in best.values():
                wanted.setdefault(sighting.frame_index, []).append((track, sighting.number))
        return wanted

    def with_embeddings(self, embedded: Mapping[int, Floats], *, resumed: int = 0) -> SeenTracks:
        """Return the tracks with what tells them apart.

        Args:
            embedded: (k, 128) float32 of each.
            resumed: How many frames of the video an earlier run had done.
        """
        return SeenTracks(tuple(self.tracks), self.apart(), tuple(embedded[track] for track in self.tracks), resumed)

    def apart(self) -> NDArray[np.bool_]:
        """Return (N, N) bool, which tracks were seen together, in the order of `tracks`."""
        place = {track: i for i, track in enumerate(self._best)}
        seen = np.zeros((len(place),) * 2, np.bool_)
        for a, b in self._together:
            seen[place[a], place[b]] = seen[place[b], place[a]] = True
        return seen


def _worths(faces: Faces) -> Floats:
    """Return (N,) how good a crop each face would give, 0 for those that are too small to be compared."""
    sides = (faces.xyxy[:, 2:] - faces.xyxy[:, :2]).min(axis=1)
    frontal = np.full(len(faces), 0.5, np.float32)
    if faces.landmarks is not None:
        left, right, nose = (faces.landmarks[:, i] for i in range(3))
        across = right - left
        length = np.maximum((across**2).sum(axis=1), 1e-6)
        place = ((nose - left) * across).sum(axis=1) / length  # 0.5 where the nose is midway between the eyes
        frontal = np.nan_to_num(np.clip(1 - np.abs(2 * place - 1), 0.05, 1)).astype(np.float32)
    worth: Floats = np.where(sides < SMALL_PX, 0, np.minimum(sides, MODEL_PX) * frontal * faces.score)
    return worth.astype(np.float32)


def gallery_of(settings: TrackSettings, detector: Detector, embedder: FaceEmbedder) -> Gallery | None:
    """Return the people with names that the settings point to; None where tracks are to be told apart alone.

    Args:
        settings: With `people`.
        detector: Finds the faces on their pictures.
        embedder: Makes the embeddings.

    Raises:
        InputError: There are none.
    """
    if settings.people in (None, AUTO):
        return None
    return read_gallery(str(settings.people), detector, embedder)


def check_people(settings: TrackSettings) -> None:
    """Refuse to tell people apart before any work is done, where the network or the folder is missing.

    Args:
        settings: With or without `people`.

    Raises:
        InputError: There is no such folder.
        MissingWeightsError: The network was not pulled yet.
    """
    if settings.people is None:
        return
    path_of(WEIGHTS)
    if settings.people != AUTO and not Path(settings.people).is_dir():
        raise InputError(
            f"people must be auto or a folder that holds a folder of pictures per name, got {settings.people[:200]!r}"
        )


def embed_tracks(
    sightings: Sightings,
    found: Iterable[tuple[Frame, Faces]],
    images: Iterator[Frame],
    embedder: FaceEmbedder,
    stop: threading.Event,
) -> dict[int, Floats]:
    """Return the embeddings of each track's best crops, (k, 128) float32; k is 0 for faces that are always too small.

    Args:
        sightings: What is wanted.
        found: The results of the first pass, with frames that have no image.
        images: The frames of the video.
        embedder: Makes the embeddings.
        stop: Ends the work early.
    """
    wanted = sightings.by_frame()
    chips: dict[int, list[NDArray[np.uint8]]] = {track: [] for track in sightings.tracks}
    left = Counter(track for pairs in wanted.values() for track, _ in pairs)
    embedded = {track: np.zeros((0, LENGTH), np.float32) for track in chips}
    for known, faces in found:
        if not wanted or stop.is_set():
            break
        try:
            frame = next(images, None)
        except SourceError:  # the video breaks off here: the first pass told of it
            break
        if frame is None or frame.index != known.index:
            break  # a stream that is not the same twice: what there is must do
        for track, number in wanted.pop(frame.index, ()):
            one = faces[number : number + 1].on(frame.image)
            chips[track].append(face_chips(frame.image, one, SIDE_PX, padding=PADDING)[0])
            left[track] -= 1
            if not left[track]:
                embedded[track] = embedder.embed_chips(_sharpest(chips.pop(track)))
    for track, some in chips.items():
        if some:
            embedded[track] = embedder.embed_chips(_sharpest(some))
    return embedded


def _sharpest(chips: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    blur = [-float(cv2.Laplacian(cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var()) for chip in chips]
    return np.stack([chips[i] for i in sorted(np.argsort(blur, kind="stable")[:CROPS].tolist())])


def name_tracks(sightings: Sightings, embedded: Mapping[int, Floats], gallery: Gallery | None) -> Named:
    """Return who each track of one video is; see `name_videos`.

    Args:
        sightings: Which tracks there are, and which were seen together.
        embedded: (k, 128) float32 of each.
        gallery: People with names, or None.
    """
    return name_videos([sightings.with_embeddings(embedded)], gallery)[0]


def name_videos(videos: Sequence[SeenTracks], gallery: Gallery | None) -> list[Named]:
    """Return who each track is: a name of the gallery, else `person 1`, `person 2`… in the order of appearance.

    A track without a crop that can be compared is nobody known: None. Two people who are seen together never get one
    name; the nearer one does. All tracks are grouped at once, so memory grows with the square of their number: ten
    bytes for each pair.

    Args:
        videos: The tracks of each.
        gallery: People with names, or None.

    Returns:
        Who each track is, for each of `videos`: one name stands for one person in all of them.
    """
    embeddings = [own for video in videos for own in video.embeddings]
    apart = np.zeros((len(embeddings),) * 2, np.bool_)
    ends = np.cumsum([len(video.tracks) for video in videos])
    for video, end in zip(videos, ends.tolist(), strict=True):
        own = slice(end - len(video.tracks), end)
        apart[own, own] = video.apart
    groups = group_tracks(embeddings, apart=apart)
    members = [np.flatnonzero(groups == g) for g in range(groups.max(initial=-1) + 1)]
    crops = [np.concatenate([embeddings[i] for i in some]) for some in members]
    names = _from_gallery(members, crops, apart, gallery) if gallery else {}
    told: list[str | None] = [None] * len(embeddings)
    taken = set(gallery.names) if gallery else set()
    numbers = (f"person {number}" for number in itertools.count(1))
    for group, some in enumerate(members):
        name = names.get(group)
        if name is None and len(crops[group]):
            name = next(free for free in numbers if free not in taken)
        for i in some.tolist():
            told[i] = name
    named = iter(told)
    return [dict(zip(video.tracks, itertools.islice(named, len(video.tracks)), strict=True)) for video in videos]


def _from_gallery(
    members: list[NDArray[np.int64]], crops: list[Floats], apart: NDArray[np.bool_], gallery: Gallery
) -> dict[int, str]:
    """Return the names of the groups that have one, the nearest first."""
    near = [
        (float(distance), group, name)
        for group, some in enumerate(crops)
        if len(some)
        for name, distance in zip(gallery.names, gallery.distances_to(some).mean(axis=0).tolist(), strict=True)
        if distance < gallery.threshold
    ]
    names: dict[int, str] = {}
    for _, group, name in sorted(near):
        rivals = [g for g, taken in names.items() if taken == name]
        if group not in names and not any(apart[np.ix_(members[group], members[g])].any() for g in rivals):
            names[group] = name
    return names
