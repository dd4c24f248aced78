"""From TFLite to ONNX, for the operators that MediaPipe's face networks use.

TFLite keeps images as (N, H, W, C), ONNX as (N, C, H, W): four-dimensional values are turned on their way in and out
and before they are reshaped, and stay turned in between. Weights stored as float16 become float32. The number of
images, 1 in these files, is left free. Numbers of fields and operators are those of TensorFlow's `schema.fbs`.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien._onnx_graph import Attribute, Graph, Value
from mien.errors import ModelError
from mien.weights._flatbuffer import FlatTable

MAGIC = b"TFL3"
DTYPES = {0: "<f4", 1: "<f2", 2: "<i4", 4: "<i8"}  # TensorType
SAME = 0  # Padding
ACTIVATIONS = {0: (), 1: ("Relu",)}  # ActivationFunctionType
TO_ONNX, TO_TFLITE = [0, 3, 1, 2], [0, 2, 3, 1]  # how the axes of an image turn


def convert(data: bytes, names: Sequence[str] = ()) -> bytes:
    """Return a TFLite network as the bytes of an ONNX file.

    Args:
        data: The TFLite file.
        names: What its inputs and then its outputs shall be called; empty keeps the file's names.

    Returns:
        An ONNX file whose inputs and outputs have the shapes of the TFLite file, with any number of images.

    Raises:
        ModelError: It is no TFLite file, or has an operator that this converter does not know.
    """
    if data[4:8] != MAGIC:
        raise ModelError("this is no TFLite file; pull the weights again")
    try:
        return _Network(FlatTable.root(data)).written(names)
    except (struct.error, IndexError, KeyError, UnicodeDecodeError) as error:
        raise ModelError(f"this TFLite file cannot be read ({error!r}); pull the weights again") from error


class _Network:
    """A network on its way from TFLite's tables to an ONNX graph."""

    def __init__(self, model: FlatTable) -> None:
        subgraph = model.tables(2)[0]
        self._graph = Graph("tflite")
        self._codes = [max(code.number(0, "b"), code.number(3)) for code in model.tables(1)]
        self._buffers = model.tables(4)
        self._tensors = subgraph.tables(0)
        self._inputs: list[int] = subgraph.numbers(1).tolist()
        self._outputs: list[int] = subgraph.numbers(2).tolist()
        self._operators = subgraph.tables(3)
        self._folded: dict[int, NDArray[Any]] = {}  # constants that an operator made of constants
        self._names: dict[int, str] = {}  # values that are there already
        self._count = 0

    def written(self, names: Sequence[str]) -> bytes:
        """Return the ONNX file."""
        known = [self._tensors[i].text(3) for i in (*self._inputs, *self._outputs)]
        chosen = list(names) or known
        if len(chosen) != len(known):
            raise ModelError(f"names must be {len(known)} texts for {', '.join(known)}, got {len(chosen)}")
        ends = [
            Value(name, "float32", ("n", *self._shape(i)[1:]))
            for name, i in zip(chosen, (*self._inputs, *self._outputs), strict=True)
        ]
        inputs, outputs = ends[: len(self._inputs)], ends[len(self._inputs) :]
        for i, end in zip(self._inputs, inputs, strict=True):
            self._names[i] = self._turned(end.name, TO_ONNX) if len(end.shape) == 4 else end.name
        for operator in self._operators:
            self._translate(operator)
        for i, end in zip(self._outputs, outputs, strict=True):
            turn = {"perm": TO_TFLITE} if len(end.shape) == 4 else None
            self._graph.add("Transpose" if turn else "Identity", [self._names[i]], end.name, turn)
        return self._graph.serialise(inputs, outputs)

    def _translate(self, operator: FlatTable) -> None:
        code = self._codes[operator.number(0, "I")]
        if code not in OPERATORS:
            raise ModelError(f"this TFLite file has the operator {code}, which mien cannot convert; ask its authors")
        inputs, outputs = operator.numbers(1).tolist(), operator.numbers(2).tolist()
        options = operator.table(4) or FlatTable(b"\x04\0\x04\0\x04\0\0\0", 4)  # no fields: defaults
        OPERATORS[code](self, inputs, outputs[0], options)

    def _shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(self._tensors[tensor].numbers(0).tolist())

    def _constant(self, tensor: int) -> NDArray[Any]:
        """Return a constant's values, float16 as float32."""
        if tensor in self._folded:
            return self._folded[tensor]
        table = self._tensors[tensor]
        dtype = DTYPES[table.number(1, "b")]
        values = self._buffers[table.number(2, "I")].numbers(0, "u1").view(dtype).reshape(self._shape(tensor))
        return values.astype(np.float32) if dtype == "<f2" else values

    def _store(self, values: NDArray[Any]) -> str:
        return self._graph.constant(self._new("constant"), np.ascontiguousarray(values))

    def _new(self, kind: str) -> str:
        self._count += 1
        return f"{kind.lower()}_{self._count}"

    def _add(self, op: str, inputs: Sequence[str], attributes: dict[str, Attribute] | None = None) -> str:
        return self._graph.add(op, inputs, self._new(op), attributes)

    def _turned(self, name: str, axes: Sequence[int]) -> str:
        return self._add("Transpose", [name], {"perm": axes})

    def _finish(self, output: int, name: str, activation: int) -> None:
        """Append a fused activation, and note under which name the operator's value is known."""
        if activation not in ACTIVATIONS:
            raise ModelError(f"this TFLite file has the activation {activation}, which mien cannot convert")
        for op in ACTIVATIONS[activation]:
            name = self._add(op, [name])
        self._names[output] = name

    def _window(
        self, source: int, size: tuple[int, int], options: FlatTable, dilation: tuple[int, int]
    ) -> dict[str, Any]:
        """Return how a window moves over an image; SAME pads so that the output has ceil(length / stride) places."""
        strides = (options.number(2, default=1), options.number(1, default=1))
        low, high = [0, 0], [0, 0]
        if options.number(0, "b") == SAME:
            for axis, length in enumerate(self._shape(source)[1:3]):
                reach = (size[axis] - 1) * dilation[axis] + 1
                missing = max((-(-length // strides[axis]) - 1) * strides[axis] + reach - length, 0)
                low[axis], high[axis] = missing // 2, missing - missing // 2
        return {"kernel_shape": list(size), "strides": list(strides), "pads": [*low, *high]}

    def convolve(self, inputs: list[int], output: int, options: FlatTable) -> None:
        kernel = self._constant(inputs[1])  # (out, height, width, in)
        dilation = (options.number(5, default=1), options.number(4, default=1))
        self._convolve(inputs, output, options, kernel.transpose(0, 3, 1, 2), dilation, options.number(3, "b"), 1)

    def convolve_each(self, inputs: list[int], output: int, options: FlatTable) -> None:
        kernel = self._constant(inputs[1])  # (1, height, width, out)
        dilation = (options.number(6, default=1), options.number(5, default=1))
        groups = self._shape(inputs[0])[3]
        turned = kernel.transpose(3, 0, 1, 2)
        self._convolve(inputs, output, options, turned, dilation, options.number(4, "b"), groups)

    def _convolve(
        self,
        inputs: list[int],
        output: int,
        options: FlatTable,
        kernel: NDArray[Any],
        dilation: tuple[int, int],
        activation: int,
        groups: int,
    ) -> None:
        window = self._window(inputs[0], (kernel.shape[2], kernel.shape[3]), options, dilation)
        parts = [self._names[inputs[0]], self._store(kernel)]
        if len(inputs) > 2 and inputs[2] >= 0:
            parts.append(self._store(self._constant(inputs[2])))
        name = self._add("Conv", parts, {**window, "dilations": list(dilation), "group": groups})
        self._finish(output, name, activation)

    def pool(self, inputs: list[int], output: int, options: FlatTable) -> None:
        window = self._window(inputs[0], (options.number(4), options.number(3)), options, (1, 1))
        self._finish(output, self._add("MaxPool", [self._names[inputs[0]]], window), options.number(5, "b"))

    def dequantise(self, inputs: list[int], output: int, options: FlatTable) -> None:
        self._folded[output] = self._constant(inputs[0]).astype(np.float32)

    def add(self, inputs: list[int], output: int, options: FlatTable) -> None:
        first, second = (self._names[i] for i in inputs)
        self._finish(output, self._add("Add", [first, second]), options.number(0, "b"))

    def rectify(self, inputs: list[int], output: int, options: FlatTable) -> None:
        self._finish(output, self._names[inputs[0]], 1)

    def bend(self, inputs: list[int], output: int, options: FlatTable) -> None:
        """PReLU, one slope a channel."""
        slope = self._constant(inputs[1]).reshape(-1, 1, 1)
        self._finish(output, self._add("PRelu", [self._names[inputs[0]], self._store(slope)]), 0)

    def pad(self, inputs: list[int], output: int, options: FlatTable) -> None:
        widths = self._constant(inputs[1])[TO_ONNX].astype(np.int64)
        self._finish(output, self._add("Pad", [self._names[inputs[0]], self._store(widths.T.ravel())]), 0)

    def resize(self, inputs: list[int], output: int, options: FlatTable) -> None:
        """Bilinear."""
        before, after = (np.array(self._shape(i), np.float32) for i in (inputs[0], output))
        corners, half = options.number(2, "b"), options.number(3, "b")
        mode = "align_corners" if corners else "half_pixel" if half else "asymmetric"
        scales = self._store((after / before)[TO_ONNX])
        attributes: dict[str, Attribute] = {"mode": "linear", "coordinate_transformation_mode": mode}
        self._finish(output, self._add("Resize", [self._names[inputs[0]], "", scales], attributes), 0)

    def reshape(self, inputs: list[int], output: int, options: FlatTable) -> None:
        name = self._names[inputs[0]]
        if len(self._shape(inputs[0])) == 4:
            name = self._turned(name, TO_TFLITE)
        shape = self._store(np.array([0, *self._shape(output)[1:]], np.int64))  # 0 keeps the number of images
        if len(self._shape(output)) == 4:
            raise ModelError("this TFLite file makes an image by reshaping, which mien cannot convert")
        self._finish(output, self._add("Reshape", [name, shape]), 0)

    def concatenate(self, inputs: list[int], output: int, options: FlatTable) -> None:
        axis = options.number(0)
        axis = TO_ONNX.index(axis) if len(self._shape(output)) == 4 else axis
        name = self._add("Concat", [self._names[i] for i in inputs], {"axis": axis})
        self._finish(output, name, options.number(1, "b"))


OPERATORS: dict[int, Callable[[_Network, list[int], int, FlatTable], None]] = {  # BuiltinOperator
    0: _Network.add,
    2: _Network.concatenate,
    3: _Network.convolve,
    4: _Network.convolve_each,
    6: _Network.dequantise,
    17: _Network.pool,
    19: _Network.rectify,
    22: _Network.reshape,
    23: _Network.resize,
    34: _Network.pad,
    54: _Network.bend,
}
