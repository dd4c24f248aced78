"""From a network that Keras 1, 2 or 3 saved to the ONNX file that the runtime loads, and back. Needs no Keras.

The file is data: its architecture is read as JSON, its weights as arrays, and no code in it is ever run.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien._version import __version__
from mien.errors import InputError, ModelError, listed, require_extra, shown
from mien.faces import CROP_PX
from mien.files import whole_or_nothing, write_whole
from mien.labels import FER7, FERPLUS8, FIVE, LabelSet
from mien.models.card import METADATA_KEY, ModelCard
from mien.models.expression import INPUT_NAME
from mien.models.foreign import OUTPUTS, SCALINGS, STANDARDISE_FLOOR, Adapter, Scaling, in_known_order
from mien.models.keras._architecture import Model, owned_weights, parse_architecture
from mien.models.keras._files import KerasFiles, Owner, keras_version_of, locate_weights, open_keras
from mien.models.keras._layers import IDENTITIES, Builder, StoredWeight, Tensor, check_layers, emit_model, resize

OPSET, IR_VERSION = 18, 9
ARCHITECTURE_KEY, WEIGHTS_KEY, VERSION_KEY = "mien.keras_json", "mien.keras_weights", "mien.keras_version"
KERAS_3_MODULES = {"Functional": "keras.src.models.functional"}  # by class; else "keras"
MODEL_FILE, WEIGHTS_FILE = "model.json", "weights.h5"
WRITTEN_VERSION, WRITTEN_BACKEND = "2.15.0", "tensorflow"  # the layout of the weights file that is written
MAX_SIDE_PX = 1024


@dataclass(frozen=True)
class KerasImportSettings:
    """What the Keras file does not say.

    Attributes:
        labels: Expressions in the order of the network's columns; None takes FER2013's order for seven, FER+'s for
            eight, and for five that of the label set `five`.
        scaling: What training did to gray levels; None takes 0-1, or nothing where the network begins with a Rescaling
            layer.
        size_px: (width, height) of the network's input, where the file leaves it free.
        output: `"softmax"`, `"sum"` or `"auto"`, as in `mien.models.foreign.Adapter`.
        theano: Whether Theano wrote the kernels (it flips them); None believes the file.
        name: Name in the model's card.
        version: Version of the weights in the card.
        data: Data set in the card.
        licence: Licence of the weights in the card.
    """

    labels: LabelSet | None = None
    scaling: Scaling | None = None
    size_px: tuple[int, int] | None = None
    output: str = "auto"
    theano: bool | None = None
    name: str = "custom"
    version: str = "1"
    data: str = "not stated"
    licence: str = "not stated"

    def __post_init__(self) -> None:
        """Check choices and ranges."""
        if self.output not in OUTPUTS:
            raise InputError(f"the output's activation must be one of {', '.join(OUTPUTS)}, got {shown(self.output)}")
        if self.size_px is not None and not all(1 <= side <= MAX_SIDE_PX for side in self.size_px):
            raise InputError(f"the input's sides must be 1 to {MAX_SIDE_PX} pixels, got {shown(self.size_px)}")


def settings_of(adapter: Adapter) -> KerasImportSettings:
    """Return the settings that an adapter file for a Keras network means.

    Args:
        adapter: An adapter whose model is a Keras file; layout and channels are the file's own.
    """
    return KerasImportSettings(
        labels=adapter.labels, scaling=adapter.scaling, size_px=adapter.size_px, output=adapter.output,
        name=adapter.model.stem,
    )  # fmt: skip


def import_keras(
    model: str | Path,
    weights: str | Path | None,
    output: str | Path,
    *,
    settings: KerasImportSettings | None = None,
) -> ModelCard:
    """Write a Keras network as one ONNX file with mien's interface and metadata.

    The graph takes `crops` (N, 48, 48) uint8 gray, resizes (bilinear) and scales them, and gives one (N, C) float32
    output named after the label set, rows sum to 1, columns in the order of the known set that has these names.

    Args:
        model: `model.json` of Keras 1 to 3, a whole `.h5`, or a `.keras` archive.
        weights: The weights (`.h5`) that belong to a `model.json`; None for the others.
        output: The `.onnx` file to write; it appears whole or not at all.
        settings: Labels, scaling, and what goes into the card.

    Returns:
        The card that is in the file.

    Raises:
        ModelError: A file is missing, damaged or unsafe, or the network has a layer that cannot be imported.
        InputError: The settings do not fit the network.
        OutputError: The file cannot be written.
        MissingExtraError: onnx or h5py is not installed.
    """
    settings = settings or KerasImportSettings()
    model, output = Path(model), Path(output)
    if output.suffix != ".onnx":
        raise InputError(f"the model file must end in .onnx, got {output.name}")
    try:
        with open_keras(model, None if weights is None else Path(weights)) as files:
            proto, card = _convert(files, settings, model)
    except ModelError as error:
        raise ModelError(str(error) if str(model) in str(error) else f"{model}: {error}") from error
    write_whole(output, proto.SerializeToString())
    return card


def export_keras_pair(onnx_path: str | Path, out_dir: str | Path) -> tuple[Path, Path]:
    """Write back `model.json` and `weights.h5` from a file that `import_keras` wrote.

    The architecture is the original text, which the Keras that wrote it reads; Keras 2 also reads the JSON of Keras 1.
    The weights have the layout of Keras 2, which Keras 2 and 3 read. Preprocessing, an added softmax and the order of
    the columns are mien's, and stay behind.

    Args:
        onnx_path: The ONNX file.
        out_dir: Folder for the two files; made if absent.

    Returns:
        Paths of the architecture and of the weights.

    Raises:
        ModelError: The file is not ONNX, did not come from Keras, or its weights were quantised since.
        OutputError: A file cannot be written.
        MissingExtraError: onnx or h5py is not installed.
    """
    onnx_path, out_dir = Path(onnx_path), Path(out_dir)
    proto = _load_onnx(onnx_path)
    metadata = {prop.key: prop.value for prop in proto.metadata_props}
    if ARCHITECTURE_KEY not in metadata or WEIGHTS_KEY not in metadata:
        raise ModelError(
            f"{onnx_path} did not come from Keras; only networks of `mien import-keras` can be written back"
        )
    model = parse_architecture(metadata[ARCHITECTURE_KEY])
    try:
        values = _stored_values(proto, json.loads(metadata[WEIGHTS_KEY]), onnx_path)
    except ModelError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{onnx_path}: the metadata {WEIGHTS_KEY!r} is malformed ({error!r}); import it again"
        ) from error
    if missing := [owner for layer in model.layers for owner in owned_weights(layer) if owner not in values]:
        raise ModelError(f"{onnx_path}: the weights of {shown('/'.join(missing[0][0]))} are missing; import it again")
    architecture, weights = out_dir / MODEL_FILE, out_dir / WEIGHTS_FILE
    with whole_or_nothing(architecture) as json_part, whole_or_nothing(weights) as weights_part:  # both, or neither
        json_part.write_text(metadata[ARCHITECTURE_KEY], encoding="utf-8")
        _write_weights(weights_part, model, values, version=metadata.get(VERSION_KEY, WRITTEN_VERSION))
    return architecture, weights


# Keras → ONNX


def _convert(files: KerasFiles, settings: KerasImportSettings, path: Path) -> tuple[Any, ModelCard]:
    model = parse_architecture(files.architecture)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelError(
            f"the network has {len(model.inputs)} inputs and {len(model.outputs)} outputs, it must have one of each; "
            "save the part that goes from the image to the expressions"
        )
    check_layers(model)
    written_by = keras_version_of(files.architecture) or files.version
    builder = Builder(
        datasets=locate_weights(model, files),
        keras_1_weights=files.version.startswith("1"),
        flipped=files.backend == "theano" if settings.theano is None else settings.theano,
        major=_major(written_by),
    )
    (logits,) = emit_model(builder, model, [_preprocess(builder, model, settings)])
    labels = _postprocess(builder, logits, settings)
    card = ModelCard(
        name=settings.name,
        version=settings.version,
        heads={labels.key: labels.names},
        data=settings.data,
        licence=settings.licence,
        trained=f"imported by mien {__version__} from Keras {written_by}: {path.name}",
    )
    metadata = {METADATA_KEY: card.to_json(), **_keras_metadata(builder, files, written_by)}
    return _assemble(builder, labels, metadata), card


def _major(version: str) -> int:
    number = version.split(".")[0]
    return int(number) if number.isdigit() else 2


def _preprocess(b: Builder, model: Model, settings: KerasImportSettings) -> Tensor:
    """Append what leads from uint8 crops to the network's input."""
    form = _input_form(model, settings.size_px)
    scaling = settings.scaling or SCALINGS["none" if _begins_with_rescaling(model) else "unit"]
    floats = b.node("Cast", [INPUT_NAME], to=require_extra("keras", "onnx").TensorProto.FLOAT)
    name = b.node("Unsqueeze", [floats, b.integers(1)])
    if (form.height, form.width) != (CROP_PX, CROP_PX):
        name = resize(b, name, form.height / CROP_PX, form.width / CROP_PX, "bilinear")
    name = b.node("Concat", [name] * 3, axis=1) if form.channels == 3 else name
    name = _scale(b, name, scaling, form.channels)
    if form.layout == "NHWC":
        return Tensor(name, (form.height, form.width, form.channels), moved=True)
    shapes = {"NCHW": (form.channels, form.height, form.width), "NHW": (form.height, form.width)}
    shape = shapes.get(form.layout, (form.height * form.width,))
    return Tensor(b.node("Reshape", [name, b.integers(0, *shape)]), shape)


@dataclass(frozen=True)
class _InputForm:
    layout: str  # one of mien.models.foreign.LAYOUTS
    height: int
    width: int
    channels: int


def _input_form(model: Model, size_px: tuple[int, int] | None) -> _InputForm:
    """Read the form of the network's input from its shape: images with channels last or first, gray rows, or flat."""
    shape = model.input_shape
    if shape is None:
        raise ModelError("the file does not state the shape of its input; save the model after it was built")
    if len(shape) == 1:
        side = _flat_sides(shape[0], size_px)
        return _InputForm("flat", side[1], side[0], 1)
    if len(shape) == 2:
        return _InputForm("NHW", *_sides(shape, size_px), 1)
    if len(shape) == 3 and shape[2] in (1, 3):
        return _InputForm("NHWC", *_sides(shape[:2], size_px), shape[2])
    if len(shape) == 3 and shape[0] in (1, 3):
        return _InputForm("NCHW", *_sides(shape[1:], size_px), shape[0])
    raise ModelError(f"the network takes {shape}; it must take images of 1 or 3 channels, gray rows, or flat pixels")


def _flat_sides(length: int | None, size_px: tuple[int, int] | None) -> tuple[int, int]:
    """Return (width, height) of images given as flat pixels."""
    side = round((length or 0) ** 0.5)
    width, height = size_px or (side, side)
    if width * height != length or not 1 <= max(width, height) <= MAX_SIDE_PX:
        raise ModelError(f"the network takes {length} flat numbers, which are no square gray image; give its size")
    return width, height


def _sides(sides: tuple[int | None, ...], size_px: tuple[int, int] | None) -> tuple[int, int]:
    """Return (height, width), those that are free taken from the settings."""
    if size_px is None and None in sides:
        raise InputError("the network leaves the size of its input free; give the size it was trained on (--size)")
    width, height = size_px or (0, 0)
    result = (sides[0] or height, sides[1] or width)
    if size_px is not None and result != (height, width):
        raise InputError(f"the network takes {result[1]}x{result[0]} pixels, not {width}x{height}; leave the size out")
    if max(result) > MAX_SIDE_PX:
        raise ModelError(f"the network takes {result[1]}x{result[0]} pixels, more than {MAX_SIDE_PX} a side")
    return result


def _begins_with_rescaling(model: Model) -> bool:
    kinds = [layer.kind for layer in model.layers if layer.kind not in IDENTITIES]
    return kinds[:1] == ["Rescaling"]


def _scale(b: Builder, name: str, scaling: Scaling, channels: int) -> str:
    def per_channel(values: tuple[float, ...]) -> str:
        if len(values) not in (1, channels):
            raise InputError(
                f"the scaling has {len(values)} numbers for {channels} channels; give one, or one per channel"
            )
        return b.constant(np.array(values, np.float32).reshape(1, -1, 1, 1))

    if scaling.scale != (1.0,):
        name = b.node("Mul", [name, per_channel(scaling.scale)])
    if scaling.offset != (0.0,):
        name = b.node("Add", [name, per_channel(scaling.offset)])
    if not scaling.standardise:
        return name
    axes = b.integers(1, 2, 3)
    centred = b.node("Sub", [name, b.node("ReduceMean", [name, axes])])
    deviation = b.node("Sqrt", [b.node("ReduceMean", [b.node("Mul", [centred, centred]), axes])])
    return b.node("Div", [centred, b.node("Add", [deviation, b.floats(STANDARDISE_FLOOR)])])


def _postprocess(b: Builder, x: Tensor, settings: KerasImportSettings) -> LabelSet:
    """Append what leads from the network's output to probabilities in a known order; return their labels."""
    x = b.to_keras(x)
    count = int(np.prod(x.shape))
    if max(x.shape, default=0) != count:
        raise ModelError(f"the network gives {x.shape} a face, it must give one number per expression")
    given = settings.labels or next((known for known in (FER7, FERPLUS8, FIVE) if len(known) == count), FER7)
    labels, columns = in_known_order(given)
    if count != len(given):
        raise InputError(
            f"the network gives {count} numbers a face, but {len(given)} labels were named "
            f"({listed(given.names)}); name one label for each, in the order of the outputs (--labels)"
        )
    name = b.node("Flatten", [x.name], axis=1)
    if x.ends == "sigmoid" and settings.output == "auto":
        raise InputError(
            "the network ends in sigmoids, which are no probabilities; say how to read them: sum, or softmax"
        )
    if settings.output == "softmax" or (settings.output == "auto" and x.ends != "softmax"):
        if x.ends == "softmax":
            raise InputError("the network ends in a softmax already; leave the output's activation on auto")
        name = b.node("Softmax", [name], axis=-1)
    elif settings.output == "sum":
        least = b.node("Max", [b.node("ReduceSum", [name, b.integers(1)]), b.floats(1e-12)])
        name = b.node("Div", [name, least])
    reordered = b.node("Gather", [name, b.integers(*columns.tolist())], axis=1) if given != labels else name
    helper = require_extra("keras", "onnx").helper
    b.nodes.append(helper.make_node("Identity", [reordered], [labels.key], name="output"))
    return labels


def _keras_metadata(b: Builder, files: KerasFiles, version: str) -> dict[str, Any]:
    weights = [
        {"layer": list(path), "role": role, "name": at.name, "shape": at.shape, "axes": at.axes}
        for (path, role), at in b.stored.items()
    ]
    return {ARCHITECTURE_KEY: _model_json(files.architecture, version), WEIGHTS_KEY: weights, VERSION_KEY: version}


def _model_json(architecture: str, version: str) -> str:
    """Return an architecture as `to_json()` would write it: a whole .h5 of Keras 3 leaves out where its class is."""
    value = json.loads(architecture)
    if _major(version) < 3 or "module" in value:
        return architecture
    return json.dumps({"module": KERAS_3_MODULES.get(value["class_name"], "keras"), **value, "registered_name": None})


def _assemble(b: Builder, labels: LabelSet, metadata: Mapping[str, Any]) -> Any:
    onnx = require_extra("keras", "onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        b.nodes, "keras",
        [helper.make_tensor_value_info(INPUT_NAME, kinds.UINT8, ["batch", CROP_PX, CROP_PX])],
        [helper.make_tensor_value_info(labels.key, kinds.FLOAT, ["batch", len(labels)])],
        b.initializers,
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    proto.producer_name = "mien"
    texts = {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in metadata.items()}
    helper.set_model_props(proto, texts)
    onnx.checker.check_model(proto)
    return proto


# ONNX → Keras


def _load_onnx(path: Path) -> Any:
    onnx = require_extra("keras", "onnx")
    try:
        return onnx.load(path, load_external_data=False)
    except OSError as error:
        raise ModelError(f"cannot read {path} ({error.strerror}); check the path") from error
    except Exception as error:  # protobuf's DecodeError, whose module depends on its version
        raise ModelError(f"{path} is not an ONNX model ({error}); give a file of `mien import-keras`") from error


def _stored_values(proto: Any, index: list[dict[str, Any]], path: Path) -> dict[Owner, NDArray[np.float32]]:
    onnx = require_extra("keras", "onnx")
    kind, tensors = onnx.TensorProto.FLOAT, {tensor.name: tensor for tensor in proto.graph.initializer}
    values = {}
    for entry in index:
        at = StoredWeight(entry["name"], tuple(entry["shape"]), tuple(entry["axes"]))
        tensor = tensors.get(at.name)
        if tensor is None or tensor.data_type != kind or math.prod(tensor.dims) != math.prod(at.shape):
            raise ModelError(
                f"{path}: the weights {shown(at.name)} were changed after the import; give the fp32 file itself"
            )
        ordered = onnx.numpy_helper.to_array(tensor).reshape([at.shape[axis] for axis in at.axes])
        values[tuple(entry["layer"]), entry["role"]] = ordered.transpose(np.argsort(at.axes))
    return values


def _write_weights(path: Path, model: Model, values: Mapping[Owner, NDArray[np.float32]], *, version: str) -> None:
    """Write the layout of Keras 2, as Keras 3 can too: one group per layer, its weights listed by name."""
    h5py = require_extra("keras", "h5py")
    with h5py.File(path, "w") as file:
        layers = [layer for layer in model.layers if layer.name != "(input)"]
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        file.attrs["backend"] = WRITTEN_BACKEND
        file.attrs["keras_version"] = version if _major(version) >= 3 else WRITTEN_VERSION
        for layer in layers:
            group = file.create_group(layer.name)
            owners = list(owned_weights(layer))
            names = [f"{'/'.join(owner)}/{role}:0" for owner, role in owners]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, owner in zip(names, owners, strict=True):
                group.create_dataset(name, data=values[owner])
