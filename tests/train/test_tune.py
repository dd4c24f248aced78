import csv
import json
import multiprocessing
import sqlite3
from dataclasses import replace

import pytest

from drawn_faces import training_and_held_out
from mien.errors import InputError
from mien.train.augment import NO_AUGMENTATION
from mien.train.hardware import Hardware
from mien.train.settings import TrainSettings, settings_from_json, with_settings
from mien.train.tuning import SPACE, Choice, Range, TrialRow, chosen_space, collect_result, tune, tune_figure

pytest.importorskip("optuna")

SETTINGS = TrainSettings(
    net="tiny", epochs=2, batch_size=24, lr=1e-4, warmup_epochs=0.0, ema_decay=0.0, augment=NO_AUGMENTATION
)  # fmt: skip
pytestmark = pytest.mark.usefixtures("tiny")
TWO = {"lr": Range(1e-4, 0.4, log=True), "augment.erase": Range(0.0, 0.5)}
HERE = Hardware(accelerator="cpu", threads=1)


@pytest.fixture(scope="module")
def faces():
    return training_and_held_out(count=120)


@pytest.fixture(scope="module")
def search(faces, tmp_path_factory, tiny):
    out, seen = tmp_path_factory.mktemp("search") / "tune", []
    result = tune(
        *faces, out=out, settings=SETTINGS, space=TWO, trials=12, hardware=HERE,
        report=lambda row, best: seen.append((row, best)),
    )  # fmt: skip
    return out, result, seen


def test_search_finds_better_settings_than_it_started_from(search):
    out, result, seen = search
    first = next(row for row in result.trials if row.number == 0)
    assert first.values["lr"] == pytest.approx(SETTINGS.lr)
    best = result.trials[0]
    assert best.score > first.score + 0.1
    assert best.score == max(row.score for row in result.trials if row.state == "complete")
    assert len(result.trials) == len(seen) == 12
    assert seen[-1][1] == best
    assert settings_from_json(result.recipe) == with_settings(SETTINGS, best.values)
    assert result.recipe == out / "best.json"


def test_importance_is_a_share(search):
    importance = search[1].importance
    assert set(importance) == set(TWO)
    assert sum(importance.values()) == pytest.approx(1)
    assert list(importance.values()) == sorted(importance.values(), reverse=True)


def test_folder_of_a_search(search):
    out, result, _ = search
    with (out / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == [row.number for row in result.trials]
    assert float(rows[0]["lr"]) == result.trials[0].values["lr"]
    assert (out / "tune.png").read_bytes().startswith(b"\x89PNG")
    assert not list(out.rglob("*.ckpt"))
    number = result.trials[0].number
    assert (
        json.loads((out / f"trial-{number:04d}" / "settings.json").read_text())["lr"] == result.trials[0].values["lr"]
    )


def test_resume_adds_only_what_is_missing(search, faces):
    out, result, _ = search
    again = tune(*faces, out=out, settings=SETTINGS, space=TWO, trials=12, hardware=HERE, resume=True)
    assert len(again.trials) == 12
    more = tune(*faces, out=out, settings=SETTINGS, space=TWO, trials=13, hardware=HERE, resume=True)
    assert len(more.trials) == 13
    assert more.trials[0].score >= result.trials[0].score


def test_a_hopeless_trial_is_pruned(search, faces):
    out, _, _ = search
    study = sqlite3.connect(out / "study.db")
    states = {state for (state,) in study.execute("select state from trials")}
    study.close()
    assert states <= {"COMPLETE", "PRUNED"}


def test_folders_that_do_not_fit(search, faces, tmp_path):
    with pytest.raises(InputError, match="holds a study already"):
        tune(*faces, out=search[0], settings=SETTINGS, space=TWO, trials=1)
    with pytest.raises(InputError, match="nothing to resume"):
        tune(*faces, out=tmp_path, settings=SETTINGS, space=TWO, trials=1, resume=True)


def test_space_is_chosen_by_name():
    assert chosen_space(()) == SPACE
    assert list(chosen_space(("lr", "augment.erase"))) == ["lr", "augment.erase"]
    with pytest.raises(InputError, match="cannot search depth; the space has lr"):
        chosen_space(("depth",))
    assert str(SPACE["lr"]) == "0.005 to 0.5, logarithmic"
    assert str(Choice((1, 2))) == "1 or 2"


def test_every_setting_of_the_space_can_be_set():
    for name, values in SPACE.items():
        low = values.values[0] if isinstance(values, Choice) else values.low
        with_settings(TrainSettings(), {name: low})


def test_settings_outside_the_space_do_not_stop_the_search(faces, tmp_path):
    settings = replace(SETTINGS, lr=0.9, batch_size=20)
    space = {"lr": Range(0.01, 0.1), "batch_size": Choice((24, 30, 256)), "ferplus_weight": SPACE["ferplus_weight"]}
    data = [replace(d, votes=None) for d in faces]
    result = tune(*data, out=tmp_path / "t", settings=settings, space=space, trials=1, hardware=HERE)
    assert set(result.trials[0].values) == {"lr", "batch_size"}
    assert result.trials[0].values["batch_size"] in (24, 30)
    assert result.importance == {}


def test_image_with_few_and_with_many_trials():
    rows = [TrialRow(i, "complete" if i % 3 else "pruned", 0.5 + i / 100, {"lr": 0.01 * (i + 1)}) for i in range(9)]
    for importance in ({}, {"lr": 1.0}):
        assert len(tune_figure(rows, importance).axes) == 4


@pytest.mark.slow
def test_workers_share_a_study(faces, tmp_path):
    assert multiprocessing.get_start_method(allow_none=True) in (None, "fork", "spawn", "forkserver")
    settings = replace(SETTINGS, net="mien-s")
    result = tune(
        *faces, out=tmp_path / "t", settings=settings, space=TWO, trials=4, workers=2, hardware=HERE
    )  # fmt: skip
    assert len(result.trials) >= 4
    assert len({row.number for row in result.trials}) == len(result.trials)
    assert collect_result(tmp_path / "t", settings).trials == result.trials
