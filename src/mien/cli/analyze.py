"""`mien analyze` and `mien detectors`."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from mien.cli.console import bar, colour, errors, expression_text, out
from mien.detect import DETECTORS, DetectorSettings, create_detector
from mien.draw import DrawStyle, draw_faces
from mien.errors import InputError, MissingExtraError
from mien.faces import Face, Faces, Frame
from mien.hub import DEFAULT_MODEL
from mien.labels import EMOJI
from mien.models import RuntimeSettings
from mien.pipeline import DEFAULT_DETECTOR, Analyzer, Result
from mien.sinks import JsonLinesStream, Sink, open_sink
from mien.sources import Failed, SourceSettings, expand

FAILED = 1
PROGRESS_FROM = 4  # fewer pictures are done before a bar is read
HEIGHTS = "▁▂▃▄▅▆▇█"

Sources = Annotated[
    list[str],
    typer.Argument(help="Pictures, folders, globs, http(s) URLs, or - for standard input.", show_default=False),
]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "--output", "-o", help="Where results go: .jsonl, .csv, .parquet, .jpg, .png, .webp or a folder. Repeatable."
    ),
]


def analyze(
    sources: Sources,
    output: Outputs = None,
    labels: Annotated[str, typer.Option(help="Label set: fer2013 (7 classes) or ferplus (8).")] = "fer2013",
    detector: Annotated[str, typer.Option(help="Face detector; see `mien detectors`.")] = DEFAULT_DETECTOR,
    model: Annotated[str, typer.Option(help="Expression model; see `mien models list`.")] = DEFAULT_MODEL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines, as when piped.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no results, only errors.")] = False,
    min_face: Annotated[int, typer.Option(help="Smallest face looked for, pixels.")] = 32,
    threshold: Annotated[float | None, typer.Option(help="Least detector score, 0-1.", show_default=False)] = None,
    detector_model: Annotated[Path | None, typer.Option(help="Model file of yunet or ssd.")] = None,
    detector_config: Annotated[Path | None, typer.Option(help="Network description of ssd (.prototxt).")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, coreml, …")] = "auto",
    gpu_memory: Annotated[int | None, typer.Option(help="Limit of GPU memory, MiB.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads per network call; 0: automatic.")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Pictures worked on at once; 0: one per core.")] = 0,
    bars: Annotated[bool, typer.Option("--bars", help="Draw all probabilities beside each face.")] = False,
    landmarks: Annotated[bool, typer.Option("--landmarks", help="Draw the five landmarks.")] = False,
    blur: Annotated[
        bool, typer.Option("--blur-faces", help="Make faces unrecognisable in annotated pictures.")
    ] = False,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Fetch URLs of private addresses too.")
    ] = False,
) -> None:
    """Find the faces of pictures and say which expression each one shows.

    Exit code 0: all done; 1: some source failed (the rest is done and written); 2: wrong use. A picture without a face
    is a result.
    """
    finder = DetectorSettings(
        min_face_px=min_face,
        threshold=threshold,
        model_path=detector_model,
        config_path=detector_config,
        threads=threads,
    )
    runtime = RuntimeSettings(device=device, threads=threads, gpu_memory_mb=gpu_memory)
    analyzer = Analyzer(detector=detector, model=model, labels=labels, detector_settings=finder, runtime=runtime)
    items = expand(sources)
    results = analyzer.map_items(items, settings=SourceSettings(allow_private=allow_private), workers=workers or None)
    draw = partial(draw_faces, style=DrawStyle(bars=bars, landmarks=landmarks, blur=blur))
    with ExitStack() as stack:
        sinks = [stack.enter_context(open_sink(path, labels=analyzer.labels, draw=draw)) for path in output or ()]
        if not quiet and (as_json or not out.is_terminal):
            sinks.append(stack.enter_context(JsonLinesStream(sys.stdout, labels=analyzer.labels)))
        elif not quiet:
            sinks.append(stack.enter_context(_TerminalSink()))
        failed = sum(_deliver(result, sinks) for result in _with_progress(results, len(items)))
    for path in output or ():
        (out if out.is_terminal else errors).print(f"wrote {escape(path)}", highlight=False, soft_wrap=True)
    if failed:
        errors.print(f"{failed} of {len(items)} sources failed", style="red", highlight=False)
        raise typer.Exit(FAILED)


def _deliver(result: Result, sinks: list[Sink]) -> bool:
    """Hand one result to every sink; return whether it was a failure."""
    if isinstance(result, Failed):
        message = str(result.error)
        errors.print(f"[bold red]✗[/] {escape(message)}", highlight=False, soft_wrap=True)
        for sink in sinks:
            sink.fail(result.source, message)
        return True
    for sink in sinks:
        sink.write(*result)
    return False


class _TerminalSink(Sink):
    """Prints one block per picture: its name, then a line per face."""

    def _write(self, frame: Frame, faces: Faces) -> None:
        count = "no face" if not len(faces) else "1 face" if len(faces) == 1 else f"{len(faces)} faces"
        out.print(Text.assemble((frame.source, "bold"), (f"  {count}", "dim")), soft_wrap=True)
        if len(faces):
            out.print(_face_table(faces))

    def _fail(self, source: str, message: str) -> None:
        """The caller has printed the message already."""

    def _commit(self) -> None:
        """Nothing is left to do."""

    def _drop(self) -> None:
        """What is printed is printed."""


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
    rate = TextColumn("{task.speed:.1f}/s" if total else "")
    columns = (TextColumn("analyzing"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        for result in results:
            yield result
            progress.advance(task)


ABOUT = {
    "mtcnn": "three-stage cascade with five landmarks; fast and accurate",
    "haar": "OpenCV's frontalface_default at 1.3 / 5, as in the tutorials",
    "haar-alt2": "OpenCV's frontalface_alt2 at 1.1 / 5; finds more, slower",
    "dlib-hog": "dlib's frontal detector; close frontal faces",
    "dlib-mmod": "dlib's network; slow without a GPU",
    "yunet": "OpenCV's YuNet with five landmarks, from a file you have",
    "ssd": "OpenCV's res10 SSD, from files you have",
    "none": "the pictures are face crops already",
}


def detectors() -> None:
    """List the face detectors and what each one needs."""
    table = Table("detector", "ready", "about")
    for name in DETECTORS:
        title = f"[bold]{name}[/]" + (" (default)" if name == DEFAULT_DETECTOR else "")
        table.add_row(title, _readiness(name), ABOUT.get(name, ""))
    out.print(table)


def _readiness(name: str) -> str:
    try:
        create_detector(name, DetectorSettings())
    except MissingExtraError:
        return "needs pip install 'mien\\[dlib]'"
    except InputError:
        return "needs --detector-model"
    return "yes"
