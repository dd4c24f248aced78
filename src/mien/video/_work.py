"""The work on one video: results from a journal, from segments or anew, into the outputs."""

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from itertools import islice
from typing import cast

from mien.analyzer import Analyzer
from mien.errors import InputError, SourceError
from mien.faces import Faces, Frame
from mien.labels import LabelSet
from mien.output.rows import INTERRUPTED_ROW
from mien.sources.videos import Video
from mien.tracking.tracker import Tracker, track_video
from mien.video._journal import Journal, Past, read_results
from mien.video._parts import Meter, Parts
from mien.video._people import Named
from mien.video._rested import FirstPass
from mien.video._writers import Findings, Writers
from mien.video.job import Progress, VideoJob
from mien.video.result import VideoResult


class Run:
    """The work on one video."""

    def __init__(
        self,
        job: VideoJob,
        video: Video,
        tracker: Tracker,
        writers: Writers,
        findings: Findings,
        stop: threading.Event,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._job, self._videos, self._tracker = job, [video], tracker
        self._writers, self._findings, self._stop, self._progress = writers, findings, stop, progress
        self._journal: Journal | None = None
        self._past = Past()
        self._next_s = 0.0
        self._info = video.info
        self._frames = self._faces = 0
        self._error: str | None = None
        self._meter = Meter()

    def journal(self, journal: Journal) -> None:
        """Go on where a journal ends, and write it."""
        self._journal, self._past = journal, journal.past
        self._next_s = time.monotonic() + self._job.snapshot_s

    def work(self, labels: LabelSet, *, images: bool) -> VideoResult:
        """Do it all and complete the outputs."""
        if self._past.state is not None:
            self._tracker.restore(self._past.state)
        earlier: Iterator[tuple[Frame, Faces]] = iter(())
        if self._journal:
            earlier = read_results(self._journal.path, labels, self._past.frames, self._info.source)
        rest = self._repeat_with_images(earlier) if images else self._repeat(earlier)
        interrupted = self._go_on(rest)
        return self._completed(labels, interrupted=interrupted)

    def take(self, parts: Parts, labels: LabelSet, *, images: bool, raw: bool = False) -> VideoResult:
        """Deliver the results of segments, and complete the outputs.

        Args:
            parts: The segments.
            labels: The label set.
            images: Whether somebody looks at the images.
            raw: Whether what runs from start to end is left to a second pass.
        """
        stitched, meter = parts.stitched, self._progress
        results = stitched.raw() if raw else iter(stitched)
        if not images:
            self._progress = None  # the segments tell of it
        for frame, faces in self._with_images(results) if images else results:
            self._add(frame, faces)
        self._progress = meter
        interrupted = stitched.interrupted or self._stop.is_set()
        self._past = Past(parts.resumed, problems=stitched.problems)
        if not interrupted:
            self._break_off(stitched.error)
            if self._journal:
                self._journal.end(self._problems(), self._error)
        return self._completed(labels, interrupted=interrupted)

    def finish(
        self, first: FirstPass, analyzer: Analyzer, people: Named | None, told: Sequence[str], *, images: bool
    ) -> VideoResult:
        """Deliver the results of a first pass with what is known by now, and complete the outputs.

        A first pass that was stopped is delivered as far as it came.
        """
        results, of_rest = first.rested(analyzer, self._job.track, people)
        self._past = Past(first.resumed, problems=[*first.problems, *told, *of_rest])
        interrupted = first.interrupted
        for frame, faces in self._with_images(results) if images else results:
            self._add(frame, faces)
            if self._stop.is_set() and not first.interrupted:
                interrupted = True
                break
        self._break_off(first.error)
        if self._journal and not interrupted:
            self._journal.end(self._problems(), self._error)
        elif interrupted:
            self._snapshot()
        return self._completed(analyzer.labels, interrupted=interrupted)

    def _completed(self, labels: LabelSet, *, interrupted: bool) -> VideoResult:
        """Complete the outputs and say what became of the video."""
        self.complete(interrupted=interrupted)
        return VideoResult(
            source=self._info.source,
            info=self._info,
            frames=self._frames,
            faces=self._faces,
            resumed=self._past.frames,
            figures=self._findings.to_dict(),
            labels=labels,
            problems=tuple(self._problems()),
            error=self._error,
            interrupted=interrupted,
        )

    def _repeat(self, earlier: Iterator[tuple[Frame, Faces]]) -> Iterator[Frame]:
        """Deliver the results of the earlier run and return the frames that are left."""
        for frame, faces in earlier:
            self._deliver(frame, faces)
        return iter(()) if self._past.ended else self._frames_left()

    def _repeat_with_images(self, earlier: Iterator[tuple[Frame, Faces]]) -> Iterator[Frame]:
        """Do the same, with the images of the video for those who draw on them."""
        frames = iter(self._videos[0])
        for frame, faces in self._with_images(earlier, frames):
            self._deliver(frame, faces)
            self._report(frame)
            if self._stop.is_set():
                break
        self._meter = Meter()
        return iter(()) if self._past.ended else frames

    def _with_images(
        self, results: Iterator[tuple[Frame, Faces]], frames: Iterator[Frame] | None = None
    ) -> Iterator[tuple[Frame, Faces]]:
        """Yield results with the images of the video, read anew where `frames` is None."""
        frames = iter(self._videos[0]) if frames is None else frames
        for known, faces in results:
            frame = next(frames, None)
            if frame is None or frame.index != known.index:
                raise InputError(
                    f"{self._info.source} gives other frames than before; leave --resume out to start again"
                )
            yield frame, faces

    def _frames_left(self) -> Iterator[Frame]:
        """Return the frames that the earlier run has not done.

        The video is entered where that run stopped. Where its times lead elsewhere, as in recordings that were joined,
        it is read from its start.
        """
        video, past = self._videos[0], self._past
        if not past.frames:
            return iter(video)
        later = Video(self._job.source, replace(video.settings, start_s=past.last_time_s, max_frames=None))
        self._videos.append(later)
        frames, last = iter(later), None
        with suppress(InputError):  # nothing there
            last = next(frames, None)
        if last is None or last.index != past.last_index:
            return (frame for frame in video if frame.index > past.last_index)
        most = video.settings.max_frames
        return islice(frames, None if most is None else most - past.frames)

    def _go_on(self, frames: Iterator[Frame]) -> bool:
        """Analyze the frames that are left; return whether `stop` ended the work."""
        if self._past.ended and not self._stop.is_set():
            self._break_off(self._past.error)
            return False
        results = track_video(frames, self._tracker)
        with closing(cast(Generator[tuple[Frame, Faces]], results)):
            while not self._stop.is_set():
                try:
                    result = next(results, None)
                except SourceError as error:
                    self._break_off(str(error))
                    result = None
                if result is None:
                    if self._journal:
                        self._journal.end(self._problems(), self._error)
                    return False
                self._add(*result)
        if self._frames > self._past.frames:
            self._snapshot()
        return True

    def _add(self, frame: Frame, faces: Faces) -> None:
        self._deliver(frame, faces)
        if self._journal:
            self._journal.add(frame, faces)
            if time.monotonic() >= self._next_s:
                self._snapshot()
        self._report(frame)

    def _snapshot(self) -> None:
        if self._journal:
            self._journal.snapshot(self._tracker.state(), self._problems())
            self._next_s = time.monotonic() + self._job.snapshot_s

    def _deliver(self, frame: Frame, faces: Faces) -> None:
        self._frames += 1
        self._faces += len(faces)
        self._findings.add(frame, faces)
        self._writers.write(frame, faces)

    def _report(self, frame: Frame) -> None:
        if self._progress:
            self._progress(self._meter.tick(self._info, self._frames, frame.time_s))

    def _break_off(self, message: str | None) -> None:
        self._error = message
        if message:
            self._findings.summary.fail(message)
            self._writers.fail(self._info.source, message)

    def complete(self, *, interrupted: bool) -> None:
        """Complete the outputs."""
        if interrupted:
            self._findings.summary.fail(INTERRUPTED_ROW)
        self._writers.close(interrupted=interrupted)

    def _problems(self) -> list[str]:
        found = [problem for video in self._videos for problem in video.problems]
        return list(dict.fromkeys([*self._past.problems, *found, *self._writers.problems()]))
