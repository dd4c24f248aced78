"""Networks of others: a small file says what a foreign ONNX model takes and gives, and mien scores it like its own."""

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, ModelError, check_known, listed, shown
from mien.faces import CROP_PX
from mien.labels import LABEL_SETS, LabelSet, label_set, named_labels
from mien.models.expression import MAX_BATCH, check_crops
from mien.models.runtime import RuntimeSettings, first_line, open_model

MAX_SIDE_PX = 1024
MAX_ADAPTER_BYTES = 2**20
STANDARDISE_FLOOR = 1e-6  # what Keras's ImageDataGenerator adds to the deviation of an image
LAYOUTS = ("NHWC", "NCHW", "NHW", "flat")
OUTPUTS = ("auto", "softmax", "sum")
SUM_TOLERANCE = 5e-3  # a softmax in half precision is this far off
INPUT_TYPES = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(uint8)": np.uint8,
}  # fmt: skip


@dataclass(frozen=True)
class Scaling:
    """What a network wants done to gray levels: `level * scale + offset`, then perhaps zero mean and unit deviation.

    Attributes:
        scale: One factor, or one per channel.
        offset: One number, or one per channel.
        standardise: Whether every image is then given mean 0 and standard deviation 1.
    """

    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)
    standardise: bool = False

    def __post_init__(self) -> None:
        """Check that the numbers are usable."""
        for name, values in (("scale", self.scale), ("offset", self.offset)):
            if len(values) not in (1, 3) or not all(math.isfinite(value) for value in values):
                raise InputError(f"{name} must be one finite number, or three for three channels, got {shown(values)}")
        if 0.0 in self.scale:
            raise InputError(f"scale must not be 0, got {shown(self.scale)}; it would blacken every image")

    def apply(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return scaled images.

        Args:
            images: (N, H, W, C) float32, 0-255.

        Returns:
            (N, H, W, C) float32.
        """
        scaled = images * np.array(self.scale, np.float32) + np.array(self.offset, np.float32)
        if self.standardise:
            scaled = scaled - scaled.mean(axis=(1, 2, 3), keepdims=True)
            scaled = scaled / (scaled.std(axis=(1, 2, 3), keepdims=True) + np.float32(STANDARDISE_FLOOR))
        result: NDArray[np.float32] = scaled.astype(np.float32)
        return result


SCALINGS = {
    "none": Scaling(),
    "unit": Scaling(scale=(1 / 255,)),
    "signed": Scaling(scale=(1 / 127.5,), offset=(-1.0,)),
    "standardise": Scaling(standardise=True),
    "caffe": Scaling(offset=(-103.939, -116.779, -123.68)),  # VGG16 of Keras: blue, green, red means of ImageNet
}
"""0-255 as it is; 0 to 1; -1 to 1; mean 0 and deviation 1 for each image; ImageNet's means taken off."""


@dataclass(frozen=True)
class Adapter:
    """What an adapter file says.

    Attributes:
        model: The foreign model.
        labels: Its expressions, in the order of its columns.
        input_name: Name of its input; None if it has only one.
        size_px: (width, height) of its input, pixels; None for 48x48, or for what a Keras file says.
        layout: How it wants images: one of `LAYOUTS`, N images, H rows, W columns, C channels.
        channels: 1 gray, or 3 equal ones.
        scaling: What it wants done to gray levels.
        output_name: Name of its output; None if it has only one.
        output: What is done to its numbers: `"softmax"`, `"sum"` (divided by their sum, for sigmoids), or `"auto"`:
            nothing, they must be probabilities; a Keras network gets a softmax where it lacks one.
        weights: The weights file, for a Keras pair.
    """

    model: Path
    labels: LabelSet
    input_name: str | None = None
    size_px: tuple[int, int] | None = None
    layout: str = "NHWC"
    channels: int = 1
    scaling: Scaling = SCALINGS["unit"]
    output_name: str | None = None
    output: str = "auto"
    weights: Path | None = None

    def __post_init__(self) -> None:
        """Check choices and ranges."""
        if self.layout not in LAYOUTS:
            raise InputError(f"layout must be one of {', '.join(LAYOUTS)}, got {shown(self.layout)}")
        if self.channels not in (1, 3):
            raise InputError(f"channels must be 1 or 3, got {shown(self.channels)}")
        if self.layout == "NHW" and self.channels != 1:
            raise InputError("layout NHW has no channels; set channels = 1 or another layout")
        if self.output not in OUTPUTS:
            raise InputError(f"the output's activation must be one of {', '.join(OUTPUTS)}, got {shown(self.output)}")
        if not all(1 <= side <= MAX_SIDE_PX for side in self.image_px):
            raise InputError(f"width and height must be 1 to {MAX_SIDE_PX} pixels, got {shown(self.size_px)}")
        if self.channels == 1 and (len(self.scaling.scale) > 1 or len(self.scaling.offset) > 1):
            raise InputError("scale and offset of three numbers need channels = 3")

    @property
    def image_px(self) -> tuple[int, int]:
        """(width, height) of the images that an ONNX model is given, pixels."""
        return self.size_px or (CROP_PX, CROP_PX)

    def prepare(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return crops as the model wants them.

        Args:
            crops: (N, 48, 48) uint8 gray, N at least 1.

        Returns:
            float32 in the adapter's layout and size; resized bilinearly with OpenCV where the size differs.
        """
        images = crops.astype(np.float32)
        if self.image_px != (CROP_PX, CROP_PX):
            images = np.stack([cv2.resize(p, self.image_px, interpolation=cv2.INTER_LINEAR) for p in images])
        scaled = self.scaling.apply(np.repeat(images[..., None], self.channels, axis=3))
        if self.layout == "NCHW":
            return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))
        if self.layout == "NHW":
            return scaled[..., 0]
        return scaled.reshape(len(scaled), -1) if self.layout == "flat" else scaled


def parse_labels(value: str | list[str] | tuple[str, ...], *, key: str = "custom") -> LabelSet:
    """Return the label set that a person means.

    Args:
        value: A known key (`"fer2013"`, `"ferplus"`, `"five"`); names in the order of the columns, as a list or between
            commas; or `"alphabetical"`: the seven names as class folders are sorted.
        key: Key of a set that is none of the known ones.

    Returns:
        The label set. Names come back as mien writes them, `"Happiness"` as `"happy"`.

    Raises:
        InputError: Neither a known key nor distinct names.
    """
    if isinstance(value, str) and value.strip() == "alphabetical":
        return LabelSet(key, tuple(sorted(label_set("fer2013").names)))
    if isinstance(value, str) and "," not in value:
        if value not in LABEL_SETS:
            known = ", ".join((*LABEL_SETS, "alphabetical"))
            raise InputError(f"unknown labels {shown(value)}; give {known}, or the names in the order of the outputs")
        return LABEL_SETS[value]
    names = value.split(",") if isinstance(value, str) else value
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise InputError(f"labels must be names, got {shown(names)}; give them in the order of the outputs")
    return named_labels(names, key=key)


def in_known_order(labels: LabelSet) -> tuple[LabelSet, NDArray[np.int64]]:
    """Return the known label set that has the same names, and the column of each of its names.

    Args:
        labels: Names in any order.

    Returns:
        The known set, or `labels` itself where none has these names; (C,) int64 columns of `labels`.
    """
    known = next((known for known in LABEL_SETS.values() if set(known.names) == set(labels.names)), labels)
    return known, labels.columns_for(known)


def read_adapter(path: str | Path) -> Adapter:
    """Read an adapter file.

    Args:
        path: A `.toml` or `.json` file; the model's path in it counts from the file's folder.

    Raises:
        InputError: The file is missing, malformed, or has unknown or wrong fields; the message names them.
    """
    path = Path(path)
    value = _read_table(path)
    try:
        return _parse_adapter(value, path.parent)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is not an adapter file ({error!r}); see docs/other-models.md") from error


class ForeignModel:
    """A network of others behind mien's interface. Safe to call from several threads at once.

    Attributes:
        adapter: What it takes and gives.
        labels: Expressions in the order of the probability columns: a known set where the names are its names.
        sha256: Hash of the model file.
    """

    def __init__(self, adapter: Adapter | str | Path, *, runtime: RuntimeSettings | None = None) -> None:
        """Open the model that an adapter names.

        Args:
            adapter: An adapter, or the path of its file.
            runtime: Device, threads, memory.

        Raises:
            InputError: The adapter file is wrong, or does not fit the model.
            ModelError: The model is missing or not ONNX.
            DeviceError: The device asked for is absent.
        """
        self.adapter = adapter if isinstance(adapter, Adapter) else read_adapter(adapter)
        self.labels, self._columns = in_known_order(self.adapter.labels)
        content = _read_content(self.adapter.model)
        self.sha256 = hashlib.sha256(content).hexdigest()
        self._session = open_model(content, self.adapter.model, runtime or RuntimeSettings())
        self._input = _chosen(self._session.get_inputs(), self.adapter.input_name, "input", self.adapter.model)
        self._output = _chosen(self._session.get_outputs(), self.adapter.output_name, "output", self.adapter.model)
        if self._input.type not in INPUT_TYPES:
            raise ModelError(
                f"{self.adapter.model} takes {self._input.type}; only {', '.join(INPUT_TYPES)} can be scored"
            )
        _check_shape(self._input, self.adapter)
        self._batch = self._input.shape[0] if isinstance(self._input.shape[0], int) else None

    def predict_proba(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities.

        Args:
            crops: (N, 48, 48) uint8 gray crops with the framing of FER2013; N may be 0.

        Returns:
            (N, C) float32, rows sum to 1, columns in the order of `labels`.

        Raises:
            InputError: The crops have another shape or dtype, or the model's output does not fit the labels.
        """
        check_crops(crops)
        step = self._batch or MAX_BATCH
        parts = [self._run(crops[i : i + step]) for i in range(0, len(crops), step)]
        raw = np.concatenate(parts) if parts else np.zeros((0, len(self.labels)), np.float32)
        return _to_probabilities(raw, self.adapter.output)[:, self._columns]

    def _run(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        given = self.adapter.prepare(crops)
        missing = (self._batch or 0) - len(crops)
        if missing > 0:  # the model's batch is fixed
            given = np.concatenate([given, np.repeat(given[-1:], missing, axis=0)])
        dtype = INPUT_TYPES[self._input.type]
        given = given.round().clip(0, 255) if dtype is np.uint8 else given
        try:
            (raw,) = self._session.run([self._output.name], {self._input.name: given.astype(dtype)})
        except Exception as error:  # as where the session is created
            raise InputError(
                f"{self.adapter.model} refuses {given.shape} ({first_line(error)}); check [input] of the adapter"
            ) from error
        raw = np.asarray(raw, np.float32).reshape(len(given), -1)
        if raw.shape[1] != len(self.labels):
            raise InputError(
                f"{self.adapter.model} gives {raw.shape[1]} numbers a face, the adapter names {len(self.labels)} "
                f"labels ({listed(self.adapter.labels.names)}); name one label for each"
            )
        return raw[: len(crops)]


def _to_probabilities(raw: NDArray[np.float32], output: str) -> NDArray[np.float32]:
    if not np.isfinite(raw).all():
        raise InputError("the model gives NaN or infinity; check the scaling in the adapter")
    sums = raw.sum(axis=1, keepdims=True)
    probabilities = bool((raw >= 0).all() and (np.abs(sums - 1) <= SUM_TOLERANCE).all())
    if output == "softmax":
        if probabilities and len(raw):
            raise InputError("the model gives probabilities already; leave output.activation out of the adapter")
        exponentials = np.exp(raw - raw.max(axis=1, keepdims=True))
        raw = exponentials / exponentials.sum(axis=1, keepdims=True)
    elif output == "sum":
        if (raw < 0).any():
            raise InputError("the model gives negative numbers, which cannot be divided by their sum; use softmax")
        raw = np.where(sums > 0, raw / np.where(sums > 0, sums, 1), 1 / raw.shape[1])
    elif not probabilities:
        raise InputError(
            "the model's numbers are no probabilities (from 0 on, sum 1); set output.activation to softmax, "
            "or to sum where the network ends in sigmoids"
        )
    result: NDArray[np.float32] = raw.astype(np.float32)
    return result


def _read_content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read the model {path} ({error.strerror}); check `model` in the adapter") from error
    if not content:
        raise ModelError(f"{path} is empty; copy the model again")
    return content


def _chosen(values: list[Any], name: str | None, what: str, path: Path) -> Any:
    names = [value.name for value in values]
    if name is None and len(values) == 1:
        return values[0]
    if name not in names:
        came = "names none" if name is None else f"names {name!r}"
        raise InputError(f"{path} has the {what}s {listed(names)}, the adapter {came}; set {what}.name to one of them")
    return values[names.index(name)]


def _check_shape(value: Any, adapter: Adapter) -> None:
    (width, height), channels = adapter.image_px, adapter.channels
    wanted = {
        "NHWC": (height, width, channels),
        "NCHW": (channels, height, width),
        "NHW": (height, width),
        "flat": (height * width * channels,),
    }[adapter.layout]
    has = tuple(value.shape[1:])
    fits = len(has) == len(wanted) and all(not isinstance(h, int) or h == w for h, w in zip(has, wanted, strict=True))
    if not fits:
        raise InputError(
            f"{adapter.model} takes {value.shape}, the adapter gives {('N', *wanted)} ({adapter.layout}); "
            "set layout, width, height and channels in [input] to what the model takes"
        )


# The adapter file


def _read_table(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_ADAPTER_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read the adapter {path} ({error.strerror}); check the path") from error
    if len(content) > MAX_ADAPTER_BYTES:
        raise InputError(
            f"{path} is too large for an adapter file; give a .toml or .json file, see docs/other-models.md"
        )
    try:
        text = content.decode("utf-8")
        value = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not a readable TOML or JSON file ({error}); see docs/other-models.md") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} must hold a table with `model` and `labels`; see docs/other-models.md")
    return value


def _parse_adapter(value: Mapping[str, Any], folder: Path) -> Adapter:
    _check_keys(value, ("model", "weights", "labels", "label_set", "input", "output"), "the file")
    given, gives = value.get("input", {}), value.get("output", {})
    scaling_keys = ("scaling", "scale", "offset", "standardise")
    _check_keys(given, ("name", "size", "width", "height", "layout", "channels", *scaling_keys), "[input]")
    _check_keys(gives, ("name", "activation"), "[output]")
    for key in ("model", "labels"):
        if key not in value:
            raise InputError(f"`{key}` is missing; every adapter names its model and its labels")
    return Adapter(
        model=folder / _text(value["model"], "model"),
        labels=parse_labels(value["labels"], key=value.get("label_set", "custom")),
        input_name=given.get("name"),
        size_px=_parse_size(given),
        layout=_text(given.get("layout", "NHWC"), "layout"),
        channels=_whole(given.get("channels", 1), "channels"),
        scaling=_parse_scaling(given),
        output_name=gives.get("name"),
        output=_text(gives.get("activation", "auto"), "activation"),
        weights=folder / _text(value["weights"], "weights") if "weights" in value else None,
    )


def _parse_size(given: Mapping[str, Any]) -> tuple[int, int] | None:
    if not given.keys() & {"size", "width", "height"}:
        return None
    size = given.get("size", CROP_PX)
    return _whole(given.get("width", size), "width"), _whole(given.get("height", size), "height")


def _parse_scaling(given: Mapping[str, Any]) -> Scaling:
    if "scaling" in given:
        if given.keys() & {"scale", "offset", "standardise"}:
            raise InputError("give either `scaling` or scale, offset and standardise, not both")
        return named_scaling(given["scaling"])
    if not given.keys() & {"scale", "offset", "standardise"}:
        raise InputError(f"[input] must say the scaling: {', '.join(SCALINGS)}, or scale and offset")
    return Scaling(
        _numbers(given.get("scale", 1.0), "scale"),
        _numbers(given.get("offset", 0.0), "offset"),
        standardise=given.get("standardise", False) is True,
    )


def named_scaling(name: str) -> Scaling:
    """Return a scaling by name.

    Args:
        name: A key of `SCALINGS`.

    Raises:
        InputError: No such scaling; the message lists the known ones.
    """
    check_known("scaling", name, SCALINGS)
    return SCALINGS[name]


def _check_keys(value: Any, known: tuple[str, ...], where: str) -> None:
    if not isinstance(value, Mapping):
        raise InputError(f"{where} must be a table, got {shown(value)}; see docs/other-models.md")
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise InputError(f"{where} has unknown fields {listed(unknown)}; known: {', '.join(known)}")


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str) or not value:
        raise InputError(f"`{key}` must be a text, got {shown(value)}")
    return value


def _whole(value: Any, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"`{key}` must be a whole number, got {shown(value)}")
    return value


def _numbers(value: Any, key: str) -> tuple[float, ...]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        raise InputError(f"`{key}` must be a number or a list of numbers, got {shown(value)}")
    return tuple(float(v) for v in values)
