"""What a live session writes: a log, recordings, a stream. One that fails is given up, the others go on."""

import queue
import threading
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mien.errors import MienError, OutputError
from mien.faces import Faces, Frame
from mien.labels import LabelSet
from mien.output.base import Draw, Sink
from mien.output.draw.faces import draw_faces
from mien.output.kinds import TABLE, VIDEO
from mien.output.sinks import open_sink
from mien.sources.videos import VideoInfo

VIDEO_QUEUE = 12  # frames that wait to be recorded


@dataclass(frozen=True)
class LiveOutputs:
    """Where results go.

    Attributes:
        log: A table of all faces, or None.
        record: An annotated video that starts at once; None if `toggle_recording` starts one.
        draw: Draws faces for videos.
        stream: A further open writer, for standard output say; it is closed at the end.
        attributes: Names of the attributes that have columns in the log.
    """

    log: Path | None = None
    record: Path | None = None
    draw: Draw = draw_faces
    stream: Sink | None = None
    attributes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the extensions."""
        for path, kind in ((self.log, TABLE), (self.record, VIDEO)):
            if path is not None:
                kind.check(path)


class Recording:
    """An annotated video that is drawn and encoded in a thread of its own.

    Attributes:
        path: The video.
        taken: Frames taken; a video without one is not written.
        skipped: Frames that the video lacks because encoding did not keep up.
    """

    def __init__(self, path: Path, *, labels: LabelSet, draw: Draw, video: VideoInfo) -> None:
        """Start the video.

        Args:
            path: Where it goes.
            labels: The label set.
            draw: Draws the faces.
            video: The source.

        Raises:
            InputError: Unknown extension, or it would replace its source.
            OutputError: Nothing can be written there.
            MissingExtraError: PyAV is not installed.
        """
        self.path, self.taken, self.skipped = path, 0, 0
        self._sink = open_sink(path, labels=labels, draw=draw, tracked=True, video=video)
        self._queue: queue.Queue[tuple[Frame, Faces] | None] = queue.Queue(VIDEO_QUEUE)
        self._first_s = self._last_s = 0.0
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="mien-record", daemon=True)
        self._thread.start()

    @property
    def seconds(self) -> float:
        """Length so far."""
        return self._last_s - self._first_s

    def add(self, frame: Frame, faces: Faces) -> None:
        """Add a frame, unless too many wait already.

        Raises:
            OutputError: An earlier frame could not be written; the video is gone.
        """
        if self._error is not None:
            raise self._error
        try:
            self._queue.put_nowait((frame, faces))
        except queue.Full:
            self.skipped += 1
            return
        self._first_s = frame.time_s if self.taken == 0 else self._first_s
        self._last_s = frame.time_s
        self.taken += 1

    def close(self) -> None:
        """Write what waits and complete the video.

        Raises:
            OutputError: It cannot be completed; the unfinished file is removed.
        """
        self._queue.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error
        self._sink.close()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._error is None:
                try:
                    self._sink.write(*item)
                except BaseException as error:
                    self._error = error
                    self._sink.discard()


class LiveFiles:
    """The outputs of a session. One that fails is given up, with a note; the others go on.

    Attributes:
        written: Files that are complete.
        problems: What is missing, for people.
        notes: What has happened and was not read yet.
        error: The first failure, or None.
    """

    def __init__(self, outputs: LiveOutputs, labels: LabelSet, video: VideoInfo) -> None:
        """Open those that start at once.

        Args:
            outputs: Where results go.
            labels: The label set at the start.
            video: The source.

        Raises:
            InputError: A recording would replace its source.
            OutputError: Nothing can be written there.
            MissingExtraError: A format needs an extra.
        """
        self.written: list[Path] = []
        self.problems: list[str] = []
        self.notes: deque[str] = deque(maxlen=4)
        self.error: MienError | None = None
        self._outputs, self._labels, self._video = outputs, labels, video
        self._lock = threading.RLock()
        self._log: tuple[Path, Sink] | None = None
        self._recording: Recording | None = None
        if outputs.log:
            self._log = outputs.log, self._opened(outputs.log)
        try:
            if outputs.record:
                self._start_recording(outputs.record)
        except BaseException:
            if self._log:
                self._log[1].discard()
            raise

    @property
    def recording_s(self) -> float | None:
        """Length of the recording, seconds, or None while there is none."""
        recording = self._recording
        return None if recording is None else recording.seconds

    def write(self, frame: Frame, faces: Faces, labels: LabelSet) -> None:
        """Log and record one frame.

        Args:
            frame: The frame.
            faces: Its faces.
            labels: Their label set; a log goes on in a new file when it changes.

        Raises:
            BrokenPipeError: Who read the stream went away.
        """
        with self._lock:
            if labels != self._labels:
                self._change_labels(labels)
            if self._outputs.stream:
                self._outputs.stream.write(frame, faces)
            if self._log:
                try:
                    self._log[1].write(frame, faces)
                except OutputError as error:
                    self._log = None
                    self._fail(error)
            if self._recording:
                try:
                    self._recording.add(frame, faces)
                except OutputError as error:
                    self._recording = None
                    self._fail(error)

    def toggle_recording(self) -> str:
        """Start a recording, or complete the running one.

        Returns:
            What was done or why not, for people.
        """
        with self._lock:
            finishing = self._recording is not None
            try:
                if finishing:
                    return self._finish_recording()
                path = unused(self._outputs.record or Path(f"{stamped_name()}.mp4"))
                self._start_recording(path)
                return f"recording to {path}"
            except MienError as error:
                if finishing:
                    self.error = self.error or error
                return str(error)

    def close(self) -> None:
        """Complete all files."""
        with self._lock:
            for finish in (self._finish_recording, self._finish_log, self._finish_stream):
                try:
                    finish()
                except MienError as error:
                    self._fail(error)

    def _opened(self, path: Path) -> Sink:
        return open_sink(path, labels=self._labels, tracked=True, attributes=self._outputs.attributes)

    def _start_recording(self, path: Path) -> None:
        self._recording = Recording(path, labels=self._labels, draw=self._outputs.draw, video=self._video)

    def _finish_recording(self) -> str:
        recording, self._recording = self._recording, None
        if recording is None:
            return ""
        recording.close()
        if recording.skipped:
            self.problems.append(f"{recording.path} lacks {recording.skipped} frames: encoding did not keep up")
        if not recording.taken:
            return "nothing was recorded"
        self.written.append(recording.path)
        return f"saved {recording.path}"

    def _finish_log(self) -> None:
        if self._log:
            (path, sink), self._log = self._log, None
            sink.close()
            self.written.append(path)

    def _finish_stream(self) -> None:
        if self._outputs.stream:
            self._outputs.stream.close()

    def _change_labels(self, labels: LabelSet) -> None:
        self._labels = labels
        if self._log and self._outputs.log:
            try:
                self._finish_log()
                path = unused(self._outputs.log)
                self._log = path, self._opened(path)
                self.notes.append(f"the log goes on in {path}")
            except MienError as error:
                self._fail(error)

    def _fail(self, error: MienError) -> None:
        self.error = self.error or error
        self.notes.append(str(error))


def unused(path: Path) -> Path:
    """Return `path`, or the first of `name-2`, `name-3`… that does not exist."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free


def stamped_name() -> str:
    """Return a name for a file made now, by local time: `mien-20260131-184502`."""
    return f"mien-{datetime.now():%Y%m%d-%H%M%S}"
