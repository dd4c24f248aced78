"""JPEG (ITU-T T.81): its structure, and one decode that notices damage, whole or at a half, a fourth or an eighth.

What compression writes has no checksum. Three things give damage away: a structure that cannot be (a marker in the
middle of the data), the decoder's warnings (too much or too little data for the blocks there are), and runs of zero
bytes, where the Huffman tables of the scan give zeros a meaning that no image has. The decoder tells only its last
warning, so bytes left over at the end are taken out and the rest is decoded again: without a further warning they were
all that is wrong.
"""

import logging
import re
import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mien.errors import shortened
from mien.sources._headers import DamageError, Encoded, exif_orientation

logger = logging.getLogger(__name__)

FACTORS = (1, 2, 4, 8)  # what the discrete cosine transform can leave out at once
PADDING_BYTES = 64  # of one value, which some encoders leave before the end
LEFT_OVER_BYTES = 100  # as many bytes of an image left over mean that their blocks are elsewhere
BIT_BUFFER_BYTES = 8  # what the decoder may have read ahead, and counts otherwise
ZERO_RUN = bytes(32)
ZERO_RUN_OF_BITS = bytes(160)  # where up to 1,000 bits of coefficients follow one another without a code
_START_OF_SCAN, _END_OF_IMAGE, _START_OF_IMAGE, _HUFFMAN, _APP1 = 0xDA, 0xD9, 0xD8, 0xC4, 0xE1
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), (0xC2, 0xC6, 0xCA, 0xCE)
_NO_PARAMS = bytes((0, 63, 0))  # all coefficients, with all bits: the only ones of a scan that is not progressive
_AFTER_A_SCAN = frozenset((_START_OF_SCAN, _END_OF_IMAGE, _HUFFMAN, 0xCC, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)))
# The next marker as decoders look for it: junk, fill bytes and markers without content are passed over.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
_MARKER_AFTER_DATA = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_LEFT_OVER = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
_BEFORE_RESTART = re.compile(r"Corrupt JPEG data: \d extraneous bytes before marker 0xd[0-7]")
_OTHER_KIND = re.compile(r"subsampling|Unsupported JPEG (process|data precision)|color conversion|[Nn]ot (been )?impl")


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, first byte and end of each segment, the end marker included.

    Raises:
        IndexError: The file ends before.
        DamageError: The file has no scan, or something impossible follows one.
    """
    at, scans = 2, 0
    while True:
        found = (_MARKER_AFTER_DATA if scans else _MARKER).search(data, at)
        if found is None or (marker := found[0][1]) == _START_OF_IMAGE:
            raise IndexError("no further marker")
        if scans and marker not in _AFTER_A_SCAN:
            raise DamageError(f"is damaged: a marker (0x{marker:02x}) stands in its image data; fetch or copy it again")
        at = found.end()
        if marker == _END_OF_IMAGE:
            if not scans:
                raise DamageError("is damaged: a JPEG without an image in it; fetch or copy it again")
            yield marker, at - 2, at
            return
        length = data[at] << 8 | data[at + 1]
        yield marker, at + 2, at + length
        scans += marker == _START_OF_SCAN
        at += length


def _frame_header(data: bytes) -> tuple[int, int]:
    """Return marker and first byte of the segment that states the size."""
    for marker, start, _ in _segments(data):
        if marker in _START_OF_FRAME:
            return marker, start
        if marker == _START_OF_SCAN:
            break
    raise DamageError("is damaged: a JPEG that does not state its size; fetch or copy it again")


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Return width and height."""
    height, width = struct.unpack_from(">HH", data, _frame_header(data)[1] + 1)
    return width, height


def is_held_whole(data: bytes) -> bool:
    """Return whether a decoder must hold the data of all blocks at once: progressive, or a scan per colour."""
    frame, start = _frame_header(data)
    scan = next(start for marker, start, _ in _segments(data) if marker == _START_OF_SCAN)
    return frame in _PROGRESSIVE or data[scan] < data[start + 5]


def inspect_jpeg(data: bytes) -> Encoded:
    """Check that it is whole and has no zeros in the place of data."""
    orientation, frame, scan = 1, 0, None
    first_symbols: dict[int, int] = {}  # of each Huffman table: what zeros mean
    fixed = bytearray()
    try:
        for marker, start, end in _segments(data):
            if scan is not None:
                _check_zeros(data, scan, start, frame, first_symbols)
                scan = None
            if marker == _APP1 and data.startswith(b"Exif\0\0", start):
                orientation = exif_orientation(data[start:end])
            elif marker in _START_OF_FRAME:
                frame = marker
            elif marker == _HUFFMAN:
                first_symbols |= _first_symbols(data[start:end])
            elif marker == _START_OF_SCAN:
                scan = start
                params = start + 1 + 2 * data[start]
                if frame in _SEQUENTIAL and end == params + 3 and data[params:end] != _NO_PARAMS:  # some phones' slip
                    fixed = fixed or bytearray(data)
                    fixed[params:end] = _NO_PARAMS
    except IndexError as error:
        raise DamageError("is truncated: the JPEG's end marker is missing; fetch or copy it again") from error
    return Encoded(bytes(fixed) or data, orientation)


def _first_symbols(tables: bytes) -> dict[int, int]:
    """Return the symbol that the all-zero code of each table stands for, by class and number of the table."""
    first, at = {}, 0
    while at + 17 < len(tables):
        first[tables[at]] = tables[at + 17]
        at += 17 + sum(tables[at + 1 : at + 17])
    return first


def _check_zeros(data: bytes, scan: int, stop: int, frame: int, first_symbols: dict[int, int]) -> None:
    """Refuse zero bytes in a scan where they cannot be flat areas, but are coefficients or steps of brightness."""
    count = data[scan]
    begin = scan + 4 + 2 * count
    low, step = data[begin - 3], data[begin - 1]
    tables = [data[scan + 2 + 2 * number] for number in range(count)]
    steep = [first_symbols.get(table >> 4, 0) for table in tables]
    busy = [first_symbols.get(0x10 | table & 0x0F, 0) for table in tables]
    run = ZERO_RUN
    if frame not in _PROGRESSIVE:
        symbols = steep + busy
    elif low == 0:
        symbols = [] if step >> 4 else steep
    elif step >> 4:
        symbols, run = [1], ZERO_RUN_OF_BITS
    else:
        symbols = [symbol & 0x0F for symbol in busy]
    if any(symbols) and 0 <= data.find(run, begin, stop) < stop - PADDING_BYTES:
        raise DamageError("is damaged: a part of its data is all zero; fetch or copy it again")


def decode_jpeg(data: bytes, *, name: str, factor: int = 1) -> NDArray[np.uint8] | None:
    """Decode a JPEG that `inspect_jpeg` has passed.

    Args:
        data: It.
        name: What the log calls it.
        factor: 1, or 2, 4 or 8 for an image of a half, a fourth or an eighth of the width and height, rounded up.

    Returns:
        (h, w, 3) uint8 RGB, without rotation; None for kinds that this decoder does not know.

    Raises:
        DamageError: It is damaged.
    """
    try:
        return _decoded(data, factor)
    except ValueError as error:
        said = str(error)
    if "memory" in said.lower():
        raise MemoryError(said)
    if _OTHER_KIND.search(said):
        return None
    if left_over := _LEFT_OVER.fullmatch(said):
        return _without_left_over(data, int(left_over[1]), name, factor)
    if _BEFORE_RESTART.fullmatch(said):
        logger.warning("%s: %s; it may be damaged", name, said)
        return _decoded(data, factor, strict=False)
    raise _damage(said)


def _decoded(data: bytes, factor: int, *, strict: bool = True) -> NDArray[np.uint8]:
    import simplejpeg

    if factor == 1:
        whole: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="RGB", strict=strict)
        return whole
    width, height = (-(-side // factor) for side in jpeg_size(data))
    reduced: NDArray[np.uint8] = simplejpeg.decode_jpeg(
        data, colorspace="RGB", strict=strict, min_factor=factor, min_width=width, min_height=height
    )
    return reduced


def _without_left_over(data: bytes, count: int, name: str, factor: int) -> NDArray[np.uint8]:
    """Decode without the bytes that the decoder had left over at the end."""
    *_, (_, end, _) = _segments(data)
    rest = data[: end - count] + data[end:]
    try:
        image = _decoded(rest, factor)
    except ValueError as error:
        again = _LEFT_OVER.fullmatch(str(error))
        if again is None or int(again[1]) > BIT_BUFFER_BYTES:
            raise _damage(str(error)) from error
        image = _decoded(rest, factor, strict=False)
    junk = data[end - count : end]
    if count > PADDING_BYTES or junk != junk[:1] * count:
        said = "bytes are left over at the end of its image data"
        if count >= LEFT_OVER_BYTES:
            raise _damage(said)
        logger.warning("%s may be damaged: %s", name, said)
    return image


def _damage(said: str) -> DamageError:
    return DamageError(f"is damaged: {shortened(said)}; fetch or copy it again")
