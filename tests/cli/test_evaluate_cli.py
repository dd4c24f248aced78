"""`mien evaluate` and `mien compare` on small files that the tests write."""

import csv
import hashlib
import json
import sys

import numpy as np
import pytest

from helpers import public_test
from mien.datasets import PUBLIC_TEST, CropDataset, read_dataset, write_dataset
from mien.labels import FER7
from mien.train.classical.baselines import load_baseline


@pytest.fixture(scope="module")
def fer2013(tmp_path_factory):
    """Forty crops of smoothed noise: ten in Training, of which three occur in PublicTest again."""
    rng = np.random.default_rng(3)
    crops = np.repeat(np.repeat(rng.integers(0, 256, (40, 12, 12), dtype=np.uint8), 4, axis=1), 4, axis=2)
    crops[10:13] = crops[:3]
    usage = np.array(["Training"] * 10 + ["PublicTest"] * 30)
    path = tmp_path_factory.mktemp("data") / "fer2013.csv"
    write_dataset(CropDataset(crops, (np.arange(40) % 7).astype(np.int8), usage), path)
    return path


def test_json_has_every_figure_and_the_duplicates_apart(mien, fer2013):
    code, out, _ = mien("evaluate", "mien-b", fer2013, "--json")
    assert code == 0
    report = json.loads(out)
    found = json.dumps(report)
    assert report["overall"]["n"] == 30
    assert report["unseen"]["n"] == 27
    assert report["n_duplicates"] == 3
    for word in (
        "macro_f1",
        "ece",
        "log_loss",
        "top2_accuracy",
        "confusion",
        "sha256" if "sha256" in found else "SHA-256",
    ):
        assert word in found


def test_report_folder(mien, fer2013, tmp_path):
    pytest.importorskip("matplotlib")
    code, out, err = mien("evaluate", "mien-b", fer2013, "-o", tmp_path / "report", "--uncertain-below", "0.5")
    assert code == 0
    assert sorted(p.name for p in (tmp_path / "report").iterdir()) == ["report.html", "report.json", "report.md"]
    assert err.count("wrote") == 3
    assert "answers at 50% or more" in out
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "mien-b" in page
    assert "http" not in page.replace("http://www.w3.org", "")


@pytest.mark.parametrize("sets", [1, 2])
def test_a_folder_that_cannot_be_is_refused_before_anything_is_measured(mien, fer2013, tmp_path, monkeypatch, sets):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for folder, message in (("-", "leave it out and give --json"), ("file", "it is a file; give a folder")):
        code, out, err = mien("evaluate", "mien-b", *[fer2013] * sets, "-o", folder)
        assert (code, out) == (2, "") and message in err.replace("\n", " ")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_figures_come_first_and_a_missing_extra_costs_the_page_alone(mien, fer2013, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, err = mien("evaluate", "mien-b", fer2013, "-o", tmp_path / "report")
    assert code == 0
    assert sorted(p.name for p in (tmp_path / "report").iterdir()) == ["report.json", "report.md"]
    assert "expected calibration error" in out
    assert "only report.json and report.md" in err and "pip install 'mien[plots]'" in err
    assert err.index("pip install") < err.index("wrote")


def test_a_class_without_images_has_no_recall(mien, tmp_path):
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (8, 48, 48), dtype=np.uint8)
    data = CropDataset(crops, np.full(8, FER7.index("happy"), np.int8), np.array(["Training"] * 2 + ["PublicTest"] * 6))
    (path,) = write_dataset(data, tmp_path / "x.csv")
    code, out, _ = mien("evaluate", "mien-b", path)
    assert code == 0
    (disgust,) = [line for line in out.splitlines() if "disgust" in line]
    assert "–" in disgust and disgust.count("0.000") < 3
    assert "without copies" not in out  # none of them is a copy
    _, out, _ = mien("evaluate", "mien-b", path, "--json")
    recalls = {c["name"]: c["recall"] for c in json.loads(out)["classes"]}
    assert recalls["disgust"] is None and recalls["happy"] is not None


def test_slices_give_a_figure_per_group(mien, fer2013, tmp_path):
    (tmp_path / "age.csv").write_text("age\n" + "young\nold\n" * 15)
    _, out, _ = mien("evaluate", "mien-b", fer2013, "--slices", tmp_path / "age.csv", "--json")
    groups = json.loads(out)["groups"]
    assert {(g["group"], g["figures"]["n"]) for g in groups} == {("young", 15), ("old", 15)}
    (tmp_path / "short.csv").write_text("age\nyoung\n")
    code, _, err = mien("evaluate", "mien-b", fer2013, "--slices", tmp_path / "short.csv")
    assert code == 2
    assert "has 1 rows, but the split has 30 images" in err


def test_unlabelled_images_give_a_submission(mien, tmp_path):
    rows = "\n".join('"' + " ".join(["128"] * 2304) + '"' for _ in range(4))
    (tmp_path / "test.csv").write_text(f"pixels\n{rows}\n")
    code, _, err = mien("evaluate", "mien-b", tmp_path / "test.csv")
    assert code == 2
    assert "--predictions" in err
    code, _, _ = mien("evaluate", "mien-b", tmp_path / "test.csv", "--predictions", tmp_path / "answers.csv")
    answers = list(csv.DictReader((tmp_path / "answers.csv").read_text().splitlines()))
    assert code == 0
    assert len(answers) == 4
    assert all(FER7.names[int(a["emotion"])] == a["expression"] for a in answers)
    assert all(sum(float(a[name]) for name in FER7.names) == pytest.approx(1, abs=1e-3) for a in answers)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tta", "twenty"), "unknown test-time augmentation 'twenty'; known: flip, ten-crop"),
        (("--split", "PrivateTest"), "PrivateTest"),
        (("--labels", "seven"), "unknown label set 'seven'; known: fer2013"),
    ],
)
def test_wrong_use_names_the_fix(mien, fer2013, arguments, message):
    code, _, err = mien("evaluate", "mien-b", fer2013, *arguments)
    assert code == 2
    assert message in err.replace("\n", " ")


def test_compare_two_models(mien, fer2013, tmp_path):
    other = tmp_path / "copy.onnx"
    from mien.models.catalogue import model_path

    other.write_bytes(model_path("mien-b").read_bytes())
    code, out, _ = mien("compare", "mien-b", other, fer2013, "-o", tmp_path / "pairs.json")
    assert code == 0
    (pair,) = json.loads((tmp_path / "pairs.json").read_text())["pairs"]
    assert (pair["n"], pair["only_a"], pair["only_b"], pair["p_value"]) == (30, 0, 0, 1.0)
    assert "+0.00" in out
    code, _, err = mien("compare", "mien-b", fer2013)
    assert code == 2
    assert "at least two models" in err
    code, _, err = mien("compare", "mien-b", "mien-b", fer2013)
    assert code == 2
    assert "named twice" in err


@pytest.fixture(scope="module")
def classical(fer2013, tmp_path_factory):
    """Two classical models that learned the ten Training crops by heart."""
    pytest.importorskip("sklearn")
    from mien.train.classical.baselines import BaselineSettings, fit_baseline

    training = read_dataset(fer2013).data.split("Training")
    paths = {name: tmp_path_factory.mktemp("models") / f"{name}-pixels.npz" for name in ("knn", "logistic")}
    for name, path in paths.items():
        fit_baseline(training, BaselineSettings(name, neighbours=1)).save(path)
    return paths


@pytest.mark.parametrize("name", ["knn", "logistic"])
def test_evaluate_opens_a_classical_model(mien, fer2013, classical, tmp_path, name):
    path, answers = classical[name], tmp_path / "answers.csv"
    code, out, _ = mien("evaluate", path, fer2013, "--json", "--predictions", answers)
    assert code == 0
    report = json.loads(out)
    model, images = load_baseline(path), read_dataset(fer2013).data.split(PUBLIC_TEST)
    probs = model.predict_proba(images.crops)
    right = (probs.argmax(axis=1) == images.label).mean()
    assert report["overall"]["n"] == 30
    assert report["overall"]["accuracy"]["value"] == pytest.approx(right, abs=1e-6)
    assert report["facts"]["model"] == f"{name}-pixels"
    assert report["facts"]["SHA-256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    rows = list(csv.DictReader(answers.read_text().splitlines()))
    written = [[float(row[expression]) for expression in FER7.names] for row in rows]
    np.testing.assert_allclose(written, probs, rtol=0, atol=6e-5)
    _, out, _ = mien("evaluate", path, fer2013, "--json", "--split", "Training")
    assert json.loads(out)["overall"]["accuracy"]["value"] == 1


def test_compare_a_classical_model_with_a_network(mien, fer2013, classical, tmp_path):
    """Ten crops known by heart against a network that noise tells nothing."""
    models = (classical["knn"], classical["logistic"], "mien-b")
    code, out, _ = mien("compare", *models, fer2013, "--split", "Training", "-o", tmp_path / "pairs.json")
    assert code == 0
    assert "knn-pixels" in out
    pairs = json.loads((tmp_path / "pairs.json").read_text())["pairs"]
    known, *others = sorted(pairs, key=lambda pair: pair["only_a"])
    assert (known["only_a"], known["only_b"], known["p_value"]) == (0, 0, 1.0)
    assert [(pair["n"], pair["only_b"]) for pair in others] == [(10, 0)] * 2
    assert others[0]["only_a"] == others[1]["only_a"] >= 5


def test_an_npz_that_is_no_model_is_refused(mien, fer2013, tmp_path):
    write_dataset(read_dataset(fer2013).data, tmp_path / "data.npz")
    for name in ("data.npz", "absent.npz"):
        code, _, err = mien("evaluate", tmp_path / name, fer2013)
        assert code == 2
        assert f"{name} is not a model that `mien train-baseline` wrote" in err


def test_flipping_at_test_time_does_not_hurt(mien, shared, tmp_path):
    data = public_test(shared)
    write_dataset(data, tmp_path / "public.npz")
    accuracy = {}
    for tta in ((), ("--tta", "flip")):
        _, out, _ = mien("evaluate", "mien-s", tmp_path / "public.npz", "--json", "--labels", "fer2013", *tta)
        overall = json.loads(out)["overall"]
        assert overall["n"] == 3589
        accuracy[tta] = overall["accuracy"]["value"]
    assert accuracy[()] >= 0.695
    assert accuracy["--tta", "flip"] >= accuracy[()] - 0.005
