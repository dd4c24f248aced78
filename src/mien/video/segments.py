"""A video in segments: planned without decoding, analyzed anywhere and in any order, and stitched to one result.

    segments = plan_segments(job.source, job.video, track=job.track)
    pieces = [analyze_segment(job, segment, analyzer, place / f"{segment.number}.journal") for segment in segments]
    for frame, faces in stitch(job, segments, pieces, analyzer):
        ...

A segment begins with an overlap: frames of the segment before, in which its tracker finds the faces that are in view.
Its piece is a journal of every face as the tracker saw it. The stitch joins the tracks by where they are in the
overlap, numbers and smooths them from start to end, and so gives what one pass over the video would have given.
"""

import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from mien.analyzer import Analyzer
from mien.errors import InputError, SourceError
from mien.faces import KEEP_ALL, Faces, Frame
from mien.sources.videos import Video
from mien.tracking.tracker import Tracker, track_video
from mien.video._head import Head, head_of
from mien.video._journal import Journal
from mien.video._plan import Segment, plan_segments
from mien.video._stitch import Stitched, stitch
from mien.video.job import VideoJob

__all__ = ["Segment", "Stitched", "analyze_segment", "plan_segments", "stitch"]

Results = Generator[tuple[Frame, Faces]]


def analyze_segment(
    job: VideoJob,
    segment: Segment,
    analyzer: Analyzer,
    path: Path,
    *,
    resume: bool = False,
    progress: Callable[[int], None] | None = None,
    stop: Any = None,
) -> Path:
    """Find and track the faces of a segment, and say what they show, into a piece for `stitch`.

    Args:
        job: The video, which frames of it are wanted, and how faces are tracked; outputs are of no interest.
        segment: Of the plan of this video.
        analyzer: Detector and expression model. All faces go into the piece, whatever it keeps.
        path: The piece, a file of this segment alone.
        resume: Whether to go on with a piece that is there already, or take it as it is where it is done.
        progress: Called after every frame with the number of frames done, those of the overlap included.
        stop: Something with `is_set()`, such as `threading.Event`; when it is set, the piece ends early, and the next
            run goes on from there.

    Returns:
        `path`. What is damaged in the video is noted in it, and so is where the video breaks off.

    Raises:
        SourceError: The video cannot be opened.
        InputError: The piece that is there is of another video, segment or other settings.
        OutputError: The piece cannot be written.
    """
    resume_segment(replace(job, resume=resume), segment, analyzer, path, progress, stop)
    return path


def resume_segment(
    job: VideoJob, segment: Segment, analyzer: Analyzer, path: Path, progress: Callable[[int], None] | None, stop: Any
) -> int:
    """Do as `analyze_segment`, with `job.resume` for whether to go on; return how many frames the piece holds."""
    with Video(job.source, segment.settings(job.video), entry=segment.entry) as video:
        head = segment_head(job, segment, video, analyzer)
        with Journal(path, head, resume=job.resume) as journal:
            if journal.past.ended:
                return journal.past.frames
            return _Work(job, segment, video, journal, stop or threading.Event()).go_on(analyzer, progress)


def segment_head(job: VideoJob, segment: Segment, video: Video, analyzer: Analyzer) -> Head:
    """Return what must be the same when the work on a segment goes on.

    Args:
        job: The video.
        segment: Of its plan.
        video: The same, open, with the settings of the segment.
        analyzer: Detector and expression model.
    """
    return {**head_of(job.source, video, analyzer.keeping(KEEP_ALL), job.track), "segment": asdict(segment)}


class _Work:
    """The work on a segment."""

    def __init__(self, job: VideoJob, segment: Segment, video: Video, journal: Journal, stop: Any) -> None:
        self._job, self._segment, self._video, self._journal, self._stop = job, segment, video, journal, stop

    def go_on(self, analyzer: Analyzer, progress: Callable[[int], None] | None) -> int:
        """Do what is left of it; return how many frames are done."""
        past, job = self._journal.past, self._job
        plain = replace(job.track, baseline=None, people=None)
        tracker = Tracker(analyzer.keeping(KEEP_ALL), plain, smoothing=False)
        if past.state is not None:
            tracker.restore(past.state)
        frames = (frame for frame in self._video if frame.index > past.last_index)
        done, next_s = past.frames, time.monotonic() + job.snapshot_s
        with closing(cast(Results, track_video(frames, tracker))) as results:
            while not self._stop.is_set():
                result, error = self._next(results)
                if result is None:
                    self._journal.end(self._problems(), error, state=tracker.state())
                    return done
                self._journal.add(*result)
                done += 1
                if progress:
                    progress(done)
                if time.monotonic() >= next_s:
                    self._journal.snapshot(tracker.state(), self._problems())
                    next_s = time.monotonic() + job.snapshot_s
        self._journal.snapshot(tracker.state(), self._problems())
        return done

    def _next(self, results: Results) -> tuple[tuple[Frame, Faces] | None, str | None]:
        """Return the next result, None at the end, and why the video breaks off there."""
        try:
            return next(results, None), None
        except SourceError as error:
            return None, str(error)
        except InputError:
            if not self._segment.number:
                raise
            return None, None  # the video is shorter than its container says

    def _problems(self) -> list[str]:
        return list(dict.fromkeys([*self._journal.past.problems, *self._video.problems]))
