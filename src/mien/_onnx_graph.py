"""A tiny writer of ONNX files: enough of protocol buffers to describe a small network without the `onnx` package.

An ONNX model is a protocol-buffer message: a sequence of fields, each a tag (`number << 3 | wire type`) and a value
that is either a base-128 integer or a length and that many bytes. Field numbers are those of `onnx.proto`, IR
version 8.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

IR_VERSION = 8
OPSET = 13
ELEMENT_TYPES = {"float32": 1, "uint8": 2, "int64": 7, "bool": 9}

Attribute = int | float | str | Sequence[int]
Tensor = NDArray[np.float32] | NDArray[np.int64]


@dataclass(frozen=True)
class Value:
    """An input or output of a graph.

    Attributes:
        name: Its name.
        dtype: NumPy name of its element type, a key of `ELEMENT_TYPES`.
        shape: Sizes; a string names a size that is free.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass
class Graph:
    """A graph under construction: call `add` once per node, in order of execution, then `serialise`."""

    name: str
    _nodes: list[bytes] = field(default_factory=list)
    _initializers: list[bytes] = field(default_factory=list)

    def constant(self, name: str, value: Tensor) -> str:
        """Store an array under a name and return the name.

        Args:
            name: Name unique within the graph.
            value: float32 or int64 array of any shape.
        """
        dims = b"".join(_integer(1, size) for size in value.shape)
        data = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False).tobytes()
        kind = _integer(2, ELEMENT_TYPES[value.dtype.name])
        self._initializers.append(dims + kind + _text(8, name) + _bytes(9, data))
        return name

    def add(
        self,
        op: str,
        inputs: Sequence[str],
        outputs: str | Sequence[str],
        attributes: Mapping[str, Attribute] | None = None,
    ) -> str:
        """Append a node and return the name of its first output.

        Args:
            op: Operator of the default ONNX domain.
            inputs: Names of its inputs; `""` leaves an optional one out.
            outputs: Name or names of its outputs.
            attributes: Its attributes.
        """
        names = [outputs] if isinstance(outputs, str) else list(outputs)
        self._nodes.append(
            b"".join(_text(1, name) for name in inputs)
            + b"".join(_text(2, name) for name in names)
            + _text(3, names[0])
            + _text(4, op)
            + b"".join(_bytes(5, _attribute(key, value)) for key, value in (attributes or {}).items())
        )
        return names[0]

    def serialise(self, inputs: Sequence[Value], outputs: Sequence[Value]) -> bytes:
        """Return the model as the bytes of an ONNX file.

        Args:
            inputs: Inputs of the graph.
            outputs: Outputs of the graph.
        """
        graph = (
            b"".join(_bytes(1, node) for node in self._nodes)
            + _text(2, self.name)
            + b"".join(_bytes(5, tensor) for tensor in self._initializers)
            + b"".join(_bytes(11, _value_info(value)) for value in inputs)
            + b"".join(_bytes(12, _value_info(value)) for value in outputs)
        )
        opset = _text(1, "") + _integer(2, OPSET)
        return _integer(1, IR_VERSION) + _text(2, "mien") + _bytes(7, graph) + _bytes(8, opset)


def _varint(value: int) -> bytes:
    value &= 0xFFFF_FFFF_FFFF_FFFF  # negative numbers are written as their 64-bit two's complement
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())


def _attribute(name: str, value: Attribute) -> bytes:
    """Return an AttributeProto; its field 20 repeats which kind of value it holds."""
    head = _text(1, name)
    if isinstance(value, str):
        return head + _text(4, value) + _integer(20, 3)
    if isinstance(value, int):
        return head + _integer(3, value) + _integer(20, 2)
    if isinstance(value, float):
        return head + _varint(2 << 3 | 5) + struct.pack("<f", value) + _integer(20, 1)
    return head + b"".join(_integer(8, item) for item in value) + _integer(20, 7)


def _value_info(value: Value) -> bytes:
    dims = b"".join(_bytes(1, _text(2, d) if isinstance(d, str) else _integer(1, d)) for d in value.shape)
    tensor = _integer(1, ELEMENT_TYPES[value.dtype]) + _bytes(2, dims)
    return _text(1, value.name) + _bytes(2, _bytes(1, tensor))
