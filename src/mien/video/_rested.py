"""The second pass over a video: what is known only at its end goes into the results.

That is everybody's resting face, who is who, and the medians of each track, to which measures are relative.

The first pass keeps what the model says, of all faces, in a journal of its own. Nothing is analyzed again: this pass
reads that journal, once to find resting faces and medians and once to correct, smooth and filter the results. Who is
who takes another look at a few frames (`video/_people.py`).
"""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mien.analyzer import Analyzer
from mien.faces import Faces, Frame, relative_columns
from mien.people.embedding import FaceEmbedder
from mien.sources.videos import Video, VideoInfo
from mien.tracking.baseline import Baselines
from mien.tracking.settings import TrackSettings
from mien.tracking.smooth import RunningExpression, smooth
from mien.video._journal import read_results
from mien.video._people import Named, SeenTracks, Sightings, embed_tracks, gallery_of, name_videos
from mien.video._relative import OwnMedians


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

    def rested(
        self, analyzer: Analyzer, settings: TrackSettings, people: Named | None = None
    ) -> tuple[Iterator[tuple[Frame, Faces]], list[str]]:
        """Return the results with everybody's resting face taken out, and warnings. The frames have a single pixel.

        Args:
            analyzer: Its model gave the results, its `keep` says which faces are kept of them.
            settings: What a resting face is, if any is to be taken out, and how to smooth.
            people: Who each track is; None where that was not asked for.

        Raises:
            InputError: The model or its label set allows no baseline.
            OutputError: The journal cannot be read.
        """
        baselines = medians = None
        if settings.baseline is not None:
            baselines = Baselines(settings, analyzer.labels, analyzer.model.card, analyzer.prior)
        if settings.relative and relative_columns(analyzer.attributes):
            medians = OwnMedians(people)
        known_at_end = [one for one in (baselines, medians) if one is not None]
        for _, faces in self._results(analyzer) if known_at_end else ():
            for one in known_at_end:
                one.add(faces)
        for one in known_at_end:
            one.settle()
        nobody = baselines is not None and not len(baselines) and isinstance(settings.baseline, tuple)
        told = ["nobody was seen in the stretch that the baseline names, so it changes nothing"] if nobody else []
        return self._corrected(baselines, medians, analyzer, settings, people), told

    def people(
        self, analyzer: Analyzer, settings: TrackSettings, video: Video, stop: threading.Event
    ) -> tuple[Named, list[str]]:
        """Return who each track is, after another look at the video, and warnings.

        Args:
            analyzer: Gave the results; its detector finds the faces on the pictures of people with names.
            settings: Says where those are.
            video: The same video, open.
            stop: Ends the work early.

        Raises:
            InputError: There are no pictures of people where the settings say.
            MissingWeightsError: The network was not pulled yet.
        """
        embedder = FaceEmbedder()
        gallery = gallery_of(settings, analyzer.detector, embedder)
        seen = self.seen(analyzer, video, embedder, stop)
        return name_videos([seen], gallery)[0], list(gallery.problems) if gallery else []

    def seen(self, analyzer: Analyzer, video: Video, embedder: FaceEmbedder, stop: threading.Event) -> SeenTracks:
        """Return the tracks and what tells them apart, after another look at the video.

        Args:
            analyzer: Gave the results.
            video: The same video, open.
            embedder: Makes the embeddings.
            stop: Ends the work early.
        """
        sightings = Sightings()
        for _, faces in self._results(analyzer):
            sightings.add(faces)
        embedded = embed_tracks(sightings, self._results(analyzer), iter(video), embedder, stop)
        return sightings.with_embeddings(embedded, resumed=self.resumed)

    def _results(self, analyzer: Analyzer) -> Iterator[tuple[Frame, Faces]]:
        return read_results(self.journal, analyzer.labels, self.frames, self.info.source)

    def _corrected(
        self,
        baselines: Baselines | None,
        medians: OwnMedians | None,
        analyzer: Analyzer,
        settings: TrackSettings,
        people: Named | None,
    ) -> Iterator[tuple[Frame, Faces]]:
        running: Mapping[int, RunningExpression] = {}
        for frame, raw in self._results(analyzer):
            faces, running = smooth(baselines.taken_out(raw) if baselines else raw, running, settings)
            if medians is not None:
                faces = medians.applied(faces)
            if people is not None:
                tracks = [] if faces.track_id is None else faces.track_id.tolist()
                faces = faces.with_person([people.get(track) for track in tracks])
            kept = analyzer.keep.named(analyzer.keep.found(faces), self.info.width, self.info.height)
            yield frame, kept
