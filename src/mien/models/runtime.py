"""Where networks run: the devices of ONNX Runtime, and sessions on them."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien._onnxruntime import ort
from mien.errors import DeviceError, InputError, ModelError, listed, shown
from mien.weights import damaged, path_of

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
        device: Where models run: auto (a GPU where one is ready), cpu, cuda, coreml, …; `mien doctor` lists those here.
        threads: CPU threads for one call; 0 lets ONNX Runtime choose.
        gpu_memory_mb: Limit of the GPU memory arena in MiB; None for no limit.
    """

    device: str = "auto"
    threads: int = 1
    gpu_memory_mb: int | None = None

    def __post_init__(self) -> None:
        """Check names and ranges."""
        if self.device != "auto" and self.device not in PROVIDERS:
            raise InputError(f"unknown device {shown(self.device)}; known: auto, {', '.join(PROVIDERS)}")
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
            f"{listed(offered)}; install the matching build (onnxruntime-gpu for cuda) or use --device auto"
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


def open_weights(name: str, settings: RuntimeSettings) -> ort.InferenceSession:
    """Open weights of others that a user pulled.

    Args:
        name: A key of `mien.weights.WEIGHTS`.
        settings: Device, threads, memory.

    Raises:
        MissingWeightsError: They were not pulled; the message has the line to type.
        ModelError: Their file is damaged or cannot be read; the message says how to get it anew.
        DeviceError: The device asked for by name is absent or fails to start.
    """
    path = path_of(name)
    try:
        return open_model(path.read_bytes(), path, settings)
    except DeviceError:
        raise
    except (ModelError, OSError) as error:
        raise ModelError(f"{damaged(name)} ({first_line(error)})") from error


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, at most 200 characters, or the name of its kind.

    Args:
        error: Of a library, whose messages may be long.
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def device_of(session: ort.InferenceSession) -> str:
    """Return where a session really runs, which `"auto"` may have changed.

    Args:
        session: From `create_session`.
    """
    provider = session.get_providers()[0]
    return next(device for device, name in PROVIDERS.items() if name == provider)


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
