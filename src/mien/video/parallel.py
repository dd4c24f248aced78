"""Many videos at once, each in a process of its own, so that none waits for another and none can stop the others."""

import logging
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait as wait_for_sentinel
from pathlib import Path
from typing import Any

import cv2

from mien.analyzer import DEFAULT_DETECTOR, Analyzer
from mien.detect.detector import DetectorSettings
from mien.errors import MienError
from mien.models.catalogue import DEFAULT_MODEL
from mien.models.runtime import RuntimeSettings
from mien.output.draw.faces import PLAIN, DrawStyle
from mien.output.sinks import Sink
from mien.sources.addresses import public_name
from mien.sources.videos import VideoSettings
from mien.tracking.settings import TrackSettings
from mien.video._outputs import VideoOutputs
from mien.video._run import SNAPSHOT_S, Progress, VideoResult, analyze_video
from mien.video._work import DONE
from mien.video.truth import Truth

POLL_S = 0.1
REPORT_S = 0.25  # between two reports of one worker

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """How every worker makes its own `Analyzer`; the fields are those of its `__init__`."""

    detector: str = DEFAULT_DETECTOR
    model: str = DEFAULT_MODEL
    labels: str | None = None
    detector_settings: DetectorSettings = field(default_factory=DetectorSettings)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)

    def open(self) -> Analyzer:
        """Return an analyzer."""
        return Analyzer(
            detector=self.detector,
            model=self.model,
            labels=self.labels,
            detector_settings=self.detector_settings,
            runtime=self.runtime,
        )


@dataclass(frozen=True)
class VideoJob:
    """One video and what is wanted of it; the fields are the arguments of `analyze_video`."""

    source: str
    outputs: VideoOutputs = field(default_factory=VideoOutputs)
    journal: Path | None = None
    video: VideoSettings = field(default_factory=VideoSettings)
    track: TrackSettings = field(default_factory=TrackSettings)
    style: DrawStyle = PLAIN
    interval_s: float | None = None
    truth: Truth | None = None
    resume: bool = False
    snapshot_s: float = SNAPSHOT_S

    def run(
        self, analyzer: Analyzer, progress: Callable[[Progress], None] | None, stop: threading.Event
    ) -> VideoResult:
        """Do as `analyze`, but turn an error of any kind into a result that says so.

        Args:
            analyzer: Detector and expression model.
            progress: Called after every frame.
            stop: Set it to end the work early.
        """
        try:
            return self.analyze(analyzer, progress, stop)
        except MienError as error:
            return VideoResult(self.name, error=str(error))
        except Exception as error:
            logger.exception("unexpected error on %s", self.name)
            return VideoResult(self.name, error=f"{self.name}: unexpected {type(error).__name__}: {error}")

    @property
    def name(self) -> str:
        """The video's name for people, without a password."""
        return public_name(self.source)

    def analyze(
        self,
        analyzer: Analyzer,
        progress: Callable[[Progress], None] | None,
        stop: threading.Event,
        *,
        sinks: Sequence[Sink] = (),
    ) -> VideoResult:
        """Analyze the video, unless an earlier run with the same journal has finished it and `resume` is on.

        Args:
            analyzer: Detector and expression model.
            progress: Called after every frame.
            stop: Set it to end the work early.
            sinks: Open writers that get the results, too, and are left open.

        Raises:
            MienError: As `analyze_video`.
        """
        mark = self.journal.with_suffix(DONE) if self.journal else None
        finished = self.resume and mark is not None and mark.exists()
        finished = finished and all(path.exists() for path in self.outputs.all())
        result = analyze_video(
            self.source,
            analyzer=analyzer,
            outputs=VideoOutputs() if finished else self.outputs,
            video=self.video,
            track=self.track,
            style=self.style,
            interval_s=self.interval_s,
            truth=self.truth,
            resume=self.resume,
            progress=progress,
            stop=stop,
            sinks=sinks,
            journal=self.journal,
            snapshot_s=self.snapshot_s,
        )
        if finished:
            return replace(result, outputs=self.outputs.all())
        if mark is not None and not result.interrupted:
            with suppress(OSError):  # without the mark, a later run only works more than it must
                mark.touch()
        return result


def analyze_videos(
    jobs: Sequence[VideoJob],
    recipe: Recipe,
    *,
    workers: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> Generator[VideoResult]:
    """Analyze videos in parallel, one process each, every one on one thread per network call.

    A video that cannot be analyzed gives a result with an `error` and stops no other, even if its process crashes.
    Closing the iterator early ends the work.

    Args:
        jobs: The videos.
        recipe: How to make the analyzers.
        workers: Videos at once; None takes one per CPU core.
        progress: Called now and then, in this thread.
        stop: Set it to end the work early; videos that have not begun then have the error that says so.

    Yields:
        A result per video, in the order of `jobs`.
    """
    stop = stop or threading.Event()
    count = min(workers or os.cpu_count() or 1, len(jobs))
    with _Pool(recipe, count) as pool:
        futures = [pool.submit(job) for job in jobs]
        for job, future in zip(jobs, futures, strict=True):
            pool.watch(future, progress, stop)
            try:
                result = future.result()
            except BrokenProcessPool:
                result = _alone(job, recipe, progress, stop)
            yield result


def _alone(
    job: VideoJob, recipe: Recipe, progress: Callable[[Progress], None] | None, stop: threading.Event
) -> VideoResult:
    """Analyze a video after a crash, the cause of which may have been any of those that were at work."""
    if stop.is_set():
        return _not_begun(job)
    with _Pool(recipe, 1) as pool:
        future = pool.submit(replace(job, resume=job.resume or job.journal is not None))
        pool.watch(future, progress, stop)
        try:
            return future.result()
        except BrokenProcessPool:
            return VideoResult(
                job.name, error=f"{job.name}: the process that worked on it crashed or was killed; check the file"
            )


def _not_begun(job: VideoJob) -> VideoResult:
    return VideoResult(job.name, error=f"{job.name}: not begun, the run was interrupted", interrupted=True)


class _Pool:
    """Worker processes with one analyzer each."""

    def __init__(self, recipe: Recipe, count: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy threads and locks of the networks
        self._reports: Any = context.Queue()
        self._stop: Any = context.Event()
        self._pool = ProcessPoolExecutor(
            count, mp_context=context, initializer=_start_worker, initargs=(recipe, self._reports, self._stop)
        )

    def submit(self, job: VideoJob) -> Future[VideoResult]:
        return self._pool.submit(_work, job)

    def watch(
        self, future: Future[VideoResult], progress: Callable[[Progress], None] | None, stop: threading.Event
    ) -> None:
        """Wait for a result, hand reports on, and pass `stop` on to the workers."""
        while not wait([future], timeout=POLL_S, return_when=FIRST_COMPLETED).done:
            if stop.is_set():
                self._stop.set()
            with suppress(queue.Empty):
                while True:
                    report = self._reports.get_nowait()
                    if progress:
                        progress(report)

    def __enter__(self) -> "_Pool":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:  # also where the consumer stops early
            self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._reports.close()


class _Worker:
    """What a worker process has: its analyzer, and the ways to its parent."""

    def __init__(self, recipe: Recipe, reports: Any, stop: Any) -> None:
        self.analyzer, self.stop, self._reports = recipe.open(), stop, reports
        self._next_s = 0.0

    def report(self, progress: Progress) -> None:
        now = time.monotonic()
        if now >= self._next_s:
            self._next_s = now + REPORT_S
            self._reports.put(progress)


_worker: list[_Worker] = []


def _start_worker(recipe: Recipe, reports: Any, stop: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    threading.Thread(target=_die_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    reports.cancel_join_thread()  # nobody may be left to read the last ones
    _worker[:] = [_Worker(recipe, reports, stop)]


def _die_with_parent() -> None:
    """End at once when the parent is gone: a later run may go on with the same journal."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_sentinel([parent.sentinel])
        os._exit(1)


def _work(job: VideoJob) -> VideoResult:
    worker = _worker[0]
    if worker.stop.is_set():
        return _not_begun(job)
    one_thread = replace(job, video=replace(job.video, threads=1))
    return one_thread.run(worker.analyzer, worker.report, worker.stop)
