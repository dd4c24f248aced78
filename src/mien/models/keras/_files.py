"""Opens what Keras 1 to 3 save, without Keras and with distrust: links, foreign files and excess are refused."""

import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import ModelError, require_extra, shown
from mien.models.keras._architecture import Layer, Model, has_weights, owned_weights, weight_roles

MAX_ARCHITECTURE_BYTES = 4 * 2**20
MAX_WEIGHT_BYTES = 2**30
ZIP_MAGIC, HDF5_MAGIC = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, NotImplementedError, OSError, EOFError, RuntimeError)
KERAS_3_LAYERS = ("layers", "_layer_checkpoint_dependencies")  # the second is what Keras 2.12 wrote
ROLE_OF_NAME = {  # last part of a weight's name, where it is not the role itself
    "W": "kernel", "b": "bias", "running_mean": "moving_mean", "running_std": "moving_variance",
}  # fmt: skip
NOT_WEIGHTS = re.compile(r"StateVar|seed_generator|random_generator", re.IGNORECASE)

Owner = tuple[tuple[str, ...], str]
"""Path of a layer (names of the models around it, then its own) and the role of one of its weights."""


@dataclass(frozen=True)
class KerasFiles:
    """An opened Keras model.

    Attributes:
        architecture: The JSON of the architecture.
        root: The HDF5 group with the weights.
        version: Version of Keras that wrote the weights; `"1"` where the file does not say, as Keras itself assumes.
        backend: Backend that wrote the weights, `"tensorflow"` say; empty where the file does not say.
    """

    architecture: str
    root: Any
    version: str
    backend: str


@contextmanager
def open_keras(model: Path, weights: Path | None = None) -> Iterator[KerasFiles]:
    """Open a pair `model.json`, `weights.h5`, a whole `.h5`, or a `.keras` archive.

    Args:
        model: The architecture as JSON, or a file that holds everything.
        weights: The weights; needed with JSON, and taken instead of the file's own with the others.

    Yields:
        The opened model, readable until the block ends.

    Raises:
        ModelError: A file is missing, damaged, too large, or not of these kinds; the message says what to do.
        MissingExtraError: h5py is not installed.
    """
    h5py = require_extra("keras", "h5py")
    start = _magic(model)
    if start.startswith(ZIP_MAGIC):
        architecture, version, content = _read_archive(model)
        with _open_h5(h5py, weights or io.BytesIO(content), weights or model) as root:
            yield replace(_keras_files(root, architecture), version=version)
    elif start == HDF5_MAGIC:
        with _open_h5(h5py, model, model) as root:
            architecture = _attribute_text(root, "model_config")
            if not architecture:
                raise ModelError(f"{model} holds weights only; give the architecture first: model.json {model.name}")
            if weights is None:
                yield _keras_files(root, architecture)
                return
        with _open_h5(h5py, weights, weights) as root:
            yield _keras_files(root, architecture)
    else:
        if weights is None:
            raise ModelError(f"{model} is an architecture without weights; give them second: {model.name} weights.h5")
        architecture = _read_json(model)
        with _open_h5(h5py, weights, weights) as root:
            yield _keras_files(root, architecture)


def read_weight(dataset: Any, owner: str) -> NDArray[np.float32]:
    """Read one weight.

    Args:
        dataset: An HDF5 dataset that `locate_weights` returned.
        owner: Its layer and role, for messages.

    Returns:
        float32 array of any shape.

    Raises:
        ModelError: It is not floating point, or holds NaN or infinity.
    """
    if dataset.dtype.kind != "f":
        raise ModelError(f"{owner} is stored as {dataset.dtype}; only floating-point weights can be imported")
    with np.errstate(over="ignore"):
        values: NDArray[np.float32] = np.asarray(dataset[()], dtype=np.float32)
    if not np.isfinite(values).all():
        raise ModelError(f"{owner} holds NaN or infinity; the network cannot be used, train it again")
    return values


def locate_weights(model: Model, files: KerasFiles) -> dict[Owner, Any]:
    """Find the dataset of every weight that the architecture calls for, in either of Keras's layouts.

    Args:
        model: The architecture.
        files: The opened file.

    Returns:
        HDF5 dataset by owner; nothing is read yet.

    Raises:
        ModelError: The file does not fit the architecture, or a dataset is one that must not be read.
    """
    if "layer_names" in files.root.attrs or "layer_names0" in files.root.attrs:
        found = dict(_locate_by_layer_names(model, files.root))
    else:
        found = dict(_locate_by_class(model.layers, _keras_3_layers(files.root), ()))
    total = sum(dataset.nbytes for dataset in found.values())
    if total > MAX_WEIGHT_BYTES:
        raise ModelError(
            f"the weights take {total / 2**20:,.0f} MiB, more than the {MAX_WEIGHT_BYTES >> 20} MiB allowed"
        )
    return found


def keras_version_of(text: str) -> str:
    """Return the version of Keras that JSON states, or an empty text.

    Args:
        text: JSON of an architecture, or of an archive's metadata.
    """
    value = json.loads(text)
    return str(value.get("keras_version") or "") if isinstance(value, dict) else ""


# Containers


def _magic(path: Path) -> bytes:
    if path.is_dir():
        raise ModelError(f"{path} is a folder (a SavedModel?); save the model with model.save('model.keras') or as .h5")
    try:
        with path.open("rb") as file:
            return file.read(len(HDF5_MAGIC))
    except OSError as error:
        raise ModelError(f"cannot read {path} ({error.strerror}); check the path") from error


def _read_json(path: Path) -> str:
    if path.stat().st_size > MAX_ARCHITECTURE_BYTES:
        raise ModelError(
            f"{path} is {path.stat().st_size:,} bytes, too large for an architecture; give model.to_json()"
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is neither JSON, HDF5 nor a .keras archive; give what Keras saved") from error


def _read_archive(path: Path) -> tuple[str, str, bytes]:
    """Return architecture, version of Keras and weights file of a `.keras` archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            architecture = _read_member(archive, "config.json", MAX_ARCHITECTURE_BYTES, path).decode("utf-8")
            metadata = _read_member(archive, "metadata.json", MAX_ARCHITECTURE_BYTES, path).decode("utf-8")
            weights = _read_member(archive, "model.weights.h5", MAX_WEIGHT_BYTES, path)
        return architecture, keras_version_of(metadata) or "3", weights
    except (*DAMAGED_ZIP, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ModelError(f"{path} is a damaged .keras archive ({error}); save the model again") from error


def _read_member(archive: zipfile.ZipFile, name: str, limit: int, path: Path) -> bytes:
    """Read one member by its exact name; nothing is ever unpacked to disk, so no member's path matters."""
    members = [info for info in archive.infolist() if info.filename == name]
    if len(members) != 1:
        raise ModelError(
            f"{path} must hold {shown(name)} once, but holds it {len(members)} times; save it with model.save()"
        )
    if members[0].flag_bits & 1:
        raise ModelError(f"{path}: {shown(name)} is encrypted; save the model without a password")
    with archive.open(members[0]) as member:
        content = member.read(limit + 1)  # the size that the archive states may be a lie
    if len(content) > limit:
        raise ModelError(f"{path}: {shown(name)} is larger than the {limit >> 20} MiB allowed")
    return content


@contextmanager
def _open_h5(h5py: Any, source: Path | io.BytesIO, path: Path) -> Iterator[Any]:
    if isinstance(source, Path) and _magic(source) != HDF5_MAGIC:
        raise ModelError(f"{path} is not an HDF5 file; give the weights that Keras saved: model.json weights.h5")
    try:
        with h5py.File(source, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:  # what h5py raises where a file breaks off, early or further in
        raise ModelError(f"{path} is a damaged HDF5 file ({error}); save the weights again") from error


def _keras_files(root: Any, architecture: str) -> KerasFiles:
    group = _child(root, "model_weights") if "model_weights" in root else root
    stated = (_attribute_text(level, "keras_version") for level in (group, root))
    version = next(filter(None, stated), "")
    if not version:
        version = "3" if any(name in group for name in KERAS_3_LAYERS) else "1"
    return KerasFiles(
        architecture, group, version, _attribute_text(group, "backend") or _attribute_text(root, "backend")
    )


# Layouts


def _locate_by_layer_names(model: Model, root: Any) -> Iterator[tuple[Owner, Any]]:
    """Keras 1 and 2: one group per layer, its weights listed in the order of `owned_weights`."""
    saved = {name: _weights_of_group(root, name) for name in _attribute_names(root, "layer_names")}
    saved = {name: datasets for name, datasets in saved.items() if datasets}
    owning = [layer for layer in model.layers if has_weights(layer)]
    if {layer.name for layer in owning} <= saved.keys():
        pairs = [(layer, saved[layer.name]) for layer in owning]
    elif len(owning) == len(saved):
        pairs = list(zip(owning, saved.values(), strict=True))  # Keras, too, falls back to the order
    else:
        raise ModelError(
            f"the architecture has {len(owning)} layers with weights, the weights file {len(saved)}; "
            "they are not of one model: give the pair that was saved together"
        )
    for layer, datasets in pairs:
        yield from _assign(layer, datasets)


def _weights_of_group(root: Any, name: str) -> list[tuple[str, Any]]:
    group = _child(root, name)
    names = [n for n in _attribute_names(group, "weight_names") if not NOT_WEIGHTS.search(n)]
    return [(n, _dataset(group, n)) for n in names]


def _assign(layer: Layer, datasets: Sequence[tuple[str, Any]]) -> Iterator[tuple[Owner, Any]]:
    owners = list(owned_weights(layer))
    _check_count(layer, needed=len(owners), found=len(datasets))
    by_name = {_suffix(name): dataset for name, dataset in datasets}
    wanted = [(path[-1], role) for path, role in owners]
    if layer.model is not None and by_name.keys() == set(wanted) and len(by_name) == len(datasets):
        return ((owner, by_name[key]) for owner, key in zip(owners, wanted, strict=True))
    return zip(owners, (dataset for _, dataset in datasets), strict=True)


def _check_count(layer: Layer, *, needed: int, found: int) -> None:
    if needed != found:
        raise ModelError(
            f"layer {shown(layer.name)} ({layer.kind}) needs {needed} weights, the file has {found} for it; "
            "give the pair that was saved together"
        )


def _suffix(name: str) -> tuple[str, str]:
    """Return layer and role from a weight's name, `"block1/conv/kernel:0"` say."""
    parts = name.split(":")[0].split("/")
    return (parts[-2] if len(parts) > 1 else "", ROLE_OF_NAME.get(parts[-1], parts[-1]))


def _keras_3_layers(root: Any) -> Any:
    for name in KERAS_3_LAYERS:
        if name in root:
            return _child(root, name)
    raise ModelError("the weights file has none of Keras's layouts; write it with model.save_weights() of Keras 1 to 3")


def _locate_by_class(layers: Sequence[Layer], group: Any, path: tuple[str, ...]) -> Iterator[tuple[Owner, Any]]:
    """Keras 3: groups are named after the class and counted within it, `conv2d`, `conv2d_1`, …."""
    owning = [layer for layer in layers if has_weights(layer)]
    for stem in dict.fromkeys(_snake(layer) for layer in owning):
        same = [layer for layer in owning if _snake(layer) == stem]
        saved = [child for child in _counted_children(group, stem) if _holds_weights(child)]
        if len(same) != len(saved):
            raise ModelError(
                f"the architecture has {len(same)} layers of class {same[0].class_name} with weights, the weights file "
                f"{len(saved)}; they are not of one model: give the pair that was saved together"
            )
        for layer, child in zip(same, saved, strict=True):
            if layer.model is not None:
                yield from _locate_by_class(layer.model.layers, _keras_3_layers(child), (*path, layer.name))
            else:
                yield from _own_variables(layer, child, path)


def _own_variables(layer: Layer, group: Any, path: tuple[str, ...]) -> Iterator[tuple[Owner, Any]]:
    variables = _child(group, "vars")
    roles = [role for role, _ in weight_roles(layer)]
    _check_count(layer, needed=len(roles), found=len(variables))
    yield from (((((*path, layer.name)), role), _dataset(variables, str(i))) for i, role in enumerate(roles))


def _snake(layer: Layer) -> str:
    """Return the class as Keras 3 writes it in group names; it calls what JSON may call `Model` a `functional`."""
    name = "Functional" if layer.class_name == "Model" else layer.class_name
    parted = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", parted).lower()


def _counted_children(group: Any, stem: str) -> list[Any]:
    counted = {}
    for name in group:
        match = re.fullmatch(rf"{re.escape(stem)}(?:_(\d{{1,6}}))?", name)
        if match:
            counted[int(match[1] or 0)] = name
    return [_child(group, counted[number]) for number in sorted(counted)]


def _holds_weights(group: Any) -> bool:
    return ("vars" in group and len(_child(group, "vars")) > 0) or any(name in group for name in KERAS_3_LAYERS)


# HDF5 with distrust


def _child(group: Any, name: str) -> Any:
    """Return a member by path, following no link out of its place: an external link would read another file."""
    h5py = require_extra("keras", "h5py")
    for part in (part for part in name.split("/") if part not in ("", ".")):
        link = group.get(part, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            raise ModelError(f"the weights file has no {shown(name)}; give the pair that was saved together")
        if not isinstance(link, h5py.HardLink):
            raise ModelError(
                f"the weights file has a link at {shown(name)}; only files that Keras wrote itself are read"
            )
        group = group[part]
    return group


def _dataset(group: Any, name: str) -> Any:
    h5py = require_extra("keras", "h5py")
    dataset = _child(group, name)
    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
        raise ModelError(f"the weights file has no array at {shown(name)}; save the weights again")
    if dataset.is_virtual or dataset.external:
        raise ModelError(f"the array {shown(name)} lies in another file; only weights inside the file are read")
    return dataset


def _attribute_text(group: Any, name: str) -> str:
    if name not in group.attrs:
        return ""
    value = group.attrs[name]
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    if len(text) > MAX_ARCHITECTURE_BYTES:
        raise ModelError(
            f"the attribute {shown(name)} is larger than {MAX_ARCHITECTURE_BYTES >> 20} MiB; save the model again"
        )
    return text


def _attribute_names(group: Any, name: str) -> list[str]:
    """Return a list of names; Keras cuts one that is too long for HDF5 into `name0`, `name1`, …."""
    chunks = [name] if name in group.attrs else []
    while not chunks or chunks[-1] != name:
        following = f"{name}{len(chunks)}"
        if following not in group.attrs:
            break
        chunks.append(following)
    values = [value for chunk in chunks for value in np.atleast_1d(group.attrs[chunk]).tolist()]
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values]
