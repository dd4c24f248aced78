"""`mien evaluate` and `mien compare`."""

import csv
import datetime
import hashlib
import itertools
import json
import math
import platform
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, cast

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mien._version import __version__
from mien.analyzer import DEFAULT_DETECTOR
from mien.cli.console import errors, expression_text, out, print_json, say, say_written
from mien.cli.import_keras import is_adapter, open_adapter
from mien.cli.options import VotesOption, with_groups
from mien.datasets.dataset import PUBLIC_TEST, TRAINING, CropDataset
from mien.datasets.people import has_people, read_people
from mien.datasets.photos import LargestFace
from mien.datasets.read import read_dataset
from mien.detect.registry import create_detector
from mien.errors import InputError, MissingExtraError, listed, require_extra
from mien.evaluate.compare_page import comparison_to_html
from mien.evaluate.comparison import compare as compare_predictions
from mien.evaluate.document import ReportDocument, comparison_to_json, to_json
from mien.evaluate.evaluation import evaluate as evaluate_model
from mien.evaluate.evaluation import predict_in
from mien.evaluate.left_out import combined_choices, leave_one_out
from mien.evaluate.markdown import comparison_to_markdown
from mien.evaluate.measures import operating_point
from mien.evaluate.report import write_report
from mien.evaluate.robustness import RobustnessReport, measure_robustness
from mien.evaluate.sets import EvaluationSet, SetsReport, evaluate_sets, sets_in, with_slices
from mien.evaluate.sets_page import (
    LEFT_OUT_COLUMNS,
    SET_COLUMNS,
    SetsDocument,
    left_out_rows,
    sets_rows,
    sets_to_json,
    write_sets_report,
)
from mien.evaluate.timing import latency
from mien.evaluate.values import Comparison, Estimate, Figures, PredictProba, Report
from mien.evaluate.views import TEST_TIME_VIEWS, TestTimeAugmentation, test_time_augment
from mien.faces import Floats
from mien.files import check_folder, plain_cell, write_whole
from mien.labels import COMBINED8, EMOJI, FER7, FERPLUS8, LabelSet, label_set
from mien.models.catalogue import load_model
from mien.models.expression import ExpressionModel

ModelArgument = Annotated[
    str,
    typer.Argument(
        help="A name from `mien models list`, an .onnx file, an .npz of `mien train-baseline`, or an adapter file."
    ),
]
LabelsOption = Annotated[
    str | None, typer.Option("--labels", help="Label set to score in: combined, fer2013, ferplus or five.")
]
HeadOption = Annotated[
    str | None, typer.Option("--head", help="Label set of the model that answers, where another is scored.")
]
SetsArgument = Annotated[
    list[Path],
    typer.Argument(
        help="One data set or several: FER2013 CSV, list CSV, class folders, .npz, .parquet, or a folder of photos "
        "with people.csv."
    ),
]
SplitOption = Annotated[str, typer.Option("--split", help="Split of the data set to measure on.")]
COMPARISON_SUFFIXES = (".html", ".json", ".md")
BASELINE_SUFFIX = ".npz"


@dataclass(frozen=True)
class _Candidate:
    """A model ready to be measured."""

    name: str
    sha256: str
    labels: LabelSet
    predict_proba: PredictProba
    choices: Callable[[Sequence[EvaluationSet], LabelSet], dict[str, tuple[Floats, ...]]] | None = None


@dataclass(frozen=True)
class MoreOptions:
    """What is measured beside accuracy and calibration."""

    tta: Annotated[str | None, typer.Option(help=f"Test-time augmentation: {', '.join(TEST_TIME_VIEWS)}.")] = None
    with_robustness: Annotated[
        bool, typer.Option("--robustness", help="Measure on corrupted images, too: blur, noise, low resolution, …")
    ] = False
    sample: Annotated[int | None, typer.Option(min=1, help="Images for the robustness curves; all by default.")] = None
    slices: Annotated[
        Path | None,
        typer.Option(help="CSV with a row per image of the split, in order: age, say; measured for each value."),
    ] = None
    uncertain_below: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Confidence below which an answer counts as uncertain.")
    ] = None


@with_groups
def evaluate(
    model: ModelArgument,
    data: SetsArgument,
    more: MoreOptions,
    votes: VotesOption = None,
    labels: LabelsOption = None,
    head: HeadOption = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="Split to measure on. [default: PublicTest, else each but Training]"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for report.html, report.json and report.md.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every figure as JSON.")] = False,
    predictions: Annotated[
        Path | None, typer.Option(help="CSV for the answers; a submission file where the images have no labels.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of intervals and corruptions.")] = 0,
) -> None:
    """Measure a model on a split: accuracy with intervals, calibration, robustness, also without Training copies.

    Several sets give one report, headed by the means over sets.
    """
    candidate = _candidate(model, head or labels, more.tta)
    if len(data) > 1 or has_people(data[0]):
        if more.with_robustness or predictions:
            raise InputError("--robustness and --predictions go with one set of crops; leave them out")
        _evaluate_sets(candidate, data, votes, labels, split, output, more.slices, seed=seed, as_json=as_json)
        return
    _evaluate_one(
        candidate, data[0], votes, labels, split or PUBLIC_TEST, output, as_json=as_json, more=more,
        predictions=predictions, seed=seed,
    )  # fmt: skip


def _evaluate_one(
    candidate: _Candidate,
    data: Path,
    votes: Path | None,
    labels: str | None,
    split: str,
    output: Path | None,
    *,
    as_json: bool,
    more: MoreOptions,
    predictions: Path | None,
    seed: int,
) -> None:
    can_draw = output is None or _can_draw(output)
    everything = _read(data, votes, candidate)
    target = label_set(labels) if labels else candidate.labels
    if (everything.label < 0).all():
        own = everything.labels  # a submission names the classes of its data set
        known = own if set(own.names) <= set(candidate.labels.names) else candidate.labels
        _write_predictions(candidate, everything, _required(predictions), target if labels else known)
        return
    images = everything.split(split)
    if output:
        check_folder(output)
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as bars:
        answering, spoiling = bars.add_task("measuring"), bars.add_task("spoiling", visible=more.with_robustness)
        report = evaluate_model(
            candidate.predict_proba, images, candidate.labels, target=target,
            trained_on=_training_crops(everything, split),
            groups=_read_slices(more.slices, len(images)) if more.slices else None, seed=seed,
            progress=lambda done, total: bars.update(answering, completed=done, total=total),
        )  # fmt: skip
        spoilt = None
        if more.with_robustness:
            spoilt = measure_robustness(
                candidate.predict_proba, images, candidate.labels, target=target, sample=more.sample, seed=seed,
                progress=lambda done, total: bars.update(spoiling, completed=done, total=total),
            )  # fmt: skip
    document = _document(candidate, data, images, report, spoilt, split)
    if predictions:
        _write_predictions(candidate, images, predictions, candidate.labels)
    if as_json:
        print_json(json.loads(to_json(document)))
    else:
        _print_report(document, more.uncertain_below)
    if output:
        for path in write_report(document, output, page=can_draw):
            say_written(path)


def _can_draw(folder: Path) -> bool:
    """Return whether the page of a report can be made; if not, say so before the work begins."""
    try:
        require_extra("plots", "matplotlib")
    except MissingExtraError as error:
        say(f"no {folder / 'report.html'}, only report.json and report.md: {error}", mark="[yellow]note:[/] ")
        return False
    return True


def _evaluate_sets(
    candidate: _Candidate,
    paths: list[Path],
    votes: Path | None,
    labels: str | None,
    split: str | None,
    output: Path | None,
    slices: Path | None,
    *,
    seed: int,
    as_json: bool,
) -> None:
    sets = [one for path in paths for one in _open_sets(path, votes, candidate, split)]
    if slices:
        sets = [*with_slices(sets, _read_slices(slices, sum(len(s.data) for s in sets)))]
    if output:
        check_folder(output)
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as bars:
        task = bars.add_task("measuring")
        report = evaluate_sets(
            candidate.predict_proba, sets, candidate.labels, target=label_set(labels) if labels else None, seed=seed,
            progress=lambda done, total: bars.update(task, completed=done, total=total),
        )  # fmt: skip
    if len(sets) > 1:
        choices = candidate.choices(sets, report.labels) if candidate.choices else None
        report = replace(report, left_out=leave_one_out(report.predictions(), choices))
    n = sum(one.report.overall.n for one in report.sets)
    facts = {
        "model": candidate.name,
        "SHA-256": candidate.sha256,
        "answers": candidate.labels.key,
        **_circumstances(", ".join(f"{one.name} (N {one.report.overall.n:,})" for one in report.sets), report),
    }
    document = SetsDocument(f"{candidate.name} on {len(report.sets)} sets, {n:,} images", report, facts)
    if as_json:
        print_json(json.loads(sets_to_json(document)))
    else:
        table = Table(*SET_COLUMNS, title=document.title)
        for row in sets_rows(report):
            table.add_row(*row)
        out.print(table)
        if report.left_out:
            table = Table(*LEFT_OUT_COLUMNS, title="each set left out")
            for row in left_out_rows(report):
                table.add_row(*row)
            out.print(table)
    for path in write_sets_report(document, output) if output else ():
        say_written(path)


def _open_sets(path: Path, votes: Path | None, candidate: _Candidate, split: str | None) -> tuple[EvaluationSet, ...]:
    """Read a data set; the FER+ votes belong to the one that has FER2013's splits."""
    if has_people(path):
        return _open_people(path)
    data = _read(path, None, candidate)
    if votes and PUBLIC_TEST in data.splits():
        data = _read(path, votes, candidate)
    return sets_in(data, path.stem, split=split)


def _open_people(folder: Path) -> tuple[EvaluationSet, ...]:
    columns = (TextColumn("looking for faces, {task.completed:,.0f} photos"), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as shown:
        task = shown.add_task("", total=None)
        reader = LargestFace(
            create_detector(DEFAULT_DETECTOR), progress=lambda done: shown.update(task, completed=done)
        )
        result, groups = read_people(folder, reader)
    if result.bad:
        say(f"{folder}: {len(result.bad)} photos left out: {'; '.join(map(str, result.bad[:3]))}")
    return (EvaluationSet(folder.resolve().name, result.data, groups),)


def compare(
    models: Annotated[list[str], typer.Argument(help="Two or more models, then the data set.")],
    votes: VotesOption = None,
    labels: LabelsOption = None,
    split: SplitOption = PUBLIC_TEST,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="An .html, .json or .md file for the comparison.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the intervals.")] = 0,
) -> None:
    """Compare models on the same images, in pairs: difference with its interval, and McNemar's exact test."""
    *names, data = models
    if len(names) < 2:
        raise InputError("compare needs at least two models and a data set: mien compare MODEL MODEL… DATA")
    if twice := [name for number, name in enumerate(names) if name in names[:number]]:
        raise InputError(f"{twice[0]} is named twice; compare needs different models, then the data set")
    if output and output.suffix.lower() not in COMPARISON_SUFFIXES:
        raise InputError(f"a comparison is written as {', '.join(COMPARISON_SUFFIXES)}, got {output}; end it in one")
    if output and output.suffix.lower() == ".html":
        require_extra("plots", "matplotlib")  # before the work, not after it
    candidates = {name: _candidate(name, labels, None) for name in names}
    everything = _read(Path(data), votes, candidates[names[0]])
    images, trained_on = everything.split(split), _training_crops(everything, split)
    answered = {candidate.labels for candidate in candidates.values()}
    target = label_set(labels) if labels else answered.pop() if len(answered) == 1 else everything.labels
    for name, candidate in candidates.items():
        if unknown := [one for one in target.names if one not in candidate.labels.names]:
            raise InputError(
                f"{name} does not answer with {listed(unknown)}; compare models on the same images and label set"
            )
    reports: dict[str, Report] = {}
    sha256: dict[str, str] = {}
    for name, candidate in candidates.items():
        known_as = candidate.name if candidate.name not in reports else name
        sha256[known_as] = candidate.sha256
        reports[known_as] = evaluate_model(
            candidate.predict_proba, images, candidate.labels, target=target, trained_on=trained_on, seed=seed
        )
    pairs = {
        (a, b): compare_predictions(reports[a].predictions, reports[b].predictions, seed=seed)
        for a, b in itertools.combinations(reports, 2)
    }
    _print_comparison(reports, pairs)
    if output:
        page = partial(
            comparison_to_html, title=f"{_listed(reports)} on {Path(data).stem} {split}", crops=images.crops,
            facts={f"SHA-256 of {name}": digest for name, digest in sha256.items()}
            | _circumstances(_data_text(Path(data), split, next(iter(reports.values()))), next(iter(reports.values()))),
        )  # fmt: skip
        texts: dict[str, Callable[..., str]] = dict(
            zip(COMPARISON_SUFFIXES, (page, comparison_to_json, comparison_to_markdown), strict=True)
        )
        text = texts[output.suffix.lower()](reports, pairs)
        say_written(write_whole(output, text))


def _listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _candidate(name: str, labels: str | None, tta: str | None) -> _Candidate:
    """Open a model; of a model with several heads, the one of the label set to score in, else the first."""
    path = Path(name)
    if is_adapter(path):
        candidate = _foreign(path)
    elif path.suffix.lower() == BASELINE_SUFFIX:
        candidate = _classical(path)
    else:
        candidate = _own(name, labels)
    if tta is None:
        return candidate
    augmented = test_time_augment(candidate.predict_proba, cast(TestTimeAugmentation, tta))
    return replace(candidate, name=f"{candidate.name} ({tta})", predict_proba=augmented)


def _foreign(path: Path) -> _Candidate:
    model = open_adapter(path)
    return _Candidate(path.stem, model.sha256, model.labels, model.predict_proba)


def _classical(path: Path) -> _Candidate:
    from mien.train.classical.baselines import load_baseline

    model = load_baseline(path)
    return _Candidate(path.stem, hashlib.sha256(path.read_bytes()).hexdigest(), model.labels, model.predict_proba)


def _own(name: str, labels: str | None) -> _Candidate:
    model = load_model(name)
    own = model.card.label_set(labels if labels in model.card.heads else None)
    choices = partial(_other_rules, model) if own == COMBINED8 and own.key in model.card.rules else None
    return _Candidate(model.card.name, model.sha256, own, partial(model.predict_proba, head=own.key), choices)


def _other_rules(
    model: ExpressionModel, sets: Sequence[EvaluationSet], target: LabelSet
) -> dict[str, tuple[Floats, ...]]:
    """Return what other constants of the combined answer say of each set."""
    answers = [
        (model.predict_proba(s.data.crops, head=FER7.key), model.predict_proba(s.data.crops, head=FERPLUS8.key))
        for s in sets
    ]
    return combined_choices(model.card, answers, target)


def _read(path: Path, votes: Path | None, candidate: _Candidate) -> CropDataset:
    """Read a data set; class folders of a person's own are those that the model has learnt."""
    own = None if set(candidate.labels.names) <= set(EMOJI) else candidate.labels
    return read_dataset(path, votes_path=votes, labels=own).data


def _training_crops(data: CropDataset, split: str) -> NDArray[np.uint8] | None:
    return data.split(TRAINING).crops if split != TRAINING and TRAINING in data.splits() else None


def _read_slices(path: Path, n: int) -> dict[str, NDArray[np.str_]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [
                {plain_cell(name): plain_cell(cell or "") for name, cell in row.items() if name is not None}
                for row in csv.DictReader(file)
            ]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if len(rows) != n:
        raise InputError(f"{path} has {len(rows)} rows, but the split has {n} images; give one row per image, in order")
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _required(path: Path | None) -> Path:
    if path is None:
        raise InputError("the images have no labels, so there is nothing to measure; give --predictions FILE.csv")
    return path


def _write_predictions(candidate: _Candidate, data: CropDataset, path: Path, target: LabelSet) -> None:
    probs = predict_in(target, candidate.predict_proba, data.crops, candidate.labels)
    lines = [",".join(("id", "emotion", "expression", "confidence", *target.names))]
    for number, row in enumerate(probs):
        best = int(row.argmax())
        cells = (str(number), str(best), target.names[best], f"{row[best]:.4f}", *(f"{p:.4f}" for p in row))
        lines.append(",".join(cells))
    say_written(write_whole(path, chr(10).join(lines) + chr(10)))


def _document(
    candidate: _Candidate, data: Path, images: CropDataset, report: Report, spoilt: RobustnessReport | None, split: str
) -> ReportDocument:
    facts = {
        "model": candidate.name,
        "SHA-256": candidate.sha256,
        "answers": candidate.labels.key,
        **_circumstances(_data_text(data, split, report), report),
    }
    return ReportDocument(
        title=f"{candidate.name} on {data.stem} {split}", report=report, facts=facts, crops=images.crops,
        robustness=spoilt, latency=latency(candidate.predict_proba),
    )  # fmt: skip


def _data_text(data: Path, split: str, report: Report) -> str:
    return f"{data.name}, {split}, N {report.overall.n:,}"


def _circumstances(data: str, report: Report | SetsReport) -> dict[str, str]:
    return {
        "data": data,
        "label set": report.labels.key,
        "seed": str(report.seed),
        "date": datetime.date.today().isoformat(),
        "mien": __version__,
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "command": shlex.join(["mien", *sys.argv[1:]]),
    }


def _print_report(document: ReportDocument, uncertain_below: float | None) -> None:
    report = document.report
    table = Table("", "N", "accuracy", "macro-F1", "top-2", "log loss", title=document.title)
    answers, scored = document.facts.get("answers"), report.labels.key
    in_which = scored if answers == scored else f"{answers} scored as {scored}"
    table.add_row(f"all images ({in_which})", *_cells(report.overall))
    if report.unseen and report.n_duplicates:
        table.add_row("without copies of Training images", *_cells(report.unseen))
    out.print(table)
    classes = Table("expression", "N", "precision", "recall", "F1")
    for c in report.classes:
        classes.add_row(
            expression_text(c.name), f"{c.support:,}",
            *(_or_dash(value) for value in (c.precision, c.recall, c.f1)),
        )  # fmt: skip
    out.print(classes)
    out.print(f"expected calibration error {report.calibration.ece:.2%}")
    if report.labels == FERPLUS8 and report.votes:
        out.print(f"{report.n_left_out} images without a clear vote left out")
    if uncertain_below is not None:
        point = operating_point(report.predictions, uncertain_below)
        out.print(
            f"answers at {uncertain_below:.0%} or more: {point.coverage:.1%}, of which right: {point.accuracy:.1%}"
        )
    if document.robustness:
        curves = Table("corrupted by", "mean accuracy", "at the worst")
        for curve in document.robustness.curves:
            curves.add_row(curve.title, f"{curve.mean_accuracy:.1%}", f"{curve.accuracy[-1]:.1%}")
        out.print(curves)
    for timing in document.latency:
        out.print(
            f"batch {timing.batch_size}: {timing.median_ms:.2f} ms, {timing.faces_per_s:,.0f} faces a second",
        )


def _or_dash(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "–"


def _cells(figures: Figures) -> tuple[str, ...]:
    return (
        f"{figures.n:,}", _percent(figures.accuracy), _percent(figures.macro_f1), f"{figures.top2_accuracy:.1%}",
        f"{figures.log_loss:.3f}",
    )  # fmt: skip


def _percent(estimate: Estimate) -> str:
    return f"{estimate.value:.2%} ({estimate.low:.1%} to {estimate.high:.1%})"


def _print_comparison(reports: dict[str, Report], pairs: dict[tuple[str, str], Comparison]) -> None:
    scored = next(iter(reports.values())).labels.key
    table = Table("model", "N", "accuracy", "macro-F1", "top-2", "log loss", title=f"scored as {scored}")
    for name, report in reports.items():
        table.add_row(name, *_cells(report.overall))
    out.print(table)
    paired = Table("pair", "difference", "only first right", "only second right", "McNemar p")
    for (a, b), c in pairs.items():
        d = c.difference
        paired.add_row(
            f"{a} − {b}", f"{100 * d.value:+.2f} ({100 * d.low:+.2f} to {100 * d.high:+.2f}) points",
            str(c.only_a), str(c.only_b), f"{c.p_value:.4f}" if c.p_value >= 0.0001 else "< 0.0001",
        )  # fmt: skip
    out.print(paired)
