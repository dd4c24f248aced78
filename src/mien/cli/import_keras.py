"""`mien import-keras`, and what opens any model that `mien evaluate` and `mien compare` are given."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from mien.cli.console import megabytes, out, say, say_written
from mien.cli.options import CardLicence, CardName, CardVersion
from mien.errors import InputError, require_extra, shown
from mien.labels import LabelSet
from mien.models.expression import ExpressionModel
from mien.models.foreign import Adapter, ForeignModel, Scaling, named_scaling, parse_labels, read_adapter
from mien.models.runtime import RuntimeSettings

ADAPTER_SUFFIXES = (".toml", ".json")
KERAS_SUFFIXES = (".json", ".h5", ".hdf5", ".keras")
BY_FOLDERS = "networks trained on class folders mostly have --labels alphabetical"


def import_keras(
    model: Annotated[Path, typer.Argument(help="model.json of Keras 1 to 3, or a whole .h5 or .keras file.")],
    weights: Annotated[Path | None, typer.Argument(help="The weights (.h5) that belong to model.json.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The .onnx file to write; else beside the model.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Order of the outputs: fer2013, ferplus, five, alphabetical, or names between commas."),
    ] = None,
    scaling: Annotated[
        str | None,
        typer.Option(help="Gray levels in training: unit (0 to 1), signed (-1 to 1), none, standardise, caffe."),
    ] = None,
    scale: Annotated[float | None, typer.Option(help="Factor for gray levels 0-255, in place of --scaling.")] = None,
    offset: Annotated[float | None, typer.Option(help="Number added after --scale.")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT, where the network leaves it free: 64x64.")] = None,
    activation: Annotated[
        str,
        typer.Option(help="auto: a softmax where there is none; softmax; sum: sigmoids divided by their sum."),
    ] = "auto",
    theano: Annotated[
        bool | None, typer.Option("--theano/--no-theano", help="Theano wrote the kernels (it flips them).")
    ] = None,
    name: CardName = None,
    version: CardVersion = "1",
    data: Annotated[str, typer.Option(help="Data set in the model's card.")] = "not stated",
    licence: CardLicence = "not stated",
) -> None:
    """Turn a network that Keras saved into the ONNX file that mien runs. Needs no Keras, runs no code of the file."""
    require_extra("keras", "onnx")
    from mien.models.keras import convert as keras_import

    target = output or _beside(model)
    settings = keras_import.KerasImportSettings(
        labels=None if labels is None else parse_labels(labels), scaling=_scaling(scaling, scale, offset),
        size_px=_size(size), output=activation, theano=theano, name=name or target.stem, version=version,
        data=data, licence=licence,
    )  # fmt: skip
    card = keras_import.import_keras(model, weights, target, settings=settings)
    head, names = next(iter(card.heads.items()))
    say(card.trained, to=out)
    say(f"label set {head}: {', '.join(names)}", to=out)
    for note in _assumptions(labels, settings.scaling):
        say(note, to=out)
    say_written(target, f" ({megabytes(target.stat().st_size)})")


@dataclass(frozen=True)
class Scorer:
    """Any model behind one function.

    Attributes:
        predict_proba: (N, 48, 48) uint8 gray crops to (N, C) float32 probabilities.
        labels: Expressions in the order of the columns.
        sha256: Hash of the model file.
    """

    predict_proba: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    labels: LabelSet
    sha256: str


def is_adapter(path: Path) -> bool:
    """Return whether a path is taken for an adapter file rather than for a model."""
    return path.suffix.lower() in ADAPTER_SUFFIXES


def open_adapter(path: Path, *, runtime: RuntimeSettings | None = None) -> Scorer:
    """Open the ONNX or Keras model that an adapter file describes.

    Args:
        path: The adapter file.
        runtime: Device, threads, memory.

    Raises:
        InputError: The adapter file is wrong, or does not fit the model.
        ModelError: The model cannot be used.
        MissingExtraError: It is a Keras model and the extra `keras` is not installed.
    """
    adapter = read_adapter(path)
    if adapter.model.suffix.lower() in KERAS_SUFFIXES:
        return _open_keras(adapter, runtime)
    model = ForeignModel(adapter, runtime=runtime)
    return Scorer(model.predict_proba, model.labels, model.sha256)


def _open_keras(adapter: Adapter, runtime: RuntimeSettings | None) -> Scorer:
    require_extra("keras", "onnx")
    from mien.models.keras import convert as keras_import

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model.onnx"
        settings = keras_import.settings_of(adapter)
        keras_import.import_keras(adapter.model, adapter.weights, target, settings=settings)
        model = ExpressionModel(target, runtime=runtime)
    return Scorer(model.predict_proba, model.card.label_set(), model.sha256)


def _beside(model: Path) -> Path:
    target = model.with_suffix(".onnx")
    if target.exists():
        raise InputError(f"{target} exists; say where to write with -o, which may name it again")
    return target


def _scaling(name: str | None, scale: float | None, offset: float | None) -> Scaling | None:
    if name is not None and (scale is not None or offset is not None):
        raise InputError("give either --scaling or --scale and --offset, not both")
    if name is not None:
        return named_scaling(name)
    if scale is None and offset is None:
        return None
    return Scaling((1.0 if scale is None else scale,), (offset or 0.0,))


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise InputError(f"--size must be WIDTHxHEIGHT in pixels, 64x64 say, got {shown(text)}")
    return int(width), int(height)


def _assumptions(labels: str | None, scaling: Scaling | None) -> list[str]:
    """Return what was assumed and could be wrong; a wrong order or scaling shows only as a bad accuracy."""
    notes = []
    if labels is None:
        notes.append(f"assumed the outputs in that order; {BY_FOLDERS}")
    if scaling is None:
        notes.append("assumed gray levels from 0 to 1 (or a Rescaling layer in the network); else give --scaling")
    return [*notes, "check both with: mien evaluate"] if notes else []
