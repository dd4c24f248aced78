"""Networks that Keras itself builds, saves and runs, against what `import_keras` makes of the files."""

import atexit
import json
import os
import shutil
import tempfile
import zipfile

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

KERAS_HOME = tempfile.mkdtemp(prefix="keras-")  # on import Keras writes a configuration, by default at home
atexit.register(shutil.rmtree, KERAS_HOME, ignore_errors=True)
os.environ.update(KERAS_BACKEND="torch", KERAS_HOME=KERAS_HOME)
h5py = pytest.importorskip("h5py")
keras = pytest.importorskip("keras")
onnx = pytest.importorskip("onnx")

from helpers import run_cli  # noqa: E402
from mien.cli.import_keras import import_keras as command  # noqa: E402
from mien.cli.import_keras import open_adapter  # noqa: E402
from mien.errors import InputError, ModelError, OutputError  # noqa: E402
from mien.labels import FER7, FERPLUS8, FIVE, LabelSet  # noqa: E402
from mien.models.catalogue import model_path  # noqa: E402
from mien.models.expression import ExpressionModel  # noqa: E402
from mien.models.foreign import SCALINGS, Adapter, Scaling, parse_labels  # noqa: E402
from mien.models.keras import _files as _keras_files  # noqa: E402
from mien.models.keras.convert import KerasImportSettings, export_keras_pair, import_keras, settings_of  # noqa: E402

pytestmark = pytest.mark.filterwarnings(  # Keras's own torch backend and NumPy 2
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning:keras"
)
L = keras.layers
RNG = np.random.default_rng(3)
CROPS = np.stack([  # broad patches differ after pooling, which fine noise would not
    cv2.resize(RNG.integers(0, 256, (6, 6), dtype=np.uint8), (48, 48), interpolation=cv2.INTER_LINEAR) for _ in range(5)
])  # fmt: skip
AGREE = {"rtol": 0, "atol": 1e-4}


def scaled(crops=CROPS, channels=1):
    return np.repeat(crops[..., None].astype(np.float32) / 255, channels, axis=3)


def oracle(model, x=None):
    """Return what Keras itself says; it must differ from image to image, or agreement would prove little."""
    answers = keras.ops.convert_to_numpy(model(scaled() if x is None else x, training=False))
    assert answers.std(axis=0).max() > 2e-3, "the answers hardly depend on the images"
    return answers


def shaken(model, seed=1):
    """Give every weight a value of its own, so that none can be dropped or swapped unseen."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        shape, name = weight.shape, weight.path.split("/")[-1]
        if name in ("moving_variance", "gamma"):
            weight.assign(rng.uniform(0.5, 2, shape))
        elif name in ("beta", "bias", "moving_mean", "alpha"):
            weight.assign(rng.uniform(-0.3, 0.6, shape))
        else:
            weight.assign(rng.normal(0, 1.6 / np.sqrt(np.prod(shape[:-1])), shape))
    return model


def sequential(*layers, shape=(48, 48, 1)):
    return shaken(keras.Sequential([L.Input(shape), *layers]))


def tutorial_cnn():
    """Four convolutions, two dense layers: the network of the best-known tutorial."""
    blocks = []
    for filters, size in ((64, 3), (128, 5), (512, 3), (512, 3)):
        blocks += [L.Conv2D(filters, size, padding="same"), L.BatchNormalization(), L.Activation("relu")]
        blocks += [L.MaxPooling2D(2), L.Dropout(0.25)]
    blocks.append(L.Flatten())
    for units in (256, 512):
        blocks += [L.Dense(units), L.BatchNormalization(), L.Activation("relu"), L.Dropout(0.25)]
    return spread(sequential(*blocks, L.Dense(7, activation="softmax")))


def spread(model):
    """Give the last layer weights by which its answers to `CROPS` differ; deep random networks say nearly one thing."""
    last = model.layers[-1]
    features = keras.ops.convert_to_numpy(keras.Model(model.inputs[0], last.input)(scaled(), training=False))
    kernel = np.random.default_rng(2).normal(size=last.kernel.shape)
    kernel /= ((features - features.mean(axis=0)) @ kernel).std()
    last.set_weights([kernel, -features.mean(axis=0) @ kernel])
    return model


def small_cnn(final="softmax", classes=7):
    return sequential(
        L.Conv2D(4, 3, activation="relu", padding="same"),
        L.BatchNormalization(),
        L.MaxPooling2D(4),
        L.Conv2D(6, (3, 2), activation="relu"),
        L.Flatten(),
        L.Dense(16, activation="relu"),
        L.Dropout(0.5),
        L.Dense(classes, activation=final),
    )


def mini_xception(size=48):
    """Separable convolutions with residual connections and no dense layer (Arriaga et al. 2017)."""
    inputs = x = L.Input((size, size, 1))
    for _ in range(2):
        x = L.Conv2D(8, 3, use_bias=False, kernel_regularizer=keras.regularizers.L2(0.01))(x)
        x = L.Activation("relu")(L.BatchNormalization()(x))
    for filters in (16, 32):
        residual = L.Conv2D(filters, 1, strides=2, padding="same", use_bias=False)(x)
        residual = L.BatchNormalization()(residual)
        x = L.SeparableConv2D(filters, 3, padding="same", use_bias=False)(x)
        x = L.Activation("relu")(L.BatchNormalization()(x))
        x = L.SeparableConv2D(filters, 3, padding="same", use_bias=False)(x)
        x = L.MaxPooling2D(3, strides=2, padding="same")(L.BatchNormalization()(x))
        x = L.Add()([x, residual])
    x = L.GlobalAveragePooling2D()(L.Conv2D(7, 3, padding="same")(x))
    return shaken(keras.Model(inputs, L.Activation("softmax", name="predictions")(x)))


def transfer(frozen):
    """A pretrained trunk inside a Sequential, as in transfer learning."""
    inputs = L.Input((48, 48, 3))
    x = L.Conv2D(4, 3, padding="same", activation="relu", name="block1_conv1")(inputs)
    x = L.MaxPooling2D()(L.BatchNormalization(name="block1_bn")(x))
    x = L.BatchNormalization(name="block2_bn")(L.Conv2D(8, 3, name="block2_conv1")(x))
    trunk = keras.Model(inputs, x, name="vgg_like")
    trunk.trainable = not frozen
    return sequential(trunk, L.GlobalMaxPooling2D(), L.Dense(7, activation="softmax"), shape=(48, 48, 3))


def run(tmp_path, model_path, weights_path=None, crops=CROPS, **settings):
    target = tmp_path / "imported.onnx"
    import_keras(model_path, weights_path, target, settings=KerasImportSettings(**settings))
    return ExpressionModel(target).predict_proba(crops)


def weights_of(model):
    """Return {layer name: [arrays]} in Keras's order."""
    return {layer.name: [np.array(w) for w in layer.get_weights()] for layer in model.layers}


def write_h5(path, weights, **attributes):
    """Write the layout of Keras 1 and 2: one group per layer, its weights listed by name."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"layer_names": [name.encode() for name in weights], **attributes})
        for layer, arrays in weights.items():
            group = file.create_group(layer)
            names = [f"{layer}/{i}:0" for i in range(len(arrays))]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, array in zip(names, arrays, strict=True):
                group.create_dataset(name, data=array)
    return path


def save_archive(model, folder):
    model.save(folder / "m.keras")
    return folder / "m.keras", None


def save_pair(model, folder):
    (folder / "model.json").write_text(model.to_json())
    model.save_weights(folder / "m.weights.h5")
    return folder / "model.json", folder / "m.weights.h5"


def save_whole(model, folder):
    model.save(folder / "m.h5")  # Keras 3 still writes the layout of Keras 2
    return folder / "m.h5", None


def save_keras_2_pair(model, folder):
    """Write what `to_json()` and `save_weights()` of Keras 2 do: configuration and weights of a whole file, apart."""
    whole, _ = save_whole(model, folder)
    with h5py.File(whole) as source, h5py.File(folder / "weights.h5", "w") as target:
        config = {**json.loads(source.attrs["model_config"]), "keras_version": "2.2.4", "backend": "tensorflow"}
        (folder / "model.json").write_text(json.dumps(config))
        group = source["model_weights"]
        target.attrs.update(
            {"layer_names": group.attrs["layer_names"], "backend": "tensorflow", "keras_version": "2.2.4"}
        )
        for name in group:
            source.copy(group[name], target)
    whole.unlink()
    return folder / "model.json", folder / "weights.h5"


@pytest.mark.parametrize("save", [save_archive, save_pair, save_whole, save_keras_2_pair])
class TestFormats:
    def test_the_tutorial_network(self, save, tmp_path):
        model = tutorial_cnn()
        assert model.count_params() == 4_478_727
        np.testing.assert_allclose(run(tmp_path, *save(model, tmp_path)), oracle(model), **AGREE)

    def test_mini_xception(self, save, tmp_path):
        model = mini_xception()
        np.testing.assert_allclose(run(tmp_path, *save(model, tmp_path)), oracle(model), **AGREE)

    @pytest.mark.parametrize("frozen", [True, False])
    def test_a_network_inside_a_network(self, save, tmp_path, frozen):
        model = transfer(frozen)
        np.testing.assert_allclose(run(tmp_path, *save(model, tmp_path)), oracle(model, scaled(channels=3)), **AGREE)


class TestOldFormats:
    """JSON and HDF5 as Keras 1 and the first Keras 2 wrote them, with weights of a network that Keras 3 runs."""

    def layers(self, model, *, keras_1, first=False):
        """Return the JSON of `small_cnn` in the words of Keras 1 or 2.0."""
        order = {"dim_ordering": "th" if first else "tf"} if keras_1 else {"data_format": "channels_last"}

        def conv(layer, same):
            size, padding = layer.kernel_size, "same" if same else "valid"
            if keras_1:
                return "Convolution2D", {
                    "nb_filter": layer.filters, "nb_row": size[0], "nb_col": size[1], "border_mode": padding,
                    "subsample": [1, 1], "bias": True, "activation": "relu", **order,
                }  # fmt: skip
            return "Conv2D", {
                "filters": layer.filters, "kernel_size": list(size), "padding": padding, "strides": [1, 1],
                "use_bias": True, "activation": "relu", "dilation_rate": [1, 1], **order,
            }  # fmt: skip

        def dense(layer, activation):
            return "Dense", {"output_dim" if keras_1 else "units": layer.units, "activation": activation}

        a, norm, _, b, _, c, _, d = model.layers
        pool = {"pool_size": [4, 4], "strides": [4, 4], "border_mode" if keras_1 else "padding": "valid", **order}
        axis = {"axis": 1 if first else -1, "epsilon": 1e-3, **({"mode": 0, "momentum": 0.99} if keras_1 else {})}
        entries = [
            conv(a, True), ("BatchNormalization", axis), ("MaxPooling2D", pool), conv(b, False), ("Flatten", {}),
            dense(c, "relu"), ("Dropout", {"p" if keras_1 else "rate": 0.5}), dense(d, "softmax"),
        ]  # fmt: skip
        names = ("c1", "bn", "pool", "c2", "flat", "d1", "drop", "d2")
        config = [{"class_name": k, "config": {**v, "name": n}} for (k, v), n in zip(entries, names, strict=True)]
        config[0]["config"]["batch_input_shape"] = [None, 1, 48, 48] if first else [None, 48, 48, 1]
        assert norm.epsilon == 1e-3
        return config

    def save(self, tmp_path, model, config, version, weights=None, **attributes):
        text = json.dumps({"class_name": "Sequential", "config": config, "keras_version": version})
        (tmp_path / "model.json").write_text(text)
        weights = weights or list(weights_of(model).values())
        names = [entry["config"]["name"] for entry in config]
        named = dict(zip(names, weights, strict=True))
        return tmp_path / "model.json", write_h5(tmp_path / "weights.h5", named, **attributes)

    def test_keras_2_0(self, tmp_path):
        model = small_cnn()
        files = self.save(tmp_path, model, self.layers(model, keras_1=False), "2.0.8", keras_version="2.0.8")
        np.testing.assert_allclose(run(tmp_path, *files), oracle(model), **AGREE)

    @pytest.mark.parametrize(("version", "slope"), [("2.2.4", 0.2), ("3.1.0", 1 / 6)])
    def test_keras_3_redefined_the_hard_sigmoid(self, tmp_path, version, slope):
        config = [
            {"class_name": "Flatten", "config": {"name": "f", "batch_input_shape": [None, 48, 48, 1]}},
            {"class_name": "Dense", "config": {"name": "d", "units": 7, "activation": "hard_sigmoid"}},
        ]
        kernel = np.random.default_rng(5).normal(0, 0.05, (2304, 7)).astype(np.float32)
        files = self.save(
            tmp_path, None, config, version, [[], [kernel, np.zeros(7, np.float32)]], keras_version=version
        )
        expected = np.clip(slope * (scaled().reshape(5, -1) @ kernel) + 0.5, 0, 1)
        expected /= expected.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(run(tmp_path, *files, output="sum"), expected, **AGREE)

    @pytest.mark.parametrize("attributes", [{"keras_version": "1.2.2", "backend": "tensorflow"}, {}])
    def test_keras_1_on_tensorflow(self, tmp_path, attributes):
        model = small_cnn()
        files = self.save(tmp_path, model, self.layers(model, keras_1=True), "1.2.2", **attributes)
        np.testing.assert_allclose(run(tmp_path, *files), oracle(model), **AGREE)

    @pytest.mark.parametrize("backend", ["tensorflow", "theano"])
    def test_keras_1_channels_first(self, tmp_path, backend):
        """Keras 1 then stores kernels as (out, in, h, w), Theano flips them, and Flatten goes channel by channel."""
        model = small_cnn()
        weights = list(weights_of(model).values())
        for i in (0, 3):
            kernel = weights[i][0].transpose(3, 2, 0, 1)
            weights[i][0] = kernel[:, :, ::-1, ::-1] if backend == "theano" else kernel
        height, width, channels = model.layers[4].input.shape[1:]
        rows = weights[5][0].reshape(height, width, channels, -1).transpose(2, 0, 1, 3)
        weights[5][0] = rows.reshape(weights[5][0].shape)
        config = self.layers(model, keras_1=True, first=True)
        files = self.save(tmp_path, model, config, "1.2.2", weights, keras_version="1.2.2", backend=backend)
        np.testing.assert_allclose(run(tmp_path, *files), oracle(model), **AGREE)
        other = run(tmp_path, *files, theano=backend != "theano")
        assert np.abs(other - oracle(model)).max() > 1e-3, "telling the backend must make a difference"

    def test_keras_1_graph_with_merges(self, tmp_path):
        inputs = L.Input((48, 48, 1))
        a, b = L.Conv2D(3, 3, name="a")(inputs), L.Conv2D(3, 3, name="b")(inputs)
        summed = L.Add()([a, b])
        joined = L.GlobalAveragePooling2D()(L.Concatenate()([summed, L.LeakyReLU(0.3)(a)]))
        model = shaken(keras.Model(inputs, L.Dense(7, activation="softmax", name="out")(joined)))

        def conv(name):
            config = {"nb_filter": 3, "nb_row": 3, "nb_col": 3, "dim_ordering": "tf", "activation": "linear"}
            return {"class_name": "Convolution2D", "name": name, "config": config, "inbound_nodes": [[["in", 0, 0]]]}

        def node(kind, name, config, *sources):
            return {
                "class_name": kind, "name": name, "config": config, "inbound_nodes": [[[s, 0, 0] for s in sources]],
            }  # fmt: skip

        layers = [
            {"class_name": "InputLayer", "name": "in", "config": {"batch_input_shape": [None, 48, 48, 1]},
             "inbound_nodes": []},
            conv("a"), conv("b"), node("Merge", "m", {"mode": "sum"}, "a", "b"),
            node("LeakyReLU", "lr", {"alpha": 0.3}, "a"),
            node("Merge", "cat", {"mode": "concat", "concat_axis": -1}, "m", "lr"),
            node("GlobalAveragePooling2D", "gap", {"dim_ordering": "tf"}, "cat"),
            node("Dense", "out", {"output_dim": 7, "activation": "softmax"}, "gap"),
        ]  # fmt: skip
        config = {"name": "g", "layers": layers, "input_layers": [["in", 0, 0]], "output_layers": [["out", 0, 0]]}
        (tmp_path / "model.json").write_text(json.dumps({"class_name": "Model", "config": config}))
        named = {name: weights for name, weights in weights_of(model).items() if weights}
        write_h5(tmp_path / "weights.h5", named)
        answers = run(tmp_path, tmp_path / "model.json", tmp_path / "weights.h5")
        np.testing.assert_allclose(answers, oracle(model), **AGREE)

    def test_keras_2_counts_a_nested_model_from_its_own_making(self, tmp_path):
        inner = sequential(L.Conv2D(3, 3, name="c"), L.GlobalAveragePooling2D(), L.Dense(7, name="d"))
        inner.name = "inner"
        inputs = L.Input((48, 48, 1))
        model = keras.Model(inputs, L.Softmax()(inner(inputs)))
        model_path, weights_path = save_keras_2_pair(model, tmp_path)
        value = json.loads(model_path.read_text())
        softmax = next(layer for layer in value["config"]["layers"] if layer["class_name"] == "Softmax")
        softmax["inbound_nodes"] = [[["inner", 1, 0, {}]]]
        model_path.write_text(json.dumps(value))
        np.testing.assert_allclose(run(tmp_path, model_path, weights_path), oracle(model), **AGREE)

    @pytest.mark.parametrize("frozen", [True, False])
    def test_names_of_nested_weights_that_say_nothing(self, tmp_path, frozen):
        """Then only the order counts: what training changes first, which depends on what is frozen."""
        model = transfer(frozen)
        model_path, weights_path = save_keras_2_pair(model, tmp_path)
        with h5py.File(weights_path, "r+") as file:
            group = file["vgg_like"]
            names = [f"w{i}:0" for i in range(len(group.attrs["weight_names"]))]
            for old, new in zip(list(group.attrs["weight_names"]), names, strict=True):
                group.move(old, new)
            group.attrs["weight_names"] = [name.encode() for name in names]
        expected = oracle(model, scaled(channels=3))
        np.testing.assert_allclose(run(tmp_path, model_path, weights_path), expected, **AGREE)

    def test_keras_2_12_layout(self, tmp_path):
        """It wrote `_layer_checkpoint_dependencies`, with gaps in the counting."""
        model = small_cnn()
        model_path, weights_path = save_pair(model, tmp_path)
        old = tmp_path / "old.h5"
        with h5py.File(weights_path) as source, h5py.File(old, "w") as target:
            group = target.create_group("_layer_checkpoint_dependencies")
            for name in source["layers"]:
                stem, _, number = name.rpartition("_")
                doubled = f"{stem}_{int(number) * 2}" if number.isdigit() else name
                source.copy(source["layers"][name], group, name=doubled)
        np.testing.assert_allclose(run(tmp_path, model_path, old), oracle(model), **AGREE)


def head(*layers):
    return (*layers, L.GlobalAveragePooling2D(), L.Dense(7, activation="softmax"))


ZOO = {
    "same, strides": lambda: head(L.Conv2D(4, 3, strides=2, padding="same"), L.Conv2D(4, 4, strides=3, padding="same")),
    "valid, strides": lambda: head(L.Conv2D(4, (5, 3), strides=(3, 2), activation="tanh")),
    "dilation": lambda: head(L.Conv2D(4, 3, dilation_rate=2, padding="same"), L.Conv2D(3, 3, dilation_rate=(2, 3))),
    "groups": lambda: head(L.Conv2D(4, 3), L.Conv2D(6, 3, groups=2, activation="elu")),
    "depthwise": lambda: head(L.Conv2D(3, 3), L.DepthwiseConv2D(3, depth_multiplier=2, strides=2, padding="same")),
    "depthwise without bias": lambda: head(L.Conv2D(3, 3), L.DepthwiseConv2D(3, use_bias=False, dilation_rate=2)),
    "separable": lambda: head(L.Conv2D(3, 3), L.SeparableConv2D(5, 3, depth_multiplier=2, activation="selu")),
    "pools, same": lambda: head(L.MaxPooling2D(3, strides=2, padding="same"), L.AveragePooling2D(5, 1, padding="same")),
    "pools, valid": lambda: head(L.AveragePooling2D((3, 2)), L.Conv2D(3, 3), L.MaxPooling2D(3, strides=(1, 2))),
    "global pools that keep the axes": lambda: (
        L.Conv2D(5, 3), L.GlobalMaxPooling2D(keepdims=True), L.Flatten(), L.Dense(7, activation="softmax"),
    ),
    "norm without scale": lambda: head(L.Conv2D(4, 3), L.BatchNormalization(scale=False, epsilon=0.1)),
    "norm without shift": lambda: head(L.Conv2D(4, 3), L.BatchNormalization(center=False)),
    "norm along the width": lambda: head(L.Conv2D(4, 3), L.BatchNormalization(axis=2)),
    "padding and cropping": lambda: head(
        L.Conv2D(3, 3), L.ZeroPadding2D(((1, 2), (3, 4))), L.Cropping2D(((2, 0), (1, 3))), L.Conv2D(2, 5),
    ),
    "up-sampling": lambda: head(L.MaxPooling2D(8), L.UpSampling2D((2, 3)), L.UpSampling2D(2, interpolation="bilinear")),
    "reshape and permute": lambda: (
        L.Conv2D(3, 3, strides=4), L.Permute((3, 1, 2)), L.Reshape((-1, 12)), L.Flatten(),
        L.Dense(7, activation="softmax"),
    ),
    "dense on an image": lambda: head(L.Conv2D(3, 3), L.Dense(4, activation="relu"), L.Dense(2, use_bias=False)),
    "prelu": lambda: head(L.Conv2D(3, 5, strides=5), L.PReLU(), L.Conv2D(3, 1), L.PReLU(shared_axes=[1, 2])),
    "relu": lambda: head(L.Conv2D(3, 3), L.ReLU(0.8, negative_slope=0.1, threshold=0.2), L.ReLU(6.0)),
    "leaky relu and elu": lambda: head(L.Conv2D(3, 3), L.LeakyReLU(), L.Conv2D(3, 3), L.ELU(alpha=0.7)),
    "activation as a layer": lambda: head(L.Conv2D(3, 3, activation=L.LeakyReLU(negative_slope=0.15))),
    **{
        f"softmax over axis {axis}": lambda axis=axis: (
            L.Conv2D(3, 3, strides=5), L.Softmax(axis=axis), L.Flatten(), L.Dense(7, activation="softmax"),
        )
        for axis in (1, 2, -1)
    },
    "at prediction the same": lambda: head(
        L.GaussianNoise(1.0), L.Conv2D(3, 3), L.SpatialDropout2D(0.5), L.RandomFlip(), L.RandomRotation(0.3),
    ),
    **{
        f"activation {name}": lambda name=name: head(L.Conv2D(3, 3), L.Rescaling(3.0, -1.0), L.Activation(name))
        for name in (
            "relu", "relu6", "elu", "selu", "leaky_relu", "tanh", "sigmoid", "hard_sigmoid", "softplus",
            "softsign", "exponential", "silu", "hard_silu", "mish", "gelu",
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("name", ZOO)
def test_every_layer_agrees(name, tmp_path):
    model = sequential(*ZOO[name]())
    np.testing.assert_allclose(run(tmp_path, *save_archive(model, tmp_path)), oracle(model), **AGREE)


def test_average_pool_leaves_the_margin_out(tmp_path):
    """As in TensorFlow. Keras on PyTorch repeats the edge where the margin is odd, so the answer is worked out here."""
    model = sequential(L.AveragePooling2D(5, 2, padding="same"), L.Flatten(), L.Dense(7))
    padded = np.pad(scaled()[..., 0], ((0, 0), (1, 2), (1, 2)), constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(1, 2))[:, ::2, ::2]
    kernel, bias = model.layers[-1].get_weights()
    logits = np.nanmean(windows, axis=(3, 4)).reshape(5, -1) @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(run(tmp_path, *save_archive(model, tmp_path)), expected, **AGREE)


def test_layers_with_several_inputs(tmp_path):
    inputs = L.Input((48, 48, 1))
    a, b = L.Conv2D(4, 3, activation="relu")(inputs), L.Conv2D(4, 3)(inputs)
    gate = L.Reshape((1, 1, 4))(L.Dense(4, activation="sigmoid")(L.GlobalAveragePooling2D()(a)))
    excited = L.Multiply()([a, gate])
    parts = [kind()([excited, b]) for kind in (L.Add, L.Subtract, L.Average, L.Maximum, L.Minimum)]
    x = L.Concatenate()([*parts, L.Add()([a, b, excited])])
    tall = L.Concatenate(axis=1)([x, x])
    x = L.GlobalAveragePooling2D()(L.Conv2D(5, 3)(tall))
    model = shaken(keras.Model(inputs, L.Dense(7, activation="softmax")(x)))
    np.testing.assert_allclose(run(tmp_path, *save_pair(model, tmp_path)), oracle(model), **AGREE)


def test_a_layer_used_twice_is_stored_once(tmp_path):
    inputs = L.Input((48, 48, 1))
    shared = L.Conv2D(1, 3, padding="same", activation="tanh", name="shared")
    x = L.Flatten()(L.MaxPooling2D(8)(shared(shared(inputs))))
    model = shaken(keras.Model(inputs, L.Dense(7, activation="softmax")(x)))
    np.testing.assert_allclose(run(tmp_path, *save_archive(model, tmp_path)), oracle(model), **AGREE)
    names = [tensor.name for tensor in onnx.load(tmp_path / "imported.onnx").graph.initializer]
    assert names.count("shared/kernel") == 1


class TestInputs:
    def test_channels_first(self, tmp_path):
        model = sequential(
            L.Conv2D(4, 3, data_format="channels_first"), L.BatchNormalization(axis=1),
            L.MaxPooling2D(4, data_format="channels_first"), L.Flatten(data_format="channels_first"),
            L.Dense(7, activation="softmax"), shape=(1, 48, 48),
        )  # fmt: skip
        expected = oracle(model, scaled().transpose(0, 3, 1, 2))
        np.testing.assert_allclose(run(tmp_path, *save_archive(model, tmp_path)), expected, **AGREE)

    @pytest.mark.parametrize("free", [True, False])
    def test_another_size_is_resized_as_opencv_does(self, tmp_path, free):
        model = mini_xception(None if free else 64)
        images = np.stack([cv2.resize(crop.astype(np.float32), (64, 64)) for crop in CROPS]) / 255
        size = {"size_px": (64, 64)} if free else {}
        answers = run(tmp_path, *save_archive(model, tmp_path), **size)
        np.testing.assert_allclose(answers, oracle(model, images[..., None]), **AGREE)

    def test_a_free_size_must_be_given_and_a_fixed_one_not_changed(self, tmp_path):
        files = save_archive(mini_xception(None), tmp_path)
        with pytest.raises(InputError, match=r"leaves the size of its input free; give the size"):
            run(tmp_path, *files)
        files = save_archive(mini_xception(64), tmp_path)
        with pytest.raises(InputError, match="takes 64x64 pixels, not 48x64; leave the size out"):
            run(tmp_path, *files, size_px=(48, 64))

    @pytest.mark.parametrize("shape", [(2304,), (48, 48)])
    def test_pixels_in_rows(self, tmp_path, shape):
        flat = [L.Flatten()] if len(shape) == 2 else []
        model = sequential(*flat, L.Dense(16, activation="relu"), L.Dense(7, activation="softmax"), shape=shape)
        answers = run(tmp_path, *save_archive(model, tmp_path))
        np.testing.assert_allclose(answers, oracle(model, scaled().reshape(5, *shape)), **AGREE)

    @pytest.mark.parametrize("name", SCALINGS)
    def test_scalings(self, tmp_path, name):
        model = sequential(
            *head(L.Rescaling(0.01 if name in ("none", "caffe") else 1.0), L.Conv2D(4, 3)), shape=(48, 48, 3)
        )
        x = np.repeat(CROPS[..., None].astype(np.float32), 3, axis=3)
        wanted = {
            "none": x, "unit": x / 255, "signed": x / 127.5 - 1,
            "standardise": (x - x.mean((1, 2, 3), keepdims=True)) / x.std((1, 2, 3), keepdims=True),
            "caffe": x - np.array([103.939, 116.779, 123.68], np.float32),
        }  # fmt: skip
        answers = run(tmp_path, *save_archive(model, tmp_path), scaling=SCALINGS[name])
        np.testing.assert_allclose(answers, oracle(model, wanted[name]), **AGREE)

    def test_a_network_that_scales_by_itself_gets_gray_levels(self, tmp_path):
        model = sequential(*head(L.Rescaling(1 / 255), L.Conv2D(4, 3)))
        expected = oracle(model, CROPS[..., None].astype(np.float32))
        np.testing.assert_allclose(run(tmp_path, *save_archive(model, tmp_path)), expected, **AGREE)

    def test_scaling_for_three_channels_needs_three(self, tmp_path):
        files = save_archive(small_cnn(), tmp_path)
        with pytest.raises(InputError, match="3 numbers for 1 channels"):
            run(tmp_path, *files, scaling=SCALINGS["caffe"])

    @pytest.mark.parametrize(
        ("shape", "message"), [((1000,), "no square gray image"), ((48, 48, 2), r"1 or 3 channels")]
    )
    def test_inputs_that_are_no_images(self, tmp_path, shape, message):
        files = save_archive(sequential(L.Flatten(), L.Dense(7), shape=shape), tmp_path)
        with pytest.raises(ModelError, match=message):
            run(tmp_path, *files)


class TestOutputs:
    @pytest.mark.parametrize("final", ["linear", None])
    def test_a_missing_softmax_is_added(self, tmp_path, final):
        model = small_cnn(final)
        expected = keras.ops.convert_to_numpy(keras.ops.softmax(oracle(model)))
        np.testing.assert_allclose(run(tmp_path, *save_archive(model, tmp_path)), expected, **AGREE)

    def test_sigmoids_need_a_word(self, tmp_path):
        model = small_cnn("sigmoid")
        files = save_archive(model, tmp_path)
        with pytest.raises(InputError, match="ends in sigmoids"):
            run(tmp_path, *files)
        answers = oracle(model)
        np.testing.assert_allclose(
            run(tmp_path, *files, output="sum"), answers / answers.sum(1, keepdims=True), **AGREE
        )

    def test_two_softmaxes_are_refused(self, tmp_path):
        files = save_archive(small_cnn(), tmp_path)
        with pytest.raises(InputError, match="softmax already"):
            run(tmp_path, *files, output="softmax")

    def test_another_order_comes_out_in_the_known_one(self, tmp_path):
        model = small_cnn()
        files = save_archive(model, tmp_path)
        labels = parse_labels("alphabetical")
        assert labels.names == ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
        answers = run(tmp_path, *files, labels=labels)
        assert ExpressionModel(tmp_path / "imported.onnx").card.heads == {"fer2013": FER7.names}
        np.testing.assert_allclose(answers, oracle(model)[:, [0, 1, 2, 3, 5, 6, 4]], **AGREE)

    @pytest.mark.parametrize(("classes", "expected"), [(7, FER7), (8, FERPLUS8), (5, FIVE)])
    def test_labels_follow_the_number_of_outputs(self, tmp_path, classes, expected):
        run(tmp_path, *save_archive(small_cnn(classes=classes), tmp_path))
        assert ExpressionModel(tmp_path / "imported.onnx").card.label_set() == expected

    def test_own_labels(self, tmp_path):
        model = small_cnn(classes=3)
        files = save_archive(model, tmp_path)
        with pytest.raises(InputError, match="gives 3 numbers a face, but 7 labels"):
            run(tmp_path, *files)
        labels = LabelSet("mood", ("sad", "neutral", "happy"))
        np.testing.assert_allclose(run(tmp_path, *files, labels=labels), oracle(model), **AGREE)
        assert ExpressionModel(tmp_path / "imported.onnx").card.label_set() == labels

    def test_the_card(self, tmp_path):
        files = save_archive(small_cnn(), tmp_path)
        run(tmp_path, *files, name="ours", version="3", data="FER2013", licence="MIT")
        card = ExpressionModel(tmp_path / "imported.onnx").card
        assert (card.name, card.version, card.data, card.licence) == ("ours", "3", "FER2013", "MIT")
        assert f"from Keras {keras.__version__}: m.keras" in card.trained
        assert card.measured == ()

    def test_no_crops_and_single_crops(self, tmp_path):
        together = run(tmp_path, *save_archive(small_cnn(), tmp_path))
        model = ExpressionModel(tmp_path / "imported.onnx")
        assert model.predict_proba(CROPS[:0]).shape == (0, 7)
        np.testing.assert_allclose(np.concatenate([model.predict_proba(c[None]) for c in CROPS]), together, atol=1e-6)


def load_pair(folder):
    model = keras.models.model_from_json((folder / "model.json").read_text())
    model.load_weights(folder / "weights.h5")
    return model


def load_keras_2_pair(folder):
    """Join a pair to the whole file of Keras 2, the only place where Keras 3 reads the JSON of Keras 2."""
    with h5py.File(folder / "weights.h5") as source, h5py.File(folder / "whole.h5", "w") as target:
        target.attrs.update({"model_config": (folder / "model.json").read_text(), **source.attrs})
        source.copy(source, target, name="model_weights")
    return keras.models.load_model(folder / "whole.h5", compile=False)


class TestBackToKeras:
    @pytest.mark.parametrize("build", [small_cnn, mini_xception, lambda: transfer(False)])
    def test_keras_reads_what_is_written_back(self, tmp_path, build):
        model = build()
        run(tmp_path, *save_pair(model, tmp_path))
        model_path, weights_path = export_keras_pair(tmp_path / "imported.onnx", tmp_path / "back")
        assert sorted(p.name for p in (tmp_path / "back").iterdir()) == ["model.json", "weights.h5"]
        assert model_path.read_text() == (tmp_path / "model.json").read_text()
        again = keras.models.model_from_json(model_path.read_text())
        again.load_weights(weights_path)
        x = scaled(channels=model.input_shape[-1])
        np.testing.assert_allclose(oracle(again, x), oracle(model, x), rtol=0, atol=1e-6)

    @pytest.mark.parametrize("save", [save_archive, save_pair, save_whole, save_keras_2_pair])
    @pytest.mark.parametrize("build", [small_cnn, mini_xception, lambda: transfer(False)])
    def test_there_and_back_on_the_command_line(self, build, save, tmp_path, monkeypatch, capsys):
        mien = run_cli(monkeypatch, capsys)
        model = build()
        imported, back = tmp_path / "theirs.onnx", tmp_path / "back"
        mien("import-keras", *filter(None, save(model, tmp_path)), "-o", imported)
        code, _, said = mien("export", imported, "--keras-pair", back)
        assert code == 0
        assert said.splitlines() == [f"wrote {back / name}" for name in ("model.json", "weights.h5")]
        again = load_pair(back) if save is not save_keras_2_pair else load_keras_2_pair(back)
        answers = oracle(again, scaled(channels=model.input_shape[-1]))
        np.testing.assert_allclose(answers, oracle(model, scaled(channels=model.input_shape[-1])), **AGREE)
        np.testing.assert_allclose(answers, ExpressionModel(imported).predict_proba(CROPS), **AGREE)

    @pytest.mark.parametrize("save", [save_archive, save_pair, save_whole])
    def test_the_pair_still_means_keras_3(self, save, tmp_path):
        """Its hard sigmoid is another one than that of Keras 2."""
        model = sequential(L.Flatten(), L.Dense(7, activation="hard_sigmoid"))
        model.layers[-1].kernel.assign(np.random.default_rng(5).normal(0, 0.05, (2304, 7)))
        first = run(tmp_path, *save(model, tmp_path), output="sum")
        pair = export_keras_pair(tmp_path / "imported.onnx", tmp_path / "back")
        np.testing.assert_array_equal(run(tmp_path, *pair, output="sum"), first)
        np.testing.assert_allclose(oracle(load_pair(tmp_path / "back")), oracle(model), **AGREE)

    def test_wrong_use_of_the_command_names_the_fix(self, tmp_path, monkeypatch, capsys):
        mien = run_cli(monkeypatch, capsys)
        run(tmp_path, *save_archive(small_cnn(), tmp_path))
        (tmp_path / "model.json").write_text("mine")
        (tmp_path / "best.ckpt").write_text("no model")
        (tmp_path / "file").write_text("no folder")
        imported, back = tmp_path / "imported.onnx", tmp_path / "back"
        for arguments, message in (
            ((imported, "--keras-pair", tmp_path), "model.json exists; move it away, or name another folder"),
            ((imported, "--keras-pair", back, "-o", tmp_path / "x.onnx"), "leave out --data and -o"),
            ((tmp_path / "best.ckpt", "--keras-pair", back), "give a file of `mien import-keras`"),
            ((model_path("mien-b"), "--keras-pair", back), "did not come from Keras"),
            ((imported, "--keras-pair", tmp_path / "file"), "is a file"),
        ):
            code, _, said = mien("export", *arguments)
            assert code == 2, arguments
            assert message in said
        assert not back.exists()
        assert (tmp_path / "model.json").read_text() == "mine"

    def test_and_so_does_mien(self, tmp_path):
        files = TestOldFormats().save(
            tmp_path, small_cnn(), TestOldFormats().layers(small_cnn(), keras_1=True), "1.2.2", keras_version="1.2.2"
        )
        first = run(tmp_path, *files)
        pair = export_keras_pair(tmp_path / "imported.onnx", tmp_path / "back")
        np.testing.assert_array_equal(run(tmp_path, *pair), first)

    def test_models_from_elsewhere_are_refused(self, tmp_path):
        run(tmp_path, *save_archive(small_cnn(), tmp_path))
        proto = onnx.load(tmp_path / "imported.onnx")
        proto.graph.initializer.remove(next(t for t in proto.graph.initializer if t.name.endswith("/kernel")))
        onnx.save(proto, tmp_path / "quantised.onnx")
        proto.ClearField("metadata_props")
        onnx.save(proto, tmp_path / "other.onnx")
        (tmp_path / "no.onnx").write_text("no model")
        for name, message in (
            ("other.onnx", "did not come from Keras"), ("quantised.onnx", "give the fp32 file"),
            ("no.onnx", "is not an ONNX model"), ("absent.onnx", "cannot read"),
        ):  # fmt: skip
            with pytest.raises(ModelError, match=message):
                export_keras_pair(tmp_path / name, tmp_path / "back")
        assert not (tmp_path / "back").exists()


def rewritten(tmp_path, change):
    """Save `small_cnn` as a pair, with a changed configuration."""
    model_path, weights_path = save_pair(small_cnn(), tmp_path)
    value = json.loads(model_path.read_text())
    change(value)
    model_path.write_text(json.dumps(value))
    return model_path, weights_path


class TestRefusals:
    """Nothing in a file is run, nothing outside it is read, and every refusal says what to do."""

    def refuse(self, tmp_path, files, message):
        with pytest.raises(ModelError, match=message):
            run(tmp_path, *files)
        assert not (tmp_path / "imported.onnx").exists()
        assert not list(tmp_path.glob(".*.part"))

    def test_an_unknown_layer_is_named_with_what_is_known(self, tmp_path):
        files = rewritten(tmp_path, lambda v: v["config"]["layers"][3].update(class_name="MultiHeadAttention"))
        self.refuse(tmp_path, files, r"is a MultiHeadAttention, which cannot be imported; supported: .*Conv2D.*Dense")

    def test_lambda_layers_are_never_run(self, tmp_path):
        marker = tmp_path / "ran"
        code = {"class_name": "__lambda__", "config": {"code": f"open({str(marker)!r}, 'w')"}}

        def change(value):
            value["config"]["layers"][3] = {"class_name": "Lambda", "config": {"name": "evil", "function": code}}

        self.refuse(
            tmp_path, rewritten(tmp_path, change), r"layer 'evil' \(Lambda\) holds code of its own, which is never"
        )
        assert not marker.exists()

    @pytest.mark.parametrize("where", ["layer", "activation"])
    def test_classes_of_others_that_bear_a_known_name(self, tmp_path, where):
        def change(value):
            layer = value["config"]["layers"][1]
            if where == "layer":
                layer["registered_name"] = "Mine>Conv2D"
            else:
                layer["config"]["activation"] = {"class_name": "ReLU", "registered_name": "Mine>ReLU", "config": {}}

        self.refuse(tmp_path, rewritten(tmp_path, change), r"Mine>(Conv2D|ReLU)\) holds code of its own")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda c: c.update(filters=5), r"needs kernel of shape \(3, 3, 1, 5\), the file has \(3, 3, 1, 4\)"),
            (lambda c: c.update(filters=10**15), "needs kernel of shape"),
            (lambda c: c.update(use_bias=False), "needs 1 weights, the file has 2"),
            (lambda c: c.update(padding="causal"), "padding 'causal' cannot be imported; supported: same, valid"),
            (lambda c: c.update(strides=0), "sizes must be whole numbers"),
            (lambda c: c.update(activation="entmax"), "activation 'entmax' cannot be imported; supported: elu"),
            (lambda c: c.update(kernel_size="3x3"), "malformed"),
            (lambda c: c.pop("filters"), "malformed"),
            (lambda c: c.update(data_format="channels_first"), r"layer 'conv2d\w*'"),
        ],
    )
    def test_settings_of_a_layer(self, tmp_path, change, message):
        files = rewritten(tmp_path, lambda value: change(value["config"]["layers"][1]["config"]))
        self.refuse(tmp_path, files, message)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{", "is not JSON"),
            ("[]", "must be a Sequential or Functional model"),
            ('{"class_name": "MyNet", "config": {}}', "must be a Sequential or Functional model, got 'MyNet'"),
            ('{"class_name": "Sequential", "config": {"layers": []}}', "must have 1 to 2000 layers"),
            ('{"class_name": "Sequential", "config": [3]}', "malformed"),
            ('{"class_name": "Functional", "config": {"layers": [{"class_name": "Add", "config": {}}]}}', "malformed"),
            ("[" * 100_000, "nested too deeply|not JSON"),
        ],
    )
    def test_architectures(self, tmp_path, text, message):
        _, weights_path = save_pair(small_cnn(), tmp_path)
        (tmp_path / "model.json").write_text(text)
        self.refuse(tmp_path, (tmp_path / "model.json", weights_path), message)

    def test_a_graph_that_runs_in_a_circle(self, tmp_path):
        node = {"class_name": "Dense", "config": {"units": 7, "use_bias": False}}
        layers = [
            {"class_name": "InputLayer", "name": "in", "config": {"batch_input_shape": [None, 2304]}},
            {**node, "name": "a", "inbound_nodes": [[["b", 0, 0, {}]]]},
            {**node, "name": "b", "inbound_nodes": [[["a", 0, 0, {}]]]},
        ]
        config = {"layers": layers, "input_layers": [["in", 0, 0]], "output_layers": [["b", 0, 0]]}
        (tmp_path / "model.json").write_text(json.dumps({"class_name": "Model", "config": config}))
        write_h5(tmp_path / "w.h5", {"a": [np.zeros((7, 7))], "b": [np.zeros((7, 7))]})
        self.refuse(tmp_path, (tmp_path / "model.json", tmp_path / "w.h5"), "layer 'a' depends on itself")

    @pytest.mark.parametrize(
        ("files", "message"),
        [
            (("model.json", None), "an architecture without weights; give them second: model.json weights.h5"),
            (("m.weights.h5", None), "holds weights only; give the architecture first"),
            (("m.weights.h5", "model.json"), "holds weights only; give the architecture first"),
            (("model.json", "model.json"), "is not an HDF5 file"),
            (("absent.json", "m.weights.h5"), "cannot read .*absent.json"),
            (("model.json", "absent.h5"), "cannot read .*absent.h5"),
            ((".", None), "is a folder"),
            (("cut.h5", None), "damaged HDF5|holds weights only"),
            (("cut.keras", None), "damaged .keras archive"),
            (("image.png", "m.weights.h5"), "neither JSON, HDF5 nor a .keras archive"),
        ],
    )
    def test_files_that_are_not_what_they_should_be(self, tmp_path, files, message):
        save_pair(small_cnn(), tmp_path)
        whole, _ = save_whole(small_cnn(), tmp_path)
        archive, _ = save_archive(small_cnn(), tmp_path)
        for path in (whole, archive):
            content = path.read_bytes()
            path.with_stem("cut").write_bytes(content[: len(content) // 2])
        (tmp_path / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
        model, weights = (None if name is None else tmp_path / name for name in files)
        self.refuse(tmp_path, (model, weights), message)

    def test_weights_of_another_network(self, tmp_path):
        (tmp_path / "other").mkdir()
        model_path, _ = save_pair(small_cnn(), tmp_path)
        _, other = save_pair(mini_xception(), tmp_path / "other")
        self.refuse(tmp_path, (model_path, other), "not of one model")
        write_h5(tmp_path / "few.h5", {"only": [np.zeros(3, np.float32)]}, keras_version="2.2.4")
        self.refuse(tmp_path, (model_path, tmp_path / "few.h5"), "has 4|has 5")

    @pytest.mark.parametrize(
        ("value", "message"),
        [(np.full(16, np.nan, "f4"), "NaN or infinity"), (np.zeros(16, "i1"), "only floating-point")],
    )
    def test_numbers_that_are_no_weights(self, tmp_path, value, message):
        model_path, weights_path = save_pair(small_cnn(), tmp_path)
        with h5py.File(weights_path, "r+") as file:
            del file["layers/dense/vars/1"]
            file["layers/dense/vars/1"] = value
        self.refuse(tmp_path, (model_path, weights_path), message)

    @pytest.mark.parametrize("kind", ["external link", "soft link", "external storage", "virtual"])
    def test_nothing_outside_the_file_is_read(self, tmp_path, kind):
        model_path, weights_path = save_pair(small_cnn(), tmp_path)
        (tmp_path / "secret.bin").write_bytes(np.ones(16, "f4").tobytes())
        with h5py.File(tmp_path / "secret.h5", "w") as secret:
            secret["x"] = np.ones(16, "f4")
        with h5py.File(weights_path, "r+") as file:
            group = file["layers/dense/vars"]
            del group["1"]
            if kind == "external link":
                group["1"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/x")
            elif kind == "soft link":
                group["1"] = h5py.SoftLink("/layers/dense_1/vars/1")
            elif kind == "external storage":
                group.create_dataset("1", (16,), "f4", external=[(str(tmp_path / "secret.bin"), 0, 64)])
            else:
                layout = h5py.VirtualLayout((16,), "f4")
                layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "x", (16,))
                group.create_virtual_dataset("1", layout)
        self.refuse(tmp_path, (model_path, weights_path), "has a link at|lies in another file")

    def test_a_claimed_size_is_not_believed(self, tmp_path):
        model_path, weights_path = save_pair(small_cnn(), tmp_path)
        with h5py.File(weights_path, "r+") as file:
            del file["layers/dense/vars/1"]
            file["layers/dense/vars"].create_dataset("1", (2**38,), "f4", chunks=(2**20,), compression="gzip")
        assert weights_path.stat().st_size < 1e6
        self.refuse(tmp_path, (model_path, weights_path), "more than the 1024 MiB allowed")

    def test_archives_with_tricks(self, tmp_path, monkeypatch):
        good, _ = save_archive(small_cnn(), tmp_path)
        with zipfile.ZipFile(good) as archive:
            config, weights = ((n, archive.read(n)) for n in ("config.json", "model.weights.h5"))
            metadata = ("metadata.json", archive.read("metadata.json"))

        def packed(*members):
            path = tmp_path / "tricky.keras"
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, pytest.MonkeyPatch.context() as patch:
                patch.setattr("warnings.warn", lambda *_, **__: None)  # zipfile warns of double names
                for name, content in members:
                    archive.writestr(name, content)
            return path, None

        climbing = packed(("../../evil", b"x"), config, metadata, weights)
        assert run(tmp_path, *climbing).shape == (5, 7)
        assert not (tmp_path.parent.parent / "evil").exists()
        (tmp_path / "imported.onnx").unlink()
        self.refuse(tmp_path, packed(config, metadata), "must hold 'model.weights.h5' once")
        double = packed(config, config, metadata, weights)
        self.refuse(tmp_path, double, "must hold 'config.json' once")
        bomb = packed(("config.json", b" " * (5 << 20)), metadata, weights)
        assert bomb[0].stat().st_size < 1e6
        self.refuse(tmp_path, bomb, "'config.json' is larger than the 4 MiB allowed")
        monkeypatch.setattr(_keras_files, "MAX_WEIGHT_BYTES", 1000)
        self.refuse(tmp_path, (good, None), "'model.weights.h5' is larger")

    def test_places_that_cannot_be_written(self, tmp_path):
        files = save_archive(small_cnn(), tmp_path)
        with pytest.raises(OutputError, match="part of the path is a file"):
            import_keras(*files, files[0] / "m.onnx")
        with pytest.raises(InputError, match=r"must end in \.onnx"):
            import_keras(*files, tmp_path / "m.tflite")

    @pytest.mark.parametrize("wrong", [{"output": "argmax"}, {"size_px": (0, 48)}, {"size_px": (48, 10**6)}])
    def test_settings(self, wrong):
        with pytest.raises(InputError):
            KerasImportSettings(**wrong)


class TestCommandLine:
    @pytest.fixture
    def invoke(self):
        import typer

        app = typer.Typer()
        app.command()(command)
        return lambda *args: CliRunner().invoke(app, [str(arg) for arg in args])

    def test_a_pair_becomes_a_file_beside_it(self, tmp_path, invoke):
        model_path, weights_path = save_pair(small_cnn(), tmp_path)
        result = invoke(model_path, weights_path)
        assert result.exit_code == 0, result.output
        assert "angry, disgust, fear, happy, sad, surprise, neutral" in result.output
        assert "--labels alphabetical" in result.output
        assert "gray levels from 0 to 1" in result.output
        assert ExpressionModel(tmp_path / "model.onnx").card.label_set() == FER7
        again = invoke(model_path, weights_path)
        assert isinstance(again.exception, InputError)
        assert "exists; say where to write with -o" in str(again.exception)

    def test_options(self, tmp_path, invoke):
        model = small_cnn(None)
        files = save_archive(model, tmp_path)
        result = invoke(
            files[0], "-o", tmp_path / "x.onnx", "--labels", "alphabetical", "--scale", "0.01", "--offset", "-1",
            "--activation", "softmax", "--name", "theirs",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert "assumed" not in result.output
        opened = ExpressionModel(tmp_path / "x.onnx")
        assert opened.card.name == "theirs"
        logits = oracle(model, CROPS[..., None].astype(np.float32) * 0.01 - 1)[:, [0, 1, 2, 3, 5, 6, 4]]
        expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(opened.predict_proba(CROPS), expected, **AGREE)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--size", "64"), "WIDTHxHEIGHT"),
            (("--scaling", "unit", "--scale", "2"), "either --scaling or --scale"),
            (("--scaling", "log"), "unknown scaling 'log'; known: none, unit"),
            (("--labels", "ekman"), "unknown labels 'ekman'"),
        ],
    )
    def test_wrong_options(self, tmp_path, invoke, options, message):
        files = save_archive(small_cnn(), tmp_path)
        result = invoke(files[0], "-o", tmp_path / "x.onnx", *options)
        assert isinstance(result.exception, InputError)
        assert message in str(result.exception)


def test_an_adapter_file_scores_a_keras_network_too(tmp_path):
    model = mini_xception(64)
    save_pair(model, tmp_path)
    (tmp_path / "theirs.toml").write_text(
        'model = "model.json"\nweights = "m.weights.h5"\nlabels = "alphabetical"\ninput.scaling = "signed"\n'
    )
    scorer = open_adapter(tmp_path / "theirs.toml")
    images = np.stack([cv2.resize(crop.astype(np.float32), (64, 64)) for crop in CROPS]) / 127.5 - 1
    expected = oracle(model, images[..., None])[:, [0, 1, 2, 3, 5, 6, 4]]
    assert scorer.labels == FER7
    assert len(scorer.sha256) == 64
    np.testing.assert_allclose(scorer.predict_proba(CROPS), expected, **AGREE)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.weights.h5", "model.json", "theirs.toml"]


def test_settings_of_an_adapter(tmp_path):
    scaling = Scaling(scale=(0.5,), offset=(2.0,))
    adapter = Adapter(tmp_path / "net.h5", FIVE, size_px=(64, 60), scaling=scaling, output="sum")
    settings = settings_of(adapter)
    assert (settings.labels, settings.scaling, settings.size_px, settings.output) == (FIVE, scaling, (64, 60), "sum")
    assert settings.name == "net"
