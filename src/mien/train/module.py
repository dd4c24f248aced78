"""The network with its losses, optimizer and schedule, as Lightning wants it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor, nn

from mien.errors import InputError
from mien.labels import LabelSet
from mien.train.augment import Augment, central_views, mix
from mien.train.checkpoints import head_names
from mien.train.losses import soft_cross_entropy
from mien.train.nets.blocks import ExpressionNet
from mien.train.nets.registry import create_net
from mien.train.settings import TrainSettings
from mien.train.targets import blend, epoch_seed, logits_of, mean_probabilities


def _channels_last(net: ExpressionNet) -> ExpressionNet:
    moved: ExpressionNet = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


class Means:
    """Means over an epoch, exact over batches of any size and over several processes."""

    def __init__(self) -> None:
        """Start without any value."""
        self.sums: dict[str, Tensor] = {}

    def add(self, name: str, values: Tensor) -> None:
        """Add values (N,) to a mean; N may be 0."""
        pair = torch.stack([values.detach().sum(dtype=torch.float64), values.new_tensor(len(values)).double()])
        self.sums[name] = self.sums[name] + pair if name in self.sums else pair

    def take(self, reduce: Any) -> dict[str, Tensor]:
        """Return the means and start anew.

        Args:
            reduce: Sums a tensor over the processes.
        """
        pairs = {name: reduce(pair) for name, pair in self.sums.items()}
        self.sums = {}
        return {name: (pair[0] / pair[1]).float() for name, pair in pairs.items()}


class ExpressionModule(L.LightningModule):
    """A network with one or two heads, its losses, optimizer and schedule."""

    def __init__(
        self,
        settings: TrainSettings,
        heads: tuple[LabelSet, ...],
        *,
        steps_per_epoch: int,
        weights: Sequence[Tensor] = (),
        shifts: Sequence[Tensor] = (),
        teachers: Sequence[ExpressionNet] = (),
        prepare: Callable[[ExpressionNet], object] = lambda _: None,
    ) -> None:
        """Build the network.

        Args:
            settings: The run's settings.
            heads: The label set of each head.
            steps_per_epoch: Optimizer steps per epoch, for the schedule.
            weights: (C,) class weights of each head's loss; empty weighs all alike.
            shifts: (C,) what is added to the logits of each head in its training loss; empty adds nothing.
            teachers: Trained networks with the same heads whose mean probabilities the student learns from.
            prepare: Called with the fresh network.
        """
        super().__init__()
        self.settings = settings
        self.heads = heads
        self.steps_per_epoch = steps_per_epoch
        self.net = _channels_last(create_net(settings.net, heads))
        prepare(self.net)
        self.augment = Augment(replace(settings.augment, view_px=self.net.view_px))
        self.share_of_loss = (1.0, settings.ferplus_weight)[: len(heads)]
        self._weights: list[Tensor | None] = list(weights) or [None for _ in heads]
        self._shifts = list(shifts) or [torch.zeros(len(labels)) for labels in heads]
        self._teachers = [_channels_last(teacher.eval()) for teacher in teachers]
        self._answers: dict[tuple[int, int], tuple[Tensor, ...]] = {}  # to a pool's views, by drawn epoch and step
        self._train_means, self._val_means = Means(), Means()
        self._plateau: torch.optim.lr_scheduler.ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] | None = None
        self._frozen: list[nn.Module] = []
        self.confidence: dict[str, tuple[float, float]] = {}  # of the weights it starts from, see `start_from`
        if settings.freeze_trunk:
            self._freeze_trunk()
        if settings.freeze_layers:
            self._freeze_layers(settings.freeze_layers)

    def _freeze_trunk(self) -> None:
        heads = head_names(self.net)
        if not heads:
            raise InputError(f"{self.settings.net!r} has no separate heads, so its trunk cannot be frozen; train all")
        self._frozen.append(self.net)
        for name, parameter in self.net.named_parameters():
            parameter.requires_grad = name in heads

    def _freeze_layers(self, count: int) -> None:
        trunk = getattr(self.net, "trunk", None)
        layers = list(trunk.children()) if isinstance(trunk, nn.Sequential) else []
        if count > len(layers):
            raise InputError(f"freeze_layers must be at most {len(layers)} for {self.settings.net!r}, got {count}")
        for layer in layers[:count]:
            self._frozen.append(layer.requires_grad_(False))

    def on_fit_start(self) -> None:
        """Move what is no part of the checkpoint to where the network is."""
        for teacher in self._teachers:
            teacher.to(self.device)
        self._shifts = [shift.to(self.device) for shift in self._shifts]
        self._weights = [None if w is None else w.to(self.device) for w in self._weights]

    def on_train_epoch_start(self) -> None:
        """Seed by epoch, so that a resumed run draws what an uninterrupted one would."""
        drawn = self.settings.drawn_epoch(self.current_epoch)
        torch.manual_seed(epoch_seed(self.settings.seed, drawn, self.global_rank))

    def on_train_start(self) -> None:
        """Keep the statistics of what is frozen; Lightning leaves the mode of each part as it is from here on."""
        for part in self._frozen:
            part.eval()

    def training_step(self, batch: tuple[Tensor, ...], _index: int) -> Tensor:
        """Return the loss of one batch."""
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            views, targets = mix(self.augment(batch[0]), batch[1:], self.settings.augment)
        if self._teachers:
            targets = self._with_teachers(views, targets)
        logits = logits_of(self.net, views)
        losses = self._losses(logits, targets)
        self._train_means.add("train_loss", losses)
        for head, z, target in zip(self.heads, logits, targets, strict=True):
            counted = target.sum(dim=1) > 0
            hits = (z.argmax(dim=1) == target.argmax(dim=1))[counted].float()
            self._train_means.add(f"train_acc_{head.key}", hits)
        return losses.mean()

    def _losses(self, logits: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        losses = [
            share * soft_cross_entropy(z + shift, target, weights=weights, focal_gamma=self.settings.focal_gamma)
            for share, z, shift, target, weights in zip(
                self.share_of_loss, logits, self._shifts, targets, self._weights, strict=True
            )
        ]
        return torch.stack(losses).sum(dim=0)

    def _with_teachers(self, views: Tensor, targets: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if not self.settings.view_pool:
            return blend(targets, self._taught(views), self.settings.teacher_weight)
        place = self.settings.drawn_epoch(self.current_epoch), self.global_step % self.steps_per_epoch
        if place not in self._answers:
            self._answers[place] = self._taught(views)
        return blend(targets, self._answers[place], self.settings.teacher_weight)

    @torch.no_grad()
    def _taught(self, views: Tensor) -> tuple[Tensor, ...]:
        answers = {teacher: logits_of(teacher, views) for teacher in dict.fromkeys(self._teachers)}
        return mean_probabilities(answers[teacher] for teacher in self._teachers)

    def validation_step(self, batch: tuple[Tensor, ...], _index: int) -> None:
        """Note losses and hits of one batch, on plain central views."""
        crops, truths = batch[0], batch[1:]
        logits = logits_of(self.net, central_views(crops, self.net.view_px))
        for head, z, truth, share in zip(self.heads, logits, truths, self.share_of_loss, strict=True):
            counted = truth >= 0
            z, truth = z.float()[counted], truth[counted]
            self._val_means.add(f"val_loss_{head.key}", share * nn.functional.cross_entropy(z, truth, reduction="none"))
            self._val_means.add(f"val_acc_{head.key}", (z.argmax(dim=1) == truth).float())

    def on_validation_epoch_end(self) -> None:
        """Log the epoch's figures; the mean of the heads' accuracies chooses the checkpoint."""
        values = {**self._train_means.take(self._sum_over_processes), **self._val_means.take(self._sum_over_processes)}
        values["val_loss"] = torch.stack([values.pop(f"val_loss_{head.key}") for head in self.heads]).sum()
        values["val_score"] = torch.stack([values[f"val_acc_{head.key}"] for head in self.heads]).mean()
        values["lr"] = torch.tensor(self.trainer.optimizers[0].param_groups[0]["lr"])
        if self._plateau is not None:
            self._plateau.step(values["val_loss"].item())
        for name, value in values.items():
            self.log(name, value.to(self.device), sync_dist=True)

    def _sum_over_processes(self, pair: Tensor) -> Tensor:
        summed: Tensor = self.trainer.strategy.reduce(pair, reduce_op="sum")
        return summed

    def configure_optimizers(self) -> Any:
        """Return the optimizer with its warm-up and schedule, stepped every batch."""
        optimizer = self._optimizer()
        if self.settings.schedule == "plateau":
            self._plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, factor=self.settings.plateau_factor, patience=self.settings.plateau_patience
            )
            if self._plateau_state is not None:
                self._plateau.load_state_dict(self._plateau_state)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self._warmup(optimizer), "interval": "step"}}
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._lr_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _optimizer(self) -> torch.optim.Optimizer:
        s = self.settings
        trained = [p for p in self.net.parameters() if p.requires_grad]
        matrices, vectors = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": s.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        if s.optimizer == "sgd":
            return torch.optim.SGD(groups, lr=s.lr, momentum=s.momentum, nesterov=s.momentum > 0)
        kind = torch.optim.Adam if s.optimizer == "adam" else torch.optim.AdamW
        return kind(groups, lr=s.lr)

    def _warmup(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """Return a warm-up that multiplies the rate and then leaves it to what lowers it on a plateau."""
        steps = round(self.settings.warmup_epochs * self.steps_per_epoch)
        return torch.optim.lr_scheduler.LinearLR(optimizer, 1 / (steps + 1), total_iters=steps)

    def _lr_factor(self, step: int) -> float:
        warmup = self.settings.warmup_epochs * self.steps_per_epoch
        total = self.settings.epochs * self.steps_per_epoch
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if self.settings.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1.0, total - warmup))))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the settings, the heads and what the running epoch has gathered into the checkpoint."""
        checkpoint["mien"] = asdict(self.settings)
        checkpoint["heads"] = {labels.key: list(labels.names) for labels in self.heads}
        checkpoint["confidence"] = {key: list(value) for key, value in self.confidence.items()}
        checkpoint["train_sums"] = dict(self._train_means.sums)
        if self._plateau is not None:
            checkpoint["plateau"] = self._plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up what the running epoch had gathered, and the plateau's count."""
        self._train_means.sums = {k: v.to(self.device) for k, v in checkpoint.get("train_sums", {}).items()}
        self.confidence = {key: (value[0], value[1]) for key, value in checkpoint.get("confidence", {}).items()}
        self._plateau_state = checkpoint.get("plateau")
