"""What all writers of results have in common: how they begin, take results, and end.

Every writer is a context manager, and a file appears complete or not at all: it grows under a hidden name in the same
folder and takes its own name when the `with` block ends. An error in the block removes it. Ctrl-C does not: what was
done by then is kept, as a valid file; a table then ends with a row whose `error` says that the run was interrupted.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.faces import Faces, Frame
from mien.labels import LabelSet

if TYPE_CHECKING:
    from mien.sources.videos import VideoInfo

Draw = Callable[[NDArray[np.uint8], Faces], NDArray[np.uint8]]


@dataclass(frozen=True)
class SinkSettings:
    """What a writer needs to know before the first result.

    Attributes:
        labels: The label set of the results, for the columns of a table.
        draw: Draws faces on a copy of an image; `mien.draw_faces` does. Needed for images and videos only.
        keep_empty: Whether a frame without a face gets a row in tables.
        tracked: Whether tables have the columns of videos.
        video: The video that is annotated, where the result is one.
        root: Sources below this folder keep their folders in a folder of images; None puts all images side by side.
        attributes: Names of `mien.faces.ATTRIBUTES` that have columns in tables.
    """

    labels: LabelSet
    draw: Draw | None = None
    keep_empty: bool = True
    tracked: bool = False
    video: "VideoInfo | None" = None
    root: Path | None = None
    attributes: tuple[str, ...] = ()


class Sink(ABC):
    """Takes the results of one frame after another. For one thread at a time."""

    def __init__(self) -> None:
        """Start open."""
        self._closed = False

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Complete the output; discard it after an error other than Ctrl-C."""
        if kind is None:
            self.close()
        elif issubclass(kind, KeyboardInterrupt):
            self.interrupt()
        else:
            self.discard()

    def write(self, frame: Frame, faces: Faces) -> None:
        """Add the faces of one frame.

        Args:
            frame: The frame; rows take source, number and time from it.
            faces: Its faces; none is a result, too.

        Raises:
            InputError: The faces carry another label set, or the writer is closed.
            OutputError: The result cannot be written; the unfinished file is removed.
        """
        self._check_open()
        self._write(frame, faces)

    def fail(self, source: str, message: str) -> None:
        """Note that a source gave no result; writers of images have no place for it and do nothing.

        Args:
            source: The path, URL or name.
            message: What went wrong.

        Raises:
            InputError: The writer is closed.
            OutputError: The note cannot be written; the unfinished file is removed.
        """
        self._check_open()
        self._fail(source, message)

    def close(self) -> None:
        """Complete the output; a second call does nothing.

        Raises:
            OutputError: The output cannot be completed; the unfinished file is removed.
        """
        if not self._closed:
            self._closed = True
            self._commit()

    def interrupt(self) -> None:
        """Complete the output with what is there, marked as interrupted where it has a place for that.

        Raises:
            OutputError: The output cannot be completed; the unfinished file is removed.
        """
        self.close()

    def discard(self) -> None:
        """Drop the unfinished output."""
        self._closed = True
        self._drop()

    def _check_open(self) -> None:
        if self._closed:
            raise InputError("this writer is closed; open a new one with open_sink()")

    @abstractmethod
    def _write(self, frame: Frame, faces: Faces) -> None: ...

    @abstractmethod
    def _fail(self, source: str, message: str) -> None: ...

    @abstractmethod
    def _commit(self) -> None: ...

    @abstractmethod
    def _drop(self) -> None: ...


class SinkWithoutFile(Sink):
    """A writer that has nothing to complete or to drop."""

    def _write(self, frame: Frame, faces: Faces) -> None: ...

    def _fail(self, source: str, message: str) -> None: ...

    def _commit(self) -> None: ...

    def _drop(self) -> None: ...


class DrawingSink(Sink):
    """Draws faces on what it writes."""

    def __init__(self, settings: SinkSettings) -> None:
        """Check that there is something to draw with.

        Args:
            settings: Its `draw` draws the faces.

        Raises:
            InputError: It is missing.
        """
        super().__init__()
        if settings.draw is None:
            raise InputError("an annotated image needs a function that draws; pass draw=mien.draw_faces")
        self._draw = settings.draw

    def _fail(self, source: str, message: str) -> None:
        """An image or video has no place for it."""
