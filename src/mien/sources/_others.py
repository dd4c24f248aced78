"""Formats that Pillow reads: HEIC (with pillow-heif), AVIF, JPEG 2000, PNM, TGA, ICO."""

import io
import struct
import warnings
from typing import Any

from mien.errors import SourceError, require_extra, shortened
from mien.sources._headers import DamageError
from mien.sources.given import from_pillow

HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
AVIF_BRANDS = (b"avif", b"avis", b"avio")
SEQUENCE_BRANDS = (b"hevc", b"hevx", b"hevm", b"hevs", b"msf1")
STILL_BRANDS = (b"mif1", b"msf1", b"mif2", b"miaf")


def _brands(head: bytes) -> list[bytes]:
    """Return the brands of a file of ISO base media (ISO/IEC 14496-12), the main one first."""
    if head[4:8] != b"ftyp":
        return []
    end = min(struct.unpack_from(">I", head)[0], len(head))
    return [head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))]


def is_avif(head: bytes) -> bool:
    """Return whether a file begins like AVIF."""
    brands = _brands(head)
    return bool(brands) and (brands[0] in AVIF_BRANDS or (brands[0] in STILL_BRANDS and brands[1:2] == [b"avif"]))


def is_heic(head: bytes) -> bool:
    """Return whether a file begins like HEIC, or like another kind of HEIF that is not AVIF."""
    brands = _brands(head)
    return bool(brands) and brands[0] in HEIC_BRANDS + STILL_BRANDS and not is_avif(head)


def is_tga(head: bytes) -> bool:
    """Return whether a file begins like TGA, which has no signature: each field of its header must make sense."""
    if len(head) < 18:
        return False
    mapped, kind, depth = head[1], head[2], head[16]
    width, height = struct.unpack_from("<HH", head, 12)
    colours = {1: (8,), 2: (16, 24, 32), 3: (8, 16)}.get(kind & 7, ())
    return kind & ~8 in (1, 2, 3) and mapped == (kind & 7 == 1) and depth in colours and width > 0 and height > 0


def is_pnm(head: bytes) -> bool:
    """Return whether a file begins like PBM, PGM or PPM."""
    return head[:1] == b"P" and head[1:2] in (b"1", b"2", b"3", b"4", b"5", b"6") and head[2:3].isspace()


def is_jpeg_2000(head: bytes) -> bool:
    """Return whether a file begins like JPEG 2000: a JP2 file or a bare code stream."""
    return head.startswith((b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"))


def is_ico(head: bytes) -> bool:
    """Return whether a file begins like an icon."""
    return head.startswith(b"\0\0\1\0") and len(head) >= 22 and head[4:6] != b"\0\0" and head[9] == 0


def opened(kind: str, data: bytes) -> Any:
    """Open an image without decoding it.

    Args:
        kind: Pillow's name of its format.
        data: The file.

    Returns:
        `PIL.Image.Image`, or what pillow-heif has instead; both have `size`.

    Raises:
        DamageError: It cannot be opened.
        MissingExtraError: It is HEIC, and pillow-heif is not installed.
    """
    from PIL import Image

    try:
        if kind == "HEIF":
            return require_extra("heif", "pillow_heif").open_heif(data)
        with warnings.catch_warnings(action="ignore"):  # the size is checked by our own limit
            return Image.open(io.BytesIO(data), formats=[kind])
    except ImportError:
        raise
    except Exception as error:  # these libraries raise whatever comes up
        if kind == "HEIF" and data[8:12] in SEQUENCE_BRANDS:
            raise DamageError(
                "is a HEIC image sequence without a still image; name it .heics and analyze it as a video"
            ) from error
        raise DamageError(f"is a damaged {kind} file that cannot be opened; fetch or copy it again") from error


def decoded(image: Any) -> tuple[Any, int]:
    """Decode what `opened` returned.

    Args:
        image: It.

    Returns:
        Samples and orientation, as `from_pillow` does.

    Raises:
        DamageError: It is cut off or damaged.
    """
    if hasattr(image, "to_pillow"):
        try:
            return from_pillow(image.to_pillow())[0], 1  # libheif has turned it
        except (OSError, ValueError, RuntimeError, EOFError) as error:
            raise DamageError(f"is damaged: {shortened(str(error))}; fetch or copy it again") from error
    try:
        return from_pillow(image)
    except SourceError as error:
        raise DamageError(
            f"is damaged, {str(error).replace('; open its file again', '; fetch or copy it again')}"
        ) from error
