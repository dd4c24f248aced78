"""A video on a cluster: planned, its segments analyzed by whoever is free, and stitched into one part.

The piece of a segment waits in the data set, below `_mien/`, until the stitch: any node may have made it, and a run
that was killed finds it again. Pieces are named by the video, its tag and the plan.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from mien.analyzer import Analyzer
from mien.cluster.known import name_in_rows
from mien.cluster.parts import PartSink
from mien.cluster.places import Store, StoredFile, is_stored
from mien.errors import OutputError
from mien.sources.videos import VideoSettings
from mien.tracking.settings import TrackSettings
from mien.video.job import VideoJob
from mien.video.result import replay
from mien.video.run import attempt_job
from mien.video.segments import Segment, analyze_segment, plan_segments, stitch

PIECES, PIECE = "_mien/pieces", ".piece"


@dataclass(frozen=True)
class Planned:
    """A video that will be worked on in segments.

    Attributes:
        segments: Them, in order.
    """

    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class PieceMade:
    """A segment that is done.

    Attributes:
        number: Its number.
        error: Why there is no piece of it, or None.
    """

    number: int
    error: str | None = None


class Videos:
    """What a worker does with videos. The last one of object storage stays on its disk for further segments."""

    def __init__(self, analyzer: Analyzer, store: Store, video: VideoSettings, track: TrackSettings) -> None:
        """Remember what to do.

        Args:
            analyzer: Detector and expression model.
            store: The data set.
            video: Which frames are taken, with the threads of the decoder.
            track: How faces are tracked.
        """
        self._analyzer, self._store, self._video, self._track = analyzer, store, video, track
        self._fetched: tuple[str, TemporaryDirectory[str]] | None = None

    def plan(self, path: str, segment_s: float | None) -> tuple[Segment, ...]:
        """Return the segments of a video; a single one where it is short or cannot be cut.

        Args:
            path: Path, URI or URL.
            segment_s: About how long each is; None leaves it to the plan.

        Raises:
            SourceError: It cannot be read.
        """
        job = self._job(path)
        return tuple(plan_segments(job.source, job.video, track=job.track, segment_s=segment_s))

    def whole(self, path: str, sink: PartSink) -> None:
        """Analyze a video from its first frame to its last; an error becomes a row.

        Args:
            path: Path, URI or URL.
            sink: Gets the rows.

        Raises:
            SourceError: It cannot be fetched.
        """
        with TemporaryDirectory(prefix="mien-") as folder:
            job = replace(self._job(path), journal=Path(folder) / "results.journal")
            replay(attempt_job(job, self._analyzer), self._analyzer.labels, [sink])

    def piece(self, path: str, tag: str, segments: Sequence[Segment], number: int) -> None:
        """Analyze a segment, unless its piece is there.

        Args:
            path: Path, URI or URL of the video.
            tag: The tag of its content.
            segments: The plan.
            number: Which of them.

        Raises:
            MienError: It cannot be analyzed, or its piece cannot be written.
        """
        name = _piece_name(path, tag, segments, number)
        if self._store.exists(name):
            return
        with TemporaryDirectory(prefix="mien-") as folder:
            made = analyze_segment(self._job(path), segments[number], self._analyzer, Path(folder) / "piece")
            self._store.write(name, made.read_bytes())

    def stitch(self, path: str, tag: str, segments: Sequence[Segment], sink: PartSink) -> None:
        """Put the pieces of a video together.

        Args:
            path: Path, URI or URL of the video.
            tag: The tag of its content.
            segments: The plan.
            sink: Gets the rows.

        Raises:
            OutputError: A piece is missing.
        """
        with TemporaryDirectory(prefix="mien-") as folder:
            pieces = []
            for segment in segments:
                name = _piece_name(path, tag, segments, segment.number)
                content = self._store.read(name)
                if content is None:
                    raise OutputError(f"{self._store.uri}/{name} is gone; run the same again")
                pieces.append(Path(folder) / str(segment.number))
                pieces[-1].write_bytes(content)
            stitched = stitch(self._job(path), segments, pieces, self._analyzer)
            for frame, faces in stitched:
                sink.write(frame, faces)
            if stitched.error:
                sink.fail(name_in_rows(path), stitched.error)

    def forget(self, path: str, tag: str, segments: Sequence[Segment]) -> None:
        """Remove the pieces of a video."""
        for segment in segments:
            self._store.remove(_piece_name(path, tag, segments, segment.number))

    def _job(self, path: str) -> VideoJob:
        source = str(self._here(path)) if is_stored(path) else path
        return VideoJob(source, video=replace(self._video, name=path), track=self._track)

    def _here(self, path: str) -> Path:
        """Return a video of object storage as a file of this machine."""
        name = f"video{Path(path).suffix}"
        if self._fetched is None or self._fetched[0] != path:
            self.clean()
            folder = TemporaryDirectory(prefix="mien-")
            try:
                StoredFile(path).save(Path(folder.name) / name)
            except BaseException:
                folder.cleanup()
                raise
            self._fetched = path, folder
        return Path(self._fetched[1].name) / name

    def clean(self) -> None:
        """Remove the video that was fetched last."""
        if self._fetched is not None:
            self._fetched[1].cleanup()
            self._fetched = None


def _piece_name(path: str, tag: str, segments: Sequence[Segment], number: int) -> str:
    plan = hashlib.blake2b(repr((name_in_rows(path), tag, tuple(segments))).encode(), digest_size=12).hexdigest()
    return f"{PIECES}/{plan}/{number:05d}{PIECE}"
