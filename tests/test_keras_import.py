"""Networks that Keras itself builds, saves and runs, against what `import_keras` makes of the files."""

import json
import os
import zipfile

import numpy as np
import pytest

os.environ["KERAS_BACKEND"] = "torch"
os.environ.setdefault("KERAS_HOME", "/nonexistent/keras")  # keras must not write a configuration into the home folder
h5py = pytest.importorskip("h5py")
keras = pytest.importorskip("keras")
onnx = pytest.importorskip("onnx")

from mien.adapters import SCALINGS, ForeignModel, Scaling, parse_labels, read_adapter  # noqa: E402
from mien.errors import InputError, ModelError, OutputError  # noqa: E402
from mien.labels import FER7, FERPLUS8, FIVE, LabelSet  # noqa: E402
from mien.models import ExpressionModel  # noqa: E402
from mien.train.keras_import import KerasImportSettings, export_keras_pair, import_keras, settings_of  # noqa: E402

pytestmark = pytest.mark.filterwarnings(  # Keras's own torch backend and NumPy 2
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning:keras"
)
L = keras.layers
CROPS = np.random.default_rng(3).integers(0, 256, (5, 48, 48), dtype=np.uint8)
AGREE = {"rtol": 0, "atol": 1e-4}


def scaled(crops=CROPS):
    return crops[..., None].astype(np.float32) / 255


def oracle(model, x=None):
    """Return what Keras itself says; rows differ, or a comparison would prove little."""
    answers = keras.ops.convert_to_numpy(model(scaled() if x is None else x, training=False))
    assert answers.std(axis=0).max() > 1e-3, "the answers do not depend on the pictures"
    return answers


def shaken(model, seed=1):
    """Give every weight a value of its own, so that none can be dropped or swapped unseen."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        values, name = keras.ops.convert_to_numpy(weight.value), weight.path.split("/")[-1]
        if name == "moving_variance":
            weight.assign(rng.uniform(0.3, 2, values.shape))
        elif name in ("gamma", "beta", "bias", "moving_mean", "alpha"):
            weight.assign(rng.uniform(0.1, 0.9, values.shape))
        else:
            weight.assign(values * 2)
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
    return sequential(*blocks, L.Dense(7, activation="softmax"))


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


def transfer(frozen=False):
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


# How the formats are written


def save_archive(model, folder):
    model.save(folder / "m.keras")
    return folder / "m.keras", None


def save_pair(model, folder):
    (folder / "model.json").write_text(model.to_json())
    model.save_weights(folder / "m.weights.h5")
    return folder / "model.json", folder / "m.weights.h5"


@pytest.fixture
def save_legacy():
    """Keras 3 still writes the whole-file layout of Keras 2; it warns that it is old, which is the point here."""

    def save(model, folder):
        with pytest.warns(UserWarning, match="HDF5 file"):
            model.save(folder / "m.h5")
        return folder / "m.h5", None

    return save


@pytest.fixture
def save_keras_2_pair(save_legacy):
    """What `to_json()` and `save_weights()` of Keras 2 write: the configuration and the group of a whole file."""

    def save(model, folder):
        whole, _ = save_legacy(model, folder)
        with h5py.File(whole) as source, h5py.File(folder / "weights.h5", "w") as target:
            (folder / "model.json").write_text(source.attrs["model_config"])
            group = source["model_weights"]
            target.attrs.update({"layer_names": group.attrs["layer_names"], "backend": "tensorflow", "keras_version": "2.2.4"})
            for name in group:
                source.copy(group[name], target)
        whole.unlink()
        return folder / "model.json", folder / "weights.h5"

    return save


@pytest.fixture(params=["keras", "pair", "legacy", "keras 2 pair"])
def save(request, save_legacy, save_keras_2_pair):
    return {"keras": save_archive, "pair": save_pair, "legacy": save_legacy, "keras 2 pair": save_keras_2_pair}[request.param]


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
        model = transfer(frozen=frozen)
        expected = oracle(model, np.repeat(scaled(), 3, axis=3))
        np.testing.assert_allclose(run(tmp_path, *save(model, tmp_path)), expected, **AGREE)
