"""Annotated images, one or a folder of them, as writers of results."""

import os
import re
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mien.errors import InputError
from mien.faces import Faces, Frame
from mien.files import PartFile, check_folder, check_not_source, explained, write_whole
from mien.output.base import DrawingSink, SinkSettings
from mien.output.encode import MARK, annotated_bytes
from mien.output.kinds import IMAGE

LONGEST_NAME = 150  # bytes; file systems allow 255


def _is_annotated(path: Path) -> bool:
    """Whether a file is an image that `annotated_bytes` made."""
    with path.open("rb") as file:
        head = file.read(256)
        file.seek(max(0, path.stat().st_size - 64))
        return MARK in head or MARK in file.read()


class ImageSink(DrawingSink):
    """One annotated image."""

    def __init__(self, path: Path, settings: SinkSettings) -> None:
        """Start the file.

        Args:
            path: The file.
            settings: Its `draw` draws the faces.

        Raises:
            InputError: `settings.draw` is missing.
            OutputError: Nothing can be written there.
        """
        super().__init__(settings)
        self._path = path
        self._part = PartFile(path)
        self._part.start()
        self._written = False

    def _write(self, frame: Frame, faces: Faces) -> None:
        if self._written:
            folder = f"{self._path.with_suffix('')}/"
            raise InputError(f"{self._path} holds one image, but there are more; give a folder: {folder}")
        check_not_source(self._path, frame.source, kind="image", instead="another file or a folder")
        with self._part.guarded() as file:
            file.write(annotated_bytes(self._draw(frame.image, faces), self._path.suffix.lower()))
        self._written = True

    def _commit(self) -> None:
        if self._written:
            self._part.commit()
        else:
            self._part.discard()

    def _drop(self) -> None:
        self._part.discard()


class FolderSink(DrawingSink):
    """Annotated images in a folder, each named after its source and complete or absent.

    Sources below `root` of the settings keep their folders. Two sources of one name in one folder get `x.jpg` and
    `x-2.jpg`. Images that mien wrote there in an earlier run are replaced; any other file is left alone, so originals
    are safe even in their own folder. After an error or Ctrl-C the images
    finished by then stay.
    """

    def __init__(self, path: Path, settings: SinkSettings) -> None:
        """Make the folder and see that it can be written to.

        Args:
            path: The folder.
            settings: Its `draw` draws the faces.

        Raises:
            InputError: `settings.draw` is missing.
            OutputError: Nothing can be written there.
        """
        super().__init__(settings)
        self._folder, self._root = path, settings.root
        self._next_number: dict[str, int] = {}
        self._names: set[str] = set()
        check_folder(path)

    def _write(self, frame: Frame, faces: Faces) -> None:
        stem, extension = image_name(frame.source)
        if frame.index:
            stem = f"{stem}-{frame.index:06d}"
        data = annotated_bytes(self._draw(frame.image, faces), extension.lower())
        write_whole(self._free(folder_below(frame.source, self._root) / stem, extension), data)

    def _free(self, stem: Path, extension: str) -> Path:
        """Return the first path in the folder that may be written: new, or an image of an earlier run."""
        wanted = f"{stem}{extension}".casefold()
        number = self._next_number.get(wanted, 1)
        while not self._is_free(name := f"{stem}{extension}" if number == 1 else f"{stem}-{number}{extension}"):
            number += 1
        self._names.add(name.casefold())
        self._next_number[wanted] = number + 1
        return self._folder / name

    def _is_free(self, name: str) -> bool:
        path = self._folder / name
        with explained(path):
            return name.casefold() not in self._names and (
                not path.exists() or (path.is_file() and _is_annotated(path))
            )

    def _commit(self) -> None:
        """Each image is complete already."""

    def _drop(self) -> None:
        """What is written stays."""


def image_name(source: str) -> tuple[str, str]:
    """Return a file name for the annotated image of a source, safe on every file system.

    Args:
        source: A path, a URL, `-` for standard input, or any name.

    Returns:
        The stem, and the extension: the source's own where mien can write it, else `.jpg`.
    """
    name = _last_part(source)
    stem, dot, extension = name.rpartition(".")
    known = bool(dot) and f".{extension.lower()}" in IMAGE.extensions
    if not dot or not re.fullmatch(r"[A-Za-z0-9]{1,5}", extension):
        stem = name
    return _safe(stem) or "image", f".{extension}" if known else ".jpg"


def folder_below(source: str, root: Path | None) -> Path:
    """Return the folders that lie between a root and a source, their names safe on every file system.

    Args:
        source: A path, a URL, or any name.
        root: The folder; None for none.

    Returns:
        A relative path; an empty one where the source is no path below the root.
    """
    if root is None or source == "-" or "://" in source:
        return Path()
    try:
        between = Path(os.path.abspath(source)).parent.relative_to(os.path.abspath(root))
    except ValueError:  # it lies elsewhere
        return Path()
    return Path(*(_safe(name) or "_" for name in between.parts))


def _safe(name: str) -> str:
    """Return a name without what some file system does not take."""
    safe = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*\ud800-\udfff]+', "_", name).strip(" .")
    return safe.encode()[:LONGEST_NAME].decode("utf-8", "ignore").strip(" .")


def _last_part(source: str) -> str:
    if source == "-":
        return "stdin"
    if "://" in source:
        with suppress(ValueError):  # brackets that hold no address
            url = urlsplit(source)
            return unquote(url.path.rstrip("/").rpartition("/")[2]) or (url.hostname or "").replace(".", "_")
    return re.split(r"[/\\]" if os.sep == "\\" else "/", source.rstrip("/"))[-1]
