"""Training with Lightning: seeded, resumable at every epoch, best weights kept."""

import importlib.metadata
import json
import logging
import platform
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from mien._version import __version__
from mien.datasets.dataset import CropDataset
from mien.errors import InputError, OutputError
from mien.files import write_whole
from mien.labels import LabelSet
from mien.train._quiet import quiet
from mien.train.callbacks import (
    BEST,
    LAST,
    AtomicCheckpoints,
    BestAndLast,
    EpochLog,
    EpochMetrics,
    OrderlyStop,
    StepCounter,
    StoppedError,
    WarmedAverage,
)
from mien.train.checkpoints import load_net, load_settings, start_from
from mien.train.module import ExpressionModule
from mien.train.nets.blocks import ExpressionNet
from mien.train.nets.registry import check_net
from mien.train.settings import (
    Hardware,
    TrainSettings,
    settings_from_dict,
    settings_from_json,
    settings_to_json,
    with_settings,
)
from mien.train.targets import (
    CropBatches,
    EpochBatches,
    OrderedBatches,
    blend,
    class_weights,
    head_label_sets,
    plain_answers,
    training_batches,
    validation_batches,
)

__all__ = [
    "EpochMetrics",
    "Hardware",
    "TrainSettings",
    "best_precision",
    "fit",
    "load_net",
    "load_settings",
    "settings_from_dict",
    "settings_from_json",
    "with_settings",
]

SETTINGS, RUN = "settings.json", "run.json"
PACKAGES = ("torch", "lightning", "kornia", "numpy")
MAY_CHANGE = ("epochs", "patience")  # on resuming: a longer or shorter run is a wish, anything else a mistake


def best_precision(device: str) -> str:
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
    hardware: Hardware | None = None,
    resume: bool = False,
    overwrite: bool = False,
    teachers: Sequence[Path] = (),
    init: str | Path | None = None,
    prepare: Callable[[ExpressionNet], object] = lambda _: None,
    curves: bool = True,
    tensorboard: bool = True,
    callbacks: Sequence[L.Callback] = (),
    report: Callable[[EpochMetrics], None] = lambda _: None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Train a network and keep the checkpoint that is best on the validation split.

    The folder gets `best.ckpt`, `last.ckpt`, `metrics.csv`, `curves.png`, `settings.json` and `run.json` (data hashes,
    package versions, hardware), each written whole or not at all, and TensorBoard events. Ctrl-C (or SIGTERM) ends the
    run after the step in progress, and `resume` goes on from that step; after a crash it goes on from the last finished
    epoch. Either way it ends where an uninterrupted run would.

    Args:
        training: Crops with labels, FER+ votes or both.
        validation: The same, used to choose the checkpoint, to stop early and to lower the learning rate.
        out: Folder of the run.
        settings: The run's settings.
        hardware: Where and how to compute.
        resume: Whether to go on with the run in `out`.
        overwrite: Whether to start anew where `out` holds another run.
        teachers: Checkpoints of `fit` to distil from; their heads must be those of the run.
        init: What a new run starts its weights from: a checkpoint of `fit`, an ONNX file of `mien export`, or the name
            of a shipped model.
        prepare: Called with the fresh network, before anything is loaded into it: to fill in weights of another origin,
            and to freeze some (`requires_grad = False`).
        curves: Whether to draw `curves.png` after every epoch.
        tensorboard: Whether to write TensorBoard events.
        callbacks: More Lightning callbacks.
        report: Called after every epoch, when its checkpoint is written.
        progress: Called after every step with the number of steps done and the number there will be.

    Returns:
        Path of the best checkpoint.

    Raises:
        InputError: The data lack what the settings ask for, the net is unknown, the folder holds another run, or there
            is nothing to resume.
        KeyboardInterrupt: The run was asked to stop; everything is kept.
    """
    settings, hardware = settings or TrainSettings(), hardware or Hardware()
    check_net(settings.net)
    heads = head_label_sets(training, settings)
    _check_validation(head_label_sets(validation, settings), heads)
    batches, held_out = training_batches(training, settings), validation_batches(validation, settings)
    dealer = EpochBatches(len(batches), batch_size=settings.batch_size, seed=settings.seed, drawn=settings.drawn_epoch)
    _check_sizes(dealer, settings, hardware)
    taught_by = [_teacher(path, heads) for path in teachers]
    if settings.teacher_views == "plain" and taught_by:
        crops, *own = batches.tensors
        batches = CropBatches(crops, *blend(own, plain_answers(taught_by, crops), settings.teacher_weight))
        taught_by = []
    record = _record(training, validation, settings, hardware)
    last = _open_folder(out, settings, record, resume=resume, overwrite=overwrite)
    if last is not None and _has_stopped_early(last, settings):
        return out / BEST
    if hardware.threads:
        torch.set_num_threads(hardware.threads)
    torch.manual_seed(settings.seed)
    weights = [torch.from_numpy(class_weights(t.numpy(), settings.class_weights)) for t in batches.tensors[1:]]
    module = ExpressionModule(
        settings, heads, steps_per_epoch=len(dealer), weights=weights, teachers=taught_by, prepare=prepare
    )
    if init is not None and last is None:
        start_from(module.net, init, name=settings.net, crops=training.crops)
    stop = OrderlyStop(out, dealer)
    log = EpochLog(out, report, curves=curves)
    counter = [StepCounter(progress)] if progress else []
    around = [
        *_averaging(settings),
        stop,
        log,
        *counter,
        *callbacks,
        *_early_stop(settings),
        BestAndLast(out, log.announce),
    ]
    trainer = _trainer(out, settings, hardware, tensorboard=tensorboard, callbacks=around)
    with _quiet(), stop.listening():
        try:
            trainer.fit(
                module, _loader(batches, dealer), _loader(held_out, OrderedBatches(len(held_out))),
                ckpt_path=last, weights_only=True,
            )  # fmt: skip
        except (StoppedError, SystemExit) as end:  # Lightning turns a second Ctrl-C into SystemExit
            raise KeyboardInterrupt from end
    return out / BEST


def _averaging(settings: TrainSettings) -> list[L.Callback]:
    return [WarmedAverage(settings.ema_decay)] if settings.ema_decay else []


def _early_stop(settings: TrainSettings) -> list[L.Callback]:
    return [EarlyStopping("val_score", mode="max", patience=settings.patience)] if settings.patience else []


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


def _teacher(path: Path, heads: Sequence[LabelSet]) -> ExpressionNet:
    teacher = load_net(path)
    if [head.names for head in teacher.heads] != [head.names for head in heads]:
        raise InputError(f"teacher {path} has other heads than the run; give teachers of the same classes")
    return teacher


def _loader(batches: CropBatches, sampler: Any) -> DataLoader[Any]:
    # its own generator: the loader's draws must not shift those of the augmentation between a whole and a resumed run
    return DataLoader(batches, sampler=sampler, batch_size=None, generator=torch.Generator())


def _trainer(
    out: Path, settings: TrainSettings, hardware: Hardware, *, tensorboard: bool, callbacks: list[L.Callback]
) -> L.Trainer:
    device = _device(hardware)
    parallel = hardware.processes > 1
    with _quiet():
        return L.Trainer(
            accelerator="gpu" if device == "cuda" else "cpu",
            devices=hardware.devices,
            num_nodes=hardware.nodes,
            strategy="ddp" if parallel and hardware.strategy == "auto" else hardware.strategy,
            sync_batchnorm=parallel and device == "cuda",
            precision=best_precision(device) if hardware.precision == "auto" else hardware.precision,  # type: ignore[arg-type]
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


def _device(hardware: Hardware) -> str:
    if hardware.accelerator == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return hardware.accelerator


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence, within the block, what Lightning says about itself and known harmless warnings."""
    with quiet(("lightning", "lightning.pytorch", "lightning.fabric"), logging.WARNING):
        warnings.filterwarnings("ignore", ".*does not have many workers.*")  # the data are in memory already
        warnings.filterwarnings("ignore", ".*your dataloader is not resumable.*")  # OrderlyStop makes it so
        warnings.filterwarnings("ignore", ".*LeafSpec.*", category=FutureWarning)  # Lightning's own use of PyTorch
        warnings.filterwarnings("ignore", ".*exists and is not empty.*")
        yield


def _record(
    training: CropDataset, validation: CropDataset, settings: TrainSettings, hardware: Hardware
) -> dict[str, Any]:
    device = _device(hardware)
    precision = best_precision(device) if hardware.precision == "auto" else hardware.precision
    return {
        "mien": __version__,
        "net": settings.net,
        "seed": settings.seed,
        "data": {"training": _describe(training), "validation": _describe(validation)},
        "hardware": {**asdict(hardware), "device": device, "precision": precision, "machine": platform.machine()},
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
    }


def _describe(data: CropDataset) -> dict[str, Any]:
    counts = {name: int((data.label == number).sum()) for number, name in enumerate(data.labels.names)}
    return {
        "sha256": data.digest(), "crops": len(data), "splits": list(data.splits()), "labels": data.labels.key,
        "classes": counts, "votes": data.votes is not None,
    }  # fmt: skip


def _open_folder(
    out: Path, settings: TrainSettings, record: dict[str, Any], *, resume: bool, overwrite: bool
) -> Path | None:
    """Return the checkpoint to go on from, or None for a new run, whose settings and record are written."""
    last = out / LAST
    if resume:
        _check_resumable(out, settings, record)
        if last.is_file():
            return last
    elif (last.exists() or (out / BEST).exists()) and not overwrite and is_first_process():
        raise InputError(
            f"{out} holds a run already; go on with it (--resume), replace it (--overwrite) or choose another"
        )
    if is_first_process():
        _start_folder(out, settings, record)
    return None


def is_first_process() -> bool:
    """Return whether this process is the one of a run that writes and speaks; the others were started by Lightning."""
    return getattr(rank_zero_only, "rank", 0) == 0


def _start_folder(out: Path, settings: TrainSettings, record: dict[str, Any]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in (LAST, BEST):
            (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {out} ({error.strerror}); choose another folder with --out") from error
    write_whole(out / SETTINGS, settings_to_json(settings))
    write_whole(out / RUN, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def _check_resumable(out: Path, settings: TrainSettings, record: dict[str, Any]) -> None:
    if not (out / LAST).is_file() and not (out / SETTINGS).is_file():
        raise InputError(f"nothing to resume: {out} holds no run; start without --resume")
    if (out / LAST).is_file():
        begun = load_settings(out / LAST)
        same = replace(begun, **{name: getattr(settings, name) for name in MAY_CHANGE})
        if same != settings:
            ours, theirs = asdict(settings), asdict(begun)
            changed = [name for name in ours if ours[name] != theirs[name] and name not in MAY_CHANGE]
            raise InputError(f"{out} was begun with other settings ({', '.join(changed)}); resume it with its own")
    if (out / RUN).is_file():
        begun_with = json.loads((out / RUN).read_text(encoding="utf-8"))["data"]
        if begun_with != record["data"]:
            raise InputError(f"{out} was begun with other data; resume it with the same files, or start a new run")


def _has_stopped_early(last: Path, settings: TrainSettings) -> bool:
    states = torch.load(last, map_location="cpu", weights_only=True).get("callbacks", {})
    waited = [s.get("wait_count", 0) for name, s in states.items() if name.startswith("EarlyStopping")]
    return bool(settings.patience and waited and waited[0] >= settings.patience)
