"""The three networks of MTCNN as ONNX Runtime sessions, from the weights in the `mtcnn` wheel.

The wheel's own code is not imported: it needs TensorFlow. Its weight files are pickles, so each one's SHA-256 is
compared with the pinned one before it is read. They are lists of Keras arrays: convolutions as (height, width, in,
out), then bias and PReLU slopes; the last layers are box, (landmarks,) and a two-way softmax.

Three exact rewritings make the networks fast; each was measured, and tests compare them with plain arithmetic:

- The normalisation (x - 127.5) / 128 is folded into the first convolution, so images enter as uint8.
- PReLU with slope a is written as a·y + (1 - a)·max(y, 0): ONNX Runtime's PRelu is slow, it takes more time than all
  convolutions together, while these operators are merged into its blocked convolutions.
- The channels of the first convolution are padded with zeros to full blocks, so that no layout change is needed.

The softmax over (no face, face) is the sigmoid of the difference of its two inputs; the networks return that
difference.
"""

import functools
import hashlib
import importlib.util
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien._onnx_graph import Graph, Value
from mien._onnxruntime import ort
from mien.errors import ModelError
from mien.faces import Floats

SHA256 = {
    "pnet": "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
    "rnet": "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    "onet": "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
}
PNET_CELL_PX, RNET_PX, ONET_PX = 12, 24, 48
CHANNEL_BLOCK = 16  # of ONNX Runtime's blocked layout with AVX-512; a multiple of what narrower processors use
MEAN, SPREAD = 127.5, 128.0


def weights_folder() -> Path:
    """Return the folder of the weight files in the installed `mtcnn` wheel, without importing it.

    Raises:
        ModelError: The wheel is not installed.
    """
    spec = importlib.util.find_spec("mtcnn")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("the mtcnn detector reads its weights from the mtcnn wheel; run: pip install mtcnn==1.0.0")
    return Path(spec.submodule_search_locations[0]) / "assets" / "weights"


def read_weights(name: str, folder: Path | None = None) -> list[Floats]:
    """Read the weights of one network after checking that the file is the known one.

    Args:
        name: `"pnet"`, `"rnet"` or `"onet"`.
        folder: Where `<name>.lz4` lies; None takes the installed wheel.

    Returns:
        float32 arrays in the order of the network's layers.

    Raises:
        ModelError: The file is missing, or its SHA-256 is not the pinned one; then none of it is unpickled.
    """
    path = (folder or weights_folder()) / f"{name}.lz4"
    mend = "run: pip install --force-reinstall --no-deps mtcnn==1.0.0"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}; {mend}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256[name]:
        raise ModelError(f"{path} must have the SHA-256 {SHA256[name]}, got {digest}; {mend}")
    import joblib

    arrays: list[Floats] = joblib.load(io.BytesIO(data))
    return arrays


class _Layers:
    """Writes a network layer by layer; each layer takes its arrays from the front of the Keras list."""

    def __init__(self, name: str, arrays: Sequence[Floats]) -> None:
        self._graph = Graph(name)
        self._arrays: Iterator[Floats] = iter(arrays)
        self._number = 0
        self._padding = 0  # zero channels that the last layer appended
        chw = self._graph.add("Transpose", ["image"], "chw", {"perm": [0, 3, 1, 2]})
        self._value = self._graph.add("Cast", [chw], "pixels", {"to": 1})

    def convolve(self) -> None:
        """Append a convolution without padding and its PReLU."""
        kernel, bias, slope = (next(self._arrays) for _ in range(3))
        first = self._number == 0
        kernel, bias = _normalising(kernel, bias) if first else (kernel, bias)
        extra = -len(bias) % CHANNEL_BLOCK if first else 0
        kernel = np.pad(kernel, ((0, 0), (0, 0), (0, self._padding), (0, extra)))
        self._padding = extra
        self._convolution(kernel, np.pad(bias, (0, extra)))
        self._prelu(np.pad(slope.ravel(), (0, extra)).reshape(-1, 1, 1))

    def pool(self, size: int, *, same: bool) -> None:
        """Append max pooling with stride 2; `same` lets the last window reach over the right and lower border."""
        attributes = {"kernel_shape": [size, size], "strides": [2, 2], "auto_pad": "SAME_UPPER" if same else "VALID"}
        self._append("MaxPool", [], attributes)

    def dense(self, shape: tuple[int, int, int]) -> None:
        """Append a fully connected layer and its PReLU.

        Args:
            shape: (width, height, channels) in which Keras flattened its input; here it is (channels, height, width).
        """
        weight, bias, slope = (next(self._arrays) for _ in range(3))
        weight = weight.reshape(*shape, -1).transpose(2, 1, 0, 3).reshape(weight.shape)
        self._append("Flatten", [])
        self._append("Gemm", [self._constant("w", weight), self._constant("b", bias)])
        self._prelu(slope)

    def head(self) -> None:
        """Append all last layers as one: boxes, landmarks where there are any, and the face logit as last channel."""
        rest = list(self._arrays)
        weights, biases = rest[0::2], rest[1::2]
        weight = np.concatenate([*weights[:-1], weights[-1][..., 1:] - weights[-1][..., :1]], axis=-1)
        bias = np.concatenate([*biases[:-1], biases[-1][1:] - biases[-1][:1]])
        if weight.ndim == 4:
            self._convolution(weight, bias)
        else:
            self._append("Gemm", [self._constant("w", weight), self._constant("b", bias)])

    def serialise(self, image_shape: tuple[int | str, ...], found_shape: tuple[int | str, ...]) -> bytes:
        """Return the ONNX file; its input is `image`, uint8, and its output `found`, float32."""
        self._graph.add("Identity", [self._value], "found")
        return self._graph.serialise([Value("image", "uint8", image_shape)], [Value("found", "float32", found_shape)])

    def _convolution(self, kernel: Floats, bias: Floats) -> None:
        weight = self._constant("w", kernel.transpose(3, 2, 0, 1))
        self._append("Conv", [weight, self._constant("b", bias)], {"kernel_shape": list(kernel.shape[:2])})

    def _prelu(self, slope: Floats) -> None:
        linear = self._value
        above = self._append("Relu", [])
        self._graph.add("Mul", [above, self._constant("rest", 1 - slope)], above + "_scaled")
        self._graph.add("Mul", [linear, self._constant("slope", slope)], linear + "_scaled")
        self._value = self._graph.add("Add", [linear + "_scaled", above + "_scaled"], linear + "_prelu")

    def _append(self, op: str, more: Sequence[str], attributes: dict[str, Any] | None = None) -> str:
        self._number += 1
        self._value = self._graph.add(op, [self._value, *more], f"{op.lower()}{self._number}", attributes)
        return self._value

    def _constant(self, kind: str, value: Floats) -> str:
        return self._graph.constant(f"{kind}{self._number}", value.astype(np.float32))


def _normalising(kernel: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """Return the convolution that does (x - MEAN) / SPREAD and then the given one, which must not pad its input."""
    total = kernel.sum(axis=(0, 1, 2), dtype=np.float64)
    return (kernel / SPREAD).astype(np.float32), (bias - total * (MEAN / SPREAD)).astype(np.float32)


def build_pnet(arrays: Sequence[Floats]) -> bytes:
    """Return the proposal network: `image` (1, H, W, 3) uint8 to `found` (1, 5, h, w), h = ceil((H - 2) / 2) - 4."""
    net = _Layers("pnet", arrays)
    net.convolve()
    net.pool(2, same=True)
    net.convolve()
    net.convolve()
    net.head()
    return net.serialise((1, "height", "width", 3), (1, 5, "rows", "columns"))


def build_rnet(arrays: Sequence[Floats]) -> bytes:
    """Return the refinement network: `image` (N, 24, 24, 3) uint8 to `found` (N, 5)."""
    net = _Layers("rnet", arrays)
    net.convolve()
    net.pool(3, same=True)
    net.convolve()
    net.pool(3, same=False)
    net.convolve()
    net.dense((3, 3, 64))
    net.head()
    return net.serialise(("n", RNET_PX, RNET_PX, 3), ("n", 5))


def build_onet(arrays: Sequence[Floats]) -> bytes:
    """Return the output network: `image` (N, 48, 48, 3) uint8 to `found` (N, 15): 4 sides, 5 x, 5 y, logit."""
    net = _Layers("onet", arrays)
    net.convolve()
    net.pool(3, same=True)
    net.convolve()
    net.pool(3, same=False)
    net.convolve()
    net.pool(2, same=True)
    net.convolve()
    net.dense((3, 3, 128))
    net.head()
    return net.serialise(("n", ONET_PX, ONET_PX, 3), ("n", 15))


@dataclass(frozen=True)
class Networks:
    """The three networks, ready to run; safe to share between threads."""

    pnet: ort.InferenceSession
    rnet: ort.InferenceSession
    onet: ort.InferenceSession


@functools.cache
def load_networks(threads: int) -> Networks:
    """Return the networks; they are built once per process and number of threads.

    Args:
        threads: CPU threads of each session; 0 lets ONNX Runtime choose.

    Raises:
        ModelError: A weight file is missing or not the known one.
    """
    return Networks(
        _session(build_pnet(read_weights("pnet")), threads),
        _session(build_rnet(read_weights("rnet")), threads),
        _session(build_onet(read_weights("onet")), threads),
    )


def _session(model: bytes, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads leave the processor alone
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(session: ort.InferenceSession, image: NDArray[np.uint8]) -> Floats:
    """Return the only output of a network.

    Args:
        session: One of `Networks`.
        image: uint8, as the network takes it.
    """
    found: Floats = session.run(None, {"image": image})[0]
    return found
