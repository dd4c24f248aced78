"""What the options of `mien analyze` ask for."""

from dataclasses import dataclass
from pathlib import Path

from mien.faces import PEOPLE
from mien.output.draw.style import DrawStyle
from mien.sources.videos import VideoSettings
from mien.tracking.settings import AUTO, TrackSettings


@dataclass(frozen=True)
class Request:
    """What the options of the command line ask for.

    Attributes:
        frames: Which frames of videos are wanted.
        track: How faces of videos are tracked.
        style: What is drawn.
        outputs: As given with `-o`.
        summary: As given with `--summary`.
        timeline: As given with `--timeline`.
        moments: As given with `--moments`.
        interval_s: Length of the intervals of tables, seconds; None for rows per frame.
        truth: A file of what was really shown, or None.
        resume: Whether videos go on where an earlier run stopped.
        jobs: Videos at once; 0 for one per core.
        workers: Processes that share a single video; 0 for one per core, None for one.
        rows: Whether rows are printed.
        shown: Whether results are shown to people.
        quiet: Whether nothing but warnings and errors is printed.
        measured: Names of `mien.faces.ATTRIBUTES` that are measured.
        root: Sources below this folder keep their folders in folders of results; None where they share none.
    """

    frames: VideoSettings
    track: TrackSettings
    style: DrawStyle
    outputs: tuple[str, ...] = ()
    summary: Path | None = None
    timeline: Path | None = None
    moments: Path | None = None
    interval_s: float | None = None
    truth: Path | None = None
    resume: bool = False
    jobs: int = 0
    workers: int | None = None
    rows: bool = True
    shown: bool = False
    quiet: bool = False
    root: Path | None = None
    measured: tuple[str, ...] = ()

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of `mien.faces.ATTRIBUTES` that tables have columns for."""
        return self.measured if self.track.people is None else (*self.measured, PEOPLE)

    @property
    def video_attributes(self) -> tuple[str, ...]:
        """The same, for tables of videos."""
        from mien.video.job import table_attributes

        return table_attributes(self.measured, self.track)

    def video_options(self) -> str:
        """Return the options in use that make sense for videos only, separated by commas."""
        frames = self.frames
        used = {
            "--timeline": self.timeline, "--moments": self.moments,
            "--interval": self.interval_s, "--resume": self.resume, "--every": frames.every != VideoSettings.every,
            "--fps": frames.fps, "--start": frames.start_s, "--end": frames.end_s, "--max-frames": frames.max_frames,
            "--baseline": self.track.baseline, "--people auto": self.track.people == AUTO,
        }  # fmt: skip
        return ", ".join(name for name, value in used.items() if value)
