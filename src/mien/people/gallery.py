"""People with names: a folder that holds a folder of pictures per name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mien.detect.border import detect_in_still
from mien.detect.detector import Detector
from mien.errors import InputError
from mien.faces import Faces, Floats, Frame
from mien.people.embedding import SAME_DISTANCE, SMALL_PX, FaceEmbedder, distances, shorter_side
from mien.sources.images import Failed, SourceSettings, expand, read_items


@dataclass(frozen=True)
class Gallery:
    """The people that are known by name. Their embeddings are in memory alone.

    Attributes:
        names: Who, in the order of the alphabet.
        embeddings: (K, 128) float32, one per picture.
        owner: (K,) int64, the number of the name that each picture is of.
        problems: What is to be said of pictures that gave nothing.
        threshold: Distance below which a face is said to be one of them.
    """

    names: tuple[str, ...]
    embeddings: Floats
    owner: NDArray[np.int64]
    problems: tuple[str, ...] = ()
    threshold: float = SAME_DISTANCE

    def distances_to(self, embeddings: Floats) -> Floats:
        """Return how far faces are from each of the people: from the nearest of their pictures.

        Args:
            embeddings: (N, 128) float32.

        Returns:
            (N, P) float32.
        """
        to_pictures = distances(embeddings, self.embeddings)
        columns = [to_pictures[:, self.owner == person].min(axis=1) for person in range(len(self.names))]
        return np.stack(columns, axis=1)

    def name_of(self, embeddings: Floats) -> str | None:
        """Return who several crops of one face show, by their mean distance; None for nobody of these.

        Args:
            embeddings: (k, 128) float32 of one person's face, k at least 1 for an answer.
        """
        if not len(embeddings):
            return None
        mean = self.distances_to(embeddings).mean(axis=0)
        best = int(mean.argmin())
        return self.names[best] if mean[best] < self.threshold else None

    def named(self, faces: Faces, frame: Frame, embedder: FaceEmbedder) -> Faces:
        """Return the faces of an image with the names of those that are known.

        Two faces of one image are not one person: of those the nearer one gets the name.

        Args:
            faces: The faces.
            frame: The image they were found in.
            embedder: Makes the embeddings.
        """
        if not len(faces):
            return faces.with_person(())
        to_people = self.distances_to(embedder.embed(frame.image, faces))
        person: list[str | None] = [None] * len(faces)
        for _ in range(min(to_people.shape)):
            face, best = divmod(int(to_people.argmin()), len(self.names))
            if not to_people[face, best] < self.threshold:
                break
            person[face] = self.names[best]
            to_people[face], to_people[:, best] = np.inf, np.inf
        return faces.with_person(tuple(person))

    @classmethod
    def of(cls, pictures: Sequence[tuple[str, Floats]], problems: Sequence[str] = ()) -> Self:
        """Return a gallery of embeddings that are there already.

        Args:
            pictures: A name and (128,) float32 each.
            problems: What is to be said of others.
        """
        names = tuple(sorted({name for name, _ in pictures}))
        owner = np.array([names.index(name) for name, _ in pictures], np.int64)
        return cls(names, np.stack([embedding for _, embedding in pictures]), owner, tuple(problems))


def read_gallery(
    folder: str | Path, detector: Detector, embedder: FaceEmbedder, *, settings: SourceSettings | None = None
) -> Gallery:
    """Read a folder that holds a folder of pictures per name. Of several faces on a picture the largest is taken.

    Args:
        folder: `people/Anna/1.jpg`, `people/Ben/…`: one picture per person does, a few different ones are better.
        detector: Finds the faces.
        embedder: Makes the embeddings.
        settings: Limits on what is read.

    Returns:
        The people; what is wrong with single pictures is in its `problems`.

    Raises:
        InputError: There is no such folder, it holds no folders, or no picture in them gives a face.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"{root} is no folder; give one that holds a folder of pictures per name: {root}/Anna/1.jpg")
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise InputError(f"{root} holds no folders; put the pictures of each person into one: {root}/Anna/1.jpg")
    pictures: list[tuple[str, Floats]] = []
    problems: list[str] = []
    for path in folders:
        before = len(pictures)
        try:
            items = expand(path)
        except InputError as error:
            problems.append(str(error))
            continue
        for frame in read_items(items, settings=settings or SourceSettings()):
            if isinstance(frame, Failed):
                problems.append(str(frame.error))
                continue
            face = detect_in_still(detector, frame.image).found_in(frame).largest()
            if not len(face):
                problems.append(f"{frame.source}: no face was found, so it says nothing about {path.name}")
                continue
            if shorter_side(face.xyxy[0]) < SMALL_PX:
                problems.append(f"{frame.source}: the face is smaller than {SMALL_PX} px, so its name may go astray")
            pictures.append((path.name, embedder.embed(frame.image, face)[0]))
        if len(pictures) == before:
            problems.append(f"{path}: no picture of {path.name} can be used, so that name is given to nobody")
    if not pictures:
        raise InputError(f"no picture in the folders of {root} shows a face that can be found; {problems[0]}")
    return Gallery.of(pictures, problems)
