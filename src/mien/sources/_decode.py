"""Bytes of an image file to (H, W, 3) uint8 RGB: header first, then integrity, then OpenCV, then alpha and rotation.

Each format has two small readers. The first takes the size from the header alone, so that an oversized image is
refused before anything is decoded. The second walks the file's structure: it finds truncation that decoders paper over
with gray, the EXIF orientation, and what the decoder must be told or spared.
"""

import re
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import SourceError

MAX_PIXELS = 100_000_000
HEAD_BYTES = 64  # enough to tell the format
BAND_ROWS = 256  # wide integers exist for this many rows at a time

EXIF_ORIENTATION = 0x0112
_VIDEO = "a video"


class _DamageError(Exception):
    """What is wrong with the bytes, as the rest of a sentence that begins with the image's name."""


@dataclass(frozen=True)
class _Encoded:
    """What the decoder gets, and what it leaves to do.

    Attributes:
        data: The bytes for OpenCV.
        orientation: EXIF orientation that OpenCV will not apply, 1 to 8.
        gray_key: Gray value that stands for «transparent» (PNG), or None.
        premultiplied: Colours were already multiplied by alpha.
        white_is_zero: Gray samples of 16 bits where 0 is white (TIFF).
        empty_alpha: An alpha of 0 everywhere means that there is none (BMP).
    """

    data: bytes
    orientation: int = 1
    gray_key: int | None = None
    premultiplied: bool = False
    white_is_zero: bool = False
    empty_alpha: bool = False


@dataclass(frozen=True)
class _Format:
    name: str
    matches: Callable[[bytes], bool]
    size: Callable[[bytes], tuple[int, int]]  # (width, height)
    inspect: Callable[[bytes], _Encoded]


def decode_image(data: bytes, *, name: str, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode an image; of several in one file, the first.

    Alpha is laid over white, 16-bit samples are scaled to 8 with rounding, gray is repeated, and the EXIF orientation
    of JPEG, PNG, WebP and TIFF is applied. The alpha of gray TIFFs is left out, and no colour profile is applied.

    Args:
        data: A JPEG, PNG, WebP, BMP, TIFF or GIF file.
        name: What messages call it.
        max_pixels: Largest width x height; checked against the header, before decoding.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        SourceError: It is no such image, too large, truncated or damaged; the message starts with `name`.
    """
    data = bytes(data)
    kind = _format_of(data[:HEAD_BYTES], name)
    try:
        encoded = _inspect(kind, data, max_pixels)
        return _upright(_to_rgb(_decode(encoded.data), encoded), encoded.orientation)
    except _DamageError as error:
        raise SourceError(f"{name} {error}") from error
    except MemoryError as error:
        raise SourceError(f"{name} does not fit in memory; make it smaller") from error


def _inspect(kind: _Format, data: bytes, max_pixels: int) -> _Encoded:
    try:
        _check_size(*kind.size(data), max_pixels)
        return kind.inspect(data)
    except (struct.error, IndexError) as error:
        raise _DamageError(f"is truncated: the {kind.name} data end too early; fetch or copy it again") from error


def is_image(head: bytes) -> bool:
    """Return whether a file starts like an image that `decode_image` knows.

    Args:
        head: Its first `HEAD_BYTES` bytes.
    """
    return any(kind.matches(head) for kind in _FORMATS)


def check_head(head: bytes, *, name: str) -> None:
    """Refuse what is no image by its first bytes.

    Args:
        head: The first `HEAD_BYTES` bytes of the file.
        name: What messages call it.

    Raises:
        SourceError: It is empty, or starts like something else; the message says what and lists the known formats.
    """
    _format_of(head, name)


def _format_of(head: bytes, name: str) -> _Format:
    if not head:
        raise SourceError(f"{name} is empty (0 bytes); fetch or copy it again")
    for kind in _FORMATS:
        if kind.matches(head):
            return kind
    known = ", ".join(kind.name for kind in _FORMATS)
    foreign = _foreign_kind(head)
    if foreign:
        fix = "export frames of it" if foreign == _VIDEO else "save it"
        raise SourceError(f"{name} is {foreign}, not an image mien can read ({known}); {fix} as JPEG or PNG")
    start = head[:16]
    shown = f"the text {start.decode()!r}" if start.isascii() and not min(start) < 9 else f"the bytes {start!r}"
    raise SourceError(f"{name} is not an image mien can read ({known}); it starts with {shown}")


def _foreign_kind(head: bytes) -> str | None:
    """Name the formats people most often take for one of ours."""
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
            return "a HEIC image"
        return "an AVIF image" if brand in (b"avif", b"avis") else _VIDEO
    if head.startswith((b"\x1aE\xdf\xa3", b"FLV\x01")) or (head[:4] == b"RIFF" and head[8:12] == b"AVI "):
        return _VIDEO
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if text.startswith(b"%pdf"):
        return "a PDF"
    return "an SVG drawing" if text.startswith(b"<svg") else None


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise _DamageError(f"is damaged: its header says {width} x {height} pixels; fetch or copy it again")
    if width * height > max_pixels:
        raise _DamageError(
            f"is {width:,} x {height:,} pixels, more than the limit of {max_pixels:,} pixels; "
            "make it smaller or raise max_pixels"
        )


# Decoding, and from what OpenCV returns to RGB.


def _decode(data: bytes) -> NDArray[Any]:
    """Decode with all channels, at the samples' own depth and without rotation.

    Returns:
        (H, W), (H, W, 3) or (H, W, 4), uint8 or uint16, in OpenCV's order blue, green, red, alpha.
    """
    try:
        with _quiet_opencv():
            pixels: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        pixels = None
    if pixels is None:
        raise _DamageError("is damaged, or of a kind OpenCV cannot decode; save it again as JPEG or PNG")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise _DamageError(f"has {pixels.dtype} samples; save it with 8 or 16 bits per channel")
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
    logging = getattr(cv2.utils, "logging", None)  # older OpenCV does not let Python set it
    if logging is None:
        yield
        return
    with _quiet_lock:
        if _quiet_depth == 0:
            _quiet_level = logging.getLogLevel()
            logging.setLogLevel(logging.LOG_LEVEL_SILENT)
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                logging.setLogLevel(_quiet_level)


def _to_rgb(pixels: NDArray[Any], encoded: _Encoded) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 RGB from what `_decode` returns."""
    pixels = _as_the_file_means(pixels, encoded)
    rgb = np.empty((*pixels.shape[:2], 3), np.uint8)
    if pixels.dtype == np.uint8 and pixels.shape[2] != 4:
        cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_GRAY2RGB, dst=rgb)
        return rgb
    for top in range(0, len(pixels), BAND_ROWS):
        band = _over_white(pixels[top : top + BAND_ROWS], premultiplied=encoded.premultiplied)
        rgb[top : top + BAND_ROWS] = _to_eight_bits(band)[..., ::-1]
    return rgb


def _as_the_file_means(pixels: NDArray[Any], encoded: _Encoded) -> NDArray[Any]:
    """Apply what OpenCV leaves out; return (H, W, 1), (H, W, 3) or (H, W, 4)."""
    if pixels.ndim == 3:
        return np.ascontiguousarray(pixels[..., :3]) if _alpha_says_nothing(pixels, encoded) else pixels
    if encoded.white_is_zero and pixels.dtype == np.uint16:
        pixels = ~pixels
    if encoded.gray_key is not None:
        alpha = (pixels != encoded.gray_key).astype(pixels.dtype) * np.iinfo(pixels.dtype).max
        return np.dstack([pixels, pixels, pixels, alpha])
    return pixels[..., None]


def _alpha_says_nothing(pixels: NDArray[Any], encoded: _Encoded) -> bool:
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


# TIFF directories, which EXIF uses too.

_TIFF_TYPES = {1: "B", 3: "H", 4: "I"}  # BYTE, SHORT, LONG
(
    _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _STRIP_OFFSETS, _STRIP_BYTES,
) = 256, 257, 258, 259, 262, 273, 279  # fmt: skip
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 322, 323, 324, 325, 338, 339
_INSPECTED = (
    _BITS, _COMPRESSION, _PHOTOMETRIC, _STRIP_OFFSETS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES, _EXTRA_SAMPLES,
    _SAMPLE_FORMAT,
)  # fmt: skip
_ASSOCIATED, _UNASSOCIATED = 1, 2
_GRAY_OR_RGB = (0, 1, 2)
# None, CCITT (3), LZW, old and new JPEG, deflate, PackBits, deflate: of any other, OpenCV makes a black image.
_COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946)


def _tiff_tags(data: bytes, wanted: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
    """Read whole-number tags of the first directory of a TIFF file (TIFF 6.0, section 2).

    Raises:
        struct.error: The directory or a value lies beyond the end.
    """
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    tags: dict[int, tuple[int, ...]] = {}
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, code, length = struct.unpack_from(order + "HHI", data, at)
        if tag not in wanted or tag in tags or code not in _TIFF_TYPES or not length:
            continue
        if length > len(data):
            raise struct.error("more values than bytes")
        layout = f"{order}{length}{_TIFF_TYPES[code]}"
        inline = struct.calcsize(layout) <= 4
        place = at + 8 if inline else struct.unpack_from(order + "I", data, at + 8)[0]
        tags[tag] = struct.unpack_from(layout, data, place)
    return tags


def _exif_orientation(exif: bytes) -> int:
    """Return the orientation in an EXIF block, 1 where it has none or cannot be read."""
    exif = exif.removeprefix(b"Exif\0\0")
    if exif[:4] not in (b"II*\0", b"MM\0*"):
        return 1
    try:
        (orientation, *_) = _tiff_tags(exif, (EXIF_ORIENTATION,)).get(EXIF_ORIENTATION, (1,))
    except struct.error:
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def _tiff_size(data: bytes) -> tuple[int, int]:
    tags = _tiff_tags(data, (_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT))
    image = tags.get(_WIDTH, (0,))[0], tags.get(_HEIGHT, (0,))[0]
    tile = tags.get(_TILE_WIDTH, (0,))[0], tags.get(_TILE_HEIGHT, (0,))[0]
    # A decoder needs room for a whole tile, however small the image.
    return max(image, tile, key=lambda size: size[0] * size[1]) if all(image) else image


def _inspect_tiff(data: bytes) -> _Encoded:
    """Check depth and extent. OpenCV applies the orientation of TIFF files itself."""
    tags = _tiff_tags(data, _INSPECTED)
    _check_samples(tags)
    for offsets, lengths in ((_STRIP_OFFSETS, _STRIP_BYTES), (_TILE_OFFSETS, _TILE_BYTES)):
        ends = [sum(span) for span in zip(tags.get(offsets, ()), tags.get(lengths, ()), strict=False)]
        if max(ends, default=0) > len(data):
            raise _truncated(max(ends), len(data))
    # libtiff multiplies unassociated alpha into 8-bit colours, and only there; a missing tag means plain alpha.
    alpha = tags.get(_EXTRA_SAMPLES, (0,))[0]
    return _Encoded(
        data,
        premultiplied=alpha == _ASSOCIATED or (alpha == _UNASSOCIATED and max(tags.get(_BITS, (1,))) == 8),
        white_is_zero=tags.get(_PHOTOMETRIC, (1,))[0] == 0,
    )


def _check_samples(tags: dict[int, tuple[int, ...]]) -> None:
    bits, compression = max(tags.get(_BITS, (1,))), tags.get(_COMPRESSION, (1,))[0]
    if bits not in (1, 2, 4, 8, 16) or set(tags.get(_SAMPLE_FORMAT, (1,))) - {1, 4}:
        raise _DamageError(f"has samples of {bits} bits that are not plain 8 or 16; save it as 8-bit RGB")
    if bits == 16 and tags.get(_PHOTOMETRIC, (1,))[0] not in _GRAY_OR_RGB:
        raise _DamageError("has 16-bit samples that are neither gray nor RGB; save it as 8-bit RGB")
    if compression not in _COMPRESSIONS:
        raise _DamageError(f"is compressed in a way mien cannot read ({compression}); save it with LZW or as PNG")


def _truncated(wanted: int, got: int) -> _DamageError:
    return _DamageError(f"is truncated: {wanted:,} bytes belong to it, {got:,} are there; fetch or copy it again")


# JPEG (ITU-T T.81, annex B).

_START_OF_SCAN, _END_OF_IMAGE, _APP1 = 0xDA, 0xD9, 0xE1
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# The next marker as decoders look for it: junk, fill bytes and markers without content are passed over.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, first byte and end of each segment up to the first scan.

    Raises:
        IndexError: The file ends before the scan.
        _DamageError: The file has no scan.
    """
    at = 2
    while True:
        found = _MARKER.search(data, at)
        if found is None:
            raise IndexError("no further marker")
        marker, at = found[0][1], found.end()
        if marker == _END_OF_IMAGE:
            raise _DamageError("is damaged: a JPEG without an image in it; fetch or copy it again")
        length = data[at] << 8 | data[at + 1]
        yield marker, at + 2, at + length
        if marker == _START_OF_SCAN:
            return
        at += length


def _jpeg_size(data: bytes) -> tuple[int, int]:
    for marker, start, _ in _jpeg_segments(data):
        if marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", data, start + 1)
            return width, height
    raise _DamageError("is damaged: a JPEG that does not state its size; fetch or copy it again")


def _inspect_jpeg(data: bytes) -> _Encoded:
    orientation, scan = 1, len(data)
    for marker, start, end in _jpeg_segments(data):
        if marker == _APP1 and data.startswith(b"Exif\0\0", start):
            orientation = _exif_orientation(data[start:end])
        scan = end
    if data.find(bytes((0xFF, _END_OF_IMAGE)), scan) < 0:
        raise _DamageError("is truncated: the JPEG's end marker is missing; fetch or copy it again")
    return _Encoded(data, orientation)


# PNG (ISO/IEC 15948).

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def _png_size(data: bytes) -> tuple[int, int]:
    if data[12:16] != b"IHDR" and len(data) >= 16:
        raise _DamageError("is damaged: the PNG header is missing; fetch or copy it again")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, first byte and end of each chunk's content, up to the end chunk."""
    at, kind = len(_PNG_SIGNATURE), b""
    while kind != b"IEND":
        if at + 12 > len(data):
            raise _DamageError("is truncated: the PNG's end chunk is missing; fetch or copy it again")
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        if at + 12 + length > len(data):
            raise _truncated(at + 12 + length, len(data))
        yield kind, at + 8, at + 8 + length
        at += 12 + length


def _inspect_png(data: bytes) -> _Encoded:
    """Check the chunks, and hand on only those that make the pixels.

    The others (profiles, comments, animation) would make libpng print warnings about sound files.
    """
    view, kept = memoryview(data), [memoryview(_PNG_SIGNATURE)]
    orientation, gray_key = 1, None
    for kind, start, end in _png_chunks(data):
        if kind == b"eXIf":
            orientation = _exif_orientation(data[start:end])
        elif kind in _PNG_NEEDED:
            if zlib.crc32(view[start - 4 : end]) != struct.unpack_from(">I", data, end)[0]:
                raise _DamageError(f"is damaged: the checksum of a PNG chunk ({kind.decode()}) is wrong; copy it again")
            kept.append(view[start - 8 : end + 4])
            if kind == b"tRNS":
                gray_key = _png_gray_key(data, start)
    return _Encoded(b"".join(kept), orientation, gray_key)


def _png_gray_key(data: bytes, start: int) -> int | None:
    """Return the transparent value of a gray PNG as it will be decoded; the decoder does not apply it."""
    depth, colour = data[24], data[25]
    if colour != 0:
        return None
    (key,) = struct.unpack_from(">H", data, start)
    return int(key) if depth >= 8 else int(key) * 255 // (2**depth - 1)


# WebP (RFC 9649).


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, first byte and end of each chunk's content."""
    at, end = 12, struct.unpack_from("<I", data, 4)[0] + 8
    while at + 8 <= end:
        (length,) = struct.unpack_from("<I", data, at + 4)
        yield data[at : at + 4], at + 8, at + 8 + length
        at += 8 + length + length % 2


def _webp_size(data: bytes) -> tuple[int, int]:
    kind, start, _ = next(_webp_chunks(data), (b"", 0, 0))
    if kind == b"VP8X":
        low, middle, width, height = struct.unpack_from("<xxxxHBHB", data, start)
        return (low | middle << 16) + 1, (width | height << 16) + 1
    if kind == b"VP8L":
        (packed,) = struct.unpack_from("<xI", data, start)
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, start + 6)
        return width & 0x3FFF, height & 0x3FFF
    raise _DamageError("is damaged: a WebP file without an image in it; fetch or copy it again")


def _inspect_webp(data: bytes) -> _Encoded:
    end = struct.unpack_from("<I", data, 4)[0] + 8
    if end > len(data):
        raise _truncated(end, len(data))
    orientation = 1
    for kind, start, stop in _webp_chunks(data):
        if kind == b"EXIF":
            orientation = _exif_orientation(data[start:stop])
    return _Encoded(data, orientation)


# BMP.

_BMP_HEADERS = tuple(struct.pack("<I", size) for size in (12, 40, 52, 56, 64, 108, 124))
_BMP_UNCOMPRESSED = (0, 3, 6)  # BI_RGB and the two bit-field kinds


def _bmp_size(data: bytes) -> tuple[int, int]:
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    return width, abs(height)  # negative: rows run from the top


def _inspect_bmp(data: bytes) -> _Encoded:
    offset, header = struct.unpack_from("<II", data, 10)
    width, height = _bmp_size(data)
    (bits,) = struct.unpack_from("<H", data, 24 if header == 12 else 28)
    compression = 0 if header == 12 else struct.unpack_from("<I", data, 30)[0]
    end = offset + (width * bits + 31) // 32 * 4 * height
    if compression in _BMP_UNCOMPRESSED and end > len(data):
        raise _truncated(end, len(data))
    return _Encoded(data, empty_alpha=True)


# GIF (version 89a).

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B


def _gif_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _gif_table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip_blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += 1 + data[at]
    return at + 1


def _inspect_gif(data: bytes) -> _Encoded:
    """Keep the first image only, so that a long animation costs no memory."""
    at = 13 + _gif_table_bytes(data[10])
    while data[at] == _EXTENSION:
        at = _skip_blocks(data, at + 2)
    if data[at] != _IMAGE:
        raise _DamageError("is damaged: a GIF without an image in it; fetch or copy it again")
    at = _skip_blocks(data, at + 11 + _gif_table_bytes(data[at + 9]))
    return _Encoded(data[:at] + bytes((_TRAILER,)))


_FORMATS = (
    _Format("JPEG", lambda head: head.startswith(b"\xff\xd8\xff"), _jpeg_size, _inspect_jpeg),
    _Format("PNG", lambda head: head.startswith(_PNG_SIGNATURE), _png_size, _inspect_png),
    _Format("WebP", lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", _webp_size, _inspect_webp),
    _Format("BMP", lambda head: head[:2] == b"BM" and head[14:18] in _BMP_HEADERS, _bmp_size, _inspect_bmp),
    _Format("TIFF", lambda head: head.startswith((b"II*\0", b"MM\0*")), _tiff_size, _inspect_tiff),
    _Format("GIF", lambda head: head.startswith((b"GIF87a", b"GIF89a")), _gif_size, _inspect_gif),
)
