"""Faces as JSON values."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.faces import NOTE, Face, Faces
from mien.labels import EMOJI, LabelSet
from mien.output.draw.colours import expression_colour
from mien.output.encode import encode_image

JPEG_QUALITY = 88
LARGEST_SIDE = 65_500  # pixels; JPEG has no room for more


def rows(faces: Faces) -> list[dict[str, Any]]:
    """Return the rows of the command line, with the landmarks."""
    return [
        {**record, "landmarks": points(face.landmarks), **_mesh(face)}
        for record, face in zip(faces.to_records(), faces, strict=True)
    ]


def live_face(face: Face) -> dict[str, Any]:
    """Return a face as /v1/stream tells of it."""
    names = face.labels.names if face.labels else ()
    return {
        "track_id": face.track_id,
        "box": [round(float(v), 1) for v in face.xyxy],
        "score": round(face.score, 4),
        "landmarks": points(face.landmarks),
        "expression": face.expression,
        "confidence": None if face.confidence is None else round(face.confidence, 4),
        "probs": named(names, face.probs),
        "smoothed": named(names, face.smoothed),
        "steady_expression": face.steady_expression,
        **_measured(face),
        **_mesh(face),
    }


def _measured(face: Face) -> dict[str, Any]:
    """Return the attributes by column, and the note, of a face of which some were asked for."""
    told = face.to_dict()
    return {name: told[name] for name in ("attributes", NOTE) if name in told}


def _mesh(face: Face) -> dict[str, Any]:
    known = face.mesh is not None and bool(np.isfinite(face.mesh).all())
    return {} if face.mesh is None else {"mesh": points(face.mesh) if known else None}


def points(landmarks: NDArray[np.float32] | None) -> list[list[float]] | None:
    """Return landmarks as pairs of numbers, or None."""
    return None if landmarks is None else [[round(x, 1), round(y, 1)] for x, y in landmarks.tolist()]


def named(names: tuple[str, ...], probs: NDArray[np.float32] | None) -> dict[str, float] | None:
    """Return probabilities by name, or None."""
    return None if probs is None else {name: round(p, 4) for name, p in zip(names, probs.tolist(), strict=True)}


def label_values(labels: LabelSet) -> list[dict[str, str]]:
    """Return the expressions of a label set as a page shows them."""
    return [
        {"name": name, "emoji": EMOJI.get(name, ""), "colour": "#{:02x}{:02x}{:02x}".format(*expression_colour(name))}
        for name in labels.names
    ]


def to_jpeg(image: NDArray[np.uint8], *, quality: int = JPEG_QUALITY) -> bytes:
    """Return an image as a JPEG file; one that is too wide or high for that format is made smaller.

    Args:
        image: (H, W, 3) uint8 RGB.
        quality: 1-100.
    """
    if max(image.shape) > LARGEST_SIDE:
        height, width = (max(1, side * LARGEST_SIDE // max(image.shape)) for side in image.shape[:2])
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return encode_image(image, ".jpg", quality=quality)
