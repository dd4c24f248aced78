"""Keras layers as ONNX nodes.

Keras counts the channels of an image last, ONNX second. A value therefore remembers whether its channels were moved to
the front; a layer that looks at the order of the numbers (Flatten, Reshape, Dense on an image) moves them back.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError, ModelError, require_extra, shown
from mien.models.keras._architecture import MODEL_CLASSES, Layer, Model, Ref, kind_of
from mien.models.keras._files import Owner, read_weight

MAX_ELEMENTS = 2**26  # of one value for one face; beyond it a file asks for gigabytes a face
TO_FRONT = (2, 0, 1)

Pair = tuple[int, int]


@dataclass(frozen=True)
class Tensor:
    """A value of the graph.

    Attributes:
        name: Its name.
        shape: Its sizes for Keras, without the batch.
        moved: Whether the channels, last for Keras, are stored first.
        ends: What its numbers are: `"softmax"`, `"sigmoid"`, or `"logits"` for anything else.
    """

    name: str
    shape: tuple[int, ...]
    moved: bool = False
    ends: str = "logits"


@dataclass(frozen=True)
class StoredWeight:
    """Where a weight of Keras went, so that it can be written back.

    Attributes:
        name: Initializer in the ONNX graph.
        shape: Shape for Keras.
        axes: Order of Keras's axes in which the initializer holds the numbers.
    """

    name: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]


@dataclass
class Builder:
    """An ONNX graph under construction.

    Attributes:
        datasets: The weights of the file by owner.
        keras_1_weights: Whether Keras 1 wrote them: kernels of channels-first layers are then stored (out, in, h, w).
        flipped: Whether Theano wrote them: it flips the kernels of convolutions.
        major: Major version of the Keras that wrote the architecture.
    """

    datasets: Mapping[Owner, Any]
    keras_1_weights: bool
    flipped: bool
    major: int
    nodes: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)
    stored: dict[Owner, StoredWeight] = field(default_factory=dict)
    path: tuple[str, ...] = ()

    def node(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append a node and return the name of its output.

        Args:
            op: Operator of the default ONNX domain.
            inputs: Names of its inputs.
            **attributes: Its attributes.
        """
        helper = require_extra("keras", "onnx").helper
        name = f"{'/'.join(self.path) or 'graph'}:{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, value: NDArray[Any], name: str = "") -> str:
        """Store an array and return its name."""
        numpy_helper = require_extra("keras", "onnx").numpy_helper
        name = name or f"constant:{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def floats(self, *values: float) -> str:
        """Store a scalar, or a vector of several numbers, and return its name."""
        return self.constant(np.array(values[0] if len(values) == 1 else values, np.float32))

    def integers(self, *values: int) -> str:
        """Store a vector of integers and return its name."""
        return self.constant(np.array(values, np.int64))

    def weight(self, role: str, shape: Sequence[int], axes: Sequence[int] = (), stored: Sequence[int] = ()) -> str:
        """Store a weight of the current layer and return its name; a layer called twice stores it once.

        Args:
            role: Which of its weights.
            shape: The shape that Keras must have given it.
            axes: Order of the axes in the graph; the same by default.
            stored: Shape in the graph; by default that of the ordered axes.

        Raises:
            ModelError: The file's array has another shape.
        """
        owner = (self.path, role)
        if owner not in self.stored:
            axes = tuple(axes) or tuple(range(len(shape)))
            name = f"{'/'.join(self.path)}/{role}"
            values = self._read(owner, tuple(shape)).transpose(axes)
            self.constant(values.reshape(stored or values.shape), name)
            self.stored[owner] = StoredWeight(name, tuple(shape), axes)
        return self.stored[owner].name

    def kernel(self, shape: Sequence[int], *, channels_first: bool) -> str:
        """Store the kernel of a convolution, Keras's (height, width, in, out), and return its name.

        Args:
            shape: Its shape for Keras 2 and 3.
            channels_first: Whether the layer counts channels first; Keras 1 then stored (out, in, height, width).
        """
        owner = (self.path, "kernel")
        if owner not in self.stored:
            height, width, given, wanted = shape
            if self.keras_1_weights and channels_first:
                values = self._read(owner, (wanted, given, height, width))
            else:
                values = self._read(owner, tuple(shape)).transpose(3, 2, 0, 1)
            values = values[:, :, ::-1, ::-1] if self.flipped else values
            name = self.constant(values, f"{'/'.join(self.path)}/kernel")
            self.stored[owner] = StoredWeight(name, tuple(shape), (3, 2, 0, 1))
        return self.stored[owner].name

    def _read(self, owner: Owner, shape: tuple[int, ...]) -> NDArray[np.float32]:
        dataset = self.datasets[owner]
        if tuple(dataset.shape) != shape:  # before reading: a shape in the file may claim any size
            raise ModelError(
                f"layer {shown('/'.join(owner[0]))} needs {owner[1]} of shape {shape}, "
                f"the file has {tuple(dataset.shape)}; give the pair that was saved together"
            )
        return read_weight(dataset, f"{'/'.join(owner[0])}/{owner[1]}")

    # Where the channels are

    def to_front(self, x: Tensor) -> Tensor:
        """Return an image with its channels stored first."""
        if x.moved or len(x.shape) != 3:
            return x
        return replace(x, name=self.node("Transpose", [x.name], perm=(0, 3, 1, 2)), moved=True)

    def to_keras(self, x: Tensor) -> Tensor:
        """Return a value stored as Keras counts its axes."""
        if not x.moved:
            return x
        return replace(x, name=self.node("Transpose", [x.name], perm=(0, 2, 3, 1)), moved=False)

    def image(self, x: Tensor, config: Mapping[str, Any]) -> "Image":
        """Return a value stored channels first, with its sizes by name, for the layers that need an image."""
        if len(x.shape) != 3:
            raise ModelError(f"it needs an image (height, width, channels), but gets {x.shape}; check the architecture")
        if config.get("data_format") == "channels_first":
            x = self.to_keras(x)
            return Image(x.name, x.shape[1], x.shape[2], x.shape[0], channels_first=True)
        x = self.to_front(x)
        return Image(x.name, x.shape[0], x.shape[1], x.shape[2], channels_first=False)


@dataclass(frozen=True)
class Image:
    """A value stored (N, channels, height, width), whatever Keras counts."""

    name: str
    height: int
    width: int
    channels: int
    channels_first: bool

    def tensor(self) -> Tensor:
        """Return it as a value, with its sizes in Keras's order."""
        if self.channels_first:
            return Tensor(self.name, (self.channels, self.height, self.width))
        return Tensor(self.name, (self.height, self.width, self.channels), moved=True)


Emit = Callable[[Builder, Layer, list[Tensor]], Tensor]


def emit_model(builder: Builder, model: Model, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Append every layer of a model.

    Args:
        builder: The graph; its `path` names the models around this one.
        model: The model.
        inputs: One value per input of the model.

    Returns:
        One value per output of the model.

    Raises:
        ModelError: A layer is unknown, malformed, or does not fit its weights; the message names it.
    """
    values = dict(zip(model.inputs, inputs, strict=True))
    pending = [(layer, i) for layer in model.layers for i in range(len(layer.calls))]
    while pending:
        waiting = [(layer, i) for layer, i in pending if not all(ref in values for ref in layer.calls[i])]
        if len(waiting) == len(pending):
            raise ModelError(
                f"layer {shown(pending[0][0].name)} depends on itself or on no layer of the file; save it again"
            )
        for layer, i in pending:
            if all(ref in values for ref in layer.calls[i]) and Ref(layer.name, i) not in values:
                values[Ref(layer.name, i)] = _emit(builder, layer, [values[ref] for ref in layer.calls[i]])
        pending = [(layer, i) for layer, i in pending if Ref(layer.name, i) not in values]
    missing = [ref.layer for ref in model.outputs if ref not in values]
    if missing:
        raise ModelError(f"the output {shown(missing[0])} is no layer of the file; save the model again")
    return [values[ref] for ref in model.outputs]


def check_layers(model: Model) -> None:
    """Raise ModelError for the first layer, here or in a nested model, that cannot be imported."""
    for layer in model.layers:
        if layer.model is not None:
            check_layers(layer.model)
        else:
            _emitter(layer)


def _emit(builder: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    outer, builder.path = builder.path, (*builder.path, layer.name)
    try:
        result = _emit_nested(builder, layer.model, inputs) if layer.model else _emitter(layer)(builder, layer, inputs)
        if math.prod(result.shape) > MAX_ELEMENTS or min(result.shape, default=1) < 1:
            raise ModelError(f"its result {result.shape} is empty or too large; check the architecture")
        return result
    except MienError as error:
        if str(error).startswith("layer "):
            raise
        raise ModelError(f"layer {shown('/'.join(builder.path))} ({layer.kind}): {error}") from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as error:
        raise ModelError(
            f"layer {shown('/'.join(builder.path))} ({layer.kind}) is malformed ({error!r}); save it again"
        ) from error
    finally:
        builder.path = outer


def _emit_nested(builder: Builder, model: Model, inputs: list[Tensor]) -> Tensor:
    outputs = emit_model(builder, model, inputs)
    if len(outputs) != 1:
        raise ModelError(f"a nested model must have one output, this has {len(outputs)}; rebuild it with one")
    return outputs[0]


def _emitter(layer: Layer) -> Emit:
    if layer.kind in LAYERS:
        return LAYERS[layer.kind]
    if layer.kind in ("Lambda", "TFOpLambda", "SlicingOpLambda") or ">" in layer.kind:
        raise ModelError(
            f"layer {shown(layer.name)} ({layer.kind}) holds code of its own, which is never run; "
            "replace it by layers of Keras and save the model again"
        )
    known = ", ".join(sorted({*LAYERS, *MODEL_CLASSES} - {"Merge"}))
    raise ModelError(f"layer {shown(layer.name)} is a {layer.kind}, which cannot be imported; supported: {known}")


# Settings of layers


def _pair(value: Any) -> Pair:
    first, second = (value, value) if isinstance(value, int) else value
    if int(first) != first or int(second) != second or min(first, second) < 1:
        raise ModelError(f"sizes must be whole numbers from 1 on, got {shown(value)}; check the architecture")
    return int(first), int(second)


@dataclass(frozen=True)
class PoolWindow:
    """What slides over an image: a kernel or a pool, with its steps and margins."""

    size: Pair
    strides: Pair
    dilation: Pair
    padding: str

    def out(self, length: int, axis: int) -> int:
        """Return the length of the result along an axis (0 height, 1 width)."""
        if self.padding == "same":
            return -(-length // self.strides[axis])
        return (length - self._reach(axis)) // self.strides[axis] + 1

    def pads(self, image: Image) -> list[int]:
        """Return the margins top, left, bottom, right; as in TensorFlow, the odd one goes to the end."""
        if self.padding == "valid":
            return [0, 0, 0, 0]
        totals = [
            max((self.out(length, axis) - 1) * self.strides[axis] + self._reach(axis) - length, 0)
            for axis, length in enumerate((image.height, image.width))
        ]
        return [total // 2 for total in totals] + [total - total // 2 for total in totals]

    def _reach(self, axis: int) -> int:
        return (self.size[axis] - 1) * self.dilation[axis] + 1


def _window(config: Mapping[str, Any], size: Pair, strides: Any) -> PoolWindow:
    padding = config.get("padding", "valid")
    if padding not in ("same", "valid"):
        raise ModelError(f"padding {shown(padding)} cannot be imported; supported: same, valid")
    return PoolWindow(size, _pair(strides), _pair(config.get("dilation_rate") or 1), padding)


def _slide(b: Builder, op: str, x: Image, window: PoolWindow, inputs: Sequence[str], **attributes: Any) -> Image:
    if window.dilation != (1, 1):
        attributes["dilations"] = window.dilation
    name = b.node(
        op, [x.name, *inputs], kernel_shape=window.size, strides=window.strides, pads=window.pads(x), **attributes
    )  # fmt: skip
    return replace(x, name=name, height=window.out(x.height, 0), width=window.out(x.width, 1))


# Convolutions


def _conv(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    config = layer.config
    x = b.image(_only(inputs), config)
    filters, groups, size = int(config["filters"]), int(config.get("groups") or 1), _pair(config["kernel_size"])
    kernel = b.kernel((*size, x.channels // groups, filters), channels_first=x.channels_first)
    y = _slide(
        b,
        "Conv",
        x,
        _window(config, size, config.get("strides", 1)),
        [kernel, *_bias(b, config, filters)],
        group=groups,
    )
    return _activate(b, replace(y, channels=filters).tensor(), config)


def _depthwise(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    config = layer.config
    y = _depthwise_step(b, config, b.image(_only(inputs), config), with_bias=True)
    return _activate(b, y.tensor(), config)


def _separable(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    config, filters = layer.config, int(layer.config["filters"])
    y = _depthwise_step(b, config, b.image(_only(inputs), config), with_bias=False)
    kernel = b.weight("pointwise_kernel", (1, 1, y.channels, filters), (3, 2, 0, 1))
    window = PoolWindow((1, 1), (1, 1), (1, 1), "valid")
    y = _slide(b, "Conv", y, window, [kernel, *_bias(b, config, filters)])
    return _activate(b, replace(y, channels=filters).tensor(), config)


def _depthwise_step(b: Builder, config: Mapping[str, Any], x: Image, *, with_bias: bool) -> Image:
    size, times = _pair(config["kernel_size"]), int(config.get("depth_multiplier") or 1)
    shape = (*size, x.channels, times)
    kernel = b.weight("depthwise_kernel", shape, (2, 3, 0, 1), (x.channels * times, 1, *size))
    window = _window(config, size, config.get("strides", 1))
    bias = _bias(b, config, x.channels * times) if with_bias else ()
    y = _slide(b, "Conv", x, window, [kernel, *bias], group=x.channels)
    return replace(y, channels=x.channels * times)


def _bias(b: Builder, config: Mapping[str, Any], size: int) -> tuple[str, ...]:
    return (b.weight("bias", (size,)),) if config.get("use_bias", True) else ()


def _batch_norm(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    config, x = layer.config, _only(inputs)
    if config.get("mode", 0) == 1:
        raise ModelError("mode 1 (per sample) of Keras 1 cannot be imported; supported: 0 and 2")
    axis = config.get("axis", -1)
    axis = int(axis[0] if isinstance(axis, list) else axis)
    axis = axis % (len(x.shape) + 1)
    size = x.shape[axis - 1]
    channels_last = axis == len(x.shape) == 3
    x = b.to_front(x) if channels_last else b.to_keras(x)
    order = [0, axis, *(i for i in range(1, len(x.shape) + 1) if i != axis)]
    swap = not channels_last and axis != 1
    name = b.node("Transpose", [x.name], perm=order) if swap else x.name
    scale = b.weight("gamma", (size,)) if config.get("scale", True) else b.constant(np.ones(size, np.float32))
    shift = b.weight("beta", (size,)) if config.get("center", True) else b.constant(np.zeros(size, np.float32))
    moments = [b.weight("moving_mean", (size,)), b.weight("moving_variance", (size,))]
    name = b.node("BatchNormalization", [name, scale, shift, *moments], epsilon=float(config.get("epsilon", 1e-3)))
    name = b.node("Transpose", [name], perm=np.argsort(order).tolist()) if swap else name
    return replace(x, name=name, ends="logits")


# Pools and sizes


def _pool(op: str, **attributes: Any) -> Emit:
    def emit(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
        config = layer.config
        size = _pair(config.get("pool_size", 2))
        window = _window({**config, "dilation_rate": 1}, size, config.get("strides") or size)
        return _slide(b, op, b.image(_only(inputs), config), window, (), **attributes).tensor()

    return emit


def _global_pool(op: str) -> Emit:
    def emit(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
        x = b.image(_only(inputs), layer.config)
        pooled = b.node(op, [x.name])
        if layer.config.get("keepdims"):
            return replace(x, name=pooled, height=1, width=1).tensor()
        return Tensor(b.node("Flatten", [pooled], axis=1), (x.channels,))

    return emit


def _zero_padding(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    x = b.image(_only(inputs), layer.config)
    top, bottom, left, right = _margins(layer.config.get("padding", 1))
    name = b.node("Pad", [x.name, b.integers(0, 0, top, left, 0, 0, bottom, right)])
    return replace(x, name=name, height=x.height + top + bottom, width=x.width + left + right).tensor()


def _cropping(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    x = b.image(_only(inputs), layer.config)
    top, bottom, left, right = _margins(layer.config.get("cropping", 0))
    height, width = x.height - top - bottom, x.width - left - right
    ends = b.integers(top + height, left + width)
    name = b.node("Slice", [x.name, b.integers(top, left), ends, b.integers(2, 3)])
    return replace(x, name=name, height=height, width=width).tensor()


def _margins(value: Any) -> tuple[int, int, int, int]:
    """Return top, bottom, left, right from one number, two, four (Keras 1) or two pairs."""
    if isinstance(value, int):
        value = (value,) * 4
    elif len(value) == 2:
        value = [side for item in value for side in ((item, item) if isinstance(item, int) else item)]
    top, bottom, left, right = (int(side) for side in value)
    if min(top, bottom, left, right) < 0:
        raise ModelError(f"margins must not be negative, got {shown(value)}; check the architecture")
    return top, bottom, left, right


def _up_sampling(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    x = b.image(_only(inputs), layer.config)
    rows, columns = _pair(layer.config.get("size", 2))
    name = resize(b, x.name, float(rows), float(columns), layer.config.get("interpolation", "nearest"))
    return replace(x, name=name, height=x.height * rows, width=x.width * columns).tensor()


def resize(b: Builder, name: str, rows: float, columns: float, interpolation: str) -> str:
    """Append a resize of an image stored channels first and return its name.

    Args:
        b: The graph.
        name: The image.
        rows: Factor of the height.
        columns: Factor of the width.
        interpolation: `"nearest"` or `"bilinear"`.
    """
    scales = b.floats(1, 1, rows, columns)
    if interpolation == "nearest":
        return b.node(
            "Resize", [name, "", scales], mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )  # fmt: skip
    if interpolation != "bilinear":
        raise ModelError(f"interpolation {shown(interpolation)} cannot be imported; supported: nearest, bilinear")
    return b.node("Resize", [name, "", scales], mode="linear", coordinate_transformation_mode="half_pixel")


# Dense layers and shapes


def _dense(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    config, x = layer.config, b.to_keras(_only(inputs))
    units = int(config["units"])
    kernel = b.weight("kernel", (x.shape[-1], units))
    bias = _bias(b, config, units)
    if len(x.shape) == 1:
        name = b.node("Gemm", [x.name, kernel, *bias])
    else:
        name = b.node("MatMul", [x.name, kernel])
        name = b.node("Add", [name, *bias]) if bias else name
    return _activate(b, Tensor(name, (*x.shape[:-1], units)), config)


def _flatten(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    x = b.to_keras(_only(inputs))
    name = x.name
    if layer.config.get("data_format") == "channels_first" and len(x.shape) > 1:
        axes = range(2, len(x.shape) + 1)  # Keras 2 and 3 then flatten as if channels came last
        name = b.node("Transpose", [name], perm=[0, *axes, 1])
    return replace(x, name=b.node("Flatten", [name], axis=1), shape=(math.prod(x.shape),))


def _reshape(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    x = b.to_keras(_only(inputs))
    target = [int(size) for size in layer.config["target_shape"]]
    if target.count(-1) == 1:
        target[target.index(-1)] = math.prod(x.shape) // max(1, -math.prod(target))
    if math.prod(target) != math.prod(x.shape):
        raise ModelError(f"{x.shape} cannot be reshaped to {tuple(target)}; check the architecture")
    return Tensor(b.node("Reshape", [x.name, b.integers(0, *target)]), tuple(target), ends=x.ends)


def _permute(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    x = b.to_keras(_only(inputs))
    axes = [int(axis) for axis in layer.config["dims"]]
    if sorted(axes) != list(range(1, len(x.shape) + 1)):
        raise ModelError(
            f"dims must name each of the axes 1 to {len(x.shape)} once, got {axes}; check the architecture"
        )
    return Tensor(
        b.node("Transpose", [x.name], perm=[0, *axes]), tuple(x.shape[axis - 1] for axis in axes), ends=x.ends
    )


def _rescaling(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    x = b.to_keras(_only(inputs))
    scale, offset = (np.asarray(layer.config.get(key, d), np.float32) for key, d in (("scale", 1.0), ("offset", 0.0)))
    name = b.node("Mul", [x.name, b.constant(scale)])
    return replace(x, name=b.node("Add", [name, b.constant(offset)]), ends="logits")


# Several inputs


def _merge(op: str) -> Emit:
    def emit(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
        shape = np.broadcast_shapes(*(x.shape for x in inputs))
        if len({len(x.shape) for x in inputs}) != 1:
            raise ModelError(f"its inputs must have one rank, got {[x.shape for x in inputs]}; reshape them first")
        inputs = _stored_alike(b, inputs)
        names = [x.name for x in inputs]
        if op in ("Sub", "Mul") or (op == "Add" and len(names) == 2):
            name = names[0]
            for other in names[1:]:
                name = b.node(op, [name, other])
        else:
            name = b.node({"Add": "Sum"}.get(op, op), names)
        return Tensor(name, shape, moved=inputs[0].moved)

    return emit


def _concatenate(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    rank = len(inputs[0].shape)
    axis = int(layer.config.get("axis", layer.config.get("concat_axis", -1))) % (rank + 1)
    shapes = [list(x.shape) for x in inputs]
    if axis == 0 or any(s[: axis - 1] + s[axis:] != shapes[0][: axis - 1] + shapes[0][axis:] for s in shapes):
        raise ModelError(f"{[x.shape for x in inputs]} cannot be joined along axis {axis}; check the architecture")
    shapes[0][axis - 1] = sum(shape[axis - 1] for shape in shapes)
    inputs = _stored_alike(b, inputs)
    stored = {1: 2, 2: 3, 3: 1}[axis] if inputs[0].moved else axis
    return Tensor(b.node("Concat", [x.name for x in inputs], axis=stored), tuple(shapes[0]), moved=inputs[0].moved)


def _stored_alike(b: Builder, inputs: Sequence[Tensor]) -> list[Tensor]:
    if any(x.moved for x in inputs):
        return [b.to_front(x) for x in inputs]
    return list(inputs)


def _merge_of_keras_1(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    mode = layer.config.get("mode")
    modes = {"sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum", "concat": "Concatenate"}
    if mode not in modes:
        raise ModelError(f"mode {shown(mode)} cannot be imported; supported: {', '.join(modes)}")
    return LAYERS[modes[mode]](b, layer, inputs)


# Activations


def _activate(b: Builder, x: Tensor, config: Mapping[str, Any]) -> Tensor:
    """Append what a layer's `activation` names: a function, or (Keras 2 and 3) a layer such as LeakyReLU."""
    activation = config.get("activation") or "linear"
    if isinstance(activation, dict) and activation["class_name"] == "function":
        activation = activation["config"]
    if isinstance(activation, dict):
        kind = kind_of(activation)
        layer = Layer(kind, kind, f"activation {kind}", activation.get("config") or {}, ())
        return _emitter(layer)(b, layer, [x])
    if activation not in ACTIVATIONS:
        known = ", ".join(sorted(ACTIVATIONS))
        raise ModelError(f"activation {shown(activation)} cannot be imported; supported: {known}")
    return ACTIVATIONS[activation](b, x)


def _activation(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    return _activate(b, _only(inputs), layer.config)


Apply = Callable[[Builder, Tensor], Tensor]


def _apply(op: str, *, ends: str = "logits", **attributes: Any) -> Apply:
    return lambda b, x: replace(x, name=b.node(op, [x.name], **attributes), ends=ends)


def _softmax(b: Builder, x: Tensor, axis: int = -1) -> Tensor:
    if axis % (len(x.shape) + 1) != len(x.shape):
        x = b.to_keras(x)
        return replace(x, name=b.node("Softmax", [x.name], axis=axis % (len(x.shape) + 1)))
    return replace(x, name=b.node("Softmax", [x.name], axis=1 if x.moved else -1), ends="softmax")


def _hard_sigmoid(b: Builder, x: Tensor) -> Tensor:
    slope = 1 / 6 if b.major >= 3 else 0.2  # Keras 3 redefined it
    return replace(x, name=b.node("HardSigmoid", [x.name], alpha=slope, beta=0.5), ends="sigmoid")


def _swish(b: Builder, x: Tensor) -> Tensor:
    return replace(x, name=b.node("Mul", [x.name, b.node("Sigmoid", [x.name])]), ends="logits")


def _gelu(b: Builder, x: Tensor) -> Tensor:
    erf = b.node("Erf", [b.node("Mul", [x.name, b.floats(math.sqrt(0.5))])])
    half = b.node("Mul", [x.name, b.floats(0.5)])
    return replace(x, name=b.node("Mul", [half, b.node("Add", [erf, b.floats(1.0)])]), ends="logits")


def _relu6(b: Builder, x: Tensor) -> Tensor:
    return replace(x, name=b.node("Clip", [x.name, b.floats(0.0), b.floats(6.0)]), ends="logits")


ACTIVATIONS: dict[str, Apply] = {
    "linear": lambda b, x: x,
    "relu": _apply("Relu"),
    "relu6": _relu6,
    "elu": _apply("Elu", alpha=1.0),
    "selu": _apply("Selu"),
    "leaky_relu": _apply("LeakyRelu", alpha=0.2),
    "tanh": _apply("Tanh"),
    "sigmoid": _apply("Sigmoid", ends="sigmoid"),
    "hard_sigmoid": _hard_sigmoid,
    "softmax": _softmax,
    "softmax_v2": _softmax,  # what Keras 2 calls tf.nn.softmax
    "softplus": _apply("Softplus"),
    "softsign": _apply("Softsign"),
    "exponential": _apply("Exp"),
    "swish": _swish,
    "silu": _swish,
    "hard_silu": _apply("HardSwish"),
    "hard_swish": _apply("HardSwish"),
    "mish": _apply("Mish"),
    "gelu": _gelu,
}


def _softmax_layer(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    axis = layer.config.get("axis", -1)
    return _softmax(b, _only(inputs), int(axis[0] if isinstance(axis, list) else axis))


def _relu_layer(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    """Append slope (x - threshold) below the threshold and min(x, max_value) from it on."""
    x, config = _only(inputs), layer.config
    most, slope, threshold = (config.get(key) for key in ("max_value", "negative_slope", "threshold"))
    slope, threshold = _number(slope, 0.0), _number(threshold, 0.0)
    if threshold:
        level = b.floats(threshold)
        below = b.node("Mul", [b.node("Sub", [x.name, level]), b.floats(slope)])
        name = b.node("Where", [b.node("GreaterOrEqual", [x.name, level]), x.name, below])
    else:
        name = b.node("LeakyRelu", [x.name], alpha=slope) if slope else b.node("Relu", [x.name])
    name = name if most is None else b.node("Min", [name, b.floats(_number(most, 0.0))])
    return replace(x, name=name, ends="logits")


def _leaky_relu(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    slope = _number(layer.config.get("negative_slope", layer.config.get("alpha")), 0.3)
    return _apply("LeakyRelu", alpha=slope)(b, _only(inputs))


def _elu_layer(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    return _apply("Elu", alpha=_number(layer.config.get("alpha"), 1.0))(b, _only(inputs))


def _thresholded_relu(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    return _apply("ThresholdedRelu", alpha=_number(layer.config.get("theta"), 1.0))(b, _only(inputs))


def _prelu(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    x, shared = _only(inputs), layer.config.get("shared_axes") or ()
    shape = tuple(1 if axis + 1 in shared else size for axis, size in enumerate(x.shape))
    slope = b.weight("alpha", shape, TO_FRONT if x.moved else ())
    return replace(x, name=b.node("PRelu", [x.name, slope]), ends="logits")


def _number(value: Any, default: float) -> float:
    """Return a setting as a float; Keras 2 writes some as a NumPy value in a dictionary."""
    if isinstance(value, dict):
        value = value.get("value")
    return default if value is None else float(value)


def _identity(b: Builder, layer: Layer, inputs: list[Tensor]) -> Tensor:
    return _only(inputs)


def _only(inputs: list[Tensor]) -> Tensor:
    if len(inputs) != 1:
        raise ModelError(f"it takes one input, got {len(inputs)}; check the architecture")
    return inputs[0]


IDENTITIES = (  # at prediction they pass on what they get
    "InputLayer", "Dropout", "SpatialDropout1D", "SpatialDropout2D", "GaussianDropout", "GaussianNoise", "AlphaDropout",
    "ActivityRegularization", "Identity", "RandomBrightness", "RandomContrast", "RandomFlip", "RandomRotation",
    "RandomTranslation", "RandomZoom",
)  # fmt: skip

LAYERS: dict[str, Emit] = {
    **dict.fromkeys(IDENTITIES, _identity),
    "Activation": _activation,
    "Add": _merge("Add"),
    "Average": _merge("Mean"),
    "AveragePooling2D": _pool("AveragePool", count_include_pad=0),
    "BatchNormalization": _batch_norm,
    "Concatenate": _concatenate,
    "Conv2D": _conv,
    "Cropping2D": _cropping,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise,
    "ELU": _elu_layer,
    "Flatten": _flatten,
    "GlobalAveragePooling2D": _global_pool("GlobalAveragePool"),
    "GlobalMaxPooling2D": _global_pool("GlobalMaxPool"),
    "LeakyReLU": _leaky_relu,
    "MaxPooling2D": _pool("MaxPool"),
    "Maximum": _merge("Max"),
    "Merge": _merge_of_keras_1,
    "Minimum": _merge("Min"),
    "Multiply": _merge("Mul"),
    "PReLU": _prelu,
    "Permute": _permute,
    "ReLU": _relu_layer,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "SeparableConv2D": _separable,
    "Softmax": _softmax_layer,
    "Subtract": _merge("Sub"),
    "ThresholdedReLU": _thresholded_relu,
    "UpSampling2D": _up_sampling,
    "ZeroPadding2D": _zero_padding,
}
