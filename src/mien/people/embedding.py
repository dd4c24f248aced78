"""A face as 128 numbers that lie close together for one person: dlib's network in ONNX Runtime.

The network is a ResNet of 29 convolutions (Davis King 2017, CC0), trained on some 3 million faces of 7,485 people so
that two faces of one person are closer than 0.6, by Euclidean distance, and those of two people are not.
"""

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.detect.chips import face_chips
from mien.errors import InputError
from mien.faces import Faces, Floats
from mien.models.runtime import RuntimeSettings, open_model, open_weights
from mien.weights import path_of

WEIGHTS = "identity"
SIDE_PX, PADDING, LENGTH = 150, 0.25, 128
SAME_DISTANCE = 0.5  # below it two faces are called one person; dlib's 0.6 calls too many so: docs/people.md
SMALL_PX = 32  # faces whose box is smaller, on its shorter side, are not compared, or with a warning
BATCH = 4  # chips that go through the network together; more are no faster on a CPU


class FaceEmbedder:
    """Turns faces into embeddings. Safe to call from several threads at once.

    Attributes:
        path: The network's file.
    """

    def __init__(self, path: str | Path | None = None, *, runtime: RuntimeSettings | None = None) -> None:
        """Open the network.

        Args:
            path: An ONNX file; None takes the one that `mien models pull identity` brought.
            runtime: Device, threads and memory.

        Raises:
            MissingWeightsError: It was not pulled yet; the message gives the line to type.
            ModelError: The file is no such network.
        """
        self.path = path_of(WEIGHTS) if path is None else Path(path)
        settings = runtime or RuntimeSettings()
        self._session = (
            open_weights(WEIGHTS, settings) if path is None else open_model(self.path.read_bytes(), self.path, settings)
        )

    def embed(self, image: NDArray[np.uint8], faces: Faces) -> Floats:
        """Return the embeddings of the faces of one image.

        Args:
            image: (H, W, 3) uint8 RGB, the one the faces were found in, reduced or whole.
            faces: N faces; those with landmarks give better crops than those with a box alone.

        Returns:
            (N, 128) float32, compared by Euclidean distance.
        """
        return self.embed_chips(face_chips(image, faces.on(image), SIDE_PX, padding=PADDING))

    def embed_chips(self, chips: NDArray[np.uint8]) -> Floats:
        """Return the embeddings of crops.

        Args:
            chips: (N, 150, 150, 3) uint8 RGB, from `mien.detect.chips.face_chips` with a padding of 0.25.

        Raises:
            InputError: They are something else.
        """
        if chips.ndim != 4 or chips.shape[1:] != (SIDE_PX, SIDE_PX, 3) or chips.dtype != np.uint8:
            raise InputError(
                f"chips must be (N, {SIDE_PX}, {SIDE_PX}, 3) uint8 RGB, got {chips.shape} {chips.dtype}; "
                f"make them with face_chips(image, faces, {SIDE_PX}, padding={PADDING})"
            )
        parts = [self._session.run(None, {"images": chips[i : i + BATCH]})[0] for i in range(0, len(chips), BATCH)]
        return np.concatenate(parts) if parts else np.zeros((0, LENGTH), np.float32)


@functools.lru_cache(maxsize=1)
def shared_embedder() -> FaceEmbedder:
    """Return an embedder that is opened once per process and used again.

    Raises:
        MissingWeightsError: The network was not pulled yet.
    """
    return FaceEmbedder()


def distances(a: Floats, b: Floats) -> Floats:
    """Return how far faces are from faces: below `SAME_DISTANCE` two are said to be of one person.

    Args:
        a: (N, 128) float32 embeddings.
        b: (M, 128) float32 embeddings.

    Returns:
        (N, M) float32 Euclidean distances.
    """
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)), np.float32)


def shorter_side(xyxy: Floats) -> float:
    """Return the shorter side of a box, pixels.

    Args:
        xyxy: (4,) float32.
    """
    return float((xyxy[2:] - xyxy[:2]).min())
