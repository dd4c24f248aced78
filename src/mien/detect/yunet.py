"""YuNet (Wu, Peng & Yu 2023, «YuNet: a tiny millisecond-level face detector») through OpenCV, from a file you give."""

from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.detect._given_files import NetworkDetector, given_file
from mien.detect.detector import DetectorSettings
from mien.detect.identity import identity_of
from mien.errors import ModelError
from mien.faces import Faces, Floats

SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
WHAT = (
    "the YuNet model face_detection_yunet_2023mar.onnx, which comes from "
    "https://github.com/opencv/opencv_zoo/tree/main/models/face_detection_yunet "
    f"(232,589 bytes, MIT licence, SHA-256 {SHA256})"
)
DEFAULT_THRESHOLD, OVERLAP, MAX_CANDIDATES = 0.9, 0.3, 5000  # the defaults of cv2.FaceDetectorYN


class YunetDetector(NetworkDetector[cv2.FaceDetectorYN]):
    """Finds faces of about 10 to 300 pixels and their five landmarks. Each thread gets its own network."""

    def __init__(self, settings: DetectorSettings | None = None) -> None:
        """Load the network.

        Args:
            settings: Uses `model_path` and `threshold` (default 0.9).

        Raises:
            InputError: `model_path` is missing; the message says where to get the file.
            ModelError: OpenCV cannot read the file.
        """
        chosen = settings or DetectorSettings()
        path = given_file(chosen.model_path, setting="model_path", what=WHAT)
        threshold = DEFAULT_THRESHOLD if chosen.threshold is None else float(chosen.threshold)
        self.identity = identity_of("yunet", threshold=threshold, model=path)
        super().__init__(partial(_load, path, threshold))

    def _find(self, network: cv2.FaceDetectorYN, image: NDArray[np.uint8]) -> Faces:
        height, width = image.shape[:2]
        network.setInputSize((width, height))
        _, rows = network.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        return decode_rows(None if rows is None else np.asarray(rows, np.float32))


def decode_rows(rows: Floats | None) -> Faces:
    """Return `Faces` from the rows of `cv2.FaceDetectorYN.detect`.

    Args:
        rows: (N, 15) float32: x, y, width, height; five landmarks (x, y), the person's right eye first, which is the
            left one for the viewer; score. None for no face.
    """
    if rows is None or not len(rows):
        return Faces(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))
    rows = rows[np.argsort(-rows[:, 14], kind="stable")].astype(np.float32)
    corner, size = rows[:, :2], np.maximum(rows[:, 2:4], 0)
    landmarks = np.ascontiguousarray(rows[:, 4:14].reshape(-1, 5, 2))
    return Faces(np.concatenate([corner, corner + size], axis=1), np.clip(rows[:, 14], 0, 1), landmarks)


def _load(path: Path, threshold: float) -> cv2.FaceDetectorYN:
    try:
        return cv2.FaceDetectorYN.create(str(path), "", (320, 320), threshold, OVERLAP, MAX_CANDIDATES)
    except cv2.error as error:
        raise ModelError(f"OpenCV cannot read {path} as a network; model_path must name {WHAT}") from error
