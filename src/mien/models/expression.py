"""The expression model: one ONNX file from crops to probabilities, with its card in the file's metadata."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mien._onnxruntime import ort
from mien.errors import DeviceError, InputError, ModelError
from mien.faces import CROP_PX
from mien.labels import LabelSet

METADATA_KEY = "mien.card"
CARD_VERSION = 1
INPUT_NAME = "crops"
MAX_BATCH = 256  # keeps the working memory of a large batch flat

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
AUTO_ORDER = ("cuda", "rocm", "directml")  # the others compile the graph for seconds: ask for them by name

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RuntimeSettings:
    """Where and how ONNX Runtime runs.

    Attributes:
        device: `"auto"` or a key of `PROVIDERS`.
        threads: CPU threads for one call; 0 lets ONNX Runtime choose.
        gpu_memory_mb: Limit of the GPU memory arena in MiB; None for no limit.
    """

    device: str = "auto"
    threads: int = 1
    gpu_memory_mb: int | None = None

    def __post_init__(self) -> None:
        """Check names and ranges."""
        if self.device != "auto" and self.device not in PROVIDERS:
            raise InputError(f"unknown device {self.device!r}; known: auto, {', '.join(PROVIDERS)}")
        if self.threads < 0:
            raise InputError(f"threads must be 0 (automatic) or more, got {self.threads}")
        if self.gpu_memory_mb is not None and self.gpu_memory_mb < 1:
            raise InputError(f"gpu_memory_mb must be at least 1, got {self.gpu_memory_mb}")


def available_devices() -> list[str]:
    """Return the devices that the installed onnxruntime build offers, as keys of `PROVIDERS`."""
    installed = ort.get_available_providers()
    return [device for device, provider in PROVIDERS.items() if provider in installed]


def choose_device(settings: RuntimeSettings) -> str:
    """Return the device that will be used.

    Args:
        settings: What was asked for; `"auto"` takes the first accelerator there is, else the CPU.

    Raises:
        DeviceError: The device asked for is not in the installed onnxruntime; the message says what is.
    """
    offered = available_devices()
    if settings.device == "auto":
        return next((device for device in AUTO_ORDER if device in offered), "cpu")
    if settings.device not in offered:
        raise DeviceError(
            f"device {settings.device!r} needs {PROVIDERS[settings.device]}, but this onnxruntime offers only "
            f"{', '.join(offered)}; install the matching build (onnxruntime-gpu for cuda) or use --device auto"
        )
    return settings.device


def create_session(model: str | bytes, settings: RuntimeSettings) -> ort.InferenceSession:
    """Open an ONNX graph on the chosen device.

    With `"auto"`, a device that is installed but fails to start gives way to the CPU, with a logged note.

    Args:
        model: Path or content of the ONNX file.
        settings: Device, threads, memory.

    Raises:
        DeviceError: The device asked for by name is absent or fails to start.
    """
    device = choose_device(settings)
    session = _open(model, device, settings)
    if PROVIDERS[device] in session.get_providers():
        return session
    if settings.device != "auto":
        raise DeviceError(f"device {device!r} is installed but did not start; check its driver or use --device cpu")
    logger.warning("device %r did not start; running on the CPU", device)
    return session


def open_model(content: bytes, path: str | Path, settings: RuntimeSettings) -> ort.InferenceSession:
    """Open the content of a model file.

    Args:
        content: The bytes of the file.
        path: Where they came from, for the message.
        settings: Device, threads, memory.

    Raises:
        ModelError: It is no ONNX model that onnxruntime can open.
        DeviceError: The device asked for by name is absent or fails to start.
    """
    try:
        return create_session(content, settings)
    except DeviceError:
        raise
    except Exception as error:  # onnxruntime raises a dozen kinds, none of them public
        raise ModelError(f"{path} is not an ONNX model that onnxruntime can open ({first_line(error)})") from error


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, at most 200 characters, or the name of its kind.

    Args:
        error: Of a library, whose messages may be long.
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def check_crops(crops: NDArray[np.uint8]) -> None:
    """Refuse what is no input of a model.

    Args:
        crops: (N, 48, 48) uint8 gray; N may be 0.

    Raises:
        InputError: They have another shape or dtype, or are no array.
    """
    if not isinstance(crops, np.ndarray) or crops.shape[1:] != (CROP_PX, CROP_PX) or crops.dtype != np.uint8:
        came = f"{crops.shape} {crops.dtype}" if isinstance(crops, np.ndarray) else type(crops).__name__
        raise InputError(f"crops must be (N, {CROP_PX}, {CROP_PX}) uint8, got {came}; call align.crop_faces() first")


def _open(model: str | bytes, device: str, settings: RuntimeSettings) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # an idle model must not burn a core
    chosen: list[Any] = [PROVIDERS["cpu"]]
    if device != "cpu":
        limit = {} if settings.gpu_memory_mb is None else {"gpu_mem_limit": str(settings.gpu_memory_mb * 2**20)}
        chosen.insert(0, (PROVIDERS[device], limit if device in ("cuda", "rocm") else {}))
    return ort.InferenceSession(model, options, providers=chosen)


@dataclass(frozen=True)
class Measured:
    """An accuracy somebody measured.

    Attributes:
        head: Key of the label set.
        split: Data set and split, with the rule that chose the images.
        n: Number of images.
        accuracy: 0-1.
    """

    head: str
    split: str
    n: int
    accuracy: float


@dataclass(frozen=True)
class ModelCard:
    """What a model file says about itself.

    Attributes:
        name: Name in the catalogue.
        version: Version of the weights.
        heads: Label names of each output, by output name, in the order of its columns.
        landmarks_px: (5, 2) nested tuple, where the framing of the training crops has the eyes, nose and mouth corners,
            pixels of the 48x48 crop; None if unknown.
        data: Data set the weights were trained on.
        licence: Licence of the weights.
        measured: Accuracies with split and N.
        temperatures: Softmax temperature of each head, already inside the graph.
        exponents: The temperature is multiplied by this power of the standard deviation of an image's logits, in the
            graph as well; a head that is not named has 0.
        trained: How: net, epochs, seed and the version of mien.
    """

    name: str
    version: str
    heads: Mapping[str, tuple[str, ...]]
    landmarks_px: tuple[tuple[float, float], ...] | None = None
    data: str = ""
    licence: str = ""
    measured: tuple[Measured, ...] = ()
    temperatures: Mapping[str, float] = field(default_factory=dict)
    exponents: Mapping[str, float] = field(default_factory=dict)
    trained: str = ""

    def label_set(self, head: str | None = None) -> LabelSet:
        """Return the label set of a head.

        Args:
            head: Output name; None takes the first.

        Raises:
            InputError: No such head; the message lists those there are.
        """
        name = next(iter(self.heads)) if head is None else head
        if name not in self.heads:
            raise InputError(f"model {self.name!r} has no label set {name!r}; it has {', '.join(self.heads)}")
        return LabelSet(name, tuple(self.heads[name]))

    def calibration_text(self, head: str) -> str:
        """Return how the graph scales the logits of a head, for people."""
        exponent = self.exponents.get(head, 0.0)
        power = f" times the logits' standard deviation to the power {exponent:.3f}" if exponent else ""
        return f"temperature {self.temperatures.get(head, 1):.3f}{power}, inside the graph"

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the metadata of the file."""
        return {"card": CARD_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ModelError: A field is missing or has another form.
        """
        try:
            known = {k: v for k, v in value.items() if k != "card"}
            known["heads"] = {head: tuple(names) for head, names in value["heads"].items()}
            known["measured"] = tuple(Measured(**m) for m in value.get("measured", ()))
            points = value.get("landmarks_px")
            known["landmarks_px"] = None if points is None else tuple((float(x), float(y)) for x, y in points)
            return cls(**known)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"the model's card is malformed ({error}); export it again with `mien export`") from error


class ExpressionModel:
    """Crops in, probabilities out. Safe to call from several threads at once.

    Attributes:
        card: What the file says about itself.
        sha256: Hash of the file.
        device: Where it runs.
    """

    def __init__(self, path: str | Path, *, runtime: RuntimeSettings | None = None) -> None:
        """Open a model file.

        Args:
            path: An ONNX file with mien's metadata, as `mien train` and `mien export` write it.
            runtime: Device, threads, memory.

        Raises:
            ModelError: The file is missing, not ONNX, lacks mien's metadata or has other inputs or outputs.
            DeviceError: The device asked for is absent.
        """
        settings = runtime or RuntimeSettings()
        content = _read_model(Path(path))
        self.sha256 = hashlib.sha256(content).hexdigest()
        self._session = open_model(content, path, settings)
        self.device = _device_of(self._session)
        self.card = _read_card(self._session, path)
        _check_interface(self._session, self.card, path)

    def predict_proba(self, crops: NDArray[np.uint8], *, head: str | None = None) -> NDArray[np.float32]:
        """Return the probabilities of one head.

        Args:
            crops: (N, 48, 48) uint8 gray crops with the framing of FER2013; N may be 0.
            head: Output name, a key of `card.heads`; None takes the first.

        Returns:
            (N, C) float32, rows sum to 1, columns in the order of `card.label_set(head)`.

        Raises:
            InputError: The crops have another shape or dtype, or there is no such head.
        """
        labels = self.card.label_set(head)
        check_crops(crops)
        parts = [self._run(crops[i : i + MAX_BATCH], labels.key) for i in range(0, len(crops), MAX_BATCH)]
        return np.concatenate(parts) if parts else np.zeros((0, len(labels)), np.float32)

    def _run(self, crops: NDArray[np.uint8], head: str) -> NDArray[np.float32]:
        (probs,) = self._session.run([head], {INPUT_NAME: np.ascontiguousarray(crops)})
        result: NDArray[np.float32] = probs
        return result


def _device_of(session: ort.InferenceSession) -> str:
    """Return where a session really runs, which `"auto"` may have changed."""
    provider = session.get_providers()[0]
    return next(device for device, name in PROVIDERS.items() if name == provider)


def _read_model(path: Path) -> bytes:
    if not path.is_file():
        raise ModelError(f"no model file {path}; give a name from `mien models list` or the path of an .onnx file")
    content = path.read_bytes()
    if not content:
        raise ModelError(f"{path} is empty; export or copy the model again")
    return content


def _read_card(session: ort.InferenceSession, path: str | Path) -> ModelCard:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise ModelError(f"{path} is an ONNX file without mien's metadata ({METADATA_KEY!r}); export it with mien")
    try:
        return ModelCard.from_json(json.loads(text))
    except json.JSONDecodeError as error:
        raise ModelError(f"{path}: the metadata {METADATA_KEY!r} is not JSON; export the model again") from error


def _check_interface(session: ort.InferenceSession, card: ModelCard, path: str | Path) -> None:
    inputs = [(i.name, i.type, i.shape[1:]) for i in session.get_inputs()]
    if inputs != [(INPUT_NAME, "tensor(uint8)", [CROP_PX, CROP_PX])]:
        raise ModelError(
            f"{path} must take one input {INPUT_NAME!r}, (N, {CROP_PX}, {CROP_PX}) uint8, but takes {inputs}; "
            "export it with mien, which puts the preprocessing into the graph"
        )
    outputs = {o.name: o.shape[-1] for o in session.get_outputs()}
    wanted = {head: len(names) for head, names in card.heads.items()}
    if not wanted or any(outputs.get(head) != count for head, count in wanted.items()):
        raise ModelError(f"{path} must give the outputs {wanted} (name: classes), but gives {outputs}; export it again")
