"""What a network is made of: layers, shapes, values and multiply-adds, of a registered net or of an ONNX file."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import InputError, ModelError, require_extra, shortened, shown

if TYPE_CHECKING:
    import torch
    from torch import nn

    from mien.train.nets.blocks import ExpressionNet

Shape = tuple[int, ...]

WEIGHT_INPUT = {  # ONNX operators that multiply and add, and which of their inputs holds the weights
    "Conv": 1, "Gemm": 1, "MatMul": 1, "ConvInteger": 1, "MatMulInteger": 1, "QLinearConv": 3, "QLinearMatMul": 3,
}  # fmt: skip
CONVOLUTIONS = {"Conv", "ConvInteger", "QLinearConv"}
STORAGE = {"Cast", "DequantizeLinear", "Identity", "Transpose"}  # of a constant: a way to store it, no layer
INDEX_TYPES = {6, 7}  # int32 and int64 in ONNX: axes, shapes, zero points; no weights


@dataclass(frozen=True)
class NetLayer:
    """One layer.

    Attributes:
        name: Its path in the network, `trunk.0.0`, or the name of the ONNX node.
        kind: `Conv2d`, `Linear` …, or the ONNX operator.
        detail: What people want to know beside it: `3x3`, `5x5 / 2`.
        output: Shape of its output without the batch axis; empty where unknown.
        parameters: Trained values.
        statistics: Running statistics of batch normalisation.
        macs: Multiply-adds for one crop.
        block: Path and kind of the composite block it belongs to, or empty.
        head: Label set key of the head it belongs to, or empty for the trunk.
    """

    name: str
    kind: str
    detail: str = ""
    output: Shape = ()
    parameters: int = 0
    statistics: int = 0
    macs: int = 0
    block: str = ""
    head: str = ""


@dataclass(frozen=True)
class NetSummary:
    """A whole network.

    Attributes:
        name: Name of the net or of the file.
        input: Shape of the input without the batch axis.
        layers: In the order of computation.
        heads: Label set key → number of classes.
    """

    name: str
    input: Shape
    layers: tuple[NetLayer, ...]
    heads: dict[str, int] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Trained values."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def statistics(self) -> int:
        """Running statistics of batch normalisation."""
        return sum(layer.statistics for layer in self.layers)

    @property
    def values(self) -> int:
        """All stored values, as Keras totals them."""
        return self.parameters + self.statistics

    @property
    def macs(self) -> int:
        """Multiply-adds of convolutions and linear layers for one crop."""
        return sum(layer.macs for layer in self.layers)


def summarise_net(name_or_path: str, *, heads: Sequence[str] | None = None) -> NetSummary:
    """Summarise a registered net or an ONNX file.

    Args:
        name_or_path: A name in `mien.train.nets.registry.NETS`, or the path of an .onnx file.
        heads: Keys of the label sets of a registered net's heads; None takes the net's own.

    Raises:
        InputError: Neither a net nor an ONNX file; the message lists the nets.
        ModelError: The file is not a sound ONNX file.
        MissingExtraError: The extra `train` is not installed.
    """
    require_extra("train", "torch")
    from mien.labels import label_set
    from mien.train.nets.registry import NETS

    if name_or_path in NETS:
        chosen = {} if heads is None else {"heads": tuple(label_set(key) for key in heads)}
        torch = require_extra("train", "torch")
        with torch.device("meta"):  # shapes only: the widest net would need 6 GB
            net = NETS[name_or_path](**chosen)
        return summarise_module(net, name=name_or_path)
    path = Path(name_or_path)
    if path.suffix.lower() != ".onnx":
        raise InputError(f"unknown net {shown(name_or_path)}; known: {', '.join(NETS)}, or the path of an .onnx file")
    return summarise_onnx(path)


def summarise_module(net: "ExpressionNet", *, name: str) -> NetSummary:
    """Summarise a network; only shapes are computed.

    Args:
        net: The network; left as it is.
        name: Its name.
    """
    import copy

    torch = require_extra("train", "torch")
    net = copy.deepcopy(net).to("meta").eval()
    layers: list[NetLayer] = []
    blocks = _blocks(net)
    for path, module in net.named_modules():
        if not list(module.children()):
            module.register_forward_hook(_recorder(layers, path, blocks.get(path, ""), net))
    with torch.device("meta"), torch.no_grad():
        views = torch.zeros((1, 1, net.view_px, net.view_px))
        net(net.normalise(views))
    return NetSummary(name, (1, net.view_px, net.view_px), tuple(layers), {k.key: len(k) for k in net.heads})


def _blocks(net: "nn.Module") -> dict[str, str]:
    """Return, for each layer, the outermost block below the trunk that it is part of."""
    found = {}
    for path, _ in net.named_modules():
        parts = path.split(".")
        if parts[0] == "trunk" and len(parts) > 2:
            block = net.get_submodule(".".join(parts[:2]))
            found[path] = f"{parts[1]} {type(block).__name__}"
    return found


def _recorder(layers: list[NetLayer], path: str, block: str, net: "ExpressionNet") -> Any:
    head = net.heads[int(path.split(".")[1])].key if path.startswith("classifiers.") else ""

    def record(module: "nn.Module", _inputs: tuple["torch.Tensor", ...], output: "torch.Tensor") -> None:
        layer = NetLayer(
            path, type(module).__name__, _detail(module), tuple(output.shape[1:]),
            parameters=sum(p.numel() for p in module.parameters()),
            statistics=sum(b.numel() for b in module.buffers() if b.is_floating_point()),
            macs=_macs(module, output), block=block, head=head,
        )  # fmt: skip
        layers.append(layer)

    return record


def _detail(module: "nn.Module") -> str:
    kernel = getattr(module, "kernel_size", None)
    if kernel is None:
        return f"{module.in_features} → {module.out_features}" if hasattr(module, "in_features") else ""
    height, width = _pair(kernel)
    stride = _pair(module.stride)[0]
    return f"{height}x{width}" + (f" / {stride}" if stride > 1 else "")


def _pair(value: Any) -> tuple[int, int]:
    return tuple(value) if isinstance(value, tuple | list) else (value, value)


def _macs(module: "nn.Module", output: "torch.Tensor") -> int:
    """Each output element of a convolution or linear layer is a sum over one row of the weights."""
    weight = getattr(module, "weight", None)
    if type(module).__name__ not in ("Conv2d", "Linear") or weight is None:
        return 0
    return int(output[0].numel() * weight[0].numel())


def summarise_onnx(path: Path) -> NetSummary:
    """Summarise an ONNX file by its own shape inference, for one crop.

    Weights that are stored in another type and cast back count once, at the layer that uses them.

    Args:
        path: The file; weights in a file of their own need not be there.

    Raises:
        ModelError: The file is missing or not a sound ONNX file.
    """
    onnx = require_extra("train", "onnx")
    if not os.path.isfile(path):
        raise ModelError(f"no model file {shortened(str(path))}; check the path")
    try:
        model = onnx.load(str(path), load_external_data=False)
        _one_crop(model)
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:
        raise ModelError(f"{path} is not a sound ONNX file ({error}); export it again") from error
    return _Graph(model.graph).summary(path.name)


def _one_crop(model: Any) -> None:
    """Set the batch axis to 1 and forget recorded shapes, so that inference fills in numbers."""
    stored = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name not in stored and value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_value = 1
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]


class _Graph:
    """The parts of an ONNX graph that a summary needs."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.constants: dict[str, Shape] = {t.name: tuple(t.dims) for t in graph.initializer}
        self.values = {t.name: tuple(t.dims) for t in graph.initializer if t.data_type not in INDEX_TYPES}
        self.shapes = {v.name: _shape(v) for v in (*graph.input, *graph.value_info, *graph.output)}
        self.heads = _heads_of(graph)

    def summary(self, name: str) -> NetSummary:
        """Return the layers in the order of the file."""
        inputs = [v for v in self.graph.input if v.name not in self.constants]
        layers = tuple(layer for node in self.graph.node if (layer := self._layer(node)) is not None)
        heads = {v.name: (self.shapes[v.name] or (0,))[-1] for v in self.graph.output}
        return NetSummary(name, self.shapes[inputs[0].name][1:] if inputs else (), layers, heads)

    def _layer(self, node: Any) -> NetLayer | None:
        if node.op_type == "Constant" or (node.op_type in STORAGE and node.input[0] in self.constants):
            self._remember_constant(node)
            return None
        output = self.shapes.get(node.output[0], ())
        parameters = sum(math.prod(self.values.pop(name, (0,))) for name in node.input)  # popped: counts once if shared
        return NetLayer(
            node.name or node.output[0], node.op_type, self._detail(node), output[1:],
            parameters=parameters, macs=self._macs(node, output), head=self.heads.get(node.output[0], ""),
        )  # fmt: skip

    def _remember_constant(self, node: Any) -> None:
        """Let the result of a cast or dequantisation of a constant stand for that constant."""
        if node.op_type == "Constant":
            stored = next((a.t for a in node.attribute if a.name == "value"), None)
            shape = tuple(stored.dims) if stored is not None else ()
            counted = stored is not None and stored.data_type not in INDEX_TYPES
        else:
            shape = self.shapes.get(node.output[0]) or self.constants[node.input[0]]
            counted = node.input[0] in self.values
        self.constants[node.output[0]] = shape
        if counted:
            self.values[node.output[0]] = shape

    def _macs(self, node: Any, output: Shape) -> int:
        index = WEIGHT_INPUT.get(node.op_type)
        weight = self.constants.get(node.input[index], ()) if index is not None else ()
        if not weight or not output:
            return 0
        if node.op_type in CONVOLUTIONS:
            return math.prod(output) * math.prod(weight[1:])
        return math.prod(output) * (math.prod(weight) // output[-1])

    def _detail(self, node: Any) -> str:
        attributes = {a.name: list(a.ints) for a in node.attribute if a.ints}
        kernel, strides = attributes.get("kernel_shape"), attributes.get("strides", [1])
        if not kernel:
            return ""
        return "x".join(map(str, kernel)) + (f" / {strides[0]}" if strides[0] > 1 else "")


def _heads_of(graph: Any) -> dict[str, str]:
    """Return the output of each value that serves one output only; of a single output, from its last weights on."""
    serves: dict[str, set[str]] = {v.name: {v.name} for v in graph.output}
    found: dict[str, str] = {}
    for node in reversed(graph.node):
        outputs = set().union(*(serves.get(name, set()) for name in node.output))
        for name in node.input:
            serves.setdefault(name, set()).update(outputs)
        if len(outputs) == 1:
            found[node.output[0]] = next(iter(outputs))
        if len(graph.output) == 1 and node.op_type in WEIGHT_INPUT:
            break
    return found


def _shape(value: Any) -> Shape:
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_value for d in dims) if all(d.HasField("dim_value") for d in dims) else ()
