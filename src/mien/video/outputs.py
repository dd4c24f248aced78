"""`VideoOutputs`: where the results of a video go."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from mien.errors import require_extra
from mien.output.kinds import FOLDER, MOMENTS, OF_A_VIDEO, SUMMARY, TABLE, TIMELINE, VIDEO, kind_of

KINDS = {
    "tables": TABLE,
    "intervals": TABLE,
    "videos": VIDEO,
    "summaries": SUMMARY,
    "timelines": TIMELINE,
    "moments": MOMENTS,
}

Paths = tuple[Path, ...]


@dataclass(frozen=True)
class VideoOutputs:
    """Where the results of one video go; every kind may be left out or asked for several times.

    Attributes:
        tables: A row per face and frame: `.jsonl`, `.csv`, `.parquet`.
        intervals: A row per person and interval of time: the same.
        videos: The annotated video: `.mp4`, `.mkv`, `.mov`, `.webm`.
        summaries: Who showed what, for how long: `.json`, `.csv`, or `.md` or `.txt` for people.
        timelines: A figure of the smoothed probabilities: `.png`, `.svg`, `.pdf`, or a page, `.html`.
        moments: A sheet of the strongest moments: `.png`, `.jpg`, `.webp`.
    """

    tables: Paths = ()
    intervals: Paths = ()
    videos: Paths = ()
    summaries: Paths = ()
    timelines: Paths = ()
    moments: Paths = ()

    def __post_init__(self) -> None:
        """Check the extensions, so that none is found wrong at the end of a long video."""
        for name, kind in KINDS.items():
            for path in getattr(self, name):
                kind.check(path)

    @classmethod
    def named(cls, paths: Iterable[str | Path], *, interval: bool = False) -> "VideoOutputs":
        """Sort outputs by extension; one without an extension is a folder that gets everything.

        Args:
            paths: The outputs.
            interval: Whether tables have a row per person and interval instead of one per face and frame.

        Raises:
            InputError: An extension that no result of a video has.
        """
        outputs = cls()
        for path in paths:
            outputs = outputs.plus(cls._one(path, interval=interval))
        return outputs

    @classmethod
    def _one(cls, path: str | Path, *, interval: bool) -> "VideoOutputs":
        target, kind = Path(path), kind_of(path, OF_A_VIDEO)
        if kind is FOLDER:
            return cls.in_folder(target, interval=interval)
        if kind is TABLE:
            return cls(intervals=(target,)) if interval else cls(tables=(target,))
        if kind is VIDEO:
            return cls(videos=(target,))
        return cls(summaries=(target,)) if kind is SUMMARY else cls(timelines=(target,))

    @classmethod
    def in_folder(cls, folder: Path, *, interval: bool = False) -> "VideoOutputs":
        """Return one output of every kind in a folder.

        Args:
            folder: The folder.
            interval: Whether there is a table of intervals, too.
        """
        return cls(
            tables=(folder / "rows.csv",),
            intervals=(folder / "intervals.csv",) if interval else (),
            videos=(folder / "annotated.mp4",),
            summaries=(folder / "summary.json",),
            timelines=(folder / "timeline.png", folder / "timeline.html"),
            moments=(folder / "moments.png",),
        )

    def plus(self, other: "VideoOutputs") -> "VideoOutputs":
        """Return the outputs of both."""
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in vars(self)})

    def all(self) -> Paths:
        """Return every path, the first being the one that names the run."""
        return sum(vars(self).values(), ())

    def check_extras(self) -> None:
        """Refuse what needs a package that is not installed: before the work, and before any file or folder is made.

        Raises:
            MissingExtraError: A timeline that is no page needs matplotlib, a Parquet file pyarrow.
        """
        if any(path.suffix.lower() != ".html" for path in self.timelines):
            require_extra("plots", "matplotlib")
        if any(path.suffix.lower() == ".parquet" for path in (*self.tables, *self.intervals)):
            require_extra("data", "pyarrow")

    @property
    def need_images(self) -> bool:
        """Whether the images of the video are looked at, not only its results."""
        return bool(self.videos or self.moments)
