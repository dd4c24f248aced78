"""What deepface's calls have in common: its detectors, and how it writes where a face is."""

import logging
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.analyzer import Analyzer, AnalyzerSettings
from mien.compat._haar import shared_haar
from mien.errors import InputError
from mien.faces import Face, Faces, Frame

BACKENDS = {  # deepface's detectors → mien's; those that need a download there are answered by the best one here
    "opencv": "haar",
    "mtcnn": "mtcnn",
    "fastmtcnn": "mtcnn",
    "dlib": "dlib-hog",
    "skip": "none",
    **dict.fromkeys(("ssd", "retinaface", "mediapipe", "yunet", "centerface"), "mtcnn"),
    **{f"yolov{version}{size}": "mtcnn" for version in (8, 11, 12) for size in "nml"},
    "yolov11s": "mtcnn",
    "yolov12s": "mtcnn",
}

logger = logging.getLogger(__name__)


class FaceNotDetected(InputError):
    """No face was found, and `enforce_detection` asked for one."""


def found_faces(frame: Frame, backend: str, *, enforce: bool) -> tuple[Analyzer, Faces, bool]:
    """Return who found the faces of an image, the faces, and whether the whole image is taken for one.

    Args:
        frame: The image.
        backend: A key of `BACKENDS`.
        enforce: Whether no face is an error.

    Raises:
        FaceNotDetected: There is none.
    """
    analyzer = _analyzer(backend)
    (found,), _ = analyzer.find([frame])
    if len(found):
        return analyzer, found, backend == "skip"
    if enforce:
        raise FaceNotDetected(
            f"Face could not be detected in {frame.source}. Please confirm that the picture is a face photo or "
            "consider to set enforce_detection param to False."
        )
    analyzer = _analyzer("skip")
    (found,), _ = analyzer.find([frame])
    return analyzer, found, True


@lru_cache(maxsize=len(BACKENDS))
def _analyzer(backend: str) -> Analyzer:
    """Return the analyzer that answers for a detector of deepface's, opened once per process."""
    ours = BACKENDS[backend]
    if ours == "haar":
        haar = shared_haar(scale_factor=1.1, min_neighbours=10, min_side_px=24)  # as deepface scans
        return Analyzer(detector=haar, model=_analyzer("skip").model)
    if backend not in (ours, "fastmtcnn", "dlib", "skip"):
        logger.info("detector_backend=%r is answered by mien's detector %r", backend, ours)
    return AnalyzerSettings(ours).shared()


def region(face: Face, frame: Frame, grow: float = 0.0) -> dict[str, Any]:
    """Return where a face is, as deepface writes it.

    Args:
        face: The face.
        frame: Its image.
        grow: Share of its size by which the box grows.
    """
    width, height = frame.width, frame.height
    x1, y1, x2, y2 = face.xyxy.tolist()
    right, down = (x2 - x1) * grow / 2, (y2 - y1) * grow / 2
    left, top = max(0, int(x1 - right)), max(0, int(y1 - down))
    eyes = [None, None] if face.landmarks is None else [_point(point, width, height) for point in face.landmarks[:2]]
    return {
        "x": left,
        "y": top,
        "w": min(width - 1, int(x2 + right)) - left,
        "h": min(height - 1, int(y2 + down)) - top,
        "left_eye": eyes[1],  # the person's, where landmarks are as the viewer sees them
        "right_eye": eyes[0],
    }


def _point(point: NDArray[np.float32], width: int, height: int) -> tuple[int, int] | None:
    if not np.isfinite(point).all():
        return None
    x, y = int(point[0]), int(point[1])
    return (x, y) if 0 <= x < width and 0 <= y < height else None
