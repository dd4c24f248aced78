"""The job that a request asks for on each video."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mien.cli.analyze.request import Request
from mien.errors import InputError
from mien.labels import LabelSet
from mien.video.job import VideoJob
from mien.video.outputs import VideoOutputs
from mien.video.truth import Truth, read_truth

INSTEAD = "use --timeline or --moments for images, --summary for .json, or -o FOLDER/ for all"


@dataclass(frozen=True)
class VideoJobs:
    """Makes the jobs of a request.

    Attributes:
        request: What is wanted.
        truth: What was really shown, or None.
    """

    request: Request
    truth: Truth | None

    @classmethod
    def of(cls, request: Request, labels: LabelSet) -> Self:
        """Read the truth, where the request names one.

        Args:
            request: What is wanted.
            labels: The label set.

        Raises:
            InputError: The truth cannot be read.
        """
        return cls(request, read_truth(request.truth, labels) if request.truth else None)

    @property
    def extra(self) -> VideoOutputs:
        """The outputs of `--summary`, `--timeline` and `--moments`."""
        request = self.request
        return VideoOutputs(
            summaries=_some(request.summary), timelines=_some(request.timeline), moments=_some(request.moments)
        )

    def job(self, source: str, outputs: VideoOutputs, journal: Path | None = None) -> VideoJob:
        """Return what is to be done with one video.

        Args:
            source: The video.
            outputs: Where its results go.
            journal: A place for its journal; None keeps it beside the first output.
        """
        request = self.request
        return VideoJob(
            source, outputs, journal=journal, video=request.frames, track=request.track, style=request.style,
            interval_s=request.interval_s, truth=self.truth, resume=request.resume,
        )  # fmt: skip

    def check_resume(self, outputs: Sequence[str | Path]) -> None:
        """Refuse to resume where there is nothing to go on with.

        Args:
            outputs: Where results go.

        Raises:
            InputError: `--resume` without outputs.
        """
        if self.request.resume and not outputs:
            raise InputError("--resume goes on with the outputs of an earlier run; give the same -o again")


def _some(path: Path | None) -> tuple[Path, ...]:
    return () if path is None else (path,)
