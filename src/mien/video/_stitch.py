"""The pieces of a video → its results, as one pass over it gives them.

Two neighbours both tracked the faces of the overlap. Whose box is where is who is who: from the last common frame back,
each track of the later piece is joined to the earlier one's track in the same place, and has its number from there on.
Where the two do not see the same faces in the last common frame, or a track out of sight is known to the earlier piece
alone, the tracker of the earlier piece goes on into the later one, frame by frame, until they agree; that is what one
pass would have done. Everything that runs from start to end comes after that: numbers, smoothing, which faces are kept.
"""

import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from mien.analyzer import Analyzer
from mien.detect.boxes import overlap
from mien.errors import SourceError
from mien.faces import KEEP_ALL, Faces, Frame
from mien.sources.videos import Video, VideoInfo
from mien.tracking.smooth import RunningExpression, smooth
from mien.tracking.tracker import Tracker
from mien.tracking.tracks import assign
from mien.video._journal import Piece
from mien.video._plan import Segment
from mien.video.job import VideoJob

SAME_TIME_S = 1e-6
SAME_IOU = 0.5  # boxes of one face in two pieces share more
Result = tuple[Frame, Faces]


def stitch(
    job: VideoJob,
    segments: Sequence[Segment],
    pieces: Iterable[Path],
    analyzer: Analyzer,
    *,
    info: VideoInfo | None = None,
    stop: threading.Event | None = None,
) -> "Stitched":
    """Return the results of a video from the pieces of its segments: iterate it once, or call `raw` once.

    Memory holds the frames of an overlap, whatever the length of the video. The frames have a single pixel.

    Args:
        job: The video and what is wanted of it.
        segments: Its plan.
        pieces: The piece of each segment, in order; each is read when the one before is done, so they may come as they
            are made.
        analyzer: Made the pieces, or one like it; its `keep` says which faces are given.
        info: What is known of the video; None opens it.
        stop: Ends the work at the next frame.

    Raises:
        SourceError: `info` is None and the video cannot be opened.
    """
    if info is None:
        with Video(job.source, job.video) as video:
            info = video.info
    return Stitched(job, segments, pieces, analyzer, info, stop or threading.Event())


class Stitched:
    """The results of a stitch, and what became of the video.

    Attributes:
        problems: Warnings about the video, complete after the last result.
        error: Why it broke off, or None.
        interrupted: Whether a piece ended before its segment did: nothing comes after it.
        repeated: How many frames were analyzed once more because two pieces did not agree.
    """

    def __init__(
        self,
        job: VideoJob,
        segments: Sequence[Segment],
        pieces: Iterable[Path],
        analyzer: Analyzer,
        info: VideoInfo,
        stop: threading.Event,
    ) -> None:
        """As `stitch`."""
        self.problems: list[str] = []
        self.error: str | None = None
        self.interrupted = False
        self.repeated = 0
        self._job, self._segments, self._pieces = job, segments, pieces
        self._analyzer, self._info, self._stop = analyzer, info, stop

    def __iter__(self) -> Iterator[Result]:
        """Yield every frame with its faces, numbered and smoothed as in one pass.

        Raises:
            OutputError: A piece cannot be read.
        """
        running: Mapping[int, RunningExpression] = {}
        keep = self._analyzer.keep
        for frame, raw in self.raw():
            faces, running = smooth(raw, running, self._job.track)
            yield frame, keep.named(keep.found(faces), self._info.width, self._info.height)

    def raw(self) -> Iterator[Result]:
        """Yield every frame with all its faces, numbered as in one pass and not smoothed.

        Raises:
            OutputError: A piece cannot be read.
        """
        return islice(self._joined(), self._job.video.max_frames)

    def _joined(self) -> Iterator[Result]:
        seam, read = _Seam(max(segment.start_s - segment.lead_s for segment in self._segments)), 0
        for segment, path in zip(self._segments, self._pieces, strict=False):
            piece = Piece(path, self._analyzer.labels, self._info.source)
            results, joined = iter(piece), True
            if segment.number:
                results, joined = yield from self._enter(seam, segment, results)
            for frame, faces in results:
                if self._stop.is_set():
                    self.interrupted = True
                    return
                yield seam.add(frame, faces)
            self._note(piece.past.problems)
            if not piece.past.ended or piece.past.error:
                self.error, self.interrupted = piece.past.error, not piece.past.ended
                return
            if joined:
                seam.end(piece.past.state)
            read += 1
        self.interrupted = read < len(self._segments)

    def _enter(
        self, seam: "_Seam", segment: Segment, results: Iterator[Result]
    ) -> Generator[Result, None, tuple[Iterator[Result], bool]]:
        """Pass over the overlap, and let the earlier tracker go on until it and the piece agree.

        Returns:
            What is left of the piece, and whether the piece has the word from there on.
        """
        lead: deque[Faces] = deque()
        for frame, faces in results:
            if frame.index > seam.last_index:
                results = chain([(frame, faces)], results)
                break
            lead.append(faces)
        tracker = None if seam.agrees(lead) else seam.tracker(self._analyzer, self._job)
        if tracker is not None and not (yield from self._go_on(seam, segment, tracker, lead, results)):
            seam.end(tracker.state())
            return results, False
        seam.join(lead)
        return results, True

    def _go_on(
        self, seam: "_Seam", segment: Segment, tracker: Tracker, lead: deque[Faces], results: Iterator[Result]
    ) -> Generator[Result, None, bool]:
        """Yield frames of the earlier tracker until the piece agrees with it; return whether it ever did."""
        settings = segment.settings(self._job.video)
        with Video(self._job.source, settings, entry=segment.entry) as video, suppress(SourceError):
            for image in (frame for frame in video if frame.index > seam.last_index):
                theirs = None if self._stop.is_set() else next(results, None)
                if theirs is None:
                    break
                self.repeated += 1
                (faces,) = tracker.track([image])
                yield seam.add(theirs[0], faces)
                lead.append(theirs[1])
                seam.trim(lead)
                if seam.agrees(lead, tracker.hidden):
                    return True
        return False

    def _note(self, problems: Sequence[str]) -> None:
        self.problems = list(dict.fromkeys([*self.problems, *problems]))


class _Seam:
    """Whose number is whose: of the piece that is read, and of the frames that it shares with the next one."""

    def __init__(self, overlap_s: float) -> None:
        self.last_index = -1
        self._overlap_s = overlap_s
        self._ids: dict[int, int] = {}
        self._next_id = 1
        self._recent: deque[Faces] = deque()
        self._state: dict[str, Any] | None = None
        self._hidden: list[int] = []

    def add(self, frame: Frame, faces: Faces) -> Result:
        """Return a frame of the piece with the numbers of the whole video."""
        self.last_index = frame.index
        named = self._named(faces)
        self._recent.append(named)
        self.trim(self._recent)
        return frame, named

    def trim(self, results: deque[Faces]) -> None:
        """Forget the frames that are older than an overlap."""
        while results and results[0].time_s < results[-1].time_s - self._overlap_s - SAME_TIME_S:
            results.popleft()

    def _named(self, faces: Faces) -> Faces:
        if faces.track_id is None or not len(faces):
            return faces
        owns = faces.track_id.tolist()
        for own in owns:  # in order, as every tracker gives them
            if own not in self._ids:
                self._ids[own] = self._next_id
                self._next_id += 1
        numbers = [self._ids[own] for own in owns]
        if numbers == owns:
            return faces
        named = replace(faces, track_id=np.array(numbers, np.int64))
        return named if numbers == sorted(numbers) else named[np.argsort(numbers)]

    def end(self, state: dict[str, Any] | None) -> None:
        """Keep where the tracker of the piece stands after its last frame."""
        self._state = state
        memory = (state or {}).get("memory", {})
        self._hidden = [t["track_id"] for t in memory.get("tracks", ()) if t["seen_s"] != memory["time_s"]]

    def tracker(self, analyzer: Analyzer, job: VideoJob) -> Tracker | None:
        """Return the tracker of the piece, to go on; None where the piece says nothing of it."""
        if self._state is None:
            return None
        plain = replace(job.track, baseline=None, people=None)
        tracker = Tracker(analyzer.keeping(KEEP_ALL), plain, smoothing=False)
        tracker.restore(self._state)
        return tracker

    def agrees(self, theirs: deque[Faces], hidden: Iterable[int] | None = None) -> bool:
        """Return whether the next piece sees the same faces in the last common frame, and knows who is out of sight.

        Args:
            theirs: Its frames so far.
            hidden: Own numbers of the tracks out of sight; None takes those at the end of the piece.
        """
        if not theirs or not self._recent or theirs[-1].frame_index != self.last_index:
            return False
        now = _same(self._recent[-1], theirs[-1])
        if not len(now) == len(self._recent[-1]) == len(theirs[-1]):
            return False
        known = self._pairs(theirs).values()
        lost = self._hidden if hidden is None else hidden
        return all(self._ids[own] in known for own in lost if own in self._ids)

    def join(self, theirs: deque[Faces]) -> None:
        """Give the tracks of the next piece their numbers, and go over to it.

        Args:
            theirs: Its frames so far.
        """
        self._ids = self._pairs(theirs)

    def _pairs(self, theirs: deque[Faces]) -> dict[int, int]:
        """Return own number → number of the whole video: the later a frame, the more its places say."""
        ours = {faces.frame_index: faces for faces in self._recent}
        pairs: dict[int, int] = {}
        for faces in reversed(theirs):
            before = ours.get(faces.frame_index)
            for number, own in () if before is None else _same(before, faces):
                if own not in pairs and number not in pairs.values():
                    pairs[own] = number
        return pairs


def _same(ours: Faces, theirs: Faces) -> list[tuple[int, int]]:
    """Return pairs (our number, their number) of faces in the same place of a frame."""
    if ours.track_id is None or theirs.track_id is None or not len(ours) or not len(theirs):
        return []
    cost = 1.0 - overlap(ours.xyxy, theirs.xyxy).astype(np.float64)
    pairs = assign(cost, limit=1 - SAME_IOU)
    return [(int(ours.track_id[i]), int(theirs.track_id[j])) for i, j in pairs]
