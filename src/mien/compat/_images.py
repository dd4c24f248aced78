"""What users of DeepFace and fer pass as an image → `Frame`."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, SourceError
from mien.faces import Frame, check_image
from mien.sources.given import from_data_url, from_file
from mien.sources.images import DEFAULTS, decode_frame, most_bytes, read_image

DATA_URL = "data:image/"


def read_frame(source: object) -> Frame:
    """Read one image.

    Args:
        source: A path, an http(s) URL, a data URL in base64, encoded bytes, a binary file object, or an
            array: (H, W, 3) uint8 **BGR** as OpenCV reads it, (H, W, 4) BGRA or (H, W) gray.

    Raises:
        InputError: It gives no image.
    """
    if isinstance(source, np.ndarray):
        return Frame(rgb_of(source), source="numpy array")
    if callable(getattr(source, "read", None)):
        if isinstance(source, io.TextIOBase):
            raise InputError(f"a file object must give bytes, got {type(source).__name__}; open it with mode 'rb'")
        name = "io object"
        return decode_frame(from_file(source, name, limit=most_bytes(DEFAULTS)), name=name)
    if isinstance(source, str) and source.startswith(DATA_URL):
        name = "base64 encoded string"
        return decode_frame(_decoded(source), name=name)
    if isinstance(source, str | Path | bytes):
        return read_image(source)
    raise InputError(
        f"img must be a path, URL, data URL, file object or BGR array, got {type(source).__name__}; load it first"
    )


def rgb_of(bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an array of OpenCV's as mien wants it.

    Args:
        bgr: (H, W, 3) BGR, (H, W, 4) BGRA or (H, W) gray, uint8.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: It is something else.
    """
    if bgr.ndim == 2:
        return check_image(np.dstack([bgr] * 3))
    if bgr.ndim == 3 and bgr.shape[2] in (3, 4):
        return check_image(np.ascontiguousarray(bgr[:, :, 2::-1]))  # BGR or BGRA to RGB
    return check_image(bgr)


def _decoded(url: str) -> bytes:
    try:
        return from_data_url(url)
    except SourceError as error:
        raise SourceError(f"format error in base64 encoded string: it {error}") from error
