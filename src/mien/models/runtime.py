"""Where networks run: the devices of ONNX Runtime, and sessions on them."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from mien._onnxruntime import ort
from mien.errors import DeviceError, InputError, ModelError, listed, shown
from mien.weights import cache_folder, damaged, path_of

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
NUMBERED = ("cuda", "tensorrt", "rocm", "migraphx", "directml")  # devices of which a machine may have several
KEEP = {  # options for the folder of what a device compiles
    "tensorrt": ("trt_engine_cache_path", "trt_timing_cache_path"),
    "coreml": ("ModelCacheDirectory",),
    "openvino": ("cache_dir",),
}
BUILDS = {
    "cuda": "onnxruntime-gpu",
    "tensorrt": "onnxruntime-gpu, and TensorRT",
    "rocm": "onnxruntime-rocm",
    "migraphx": "onnxruntime-migraphx",
    "directml": "onnxruntime-directml",
    "openvino": "onnxruntime-openvino",
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RuntimeSettings:
    """Where and how ONNX Runtime runs.

    Attributes:
        device: Where models run: auto (a GPU where one is ready), cpu, cuda, coreml, …; cuda:1 is the second GPU,
            openvino:GPU OpenVINO's; `mien doctor` lists those here.
        threads: CPU threads for one call; 0 lets ONNX Runtime choose.
        gpu_memory_mb: Limit of the GPU memory arena in MiB; None for no limit.
        half_precision: Let tensorrt, migraphx, openvino and coreml compute in 16 bits: faster, and the last digits of
            probabilities change. The others compute as the model's file says.
    """

    device: str = "auto"
    threads: int = 1
    gpu_memory_mb: int | None = None
    half_precision: bool = False

    def __post_init__(self) -> None:
        """Check names and ranges."""
        if self.device != "auto" and self.kind not in PROVIDERS:
            raise InputError(f"unknown device {shown(self.device)}; known: auto, {', '.join(PROVIDERS)}")
        if self.part is not None and not _has_part(self.kind, self.part):
            numbered = ", ".join(f"{name}:1" for name in NUMBERED)
            raise InputError(f"unknown part of a device {shown(self.device)}; known: {numbered}, openvino:GPU, …")
        if self.threads < 0:
            raise InputError(f"threads must be 0 (automatic) or more, got {self.threads}")
        if self.gpu_memory_mb is not None and self.gpu_memory_mb < 1:
            raise InputError(f"gpu_memory_mb must be at least 1, got {self.gpu_memory_mb}")

    @property
    def kind(self) -> str:
        """The device without its part: cuda of cuda:1."""
        return self.device.partition(":")[0]

    @property
    def part(self) -> str | None:
        """Which of several devices, or OpenVINO's type of device; None where none was named."""
        _, colon, part = self.device.partition(":")
        return part if colon else None


def _has_part(kind: str, part: str) -> bool:
    if kind == "openvino":
        return bool(part)
    return kind in NUMBERED and part.isascii() and part.isdigit()


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
    if settings.kind not in offered:
        raise DeviceError(
            f"device {shown(settings.kind)} needs {PROVIDERS[settings.kind]}, but this onnxruntime offers only "
            f"{listed(offered)}; install the matching build ({BUILDS.get(settings.kind, 'onnxruntime')}) or use "
            "--device auto"
        )
    return settings.kind


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


def providers_of(device: str, settings: RuntimeSettings) -> list[tuple[str, dict[str, str]]]:
    """Return the providers of ONNX Runtime for a device, each with its options; what one cannot run, the next does.

    Options are those of https://onnxruntime.ai/docs/execution-providers. mien's authors ran the CPU's and, on a CPU,
    OpenVINO's; the others are written by that documentation alone.

    Args:
        device: A key of `PROVIDERS`.
        settings: Which of several devices, memory, precision, threads.
    """
    part = {} if settings.part is None else {"device_id": settings.part}
    memory = None if settings.gpu_memory_mb is None else str(settings.gpu_memory_mb * 2**20)
    half = str(int(settings.half_precision))
    arena = part | ({} if memory is None else {"gpu_mem_limit": memory, "arena_extend_strategy": "kSameAsRequested"})
    # The number of faces changes from call to call, and cuDNN's default search would time every algorithm for each.
    cuda = arena | {"cudnn_conv_algo_search": "HEURISTIC"}
    chosen = {
        "cpu": {},
        "cuda": cuda,
        "tensorrt": part
        | ({} if memory is None else {"trt_max_workspace_size": memory})
        | {"trt_fp16_enable": half, "trt_engine_cache_enable": "1", "trt_timing_cache_enable": "1"},
        "rocm": arena,
        "migraphx": part | {"migraphx_fp16_enable": half},
        "directml": part,
        "coreml": {
            "ModelFormat": "MLProgram",
            "MLComputeUnits": "ALL",
            "AllowLowPrecisionAccumulationOnGPU": half,
        },
        "openvino": _openvino_options(settings),
    }
    behind = {"tensorrt": ["cuda"]}.get(device, [])
    order = [device, *behind, *([] if device == "cpu" else ["cpu"])]
    return [(PROVIDERS[name], chosen[name] | _kept(name)) for name in order]


def _kept(device: str) -> dict[str, str]:
    """Return the options that name a folder for what a device compiles, which takes seconds to minutes; make it."""
    if device not in KEEP:
        return {}
    folder = cache_folder() / device
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logger.warning("%s: what is compiled for it is not kept: %s", device, error)
        return {}
    return dict.fromkeys(KEEP[device], str(folder))


def _openvino_options(settings: RuntimeSettings) -> dict[str, str]:
    """Return OpenVINO's type of device and its settings there, as ONNX Runtime takes them since version 1.24."""
    kind = settings.part or "CPU"  # AUTO leaves these graphs to ONNX Runtime's own provider without a word
    half = "bf16" if kind == "CPU" else "f16"
    hints = {"INFERENCE_PRECISION_HINT": half if settings.half_precision else "f32"}
    if kind == "CPU" and settings.threads:
        hints["INFERENCE_NUM_THREADS"] = str(settings.threads)
    return {"device_type": kind, "load_config": json.dumps({kind.partition(".")[0]: hints})}


def _open(model: str | bytes, device: str, settings: RuntimeSettings) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # an idle model must not burn a core
    if device == "directml":
        options.enable_mem_pattern = False  # DirectML refuses sessions with it
    return ort.InferenceSession(model, options, providers=providers_of(device, settings))
