"""Where files lie: a folder of this machine or one that all share, or object storage (`s3://`, `gs://`, `hdfs://`).

Object storage is read and written by pyarrow's file systems, which take keys and regions from the usual variables and
files (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, …), on every machine for itself: no key travels with the work.
"""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from mien.errors import InputError, OutputError, SourceError, require_extra, shown
from mien.files import explained
from mien.sources.addresses import is_http

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://([^/]*)/?(.*)", re.DOTALL)
BUCKETS = ("s3", "gs", "gcs")  # the path begins with the bucket
HOSTS = ("hdfs",)


def is_stored(name: str) -> bool:
    """Whether a name is one of object storage or another file system of a cluster, and no plain path or http(s) URL."""
    return _SCHEME.match(name) is not None and not is_http(name) and not name.startswith("file://")


def split(uri: str) -> tuple[str, str]:
    """Return what opens the file system of a URI, and the path within it.

    Args:
        uri: `s3://bucket/folder/x.jpg`.

    Raises:
        InputError: It has a scheme that is not read.
    """
    found = _SCHEME.match(uri)
    scheme, host, rest = found.groups() if found else ("", "", "")
    if scheme.lower() in BUCKETS and host:
        return f"{scheme}://{host}", f"{host}/{rest}".rstrip("/")
    if scheme.lower() in HOSTS:
        return f"{scheme}://{host}/", f"/{rest}".rstrip("/") or "/"
    known = ", ".join(f"{name}://" for name in (*BUCKETS, *HOSTS))
    raise InputError(f"{shown(uri)} cannot be read: known are plain paths, http(s) URLs and {known}")


@lru_cache(maxsize=64)
def _file_system(root: str) -> Any:
    fs: Any = require_extra("ray", "pyarrow.fs")
    try:
        return fs.FileSystem.from_uri(root)[0]
    except (OSError, ValueError) as error:
        raise InputError(f"{root} cannot be opened: {error}; check its name, your keys and AWS_ENDPOINT_URL") from error


def located(uri: str) -> tuple[Any, str]:
    """Return the `pyarrow.fs.FileSystem` of a URI and the path within it.

    Args:
        uri: For which `is_stored` holds.

    Raises:
        InputError: The scheme is not read, or there is no such storage.
    """
    root, path = split(uri)
    return _file_system(root), path


class StoredFile:
    """A file of object storage that is opened when it is read; for `mien.sources.images.Item`."""

    def __init__(self, uri: str) -> None:
        """Remember where it is."""
        self.uri = uri

    def read(self, size: int = -1, /) -> bytes:
        """Return its first `size` bytes, all by default.

        Raises:
            OSError: It cannot be read.
        """
        system, path = located(self.uri)
        with system.open_input_file(path) as file:
            content: bytes = file.read(None if size < 0 else size)
            return content

    def save(self, to: Path) -> None:
        """Copy it into a file.

        Args:
            to: The file.

        Raises:
            SourceError: It cannot be read.
        """
        try:
            system, path = located(self.uri)
            with system.open_input_stream(path) as stream, to.open("wb") as file:
                while piece := stream.read(1 << 20):
                    file.write(piece)
        except OSError as error:
            raise SourceError(f"{self.uri} cannot be read: {error}; check the name and your keys") from error


@dataclass(frozen=True)
class Stored:
    """A file that was found.

    Attributes:
        path: Its path, or its URI.
        tag: What changes when its content does: size and time.
    """

    path: str
    tag: str


def tag_of(size: int | None, time_ns: int | None) -> str:
    """Return the tag of a file."""
    return f"{size}:{time_ns}"


def walk_storage(uri: str) -> Iterator[Stored]:
    """Yield the files below a folder of object storage, folder by folder; hidden ones are left out.

    Args:
        uri: The folder.

    Raises:
        SourceError: It cannot be listed.
    """
    system, path = located(uri)
    fs: Any = require_extra("ray", "pyarrow.fs")
    scheme = uri.partition("://")[0]
    todo = [path]
    while todo:
        try:
            found = system.get_file_info(fs.FileSelector(todo.pop(), recursive=False))
        except OSError as error:
            raise SourceError(f"{uri} cannot be listed: {error}; check the name and your keys") from error
        for info in found:
            if info.base_name.startswith("."):
                continue
            if info.type == fs.FileType.Directory:
                todo.append(info.path)
            elif info.type == fs.FileType.File:
                yield Stored(f"{scheme}://{info.path.lstrip('/')}", tag_of(info.size, info.mtime_ns))


class Store:
    """A folder that results are written into, on a disk or in object storage. Files appear whole or not at all."""

    def __init__(self, uri: str) -> None:
        """Find the file system; nothing is made.

        Args:
            uri: A path, or a URI of `is_stored`.

        Raises:
            InputError: There is no such storage.
        """
        self.uri = uri.rstrip("/") or "/"
        fs: Any = require_extra("ray", "pyarrow.fs")
        self._fs = fs
        self.local = not is_stored(uri)
        if self.local:
            self.uri = os.path.abspath(os.path.expanduser(self.uri.removeprefix("file://")))
            self.system, self.root = fs.LocalFileSystem(), self.uri
        else:
            self.system, self.root = located(self.uri)

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, None where there is none."""
        try:
            with self.system.open_input_file(f"{self.root}/{name}") as file:
                content: bytes = file.read()
                return content
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OutputError(f"{self.uri}/{name} cannot be read: {error}; check your keys and the network") from error

    def exists(self, name: str) -> bool:
        """Whether there is a file."""
        with explained(f"{self.uri}/{name}"):
            found: bool = self.system.get_file_info(f"{self.root}/{name}").type == self._fs.FileType.File
            return found

    def write(self, name: str, content: bytes) -> None:
        """Write a file, replacing an older one.

        Args:
            name: Its name below the folder; missing folders are made.
            content: All of it.

        Raises:
            OutputError: It cannot be written.
        """
        path = f"{self.root}/{name}"
        with explained(f"{self.uri}/{name}"):
            if not self.local:
                with self.system.open_output_stream(path) as stream:
                    stream.write(content)
                return
            folder, _, own = path.rpartition("/")
            os.makedirs(folder, exist_ok=True)
            part = f"{folder}/.{own}.{secrets.token_hex(4)}.part"
            try:
                with open(part, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(part, path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(part)
                raise

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with explained(f"{self.uri}/{name}"), suppress(FileNotFoundError):
            self.system.delete_file(f"{self.root}/{name}")

    def names(self, *endings: str) -> list[str]:
        """Return the names of the files below the folder that end in one of these, hidden ones aside, sorted."""
        selector = self._fs.FileSelector(self.root, recursive=True, allow_not_found=True)
        with explained(self.uri):
            found = self.system.get_file_info(selector)
        paths = (info.path for info in found if info.type == self._fs.FileType.File)
        names = (path[len(self.root) + 1 :] for path in paths)
        return sorted(name for name in names if name.endswith(endings) and not name.rpartition("/")[2].startswith("."))
