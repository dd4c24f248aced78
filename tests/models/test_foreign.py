"""Small ONNX models of every layout and output, against the same arithmetic in NumPy."""

import json
import re
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.errors import InputError, ModelError
from mien.labels import FER7, FERPLUS8, FIVE, LabelSet
from mien.models.foreign import SCALINGS, Adapter, ForeignModel, Scaling, in_known_order, parse_labels, read_adapter

onnx = pytest.importorskip("onnx")
helper, numpy_helper, kinds = onnx.helper, onnx.numpy_helper, onnx.TensorProto

RNG = np.random.default_rng(11)
CROPS = RNG.integers(0, 256, (6, 48, 48), dtype=np.uint8)
THREE = LabelSet("mood", ("sad", "neutral", "happy"))
DOCS = Path(__file__).resolve().parents[2] / "docs" / "other-models.md"


def softmax(z):
    exponentials = np.exp(z - z.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def write_linear(path, shape, *, ends=None, batch="n", kind=kinds.FLOAT, classes=3, extra_input=False):
    """Write a linear network on images of `shape`; return its matrix."""
    weights = (RNG.normal(size=(int(np.prod([48 if s is None else s for s in shape])), classes)) / 30).astype(
        np.float32
    )
    dims = [batch, *("free" if s is None else s for s in shape)]
    nodes = [
        helper.make_node("Cast", ["x"], ["floats"], to=kinds.FLOAT),
        helper.make_node("Flatten", ["floats"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "w"], ["logits" if ends else "y"]),
    ]
    if ends:
        nodes.append(helper.make_node(ends, ["logits"], ["y"]))
    inputs = [helper.make_tensor_value_info("x", kind, dims)]
    if extra_input:
        inputs.append(helper.make_tensor_value_info("unused", kinds.FLOAT, [1]))
    outputs = [helper.make_tensor_value_info("y", kinds.FLOAT, [batch, classes])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(weights, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return weights


def gray(size=48, scale=1 / 255, channels=1):
    images = np.stack([cv2.resize(c.astype(np.float32), (size, size)) for c in CROPS]) if size != 48 else CROPS
    return np.repeat((images * np.float32(scale))[..., None], channels, axis=3).astype(np.float32)


class TestScoring:
    @pytest.mark.parametrize(
        ("layout", "channels", "shape"),
        [
            ("NHWC", 1, (64, 64, 1)),
            ("NHWC", 3, (64, 64, 3)),
            ("NCHW", 1, (1, 64, 64)),
            ("NCHW", 3, (3, 64, 64)),
            ("NHW", 1, (64, 64)),
            ("flat", 1, (4096,)),
        ],
    )
    def test_layouts(self, tmp_path, layout, channels, shape):
        weights = write_linear(tmp_path / "m.onnx", shape)
        adapter = Adapter(
            tmp_path / "m.onnx", THREE, size_px=(64, 64), layout=layout, channels=channels, output="softmax"
        )
        probs = ForeignModel(adapter).predict_proba(CROPS)
        images = gray(64, channels=channels)
        images = images.transpose(0, 3, 1, 2) if layout == "NCHW" else images
        np.testing.assert_allclose(probs, softmax(images.reshape(6, -1) @ weights), atol=1e-5)
        assert probs.dtype == np.float32
        np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)

    def test_an_image_that_is_wider_than_high(self, tmp_path):
        weights = write_linear(tmp_path / "m.onnx", (40, 56, 1))
        adapter = Adapter(tmp_path / "m.onnx", THREE, size_px=(56, 40), output="softmax")
        images = np.stack([cv2.resize(c.astype(np.float32), (56, 40)) for c in CROPS]) / 255
        expected = softmax(images.reshape(6, -1) @ weights)
        np.testing.assert_allclose(ForeignModel(adapter).predict_proba(CROPS), expected, atol=1e-5)

    @pytest.mark.parametrize("name", SCALINGS)
    def test_scalings(self, tmp_path, name):
        weights = write_linear(tmp_path / "m.onnx", (48, 48, 3)) * 0.01
        write_linear(tmp_path / "m.onnx", (48, 48, 3))
        proto = onnx.load(tmp_path / "m.onnx")
        proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "w"))
        onnx.save(proto, tmp_path / "m.onnx")
        x = gray(scale=1, channels=3)
        wanted = {
            "none": x, "unit": x / 255, "signed": x / 127.5 - 1,
            "standardise": (x - x.mean((1, 2, 3), keepdims=True)) / x.std((1, 2, 3), keepdims=True),
            "caffe": x - np.array([103.939, 116.779, 123.68], np.float32),
        }[name]  # fmt: skip
        adapter = Adapter(tmp_path / "m.onnx", THREE, channels=3, scaling=SCALINGS[name], output="softmax")
        expected = softmax(wanted.reshape(6, -1).astype(np.float64) @ weights)
        np.testing.assert_allclose(ForeignModel(adapter).predict_proba(CROPS), expected, atol=1e-4)

    def test_a_flat_image_is_standardised_to_zeros(self):
        flat = np.full((2, 4, 4, 1), 200, np.float32)
        np.testing.assert_array_equal(Scaling(standardise=True).apply(flat), 0)

    @pytest.mark.parametrize(
        ("kind", "scaling"),
        [(kinds.FLOAT16, "unit"), (kinds.DOUBLE, "unit"), (kinds.UINT8, "none")],
    )
    def test_input_types(self, tmp_path, kind, scaling):
        weights = write_linear(tmp_path / "m.onnx", (48, 48, 1), kind=kind)
        adapter = Adapter(tmp_path / "m.onnx", THREE, scaling=SCALINGS[scaling], output="softmax")
        expected = softmax(gray(scale=1 if kind == kinds.UINT8 else 1 / 255).reshape(6, -1) @ weights)
        np.testing.assert_allclose(ForeignModel(adapter).predict_proba(CROPS), expected, atol=2e-3)

    @pytest.mark.parametrize("batch", [1, 4, "n"])
    def test_a_fixed_batch_is_filled_up(self, tmp_path, batch):
        weights = write_linear(tmp_path / "m.onnx", (48, 48, 1), batch=batch)
        model = ForeignModel(Adapter(tmp_path / "m.onnx", THREE, output="softmax"))
        expected = softmax(gray().reshape(6, -1) @ weights)
        np.testing.assert_allclose(model.predict_proba(CROPS), expected, atol=1e-5)
        np.testing.assert_allclose(model.predict_proba(CROPS[:1]), expected[:1], atol=1e-5)

    def test_long_runs_are_cut_and_joined(self, tmp_path):
        write_linear(tmp_path / "m.onnx", (48, 48, 1), ends="Softmax")
        model = ForeignModel(Adapter(tmp_path / "m.onnx", THREE))
        many = np.concatenate([CROPS] * 50)
        np.testing.assert_allclose(model.predict_proba(many), np.tile(model.predict_proba(CROPS), (50, 1)), atol=1e-6)

    def test_empty_in_empty_out(self, tmp_path):
        write_linear(tmp_path / "m.onnx", (48, 48, 1))
        for output in ("auto", "softmax", "sum"):
            model = ForeignModel(Adapter(tmp_path / "m.onnx", THREE, output=output))
            assert model.predict_proba(CROPS[:0]).shape == (0, 3)

    def test_eight_threads_get_what_one_gets(self, tmp_path):
        write_linear(tmp_path / "m.onnx", (48, 48, 1), ends="Softmax")
        model = ForeignModel(Adapter(tmp_path / "m.onnx", THREE))
        alone = model.predict_proba(CROPS)
        with ThreadPoolExecutor(8) as pool:
            for probs in pool.map(lambda _: model.predict_proba(CROPS), range(24)):
                np.testing.assert_array_equal(probs, alone)


class TestOutputs:
    def test_probabilities_stay_as_they_are(self, tmp_path):
        weights = write_linear(tmp_path / "m.onnx", (48, 48, 1), ends="Softmax")
        expected = softmax(gray().reshape(6, -1) @ weights)
        probs = ForeignModel(Adapter(tmp_path / "m.onnx", THREE)).predict_proba(CROPS)
        np.testing.assert_allclose(probs, expected, atol=1e-5)

    def test_logits_without_a_word_are_refused(self, tmp_path):
        write_linear(tmp_path / "m.onnx", (48, 48, 1))
        with pytest.raises(InputError, match=r"no probabilities .*; set output.activation to softmax"):
            ForeignModel(Adapter(tmp_path / "m.onnx", THREE)).predict_proba(CROPS)

    def test_a_second_softmax_is_refused(self, tmp_path):
        write_linear(tmp_path / "m.onnx", (48, 48, 1), ends="Softmax")
        with pytest.raises(InputError, match="gives probabilities already"):
            ForeignModel(Adapter(tmp_path / "m.onnx", THREE, output="softmax")).predict_proba(CROPS)

    def test_sigmoids_are_divided_by_their_sum(self, tmp_path):
        weights = write_linear(tmp_path / "m.onnx", (48, 48, 1), ends="Sigmoid")
        sigmoids = 1 / (1 + np.exp(-gray().reshape(6, -1) @ weights))
        probs = ForeignModel(Adapter(tmp_path / "m.onnx", THREE, output="sum")).predict_proba(CROPS)
        np.testing.assert_allclose(probs, sigmoids / sigmoids.sum(axis=1, keepdims=True), atol=1e-5)

    def test_negative_numbers_have_no_shares(self, tmp_path):
        write_linear(tmp_path / "m.onnx", (48, 48, 1))
        with pytest.raises(InputError, match="negative numbers"):
            ForeignModel(Adapter(tmp_path / "m.onnx", THREE, output="sum")).predict_proba(CROPS)

    def test_columns_come_in_the_known_order(self, tmp_path):
        weights = write_linear(tmp_path / "m.onnx", (48, 48, 1), ends="Softmax", classes=7)
        labels = parse_labels(["Happiness", "angry", "disgust", "fear", "sadness", "neutral", "SURPRISE"])
        model = ForeignModel(Adapter(tmp_path / "m.onnx", labels))
        assert model.labels == FER7
        expected = softmax(gray().reshape(6, -1) @ weights)[:, [1, 2, 3, 0, 4, 6, 5]]
        np.testing.assert_allclose(model.predict_proba(CROPS), expected, atol=1e-5)

    def test_nan_is_not_passed_on(self, tmp_path):
        write_linear(tmp_path / "m.onnx", (48, 48, 1), ends="Log")  # of numbers below 0 as well
        with pytest.raises(InputError, match="NaN or infinity"):
            ForeignModel(Adapter(tmp_path / "m.onnx", THREE, output="softmax")).predict_proba(CROPS)


class TestLabels:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("fer2013", FER7.names),
            ("ferplus", FERPLUS8.names),
            ("five", FIVE.names),
            ("alphabetical", ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")),
            ("sad, Happy ,neutral", ("sad", "happy", "neutral")),
            (["Anger", "joy"], ("angry", "happy")),
        ],
    )
    def test_ways_to_name_them(self, text, expected):
        assert parse_labels(text).names == expected

    def test_known_names_in_known_order_are_the_known_set(self):
        assert parse_labels(list(FERPLUS8.names)) == FERPLUS8
        assert parse_labels("sad,happy", key="two").key == "two"

    @pytest.mark.parametrize("wrong", ["ekman", "sad,,happy", ["sad", 3], "joy,happy", []])
    def test_wrong_labels(self, wrong):
        with pytest.raises(InputError):
            parse_labels(wrong)

    def test_in_known_order(self):
        known, columns = in_known_order(parse_labels("alphabetical"))
        assert known == FER7
        assert columns.tolist() == [0, 1, 2, 3, 5, 6, 4]
        own, columns = in_known_order(THREE)
        assert own == THREE
        assert columns.tolist() == [0, 1, 2]


FULL = """
model = "theirs.onnx"
labels = ["Anger", "Happiness", "Sadness", "Surprise", "Neutral"]
label_set = "moods"

[input]
name = "input_1"
width = 60
height = 64
layout = "NCHW"
channels = 3
scale = [0.1, 0.2, 0.3]
offset = -1
standardise = true

[output]
name = "probs"
activation = "sum"
"""


class TestFiles:
    def write(self, tmp_path, text, name="a.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    def test_every_field(self, tmp_path):
        adapter = read_adapter(self.write(tmp_path, FULL))
        assert adapter == Adapter(
            model=tmp_path / "theirs.onnx",
            labels=FIVE,
            input_name="input_1",
            size_px=(60, 64),
            layout="NCHW",
            channels=3,
            scaling=Scaling((0.1, 0.2, 0.3), (-1.0,), standardise=True),
            output_name="probs",
            output="sum",
        )

    def test_json_says_the_same(self, tmp_path):
        toml = read_adapter(self.write(tmp_path, FULL))
        assert read_adapter(self.write(tmp_path, json.dumps(tomllib.loads(FULL)), "a.json")) == toml

    def test_the_least(self, tmp_path):
        text = 'model = "sub/m.onnx"\nlabels = "ferplus"\ninput.scaling = "none"\ninput.size = 64'
        adapter = read_adapter(self.write(tmp_path, text))
        assert adapter == Adapter(tmp_path / "sub/m.onnx", FERPLUS8, size_px=(64, 64), scaling=SCALINGS["none"])

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("model = ", "not a readable TOML"),
            ('labels = "fer2013"\ninput.scaling = "unit"', "`model` is missing"),
            ('model = "m.onnx"\ninput.scaling = "unit"', "`labels` is missing"),
            ('model = "m.onnx"\nlabels = "fer2013"', r"\[input\] must say the scaling: none, unit, signed"),
            ('model = "m.onnx"\nlabels = "fer2013"\ninput.scaling = "log"', "unknown scaling 'log'; known: none"),
            ('model = "m.onnx"\nlabels = "fer2013"\ninput.scaling = "unit"\ninput.scale = 2', "not both"),
            ('model = "m.onnx"\nlabels = "fer2013"\ninput.scale = "2"', "`scale` must be a number"),
            ('model = "m.onnx"\nlabels = "fer2013"\ninput.scale = 0', "scale must not be 0"),
            ('model = "m.onnx"\nlabels = "fer2013"\ninput.scale = [1, 2]', "one finite number, or three"),
            ('model = "m.onnx"\nlabels = "fer2013"\ninput.scale = [1, 2, 3]', "need channels = 3"),
            ('model = "m.onnx"\nlabels = "fer2013"\ninput.scale = nan', "finite"),
            ('model = "m.onnx"\nlabels = "fer2013"\ninput = 3', r"\[input\] must be a table"),
            (
                'model = "m.onnx"\nlabels = "fer2013"\ninput.sise = 3',
                r"\[input\] has unknown fields sise; known: name, size",
            ),
            ('model = "m.onnx"\nlabel = "fer2013"', "the file has unknown fields label"),
            ('model = "m.onnx"\nlabels = 7\ninput.scaling = "unit"', "labels must be|not an adapter"),
            ('model = ""\nlabels = "fer2013"\ninput.scaling = "unit"', "`model` must be a text"),
            (
                'model = "m"\nlabels = "fer2013"\ninput = {scaling = "unit", layout = "HWC"}',
                "layout must be one of NHWC",
            ),
            ('model = "m"\nlabels = "fer2013"\ninput = {scaling = "unit", channels = 4}', "channels must be 1 or 3"),
            ('model = "m"\nlabels = "fer2013"\ninput = {scaling = "unit", width = 0}', "1 to 1024 pixels"),
            (
                'model = "m"\nlabels = "fer2013"\ninput = {scaling = "unit", width = 4.5}',
                "`width` must be a whole number",
            ),
            (
                'model = "m"\nlabels = "fer2013"\ninput = {scaling = "unit"}\noutput.activation = "relu"',
                "auto, softmax, sum",
            ),
        ],
    )
    def test_mistakes_are_named(self, tmp_path, text, message):
        with pytest.raises(InputError, match=message) as caught:
            read_adapter(self.write(tmp_path, text))
        assert str(tmp_path / "a.toml") in str(caught.value)

    def test_files_that_are_no_adapters(self, tmp_path):
        (tmp_path / "image.toml").write_bytes(b"\xff\xd8\xff")
        (tmp_path / "large.toml").write_bytes(b"#" * (2 << 20))
        (tmp_path / "list.json").write_text("[1]")
        for name, message in (
            ("image.toml", "not a readable TOML"), ("large.toml", "too large"), ("list.json", "must hold a table"),
            ("absent.toml", "cannot read the adapter"), (".", "cannot read the adapter"),
        ):  # fmt: skip
            with pytest.raises(InputError, match=message):
                read_adapter(tmp_path / name)

    def test_the_examples_of_the_documentation_are_adapters(self, tmp_path):
        blocks = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
        assert len(blocks) >= 2
        for block in blocks:
            assert len(read_adapter(self.write(tmp_path, block)).labels) >= 5

    def test_the_worked_example_of_the_documentation_runs(self, tmp_path, monkeypatch):
        text = DOCS.read_text(encoding="utf-8")
        (tmp_path / "theirs.toml").write_text(re.search(r"```toml\n(.*?)```", text, re.DOTALL)[1])
        write_linear(tmp_path / "theirs.onnx", (64, 64, 1), classes=7)
        monkeypatch.chdir(tmp_path)
        names = {"crops": CROPS}
        exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], names)
        assert names["probs"].shape == (len(CROPS), 7)
        assert names["model"].labels.names == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


class TestModelsThatDoNotFit:
    def refuse(self, adapter, error, message):
        with pytest.raises(error, match=message):
            ForeignModel(adapter).predict_proba(CROPS)

    def test_missing_empty_or_not_onnx(self, tmp_path):
        (tmp_path / "empty.onnx").touch()
        (tmp_path / "text.onnx").write_text("no weights")
        for name, message in (
            ("absent.onnx", "cannot read the model .*check `model` in the adapter"), ("empty.onnx", "is empty"),
            ("text.onnx", "is not an ONNX model"),
        ):  # fmt: skip
            self.refuse(Adapter(tmp_path / name, THREE), ModelError, message)

    def test_another_shape(self, tmp_path):
        write_linear(tmp_path / "m.onnx", (64, 64, 1))
        adapter = Adapter(tmp_path / "m.onnx", THREE)
        self.refuse(
            adapter, InputError, r"takes \['n', 64, 64, 1\], the adapter gives \('N', 48, 48, 1\) \(NHWC\); set"
        )

    def test_a_free_shape_that_the_network_cannot_take(self, tmp_path):
        write_linear(tmp_path / "m.onnx", (None, 48, 1))
        adapter = Adapter(tmp_path / "m.onnx", THREE, size_px=(48, 50))
        self.refuse(adapter, InputError, r"refuses \(6, 50, 48, 1\)")

    def test_other_labels(self, tmp_path):
        write_linear(tmp_path / "m.onnx", (48, 48, 1), ends="Softmax")
        adapter = Adapter(tmp_path / "m.onnx", FIVE)
        self.refuse(adapter, InputError, r"gives 3 numbers a face, the adapter names 5 labels \(angry, happy")

    def test_other_names(self, tmp_path):
        write_linear(tmp_path / "m.onnx", (48, 48, 1), extra_input=True)
        for name, message in (
            (None, "has the inputs x, unused, the adapter names none"),
            ("z", "names 'z'; set input.name"),
        ):
            self.refuse(Adapter(tmp_path / "m.onnx", THREE, input_name=name), InputError, message)
        adapter = Adapter(tmp_path / "m.onnx", THREE, input_name="x", output_name="z")
        self.refuse(adapter, InputError, "has the outputs y, the adapter names 'z'; set output.name")

    def test_other_types(self, tmp_path):
        write_linear(tmp_path / "m.onnx", (48, 48, 1), kind=kinds.INT64)
        self.refuse(Adapter(tmp_path / "m.onnx", THREE), ModelError, r"takes tensor\(int64\); only tensor\(float\)")

    @pytest.mark.parametrize("wrong", [np.zeros((48, 48), np.uint8), np.zeros((2, 48, 48)), [[1]], None])
    def test_wrong_crops(self, tmp_path, wrong):
        write_linear(tmp_path / "m.onnx", (48, 48, 1), ends="Softmax")
        with pytest.raises(InputError, match=r"crops must be \(N, 48, 48\) uint8, got"):
            ForeignModel(Adapter(tmp_path / "m.onnx", THREE)).predict_proba(wrong)


def test_an_adapter_file_is_enough(tmp_path):
    weights = write_linear(tmp_path / "theirs.onnx", (48, 48, 1), classes=5)
    (tmp_path / "theirs.toml").write_text(
        'model = "theirs.onnx"\nlabels = "five"\ninput.scaling = "unit"\noutput.activation = "softmax"\n'
    )
    model = ForeignModel(tmp_path / "theirs.toml")
    assert model.labels == FIVE
    assert len(model.sha256) == 64
    np.testing.assert_allclose(model.predict_proba(CROPS), softmax(gray().reshape(6, -1) @ weights), atol=1e-5)
