"""Files that appear whole or not at all, and errors of the disk that say what to do."""

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from mien.errors import InputError, OutputError, shown

# What a spreadsheet takes for a formula, the apostrophes of earlier guarding before it included. Full-width signs
# count: some spreadsheets read them as the plain ones.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def guarded_cells(values: Iterable[object]) -> list[object]:
    """Return the cells of one row of a CSV so that no spreadsheet takes a text for a formula.

    A text that begins with `=`, `+`, `-`, `@`, a tabulator or a new line gets an apostrophe before it, which
    spreadsheets take as «this is text»; so does one that begins with apostrophes and one of these, so that `plain_cell`
    gives back each text as it was. Numbers stay as they are, those in texts, too.

    Args:
        values: Texts, numbers, None…
    """
    return [f"'{value}" if isinstance(value, str) and _is_formula(value) else value for value in values]


def plain_cell(text: str) -> str:
    """Return a text as it was before `guarded_cells`.

    Args:
        text: A cell as the csv module reads it.
    """
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _is_formula(text: str) -> bool:
    return _FORMULA.match(text) is not None and _NUMBER.fullmatch(text) is None


def ending_of(path: str | Path, known: Container[str], must: str) -> str:
    """Return the extension of a file to be written.

    Args:
        path: The file.
        known: What it may be: lower-case extensions with their dots.
        must: What must hold, for the message.

    Returns:
        The extension in lower case.

    Raises:
        InputError: It is none of those.
    """
    kind = Path(path).suffix.lower()
    if kind not in known:
        raise InputError(f"{path}: {must}, got {shown(kind or 'no ending')}; rename it")
    return kind


def check_not_source(path: Path, source: str | Path, *, kind: str = "video", instead: str = "another file") -> None:
    """Refuse to write over what is analyzed.

    Args:
        path: The file to be written.
        source: What is analyzed: a file, or the name of something that is none.
        kind: What it is, for the message.
        instead: Where to write, for the message.

    Raises:
        InputError: Both are the same file.
    """
    try:
        same = os.path.samefile(path, source)
    except (OSError, ValueError):  # one of them is no file
        return
    if same:
        raise InputError(f"{path} is the {kind} that is analyzed; write to {instead}")


class FileNames:
    """Files as a table names them, found by names that are longer or shorter by leading folders."""

    def __init__(self, names: Iterable[str]) -> None:
        """Take the names; a tail that several share stands for none of them, unless it is a name itself."""
        tidy = sorted({tidy_name(name) for name in names} - {""})
        self._by_tail: dict[str, str] = {}
        for name in tidy:
            for tail in _tails_of(name):
                self._by_tail[tail] = "" if tail in self._by_tail else name
        self._by_tail |= {name: name for name in tidy}
        self._found: dict[str, str] = {}

    def of(self, source: str) -> str:
        """Return the tidy name under which the table knows a file; empty where it does not."""
        if not self._by_tail or not source:
            return ""
        if source not in self._found:
            if len(self._found) > 10_000:
                self._found.clear()
            own = tidy_name(source)
            longer = (tail for tail in _tails_of(own) if self._by_tail.get(tail) == tail)
            self._found[source] = next(longer, self._by_tail.get(own, ""))
        return self._found[source]


def tidy_name(file: str) -> str:
    """Return a file's name with slashes alone and without `./` before it."""
    return re.sub(r"^(\./)+", "", file.strip().replace("\\", "/"))


def _tails_of(name: str) -> Iterator[str]:
    """Yield a path and what is left when one leading folder after the other is cut off."""
    parts = name.split("/")
    return ("/".join(parts[i:]) for i in range(len(parts)))


def storable(text: str) -> str:
    """Return text that every file can hold: names of files may have bytes that are no UTF-8, which become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_whole(path: str | Path, content: bytes | str) -> Path:
    """Write a file so that other programs see the old content or all of the new, never a part.

    Args:
        path: The file; missing folders are made.
        content: Bytes, or text that is written as UTF-8.

    Returns:
        The path.

    Raises:
        OutputError: Nothing can be written there.
    """
    part = PartFile(Path(path))
    try:
        with part.guarded() as file:
            file.write(storable(content).encode() if isinstance(content, str) else content)
        part.commit()
    except BaseException:  # Ctrl-C, too
        part.discard()
        raise
    return Path(path)


def check_no_dash(path: str | Path) -> None:
    """Refuse `-` as an output: it would become a file or folder of that name.

    Args:
        path: As the user gave it.

    Raises:
        InputError: It is `-`.
    """
    if str(path) == "-":
        raise InputError("cannot write to -; for JSON on standard output leave it out and give --json")


def check_folder(path: Path) -> None:
    """Make a folder where it is missing, and see that files can be written into it.

    Args:
        path: The folder; missing ones above it are made, too.

    Raises:
        InputError: It is `-`.
        OutputError: It is a file, or nothing can be written there.
    """
    check_no_dash(path)
    if path.exists() and not path.is_dir():
        raise OutputError(f"cannot write into {path}: it is a file; give a folder")
    with explained(path):
        path.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path):
            pass


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def whole_or_nothing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path` and move what was written there to `path` when all went well.

    Args:
        path: A file, replaced if it exists, or a folder, which must not exist yet or be empty.

    Raises:
        OutputError: The place cannot be written to.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield part
            part.replace(path)
    finally:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            with suppress(OSError):
                part.unlink()


class PartFile:
    """A file that grows under a hidden name and takes its own name at the end, replacing an older one."""

    def __init__(self, path: Path) -> None:
        """Choose the names; nothing is on the disk yet.

        Args:
            path: The file's own name. A link is followed.
        """
        self.path = Path(os.path.realpath(path))
        self._part = self.path.with_name(f".mien-{secrets.token_hex(6)}.part")
        self._file: IO[bytes] | None = None

    @property
    def growing(self) -> Path:
        """The hidden name, for libraries that open files themselves."""
        return self._part

    def start(self) -> IO[bytes]:
        """Make missing folders and the file, and return it, open.

        Raises:
            OutputError: Nothing can be written there.
        """
        try:
            with explained(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._check_replaceable()
                self._file = self._part.open("xb")
                return self._file
        except BaseException:
            self.discard()
            raise

    def _check_replaceable(self) -> None:
        if not self.path.exists():
            return
        if not self.path.is_file():
            raise OutputError(f"cannot write {self.path}: it is not a file; give the name of one, or a folder as name/")
        if not os.access(self.path, os.W_OK):
            raise PermissionError(errno.EACCES, "write-protected")

    @contextmanager
    def guarded(self) -> Iterator[IO[bytes]]:
        """Give the open file; where writing fails, remove it and say why. Ctrl-C in between leaves no half a row.

        Raises:
            OutputError: The disk is full, or the like.
        """
        file = self._file or self.start()
        whole = file.tell()
        try:
            with explained(self.path):
                yield file
        except OutputError:
            self.discard()
            raise
        except BaseException:
            with explained(self.path):
                file.seek(whole)
                file.truncate()
            raise

    def commit(self) -> None:
        """Give the file its own name.

        Raises:
            OutputError: The last bytes cannot be written.
        """
        try:
            with explained(self.path):
                if self._file:
                    self._file.flush()
                    os.fsync(self._file.fileno())  # else a power cut may leave the new name without its content
                    self._file.close()
                self._part.replace(self.path)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove the unfinished file, if it is there."""
        with suppress(OSError):  # what is still buffered has no room either
            if self._file:
                self._file.close()
        with suppress(OSError):
            self._part.unlink(missing_ok=True)


ADVICE = {
    errno.ENOSPC: "the disk is full; free some space or write to another disk",
    errno.EDQUOT: "the disk quota is used up; free some space or write to another disk",
    errno.EFBIG: "the file grows larger than this disk or account allows; write to another disk or in parts",
    errno.EACCES: "no permission; give another folder or change the permissions",
    errno.EPERM: "no permission; give another folder or change the permissions",
    errno.EROFS: "the disk is read-only; give a folder on another one",
    errno.EISDIR: "it is a folder; give the name of a file",
    errno.ENOTDIR: "part of the path is a file, not a folder; give another path",
    errno.EEXIST: "part of the path is a file, not a folder; give another path",
    errno.ENAMETOOLONG: "the name is too long; give a shorter one",
}


@contextmanager
def explained(where: str | Path) -> Iterator[None]:
    """Turn the errors of the operating system into an `OutputError` that names the file and what to do.

    Args:
        where: The file, or a name for it.

    Raises:
        OutputError: Instead of any `OSError` but a closed pipe.
    """
    try:
        yield
    except (OutputError, BrokenPipeError):
        raise
    except OSError as error:
        why = ADVICE.get(error.errno or 0) or f"{error.strerror or error}; check the path and the disk"
        raise OutputError(f"cannot write {where}: {why}") from error
