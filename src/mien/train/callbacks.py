"""What happens around the steps of a run: averaging, the log, checkpoints, and an orderly stop."""

import csv
import io
import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint, WeightAveraging
from torch import Tensor

from mien.datasets.policy import FEW_VALIDATION_CROPS
from mien.errors import MissingExtraError
from mien.files import write_whole
from mien.train.targets import EpochBatches, process_place

logger = logging.getLogger(__name__)

BEST, LAST, METRICS, CURVES = "best.ckpt", "last.ckpt", "metrics.csv", "curves.png"


class StoppedError(Exception):
    """The run was asked to stop and has kept everything."""


@dataclass(frozen=True)
class EpochMetrics:
    """What one epoch gave; accuracies in 0-1, on the validation split from the averaged weights.

    Attributes:
        epoch: Number of the epoch, from 1.
        epochs: How many there will be.
        lr: Learning rate at its end.
        train_loss: Mean loss on the augmented, mixed training crops.
        train_accuracy: By head, on the same; where targets are soft or mixed, their largest class counts as right.
        val_loss: Mean loss on the validation split, heads weighted as in training.
        val_accuracy: By head.
        score: Mean of the heads' validation accuracies.
        is_best: Whether this is the best epoch so far: by score, and of equal scores by validation loss; by validation
            loss alone where fewer than `FEW_VALIDATION_CROPS` validate.
    """

    epoch: int
    epochs: int
    lr: float
    train_loss: float
    train_accuracy: dict[str, float]
    val_loss: float
    val_accuracy: dict[str, float]
    score: float
    is_best: bool = False


def warmed_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Return the rule of a moving average whose horizon grows with the number of steps.

    Args:
        decay: Share of the old average that each step keeps, once warm.
    """

    def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        keep = min(decay, (1.0 + float(count)) / (10.0 + float(count)))
        return averaged.lerp(current.to(averaged.dtype), 1 - keep) if averaged.is_floating_point() else current

    return average


class WarmedAverage(WeightAveraging):
    """Exponential moving average of weights and statistics whose horizon grows with the number of steps."""

    def __init__(self, decay: float) -> None:
        """Set the final decay.

        Args:
            decay: Share of the old average that each step keeps, once warm.
        """
        super().__init__(avg_fn=warmed_average(decay))


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes checkpoints beside their place and moves them there: a kill while writing leaves the old one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint whole or not at all."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_whole(path, buffer.getvalue())


class EpochLog(L.Callback):
    """Keeps one row of figures per epoch: `metrics.csv`, `curves.png`, and a report to whoever watches.

    The rows are part of the checkpoint, so a resumed run rewrites the file without the epochs it repeats.
    """

    def __init__(self, out: Path, report: Callable[[EpochMetrics], None], *, curves: bool) -> None:
        """Start without rows.

        Args:
            out: Folder of the run.
            report: Called by `announce`.
            curves: Whether to draw the curves.
        """
        self.out = out
        self.report = report
        self.curves = curves
        self.rows: list[dict[str, float]] = []
        self._started = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Return the rows."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the rows."""
        self.rows = list(state_dict["rows"])

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look at the clock."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add a row and write the files."""
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        spent = time.monotonic() - self._started
        row = {"epoch": trainer.current_epoch, "step": trainer.global_step, **values, "seconds": round(spent, 3)}
        self.rows.append(row)
        if trainer.is_global_zero:
            self._write()

    def announce(self, trainer: L.Trainer, is_best: bool) -> None:
        """Report the epoch just finished, and whether it is the best so far."""
        if trainer.is_global_zero:
            self.report(replace(_metrics_of(self.rows[-1], trainer.max_epochs or 0), is_best=is_best))

    def _write(self) -> None:
        text = io.StringIO()
        table = csv.DictWriter(text, list(self.rows[-1]), extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows)
        write_whole(self.out / METRICS, text.getvalue())
        if self.curves:
            self._draw()

    def _draw(self) -> None:
        try:
            from mien.output.plots import save_figure, training_curves

            save_figure(training_curves(self.rows), self.out / CURVES, dpi=110)
        except MissingExtraError as error:
            self.curves = False
            logger.warning("no %s: %s", CURVES, error)


def _metrics_of(row: dict[str, float], epochs: int) -> EpochMetrics:
    def accuracies(prefix: str) -> dict[str, float]:
        return {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)}

    return EpochMetrics(
        int(row["epoch"]) + 1, epochs, row["lr"], row["train_loss"], accuracies("train_acc_"),
        row["val_loss"], accuracies("val_acc_"), row["val_score"],
    )  # fmt: skip


class BestAndLast(Checkpoint):
    """Keeps the checkpoint that is best on the validation split, and the last one to go on from.

    Lightning's own class forgets the best score when the run's folder was moved in between.
    """

    def __init__(self, out: Path, saved: Callable[[L.Trainer, bool], None], *, validation_crops: int) -> None:
        """Start without a best one.

        Args:
            out: Folder of the run.
            saved: Called when an epoch is safe, with whether it is the best so far.
            validation_crops: How many crops validate; `rank` says what follows from few of them.
        """
        self.out = out
        self.saved = saved
        self.by_loss = validation_crops < FEW_VALIDATION_CROPS
        self.best: tuple[float, float] | None = None

    def rank(self, score: float, loss: float) -> tuple[float, float]:
        """Return what orders epochs, the larger the better: accuracy, and of equal ones the loss.

        Where few crops validate many epochs have one accuracy, the first of them often that of the weights the run
        started from; there the loss decides alone.

        Args:
            score: Mean validation accuracy of the heads.
            loss: Validation loss; one that is no number is worse than any.
        """
        gain = -loss if math.isfinite(loss) else -math.inf
        return (gain, score) if self.by_loss else (score, gain)

    def state_dict(self) -> dict[str, Any]:
        """Return the rank of the best epoch so far."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the rank of the best epoch so far; checkpoints of older versions know its score alone."""
        best = state_dict["best"]
        if isinstance(best, float):
            self.best = None if self.by_loss or best < 0 else (best, -math.inf)
        else:
            self.best = None if best is None else (best[0], best[1])

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save; the best first, so that a kill in between repeats the epoch and saves it again."""
        figures = trainer.callback_metrics
        rank = self.rank(float(figures["val_score"]), float(figures["val_loss"]))
        is_best = self.best is None or rank > self.best
        if is_best:
            self.best = rank
            trainer.save_checkpoint(self.out / BEST)
        trainer.save_checkpoint(self.out / LAST)
        self.saved(trainer, is_best)


class OrderlyStop(L.Callback):
    """Ends a run after the step in progress when asked to, with a checkpoint that goes on from that very step."""

    def __init__(self, out: Path, batches: EpochBatches) -> None:
        """Remember where to save and what deals the batches.

        Args:
            out: Folder of the run.
            batches: The training batches; a resumed run skips those it has seen.
        """
        self.out = out
        self.batches = batches
        self.asked = False
        self._seen = 0
        self._generators: list[Tensor] = []

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take Ctrl-C as a request to stop, within the block; a second one stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def state_dict(self) -> dict[str, Any]:
        """Return how many batches of the running epoch are done, and the generators' states; at its end, nothing."""
        return {"seen": self._seen, "generators": self._generators}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Skip the batches that were seen."""
        self._generators = state_dict["generators"]
        self.batches.skip(state_dict["seen"])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw on from where the stopped run was."""
        rank, _ = process_place()
        if rank < len(self._generators):
            _set_generators(self._generators[rank])
        self._generators = []

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop between two epochs, where the last one is saved already."""
        if self._wanted(trainer):
            raise StoppedError

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and stop; after the last batch the end of the epoch does it."""
        if batch_idx + 1 < len(self.batches) and self._wanted(trainer):
            self._seen, self._generators = batch_idx + 1, _gathered(_generators())
            trainer.save_checkpoint(self.out / LAST)
            raise StoppedError

    def _wanted(self, trainer: L.Trainer) -> bool:
        wanted = self.asked or trainer.received_sigterm
        return trainer.strategy.reduce_boolean_decision(wanted, all=False) if trainer.world_size > 1 else wanted


def _generators() -> Tensor:
    """Return the states of PyTorch's generators as one (B,) uint8: the CPU's, then the GPU's."""
    states = [torch.get_rng_state()]
    if torch.cuda.is_available():
        states.append(torch.cuda.get_rng_state().cpu())
    return torch.cat(states)


def _set_generators(state: Tensor) -> None:
    size = len(torch.get_rng_state())
    torch.set_rng_state(state[:size].cpu())
    if torch.cuda.is_available() and len(state) > size:
        torch.cuda.set_rng_state(state[size:].cpu())


def _gathered(state: Tensor) -> list[Tensor]:
    _, processes = process_place()
    if processes == 1:
        return [state]
    states: list[Any] = [None] * processes
    torch.distributed.all_gather_object(states, state)
    return states


class StepCounter(L.Callback):
    """Tells whoever watches how many steps are done."""

    def __init__(self, progress: Callable[[int, int], None]) -> None:
        """Remember whom to tell.

        Args:
            progress: Called with the number of steps done and the number there will be.
        """
        self.progress = progress

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell."""
        if trainer.is_global_zero:
            self.progress(trainer.global_step, int(trainer.estimated_stepping_batches))
