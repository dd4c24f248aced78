"""The segments of one video over the cores of a machine, a process for each, and the results of all in one."""

import gc
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from mien.analyzer import AnalyzerSettings
from mien.errors import InputError, MienError, shown
from mien.memory import give_back
from mien.video._plan import Segment
from mien.video._pool import Reports, Worker, WorkerPool, on_one_thread
from mien.video.job import VideoJob
from mien.video.segments import resume_segment

AUTO = "auto"
MOST_DEATHS = 3  # of the process that works on a segment, before it is given up
Place = Callable[[Segment], Path]


class SegmentRunner(Protocol):
    """Analyzes the segments of a video somewhere: in processes of this machine, or on others."""

    def pieces(
        self,
        job: VideoJob,
        segments: Sequence[Segment],
        place: Place,
        *,
        stop: threading.Event,
        progress: Callable[[int], None],
    ) -> Iterator[Path]:
        """Yield the piece of each segment as soon as it is done, in order.

        Args:
            job: The video. With `resume`, pieces that are there already are gone on with.
            segments: Its plan.
            place: Where the piece of a segment may lie.
            stop: Ends the work early: pieces are left as they are, and those that never began are left out.
            progress: Called now and then with the number of frames done in all segments.

        Raises:
            MienError: A segment cannot be analyzed; the message says which and what to do.
        """
        ...


class SegmentPool:
    """Worker processes with an analyzer each; closing the iterator of `pieces` ends them."""

    def __init__(self, settings: AnalyzerSettings, workers: int | str | None = AUTO) -> None:
        """Choose how many.

        Args:
            settings: How every process makes its analyzer.
            workers: How many processes; `"auto"` takes one per core that this process may use.

        Raises:
            InputError: It is neither.
        """
        self.settings, self.workers = settings, worker_count(workers)

    def pieces(
        self,
        job: VideoJob,
        segments: Sequence[Segment],
        place: Place,
        *,
        stop: threading.Event,
        progress: Callable[[int], None],
    ) -> Iterator[Path]:
        """Yield pieces as `SegmentRunner.pieces`. A process that dies is replaced, by fewer ones, and its work resumed.

        Raises:
            MienError: A process died three times at the same segment, or cannot be started.
        """
        left, workers, deaths = list(segments), self.workers, Counter[int]()
        done: dict[int, int] = {}

        def heard(report: tuple[int, int]) -> None:
            number, frames = report
            if frames > done.get(number, 0):  # what a worker said last may come after its result
                done[number] = frames
                progress(sum(done.values()))

        while left and not stop.is_set():
            with WorkerPool(self.settings, min(workers, len(left))) as pool:
                futures = {segment: pool.submit(_work, job, segment, place(segment)) for segment in left}
                try:
                    while left:
                        pool.watch(futures[left[0]], heard, stop)
                        frames = futures[left[0]].result()
                        if frames is None:
                            return
                        heard((left[0].number, frames))
                        yield place(left.pop(0))
                except BrokenProcessPool:
                    pass
            if left and not stop.is_set():
                begun = [segment for segment in left if not _finished(futures[segment]) and place(segment).exists()]
                deaths.update(segment.number for segment in begun)
                _check_deaths(job, begun, deaths)
                job, workers = replace(job, resume=True), max(1, workers // 2)


def worker_count(workers: int | str | None) -> int:
    """Return how many processes somebody wants.

    Args:
        workers: A number of at least 1; `"auto"` or 0 for one per core that this process may use; None for one.

    Raises:
        InputError: It is none of these.
    """
    if workers is None:
        return 1
    if workers in (AUTO, 0):
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise InputError(
            f"workers must be a whole number of at least 1, or auto for one per core, got {shown(workers)}"
        )
    return workers


def _finished(future: Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _check_deaths(job: VideoJob, begun: Sequence[Segment], deaths: Counter[int]) -> None:
    """Give up where a process dies again and again."""
    if not begun:
        deaths[-1] += 1
    if deaths[-1] >= MOST_DEATHS:
        raise MienError(
            f"{job.name}: the processes that should analyze it cannot be started, or are killed at once; in a script, "
            'call it below if __name__ == "__main__":, or take one worker'
        )
    for segment in begun:
        if deaths[segment.number] >= MOST_DEATHS:
            end = "the end" if segment.end_s is None else f"{segment.end_s:.0f} s"
            raise MienError(
                f"{job.name}: the process that analyzes it from {segment.lead_s:.0f} s to {end} crashed or was killed "
                f"{MOST_DEATHS} times; check the file and the memory, or take one worker; --resume goes on"
            )


def _work(worker: Worker, job: VideoJob, segment: Segment, path: Path) -> int | None:
    """Analyze a segment in a worker process; return its number of frames, None after a stop."""
    if worker.stop.is_set():
        return None
    reports = Reports(worker)
    frames = resume_segment(
        on_one_thread(job), segment, worker.analyzer, path, lambda done: reports((segment.number, done)), worker.stop
    )
    gc.collect()
    give_back()  # the threads of every segment had heaps of their own
    return frames
