"""Arrays become image files, in memory: the only place that encodes."""

import base64
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import OutputError

QUALITY = {  # flag of OpenCV and its value, by extension
    ".png": (cv2.IMWRITE_PNG_COMPRESSION, 4),
    ".webp": (cv2.IMWRITE_WEBP_QUALITY, 90),
    ".jpg": (cv2.IMWRITE_JPEG_QUALITY, 92),
    ".jpeg": (cv2.IMWRITE_JPEG_QUALITY, 92),
}
MEDIA_TYPES = {".png": "image/png", ".webp": "image/webp", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
MARK = b"Annotated by mien"


def encode_image(image: NDArray[np.uint8], extension: str = ".png", *, quality: int | None = None) -> bytes:
    """Return an image as the bytes of a file.

    Args:
        image: (H, W, 3) uint8 RGB, or (H, W) uint8 gray.
        extension: `.png`, `.jpg`, `.jpeg` or `.webp`.
        quality: 1-100 for JPEG and WebP, 0-9 for PNG, whose pixels it never changes; None takes 92, 90 and 4.

    Raises:
        OutputError: The format cannot hold an image of that size.
    """
    flag, usual = QUALITY[extension]
    bgr = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    try:
        done, data = cv2.imencode(extension, bgr, [flag, usual if quality is None else quality])
    except cv2.error:
        done, data = False, np.zeros(0, np.uint8)
    if not done:
        height, width = image.shape[:2]
        raise OutputError(f"an image of {width} x {height} cannot be written as {extension}; use .png")
    return data.tobytes()


def data_url(image: NDArray[np.uint8] | bytes, extension: str = ".png") -> str:
    """Return an image, or the bytes of an image file, as a `data:` address that holds it.

    Args:
        image: (H, W, 3) uint8 RGB, (H, W) uint8 gray, or a file's bytes.
        extension: The format.
    """
    data = image if isinstance(image, bytes) else encode_image(image, extension)
    return f"data:{MEDIA_TYPES[extension]};base64,{base64.b64encode(data).decode('ascii')}"


def annotated_bytes(image: NDArray[np.uint8], extension: str) -> bytes:
    """Return an image as the bytes of a file that says in its metadata that mien annotated it.

    Args:
        image: (H, W, 3) uint8 RGB.
        extension: `.jpg`, `.jpeg`, `.png` or `.webp`.

    Raises:
        OutputError: The format cannot hold an image of that size.
    """
    return _marked(encode_image(image, extension), extension)


def _marked(data: bytes, extension: str) -> bytes:
    """Put `MARK` where the format keeps comments; WebP gets a chunk of its own, which readers pass over."""
    if extension == ".png":
        chunk = b"tEXtSoftware\0" + MARK
        head = 8 + 25  # signature and IHDR
        length, check = len(chunk) - 4, zlib.crc32(chunk)
        return data[:head] + length.to_bytes(4, "big") + chunk + check.to_bytes(4, "big") + data[head:]
    if extension == ".webp":
        chunk = b"mien" + len(MARK).to_bytes(4, "little") + MARK + b"\0" * (len(MARK) % 2)
        return data[:4] + (len(data) + len(chunk) - 8).to_bytes(4, "little") + data[8:] + chunk
    head = 4 + int.from_bytes(data[4:6], "big")  # the JFIF header comes first
    return data[:head] + b"\xff\xfe" + (len(MARK) + 2).to_bytes(2, "big") + MARK + data[head:]
