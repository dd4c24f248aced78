"""Several sets in one report: each set counts alike, whatever its size."""

import json
import shutil

import numpy as np
import pytest
from conftest import EXAMPLES

from mien.datasets import CropDataset, age_group, read_dataset, read_people
from mien.datasets.folders import WholeImageReader
from mien.errors import InputError
from mien.evaluate import EvaluationSet, evaluate_sets, sets_in, with_slices
from mien.evaluate.sets_page import SetsDocument, sets_to_html, sets_to_json, sets_to_markdown
from mien.labels import COMBINED8, FER7, FERPLUS8


def crops_that_say(answers):
    """Crops whose first pixel is what `tells` answers."""
    crops = np.zeros((len(answers), 48, 48), np.uint8)
    crops[:, 0, 0] = answers
    return crops


def tells(crops):
    probs = np.full((len(crops), 7), 0.2 / 6, np.float32)
    probs[np.arange(len(crops)), crops[:, 0, 0]] = 0.8
    return probs


def of(name, answers, truth, **more):
    usage = np.full(len(answers), "Test")
    return EvaluationSet(name, CropDataset(crops_that_say(answers), np.array(truth, np.int8), usage), **more)


ALL_RIGHT = of("right", [0, 3], [0, 3])
MOSTLY_ANGRY = of("mostly", [0] * 10, [0] * 8 + [3] * 2)  # accuracy .8, balanced .5


def test_each_set_counts_alike_in_the_means():
    found = evaluate_sets(tells, [ALL_RIGHT, MOSTLY_ANGRY], FER7)
    assert found.accuracy.value == pytest.approx((1 + 0.8) / 2)
    assert found.balanced_accuracy.value == pytest.approx((1 + 0.5) / 2)
    assert found.ece == pytest.approx((0.2 + 0.0) / 2, abs=1e-6)
    assert [one.balanced_accuracy.value for one in found.sets] == pytest.approx([1, 0.5])
    assert found.accuracy.low < found.accuracy.value < found.accuracy.high


def test_labels_that_the_scored_set_lacks_are_left_out_and_counted():
    data = CropDataset(crops_that_say([3, 0]), np.array([1, 7], np.int8), np.full(2, "Test"), FERPLUS8)
    (one,) = evaluate_sets(tells, [EvaluationSet("votes", data)], FER7).sets
    assert (one.report.overall.n, one.report.n_left_out) == (1, 1)
    assert one.report.overall.accuracy.value == 1


def test_splits_are_sets_where_none_is_the_official_one():
    data = CropDataset(crops_that_say([0] * 4), np.zeros(4, np.int8), np.array(["posed", "wild", "Training", "wild"]))
    groups = {"age": np.array(["a", "b", "c", "d"])}
    posed, wild = sets_in(data, "faces", groups=groups)
    assert (posed.name, len(posed.data), wild.name, len(wild.data)) == ("faces posed", 1, "faces wild", 2)
    assert wild.groups["age"].tolist() == ["b", "d"]
    assert len(wild.trained_on) == 1
    (named,) = sets_in(data, "faces", split="Training")
    assert named.trained_on is None
    with pytest.raises(InputError, match="Training alone"):
        sets_in(data.split("Training"), "faces")


def test_the_official_split_stands_for_its_set():
    data = CropDataset(crops_that_say([0] * 3), np.zeros(3, np.int8), np.array(["Training", "PublicTest", "Test"]))
    (one,) = sets_in(data, "fer2013")
    assert one.data.splits() == ("PublicTest",)


def test_slices_go_over_all_sets_in_order():
    slices = {"light": np.array(["day", "night", *["day"] * 9, "night"])}
    found = evaluate_sets(tells, with_slices([ALL_RIGHT, MOSTLY_ANGRY], slices), FER7)
    counts = {(one.name, g.group): g.figures.n for one in found.sets for g in one.report.groups}
    assert counts == {("right", "day"): 1, ("right", "night"): 1, ("mostly", "day"): 9, ("mostly", "night"): 1}


def test_no_set_and_two_of_one_name_are_refused():
    with pytest.raises(InputError, match="nothing to measure on"):
        evaluate_sets(tells, [], FER7)
    with pytest.raises(InputError, match="two sets are named 'right'"):
        evaluate_sets(tells, [ALL_RIGHT, ALL_RIGHT], FER7)


def test_the_three_forms_say_the_same():
    groups = {"age": np.array(["<young>", ""])}
    report = evaluate_sets(tells, [of("right", [0, 3], [0, 3], groups=groups), MOSTLY_ANGRY], FER7)
    document = SetsDocument("m on 2 sets", report, {"command": "mien evaluate"})
    values = json.loads(sets_to_json(document))
    assert values["mean"]["balanced_accuracy"]["value"] == 0.75
    assert [one["name"] for one in values["sets"]] == ["right", "mostly"]
    text, page = sets_to_markdown(document), sets_to_html(document)
    assert "| mean over sets | 12 | 90.0%" in text
    for form in (text, page):
        assert "75.0%" in form
        assert "age: not stated" in form
    assert "&lt;young&gt;" in page
    assert "<young>" not in page
    assert "http" not in page


def test_crops_with_a_margin_and_names_as_labels_are_read(tmp_path):
    crops = np.zeros((3, 64, 64), np.uint8)
    crops[:, 8:-8, 8:-8] = 7
    np.savez(tmp_path / "dev.npz", crops=crops, set=["wild", "posed", "wild"], label=["happy", "contempt", "Anger"])
    data = read_dataset(tmp_path / "dev.npz").data
    assert data.labels == FERPLUS8
    assert [data.labels.names[i] for i in data.label] == ["happy", "contempt", "angry"]
    assert data.splits() == ("posed", "wild")
    assert (data.crops == 7).all()
    as_combined = read_dataset(tmp_path / "dev.npz", labels="combined").data
    assert as_combined.label.tolist() == [3, 7, 0]
    assert as_combined.labels == COMBINED8
    np.savez(tmp_path / "odd.npz", crops=crops[:1], label=["bored"])
    with pytest.raises(InputError, match="no 'bored'"):
        read_dataset(tmp_path / "odd.npz")


def people(folder):
    for name in ("astronaut", "grace_hopper"):
        shutil.copy(EXAMPLES / f"{name}.jpg", folder)
    (folder / "people.csv").write_text(
        "file,expression,face_id,face_age,face_gender\n"
        "grace_hopper.jpg,neutral,1,55,female\nastronaut.jpg,happy,2,,female\n"
    )


def test_photos_with_people_become_crops_and_groups(tmp_path):
    people(tmp_path)
    result, groups = read_people(tmp_path, WholeImageReader())
    assert [result.data.labels.names[i] for i in result.data.label] == ["neutral", "happy"]
    assert {name: of_image.tolist() for name, of_image in groups.items()} == {
        "face_age": ["50 and older", ""], "face_gender": ["female", "female"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("years", "group"),
    [(0, "0 to 17"), (17.9, "0 to 17"), (18, "18 to 24"), (25, "25 to 34"), (49, "35 to 49"), (50, "50 and older")],
)
def test_ages_have_groups(years, group):
    assert age_group(years) == group


def test_the_command_measures_crops_and_photos_together(mien, tmp_path):
    (tmp_path / "photos").mkdir()
    people(tmp_path / "photos")
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "crops.npz", crops=rng.integers(0, 256, (4, 64, 64), dtype=np.uint8), set=["a", "b", "a", "b"],
        label=["happy", "contempt", "angry", "sad"],
    )  # fmt: skip
    code, out, err = mien(
        "evaluate", "mien-s", tmp_path / "crops.npz", tmp_path / "photos", "--labels", "fer2013", "--json",
        "-o", tmp_path / "report",
    )  # fmt: skip
    assert code == 0
    found = json.loads(out)
    assert [(s["name"], s["overall"]["n"], s["n_left_out"]) for s in found["sets"]] == [
        ("crops a", 2, 0), ("crops b", 1, 1), ("photos", 2, 0),
    ]  # fmt: skip
    assert found["sets"][2]["overall"]["accuracy"]["value"] == 1
    assert {g["group"] for g in found["sets"][2]["groups"]} == {"female", "50 and older", ""}
    assert sorted(p.name for p in (tmp_path / "report").iterdir()) == ["report.html", "report.json", "report.md"]
    assert err.count("wrote") == 3
    assert mien("evaluate", "mien-s", tmp_path / "photos", "--robustness")[0] == 2


def test_another_head_can_answer_in_the_names_of_the_scored_set(mien, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "crops.npz", crops=rng.integers(0, 256, (9, 48, 48), dtype=np.uint8), label=np.arange(9) % 7,
             usage=np.full(9, "PublicTest"))  # fmt: skip
    code, out, _ = mien(
        "evaluate", "mien-s", tmp_path / "crops.npz", "--head", "ferplus", "--labels", "fer2013", "--json"
    )
    assert code == 0
    found = json.loads(out)
    assert found["labels"]["key"] == "fer2013"
    assert found["overall"]["n"] == 9
