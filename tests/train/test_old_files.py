"""Files that training wrote before its modules moved still open, and a run goes on from them.

`old/plain.ckpt` is the `last.ckpt` of two epochs of the net "plain" on `PATTERNS`, and `old/knn.npz` one nearest
neighbour of the same crops. The ONNX files of that time are the shipped models, which other tests open.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.datasets import PUBLIC_TEST, TRAINING, CropDataset
from mien.train import Hardware, RunSettings, TrainSettings, fit, load_net, load_settings
from mien.train.augment import NO_AUGMENTATION
from mien.train.classical.baselines import load_baseline

OLD = Path(__file__).parent / "old"
Y, X = np.mgrid[:48, :48]
PATTERNS = np.stack([(Y * (i + 1) + X * (7 - i)) % 256 for i in range(14)]).astype(np.uint8)
LABEL = (np.arange(14) % 7).astype(np.int8)
pytestmark = pytest.mark.usefixtures("tiny")


def test_a_checkpoint_holds_the_same_network():
    net = load_net(OLD / "plain.ckpt")
    with torch.no_grad():
        (logits,) = net(net.normalise(torch.from_numpy(PATTERNS[:, None]).float()))
    expected = [0.259856, 0.338327, -0.043995, 0.100257, -0.020548, 0.174024, 0.216901]
    np.testing.assert_allclose(logits[0], expected, atol=1e-4)
    assert load_settings(OLD / "plain.ckpt").epochs == 2


def test_a_run_goes_on_from_it(tmp_path):
    training, validation = (CropDataset(PATTERNS, LABEL, np.full(14, usage)) for usage in (TRAINING, PUBLIC_TEST))
    shutil.copy(OLD / "plain.ckpt", tmp_path / "last.ckpt")
    epochs = []
    fit(
        training, validation, out=tmp_path, hardware=Hardware(accelerator="cpu", threads=1),
        settings=TrainSettings(net="plain", epochs=3, batch_size=7, augment=NO_AUGMENTATION),
        run=RunSettings(resume=True, curves=False, tensorboard=False), report=lambda m: epochs.append(m.epoch),
    )  # fmt: skip
    assert epochs == [3]


def test_a_baseline_gives_the_same_answers():
    probs = load_baseline(OLD / "knn.npz").predict_proba(PATTERNS)
    assert np.array_equal(probs.argmax(axis=1), LABEL)
