"""`DeepFace.verify` and `DeepFace.represent` as deepface 0.0.103 has them, with the network that both have: dlib's."""

import time
from typing import Any

import numpy as np

from mien.compat._faces import BACKENDS, found_faces, region
from mien.compat._images import read_frame
from mien.errors import InputError, check_known, shown
from mien.people.embedding import shared_embedder

MODEL = "Dlib"
THRESHOLDS = {"cosine": 0.07, "euclidean": 0.6, "euclidean_l2": 0.4, "angular": 0.12}  # those of deepface for Dlib
SURE, UNSURE = 51.0, 49.0  # what deepface gives where it has no curve of its own


def represent(
    img_path: object,
    model_name: str = "VGG-Face",
    enforce_detection: bool = True,
    detector_backend: str = "opencv",
    align: bool = True,
    expand_percentage: int = 0,
    normalization: str = "base",
    anti_spoofing: bool = False,
    max_faces: int | None = None,
) -> list[dict[str, Any]]:
    """Return the embeddings of the faces of an image.

    Args:
        img_path: A path, URL, data URL, binary file object or array (H, W, 3) uint8 **BGR**.
        model_name: `"Dlib"`; other networks are not here, and their numbers cannot be compared with these.
        enforce_detection: Whether an image without a face is an error; if not, the whole image is taken for a face.
        detector_backend: A key of `BACKENDS`.
        align: Must be True: mien always turns faces upright.
        expand_percentage: Without effect: the network always sees the framing that it was trained on.
        normalization: Without effect: dlib's network has its own.
        anti_spoofing: Must be False; mien does not offer it.
        max_faces: The largest so many; None takes all.

    Returns:
        One dictionary per face: `embedding` (128 numbers), `facial_area` and `face_confidence`.

    Raises:
        FaceNotDetected: There is no face.
        InputError: Another network, or what is not offered.
        MissingWeightsError: `mien models pull identity` was not run yet.
    """
    _check(model_name, detector_backend, align=align, anti_spoofing=anti_spoofing)
    frame = read_frame(img_path)
    _, faces, whole = found_faces(frame, detector_backend, enforce=enforce_detection)
    if max_faces is not None and len(faces) > max_faces:
        areas = (faces.xyxy[:, 2:] - faces.xyxy[:, :2]).prod(axis=1)
        faces = faces[np.argsort(-areas, kind="stable")[:max_faces]]
    embeddings = shared_embedder().embed(frame.image, faces)
    return [
        {
            "embedding": embedding.tolist(),
            "facial_area": region(face, frame),
            "face_confidence": 0.0 if whole else round(face.score, 2),
        }
        for face, embedding in zip(faces, embeddings, strict=True)
    ]


def verify(
    img1_path: object,
    img2_path: object,
    model_name: str = "VGG-Face",
    detector_backend: str = "opencv",
    distance_metric: str = "cosine",
    enforce_detection: bool = True,
    align: bool = True,
    expand_percentage: int = 0,
    normalization: str = "base",
    silent: bool = False,
    threshold: float | None = None,
    anti_spoofing: bool = False,
) -> dict[str, Any]:
    """Say whether two images show one person: the nearest pair of their faces decides.

    Args:
        img1_path: As for `represent`.
        img2_path: The other image.
        model_name: `"Dlib"`.
        detector_backend: As for `represent`.
        distance_metric: `"cosine"`, `"euclidean"`, `"euclidean_l2"` or `"angular"`.
        enforce_detection: As for `represent`.
        align: As for `represent`.
        expand_percentage: As for `represent`.
        normalization: As for `represent`.
        silent: Without effect.
        threshold: None takes deepface's, which is laxer than that of `mien.people.verify`: docs/people.md says what
            that does to whom.
        anti_spoofing: Must be False.

    Returns:
        `verified`, `distance`, `threshold`, `confidence` (51 or 49: mien has no curve for it), `model`,
        `detector_backend`, `similarity_metric`, `facial_areas` (`img1`, `img2`) and `time`, seconds.

    Raises:
        FaceNotDetected: One shows no face.
        InputError: Another network or metric, or what is not offered.
        MissingWeightsError: `mien models pull identity` was not run yet.
    """
    started = time.monotonic()
    check_known("distance_metric", distance_metric, THRESHOLDS)
    first, second = (
        represent(image, model_name, enforce_detection, detector_backend, align, anti_spoofing=anti_spoofing)
        for image in (img1_path, img2_path)
    )
    limit = THRESHOLDS[distance_metric] if threshold is None else float(threshold)
    pairs = [(_distance(a["embedding"], b["embedding"], distance_metric), a, b) for a in first for b in second]
    distance, a, b = min(pairs, key=lambda pair: pair[0])
    return {
        "verified": distance <= limit,
        "distance": distance,
        "threshold": limit,
        "confidence": SURE if distance <= limit else UNSURE,
        "model": MODEL,
        "detector_backend": detector_backend,
        "similarity_metric": distance_metric,
        "facial_areas": {"img1": a["facial_area"], "img2": b["facial_area"]},
        "time": round(time.monotonic() - started, 2),
    }


def _check(model_name: str, detector_backend: str, *, align: bool, anti_spoofing: bool) -> None:
    if model_name != MODEL:
        raise InputError(
            f"mien has one network that tells people apart, dlib's: pass model_name='Dlib', got {shown(model_name)}"
        )
    check_known("detector_backend", detector_backend, BACKENDS)
    if not align:
        raise InputError("mien always turns faces upright before it compares them; pass align=True")
    if anti_spoofing:
        raise InputError("mien has no anti-spoofing; pass anti_spoofing=False")


def _distance(first: list[float], second: list[float], metric: str) -> float:
    a, b = np.array(first), np.array(second)
    if metric == "euclidean":
        return float(np.linalg.norm(a - b))
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    if metric == "euclidean_l2":
        return float(np.linalg.norm(a - b))
    likeness = float(np.clip(a @ b, -1, 1))
    return 1 - likeness if metric == "cosine" else float(np.arccos(likeness) / np.pi)
