"""Many videos at once, each in a process of its own, so that none waits for another and none can stop the others."""

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
from dataclasses import replace
from multiprocessing.connection import wait as wait_for_sentinel
from typing import Any

import cv2

from mien.analyzer import AnalyzerSettings
from mien.video.job import Progress, VideoJob
from mien.video.result import VideoResult
from mien.video.run import attempt_job

POLL_S = 0.1
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
    stop = stop or threading.Event()
    count = min(workers or os.cpu_count() or 1, len(jobs))
    with _Pool(settings, count) as pool:
        futures = [pool.submit(job) for job in jobs]
        for job, future in zip(jobs, futures, strict=True):
            pool.watch(future, progress, stop)
            try:
                result = future.result()
            except BrokenProcessPool:
                result = _alone(job, settings, progress, stop)
            yield result


def _alone(
    job: VideoJob, settings: AnalyzerSettings, progress: Callable[[Progress], None] | None, stop: threading.Event
) -> VideoResult:
    """Analyze a video after a crash, the cause of which may have been any of those that were at work."""
    if stop.is_set():
        return _not_begun(job)
    with _Pool(settings, 1) as pool:
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

    def __init__(self, settings: AnalyzerSettings, count: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy threads and locks of the networks
        self._reports: Any = context.Queue()
        self._stop: Any = context.Event()
        self._pool = ProcessPoolExecutor(
            count, mp_context=context, initializer=_start_worker, initargs=(settings, self._reports, self._stop)
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

    def __init__(self, settings: AnalyzerSettings, reports: Any, stop: Any) -> None:
        self.analyzer, self.stop, self._reports = settings.open(), stop, reports
        self._next_s = 0.0

    def report(self, progress: Progress) -> None:
        now = time.monotonic()
        if now >= self._next_s:
            self._next_s = now + REPORT_S
            self._reports.put(progress)


_worker: list[_Worker] = []


def _start_worker(settings: AnalyzerSettings, reports: Any, stop: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    threading.Thread(target=_die_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    reports.cancel_join_thread()  # nobody may be left to read the last ones
    _worker[:] = [_Worker(settings, reports, stop)]


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
    return attempt_job(one_thread, worker.analyzer, progress=worker.report, stop=worker.stop)
