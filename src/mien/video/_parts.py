"""A video in parts: who analyzes them, where their pieces lie, and how far all of them are."""

import threading
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import cast

from mien.analyzer import Analyzer
from mien.sources.videos import VideoInfo
from mien.video._journal import Journal, count_results
from mien.video._plan import Segment
from mien.video._stitch import stitch
from mien.video.job import Progress, VideoJob
from mien.video.result import KeptFolder
from mien.video.segment_pool import SegmentRunner

RATE_S = 3.0  # frames/s are those of the last seconds


class Parts:
    """The segments of a video that a runner analyzes.

    Attributes:
        stitched: Their results in one.
        resumed: How many frames an earlier run had done.
    """

    def __init__(
        self,
        job: VideoJob,
        segments: Sequence[Segment],
        runner: SegmentRunner,
        analyzer: Analyzer,
        info: VideoInfo,
        journal: Journal | None,
        stop: threading.Event,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        """Begin nothing yet: the segments are analyzed as their results are asked for.

        Args:
            job: The video and what is wanted of it.
            segments: Its plan.
            runner: Analyzes them.
            analyzer: Detector and expression model.
            info: The video.
            journal: That of the video; the pieces lie beside it. None keeps them in a temporary folder.
            stop: Ends the work early.
            progress: Called now and then.
        """
        self._spare = KeptFolder() if journal is None else None
        self._home = journal.path if journal else cast(KeptFolder, self._spare).journal
        self._segments, self._progress, self._info, self._meter = segments, progress, info, Meter()
        self.resumed = sum(count_results(self._place(segment)) for segment in segments) if job.resume else 0
        self._pieces = runner.pieces(job, segments, self._place, stop=stop, progress=self._heard)
        self.stitched = stitch(job, segments, self._pieces, analyzer, info=info, stop=stop)

    def _place(self, segment: Segment) -> Path:
        return self._home.with_name(f"segment-{segment.number:05}-{self._home.name}")

    def _heard(self, frames: int) -> None:
        if self._progress:
            info = self._info
            frames = frames if info.frames is None else min(frames, info.frames)
            self._progress(self._meter.tick(info, frames, frames / (info.fps or 25.0)))

    def remove(self) -> None:
        """Remove the pieces."""
        for segment in self._segments:
            self._place(segment).unlink(missing_ok=True)

    def close(self) -> None:
        """End what still works on them."""
        if isinstance(self._pieces, Generator):
            self._pieces.close()
        if self._spare:
            self._spare.close()


class Meter:
    """Frames per second of the last few seconds."""

    def __init__(self) -> None:
        """Start without any."""
        self._marks: list[tuple[float, int]] = []

    def tick(self, info: VideoInfo, frames: int, time_s: float) -> Progress:
        """Count a frame."""
        now = time.monotonic()
        self._marks.append((now, frames))
        while len(self._marks) > 2 and now - self._marks[1][0] > RATE_S:
            self._marks.pop(0)
        (then, before), total = self._marks[0], info.frames
        fps = (frames - before) / (now - then) if now > then else 0.0
        left_s = max(0, total - frames) / fps if total is not None and fps else None
        return Progress(info.source, frames, total, fps, left_s, time_s)
