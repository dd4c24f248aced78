"""The detector for images that already are face crops."""

import numpy as np
from numpy.typing import NDArray

from mien.detect.detector import Detector
from mien.faces import Faces, check_image


class WholeImage(Detector):
    """Takes every image for one face that fills it."""

    identity = "none"
    framed = True

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        """Return one face with the box of the whole image, score 1 and no landmarks.

        Args:
            image: (H, W, 3) uint8 RGB.

        Raises:
            InputError: `image` is something else.
        """
        height, width = check_image(image).shape[:2]
        return Faces(np.array([[0, 0, width, height]], np.float32), np.ones(1, np.float32))
