import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from drawn_faces import card_of, drawn_faces, plain_net, training_and_held_out, without_votes
from helpers import fer2013_split, public_test
from mien.datasets import TRAINING, is_fer2013_training
from mien.datasets.fer2013 import TRAINING_COUNTS
from mien.errors import InputError, ModelError, OutputError
from mien.evaluate import ConfidenceScaling, calibrate, fit_confidence
from mien.labels import FER7, LabelSet
from mien.models.card import METADATA_KEY
from mien.models.catalogue import CATALOGUE
from mien.models.expression import ExpressionModel
from mien.train import export
from mien.train.augment import NO_AUGMENTATION
from mien.train.checkpoints import load_net, net_from_onnx, start_from
from mien.train.export import (
    InferenceGraph,
    calibrate_and_export,
    card_markdown,
    describe_data,
    export_onnx,
    torch_logits,
    torch_probs,
)
from mien.train.folding import folded, normalised_layers
from mien.train.hardware import Hardware
from mien.train.nets.blocks import TWO_HEADS
from mien.train.nets.registry import NETS, create_net
from mien.train.run import RunSettings, fit
from mien.train.settings import TrainSettings

QUIET = RunSettings(curves=False, tensorboard=False)
SETTINGS = TrainSettings(
    net="tiny", epochs=3, batch_size=12, lr=0.2, warmup_epochs=0.5, ema_decay=0.8, augment=NO_AUGMENTATION
)  # fmt: skip
pytestmark = pytest.mark.usefixtures("tiny")
CROPS = drawn_faces(40, seed=5).crops


@pytest.fixture(scope="module")
def faces():
    return training_and_held_out()


@pytest.fixture(scope="module")
def checkpoint(faces, tmp_path_factory, tiny):
    out = tmp_path_factory.mktemp("run")
    hardware = Hardware(accelerator="cpu", threads=1)
    return fit(*faces, out=out, settings=SETTINGS, hardware=hardware, run=QUIET)


@pytest.fixture(scope="module")
def exported(faces, checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "drawn.onnx"
    card = calibrate_and_export([checkpoint], path, validation=faces[1], training=faces[0], name="drawn", licence="MIT")
    return path, card


@pytest.mark.parametrize(("precision", "tolerance"), [("fp16", 2e-5), ("fp32", 2e-5), ("int8", 0.15)])
def test_the_file_computes_what_torch_does(checkpoint, tmp_path, precision, tolerance):
    net = load_net(checkpoint)
    scalings = (ConfidenceScaling(0.7), ConfidenceScaling(1.8, -0.4))
    path = tmp_path / "m.onnx"
    export_onnx(net, path, card=card_of(net), scalings=scalings, precision=precision, calibration=CROPS)
    model = ExpressionModel(path)
    for head, probs in zip(net.heads, torch_probs(net, CROPS, scalings, precision=precision), strict=True):
        found = model.predict_proba(CROPS, head=head.key)
        np.testing.assert_allclose(found, probs, atol=tolerance)
        assert (found.argmax(1) == probs.argmax(1)).mean() >= 0.95


def test_precisions_store_what_they_promise(checkpoint, tmp_path):
    net = load_net(checkpoint)
    kinds = {}
    for precision in ("fp32", "fp16", "int8"):
        path = tmp_path / f"{precision}.onnx"
        export_onnx(net, path, card=card_of(net), precision=precision, calibration=CROPS)
        kinds[precision] = {t.data_type for t in onnx.load(path).graph.initializer if np.prod(t.dims) > 4096}
        assert ExpressionModel(path).card == card_of(net)
    types = onnx.TensorProto
    assert kinds == {"fp32": {types.FLOAT}, "fp16": {types.FLOAT16}, "int8": {types.INT8}}
    assert (tmp_path / "fp16.onnx").stat().st_size < 0.7 * (tmp_path / "fp32.onnx").stat().st_size
    with pytest.raises(InputError, match="fp16, fp32, int8"):
        export_onnx(net, tmp_path / "x.onnx", card=card_of(net), precision="int4")
    with pytest.raises(InputError, match="needs real crops"):
        export_onnx(net, tmp_path / "x.onnx", card=card_of(net), precision="int8")
    with pytest.raises(OutputError, match="cannot write"):
        export_onnx(net, tmp_path, card=card_of(net))


@pytest.mark.parametrize("scaling", [ConfidenceScaling(0.7), ConfidenceScaling(1.3, -0.5), ConfidenceScaling(2, 0.8)])
def test_the_graph_scales_logits_as_the_fit_does(checkpoint, scaling):
    net = load_net(checkpoint)
    logits = torch_logits(net, CROPS)
    for z, probs in zip(logits, torch_probs(net, CROPS, (scaling, scaling)), strict=True):
        np.testing.assert_allclose(probs, scaling.probs(z), atol=2e-6)
        assert np.array_equal(probs.argmax(1), z.argmax(1))
    plain = [np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in logits]
    for z, probs in zip(plain, torch_probs(net, CROPS), strict=True):
        np.testing.assert_allclose(probs, z, atol=2e-6)


def test_the_card_tells_the_shares_that_answers_assume(faces, exported):
    training, card = faces[0], exported[1]
    shares = np.bincount(training.label, minlength=7) / len(training)
    assumed = card.priors["fer2013"]
    smoothed = (1 - SETTINGS.label_smoothing) * shares + SETTINGS.label_smoothing / 7
    assert list(assumed.values()) == pytest.approx(smoothed.tolist(), abs=1e-3)
    assert "contempt" not in card.priors.get("ferplus", {})


def test_equal_logits_stay_numbers():
    graph = InferenceGraph(plain_net((FER7,)), [ConfidenceScaling(1.0, -0.9)]).eval()
    for parameter in graph.net.parameters():
        parameter.data.zero_()
    (probs,) = graph(torch.from_numpy(CROPS[:2]))
    np.testing.assert_allclose(probs.detach().numpy(), 1 / 7, atol=1e-6)


def test_export_fits_what_is_in_the_card(faces, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(calibrate, "FEW_IMAGES", 10)
    card = calibrate_and_export(
        [checkpoint], tmp_path / "x.onnx", validation=faces[1], training=faces[0], precision="fp32"
    )  # fmt: skip
    (z, _) = torch_logits(load_net(checkpoint), faces[1].crops, precision="fp32")
    fitted = fit_confidence(z, faces[1].label)
    assert card.exponents["fer2013"] == pytest.approx(fitted.exponent, abs=1e-4)
    assert card.exponents["fer2013"] != 0
    found = ExpressionModel(tmp_path / "x.onnx").predict_proba(faces[1].crops, head="fer2013")
    np.testing.assert_allclose(found, fitted.probs(z), atol=1e-4)
    assert f"standard deviation to the power {fitted.exponent:.3f}" in card_markdown(card)


def test_five_images_fit_no_temperature(faces, checkpoint, tmp_path):
    few = faces[1].where(np.arange(90) < 5)
    card = calibrate_and_export([checkpoint], tmp_path / "x.onnx", validation=few, training=faces[0])
    assert set(card.temperatures.values()) == {1.0}
    assert "confidence of fer2013 not fitted on 5 images (fewer than 50), temperature 1" in card.trained
    state = torch.load(checkpoint, weights_only=True)
    state["confidence"] = {"fer2013": [1.7, 0.2]}  # as a run has it that started from a model with this confidence
    torch.save(state, tmp_path / "tuned.ckpt")
    card = calibrate_and_export([tmp_path / "tuned.ckpt"], tmp_path / "y.onnx", validation=few, training=faces[0])
    assert (card.temperatures["fer2013"], card.exponents["fer2013"], card.temperatures["ferplus"]) == (1.7, 0.2, 1.0)
    assert "not fitted on 5 images (fewer than 50), that of the model it started from" in card.trained


def test_the_card_says_what_was_measured_on_the_file(exported, faces):
    path, card = exported
    model = ExpressionModel(path)
    assert model.card == card
    by_head = {(m.head, m.split): m for m in card.measured}
    hits = model.predict_proba(faces[1].crops, head="fer2013").argmax(1) == faces[1].label
    assert by_head["fer2013", "Validation"].accuracy == pytest.approx(hits.mean(), abs=1e-5)
    assert by_head["fer2013", "Validation"].n == 90
    assert by_head["ferplus", "Validation without copies of Training crops"].n == 90
    assert (card.name, card.licence) == ("drawn", "MIT")
    assert set(card.temperatures) == set(card.exponents) == {"fer2013", "ferplus"}
    assert "tiny, 3 epochs, seed 0" in card.trained
    page = path.with_suffix(".md").read_text(encoding="utf-8")
    assert page == card_markdown(card)
    assert "| fer2013 | Validation | 90 |" in page
    assert "240 crops with 7 classes" in page


def test_nothing_of_the_exporting_machine_is_in_the_file(exported):
    content = exported[0].read_bytes()
    for trace in (b"/src/mien", b"site-packages", b"stack_trace", b'File "'):
        assert trace not in content
    props = {p.key: p.value for p in onnx.load(exported[0]).metadata_props}
    assert set(props) == {METADATA_KEY}
    assert json.loads(props[METADATA_KEY])["name"] == "drawn"


def test_other_data_than_the_checkpoint_was_trained_on(checkpoint, faces, tmp_path):
    with pytest.raises(InputError, match="--votes"):
        calibrate_and_export(
            [checkpoint], tmp_path / "x.onnx", validation=without_votes(faces[1]), training=without_votes(faces[0])
        )
    assert not list(tmp_path.iterdir())


def test_description_of_the_data(faces):
    assert describe_data(faces[0], SETTINGS).startswith("240 crops with 7 classes, sha256 ")
    label = np.repeat(np.arange(7, dtype=np.int8), TRAINING_COUNTS)
    official = replace(faces[0].where(np.arange(len(label)) % 240), label=label)
    assert "Goodfellow" in describe_data(official, SETTINGS)
    assert "FER+ votes" in describe_data(official, SETTINGS)
    assert "FER+ votes" not in describe_data(without_votes(official), SETTINGS)
    assert describe_data(replace(official, label=label % 6), SETTINGS).startswith("28,709 crops with 7 classes")


def test_fer2013_is_recognised(shared):
    assert is_fer2013_training(fer2013_split(shared, TRAINING))
    assert not is_fer2013_training(public_test(shared))


def test_a_network_is_traced_and_quantised_once(faces, checkpoint, tmp_path, monkeypatch):
    traced = []

    def noted(graph, outputs, *, real=export.trace):
        traced.append(outputs)
        return real(graph, outputs)

    monkeypatch.setattr(export, "trace", noted)
    path = tmp_path / "m.onnx"
    card = calibrate_and_export([checkpoint], path, validation=faces[1], training=faces[0], precision="int8")
    assert len(traced) == 1
    assert ExpressionModel(path).card == card
    assert card.measured


@pytest.mark.parametrize("name", ["mien-b", "mien-s", "tutorial-two-dense"])
def test_folding_changes_no_answer(name):
    torch.manual_seed(0)
    net = NETS[name](TWO_HEADS).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    views = torch.rand((3, 1, net.view_px, net.view_px))
    small = folded(net)
    pairs = normalised_layers(net)
    assert len(pairs) == sum("running_mean" in key for key in net.state_dict())
    assert not [key for key in small.state_dict() if "running_mean" in key]
    assert [key for key in net.state_dict() if "running_mean" in key]
    for one, other in zip(small(views), net(views), strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp16", 2e-5), ("fp32", 2e-5), ("int8", 0.15)])
def test_a_net_from_onnx_gives_the_logits_of_the_file(checkpoint, tmp_path, precision, tolerance):
    path = tmp_path / "m.onnx"
    trained = load_net(checkpoint)
    export_onnx(trained, path, card=card_of(trained), precision=precision, calibration=CROPS)
    net = net_from_onnx(path, name="tiny", crops=CROPS)
    model = ExpressionModel(path)
    assert net.heads == TWO_HEADS
    for head, probs in zip(net.heads, torch_probs(net, CROPS, precision="fp32"), strict=True):
        np.testing.assert_allclose(model.predict_proba(CROPS, head=head.key), probs, atol=tolerance)
    for ours, theirs in zip(folded(net).parameters(), folded(trained).parameters(), strict=True):
        per_channel = theirs.abs().amax(dim=tuple(range(1, theirs.ndim)), keepdim=True) if theirs.ndim > 1 else theirs
        assert ((ours - theirs).abs() <= 1e-4 + per_channel.abs() * 2**-6).all()  # seven bits and a sign


def test_a_net_from_onnx_trains_on_with_sound_statistics(checkpoint, tmp_path):
    path = tmp_path / "m.onnx"
    trained = load_net(checkpoint)
    export_onnx(trained, path, card=card_of(trained))
    net = net_from_onnx(path, name="tiny", crops=CROPS)
    views = net.normalise(torch.from_numpy(CROPS[:, None, 2:46, 2:46]).float())
    net.dropout.p = 0.0
    with torch.no_grad():
        settled = net.eval()(views)[0].softmax(1)
        fresh = net.train()(views)[0].softmax(1)  # normalised by the statistics of this very batch
    torch.testing.assert_close(fresh, settled, atol=0.02, rtol=0)


def test_start_from_an_onnx_file_carries_classes_over(exported):
    net = create_net("tiny", (LabelSet("mine", ("sad", "bored", "happy")),))
    before = net.classifiers[0].weight.detach().clone()
    start_from(net, exported[0], name="tiny", crops=CROPS)
    source = net_from_onnx(exported[0], name="tiny", crops=CROPS)
    weight, theirs = net.classifiers[0].weight, source.classifiers[0].weight
    assert torch.equal(weight[0], theirs[FER7.index("sad")])
    assert torch.equal(weight[2], theirs[FER7.index("happy")])
    assert torch.equal(weight[1], before[1])
    assert torch.equal(net.trunk[1][0].weight, source.trunk[1][0].weight)


def test_start_from_a_file_of_another_net(exported, tmp_path):
    with pytest.raises(InputError, match="does not hold the weights of 'mien-s'"):
        start_from(create_net("mien-s", TWO_HEADS), exported[0], name="mien-s", crops=CROPS)
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelError):
        start_from(create_net("tiny", TWO_HEADS), tmp_path / "bad.onnx", name="tiny", crops=CROPS)


@pytest.mark.parametrize("name", CATALOGUE)
def test_training_starts_from_every_shipped_model(name):
    net = create_net(CATALOGUE[name].net, TWO_HEADS)
    start_from(net, name, name=CATALOGUE[name].net, crops=CROPS)
    fresh = create_net(CATALOGUE[name].net, TWO_HEADS)
    shapes_alone = [key for key, value in net.state_dict().items() if torch.equal(value, fresh.state_dict()[key])]
    assert not [key for key in shapes_alone if key.endswith("weight")]
