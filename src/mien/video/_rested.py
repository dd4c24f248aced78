"""The second pass over a video with a baseline: the resting faces are known, and are taken out of the stored results.

The first pass keeps what the model says, of all faces, in a journal of its own. Nothing is analyzed again: this pass
reads that journal twice, once to find everybody's resting face and once to correct, smooth and filter the results.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mien.analyzer import Analyzer
from mien.faces import Faces, Frame
from mien.sources.videos import VideoInfo
from mien.tracking.baseline import Baselines
from mien.tracking.settings import TrackSettings
from mien.tracking.smooth import RunningExpression, smooth
from mien.video._journal import read_results


@dataclass(frozen=True)
class FirstPass:
    """What the first pass left.

    Attributes:
        journal: Its results, of all faces, as the model gave them.
        info: The video.
        frames: How many frames have results.
        resumed: How many of them an earlier run had done.
        problems: Warnings about the video.
        error: Why it broke off, or None.
        interrupted: Whether the work was stopped before its end.
    """

    journal: Path
    info: VideoInfo
    frames: int
    resumed: int
    problems: tuple[str, ...]
    error: str | None
    interrupted: bool

    def rested(self, analyzer: Analyzer, settings: TrackSettings) -> tuple[Iterator[tuple[Frame, Faces]], list[str]]:
        """Return the results with everybody's resting face taken out, and warnings. The frames have a single pixel.

        Args:
            analyzer: Its model gave the results, its `keep` says which faces are kept of them.
            settings: What a resting face is, and how to smooth.

        Raises:
            InputError: The model or its label set allows no baseline.
            OutputError: The journal cannot be read.
        """
        baselines = Baselines(settings, analyzer.labels, analyzer.model.card, analyzer.prior)
        for _, faces in self._results(analyzer):
            baselines.add(faces)
        baselines.settle()
        nobody = not len(baselines) and isinstance(settings.baseline, tuple)
        told = ["nobody was seen in the stretch that the baseline names, so it changes nothing"] if nobody else []
        return self._corrected(baselines, analyzer, settings), told

    def _results(self, analyzer: Analyzer) -> Iterator[tuple[Frame, Faces]]:
        return read_results(self.journal, analyzer.labels, self.frames, self.info.source)

    def _corrected(
        self, baselines: Baselines, analyzer: Analyzer, settings: TrackSettings
    ) -> Iterator[tuple[Frame, Faces]]:
        running: Mapping[int, RunningExpression] = {}
        for frame, raw in self._results(analyzer):
            faces, running = smooth(baselines.taken_out(raw), running, settings)
            kept = analyzer.keep.named(analyzer.keep.found(faces), self.info.width, self.info.height)
            yield frame, kept
