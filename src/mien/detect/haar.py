"""Haar cascades as shipped with OpenCV 4 (Viola & Jones 2001; Lienhart & Maydt 2002): fast to set up, no landmarks."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.detect._threads import PerThread
from mien.detect.detector import Detector, DetectorSettings
from mien.detect.identity import identity_of
from mien.errors import ModelError
from mien.faces import Faces, check_image

WINDOW_SHARE = 0.75  # a cascade's square reaches from the brows to the chin: about this share of a face's height


@dataclass(frozen=True)
class Cascade:
    """A cascade file and how to scan with it.

    Attributes:
        name: Name of the detector.
        file: Name in OpenCV's folder of cascades.
        scale_factor: Ratio of one window size to the next smaller one.
        min_neighbours: How many overlapping hits make a face.
        final_threshold: What the sum of the last stage must exceed, from the file.
    """

    name: str
    file: str
    scale_factor: float
    min_neighbours: int
    final_threshold: float


LONGEST_SIDE_PX = 8000
FRONTALFACE_DEFAULT = Cascade(  # the setting of the tutorials
    "haar", "haarcascade_frontalface_default.xml", 1.3, 5, -2.9928279
)
FRONTALFACE_ALT2 = Cascade("haar-alt2", "haarcascade_frontalface_alt2.xml", 1.1, 5, 53.7555695)


class HaarDetector(Detector):
    """Finds upright frontal faces; square boxes, no landmarks. Each thread gets its own classifier."""

    def __init__(self, cascade: Cascade, settings: DetectorSettings | None = None) -> None:
        """Load the cascade.

        Args:
            cascade: Which one.
            settings: Uses `min_face_px` and `threshold` (default 0: OpenCV's own decision).

        Raises:
            ModelError: OpenCV cannot read the file; version 5 no longer has it.
        """
        self._cascade = cascade
        chosen = settings or DetectorSettings()
        self._min_face_px, self._threshold = chosen.min_face_px, float(chosen.threshold or 0)
        self.identity = identity_of(cascade.name, min_face_px=self._min_face_px, threshold=self._threshold)
        self._classifier = PerThread(partial(_load, cascade.file))
        self._classifier.get()

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        """Return the faces of one image, best first; an empty `Faces` where there is none.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            Faces whose `score` is m / (1 + m), m being by how much the face's best window exceeds the threshold of the
            cascade's last stage (OpenCV's level weight less that threshold). It ranks faces; it is no probability.

        Raises:
            InputError: `image` is something else.
        """
        gray, shrink = _within_reach(cv2.cvtColor(check_image(image), cv2.COLOR_RGB2GRAY))
        side = max(1, round(WINDOW_SHARE * self._min_face_px / shrink))
        boxes, _, weights = self._classifier.get().detectMultiScale3(
            gray,
            scaleFactor=self._cascade.scale_factor,
            minNeighbors=self._cascade.min_neighbours,
            minSize=(side, side),
            outputRejectLevels=True,
        )
        margins = np.asarray(weights, np.float64).reshape(-1) - self._cascade.final_threshold
        return _to_faces(np.asarray(boxes, np.float32).reshape(-1, 4) * np.float32(shrink), margins, self._threshold)


def _load(file: str) -> cv2.CascadeClassifier:
    path = Path(cv2.__file__).parent / "data" / file
    classifier = cv2.CascadeClassifier()
    if not path.is_file() or not classifier.load(str(path)):
        raise ModelError(f"OpenCV {cv2.__version__} has no usable {path}; run: pip install 'opencv-python-headless<5'")
    return classifier


def _within_reach(gray: NDArray[Any]) -> tuple[NDArray[Any], float]:
    """Return an image that OpenCV's cascades survive, and by how much it was reduced.

    A side of some ten thousand pixels makes them ask for gigabytes, or write where they must not.
    """
    longest = max(gray.shape)
    if longest <= LONGEST_SIDE_PX:
        return gray, 1.0
    shrink = longest / LONGEST_SIDE_PX
    height, width = (max(1, round(side / shrink)) for side in gray.shape)
    return cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA), shrink


def _to_faces(xywh: NDArray[np.float32], margins: NDArray[np.float64], threshold: float) -> Faces:
    """Return `Faces`, best first, from (N, 4) boxes (x, y, width, height) and (N,) margins."""
    above = np.maximum(margins, 0)
    score = (above / (1 + above)).astype(np.float32)
    faces = Faces(np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1), score)
    return faces[np.argsort(-score, kind="stable")][: int((score >= threshold).sum())]
