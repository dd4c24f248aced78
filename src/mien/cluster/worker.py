"""What one worker of the cluster does: a list of images, or a video, becomes a part of the data set.

A worker uses as many threads as it was given cores: so many images at once, each with one thread in ONNX Runtime and
OpenCV, or so many threads of the video decoder. ONNX Runtime does not look at OMP_NUM_THREADS, through which a
scheduler says it, and OpenCV and FFmpeg take all cores of a machine unless told.
"""

import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2

from mien._version import __version__
from mien.analyzer import Analyzer
from mien.cluster.known import entries_of, name_in_rows
from mien.cluster.parts import PartSink, check_home, name_of, rows_without_result
from mien.cluster.places import Store, StoredFile, is_stored
from mien.errors import MienError
from mien.output.base import SinkSettings
from mien.sources.addresses import is_http
from mien.sources.images import Failed, Item, SourceSettings, expand
from mien.sources.videos import VideoSettings
from mien.tracking.settings import TrackSettings
from mien.video.job import VideoJob
from mien.video.result import replay
from mien.video.run import attempt_job

READERS = 8  # files of object storage that are read ahead
AHEAD = 16


@dataclass(frozen=True)
class Chunk:
    """What one task does.

    Attributes:
        kind: `image` or `video`.
        paths: The inputs; one of a video.
        tags: The tags of their content.
        tries: How often the task brought its worker down.
    """

    kind: str
    paths: tuple[str, ...]
    tags: tuple[str, ...]
    tries: int = 0

    def split(self, pieces: int) -> "list[Chunk]":
        """Return the same inputs in several tasks.

        Args:
            pieces: How many at most.
        """
        size = -(-len(self.paths) // pieces)
        return [
            replace(self, paths=self.paths[at : at + size], tags=self.tags[at : at + size], tries=0)
            for at in range(0, len(self.paths), size)
        ]


@dataclass(frozen=True)
class Done:
    """What became of a task.

    Attributes:
        name: The part that holds its rows.
        count: Its inputs.
        rows: Its rows.
        failed: How many inputs gave an error.
        worker: Who did it.
        seconds: How long it took.
    """

    name: str
    count: int
    rows: int
    failed: int
    worker: str
    seconds: float


@dataclass(frozen=True)
class WorkerSettings:
    """What every worker is told.

    Attributes:
        open: Opens the analyzer.
        out: The data set.
        run: The name of the run that may write into it.
        threads: How many threads all of its libraries have together.
        reading: Limits on images.
        video: Which frames of videos are taken.
        track: How faces are tracked.
    """

    open: Callable[[], Analyzer]
    out: str
    run: str
    threads: int = 1
    reading: SourceSettings = field(default_factory=SourceSettings)
    video: VideoSettings = field(default_factory=VideoSettings)
    track: TrackSettings = field(default_factory=TrackSettings)


class ClusterWorker:
    """One process of the cluster. Its analyzer is opened once."""

    def __init__(self, settings: WorkerSettings) -> None:
        """Open the analyzer.

        Args:
            settings: What to do.

        Raises:
            MienError: The analyzer cannot be opened.
        """
        cv2.setNumThreads(1)
        self._settings = settings
        self._analyzer = settings.open()
        self._store = Store(settings.out)
        self._name = f"{os.uname().nodename}-{os.getpid()}" if hasattr(os, "uname") else str(os.getpid())

    def ready(self) -> dict[str, Any]:
        """Say who this is, once it can work: its name, process, version and threads."""
        return {
            "name": self._name,
            "pid": os.getpid(),
            "version": __version__,
            "images": self._settings.threads,
            "opencv": cv2.getNumThreads(),
            "onnxruntime": self._analyzer.model.threads,
            "ffmpeg": self._settings.threads,
        }

    def work(self, chunk: Chunk) -> Done:
        """Do a task and write its part.

        Args:
            chunk: The task.

        Returns:
            What became of it; a broken input is an error row.

        Raises:
            OutputError: The part cannot be written, or another run has taken over.
        """
        started = time.monotonic()
        sink = self._images(chunk.paths) if chunk.kind == "image" else self._video(chunk.paths[0])
        return self._committed(chunk, sink, started)

    def give_up(self, chunk: Chunk, message: str) -> Done:
        """Write error rows for a task.

        Args:
            chunk: The task.
            message: What each row says, after the name of the input.
        """
        names = [name_in_rows(path) for path in chunk.paths]
        sink = rows_without_result(names, message, self._table())
        return self._committed(chunk, sink, time.monotonic())

    def _committed(self, chunk: Chunk, sink: PartSink, started: float) -> Done:
        entries = entries_of(chunk.paths, chunk.tags)
        entries["failed"] = [name_in_rows(path) in sink.failed for path in chunk.paths]
        name, content = name_of(chunk.kind, entries), sink.content(entries)
        check_home(self._store, self._settings.run)
        self._store.write(name, content)
        seconds = time.monotonic() - started
        return Done(name, len(chunk.paths), sink.rows, int(entries["failed"].sum()), self._name, seconds)

    def _table(self) -> SinkSettings:
        return SinkSettings(self._analyzer.labels, tracked=True, attributes=self._analyzer.attributes)

    def _images(self, paths: Sequence[str]) -> PartSink:
        sink = PartSink(self._table())
        with ThreadPoolExecutor(READERS) as pool:
            items = _items(paths, pool)
            for result in self._analyzer.map_items(
                items, settings=self._settings.reading, workers=self._settings.threads
            ):
                if isinstance(result, Failed):
                    sink.fail(name_in_rows(result.source), str(result.error))
                else:
                    sink.write(*result)
        return sink

    def _video(self, path: str) -> PartSink:
        sink = PartSink(self._table(), source=name_in_rows(path))
        with tempfile.TemporaryDirectory(prefix="mien-") as folder:
            source, error = path, None
            if is_stored(path):
                source = str(Path(folder) / f"video{Path(path).suffix}")
                try:
                    StoredFile(path).save(Path(source))
                except MienError as problem:
                    error = str(problem)
            if error is not None:
                sink.fail(path, error)
                return sink
            video = replace(self._settings.video, threads=self._settings.threads, name=path)
            job = VideoJob(source, video=video, track=self._settings.track, journal=Path(folder) / "results.journal")
            result = attempt_job(job, self._analyzer)
            replay(result, self._analyzer.labels, [sink])
        return sink


class _Ahead:
    """A file of object storage that is on its way: what `mien.sources.images` reads like an open file."""

    def __init__(self, content: "Future[bytes]") -> None:
        self._content = content

    def read(self, size: int = -1, /) -> bytes:
        """Return its content, once it is there."""
        whole = self._content.result()
        return whole if size < 0 else whole[:size]


def _items(paths: Sequence[str], pool: ThreadPoolExecutor) -> Iterator[Item]:
    """Yield the images of a task; those of object storage are read ahead of their turn."""
    waiting: deque[Item] = deque()
    for path in paths:
        waiting.append(_item(path, pool))
        if len(waiting) >= AHEAD:
            yield waiting.popleft()
    yield from waiting


def _item(path: str, pool: ThreadPoolExecutor) -> Item:
    if is_http(path):
        return expand(path)[0]
    if is_stored(path):
        return Item(path, _Ahead(pool.submit(StoredFile(path).read)))
    if os.path.isfile(path):
        return Item(path, Path(path))
    return Item(path, expand(path)[0].origin if not os.path.isdir(path) else Path(path))
