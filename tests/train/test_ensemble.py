import numpy as np
import pytest
import torch

from drawn_faces import card_of, drawn_faces, training_and_held_out
from mien.errors import InputError
from mien.evaluate import ConfidenceScaling
from mien.labels import FER7, FERPLUS8
from mien.models.expression import ExpressionModel
from mien.train.augment import NO_AUGMENTATION
from mien.train.checkpoints import load_net, load_nets, net_from_onnx
from mien.train.ensemble import Ensemble
from mien.train.export import calibrate_and_export, export_onnx, torch_logits, torch_probs
from mien.train.hardware import Hardware
from mien.train.nets.blocks import TWO_HEADS
from mien.train.nets.registry import create_net
from mien.train.run import RunSettings, fit
from mien.train.settings import TrainSettings

CROPS = drawn_faces(30, seed=6).crops
pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture(scope="module")
def faces():
    return training_and_held_out()


@pytest.fixture(scope="module")
def checkpoints(faces, tmp_path_factory, tiny):
    written = []
    for seed in (0, 1):
        settings = TrainSettings(
            net="tiny", epochs=2, batch_size=12, lr=0.2, warmup_epochs=0.5, ema_decay=0.8, seed=seed,
            augment=NO_AUGMENTATION,
        )  # fmt: skip
        hardware, quiet = Hardware(accelerator="cpu", threads=1), RunSettings(curves=False, tensorboard=False)
        out = tmp_path_factory.mktemp("run")
        written.append(fit(*faces, out=out, settings=settings, hardware=hardware, run=quiet))
    return written


def mean_of(checkpoints, head):
    return np.mean([torch_probs(load_net(path), CROPS)[head] for path in checkpoints], axis=0)


@pytest.mark.parametrize("head", [0, 1])
def test_the_answer_is_the_mean_of_the_members_probabilities(checkpoints, head):
    together = torch_probs(load_nets(checkpoints), CROPS)[head]
    np.testing.assert_allclose(together, mean_of(checkpoints, head), atol=1e-6)
    alone = [torch_probs(load_net(path), CROPS)[head] for path in checkpoints]
    assert np.abs(alone[0] - alone[1]).max() > 0.05  # two networks that differ


def test_members_that_are_sure_of_opposites_give_numbers():
    nets = [create_net("tiny", (FER7,)).eval() for _ in range(2)]
    for net, sure in zip(nets, (0, 1), strict=True):
        net.classifiers[0].weight.data.zero_()
        net.classifiers[0].bias.data = torch.full((7,), -500.0).index_fill(0, torch.tensor([sure]), 500.0)
    (probs,) = torch_probs(Ensemble(nets).eval(), CROPS, [ConfidenceScaling(1.0)])
    np.testing.assert_allclose(probs[:, :2], 0.5, atol=1e-5)
    assert np.isfinite(torch_logits(Ensemble(nets), CROPS)[0]).all()


@pytest.mark.parametrize(("precision", "tolerance"), [("fp16", 2e-5), ("fp32", 2e-5), ("int8", 0.15)])
def test_one_file_answers_for_all(checkpoints, tmp_path, precision, tolerance):
    net, path = load_nets(checkpoints), tmp_path / "m.onnx"
    export_onnx(net, path, card=card_of(net), precision=precision, calibration=CROPS)
    for number, head in enumerate(net.heads):
        found = ExpressionModel(path).predict_proba(CROPS, head=head.key)
        np.testing.assert_allclose(found, mean_of(checkpoints, number), atol=max(tolerance, 1e-3))


def test_the_card_names_every_member(checkpoints, faces, tmp_path):
    card = calibrate_and_export(checkpoints, tmp_path / "two.onnx", validation=faces[1], training=faces[0])
    assert "tiny, 2 epochs, seed 0 + tiny, 2 epochs, seed 1, their probabilities averaged, fp16" in card.trained
    hits = ExpressionModel(tmp_path / "two.onnx").predict_proba(faces[1].crops, head="fer2013").argmax(1)
    assert card.measured[0].accuracy == pytest.approx((hits == faces[1].label).mean(), abs=1e-5)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_training_goes_on_from_the_first_member(checkpoints, tmp_path, precision):
    net, path = load_nets(checkpoints), tmp_path / "m.onnx"
    export_onnx(net, path, card=card_of(net), precision=precision, calibration=CROPS)
    (first, _) = torch_probs(load_net(checkpoints[0]), CROPS)
    (again, _) = torch_probs(net_from_onnx(path, name="tiny", crops=CROPS), CROPS)
    np.testing.assert_allclose(again, first, atol=0.15 if precision == "int8" else 1e-3)
    with pytest.raises(InputError, match="does not hold the weights of 'mien-s'"):
        net_from_onnx(path, name="mien-s", crops=CROPS)


def test_members_must_agree_on_classes_and_views():
    with pytest.raises(InputError, match="at least one"):
        Ensemble([])
    with pytest.raises(InputError, match="same classes"):
        Ensemble([create_net("tiny", (FER7,)), create_net("tiny", (FERPLUS8,))])
    with pytest.raises(InputError, match="44 and 48 px"):
        Ensemble([create_net("mien-s", TWO_HEADS), create_net("tutorial-two-dense", TWO_HEADS)])
