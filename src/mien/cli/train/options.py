"""What `mien train`, `mien tune` and `mien export` have in common: which data, which recipe, which machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.console import say
from mien.datasets.dataset import CropDataset
from mien.datasets.policy import FEW_VALIDATION_CROPS, HELD_OUT_SHARE, splits_for_training
from mien.datasets.read import read_dataset
from mien.datasets.splits import with_split
from mien.errors import InputError, shown

if TYPE_CHECKING:
    from mien.train.settings import TrainSettings

DATA, RECIPE, START, MACHINE, RUN = "Data", "Recipe", "Where the weights start", "Machine", "Run"


@dataclass(frozen=True)
class DataOptions:
    """How to read data and split them."""

    votes: Annotated[Path | None, typer.Option(help="The FER+ file fer2013new.csv.", rich_help_panel=DATA)] = None
    labels: Annotated[
        str | None,
        typer.Option(help="Your own classes, where some have names mien knows: bored,happy.", rich_help_panel=DATA),
    ] = None
    split: Annotated[Path | None, typer.Option(help="Split file of `mien data split`.", rich_help_panel=DATA)] = None
    fold: Annotated[
        int | None, typer.Option(min=1, help="Fold of the split file that validates.", rich_help_panel=DATA)
    ] = None
    validation: Annotated[
        str | None, typer.Option(help="Split that chooses the checkpoint: PublicTest, say.", rich_help_panel=DATA)
    ] = None
    val_share: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=0.9,
            rich_help_panel=DATA,
            help=f"Hold out this share of the training crops to validate on; {HELD_OUT_SHARE} where the data have no "
            "validation split.",
        ),
    ] = None
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave bad rows and images out.", rich_help_panel=DATA)
    ] = False

    def read(self, path: Path, seed: int) -> tuple[CropDataset, CropDataset]:
        """Return the crops to train on and those to validate on, and say what was read.

        Args:
            path: The data set.
            seed: Decides which crops are held out, where some are.
        """
        result = read_dataset(path, votes_path=self.votes, labels=self.labels, skip_bad=self.skip_bad)
        notes = [*result.notes, *([f"{len(result.bad):,} bad rows or images left out"] if result.bad else [])]
        data = result.data if self.split is None else with_split(result.data, self.split, fold=self.fold)
        chosen = splits_for_training(data, validation=self.validation, share=self.val_share, seed=seed)
        counts = f"{len(chosen.training):,} crops to train on, {len(chosen.validation):,} to validate on"
        for note in (*notes, f"{counts} ({chosen.how})"):
            say_once(note)
        if len(chosen.validation) < FEW_VALIDATION_CROPS:
            say_once(
                f"only {len(chosen.validation)} crops validate: the best epoch is the one of the lowest loss, and "
                "accuracy on so few says little; hold out more with --val-share 0.3"
            )
        return chosen.training, chosen.validation

    def read_unlabelled(self, path: Path) -> CropDataset:
        """Return faces whose labels, if there are any, do not count.

        Args:
            path: The data set.
        """
        result = read_dataset(path, skip_bad=self.skip_bad)
        say_once(f"{len(result.data):,} more faces, without labels")
        return result.data


@dataclass(frozen=True)
class RecipeOptions:
    """What to train, and how."""

    classes: Annotated[
        str | None, typer.Option(help="Expressions to keep: happy,sad,neutral.", rich_help_panel=DATA)
    ] = None
    merge: Annotated[
        list[str] | None,
        typer.Option(help="Expression that becomes another: fear=surprise; may be repeated.", rich_help_panel=DATA),
    ] = None
    targets: Annotated[
        str | None, typer.Option(help="What the heads learn: auto, labels, votes or both.", rich_help_panel=RECIPE)
    ] = None
    recipe: Annotated[
        Path | None, typer.Option(help="JSON file with settings; options override it.", rich_help_panel=RECIPE)
    ] = None
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Any setting by name: augment.mixup=0, clip_norm=1; may be repeated.", rich_help_panel=RECIPE
        ),
    ] = None
    net: Annotated[
        str | None, typer.Option(help="Network: mien-b, mien-s, tutorial-two-dense, vgg16, …", rich_help_panel=RECIPE)
    ] = None
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the training crops.", rich_help_panel=RECIPE)
    ] = None
    batch_size: Annotated[int | None, typer.Option(min=1, help="Crops per step.", rich_help_panel=RECIPE)] = None
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of weights, order and held-out crops.", rich_help_panel=RECIPE)
    ] = None

    def settings(self, more: Mapping[str, Any], *, run: Path | None = None) -> "TrainSettings":
        """Return the recipe, or that of a run to resume, with the options given on top.

        Args:
            more: Further settings by name; None leaves one as it is.
            run: Folder of the run to resume.
        """
        from mien.train.settings import TrainSettings, settings_from_json, with_settings

        base = settings_from_json(self.recipe) if self.recipe else TrainSettings()
        if run is not None and (run / "settings.json").is_file():
            base = settings_from_json(run / "settings.json")
        given = {
            "net": self.net, "epochs": self.epochs, "batch_size": self.batch_size, "seed": self.seed,
            "targets": self.targets, "classes": split_names(self.classes), "merge": _merges(self.merge), **more,
        }  # fmt: skip
        changes = {name: value for name, value in given.items() if value is not None}
        changes |= dict(_assignment(base, text) for text in self.assignments or ())
        return with_settings(base, changes)


@dataclass(frozen=True)
class MachineOptions:
    """Where one process computes."""

    accelerator: Annotated[str, typer.Option(help="auto, cpu or cuda.", rich_help_panel=MACHINE)] = "auto"
    precision: Annotated[str, typer.Option(help="auto, 32-true, bf16-mixed or 16-mixed.", rich_help_panel=MACHINE)] = (
        "auto"
    )
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of each process.", rich_help_panel=MACHINE)
    ] = None


def say_once(text: str) -> None:
    """Tell the user something, once where several processes train together."""
    from mien.train.folder import is_first_process

    if is_first_process():
        say(text)


def _assignment(settings: "TrainSettings", text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set needs name=value, got {shown(text)}")
    owner = settings.augment if name.startswith("augment.") else settings
    current = getattr(owner, name.removeprefix("augment."), value)
    try:
        return name, _parsed(value, type(current))
    except ValueError:
        raise InputError(f"--set {name} needs a value like {current!r}, got {shown(value)}") from None


def _parsed(value: str, kind: type) -> Any:
    if kind is bool:
        return {"true": True, "false": False, "1": True, "0": False}.get(value.lower(), value)
    return kind(value) if kind in (int, float) else value


def split_names(text: str | None) -> tuple[str, ...] | None:
    """Return the names between commas, or None."""
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())


def _merges(texts: list[str] | None) -> tuple[tuple[str, str], ...] | None:
    pairs = [tuple(part.strip() for part in text.split("=")) for text in texts or ()]
    for text, pair in zip(texts or (), pairs, strict=True):
        if len(pair) != 2 or not all(pair):
            raise InputError(f"--merge needs expression=expression, fear=surprise say; got {shown(text)}")
    return tuple((pair[0], pair[1]) for pair in pairs) or None
