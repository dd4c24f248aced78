"""What an image file says of itself before it is decoded: its format, its size, its rotation, whether it is whole.

Each format has two small readers. The first takes the size from the header alone, so that an oversized image is
refused before anything is decoded. The second walks the file's structure: it finds truncation that decoders paper over
with gray, the EXIF orientation, and what the decoder must be told or spared.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

EXIF_ORIENTATION = 0x0112


class DamageError(Exception):
    """What is wrong with the bytes, as the rest of a sentence that begins with the image's name."""


@dataclass(frozen=True)
class Encoded:
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
class Format:
    """How files of one format are read.

    Attributes:
        name: Its name for people.
        matches: Whether the first bytes of a file are of this format.
        size: Gives width and height, pixels.
        inspect: Checks the file, and says what the decoder gets.
        pillow: Pillow's name of a format that OpenCV does not read as we want it, else empty.
    """

    name: str
    matches: Callable[[bytes], bool]
    size: Callable[[bytes], tuple[int, int]] = lambda data: (1, 1)
    inspect: Callable[[bytes], Encoded] = Encoded
    pillow: str = ""


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


def exif_orientation(exif: bytes) -> int:
    """Return the orientation in an EXIF block, 1 where it has none or cannot be read."""
    exif = exif.removeprefix(b"Exif\0\0")
    if exif[:4] not in (b"II*\0", b"MM\0*"):
        return 1
    try:
        (orientation, *_) = _tiff_tags(exif, (EXIF_ORIENTATION,)).get(EXIF_ORIENTATION, (1,))
    except struct.error:
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def tiff_size(data: bytes) -> tuple[int, int]:
    """Return width and height."""
    tags = _tiff_tags(data, (_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT))
    image = tags.get(_WIDTH, (0,))[0], tags.get(_HEIGHT, (0,))[0]
    tile = tags.get(_TILE_WIDTH, (0,))[0], tags.get(_TILE_HEIGHT, (0,))[0]
    # A decoder needs room for a whole tile, however small the image.
    return max(image, tile, key=lambda size: size[0] * size[1]) if all(image) else image


def inspect_tiff(data: bytes) -> Encoded:
    """Check depth and extent. OpenCV applies the orientation of TIFF files itself."""
    tags = _tiff_tags(data, _INSPECTED)
    _check_samples(tags)
    for offsets, lengths in ((_STRIP_OFFSETS, _STRIP_BYTES), (_TILE_OFFSETS, _TILE_BYTES)):
        ends = [sum(span) for span in zip(tags.get(offsets, ()), tags.get(lengths, ()), strict=False)]
        if max(ends, default=0) > len(data):
            raise _truncated(max(ends), len(data))
        if tags.get(_COMPRESSION, (1,))[0] in (8, 32946):
            _check_deflated(data, tags.get(offsets, ()), tags.get(lengths, ()))
    # libtiff multiplies unassociated alpha into 8-bit colours, and only there; a missing tag means plain alpha.
    alpha = tags.get(_EXTRA_SAMPLES, (0,))[0]
    return Encoded(
        data,
        premultiplied=alpha == _ASSOCIATED or (alpha == _UNASSOCIATED and max(tags.get(_BITS, (1,))) == 8),
        white_is_zero=tags.get(_PHOTOMETRIC, (1,))[0] == 0,
    )


def _check_deflated(data: bytes, offsets: tuple[int, ...], lengths: tuple[int, ...]) -> None:
    """Compare the checksums, which libtiff does not."""
    for start, length in zip(offsets, lengths, strict=False):
        try:
            zlib.decompress(data[start : start + length])
        except zlib.error as error:
            raise DamageError(f"is damaged: {error}; fetch or copy it again") from error


def _check_samples(tags: dict[int, tuple[int, ...]]) -> None:
    bits, compression = max(tags.get(_BITS, (1,))), tags.get(_COMPRESSION, (1,))[0]
    if bits not in (1, 2, 4, 8, 16) or set(tags.get(_SAMPLE_FORMAT, (1,))) - {1, 4}:
        raise DamageError(f"has samples of {bits} bits that are not plain 8 or 16; save it as 8-bit RGB")
    if bits == 16 and tags.get(_PHOTOMETRIC, (1,))[0] not in _GRAY_OR_RGB:
        raise DamageError("has 16-bit samples that are neither gray nor RGB; save it as 8-bit RGB")
    if compression not in _COMPRESSIONS:
        raise DamageError(f"is compressed in a way mien cannot read ({compression}); save it with LZW or as PNG")


def _truncated(wanted: int, got: int) -> DamageError:
    return DamageError(f"is truncated: {wanted:,} bytes belong to it, {got:,} are there; fetch or copy it again")


ZEROS = bytes(64)


# PNG (ISO/IEC 15948).

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def png_size(data: bytes) -> tuple[int, int]:
    """Return width and height."""
    if data[12:16] != b"IHDR" and len(data) >= 16:
        raise DamageError("is damaged: the PNG header is missing; fetch or copy it again")
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, first byte and end of each chunk's content, up to the end chunk."""
    at, kind = len(PNG_SIGNATURE), b""
    while kind != b"IEND":
        if at + 12 > len(data):
            raise DamageError("is truncated: the PNG's end chunk is missing; fetch or copy it again")
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        if at + 12 + length > len(data):
            raise _truncated(at + 12 + length, len(data))
        yield kind, at + 8, at + 8 + length
        at += 12 + length


def inspect_png(data: bytes) -> Encoded:
    """Check the chunks, and hand on only those that make the pixels.

    The others (profiles, comments, animation) would make libpng print warnings about sound files.
    """
    view, kept = memoryview(data), [memoryview(PNG_SIGNATURE)]
    orientation, gray_key = 1, None
    for kind, start, end in _png_chunks(data):
        if kind == b"eXIf":
            orientation = exif_orientation(data[start:end])
        elif kind in _PNG_NEEDED:
            if zlib.crc32(view[start - 4 : end]) != struct.unpack_from(">I", data, end)[0]:
                raise DamageError(f"is damaged: the checksum of a PNG chunk ({kind.decode()}) is wrong; copy it again")
            kept.append(view[start - 8 : end + 4])
            if kind == b"tRNS":
                gray_key = _png_gray_key(data, start)
    return Encoded(b"".join(kept), orientation, gray_key)


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


def webp_size(data: bytes) -> tuple[int, int]:
    """Return width and height."""
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
    raise DamageError("is damaged: a WebP file without an image in it; fetch or copy it again")


def inspect_webp(data: bytes) -> Encoded:
    """Check that it is whole."""
    end = struct.unpack_from("<I", data, 4)[0] + 8
    if end > len(data):
        raise _truncated(end, len(data))
    width, height = webp_size(data)
    orientation, pixels = 1, width * height
    for kind, start, stop in _webp_chunks(data):
        # What compression writes of a photo looks like noise, only that of a flat area may be zero; the format has
        # no checksum, and the decoder notices nothing.
        if kind in (b"VP8 ", b"VP8L") and 16 * (stop - start) > pixels and data.find(ZEROS, start, stop) >= 0:
            raise DamageError("is damaged: a part of its data is all zero; fetch or copy it again")
        if kind == b"EXIF":
            orientation = exif_orientation(data[start:stop])
    return Encoded(data, orientation)


# BMP.

BMP_HEADERS = tuple(struct.pack("<I", size) for size in (12, 40, 52, 56, 64, 108, 124))
_BMP_UNCOMPRESSED = (0, 3, 6)  # BI_RGB and the two bit-field kinds


def bmp_size(data: bytes) -> tuple[int, int]:
    """Return width and height."""
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    return width, abs(height)  # negative: rows run from the top


def inspect_bmp(data: bytes) -> Encoded:
    """Check that it is whole."""
    offset, header = struct.unpack_from("<II", data, 10)
    width, height = bmp_size(data)
    (bits,) = struct.unpack_from("<H", data, 24 if header == 12 else 28)
    compression = 0 if header == 12 else struct.unpack_from("<I", data, 30)[0]
    end = offset + (width * bits + 31) // 32 * 4 * height
    if compression in _BMP_UNCOMPRESSED and end > len(data):
        raise _truncated(end, len(data))
    return Encoded(data, empty_alpha=True)


# GIF (version 89a).

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B


def gif_size(data: bytes) -> tuple[int, int]:
    """Return width and height."""
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _gif_table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip_blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += 1 + data[at]
    return at + 1


def inspect_gif(data: bytes) -> Encoded:
    """Keep the first image only, so that a long animation costs no memory."""
    at = 13 + _gif_table_bytes(data[10])
    while data[at] == _EXTENSION:
        at = _skip_blocks(data, at + 2)
    if data[at] != _IMAGE:
        raise DamageError("is damaged: a GIF without an image in it; fetch or copy it again")
    at = _skip_blocks(data, at + 11 + _gif_table_bytes(data[at + 9]))
    return Encoded(data[:at] + bytes((_TRAILER,)))
