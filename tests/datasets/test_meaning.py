"""What labels mean: synonyms, classes of one's own, a mixture of both, numbers in folders, tables and Parquet."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mien.datasets import ReadResult, read_dataset
from mien.errors import InputError
from mien.labels import FER7, LabelSet, canonical_name

RAF_DB = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")
ALPHABETICAL = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]


@pytest.fixture(scope="module")
def crops() -> NDArray[np.uint8]:
    """(8, 48, 48) uint8 places of a photo."""
    photo = cv2.imread(str(Path(__file__).parents[2] / "examples" / "astronaut.jpg"), cv2.IMREAD_GRAYSCALE)
    return np.stack([photo[50 * i : 50 * i + 48, 100:148] for i in range(8)])


def folders(root: Path, names: list[str], crops: NDArray[np.uint8]) -> Path:
    for name, crop in zip(names, crops, strict=False):
        (root / name).mkdir(parents=True)
        cv2.imwrite(str(root / name / f"{name}.png"), crop)
    return root


def told(result: ReadResult) -> list[str]:
    return [result.data.labels.names[number] for number in result.data.label.tolist()]


@pytest.mark.parametrize(
    ("name", "expression"),
    [("normal", "neutral"), ("Smile", "happy"), ("SMILING", "happy"), ("Scared", "fear"), ("mad", "angry")],
)
def test_synonyms(name: str, expression: str) -> None:
    assert canonical_name(name) == expression


def test_the_class_normal_is_kept(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    result = read_dataset(folders(tmp_path / "faces", ["Normal", "happy", "sad"], crops))
    assert (sorted(told(result)), result.bad) == (["happy", "neutral", "sad"], ())


@pytest.mark.parametrize("skip_bad", [False, True])
def test_a_mixture_asks_and_takes_either_answer(skip_bad: bool, crops: NDArray[np.uint8], tmp_path: Path) -> None:
    root = folders(tmp_path / "faces", ["happy", "sad", "thoughtful"], crops)
    with pytest.raises(InputError) as caught:
        read_dataset(root, skip_bad=skip_bad)
    for part in (
        "mien knows (happy, sad)", "others (thoughtful)", "--labels NAME,NAME", 'labels="happy,sad,thoughtful"',
        "--labels fer2013 --skip-bad",
    ):  # fmt: skip
        assert part in str(caught.value)
    own = read_dataset(root, labels="happy,sad,thoughtful", skip_bad=skip_bad)
    assert told(own) == ["happy", "sad", "thoughtful"]
    known = read_dataset(root, labels="fer2013", skip_bad=True)
    assert (told(known), [row.where for row in known.bad]) == (["happy", "sad"], ["thoughtful/thoughtful.png"])


def test_a_mixture_of_names_in_a_list_asks(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    folders(tmp_path, ["a", "b"], crops)
    (tmp_path / "list.csv").write_text("path,label\na/a.png,happy\nb/b.png,thoughtful\n")
    with pytest.raises(InputError, match="--labels NAME,NAME"):
        read_dataset(tmp_path / "list.csv", skip_bad=True)


def test_a_long_list_of_strange_folders_stays_short_in_the_message(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    root = folders(tmp_path / "f", ["happy", *(f"class with a long name {i:040d}" for i in range(7))], crops)
    with pytest.raises(InputError) as caught:
        read_dataset(root)
    assert len(str(caught.value)) < 700 + len(str(root))


def test_folders_numbered_as_fer2013(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    result = read_dataset(folders(tmp_path / "faces" / "train", list("0123456"), crops))
    assert (result.data.labels, result.data.label.tolist()) == (FER7, list(range(7)))
    assert any("0 angry, 1 disgust" in note for note in result.notes)


def test_folders_numbered_as_raf_db(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    result = read_dataset(folders(tmp_path / "DATASET" / "test", list("1234567"), crops))
    assert (result.data.labels, tuple(told(result))) == (FER7, RAF_DB)
    assert any("RAF-DB's numbers (1 surprise, 2 fear" in note for note in result.notes)


def test_other_numbers_need_names(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    root = folders(tmp_path / "faces", ["1", "2"], crops)
    with pytest.raises(InputError, match=r"class folders 1, 2: mien knows .* \(--labels sad,happy\)"):
        read_dataset(root)
    result = read_dataset(root, labels="happy,bored")
    assert (result.data.labels, told(result)) == (LabelSet("own", ("happy", "bored")), ["happy", "bored"])
    assert any("1 happy, 2 bored" in note for note in result.notes)
    from_0 = read_dataset(folders(tmp_path / "others", ["0", "1"], crops), labels="happy,bored")
    assert told(from_0) == ["happy", "bored"]


def spell(crop: NDArray[np.uint8], end: str = "") -> str:
    return " ".join(f"{value}{end}" for value in crop.ravel())


def test_labels_and_pixels_that_were_floats(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    rows = [f"{label},{spell(crop, end)},Training" for label, crop, end in zip(
        ("3.0", "6.", "0.00"), crops, ("", ".0", ""), strict=False)]  # fmt: skip
    (tmp_path / "x.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]))
    result = read_dataset(tmp_path / "x.csv")
    assert (result.data.labels, result.data.label.tolist()) == (FER7, [3, 6, 0])
    np.testing.assert_array_equal(result.data.crops, crops[:3])
    folders(tmp_path, ["a", "b"], crops)
    (tmp_path / "list.csv").write_text("path,label\na/a.png,3.0\nb/b.png,5.0\n")
    assert told(read_dataset(tmp_path / "list.csv")) == ["happy", "surprise"]


@pytest.mark.parametrize("label", ["2.5", "nan", "NaN", ".5"])
def test_labels_that_are_no_whole_number(label: str, crops: NDArray[np.uint8], tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(f"emotion,pixels\n{label},{spell(crops[0])}\n3,{spell(crops[1])}\n")
    with pytest.raises(InputError, match=f"line 2: the label must be a whole number or a name, got '{label}'"):
        read_dataset(tmp_path / "x.csv")


def test_raf_db_s_list(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    folders(tmp_path, list("1234567"), crops)
    rows = [f"{number}/{number}.png,{number}" for number in range(1, 8)]
    (tmp_path / "list.csv").write_text("\n".join(["image,label", *rows]))
    assert tuple(told(read_dataset(tmp_path / "list.csv"))) == RAF_DB


# Parquet


def hugging_face(path: Path, crops: NDArray[np.uint8], label: list[int], names: list[str] | None) -> Path:
    """Write the columns, and the metadata, that Hugging Face's datasets write for an image folder."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    images = [
        {"bytes": cv2.imencode(".png", crop)[1].tobytes(), "path": f"{number}.png"} for number, crop in enumerate(crops)
    ]
    table = arrow.table({"image": images, "label": label})
    if names:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path)
    return path


def test_hugging_face_s_names_decide_what_numbers_mean(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    path = hugging_face(tmp_path / "train-00000-of-00001.parquet", crops, [3, 4, 5, 6, 0, 1, 2, 3], ALPHABETICAL)
    result = read_dataset(path)
    assert result.data.labels == FER7
    assert told(result) == ["happy", "neutral", "sad", "surprise", "angry", "disgust", "fear", "happy"]
    np.testing.assert_array_equal(result.data.crops, crops)
    assert result.data.splits() == ("Training",)
    assert result.data.name is not None and result.data.name[1] == "1.png"


def test_a_folder_of_hugging_face_s_files(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    hugging_face(tmp_path / "data/train-00000-of-00002.parquet", crops[:3], [0, 1, 2], ALPHABETICAL)
    hugging_face(tmp_path / "data/train-00001-of-00002.parquet", crops[3:5], [3, 4], ALPHABETICAL)
    hugging_face(tmp_path / "data/test-00000-of-00001.parquet", crops[5:], [5, 6, 6], ALPHABETICAL)
    data = read_dataset(tmp_path).data
    assert (len(data), len(data.split("Training")), len(data.split("Test"))) == (8, 5, 3)
    assert [FER7.names[number] for number in data.split("Test").label.tolist()] == ["sad", "surprise", "surprise"]


def test_plain_numbers_are_fer2013_s(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    result = read_dataset(hugging_face(tmp_path / "x.parquet", crops, [0, 1, 2, 3, 4, 5, 6, 6], None))
    assert (result.data.labels, result.data.label.tolist()) == (FER7, [0, 1, 2, 3, 4, 5, 6, 6])


def test_images_of_other_sizes_are_resized_with_a_note(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    big = np.stack([cv2.resize(crop, (96, 96)) for crop in crops])
    result = read_dataset(hugging_face(tmp_path / "x.parquet", big, [0, 1, 2, 3, 4, 5, 6, 6], ALPHABETICAL))
    assert result.data.crops.shape == (8, 48, 48)
    assert any("96x96 were resized" in note for note in result.notes)


@pytest.mark.parametrize("way", ["text", "list", "nested", "bytes", "rgb", "file"])
def test_pandas_columns(way: str, crops: NDArray[np.uint8], tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    cell = {
        "text": spell,
        "list": lambda crop: crop.ravel().tolist(),
        "nested": lambda crop: crop.tolist(),
        "bytes": lambda crop: crop.tobytes(),
        "rgb": lambda crop: np.dstack([crop] * 3).tolist(),
        "file": lambda crop: cv2.imencode(".png", crop)[1].tobytes(),
    }[way]
    frame = pandas.DataFrame({
        "emotion": [3.0, 6.0, 0.0, 1.0, 2.0, 4.0, 5.0, 3.0], "pixels": [cell(crop) for crop in crops],
        "Usage": ["Training"] * 6 + ["PublicTest", "PrivateTest"],
    })  # fmt: skip
    frame.to_parquet(tmp_path / "fer2013.parquet")
    data = read_dataset(tmp_path / "fer2013.parquet").data
    np.testing.assert_array_equal(data.crops, crops)
    assert (data.labels, data.label.tolist()) == (FER7, [3, 6, 0, 1, 2, 4, 5, 3])
    assert data.usage.tolist()[5:] == ["Training", "PublicTest", "PrivateTest"]


def test_broken_cells_are_named(crops: NDArray[np.uint8], tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = arrow.table({
        "label": ["3", "3.5", "7", "2"], "pixels": [spell(crops[0]), spell(crops[1]), spell(crops[2]), "1 2 3"],
        "split": ["train", "train", "train", "somewhere"],
    })  # fmt: skip
    parquet.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(InputError) as caught:
        read_dataset(tmp_path / "x.parquet", labels="fer2013")
    for part in ("3 bad rows", "row 2: the label must be a whole number", "row 3: the label must be 0 to 6",
                 "row 4: pixels must be 2304 numbers"):  # fmt: skip
        assert part in str(caught.value)
    result = read_dataset(tmp_path / "x.parquet", labels="fer2013", skip_bad=True)
    assert (told(result), result.data.usage.tolist()) == (["happy"], ["Training"])
