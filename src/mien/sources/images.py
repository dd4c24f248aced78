"""A path, folder, glob, URL, `-` or array → `Frame`s, one bad image never costing the others.

`expand` turns what a user names into a list of `Item`s, so that their number is known before the first is opened.
`load` gives the `Frame` of one item or raises. `read_frames` and `read_items` do the same for many, and yield a
`Failed` where `load` would raise.
"""

import glob
import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, MienError, SourceError, check_known, shortened
from mien.faces import Frame, check_image
from mien.sources._decode import MAX_PIXELS, as_rgb, decode_frame, decode_image
from mien.sources._formats import HEAD_BYTES, check_head
from mien.sources.addresses import URL, AddressRule, is_http, without_login
from mien.sources.given import (
    DATA_URL,
    BinaryFile,
    PillowImage,
    file_name,
    from_data_url,
    from_file,
    from_pillow,
    is_pillow,
    is_several,
    is_tensor,
    looks_like_base64,
    tensor_error,
)

__all__ = [
    "IMAGES",
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "Failed",
    "ImageSource",
    "Item",
    "Kind",
    "SourceSettings",
    "decode_frame",
    "decode_image",
    "expand",
    "load",
    "passed_over",
    "read_frames",
    "read_image",
    "read_items",
]

ImageSource = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryFile | PillowImage | NDArray[np.uint8]

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif",
    ".heic", ".heif", ".hif", ".avif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico",
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """Files that folders and globs are searched for.

    Attributes:
        one: What people call one of them, with its article.
        many: What they call several.
        suffixes: Their extensions, lower case.
    """

    one: str
    many: str
    suffixes: tuple[str, ...]

    def has(self, path: Path) -> bool:
        """Whether a path is a file of this kind."""
        return path.suffix.lower() in self.suffixes and path.is_file()


IMAGES = Kind("an image", "images", IMAGE_SUFFIXES)
STDIN = "-"
READ_BYTES = 1 << 20
BYTES_PER_PIXEL = 8  # of the largest kind, 16-bit with alpha
OVERHEAD_BYTES = 64 << 20  # what a file may hold beside its pixels: profiles, thumbnails, further images


@dataclass(frozen=True)
class SourceSettings:
    """Limits on what is read.

    Attributes:
        max_pixels: Largest width x height of an image, checked before it is decoded. A JPEG above it is read at a
            half, a fourth or an eighth of its size, where that keeps the limit.
        url_max_bytes: Largest file fetched from a URL.
        url_timeout_s: Seconds one URL may take in all, redirects included.
        url_connect_timeout_s: Seconds a look-up or a connection may take.
        url_max_redirects: How many redirects are followed.
        allow_private: Fetch from loopback, private and other addresses that are not public as well.
    """

    max_pixels: int = MAX_PIXELS
    url_max_bytes: int = 32 << 20
    url_timeout_s: float = 20.0
    url_connect_timeout_s: float = 5.0
    url_max_redirects: int = 5
    allow_private: bool = False

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("max_pixels", "url_max_bytes", "url_timeout_s", "url_connect_timeout_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be more than 0, got {getattr(self, name)}")
        if self.url_max_redirects < 0:
            raise InputError(f"url_max_redirects must be at least 0, got {self.url_max_redirects}")


DEFAULTS = SourceSettings()


@dataclass(frozen=True)
class Item:
    """One image still to be loaded.

    Attributes:
        name: What results and messages call it.
        origin: A `Path`; a URL, data URL or `"-"` (standard input) as `str`; encoded bytes; an open file; an image of
            Pillow; an array; or the error that stands in the place of an image, which `load` raises.
    """

    name: str
    origin: ImageSource | MienError


@dataclass(frozen=True)
class Failed:
    """A source that gave no image.

    Attributes:
        source: Its name, as `Frame.source` would have been.
        error: Why; its message is made for people.
    """

    source: str
    error: MienError


def read_image(source: ImageSource, *, channels: str = "rgb", settings: SourceSettings = DEFAULTS) -> Frame:
    """Read one image.

    Args:
        source: A path, an http(s) URL, a data URL, `"-"` for standard input, an encoded image as bytes, a file opened
            with mode `"rb"` (which is read from its beginning), an image of Pillow (any mode, turned upright), or an
            array (H, W, 3) uint8. A folder or glob will do if it holds exactly one image.
        channels: Order of an array's channels: `"rgb"`, or `"bgr"` as OpenCV reads images. Files know their own.
        settings: Limits.

    Raises:
        SourceError: It gives no image, or several.
        InputError: An array is not (H, W, 3) uint8, or `channels` is unknown.
    """
    check_known("order of channels", channels, ("rgb", "bgr"))
    if channels == "bgr" and isinstance(source, np.ndarray):
        source = np.ascontiguousarray(source[..., ::-1])
    items = expand(source)
    if len(items) != 1:
        name = shortened(str(source)) if isinstance(source, str | os.PathLike) else "the source"
        raise SourceError(
            f"{name} holds {len(items)} images, and one is wanted; give one of them, or "
            "take them all (in Python: analyze_images() or read_frames())"
        )
    return load(items[0], settings=settings)


def read_frames(
    sources: ImageSource | Iterable[ImageSource], *, settings: SourceSettings = DEFAULTS
) -> Iterator[Frame | Failed]:
    """Yield the image of each source in order, or a `Failed` in its place.

    `sources` is consumed as the images are asked for, so it may be an endless generator.

    Args:
        sources: One or several of what `expand` takes.
        settings: Limits.
    """
    for number, source in enumerate(_each(sources)):
        yield from read_items(_items(source, number, IMAGES), settings=settings)


def read_items(items: Iterable[Item], *, settings: SourceSettings = DEFAULTS) -> Iterator[Frame | Failed]:
    """Yield the image of each item in order, or a `Failed` in its place.

    Args:
        items: From `expand`.
        settings: Limits.
    """
    for item in items:
        try:
            result: Frame | Failed = load(item, settings=settings)
        except MienError as error:
            result = Failed(item.name, error)
        yield result


def expand(sources: ImageSource | Iterable[ImageSource], *, kind: Kind = IMAGES) -> list[Item]:
    """List the images that sources name, without opening any.

    A folder gives the images in it and in its subfolders, a glob those that it matches and those in the folders it
    matches (`**` crosses folders). Both go by extension (`kind.suffixes`, any case), leave hidden files out and sort
    numbers by value: `frame2` before `frame10`. A source that is missing or holds no image is an item whose loading
    fails; so nothing raises here.

    Args:
        sources: One or several: a path, folder or glob; as `str` also an http(s) URL, a data URL or `"-"` (standard
            input); an encoded image as bytes; an open binary file; an image of Pillow; an array (H, W, 3) uint8 RGB.
        kind: What folders and globs are searched for; videos can be listed here, but not loaded.

    Returns:
        One item per image, in the order of the sources.
    """
    return [item for number, source in enumerate(_each(sources)) for item in _items(source, number, kind)]


def passed_over(sources: Iterable[str], *, kind: Kind = IMAGES) -> list[str]:
    """Say of each folder which of its files `expand` leaves out.

    Args:
        sources: What is named; only folders count.
        kind: What they are searched for.

    Returns:
        One sentence per folder that holds other files, hidden ones aside.
    """
    lines = []
    for folder in (Path(source) for source in sources if not DATA_URL.match(source) and os.path.isdir(source)):
        counts: Counter[str] = Counter()
        for _, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            suffixes = (Path(name).suffix.lower() for name in files if not name.startswith("."))
            counts.update(suffix for suffix in suffixes if suffix not in kind.suffixes)
        if counts:
            known = ", ".join(f"{suffix or 'no extension'}: {number}" for suffix, number in counts.most_common(8))
            total = counts.total()
            several = f"{total} files that are not {kind.many} by their"
            what = f"1 file that is not {kind.one} by its" if total == 1 else several
            lines.append(f"{folder}: passed over {what} extension ({known})")
    return lines


def load(item: Item, *, settings: SourceSettings = DEFAULTS) -> Frame:
    """Load one item.

    Args:
        item: From `expand`.
        settings: Limits.

    Returns:
        Its image, with `source` set to the item's name.

    Raises:
        SourceError: It gives no image; the message names it and the fix.
        InputError: An array is not (H, W, 3) uint8 RGB.
    """
    origin, name = item.origin, shortened(item.name)
    if isinstance(origin, MienError):
        raise origin
    if isinstance(origin, np.ndarray):
        return Frame(_checked(origin, name), source=item.name)
    if is_pillow(origin):
        return Frame(_pillow_rgb(origin, name, settings), source=item.name)
    data = _bytes_of(origin, name, settings)
    return replace(decode_frame(data, name=name, max_pixels=settings.max_pixels), source=item.name)


def is_remote(item: Item) -> bool:
    """Whether an item must be fetched over the network before it can be loaded.

    Args:
        item: From `expand`.
    """
    return isinstance(item.origin, str) and item.origin != STDIN and not DATA_URL.match(item.origin)


def fetch_item(item: Item, *, settings: SourceSettings = DEFAULTS) -> Item:
    """Fetch an item from its address, without decoding it.

    Args:
        item: One that `is_remote`.
        settings: Limits.

    Returns:
        The same item with its bytes.

    Raises:
        SourceError: There is no file, or a too large one.
    """
    return Item(item.name, _bytes_of(item.origin, shortened(item.name), settings))


def _pillow_rgb(image: object, name: str, settings: SourceSettings) -> NDArray[np.uint8]:
    width, height = image.size  # type: ignore[attr-defined]
    if width * height > settings.max_pixels:
        raise SourceError(f"{name} is {width:,} x {height:,} pixels, more than max_pixels = {settings.max_pixels:,}")
    try:
        samples, orientation = from_pillow(image)
    except SourceError as error:
        raise SourceError(f"{name} {error}") from error
    return as_rgb(samples, orientation, name=name)


def _checked(image: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    try:
        return check_image(image)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


# From what the user names to items.


def _each(sources: Any) -> Iterable[object]:
    return sources if is_several(sources) else [sources]


def _items(source: Any, number: int, kind: Kind) -> list[Item]:
    """Expand one source; `number` is its place among the sources and names what has no name."""
    if isinstance(source, np.ndarray):
        return [Item(f"array {number}", source)]
    if isinstance(source, bytes | bytearray | memoryview):
        return [Item(f"bytes {number}", bytes(source))]
    if isinstance(source, os.PathLike):
        return _path_items(Path(os.fsdecode(source)), kind)
    if isinstance(source, str):
        return _text_items(source, number, kind)
    if is_pillow(source):
        return [Item(file_name(source, f"image {number}"), source)]
    if is_tensor(source):
        return [Item(f"tensor {number}", tensor_error(source, f"tensor {number}"))]
    if isinstance(source, BinaryFile):
        return [Item(file_name(source, f"file {number}"), source)]
    of = type(source).__name__
    return [_no_item(shortened(repr(source)), f"is of type {of}; pass a path, URL, bytes, open file or array")]


def _text_items(source: str, number: int, kind: Kind) -> list[Item]:
    if not source.strip():
        return [_no_item(shortened(repr(source)), "is an empty name; pass a path or URL")]
    if source == STDIN:
        return [Item(STDIN, STDIN)]
    if DATA_URL.match(source):
        return [Item(f"data URL {number}", source)]
    if looks_like_base64(source):
        return [_no_item(f"text {number}", "looks like base64; write data:image/jpeg;base64, before it")]
    return [_url_item(source)] if URL.match(source) else _path_items(Path(source), kind)


def _no_item(name: str, reason: str) -> Item:
    return Item(name, SourceError(f"{shortened(name)} {reason}"))


def _url_item(url: str) -> Item:
    if is_http(url):
        return Item(without_login(url), url)
    scheme = url.partition(":")[0]
    return _no_item(without_login(url), f"has the scheme {scheme!r}; only http, https and plain paths are read")


def _path_items(path: Path, kind: Kind) -> list[Item]:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return _unknown_path_items(path, kind)
    except (OSError, ValueError) as error:
        return [_no_item(str(path), f"cannot be opened: {_said(error)}")]
    if not stat.S_ISDIR(mode):
        return [Item(str(path), path)]
    return _folder_items(path, kind) or [
        _no_item(str(path), f"is a folder without {kind.many} ({', '.join(kind.suffixes)}); name another")
    ]


def _unknown_path_items(path: Path, kind: Kind) -> list[Item]:
    if glob.has_magic(str(path)):
        return _glob_items(str(path), kind)
    home = path.expanduser() if str(path).startswith("~") else path
    if home != path and home.exists():
        return _path_items(home, kind)
    return [_no_item(str(path), "does not exist; check the spelling and the folder you are in")]


def _folder_items(folder: Path, kind: Kind) -> list[Item]:
    """List the files of a kind below a folder, and an error for each subfolder that cannot be read."""
    items: list[Item] = []

    def note(error: OSError) -> None:
        items.append(_no_item(str(error.filename), f"cannot be opened: {_said(error)}"))

    for parent, folders, files in os.walk(folder, onerror=note):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(parent, name) for name in files if not name.startswith("."))
        items += [Item(str(path), path) for path in paths if kind.has(path)]
    return sorted(items, key=lambda item: _natural_order(item.name))


def _glob_items(pattern: str, kind: Kind) -> list[Item]:
    found = [Path(name) for name in glob.iglob(os.path.expanduser(pattern), recursive=True)]
    items = {item.name: item for path in found if path.is_dir() for item in _folder_items(path, kind)}
    items |= {str(path): Item(str(path), path) for path in found if kind.has(path)}
    if items:
        return sorted(items.values(), key=lambda item: _natural_order(item.name))
    kinds = ", ".join(kind.suffixes)
    matched = f"matches {len(found)} names, none of them {kind.one} ({kinds})" if found else "matches nothing"
    return [_no_item(pattern, f"{matched}; check the pattern")]


def _natural_order(name: str) -> list[Any]:
    """Return a sort key by folder, then by name, where digits count as numbers and case only breaks ties."""
    return [[_number_or_text(piece) for piece in re.split(r"(\d+)", part.lower())] for part in Path(name).parts] + [
        [(2, 0, name)]
    ]


def _number_or_text(piece: str) -> tuple[int, int, str]:
    return (0, int(piece), "") if piece.isdecimal() else (1, 0, piece)


# From items to bytes.


def _bytes_of(origin: Any, name: str, settings: SourceSettings) -> bytes:
    try:
        return _read(origin, name, settings)
    except MienError:
        raise
    except (OSError, ValueError) as error:
        raise SourceError(f"{name} cannot be read: {_said(error)}") from error
    except MemoryError as error:
        raise SourceError(f"{name} does not fit in memory; make it smaller") from error


def _read(origin: Any, name: str, settings: SourceSettings) -> bytes:
    if isinstance(origin, bytes):
        return origin
    if isinstance(origin, Path):
        return _read_path(name, origin, settings)
    if not isinstance(origin, str):
        return from_file(origin, name, limit=most_bytes(settings))
    if origin == STDIN:
        return _read_stdin(settings)
    return _from_data_url(origin, name) if DATA_URL.match(origin) else _fetch(name, origin, settings)


def _from_data_url(url: str, name: str) -> bytes:
    try:
        return from_data_url(url)
    except SourceError as error:
        raise SourceError(f"{name} {error}") from error


def most_bytes(settings: SourceSettings) -> int:
    """Return how many bytes an image file may have under some limits."""
    return settings.max_pixels * BYTES_PER_PIXEL + OVERHEAD_BYTES


def _said(error: Exception) -> str:
    said = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return f"{said[:1].lower()}{said[1:]}; check the name and its permissions"


def _read_path(name: str, path: Path, settings: SourceSettings) -> bytes:
    with path.open("rb") as file:
        return _read_stream(file, name, settings)


def _read_stdin(settings: SourceSettings) -> bytes:
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None or sys.stdin.isatty():
        raise SourceError("standard input (-) is not a file; pipe an image into it: mien analyze - < photo.jpg")
    return _read_stream(stream, "standard input (-)", settings)


def _read_stream(stream: BinaryIO, name: str, settings: SourceSettings) -> bytes:
    """Read an image file to its end; stop at once where it is none, or larger than any image may be."""
    limit = most_bytes(settings)
    data = bytearray(stream.read(HEAD_BYTES))
    check_head(bytes(data), name=name)
    while piece := stream.read(READ_BYTES):
        data += piece
        if len(data) > limit:
            raise SourceError(
                f"{name} is larger than {limit:,} bytes, the most {settings.max_pixels:,} pixels can need"
            )
    return bytes(data)


def _fetch(name: str, url: str, settings: SourceSettings) -> bytes:
    from mien.sources._fetch import FetchLimits, fetch  # ssl and http.client are slow to import, and few runs need them

    limits = FetchLimits(
        max_bytes=settings.url_max_bytes,
        timeout_s=settings.url_timeout_s,
        connect_timeout_s=settings.url_connect_timeout_s,
        max_redirects=settings.url_max_redirects,
    )
    return fetch(url, limits, AddressRule(settings.allow_private), name=name)
