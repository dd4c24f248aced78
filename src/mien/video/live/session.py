"""`LiveSession`: the newest frame of a live source is analyzed, logged and recorded; a window or a terminal shows it.

Reading, analyzing, drawing a recording and showing each have a thread of their own. Between two of them there is one
place for the newest result, or a short queue, so that nothing ever piles up: the delay stays bounded.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from mien.errors import InputError, MienError
from mien.faces import Faces, Frame
from mien.labels import LabelSet
from mien.sources.live import LiveFrame
from mien.sources.videos import VideoInfo
from mien.video.live.delays import Delays, FrameRate
from mien.video.live.files import LiveFiles, LiveOutputs

POLL_S = 0.1  # how soon a stop is noticed while no frame comes


class FrameSource(Protocol):
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


class FrameTracker(Protocol):
    """What a session needs of `mien.tracking.tracker.Tracker`."""

    def track(self, frames: Sequence[Frame]) -> list[Faces]:
        """Return the faces of each frame."""


@dataclass(frozen=True)
class LiveMoment:
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
        source: FrameSource,
        trackers: Callable[[LabelSet], FrameTracker],
        label_sets: Sequence[LabelSet],
        *,
        outputs: LiveOutputs | None = None,
        window: bool = False,
        seconds: float | None = None,
    ) -> None:
        """Open the outputs; `with` starts the thread.

        Args:
            source: Gives the frames.
            trackers: Makes what tracks the faces, for one of the label sets.
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
        self.delays, self.rate = Delays(), FrameRate()
        self.paused = False
        self._changed = threading.Condition()
        self._moment: LiveMoment | None = None
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

    def latest(self, after: int = 0, *, timeout_s: float = 0.0) -> LiveMoment | None:
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

    def shown(self, moment: LiveMoment) -> float:
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
            self._publish(LiveMoment(self._frames, frame, faces))
            self.files.write(frame, faces, labels)
            if not self._window:
                self.shown(LiveMoment(self._frames, frame, faces))

    def _publish(self, moment: LiveMoment) -> None:
        with self._changed:
            self._moment = moment
            self._changed.notify_all()
