"""`mien data`: look at data sets, convert them, split them, and see what augmentation does."""

import csv
import io
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mien.analyzer import DEFAULT_DETECTOR
from mien.cli.console import bar, colour, errors, expression_text, out, print_json, say, say_written
from mien.cli.options import DataArgument, DetectorOption, JsonOption, SkipOption, VotesOption
from mien.datasets.dataset import LEFT_OUT, TEST, TRAINING, USAGES, VALIDATION, CropDataset, ReadResult
from mien.datasets.duplicates import find_duplicates
from mien.datasets.page import write_html
from mien.datasets.photos import LargestFace
from mien.datasets.read import read_dataset, read_photos
from mien.datasets.sheets import write_sheets
from mien.datasets.splits import check_leaks, drop_leaks, k_fold_split, stratified_split, with_split, write_split
from mien.datasets.summary import DatasetSummary, class_totals, copy_rows, summarise_dataset
from mien.datasets.write import check_target, write_dataset
from mien.detect.registry import create_detector
from mien.errors import InputError, require_extra
from mien.files import guarded_cells, write_whole
from mien.output.encode import encode_image

app = typer.Typer(help="Look at, convert and split data sets.", no_args_is_help=True)

LabelsOption = Annotated[
    str | None,
    typer.Option(
        "--labels",
        help="Label set: fer2013, ferplus, five, or class names in the order of their numbers: sad,bored. Default: by "
        "looking.",
    ),
]
CacheOption = Annotated[bool, typer.Option("--cache/--no-cache", help="Keep the parsed crops beside the source.")]
NearOption = Annotated[bool, typer.Option("--near/--no-near", help="Look for near copies too, not only exact ones.")]


class SplitKind(StrEnum):
    """How `mien data split` deals."""

    OFFICIAL = "official"
    STRATIFIED = "stratified"
    KFOLD = "kfold"


@app.command()
def info(
    data: DataArgument,
    votes: VotesOption = None,
    labels: LabelsOption = None,
    skip_bad: SkipOption = False,
    cache: CacheOption = True,
    near: NearOption = True,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with everything, images too.")] = None,
    sheets: Annotated[Path | None, typer.Option("--sheets", help="Write a PNG of samples per class here.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Show classes, splits, pixels, broken rows and copies within and across splits."""
    result = read_dataset(data, votes_path=votes, labels=labels, skip_bad=skip_bad, cache=cache)
    duplicates = find_duplicates(result.data.crops) if near else None
    summary = summarise_dataset(result, duplicates=duplicates)
    if as_json:
        print_json(summary.to_json())
    else:
        _print_summary(summary)
    written = write_sheets(result.data, summary, sheets, seed=seed) if sheets else []
    if html:
        written.append(write_html(summary, result.data, html, title=data.name, duplicates=duplicates))
    for path in written:
        say_written(path)


def _print_summary(summary: DatasetSummary) -> None:
    say(f"{summary.crops:,} crops, {summary.format}, label set {summary.labels}", to=out)
    out.print(_class_table(summary))
    if summary.imbalance is not None and summary.largest_share is not None:
        out.print(
            f"largest to smallest class {summary.imbalance:.1f} : 1; always answering the largest is right "
            f"{summary.largest_share:.1%} of the time",
        )
    if summary.votes is not None:
        kept = ", ".join(f"{split} {count:,}" for split, count in summary.votes.majority.items())
        out.print(
            f"FER+ votes for {summary.votes.voted:,} crops, {summary.votes.not_a_face:,} voted unknown or not a face; "
            f"majority label: {kept}",
        )
    out.print(_copies_table(summary))
    out.print(_pixel_table(summary))
    _print_remarks(summary.notes, summary.bad, summary.bad_rows)


def _class_table(summary: DatasetSummary) -> Table:
    table = Table("class", *(split for split in summary.counts), "all", "share", "")
    for column in table.columns[1:-1]:
        column.justify = "right"
    totals = class_totals(summary)
    for name, total in totals.items():
        counts = [f"{counts.get(name, 0):,}" for counts in summary.counts.values()]
        share = f"{total / summary.crops:.1%}"
        fill = bar(total / max(totals.values()), colour=colour(name))
        table.add_row(expression_text(name), *counts, f"{total:,}", share, fill)
    sums = [f"{sum(counts.values()):,}" for counts in summary.counts.values()]
    table.add_section()
    table.add_row("all", *sums, f"{summary.crops:,}", "100%", "")
    return table


def _copies_table(summary: DatasetSummary) -> Table:
    table = Table("crops of which this holds", "same pixels", "or looks alike")
    for column in table.columns[1:]:
        column.justify = "right"
    for what, exact, near in copy_rows(summary):
        table.add_row(what, f"{exact:,}", "not looked for" if near is None else f"{near:,}")
    return table


def _pixel_table(summary: DatasetSummary) -> Table:
    table = Table("pixels", "mean", "std", "darkest crop", "brightest", "0", "255", "blank crops")
    for column in table.columns[1:]:
        column.justify = "right"
    for split, p in summary.pixels.items():
        table.add_row(
            split, f"{p.mean:.1f}", f"{p.std:.1f}", f"{p.darkest:.1f}", f"{p.brightest:.1f}",
            f"{p.black:.2%}", f"{p.white:.2%}", f"{p.blank:,}",
        )  # fmt: skip
    return table


def _print_remarks(notes: tuple[str, ...], bad: int, bad_rows: tuple[str, ...]) -> None:
    for note in notes:
        say(note, mark="[yellow]note:[/] ")
    if bad:
        errors.print(f"{bad:,} bad row{'s' * (bad != 1)} left out:", style="yellow")
        for row in bad_rows:
            say(f"  {row}")
    if bad > len(bad_rows):
        errors.print(f"  … and {bad - len(bad_rows):,} more")


def _remark(result: ReadResult) -> None:
    _print_remarks(result.notes, len(result.bad), tuple(map(str, result.bad[:5])))


@app.command()
def convert(
    data: DataArgument,
    target: Annotated[Path, typer.Argument(help="….csv, ….npz, ….parquet, or a new folder for SPLIT/CLASS/NAME.png.")],
    votes: VotesOption = None,
    labels: LabelsOption = None,
    split: Annotated[Path | None, typer.Option("--split", help="Use the split of this file (mien data split).")] = None,
    fold: Annotated[int | None, typer.Option(min=1, help="The fold of that file that validates.")] = None,
    only: Annotated[str | None, typer.Option("--only", help="Convert this split only.")] = None,
    faces: Annotated[
        bool,
        typer.Option("--faces", help="The images are photos: cut the largest face out of each, framed as mien does."),
    ] = False,
    detector: DetectorOption = DEFAULT_DETECTOR,
    left_out: Annotated[
        Path | None, typer.Option("--left-out", help="CSV for what was left out, and why (--faces, --skip-bad).")
    ] = None,
    skip_bad: SkipOption = False,
    cache: CacheOption = True,
) -> None:
    """Write a data set in another format; images of other sizes become 48x48 gray.

    With --faces, the largest face of each photo is cut out as `mien analyze` does it; photos without
    a face, and broken ones, are left out.
    """
    if faces and votes:
        raise InputError("FER+ votes belong to FER2013's crops, which are no photos; leave out --votes or --faces")
    check_target(target)
    if faces:
        result = _read_photos(data, labels, detector)
    else:
        result = read_dataset(data, votes_path=votes, labels=labels, skip_bad=skip_bad, cache=cache)
    crops = result.data if split is None else with_split(result.data, split, fold=fold)
    crops = crops if only is None else crops.split(only)
    _remark(result)
    written = list(write_dataset(crops, target))
    if left_out:
        written.append(_write_left_out(left_out, result))
    say(f"{len(crops):,} crops, {result.format}")
    for path in written:
        say_written(path)


def _write_left_out(path: Path, result: ReadResult) -> Path:
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(["where", "reason"])
    rows.writerows(guarded_cells([row.where, row.reason]) for row in result.bad)
    return write_whole(path, text.getvalue())


def _read_photos(photos: Path, labels: str | None, detector: str) -> ReadResult:
    finder = create_detector(detector)
    columns = (TextColumn("looking for faces, {task.completed:,.0f} photos"), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as shown:
        task = shown.add_task("", total=None)
        reader = LargestFace(finder, progress=lambda done: shown.update(task, completed=done))
        return read_photos(photos, reader, labels=labels, skip_bad=True)


@app.command()
def split(
    kind: Annotated[SplitKind, typer.Argument(help="official: as the data say; stratified; kfold.")],
    data: DataArgument,
    target: Annotated[
        Path | None, typer.Option("--out", "-o", help="The split file (CSV of row, name, split).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the shuffle.")] = 0,
    validation: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of Validation (stratified).")] = 0.1,
    test: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of Test (stratified); 0 makes none.")] = 0.1,
    folds: Annotated[int, typer.Option(min=2, help="Number of folds (kfold).")] = 5,
    together: Annotated[
        bool, typer.Option("--together/--apart", help="Keep copies of one image in one split (stratified, kfold).")
    ] = True,
    drop: Annotated[
        bool, typer.Option("--drop-leaks", help="Leave out crops of Training that have a copy in another split.")
    ] = False,
    allow_leaks: Annotated[bool, typer.Option("--allow-leaks", help="Accept copies across the split.")] = False,
    near: NearOption = True,
    labels: LabelsOption = None,
    skip_bad: SkipOption = False,
    cache: CacheOption = True,
) -> None:
    """Split a data set and write the split to a file; copies of one image in two splits are refused.

    Training reads the file with `--split`. Copies are found by equal pixels and by similar images (`--no-near`: pixels
    only).
    """
    result = read_dataset(data, labels=labels, skip_bad=skip_bad, cache=cache)
    _remark(result)
    duplicates = find_duplicates(result.data.crops, near=near)
    groups = duplicates.near if together else None
    if kind is SplitKind.OFFICIAL:
        dealt = _official(result.data)
    elif kind is SplitKind.STRATIFIED:
        shares = {TRAINING: 1 - validation - test, VALIDATION: validation, TEST: test}
        used = {name: share for name, share in shares.items() if share > 0 or name == TRAINING}
        dealt = stratified_split(result.data, shares=used, seed=seed, groups=groups)
    else:
        dealt = k_fold_split(result.data, folds=folds, seed=seed, groups=groups)
    if drop:
        dealt = drop_leaks(dealt, duplicates.near)
    if not allow_leaks:
        check_leaks(dealt, duplicates.near)
    _print_split(result.data, dealt)
    if target:
        say_written(write_split(target, result.data, dealt))


def _official(data: CropDataset) -> NDArray[np.str_]:
    if not set(data.splits()) & {*USAGES, VALIDATION, TEST}:
        raise InputError("the data name no split of their own; use stratified or kfold")
    return data.usage


def _print_split(data: CropDataset, dealt: NDArray[np.str_]) -> None:
    table = Table("split", "crops", "share", *data.labels.names)
    for column in table.columns[1:]:
        column.justify = "right"
    for name in sorted(set(dealt.tolist()), key=lambda name: (name == LEFT_OUT, name != TRAINING, name)):
        inside = dealt == name
        counts = Counter(data.label[inside].tolist())
        each = [f"{counts[i]:,}" for i in range(len(data.labels))]
        table.add_row(name, f"{inside.sum():,}", f"{inside.mean():.1%}", *each)
    out.print(table)


@app.command()
def augment(
    data: DataArgument,
    target: Annotated[Path, typer.Option("--out", "-o", help="The PNG.")] = Path("augment.png"),
    rows: Annotated[int, typer.Option(min=1, max=50, help="Sample crops, one per row.")] = 6,
    tries: Annotated[int, typer.Option(min=1, max=12, help="Columns with all augmentations together.")] = 4,
    seed: Annotated[int, typer.Option(help="Seed of the samples and of the augmentation.")] = 0,
    labels: LabelsOption = None,
    skip_bad: SkipOption = False,
    cache: CacheOption = True,
) -> None:
    """Draw what the augmentations of training do: each alone, then all together."""
    require_extra("train", "kornia")
    from mien.train.show.augment_sheet import augment_sheet

    result = read_dataset(data, labels=labels, skip_bad=skip_bad, cache=cache)
    _remark(result)
    sheet = augment_sheet(result.data.crops, rows=rows, tries=tries, seed=seed)
    write_whole(target, encode_image(sheet))
    say_written(target)
