"""dlib's two face detectors: HOG with a linear classifier (King 2015, arXiv 1502.00046) and the MMOD network."""

import functools
import importlib.util
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.detect._threads import PerThread
from mien.detect.boxes import logit, sigmoid
from mien.detect.detector import Detector, DetectorSettings
from mien.detect.identity import identity_of
from mien.errors import MissingExtraError, ModelError, require_extra
from mien.faces import Faces, check_image

HOG_UPSAMPLE, MMOD_UPSAMPLE = 1, 0
MMOD_MIN_PX = 32  # the network fails on images smaller than its filters
MMOD_FILE = "mmod_human_face_detector.dat"


def model_file(name: str) -> Path:
    """Return a model file of the `face_recognition_models` package, without importing it.

    (Its import needs `pkg_resources`, which recent setuptools no longer has.)

    Args:
        name: File name.

    Raises:
        MissingExtraError: The package is not installed.
        ModelError: The package lacks the file.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            "this needs the module 'face_recognition_models', which is not installed; run: pip install 'mien[dlib]'"
        )
    path = Path(spec.submodule_search_locations[0]) / "models" / name
    if not path.is_file():
        raise ModelError(f"no file {path}; run: pip install --force-reinstall face_recognition_models")
    return path


class HogDetector(Detector):
    """Finds upright frontal faces of at least 80 pixels, halved by each `upsample`. Each thread has its own."""

    def __init__(self, settings: DetectorSettings | None = None) -> None:
        """Create the detector.

        Args:
            settings: Uses `upsample` (default 1) and `threshold` (default 0.5, which is dlib's own decision).

        Raises:
            MissingExtraError: dlib is not installed.
        """
        chosen = settings or DetectorSettings()
        self._upsample = HOG_UPSAMPLE if chosen.upsample is None else chosen.upsample
        self._threshold = 0.5 if chosen.threshold is None else float(chosen.threshold)
        self.identity = identity_of("dlib-hog", upsample=self._upsample, threshold=self._threshold)
        self._detector = PerThread(_load_hog)
        self._detector.get()

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        """Return the faces of one image, best first; an empty `Faces` where there is none.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            Faces whose `score` is sigmoid(m), m being the classifier's margin. It ranks faces; it is no probability.

        Raises:
            InputError: `image` is something else.
        """
        rgb = np.ascontiguousarray(check_image(image))
        boxes, margins, _ = self._detector.get().run(rgb, self._upsample, logit(self._threshold))
        return _to_faces(list(boxes), list(margins), self._threshold)


class MmodDetector(Detector):
    """Finds faces in many poses of at least 80 pixels, halved by each `upsample`; slow. Threads take turns."""

    def __init__(self, settings: DetectorSettings | None = None) -> None:
        """Load the network.

        Args:
            settings: Uses `upsample` (default 0) and `threshold` (default 0.5, which is dlib's own decision).

        Raises:
            MissingExtraError: dlib or its model package is not installed.
        """
        chosen = settings or DetectorSettings()
        self._upsample = MMOD_UPSAMPLE if chosen.upsample is None else chosen.upsample
        self._threshold = 0.5 if chosen.threshold is None else float(chosen.threshold)
        self.identity = identity_of("dlib-mmod", upsample=self._upsample, threshold=self._threshold)
        self._detector = _Mmod()

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        """Return the faces of one image, best first; an empty `Faces` where there is none.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            Faces whose `score` is sigmoid(c), c being the network's detection confidence, which it trains to be above 0
            for faces. It ranks faces; it is no probability.

        Raises:
            InputError: `image` is something else.
        """
        found = self._detector.run(_at_least(MMOD_MIN_PX, check_image(image)), self._upsample)
        return _to_faces([hit.rect for hit in found], [hit.confidence for hit in found], self._threshold)


class _Mmod:
    """The network behind a lock: a copy per thread would hold hundreds of megabytes of activations each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._network = require_extra("dlib", "dlib").cnn_face_detection_model_v1(str(model_file(MMOD_FILE)))

    def run(self, image: NDArray[np.uint8], upsample: int) -> list[Any]:
        with self._lock:
            return list(self._network(image, upsample))

    def __reduce__(self) -> tuple[type["_Mmod"], tuple[()]]:
        return _Mmod, ()


def _load_hog() -> Any:
    require_extra("dlib", "dlib")
    return pickle.loads(_pickled_hog())


@functools.cache
def _pickled_hog() -> bytes:
    """Return dlib's detector as our own bytes: building it takes a third of a second, a copy a millisecond."""
    return pickle.dumps(require_extra("dlib", "dlib").get_frontal_face_detector())


def _at_least(side: int, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image, extended to the right and below with black to at least `side` pixels each way."""
    height, width = image.shape[:2]
    missing = ((0, max(side - height, 0)), (0, max(side - width, 0)), (0, 0))
    return np.ascontiguousarray(np.pad(image, missing))


def _to_faces(boxes: list[Any], margins: list[float], threshold: float) -> Faces:
    """Return `Faces` from dlib's rectangles, whose right and bottom pixels belong to them."""
    edges = [(box.left(), box.top(), box.right() + 1, box.bottom() + 1) for box in boxes]
    score = sigmoid(np.asarray(margins, np.float32).reshape(-1))
    faces = Faces(np.asarray(edges, np.float32).reshape(-1, 4), score)
    return faces[np.argsort(-score, kind="stable")][: int((score >= threshold).sum())]
