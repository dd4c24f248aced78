"""The images of `mien analyze`: their results go to files and to the terminal."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from rich.measure import Measurement
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

from mien.analyzer import Result
from mien.cli.analyze.folders import ROWS, SUMMARY, folders_among
from mien.cli.analyze.request import Request
from mien.cli.console import bar, colour, expression_text, for_people, out, say_failure, say_written
from mien.faces import Face, Faces, Frame
from mien.labels import EMOJI, LabelSet
from mien.output.base import Draw, Sink, SinkWithoutFile
from mien.output.draw.faces import draw_faces
from mien.output.draw.measures import rows_of_panel
from mien.output.sinks import open_sink
from mien.output.tables import JsonLinesStream
from mien.sources.images import Failed

PROGRESS_FROM = 4  # fewer images are done before a bar is read
HEIGHTS = "▁▂▃▄▅▆▇█"


def analyze_images(results: Iterator[Result], count: int, request: Request, labels: LabelSet) -> int:
    """Hand the results of images to their outputs.

    Args:
        results: From `Analyzer.map_items`.
        count: How many there will be.
        request: What is wanted.
        labels: The label set.

    Returns:
        How many images failed.
    """
    draw: Draw = partial(draw_faces, style=request.style)
    score = None
    if request.truth:
        from mien.cli.analyze.scored import Scored

        score = Scored.read(request, labels)
        draw = score.draw
    with ExitStack() as stack:
        sinks = [stack.enter_context(sink) for sink in _open_files(request, labels, draw)]
        if request.rows:
            sinks.append(stack.enter_context(JsonLinesStream(sys.stdout, labels=labels, attributes=request.attributes)))
        elif request.shown:
            sinks.append(stack.enter_context(TerminalSink()))
        sinks += [score.sink] if score else []
        watched = results if request.quiet else _with_progress(results, count)
        failed = sum(deliver(result, sinks) for result in watched)
    if not request.quiet:
        for path in (*map(Path, request.outputs), *([request.summary] if request.summary else [])):
            say_written(path)
    if score and not request.quiet:
        score.tell()
    return failed


def _open_files(request: Request, labels: LabelSet, draw: Draw) -> Iterator[Sink]:
    """Open the writers of all outputs; a folder gets the images, a table of rows and a table of summaries."""
    folders = folders_among(request.outputs)
    for path in request.outputs:
        yield open_sink(path, labels=labels, draw=draw, root=request.root, attributes=request.attributes)
    for folder in folders:
        yield open_sink(folder / ROWS, labels=labels, attributes=request.attributes)
    for summary in (*(folder / SUMMARY for folder in folders), *([request.summary] if request.summary else [])):
        from mien.video.summary_table import SummariesSink

        yield SummariesSink(summary, labels, request.attributes)


def deliver(result: Result, sinks: Sequence[Sink]) -> bool:
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


class TerminalSink(SinkWithoutFile):
    """Prints one block per image: its name, then a line per face."""

    def _write(self, frame: Frame, faces: Faces) -> None:
        count = "no face" if not len(faces) else "1 face" if len(faces) == 1 else f"{len(faces)} faces"
        out.print(Text.assemble((frame.source, "bold"), (f"  {count}", "dim")), soft_wrap=True)
        if len(faces):
            out.print(_face_table(faces))
            for number, face in enumerate(faces):
                if face.attributes:
                    out.print(_measures(number, face), soft_wrap=True)


def _measures(number: int, face: Face) -> Text:
    """Return what else was measured of a face, in one line."""
    told = [f"{word} {values}" for word, values in rows_of_panel(face.attributes)]
    if "gender_estimate" in face.attributes:  # not on pictures
        told.append(f"gender_estimate {face.attributes['gender_estimate']:.2f}")
    said = " · ".join(told)
    return Text.assemble(f"  {number}  {said}", (f"  ({face.note})", "yellow") if face.note else "", style="dim")


def _face_table(faces: Faces) -> Table:
    """Return a line per face, with as much as fits into the terminal."""
    tables = [_table(faces, parts) for parts in PARTS]
    return next((table for table in tables if _width(table) <= out.width), tables[-1])


def _width(table: Table) -> int:
    return Measurement.get(out, out.options.update(width=1000), table).maximum


def _table(faces: Faces, parts: Sequence[Callable[[Face], Text]]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(justify="right", style="dim", no_wrap=True)
    for _ in parts:
        table.add_column(no_wrap=True)
    for number, face in enumerate(faces):
        table.add_row(f"  {number}", *(part(face) for part in parts))
    return table


def _name(face: Face) -> Text:
    name = expression_text(face.expression or "face")
    return name if face.person is None else Text(f"{face.person}  ", "bold").append_text(name)


def _percent(face: Face) -> Text:
    return Text(f"{face.confidence or 0.0:4.0%}", style="bold")


def _bar_and_percent(face: Face) -> Text:
    return bar(face.confidence or 0.0, colour=colour(face.expression or "")).append(" ").append_text(_percent(face))


def _place(face: Face) -> Text:
    x1, y1, x2, y2 = (round(float(v)) for v in face.xyxy)
    return Text(f"({x1}, {y1})-({x2}, {y2})", style="dim")


def _all_probabilities(face: Face, between: str = " ") -> Text:
    """Return every expression as its emoji and a block whose height is its probability."""
    if face.probs is None or face.labels is None:
        return Text()
    pieces = []
    for name, p in zip(face.labels.names, face.probs, strict=True):
        height = HEIGHTS[min(int(float(p) * len(HEIGHTS)), len(HEIGHTS) - 1)]
        pieces.append((f"{EMOJI.get(name, name[:2])}{height}{between}", colour(name)))
    return Text.assemble(*pieces)


PARTS: tuple[tuple[Callable[[Face], Text], ...], ...] = (  # of a line, from the widest terminal to the narrowest
    (_name, _bar_and_percent, _all_probabilities, _place),
    (_name, _percent, _all_probabilities, _place),
    (_name, _percent, partial(_all_probabilities, between=""), _place),
    (_name, _percent, _place),
    (_name, _percent),
)


def _with_progress(results: Iterator[Result], total: int) -> Iterator[Result]:
    console = for_people()
    if total < PROGRESS_FROM or not console.is_terminal:
        yield from results
        return
    columns = (TextColumn("analyzing"), BarColumn(), MofNCompleteColumn(), _ImagesPerSecond(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        for result in results:
            yield result
            progress.advance(task)


class _ImagesPerSecond(ProgressColumn):
    """Images per second, once there is a speed."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f}/s")
