"""Bytes of an image file to (H, W, 3) uint8 RGB: header first, then integrity, decoding, alpha and rotation."""

import logging
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import MissingExtraError, SourceError
from mien.faces import Frame, Reduced
from mien.sources import _others
from mien.sources._formats import HEAD_BYTES, format_of
from mien.sources._headers import DamageError, Encoded, Format
from mien.sources._jpeg import FACTORS, decode_jpeg, is_held_whole

logger = logging.getLogger(__name__)

LOW_BITS = (8, 10, 12)
MAX_PIXELS = 100_000_000
HELD_WHOLE = 2  # how many times the limit a JPEG may have whose data must be held whole, some 6 bytes a pixel
_HOW = {
    1: cv2.IMREAD_UNCHANGED,
    2: cv2.IMREAD_REDUCED_COLOR_2 | cv2.IMREAD_IGNORE_ORIENTATION,
    4: cv2.IMREAD_REDUCED_COLOR_4 | cv2.IMREAD_IGNORE_ORIENTATION,
    8: cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_IGNORE_ORIENTATION,
}
BAND_ROWS = 256  # wide integers exist for this many rows at a time


def decode_frame(data: bytes, *, name: str, max_pixels: int = MAX_PIXELS) -> Frame:
    """Decode an image file as `decode_image`, and a JPEG above the limit at a half, a fourth or an eighth of its size.

    That is done while decoding, so the whole image never is in memory; the log says so, and `Frame.reduced`. A
    progressive JPEG needs room for the data of all its blocks whatever comes of them, so it may have
    `HELD_WHOLE` times the limit at most.

    Args:
        data: An image file.
        name: What messages call it.
        max_pixels: Largest width x height of what is decoded.

    Returns:
        The image with its name.

    Raises:
        SourceError: It is no such image, too large, truncated or damaged; the message starts with `name`.
        MissingExtraError: It is HEIC, and pillow-heif is not installed.
    """
    image, reduced = _decoded(data, name, max_pixels, reducing=True)
    if reduced:
        logger.warning(
            "%s is %s x %s pixels, more than max_pixels = %s: it is read at 1/%d of its width and height; boxes and "
            "landmarks are in pixels of the whole",
            name, *(f"{number:,}" for number in (reduced.width, reduced.height, max_pixels)), reduced.factor,
        )  # fmt: skip
    return Frame(image, source=name, reduced=reduced)


def decode_image(data: bytes, *, name: str, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode an image; of several in one file, the first.

    Alpha is laid over white, 16-bit samples are scaled to 8 with rounding (samples of 10 and 12 bits in 16-bit files by
    what they hold, with a warning in the log), gray is repeated, and the EXIF orientation
    of JPEG, PNG, WebP and TIFF is applied. The alpha of gray TIFFs is left out, and no colour profile is applied.

    Args:
        data: A JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF, HEIC, JPEG 2000, PPM, PGM, ICO or TGA file.
        name: What messages call it.
        max_pixels: Largest width x height; checked against the header, before decoding.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        SourceError: It is no such image, too large, truncated or damaged; the message starts with `name`.
        MissingExtraError: It is HEIC, and pillow-heif is not installed.
    """
    return _decoded(data, name, max_pixels, reducing=False)[0]


def _decoded(data: bytes, name: str, max_pixels: int, *, reducing: bool) -> tuple[NDArray[np.uint8], Reduced | None]:
    data = bytes(data)
    kind = format_of(data[:HEAD_BYTES], name)
    try:
        if kind.pillow:
            image = _others.opened(kind.pillow, data)
            width, height = image.size
            _check_size(width, height, max_pixels)
            samples, orientation = _others.decoded(image)
            return as_rgb(samples, orientation, name=name), None
        width, height, factor, encoded = _inspect(kind, data, max_pixels, reducing=reducing)
        if encoded.orientation >= 5:
            width, height = height, width
        upright = _upright(_rgb(kind, encoded, name, factor), encoded.orientation)
        return upright, Reduced(factor, width, height) if factor > 1 else None
    except DamageError as error:
        raise SourceError(f"{name} {error}") from error
    except MissingExtraError as error:
        raise MissingExtraError(f"{name} is a {kind.name} image; {error}") from error
    except MemoryError as error:
        raise SourceError(f"{name} does not fit in memory; make it smaller") from error


def as_rgb(samples: NDArray[Any], orientation: int = 1, *, name: str = "") -> NDArray[np.uint8]:
    """Turn samples into an upright image: alpha over white, 8 bits, gray repeated.

    Args:
        samples: (H, W), (H, W, 3) or (H, W, 4), uint8 or uint16, in the order blue, green, red, alpha.
        orientation: EXIF orientation, 1 to 8.
        name: What messages call it.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    return _upright(_to_rgb(np.ascontiguousarray(samples), Encoded(b""), name), orientation)


def _inspect(kind: Format, data: bytes, max_pixels: int, *, reducing: bool) -> tuple[int, int, int, Encoded]:
    """Return width, height, how much smaller it is to be decoded, and what the decoder gets."""
    try:
        width, height = kind.size(data)
        factor = _factor(width, height, data, max_pixels) if reducing and kind.name == "JPEG" else 1
        if factor == 1:
            _check_size(width, height, max_pixels)
        return width, height, factor, kind.inspect(data)
    except (struct.error, IndexError) as error:
        raise DamageError(f"is truncated: the {kind.name} data end too early; fetch or copy it again") from error


def _factor(width: int, height: int, data: bytes, max_pixels: int) -> int:
    """Return how much smaller a JPEG is decoded so that it keeps the limit; 1 where that is not to be had."""
    if width * height > HELD_WHOLE * max_pixels and is_held_whole(data):
        return 1
    return next((by for by in FACTORS if -(-width // by) * -(-height // by) <= max_pixels), 1)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise DamageError(f"is damaged: its header says {width} x {height} pixels; fetch or copy it again")
    if width * height > max_pixels:
        raise DamageError(
            f"is {width:,} x {height:,} pixels, more than the limit of {max_pixels:,} pixels; "
            "make it smaller or raise the limit: max_pixels in Python, --max-pixels on the command line"
        )


# Decoding, and from what OpenCV returns to RGB.


def _rgb(kind: Format, encoded: Encoded, name: str, factor: int) -> NDArray[np.uint8]:
    if kind.name == "JPEG":
        rgb = decode_jpeg(encoded.data, name=name, factor=factor)
        if rgb is not None:
            return rgb
    if kind.name == "TIFF":
        _check_tiff(encoded.data)
    return _to_rgb(_decode_with_opencv(encoded.data, _HOW[factor]), encoded, name)


def _check_tiff(data: bytes) -> None:
    """Refuse a TIFF whose compressed data are damaged: OpenCV fills what is missing with black."""
    try:
        image = _others.opened("TIFF", data)
    except DamageError:  # Pillow knows fewer kinds
        return
    if image.info.get("compression", "raw") in ("tiff_lzw", "packbits"):
        _others.decoded(image)


def _decode_with_opencv(data: bytes, how: int) -> NDArray[Any]:
    """Decode without rotation.

    Args:
        data: The file.
        how: `cv2.IMREAD_UNCHANGED` for all channels at the samples' own depth, or a smaller size.

    Returns:
        (H, W), (H, W, 3) or (H, W, 4), uint8 or uint16, in OpenCV's order blue, green, red, alpha.
    """
    try:
        with _quiet_opencv():
            pixels: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        pixels = None
    if pixels is None:
        raise DamageError("is damaged, or of a kind OpenCV cannot decode; save it again as JPEG or PNG")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise DamageError(f"has {pixels.dtype} samples; save it with 8 or 16 bits per channel")
    return pixels


_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet_level = 0


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keep OpenCV from writing about a bad file to standard error: the caller gets an exception instead.

    Its log level is global to the process, so it is set for the time of the call only, by the first of the threads that
    decode at once, and restored by the last.
    """
    global _quiet_depth, _quiet_level
    levels = getattr(cv2.utils, "logging", None)  # older OpenCV does not let Python set it
    if levels is None:
        yield
        return
    with _quiet_lock:
        if _quiet_depth == 0:
            _quiet_level = levels.getLogLevel()
            levels.setLogLevel(levels.LOG_LEVEL_SILENT)
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                levels.setLogLevel(_quiet_level)


def _to_rgb(pixels: NDArray[Any], encoded: Encoded, name: str) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 RGB from what `_decode_with_opencv` returns."""
    pixels = _as_the_file_means(pixels, encoded)
    if pixels.dtype == np.uint16:
        pixels = _full_range(pixels, name)
    rgb = np.empty((*pixels.shape[:2], 3), np.uint8)
    if pixels.dtype == np.uint8 and pixels.shape[2] != 4:
        cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_GRAY2RGB, dst=rgb)
        return rgb
    for top in range(0, len(pixels), BAND_ROWS):
        band = _over_white(pixels[top : top + BAND_ROWS], premultiplied=encoded.premultiplied)
        rgb[top : top + BAND_ROWS] = _to_eight_bits(band)[..., ::-1]
    return rgb


def _full_range(pixels: NDArray[np.uint16], name: str) -> NDArray[np.uint16]:
    """Stretch samples of 8, 10 or 12 bits that stand in the low bits of 16, as cameras write them: else they are black.

    Nothing in the files says so, their content does: no sample of them reaches the next number of bits.
    """
    colour = pixels[..., :3]
    most = int(colour.max())
    bits = next((bits for bits in LOW_BITS if most < 1 << bits), 16)
    if bits == 16 or most == 0:
        return pixels
    logger.warning(
        "%s has 16-bit samples up to %d only; they are taken for %d-bit data", name or "the image", most, bits
    )
    top = (1 << bits) - 1
    stretched = pixels.copy()
    stretched[..., :3] = (colour.astype(np.uint32) * 65535 + top // 2) // top
    return stretched


def _as_the_file_means(pixels: NDArray[Any], encoded: Encoded) -> NDArray[Any]:
    """Apply what OpenCV leaves out; return (H, W, 1), (H, W, 3) or (H, W, 4)."""
    if pixels.ndim == 3:
        return np.ascontiguousarray(pixels[..., :3]) if _alpha_says_nothing(pixels, encoded) else pixels
    if encoded.white_is_zero and pixels.dtype == np.uint16:
        pixels = ~pixels
    if encoded.gray_key is not None:
        alpha = (pixels != encoded.gray_key).astype(pixels.dtype) * np.iinfo(pixels.dtype).max
        return np.dstack([pixels, pixels, pixels, alpha])
    return pixels[..., None]


def _alpha_says_nothing(pixels: NDArray[Any], encoded: Encoded) -> bool:
    if pixels.shape[2] != 4:
        return False
    alpha = pixels[..., 3]
    return bool((alpha == np.iinfo(alpha.dtype).max).all() or (encoded.empty_alpha and not alpha.any()))


def _over_white(pixels: NDArray[Any], *, premultiplied: bool) -> NDArray[Any]:
    """Lay (h, w, 4) over white and return (h, w, 3) of the same type; (h, w, 1 or 3) comes back as it is."""
    if pixels.shape[2] != 4:
        return pixels
    top = int(np.iinfo(pixels.dtype).max)
    wide = np.uint16 if pixels.dtype == np.uint8 else np.uint32  # holds top * top + top // 2
    colour: NDArray[Any] = pixels[..., :3].astype(wide)
    alpha: NDArray[Any] = pixels[..., 3:].astype(wide)
    if premultiplied:
        laid: NDArray[Any] = np.minimum(colour + (top - alpha), top)
    else:
        laid = (colour * alpha + top * (top - alpha) + top // 2) // top
    narrow: NDArray[Any] = laid.astype(pixels.dtype)
    return narrow


def _to_eight_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale 0-65535 to 0-255, to the nearest; 8-bit pixels come back as they are."""
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn and mirror an image as its EXIF orientation (1 to 8) says."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
