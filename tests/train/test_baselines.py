"""Classical models: what they learn, what scikit-learn would answer, and files without a pickle in them."""

import json
import pickle
from dataclasses import replace

import cv2
import numpy as np
import pytest

from helpers import public_test
from mien.datasets import PUBLIC_TEST, TRAINING, CropDataset, write_dataset
from mien.errors import InputError, ModelError, OutputError
from mien.evaluate import evaluate
from mien.labels import FER7, FIVE, LabelSet
from mien.train.classical.baselines import (
    BASELINES,
    FEATURES,
    BaselineSettings,
    FeatureScaling,
    fit_baseline,
    in_labels,
    load_baseline,
    pixels,
)
from mien.train.classical.distances import DISTANCE_NAMES, crop_distances, crop_landmarks, landmark_distances

THREE = LabelSet("three", ("angry", "happy", "sad"))


def striped(count, *, seed, classes=3, labels=THREE):
    """Crops whose class shows as the place of a bright band under noise."""
    rng = np.random.default_rng(seed)
    label = np.arange(count) % classes
    crops = rng.integers(0, 60, (count, 48, 48))
    for crop, number in zip(crops, label, strict=True):
        crop[14 * number : 14 * number + 14] += rng.integers(60, 160)
    return CropDataset(crops.astype(np.uint8), label.astype(np.int8), np.full(count, TRAINING), labels)


@pytest.fixture(scope="module")
def training():
    return striped(90, seed=0)


@pytest.fixture(scope="module")
def fresh():
    return striped(30, seed=1)


@pytest.fixture(scope="module", params=BASELINES)
def fitted(request, training):
    return fit_baseline(training, BaselineSettings(request.param, epochs=40))


def test_a_model_learns_what_can_be_learned(fitted, fresh):
    probs = fitted.predict_proba(fresh.crops)
    assert probs.shape == (30, 3)
    assert probs.dtype == np.float32
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    assert (probs.argmax(axis=1) == fresh.label).mean() > 0.9


def test_a_model_can_be_evaluated(fitted, fresh):
    report = evaluate(fitted.predict_proba, fresh, fitted.labels)
    assert report.overall.n == 30
    assert report.overall.accuracy.value > 0.9


def test_a_batch_gives_what_single_crops_give_and_none_gives_none(fitted, fresh):
    together = fitted.predict_proba(fresh.crops[:5])
    alone = np.concatenate([fitted.predict_proba(crop[None]) for crop in fresh.crops[:5]])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert fitted.predict_proba(fresh.crops[:0]).shape == (0, 3)


def test_a_file_gives_the_model_back(fitted, fresh, tmp_path):
    path = tmp_path / "model.npz"
    fitted.save(path)
    again = load_baseline(path)
    assert (again.settings, again.labels) == (fitted.settings, fitted.labels)
    np.testing.assert_array_equal(again.predict_proba(fresh.crops), fitted.predict_proba(fresh.crops))
    assert [p.name for p in tmp_path.iterdir()] == ["model.npz"]
    with np.load(path, allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)


@pytest.mark.parametrize("name", ["svm", "mlp"])
def test_the_seed_decides(name, training, fresh):
    training = replace(training, label=np.random.default_rng(0).permutation(training.label))  # nothing to agree on
    settings = BaselineSettings(name, epochs=3, seed=4)
    first, second = (fit_baseline(training, settings).predict_proba(fresh.crops) for _ in range(2))
    other = fit_baseline(training, replace(settings, seed=5)).predict_proba(fresh.crops)
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 1e-6


def scaled(data):
    x = pixels(data.crops)
    return FeatureScaling.of(x)(x), data.label.astype(int)


def test_neighbours_vote_as_in_scikit_learn(training, fresh):
    from sklearn.neighbors import KNeighborsClassifier

    x, y = scaled(training)
    theirs = (
        KNeighborsClassifier(5).fit(x, y).predict_proba(FeatureScaling.of(pixels(training.crops))(pixels(fresh.crops)))
    )
    ours = fit_baseline(training, BaselineSettings("knn", neighbours=5)).predict_proba(fresh.crops)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_regression_answers_as_scikit_learn_does(classes):
    from sklearn.linear_model import LogisticRegression

    data = striped(60, seed=3, classes=classes, labels=LabelSet("some", THREE.names[:classes]))
    x, y = scaled(data)
    theirs = LogisticRegression(C=0.01, max_iter=1000, tol=1e-3).fit(x, y).predict_proba(x)
    ours = fit_baseline(data, BaselineSettings("logistic", strength=0.01)).predict_proba(data.crops)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("name", BASELINES)
def test_a_class_without_crops_is_never_answered(name):
    data = striped(60, seed=3, classes=2)
    probs = fit_baseline(data, BaselineSettings(name, epochs=10)).predict_proba(data.crops)
    assert probs.shape == (60, 3)
    assert probs[:, 2].max() < 1e-3


def test_the_svm_is_calibrated_on_crops_it_has_not_seen():
    rng = np.random.default_rng(0)
    noise = CropDataset(
        rng.integers(0, 256, (300, 48, 48)).astype(np.uint8), rng.integers(0, 3, 300).astype(np.int8),
        np.full(300, TRAINING), THREE,
    )  # fmt: skip
    probs = fit_baseline(noise, BaselineSettings("svm")).predict_proba(rng.integers(0, 256, (100, 48, 48), np.uint8))
    assert probs.max() < 0.6  # nothing can be learned, and it says so although it separates its own crops


def test_crops_without_a_label_are_left_out(training, fresh):
    some = replace(training, label=np.where(np.arange(90) < 60, training.label, -1).astype(np.int8))
    by_mask = fit_baseline(some, BaselineSettings("knn")).predict_proba(fresh.crops)
    by_hand = fit_baseline(training.where(np.arange(90) < 60), BaselineSettings("knn")).predict_proba(fresh.crops)
    np.testing.assert_array_equal(by_mask, by_hand)


def test_features_that_are_known_are_not_computed_again(training, fresh):
    by_rows = fit_baseline(training, BaselineSettings("logistic"), rows=pixels(training.crops))
    by_crops = fit_baseline(training, BaselineSettings("logistic"))
    expected = by_crops.predict_proba(fresh.crops)
    np.testing.assert_array_equal(by_rows.predict_proba_of(pixels(fresh.crops)), expected)
    with pytest.raises(InputError, match="features of the 90 crops, got 3"):
        fit_baseline(training, rows=pixels(training.crops[:3]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "forest"}, "unknown model 'forest'; known: knn, logistic, svm, mlp"),
        ({"features": "hog"}, "unknown features 'hog'; known: pixels, distances"),
        ({"neighbours": 0}, "at least 1, got 0 and 30"),
        ({"lr": 0.0}, "must be above 0"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        BaselineSettings(**settings)


def test_wrong_data_are_named(training, fitted):
    with pytest.raises(InputError, match="at least two classes"):
        fit_baseline(training.where(training.label == 0))
    for name in ("svm", "mlp"):
        with pytest.raises(InputError, match="too few"):
            fit_baseline(training.where(np.arange(90) < 3), BaselineSettings(name))
    with pytest.raises(InputError, match=r"crops must be \(N, 48, 48\) uint8, got \(1, 44, 44\)"):
        fitted.predict_proba(np.zeros((1, 44, 44), np.uint8))
    with pytest.raises(InputError, match="no crop has a label of 'faces'"):
        in_labels(training, LabelSet("faces", ("contempt",)))


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


@pytest.mark.parametrize("kind", ["pickle", "object array", "another archive", "nothing"])
def test_foreign_files_are_refused_and_not_executed(kind, tmp_path):
    path = tmp_path / "model.npz"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    elif kind == "object array":
        np.savez(path, about=np.array([Bomb()], dtype=object))
    elif kind == "another archive":
        np.savez(path, about=np.array(json.dumps({"format": "other"})))
    with pytest.raises(ModelError, match=r"model\.npz is not a model that `mien train-baseline` wrote"):
        load_baseline(path)


def test_a_place_that_cannot_be_written_is_named(training, tmp_path):
    model = fit_baseline(training, BaselineSettings("logistic"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="part of the path is a file"):
        model.save(tmp_path / "file" / "model.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_in_labels_maps_by_name():
    data = CropDataset(np.zeros((4, 48, 48), np.uint8), np.array([0, 1, 6, 3], np.int8), np.full(4, TRAINING), FER7)
    five = in_labels(data, FIVE)
    assert [FIVE.names[number] for number in five.label] == ["angry", "neutral", "happy"]
    assert five.labels == FIVE


def ellipse(centre, width, height, count):
    """Points on an ellipse from its left end, clockwise as the viewer sees it."""
    angle = np.pi - 2 * np.pi * np.arange(count) / count
    return np.column_stack([centre[0] + width / 2 * np.cos(angle), centre[1] - height / 2 * np.sin(angle)])


@pytest.fixture
def face():
    """(1, 68, 2): a drawn face whose eyes are 40 px apart, a quarter as high as wide, its mouth half as high."""
    jaw = np.column_stack([np.linspace(0, 100, 17), 60 + 40 * np.sin(np.linspace(0, np.pi, 17))])
    brows = np.column_stack([np.linspace(15, 85, 10), np.full(10, 20)])
    nose = np.column_stack([np.full(9, 50), np.linspace(30, 60, 9)])
    eyes = [ellipse((30, 35), 16, 4, 6), ellipse((70, 35), 16, 4, 6)]
    lips = [ellipse((50, 80), 40, 20, 12), ellipse((50, 80), 30, 10, 8)]
    return np.concatenate([jaw, brows, nose, *eyes, *lips])[None].astype(np.float32)


def feature(values, name):
    return float(values[0, DISTANCE_NAMES.index(name)])


def test_distances_are_named_and_measured_in_eye_distances(face):
    values = landmark_distances(face)
    assert values.shape == (1, len(DISTANCE_NAMES)) == (1, 68 * 67 // 2 + 4)
    assert len(set(DISTANCE_NAMES)) == len(DISTANCE_NAMES)
    assert feature(values, "distance_36_39") == pytest.approx(16 / 40, abs=1e-5)
    assert feature(values, "distance_48_54") == pytest.approx(1.0, abs=1e-5)
    assert feature(values, "distance_0_16") == pytest.approx(2.5, abs=1e-5)


def test_openness_is_height_over_width(face):
    values = landmark_distances(face)
    lid = np.sin(np.pi / 3) * 4 / 16  # lids at a third of the way round
    assert feature(values, "left_eye_openness") == pytest.approx(lid, abs=1e-5)
    assert feature(values, "right_eye_openness") == pytest.approx(lid, abs=1e-5)
    lips = (1 + 2 * np.sin(np.pi / 3)) / 3 * 20 / 40
    assert feature(values, "mouth_openness") == pytest.approx(lips, abs=1e-5)
    shut = face.copy()
    shut[:, 36:42, 1] = 35
    assert feature(landmark_distances(shut), "left_eye_openness") == 0
    assert feature(landmark_distances(shut), "mouth_openness") == pytest.approx(lips, abs=1e-5)


def test_distances_do_not_change_when_the_face_moves_turns_or_grows(face):
    angle = np.radians(25)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)
    moved = 1.7 * face @ turn + np.float32(9)
    np.testing.assert_allclose(landmark_distances(moved), landmark_distances(face), atol=1e-4)


def test_landmarks_in_one_point_give_numbers_and_wrong_shapes_a_message():
    assert (landmark_distances(np.ones((2, 68, 2), np.float32)) == 0).all()
    assert landmark_distances(np.ones((0, 68, 2), np.float32)).shape == (0, len(DISTANCE_NAMES))
    with pytest.raises(InputError, match=r"must be \(N, 68, 2\), got \(5, 2\)"):
        landmark_distances(np.ones((5, 2), np.float32))


@pytest.fixture
def crop(astronaut):
    """(48, 48) uint8: the astronaut's face, framed like FER2013."""
    pytest.importorskip("dlib")
    gray = cv2.cvtColor(astronaut[62:186, 166:282], cv2.COLOR_RGB2GRAY)
    return cv2.resize(gray, (48, 48), interpolation=cv2.INTER_AREA)


def test_landmarks_of_a_real_face_are_where_it_has_them(crop):
    points = crop_landmarks(crop[None])[0]
    left, right, nose, mouth = points[36:42].mean(0), points[42:48].mean(0), points[30], points[48:68].mean(0)
    assert left[0] < nose[0] < right[0]
    assert max(left[1], right[1]) < nose[1] < mouth[1]
    assert 12 < right[0] - left[0] < 24
    mirrored = crop_landmarks(crop[None, :, ::-1])[0]
    assert abs((47 - mirrored[42:48].mean(0)[0]) - left[0]) < 1.5


def test_a_smile_with_teeth_is_an_open_mouth(crop):
    assert feature(crop_distances(crop[None]), "lips_openness") > 0.05


def test_all_features_have_one_name_a_column(crop):
    for features in FEATURES.values():
        assert features.compute(crop[None]).shape == (1, len(features.names))


def test_real_faces_are_told_apart_better_than_by_guessing(shared):
    faces = in_labels(public_test(shared), FIVE)  # its halves: the Training sheet takes long to decode
    half = np.random.default_rng(0).permutation(len(faces)) < len(faces) // 2
    learned = fit_baseline(faces.where(half), BaselineSettings("logistic", strength=3e-4))
    rest = faces.where(~half)
    most_common = np.bincount(rest.label).max() / len(rest)
    assert (learned.predict_proba(rest.crops).argmax(axis=1) == rest.label).mean() > most_common + 0.05


def test_the_command_measures_and_saves(training, fresh, tmp_path):
    typer = pytest.importorskip("typer")
    from typer.testing import CliRunner

    from mien.cli import nets

    everything = CropDataset(
        np.concatenate([training.crops, fresh.crops]), np.concatenate([training.label * 2, fresh.label * 2]),
        np.r_[training.usage, np.full(30, PUBLIC_TEST)], FER7,
    )  # fmt: skip
    write_dataset(everything, tmp_path / "faces.csv")
    app = typer.Typer()
    app.command()(nets.baseline)
    options = ["--model", "knn", "--model", "logistic", "--json", "-o", str(tmp_path / "models")]
    result = CliRunner().invoke(app, [str(tmp_path / "faces.csv"), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [(row["model"], row["n_training"], row["n"]) for row in rows] == [("knn", 90, 30), ("logistic", 90, 30)]
    assert all(row["accuracy"] > 0.9 for row in rows)
    saved = load_baseline(tmp_path / "models" / "logistic-pixels.npz")
    assert (saved.predict_proba(fresh.crops).argmax(axis=1) == 2 * fresh.label).mean() == rows[1]["accuracy"]
    held_out = CliRunner().invoke(app, [str(tmp_path / "faces.csv"), "--hold-out", "0.2", "--model", "knn"])
    assert held_out.exit_code == 0
    assert "72 crops to learn from, 18 to measure on" in held_out.stderr
