"""`mien train` and `mien export`."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.console import errors, out
from mien.errors import InputError, require_extra

if TYPE_CHECKING:
    from mien.train.fit import EpochMetrics

DataArgument = Annotated[Path, typer.Argument(help="Kaggle's fer2013.csv.")]
VotesOption = Annotated[Path, typer.Option("--votes", help="The FER+ file fer2013new.csv.")]
Recipe = Annotated[Path | None, typer.Option("--recipe", help="JSON file with training settings; options override it.")]


def train(
    data: DataArgument,
    votes: VotesOption,
    out_dir: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    net: Annotated[str | None, typer.Option(help="Network: mien-b or mien-s.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    batch_size: Annotated[int | None, typer.Option(min=1)] = None,
    lr: Annotated[float | None, typer.Option(min=0.0, help="Peak learning rate.")] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    teacher: Annotated[list[Path] | None, typer.Option(help="Checkpoint to distil from; may be repeated.")] = None,
    init: Annotated[Path | None, typer.Option(help="Checkpoint to start the weights from.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last finished epoch in the folder.")] = False,
    recipe: Recipe = None,
) -> None:
    """Train a two-head network on FER2013 and the FER+ votes.

    Training is used for the weights and PublicTest to choose the checkpoint. Every epoch is kept: `--resume` loses at most
    the running one.
    """
    require_extra("train", "lightning")
    from mien.datasets import PUBLIC_TEST, TRAINING, read_fer2013
    from mien.train.fit import TrainSettings, fit, settings_from_json

    settings = settings_from_json(recipe) if recipe else TrainSettings()
    given = {"net": net, "epochs": epochs, "batch_size": batch_size, "lr": lr, "seed": seed}
    settings = replace(settings, **{name: value for name, value in given.items() if value is not None})
    read = read_fer2013(data, votes_path=votes)
    errors.print(f"{settings.net}: {len(read.split(TRAINING)):,} crops, {settings.epochs} epochs, seed {settings.seed}")
    best = fit(
        read.split(TRAINING), read.split(PUBLIC_TEST), out=out_dir, settings=settings, resume=resume, threads=threads,
        teachers=teacher or (), init=init, report=_EpochPrinter(),
    )  # fmt: skip
    out.print(f"best checkpoint: {best}", soft_wrap=True)


class _EpochPrinter:
    """Prints one line an epoch, with the time left."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.first: int | None = None

    def __call__(self, m: "EpochMetrics") -> None:
        self.first = m.epoch - 1 if self.first is None else self.first
        spent = time.monotonic() - self.started
        left = spent / (m.epoch - self.first) * (m.epochs - m.epoch)
        out.print(
            f"epoch {m.epoch:3d}/{m.epochs}  loss {m.train_loss:.3f}  PublicTest: loss {m.val_loss:.3f}  "
            f"fer2013 {m.accuracy_fer2013:.2%}  ferplus {m.accuracy_ferplus:.2%}  {spent / 60:.1f} min, "
            f"{left / 60:.0f} min left",
            highlight=False,
        )


def export(
    checkpoint: Annotated[Path, typer.Argument(help="best.ckpt of a run.")],
    data: Annotated[Path, typer.Option("--data", help="Kaggle's fer2013.csv, to calibrate and measure on PublicTest.")],
    votes: VotesOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .onnx file to write.")],
    name: Annotated[str, typer.Option(help="Name in the model's card.")] = "custom",
    version: Annotated[str, typer.Option(help="Version of the weights in the model's card.")] = "1",
    licence: Annotated[str, typer.Option(help="Licence of the weights in the model's card.")] = "not stated",
) -> None:
    """Turn a checkpoint into the ONNX file that mien runs, calibrated and measured on PublicTest."""
    require_extra("train", "lightning")
    from mien.datasets import PUBLIC_TEST, TRAINING, read_fer2013
    from mien.train.export import calibrate_and_export

    if output.suffix != ".onnx":
        raise InputError(f"the model file must end in .onnx, got {output.name}")
    read = read_fer2013(data, votes_path=votes)
    card = calibrate_and_export(
        checkpoint, output, validation=read.split(PUBLIC_TEST), training=read.split(TRAINING),
        name=name, version=version, licence=licence,
    )  # fmt: skip
    for m in card.measured:
        out.print(f"{m.head}: {m.accuracy:.2%} on {m.split}, N {m.n:,}", highlight=False)
    out.print(f"wrote {output}", soft_wrap=True)
