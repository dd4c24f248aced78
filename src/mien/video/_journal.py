"""The journal of a run: every result so far and, now and then, the state that the next frame needs.

One JSON object per line. The first names the video and the settings; then a line per frame, and after some of them a
snapshot: the state of the tracker, from which an interrupted run goes on. Lines reach the disk only together with a
snapshot, and what a crash left after the last whole one is cut off; so no frame is lost or counted twice.
"""

import base64
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, OutputError
from mien.faces import MESH_POINTS, Faces, Frame
from mien.files import explained
from mien.labels import LabelSet
from mien.video._head import FORMAT, Head, check_head

PIXEL = np.zeros((1, 1, 3), np.uint8)  # stands in for images that nobody looks at
RESULT = b'{"n":'  # begins the line of a frame
ARRAYS = {
    "xyxy": np.float32, "score": np.float32, "landmarks": np.float32, "probs": np.float32,
    "track_id": np.int64, "smoothed": np.float32, "steady": np.int64, "baseline": np.float32,
    "mesh": np.float32,
}  # fmt: skip


@dataclass
class Past:
    """What an earlier run did.

    Attributes:
        frames: Frames with results.
        last_index: Number of the last of them within the video; -1 where there are none.
        last_time_s: Its time.
        state: The state after it, or None where the run of a whole video ended.
        problems: Warnings about the video.
        ended: Whether the run came to the end of the video.
        published: Whether its outputs got their own names, so that nothing is left to do.
        error: Why the video broke off there, or None.
        end_byte: Where the next line goes.
    """

    frames: int = 0
    last_index: int = -1
    last_time_s: float = 0.0
    state: dict[str, Any] | None = None
    problems: list[str] = field(default_factory=list)
    ended: bool = False
    error: str | None = None
    end_byte: int = 0
    published: bool = False


class Journal:
    """A journal that is written. For one thread at a time.

    Attributes:
        path: The file.
        past: What it held when it was opened.
    """

    def __init__(self, path: Path, head: Head, *, resume: bool = False) -> None:
        """Start a journal, or open the one of an earlier run.

        Args:
            path: The file; missing folders are made.
            head: What must be the same when a run goes on: the video and the settings, as JSON values.
            resume: Whether to go on with a journal that is there already; else it is replaced.

        Raises:
            InputError: The journal is of another video or of other settings.
            OutputError: It cannot be written.
        """
        self.path = path
        self._head = json.loads(json.dumps(head))
        self._lines: list[str] = []
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = path.open("r+b" if path.exists() else "x+b")
        try:
            self.past = (self._check(read_past(path)) if resume else None) or self._begin()
            with explained(path):
                self._file.truncate(self.past.end_byte)
                self._file.seek(self.past.end_byte)
        except BaseException:
            self._file.close()
            raise

    def _check(self, found: "tuple[Head, Past] | None") -> Past | None:
        if found is None:
            return None
        head, past = found
        check_head(head, self._head)
        return past

    def restart(self) -> None:
        """Drop all that is in the journal, and start it again.

        Raises:
            OutputError: It cannot be written.
        """
        self._lines = []
        self.past = self._begin()

    def _begin(self) -> Past:
        line = _line(self._head).encode()
        with explained(self.path):
            self._file.seek(0)
            self._file.truncate()
            self._file.write(line)
            self._file.flush()
        return Past(end_byte=len(line))

    def add(self, frame: Frame, faces: Faces) -> None:
        """Note the result of a frame; it is kept from the next snapshot on."""
        self._lines.append(_line({"n": frame.index, "t": frame.time_s, "faces": _packed(faces)}))

    def snapshot(self, state: dict[str, Any], problems: list[str]) -> None:
        """Write all that was noted, and the state from which a later run can go on.

        Args:
            state: JSON values.
            problems: Warnings so far.

        Raises:
            OutputError: The disk is full, or the like.
        """
        self._write({"state": state, "problems": problems})

    def end(
        self, problems: list[str], error: str | None, *, published: bool = False, state: dict[str, Any] | None = None
    ) -> None:
        """Write all that was noted, and that the video is done; once more when its outputs are there.

        Args:
            problems: Warnings about it.
            error: Why it broke off, or None.
            published: Whether its outputs have their own names.
            state: JSON values that somebody else goes on from, where this was a part of a video.

        Raises:
            OutputError: The disk is full, or the like.
        """
        state_of = {} if state is None else {"state": state}
        self._write({"end": True, "problems": problems, "error": error, "published": published, **state_of})

    def _write(self, last: dict[str, Any]) -> None:
        text = "".join([*self._lines, _line(last)])
        with explained(self.path):
            self._file.write(text.encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        self._lines = []

    def close(self) -> None:
        """Close the file; what came after the last snapshot is dropped."""
        with suppress(OSError):
            self._file.close()

    def __enter__(self) -> "Journal":
        """Return the journal itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def read_past(path: Path) -> tuple[Head, Past] | None:
    """Read a journal up to its last whole snapshot.

    Args:
        path: The file.

    Returns:
        Its head and what it says, or None where there is no head yet.

    Raises:
        InputError: It is no journal of this version of mien.
        OutputError: It cannot be read.
    """
    with explained(path), path.open("rb") as file:
        line = file.readline()
        head = _parsed(line)
        if head is None:
            return None
        if head.get("format") != FORMAT:
            raise InputError(f"cannot resume: {path} is of another version of mien; leave --resume out to start again")
        past, frames, last, at = Past(end_byte=len(line)), 0, (-1, 0.0), len(line)
        for line in file:
            entry = _parsed(line)
            if entry is None:  # the run was killed while it wrote this
                break
            at += len(line)
            if "n" in entry:
                frames, last = frames + 1, (entry["n"], entry["t"])
            else:
                past = _past(entry, frames, last, at)
    return head, past


def _past(entry: dict[str, Any], frames: int, last: tuple[int, float], at: int) -> Past:
    """Return what is known after a snapshot, or the end."""
    return Past(
        frames,
        *last,
        entry.get("state"),
        entry["problems"],
        "end" in entry,
        entry.get("error"),
        at,
        entry.get("published", False),
    )


def read_results(path: Path, labels: LabelSet, frames: int, source: str) -> Iterator[tuple[Frame, Faces]]:
    """Yield the first results of a journal. The frames have a single pixel.

    Args:
        path: The file.
        labels: The label set of the run.
        frames: How many.
        source: Name of the video, for `Frame.source`.

    Raises:
        OutputError: It cannot be read, or ends too early.
    """
    with explained(path), path.open("rb") as file:
        file.readline()
        for line in file:
            if not frames:
                return
            entry = _parsed(line) or {}
            if "n" in entry:
                frame = Frame(PIXEL, source, entry["n"], entry["t"])
                frames -= 1
                yield frame, _unpacked(entry["faces"], labels, frame)
    if frames:
        raise OutputError(f"{path} has changed while it was read; leave --resume out to start again")


def count_results(path: Path) -> int:
    """Return how many frames a journal holds; 0 where there is none."""
    with suppress(OSError), path.open("rb") as file:
        return sum(line.startswith(RESULT) for line in file)
    return 0


class Piece:
    """The results of a journal, one after another, and then what it says at its end. The frames have a single pixel.

    Attributes:
        past: What the journal says, as far as it was read: complete after the last result.
    """

    def __init__(self, path: Path, labels: LabelSet, source: str) -> None:
        """Choose a journal.

        Args:
            path: The file.
            labels: The label set of the run.
            source: Name of the video, for `Frame.source`.
        """
        self.past = Past()
        self._path, self._labels, self._source = path, labels, source

    def __iter__(self) -> Iterator[tuple[Frame, Faces]]:
        """Yield the results up to the last whole snapshot, each when it is asked for.

        Raises:
            OutputError: It cannot be read.
        """
        frames, waiting = 0, list[tuple[Frame, Faces]]()
        with explained(self._path), self._path.open("rb") as file:
            at = len(file.readline())
            for line in file:
                entry = _parsed(line)
                if entry is None:
                    return
                at += len(line)
                if "n" in entry:
                    frame = Frame(PIXEL, self._source, entry["n"], entry["t"])
                    frames += 1
                    waiting.append((frame, _unpacked(entry["faces"], self._labels, frame)))
                    continue
                last = (waiting[-1][0].index, waiting[-1][0].time_s) if waiting else (-1, 0.0)
                self.past = _past(entry, frames, last, at)
                yield from waiting
                waiting.clear()


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry, separators=(",", ":")) + "\n"


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return the object of a line, None where it is not whole."""
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _packed(faces: Faces) -> dict[str, Any] | None:
    """Return the arrays as text, to the last bit."""
    if not len(faces):
        return None
    arrays = {name: getattr(faces, name) for name in ARRAYS}
    packed: dict[str, Any] = {name: _text(a) for name, a in arrays.items() if a is not None}
    if faces.attributes is not None:
        packed["attributes"] = {name: _text(values) for name, values in faces.attributes.items()}
        packed["notes"] = faces.notes
    if faces.person is not None:
        packed["person"] = faces.person
    return packed


def _text(array: NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _unpacked(packed: dict[str, Any] | None, labels: LabelSet, frame: Frame) -> Faces:
    if packed is None:
        return Faces.empty(frame=frame)
    shapes = {
        "xyxy": (-1, 4), "landmarks": (-1, 5, 2), "probs": (-1, len(labels)), "smoothed": (-1, len(labels)),
        "mesh": (-1, MESH_POINTS, 2),
    }  # fmt: skip
    arrays: dict[str, Any] = {
        name: np.frombuffer(base64.b64decode(packed[name]), kind).reshape(shapes.get(name, (-1,)))
        for name, kind in ARRAYS.items()
        if name in packed
    }
    if "attributes" in packed:
        told = packed["attributes"].items()
        arrays["attributes"] = {name: np.frombuffer(base64.b64decode(text), np.float32) for name, text in told}
        arrays["notes"] = tuple(packed["notes"])
    if "person" in packed:
        arrays["person"] = tuple(packed["person"])
    arrays |= {"source": frame.source, "frame_index": frame.index, "time_s": frame.time_s}
    return Faces(**arrays, labels=labels if "probs" in arrays else None)
