"""Is this the same person, and where else is that person? Answers with their distance, never a certainty."""

import logging
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from mien.detect.border import detect_in_still
from mien.detect.detector import Detector
from mien.detect.registry import create_detector
from mien.errors import InputError, MienError
from mien.faces import Faces, Floats
from mien.people.embedding import SAME_DISTANCE, SMALL_PX, FaceEmbedder, distances, shared_embedder, shorter_side
from mien.sources.images import ImageSource, Item, SourceSettings, expand, load, read_image

DETECTOR = "mtcnn"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class QueryFace:
    """The face that was taken from an image.

    Attributes:
        source: The image's name.
        xyxy: (left, top, right, bottom), pixels.
        faces: How many faces the image has; the largest was taken.
        note: What is to be said of it: several faces, or a small one; "" where all is well.
    """

    source: str
    xyxy: tuple[float, float, float, float]
    faces: int
    note: str


@dataclass(frozen=True)
class Verification:
    """Whether two images show one person.

    Attributes:
        same: Whether the distance is below the threshold.
        distance: Euclidean distance of the embeddings; 0 is the same image, strangers are some 0.84 apart.
        threshold: The threshold.
        first: The face of the first image.
        second: The face of the second image.
    """

    same: bool
    distance: float
    threshold: float
    first: QueryFace
    second: QueryFace


@dataclass(frozen=True)
class PersonMatch:
    """The nearest face of one image, or why there is none.

    Attributes:
        source: The image's name.
        distance: From the face that is looked for; None where the image gave no face.
        same: Whether that is below the threshold.
        xyxy: (left, top, right, bottom) of the face, pixels; None where there is none.
        faces: How many faces the image has.
        error: Why the image could not be read; None where it could.
    """

    source: str
    distance: float | None = None
    same: bool = False
    xyxy: tuple[float, float, float, float] | None = None
    faces: int = 0
    error: MienError | None = None


def verify(
    a: ImageSource,
    b: ImageSource,
    *,
    threshold: float = SAME_DISTANCE,
    detector: str | Detector = DETECTOR,
    embedder: FaceEmbedder | None = None,
    settings: SourceSettings | None = None,
) -> Verification:
    """Say whether two images show one person. Of several faces the largest is taken, and a note says so.

        answer = mien.people.verify("a.jpg", "b.jpg")
        print(answer.same, answer.distance, answer.first.note)

    Args:
        a: An image, as for `mien.analyze_image`.
        b: The other.
        threshold: Distance below which they are said to be one person.
        detector: A name of `mien.detect.DETECTORS`, or a detector.
        embedder: None takes the network that `mien models pull identity` brought.
        settings: Limits on what is read.

    Raises:
        SourceError: One gives no image.
        InputError: One shows no face that can be found.
        MissingWeightsError: The network was not pulled yet.
    """
    embed, find = embedder or shared_embedder(), _detector(detector)
    (first, one), (second, two) = (query_face(i, detector=find, embedder=embed, settings=settings) for i in (a, b))
    distance = float(distances(one, two)[0, 0])
    return Verification(distance < _checked(threshold), distance, threshold, first, second)


def find_person(
    query: ImageSource,
    sources: ImageSource | Iterable[ImageSource],
    *,
    threshold: float = SAME_DISTANCE,
    detector: str | Detector = DETECTOR,
    embedder: FaceEmbedder | None = None,
    settings: SourceSettings | None = None,
) -> list[PersonMatch]:
    """Look for somebody in many images: one entry per image, the nearest first, those that gave no face last.

        for match in mien.people.find_person("anna.jpg", "photos/"):
            if match.same:
                print(match.distance, match.source, match.xyxy)

    Args:
        query: An image of the person; of several faces the largest is taken.
        sources: Images, folders and globs.
        threshold: Distance below which a face is said to be that person's.
        detector: A name of `mien.detect.DETECTORS`, or a detector.
        embedder: None takes the network that `mien models pull identity` brought.
        settings: Limits on what is read.

    Raises:
        SourceError: The query gives no image, or a source names nothing.
        InputError: The query shows no face that can be found.
        MissingWeightsError: The network was not pulled yet.
    """
    embed, find = embedder or shared_embedder(), _detector(detector)
    _, wanted = query_face(query, detector=find, embedder=embed, settings=settings)
    return ranked(
        matches(wanted, expand(sources), threshold=threshold, detector=find, embedder=embed, settings=settings)
    )


def matches(
    wanted: Floats,
    items: Iterable[Item],
    *,
    threshold: float,
    detector: Detector,
    embedder: FaceEmbedder,
    settings: SourceSettings | None = None,
) -> Iterator[PersonMatch]:
    """Yield the nearest face of each image, in the order of the images; an image that fails is an entry, too.

    Args:
        wanted: (1, 128) float32, whom to look for.
        items: From `mien.sources.images.expand`.
        threshold: Distance below which a face is said to be that person's.
        detector: Finds the faces.
        embedder: Makes the embeddings.
        settings: Limits on what is read.

    Raises:
        InputError: The threshold is no distance.
    """
    limits, below = settings or SourceSettings(), _checked(threshold)

    def nearest(item: Item) -> PersonMatch:
        try:
            frame = load(item, settings=limits)
            faces = detect_in_still(detector, frame.image).found_in(frame)
            if not len(faces):
                return PersonMatch(frame.source)
            away = distances(wanted, embedder.embed(frame.image, faces))[0]
        except MienError as error:
            return PersonMatch(item.name, error=error)
        except Exception as error:
            logger.exception("unexpected error on %s", item.name)
            return PersonMatch(item.name, error=MienError(f"{item.name}: unexpected {type(error).__name__}: {error}"))
        best = int(away.argmin())
        near = float(away[best])
        return PersonMatch(frame.source, near, near < below, _box(faces.xyxy[best]), len(faces))

    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="mien") as pool:
        try:
            yield from pool.map(nearest, items)
        finally:
            pool.shutdown(cancel_futures=True)


def ranked(found: Iterable[PersonMatch]) -> list[PersonMatch]:
    """Return the nearest first, then images without a face, then those that could not be read.

    Args:
        found: In any order.
    """
    return sorted(found, key=lambda m: (m.error is not None, m.distance is None, m.distance or 0.0))


def query_face(
    image: ImageSource, *, detector: Detector, embedder: FaceEmbedder, settings: SourceSettings | None = None
) -> tuple[QueryFace, Floats]:
    """Return the face of an image that somebody is looked for by, and its embedding (1, 128) float32.

    Args:
        image: An image, as for `mien.analyze_image`.
        detector: Finds the face.
        embedder: Makes the embedding.
        settings: Limits on what is read.

    Raises:
        SourceError: It gives no image.
        InputError: It shows no face that can be found.
    """
    frame = read_image(image, settings=settings or SourceSettings())
    faces = detect_in_still(detector, frame.image).found_in(frame)
    if not len(faces):
        name = frame.source or "the image"
        raise InputError(f"{name}: no face was found; give an image on which the face is upright and in full view")
    one = faces.largest()
    box = _box(one.xyxy[0])
    return QueryFace(frame.source, box, len(faces), _note(faces, one)), embedder.embed(frame.image, one)


def _note(faces: Faces, one: Faces) -> str:
    x1, y1, x2, y2 = (round(float(v)) for v in one.xyxy[0])
    told = [f"{len(faces)} faces; the largest was taken, at ({x1}, {y1})-({x2}, {y2})"] if len(faces) > 1 else []
    if shorter_side(one.xyxy[0]) < SMALL_PX:
        told.append(f"the face is smaller than {SMALL_PX} px: the distance says little")
    return "; ".join(told)


def _box(xyxy: Floats) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = np.round(xyxy.astype(np.float64), 2).tolist()
    return x1, y1, x2, y2


def _detector(detector: str | Detector) -> Detector:
    return create_detector(detector) if isinstance(detector, str) else detector


def _checked(threshold: float) -> float:
    if not 0 < threshold < 2:
        raise InputError(f"threshold must be between 0 and 2, got {threshold}; {SAME_DISTANCE} is usual")
    return threshold
