"""Data sets: every format reads, is written back and reads the same; broken ones say what is wrong and where."""

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mien import datasets as ds
from mien.datasets.summary import conflicting_labels, summarise_dataset
from mien.errors import InputError, OutputError
from mien.labels import FER7, FERPLUS8, FIVE, LabelSet

PIXELS = 48 * 48


@pytest.fixture(scope="module")
def crops() -> NDArray[np.uint8]:
    """(70, 48, 48) uint8: places of a real photo, far enough apart to be different images."""
    photo = cv2.imread(str(Path(__file__).parents[2] / "examples" / "astronaut.jpg"), cv2.IMREAD_GRAYSCALE)
    places = [(y, x) for y in range(0, 460, 50) for x in range(0, 420, 60)]
    assert len(places) == 70
    return np.stack([photo[y : y + 48, x : x + 48] for y, x in places])


@pytest.fixture(scope="module")
def data(crops: NDArray[np.uint8]) -> ds.CropDataset:
    """70 crops, ten per class, in FER2013's three splits, with votes and names."""
    label = np.tile(np.arange(7, dtype=np.int8), 10)
    usage = np.repeat(np.array(ds.USAGES), [42, 14, 14])
    votes = np.zeros((70, 10), np.uint8)
    votes[np.arange(70), np.arange(70) % 10] = 10
    names = np.array([f"fer{row:07d}.png" for row in range(70)])
    return ds.CropDataset(crops, label, usage, votes=votes, name=names)


def write_rows(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def spell(crop: NDArray[np.uint8]) -> str:
    return " ".join(map(str, crop.ravel()))


def save_png(path: Path, image: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def assert_same(found: ds.CropDataset, wanted: ds.CropDataset) -> None:
    np.testing.assert_array_equal(found.crops, wanted.crops)
    np.testing.assert_array_equal(found.label, wanted.label)
    np.testing.assert_array_equal(found.usage, wanted.usage)
    assert found.labels == wanted.labels


# CropDataset


def test_where_keeps_all_columns_together(data: ds.CropDataset) -> None:
    picked = data.where(data.label == 3)
    assert len(picked) == 10
    assert set(picked.label.tolist()) == {3}
    assert picked.votes is not None and picked.votes.shape == (10, 10)
    assert picked.name is not None and picked.name[0] == "fer0000003.png"


def test_split_names_what_there_is(data: ds.CropDataset) -> None:
    assert len(data.split("PublicTest")) == 14
    with pytest.raises(InputError, match="no split 'Nowhere'; it has Training, PublicTest, PrivateTest"):
        data.split("Nowhere")


def test_labels_may_be_absent_but_not_out_of_range(crops: NDArray[np.uint8]) -> None:
    usage = np.full(2, "Test")
    assert ds.CropDataset(crops[:2], np.array([-1, 6], np.int8), usage).is_labelled.tolist() == [False, True]
    for wrong in (-2, 7):
        with pytest.raises(InputError, match="labels must be 0 to 6"):
            ds.CropDataset(crops[:2], np.array([0, wrong], np.int8), usage)


def test_digest_follows_the_content(data: ds.CropDataset) -> None:
    changed = data.crops.copy()
    changed[5, 0, 0] ^= 1
    assert data.digest() == replace(data, name=None).digest()
    assert len({data.digest(), replace(data, crops=changed).digest(), replace(data, votes=None).digest()}) == 3


def test_training_and_validation_never_takes_private_test(data: ds.CropDataset) -> None:
    training, validation = ds.training_and_validation(data)
    assert (training.splits(), validation.splits()) == (("Training",), ("PublicTest",))
    with pytest.raises(InputError, match="mien data split"):
        ds.training_and_validation(data.where(data.usage != "PublicTest"))


# CSV


def test_fer2013_csv_reads_as_written(data: ds.CropDataset, tmp_path: Path) -> None:
    path, votes = ds.write_dataset(data, tmp_path / "fer2013.csv")
    assert votes.name == "fer2013new.csv"
    assert_same(ds.read_fer2013(path), data)
    result = ds.read_dataset(path, votes_path=votes)
    assert_same(result.data, data)
    assert (result.format, result.bad, result.notes) == ("FER2013 CSV", (), ())
    assert result.data.votes is not None and data.votes is not None
    np.testing.assert_array_equal(result.data.votes, data.votes)


def test_usage_preceded_by_a_space_and_quoted_pixels(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    rows = [f'{k}, "{spell(crops[k])}", {usage}' for k, usage in enumerate(ds.USAGES)]
    path = write_rows(tmp_path / "icml_face_data.csv", "emotion, pixels, Usage", rows)
    found = ds.read_fer2013(path)
    np.testing.assert_array_equal(found.crops, crops[:3])
    assert found.usage.tolist() == list(ds.USAGES)


def test_challenge_train_and_unlabelled_test(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    train = write_rows(tmp_path / "train.csv", "emotion,pixels", [f"6,{spell(crops[0])}"])
    found = ds.read_dataset(train).data
    assert (found.label.tolist(), found.usage.tolist()) == ([6], ["Training"])
    test = write_rows(tmp_path / "test.csv", "pixels", [spell(crops[1]), spell(crops[2])])
    result = ds.read_dataset(test)
    assert (result.data.label.tolist(), result.data.usage.tolist()) == ([-1, -1], ["Test", "Test"])
    assert result.format == "unlabelled CSV"


def test_five_class_file_is_told_by_its_name_or_by_force(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    rows = [f"{k % 5},{spell(crops[k])}" for k in range(10)]
    by_name = ds.read_dataset(write_rows(tmp_path / "ferdata.csv", "emotion,pixels", rows))
    assert by_name.data.labels == FIVE
    assert "five-class file (0 angry, 1 happy, 2 sad, 3 surprise, 4 neutral)" in by_name.notes[0]
    other = write_rows(tmp_path / "faces.csv", "emotion,pixels", rows)
    guessed = ds.read_dataset(other)
    assert guessed.data.labels == FER7
    assert 'labels="five"' in guessed.notes[0]
    assert ds.read_dataset(other, labels="five").data.labels == FIVE


def test_five_class_file_is_told_by_many_rows(tmp_path: Path) -> None:
    black = " ".join(["0"] * PIXELS)
    rows = [f"{k % 5},{black}" for k in range(1000)]
    assert ds.read_dataset(write_rows(tmp_path / "x.csv", "emotion,pixels", rows), cache=False).data.labels == FIVE


def test_five_class_file_named_so_but_with_seven_classes_is_fer2013(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    rows = [f"{k},{spell(crops[k])}" for k in range(7)]
    assert ds.read_dataset(write_rows(tmp_path / "ferdata.csv", "emotion,pixels", rows)).data.labels == FER7


def test_labels_may_be_words(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    rows = [f"{word},{spell(crops[0])}" for word in ("Anger", "HAPPINESS", "contempt")]
    found = ds.read_dataset(write_rows(tmp_path / "words.csv", "emotion,pixels", rows)).data
    assert [found.labels.names[k] for k in found.label] == ["angry", "happy", "contempt"]
    assert found.labels == FERPLUS8


BAD_CELLS = {
    "pixels must be 2304 numbers (48x48), got 2303": lambda good: good.rsplit(" ", 1)[0],
    "pixels must be 2304 numbers (48x48), got 4096 (a 64x64 image)": lambda good: " ".join(["7"] * 4096),
    "pixels must be 0 to 255, got 0 to 300": lambda good: " ".join(["0", "300", *["1"] * (PIXELS - 2)]),
    "pixels must be 0 to 255, got -1 to 0": lambda good: " ".join(["-1", *["0"] * (PIXELS - 1)]),
    "pixels must be whole numbers between spaces, got '1.5'": lambda good: "1.5 " + good,
    "pixels must be 2304 numbers (48x48), got 0": lambda good: "",
}


@pytest.mark.parametrize("message", BAD_CELLS)
def test_bad_pixels_are_named_by_line(message: str, crops: NDArray[np.uint8], tmp_path: Path) -> None:
    good = spell(crops[0])
    rows = [f"0,{good},Training", f"1,{BAD_CELLS[message](good)},Training"]
    path = write_rows(tmp_path / "fer2013.csv", "emotion,pixels,Usage", rows)
    for read in (ds.read_dataset, ds.read_fer2013):
        with pytest.raises(InputError) as caught:
            read(path)
        assert f"line 3: {message}" in str(caught.value)
    result = ds.read_dataset(path, skip_bad=True)
    assert (len(result.data), [str(row) for row in result.bad]) == (1, [f"line 3: {message}"])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("9,{},Training", "the label must be 0 to 6 or one of angry, disgust"),
        ("-1,{},Training", "the label must be 0 to 6"),
        ("bored,{},Training", "got 'bored'"),
        (",{},Training", "the label is empty"),
        ("0,{},Sunday", "Usage must be one of Training, PublicTest"),
        ("0,{}", "a row must have 3 fields, got 2"),
    ],
)
def test_bad_labels_and_splits_are_named_by_line(
    row: str, message: str, crops: NDArray[np.uint8], tmp_path: Path
) -> None:
    rows = [f"6,{spell(crops[0])},Training", "", row.format(spell(crops[0]))]
    path = write_rows(tmp_path / "fer2013.csv", "emotion,pixels,Usage", rows)
    with pytest.raises(InputError) as caught:
        ds.read_dataset(path)
    assert "line 4: " in str(caught.value)  # the blank line counts as a line, not as a row
    assert message in str(caught.value)
    assert len(ds.read_dataset(path, skip_bad=True).bad) == 1


def test_many_bad_rows_are_counted_and_the_first_shown(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    rows = [f"0,{spell(crops[0])},Training", *["0,1 2 3,Training"] * 1203]
    path = write_rows(tmp_path / "fer2013.csv", "emotion,pixels,Usage", rows)
    with pytest.raises(InputError) as caught:
        ds.read_dataset(path)
    text = str(caught.value)
    assert "1,203 bad rows" in text and "line 3:" in text and "line 7:" in text and "line 8:" not in text
    assert "1,198 more" in text and "--skip-bad" in text


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("emotions,pixels,Usage", "lacks the column(s) emotion"),
        ("emotion,Usage", "lacks the column(s) pixels (or path and label)"),
        ("path,size", "lacks the column(s) label"),
        (
            "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF",
            "holds FER+ votes",
        ),
    ],
)
def test_missing_columns_are_named(header: str, message: str, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "x.csv", header, [])
    with pytest.raises(InputError) as caught:
        ds.read_dataset(path)
    assert message in str(caught.value)


def test_read_fer2013_insists_on_the_official_columns_and_splits(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    path = write_rows(tmp_path / "train.csv", "emotion,pixels", [f"6,{spell(crops[0])}"])
    with pytest.raises(InputError, match=r"lacks the column\(s\) Usage"):
        ds.read_fer2013(path)
    path = write_rows(tmp_path / "own.csv", "emotion,pixels,Usage", [f"6,{spell(crops[0])},Validation"])
    assert ds.read_dataset(path).data.splits() == ("Validation",)
    with pytest.raises(InputError, match="line 2: Usage must be one of Training, PublicTest, PrivateTest, got"):
        ds.read_fer2013(path)


@pytest.mark.parametrize(
    "content", [b"", b"emotion,pixels,Usage\n", b"\0\1\2\3", b"PAR1junk", b"PK\3\4junk", b"\xff\xd8\xff\xe0"]
)
def test_files_that_are_no_data_set_are_refused(content: bytes, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.csv"):
        ds.read_dataset(path)


def test_an_open_quote_is_an_error_with_a_line(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    rows = [f'0,"{spell(crops[0])},Training', *[f"0,{spell(c)},Training" for c in crops]]
    with pytest.raises(InputError, match="is a quote left open"):
        ds.read_dataset(write_rows(tmp_path / "x.csv", "emotion,pixels,Usage", rows))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file or folder"):
        ds.read_dataset(tmp_path / "none.csv")


# The cache


def test_cache_is_used_while_the_content_is_the_same(data: ds.CropDataset, tmp_path: Path) -> None:
    path = ds.write_dataset(replace(data, votes=None), tmp_path / "fer2013.csv")[0]
    first = ds.read_dataset(path)
    kept = tmp_path / ".fer2013.csv.mien-cache.npz"
    written = kept.stat().st_mtime_ns
    again = ds.read_dataset(path)
    assert kept.stat().st_mtime_ns == written
    assert_same(again.data, first.data)
    assert (again.format, again.notes) == (first.format, first.notes)
    path.write_text(path.read_text().replace("\n0,", "\n6,"))
    assert ds.read_dataset(path).data.label.tolist() == [6 if k == 0 else k for k in data.label.tolist()]


def test_a_spoilt_cache_is_replaced(data: ds.CropDataset, tmp_path: Path) -> None:
    path = ds.write_dataset(replace(data, votes=None), tmp_path / "fer2013.csv")[0]
    ds.read_dataset(path)
    kept = tmp_path / ".fer2013.csv.mien-cache.npz"
    whole = kept.read_bytes()
    for spoilt in (b"", whole[: len(whole) // 2], b"PK\3\4" + b"x" * 100):
        kept.write_bytes(spoilt)
        assert_same(ds.read_dataset(path).data, data)
        assert len(kept.read_bytes()) == len(whole)


def test_options_do_not_share_a_cached_answer(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    rows = [f"0,{spell(crops[0])},Training", "0,1 2,Training"]
    path = write_rows(tmp_path / "x.csv", "emotion,pixels,Usage", rows)
    assert len(ds.read_dataset(path, skip_bad=True).data) == 1
    with pytest.raises(InputError, match="line 3"):
        ds.read_dataset(path)


def test_no_cache_leaves_no_file(data: ds.CropDataset, tmp_path: Path) -> None:
    path = ds.write_dataset(replace(data, votes=None), tmp_path / "fer2013.csv")[0]
    ds.read_dataset(path, cache=False)
    assert [p.name for p in tmp_path.iterdir()] == ["fer2013.csv"]


# Folders


@pytest.mark.parametrize(
    ("place", "label", "usage"),
    [
        ("angry/a.png", "angry", "Unsplit"),
        ("Anger/a.png", "angry", "Unsplit"),
        ("train/HAPPINESS/a.png", "happy", "Training"),
        ("images/train/sad/a.png", "sad", "Training"),
        ("images/images/validation/Surprised/a.png", "surprise", "Validation"),
        ("test/neutral/a.png", "neutral", "Test"),
        ("public_test/fear/a.png", "fear", "PublicTest"),
        ("test/disgust/PrivateTest_123.png", "disgust", "PrivateTest"),
    ],
)
def test_usual_folder_layouts(place: str, label: str, usage: str, crops: NDArray[np.uint8], tmp_path: Path) -> None:
    save_png(tmp_path / "set" / place, crops[0])
    found = ds.read_dataset(tmp_path / "set").data
    np.testing.assert_array_equal(found.crops[0], crops[0])
    assert (found.labels.names[found.label[0]], found.usage[0]) == (label, usage)
    assert found.name is not None and found.name[0] == place


def test_folders_with_contempt_or_with_just_five_classes(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    for name in FIVE.names:
        save_png(tmp_path / "set" / name / "a.png", crops[0])
    assert ds.read_dataset(tmp_path / "set").data.labels == FIVE
    save_png(tmp_path / "set" / "contempt" / "a.png", crops[0])
    assert ds.read_dataset(tmp_path / "set").data.labels == FERPLUS8


def test_images_of_any_size_and_colour_become_gray_crops(tmp_path: Path) -> None:
    save_png(tmp_path / "set/happy/large.png", np.full((96, 144, 3), (0, 0, 255), np.uint8))  # pure red, as BGR
    save_png(tmp_path / "set/happy/small.png", np.full((20, 30), 77, np.uint8))
    result = ds.read_dataset(tmp_path / "set")
    large, small = result.data.crops
    assert set(large.ravel().tolist()) == {76}  # 0.299 * 255
    assert set(small.ravel().tolist()) == {77}
    assert any("2 other sizes, 30x20 to 144x96, were resized to 48x48" in note for note in result.notes)


@pytest.fixture
def own_folders(crops: NDArray[np.uint8], tmp_path: Path) -> Path:
    """Class folders that name no expression, split in two."""
    for place in ("train/Bored/a", "train/focused/b", "val/bored/c", "val/in doubt/d"):
        save_png(tmp_path / "own" / f"{place}.png", crops[len(place) % len(crops)])
    return tmp_path / "own"


OWN = LabelSet("own", ("bored", "focused", "in doubt"))


def test_folders_that_name_no_expression_are_classes_of_their_own(own_folders: Path) -> None:
    for _ in range(2):  # the second time from the cache
        result = ds.read_dataset(own_folders)
        assert result.data.labels == OWN
        assert [OWN.names[label] for label in result.data.label] == ["bored", "focused", "bored", "in doubt"]
        assert result.data.usage.tolist() == ["Training", "Training", "Validation", "Validation"]
        assert "classes of your own: bored, focused, in doubt" in result.notes
    (own_folders / "train" / "in doubt").mkdir()
    with pytest.raises(InputError, match="train/in doubt/: a class folder must hold an image"):
        ds.read_dataset(own_folders)


def test_own_classes_are_told_from_a_mistyped_one(own_folders: Path, crops: NDArray[np.uint8]) -> None:
    save_png(own_folders / "train" / "happy" / "e.png", crops[0])
    with pytest.raises(InputError, match=r"knows \(happy\) and others \(bored, focused, in doubt\); for classes of"):
        ds.read_dataset(own_folders)
    named = ds.read_dataset(own_folders, labels="happiness,bored,focused,in doubt").data
    assert named.labels == LabelSet("own", ("happy", "bored", "focused", "in doubt"))
    assert sorted(named.label.tolist()) == [0, 1, 1, 2, 3]
    with pytest.raises(InputError, match="must be one of happy, bored"):
        ds.read_dataset(own_folders, labels="happy,bored")
    with pytest.raises(InputError, match="must not be empty"):
        ds.read_dataset(own_folders, labels="happy,,bored")
    save_png(own_folders / "train" / "loose.png", crops[0])
    with pytest.raises(InputError, match="got 'train'"):
        ds.read_dataset(own_folders, labels="happy,bored,focused,in doubt")


@pytest.mark.parametrize("name", ["x.npz", "x.parquet", "folders"])
def test_own_classes_are_written_and_read_back(name: str, own_folders: Path, tmp_path: Path) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    data = ds.read_dataset(own_folders).data
    (path,) = ds.write_dataset(data, tmp_path / name)
    again = ds.read_dataset(path).data
    assert again.labels == OWN
    assert sorted(again.label.tolist()) == sorted(data.label.tolist())
    with pytest.raises(InputError, match="write your own classes as"):
        ds.write_dataset(data, tmp_path / "x.csv")


def test_a_list_of_images_with_own_classes(own_folders: Path) -> None:
    rows = ["train/Bored/a.png,Bored", "val/in doubt/d.png,in doubt"]
    data = ds.read_dataset(write_rows(own_folders / "list.csv", "path,label", rows)).data
    assert data.labels == LabelSet("own", ("bored", "in doubt"))
    assert data.label.tolist() == [0, 1]


def test_a_file_without_names_of_its_classes_has_the_known_ones(data: ds.CropDataset, tmp_path: Path) -> None:
    np.savez(tmp_path / "old.npz", crops=data.crops, label=data.label, labels=np.array("fer2013"))
    assert ds.read_dataset(tmp_path / "old.npz").data.labels == FER7


def test_broken_images_and_strange_folders_are_named(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    root = tmp_path / "set"
    save_png(root / "train/happy/good.png", crops[0])
    save_png(root / "train/bored/odd.png", crops[0])
    (root / "train/happy/broken.png").write_bytes(b"not an image")
    (root / "train/happy/empty.jpg").touch()
    (root / "train/sad").mkdir()
    (root / "train/happy/.hidden.png").touch()
    with pytest.raises(InputError) as caught:
        ds.read_dataset(root, labels="fer2013")
    for part in (
        "4 bad rows",
        "bored/odd.png",
        "broken.png is no image",
        "empty.jpg is empty",
        "train/sad/: a class folder must hold",
    ):
        assert part in str(caught.value)
    result = ds.read_dataset(root, labels="fer2013", skip_bad=True)
    assert (len(result.data), len(result.bad)) == (1, 4)
    assert "no crop shows angry, disgust, fear, sad, surprise, neutral" in result.notes


def test_folder_cache_notices_a_changed_image_and_an_emptied_class(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    root = tmp_path / "set"
    path = save_png(root / "happy/a.png", crops[0])
    save_png(root / "sad/b.png", crops[1])
    ds.read_dataset(root)
    save_png(path, crops[2])
    np.testing.assert_array_equal(ds.read_dataset(root).data.crops[0], crops[2])
    (root / "fear").mkdir()
    with pytest.raises(InputError, match="fear/: a class folder must hold"):
        ds.read_dataset(root)


def test_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no image"):
        ds.read_dataset(tmp_path)


# List CSV


def test_list_of_images(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    save_png(tmp_path / "a/one.png", crops[0])
    save_png(tmp_path / "two.png", crops[1])
    path = write_rows(tmp_path / "list.csv", "path,label,split", ["a/one.png,Joy,Training", "two.png,4,Test"])
    found = ds.read_dataset(path).data
    np.testing.assert_array_equal(found.crops, crops[:2])
    assert [found.labels.names[k] for k in found.label] == ["happy", "sad"]
    assert found.usage.tolist() == ["Training", "Test"]
    save_png(tmp_path / "two.png", crops[2])
    np.testing.assert_array_equal(ds.read_dataset(path).data.crops[1], crops[2])
    (tmp_path / "two.png").unlink()
    with pytest.raises(InputError, match=r"line 3: cannot read .*two\.png"):
        ds.read_dataset(path)


# FER+ votes


def test_read_ferplus_votes_wants_the_same_rows(data: ds.CropDataset, tmp_path: Path) -> None:
    votes = ds.write_dataset(data, tmp_path / "fer2013.csv")[1]
    assert data.votes is not None
    np.testing.assert_array_equal(ds.read_ferplus_votes(votes, data.usage), data.votes)
    with pytest.raises(InputError, match="does not follow"):
        ds.read_ferplus_votes(votes, data.usage[1:])
    with pytest.raises(InputError, match="no file"):
        ds.read_ferplus_votes(tmp_path / "none.csv", data.usage)


def test_votes_out_of_range_are_named_by_line(data: ds.CropDataset, tmp_path: Path) -> None:
    votes = ds.write_dataset(data, tmp_path / "fer2013.csv")[1]
    votes.write_text(votes.read_text().replace(",10,", ",11,", 1))
    with pytest.raises(InputError, match="line 2: every vote must be a whole number from 0 to 10"):
        ds.read_ferplus_votes(votes, data.usage)


def test_rows_without_an_image_name_keep_their_place(data: ds.CropDataset, tmp_path: Path) -> None:
    path, votes = ds.write_dataset(data, tmp_path / "fer2013.csv")
    votes.write_text(votes.read_text().replace("fer0000005.png", ""))
    found = ds.read_dataset(path, votes_path=votes).data.votes
    assert found is not None and data.votes is not None
    np.testing.assert_array_equal(found, data.votes)


def test_votes_survive_rows_left_out(data: ds.CropDataset, tmp_path: Path) -> None:
    path, votes = ds.write_dataset(data, tmp_path / "fer2013.csv")
    lines = path.read_text().splitlines()
    lines[3] = "2,1 2 3,Training"
    path.write_text("\n".join(lines))
    found = ds.read_dataset(path, votes_path=votes, skip_bad=True).data
    assert found.votes is not None and data.votes is not None
    np.testing.assert_array_equal(found.votes, np.delete(data.votes, 2, axis=0))


def test_votes_join_images_by_name(data: ds.CropDataset, tmp_path: Path) -> None:
    root = ds.write_dataset(data, tmp_path / "set")[0]
    (root / "train/happy/fer0000003.png").rename(root / "train/happy/elsewhere.png")
    result = ds.read_dataset(root, votes_path=root / "fer2013new.csv")
    found = result.data
    assert "1 crops have no FER+ votes" in result.notes
    assert found.votes is not None and found.name is not None and data.votes is not None
    for name, votes in zip(found.name.tolist(), found.votes, strict=True):
        wanted = np.zeros(10) if "elsewhere" in name else data.votes[int(name[-11:-4])]
        np.testing.assert_array_equal(votes, wanted)


def test_votes_of_other_data_are_refused(data: ds.CropDataset, tmp_path: Path) -> None:
    path, votes = ds.write_dataset(data, tmp_path / "fer2013.csv")
    votes.write_text(votes.read_text().replace("Training,fer0000002", "PublicTest,fer0000002"))
    with pytest.raises(InputError, match=r"puts fer0000002\.png into PublicTest, the data set into Training"):
        ds.read_dataset(path, votes_path=votes)
    save_png(tmp_path / "set/happy/me.png", data.crops[0])
    with pytest.raises(InputError, match=r"names none of the 1 crops.*'me\.png'"):
        ds.read_dataset(tmp_path / "set", votes_path=votes)


def test_majority_rule_and_distribution() -> None:
    votes = np.zeros((5, 10), np.uint8)
    votes[0, [0, 1]] = 6, 4  # neutral holds more than half
    votes[1, [0, 1]] = 5, 5  # nobody does
    votes[2, [0, 1, 2, 3, 4]] = 4, 2, 1, 1, 1  # single votes are dropped, then 4 of 6
    votes[3, [8, 1]] = 7, 3  # unknown
    votes[4, 9] = 10  # not a face
    assert ds.ferplus_majority(votes).tolist() == [0, -1, 0, -1, -1]
    assert ds.is_face(votes).tolist() == [True, True, True, False, False]
    np.testing.assert_allclose(ds.ferplus_distribution(votes).sum(axis=1), [1, 1, 1, 1, 0])
    np.testing.assert_allclose(ds.ferplus_distribution(votes)[2, :2], [4 / 6, 2 / 6], rtol=1e-6)


# Writing


@pytest.mark.parametrize("name", ["x.csv", "x.npz", "x.parquet", "x"])
def test_every_format_reads_back_the_same(name: str, data: ds.CropDataset, tmp_path: Path) -> None:
    if name == "x.parquet":
        pytest.importorskip("pyarrow")
    written = ds.write_dataset(data, tmp_path / "new" / name)
    votes = written[1] if name == "x.csv" else written[0] / "fer2013new.csv" if name == "x" else None
    found = ds.read_dataset(written[0], votes_path=votes).data
    assert found.name is not None and data.name is not None
    numbers = [int(entry[-11:-4]) for entry in found.name.tolist()]
    assert sorted(numbers) == list(range(70))
    back = found.where(np.argsort(numbers))
    assert back.digest() == data.digest()
    assert not [path for path in (tmp_path / "new").iterdir() if path.name.endswith(".part")]


@pytest.mark.parametrize("name", ["x.csv", "x.npz", "x.parquet"])
def test_unlabelled_data_stay_so(name: str, data: ds.CropDataset, tmp_path: Path) -> None:
    if name == "x.parquet":
        pytest.importorskip("pyarrow")
    unlabelled = replace(data, label=np.full(70, -1, np.int8), votes=None)
    found = ds.read_dataset(ds.write_dataset(unlabelled, tmp_path / name)[0])
    assert_same(found.data, unlabelled)
    assert found.notes == ()


def test_formats_refuse_what_they_cannot_hold(data: ds.CropDataset, tmp_path: Path) -> None:
    partly = replace(data, label=np.where(np.arange(70) == 0, -1, data.label).astype(np.int8))
    with pytest.raises(InputError, match="labelled throughout or not at all"):
        ds.write_dataset(partly, tmp_path / "x.csv")
    with pytest.raises(InputError, match="class folders need a label for every crop"):
        ds.write_dataset(partly, tmp_path / "x")
    with pytest.raises(InputError, match="write FER\\+ labels as"):
        ds.write_dataset(replace(data, labels=FERPLUS8), tmp_path / "x.csv")
    with pytest.raises(InputError, match=r"unknown format '\.xlsx'"):
        ds.write_dataset(data, tmp_path / "x.xlsx")
    assert list(tmp_path.iterdir()) == []


def test_folders_are_not_mixed_with_what_is_there(data: ds.CropDataset, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="exists and is not empty"):
        ds.write_dataset(data, tmp_path / "x")
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["mine.txt"]


def test_an_unwritable_place_is_an_output_error(data: ds.CropDataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        ds.write_dataset(data, tmp_path / "file" / "x.npz")


def test_npz_with_pickled_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", crops=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="allow_pickle"):
        ds.read_dataset(tmp_path / "x.npz")


def test_npz_of_pixels_and_split_numbers(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", pixels=crops[:2], label=np.array([0, 6]), split=np.array([0, 1], np.uint8))
    found = ds.read_dataset(tmp_path / "x.npz").data
    assert (found.label.tolist(), found.usage.tolist()) == ([0, 6], ["Training", "PublicTest"])


def test_parquet_names_bad_rows(data: ds.CropDataset, tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    good = data.crops[0].tobytes()
    table = arrow.table({"label": ["Happy", "bored", "sad"], "pixels": [good, good, b"short"]})
    parquet.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"(?s)2 bad rows.*row 2: the label must.*'bored'.*row 3: .*no image"):
        ds.read_dataset(tmp_path / "x.parquet", labels="fer2013")
    assert ds.read_dataset(tmp_path / "x.parquet", labels="fer2013", skip_bad=True).data.label.tolist() == [
        FER7.index("happy")
    ]


# Copies


def jpeg(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return cv2.imdecode(cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_GRAYSCALE)


CHANGES = {
    "jpeg": jpeg,
    "darker": lambda crop: (0.7 * crop).astype(np.uint8),
    "gamma": lambda crop: (255 * (crop / 255) ** 1.3).astype(np.uint8),
    "shift": lambda crop: np.pad(crop, ((0, 0), (1, 0)), mode="edge")[:, :48],
    "noise": lambda crop: np.clip(crop + np.random.default_rng(0).normal(0, 4, crop.shape), 0, 255).astype(np.uint8),
}


@pytest.fixture(scope="module")
def faces(astronaut: NDArray[np.uint8], hopper: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(12, 48, 48) uint8: faces of two photos in different framings, all different images."""
    found = []
    for photo, (cx, cy) in ((astronaut, (225, 110)), (hopper, (265, 210))):
        gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
        for dx, dy, half in ((0, 0, 60), (40, 0, 60), (-40, 10, 60), (0, 0, 95), (45, 40, 90), (0, 50, 60)):
            window = gray[max(0, cy + dy - half) : cy + dy + half, cx + dx - half : cx + dx + half]
            found.append(cv2.resize(window, (48, 48), interpolation=cv2.INTER_AREA))
    return np.stack(found)


@pytest.mark.parametrize("change", CHANGES)
def test_near_copies_are_found_and_others_are_not(change: str, faces: NDArray[np.uint8]) -> None:
    changed = np.stack([CHANGES[change](crop) for crop in faces])
    found = ds.find_duplicates(np.concatenate([faces, changed]))
    np.testing.assert_array_equal(found.exact, np.arange(24))
    np.testing.assert_array_equal(found.near, np.tile(np.arange(12), 2))


def test_exact_copies_count_within_and_across(crops: NDArray[np.uint8]) -> None:
    repeated = crops[[0, 1, 0, 2, 0, 2, 3]]
    split = np.array(["a", "a", "a", "b", "b", "b", "b"])
    groups = ds.exact_groups(repeated)
    assert groups.tolist() == [0, 1, 0, 3, 0, 3, 6]
    assert ds.copies_within(groups, split) == {"a": 1, "b": 1}
    assert ds.copies_across(groups, split) == {("a", "b"): 1, ("b", "a"): 2}
    assert ds.seen_in(repeated[split == "b"], repeated[split == "a"]).tolist() == [False, True, False, False]
    assert ds.find_duplicates(repeated, near=False).near.tolist() == groups.tolist()


def test_blank_crops_are_no_near_copies() -> None:
    blank = np.stack([np.full((48, 48), value, np.uint8) for value in (0, 90, 255)])
    assert ds.find_duplicates(blank).near.tolist() == [0, 1, 2]
    assert ds.find_duplicates(blank[:0]).near.tolist() == []


def test_copies_of_copies_belong_together(faces: NDArray[np.uint8]) -> None:
    chain = np.stack([faces[0], jpeg(faces[0]), jpeg(faces[0]), faces[1], jpeg(jpeg(faces[0]))])
    assert ds.find_duplicates(chain).near.tolist() == [0, 0, 0, 3, 0]


def test_conflicting_labels(crops: NDArray[np.uint8]) -> None:
    data = ds.CropDataset(crops[[0, 0, 1, 1, 2]], np.array([1, 2, 3, 3, -1], np.int8), np.full(5, "Training"))
    assert conflicting_labels(data, ds.exact_groups(data.crops)).tolist() == [True, True, False, False, False]


# Splits


def test_stratified_split_is_seeded_and_keeps_the_mix(data: ds.CropDataset) -> None:
    dealt = ds.stratified_split(data, seed=3)
    np.testing.assert_array_equal(dealt, ds.stratified_split(data, seed=3))
    assert (dealt != ds.stratified_split(data, seed=4)).any()
    for name, count in (("Training", 8), ("Validation", 1), ("Test", 1)):
        assert np.bincount(data.label[dealt == name], minlength=7).tolist() == [count] * 7


def test_k_folds_cover_all_once(data: ds.CropDataset) -> None:
    dealt = ds.k_fold_split(data, folds=5, seed=0)
    assert {name: int((dealt == name).sum()) for name in set(dealt.tolist())} == {f"Fold{k}": 14 for k in range(1, 6)}
    used = ds.use_fold(dealt, 2)
    np.testing.assert_array_equal(used == "Validation", dealt == "Fold2")
    assert set(used.tolist()) == {"Training", "Validation"}
    with pytest.raises(InputError, match="no Fold6; it has Fold1"):
        ds.use_fold(dealt, 6)


@pytest.mark.parametrize("deal", [ds.stratified_split, ds.k_fold_split])
def test_copies_are_dealt_together(deal, data: ds.CropDataset) -> None:  # type: ignore[no-untyped-def]
    doubled = ds.CropDataset(
        np.concatenate([data.crops] * 2), np.concatenate([data.label] * 2), np.concatenate([data.usage] * 2)
    )
    groups = ds.exact_groups(doubled.crops)
    together = deal(doubled, groups=groups)
    ds.check_leaks(together, groups)
    np.testing.assert_array_equal(together[:70], together[70:])
    with pytest.raises(InputError, match=r"the split leaks: .* share images .*--allow-leaks"):
        ds.check_leaks(deal(doubled), groups)


def test_dropping_leaks_keeps_the_test_splits_whole(data: ds.CropDataset) -> None:
    groups = np.arange(70)
    groups[50] = groups[3]  # PublicTest and Training
    groups[60] = groups[43]  # PrivateTest and PublicTest
    with pytest.raises(InputError, match=r"PublicTest and Training share images \(1 and 1 crops\)"):
        ds.check_leaks(data.usage, groups)
    dealt = ds.drop_leaks(data.usage, groups)
    ds.check_leaks(dealt, groups)
    assert np.flatnonzero(dealt == "LeftOut").tolist() == [3, 43]


def test_splits_that_cannot_be_made(data: ds.CropDataset) -> None:
    with pytest.raises(InputError, match=r"add up to 1, got 0\.5, 0\.6"):
        ds.stratified_split(data, shares={"Training": 0.5, "Test": 0.6})
    with pytest.raises(InputError, match="folds must be at least 2"):
        ds.k_fold_split(data, folds=1)
    with pytest.raises(InputError, match="at least 11 different crops, angry has 10"):
        ds.k_fold_split(data, folds=11)
    with pytest.raises(InputError, match="too few for these shares"):
        ds.stratified_split(data, shares={"Training": 0.99, "Test": 0.01})
    with pytest.raises(InputError, match="needs a label for every crop, 70 of 70 have none"):
        ds.stratified_split(replace(data, label=np.full(70, -1, np.int8)))


def test_names_that_a_spreadsheet_would_reckon_come_back_from_a_split_file(
    data: ds.CropDataset, tmp_path: Path
) -> None:
    named = replace(data, name=np.array([f"{'=+-@'[i % 4]}{i} x.png" for i in range(len(data))]))
    path = ds.write_split(tmp_path / "split.csv", named, named.usage)
    with path.open(newline="") as file:
        assert not [row for row in csv.reader(file) if row[1].startswith(("=", "+", "-", "@"))]
    np.testing.assert_array_equal(ds.with_split(named, path).name, named.name)


def test_split_file_reads_back(data: ds.CropDataset, tmp_path: Path) -> None:
    dealt = ds.stratified_split(data)
    dealt[5] = "LeftOut"
    path = ds.write_split(tmp_path / "split.csv", data, dealt)
    used = ds.with_split(data, path)
    np.testing.assert_array_equal(used.usage, np.delete(dealt, 5))
    np.testing.assert_array_equal(used.crops, np.delete(data.crops, 5, axis=0))
    with path.open() as file:
        assert next(csv.reader(file)) == ["row", "name", "split"]


def test_split_file_of_other_data_is_refused(data: ds.CropDataset, tmp_path: Path) -> None:
    path = ds.write_split(tmp_path / "split.csv", data, data.usage)
    with pytest.raises(InputError, match="splits 70 crops, the data set has 69"):
        ds.with_split(replace(data, name=None).where(np.arange(70) < 69), path)
    with pytest.raises(InputError, match=r"line 2: crop 'fer0000000\.png' is not row 0"):
        ds.with_split(data.where(np.arange(70)[::-1]), path)
    with pytest.raises(InputError, match="no split file"):
        ds.with_split(data, tmp_path / "none.csv")
    folds = ds.write_split(tmp_path / "folds.csv", data, ds.k_fold_split(data))
    with pytest.raises(InputError, match="holds folds; say which"):
        ds.with_split(data, folds)
    assert len(ds.with_split(data, folds, fold=1).split("Validation")) == 14


# The real data


@pytest.mark.slow
def test_public_test_by_the_published_figures(shared: Path, tmp_path: Path) -> None:
    with (shared / "data/fer2013/public_test.csv").open() as file:
        table = np.array([[int(value) for value in row.values()] for row in csv.DictReader(file)])
    sheet = cv2.imread(str(shared / "data/fer2013/public_test.webp"), cv2.IMREAD_GRAYSCALE)
    rows, columns = sheet.shape[0] // 48, sheet.shape[1] // 48
    crops = sheet.reshape(rows, 48, columns, 48).transpose(0, 2, 1, 3).reshape(-1, 48, 48)[: len(table)]
    data = ds.CropDataset(
        np.ascontiguousarray(crops), table[:, 1].astype(np.int8), np.full(len(table), "PublicTest"),
        votes=table[:, 2:].astype(np.uint8),
    )  # fmt: skip
    path, votes = ds.write_dataset(data, tmp_path / "fer2013.csv")
    result = ds.read_dataset(path, votes_path=votes)
    assert result.data.digest() == data.digest()
    summary = summarise_dataset(result)
    assert summary.crops == 3589
    assert summary.votes is not None and summary.votes.majority == {"PublicTest": 3199}
    assert summary.counts["PublicTest"]["disgust"] == 56
    assert summary.exact.within == {"PublicTest": 26}
