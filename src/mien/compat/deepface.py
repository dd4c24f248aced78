"""`DeepFace.analyze` as deepface 0.0.103 has it: its arguments, its dictionaries, its scales, its kinds of errors."""

import logging
from dataclasses import replace
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from mien.analyzer import Analyzer, shared_analyzer
from mien.compat._haar import shared_haar
from mien.compat._images import read_frame
from mien.compat._seven import seven_of
from mien.errors import InputError, check_known, shown
from mien.faces import Face, Frame
from mien.labels import FER7

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
ACTIONS = ("emotion", "age", "gender", "race")

logger = logging.getLogger(__name__)


class FaceNotDetected(InputError):
    """No face was found, and `enforce_detection` asked for one."""


def analyze(
    img_path: object,
    actions: tuple[str, ...] | list[str] | str = ("emotion",),
    enforce_detection: bool = True,
    detector_backend: str = "opencv",
    align: bool = True,
    expand_percentage: int = 0,
    silent: bool = False,
    anti_spoofing: bool = False,
) -> list[Any]:
    """Return what the faces of an image show, in the shape of `deepface.DeepFace.analyze`.

    Args:
        img_path: A path, URL, data URL, binary file object or array (H, W, 3) uint8 **BGR**; a list of these, or an
            array (N, H, W, 3), for several images.
        actions: `"emotion"`; mien does not answer `"age"`, `"gender"` and `"race"`.
        enforce_detection: Whether an image without a face is an error; if not, the whole image is taken for a face.
        detector_backend: A key of `BACKENDS`; `"opencv"` is the Haar cascade, `"mtcnn"` misses far fewer.
        align: Turn each face upright by its eyes before the model sees it.
        expand_percentage: By how much `region` grows; the model always sees the framing that it was trained on.
        silent: Without effect: mien reports no progress here.
        anti_spoofing: Must be False; mien does not offer it.

    Returns:
        One dictionary per face, best first: `emotion` (0-100 by name, adding up to 100), `dominant_emotion`, `region`
        (`x`, `y`, `w`, `h`, pixels, and `left_eye`, `right_eye`, (x, y) as the person has them, or None) and
        `face_confidence` (0-1; 0 where no face was found). For several images, a list of such lists.

    Raises:
        FaceNotDetected: There is no face; a `ValueError`, as are the others.
        SourceError: It gives no image.
        InputError: An unknown action or detector, or one that is not offered.
        MissingExtraError: The detector's extra is not installed.
    """
    _check_actions(actions)
    check_known("detector_backend", detector_backend, BACKENDS)
    if anti_spoofing:
        raise InputError("mien has no anti-spoofing; pass anti_spoofing=False")
    grow = max(0, expand_percentage) / 100
    several = img_path if isinstance(img_path, list) else None
    if isinstance(img_path, np.ndarray) and img_path.ndim == 4:
        several = list(img_path)
    if several is not None:
        return [
            analyze(image, actions, enforce_detection, detector_backend, align, expand_percentage) for image in several
        ]
    return _analyze_frame(read_frame(img_path), detector_backend, enforce=enforce_detection, align=align, grow=grow)


class _DeepFace:
    """What stands in for the module `deepface.DeepFace`."""

    analyze = staticmethod(analyze)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"mien.compat.DeepFace has no {shown(name)}; it has analyze(). mien reads expressions: it does not verify, "
            "search or embed people, and mien.Analyzer().find() gives faces without expressions"
        )

    def __dir__(self) -> list[str]:
        return ["analyze"]

    def __repr__(self) -> str:
        return "<mien.compat.DeepFace: analyze()>"


DeepFace = _DeepFace()


def _check_actions(actions: object) -> None:
    wanted = (actions,) if isinstance(actions, str) else actions
    if not isinstance(wanted, tuple | list) or not wanted:
        raise InputError(f"`actions` must be a list of strings, got {type(actions).__name__}; pass actions=['emotion']")
    for action in wanted:
        if action not in ACTIONS:
            raise InputError(f"Invalid action passed ({action!r:.50}). Valid actions are `emotion`.")
        if action == "race":
            raise InputError("mien does not guess the action 'race'; pass actions=['emotion']")
        if action != "emotion":
            raise InputError(
                f"this version of mien does not answer the action {shown(action)}; pass actions=['emotion']"
            )


def _analyze_frame(frame: Frame, backend: str, *, enforce: bool, align: bool, grow: float) -> list[dict[str, Any]]:
    analyzer = _analyzer(backend)
    (found,), _ = analyzer.find([frame])
    whole = backend == "skip"
    if not len(found):
        if enforce:
            raise FaceNotDetected(
                f"Face could not be detected in {frame.source}. Please confirm that the picture is a face photo or "
                "consider to set enforce_detection param to False."
            )
        analyzer, whole = _analyzer("skip"), True
        (found,), _ = analyzer.find([frame])
    crops = analyzer.crop(frame.image, found if align else replace(found, landmarks=None))
    (faces,) = analyzer.with_expressions([found], analyzer.model.predict_proba(crops, head=analyzer.labels.key))
    return [_entry(face, frame, grow=0 if whole else grow, sure=not whole) for face in seven_of(faces)]


@lru_cache(maxsize=len(BACKENDS))
def _analyzer(backend: str) -> Analyzer:
    """Return the analyzer that answers for a detector of deepface's, opened once per process."""
    ours = BACKENDS[backend]
    if ours == "haar":
        haar = shared_haar(scale_factor=1.1, min_neighbours=10, min_side_px=24)  # as deepface scans
        return Analyzer(detector=haar, model=_analyzer("skip").model)
    if backend not in (ours, "fastmtcnn", "dlib", "skip"):
        logger.info("detector_backend=%r is answered by mien's detector %r", backend, ours)
    return shared_analyzer(detector=ours)


def _entry(face: Face, frame: Frame, *, grow: float, sure: bool) -> dict[str, Any]:
    probs = np.zeros(len(FER7), np.float32) if face.probs is None else face.probs
    return {
        "emotion": {name: 100 * p for name, p in zip(FER7.names, probs.tolist(), strict=True)},
        "dominant_emotion": face.expression,
        "region": _region(face, frame, grow),
        "face_confidence": round(face.score, 2) if sure else 0.0,
    }


def _region(face: Face, frame: Frame, grow: float) -> dict[str, Any]:
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
