"""`mien data`: each command on a small real set, its files, and its refusals."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from mien import datasets as ds
from mien.analyzer import Analyzer
from mien.cli.data import app
from mien.detect import create_detector
from mien.detect.align import crop_faces
from mien.errors import InputError
from mien.faces import Frame
from mien.sources.images import read_image

COPIED = 5  # rows of Training that occur again in PublicTest


@pytest.fixture(scope="module")
def data() -> ds.CropDataset:
    """70 crops of a photo, ten per class, Training and PublicTest, five of them in both."""
    photo = cv2.imread(str(Path(__file__).parents[2] / "examples" / "astronaut.jpg"), cv2.IMREAD_GRAYSCALE)
    crops = np.stack([photo[y : y + 48, x : x + 48] for y in range(0, 460, 50) for x in range(0, 420, 60)])
    crops[60 : 60 + COPIED] = crops[4 : 4 + COPIED]
    return ds.CropDataset(
        crops, np.tile(np.arange(7, dtype=np.int8), 10), np.repeat(["Training", "PublicTest"], [56, 14])
    )


@pytest.fixture
def table(data: ds.CropDataset, tmp_path: Path) -> Path:
    return ds.write_dataset(data, tmp_path / "fer2013.csv")[0]


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=True, env={"COLUMNS": "160"})


def done(*words: object) -> Result:
    result = run(*words)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result


def refused(*words: object) -> str:
    result = run(*words)
    assert isinstance(result.exception, InputError), result.output
    return str(result.exception)


def spoil(table: Path) -> Path:
    """Add a row of three pixels, which is line 72."""
    table.write_text(table.read_text() + "0,1 2 3,Training\n")
    return table


def test_info_prints_what_there_is(table: Path) -> None:
    text = done("info", table, "--no-cache").output
    for part in (
        "70 crops, FER2013 CSV",
        "happy",
        "PublicTest: has a copy in Training",
        "largest to smallest class 1.0",
    ):
        assert part in text


def test_info_json_counts_classes_and_copies(table: Path) -> None:
    found = json.loads(done("info", table, "--json").stdout)
    assert found["counts"]["Training"] == dict.fromkeys(ds.CropDataset.labels.names, 8)
    assert found["exact"]["across"] == {"Training → PublicTest": COPIED, "PublicTest → Training": COPIED}
    assert found["exact"]["within"] == {"Training": 0, "PublicTest": 0}
    assert found["near"]["across"] == found["exact"]["across"]
    assert (found["imbalance"], found["bad"]) == (1.0, 0)
    assert found["exact"]["conflicting"] == 0  # rows 4 and 60 both show 4: 60 = 4 + 56
    assert json.loads(done("info", table, "--json", "--no-near").stdout)["near"] is None


def test_info_pixel_figures_are_those_of_the_crops(table: Path, data: ds.CropDataset) -> None:
    found = json.loads(done("info", table, "--json").stdout)["pixels"]["Training"]
    crops = data.split("Training").crops.astype(float)
    assert found["mean"] == pytest.approx(crops.mean())
    assert found["std"] == pytest.approx(crops.std())
    assert found["darkest"] == pytest.approx(crops.mean(axis=(1, 2)).min())


def test_info_writes_a_page_without_references_and_a_sheet_per_class(table: Path, tmp_path: Path) -> None:
    done("info", table, "--html", tmp_path / "page.html", "--sheets", tmp_path / "sheets")
    page = (tmp_path / "page.html").read_text()
    assert "<h1>fer2013.csv</h1>" in page and page.rstrip().endswith("</html>")
    assert "http" not in page and page.count('src="data:image/png;base64,') == page.count("<img") == 1 + 7 + 7
    sheets = sorted((tmp_path / "sheets").iterdir())
    assert [path.stem for path in sheets] == sorted(ds.CropDataset.labels.names)
    sheet = cv2.imread(str(sheets[0]), cv2.IMREAD_GRAYSCALE)
    assert sheet.shape == (1 * 98 + 2, 12 * 98 + 2)  # ten crops of a class: one row of twelve places


def test_bad_rows_stop_or_are_counted(table: Path, tmp_path: Path) -> None:
    spoil(table)
    assert "line 72: pixels must be 2304 numbers (48x48), got 3" in refused("info", table)
    result = done("info", table, "--skip-bad", "--html", tmp_path / "page.html")
    assert "1 bad row left out" in result.output and "line 72" in result.output
    assert "1 bad row left out" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("target", ["x.npz", "x.parquet", "x", "y.csv"])
def test_convert_keeps_the_data(target: str, table: Path, data: ds.CropDataset, tmp_path: Path) -> None:
    done("convert", table, tmp_path / target)
    found = ds.read_dataset(tmp_path / target).data
    assert sorted(crop.tobytes() for crop in found.crops) == sorted(crop.tobytes() for crop in data.crops)
    assert np.bincount(found.label).tolist() == [10] * 7


def test_convert_only_one_split(table: Path, tmp_path: Path) -> None:
    done("convert", table, tmp_path / "x.npz", "--only", "PublicTest")
    assert ds.read_dataset(tmp_path / "x.npz").data.splits() == ("PublicTest",)
    assert "no split 'Test'" in refused("convert", table, tmp_path / "y.npz", "--only", "Test")
    assert not (tmp_path / "y.npz").exists()


def test_official_split_with_leaks_is_refused_unless_told(table: Path, tmp_path: Path) -> None:
    target = tmp_path / "split.csv"
    assert f"share images ({COPIED} and {COPIED} crops)" in refused("split", "official", table, "-o", target)
    assert not target.exists()
    done("split", "official", table, "-o", target, "--allow-leaks")
    assert ds.with_split(ds.read_dataset(table).data, target).splits() == ("Training", "PublicTest")


def test_dropping_leaks_makes_the_official_split_clean(table: Path, tmp_path: Path) -> None:
    done("split", "official", table, "-o", tmp_path / "split.csv", "--drop-leaks")
    done("convert", table, tmp_path / "clean.npz", "--split", tmp_path / "split.csv")
    clean = ds.read_dataset(tmp_path / "clean.npz").data
    assert (len(clean.split("Training")), len(clean.split("PublicTest"))) == (56 - COPIED, 14)
    assert not ds.seen_in(clean.split("PublicTest").crops, clean.split("Training").crops).any()


def test_stratified_split_keeps_copies_together(table: Path, tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        done("split", "stratified", table, "-o", tmp_path / name, "--seed", 7, "--validation", 0.2, "--test", 0.2)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    dealt = ds.with_split(ds.read_dataset(table).data, tmp_path / "a.csv")
    ds.check_leaks(dealt.usage, ds.exact_groups(dealt.crops))
    assert set(dealt.splits()) == {"Training", "Validation", "Test"}


def test_stratified_split_without_a_test_part(table: Path, tmp_path: Path) -> None:
    done("split", "stratified", table, "-o", tmp_path / "a.csv", "--validation", 0.2, "--test", 0)
    assert ds.with_split(ds.read_dataset(table).data, tmp_path / "a.csv").splits() == ("Training", "Validation")


def test_folds(table: Path, tmp_path: Path) -> None:
    done("split", "kfold", table, "--folds", 4, "-o", tmp_path / "folds.csv")
    done("convert", table, tmp_path / "x.npz", "--split", tmp_path / "folds.csv", "--fold", 2)
    assert ds.read_dataset(tmp_path / "x.npz").data.splits() == ("Training", "Validation")
    assert "say which one validates" in refused("convert", table, tmp_path / "y.npz", "--split", tmp_path / "folds.csv")


def test_official_split_needs_one(data: ds.CropDataset, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), data.crops[0])
    (tmp_path / "list.csv").write_text("path,label\na.png,happy\n")
    assert "name no split" in refused("split", "official", tmp_path / "list.csv")


def test_augment_draws_a_sheet_that_follows_the_seed(table: Path, tmp_path: Path) -> None:
    pytest.importorskip("kornia")
    for name, seed in (("a.png", 1), ("b.png", 1), ("c.png", 2)):
        done("augment", table, "-o", tmp_path / name, "--rows", 2, "--tries", 1, "--seed", seed)
    a, b, c = ((tmp_path / name).read_bytes() for name in ("a.png", "b.png", "c.png"))
    assert a == b != c
    sheet = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_GRAYSCALE)
    assert sheet.shape[0] == 18 + 2 * 100 + 4
    assert (sheet.shape[1] - 4) // 100 >= 10  # the original, each transformation, all together
    columns = [sheet[22:118, 4 + 100 * k : 100 + 100 * k].astype(int) for k in range((sheet.shape[1] - 4) // 100)]
    changed = [np.abs(column - columns[0]).mean() for column in columns[1:]]
    assert min(changed) > 0.4  # every column shows something


def photos_of(folder: Path, *names: str, canvas: bool = False) -> Path:
    """Copy the example portraits into a folder under these names, or both onto one canvas."""
    examples = Path(__file__).parents[2] / "examples"
    small, large = (cv2.imread(str(examples / f"{who}.jpg")) for who in ("astronaut", "grace_hopper"))
    image = large
    if canvas:
        image = np.zeros((large.shape[0], large.shape[1] + 200, 3), np.uint8)
        image[:, 200:] = large
        image[:200, :200] = cv2.resize(small, (200, 200))
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)
    return folder


def test_photos_become_crops_of_their_largest_face_framed_as_at_run_time(tmp_path: Path) -> None:
    photos = photos_of(tmp_path / "photos", "neutral/alone [1].jpg", "train/neutral/alone.jpg")
    photos_of(photos, "neutral/beside another.png", canvas=True)
    result = done("convert", photos, tmp_path / "crops", "--faces")
    assert "1 of 3 photos show several faces; the largest of each was taken" in result.output
    assert sorted(p.relative_to(tmp_path / "crops").as_posix() for p in (tmp_path / "crops").rglob("*.png")) == [
        "neutral/alone [1].png", "neutral/beside another.png", "train/neutral/alone.png",
    ]  # fmt: skip
    image = read_image(photos / "neutral" / "alone [1].jpg").image
    analyzer = Analyzer()
    (expected,) = analyzer.find([Frame(image)])[1]
    crop = cv2.imread(str(tmp_path / "crops/neutral/alone [1].png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(crop, expected)
    other = cv2.imread(str(tmp_path / "crops/neutral/beside another.png"), cv2.IMREAD_UNCHANGED)
    (smaller,) = analyzer.find([read_image(Path(__file__).parents[2] / "examples" / "astronaut.jpg")])[1]
    alike = [np.corrcoef(other.ravel(), one.ravel())[0, 1] for one in (crop, smaller)]
    assert alike[0] > 0.9 > alike[1] + 0.2
    assert not list(tmp_path.glob(".*cache*"))


def test_photos_without_a_face_are_named_and_left_out(tmp_path: Path) -> None:
    photos = photos_of(tmp_path / "photos", "happy/face.jpg")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").write_text("mine")
    assert "not empty" in refused("convert", photos, tmp_path / "full", "--faces")
    cv2.imwrite(str(photos / "happy" / "wall.png"), np.full((80, 120, 3), 90, np.uint8))
    (photos / "happy" / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    result = done("convert", photos, tmp_path / "crops.npz", "--faces", "--left-out", tmp_path / "left out.csv")
    assert "2 bad rows left out" in result.output
    with (tmp_path / "left out.csv").open(newline="") as file:
        torn, wall = csv.DictReader(file)
    assert (torn["where"], wall["where"]) == ("happy/torn.jpg", "happy/wall.png")
    assert "truncated" in torn["reason"]
    assert wall["reason"].startswith("no face was found")
    (photos / "happy" / "face.jpg").unlink()
    assert "no usable image" in refused("convert", photos, tmp_path / "none.npz", "--faces")
    crops = ds.read_dataset(tmp_path / "crops.npz").data
    assert crops.crops.shape == (1, 48, 48)
    assert crops.name is not None and crops.name.tolist() == ["happy/face.jpg"]


def test_no_class_of_photos_is_lost_without_a_word(tmp_path: Path) -> None:
    photos = photos_of(tmp_path / "photos", "normal/a.jpg", "Smile/b.jpg")
    done("convert", photos, tmp_path / "crops", "--faces")
    assert sorted(path.parent.name for path in (tmp_path / "crops").rglob("*.png")) == ["happy", "neutral"]
    photos_of(photos, "thoughtful/c.jpg")
    said = " ".join(refused("convert", photos, tmp_path / "more", "--faces").split())
    assert "mien knows (happy, neutral) and others (thoughtful)" in said
    assert "--labels NAME,NAME" in said and "--labels fer2013 --skip-bad" in said
    done("convert", photos, tmp_path / "own", "--faces", "--labels", "happy,neutral,thoughtful")
    assert sorted(path.parent.name for path in (tmp_path / "own").rglob("*.png")) == ["happy", "neutral", "thoughtful"]
    said = done("convert", photos, tmp_path / "known", "--faces", "--labels", "fer2013", "--skip-bad").output
    assert "thoughtful/c.jpg" in said
    assert sorted(path.parent.name for path in (tmp_path / "known").rglob("*.png")) == ["happy", "neutral"]


def test_a_list_of_photos_and_another_detector(tmp_path: Path) -> None:
    photos = photos_of(tmp_path, "images/one.jpg")
    (photos / "list.csv").write_text("path,label\nimages/one.jpg,surprise\nimages/gone.jpg,surprise\n")
    result = done("convert", photos / "list.csv", tmp_path / "crops.npz", "--faces", "--detector", "haar")
    assert "line 3" in result.output
    (crop,) = ds.read_dataset(tmp_path / "crops.npz").data.crops
    image = read_image(photos / "images" / "one.jpg").image
    faces = create_detector("haar").detect(image)
    np.testing.assert_array_equal(crop, crop_faces(image, faces[:1])[0])
    assert len(faces) == 1
    assert "unknown detector" in refused(
        "convert", photos / "list.csv", tmp_path / "x.npz", "--faces", "--detector", "x"
    )


def test_what_holds_crops_already_is_not_searched_for_faces(table: Path, tmp_path: Path) -> None:
    assert "must be a folder or a CSV with the columns path and label" in refused(
        "convert", table, tmp_path / "x.npz", "--faces"
    )
    assert "--votes or --faces" in refused("convert", table, tmp_path / "x.npz", "--faces", "--votes", table)
    npz = ds.write_dataset(ds.read_dataset(table).data, tmp_path / "crops.npz")[0]
    assert "must be a folder" in refused("convert", npz, tmp_path / "x.npz", "--faces")


def test_own_file_names_are_kept_and_never_overwrite_each_other(tmp_path: Path) -> None:
    names = ["a/x.jpg", "b/x.png", "b/X.png", "c/x-2.png", "d/x.bmp"]
    crops = np.arange(5 * 48 * 48, dtype=np.uint32).reshape(5, 48, 48).astype(np.uint8)
    data = ds.CropDataset(crops, np.array([3, 3, 3, 3, 4], np.int8), np.full(5, ""), name=np.array(names))
    ds.write_dataset(data, tmp_path / "out")
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.png")}
    assert found == {"happy/x.png", "happy/x-2.png", "happy/X-3.png", "happy/x-2-2.png", "sad/x.png"}
    official = replace(data, name=np.array([f"PublicTest_{n}.jpg" for n in range(5)]))
    ds.write_dataset(official, tmp_path / "official")
    assert {p.name for p in (tmp_path / "official").rglob("*.png")} == {f"fer{n:07d}.png" for n in range(5)}
