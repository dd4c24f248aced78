"""The architecture that Keras 1 to 3 write as JSON, read into one plain form. Nothing in it is ever executed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from mien.errors import ModelError, shown

MAX_LAYERS = 2000
MAX_NESTING = 8

Config = Mapping[str, Any]

MODEL_CLASSES = ("Sequential", "Functional", "Model")
SYNONYMS = {
    "Convolution2D": "Conv2D",
    "AtrousConvolution2D": "Conv2D",
    "SeparableConvolution2D": "SeparableConv2D",
    "MaxPool2D": "MaxPooling2D",
    "AvgPool2D": "AveragePooling2D",
    "GlobalAvgPool2D": "GlobalAveragePooling2D",
    "GlobalMaxPool2D": "GlobalMaxPooling2D",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
}
KERAS_1_KEYS = {
    "nb_filter": "filters",
    "border_mode": "padding",
    "subsample": "strides",
    "bias": "use_bias",
    "output_dim": "units",
    "atrous_rate": "dilation_rate",
}
DATA_FORMATS = {"th": "channels_first", "tf": "channels_last"}


@dataclass(frozen=True)
class Ref:
    """One result: call number `node` of a layer."""

    layer: str
    node: int


@dataclass(frozen=True)
class Layer:
    """One layer, with the keys of Keras 2.

    Attributes:
        kind: Class of the layer, as Keras 2 and 3 call it.
        class_name: Class of the layer, as the file calls it.
        name: Name, unique within its model.
        config: Its settings.
        calls: What it is applied to, once per call.
        model: The model inside, if the layer is one.
    """

    kind: str
    class_name: str
    name: str
    config: Config
    calls: tuple[tuple[Ref, ...], ...]
    model: "Model | None" = None


@dataclass(frozen=True)
class Model:
    """A graph of layers.

    Attributes:
        layers: Its layers, in the order of the file.
        inputs: The results that are given.
        outputs: The results that are asked for.
        input_shape: Sizes of the first input without the batch, None where free; None if the file does not say.
    """

    layers: tuple[Layer, ...]
    inputs: tuple[Ref, ...]
    outputs: tuple[Ref, ...]
    input_shape: tuple[int | None, ...] | None


def parse_architecture(text: str) -> Model:
    """Read `model.to_json()` of Keras 1, 2 or 3.

    Args:
        text: The JSON.

    Raises:
        ModelError: It is not JSON, not a Sequential or Functional model, or malformed.
    """
    try:
        value = json.loads(text)
        return _parse_model(value, depth=0)
    except json.JSONDecodeError as error:
        raise ModelError(f"the architecture is not JSON ({error}); write it with model.to_json()") from error
    except RecursionError as error:
        raise ModelError(
            "the architecture is nested too deeply to be a network; write it with model.to_json()"
        ) from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"the architecture is malformed ({error!r}); write it with model.to_json()") from error


def weight_roles(layer: Layer) -> tuple[tuple[str, bool], ...]:
    """Return the weights a layer owns, in the order in which Keras saves them, each with whether training changes it.

    Args:
        layer: Any layer; one that is a model owns none itself.
    """
    config = layer.config
    bias = (("bias", True),) if config.get("use_bias", True) else ()
    match layer.kind:
        case "Conv2D" | "Dense":
            return (("kernel", True), *bias)
        case "DepthwiseConv2D":
            return (("depthwise_kernel", True), *bias)
        case "SeparableConv2D":
            return (("depthwise_kernel", True), ("pointwise_kernel", True), *bias)
        case "PReLU":
            return (("alpha", True),)
        case "BatchNormalization":
            gamma = (("gamma", True),) if config.get("scale", True) else ()
            beta = (("beta", True),) if config.get("center", True) else ()
            return (*gamma, *beta, ("moving_mean", False), ("moving_variance", False))
    return ()


def owned_weights(layer: Layer, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield (path of the owner, role) of every weight of a layer or nested model, in the order of Keras's HDF5 files.

    Keras writes what training changes first, the rest after it.

    Args:
        layer: A layer or nested model.
        path: Names of the models around it.
    """
    found = list(_walk_weights(layer, path))
    for wanted in (True, False):
        yield from ((owner, role) for owner, role, trained in found if trained is wanted)


def has_weights(layer: Layer) -> bool:
    """Return whether a layer, or any layer of a nested model, owns weights."""
    return next(owned_weights(layer), None) is not None


def _walk_weights(layer: Layer, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, bool]]:
    if layer.model is not None:
        for inner in layer.model.layers:
            yield from _walk_weights(inner, (*path, layer.name))
    trainable = layer.config.get("trainable", True) is not False
    yield from (((*path, layer.name), role, trained and trainable) for role, trained in weight_roles(layer))


def _parse_model(value: Any, *, depth: int) -> Model:
    if not isinstance(value, dict) or value.get("class_name") not in MODEL_CLASSES:
        came = value.get("class_name") if isinstance(value, dict) else type(value).__name__
        raise ModelError(
            f"the architecture must be a Sequential or Functional model, got {shown(came)}; rebuild it as one"
        )
    if depth > MAX_NESTING:
        raise ModelError(f"the architecture nests models more than {MAX_NESTING} deep; flatten it")
    config = value["config"]
    entries = config if isinstance(config, list) else config["layers"]
    if not entries or len(entries) > MAX_LAYERS:
        raise ModelError(f"the architecture must have 1 to {MAX_LAYERS} layers, got {len(entries)}")
    layers = [_parse_layer(entry, index, depth) for index, entry in enumerate(entries)]
    if len({layer.name for layer in layers}) != len(layers):
        raise ModelError("the architecture has two layers of one name; rename one of them")
    if value["class_name"] == "Sequential":
        return _sequential(layers, value)
    inputs, outputs = tuple(_refs(config["input_layers"])), tuple(_refs(config["output_layers"]))
    if not inputs or not outputs:
        raise ModelError("the architecture names no input or no output; write it with model.to_json()")
    first = [layer for layer in layers if layer.name == inputs[0].layer]
    return _counted_from_zero(Model(tuple(layers), inputs, outputs, _first_shape(first or layers, value)))


def _parse_layer(entry: Any, index: int, depth: int) -> Layer:
    class_name = str(entry["class_name"])
    config = entry["config"]
    name = entry.get("name") or (config.get("name") if isinstance(config, dict) else None) or f"{class_name}_{index}"
    kind = kind_of(entry)
    calls = tuple(tuple(_refs(call)) for call in entry.get("inbound_nodes") or ())
    model = _parse_model(entry, depth=depth + 1) if class_name in MODEL_CLASSES else None
    return Layer(kind, class_name, str(name), _with_keras_2_keys(config), calls, model)


def kind_of(entry: Config) -> str:
    """Return the class of an entry as Keras 2 and 3 call it, with its package (`"Custom>Gate"`) if it is none of Keras.

    Args:
        entry: A layer or activation as Keras writes it.
    """
    registered = str(entry.get("registered_name") or "")
    class_name = str(entry["class_name"])
    return registered if ">" in registered else SYNONYMS.get(class_name, class_name)


def _with_keras_2_keys(config: Any) -> Config:
    if not isinstance(config, dict):
        return {}
    renamed: dict[str, Any] = {KERAS_1_KEYS.get(str(key), str(key)): value for key, value in config.items()}
    if "nb_row" in config:
        renamed["kernel_size"] = [config["nb_row"], config["nb_col"]]
    if "dim_ordering" in config:
        renamed["data_format"] = DATA_FORMATS.get(config["dim_ordering"], "channels_last")
    return renamed


def _sequential(layers: list[Layer], value: Config) -> Model:
    shape = _first_shape(layers, value)
    if layers[0].kind != "InputLayer":
        layers = [Layer("InputLayer", "InputLayer", "(input)", {}, ()), *layers]
    chained = [layers[0]]
    for before, layer in pairwise(layers):
        call = (Ref(before.name, 0),)
        chained.append(replace(layer, calls=(call,)))
    return Model(tuple(chained), (Ref(chained[0].name, 0),), (Ref(chained[-1].name, 0),), shape)


def _first_shape(layers: Sequence[Layer], value: Config) -> tuple[int | None, ...] | None:
    """Return the shape of the input, wherever this version of Keras wrote it."""
    first = layers[0]
    for config in (first.config, value.get("build_config") or {}):
        for key in ("batch_shape", "batch_input_shape", "input_shape"):
            if isinstance(config.get(key), list):
                sizes = config[key] if key != "input_shape" or config is not first.config else [None, *config[key]]
                return tuple(None if size is None else int(size) for size in sizes[1:])
    if isinstance(first.config.get("input_dim"), int):
        return (first.config["input_dim"],)
    return first.model.input_shape if first.model is not None else None


def _refs(value: Any) -> Iterator[Ref]:
    """Yield the results that one call, or one list of inputs or outputs, names.

    Keras 1 and 2 write `["name", node, tensor]` with or without keyword arguments, alone or in lists; Keras 3 wraps the
    same triple in a `__keras_tensor__`.
    """
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            yield from _refs(value["config"]["keras_history"])
        elif "args" in value:
            yield from _refs(list(value["args"]))
            yield from _refs(list((value.get("kwargs") or {}).values()))
    elif isinstance(value, list) and len(value) > 2 and isinstance(value[0], str) and isinstance(value[1], int):
        if value[2] != 0:
            raise ModelError(
                f"layer {shown(value[0])} gives more than one result; only layers with one result are supported"
            )
        yield Ref(value[0], value[1])
    elif isinstance(value, list):
        for item in value:
            yield from _refs(item)


def _counted_from_zero(model: Model) -> Model:
    """Return the model with calls of nested models counted from 0: Keras 2 counts a model's own making as call 0."""
    used = {ref.layer: 0 for ref in model.outputs}
    for ref in (*model.outputs, *(ref for layer in model.layers for call in layer.calls for ref in call)):
        used[ref.layer] = max(used.get(ref.layer, 0), ref.node)
    late = {layer.name for layer in model.layers if layer.model and used.get(layer.name, 0) >= len(layer.calls) > 0}

    def shifted(refs: tuple[Ref, ...]) -> tuple[Ref, ...]:
        return tuple(Ref(ref.layer, ref.node - (ref.layer in late)) for ref in refs)

    layers = tuple(replace(layer, calls=tuple(shifted(call) for call in layer.calls)) for layer in model.layers)
    return replace(model, layers=layers, outputs=shifted(model.outputs))
