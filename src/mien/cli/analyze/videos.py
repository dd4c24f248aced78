"""Videos alone or beside images: one streams to its outputs, several are analyzed in parallel."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import typer

from mien.analyzer import Analyzer, AnalyzerSettings, Result
from mien.cli.analyze.folders import SUMMARY, folders_among, say_all_written
from mien.cli.analyze.jobs import INSTEAD, VideoJobs
from mien.cli.analyze.many import ManyVideos
from mien.cli.analyze.request import Request
from mien.cli.analyze.show import ProgressLines, row_printer, score_text, tell
from mien.cli.console import INTERRUPTED, for_people, say_error
from mien.errors import SourceError
from mien.output.base import Sink
from mien.output.kinds import FOLDER, TABLE, VIDEO, kind_of
from mien.output.sinks import open_sink
from mien.sources.images import Item
from mien.video.outputs import VideoOutputs
from mien.video.result import VideoResult
from mien.video.run import run_job
from mien.video.segment_pool import SegmentPool, worker_count

FOR_ONE = (TABLE, VIDEO)


def analyze(
    request: Request,
    items: Sequence[Item],
    videos: dict[int, str],
    *,
    analyzer: Analyzer,
    settings: AnalyzerSettings,
    images: Callable[[Sequence[Item]], Iterator[Result]],
) -> int:
    """Analyze videos, and the images beside them.

    Args:
        request: What is wanted.
        items: All sources.
        videos: Which of them are videos: their place among the items, and what `Video` opens.
        analyzer: Detector and model.
        settings: How other processes make the same.
        images: Analyzes images.

    Returns:
        How many sources failed.

    Raises:
        typer.Exit: The run was interrupted.
    """
    jobs = VideoJobs.of(request, analyzer.labels)
    with _stopping() as stop:
        if len(items) == 1:
            failed = _OneVideo(jobs, analyzer, settings, stop).run(videos[0])
        else:
            failed = ManyVideos(jobs, items, videos, analyzer, stop).run(settings, images)
    if stop.is_set():
        again = "; --resume goes on from here" if request.outputs or jobs.extra.all() else ""
        say_error(f"stopped; what was done is written{again}")
        raise typer.Exit(INTERRUPTED)
    return failed


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C sets, so that files are completed; the second ends the process at once."""
    stop = threading.Event()

    def heed(_: int, __: FrameType | None) -> None:
        if stop.is_set():
            os._exit(INTERRUPTED)
        stop.set()
        os.write(2, b"\nfinishing the files; press Ctrl-C again to end at once\n")  # printing is not safe in here

    before = signal.signal(signal.SIGINT, heed)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


class _OneVideo:
    """One video: its results stream to its outputs."""

    def __init__(self, jobs: VideoJobs, analyzer: Analyzer, settings: AnalyzerSettings, stop: threading.Event) -> None:
        self._jobs, self._request, self._analyzer, self._stop = jobs, jobs.request, analyzer, stop
        shared = worker_count(self._request.workers) > 1
        self._runner = SegmentPool(settings, self._request.workers) if shared else None

    def run(self, source: str) -> int:
        """Analyze it; return 1 if it failed."""
        request, outputs = self._request, self._jobs.extra
        for path in request.outputs:
            outputs = outputs.plus(_outputs_of(path, interval=request.interval_s is not None))
        self._jobs.check_resume(outputs.all())
        with ExitStack() as stack:
            rows = [stack.enter_context(row_printer(request, self._analyzer.labels))] if request.rows else []
            result = self._analyze(source, outputs, rows)
        tell(result, request)
        if not request.quiet:
            say_all_written(result.outputs, folders_among(request.outputs))
        if not request.shown and not request.quiet and "truth" in result.figures:
            for_people().print(score_text(result.figures["truth"]))
        return int(result.error is not None)

    def _analyze(self, source: str, outputs: VideoOutputs, rows: list[Sink]) -> VideoResult:
        job = self._jobs.job(source, outputs)
        try:
            with ProgressLines(self._request) as lines:
                return run_job(
                    job, self._analyzer, progress=lines.show, stop=self._stop, sinks=rows, runner=self._runner
                )
        except SourceError as error:
            for path in outputs.tables:
                with open_sink(
                    path, labels=self._analyzer.labels, tracked=True, attributes=self._request.video_attributes
                ) as table:
                    table.fail(job.name, str(error))
            for sink in rows:
                sink.fail(job.name, str(error))
            return VideoResult(job.name, error=str(error), outputs=outputs.tables)


def _outputs_of(path: str, *, interval: bool) -> VideoOutputs:
    """Return what `-o` means for a single video."""
    if kind_of(path, FOR_ONE, instead=INSTEAD) is FOLDER:
        found = VideoOutputs.in_folder(Path(path), interval=interval)
        return found.plus(VideoOutputs(summaries=(Path(path) / SUMMARY,)))
    return VideoOutputs.named([path], interval=interval)
