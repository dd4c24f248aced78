"""`mien report`: videos and people side by side, aligned at an event, as one page."""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Generic, TypeVar

import typer

from mien.cli.console import say_written
from mien.errors import InputError, shown
from mien.files import FileNames, ending_of, plain_cell, tidy_name, write_whole
from mien.labels import LabelSet
from mien.output.read_rows import ResultTable
from mien.video.aligned import ChosenVideo, TimeWindow, align, seen_videos
from mien.video.aligned_page import alignment_to_html
from mien.video.truth import Truth, TruthScore, parse_time, read_truth

T = TypeVar("T")

EVENT_COLUMNS = "the columns onset (or time_s) and trial_type (or name), and file for several videos"
GROUP_COLUMNS = "the columns file and group"


def report(
    tables: Annotated[list[Path], typer.Argument(help="Tables of faces: what `mien analyze video.mp4 -o` wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page: .html.")] = Path("report.html"),
    events: Annotated[
        Path | None, typer.Option(help=f"When things happened: a .csv or .tsv file with {EVENT_COLUMNS}.")
    ] = None,
    event: Annotated[str, typer.Option(help="The event that is time 0; where there is one name, it is taken.")] = "",
    groups: Annotated[
        Path | None, typer.Option(help=f"Which videos belong together: a .csv or .tsv file with {GROUP_COLUMNS}.")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="What was really shown, as for `mien analyze --truth`.")] = None,
    before: Annotated[float, typer.Option(min=0, help="Seconds before time 0.")] = 2.0,
    after: Annotated[float, typer.Option(min=0.1, help="Seconds after it.")] = 5.0,
    expressions: Annotated[
        str, typer.Option(help="Which expressions are drawn, with commas; those that vary most without.")
    ] = "",
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "",
    model: Annotated[
        str, typer.Option(help="What made the tables, to be said in the report: they do not name it.")
    ] = "",
) -> None:
    """Compare videos and people: curves around an event, group means with 95 % t intervals, changes, shares and limits.

    One page that needs nothing else; print it from the browser, or save it there as PDF. The columns person (of
    `mien analyze --people`) and corrected_person (of the server's page) say who people are.
    """
    ending_of(output, (".html",), "a report ends in .html")
    opened = [ResultTable.open(path) for path in tables]
    labels = opened[0].labels
    for table in opened:
        if table.labels != labels:
            raise InputError(f"{table.path} has another label set than {opened[0].path}; compare results of one")
    sources = [one for table in opened for one in seen_videos(table)]
    videos = [one for one in sources if one.people or one.figures["frames"] > 1]  # no images
    when, name = _events(events, event)
    whose = _groups(groups)
    choices = [
        ChosenVideo(video, group=whose.of(video.source) or "", events_s=when.of(video.source) or ()) for video in videos
    ]
    if events:
        _check_events(choices, events, name)
    found = align(choices, labels, window=TimeWindow(before, after), event=name)
    facts = {"Model": model or "not named by the tables (say it with --model)"}
    wanted = [one.strip() for one in expressions.split(",") if one.strip()]
    scores = {} if truth is None else _scores(opened, truth, labels)
    page = alignment_to_html(found, title=title, facts=facts, expressions=wanted or None, scores=scores)
    say_written(write_whole(output, page))


@dataclass
class _ByFile(Generic[T]):
    """Values by a video's name, or for every video."""

    of_files: dict[str, T] = field(default_factory=dict)
    of_all: T | None = None

    def of(self, source: str) -> T | None:
        return self.of_files.get(self._names.of(source), self.of_all)

    @cached_property
    def _names(self) -> FileNames:
        return FileNames(self.of_files)


def _check_events(choices: list[ChosenVideo], path: Path, name: str) -> None:
    without = [choice.video.source for choice in choices if not choice.events_s]
    if without:
        raise InputError(f"{path} has no event {shown(name)} of {shown(without[0])}; add it, or leave that video out")


def _table(path: Path, what: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}; check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8; save it as CSV (UTF-8) with {what}") from error
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    for number, row in enumerate(csv.DictReader(io.StringIO(text), delimiter=delimiter), 2):
        yield number, {key.strip().lower(): plain_cell(cell or "") for key, cell in row.items() if key}


def _events(path: Path | None, wanted: str) -> tuple[_ByFile[tuple[float, ...]], str]:
    if path is None:
        if wanted:
            raise InputError("--event names an event of the file --events; give that file")
        return _ByFile(), ""
    found: list[tuple[str, str, float]] = []
    for number, row in _table(path, EVENT_COLUMNS):
        time, name = row.get("onset", row.get("time_s")), row.get("trial_type", row.get("name", "event"))
        if time is None:
            raise InputError(f"{path} must have {EVENT_COLUMNS}, got {shown(', '.join(row))}")
        found.append((tidy_name(row.get("file", "")), name, parse_time(time, f"row {number}, onset")))
    names = list(dict.fromkeys(name for _, name, _ in found))
    if not names or (wanted and wanted not in names) or (not wanted and len(names) > 1):
        raise InputError(f"--event must name one of the events of {path}: {shown(', '.join(names) or 'it has none')}")
    name = wanted or names[0]
    times: _ByFile[tuple[float, ...]] = _ByFile()
    for file, one, time_s in found:
        if one == name and file:
            times.of_files[file] = (*times.of_files.get(file, ()), time_s)
        elif one == name:
            times.of_all = (*(times.of_all or ()), time_s)
    return times, name


def _groups(path: Path | None) -> _ByFile[str]:
    groups: _ByFile[str] = _ByFile()
    for _, row in _table(path, GROUP_COLUMNS) if path else ():
        if not {"file", "group"} <= set(row):
            raise InputError(f"{path} must have {GROUP_COLUMNS}, got {shown(', '.join(row))}")
        groups.of_files[tidy_name(row["file"])] = row["group"]
    return groups


def _scores(tables: list[ResultTable], path: Path, labels: LabelSet) -> dict[str, dict[str, object]]:
    known: Truth = read_truth(path, labels)
    scores: dict[str, TruthScore] = {}
    for table in tables:
        for row in table:
            scores.setdefault(str(row.get("source") or ""), TruthScore(known)).add_record(row)
    return {source: score.to_dict() for source, score in scores.items()}
