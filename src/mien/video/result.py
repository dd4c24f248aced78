"""What became of a video: `VideoResult`, its tracks, and what can be made of its results afterwards."""

import math
import shutil
import weakref
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Self

from mien.errors import InputError, require_extra
from mien.faces import ERROR, Faces, Frame
from mien.labels import LabelSet
from mien.output.base import Sink
from mien.output.draw.style import PLAIN, DrawStyle
from mien.output.rows import complete_row, rows_of, table_columns, type_of
from mien.sources.videos import Video, VideoInfo
from mien.video._journal import read_past, read_results
from mien.video._writers import Findings, open_writers
from mien.video.job import VideoJob
from mien.video.outputs import VideoOutputs
from mien.video.timeline import Timeline
from mien.video.truth import Truth
from mien.video.work_folder import WorkFolder

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class KeptFolder:
    """A temporary folder that goes with the last who holds it.

    Attributes:
        journal: Where the results are.
    """

    def __init__(self) -> None:
        """Make it."""
        path = mkdtemp(prefix="mien-")
        self.journal = Path(path) / "results.journal"
        self._remove = weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)

    def close(self) -> None:
        """Remove it."""
        self._remove()


@dataclass(frozen=True)
class VideoTrack:
    """One person of a video, from when it is first seen until it is lost.

    Attributes:
        track_id: Its number, from 1.
        first_s: When it is first seen, seconds of the video.
        last_s: When it is last seen.
        seconds: How long it is seen, all in all.
        frames: In how many frames.
        expression: The one shown for most of the time; None where none is known.
        share: Share of the time per expression, 0-1; they sum to 1.
        mean_probs: Average over time of the smoothed probabilities, per expression.
        person: Who it is, where that was asked for and is known; all tracks of one person are one here.
        medians: The median of every column that was measured, against which single frames are read.
        blinks: The times of its blinks, seconds; None where they were not asked for, or the frames are too far apart.
        blinks_per_minute: How many there are in a minute in which the eyes are seen; None likewise.
    """

    track_id: int
    first_s: float
    last_s: float
    seconds: float
    frames: int
    expression: str | None
    share: Mapping[str, float] = field(repr=False)
    mean_probs: Mapping[str, float] = field(repr=False)
    person: str | None = None
    medians: Mapping[str, float] = field(default_factory=dict, repr=False)
    blinks: tuple[float, ...] | None = field(default=None, repr=False)
    blinks_per_minute: float | None = None


@dataclass(frozen=True, repr=False)
class VideoResult:
    """What became of a video.

        result = mien.analyze_video("clip.mp4")
        for track in result.tracks:
            print(track.track_id, track.seconds, track.expression, track.share)
        result.to_pandas()
        result.save("rows.csv", "annotated.mp4", "timeline.png")

    From `analyze_video`, it keeps its rows in a temporary file, not in memory; the file goes with the result, or with
    `close()` or the end of a `with` block.

    Attributes:
        source: Its name.
        info: The video, or None where it could not be opened.
        frames: Frames with results.
        faces: Faces in them, all frames together.
        resumed: How many of the frames were those of an earlier run.
        seconds: How long the work took.
        figures: `VideoSummary.to_dict()`, with the score as `truth` where the truth was given.
        outputs: The files that were written.
        problems: Warnings: damaged frames and the like.
        error: Why the video gave no result, or broke off; None where all is well.
        interrupted: Whether `stop` ended the work.
        journal: The results, for `replay`, where they were kept.
        labels: The label set of the answers; None where the video could not be opened.
        job: What was wanted of the video; None where the results were not kept.
    """

    source: str
    info: VideoInfo | None = None
    frames: int = 0
    faces: int = 0
    resumed: int = 0
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    outputs: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()
    error: str | None = None
    interrupted: bool = False
    journal: Path | None = None
    labels: LabelSet | None = None
    job: VideoJob | None = None
    _folder: "KeptFolder | None" = field(default=None, compare=False)

    @property
    def tracks(self) -> list[VideoTrack]:
        """The people of the video by their numbers: when each is seen, and what it shows for how much of the time."""
        return [
            VideoTrack(
                track["track_id"],
                track["first_s"],
                track["last_s"],
                track["seconds"],
                track["frames"],
                track["dominant"],
                track["share"],
                track["mean_probs"],
                track.get("person"),
                track.get("medians", {}),
                tuple(track["blinks"]["times_s"]) if track.get("blinks") else None,
                track["blinks"]["per_minute"] if track.get("blinks") else None,
            )
            for track in self.figures.get("tracks", ())
        ]

    def summary(self) -> dict[str, Any]:
        """Return who shows what for how long, as plain values, ready for JSON: `VideoSummary.to_dict`."""
        return self.figures

    def __iter__(self) -> Iterator[Faces]:
        """Yield the faces of each frame, read from the kept file; `source`, `frame_index` and `time_s` say which."""
        return (faces for _, faces in self._results())

    def to_pandas(self) -> "pd.DataFrame":
        """Return the rows: one per face and frame, one without values for a frame without a face.

        The columns are those of the tables that `save` writes: `frame`, `time_s`, `track_id`, box, `expression`,
        probabilities of the frame, `steady_expression` and smoothed probabilities of the track.

        Raises:
            MissingExtraError: pandas is not installed.
            InputError: The results were not kept.
        """
        pandas = require_extra("data", "pandas")
        job, labels = self._kept()
        columns = table_columns(labels, tracked=True, attributes=job.attributes)
        values: dict[str, Any] = {name: array("d") if type_of(name) is float else [] for name in columns}
        rows = (
            row
            for _, faces in self._results()
            for row in rows_of(faces, labels, tracked=True, attributes=job.attributes)
        )
        failed = [complete_row({"source": self.source, ERROR: self.error}, columns)] if self.error else []
        for row in chain(rows, failed):
            for name, held in values.items():
                value = row[name]
                held.append(math.nan if value is None and type_of(name) is float else value)
        table: pd.DataFrame = pandas.DataFrame(
            {name: _column(pandas, held, type_of(name)) for name, held in values.items()}
        )
        return table

    def save(
        self,
        *paths: str | Path,
        interval_s: float | None = None,
        style: DrawStyle = PLAIN,
        truth: Truth | None = None,
    ) -> list[Path]:
        """Write the results. Nothing is analyzed again; an annotated video reads the frames of the source once more.

        Args:
            paths: Tables (`.csv`, `.jsonl`, `.parquet`), an annotated video (`.mp4`, `.mkv`, `.mov`, `.webm`), a
                summary (`.json`, `.md`, `.txt`), a timeline (`.png`, `.svg`, `.pdf`, `.html`); a name without an
                extension is a folder that gets everything.
            interval_s: Tables have a row per person and interval of so many seconds instead of one per face and frame.
            style: What is drawn on the annotated video.
            truth: Known expressions: drawn in gray, and the summary gets the score.

        Returns:
            The files that were written.

        Raises:
            InputError: The results were not kept, an unknown extension, or the source is another than it was.
            OutputError: A file cannot be written; there is none then.
            MissingExtraError: What an output needs is not installed.
        """
        job, labels = self._kept()
        outputs = VideoOutputs.named(paths, interval=interval_s is not None)
        wanted = VideoJob(job.source, outputs, job.video, job.track, style, interval_s, truth, measured=job.measured)
        if self.info is None:
            raise InputError(f"{self.source} could not be opened, so there is nothing to save")
        with WorkFolder(outputs.all(), sources=[str(job.source)]) as work:
            findings = Findings(labels, truth, timeline=bool(outputs.timelines))
            with open_writers(wanted, work, labels=labels, info=self.info, findings=findings) as writers:
                for frame, faces in self._results_with_images() if outputs.need_images else self._results():
                    findings.add(frame, faces)
                    writers.write(frame, faces)
                if self.error:
                    findings.summary.fail(self.error)
                    writers.fail(self.source, self.error)
                writers.close(interrupted=self.interrupted)
                return work.publish()

    def plot(self, *, title: str = "") -> "Figure":
        """Return the timeline: the smoothed probabilities of every person over time, and the expression shown.

        Args:
            title: Heading; none for a figure that gets a caption.

        Raises:
            InputError: The results were not kept.
            MissingExtraError: matplotlib is not installed.
        """
        require_extra("plots", "matplotlib")
        timeline = Timeline(self._kept()[1])
        for frame, faces in self._results():
            timeline.add(frame, faces)
        return timeline.figure(title=title)

    def close(self) -> None:
        """Remove the temporary file; what was read before stays as it is."""
        if self._folder is not None:
            self._folder.close()

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the temporary file."""
        self.close()

    def __repr__(self) -> str:
        """Say in one short line what came of it."""
        people = self.figures.get("people", 0)
        shown = f", mostly {self.figures['dominant']}" if self.figures.get("dominant") else ""
        error = f", error: {self.error[:120]}" if self.error else ""
        count = "1 person" if people == 1 else f"{people} people"
        return f"VideoResult({self.source[-80:]!r}, {self.frames} frames, {count}{shown}{error})"

    def _kept(self) -> tuple[VideoJob, LabelSet]:
        if self.job is None or self.labels is None or self.journal is None or not self.journal.exists():
            raise InputError(
                f"the results of {self.source} were not kept, or are closed; call mien.analyze_video() again"
            )
        return self.job, self.labels

    def _results(self) -> Iterator[tuple[Frame, Faces]]:
        """Yield the results, with frames of a single pixel."""
        _, labels = self._kept()
        past = read_past(self.journal) if self.journal else None
        if past and self.journal:
            yield from read_results(self.journal, labels, past[1].frames, self.source)

    def _results_with_images(self) -> Iterator[tuple[Frame, Faces]]:
        job, _ = self._kept()
        with Video(job.source, job.video) as video:
            frames = iter(video)
            for known, faces in self._results():
                frame = next(frames, None)
                if frame is None or frame.index != known.index:
                    raise InputError(f"{self.source} gives other frames than before; analyze it again")
                yield frame, faces


def _column(pandas: Any, values: Any, kind: type) -> Any:
    if kind is int:
        return pandas.array(values, dtype="Int64")  # a frame without a face has no number of a face
    return pandas.Series(values, dtype="float64" if kind is float else "object")


def replay(result: VideoResult, labels: LabelSet, sinks: Sequence[Sink]) -> None:
    """Hand the results of a video to writers, from the journal that was kept.

    Args:
        result: Of a job with a `journal`.
        labels: The label set of the run.
        sinks: Open writers.

    Raises:
        OutputError: The journal cannot be read, or a writer cannot write.
    """
    past = read_past(result.journal) if result.journal and result.journal.exists() else None
    if past and result.journal:
        for frame, faces in read_results(result.journal, labels, past[1].frames, result.source):
            for sink in sinks:
                sink.write(frame, faces)
    if result.error:
        for sink in sinks:
            sink.fail(result.source, result.error)
