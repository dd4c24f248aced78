"""dlib's face recognition network, from dlib's own file to ONNX.

The file is what dlib's `serialize` writes (serialize.h and dnn/core.h of dlib 19, Boost licence): integers are a count
of bytes and those bytes, floats a mantissa and an exponent, tensors four sizes and raw float32. A network is written
from the outside in: first the versions of all its layers, then the input layer, then what each layer holds, in the
order in which an image passes them. The wiring is not in the file, it is in the C++ type: `anet_type` of dlib's example
dnn_face_recognition_ex.cpp, a ResNet (He et al. 2016) of 29 convolutions. Here the file's layers are read one by one,
compared with that wiring, and written as an ONNX graph with the affine layers and the input's mean folded in.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from mien._onnx_graph import Graph, Value
from mien.errors import ModelError
from mien.faces import Floats

SIDE_PX, LENGTH = 150, 128
PIXEL_SCALE = np.float32(256)
HEAD, SUM, TAIL = ("con", "affine", "relu", "max_pool"), ("add_prev", "relu"), ("avg_pool", "fc")
TWO_CONVOLUTIONS = ("con", "affine", "relu", "con", "affine")
BLOCK, BLOCK_DOWN = (*TWO_CONVOLUTIONS, *SUM), (*TWO_CONVOLUTIONS, "avg_pool", *SUM)
DOWN = (False, False, False, True, False, False, False, True, False, False, True, False, False, True)  # of 14 blocks
MOST_VERSIONS = 1000
INTEGER_BYTES = 8


@dataclass(frozen=True)
class DlibLayer:
    """What one layer of the file holds.

    Attributes:
        kind: dlib's name of it without its version: `con`, `affine`, `relu`, `max_pool`, `avg_pool`, `add_prev`, `fc`.
        weights: float32 of any shape, or None: filters (out, in, rows, columns), the factors of an affine layer, a
            matrix (in, out).
        biases: (out,) float32, or None.
        window: Rows and columns of a filter or pool; 0 for all there are.
        stride: Down and across.
        padding: Above and below, left and right.
    """

    kind: str
    weights: Floats | None = None
    biases: Floats | None = None
    window: tuple[int, int] = (0, 0)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)


def convert(data: bytes) -> bytes:
    """Return dlib's face recognition network as an ONNX file.

    Its input `images` is (N, 150, 150, 3) uint8 RGB, its output `embeddings` (N, 128) float32: two faces closer than
    0.6, by Euclidean distance, are said to be of one person.

    Args:
        data: The content of `dlib_face_recognition_resnet_model_v1.dat`.

    Raises:
        ModelError: It is something else.
    """
    mean, layers = read_layers(data)
    wanted = (*HEAD, *(kind for down in DOWN for kind in (BLOCK_DOWN if down else BLOCK)), *TAIL)
    if tuple(layer.kind for layer in layers) != wanted:
        raise ModelError(f"this is not dlib's face recognition network: it has {len(layers)} layers of another order")
    return _Writer(mean).write(layers)


def read_layers(data: bytes) -> tuple[Floats, list[DlibLayer]]:
    """Return the mean colour that a network subtracts from its input, (3,) float32, and its layers in order.

    Args:
        data: A file of dlib's with a `loss_metric` network for RGB images.

    Raises:
        ModelError: It is something else, or damaged.
    """
    try:
        stream = _Stream(data)
        stream.integer()  # version of the loss layer's wrapper
        stream.expect("loss_metric")
        stream.float(), stream.float()  # margin and threshold of the training
        stream.skip_versions()
        mean = stream.expect_input()
        return mean, list(_layers(stream))
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise ModelError(f"this is no network of dlib's that mien can read: {error}") from error


class _Stream:
    """dlib's serialised values, one after another."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        part = self.data[self.at : self.at + count]
        if count < 0 or len(part) < count:
            raise ValueError(f"it ends at byte {len(self.data)}, in the middle of a value")
        self.at += count
        return part

    def integer(self) -> int:
        head = self.take(1)[0]
        if head & 0x70 or not 1 <= head & 0x0F <= INTEGER_BYTES:
            raise ValueError(f"no number at byte {self.at - 1}")
        value = int.from_bytes(self.take(head & 0x0F), "little")
        return -value if head & 0x80 else value

    def integers(self, count: int) -> tuple[int, ...]:
        return tuple(self.integer() for _ in range(count))

    def float(self) -> float:
        mantissa, exponent = self.integers(2)
        return float(mantissa) * 2.0**exponent

    def text(self) -> str:
        return self.take(self.integer()).decode("ascii")

    def kind(self) -> str:
        """Return the name of a layer without its version."""
        return self.text().rstrip("0123456789").rstrip("_")

    def expect(self, kind: str) -> None:
        came = self.kind()
        if came != kind:
            raise ValueError(f"a layer {kind} is missing")

    def skip_versions(self) -> None:
        """Go past the versions of all layers, to the length of the input layer's name."""
        for _ in range(MOST_VERSIONS):
            before = self.at
            if self.integer() > 3:
                self.at = before
                return
        raise ValueError("the input layer is missing")

    def expect_input(self) -> Floats:
        self.expect("input_rgb_image_sized")
        mean = np.array([self.float() for _ in range(3)], np.float32)
        if self.integers(2) != (SIDE_PX, SIDE_PX):
            raise ValueError(f"it is not for images of {SIDE_PX}x{SIDE_PX} pixels")
        return mean

    def tensor(self) -> Floats:
        """Return a tensor's values, flat."""
        if self.integer() != 2:
            raise ValueError(f"an unknown kind of tensor at byte {self.at}")
        size = prod(self.integers(4))
        return np.frombuffer(self.take(4 * size), "<f4").astype(np.float32)

    def alias(self) -> tuple[int, ...]:
        """Return the sizes of a part of a tensor."""
        if self.integer() != 1:
            raise ValueError(f"an unknown kind of alias at byte {self.at}")
        return self.integers(4)


def _layers(stream: _Stream) -> Iterator[DlibLayer]:
    """Yield the layers up to the end; each is followed by what training left behind: three flags, three tensors."""
    while stream.at < len(stream.data):
        kind = stream.kind()
        yield READERS[kind](stream, kind)
        stream.take(3)
        for _ in range(3):
            stream.tensor()
        if kind == "con" and stream.data[stream.at : stream.at + 2] == b"\x01\x01":
            stream.integer()  # the first layer alone: how many samples one image becomes


def _read_con(stream: _Stream, kind: str) -> DlibLayer:
    values = stream.tensor()
    stream.integer()  # filters, again in the alias
    window, stride, padding = stream.integers(2), stream.integers(2), stream.integers(2)
    shape, biases = stream.alias(), prod(stream.alias())
    [stream.float() for _ in range(4)]  # rates of the training
    if len(values) != prod(shape) + biases:
        raise ValueError("a convolution has not as many values as its shape says")
    weights = values[: prod(shape)].reshape(shape)
    return DlibLayer(kind, weights, values[prod(shape) :], window, stride, padding)  # type: ignore[arg-type]


def _read_affine(stream: _Stream, kind: str) -> DlibLayer:
    values = stream.tensor()
    factors = prod(stream.alias())
    stream.alias()
    stream.integer()  # whether it stands behind a convolution
    return DlibLayer(kind, values[:factors], values[factors:])


def _read_pool(stream: _Stream, kind: str) -> DlibLayer:
    window, stride, padding = stream.integers(2), stream.integers(2), stream.integers(2)
    return DlibLayer(kind, window=window, stride=stride, padding=padding)  # type: ignore[arg-type]


def _read_fc(stream: _Stream, kind: str) -> DlibLayer:
    outputs, inputs = stream.integers(2)
    values = stream.tensor()
    stream.alias(), stream.alias()
    stream.integer()
    [stream.float() for _ in range(4)]
    return DlibLayer(kind, values.reshape(inputs, outputs))


READERS: dict[str, Callable[[_Stream, str], DlibLayer]] = {
    "con": _read_con,
    "affine": _read_affine,
    "relu": lambda _, kind: DlibLayer(kind),
    "add_prev": lambda _, kind: DlibLayer(kind),
    "max_pool": _read_pool,
    "avg_pool": _read_pool,
    "fc": _read_fc,
}


@dataclass(frozen=True)
class _Map:
    """A value of the graph: its name, how many channels, and their height and width."""

    name: str
    channels: int
    side: int


class _Writer:
    """Writes the graph, in the order in which a crop passes it."""

    def __init__(self, mean: Floats) -> None:
        self._mean, self._graph, self._nodes = mean, Graph("dlib_face_recognition"), 0

    def write(self, layers: list[DlibLayer]) -> bytes:
        graph = self._graph
        graph.add("Cast", ["images"], "pixels", {"to": 1})
        graph.add("Transpose", ["pixels"], "planes", {"perm": (0, 3, 1, 2)})
        con, affine, _, pool = layers[: len(HEAD)]
        first = self._conv(_Map("planes", 3, SIDE_PX), self._for_pixels(con), affine)
        at = self._pool("MaxPool", self._node("Relu", first), pool)
        start = len(HEAD)
        for down in DOWN:
            end = start + len(BLOCK_DOWN if down else BLOCK)
            at = self._block(at, layers[start:end])
            start = end
        flat = self._node("Flatten", self._node("GlobalAveragePool", at))
        graph.add("MatMul", [flat.name, graph.constant("fc", _known(layers[-1].weights))], "embeddings")
        return graph.serialise(
            [Value("images", "uint8", ("N", SIDE_PX, SIDE_PX, 3))], [Value("embeddings", "float32", ("N", LENGTH))]
        )

    def _for_pixels(self, con: DlibLayer) -> DlibLayer:
        """Return the first convolution for pixels as they are: dlib's takes (pixel - mean) / 256, without padding."""
        weights = _known(con.weights) / PIXEL_SCALE
        biases = _known(con.biases) - (weights * self._mean[:, None, None]).sum(axis=(1, 2, 3))
        return replace(con, weights=weights, biases=biases)

    def _block(self, at: _Map, layers: list[DlibLayer]) -> _Map:
        """Write two convolutions and the way around them, which is averaged down where they halve the size."""
        con, affine, _, second, second_affine, *pool = layers[: -len(SUM)]
        inner = self._conv(self._node("Relu", self._conv(at, con, affine)), second, second_affine)
        around = self._pool("AveragePool", at, pool[0]) if pool else at
        return self._node("Relu", self._sum(inner, around))

    def _sum(self, a: _Map, b: _Map) -> _Map:
        """Add two maps; dlib takes what one of them lacks, channels or lines at the right and below, for zero."""
        channels, side = max(a.channels, b.channels), max(a.side, b.side)
        names = [self._widened(one, channels, side).name for one in (a, b)]
        return _Map(self._graph.add("Add", names, self._name()), channels, side)

    def _widened(self, at: _Map, channels: int, side: int) -> _Map:
        missing = (0, 0, 0, 0, 0, channels - at.channels, side - at.side, side - at.side)
        if not any(missing):
            return at
        name = self._name()
        pads = self._graph.constant(f"{name}_pads", np.array(missing, np.int64))
        return _Map(self._graph.add("Pad", [at.name, pads], name), channels, side)

    def _conv(self, at: _Map, con: DlibLayer, affine: DlibLayer) -> _Map:
        """Write a convolution with the affine layer behind it, which scales and shifts each channel, folded in."""
        factors, shifts = _known(affine.weights), _known(affine.biases)
        weights = _known(con.weights) * factors[:, None, None, None]
        name = self._name()
        inputs = [
            at.name,
            self._graph.constant(f"{name}_weights", weights),
            self._graph.constant(f"{name}_biases", _known(con.biases) * factors + shifts),
        ]
        self._graph.add("Conv", inputs, name, _window(con))
        return _Map(name, len(weights), _side(at.side, con))

    def _pool(self, op: str, at: _Map, layer: DlibLayer) -> _Map:
        return _Map(self._graph.add(op, [at.name], self._name(), _window(layer)), at.channels, _side(at.side, layer))

    def _node(self, op: str, at: _Map) -> _Map:
        return replace(at, name=self._graph.add(op, [at.name], self._name()))

    def _name(self) -> str:
        self._nodes += 1
        return f"node{self._nodes}"


def _known(values: Floats | None) -> Floats:
    if values is None:
        raise ModelError("a layer of dlib's network lacks its weights")
    return values


def _window(layer: DlibLayer) -> dict[str, tuple[int, ...]]:
    return {"kernel_shape": layer.window, "strides": layer.stride, "pads": layer.padding * 2}


def _side(side: int, layer: DlibLayer) -> int:
    return (side + 2 * layer.padding[0] - layer.window[0]) // layer.stride[0] + 1
