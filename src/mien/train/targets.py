"""What the heads learn: labels or votes, all classes or some, merged or not; and the batches of it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from mien.datasets.dataset import CropDataset
from mien.datasets.votes import ferplus_distribution, ferplus_majority, is_face
from mien.errors import InputError, listed, shown
from mien.faces import Floats
from mien.labels import FERPLUS8, LabelSet, canonical_name
from mien.train.augment import central_views
from mien.train.nets.blocks import ExpressionNet
from mien.train.settings import TrainSettings

LABELS, VOTES = "labels", "votes"


@dataclass(frozen=True)
class HeadTargets:
    """What one head learns from a data set.

    Attributes:
        labels: The classes of the head.
        soft: (N, C) float32, the target of each crop; a row sums to 1, or to 0 where the head has none.
        truth: (N,) int64, the class that counts as right, or -1.
    """

    labels: LabelSet
    soft: Floats
    truth: NDArray[np.int64]


def head_targets(data: CropDataset, settings: TrainSettings) -> tuple[HeadTargets, ...]:
    """Return the targets of each head, in the order of the heads.

    Args:
        data: Crops with labels, votes or both.
        settings: Decides which of them, and which classes.

    Raises:
        InputError: The data lack what is asked for, or there is no such class.
    """
    sources = _sources(data, settings)
    known = {name for source in sources for name in _names_of(source, data)}
    _check_classes(settings, known)
    made = {LABELS: _from_labels, VOTES: _from_votes}
    return tuple(made[source](data, settings) for source in sources)


def head_label_sets(data: CropDataset, settings: TrainSettings) -> tuple[LabelSet, ...]:
    """Return the label set of each head that `head_targets` would give."""
    return tuple(head.labels for head in head_targets(data.where(np.zeros(len(data), bool)), settings))


def _sources(data: CropDataset, settings: TrainSettings) -> tuple[str, ...]:
    wanted = settings.targets
    if wanted in ("both", VOTES) and data.votes is None:
        raise InputError(
            f"targets {shown(wanted)} need FER+ votes, the data have none; pass --votes, or targets 'labels'"
        )
    if wanted == "auto":
        return (LABELS, VOTES) if data.votes is not None else (LABELS,)
    return (LABELS, VOTES) if wanted == "both" else (wanted,)


def _names_of(source: str, data: CropDataset) -> tuple[str, ...]:
    return data.labels.names if source == LABELS else FERPLUS8.names


def _check_classes(settings: TrainSettings, known: set[str]) -> None:
    merges = dict(_canonical_merges(settings))
    result = {merges.get(name, name) for name in known}
    for name in merges:
        if name not in known:
            raise InputError(f"cannot merge {shown(name)}: the data have {listed(sorted(known))}")
    for name in map(canonical_name, settings.classes):
        if name not in result:
            raise InputError(f"cannot keep class {shown(name)}: there are {listed(sorted(result))}")


def _canonical_merges(settings: TrainSettings) -> list[tuple[str, str]]:
    return [(canonical_name(one), canonical_name(other)) for one, other in settings.merge]


def pick_classes(labels: LabelSet, settings: TrainSettings) -> tuple[LabelSet, NDArray[np.int64]]:
    """Apply merges, then the choice of classes, to a label set.

    Args:
        labels: The classes of the data.
        settings: `merge` and `classes`; names that this set lacks are passed over.

    Returns:
        The classes that remain, and for each old class its new number, or -1 where it is left out.

    Raises:
        InputError: Fewer than two classes remain.
    """
    merges = dict(_canonical_merges(settings))
    renamed = [merges.get(name, name) for name in labels.names]
    kept = list(dict.fromkeys(renamed))
    if settings.classes:
        kept = [name for name in map(canonical_name, settings.classes) if name in kept]
    if len(kept) < 2:
        raise InputError(f"{len(kept)} class(es) of {labels.key!r} remain, two are needed; keep more with --classes")
    numbers = np.array([kept.index(name) if name in kept else -1 for name in renamed], dtype=np.int64)
    if tuple(kept) == labels.names:
        return labels, numbers
    return LabelSet(f"{labels.key}-{len(kept)}", tuple(kept)), numbers


def _renumbered(label: NDArray[np.int8], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(label >= 0, numbers[np.maximum(label, 0)], -1)


def _one_hot(truth: NDArray[np.int64], classes: int, smoothing: float) -> Floats:
    hot = np.zeros((len(truth), classes), np.float32)
    known = truth >= 0
    hot[known, truth[known]] = 1 - smoothing
    hot[known] += smoothing / classes
    return hot


def _from_labels(data: CropDataset, settings: TrainSettings) -> HeadTargets:
    labels, numbers = pick_classes(data.labels, settings)
    truth = _renumbered(data.label, numbers)
    return HeadTargets(labels, _one_hot(truth, len(labels), settings.label_smoothing), truth)


def _from_votes(data: CropDataset, settings: TrainSettings) -> HeadTargets:
    if data.votes is None:
        raise InputError("the data have no FER+ votes; give their file (--votes fer2013new.csv; in Python votes_path)")
    labels, numbers = pick_classes(FERPLUS8, settings)
    truth = _renumbered(ferplus_majority(data.votes), numbers)
    if not settings.soft_votes:
        return HeadTargets(labels, _one_hot(truth, len(labels), settings.label_smoothing), truth)
    return HeadTargets(labels, _carried_over(ferplus_distribution(data.votes), numbers, len(labels)), truth)


def _carried_over(soft: Floats, numbers: NDArray[np.int64], classes: int) -> Floats:
    """Sum the columns that became one class, leave others out, and make the rows sum to 1 again."""
    carried = np.zeros((len(soft), classes), np.float32)
    for column, number in enumerate(numbers):
        if number >= 0:
            carried[:, number] += soft[:, column]
    mass = carried.sum(axis=1, keepdims=True)
    np.divide(carried, mass, out=carried, where=mass > 0)
    return carried


def training_crops(data: CropDataset, settings: TrainSettings) -> CropDataset:
    """Return the crops a net is trained on: a face by the votes, where votes count, and a target for some head.

    Args:
        data: The training split.
        settings: The run's settings.

    Raises:
        InputError: No crop remains.
    """
    targets = head_targets(data, settings)
    kept = np.any([head.soft.sum(axis=1) > 0 for head in targets], axis=0)
    if VOTES in _sources(data, settings) and data.votes is not None:
        kept &= is_face(data.votes)
    if not kept.any():
        raise InputError(f"none of the {len(data):,} training crops has a label of {targets[0].labels.names}")
    return data.where(kept)


def class_weights(soft: Floats, kind: str) -> Floats:
    """Return the weight of each class in the loss; over the data they average 1.

    Args:
        soft: (N, C) float32 targets.
        kind: `"none"`, `"balanced"` (inverse frequency) or `"sqrt"` (its square root).

    Returns:
        (C,) float32; a class without a crop gets 1.
    """
    mass = soft.sum(axis=0, dtype=np.float64)
    power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[kind]
    raw = np.where(mass > 0, np.maximum(mass, 1e-12) ** -power, 0.0)
    weights = raw * mass.sum() / max(float((raw * mass).sum()), 1e-12)
    return np.where(mass > 0, weights, 1.0).astype(np.float32)


def log_prior(soft: Floats) -> Floats:
    """Return the log share of each class in the targets, (C,) float32; 0 for a class without a crop.

    Args:
        soft: (N, C) float32 targets.
    """
    mass = soft.sum(axis=0, dtype=np.float64)
    share = mass / max(float(mass.sum()), 1e-12)
    return np.log(np.where(share > 0, share, 1.0)).astype(np.float32)


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


def training_batches(data: CropDataset, settings: TrainSettings, unlabelled: CropDataset | None = None) -> CropBatches:
    """Return crops and the soft targets of each head.

    Args:
        data: The training split; what no head can learn from is left out.
        settings: The run's settings.
        unlabelled: More crops, whose targets are rows of zeros.
    """
    kept = training_crops(data, settings)
    crops, soft = kept.crops, [head.soft for head in head_targets(kept, settings)]
    if unlabelled is not None:
        crops = np.concatenate([crops, unlabelled.crops])
        soft = [np.pad(rows, ((0, len(unlabelled)), (0, 0))) for rows in soft]
    return CropBatches(torch.from_numpy(crops), *(torch.from_numpy(rows) for rows in soft))


def blend(own: Sequence[Tensor], taught: Sequence[Tensor], share: float) -> tuple[Tensor, ...]:
    """Return a share of the teachers' probabilities and the rest of the crops' own targets.

    A crop without a target of its own counts for the teachers' share.

    Args:
        own: (N, C) targets of each head.
        taught: (N, C) probabilities of the same classes.
        share: The teachers' share, 0 to 1.
    """
    return tuple((1 - share) * mine + share * other for mine, other in zip(own, taught, strict=True))


@torch.no_grad()
def plain_answers(
    teachers: Sequence[ExpressionNet], crops: Tensor, *, device: str = "cpu", precision: str = "32-true"
) -> tuple[Tensor, ...]:
    """Return the teachers' mean probabilities for plain crops and their mirror images.

    Args:
        teachers: Trained networks with the same heads, in evaluation mode; they are moved to the device. One that is
            given twice answers once and counts twice.
        crops: (N, H, W) uint8.
        device: Where they answer, `"cpu"` or `"cuda"`.
        precision: Lightning's name of what they compute in, as `precision_of` gives it.

    Returns:
        (N, C) float32 on the CPU for each head.
    """
    half = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
    for teacher in teachers:
        teacher.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    parts: list[tuple[Tensor, ...]] = []
    with torch.autocast(device, half, enabled=half is not None):
        for start in range(0, len(crops), 512):
            part = crops[start : start + 512].to(device)
            answers = {
                net: [logits_of(net, central_views(side, net.view_px)) for side in (part, part.flip(2))]
                for net in dict.fromkeys(teachers)
            }
            parts.append(mean_probabilities(logits for net in teachers for logits in answers[net]))
    return tuple(torch.cat(head).cpu() for head in zip(*parts, strict=True))


def mean_probabilities(answers: Iterable[Sequence[Tensor]]) -> tuple[Tensor, ...]:
    """Return the mean of several answers' probabilities.

    Args:
        answers: For each answer, (N, C) logits of each head.

    Returns:
        (N, C) float32 for each head.
    """
    probs = [[z.float().softmax(dim=1) for z in logits] for logits in answers]
    return tuple(torch.stack(head).mean(dim=0) for head in zip(*probs, strict=True))


def logits_of(net: ExpressionNet, views: Tensor) -> tuple[Tensor, ...]:
    """Return the logits of each head; under autocast the views are normalised in single precision all the same.

    Args:
        net: The network.
        views: (N, view_px, view_px), on its device.
    """
    with torch.autocast(views.device.type, enabled=False):
        prepared = net.normalise(views).contiguous(memory_format=torch.channels_last)
    logits: tuple[Tensor, ...] = net(prepared)
    return logits


def validation_batches(data: CropDataset, settings: TrainSettings) -> CropBatches:
    """Return crops and the true class of each head (-1: does not count).

    Args:
        data: The validation split.
        settings: The run's settings.

    Raises:
        InputError: No crop has a true class for some head.
    """
    targets = head_targets(data, settings)
    for head in targets:
        if not (head.truth >= 0).any():
            raise InputError(f"no validation crop has a label of {head.labels.key!r}; choose another split")
    return CropBatches(torch.from_numpy(data.crops), *(torch.from_numpy(head.truth) for head in targets))


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """Return the seed of one epoch of one run in one process."""
    return int(np.random.SeedSequence([seed, epoch, *([rank] if rank else [])]).generate_state(1)[0])


def process_place() -> tuple[int, int]:
    """Return this process's number among those that train together, and how many there are."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


class EpochBatches(Sampler[list[int]]):
    """Batches shuffled anew every epoch, from the run's seed and the epoch alone; each process takes its share.

    All processes together see the batches that one process would.
    """

    def __init__(
        self, size: int, *, batch_size: int, seed: int, drawn: Callable[[int], int] = lambda epoch: epoch
    ) -> None:
        """Start at the first batch of epoch 0.

        Args:
            size: Number of crops.
            batch_size: Crops per batch, over all processes together; an incomplete last batch is left out.
            seed: The run's seed.
            drawn: The epoch whose order an epoch takes (`TrainSettings.drawn_epoch`).
        """
        self.size = size
        self.batch_size = batch_size
        self.seed = seed
        self.drawn = drawn
        self.epoch = 0
        self.first = 0

    def set_epoch(self, epoch: int) -> None:
        """Prepare the order of an epoch; called by Lightning."""
        self.epoch = epoch

    def skip(self, batches: int) -> None:
        """Leave out the first batches of the next epoch drawn: a stopped run has seen them."""
        self.first = batches

    def __len__(self) -> int:
        """Return the number of batches."""
        return self.size // self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        """Yield this process's part of each batch."""
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, self.drawn(self.epoch)))
        order = torch.randperm(self.size, generator=generator).tolist()
        first, self.first = self.first, 0
        rank, processes = process_place()
        for number in range(first, len(self)):
            yield order[number * self.batch_size : (number + 1) * self.batch_size][rank::processes]


class OrderedBatches(Sampler[list[int]]):
    """Batches in order, shared among the processes; every process gets the same number of batches."""

    def __init__(self, size: int, *, batch_size: int = 512) -> None:
        """Remember the sizes.

        Args:
            size: Number of crops.
            batch_size: Crops per batch, over all processes together.
        """
        self.size = size
        self.batch_size = batch_size

    def __len__(self) -> int:
        """Return the number of batches."""
        return -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield this process's part of each batch; it may be empty."""
        rank, processes = process_place()
        for start in range(0, self.size, self.batch_size):
            yield list(range(start, min(start + self.batch_size, self.size)))[rank::processes]
