"""Sixty photos of FER2013's PublicTest tune the shipped model for three expressions; 600 others say how well."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers import public_test
from mien.datasets import splits_for_training
from mien.labels import FER7
from mien.models.catalogue import CATALOGUE, model_path
from mien.models.expression import ExpressionModel
from mien.train.export import calibrate_and_export
from mien.train.hardware import Hardware
from mien.train.run import RunSettings, Start, fit
from mien.train.settings import TrainSettings

SHOWN = ("happy", "sad", "neutral")
SETTINGS = TrainSettings(net=CATALOGUE["mien-b"].net, lr=0.01, batch_size=16, epochs=6)


@pytest.mark.slow
def test_sixty_photos_give_another_and_a_better_model(shared: Path, tmp_path: Path) -> None:
    data = replace(public_test(shared), votes=None, usage=np.full(3589, "Unsplit"))
    rng = np.random.default_rng(0)
    dealt = [rng.permutation(np.flatnonzero(data.label == FER7.index(name))) for name in SHOWN]
    photos, test = (
        data.where(np.isin(np.arange(len(data)), np.concatenate([rows[part] for rows in dealt])))
        for part in (slice(20), slice(20, 220))
    )
    splits = splits_for_training(photos)
    best = fit(
        splits.training, splits.validation, out=tmp_path / "run", settings=SETTINGS, start=Start("mien-b"),
        run=RunSettings(curves=False, tensorboard=False), hardware=Hardware(accelerator="cpu"),
    )  # fmt: skip
    calibrate_and_export([best], tmp_path / "own.onnx", validation=splits.validation, training=splits.training)
    figures = {}
    for path in (model_path("mien-b"), tmp_path / "own.onnx"):
        model = ExpressionModel(path)
        probs = model.predict_proba(test.crops, head="fer2013")
        loss = -np.log(probs[np.arange(len(test)), test.label]).mean()
        figures[path.stem] = (float((probs.argmax(axis=1) == test.label).mean()), float(loss))
    assert len(test) == 600
    assert ExpressionModel(tmp_path / "own.onnx").card.temperatures["fer2013"] == pytest.approx(
        ExpressionModel(model_path("mien-b")).card.temperatures["fer2013"]
    )
    (was, was_loss), (now, now_loss) = figures["mien-b"], figures["own"]
    print(f"accuracy {was:.1%} to {now:.1%}, log loss {was_loss:.3f} to {now_loss:.3f}")
    assert now > was + 0.02 and now_loss < was_loss
