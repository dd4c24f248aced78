"""`mien train`, `mien tune` and `mien export`."""

import datetime
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from mien.cli.console import megabytes, out, say, say_written
from mien.cli.options import CardLicence, CardName, CardVersion, DataArgument, with_groups
from mien.cli.train.options import (
    DATA,
    MACHINE,
    RECIPE,
    RUN,
    START,
    DataOptions,
    MachineOptions,
    RecipeOptions,
    say_once,
    split_names,
)
from mien.datasets.dataset import CropDataset
from mien.errors import InputError, MissingExtraError, require_extra
from mien.models.catalogue import CATALOGUE

if TYPE_CHECKING:
    from mien.models.card import ModelCard
    from mien.train.callbacks import EpochMetrics
    from mien.train.settings import TrainSettings
    from mien.train.tuning import TrialRow, TuneResult

SILENCE_S = 30.0  # between two lines where there is no terminal for a bar
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with what is in the folder.", rich_help_panel=RUN)]


@with_groups
def train(
    data: DataArgument,
    out_dir: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.", rich_help_panel=RUN)],
    chosen: DataOptions,
    recipe: RecipeOptions,
    machine: MachineOptions,
    optimizer: Annotated[str | None, typer.Option(help="sgd, adam or adamw.", rich_help_panel=RECIPE)] = None,
    lr: Annotated[float | None, typer.Option(min=0.0, help="Peak learning rate.", rich_help_panel=RECIPE)] = None,
    schedule: Annotated[str | None, typer.Option(help="cosine, plateau or constant.", rich_help_panel=RECIPE)] = None,
    warmup_epochs: Annotated[
        float | None,
        typer.Option("--warmup", min=0.0, help="Epochs until the learning rate is reached.", rich_help_panel=RECIPE),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(min=0, help="Stop after so many epochs without an improvement.", rich_help_panel=RECIPE),
    ] = None,
    class_weights: Annotated[str | None, typer.Option(help="none, balanced or sqrt.", rich_help_panel=RECIPE)] = None,
    focal_gamma: Annotated[
        float | None, typer.Option("--focal", min=0.0, help="Exponent of the focal loss.", rich_help_panel=RECIPE)
    ] = None,
    label_smoothing: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Share of a target given to all classes.", rich_help_panel=RECIPE),
    ] = None,
    ema_decay: Annotated[
        float | None, typer.Option("--ema", min=0.0, max=1.0, help="Weight averaging; 0: off.", rich_help_panel=RECIPE)
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="A shipped model's name (takes its network, too), an .onnx file of `mien export`, or a .ckpt.",
            rich_help_panel=START,
        ),
    ] = None,
    pretrained: Annotated[
        Path | None,
        typer.Option(
            help="Weights of another origin: ImageNet's .pth for vgg16, the package's folder for face-dlib, face-hse.",
            rich_help_panel=START,
        ),
    ] = None,
    freeze_trunk: Annotated[
        bool | None, typer.Option("--freeze", help="Train the heads alone.", rich_help_panel=START)
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(help="Checkpoint, or shipped model, to distil from; may be repeated.", rich_help_panel=START),
    ] = None,
    unlabelled: Annotated[
        Path | None,
        typer.Option(help="More faces, unlabelled, of which the teachers' answers are learned.", rich_help_panel=DATA),
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="GPUs, or CPU processes, per node.", rich_help_panel=MACHINE)] = 1,
    nodes: Annotated[
        int, typer.Option(min=1, help="Machines; start the same command on each.", rich_help_panel=MACHINE)
    ] = 1,
    strategy: Annotated[
        str, typer.Option(help="Lightning's strategy; auto is DDP for several processes.", rich_help_panel=MACHINE)
    ] = "auto",
    resume: ResumeOption = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew where the folder holds a run.", rich_help_panel=RUN)
    ] = False,
    curves: Annotated[bool, typer.Option(help="Draw curves.png every epoch.", rich_help_panel=RUN)] = True,
    tensorboard: Annotated[bool, typer.Option(help="Write TensorBoard events.", rich_help_panel=RUN)] = True,
    export_model: Annotated[
        bool, typer.Option("--export/--no-export", help="Write model.onnx, its card and report.", rich_help_panel=RUN)
    ] = True,
) -> None:
    """Train a network: the two heads of mien on FER2013 and FER+, or any classes on your own folders.

    The folder gets best.ckpt, last.ckpt, metrics.csv, curves.png (rewritten each epoch), settings.json, run.json (data
    hashes, versions, machine), model.onnx with its card and report. Ctrl-C stops after the step and keeps everything;
    `--resume` goes on from there, and after a crash from the last finished epoch.
    """
    require_extra("train", "lightning")
    from mien.train.folder import is_first_process
    from mien.train.hardware import Hardware
    from mien.train.nets.registry import pretrained_loader
    from mien.train.run import RunSettings, Start, fit

    shipped_net = CATALOGUE[init].net if init in CATALOGUE and recipe.net is None else None
    settings = recipe.settings(
        {"optimizer": optimizer, "lr": lr, "schedule": schedule, "warmup_epochs": warmup_epochs, "patience": patience,
         "class_weights": class_weights, "focal_gamma": focal_gamma, "label_smoothing": label_smoothing,
         "ema_decay": ema_decay, "freeze_trunk": freeze_trunk} | ({"net": shipped_net} if shipped_net else {}),
        run=out_dir if resume else None,
    )  # fmt: skip
    hardware = Hardware(machine.accelerator, devices, nodes, strategy, machine.precision, machine.threads)
    training, held_out = chosen.read(data, settings.seed)
    more = None if unlabelled is None else chosen.read_unlabelled(unlabelled)
    say_once(f"{settings.told}, into {out_dir}")
    try:
        with _watching(settings) as watch:
            best = fit(
                training, held_out, unlabelled=more, out=out_dir, settings=settings, hardware=hardware,
                start=Start(init, teacher or (), pretrained_loader(settings.net, pretrained)),
                run=RunSettings(resume, overwrite, curves, tensorboard), report=watch.epoch, progress=watch.step,
            )  # fmt: skip
    except KeyboardInterrupt:
        say_once(f"stopped; all is kept in {out_dir}: the same command with --resume goes on")
        raise
    if not is_first_process():
        return
    say(f"best checkpoint: {best}", to=out)
    if export_model:
        _export_run(best, training, held_out, settings)


class _Watch:
    """Shows how a run goes: a bar with the time left on a terminal, and a line per epoch."""

    def __init__(self, bars: Progress, settings: "TrainSettings") -> None:
        self.bars = bars
        self.task = bars.add_task("starting", total=None)
        self.started = time.monotonic()
        self.first: int | None = None
        self.spoken = self.started
        self.epochs = settings.epochs

    def step(self, done: int, total: int) -> None:
        """Move the bar."""
        if self.first is None:
            self.first, self.started = done - 1, time.monotonic()
            self.spoken = self.started
            self.bars.reset(self.task, completed=done - 1, total=total)
        epoch = (done - 1) * self.epochs // max(1, total) + 1
        self.bars.update(self.task, completed=done, description=f"epoch {epoch}/{self.epochs}")
        if self.bars.disable and time.monotonic() - self.spoken >= SILENCE_S:
            self._speak(f"epoch {epoch}/{self.epochs}: step {done:,} of {total:,}, ", done, total)

    def _speak(self, what: str, done: int, total: int) -> None:
        """Print a line where nobody sees a bar."""
        self.spoken = time.monotonic()
        first = self.first or 0
        spent = self.spoken - self.started
        left = spent / max(1, done - first) * (total - done)
        say(f"{what}{_duration(spent)}, {_duration(left)} left")

    def epoch(self, m: "EpochMetrics") -> None:
        """Print a line; a star marks the best epoch so far."""
        self.spoken = time.monotonic()
        star = "*" if m.is_best else " "
        accuracies = "  ".join(f"{head} {value:.2%}" for head, value in m.val_accuracy.items())
        out.print(
            f"epoch {m.epoch:3d}/{m.epochs} {star} loss {m.train_loss:.3f}, on validation {m.val_loss:.3f}  "
            f"{accuracies}  {self._times(m)}",
            soft_wrap=True,
        )  # fmt: skip

    def _times(self, m: "EpochMetrics") -> str:
        spent = time.monotonic() - self.started
        done = self.bars.tasks[self.task]
        share = ((done.completed or 0) - (self.first or 0)) / max(1, (done.total or 1) - (self.first or 0))
        return f"{_duration(spent)}, {_duration(spent / max(share, 1e-9) - spent)} left"


def _duration(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(max(0.0, seconds))))


@contextmanager
def _watching(settings: "TrainSettings") -> Iterator[_Watch]:
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"),
        TimeElapsedColumn(), TextColumn("·"), TimeRemainingColumn(), TextColumn("left"),
    )  # fmt: skip
    from mien.train.folder import is_first_process

    shown = out.is_terminal and is_first_process()
    with Progress(*columns, console=out, transient=True, disable=not shown) as bars:
        yield _Watch(bars, settings)


def _export_run(best: Path, training: CropDataset, held_out: CropDataset, settings: "TrainSettings") -> None:
    from mien.train.export import calibrate_and_export

    model = best.with_name("model.onnx")
    card = calibrate_and_export([best], model, validation=held_out, training=training, name=best.parent.name)
    _print_card(card, model)
    if not settings.classes and not settings.merge:
        _write_reports(model, training, held_out)


def _write_reports(model: Path, training: CropDataset, held_out: CropDataset) -> None:
    """Write one report per head, on the split that chose the checkpoint."""
    from mien.evaluate.document import ReportDocument
    from mien.evaluate.evaluation import evaluate
    from mien.evaluate.report import write_report
    from mien.models.expression import ExpressionModel

    opened = ExpressionModel(model)
    for head in opened.card.heads:
        labels = opened.card.label_set(head)
        answers = partial(opened.predict_proba, head=head)
        report = evaluate(answers, held_out, labels, trained_on=training.crops)
        split = held_out.splits()[0]
        facts = {
            "model": str(model), "SHA-256": opened.sha256, "data": f"{split}, N {report.overall.n:,}",
            "note": "this split chose the best epoch and, where large enough, fitted the confidence",
            "command": shlex.join(sys.argv),
        }  # fmt: skip
        title = f"{opened.card.name} on {split}, {head}"
        folder = model.with_name("report" if len(opened.card.heads) == 1 else f"report-{head}")
        try:
            write_report(ReportDocument(title, report, facts, held_out.crops), folder)
        except MissingExtraError as error:
            say(f"no page in {folder}: {error}")
        say_written(folder)


def _print_card(card: "ModelCard", path: Path) -> None:
    for m in card.measured:
        say(f"{m.head}: {m.accuracy:.2%} on {m.split}, N {m.n:,}", to=out)
    for note in card.trained.split("; ")[1:]:
        say(note)
    say_written(path, f" ({megabytes(path.stat().st_size)}) and its card")


@with_groups
def tune(
    data: DataArgument,
    out_dir: Annotated[Path, typer.Option("--out", "-o", help="Folder of the search.", rich_help_panel=RUN)],
    chosen: DataOptions,
    recipe: RecipeOptions,
    machine: MachineOptions,
    search: Annotated[
        str | None, typer.Option(help="Settings to search: lr,augment.erase; all if not given.", rich_help_panel=RUN)
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials in all.", rich_help_panel=RUN)] = 40,
    workers: Annotated[int, typer.Option(min=1, help="Processes that run trials.", rich_help_panel=RUN)] = 1,
    resume: ResumeOption = False,
    show_space: Annotated[
        bool, typer.Option("--space", help="Print the settings that are searched, and stop.", rich_help_panel=RUN)
    ] = False,
) -> None:
    """Search for better settings with Optuna; a study lives in SQLite, is pruned, and can be resumed and shared.

    The first trial is the recipe itself. The folder gets study.db, trials.csv, tune.png (what mattered) and best.json
    for `mien train --recipe`. Start the command with --resume in another shell to share the work.
    """
    require_extra("train", "lightning")
    from mien.train.hardware import Hardware
    from mien.train.tuning import chosen_space
    from mien.train.tuning import tune as search_settings

    space = chosen_space(split_names(search) or ())
    if show_space:
        out.print(_space_table(space))
        return
    settings = recipe.settings({})
    training, held_out = chosen.read(data, settings.seed)
    result = search_settings(
        training, held_out, out=out_dir, settings=settings, space=space, trials=trials, workers=workers, resume=resume,
        hardware=Hardware(machine.accelerator, precision=machine.precision, threads=machine.threads),
        report=_print_trial,
    )  # fmt: skip
    out.print(_trials_table(result))
    say(f"the best settings: {result.recipe}; next: mien train … --recipe {result.recipe}", to=out)


def _space_table(space: Mapping[str, Any]) -> Table:
    table = Table("setting", "searched")
    for name, values in space.items():
        table.add_row(name, str(values))
    return table


def _print_trial(row: "TrialRow", best: "TrialRow") -> None:
    score = "–" if row.score is None else f"{row.score:.2%}"
    out.print(f"trial {row.number}: {row.state}, {score}; best {best.score or 0:.2%} (trial {best.number})")


def _trials_table(result: "TuneResult", *, shown: int = 10) -> Table:
    names = list(result.importance) or list(result.trials[0].values)
    table = Table("trial", "score", *names, title=f"the best of {len(result.trials)} trials")
    for row in [row for row in result.trials if row.state == "complete"][:shown]:
        cells = [row.values.get(name) for name in names]
        shown_cells = [f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells]
        table.add_row(str(row.number), f"{row.score:.2%}", *shown_cells)
    if result.importance:
        table.add_section()
        table.add_row("", "mattered", *(f"{share:.0%}" for share in result.importance.values()))
    return table


@with_groups
def export(
    models: Annotated[
        list[Path],
        typer.Argument(
            help="best.ckpt of a run, or of several, which then answer together; for --keras-pair an .onnx file of "
            "`mien import-keras`."
        ),
    ],
    chosen: DataOptions,
    data: Annotated[
        Path | None, typer.Option(help="The data the run was trained on: to calibrate and measure.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The .onnx file to write; its card goes beside it.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="fp16 (half the size), fp32, or int8 (calibrated on training crops).")
    ] = "fp16",
    name: CardName = None,
    version: CardVersion = "1",
    licence: CardLicence = "not stated",
    data_name: Annotated[str | None, typer.Option(help="What it was trained on, for the model's card.")] = None,
    combined: Annotated[
        bool, typer.Option("--combined", help="Add the combined answer; also to an .onnx file of two heads.")
    ] = False,
    keras_pair: Annotated[
        Path | None,
        typer.Option(help="Write a net that came from Keras back: folder for model.json and weights.h5."),
    ] = None,
) -> None:
    """Turn a checkpoint into the ONNX file that mien runs, calibrated and measured on the validation split.

    Several checkpoints with the same classes become one file whose probabilities are the mean of theirs.

    With --keras-pair, turn what `mien import-keras` wrote back into model.json and weights.h5; that needs no data.
    """
    if keras_pair is not None:
        if data is not None or output is not None:
            raise InputError("--keras-pair writes the pair and nothing else; leave out --data and -o")
        if len(models) > 1:
            raise InputError(f"--keras-pair writes one network back, got {len(models)} files; give one")
        _write_keras_pair(models[0], keras_pair)
        return
    if combined and output is not None and models[0].suffix == ".onnx":
        if data is not None or len(models) > 1:
            raise InputError("--combined adds to one .onnx file, which is calibrated already; leave out --data")
        from mien.train.combined import add_combined

        _print_card(add_combined(models[0], output, version=version), output)
        return
    if data is None or output is None:
        raise InputError("a checkpoint is calibrated and measured as it is exported; give --data and -o FILE.onnx")
    seed = _seed_of(models, output)
    from mien.train.export import calibrate_and_export

    training, held_out = chosen.read(data, seed)
    card = calibrate_and_export(
        models, output, validation=held_out, training=training, name=name or output.stem,
        version=version, licence=licence, data_name=data_name, precision=precision, combined=combined,
    )  # fmt: skip
    _print_card(card, output)


def _write_keras_pair(model: Path, folder: Path) -> None:
    require_extra("keras", "h5py")
    from mien.models.keras.convert import MODEL_FILE, WEIGHTS_FILE, export_keras_pair

    for path in (folder / MODEL_FILE, folder / WEIGHTS_FILE):
        if path.exists():
            raise InputError(f"{path} exists; move it away, or name another folder for --keras-pair")
    for path in export_keras_pair(model, folder):
        say_written(path)


def _seed_of(checkpoints: list[Path], output: Path) -> int:
    require_extra("train", "lightning")
    from mien.train.checkpoints import load_settings

    if output.suffix != ".onnx":
        raise InputError(f"the model file must end in .onnx, got {output.name}")
    for checkpoint in checkpoints:
        if checkpoint.suffix == ".onnx":
            raise InputError(f"{checkpoint} is exported already; give a checkpoint (best.ckpt), or --keras-pair FOLDER")
    return load_settings(checkpoints[0]).seed
