"""The catalogue of models that ship with mien, each with the hash of its file."""

import hashlib
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from mien.errors import ModelError, shortened, shown
from mien.models.expression import ExpressionModel
from mien.models.runtime import RuntimeSettings

DEFAULT_MODEL = "mien-b"


@dataclass(frozen=True)
class CatalogueEntry:
    """A shipped model.

    Attributes:
        name: Name by which users pick it.
        file: File name in the package's `weights` folder.
        sha256: Hash of the file.
        summary: One line for people who choose.
        net: Name of its network in `mien.train.nets.registry.NETS`, for training that starts from it.
    """

    name: str
    file: str
    sha256: str
    summary: str
    net: str

    @property
    def path(self) -> Path:
        """Path of the installed file."""
        return Path(str(resources.files("mien.models"))) / "weights" / self.file

    def is_intact(self) -> bool:
        """Return whether the installed file is the one that was measured."""
        return self.path.is_file() and hashlib.sha256(self.path.read_bytes()).hexdigest() == self.sha256


CATALOGUE = {
    entry.name: entry
    for entry in (
        CatalogueEntry(
            "mien-b",
            "mien-b.onnx",
            "779c552c6c804a76a0328a7dc7528960345fafedaea79347ec303cf1fa02a0ad",
            "the default: one to two milliseconds a face",
            net="mien-b2",
        ),
        CatalogueEntry(
            "mien-s",
            "mien-s.onnx",
            "ac55a56fee6f42f3c33b9d6749b95f6afde4152eb51ef02778957717a1b093d7",
            "for videos, live video and small machines: about 0.2 ms a face, a point less accurate",
            net="mien-s2",
        ),
    )
}


def model_path(name_or_path: str | Path) -> Path:
    """Return the file of a model.

    Args:
        name_or_path: A name of `CATALOGUE`, or the path of an ONNX file.

    Raises:
        ModelError: Neither; the message lists the known names.
    """
    entry = CATALOGUE.get(str(name_or_path))
    if entry is not None:
        return entry.path
    path = Path(name_or_path)
    if os.path.isfile(path):
        return path
    if path.suffix or len(path.parts) > 1:
        raise ModelError(f"no model file {shortened(str(path))}; check the path, or use one of {', '.join(CATALOGUE)}")
    raise ModelError(
        f"unknown model {shown(str(name_or_path))}; known: {', '.join(CATALOGUE)}, or the path of an .onnx file"
    )


def load_model(name_or_path: str | Path = DEFAULT_MODEL, *, runtime: RuntimeSettings | None = None) -> ExpressionModel:
    """Open a model by name or path.

    Args:
        name_or_path: A name of `CATALOGUE`, or the path of an ONNX file.
        runtime: Device, threads, memory.

    Raises:
        ModelError: Unknown name, or a file that is not a model mien can run.
        DeviceError: The device asked for is absent.
    """
    return ExpressionModel(model_path(name_or_path), runtime=runtime)
