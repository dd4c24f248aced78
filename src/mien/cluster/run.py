"""Images and videos over a Ray cluster: what is missing is found, handed out in tasks, and committed part by part.

The run keeps no list of its own. Every part names its inputs (`parts`), so the next run reads there what is done. What
is left is handed out in tasks of some hundred images, or of a segment of a video (`videos`). A task whose worker is
lost is done again: first in pieces, so that one bad input among many is found, then alone, twice. What brings down its
worker then as well becomes an error row, and costs nobody else.
"""

import os
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import chain, islice
from typing import Any

import numpy as np

from mien._version import __version__
from mien.analyzer import Analyzer, AnalyzerSettings
from mien.cluster._pool import Lost, Pool
from mien.cluster._ray import load_ray
from mien.cluster.inputs import kind_of_input, stream
from mien.cluster.known import Entries, entries_of, name_in_rows
from mien.cluster.parts import ENDING, check_home, open_home, scan, without
from mien.cluster.places import Store, Stored
from mien.cluster.result import ClusterProgress, ClusterResult
from mien.cluster.settings import TRIES, ClusterSettings
from mien.cluster.videos import PIECE, PieceMade, Planned
from mien.cluster.worker import Chunk, Done, WorkerSettings
from mien.errors import InputError, require_extra, shown
from mien.output.progress import ProgressBar
from mien.sources.images import SourceSettings
from mien.sources.videos import VideoSettings
from mien.tracking.settings import TrackSettings
from mien.video.segments import Segment

WINDOW = 4096  # inputs that are looked up at once
PIECES = 16  # of a task that brought its worker down
ROUNDS = 4  # tasks per worker that a small job is cut into
OBJECTS_BYTES = 200 << 20  # shared memory of a cluster of this machine: results are small
POISONED = "brought its worker down twice; try it alone with mien analyze"
NOT_OF_THE_RESULT = ("threads", "allow_private", "max_pixels", "name")


def analyze(
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    cluster: ClusterSettings | None = None,
    settings: AnalyzerSettings | None = None,
    video: VideoSettings | None = None,
    track: TrackSettings | None = None,
    reading: SourceSettings | None = None,
    progress: bool | Callable[[ClusterProgress], None] = True,
) -> ClusterResult:
    """Analyze images and videos on a Ray cluster, or on all cores of this machine, into a Parquet data set.

        result = mien.cluster.analyze("photos/", "faces/")
        table = pandas.read_parquet("faces/")

    A second call with the same `out` does only what is missing or has changed. Nothing is lost or doubled when a
    worker, a node or this process is killed: call it again.

    Args:
        sources: Images and videos, folders and globs of them, on disks that all nodes share or in object storage
            (`s3://`, `gs://`); http(s) URLs of images; and lists of paths, a `.txt` or a `.parquet` with a column
            `path`. A path counts once, however often it is named.
        out: The folder of the data set: `kind=image/` and `kind=video/` with Parquet files, rows as `mien analyze`
            writes them for videos. On a disk that all nodes share, or in object storage.
        cluster: Which cluster, how many workers, and what each of them gets.
        settings: Detector and expression model.
        video: Which frames of videos are taken.
        track: How faces of videos are tracked.
        reading: Limits on images.
        progress: Whether a bar shows how far it is, or a function that is called now and then.

    Returns:
        What became of it. What is wrong with single inputs stands in their rows.

    Raises:
        MissingExtraError: Ray is not installed; no folder is made then.
        InputError: A setting or source is wrong, no worker fits into the cluster, or `out` holds results of other
            settings.
        OutputError: `out` cannot be written, or another run has taken it over.
        MienError: Workers cannot start.
    """
    ray = load_ray()
    require_extra("ray", "pyarrow.parquet")
    settings, cluster = settings or AnalyzerSettings(), cluster or ClusterSettings()
    video, track = video or VideoSettings(), track or TrackSettings()
    check_people(track)
    analyzer = settings.open()  # what is wrong with it is said here, not by every worker
    identity = identity_of_run(analyzer, video, track)
    del analyzer
    store = Store(os.fspath(out))
    worker = WorkerSettings(
        settings.open,
        store.uri,
        secrets.token_hex(8),
        cluster.threads,
        reading or SourceSettings(),
        video,
        track,
        cluster.segment_s,
    )
    if callable(progress):
        return run(ray, sources, store, worker, cluster, identity, progress)
    with ProgressBar(store.uri, unit="images and videos", shown=progress) as bar:
        return run(ray, sources, store, worker, cluster, identity, lambda at: bar.update(at.done, at.known))


def check_people(track: TrackSettings) -> None:
    """Refuse what needs the whole video or a folder of pictures on every node.

    Raises:
        InputError: `people` or `baseline` is asked for.
    """
    if track.people is not None or track.baseline is not None:
        raise InputError(
            "people and baseline do not work on a cluster; leave them out, or use mien analyze without --ray"
        )


def identity_of_run(analyzer: Analyzer, video: VideoSettings, track: TrackSettings) -> dict[str, Any]:
    """Return what must be the same in all runs that write into one data set, as JSON values."""
    model = analyzer.model
    return {
        "version of mien": __version__,
        "model": f"{model.card.name} {model.card.version} (sha256 {model.sha256[:16]})",
        "labels": analyzer.labels.key,
        "prior": str(analyzer.prior),
        "detector": analyzer.detector.identity,
        "faces kept": asdict(analyzer.keep),
        "attributes": analyzer.measures.identity if analyzer.measures else "none",
        "frames": {name: value for name, value in asdict(video).items() if name not in NOT_OF_THE_RESULT},
        "tracking": asdict(track),
    }


@contextmanager
def connected(ray: Any, settings: ClusterSettings) -> Generator[None]:
    """Connect to a cluster, or start one of this machine, for as long as the block runs.

    Where the process is connected already, that cluster is used and stays.

    Raises:
        InputError: There is no cluster at the address.
    """
    if ray.is_initialized():
        yield
        return
    address = settings.address or os.environ.get("RAY_ADDRESS") or "local"
    of_this_machine = {"include_dashboard": False, "object_store_memory": OBJECTS_BYTES} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", namespace="mien", **of_this_machine)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"no Ray cluster answers at {shown(address)} ({str(error).splitlines()[0][:200]}); give host:6379, auto "
            "for one that runs on this machine, or nothing for this machine alone"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def run(
    ray: Any,
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    store: Store,
    worker: WorkerSettings,
    settings: ClusterSettings,
    identity: dict[str, Any],
    progress: Callable[[ClusterProgress], None],
) -> ClusterResult:
    """Do as `analyze`, with everything opened.

    Args:
        ray: The module.
        sources: As for `analyze`.
        store: The data set.
        worker: What every worker is told.
        settings: The cluster.
        identity: What must be the same in all runs.
        progress: Called now and then.
    """
    started = time.monotonic()
    open_home(store, worker.run, identity)
    job = _Job(store, worker.run, settings, progress)
    missing = job.missing(stream(sources))
    first = next(missing, None)
    if first is not None:  # else there is nothing to start a cluster for
        with connected(ray, settings):
            pool = Pool(ray, settings, worker)
            try:
                job.work(chain([first], missing), pool)
            finally:
                pool.close()
    job.sweep()
    return job.result(time.monotonic() - started)


class _Job:
    """The work of one run."""

    def __init__(
        self, store: Store, name: str, settings: ClusterSettings, progress: Callable[[ClusterProgress], None]
    ) -> None:
        self._store, self._run, self._settings, self._progress = store, name, settings, progress
        held = scan(store)
        self._names, self._known = held.names, held.known
        self._mine = set(held.names)
        self._again: deque[tuple[Chunk, str | None]] = deque()
        self._cuts: dict[str, int] = {}  # pieces that are missing, of the videos that are cut
        self._seen = self._done = self._before = self._crashes = 0
        self._all_seen = False
        self._counts: Counter[str] = Counter()
        self._by_worker: Counter[str] = Counter()

    def work(self, missing: Iterator[Stored], pool: Pool) -> None:
        """Do what is missing."""
        pool.look()
        chunks = self._chunks(missing, self._settings.workers or pool.capacity or 1)
        waiting = next(chunks, None)
        while waiting or self._again or pool.busy:
            pool.look()
            while pool.room() and (self._again or waiting):
                if self._again:
                    chunk, message = self._again.popleft()
                    pool.submit(chunk, message=message)
                elif waiting:
                    pool.submit(waiting)
                    waiting = next(chunks, None)
            for come in pool.wait():
                if isinstance(come, Lost):
                    self._retry(come)
                elif isinstance(come.result, Done):
                    self._take(come.result)
                elif isinstance(come.result, Planned):
                    self._cut(come.chunk, come.result.segments)
                else:
                    self._piece(come.chunk, come.result)
            note = "" if pool.ready else "waiting for a worker"
            self._progress(ClusterProgress(self._done, self._seen, self._all_seen, pool.ready, note))

    def sweep(self) -> None:
        """Remove parts that nobody knows: a worker that seemed lost may have written one later."""
        check_home(self._store, self._run)
        for name in self._store.names(ENDING, PIECE):
            if name not in self._mine:
                self._store.remove(name)

    def result(self, seconds: float) -> ClusterResult:
        """Say what became of it."""
        counts = self._counts
        return ClusterResult(
            self._store.uri,
            images=counts["image"],
            videos=counts["video"],
            failed=counts["failed"],
            before=self._before,
            rows=counts["rows"],
            parts=counts["parts"],
            crashes=self._crashes,
            seconds=seconds,
            by_worker=dict(self._by_worker),
        )

    # What is missing.

    def missing(self, inputs: Iterator[Stored]) -> Iterator[Stored]:
        """Yield the inputs that no part holds; rows of files that have changed go."""
        while window := list(islice(inputs, WINDOW)):
            entries = entries_of([found.path for found in window], [found.tag for found in window])
            there, kept = self._known.find(entries)
            stale = there & (kept["tag"] != entries["tag"])
            stale |= there & kept["failed"] & self._settings.retry_errors
            stale &= kept["part"] < len(self._names)
            self._forget(entries[stale], kept[stale])
            fresh = ~there | stale
            _, first = np.unique(entries[["high", "low"]], return_index=True)  # named twice within the window
            once = np.zeros(len(window), bool)
            once[first] = True
            self._known.add(entries[fresh & once])
            self._before += int((there & ~stale & (kept["part"] < len(self._names))).sum())
            chosen = np.flatnonzero(fresh & once)
            self._seen += len(chosen)
            yield from (window[number] for number in chosen.tolist())
        self._all_seen = True

    def _forget(self, entries: Entries, kept: Entries) -> None:
        for part in np.unique(kept["part"]).tolist():
            name = without(self._store, self._names[part], entries[kept["part"] == part])
            self._mine.discard(self._names[part])
            if name is not None:
                self._names[part] = name
                self._mine.add(name)

    def _chunks(self, missing: Iterator[Stored], workers: int) -> Iterator[Chunk]:
        """Cut the inputs into tasks: smaller ones where there are few, so that each worker gets some."""
        size = self._settings.images
        first = list(islice(missing, min(size * workers * ROUNDS, 4 * WINDOW)))
        if self._all_seen:
            size = min(size, max(1, -(-len(first) // (workers * ROUNDS))))
        images: list[Stored] = []
        for found in chain(first, missing):
            if kind_of_input(found.path) == "video":
                yield _chunk("video", [found])
                continue
            images.append(found)
            if len(images) >= size:
                yield _chunk("image", images)
                images = []
        if images:
            yield _chunk("image", images)

    # What comes back.

    def _take(self, done: Done) -> None:
        self._mine.add(done.name)
        self._done += done.count
        self._by_worker[done.worker] += done.count
        self._counts.update(rows=done.rows, failed=done.failed, parts=1)
        self._counts["image" if done.name.startswith("kind=image") else "video"] += done.count

    def _cut(self, chunk: Chunk, segments: tuple[Segment, ...]) -> None:
        """Let the segments of a video be done before anything else."""
        self._cuts[chunk.paths[0]] = len(segments)
        pieces = [replace(chunk, segments=segments, number=segment.number, tries=0) for segment in segments]
        self._again.extendleft((piece, None) for piece in reversed(pieces))

    def _piece(self, chunk: Chunk, made: PieceMade) -> None:
        """Let a video be stitched when its last piece is there."""
        path = chunk.paths[0]
        if path not in self._cuts:
            return
        if made.error is not None:
            self._give_up(chunk, made.error)
            return
        self._cuts[path] -= 1
        if not self._cuts[path]:
            del self._cuts[path]
            self._again.appendleft((replace(chunk, number=None, tries=0), None))

    def _give_up(self, chunk: Chunk, message: str) -> None:
        """Let error rows be written; of a video that is cut, the other segments are not needed any more."""
        if chunk.segments and self._cuts.pop(chunk.paths[0], None) is None and chunk.number is not None:
            return
        self._again = deque((other, said) for other, said in self._again if other.paths != chunk.paths)
        self._again.append((replace(chunk, number=None), message))

    def _retry(self, lost: Lost) -> None:
        chunk = lost.chunk
        self._crashes += lost.first
        if chunk.number is not None and chunk.paths[0] not in self._cuts:
            return  # of a video that was given up
        if not lost.guilty:
            self._again.append((chunk, None))
        elif len(chunk.paths) > 1:
            self._again.extend((piece, None) for piece in chunk.split(PIECES))
        elif chunk.tries + 1 < TRIES:
            self._again.append((replace(chunk, tries=chunk.tries + 1), None))
        else:
            self._give_up(chunk, f"{name_in_rows(chunk.paths[0])} {POISONED}")


def _chunk(kind: str, found: list[Stored]) -> Chunk:
    return Chunk(kind, tuple(one.path for one in found), tuple(one.tag for one in found))
