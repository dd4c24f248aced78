"""The writers that fill the outputs of one video, and what is summed up for them on the way."""

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from mien.errors import InputError
from mien.faces import Faces, Frame
from mien.files import write_whole
from mien.labels import LabelSet
from mien.output.base import Sink
from mien.output.sinks import open_sink
from mien.sources.videos import VideoInfo
from mien.video.intervals import open_interval_sink
from mien.video.job import VideoJob
from mien.video.moments import ContactSheet
from mien.video.outputs import Paths
from mien.video.summary import VideoSummary
from mien.video.summary_text import summary_as_csv, summary_as_markdown
from mien.video.timeline import Timeline
from mien.video.truth import Truth, TruthScore
from mien.video.veil import Drawing
from mien.video.work_folder import WorkFolder


class Findings:
    """What is summed up over a video, whatever is written of it.

    Attributes:
        summary: Who showed what, for how long.
        timeline: The course of the probabilities; only filled where it is drawn.
        score: How the results compare with the truth, or None.
    """

    def __init__(self, labels: LabelSet, truth: Truth | None, *, timeline: bool) -> None:
        """Start empty.

        Args:
            labels: The label set.
            truth: Known expressions, or None.
            timeline: Whether the timeline is drawn.
        """
        self.summary = VideoSummary(labels)
        self.timeline = Timeline(labels, truth=truth)
        self.score = None if truth is None else TruthScore(truth)
        self._drawn = timeline

    def add(self, frame: Frame, faces: Faces) -> None:
        """Add the result of a frame."""
        self.summary.add(frame, faces)
        if self._drawn:
            self.timeline.add(frame, faces)
        if self.score is not None:
            self.score.add(frame, faces)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain values, with the score as `truth` where there is one."""
        return self.summary.to_dict() | ({"truth": self.score.to_dict()} if self.score else {})


class Writers:
    """Writers of one video, as one. What is not complete at the end of the `with` block is discarded."""

    def __init__(self, sinks: Sequence[Sink], shared: Sequence[Sink] = ()) -> None:
        """Take open writers.

        Args:
            sinks: Closed here.
            shared: Closed by others.
        """
        self._own, self._all = sinks, (*sinks, *shared)

    def write(self, frame: Frame, faces: Faces) -> None:
        """Hand a result to every writer.

        Raises:
            OutputError: It cannot be written.
        """
        for sink in self._all:
            sink.write(frame, faces)

    def fail(self, source: str, message: str) -> None:
        """Hand an error of the video to every writer.

        Raises:
            OutputError: It cannot be written.
        """
        for sink in self._all:
            sink.fail(source, message)

    def close(self, *, interrupted: bool) -> None:
        """Complete every output.

        Args:
            interrupted: Whether the video is not done.

        Raises:
            OutputError: One cannot be completed.
        """
        for sink in self._own:
            if interrupted:
                sink.interrupt()
            else:
                sink.close()

    def problems(self) -> list[str]:
        """Return what the writers of videos could not keep."""
        return [problem for sink in self._own for problem in getattr(sink, "problems", [])]

    def __enter__(self) -> "Writers":
        """Return the writers themselves."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Discard what is not complete."""
        for sink in self._own:
            with suppress(OSError):
                sink.discard()


def open_writers(
    job: VideoJob,
    work: WorkFolder,
    *,
    labels: LabelSet,
    info: VideoInfo,
    findings: Findings,
    shared: Sequence[Sink] = (),
) -> Writers:
    """Open a writer for every output.

    Args:
        job: The video and what is wanted of it.
        work: Where the outputs grow.
        labels: The label set.
        info: The video.
        findings: Filled by the caller.
        shared: Open writers, closed by others.

    Raises:
        InputError: An output of unknown kind, or intervals without their length.
        OutputError: Nothing can be written there.
    """
    outputs, interval_s = job.outputs, job.interval_s
    drawing = Drawing(job.style, job.truth)
    info = replace(info, source=str(job.source))  # results may call it otherwise; the sound is in the file
    if outputs.intervals and interval_s is None:
        raise InputError("a table of intervals needs their length; pass interval_s, 1.0 for a second")
    attributes = job.attributes
    factories: list[tuple[Paths, Callable[[Path], Sink]]] = [
        (outputs.tables, lambda path: open_sink(path, labels=labels, tracked=True, attributes=attributes)),
        (
            outputs.intervals,
            lambda path: open_interval_sink(path, labels=labels, interval_s=interval_s or 0, attributes=attributes),
        ),
        (outputs.videos, lambda path: open_sink(path, labels=labels, draw=drawing, video=info)),
        (outputs.summaries, lambda path: SummarySink(path, findings)),
        (outputs.timelines, lambda path: TimelineSink(path, findings.timeline)),
        (outputs.moments, lambda path: MomentsSink(path, labels, blur=job.style.blur)),
    ]
    with ExitStack() as opened:
        sinks: list[Sink] = []
        for paths, factory in factories:
            for path in paths:
                sinks.append(factory(work.path(path)))
                opened.callback(sinks[-1].discard)
        opened.pop_all()
    return Writers(sinks, shared)


class ReportSink(Sink):
    """A file that is made at the end, from what was gathered on the way."""

    def __init__(self, path: Path) -> None:
        """Remember the path.

        Args:
            path: The file.
        """
        super().__init__()
        self._path = path

    def _write(self, frame: Frame, faces: Faces) -> None: ...

    def _fail(self, source: str, message: str) -> None: ...

    def _drop(self) -> None: ...


class SummarySink(ReportSink):
    """The summary, with the score against the truth where there is one."""

    def __init__(self, path: Path, findings: Findings) -> None:
        """Remember what is written.

        Args:
            path: Ends in `.json`, `.csv`, `.md` or `.txt`.
            findings: Filled by the caller.
        """
        super().__init__(path)
        self._findings = findings

    def _commit(self) -> None:
        figures = self._findings.to_dict()
        if self._path.suffix.lower() == ".json":
            write_whole(self._path, json.dumps(figures, ensure_ascii=False, indent=2) + "\n")
        elif self._path.suffix.lower() == ".csv":
            write_whole(self._path, summary_as_csv(figures))
        else:
            score = f"\n{self._findings.score.to_markdown()}" if self._findings.score else ""
            write_whole(self._path, summary_as_markdown(figures) + score)


class TimelineSink(ReportSink):
    """The timeline of every person's expressions."""

    def __init__(self, path: Path, timeline: Timeline) -> None:
        """Remember what is drawn.

        Args:
            path: Ends in `.png`, `.svg`, `.pdf` or `.html`.
            timeline: Filled by the caller.
        """
        super().__init__(path)
        self._timeline, self._title = timeline, ""

    def _write(self, frame: Frame, faces: Faces) -> None:
        self._title = self._title or Path(frame.source).name

    def _commit(self) -> None:
        self._timeline.write(self._path, title=self._title)


class MomentsSink(ReportSink):
    """The sheet of the strongest moments."""

    def __init__(self, path: Path, labels: LabelSet, *, blur: bool) -> None:
        """Start without any.

        Args:
            path: Ends in an extension of images.
            labels: The label set.
            blur: Whether faces are made unrecognisable.
        """
        super().__init__(path)
        self._sheet = ContactSheet(labels, blur=blur)

    def _write(self, frame: Frame, faces: Faces) -> None:
        self._sheet.add(frame, faces)

    def _commit(self) -> None:
        self._sheet.write(self._path)
