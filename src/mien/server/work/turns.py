"""Detectors whose work is done in the server's workers, so that a video takes its turn beside live streams."""

from collections.abc import Hashable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.detect import Detector
from mien.faces import Faces
from mien.server.work.workers import FairWorkers


class _Refining(Protocol):
    def detect(self, image: NDArray[np.uint8]) -> Faces: ...

    def refine(self, image: NDArray[np.uint8], xyxy: NDArray[np.float32]) -> Faces: ...


def turn_taking(detector: Detector, workers: FairWorkers, client: Hashable) -> Detector:
    """Return a detector that waits for its turn each time.

    Args:
        detector: Does the work.
        workers: The threads in which it does it.
        client: Whose turn it is.
    """
    return (
        TurnTakingRefiner(detector, workers, client)
        if hasattr(detector, "refine")
        else TurnTaking(detector, workers, client)
    )


class TurnTaking:
    """A detector in the workers."""

    def __init__(self, detector: Any, workers: FairWorkers, client: Hashable) -> None:
        """Wrap a detector.

        Args:
            detector: Does the work.
            workers: The threads in which it does it.
            client: Whose turn it is.
        """
        self._detector = detector
        self._settings = getattr(detector, "_settings", None)
        self._workers = workers
        self._client = client
        self.framed = bool(getattr(detector, "framed", False))

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        """Return the faces of an image, when it is this client's turn."""
        faces: Faces = self._workers.submit(self._client, lambda: self._detector.detect(image), always=True).result()
        return faces


class TurnTakingRefiner(TurnTaking):
    """A detector in the workers that can look again at known faces."""

    _detector: _Refining

    def refine(self, image: NDArray[np.uint8], xyxy: NDArray[np.float32]) -> Faces:
        """Return what is at known places, when it is this client's turn."""
        return self._workers.submit(self._client, lambda: self._detector.refine(image, xyxy), always=True).result()
