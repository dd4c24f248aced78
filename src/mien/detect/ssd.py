"""OpenCV's res10 SSD face detector (Liu et al. 2016, arXiv 1512.02325), a Caffe network, from two files you give."""

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

SOURCE = "see https://github.com/opencv/opencv/blob/4.x/samples/dnn/face_detector/download_weights.py"
WHAT_MODEL = f"the Caffe weights res10_300x300_ssd_iter_140000_fp16.caffemodel ({SOURCE})"
WHAT_CONFIG = (
    "its network description deploy.prototxt "
    "(https://github.com/opencv/opencv/blob/4.x/samples/dnn/face_detector/deploy.prototxt)"
)
INPUT_PX = 300
MEAN_BGR = (104.0, 177.0, 123.0)
DEFAULT_THRESHOLD = 0.5


class SsdDetector(NetworkDetector[cv2.dnn.Net]):
    """Finds faces that are not small within the image; no landmarks. Each thread gets its own network."""

    def __init__(self, settings: DetectorSettings | None = None) -> None:
        """Load the network.

        Args:
            settings: Uses `model_path`, `config_path` and `threshold` (default 0.5).

        Raises:
            InputError: One of the paths is missing; the message says where to get the file.
            ModelError: OpenCV cannot read the files.
        """
        chosen = settings or DetectorSettings()
        model = given_file(chosen.model_path, setting="model_path", what=WHAT_MODEL)
        config = given_file(chosen.config_path, setting="config_path", what=WHAT_CONFIG)
        self._threshold = DEFAULT_THRESHOLD if chosen.threshold is None else float(chosen.threshold)
        self.identity = identity_of("ssd", threshold=self._threshold, model=model, config=config)
        super().__init__(partial(_load, config, model))

    def _find(self, network: cv2.dnn.Net, image: NDArray[np.uint8]) -> Faces:
        height, width = image.shape[:2]
        network.setInput(to_blob(image))
        rows = np.asarray(network.forward(), np.float32).reshape(-1, 7)
        return decode_rows(rows, (width, height), self._threshold)


def to_blob(image: NDArray[np.uint8]) -> Floats:
    """Return the network's input: the image squeezed to a square, BGR, less the mean of its training data.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (1, 3, 300, 300) float32.
    """
    resized = cv2.resize(image, (INPUT_PX, INPUT_PX))
    return np.asarray(cv2.dnn.blobFromImage(resized, mean=MEAN_BGR, swapRB=True), np.float32)


def decode_rows(rows: Floats, size: tuple[int, int], threshold: float) -> Faces:
    """Return `Faces` from the rows of a DetectionOutput layer.

    Args:
        rows: (N, 7) float32: image, class, score, and left, top, right, bottom as shares of width and height.
        size: (width, height) of the image, pixels.
        threshold: Score below which a row is dropped.
    """
    rows = rows[(rows[:, 2] >= threshold) & (rows[:, 2] > 0)]
    rows = rows[np.argsort(-rows[:, 2], kind="stable")]
    xyxy = (rows[:, 3:7] * np.array([*size, *size])).astype(np.float32)
    xyxy[:, 2:] = np.maximum(xyxy[:, 2:], xyxy[:, :2])
    return Faces(xyxy, np.clip(rows[:, 2], 0, 1).astype(np.float32))


def _load(config: Path, model: Path) -> cv2.dnn.Net:
    try:
        return cv2.dnn.readNetFromCaffe(str(config), str(model))
    except cv2.error as error:
        raise ModelError(
            f"OpenCV cannot read {config} and {model} as a Caffe network; "
            f"config_path must name {WHAT_CONFIG} and model_path {WHAT_MODEL}"
        ) from error
