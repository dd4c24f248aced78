"""What one worker of the cluster does: a list of images, or a video, becomes a part of the data set.

A worker uses as many threads as it was given cores: so many images at once, each with one thread in ONNX Runtime and
OpenCV, or so many threads of the video decoder. ONNX Runtime does not look at OMP_NUM_THREADS, through which a
scheduler says it, and OpenCV and FFmpeg take all cores of a machine unless told.
"""

import os
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
from mien.cluster.videos import PieceMade, Planned, Videos
from mien.errors import MienError, OutputError, SourceError
from mien.output.base import SinkSettings
from mien.sources.addresses import is_http
from mien.sources.images import Failed, Item, SourceSettings, expand
from mien.sources.videos import ANIMATED_SUFFIXES, VideoSettings, is_video
from mien.tracking.settings import TrackSettings
from mien.video.segments import Segment

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
        segments: The plan of a video that is cut.
        number: The segment that is asked for; None asks for the video, of its pieces where it has a plan.
    """

    kind: str
    paths: tuple[str, ...]
    tags: tuple[str, ...]
    tries: int = 0
    segments: tuple[Segment, ...] = ()
    number: int | None = None

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
        segment_s: About how long a segment of a video is, seconds; None leaves it to the plan.
    """

    open: Callable[[], Analyzer]
    out: str
    run: str
    threads: int = 1
    reading: SourceSettings = field(default_factory=SourceSettings)
    video: VideoSettings = field(default_factory=VideoSettings)
    track: TrackSettings = field(default_factory=TrackSettings)
    segment_s: float | None = None


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
        video = replace(settings.video, threads=settings.threads)
        self._videos = Videos(self._analyzer, self._store, video, settings.track)
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

    def work(self, chunk: Chunk) -> Done | Planned | PieceMade:
        """Do a task.

        Args:
            chunk: The task.

        Returns:
            What became of its part, where a broken input is an error row; the plan of a video that is worth cutting;
            or that a segment is done.

        Raises:
            OutputError: The part cannot be written, or another run has taken over.
        """
        started = time.monotonic()
        if chunk.kind == "image":
            return self._committed(chunk, self._images(chunk.paths), started)
        if chunk.number is not None:
            return self._piece(chunk, chunk.number)
        return self._video(chunk, started)

    def give_up(self, chunk: Chunk, message: str) -> Done:
        """Write error rows for a task.

        Args:
            chunk: The task.
            message: What each row says, after the name of the input.
        """
        names = [name_in_rows(path) for path in chunk.paths]
        sink = rows_without_result(names, message, self._table())
        return self._committed(chunk, sink, time.monotonic())

    def leave(self) -> None:
        """Remove what lies on the disk of this machine."""
        self._videos.clean()

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
        moving = {path for path in paths if _moves(path)}
        for path in moving:
            self._videos.whole(path, sink)
        with ThreadPoolExecutor(READERS) as pool:
            items = _items([path for path in paths if path not in moving], pool)
            for result in self._analyzer.map_items(
                items, settings=self._settings.reading, workers=self._settings.threads
            ):
                if isinstance(result, Failed):
                    sink.fail(name_in_rows(result.source), str(result.error))
                else:
                    sink.write(*result)
        return sink

    def _video(self, chunk: Chunk, started: float) -> Done | Planned:
        (path,), (tag,) = chunk.paths, chunk.tags
        sink = PartSink(self._table(), source=name_in_rows(path))
        try:
            if chunk.segments:
                self._videos.stitch(path, tag, chunk.segments, sink)
            elif len(segments := self._plan(path)) > 1:
                return Planned(segments)
            else:
                self._videos.whole(path, sink)
        except SourceError as error:
            sink.fail(path, str(error))
        done = self._committed(chunk, sink, started)
        self._videos.forget(path, tag, chunk.segments)
        return done

    def _plan(self, path: str) -> tuple[Segment, ...]:
        try:
            return self._videos.plan(path, self._settings.segment_s)
        except SourceError:
            return ()  # the work itself will say it

    def _piece(self, chunk: Chunk, number: int) -> PieceMade:
        try:
            self._videos.piece(chunk.paths[0], chunk.tags[0], chunk.segments, number)
        except OutputError:
            raise
        except MienError as error:
            return PieceMade(number, str(error))
        return PieceMade(number)


def _moves(path: str) -> bool:
    """Whether an image is animated, which makes it a video as everywhere; those of object storage are stills."""
    return path.lower().endswith(ANIMATED_SUFFIXES) and not is_stored(path) and not is_http(path) and is_video(path)


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
