"""What a terminal shows of videos: progress, summary, score, rows."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.padding import Padding
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from mien.cli.analyze.request import Request
from mien.cli.console import colour, expression_text, for_people, out, say_failure, say_problem
from mien.faces import Faces, Frame, Record
from mien.labels import LabelSet
from mien.output.base import Sink, SinkWithoutFile
from mien.output.tables import JsonLinesStream
from mien.video.intervals import IntervalTable
from mien.video.job import Progress as VideoProgress
from mien.video.result import VideoResult
from mien.video.summary_text import time_text, who

MOST_TRACKS = 12
BAR_WIDTH = 24  # characters
WIDE = 80  # characters; in a narrower terminal what is told of a track stands below one another
LEAST_SHARE = 0.01


def video_text(result: VideoResult) -> Group:
    """Return the summary of a video.

    Args:
        result: From `analyze_video`.
    """
    summary = result.figures
    parts: list[Text | Table | Group] = [_title(result)]
    tracks = sorted(summary["tracks"], key=lambda track: -track["seconds"])[:MOST_TRACKS]
    if tracks:
        parts.append(_tracks(sorted(tracks, key=lambda track: track["first_s"])))
    if len(summary["tracks"]) > len(tracks):
        more = len(summary["tracks"]) - len(tracks)
        parts.append(Text(f"  and {more} more, seen for less time", style="dim"))
    if "truth" in summary:
        parts.append(score_text(summary["truth"]))
    return Group(*parts)


def _title(result: VideoResult) -> Text:
    summary = result.figures
    people = {0: "nobody", 1: "1 person"}.get(summary["people"], f"{summary['people']} people")
    facts = [time_text(summary["seconds"]), f"{result.frames:,} frames", people]
    if summary["people"] and summary["frames_with_faces"] < summary["frames"]:
        facts.append(f"a face for {time_text(summary['seconds_with_faces'])}")
    new = result.frames - result.resumed
    if result.seconds and new:
        facts.append(f"{new / result.seconds:.0f} frames/s")
    if result.resumed:
        facts.append(f"{result.resumed:,} frames taken over from the earlier run")
    return Text.assemble((result.source, "bold"), ("  " + ", ".join(facts), "dim"))


def _tracks(tracks: Sequence[Mapping[str, Any]]) -> Table | Group:
    if out.width < WIDE:
        return Group(*(part for track in tracks for part in _lines(track)))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right", style="bold")
    for track in tracks:
        seen = Text(_seen(track), style="dim")
        table.add_row(Text(f"  {who(track)}"), seen, _bar(track["share"]), _shares(track["share"]))
        if len(track["longest_spans"]) > 1:
            table.add_row("", "", "", _spans(track["longest_spans"]))
    return table


def _lines(track: Mapping[str, Any]) -> Iterator[Text | Padding]:
    """Yield the same of one track below one another, for terminals in which a table would cut words."""
    yield Text.assemble((f"  {who(track)}", "bold"), (f"  {_seen(track)}", "dim"))
    parts = [_bar(track["share"]), _shares(track["share"])]
    parts += [_spans(track["longest_spans"])] if len(track["longest_spans"]) > 1 else []
    yield from (Padding(part, (0, 0, 0, 4)) for part in parts)


def _seen(track: Mapping[str, Any]) -> str:
    return f"{time_text(track['first_s'])} – {time_text(track['last_s'])}"


def _bar(share: Mapping[str, float]) -> Text:
    """Return one bar that all expressions share."""
    bar, done, width = Text(), 0.0, 0
    for name, part in share.items():
        done += part
        step = round(done * BAR_WIDTH) - width
        bar.append("█" * step, style=colour(name))
        width += step
    return bar


def _shares(share: Mapping[str, float]) -> Text:
    text = Text()
    for name, part in sorted(share.items(), key=lambda item: -item[1]):
        if part >= LEAST_SHARE:
            text.append("   " if text else "").append_text(expression_text(name)).append(f" {part:.0%}")
    return text


def _spans(spans: Sequence[Mapping[str, Any]]) -> Text:
    """Say when what was shown; of many spans the longest."""
    in_order = sorted(spans, key=lambda span: span["start_s"])
    said = (f"{span['expression']} {time_text(span['start_s'])} – {time_text(span['end_s'])}" for span in in_order)
    return Text(" · ".join(said), style="dim")


def score_text(score: Mapping[str, Any]) -> Text:
    """Return how the results compare with the truth.

    Args:
        score: From `TruthScore.to_dict`.
    """
    if not score["n"]:
        return Text("  truth: nothing of it was seen here", style="yellow")
    facts = [f"{score['accuracy']:.1%} of {score['n']:,} frames right", f"{score['accuracy_by_time']:.1%} of the time"]
    if score["macro_f1"] is not None:
        facts.append(f"macro-F1 {score['macro_f1']:.2f}")
    if score["missed_s"]:
        facts.append(f"no face for {time_text(score['missed_s'])} of it")
    return Text.assemble(("  truth: ", "bold"), ", ".join(facts))


def tell(result: VideoResult, request: Request) -> None:
    """Print what became of a video.

    Args:
        result: The result.
        request: What is wanted.
    """
    for problem in result.problems:
        say_problem(problem)
    if result.error:
        say_failure(result.error)
    if result.figures and request.shown:
        out.print(video_text(result))


def row_printer(request: Request, labels: LabelSet) -> Sink:
    """Return what prints a JSON line per face, or per person and interval."""
    if request.interval_s is None:
        return JsonLinesStream(sys.stdout, labels=labels, tracked=True, attributes=request.video_attributes)
    return _IntervalPrinter(labels, request.interval_s, request.video_attributes)


class _IntervalPrinter(SinkWithoutFile):
    """Prints a JSON line per person and interval."""

    def __init__(self, labels: LabelSet, interval_s: float, attributes: Sequence[str]) -> None:
        super().__init__()
        self._intervals, self._source = IntervalTable(labels, interval_s, attributes), ""

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


class _FramesPerSecond(ProgressColumn):
    """Frames, frames per second and time left."""

    def render(self, task: Task) -> Text:
        report: VideoProgress | None = task.fields.get("report")
        if report is None:
            return Text("")
        total = f"/{report.total:,}" if report.total else ""
        left = f", {time_text(report.left_s)} left" if report.left_s is not None else ""
        return Text(f"{report.frames:,}{total} frames, {report.fps:.0f} frames/s{left}")


class ProgressLines:
    """A line of progress for each video that is being worked on; nothing where nobody watches."""

    def __init__(self, request: Request) -> None:
        """Choose the terminal.

        Args:
            request: What is wanted.
        """
        self._tasks: dict[str, TaskID] = {}
        columns = (TextColumn("{task.description}", markup=False), BarColumn(24), _FramesPerSecond())
        busy = request.rows and out.is_terminal  # rows scroll by
        self._progress = Progress(
            *columns,
            console=for_people(),
            transient=True,
            disable=busy or request.quiet or not for_people().is_terminal,
            refresh_per_second=5,
        )

    def __enter__(self) -> "ProgressLines":
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
            task = self._tasks[report.source] = self._progress.add_task(name[-30:], total=report.total)
        self._progress.update(task, completed=report.frames, total=report.total, report=report)

    def drop(self, source: str) -> None:
        """Take the line of a video away."""
        task = self._tasks.pop(source, None)
        if task is not None:
            self._progress.remove_task(task)
