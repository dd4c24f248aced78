"""`mien analyze` and `mien detectors`."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from mien.analyzer import DEFAULT_DETECTOR, AnalyzerSettings, Result
from mien.cli.analyze.video_text import score_text
from mien.cli.analyze.videos import (
    IMAGES_AND_VIDEOS,
    ScoreSink,
    SinkWithoutFile,
    VideoCommand,
    videos_among,
)
from mien.cli.analyze.videos import run as run_videos
from mien.cli.console import FAILED, bar, colour, errors, expression_text, for_people, out, say_failure, say_written
from mien.cli.options import DetectorOption, LabelSetOption, ModelOption
from mien.detect.detector import DetectorSettings
from mien.detect.registry import DETECTORS, create_detector
from mien.errors import InputError, MissingExtraError
from mien.faces import Face, Faces, Frame
from mien.labels import EMOJI, LabelSet
from mien.models.catalogue import DEFAULT_MODEL
from mien.models.runtime import RuntimeSettings
from mien.output.draw.faces import DrawStyle
from mien.output.sinks import JsonLinesStream, Sink, open_sink
from mien.sources.images import Failed, Item, SourceSettings, expand
from mien.sources.videos import VideoSettings
from mien.tracking.settings import TrackSettings
from mien.video.job import VideoJob
from mien.video.outputs import VideoOutputs
from mien.video.truth import parse_time, read_truth
from mien.video.veil import Drawing

TRACK = TrackSettings()
PROGRESS_FROM = 4  # fewer images are done before a bar is read
HEIGHTS = "▁▂▃▄▅▆▇█"

Sources = Annotated[
    list[str],
    typer.Argument(
        help="Images and videos, folders, globs, http(s) URLs, or - for an image on standard input.",
        show_default=False,
    ),
]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        "-o",
        help="Where results go: a table (.jsonl, .csv, .parquet), an annotated video (.mp4, .mkv, .mov, .webm) or "
        "image (.jpg, .png, .webp), or a folder for everything. Repeatable.",
    ),
]
VIDEOS, TRACKING, DRAWING = "Videos", "Following faces in videos", "What is drawn"
MACHINE = "Detector and machine"


def analyze(
    sources: Sources,
    output: Outputs = None,
    labels: LabelSetOption = None,
    detector: DetectorOption = DEFAULT_DETECTOR,
    model: ModelOption = DEFAULT_MODEL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines, as when piped.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no results, only errors.")] = False,
    interval: Annotated[
        str | None,
        typer.Option(help="Rows per person and interval, 1s say, not per face and frame.", rich_help_panel=VIDEOS),
    ] = None,
    summary: Annotated[
        Path | None, typer.Option(help="Who showed what, for how long: .json, .md or .txt.", rich_help_panel=VIDEOS)
    ] = None,
    timeline: Annotated[
        Path | None, typer.Option(help="Figure of the whole video: .png, .svg or .html.", rich_help_panel=VIDEOS)
    ] = None,
    moments: Annotated[
        Path | None, typer.Option(help="Sheet of the strongest moments: .png, .jpg or .webp.", rich_help_panel=VIDEOS)
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="CSV of what was really shown (start_s,end_s,expression[,track_id] or file,expression): drawn in "
            "gray, and the results are scored.",
            rich_help_panel=VIDEOS,
        ),
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Take each n-th frame.", rich_help_panel=VIDEOS)] = 1,
    fps: Annotated[
        float | None, typer.Option(help="Take at most so many frames per second of video.", rich_help_panel=VIDEOS)
    ] = None,
    start: Annotated[str, typer.Option(help="Begin at this time: 65.5 or 1:05.5.", rich_help_panel=VIDEOS)] = "0",
    end: Annotated[str | None, typer.Option(help="End at this time.", rich_help_panel=VIDEOS)] = None,
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many.", rich_help_panel=VIDEOS)] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an earlier run stopped.", rich_help_panel=VIDEOS)
    ] = False,
    jobs: Annotated[int, typer.Option(min=0, help="Videos at once; 0: one per core.", rich_help_panel=VIDEOS)] = 0,
    half_life: Annotated[
        float, typer.Option(help="Seconds after which a frame counts half; 0: none.", rich_help_panel=TRACKING)
    ] = TRACK.half_life_s,
    detect_every: Annotated[
        float, typer.Option(help="Search the whole frame so often, seconds; 0: always.", rich_help_panel=TRACKING)
    ] = TRACK.detect_every_s,
    reid: Annotated[
        bool,
        typer.Option("--reid", help="Give people who come back their old number.", rich_help_panel=TRACKING),
    ] = False,
    bars: Annotated[
        bool, typer.Option("--bars", help="All probabilities beside each face.", rich_help_panel=DRAWING)
    ] = False,
    landmarks: Annotated[
        bool, typer.Option("--landmarks", help="The five landmarks.", rich_help_panel=DRAWING)
    ] = False,
    blur: Annotated[
        bool, typer.Option("--blur-faces", help="Faces made unrecognisable.", rich_help_panel=DRAWING)
    ] = False,
    min_face: Annotated[int, typer.Option(help="Smallest face looked for, pixels.", rich_help_panel=MACHINE)] = 32,
    threshold: Annotated[
        float | None, typer.Option(help="Least detector score, 0-1.", show_default=False, rich_help_panel=MACHINE)
    ] = None,
    detector_model: Annotated[
        Path | None, typer.Option(help="Model file of yunet or ssd.", rich_help_panel=MACHINE)
    ] = None,
    detector_config: Annotated[
        Path | None, typer.Option(help="Network description of ssd (.prototxt).", rich_help_panel=MACHINE)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, coreml, …", rich_help_panel=MACHINE)] = "auto",
    gpu_memory: Annotated[int | None, typer.Option(help="Limit of GPU memory, MiB.", rich_help_panel=MACHINE)] = None,
    threads: Annotated[
        int, typer.Option(min=0, help="CPU threads per network call; 0: automatic.", rich_help_panel=MACHINE)
    ] = 1,
    workers: Annotated[
        int, typer.Option(min=0, help="Images worked on at once; 0: one per core.", rich_help_panel=MACHINE)
    ] = 0,
    allow_private: Annotated[
        bool,
        typer.Option("--allow-private", help="Fetch URLs of private addresses too.", rich_help_panel=MACHINE),
    ] = False,
) -> None:
    """Find the faces of images and videos and say which expression each one shows.

    Exit code 0: all done; 1: some source failed (the rest is done and written); 2: wrong use; 130: stopped with Ctrl-C
    (what was done is written). An image without a face is a result.
    """
    recipe = AnalyzerSettings(
        detector,
        model,
        labels,
        DetectorSettings(
            min_face_px=min_face,
            threshold=threshold,
            model_path=detector_model,
            config_path=detector_config,
            threads=threads,
        ),
        RuntimeSettings(device=device, threads=threads, gpu_memory_mb=gpu_memory),
    )
    analyzer = recipe.open()
    video = VideoJob(
        source="",
        video=VideoSettings(
            every,
            fps,
            _seconds(start, "--start"),
            _seconds(end, "--end") if end else None,
            max_frames,
            allow_private=allow_private,
        ),
        track=TrackSettings(half_life_s=half_life, detect_every_s=detect_every, reid=reid),
        style=DrawStyle(bars=bars, landmarks=landmarks, blur=blur),
        interval_s=_seconds(interval, "--interval") if interval else None,
        truth=read_truth(truth, analyzer.labels) if truth else None,
        resume=resume,
    )
    command = VideoCommand(
        video,
        outputs=output or (),
        extra=VideoOutputs(summaries=_some(summary), timelines=_some(timeline), moments=_some(moments)),
        jobs=jobs,
        rows=not quiet and (as_json or not out.is_terminal),
        quiet=quiet,
    )
    items = expand(sources, kind=IMAGES_AND_VIDEOS)
    videos = videos_among(items)
    limits = SourceSettings(allow_private=allow_private)
    images = partial(analyzer.map_items, settings=limits, workers=workers or None)
    if videos:
        failed = run_videos(
            command, items, videos, analyzer=analyzer, recipe=recipe, images=images, printer=_TerminalSink,
            deliver=_deliver,
        )  # fmt: skip
    elif asked := command.video_options():
        raise InputError(f"no video is among the sources, and videos alone have {asked}; leave it out for images")
    else:
        failed = _analyze_images(items, images(items), command, analyzer.labels)
    if failed:
        errors.print(f"{failed} of {len(items)} sources failed", style="red")
        raise typer.Exit(FAILED)


def _some(path: Path | None) -> tuple[Path, ...]:
    return () if path is None else (path,)


def _seconds(text: str, option: str) -> float:
    return parse_time(text.strip().removesuffix("s"), option)


def _analyze_images(items: list[Item], results: Iterator[Result], command: VideoCommand, labels: LabelSet) -> int:
    """Hand the results of images to their outputs; return how many failed."""
    draw = Drawing(command.video.style, command.video.truth)
    with ExitStack() as stack:
        sinks = [stack.enter_context(open_sink(path, labels=labels, draw=draw)) for path in command.outputs]
        if command.rows:
            sinks.append(stack.enter_context(JsonLinesStream(sys.stdout, labels=labels)))
        elif not command.quiet:
            sinks.append(stack.enter_context(_TerminalSink()))
        score = ScoreSink(command.video.truth) if command.video.truth else None
        sinks += [score] if score else []
        failed = sum(_deliver(result, sinks) for result in _with_progress(results, len(items)))
    for path in command.outputs:
        say_written(Path(path))
    if score and not command.quiet:
        for_people().print(score_text(score.score.to_dict()))
    return failed


def _deliver(result: Result, sinks: list[Sink]) -> bool:
    """Hand one result to every sink; return whether it was a failure."""
    if isinstance(result, Failed):
        message = str(result.error)
        say_failure(message)
        for sink in sinks:
            sink.fail(result.source, message)
        return True
    for sink in sinks:
        sink.write(*result)
    return False


class _TerminalSink(SinkWithoutFile):
    """Prints one block per image: its name, then a line per face."""

    def _write(self, frame: Frame, faces: Faces) -> None:
        count = "no face" if not len(faces) else "1 face" if len(faces) == 1 else f"{len(faces)} faces"
        out.print(Text.assemble((frame.source, "bold"), (f"  {count}", "dim")), soft_wrap=True)
        if len(faces):
            out.print(_face_table(faces))


def _face_table(faces: Faces) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right", style="dim")
    for number, face in enumerate(faces, start=1):
        table.add_row(f"  {number}", *_face_cells(face))
    return table


def _face_cells(face: Face) -> tuple[Text, Text, Text, Text]:
    name, confidence = face.expression or "", face.confidence or 0.0
    x1, y1, x2, y2 = (round(float(v)) for v in face.xyxy)
    return (
        expression_text(name),
        bar(confidence, colour=colour(name)).append(f" {confidence:4.0%}", style="bold"),
        _all_probabilities(face),
        Text(f"({x1}, {y1})-({x2}, {y2})", style="dim"),
    )


def _all_probabilities(face: Face) -> Text:
    """Return every expression as its emoji and a block whose height is its probability."""
    if face.probs is None or face.labels is None:
        return Text()
    pieces = []
    for name, p in zip(face.labels.names, face.probs, strict=True):
        height = HEIGHTS[min(int(float(p) * len(HEIGHTS)), len(HEIGHTS) - 1)]
        pieces.append((f"{EMOJI.get(name, name[:2])}{height} ", colour(name)))
    return Text.assemble(*pieces)


def _with_progress(results: Iterator[Result], total: int) -> Iterator[Result]:
    console = out if out.is_terminal else errors
    if total < PROGRESS_FROM or not console.is_terminal:
        yield from results
        return
    columns = (TextColumn("analyzing"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        for result in results:
            yield result
            progress.advance(task)


class _Rate(ProgressColumn):
    """Images per second, once there is a speed."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f}/s")


ABOUT = {
    "mtcnn": "three-stage cascade with five landmarks; fast and accurate",
    "haar": "OpenCV's frontalface_default at 1.3 / 5, as in the tutorials",
    "haar-alt2": "OpenCV's frontalface_alt2 at 1.1 / 5; finds more, slower",
    "dlib-hog": "dlib's frontal detector; close frontal faces",
    "dlib-mmod": "dlib's network; slow without a GPU",
    "yunet": "OpenCV's YuNet with five landmarks, from a file you have",
    "ssd": "OpenCV's res10 SSD, from files you have",
    "none": "the images are face crops already",
}


def detectors() -> None:
    """List the face detectors and what each one needs."""
    table = Table("detector", "ready", "about")
    for name in DETECTORS:
        title = Text(name, "bold").append(" (default)" if name == DEFAULT_DETECTOR else "", "not bold")
        table.add_row(title, _readiness(name), ABOUT.get(name, ""))
    out.print(table)


def _readiness(name: str) -> str:
    try:
        create_detector(name, DetectorSettings())
    except MissingExtraError:
        return "needs pip install 'mien[dlib]'"
    except InputError:
        return "needs --detector-model"
    return "yes"
