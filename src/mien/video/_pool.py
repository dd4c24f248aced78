"""Worker processes with an analyzer each, for whole videos or for segments of one."""

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import wait as wait_for_sentinel
from typing import Any

import cv2

from mien.analyzer import Analyzer, AnalyzerSettings
from mien.video.job import VideoJob

POLL_S = 0.1
REPORT_S = 0.25  # between two reports of one piece of work


class Flag:
    """A word from the parent to its workers, without a lock: one that is killed while it holds a lock stops all."""

    def __init__(self, context: Any) -> None:
        """Start as not set.

        Args:
            context: Of the processes.
        """
        self._value = context.RawValue("b", 0)

    def set(self) -> None:
        """Set it for good."""
        self._value.value = 1

    def is_set(self) -> bool:
        """Whether it was set."""
        return bool(self._value.value)


@dataclass(frozen=True)
class Worker:
    """What a worker process has.

    Attributes:
        analyzer: Its own.
        stop: Set when the work is to end early.
        report: Hands a value to the parent.
    """

    analyzer: Analyzer
    stop: Any
    report: Callable[[Any], None]


class Reports:
    """Hands reports on a piece of work to the parent, not too often."""

    def __init__(self, worker: Worker) -> None:
        """Start with a report at once."""
        self._worker, self._next_s = worker, 0.0

    def __call__(self, report: Any) -> None:
        """Hand a report on, unless the last one was a moment ago."""
        now = time.monotonic()
        if now >= self._next_s:
            self._next_s = now + REPORT_S
            self._worker.report(report)


def on_one_thread(job: VideoJob) -> VideoJob:
    """Return a job that leaves the other cores to the other workers."""
    return replace(job, video=replace(job.video, threads=1))


class WorkerPool:
    """Worker processes with one analyzer each; they end with their parent, however it ends."""

    def __init__(self, settings: AnalyzerSettings, count: int) -> None:
        """Start them when the first work comes.

        Args:
            settings: How every process makes its analyzer.
            count: How many processes.
        """
        context = multiprocessing.get_context("spawn")  # a fork would copy threads and locks of the networks
        self._reports: Any = context.Queue()
        self._stop = Flag(context)
        self._pool = ProcessPoolExecutor(
            count, mp_context=context, initializer=_start_worker, initargs=(settings, self._reports, self._stop)
        )

    def submit(self, work: Callable[..., Any], *given: Any) -> Future[Any]:
        """Let a worker do something.

        Args:
            work: A function of a module; it gets the worker first.
            *given: What it gets besides.
        """
        return self._pool.submit(_work, work, given)

    def watch(self, future: Future[Any], report: Callable[[Any], None], stop: threading.Event) -> None:
        """Wait for a result, hand reports on, and pass `stop` on to the workers."""
        while not wait([future], timeout=POLL_S, return_when=FIRST_COMPLETED).done:
            if stop.is_set():
                self._stop.set()
            for one in self.reports():
                report(one)

    def reports(self) -> Iterator[Any]:
        """Yield what the workers reported since the last time."""
        with suppress(queue.Empty):
            while True:
                yield self._reports.get_nowait()

    def __enter__(self) -> "WorkerPool":
        """Return it."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for the workers to end; they stop early where the consumer did."""
        if kind is not None:
            self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._reports.close()


_worker: list[Worker] = []


def _start_worker(settings: AnalyzerSettings, reports: Any, stop: Flag) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    threading.Thread(target=_die_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    reports.cancel_join_thread()  # nobody may be left to read the last ones
    _worker[:] = [Worker(settings.open(), stop, reports.put)]


def _die_with_parent() -> None:
    """End at once when the parent is gone: a later run may go on with the same journal."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_sentinel([parent.sentinel])
        os._exit(1)


def _work(work: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    return work(_worker[0], *given)
