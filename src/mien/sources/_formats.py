"""The formats of images that are read, told by their first bytes."""

import re

from mien.errors import SourceError
from mien.sources._headers import (
    BMP_HEADERS,
    PNG_SIGNATURE,
    Format,
    bmp_size,
    gif_size,
    inspect_bmp,
    inspect_gif,
    inspect_png,
    inspect_tiff,
    inspect_webp,
    png_size,
    tiff_size,
    webp_size,
)  # fmt: skip
from mien.sources._jpeg import inspect_jpeg, jpeg_size
from mien.sources._others import is_avif, is_heic, is_ico, is_jpeg_2000, is_pnm, is_tga

HEAD_BYTES = 64  # enough to tell the format
_VIDEO, _SOUND = "a video", "sound without images"
_SUBTITLES = re.compile(rb"(\xef\xbb\xbf)?\s*(\d+\s+\d\d:\d\d:\d\d,\d{3} -->|WEBVTT|\[Script Info\])")


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
    format_of(head, name)


def format_of(head: bytes, name: str) -> Format:
    """Return the format of a file by its first bytes.

    Args:
        head: The first `HEAD_BYTES` bytes of the file.
        name: What messages call it.

    Raises:
        SourceError: It is empty, or starts like something else.
    """
    if not head:
        raise SourceError(f"{name} is empty (0 bytes); fetch or copy it again")
    for kind in _FORMATS:
        if kind.matches(head):
            return kind
    known = ", ".join(kind.name for kind in _FORMATS)
    foreign = _foreign_kind(head)
    if foreign:
        fix = {_VIDEO: "export frames of it as JPEG or PNG", _SOUND: "name an image or a video"}
        fix["subtitles"] = fix[_SOUND]
        advice = fix.get(foreign, "save it as JPEG or PNG")
        raise SourceError(f"{name} is {foreign}, not an image mien can read ({known}); {advice}")
    start = head[:16]
    shown = f"the text {start.decode()!r}" if start.isascii() and not min(start) < 9 else f"the bytes {start!r}"
    raise SourceError(f"{name} is not an image mien can read ({known}); it starts with {shown}")


def _foreign_kind(head: bytes) -> str | None:
    """Name the formats people most often take for one of ours."""
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in (b"M4A ", b"M4B ", b"M4P "):
            return _SOUND
        return _VIDEO
    if head.startswith((b"ID3", b"\xff\xfb", b"fLaC")) or (head[:4] == b"RIFF" and head[8:12] == b"WAVE"):
        return _SOUND
    if _SUBTITLES.match(head):
        return "subtitles"
    if head.startswith((b"\x1aE\xdf\xa3", b"FLV\x01")) or (head[:4] == b"RIFF" and head[8:12] == b"AVI "):
        return _VIDEO
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if text.startswith(b"%pdf"):
        return "a PDF"
    return "an SVG drawing" if text.startswith(b"<svg") else None


_FORMATS = (
    Format("JPEG", lambda head: head.startswith(b"\xff\xd8\xff"), jpeg_size, inspect_jpeg),
    Format("PNG", lambda head: head.startswith(PNG_SIGNATURE), png_size, inspect_png),
    Format("WebP", lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", webp_size, inspect_webp),
    Format("BMP", lambda head: head[:2] == b"BM" and head[14:18] in BMP_HEADERS, bmp_size, inspect_bmp),
    Format("TIFF", lambda head: head.startswith((b"II*\0", b"MM\0*")), tiff_size, inspect_tiff),
    Format("GIF", lambda head: head.startswith((b"GIF87a", b"GIF89a")), gif_size, inspect_gif),
    Format("AVIF", is_avif, pillow="AVIF"),
    Format("HEIC", is_heic, pillow="HEIF"),
    Format("JPEG 2000", is_jpeg_2000, pillow="JPEG2000"),
    Format("PPM", is_pnm, pillow="PPM"),
    Format("ICO", is_ico, pillow="ICO"),
    Format("TGA", is_tga, pillow="TGA"),
)
