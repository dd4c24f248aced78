"""`LiveSession`: the newest frame of a live source is analyzed, logged and recorded; a window or a terminal shows it.

Reading, analyzing, drawing a recording and showing each have a thread of their own. Between two of them there is one
place for the newest result, or a short queue, so that nothing ever piles up: the delay stays bounded.
"""

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from mien.errors import InputError, MienError, OutputError
from mien.faces import Faces, Frame
from mien.labels import LabelSet
from mien.output.draw.faces import draw_faces
from mien.output.kinds import TABLE, VIDEO
from mien.output.sinks import Draw, Sink, open_sink
from mien.sources.live import LiveFrame
from mien.sources.videos import VideoInfo

POLL_S = 0.1  # how soon a stop is noticed while no frame comes
RATE_S = 2.0  # the frame rate is that of the last seconds
RECENT = 30  # the delay shown is the median of so many frames
BIN_MS, LONGEST_MS = 0.25, 10_000.0
VIDEO_QUEUE = 12  # frames that wait to be recorded


class Source(Protocol):
    """What a session needs of `mien.sources.live.LiveSource`."""

    dropped: int

    @property
    def info(self) -> VideoInfo:
        """Size and rate."""

    @property
    def problems(self) -> list[str]:
        """Warnings."""

    @property
    def ended(self) -> bool:
        """Whether no further frame will come."""

    def newest(self, timeout_s: float | None = None) -> LiveFrame | None:
        """Return the newest frame that was not given out before."""


class Tracks(Protocol):
    """What a session needs of `mien.tracking.tracker.Tracker`."""

    def track(self, frames: Sequence[Frame]) -> list[Faces]:
        """Return the faces of each frame."""


@dataclass(frozen=True)
class LiveOutputs:
    """Where results go.

    Attributes:
        log: A table of all faces, or None.
        record: An annotated video that starts at once; None if `toggle_recording` starts one.
        draw: Draws faces for videos.
        stream: A further open writer, for standard output say; it is closed at the end.
    """

    log: Path | None = None
    record: Path | None = None
    draw: Draw = draw_faces
    stream: Sink | None = None

    def __post_init__(self) -> None:
        """Check the extensions."""
        for path, kind in ((self.log, TABLE), (self.record, VIDEO)):
            if path is not None:
                kind.check(path)


@dataclass(frozen=True)
class Moment:
    """One analyzed frame.

    Attributes:
        number: Counts the analyzed frames, from 1.
        frame: The frame.
        faces: Its faces.
    """

    number: int
    frame: LiveFrame
    faces: Faces


@dataclass(frozen=True)
class LiveSummary:
    """What a session did.

    Attributes:
        frames: Frames analyzed.
        dropped: Frames left out so that the newest could be analyzed.
        seconds: How long it ran.
        median_ms: Median delay from capture to where it was shown, milliseconds; NaN without a frame.
        p95_ms: The delay that 95 % of the frames stayed below.
        problems: Warnings of the source and of the outputs.
        written: The files written.
        error: Why it ended before its time, or why an output is missing; None where all went well.
    """

    frames: int
    dropped: int
    seconds: float
    median_ms: float
    p95_ms: float
    problems: tuple[str, ...] = ()
    written: tuple[Path, ...] = ()
    error: MienError | None = None


# Measuring ------------------------------------------------------------------------------------------------------------


class Delays:
    """Delays of any number of frames in flat memory: a histogram with bins of `BIN_MS`."""

    def __init__(self) -> None:
        """Start empty."""
        self._counts = np.zeros(round(LONGEST_MS / BIN_MS) + 1, np.int64)
        self._recent: deque[float] = deque(maxlen=RECENT)

    def add(self, milliseconds: float) -> None:
        """Add one delay."""
        self._recent.append(milliseconds)
        self._counts[min(max(0, int(milliseconds / BIN_MS)), len(self._counts) - 1)] += 1

    @property
    def count(self) -> int:
        """How many were added."""
        return int(self._counts.sum())

    def quantile(self, share: float) -> float:
        """Return the delay that a share of all frames stayed below, milliseconds; NaN without a frame.

        Args:
            share: 0-1; 0.5 for the median.
        """
        if not self.count:
            return math.nan
        number = max(1, math.ceil(share * self.count))
        return (int(np.searchsorted(np.cumsum(self._counts), number)) + 0.5) * BIN_MS

    @property
    def recent_ms(self) -> float | None:
        """Median of the last frames, or None before the first."""
        return float(np.median(list(self._recent))) if self._recent else None


class Rate:
    """Frames per second over the last `RATE_S` seconds."""

    def __init__(self) -> None:
        """Start empty."""
        self._times: deque[float] = deque(maxlen=1024)

    def tick(self, now_s: float) -> None:
        """Count a frame."""
        self._times.append(now_s)

    def at(self, now_s: float) -> float | None:
        """Return the rate, or None before the second frame. May be called while another thread counts."""
        times = [time_s for time_s in list(self._times) if now_s - time_s <= RATE_S]
        return (len(times) - 1) / max(1e-6, times[-1] - times[0]) if len(times) > 1 else None


# Files ----------------------------------------------------------------------------------------------------------------


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
            self._log = outputs.log, open_sink(outputs.log, labels=labels, tracked=True)
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
                self._log = path, open_sink(path, labels=labels, tracked=True)
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


# The session ----------------------------------------------------------------------------------------------------------


class LiveSession:
    """Analyzes the newest frame of a source, again and again, in a thread.

    Attributes:
        files: The outputs.
        delays: From capture to screen, of every frame shown.
        rate: Of the frames shown.
        labels: The label set asked for last.
        paused: Set it to let the image stand still; nothing is analyzed or written meanwhile.
    """

    def __init__(
        self,
        source: Source,
        trackers: Callable[[LabelSet], Tracks],
        label_sets: Sequence[LabelSet],
        *,
        outputs: LiveOutputs | None = None,
        window: bool = False,
        seconds: float | None = None,
    ) -> None:
        """Open the outputs; `with` starts the thread.

        Args:
            source: Gives the frames.
            trackers: Makes what follows the faces, for one of the label sets.
            label_sets: The sets to choose from; the first one counts at the start.
            outputs: Where results go.
            window: Whether the caller shows the frames and calls `shown`; if not, one counts as shown when it is
                analyzed, logged and handed to the recording.
            seconds: Stop after so long; None for no limit.

        Raises:
            InputError: There is no label set, or a recording would replace its source.
            OutputError: An output cannot be written.
            MissingExtraError: The format of an output needs an extra.
        """
        if not label_sets:
            raise InputError("a live session needs a label set; pass at least one")
        self._source, self._trackers, self._sets = source, trackers, list(label_sets)
        self._window, self._seconds = window, math.inf if seconds is None else seconds
        self.labels = self._sets[0]
        self.files = LiveFiles(outputs or LiveOutputs(), self.labels, source.info)
        self.delays, self.rate = Delays(), Rate()
        self.paused = False
        self._changed = threading.Condition()
        self._moment: Moment | None = None
        self._frames = 0
        self._stop = self._done = False
        self._error: BaseException | None = None
        self._started_s = self._ended_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="mien-live", daemon=True)

    def __enter__(self) -> Self:
        """Start."""
        self._started_s = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and complete all files, whatever happened."""
        self._stop = True
        self._thread.join()
        self.files.close()

    @property
    def dropped(self) -> int:
        """Frames left out so that the newest could be analyzed."""
        return self._source.dropped

    @property
    def done(self) -> bool:
        """Whether no further frame will be analyzed: the source has ended, the time is up, or something failed."""
        return self._done

    @property
    def recording_s(self) -> float | None:
        """Length of the recording, seconds, or None while there is none."""
        return self.files.recording_s

    def latest(self, after: int = 0, *, timeout_s: float = 0.0) -> Moment | None:
        """Return the newest analyzed frame.

        Args:
            after: Number of the moment that the caller has already.
            timeout_s: How long to wait for a newer one.

        Returns:
            The moment, or None where there is none newer.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._done or self._is_newer(after), timeout_s)
            return self._moment if self._is_newer(after) else None

    def _is_newer(self, after: int) -> bool:
        return self._moment is not None and self._moment.number > after

    def shown(self, moment: Moment) -> float:
        """Note that a frame is on the screen now.

        Returns:
            Its delay, milliseconds.
        """
        now_s = time.monotonic()
        delay_ms = 1e3 * (now_s - moment.frame.captured_s)
        self.delays.add(delay_ms)
        self.rate.tick(now_s)
        return delay_ms

    def note(self) -> str | None:
        """Return what has happened to the outputs and was not asked for yet, or None."""
        with suppress(IndexError):
            return self.files.notes.popleft()
        return None

    def next_labels(self) -> LabelSet:
        """Change to the next label set, from the next frame on. A log goes on in a new file, with other columns."""
        self.labels = self._sets[(self._sets.index(self.labels) + 1) % len(self._sets)]
        return self.labels

    def summary(self) -> LiveSummary:
        """Return what was done, once the session has ended.

        Raises:
            Exception: Something unexpected ended the session.
        """
        if self._error is not None and not isinstance(self._error, MienError):
            raise self._error
        return LiveSummary(
            frames=self._frames,
            dropped=self.dropped,
            seconds=self._ended_s - self._started_s,
            median_ms=self.delays.quantile(0.5),
            p95_ms=self.delays.quantile(0.95),
            problems=(*self._source.problems, *self.files.problems),
            written=tuple(self.files.written),
            error=self._error or self.files.error,
        )

    # In the thread

    def _run(self) -> None:
        try:
            self._analyze()
        except BaseException as error:
            self._error = error
        self._ended_s = time.monotonic()
        with self._changed:
            self._done = True
            self._changed.notify_all()

    def _analyze(self) -> None:
        labels, tracker = self.labels, self._trackers(self.labels)
        while not self._stop and time.monotonic() - self._started_s < self._seconds:
            frame = self._source.newest(POLL_S)
            if frame is None:
                if self._source.ended:
                    return
                continue
            if self.paused:
                continue
            if labels != self.labels:
                labels, tracker = self.labels, self._trackers(self.labels)
            (faces,) = tracker.track([frame])
            self._frames += 1
            self._publish(Moment(self._frames, frame, faces))
            self.files.write(frame, faces, labels)
            if not self._window:
                self.shown(Moment(self._frames, frame, faces))

    def _publish(self, moment: Moment) -> None:
        with self._changed:
            self._moment = moment
            self._changed.notify_all()
