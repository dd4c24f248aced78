"""Training with Lightning: seeded, resumable at every epoch, best weights kept."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, SequentialSampler

from mien.datasets import CropDataset, ferplus_distribution, ferplus_majority, is_face
from mien.errors import InputError
from mien.labels import FER7, FERPLUS8
from mien.train.augment import Augment, AugmentSettings, mixup
from mien.train.nets import NETS, MultiHeadNet, Standardise, standardise


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides how a run goes; saved with every checkpoint.

    Attributes:
        net: Name in `mien.train.nets.NETS`.
        epochs: Passes over the training split.
        batch_size: Crops per step.
        lr: Peak learning rate of SGD with Nesterov momentum.
        momentum: Momentum of SGD.
        weight_decay: L2 penalty on the weights of convolutions and linear layers.
        warmup_epochs: Epochs of linear warm-up before the cosine.
        label_smoothing: Smoothing of the FER2013 labels.
        ferplus_weight: Weight of the loss against the FER+ vote distribution.
        ema_decay: Decay of the moving average of the weights, per step.
        clip_norm: Gradients are clipped to this norm.
        seed: Seed of everything random.
        augment: Augmentation.
    """

    net: str = "mien-b"
    epochs: int = 90
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_epochs: float = 3.0
    label_smoothing: float = 0.1
    ferplus_weight: float = 1.0
    ema_decay: float = 0.999
    clip_norm: float = 5.0
    seed: int = 0
    augment: AugmentSettings = field(default_factory=AugmentSettings)


@dataclass(frozen=True)
class EpochMetrics:
    """What one epoch gave; accuracies in 0-1 on the validation split, from the averaged weights."""

    epoch: int
    epochs: int
    train_loss: float
    val_loss: float
    accuracy_fer2013: float
    accuracy_ferplus: float


class CropBatches(Dataset[tuple[Tensor, ...]]):
    """Crops and targets in memory, indexed by whole batches."""

    def __init__(self, *tensors: Tensor) -> None:
        """Keep the tensors, which share their first axis.

        Args:
            *tensors: Crops first, then targets.
        """
        self.tensors = tensors

    def __len__(self) -> int:
        """Return the number of crops."""
        return len(self.tensors[0])

    def __getitem__(self, indices: list[int]) -> tuple[Tensor, ...]:
        """Return one batch."""
        return tuple(t[indices] for t in self.tensors)


def training_batches(data: CropDataset) -> CropBatches:
    """Return crops, one-hot FER2013 labels and FER+ vote distributions; crops voted unknown or not a face left out.

    Args:
        data: The training split, with votes.
    """
    votes = _votes_of(data)
    kept = data.where(is_face(votes))
    return CropBatches(
        torch.from_numpy(kept.crops),
        nn.functional.one_hot(torch.from_numpy(kept.label.astype(np.int64)), len(FER7)).float(),
        torch.from_numpy(ferplus_distribution(_votes_of(kept))),
    )


def validation_batches(data: CropDataset) -> CropBatches:
    """Return crops, FER2013 labels and FER+ majority labels (-1: left out).

    Args:
        data: The validation split, with votes.
    """
    majority = ferplus_majority(_votes_of(data)).astype(np.int64)
    return CropBatches(
        torch.from_numpy(data.crops), torch.from_numpy(data.label.astype(np.int64)), torch.from_numpy(majority)
    )


def _votes_of(data: CropDataset) -> NDArray[np.uint8]:
    if data.labels != FER7 or data.votes is None:
        raise InputError("the two-head networks need FER2013 labels and FER+ votes; pass votes_path to read_fer2013()")
    return data.votes


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy against soft targets; an all-zero row adds nothing.

    Args:
        logits: (N, C).
        targets: (N, C), rows sum to 1 or 0.
    """
    return -(targets * logits.float().log_softmax(dim=1)).sum(dim=1).mean()


class ExpressionModule(L.LightningModule):
    """The two-head network with its losses, optimizer and schedule."""

    def __init__(self, settings: TrainSettings, *, steps_per_epoch: int) -> None:
        """Build the network.

        Args:
            settings: The run's settings.
            steps_per_epoch: Optimizer steps per epoch, for the schedule.
        """
        super().__init__()
        self.settings = settings
        self.steps_per_epoch = steps_per_epoch
        self.net: MultiHeadNet = NETS[settings.net]().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.preprocess = Standardise(self.net.view_px)
        self.augment = Augment(settings.augment)

    def on_train_epoch_start(self) -> None:
        """Seed by epoch, so that a resumed run draws what an uninterrupted one would."""
        torch.manual_seed(epoch_seed(self.settings.seed, self.current_epoch))

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], _index: int) -> Tensor:
        """Return the loss of one batch."""
        s = self.settings
        crops, label, votes = batch
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            views = standardise(self.augment(crops))
            label = label * (1 - s.label_smoothing) + s.label_smoothing / label.shape[1]
            if s.augment.mixup > 0 and torch.rand(()).item() < s.augment.mixup_share:
                views, (label, votes) = mixup(views, (label, votes), s.augment.mixup)
        by_label, by_votes = self.net(views.contiguous(memory_format=torch.channels_last))
        loss = soft_cross_entropy(by_label, label) + s.ferplus_weight * soft_cross_entropy(by_votes, votes)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(crops))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], _index: int) -> None:
        """Log losses and accuracies of one batch."""
        crops, label, majority = batch
        by_label, by_votes = self.net(self.preprocess(crops))
        self._log_mean("val_loss", nn.functional.cross_entropy(by_label.float(), label, reduction="none"))
        self._log_mean("val_acc_fer2013", (by_label.argmax(dim=1) == label).float())
        counted = majority >= 0
        self._log_mean("val_acc_ferplus", (by_votes.argmax(dim=1) == majority)[counted].float())

    def _log_mean(self, name: str, values: Tensor) -> None:
        if len(values):
            self.log(name, values.mean(), batch_size=len(values), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Log the figure that chooses the checkpoint: the mean of the two accuracies."""
        metrics = self.trainer.callback_metrics
        score = (metrics["val_acc_fer2013"] + metrics["val_acc_ferplus"]) / 2
        self.log("val_score", score, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Return SGD with a warm-up and a cosine, stepped every batch."""
        s = self.settings
        matrices = [p for p in self.net.parameters() if p.ndim > 1]
        vectors = [p for p in self.net.parameters() if p.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": s.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        optimizer = torch.optim.SGD(groups, lr=s.lr, momentum=s.momentum, nesterov=True)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._lr_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the settings into the checkpoint."""
        checkpoint["mien"] = asdict(self.settings)

    def _lr_factor(self, step: int) -> float:
        warmup = self.settings.warmup_epochs * self.steps_per_epoch
        total = self.settings.epochs * self.steps_per_epoch
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1.0, total - warmup))))


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of one epoch of one run."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


class EpochSampler(RandomSampler):
    """Shuffles anew every epoch, from the run's seed and the epoch alone."""

    def __init__(self, data: CropBatches, *, seed: int) -> None:
        """Start at epoch 0.

        Args:
            data: What to draw from.
            seed: The run's seed.
        """
        super().__init__(data, generator=torch.Generator())
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Prepare the order of an epoch; called by Lightning."""
        self.generator.manual_seed(epoch_seed(self.seed, epoch))


class WarmedAverage(WeightAveraging):
    """Exponential moving average of weights and statistics whose horizon grows with the number of steps."""

    def __init__(self, decay: float) -> None:
        """Set the final decay.

        Args:
            decay: Share of the old average that each step keeps, once warm.
        """

        def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
            keep = min(decay, (1.0 + float(count)) / (10.0 + float(count)))
            return averaged.lerp(current.to(averaged.dtype), 1 - keep) if averaged.is_floating_point() else current

        super().__init__(avg_fn=average)


class _Report(L.Callback):
    def __init__(self, report: Callable[[EpochMetrics], None]) -> None:
        self.report = report

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        value = {name: float(v) for name, v in trainer.callback_metrics.items()}
        epoch = EpochMetrics(
            trainer.current_epoch + 1, trainer.max_epochs or 0, value["train_loss"], value["val_loss"],
            value["val_acc_fer2013"], value["val_acc_ferplus"],
        )  # fmt: skip
        self.report(epoch)


def best_precision(device: str) -> Any:
    """Return Lightning's name of the fastest precision that the hardware computes natively.

    Args:
        device: `"cpu"` or `"cuda"`.
    """
    if device == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return "bf16-mixed" if torch.cpu._is_avx512_bf16_supported() else "32-true"


def fit(
    training: CropDataset,
    validation: CropDataset,
    *,
    out: Path,
    settings: TrainSettings | None = None,
    resume: bool = False,
    threads: int | None = None,
    callbacks: Sequence[L.Callback] = (),
    report: Callable[[EpochMetrics], None] = lambda _: None,
) -> Path:
    """Train a two-head network and keep the checkpoint that is best on the validation split.

    Args:
        training: Crops with FER2013 labels and FER+ votes.
        validation: The same, used only to choose the checkpoint.
        out: Folder of the run: `best.ckpt`, `last.ckpt`, `metrics.csv`, TensorBoard events.
        settings: The run's settings.
        resume: Whether to go on from `last.ckpt` in `out`.
        threads: CPU threads; None leaves PyTorch's own choice.
        callbacks: More Lightning callbacks.
        report: Called after every epoch.

    Returns:
        Path of the best checkpoint.

    Raises:
        InputError: The data lack votes or labels, the net is unknown, or there is nothing to resume.
    """
    settings = settings or TrainSettings()
    if settings.net not in NETS:
        raise InputError(f"unknown net {settings.net!r}; known: {', '.join(NETS)}")
    last = out / "last.ckpt"
    if resume and not last.is_file():
        raise InputError(f"nothing to resume: {last} does not exist; start without --resume")
    if threads:
        torch.set_num_threads(threads)
    L.seed_everything(settings.seed, verbose=False)
    batches = training_batches(training)
    sampler = BatchSampler(EpochSampler(batches, seed=settings.seed), settings.batch_size, drop_last=True)
    if not len(sampler):
        raise InputError(f"{len(batches)} training crops do not fill one batch of {settings.batch_size}; lower it")
    held_out = validation_batches(validation)
    module = ExpressionModule(settings, steps_per_epoch=len(sampler))
    best = ModelCheckpoint(
        out, "best", monitor="val_score", mode="max", save_last=True, enable_version_counter=False,
        auto_insert_metric_name=False, save_on_train_epoch_end=True,
    )  # fmt: skip
    device = "cuda" if torch.cuda.is_available() else "cpu"
    trainer = L.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        precision=best_precision(device),
        max_epochs=settings.epochs,
        gradient_clip_val=settings.clip_norm,
        callbacks=[WarmedAverage(settings.ema_decay), _Report(report), *callbacks, best],
        logger=[CSVLogger(out, name="", version=""), TensorBoardLogger(out, name="", version="")],
        default_root_dir=out,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        log_every_n_steps=50,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")  # the data are in memory already
        warnings.filterwarnings("ignore", ".*exists and is not empty.*")
        trainer.fit(
            module,
            DataLoader(batches, sampler=sampler, batch_size=None),
            DataLoader(held_out, sampler=BatchSampler(SequentialSampler(held_out), 512, drop_last=False), batch_size=None),
            ckpt_path=last if resume else None,
        )
    return out / "best.ckpt"


def load_net(checkpoint: Path) -> MultiHeadNet:
    """Return the averaged network of a checkpoint, ready for inference.

    Args:
        checkpoint: A file written by `fit`.

    Raises:
        InputError: The file is missing or not a checkpoint of `fit`.
    """
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        net = NETS[state["mien"]["net"]]()
        net.load_state_dict({k.removeprefix("net."): v for k, v in state["state_dict"].items() if k.startswith("net.")})
    except Exception as error:
        raise InputError(f"{checkpoint} is not a checkpoint of `mien train` ({error}); give its best.ckpt") from error
    return net.eval()
