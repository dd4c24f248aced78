"""Many videos at once, each in a process of its own, so that none waits for another and none can stop the others."""

import logging
import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from mien.analyzer import AnalyzerSettings
from mien.errors import MienError
from mien.people.embedding import FaceEmbedder
from mien.tracking.settings import TrackSettings
from mien.video._people import KnownPeople, SeenTracks, gallery_of, name_videos
from mien.video._pool import Reports, Worker, WorkerPool, on_one_thread
from mien.video.job import Progress, VideoJob
from mien.video.result import VideoResult
from mien.video.run import attempt_job, see_people

logger = logging.getLogger(__name__)
Given = TypeVar("Given")
Made = TypeVar("Made")


def analyze_videos(
    jobs: Sequence[VideoJob],
    settings: AnalyzerSettings,
    *,
    workers: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> Generator[VideoResult]:
    """Analyze videos in parallel, one process each, every one on one thread per network call.

    Where people are told apart (`TrackSettings.people`), those of all videos are: a first round finds what tells them
    apart, a second one writes the results, so the first result comes after the first round of all.

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
    with TemporaryDirectory(prefix="mien-") as spare, WorkerPool(settings, count) as pool:
        crew = _Crew(settings, pool, report, stop)
        ready = list(jobs)
        if len(jobs) > 1 and all(job.track.people is not None for job in jobs):
            kept = [replace(job, journal=job.journal or Path(spare) / f"{n}.journal") for n, job in enumerate(jobs)]
            known = _know_people(kept, crew)
            ready = [replace(job, known=one, resume=True) if one else job for job, one in zip(kept, known, strict=True)]
        for job, result in zip(jobs, crew.map(_work, ready, partial(_lost, stop)), strict=True):
            yield result if job.journal or job.keep else replace(result, journal=None)


def _unheard(_: Progress) -> None: ...


def _know_people(jobs: Sequence[VideoJob], crew: "_Crew") -> Sequence[KnownPeople | None]:
    """Return who the tracks of each video are, among those of all; None where nothing is known of a video."""
    seen = list(crew.map(_see, jobs, lambda _: None))
    nobody: list[KnownPeople | None] = [None] * len(jobs)
    return next(crew.map(_name, [(jobs[0].track, seen)], lambda _: nobody))


class _Crew:
    """Hands work to processes. One of them that crashes takes the work of no other with it."""

    def __init__(
        self,
        settings: AnalyzerSettings,
        pool: WorkerPool,
        report: Callable[[Progress], None],
        stop: threading.Event,
    ) -> None:
        self._settings, self._pool, self._report, self._stop = settings, pool, report, stop
        self._broken = False

    def map(
        self, work: Callable[[Worker, Given], Made], given: Sequence[Given], lost: Callable[[Given], Made]
    ) -> Iterator[Made]:
        """Yield what becomes of each in their order; `lost` says it of one whose process crashed twice."""
        futures = [] if self._broken else [self._pool.submit(work, one) for one in given]
        for one, future in zip_longest(given, futures):
            made = () if future is None else self._made(self._pool, future)
            self._broken = self._broken or not made
            yield made[0] if made else self._alone(work, one, lost)

    def _made(self, pool: WorkerPool, future: Future[Made]) -> tuple[Made, ...]:
        """Return what became of it; nothing where the process crashed."""
        pool.watch(future, self._report, self._stop)
        try:
            return (future.result(),)
        except BrokenProcessPool:
            return ()

    def _alone(self, work: Callable[[Worker, Given], Made], one: Given, lost: Callable[[Given], Made]) -> Made:
        """Work on one thing after a crash, the cause of which may have been any of those that were at work."""
        if self._stop.is_set():
            return lost(one)
        if isinstance(one, VideoJob):
            one = replace(one, resume=one.resume or one.journal is not None)
        with WorkerPool(self._settings, 1) as pool:
            made = self._made(pool, pool.submit(work, one))
        return made[0] if made else lost(one)


def _lost(stop: threading.Event, job: VideoJob) -> VideoResult:
    if stop.is_set():
        return _not_begun(job)
    return VideoResult(
        job.name, error=f"{job.name}: the process that worked on it crashed or was killed; check the file"
    )


def _not_begun(job: VideoJob) -> VideoResult:
    return VideoResult(job.name, error=f"{job.name}: not begun, the run was interrupted", interrupted=True)


def _work(worker: Worker, job: VideoJob) -> VideoResult:
    if worker.stop.is_set() and job.known is None:
        return _not_begun(job)
    return attempt_job(on_one_thread(job), worker.analyzer, progress=Reports(worker), stop=worker.stop)


def _see(worker: Worker, job: VideoJob) -> SeenTracks | None:
    """Return what tells the tracks of a video apart; None where it cannot be analyzed, which `_work` tells of."""
    if worker.stop.is_set():
        return None
    try:
        return see_people(on_one_thread(job), worker.analyzer, progress=Reports(worker), stop=worker.stop)
    except Exception as error:
        logger.info("%s: %s", job.name, error)
        return None


def _name(worker: Worker, given: tuple[TrackSettings, Sequence[SeenTracks | None]]) -> list[KnownPeople | None]:
    """Return who the tracks of each video are."""
    settings, videos = given
    try:
        gallery = gallery_of(settings, worker.analyzer.detector, FaceEmbedder())
    except MienError:  # `_work` tells of it
        return [None] * len(videos)
    problems = tuple(gallery.problems) if gallery else ()
    named = zip(videos, name_videos([one or SeenTracks.none() for one in videos], gallery), strict=True)
    return [KnownPeople(tracks, problems, seen.resumed, seen.seconds) if seen else None for seen, tracks in named]
