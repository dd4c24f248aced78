"""Faces where DeepFace and fer find them by default, with the eyes and mouths that mien aligns by."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mien.detect.detector import Detector, DetectorSettings
from mien.detect.haar import FRONTALFACE_DEFAULT, WINDOW_SHARE, HaarDetector
from mien.detect.identity import identity_of
from mien.detect.mtcnn import MtcnnDetector
from mien.faces import Faces

SURE_SCORE = 0.5  # of the last stage of `mtcnn`: below it there are no points to trust
SMALLEST_PX = 12


class PointedHaar(Detector):
    """OpenCV's frontal cascade, and in its boxes the five points by the last stage of `mtcnn` (2 ms for four faces).

    Points of a face that `mtcnn` does not recognise are NaN; such a face is cropped by its box.
    """

    def __init__(
        self, *, scale_factor: float, min_neighbours: int, min_side_px: int, cascade_file: str | None = None
    ) -> None:
        """Load the cascade and the networks.

        Args:
            scale_factor: Ratio of one window size to the next smaller one, more than 1.
            min_neighbours: How many overlapping hits make a face.
            min_side_px: Side of the smallest box, pixels; at least 9.
            cascade_file: Path of another cascade; None takes OpenCV's `haarcascade_frontalface_default.xml`.

        Raises:
            ModelError: OpenCV cannot read the cascade.
        """
        cascade = replace(FRONTALFACE_DEFAULT, scale_factor=scale_factor, min_neighbours=min_neighbours)
        if cascade_file is not None:
            cascade = replace(cascade, file=cascade_file)
        min_face_px = max(SMALLEST_PX, round(min_side_px / WINDOW_SHARE))
        self._haar = HaarDetector(cascade, DetectorSettings(min_face_px=min_face_px))
        self._points = MtcnnDetector()
        self.identity = identity_of(
            "pointed-haar",
            scale_factor=scale_factor,
            min_neighbours=min_neighbours,
            min_side_px=min_side_px,
            cascade=cascade.file,
        )

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        """Return the faces of one image, best first; boxes and scores are the cascade's.

        Args:
            image: (H, W, 3) uint8 RGB.
        """
        return self.with_points(image, self._haar.detect(image))

    def with_points(self, image: NDArray[np.uint8], faces: Faces) -> Faces:
        """Return the same faces with landmarks.

        Args:
            image: (H, W, 3) uint8 RGB.
            faces: Faces of that image with the boxes of a cascade.
        """
        if not len(faces):
            return faces
        seen = self._points.refine(image, faces.xyxy)
        points = np.full((len(faces), 5, 2), np.nan, np.float32)
        sure = seen.score >= SURE_SCORE
        if seen.landmarks is not None:
            points[sure] = seen.landmarks[sure]
        return replace(faces, landmarks=points)


@lru_cache(maxsize=8)
def shared_haar(
    *, scale_factor: float, min_neighbours: int, min_side_px: int, cascade_file: str | None = None
) -> PointedHaar:
    """Return a `PointedHaar` of these settings, opened once per process.

    Args:
        scale_factor: As for `PointedHaar`.
        min_neighbours: As for `PointedHaar`.
        min_side_px: As for `PointedHaar`.
        cascade_file: As for `PointedHaar`.
    """
    return PointedHaar(
        scale_factor=scale_factor, min_neighbours=min_neighbours, min_side_px=min_side_px, cascade_file=cascade_file
    )
