"""Everything that decides how a run goes, as frozen values that JSON can hold."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from mien.errors import InputError, check_known, listed, shown
from mien.train.augment import AugmentSettings

TARGETS = ("auto", "both", "labels", "votes")
OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("cosine", "plateau", "constant")
CLASS_WEIGHTS = ("none", "balanced", "sqrt")
TEACHER_VIEWS = ("same", "plain")
MIX_BOTH = 1.0  # the shares of mixed batches add up to this at most


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides how a run goes; saved with every checkpoint.

    Attributes:
        net: Name in `mien.train.nets.registry.NETS`.
        epochs: Passes over the training split.
        batch_size: Crops per step, over all processes together.
        optimizer: `"sgd"` (with Nesterov momentum), `"adam"` or `"adamw"`.
        lr: Peak learning rate.
        momentum: Momentum of SGD.
        weight_decay: L2 penalty on the weights of convolutions and linear layers.
        schedule: `"cosine"` to zero over all epochs, `"plateau"` (times `plateau_factor` when the validation loss has
            not fallen for `plateau_patience` epochs) or `"constant"`; all after the warm-up.
        warmup_epochs: Epochs of linear warm-up.
        plateau_factor: Factor of `"plateau"`.
        plateau_patience: Epochs without a lower validation loss before `"plateau"` acts.
        patience: Stop after this many epochs without a better validation score; 0 never stops early.
        targets: What the heads learn: `"labels"` of the data set, FER+ `"votes"`, `"both"` with one head each, or
            `"auto"`: both where the data have votes, else the labels.
        classes: Expressions to keep, by name, in this order; empty keeps all.
        merge: Pairs (expression, expression it becomes), applied before `classes`.
        label_smoothing: Smoothing of hard labels (Szegedy et al. 2016).
        soft_votes: Whether votes are learned as a distribution (Barsoum et al. 2016) or as their majority.
        ferplus_weight: Weight of the loss of the votes' head beside the labels' head.
        class_weights: `"none"`, `"balanced"` (inverse frequency) or `"sqrt"` (its square root).
        focal_gamma: Exponent of the focal loss (Lin et al. 2017); 0 is plain cross-entropy.
        logit_adjustment: Add so much of the log share of each class to the logits in the loss (Menon et al. 2021): 1
            trains for classes that are equally frequent, 0 for the shares of the data.
        teacher_weight: Share of the targets that comes from the teachers' probabilities, where there are teachers
            (Hinton et al. 2015).
        teacher_views: What the teachers see: `"same"`, the augmented view of the student in every step, or `"plain"`,
            the crop and its mirror image, once before the run, which costs no time per step.
        view_pool: Take the augmented views of so many epochs in turn instead of drawing new ones in every epoch; 0
            always draws. Teachers answer each view once, so after these epochs they cost no more time.
        freeze_trunk: Train the heads alone; the rest keeps the weights it started from.
        freeze_layers: So many of the trunk's first layers keep the weights they started from and cost no backward pass;
            the large early maps are most of the time of a step.
        ema_decay: Decay of the moving average of the weights, per step; 0 keeps none.
        clip_norm: Gradients are clipped to this norm; 0 does not clip.
        seed: Seed of everything random.
        augment: Augmentation.
    """

    net: str = "mien-b"
    epochs: int = 90
    batch_size: int = 128
    optimizer: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "cosine"
    warmup_epochs: float = 3.0
    plateau_factor: float = 0.5
    plateau_patience: int = 4
    patience: int = 0
    targets: str = "auto"
    classes: tuple[str, ...] = ()
    merge: tuple[tuple[str, str], ...] = ()
    label_smoothing: float = 0.1
    soft_votes: bool = True
    ferplus_weight: float = 1.0
    class_weights: str = "none"
    focal_gamma: float = 0.0
    logit_adjustment: float = 0.0
    teacher_weight: float = 0.7
    teacher_views: str = "same"
    view_pool: int = 0
    freeze_trunk: bool = False
    freeze_layers: int = 0
    ema_decay: float = 0.999
    clip_norm: float = 5.0
    seed: int = 0
    augment: AugmentSettings = field(default_factory=AugmentSettings)

    @property
    def told(self) -> str:
        """The network, how long and from which seed, for people."""
        return f"{self.net}, {self.epochs} epoch{'s' * (self.epochs != 1)}, seed {self.seed}"

    def drawn_epoch(self, epoch: int) -> int:
        """Return the epoch whose order and views this one takes: itself, or an earlier one of a pool."""
        return epoch % self.view_pool if self.view_pool else epoch

    def __post_init__(self) -> None:
        """Check names and ranges."""
        check_known("optimizer", self.optimizer, OPTIMIZERS)
        check_known("schedule", self.schedule, SCHEDULES)
        check_known("targets", self.targets, TARGETS)
        check_known("teacher_views", self.teacher_views, TEACHER_VIEWS)
        check_known("class_weights", self.class_weights, CLASS_WEIGHTS)
        for name in ("epochs", "batch_size", "plateau_patience"):
            check_within(name, getattr(self, name), 1, None)
        for name in ("lr", "weight_decay", "warmup_epochs", "ferplus_weight", "focal_gamma", "clip_norm", "patience"):
            check_within(name, getattr(self, name), 0, None)
        for name in ("momentum", "label_smoothing", "teacher_weight", "ema_decay", "plateau_factor"):
            check_within(name, getattr(self, name), 0, 1)
        for name in ("seed", "freeze_layers", "view_pool", "logit_adjustment"):
            check_within(name, getattr(self, name), 0, None)
        check_within("augment.mixup_share + augment.cutmix_share", _mixed_share(self.augment), 0, MIX_BOTH)


def check_within(name: str, value: float, low: float, high: float | None) -> None:
    """Refuse a value that is no number from `low` to `high`; None as `high` sets no limit above."""
    if not (isinstance(value, int | float) and value >= low and (high is None or value <= high)):
        wanted = f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
        raise InputError(f"{name} must be {wanted}, got {shown(value)}")


def _mixed_share(augment: AugmentSettings) -> float:
    return augment.mixup_share * (augment.mixup > 0) + augment.cutmix_share * (augment.cutmix > 0)


def settings_to_json(settings: TrainSettings) -> str:
    """Return settings as a JSON object that `settings_from_json` reads."""
    return json.dumps(asdict(settings), indent=2, ensure_ascii=False) + "\n"


def settings_from_json(path: Path) -> TrainSettings:
    """Read settings from a JSON file, as a run writes them into `settings.json`.

    Args:
        path: An object with any of the fields of `TrainSettings`; what is absent takes its default.

    Raises:
        InputError: The file is missing, is not JSON or has an unknown field; the message lists the known ones.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} must be a JSON file with training settings ({error})") from error
    return settings_from_dict(value, where=str(path))


def settings_from_dict(value: Mapping[str, Any], *, where: str) -> TrainSettings:
    """Build settings from plain values.

    Args:
        value: Any of the fields of `TrainSettings`; `augment` is such a mapping too.
        where: Where the values came from, for the error.

    Raises:
        InputError: A field is unknown, or its value is out of range.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("augment", {}), Mapping):
        raise InputError(f"{where} must hold one JSON object of settings, got {type(value).__name__}")
    known = dict(value)
    augment = _known_fields(AugmentSettings, known.pop("augment", {}), where)
    known = _known_fields(TrainSettings, known, where)
    known["classes"] = tuple(known.get("classes", ()))
    known["merge"] = tuple((one, other) for one, other in known.get("merge", ()))
    try:
        return TrainSettings(**known, augment=AugmentSettings(**augment))
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _known_fields(
    kind: type[TrainSettings] | type[AugmentSettings], value: Mapping[str, Any], where: str
) -> dict[str, Any]:
    names = [f.name for f in fields(kind)]
    unknown = sorted(set(value) - set(names))
    if unknown:
        raise InputError(f"{where}: unknown setting(s) {listed(unknown)}; known: {', '.join(names)}")
    return dict(value)


def with_settings(settings: TrainSettings, changes: Mapping[str, Any]) -> TrainSettings:
    """Return settings with some fields changed.

    Args:
        settings: Where to start from.
        changes: New values by name; `augment.NAME` reaches a field of the augmentation.

    Raises:
        InputError: A name is unknown, or a value has the wrong type or range.
    """
    flat = {name: value for name, value in changes.items() if "." not in name}
    inner = {name.removeprefix("augment."): value for name, value in changes.items() if "." in name}
    for kind, given in ((settings, flat), (settings.augment, inner)):
        for name, value in given.items():
            _check_kind(kind, name, value)
    return replace(settings, **flat, augment=replace(settings.augment, **inner))


def _check_kind(settings: TrainSettings | AugmentSettings, name: str, value: Any) -> None:
    names = [f.name for f in fields(settings)]
    if name not in names or name == "augment":
        inner = [f"augment.{f.name}" for f in fields(AugmentSettings)]
        raise InputError(
            f"unknown setting {shown(name)}; known: {', '.join([n for n in names if n != 'augment'] + inner)}"
        )
    wanted = type(getattr(settings, name))
    if wanted is float and type(value) is int:
        return
    if type(value) is not wanted:
        raise InputError(f"setting {shown(name)} must be {wanted.__name__}, got {shown(value)}")
