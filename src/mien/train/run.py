"""A training run with Lightning: seeded, resumable at every epoch, best weights kept."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from mien.datasets.dataset import CropDataset
from mien.datasets.policy import FEW_VALIDATION_CROPS
from mien.errors import InputError
from mien.labels import LabelSet
from mien.models.catalogue import CATALOGUE
from mien.train._quiet import quiet
from mien.train.callbacks import (
    BEST,
    AtomicCheckpoints,
    BestAndLast,
    EpochLog,
    EpochMetrics,
    OrderlyStop,
    StepCounter,
    StoppedError,
    WarmedAverage,
)
from mien.train.checkpoints import load_net, net_from_onnx, start_from
from mien.train.folder import has_stopped_early, open_folder, run_record
from mien.train.hardware import Hardware, device_of, precision_of
from mien.train.module import ExpressionModule
from mien.train.nets.blocks import ExpressionNet
from mien.train.nets.registry import check_net
from mien.train.settings import TrainSettings
from mien.train.targets import (
    CropBatches,
    EpochBatches,
    OrderedBatches,
    blend,
    class_weights,
    head_label_sets,
    log_prior,
    plain_answers,
    training_batches,
    validation_batches,
)


@dataclass(frozen=True)
class Start:
    """What a new run starts from, beside its data.

    Attributes:
        init: Where its weights come from: a checkpoint of `fit`, an ONNX file of `mien export`, or the name of a
            shipped model; None starts from fresh ones.
        teachers: What to distil from: checkpoints of `fit`, names of shipped models; with the heads of the run.
        prepare: Called with the fresh network, before anything is loaded into it: to fill in weights of another origin,
            and to freeze some (`requires_grad = False`).
    """

    init: str | Path | None = None
    teachers: Sequence[str | Path] = ()
    prepare: Callable[[ExpressionNet], object] = lambda _: None


@dataclass(frozen=True)
class RunSettings:
    """How a run treats its folder, and what it writes there beside the checkpoints.

    Attributes:
        resume: Whether to go on with the run in the folder.
        overwrite: Whether to start anew where the folder holds another run.
        curves: Whether to draw `curves.png` after every epoch.
        tensorboard: Whether to write TensorBoard events.
    """

    resume: bool = False
    overwrite: bool = False
    curves: bool = True
    tensorboard: bool = True


def fit(
    training: CropDataset,
    validation: CropDataset,
    *,
    unlabelled: CropDataset | None = None,
    out: Path,
    settings: TrainSettings | None = None,
    hardware: Hardware | None = None,
    start: Start | None = None,
    run: RunSettings | None = None,
    callbacks: Sequence[L.Callback] = (),
    report: Callable[[EpochMetrics], None] = lambda _: None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Train a network and keep the checkpoint that is best on the validation split.

    Best is the most accurate epoch, and of equally accurate ones that of the lowest loss; with fewer than 100 crops to
    validate on, that of the lowest loss.

    The folder gets `best.ckpt`, `last.ckpt`, `metrics.csv`, `curves.png`, `settings.json` and `run.json` (data hashes,
    package versions, hardware), each written whole or not at all, and TensorBoard events. Ctrl-C (or SIGTERM) ends the
    run after the step in progress, and `RunSettings(resume=True)` goes on from that step; after a crash it goes on from
    the last finished epoch. Either way it ends where an uninterrupted run would.

        splits = splits_for_training(read_dataset("my-faces").data)
        best = fit(splits.training, splits.validation, out=Path("run"), settings=TrainSettings(net="mien-s"))

    Args:
        training: Crops with labels, FER+ votes or both.
        validation: The same, used to choose the checkpoint, to stop early and to lower the learning rate.
        unlabelled: More crops to train on, of which only the teachers' answers are learned; their labels do not count.
        out: Folder of the run.
        settings: What decides how the run goes.
        hardware: Where and how to compute.
        start: What a new run starts from.
        run: How the folder is treated.
        callbacks: More Lightning callbacks.
        report: Called after every epoch, when its checkpoint is written.
        progress: Called after every step with the number of steps done and the number there will be.

    Returns:
        Path of the best checkpoint.

    Raises:
        InputError: The data lack what the settings ask for, the net is unknown, crops without labels have no teacher,
            the folder holds another run, or there is nothing to resume.
        KeyboardInterrupt: The run was asked to stop; everything is kept.
    """
    settings, hardware = settings or TrainSettings(), hardware or Hardware()
    start, run = start or Start(), run or RunSettings()
    if unlabelled is not None and not (start.teachers and settings.teacher_weight):
        raise InputError("crops without labels are learned from teachers; give some (--teacher best.ckpt)")
    data = _read_batches(training, validation, unlabelled, settings, hardware)
    loaded = {source: _teacher(source, data.heads, training.crops) for source in dict.fromkeys(start.teachers)}
    teachers = [loaded[source] for source in start.teachers]
    record = run_record(training, validation, settings, hardware, unlabelled=unlabelled)
    last = open_folder(out, settings, record, resume=run.resume, overwrite=run.overwrite)
    if last is not None and has_stopped_early(last, settings):
        return out / BEST
    if hardware.threads:
        torch.set_num_threads(hardware.threads)
    module = _module(data, settings, hardware, teachers, start.prepare)
    if start.init is not None and last is None:
        module.confidence = start_from(module.net, start.init, name=settings.net, crops=training.crops)
    stop, log = OrderlyStop(out, data.dealer), EpochLog(out, report, curves=run.curves)
    counter = [StepCounter(progress)] if progress else []
    around = [
        *_averaging(settings), stop, log, *counter, *callbacks, *_early_stop(settings, data),
        BestAndLast(out, log.announce, validation_crops=len(data.validation)),
    ]  # fmt: skip
    trainer = _trainer(out, settings, hardware, tensorboard=run.tensorboard, callbacks=around)
    with _quiet(), stop.listening():
        try:
            trainer.fit(module, *data.loaders(), ckpt_path=last, weights_only=True)
        except (StoppedError, SystemExit) as end:  # Lightning turns a second Ctrl-C into SystemExit
            raise KeyboardInterrupt from end
    return out / BEST


@dataclass
class _Batches:
    """The crops of a run as Lightning takes them."""

    heads: tuple[LabelSet, ...]
    training: CropBatches
    validation: CropBatches
    dealer: EpochBatches

    def loaders(self) -> tuple[DataLoader[Any], DataLoader[Any]]:
        """Return what deals the training and the validation batches."""
        return _loader(self.training, self.dealer), _loader(self.validation, OrderedBatches(len(self.validation)))


def _loader(batches: CropBatches, sampler: Any) -> DataLoader[Any]:
    # its own generator: the loader's draws must not shift those of the augmentation between a whole and a resumed run
    return DataLoader(batches, sampler=sampler, batch_size=None, generator=torch.Generator())


def _read_batches(
    training: CropDataset,
    validation: CropDataset,
    unlabelled: CropDataset | None,
    settings: TrainSettings,
    hardware: Hardware,
) -> _Batches:
    check_net(settings.net)
    heads = head_label_sets(training, settings)
    _check_validation(head_label_sets(validation, settings), heads)
    batches, held_out = training_batches(training, settings, unlabelled), validation_batches(validation, settings)
    dealer = EpochBatches(len(batches), batch_size=settings.batch_size, seed=settings.seed, drawn=settings.drawn_epoch)
    _check_sizes(dealer, settings, hardware)
    return _Batches(heads, batches, held_out, dealer)


def _check_validation(found: Sequence[LabelSet], heads: Sequence[LabelSet]) -> None:
    if found != heads:
        names = ["; ".join(f"{h.key}: {', '.join(h.names)}" for h in some) for some in (heads, found)]
        raise InputError(f"training has the classes {names[0]}, validation {names[1]}; read both in the same way")


def _check_sizes(dealer: EpochBatches, settings: TrainSettings, hardware: Hardware) -> None:
    if not len(dealer):
        raise InputError(
            f"{dealer.size} training crops do not fill one batch of {settings.batch_size}; lower it with --batch-size"
        )
    if settings.batch_size % hardware.processes:
        raise InputError(
            f"batch_size {settings.batch_size} must be a multiple of the {hardware.processes} processes; change one"
        )


def _teacher(source: str | Path, heads: Sequence[LabelSet], crops: NDArray[np.uint8]) -> ExpressionNet:
    shipped = CATALOGUE.get(str(source))
    teacher = net_from_onnx(shipped.path, name=shipped.net, crops=crops) if shipped else load_net(Path(source))
    if [head.names for head in teacher.heads] != [head.names for head in heads]:
        raise InputError(f"teacher {source} has other heads than the run; give teachers of the same classes")
    return teacher


def _module(
    data: _Batches,
    settings: TrainSettings,
    hardware: Hardware,
    teachers: list[ExpressionNet],
    prepare: Callable[[ExpressionNet], object],
) -> ExpressionModule:
    """Build the network to train; teachers of plain views answer here, once, and others during the run."""
    if settings.teacher_views == "plain" and teachers:
        crops, *own = data.training.tensors
        answers = plain_answers(teachers, crops, device=device_of(hardware), precision=precision_of(hardware))
        data.training = CropBatches(crops, *blend(own, answers, settings.teacher_weight))
        teachers = []
    torch.manual_seed(settings.seed)
    targets = [t.numpy() for t in data.training.tensors[1:]]
    weights = [torch.from_numpy(class_weights(t, settings.class_weights)) for t in targets]
    shifts = [torch.from_numpy(settings.logit_adjustment * log_prior(t)) for t in targets]
    return ExpressionModule(
        settings, data.heads, steps_per_epoch=len(data.dealer), weights=weights, shifts=shifts, teachers=teachers,
        prepare=prepare,
    )  # fmt: skip


def _averaging(settings: TrainSettings) -> list[L.Callback]:
    return [WarmedAverage(settings.ema_decay)] if settings.ema_decay else []


def _early_stop(settings: TrainSettings, data: _Batches) -> list[L.Callback]:
    if not settings.patience:
        return []
    by_loss = len(data.validation) < FEW_VALIDATION_CROPS
    watched, mode = ("val_loss", "min") if by_loss else ("val_score", "max")
    return [EarlyStopping(watched, mode=mode, patience=settings.patience)]


def _trainer(
    out: Path, settings: TrainSettings, hardware: Hardware, *, tensorboard: bool, callbacks: list[L.Callback]
) -> L.Trainer:
    device = device_of(hardware)
    parallel = hardware.processes > 1
    with _quiet():
        return L.Trainer(
            accelerator="gpu" if device == "cuda" else "cpu",
            devices=hardware.devices,
            num_nodes=hardware.nodes,
            strategy="ddp" if parallel and hardware.strategy == "auto" else hardware.strategy,
            sync_batchnorm=parallel and device == "cuda",
            precision=precision_of(hardware),  # type: ignore[arg-type]
            max_epochs=settings.epochs,
            gradient_clip_val=settings.clip_norm or None,
            callbacks=callbacks,
            plugins=[AtomicCheckpoints()],
            logger=TensorBoardLogger(out, name="", version="") if tensorboard else False,
            default_root_dir=out,
            enable_checkpointing=True,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            log_every_n_steps=1,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence, within the block, what Lightning says about itself and known harmless warnings."""
    with quiet(("lightning", "lightning.pytorch", "lightning.fabric"), logging.WARNING):
        warnings.filterwarnings("ignore", ".*does not have many workers.*")  # the data are in memory already
        warnings.filterwarnings("ignore", ".*your dataloader is not resumable.*")  # OrderlyStop makes it so
        warnings.filterwarnings("ignore", ".*LeafSpec.*", category=FutureWarning)  # Lightning's own use of PyTorch
        warnings.filterwarnings("ignore", ".*exists and is not empty.*")
        yield
