"""The video part of `mien analyze`: videos alone or beside images, one or many."""

import json
import os
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from mien.analyzer import Analyzer, AnalyzerSettings, Result
from mien.cli.analyze.video_text import score_text, video_text
from mien.cli.console import INTERRUPTED, for_people, out, say_error, say_failure, say_problem, say_written
from mien.errors import InputError, MissingExtraError, SourceError
from mien.faces import Faces, Frame, Record
from mien.labels import LabelSet
from mien.output.kinds import FOLDER, OF_IMAGES, TABLE, VIDEO, kind_of
from mien.output.sinks import (
    JsonLinesStream,
    Sink,
    image_name,
    open_interval_sink,
    open_sink,
)
from mien.sources.addresses import is_http
from mien.sources.images import IMAGE_SUFFIXES, Item, Kind
from mien.sources.videos import VIDEO_SUFFIXES, VideoSettings, is_video
from mien.video.intervals import IntervalTable
from mien.video.job import Progress as VideoProgress
from mien.video.job import VideoJob, VideoResult
from mien.video.outputs import VideoOutputs
from mien.video.parallel import analyze_videos
from mien.video.run import replay, run_job
from mien.video.summary_text import time_text
from mien.video.truth import Truth, TruthScore
from mien.video.veil import Drawing
from mien.video.work_folder import WorkFolder

FOR_VIDEOS = (TABLE, VIDEO)
INSTEAD = "use --timeline or --moments for images, --summary for .json, or -o FOLDER/ for all"
IMAGES_AND_VIDEOS = Kind("an image or video", "images and videos", IMAGE_SUFFIXES + VIDEO_SUFFIXES)


@dataclass(frozen=True)
class VideoCommand:
    """What the options of the command line ask of videos.

    Attributes:
        video: What is wanted of each video; its source, outputs and journal are left open.
        outputs: As given with `-o`.
        extra: The outputs of `--timeline`, `--summary` and `--moments`.
        jobs: Videos at once; 0 for one per core.
        rows: Whether rows are printed.
        quiet: Whether nothing is.
    """

    video: VideoJob
    outputs: Sequence[str] = ()
    extra: VideoOutputs = field(default_factory=VideoOutputs)
    jobs: int = 0
    rows: bool = True
    quiet: bool = False

    def job(self, source: str, outputs: VideoOutputs, journal: Path | None = None) -> VideoJob:
        """Return what is to be done with one video.

        Args:
            source: The video.
            outputs: Where its results go.
            journal: A place for its journal; None keeps it beside the first output.
        """
        return replace(self.video, source=source, outputs=outputs, journal=journal)

    def video_options(self) -> str:
        """Return the options in use that make sense for videos only, separated by commas."""
        extra, video, usual = self.extra, self.video.video, VideoSettings()
        used = {
            "--timeline": extra.timelines, "--summary": extra.summaries, "--moments": extra.moments,
            "--interval": self.video.interval_s, "--resume": self.video.resume, "--every": video.every != usual.every,
            "--fps": video.fps, "--start": video.start_s, "--end": video.end_s, "--max-frames": video.max_frames,
        }  # fmt: skip
        return ", ".join(name for name, value in used.items() if value)


def videos_among(items: Sequence[Item]) -> dict[int, str]:
    """Find the videos among the sources.

    Args:
        items: From `expand`.

    Returns:
        The place of each video among the items, and what `Video` opens.
    """
    names = ((number, _video_name(item)) for number, item in enumerate(items))
    return {number: name for number, name in names if name is not None}


def _video_name(item: Item) -> str | None:
    if isinstance(item.origin, str) and is_http(item.origin):
        path = item.origin.partition("?")[0].partition("#")[0]
        return item.origin if path.lower().endswith(VIDEO_SUFFIXES) else None
    if isinstance(item.origin, Path) or (isinstance(item.origin, Exception) and "%" in item.name):
        try:
            return item.name if is_video(item.name) else None
        except MissingExtraError:  # without PyAV a GIF is its first image
            return None
    return None


@contextmanager
def stopping() -> Iterator[threading.Event]:
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


def run(
    command: VideoCommand,
    items: Sequence[Item],
    videos: dict[int, str],
    *,
    analyzer: Analyzer,
    recipe: AnalyzerSettings,
    images: Callable[[Sequence[Item]], Iterator[Result]],
    printer: Callable[[], Sink],
    deliver: Callable[[Result, list[Sink]], bool],
) -> int:
    """Analyze videos, and the images beside them.

    Args:
        command: What is wanted.
        items: All sources.
        videos: Which of them are videos, from `videos_among`.
        analyzer: Detector and model.
        recipe: How other processes make the same.
        images: Analyzes images.
        printer: Makes what prints the results of images for people.
        deliver: Hands the result of an image to writers and says whether it was a failure.

    Returns:
        How many sources failed.

    Raises:
        typer.Exit: The run was interrupted.
    """
    with stopping() as stop:
        if len(items) == 1:
            failed = _One(command, analyzer, stop).run(videos[0])
        else:
            failed = _Many(command, items, videos, analyzer, stop).run(recipe, images, printer, deliver)
    if stop.is_set():
        again = "; --resume goes on from here" if command.outputs or command.extra.all() else ""
        say_error(f"stopped; what was done is written{again}")
        raise typer.Exit(INTERRUPTED)
    return failed


class _One:
    """One video: its results stream to its outputs."""

    def __init__(self, command: VideoCommand, analyzer: Analyzer, stop: threading.Event) -> None:
        self._command, self._analyzer, self._stop = command, analyzer, stop

    def run(self, source: str) -> int:
        """Analyze it; return 1 if it failed."""
        command = self._command
        outputs = command.extra
        for path in command.outputs:
            outputs = outputs.plus(_outputs_of(path, source, interval=command.video.interval_s is not None))
        _check_resume(command, outputs.all())
        with ExitStack() as stack:
            rows = [stack.enter_context(_row_printer(command, self._analyzer.labels))] if command.rows else []
            result = self._analyze(source, outputs, rows)
        tell(result, command)
        for written in result.outputs:
            say_written(written)
        if command.rows and "truth" in result.summary:
            for_people().print(score_text(result.summary["truth"]))
        return int(result.error is not None)

    def _analyze(self, source: str, outputs: VideoOutputs, rows: list[Sink]) -> VideoResult:
        job = self._command.job(source, outputs)
        try:
            with Lines(self._command) as lines:
                return run_job(job, self._analyzer, progress=lines.show, stop=self._stop, sinks=rows)
        except SourceError as error:
            for path in outputs.tables:
                with open_sink(path, labels=self._analyzer.labels, tracked=True) as table:
                    table.fail(job.name, str(error))
            for sink in rows:
                sink.fail(job.name, str(error))
            return VideoResult(job.name, error=str(error), outputs=outputs.tables)


def _outputs_of(path: str, source: str, *, interval: bool) -> VideoOutputs:
    """Return what `-o` means for a single video."""
    if kind_of(path, FOR_VIDEOS, instead=INSTEAD) is FOLDER:
        return VideoOutputs.in_folder(Path(path) / image_name(source)[0], interval=interval)
    return VideoOutputs.named([path], interval=interval)


def _check_resume(command: VideoCommand, outputs: Sequence[str | Path]) -> None:
    if command.video.resume and not outputs:
        raise InputError("--resume goes on with the outputs of an earlier run; give the same -o again")


class _Many:
    """Several videos, in parallel, and images beside them: tables hold all, folders a folder for each video."""

    def __init__(
        self,
        command: VideoCommand,
        items: Sequence[Item],
        videos: dict[int, str],
        analyzer: Analyzer,
        stop: threading.Event,
    ) -> None:
        self._command, self._items, self._videos, self._analyzer, self._stop = command, items, videos, analyzer, stop
        kinds = [(Path(path), kind_of(path, OF_IMAGES, instead=INSTEAD)) for path in command.outputs]
        self._folders = [path for path, kind in kinds if kind is FOLDER]
        self._files = {path: kind for path, kind in kinds if kind is not FOLDER}
        self._check()

    def _check(self) -> None:
        single = [path for path, kind in self._files.items() if kind is VIDEO]
        single += self._command.extra.all()
        if single:
            raise InputError(f"{single[0]} is for one video, but there are {len(self._items)} sources; use -o FOLDER/")
        _check_resume(self._command, self._command.outputs)

    def run(
        self,
        recipe: AnalyzerSettings,
        images: Callable[[Sequence[Item]], Iterator[Result]],
        printer: Callable[[], Sink],
        deliver: Callable[[Result, list[Sink]], bool],
    ) -> int:
        """Analyze them all in the order of the sources; return how many failed."""
        command, labels = self._command, self._analyzer.labels
        tables = [path for path, kind in self._files.items() if kind is TABLE]
        score = ScoreSink(command.video.truth) if command.video.truth else None
        with tempfile.TemporaryDirectory(prefix="mien-") as spare, self._work_folder(tables) as work:
            with ExitStack() as stack:
                sinks = [stack.enter_context(self._open_table(work.path(table))) for table in tables]
                sinks += [stack.enter_context(_row_printer(command, labels))] if command.rows else []
                sinks += [score] if score else []
                others = [stack.enter_context(self._open_images(path)) for path in self._for_images(tables)]
                others += [] if command.rows or command.quiet else [printer()]
                lines = stack.enter_context(Lines(command))
                jobs, count = self._jobs(work, Path(spare)), command.jobs or None
                videos = analyze_videos(jobs, recipe, workers=count, progress=lines.show, stop=self._stop)
                stills = images([item for number, item in enumerate(self._items) if number not in self._videos])
                results = stack.enter_context(closing(videos))
                failed = 0
                for number in range(len(self._items)):
                    if number in self._videos:
                        failed += self._hand_on(next(results), sinks, lines)
                    elif not self._stop.is_set():
                        failed += deliver(next(stills), [*sinks, *others])
                for sink in sinks if self._stop.is_set() else ():
                    sink.interrupt()
            published = work.publish(done=not self._stop.is_set())
        for path in (*published, *self._folders):
            say_written(path)
        if score and not command.quiet:
            for_people().print(score_text(score.score.to_dict()))
        return failed

    def _work_folder(self, tables: Sequence[Path]) -> WorkFolder:
        home = self._folders[0] if self._folders else None
        return WorkFolder(tables, sources=list(self._videos.values()), resume=self._command.video.resume, home=home)

    def _hand_on(self, result: VideoResult, sinks: Sequence[Sink], lines: "Lines") -> bool:
        """Give the results of a video to the writers and tell of it; return whether it failed."""
        lines.drop(result.source)
        if result.info is None and result.interrupted:
            return False
        replay(result, self._analyzer.labels, sinks)
        tell(result, self._command)
        return result.error is not None

    def _for_images(self, tables: Sequence[Path]) -> list[Path]:
        """Return the outputs that hold images; a folder only where there are any."""
        only_videos = len(self._videos) == len(self._items)
        return [path for path in self._files if path not in tables] + ([] if only_videos else self._folders)

    def _jobs(self, work: WorkFolder, spare: Path) -> list[VideoJob]:
        """Return a job per video, its folders named after it."""
        command, taken = self._command, Counter[str]()
        interval = command.video.interval_s is not None
        jobs: list[VideoJob] = []
        for source in self._videos.values():
            stem = image_name(source)[0]
            taken[stem.casefold()] += 1
            name = stem if taken[stem.casefold()] == 1 else f"{stem}-{taken[stem.casefold()]}"
            outputs = VideoOutputs()
            for folder in self._folders:
                outputs = outputs.plus(VideoOutputs.in_folder(folder / name, interval=interval))
            journal = work.journal_path(source) or spare / f"{len(jobs)}.journal"
            jobs.append(command.job(source, outputs, journal))
        return jobs

    def _open_table(self, path: Path) -> Sink:
        labels, interval_s = self._analyzer.labels, self._command.video.interval_s
        if interval_s is not None:
            return open_interval_sink(path, labels=labels, interval_s=interval_s)
        return open_sink(path, labels=labels, tracked=True)

    def _open_images(self, path: Path) -> Sink:
        draw = Drawing(self._command.video.style, self._command.video.truth)
        return open_sink(f"{path}/" if path in self._folders else path, labels=self._analyzer.labels, draw=draw)


# What is printed ------------------------------------------------------------------------------------------------------


def tell(result: VideoResult, command: VideoCommand) -> None:
    """Print what became of a video.

    Args:
        result: The result.
        command: What was asked for.
    """
    for problem in result.problems:
        say_problem(problem)
    if result.error:
        say_failure(result.error)
    if result.summary and not command.quiet and not command.rows:
        out.print(video_text(result))


def _row_printer(command: VideoCommand, labels: LabelSet) -> Sink:
    if command.video.interval_s is None:
        return JsonLinesStream(sys.stdout, labels=labels, tracked=True)
    return _IntervalPrinter(labels, command.video.interval_s)


class SinkWithoutFile(Sink):
    """A writer that has nothing to complete or to drop."""

    def _write(self, frame: Frame, faces: Faces) -> None: ...

    def _fail(self, source: str, message: str) -> None: ...

    def _commit(self) -> None: ...

    def _drop(self) -> None: ...


class _IntervalPrinter(SinkWithoutFile):
    """Prints a JSON line per person and interval."""

    def __init__(self, labels: LabelSet, interval_s: float) -> None:
        super().__init__()
        self._intervals, self._source = IntervalTable(labels, interval_s), ""

    def _write(self, frame: Frame, faces: Faces) -> None:
        if frame.source != self._source:
            self._print(self._intervals.finish())
            self._source = frame.source
        self._print(self._intervals.add(frame, faces))

    def _fail(self, source: str, message: str) -> None:
        self._commit()
        self._print([{"source": source, "error": message}])

    def _commit(self) -> None:
        self._print(self._intervals.finish())

    def _print(self, rows: Sequence[Record]) -> None:
        for row in rows:
            sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()


class ScoreSink(SinkWithoutFile):
    """Compares all results with the truth.

    Attributes:
        score: The score so far.
    """

    def __init__(self, truth: Truth) -> None:
        """Start empty.

        Args:
            truth: What is known.
        """
        super().__init__()
        self.score = TruthScore(truth)

    def _write(self, frame: Frame, faces: Faces) -> None:
        self.score.add(frame, faces)


class _Rate(ProgressColumn):
    """Frames, frames per second and time left."""

    def render(self, task: Task) -> Text:
        report: VideoProgress | None = task.fields.get("report")
        if report is None:
            return Text("")
        total = f"/{report.total:,}" if report.total else ""
        left = f", {time_text(report.left_s)} left" if report.left_s is not None else ""
        return Text(f"{report.frames:,}{total} frames, {report.fps:.0f} frames/s{left}")


class Lines:
    """A line of progress for each video that is being worked on; nothing where nobody watches."""

    def __init__(self, command: VideoCommand) -> None:
        """Choose the terminal.

        Args:
            command: What was asked for.
        """
        self._tasks: dict[str, TaskID] = {}
        columns = (TextColumn("{task.description}"), BarColumn(24), _Rate())
        busy = command.rows and out.is_terminal  # rows scroll by
        self._progress = Progress(
            *columns,
            console=for_people(),
            transient=True,
            disable=busy or not for_people().is_terminal,
            refresh_per_second=5,
        )

    def __enter__(self) -> "Lines":
        """Start to show."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the lines away."""
        self._progress.stop()

    def show(self, report: VideoProgress) -> None:
        """Show how far a video is."""
        task = self._tasks.get(report.source)
        if task is None:
            name = Path(report.source).name
            task = self._tasks[report.source] = self._progress.add_task(escape(name[-30:]), total=report.total)
        self._progress.update(task, completed=report.frames, total=report.total, report=report)

    def drop(self, source: str) -> None:
        """Take the line of a video away."""
        task = self._tasks.pop(source, None)
        if task is not None:
            self._progress.remove_task(task)
