"""The hidden folder in which the outputs of a run grow, so that all of them appear whole, or can be gone on with."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from mien.errors import InputError, OutputError
from mien.files import PartFile, check_not_source, explained

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

JOURNAL = ".journal"
LOCK = "lock"


class WorkFolder:
    """Names under which outputs grow, one hidden folder beside each output, and the journals in the first of them.

    The folder's name follows from the outputs, so a later run with the same ones finds it.
    """

    def __init__(
        self,
        targets: Sequence[Path],
        *,
        sources: Sequence[str] = (),
        resume: bool = False,
        home: Path | None = None,
    ) -> None:
        """Check that every output can be written, and clean up what a run that was killed left behind.

        Args:
            targets: The outputs; no folder is made where there are none.
            sources: What is analyzed; no output may replace it.
            resume: Whether the journals are kept.
            home: A folder for the journals; None takes that of the first output.

        Raises:
            InputError: Two outputs are the same file, an output is a source, or another run is writing it.
            OutputError: Nothing can be written there.
        """
        self._targets, self._named = [Path(os.path.realpath(target)) for target in targets], list(targets)
        self._lock: IO[bytes] | None = None
        self._check(sources)
        self._done = False
        first = home / "videos" if home else self._targets[0] if self._targets else None
        key = hashlib.sha256(os.fsencode(os.path.realpath(first or ""))).hexdigest()[:10]
        parents = [Path(os.path.realpath(first)).parent] if first else []
        self._folders = {
            parent: parent / f".mien-{key}.work" for parent in (*parents, *(target.parent for target in self._targets))
        }
        self._home = self._folders[parents[0]] if parents else None
        try:
            for folder in self._folders.values():
                with explained(folder):
                    folder.mkdir(parents=True, exist_ok=True)
            self._take()
        except BaseException:
            self._unlock()
            raise
        for folder in self._folders.values():
            _clean(folder, keep=resume)

    def _check(self, sources: Sequence[str]) -> None:
        if len(set(self._targets)) < len(self._targets):
            raise InputError("two outputs have the same name; give each its own")
        for target in self._targets:
            for source in sources:
                check_not_source(target, source)
            part = PartFile(target)
            part.start()
            part.discard()

    def _take(self) -> None:
        """Keep a second run away from the same outputs."""
        if fcntl is None or not self._home:
            return
        path = self._home / LOCK
        with explained(path):
            self._lock = path.open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"another run is writing the same output in {self._home.parent} now; wait for it or write elsewhere"
            ) from None
        except OSError:  # a file system without locks
            return

    def journal_path(self, source: str) -> Path | None:
        """Return where the journal of a video goes; None where there is no output, and so nothing to resume."""
        name = hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return self._home / f"{name}{JOURNAL}" if self._home else None

    def path(self, target: Path) -> Path:
        """Return the name under which an output grows."""
        place = Path(os.path.realpath(target))
        return self._folders[place.parent] / place.name

    def publish(self, *, done: bool = True) -> list[Path]:
        """Give the finished outputs their own names.

        Args:
            done: Whether the work is done; else the journals stay, for a later run to go on.

        Returns:
            The outputs that there are.

        Raises:
            OutputError: One cannot be moved.
        """
        published = []
        for target, name in zip(self._targets, self._named, strict=True):
            grown = self.path(target)
            if grown.exists():
                with explained(name):
                    grown.replace(target)
                published.append(name)
        self._done = done
        return published

    def __enter__(self) -> "WorkFolder":
        """Return it."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Remove what is of no use to a later run; an error of the disk names the output, not the hidden file.

        Raises:
            OutputError: In place of one from within the block.
        """
        self._close()
        if isinstance(error, OutputError):
            said = str(error)
            for parent, folder in self._folders.items():
                said = said.replace(f"{folder}{os.sep}", f"{parent}{os.sep}")
            raise OutputError(said) from error

    def _close(self) -> None:
        for folder in self._folders.values():
            if not self._done:
                _clean(folder, keep=True)
            if self._done or not any(map(_is_journal, folder.iterdir())):
                shutil.rmtree(folder, ignore_errors=True)
        self._unlock()

    def _unlock(self) -> None:
        if self._lock:
            self._lock.close()
            self._lock = None
        for folder in self._folders.values():
            with suppress(OSError):  # it is in use, or holds journals
                folder.rmdir()


def _clean(folder: Path, *, keep: bool) -> None:
    with suppress(OSError):
        for path in folder.iterdir():
            if not (path.name == LOCK or (keep and path.suffix == JOURNAL)):
                with explained(path):
                    path.unlink()


def _is_journal(path: Path) -> bool:
    """Whether a file is a journal from which a run can go on: with more than its head."""
    if path.suffix != JOURNAL:
        return False
    with path.open("rb") as file:
        file.readline()
        return bool(file.readline())
