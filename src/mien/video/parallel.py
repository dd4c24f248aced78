"""Many videos at once, each in a process of its own, so that none waits for another and none can stop the others."""

import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

from mien.analyzer import AnalyzerSettings
from mien.video._pool import Worker, WorkerPool
from mien.video.job import Progress, VideoJob
from mien.video.result import VideoResult
from mien.video.run import attempt_job

REPORT_S = 0.25  # between two reports of one worker


def analyze_videos(
    jobs: Sequence[VideoJob],
    settings: AnalyzerSettings,
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
        settings: How every process makes its analyzer.
        workers: Videos at once; None takes one per CPU core.
        progress: Called now and then, in this thread.
        stop: Set it to end the work early; videos that have not begun then have the error that says so.

    Yields:
        A result per video, in the order of `jobs`.
    """
    stop, report = stop or threading.Event(), progress or _unheard
    count = min(workers or os.cpu_count() or 1, len(jobs))
    with WorkerPool(settings, count) as pool:
        futures = [pool.submit(_work, job) for job in jobs]
        for job, future in zip(jobs, futures, strict=True):
            pool.watch(future, report, stop)
            try:
                result = future.result()
            except BrokenProcessPool:
                result = _alone(job, settings, report, stop)
            yield result


def _unheard(_: Progress) -> None: ...


def _alone(
    job: VideoJob, settings: AnalyzerSettings, report: Callable[[Progress], None], stop: threading.Event
) -> VideoResult:
    """Analyze a video after a crash, the cause of which may have been any of those that were at work."""
    if stop.is_set():
        return _not_begun(job)
    with WorkerPool(settings, 1) as pool:
        future = pool.submit(_work, replace(job, resume=job.resume or job.journal is not None))
        pool.watch(future, report, stop)
        try:
            result: VideoResult = future.result()
            return result
        except BrokenProcessPool:
            return VideoResult(
                job.name, error=f"{job.name}: the process that worked on it crashed or was killed; check the file"
            )


def _not_begun(job: VideoJob) -> VideoResult:
    return VideoResult(job.name, error=f"{job.name}: not begun, the run was interrupted", interrupted=True)


def _work(worker: Worker, job: VideoJob) -> VideoResult:
    if worker.stop.is_set():
        return _not_begun(job)
    one_thread = replace(job, video=replace(job.video, threads=1))
    return attempt_job(one_thread, worker.analyzer, progress=_Reports(worker), stop=worker.stop)


class _Reports:
    """Hands progress on, not too often."""

    def __init__(self, worker: Worker) -> None:
        self._worker, self._next_s = worker, 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now >= self._next_s:
            self._next_s = now + REPORT_S
            self._worker.report(progress)
