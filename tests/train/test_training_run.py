import csv
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import fields, replace
from functools import partial
from itertools import chain
from pathlib import Path

import lightning.pytorch as L
import numpy as np
import pytest
import torch

from drawn_faces import SHAPES, drawn_faces, tiny_net, training_and_held_out, without_votes
from helpers import free_port
from mien.datasets import TRAINING, CropDataset
from mien.errors import InputError, OutputError
from mien.labels import FER7, FERPLUS8, FIVE, LabelSet
from mien.train import run as run_module
from mien.train.augment import NO_AUGMENTATION, AugmentSettings, central_views
from mien.train.callbacks import AtomicCheckpoints, BestAndLast
from mien.train.checkpoints import load_net, load_settings
from mien.train.hardware import Hardware, precision_of
from mien.train.losses import soft_cross_entropy
from mien.train.module import ExpressionModule
from mien.train.nets.blocks import TWO_HEADS
from mien.train.run import RunSettings, Start, fit
from mien.train.settings import TrainSettings, settings_from_dict, settings_from_json, settings_to_json, with_settings
from mien.train.targets import (
    EpochBatches,
    OrderedBatches,
    blend,
    class_weights,
    head_targets,
    log_prior,
    plain_answers,
    training_batches,
    training_crops,
)
from trained_sizes import count_parameters

TINY = TrainSettings(
    net="tiny", epochs=4, batch_size=12, lr=0.2, warmup_epochs=0.5, ema_decay=0.8, label_smoothing=0.05,
    augment=replace(NO_AUGMENTATION, flip=0.5, shift=0.05),
)  # fmt: skip
RANDOM = replace(TINY, epochs=3, augment=replace(TINY.augment, mixup=0.2, erase=0.3, noise=0.2, low_resolution=0.2))
PLAIN = replace(TINY, net="plain", epochs=3, augment=NO_AUGMENTATION)
ONE_THREAD = Hardware(accelerator="cpu", threads=1)
TESTS = os.pathsep.join(str(Path(__file__).parents[1] / folder) for folder in ("support", "train"))
pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture(scope="module")
def faces():
    return training_and_held_out()


@pytest.fixture(scope="module")
def run(faces, tmp_path_factory, tiny):
    """One run with two heads and all that it wrote."""
    out, seen = tmp_path_factory.mktemp("runs") / "two", []
    best = fit(*faces, out=out, settings=TINY, hardware=ONE_THREAD, report=seen.append)
    return out, best, seen


def quick(faces, out, settings=TINY, **more):
    """Run `fit`; settings of the run and of its start are given by name."""
    run, start = (
        kind(**given, **{f.name: more.pop(f.name) for f in fields(kind) if f.name in more})
        for kind, given in ((RunSettings, {"curves": False, "tensorboard": False}), (Start, {}))
    )
    return fit(*faces, out=out, settings=settings, run=run, start=start, **{"hardware": ONE_THREAD, **more})


def rows_of(out):
    with (out / "metrics.csv").open(newline="") as file:
        return [{k: float(v) for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def weights_of(out, name="last.ckpt"):
    return torch.load(out / name, weights_only=True)


def assert_same_run(one, other):
    """Averaged and current weights, momentum and figures agree bit for bit."""
    a, b = weights_of(one), weights_of(other)
    assert a["global_step"] == b["global_step"]
    for part in ("state_dict", "current_model_state"):
        assert a[part].keys() == b[part].keys()
        for key, value in a[part].items():
            assert torch.equal(value, b[part][key]), key
    assert rows_of(one) == rows_of(other)


def accuracy(net, crops, truth, head):
    with torch.no_grad():
        logits = net(net.normalise(central_views(torch.from_numpy(crops), net.view_px)))[head]
    return float((logits.argmax(1).numpy() == truth).mean())


class Do(L.Callback):
    """Does something after a step."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            self.action()


def test_two_heads_learn_the_drawn_faces(run, faces):
    _, best, seen = run
    net = load_net(best)
    assert net.heads == TWO_HEADS
    assert accuracy(net, faces[1].crops, faces[1].label, 0) >= 0.95
    truth = np.array([FERPLUS8.index(SHAPES[i % 3]) for i in range(90)])
    assert accuracy(net, faces[1].crops, truth, 1) >= 0.95
    assert seen[-1].val_loss < seen[0].val_loss
    assert seen[-1].train_loss < seen[0].train_loss
    assert seen[-1].train_accuracy["fer2013"] > 0.8


def test_best_checkpoint_is_the_best_epoch(run, faces):
    out, best, _ = run
    rows = rows_of(out)
    top = min(rows, key=lambda row: row["val_loss"])  # 90 crops are few
    net = load_net(best)
    assert accuracy(net, faces[1].crops, faces[1].label, 0) == pytest.approx(top["val_acc_fer2013"], abs=0.012)
    assert weights_of(out, "best.ckpt")["epoch"] == top["epoch"]
    assert weights_of(out)["epoch"] == TINY.epochs - 1


@pytest.fixture(scope="module")
def tuned(run, tmp_path_factory):
    """The network of `run`, tuned on 54 faces in negative and validated on 6; its folder, and 90 faces to test."""
    out = tmp_path_factory.mktemp("little") / "run"
    faces, few, test = (
        replace(made, crops=255 - made.crops)
        for made in (drawn_faces(54, seed=5), drawn_faces(6, seed=6, usage="Validation"), drawn_faces(90, seed=7))
    )
    quick((faces, few), out, replace(TINY, lr=0.05, epochs=6, batch_size=9), init=run[1])
    return out, test


class TestLittleData:
    """Sixty images: the best epoch is found though accuracy ties, and the tuned network is another and better one."""

    def test_the_best_epoch_is_that_of_the_lowest_loss(self, tuned):
        rows = rows_of(tuned[0])
        best = weights_of(tuned[0], "best.ckpt")["epoch"]
        assert best == min(rows, key=lambda row: row["val_loss"])["epoch"]
        assert best > 0

    def test_the_tuned_network_is_another_and_better(self, run, tuned):
        out, test = tuned
        before, after = load_net(run[1]), load_net(out / "best.ckpt")
        key = "classifiers.0.weight"
        assert not torch.equal(before.state_dict()[key], after.state_dict()[key])
        was, now = (accuracy(net, test.crops, test.label, 0) for net in (before, after))
        assert now >= was + 0.2


@pytest.mark.parametrize(
    ("crops", "epochs", "best"),
    [
        (6, [(0.5, 1.05), (0.5, 0.7), (0.5, 0.49), (0.5, 0.6)], 2),  # accuracy ties, loss falls
        (6, [(0.5, 1.05), (0.75, 1.2), (0.5, 0.9)], 2),  # one image of four is chance
        (1000, [(0.7, 0.9), (0.71, 1.0), (0.71, 0.95), (0.7, 0.5)], 2),  # accuracy, then loss
        (1000, [(0.7, float("nan")), (0.7, 0.9), (0.6, 0.1)], 1),
    ],
)
def test_what_makes_an_epoch_the_best(crops, epochs, best, tmp_path):
    keeper = BestAndLast(tmp_path, lambda *_: None, validation_crops=crops)
    ranks = [keeper.rank(*epoch) for epoch in epochs]
    assert max(range(len(ranks)), key=ranks.__getitem__) == best


def test_the_best_of_an_older_checkpoint_is_taken_up(tmp_path):
    keeper = BestAndLast(tmp_path, lambda *_: None, validation_crops=1000)
    keeper.load_state_dict({"best": 0.7})
    assert keeper.best is not None and keeper.rank(0.69, 0.1) < keeper.best < keeper.rank(0.7, 0.9)


def test_run_folder_holds_what_reproduces_it(run, faces):
    out, _, seen = run
    rows = rows_of(out)
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert [m.epoch for m in seen] == [1, 2, 3, 4]
    for row, m in zip(rows, seen, strict=True):
        assert (row["train_loss"], row["val_loss"], row["lr"]) == (m.train_loss, m.val_loss, m.lr)
        assert row["val_score"] == pytest.approx((row["val_acc_fer2013"] + row["val_acc_ferplus"]) / 2)
        assert m.train_accuracy == {h: row[f"train_acc_{h}"] for h in ("fer2013", "ferplus")}
    assert settings_from_json(out / "settings.json") == TINY == load_settings(out / "best.ckpt")
    record = json.loads((out / "run.json").read_text())
    assert record["data"]["training"]["sha256"] == faces[0].digest()
    assert record["data"]["validation"]["crops"] == 90
    assert record["seed"] == 0
    assert record["packages"]["torch"] == torch.__version__
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list(out.glob("events.out.tfevents*"))
    assert not list(out.glob(".*"))


def test_warm_up_then_cosine(run):
    rates = [row["lr"] for row in rows_of(run[0])]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    module = ExpressionModule(replace(TINY, warmup_epochs=2, epochs=10), TWO_HEADS, steps_per_epoch=10)
    assert [module._lr_factor(s) for s in (0, 19, 20, 60, 100)] == pytest.approx([1 / 21, 20 / 21, 1, 0.5, 0])


def test_same_seed_same_weights_other_seed_others(faces, tmp_path):
    one = replace(RANDOM, epochs=1)
    for name, settings in (("a", one), ("b", one), ("c", replace(one, seed=1))):
        quick(faces, tmp_path / name, settings)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    a, c = (weights_of(tmp_path / name)["state_dict"] for name in "ac")
    assert not torch.equal(a["net.classifiers.0.weight"], c["net.classifiers.0.weight"])


def test_resume_from_last_epoch_ends_where_a_whole_run_does(faces, tmp_path):
    quick(faces, tmp_path / "whole", RANDOM)

    def fail():
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        quick(faces, tmp_path / "cut", RANDOM, callbacks=[Do(30, fail)])
    assert len(rows_of(tmp_path / "cut")) == 1
    (tmp_path / "cut").rename(tmp_path / "moved")
    quick(faces, tmp_path / "moved", RANDOM, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "moved")


@pytest.mark.parametrize("step", [7, 40, 47])
def test_ctrl_c_keeps_the_step_and_resume_goes_on_from_it(faces, tmp_path, step):
    before = signal.getsignal(signal.SIGINT)
    quick(faces, tmp_path / "whole", RANDOM)
    press = Do(step, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        quick(faces, tmp_path / "cut", RANDOM, callbacks=[press])
    assert signal.getsignal(signal.SIGINT) is before
    assert weights_of(tmp_path / "cut")["global_step"] in (step, step + 1)
    quick(faces, tmp_path / "cut", RANDOM, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_resume_with_a_plateau_schedule_and_without_average(faces, tmp_path):
    settings = replace(
        RANDOM, schedule="plateau", plateau_patience=1, plateau_factor=0.1, ema_decay=0, optimizer="adam", lr=0.05,
        epochs=5, label_smoothing=0.6,
    )  # fmt: skip
    quick(faces, tmp_path / "whole", settings)
    rates = [row["lr"] for row in rows_of(tmp_path / "whole")]
    assert rates[0] == pytest.approx(0.05)
    with pytest.raises(KeyboardInterrupt):
        press = Do(50, lambda: os.kill(os.getpid(), signal.SIGINT))
        quick(faces, tmp_path / "cut", settings, callbacks=[press])
    quick(faces, tmp_path / "cut", settings, resume=True)
    a, b = weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut")
    assert "current_model_state" not in a
    assert all(torch.equal(v, b["state_dict"][k]) for k, v in a["state_dict"].items())
    assert a["plateau"] == b["plateau"]
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "cut")


def test_plateau_lowers_the_rate(faces):
    module = ExpressionModule(replace(TINY, schedule="plateau", plateau_patience=1), TWO_HEADS, steps_per_epoch=4)
    made = module.configure_optimizers()
    group = made["optimizer"].param_groups[0]
    for _ in range(4):
        made["optimizer"].step()
        made["lr_scheduler"]["scheduler"].step()
    assert group["lr"] == pytest.approx(TINY.lr)
    for loss in (1.0, 0.9, 0.95, 0.95):
        module._plateau.step(loss)
    assert group["lr"] == pytest.approx(TINY.lr / 2)
    made["optimizer"].step()
    made["lr_scheduler"]["scheduler"].step()
    assert group["lr"] == pytest.approx(TINY.lr / 2)


def test_early_stop_and_nothing_left_to_resume(faces, tmp_path):
    settings = replace(TINY, lr=0.0, epochs=9, patience=2)
    quick(faces, tmp_path, settings)
    assert len(rows_of(tmp_path)) == 3
    stamp = (tmp_path / "last.ckpt").stat().st_mtime_ns
    quick(faces, tmp_path, settings, resume=True)
    assert (tmp_path / "last.ckpt").stat().st_mtime_ns == stamp


def test_resume_refuses_what_does_not_belong_together(run, faces, tmp_path):
    out, _, _ = run
    with pytest.raises(InputError, match="other settings \\(lr\\)"):
        quick(faces, out, replace(TINY, lr=0.3), resume=True)
    other = faces[0].where(np.arange(len(faces[0])) > 30)
    with pytest.raises(InputError, match="other data"):
        quick((other, faces[1]), out, resume=True)
    with pytest.raises(InputError, match="nothing to resume"):
        quick(faces, tmp_path / "none", resume=True)
    with pytest.raises(InputError, match="holds a run"):
        quick(faces, out)


def test_resume_before_the_first_checkpoint_starts_anew(faces, tmp_path):
    def fail():
        raise RuntimeError("power cut")

    one = replace(TINY, epochs=1)
    with pytest.raises(RuntimeError):
        quick(faces, tmp_path, one, callbacks=[Do(2, fail)])
    quick(faces, tmp_path, one, resume=True)
    assert len(rows_of(tmp_path)) == 1


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    AtomicCheckpoints().save_checkpoint({"step": torch.tensor(1)}, path)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="disk is full"):
        AtomicCheckpoints().save_checkpoint({"step": torch.tensor(2)}, path)
    assert torch.load(path, weights_only=True) == {"step": torch.tensor(1)}
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_lightning_is_quiet_and_left_as_it_was(faces, tmp_path, capfd):
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    before = [logger.level for logger in loggers]
    quick(faces, tmp_path, replace(TINY, epochs=1))
    assert [logger.level for logger in loggers] == before
    written = capfd.readouterr()
    assert (written.out, written.err) == ("", "")


@pytest.mark.parametrize("labels", [FER7, FIVE])
def test_one_head_without_votes(faces, tmp_path, labels):
    data = [
        without_votes(
            replace(d, label=np.array([labels.index(FER7.names[i]) for i in d.label], np.int8), labels=labels)
        )
        for d in faces
    ]
    net = load_net(quick(data, tmp_path, replace(TINY, class_weights="balanced", focal_gamma=1.0)))
    assert net.heads == (labels,)
    assert accuracy(net, data[1].crops, data[1].label, 0) >= 0.9


def test_votes_alone_and_hard_votes(faces):
    (head,) = head_targets(faces[0], replace(TINY, targets="votes"))
    assert head.labels == FERPLUS8
    assert head.soft[0, FERPLUS8.index("happy")] == pytest.approx(0.8)
    assert head.soft[0, FERPLUS8.index("neutral")] == pytest.approx(0.2)
    (hard,) = head_targets(faces[0], replace(TINY, targets="votes", soft_votes=False, label_smoothing=0.08))
    assert hard.soft[0, FERPLUS8.index("happy")] == pytest.approx(0.93)
    assert hard.soft[0].sum() == pytest.approx(1)
    with pytest.raises(InputError, match="pass --votes"):
        head_targets(without_votes(faces[0]), replace(TINY, targets="both"))


def test_class_subset_and_merge():
    data = drawn_faces(6, shapes=("happy", "sad", "surprise"))
    by_label, by_votes = head_targets(data, replace(TINY, classes=("Sadness", "happy"), label_smoothing=0.0))
    assert by_label.labels == LabelSet("fer2013-2", ("sad", "happy"))
    assert by_votes.labels == LabelSet("ferplus-2", ("sad", "happy"))
    assert by_label.truth.tolist() == [1, 0, -1, 1, 0, -1]
    assert by_label.soft[:3].tolist() == [[0, 1], [1, 0], [0, 0]]
    assert by_votes.soft[:3].tolist() == [[0, 1], [1, 0], [0, 0]]
    merged, votes = head_targets(data, replace(TINY, merge=(("surprise", "happy"), ("contempt", "disgust"))))
    assert "surprise" not in merged.labels.names
    assert len(merged.labels) == 6
    assert len(votes.labels) == 6
    assert merged.truth.tolist()[:3] == [merged.labels.index(e) for e in ("happy", "sad", "happy")]
    assert votes.soft[2, votes.labels.index("happy")] == pytest.approx(0.8)
    assert len(training_crops(data, replace(TINY, classes=("sad", "angry"), targets="labels"))) == 2
    with pytest.raises(InputError, match="cannot keep class 'bored'"):
        head_targets(data, replace(TINY, classes=("bored", "sad")))
    with pytest.raises(InputError, match="cannot merge 'bored'"):
        head_targets(data, replace(TINY, merge=(("bored", "sad"),)))
    with pytest.raises(InputError, match="two are needed"):
        head_targets(data, replace(TINY, classes=("sad",)))


def test_unlabelled_and_faceless_crops_are_left_out(faces):
    data = faces[0].where(np.arange(len(faces[0])) < 6)
    votes = data.votes.copy()
    votes[0] = 0
    votes[0, -1] = 10
    label = data.label.copy()
    label[1] = -1
    some = replace(data, votes=votes, label=label)
    assert len(training_crops(some, TINY)) == 5
    assert len(training_crops(without_votes(some), TINY)) == 5
    nothing = without_votes(replace(data, label=np.full(6, -1, np.int8)))
    with pytest.raises(InputError, match="none of the 6"):
        training_crops(nothing, TINY)


def test_data_that_cannot_be_trained_on(faces, tmp_path):
    with pytest.raises(InputError, match="do not fill one batch"):
        quick(faces, tmp_path / "a", replace(TINY, batch_size=512))
    with pytest.raises(InputError, match="unknown net"):
        quick(faces, tmp_path / "a", replace(TINY, net="nonsense"))
    with pytest.raises(InputError, match="training has the classes"):
        quick((faces[0], without_votes(faces[1])), tmp_path / "a")
    unlabelled = without_votes(replace(faces[1], label=np.full(90, -1, np.int8)))
    with pytest.raises(InputError, match="no validation crop"):
        quick((without_votes(faces[0]), unlabelled), tmp_path / "a")
    with pytest.raises(InputError, match="multiple of the 5 processes"):
        quick(faces, tmp_path / "a", hardware=Hardware(devices=5))
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"optimizer": "lion"}, "sgd, adam, adamw"), ({"schedule": "step"}, "cosine"), ({"epochs": 0}, "at least 1"),
     ({"label_smoothing": 1.5}, "0 to 1"), ({"lr": float("nan")}, "at least 0"), ({"class_weights": "log"}, "sqrt"),
     ({"augment": AugmentSettings(cutmix=1.0, cutmix_share=0.8)}, "mixup_share")],
)  # fmt: skip
def test_settings_out_of_range(change, message):
    with pytest.raises(InputError, match=message):
        replace(TrainSettings(), **change)


def test_settings_travel_as_json(tmp_path):
    path = tmp_path / "recipe.json"
    settings = replace(TINY, classes=("happy", "sad"), merge=(("fear", "surprise"),))
    path.write_text(settings_to_json(settings))
    assert settings_from_json(path) == settings
    path.write_text('{"lr": 0.3, "augment": {"flip": 0.1}}')
    assert settings_from_json(path) == with_settings(TrainSettings(), {"lr": 0.3, "augment.flip": 0.1})
    for text, message in (('{"rate": 1}', "unknown setting"), ("[]", "one JSON object"), ("{", "must be a JSON file")):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            settings_from_json(path)
    with pytest.raises(InputError, match="must be float"):
        with_settings(TINY, {"lr": "fast"})
    with pytest.raises(InputError, match="unknown setting 'augment'"):
        with_settings(TINY, {"augment": 3})


def test_settings_of_an_older_version_take_defaults():
    old = {"net": "mien-b", "epochs": 80, "augment": {"view_px": 44, "flip": 0.5}}
    assert settings_from_dict(old, where="x") == TrainSettings(epochs=80)


def test_checkpoints_without_heads_have_the_two_of_mien(run, tmp_path):
    state = weights_of(run[0], "best.ckpt")
    del state["heads"]
    torch.save(state, tmp_path / "old.ckpt")
    assert load_net(tmp_path / "old.ckpt").heads == TWO_HEADS
    (tmp_path / "bad.ckpt").write_bytes(b"nothing")
    for path in (tmp_path / "bad.ckpt", tmp_path / "absent.ckpt"):
        with pytest.raises(InputError, match="not a checkpoint of `mien train`"):
            load_net(path)


def test_start_from_a_checkpoint_with_other_classes(run, faces, tmp_path):
    data = [without_votes(d) for d in faces]
    settings = replace(TINY, epochs=1, lr=0.0, classes=("surprise", "happy"), ema_decay=0.0)
    net = load_net(quick(data, tmp_path, settings, init=run[1]))
    trained = load_net(run[1])
    assert torch.equal(net.trunk[0][0].weight, trained.trunk[0][0].weight)
    rows = [FER7.index("surprise"), FER7.index("happy")]
    assert torch.equal(net.classifiers[0].weight, trained.classifiers[0].weight[rows])
    assert rows_of(tmp_path)[0]["val_acc_fer2013-2"] >= 0.95


def test_start_from_another_network_is_refused(run, faces, tmp_path):
    with pytest.raises(InputError, match="another network"):
        quick(faces, tmp_path, replace(TINY, net="mien-s"), init=run[1])


def test_frozen_trunk_keeps_its_weights_and_statistics(run, faces, tmp_path):
    settings = replace(TINY, epochs=1, freeze_trunk=True)
    net = load_net(quick(faces, tmp_path, settings, init=run[1]))
    trained = load_net(run[1])
    for (name, ours), theirs in zip(net.state_dict().items(), trained.state_dict().values(), strict=True):
        same = torch.allclose(ours.float(), theirs.float(), atol=1e-6)
        assert same != name.startswith("classifiers"), name


def test_frozen_layers_keep_their_weights_and_statistics_and_the_rest_learns(run, faces, tmp_path):
    settings = replace(TINY, epochs=1, freeze_layers=2)
    net = load_net(quick(faces, tmp_path / "run", settings, init=run[1]))
    trained = load_net(run[1]).state_dict()
    frozen = [f"trunk.{name}." for name, _ in list(net.trunk.named_children())[:2]]
    for name, ours in net.state_dict().items():
        same = torch.allclose(ours.float(), trained[name].float(), atol=1e-6)
        assert same == name.startswith(tuple(frozen)), name
    with pytest.raises(InputError, match="freeze_layers must be at most"):
        quick(faces, tmp_path / "all", replace(settings, freeze_layers=99), init=run[1])
    with pytest.raises(InputError, match="freeze_layers must be at least 0"):
        replace(settings, freeze_layers=-1)


def test_teachers_pull_the_student(run, faces, tmp_path):
    settings = replace(TINY, epochs=1, teacher_weight=1.0)
    quick(faces, tmp_path / "taught", settings, teachers=[run[1]])
    quick(faces, tmp_path / "alone", settings)
    assert rows_of(tmp_path / "taught")[0]["train_loss"] != rows_of(tmp_path / "alone")[0]["train_loss"]
    with pytest.raises(InputError, match="other heads"):
        quick([without_votes(d) for d in faces], tmp_path / "wrong", teachers=[run[1]])
    assert not (tmp_path / "wrong").exists()


def test_shipped_models_teach_by_their_names(faces, tmp_path):
    settings = replace(TINY, epochs=1, teacher_weight=1.0, teacher_views="plain")
    losses = {}
    for names in (["mien-s"], ["mien-b"], ["mien-b", "mien-s"]):
        quick(faces, tmp_path / "-".join(names), settings, teachers=names)
        losses["-".join(names)] = rows_of(tmp_path / "-".join(names))[0]["train_loss"]
    assert len(set(losses.values())) == 3, losses
    with pytest.raises(InputError, match="mien-x is not a checkpoint"):
        quick(faces, tmp_path / "none", settings, teachers=["mien-x"])


def test_teachers_answer_for_crops_without_labels(run, faces, tmp_path):
    settings = replace(TINY, epochs=1, teacher_weight=0.6)
    more = drawn_faces(48, seed=5)
    quick(faces, tmp_path / "more", settings, teachers=[run[1]], unlabelled=more)
    quick(faces, tmp_path / "alone", settings, teachers=[run[1]])
    record = json.loads((tmp_path / "more" / "run.json").read_text())
    assert record["data"]["unlabelled"]["crops"] == 48
    assert "unlabelled" not in json.loads((tmp_path / "alone" / "run.json").read_text())["data"]
    steps = [torch.load(tmp_path / n / "last.ckpt", weights_only=True)["global_step"] for n in ("more", "alone")]
    assert steps == [(240 + 48) // 12, 240 // 12]
    turned = replace(more, label=np.roll(more.label, 1), votes=None)  # what they are labelled does not count
    quick(faces, tmp_path / "turned", settings, teachers=[run[1]], unlabelled=turned)
    assert rows_of(tmp_path / "turned") == rows_of(tmp_path / "more")
    with pytest.raises(InputError, match="other data"):
        quick(faces, tmp_path / "more", settings, teachers=[run[1]], resume=True)
    with pytest.raises(InputError, match="learned from teachers"):
        quick(faces, tmp_path / "none", settings, unlabelled=more)


def test_a_crop_without_a_target_counts_for_the_teachers_share(faces):
    batches = training_batches(faces[0], TINY, faces[1])
    assert [len(t) for t in batches.tensors] == [330, 330, 330]
    assert all(not target[240:].any() and target[:240].any(dim=1).all() for target in batches.tensors[1:])
    taught = torch.full((330, 7), 1 / 7)
    mixed = blend(batches.tensors[1:2], (taught,), 0.6)[0].sum(dim=1)
    torch.testing.assert_close(mixed[:240], torch.ones(240))
    torch.testing.assert_close(mixed[240:], torch.full((90,), 0.6))


def test_logit_adjustment_trains_for_even_classes(faces, tmp_path):
    soft = np.array([[1, 0, 0], [1, 0, 0], [0.5, 0.5, 0], [0, 0, 0]], np.float32)
    np.testing.assert_allclose(log_prior(soft), [np.log(2.5 / 3), np.log(0.5 / 3), 0], rtol=1e-6)
    module = ExpressionModule(TINY, (FER7,), steps_per_epoch=1, shifts=[torch.arange(7.0)])
    z, target = torch.randn(4, 7), torch.eye(7)[:4]
    torch.testing.assert_close(module._losses([z], [target]), soft_cross_entropy(z + torch.arange(7.0), target))
    plain = ExpressionModule(TINY, (FER7,), steps_per_epoch=1)
    torch.testing.assert_close(plain._losses([z], [target]), soft_cross_entropy(z, target))
    few = faces[0].where((faces[0].label != FER7.index("sad")) | (np.arange(240) < 30))
    answers = {}
    for name, strength in (("plain", 0.0), ("even", 2.0)):
        settings = replace(PLAIN, epochs=2, logit_adjustment=strength, targets="labels")
        best = quick((few, faces[1]), tmp_path / name, settings)
        net = load_net(best)
        views = central_views(torch.from_numpy(faces[1].crops), net.view_px)
        answers[name] = int((net(net.normalise(views))[0].argmax(dim=1) == FER7.index("sad")).sum())
    assert answers["even"] > answers["plain"]


def test_teachers_that_see_plain_crops_answer_once(run, faces, tmp_path):
    teachers = [load_net(run[1]), tiny_net(TWO_HEADS).eval()]
    crops = torch.from_numpy(faces[0].crops[:7])
    answers = plain_answers(teachers, crops)
    for number, labels in enumerate(TWO_HEADS):
        seen = []
        for teacher in teachers:
            for shown in (crops, torch.from_numpy(faces[0].crops[:7, :, ::-1].copy())):
                views = central_views(shown, teacher.view_px)
                with torch.no_grad():
                    seen.append(torch.softmax(teacher(teacher.normalise(views))[number], dim=1))
        torch.testing.assert_close(answers[number], sum(seen) / 4)
        assert answers[number].shape == (7, len(labels))
    for half, whole in zip(plain_answers(teachers, crops, precision="bf16-mixed"), answers, strict=True):
        assert half.dtype == torch.float32 and 0 < (half - whole).abs().max() < 0.02
    own = tuple(torch.eye(len(labels))[:7] for labels in TWO_HEADS)
    for mixed, mine, taught in zip(blend(own, answers, 0.25), own, answers, strict=True):
        torch.testing.assert_close(mixed, 0.75 * mine + 0.25 * taught)
        torch.testing.assert_close(mixed.sum(dim=1), torch.ones(7))


@pytest.mark.parametrize("views", ["plain", "same"])
def test_a_teacher_given_twice_answers_once_and_counts_twice(run, faces, tmp_path, monkeypatch, views):
    other = tmp_path / "other.ckpt"
    quick(faces, tmp_path / "other", replace(TINY, epochs=1, seed=9)).replace(other)
    read, answered = run_module.load_net, []

    def noted(path):
        net = read(path)
        net.register_forward_hook(lambda *_: answered.append(path))
        return net

    monkeypatch.setattr(run_module, "load_net", noted)
    settings = replace(TINY, epochs=1, teacher_weight=1, teacher_views=views)
    counts, losses = [], []
    for name, teachers in (("one", [run[1], other]), ("twice", [run[1], run[1], other])):
        answered.clear()
        quick(faces, tmp_path / name, settings, teachers=teachers)
        counts.append((answered.count(run[1]), answered.count(other)))
        losses.append(rows_of(tmp_path / name)[0]["train_loss"])
    assert counts[0] == counts[1] and counts[0][0] == counts[0][1] > 0
    assert losses[0] != losses[1]


def test_plain_teaching_is_training_on_blended_targets(run, faces, tmp_path, monkeypatch):
    settings = replace(TINY, epochs=1, teacher_weight=0.5, teacher_views="plain")
    given = []

    class Noted(run_module.CropBatches):
        def __init__(self, *tensors):
            super().__init__(*tensors)
            given.append(tensors)

    monkeypatch.setattr(run_module, "CropBatches", Noted)
    quick(faces, tmp_path / "plain", settings, teachers=[run[1]])
    ((crops, *targets),) = given
    teacher = load_net(run[1])
    own = [torch.from_numpy(head.soft) for head in head_targets(faces[0], settings)]
    assert torch.equal(crops, torch.from_numpy(faces[0].crops))
    answers = plain_answers([teacher], crops, precision=precision_of(ONE_THREAD))
    for found, mine, taught in zip(targets, own, answers, strict=True):
        torch.testing.assert_close(found, (mine + taught) / 2)
    quick(faces, tmp_path / "same", replace(settings, teacher_views="same"), teachers=[run[1]])
    assert len(given) == 1
    assert rows_of(tmp_path / "plain") != rows_of(tmp_path / "same")
    with pytest.raises(InputError, match="teacher_views"):
        replace(settings, teacher_views="none")


def test_a_pool_of_views_is_answered_once_and_trains_as_if_always_asked(run, faces, tmp_path, monkeypatch):
    settings, steps = replace(RANDOM, epochs=5, view_pool=2), len(faces[0]) // RANDOM.batch_size
    answer, remember, asked = ExpressionModule._taught, ExpressionModule._with_teachers, {}

    def noted(module, views):
        asked.setdefault(module.current_epoch, []).append(views.sum().item())
        return answer(module, views)

    def forgetful(module, views, targets):
        module._answers.clear()
        return remember(module, views, targets)

    monkeypatch.setattr(ExpressionModule, "_taught", noted)
    quick(faces, tmp_path / "pool", settings, teachers=[run[1]])
    assert {epoch: len(views) for epoch, views in asked.items()} == {0: steps, 1: steps}
    with pytest.raises(KeyboardInterrupt):
        press = Do(2 * steps + 7, lambda: os.kill(os.getpid(), signal.SIGINT))
        quick(faces, tmp_path / "cut", settings, teachers=[run[1]], callbacks=[press])
    quick(faces, tmp_path / "cut", settings, teachers=[run[1]], resume=True)
    assert_same_run(tmp_path / "pool", tmp_path / "cut")
    asked.clear()
    monkeypatch.setattr(ExpressionModule, "_with_teachers", forgetful)
    quick(faces, tmp_path / "forgetful", settings, teachers=[run[1]])
    assert_same_run(tmp_path / "pool", tmp_path / "forgetful")
    assert asked[0] == asked[2] == asked[4]
    assert asked[1] == asked[3] != asked[0]


def test_the_pool_of_views_is_checked():
    with pytest.raises(InputError, match="view_pool must be at least 0"):
        replace(TINY, view_pool=-1)


def test_prepare_sees_the_fresh_net(faces, tmp_path):
    seen = []
    quick(faces, tmp_path, replace(TINY, epochs=1), prepare=lambda net: seen.append(count_parameters(net)))
    assert seen == [count_parameters(tiny_net(TWO_HEADS))]


def test_progress_counts_steps(faces, tmp_path):
    seen = []
    quick(faces, tmp_path, replace(TINY, epochs=2), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 40) for i in range(1, 41)]


@pytest.mark.parametrize(("name", "kind"), [("sgd", "SGD"), ("adam", "Adam"), ("adamw", "AdamW")])
def test_optimizers(name, kind):
    module = ExpressionModule(replace(TINY, optimizer=name), TWO_HEADS, steps_per_epoch=4)
    optimizer = module.configure_optimizers()["optimizer"]
    assert type(optimizer).__name__ == kind
    decayed, plain = optimizer.param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (TINY.weight_decay, 0.0)
    assert all(p.ndim > 1 for p in decayed["params"])
    assert len(decayed["params"]) + len(plain["params"]) == len(list(module.net.parameters()))


def test_soft_cross_entropy():
    z = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    truth = torch.arange(7) % 5
    hot = torch.nn.functional.one_hot(truth, 5).float()
    weights = torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0])
    plain = torch.nn.functional.cross_entropy(z, truth, reduction="none")
    torch.testing.assert_close(soft_cross_entropy(z, hot), plain)
    torch.testing.assert_close(soft_cross_entropy(z, hot, weights=weights), plain * weights[truth])
    p = z.softmax(1)[torch.arange(7), truth]
    torch.testing.assert_close(soft_cross_entropy(z, hot, focal_gamma=2.0), plain * (1 - p) ** 2)
    assert soft_cross_entropy(z, torch.zeros_like(hot)).abs().sum() == 0


def test_class_weights():
    soft = np.eye(3, dtype=np.float32)[[0] * 6 + [1] * 2]
    np.testing.assert_allclose(class_weights(soft, "none"), [1, 1, 1])
    np.testing.assert_allclose(class_weights(soft, "balanced"), [8 / 12, 2, 1], rtol=1e-6)
    root = class_weights(soft, "sqrt")
    assert root[1] / root[0] == pytest.approx(3**0.5)
    assert (soft @ root).mean() == pytest.approx(1)


def test_batches_of_processes_make_up_the_whole(monkeypatch):
    def dealt(sampler, processes):
        parts = []
        for rank in range(processes):
            monkeypatch.setattr("mien.train.targets.process_place", lambda rank=rank: (rank, processes))
            parts.append(list(sampler))
        return [sorted(chain(*batches)) for batches in zip(*parts, strict=True)]

    sampler = EpochBatches(50, batch_size=12, seed=3)
    whole = dealt(sampler, 1)
    assert [len(batch) for batch in whole] == [12] * 4 == [12] * len(sampler)
    assert len(set(chain(*whole))) == 48
    assert dealt(sampler, 3) == whole
    sampler.set_epoch(1)
    assert dealt(sampler, 1) != whole
    sampler.set_epoch(0)
    sampler.skip(3)
    assert dealt(sampler, 1) == whole[3:]
    assert dealt(sampler, 1) == whole
    ordered = OrderedBatches(50, batch_size=16)
    assert dealt(ordered, 4) == dealt(ordered, 1) == [list(range(i, min(i + 16, 50))) for i in range(0, 50, 16)]


SCRIPT = """
    import os
    import sys
    from dataclasses import replace
    from pathlib import Path
    sys.path[:0] = sys.argv[1].split(os.pathsep)
    from drawn_faces import plain_net, tiny_net, training_and_held_out
    from test_training_run import PLAIN, RANDOM
    from mien.train.hardware import Hardware
    from mien.train.run import RunSettings, fit
    from mien.train.nets.registry import NETS
    NETS |= {"tiny": tiny_net, "plain": plain_net}
    settings = {"random": RANDOM, "plain": PLAIN}[sys.argv[3]]
    hardware = Hardware(accelerator="cpu", threads=1, devices=int(sys.argv[4]), nodes=int(sys.argv[5]),
        precision="32-true")
    run = RunSettings(curves=False, tensorboard=False)
    fit(*training_and_held_out(), out=Path(sys.argv[2]), settings=settings, hardware=hardware, run=run,
        report=lambda m: print(m.epoch, flush=True))
"""


TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node")


def start_script(tmp_path, out, settings, devices, *, nodes=1, launcher=()):
    script = tmp_path / "train_script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, *launcher, str(script), TESTS, str(out), settings, str(devices), str(nodes)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_kill_9_loses_at_most_the_running_epoch(faces, tmp_path):
    hardware = replace(ONE_THREAD, precision="32-true")
    quick(faces, tmp_path / "whole", RANDOM, hardware=hardware)
    with start_script(tmp_path, tmp_path / "cut", "random", 1) as process:
        assert [process.stdout.readline().strip() for _ in range(2)] == ["1", "2"]
        process.kill()
    assert weights_of(tmp_path / "cut")["global_step"] >= 40
    quick(faces, tmp_path / "cut", RANDOM, resume=True, hardware=hardware)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["by itself", "torchrun", "torchrun on two nodes"])
def test_two_processes_give_the_metrics_of_one(faces, tmp_path, how):
    quick(faces, tmp_path / "one", PLAIN, hardware=replace(ONE_THREAD, precision="32-true"))
    assert two_processes(tmp_path, how) == ["1", "2", "3"]
    one, two = rows_of(tmp_path / "one"), rows_of(tmp_path / "two")
    assert len(one) == len(two) == 3
    assert one[0]["train_loss"] > one[-1]["train_loss"]
    for row, other in zip(one, two, strict=True):
        assert other == pytest.approx(row, rel=1e-4, abs=0.012)  # rounding may tip one crop of 90 over
    a, b = weights_of(tmp_path / "one")["state_dict"], weights_of(tmp_path / "two")["state_dict"]
    for key, value in a.items():
        torch.testing.assert_close(b[key], value, atol=1e-5, rtol=1e-4)


def two_processes(tmp_path, how):
    """Train with two processes, two nodes being two launchers on this machine; return what was reported."""
    start = partial(start_script, tmp_path, tmp_path / "two", "plain")
    if how == "by itself":
        started = [start(2)]
    elif how == "torchrun":
        started = [start(2, launcher=(*TORCHRUN, "2", "--standalone"))]
    else:
        meet = ("--nnodes", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{free_port()}")
        started = [start(1, nodes=2, launcher=(*TORCHRUN, "1", *meet)) for _ in range(2)]
    said = [process.communicate(timeout=250)[0].split() for process in started]
    assert [process.returncode for process in started] == [0] * len(started)
    return list(chain.from_iterable(said))


def test_drawn_faces_are_a_fair_task(faces):
    training, held_out = faces
    assert isinstance(training, CropDataset)
    assert (training.usage == TRAINING).all()
    assert not (training.crops[:90] == held_out.crops).all(axis=(1, 2)).any()
