"""What a user names becomes a stream of paths: folders, globs, files, URLs, and lists of millions of paths.

Nothing here holds more than one folder's names or one batch of a list at a time.
"""

import glob
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import translate
from pathlib import Path
from re import compile as pattern_of
from typing import Any

from mien.cluster.places import Stored, is_stored, located, tag_of, walk_storage
from mien.errors import InputError, SourceError, require_extra, shown
from mien.sources.addresses import is_http
from mien.sources.images import IMAGE_SUFFIXES
from mien.sources.videos import VIDEO_SUFFIXES

KNOWN_SUFFIXES = IMAGE_SUFFIXES + VIDEO_SUFFIXES
LISTS = (".parquet", ".txt")
PATH, TAG = "path", "tag"  # columns of a Parquet list
ROWS_AT_ONCE = 8192
MISSING = "missing"


def stream(sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Iterator[Stored]:
    """Yield what sources name, in no order that counts.

    Args:
        sources: One or several: images and videos, folders and globs of them, on disks or in object storage; http(s)
            URLs of images; and lists: a text file with a path per line, or a Parquet file with a column `path` and
            perhaps `tag`, a text that changes when the file does. Paths of a list are relative to its folder.

    Raises:
        InputError: A list cannot be read, a source is empty or of an unknown kind.
        SourceError: Object storage cannot be listed.
    """
    several = [sources] if isinstance(sources, str | os.PathLike) else sources
    for source in several:
        yield from _one(os.fspath(source))


def kind_of_input(path: str) -> str:
    """Return the partition of an input, `image` or `video`, by its extension alone: no file is opened here.

    Args:
        path: Path or URI.
    """
    return "video" if path.lower().endswith(VIDEO_SUFFIXES) and not is_http(path) else "image"


def _one(source: str) -> Iterator[Stored]:
    if not source.strip():
        raise InputError(f"{shown(source)} is an empty name; give a path, a folder, a list or a URI")
    if is_http(source):
        yield Stored(source, "")
    elif source.lower().endswith(LISTS):
        yield from _listed(source)
    elif is_stored(source):
        yield from _in_storage(source)
    else:
        yield from _local(source.removeprefix("file://"))


# Disks ------------------------------------------------------------------------------------------------------------


def _local(source: str) -> Iterator[Stored]:
    path = os.path.abspath(os.path.expanduser(source))
    if os.path.isdir(path):
        yield from _below(path)
    elif os.path.exists(path) or not glob.has_magic(path):
        yield Stored(path, tag_here(path))
    else:
        for name in glob.iglob(path, recursive=True):
            if os.path.isdir(name):
                if "**" not in path:  # which comes into the folders by itself
                    yield from _below(name)
            elif name.lower().endswith(KNOWN_SUFFIXES):
                yield Stored(name, tag_here(name))


def _below(folder: str) -> Iterator[Stored]:
    """Yield images and videos below a folder; one that cannot be read is an input, which gives an error row."""
    todo = [folder]
    while todo:
        place = todo.pop()
        try:
            entries = os.scandir(place)
        except OSError:
            yield Stored(place, MISSING)
            continue
        with entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                elif entry.name.lower().endswith(KNOWN_SUFFIXES):
                    yield Stored(entry.path, tag_here(entry.path))


def tag_here(path: str) -> str:
    """Return the tag of a file of a disk."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return MISSING
    return tag_of(status.st_size, status.st_mtime_ns)


# Object storage ---------------------------------------------------------------------------------------------------


def _in_storage(source: str) -> Iterator[Stored]:
    if glob.has_magic(source):
        yield from _matching(source)
        return
    system, path = located(source)
    fs: Any = require_extra("ray", "pyarrow.fs")
    try:
        info = system.get_file_info(path)
    except OSError as error:
        raise SourceError(f"{source} cannot be read: {error}; check the name and your keys") from error
    if info.type == fs.FileType.Directory:
        yield from (found for found in walk_storage(source) if found.path.lower().endswith(KNOWN_SUFFIXES))
    else:
        yield Stored(source, MISSING if info.type == fs.FileType.NotFound else tag_of(info.size, info.mtime_ns))


def _matching(pattern: str) -> Iterator[Stored]:
    """Yield the files that a glob of object storage matches; `**` crosses folders."""
    parts = pattern.split("/")
    plain = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    wanted = [None if part == "**" else pattern_of(translate(part)) for part in parts[plain:]]
    base = "/".join(parts[:plain])
    for found in walk_storage(base):
        names = found.path[len(base) :].strip("/").split("/")
        if found.path.lower().endswith(KNOWN_SUFFIXES) and _matches(names, wanted):
            yield found


def _matches(names: Sequence[str], wanted: Sequence[Any]) -> bool:
    if not wanted:
        return not names
    if wanted[0] is None:
        return any(_matches(names[skipped:], wanted[1:]) for skipped in range(len(names) + 1))
    return bool(names) and wanted[0].match(names[0]) is not None and _matches(names[1:], wanted[1:])


# Lists ------------------------------------------------------------------------------------------------------------


def _listed(source: str) -> Iterator[Stored]:
    here = _folder_of(source)
    for path, tag in _parquet_list(source) if source.lower().endswith(".parquet") else _text_list(source):
        if is_stored(path) or is_http(path):
            yield Stored(path, tag or "")
        elif is_stored(source):
            yield Stored(f"{here}/{path}", tag or "")
        else:
            whole = os.path.normpath(os.path.join(here, path))
            yield Stored(whole, tag or tag_here(whole))


def _folder_of(source: str) -> str:
    return source.rpartition("/")[0] if is_stored(source) else str(Path(source).expanduser().absolute().parent)


def _opened(source: str) -> Any:
    fs: Any = require_extra("ray", "pyarrow.fs")
    try:
        if is_stored(source):
            system, path = located(source)
        else:
            system, path = fs.LocalFileSystem(), str(Path(source).expanduser())
        return system.open_input_file(path)
    except OSError as error:
        raise InputError(f"the list {source} cannot be read: {error}; check the name and its permissions") from error


def _text_list(source: str) -> Iterator[tuple[str, str | None]]:
    with _opened(source) as file:
        try:
            for line in io.TextIOWrapper(io.BufferedReader(file), encoding="utf-8-sig"):
                if line.strip():
                    yield line.rstrip("\r\n"), None
        except UnicodeDecodeError as error:
            raise InputError(f"the list {source} is not UTF-8 text; save it as such") from error


def _parquet_list(source: str) -> Iterator[tuple[str, str | None]]:
    arrow: Any = require_extra("ray", "pyarrow")
    parquet: Any = require_extra("ray", "pyarrow.parquet")
    with _opened(source) as opened:
        try:
            file = parquet.ParquetFile(opened)
        except arrow.ArrowInvalid as error:
            raise InputError(f"the list {source} is no Parquet file: {error}") from error
        names = file.schema_arrow.names
        if PATH not in names:
            raise InputError(f"the list {source} needs a column {PATH!r}, and has {', '.join(names)}; rename one")
        columns = [name for name in (PATH, TAG) if name in names]
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=columns):
            paths = batch.column(PATH).to_pylist()
            tags = batch.column(TAG).to_pylist() if TAG in columns else [None] * len(paths)
            yield from ((str(path), None if tag is None else str(tag)) for path, tag in zip(paths, tags, strict=True))
