"""A detector whose work is done in the server's workers, so that a video takes its turn beside live streams."""

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from mien.detect.detector import Detector
from mien.faces import Faces
from mien.server.work.workers import FairWorkers


class TurnTaking(Detector):
    """Another detector, in the workers: it waits for its turn each time."""

    def __init__(self, detector: Detector, workers: FairWorkers, client: Hashable) -> None:
        """Wrap a detector.

        Args:
            detector: Does the work.
            workers: The threads in which it does it.
            client: Whose turn it is.
        """
        self._detector, self._workers, self._client = detector, workers, client
        self.identity, self.refines, self.framed = detector.identity, detector.refines, detector.framed

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        """Return the faces of an image, when it is this client's turn."""
        return self._workers.submit(self._client, lambda: self._detector.detect(image), always=True).result()

    def refine(self, image: NDArray[np.uint8], xyxy: NDArray[np.float32]) -> Faces:
        """Return what is at known places, when it is this client's turn."""
        return self._workers.submit(self._client, lambda: self._detector.refine(image, xyxy), always=True).result()
