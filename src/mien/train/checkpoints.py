"""Weights in and out of files: checkpoints of `fit`, and the ONNX files that mien ships."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from mien.errors import InputError, shown
from mien.labels import LabelSet
from mien.models.catalogue import CATALOGUE, model_path
from mien.models.expression import ExpressionModel
from mien.train.augment import central_views
from mien.train.ensemble import MEMBERS, Ensemble
from mien.train.folding import BatchNorm, folded, normalised_layers
from mien.train.nets.blocks import TWO_HEADS, ExpressionNet
from mien.train.nets.registry import create_net
from mien.train.settings import TrainSettings, settings_from_dict

ONNX_PREFIX = "net."  # what the exported graph calls the network
HALF_SUFFIX = "_half"  # of tensors that the file stores in half precision
EIGHT_BIT_SUFFIX = "_quantized"  # of tensors that the file stores in eight bits
HEAD_PREFIX = "classifiers."
STATISTICS_CROPS = 2048  # enough for the mean and variance of every channel


def load_net(checkpoint: Path) -> ExpressionNet:
    """Return the averaged network of a checkpoint, ready for inference.

    Args:
        checkpoint: A file written by `fit`.

    Raises:
        InputError: The file is missing or not a checkpoint of `fit`.
    """
    with _readable(checkpoint):
        state = _read(checkpoint)
        net = create_net(state["mien"]["net"], _heads_of(state))
        net.load_state_dict({k.removeprefix("net."): v for k, v in state["state_dict"].items() if k.startswith("net.")})
        return net.eval()


def load_nets(checkpoints: Sequence[Path]) -> ExpressionNet:
    """Return the network of one checkpoint, or those of several as an `Ensemble`.

    Args:
        checkpoints: Files written by `fit`, at least one.

    Raises:
        InputError: A file is missing or not a checkpoint of `fit`, or the networks have different classes or views.
    """
    nets = [load_net(path) for path in checkpoints]
    return nets[0] if len(nets) == 1 else Ensemble(nets).eval()


def load_settings(checkpoint: Path) -> TrainSettings:
    """Return the settings of the run that wrote a checkpoint.

    Args:
        checkpoint: A file written by `fit`.

    Raises:
        InputError: The file is missing or not a checkpoint of `fit`.
    """
    with _readable(checkpoint):
        return settings_from_dict(_read(checkpoint)["mien"], where=str(checkpoint))


@contextmanager
def _readable(checkpoint: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # torch raises a dozen kinds for a file that is not its own
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(f"{checkpoint} is not a checkpoint of `mien train` ({reason}); give its best.ckpt") from error


def _read(checkpoint: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return state


def _heads_of(state: dict[str, Any]) -> tuple[LabelSet, ...]:
    heads = state.get("heads")
    return TWO_HEADS if heads is None else tuple(LabelSet(key, tuple(names)) for key, names in heads.items())


def start_from(
    net: ExpressionNet, source: str | Path, *, name: str, crops: NDArray[np.uint8]
) -> dict[str, tuple[float, float]]:
    """Give a network the weights of a trained one of the same kind; heads are carried over class by class.

    A class or a layer that the trained network does not know keeps its fresh weights.

    Args:
        net: The network to start.
        source: A checkpoint of `fit`, an ONNX file of `mien export`, or the name of a shipped model.
        name: The network's name in `NETS`.
        crops: (N, 48, 48) uint8 training crops; the statistics that an ONNX file has lost are measured on them.

    Returns:
        Temperature and exponent of each head that has the same classes in both, where they were fitted before.

    Raises:
        InputError: The file is neither, or holds another network.
    """
    if str(source) in CATALOGUE or Path(source).suffix == ".onnx":
        trained = net_from_onnx(model_path(source), name=name, crops=crops)
        card = ExpressionModel(model_path(source)).card
        fitted = {key: (card.temperatures[key], card.exponents.get(key, 0.0)) for key in card.temperatures}
    else:
        trained = load_net(Path(source))
        fitted = load_confidence(Path(source))
    try:
        _carry_over(trained, net)
    except (KeyError, RuntimeError) as error:
        raise InputError(f"{source} holds another network than {shown(name)}; choose the same with --net") from error
    return {labels.key: fitted[labels.key] for labels in net.heads if labels in trained.heads and labels.key in fitted}


def load_confidence(checkpoint: Path) -> dict[str, tuple[float, float]]:
    """Return temperature and exponent of the heads of what a run started from; empty where it started from nothing.

    Args:
        checkpoint: A file written by `fit`.

    Raises:
        InputError: The file is missing or not a checkpoint of `fit`.
    """
    with _readable(checkpoint):
        return {key: (value[0], value[1]) for key, value in _read(checkpoint).get("confidence", {}).items()}


def head_names(net: nn.Module) -> set[str]:
    """Return the names of the parameters that belong to the heads of a network."""
    return {name for name, _ in net.named_parameters() if name.startswith(HEAD_PREFIX)}


def _carry_over(trained: ExpressionNet, net: ExpressionNet) -> None:
    theirs, ours = trained.state_dict(), net.state_dict()
    same_heads = [head.names for head in trained.heads] == [head.names for head in net.heads]
    heads = set() if same_heads else head_names(net)
    if not same_heads and not heads:
        raise InputError(f"this network's classes cannot change: it has no {HEAD_PREFIX}* weights to replace")
    if not {key for key in theirs if same_heads or not key.startswith(HEAD_PREFIX)} <= ours.keys():
        raise KeyError("the trained network has layers that this one lacks")
    net.load_state_dict({key: ours[key] if key in heads else theirs.get(key, ours[key]) for key in ours})
    for number, labels in enumerate(net.heads if heads else ()):
        _carry_classes(trained, net, number, labels)


@torch.no_grad()
def _carry_classes(trained: ExpressionNet, net: ExpressionNet, number: int, labels: LabelSet) -> None:
    source = max(range(len(trained.heads)), key=lambda i: _shared_names(trained.heads[i], labels))
    theirs, ours = trained.get_submodule(f"{HEAD_PREFIX}{source}"), net.get_submodule(f"{HEAD_PREFIX}{number}")
    rows = trained.heads[source].columns_for(labels)
    known = torch.from_numpy(np.flatnonzero(rows >= 0))
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        mine[known] = other[torch.from_numpy(rows[rows >= 0])]


def _shared_names(one: LabelSet, other: LabelSet) -> tuple[int, bool]:
    return len(set(one.names) & set(other.names)), one.key.split("-")[0] == other.key.split("-")[0]


def net_from_onnx(path: Path, *, name: str, crops: NDArray[np.uint8]) -> ExpressionNet:
    """Return a trainable network with the weights of an ONNX file that `mien export` wrote.

    Export folds batch normalisation into the layers before it. Here each such layer takes the folded weights, and the
    normalisation after it the mean and variance that the crops give, scaled and shifted so that both together compute
    what the folded layer does: the logits are the file's, and training goes on as from a checkpoint. Of an ensemble
    the first member that is such a network is taken. Weights in eight bits become the numbers they stand for.

    Args:
        path: The file, in any precision.
        name: The network's name in `NETS`.
        crops: (N, 48, 48) uint8 to measure means and variances on.

    Returns:
        The network, in evaluation mode, with the heads of the file.

    Raises:
        ModelError: The file is not a model of mien.
        InputError: It holds another network.
    """
    card = ExpressionModel(path).card
    net = create_net(name, tuple(card.label_set(head) for head in card.heads if head not in card.rules)).eval()
    wanted = _shapes(folded(net).state_dict())
    weights = next((w for w in _members(_onnx_weights(path)) if _shapes(w) == wanted), None)
    if weights is None:
        raise InputError(
            f"{path} does not hold the weights of {shown(name)}; choose the network it was exported from with --net"
        )
    pairs = normalised_layers(net)
    norms = {norm for _, norm in pairs}
    with torch.no_grad():
        for key, value in net.state_dict().items():
            if key.rpartition(".")[0] not in norms and key in weights:
                value.copy_(weights[key])
        for layer, norm in pairs:
            _unfold(net, layer, norm, weights[f"{layer}.bias"])
    _measure_statistics(net, [_norm(net, norm) for _, norm in pairs], crops)
    return net


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in weights.items()}


def _onnx_weights(path: Path) -> dict[str, Tensor]:
    model = onnx.load(str(path))
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    weights = {name: value for name, value in tensors.items() if np.issubdtype(value.dtype, np.floating)}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in tensors:
            integers, scale, zero = (tensors[name].astype(np.float32) for name in node.input)
            per_channel = (-1, *[1] * (integers.ndim - 1))
            weights[node.input[0]] = (integers - zero.reshape(per_channel)) * scale.reshape(per_channel)
    return {
        name.removeprefix(ONNX_PREFIX).removesuffix(HALF_SUFFIX).removesuffix(EIGHT_BIT_SUFFIX): torch.from_numpy(
            value.astype(np.float32)
        )
        for name, value in weights.items()
        if name.startswith(ONNX_PREFIX) and not name.endswith("_scale")
    }


def _members(weights: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Part the weights of an ensemble by its members, in their order; those of one network stay together."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in weights.items():
        number, own = name.split(".", 2)[1:] if name.startswith(f"{MEMBERS}.") else ("0", name)
        parts.setdefault(number, {})[own] = value
    return [parts[number] for number in sorted(parts, key=int)]


def _unfold(net: nn.Module, layer: str, norm: str, bias: Tensor) -> None:
    """Let a normalisation do nothing but add the folded bias."""
    own_bias = net.get_submodule(layer).bias
    if isinstance(own_bias, Tensor):
        own_bias.zero_()
    _set_statistics(_norm(net, norm), torch.zeros_like(bias), torch.ones_like(bias), bias)


def _norm(net: nn.Module, name: str) -> BatchNorm:
    return cast(BatchNorm, net.get_submodule(name))


def _set_statistics(norm: BatchNorm, mean: Tensor, variance: Tensor, bias: Tensor) -> None:
    """Set mean and variance so that x becomes x + bias."""
    cast(Tensor, norm.running_mean).copy_(mean)
    cast(Tensor, norm.running_var).copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(bias + mean)


@torch.no_grad()
def _measure_statistics(net: ExpressionNet, norms: list[BatchNorm], crops: NDArray[np.uint8]) -> None:
    """Give normalisations that only add a bias the statistics of what flows into them; the function stays the same."""
    chosen = np.linspace(0, len(crops) - 1, min(len(crops), STATISTICS_CROPS)).astype(int)
    moments: dict[BatchNorm, list[Tensor]] = {norm: [] for norm in norms}

    def note(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].double()
        others = [axis for axis in range(x.ndim) if axis != 1]
        means = torch.stack([x.mean(dim=others), x.square().mean(dim=others)])
        moments[cast(BatchNorm, norm)].append(means * len(x))

    handles = [norm.register_forward_pre_hook(note) for norm in norms]
    try:
        for start in range(0, len(chosen), 256):
            batch = torch.from_numpy(crops[chosen[start : start + 256]])
            net(net.normalise(central_views(batch, net.view_px)))
    finally:
        for handle in handles:
            handle.remove()
    for norm, sums in moments.items():
        mean, square = torch.stack(sums).sum(dim=0) / len(chosen)
        variance = (square - mean.square()).clamp(min=0)
        _set_statistics(norm, mean.float(), variance.float(), norm.bias.clone())
