"""What is wanted of a video (`VideoJob`) and how far it is (`Progress`)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mien.faces import PEOPLE, RELATIVE, relative_columns
from mien.output.draw.style import PLAIN, DrawStyle
from mien.sources.addresses import public_name
from mien.sources.videos import VideoSettings
from mien.tracking.settings import TrackSettings
from mien.video._people import KnownPeople
from mien.video.outputs import VideoOutputs
from mien.video.truth import Truth

SNAPSHOT_S = 1.0  # seconds of work that a crash may cost


@dataclass(frozen=True)
class VideoJob:
    """One video and all that is wanted of it. It travels to other processes as it is.

    Attributes:
        source: The video: a path, a pattern of images in a row, or a URL.
        outputs: Where results go.
        video: Which frames are taken.
        track: How faces are tracked.
        style: What is drawn on the annotated video.
        interval_s: Length of the intervals of tables of intervals, seconds.
        truth: Known expressions: drawn in gray, and the summary gets the score.
        resume: Go on where an earlier run with the same outputs stopped; without one, start.
        journal: A place for the journal, which stays there when the work is done; None keeps it beside the first
            output as long as the work goes on.
        snapshot_s: How often the state is saved, seconds of work.
        keep: Whether the result keeps a journal of its own, for `VideoResult.to_pandas`, `save` and `plot`.
        measured: Names of `mien.faces.ATTRIBUTES` that the analyzer measures; `run_job` fills it in.
        known: Who its tracks are, where those of several videos were compared; `analyze_videos` fills it in.
    """

    source: str | Path
    outputs: VideoOutputs = field(default_factory=VideoOutputs)
    video: VideoSettings = field(default_factory=VideoSettings)
    track: TrackSettings = field(default_factory=TrackSettings)
    style: DrawStyle = PLAIN
    interval_s: float | None = None
    truth: Truth | None = None
    resume: bool = False
    journal: Path | None = None
    snapshot_s: float = SNAPSHOT_S
    keep: bool = False
    measured: tuple[str, ...] = ()
    known: KnownPeople | None = None

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of `mien.faces.ATTRIBUTES` that tables have columns for."""
        return table_attributes(self.measured, self.track)

    @property
    def two_passes(self) -> bool:
        """Whether something is wanted that is known only at the end: resting faces, who is who, medians."""
        return self.track.baseline is not None or bool({PEOPLE, RELATIVE} & set(self.attributes))

    @property
    def name(self) -> str:
        """The video's name for people, without a password."""
        return public_name(str(self.source))


def table_attributes(measured: Sequence[str], track: TrackSettings) -> tuple[str, ...]:
    """Return the names of `mien.faces.ATTRIBUTES` that tables of videos have columns for; `RELATIVE` among them.

    Args:
        measured: Those that the analyzer measures.
        track: Says whether people are told apart, and whether measures are given relative to their medians, too.
    """
    relative = (RELATIVE,) if track.relative and relative_columns(measured) else ()
    return (*measured, *(() if track.people is None else (PEOPLE,)), *relative)


@dataclass(frozen=True)
class Progress:
    """How far a video is.

    Attributes:
        source: Its name.
        frames: Frames with results.
        total: About how many there will be, or None.
        fps: Frames per second of work lately; 0 at the start.
        left_s: About how many seconds are left, or None.
        time_s: Time of the last frame within the video.
    """

    source: str
    frames: int
    total: int | None
    fps: float
    left_s: float | None
    time_s: float
