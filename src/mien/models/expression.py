"""The expression model: one ONNX file from crops to probabilities, with its card in the file's metadata."""

import hashlib
import io
import os
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien._onnxruntime import ort
from mien.errors import InputError, ModelError, shortened
from mien.faces import CROP_PX
from mien.models.card import ModelCard, read_card
from mien.models.runtime import RuntimeSettings, device_of, open_model

INPUT_NAME = "crops"
MAX_BATCH = 256  # keeps the working memory of a large batch flat


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
        self.device = device_of(self._session)
        self.card = read_card(self._session, path)
        _check_interface(self._session, self.card, path)

    @property
    def threads(self) -> int:
        """CPU threads of one call; 0 where ONNX Runtime chooses."""
        count: int = self._session.get_session_options().intra_op_num_threads
        return count

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


def _read_model(path: Path) -> bytes:
    if not os.path.isfile(path):
        raise ModelError(
            f"no model file {shortened(str(path))}; give a name from `mien models list` or the path of an .onnx file"
        )
    content = path.read_bytes()
    if not content:
        raise ModelError(f"{path} is empty; export or copy the model again")
    other = _other_kind(content)
    if other:
        raise ModelError(f"{path} is {other}")
    return content


def _other_kind(content: bytes) -> str:
    """Return what a file is that other tools, or other commands of mien, read, and what to do with it; else nothing."""
    keras = "a network that Keras saved; make an ONNX file of it with: mien import-keras FILE"
    checkpoint = "a checkpoint of PyTorch; make an ONNX file of one by `mien train` with: mien export FILE --data DATA"
    if content.startswith(b"\x89HDF\r\n\x1a\n"):
        return keras
    if content[4:8] == b"TFL3":
        return "a TFLite model; mien runs ONNX files, so convert it, with tf2onnx for example"
    if content.startswith((b"\x80\x02", b"\x80\x04")):
        return checkpoint
    if not content.startswith(b"PK\x03\x04"):
        return ""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return "a damaged archive; copy it again"
    if any(name.endswith("data.pkl") for name in names):
        return checkpoint
    if "config.json" in names:
        return keras
    if all(name.endswith(".npy") for name in names):
        return (
            "a file of arrays, as of the classical models of `mien train-baseline`, which `mien evaluate` measures; "
            "faces are analyzed with networks in ONNX alone"
        )
    return "an archive (zip); mien runs ONNX files"


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
