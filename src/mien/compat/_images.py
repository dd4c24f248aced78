"""What users of DeepFace and fer pass as an image → `Frame`."""

import base64
import binascii
import io
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, SourceError
from mien.faces import Frame, check_image
from mien.sources.images import decode_image, read_image

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
        return Frame(decode_image(_content(source), name="io object"), source="io object")
    if isinstance(source, str) and source.startswith(DATA_URL):
        name = "base64 encoded string"
        return Frame(decode_image(_decoded(source), name=name), source=name)
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


def _content(file: object) -> bytes:
    with suppress(AttributeError, OSError, TypeError):  # io.UnsupportedOperation is an OSError
        file.seek(0)  # type: ignore[attr-defined]
    data = b"" if isinstance(file, io.TextIOBase) else file.read()  # type: ignore[attr-defined]
    if not isinstance(data, bytes | bytearray | memoryview) or isinstance(file, io.TextIOBase):
        raise InputError(f"a file object must give bytes, got {type(file).__name__}; open the file with mode 'rb'")
    return bytes(data)


def _decoded(url: str) -> bytes:
    _, comma, encoded = url.partition(",")
    if not comma:
        raise SourceError("format error in base64 encoded string: a data URL has a comma before its data")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SourceError(f"format error in base64 encoded string: {error}; was a + or = lost on the way?") from error
