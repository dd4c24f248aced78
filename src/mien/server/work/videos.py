"""What a job does with its video."""

import threading
from collections.abc import Callable
from pathlib import Path

from mien.analyzer import Analyzer
from mien.errors import MienError, SourceError
from mien.output.draw.style import DrawStyle
from mien.server.web.schemas import JobOptions
from mien.sources.videos import VideoSettings
from mien.video.job import Progress, VideoJob
from mien.video.outputs import VideoOutputs
from mien.video.result import VideoResult
from mien.video.run import run_job

Told = Callable[[int, int | None, float | None, float | None], None]


class JobStoppedError(MienError):
    """The work was told to stop before it was done."""


def analyze_upload(
    path: Path,
    *,
    name: str,
    analyzer: Analyzer,
    options: JobOptions,
    max_frames: int,
    max_pixels: int,
    tell: Told,
    stop: threading.Event,
) -> str | None:
    """Analyze a video and leave `result.csv`, `.jsonl`, `.parquet`, `.mp4` and `summary.json` beside it.

    Where an earlier run was stopped, it goes on from there.

    Args:
        path: The video.
        name: What results call it.
        analyzer: Finds faces and expressions.
        options: What was asked for.
        max_frames: Most frames.
        max_pixels: Largest frame, width x height.
        tell: Told frames done, frames in all, frames per second and seconds left.
        stop: Set from outside to end the work.

    Returns:
        Why the video broke off, if it did; what came before is there.

    Raises:
        JobStoppedError: It was told to stop.
        SourceError: The video cannot be read.
        MienError: A result cannot be written.
    """
    job = VideoJob(
        path,
        outputs=_outputs(path.parent, options),
        video=video_settings(options, name=name, max_frames=max_frames, max_pixels=max_pixels),
        track=options.track_settings(),
        style=DrawStyle(blur=options.blur, bars=options.bars),
        resume=True,
    )
    result = run_job(job, analyzer, progress=lambda at: tell(*_told(at)), stop=stop)
    if result.interrupted:
        raise JobStoppedError("the work was told to stop")
    _check_not_empty(result)
    tell(result.frames, result.frames, round(result.frames / max(result.seconds, 1e-3), 2), 0.0)
    return result.error


def _outputs(folder: Path, options: JobOptions) -> VideoOutputs:
    return VideoOutputs(
        tables=tuple(folder / f"result.{kind}" for kind in ("csv", "jsonl", "parquet")),
        videos=(folder / "result.mp4",) if options.annotate else (),
        summaries=(folder / "summary.json",),
    )


def video_settings(options: JobOptions, *, name: str, max_frames: int, max_pixels: int) -> VideoSettings:
    """Return which frames are taken.

    Args:
        options: What was asked for.
        name: What results call the video.
        max_frames: Most frames.
        max_pixels: Largest frame, width x height.

    Raises:
        InputError: The options contradict each other.
    """
    return VideoSettings(
        every=options.every,
        fps=options.fps,
        start_s=options.start_s,
        end_s=options.end_s,
        stream=options.stream,
        max_frames=max_frames,
        max_pixels=max_pixels,
        name=name,
    )


def _told(at: Progress) -> tuple[int, int | None, float, float | None]:
    left_s = None if at.left_s is None else round(at.left_s, 1)
    return at.frames, at.total, round(at.fps, 2), left_s


def _check_not_empty(result: VideoResult) -> None:
    if result.error and not result.frames:
        raise SourceError(result.error)
