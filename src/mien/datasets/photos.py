"""Photos become crops with the framing that mien's networks see, to train and measure on."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.detect.align import crops_of
from mien.detect.border import detect_in_still
from mien.detect.detector import Detector
from mien.errors import InputError
from mien.faces import Faces
from mien.sources.images import read_image


class LargestFace:
    """Reads a photo as the crop of its largest face. Safe to call from several threads at once.

    Attributes:
        read: Photos that gave a crop.
        several: How many of them show more than one face.
    """

    def __init__(self, detector: Detector, *, progress: Callable[[int], object] = lambda _: None) -> None:
        """Keep the detector.

        Args:
            detector: From `mien.detect.create_detector`.
            progress: Called with the number of photos done after each, from the thread that read it.
        """
        self.detector = detector
        self.progress = progress
        self.done = 0
        self.read = 0
        self.several = 0
        self._lock = threading.Lock()

    def __call__(self, path: Path) -> NDArray[np.uint8]:
        """Return the largest face of a photo, cut out as `mien analyze` does.

        Args:
            path: The photo.

        Returns:
            (48, 48) uint8 gray.

        Raises:
            InputError: It is no image, or no face was found on it.
        """
        try:
            return self._crop(read_image(path).image)
        finally:
            with self._lock:
                self.done += 1
                self.progress(self.done)

    def _crop(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        faces = detect_in_still(self.detector, image)
        if not len(faces):
            raise InputError("no face was found; leave the photo out, or try another detector")
        with self._lock:
            self.read += 1
            self.several += len(faces) > 1
        return np.asarray(crops_of(self.detector, image, _largest(faces))[0])

    def notes(self) -> tuple[str, ...]:
        """Say how many photos show several faces."""
        if not self.several:
            return ()
        return (f"{self.several:,} of {self.read:,} photos show several faces; the largest of each was taken",)


def _largest(faces: Faces) -> Faces:
    sides = faces.xyxy[:, 2:] - faces.xyxy[:, :2]
    largest = int(sides.prod(axis=1).argmax())
    return faces[largest : largest + 1]
