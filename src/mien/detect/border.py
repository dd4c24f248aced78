"""A second look at an image in which no face was found: with a border around it, for portraits cut too tightly.

Detectors learned from faces with something around them. A photo that ends at the chin and the brows shows a face as
they know it once its border is repeated outwards. What is looked for fills much of the image, so that is made small
first, and smaller faces are not taken: docs/benchmarks.md says what this wins, and how many false faces it costs.
"""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.detect.detector import Detector
from mien.faces import Faces, Floats

BORDER_SHARE = 0.25  # of each side of the image, on each of its four sides
LOOK_PX = 236  # shorter side of the image in the second look, at most; measured
SMALLEST_SHARE = 0.5  # of the image's shorter side, that a face's box must be long


def detect_in_still(detector: Detector, image: NDArray[np.uint8]) -> Faces:
    """Return the faces of an image that stands alone: where there is none, those of a second look within a border.

    Args:
        detector: Any detector; one that is `framed` takes no second look.
        image: (H, W, 3) uint8 RGB.
    """
    faces = detector.detect(image)
    return faces if len(faces) or detector.framed else detect_within_border(detector, image)


def detect_within_border(detector: Detector, image: NDArray[np.uint8]) -> Faces:
    """Return the large faces of an image whose border is repeated outwards by a quarter of its sides.

    Args:
        detector: Any detector.
        image: (H, W, 3) uint8 RGB.

    Returns:
        Faces in pixels of the image itself; boxes may reach beyond it.
    """
    height, width = image.shape[:2]
    scale = min(1.0, LOOK_PX / min(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    across, down = (int(np.ceil(side * BORDER_SHARE)) for side in size)
    wider = cv2.copyMakeBorder(small, down, down, across, across, cv2.BORDER_REPLICATE)
    faces: Faces = detector.detect(np.asarray(wider, np.uint8))
    longer: Floats = (faces.xyxy[:, 2:] - faces.xyxy[:, :2]).max(axis=1, initial=0)
    faces = faces[longer >= SMALLEST_SHARE * min(size)]
    corner, ratio = np.array([across, down], np.float32), np.array([width / size[0], height / size[1]], np.float32)
    landmarks = None if faces.landmarks is None else (faces.landmarks - corner) * ratio
    return replace(faces, xyxy=(faces.xyxy - np.tile(corner, 2)) * np.tile(ratio, 2), landmarks=landmarks)
