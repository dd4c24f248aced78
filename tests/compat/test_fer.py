"""`mien.compat.FER` and `Video`: shapes, keys, scales and kinds of errors as fer 25.10.3 showed them.

What is called «real» was recorded by running fer 25.10.3 on the example images and on a video made of them.
"""

import csv
import zipfile
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from conftest import EXAMPLES

from mien.compat import FER, InvalidImage, Video, VideoNotFound
from mien.errors import InputError, MienError
from videos import write_video

NAMES = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
REAL = {  # box and emotions by fer 25.10.3
    "astronaut.jpg": ([178, 67, 92, 92], ("happy", 0.99)),
    "grace_hopper.jpg": ([155, 105, 222, 222], ("neutral", 0.96)),
}
BLANK = np.full((200, 200, 3), 200, np.uint8)


@pytest.fixture(scope="module")
def detector() -> FER:
    return FER()


@pytest.mark.parametrize("file", REAL)
def test_boxes_are_those_of_the_real_one(detector: FER, file: str) -> None:
    (face,) = detector.detect_emotions(cv2.imread(str(EXAMPLES / file)))
    box, (name, _) = REAL[file]
    assert list(face) == ["box", "emotions"]
    assert isinstance(face["box"], np.ndarray) and face["box"].dtype == np.int32
    assert face["box"].tolist() == pytest.approx(box, abs=3)
    assert list(face["emotions"]) == NAMES
    assert all(type(p) is float and p == round(p, 2) and 0 <= p <= 1 for p in face["emotions"].values())
    assert max(face["emotions"], key=face["emotions"].get) == name


def test_mtcnn_gives_lists() -> None:
    detector = FER(mtcnn=True)
    (face,) = detector.detect_emotions(str(EXAMPLES / "astronaut.jpg"))
    assert type(face["box"]) is list and all(type(v) is int for v in face["box"])
    assert detector.find_faces(cv2.imread(str(EXAMPLES / "astronaut.jpg"))) == [face["box"]]
    assert detector.find_faces(BLANK) == []


def test_top_emotion(detector: FER) -> None:
    image = cv2.imread(str(EXAMPLES / "astronaut.jpg"))
    name, score = detector.top_emotion(image)
    assert name == "happy" and score == detector.emotions[0]["emotions"]["happy"] > 0.5
    assert detector.top_emotion(BLANK) == (None, None)


def test_no_face_is_an_empty_list(detector: FER) -> None:
    assert detector.detect_emotions(BLANK) == [] == detector.emotions
    assert len(detector.find_faces(BLANK)) == 0
    assert detector.batch_detect_emotions([BLANK]) == [[]]
    assert detector.batch_detect_emotions([]) == []


def test_find_faces_in_colour_and_gray(detector: FER) -> None:
    image = cv2.imread(str(EXAMPLES / "astronaut.jpg"))
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    boxes = detector.find_faces(image)
    assert boxes.shape == (1, 4) and boxes.dtype == np.int32
    assert boxes.tolist() == detector.find_faces(gray, bgr=False).tolist()
    assert boxes.tolist() == detector.find_faces(BLANK, gray_img=gray).tolist()


def test_faces_may_be_given(detector: FER) -> None:
    image = cv2.imread(str(EXAMPLES / "astronaut.jpg"))
    searched = detector.detect_emotions(image)
    (given,) = detector.detect_emotions(image, face_rectangles=[(178, 67, 92, 92)])
    assert given["box"] == (178, 67, 92, 92)
    assert given["emotions"]["happy"] == pytest.approx(searched[0]["emotions"]["happy"], abs=0.1)
    assert detector.detect_emotions(image, face_rectangles=[]) == []


def test_a_batch_gives_what_single_images_give(detector: FER) -> None:
    images = [cv2.imread(str(EXAMPLES / file)) for file in REAL]
    batch = detector.batch_detect_emotions(images)
    for image, faces in zip(images, batch, strict=True):
        (face,), (alone,) = faces, detector.detect_emotions(image)
        assert face["box"].tolist() == alone["box"].tolist()
        assert list(face["emotions"].values()) == pytest.approx(list(alone["emotions"].values()), abs=0.011)


@pytest.mark.parametrize("image", [None, 5, "nope.jpg", "data:image/png;base64,xx", [1, 2]])
def test_what_is_no_image_is_an_invalid_image(detector: FER, image: object) -> None:
    with pytest.raises(InvalidImage) as caught:
        detector.detect_emotions(image)
    assert isinstance(caught.value, MienError)


@pytest.mark.parametrize(
    "options",
    [
        {"scale_factor": 1.0},
        {"min_face_size": 0},
        {"min_neighbors": -1},
        {"offsets": (1,)},
        {"offsets": 10},
        {"tfserving": True},
        {"cascade_file": "nope.xml"},
    ],
)
def test_values_out_of_range_are_value_errors(options: dict) -> None:
    with pytest.raises(ValueError) as caught:
        FER(**options)
    assert isinstance(caught.value, MienError)


def test_settings_of_the_cascade_count() -> None:
    image = cv2.imread(str(EXAMPLES / "astronaut.jpg"))
    assert len(FER(min_face_size=200).find_faces(image)) == 0
    other = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_alt2.xml"
    assert len(FER(cascade_file=str(other)).find_faces(image)) == 1


# Video ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """12 frames of the astronaut at 10 a second; 3 and 4 show nobody."""
    empty = np.full_like(astronaut, 128)
    images = [empty if number in (3, 4) else astronaut for number in range(12)]
    return write_video(tmp_path_factory.mktemp("clips") / "clip.mp4", images, fps=10, audio=True)


@pytest.fixture
def video(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Video:
    monkeypatch.chdir(tmp_path)
    return Video(str(clip))


BARE = {"save_frames": False, "save_video": False}


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_video_gives_one_row_for_each_frame_with_a_face(video: Video, detector: FER) -> None:
    rows = video.analyze(detector, display=False)
    assert len(rows) == 10
    assert list(rows[0]) == ["box0", *(name + "0" for name in NAMES)]
    assert rows[0]["happy0"] > 0.5
    output = Path("output")
    assert sorted(path.name for path in output.iterdir()) == ["clip_output.mp4", "images.zip"]
    assert zipfile.ZipFile(output / "images.zip").namelist() == [f"clip{number}.jpg" for number in range(12)]
    assert frames_of(output / "clip_output.mp4") == 12
    with open("data.csv", newline="") as file:
        written = list(csv.DictReader(file))
    assert list(written[0]) == sorted(rows[0]) and len(written) == 10
    assert float(written[0]["happy0"]) == rows[0]["happy0"]


def test_the_readme_of_fer_runs(video: Video, caplog: pytest.LogCaptureFixture) -> None:
    raw_data = video.analyze(FER(mtcnn=True), display=True, **BARE)
    assert "mien live" in caplog.text
    df = video.to_pandas(raw_data)
    assert list(df.columns) == ["box", *NAMES] and len(df) == 10
    assert list(video.get_first_face(df).columns) == list(df.columns)
    emotions = video.get_emotions(df)
    assert list(emotions.columns) == NAMES and (emotions.happy > 0.5).all()
    assert list(Path("output").iterdir()) == []


def test_pandas_and_several_faces(clip: Path, tmp_path: Path, detector: FER) -> None:
    several = Video(str(clip), outdir=str(tmp_path / "out"), first_face_only=False)
    face = detector.detect_emotions(str(EXAMPLES / "astronaut.jpg"))[0]
    data = [[face], [face, face]]
    table = several.to_pandas(data)
    assert list(table.columns) == [f"{name}{n}" for n in (0, 1) for name in ("box", *NAMES)]
    assert table.happy1.isna().tolist() == [True, False]
    assert list(several.get_first_face(table).columns) == ["box", *NAMES]
    assert several.get_max_faces(data) == 2
    several.to_csv(data, str(tmp_path / "both.csv"))
    columns = (tmp_path / "both.csv").read_text().splitlines()[0].split(",")
    assert columns[:4] == ["angry0", "angry1", "box0", "box1"]


def test_frames_are_chosen(video: Video, detector: FER) -> None:
    assert len(video.analyze(detector, frequency=3, **BARE)) == 3  # 0, 3 (nobody), 6, 9
    assert len(video.analyze(detector, max_results=2, output="pandas", **BARE)) == 2
    assert len(video.analyze(detector, save_fps=5, **BARE)) == 5  # 0, 2, 4 (nobody), 6, 8, 10
    assert len(video.analyze(detector, batch_size=4, **BARE)) == 10


def test_a_part_of_the_frame(video: Video, detector: FER) -> None:
    part = {"x_min": 100, "x_max": 400, "y_min": 0, "y_max": 300}
    options = {"save_video": False, "zip_images": False, "max_results": 1}
    (row,) = video.analyze(detector, detection_box=part, **options)
    assert list(row["box0"]) == pytest.approx([175, 65, 99, 99], abs=6)  # real
    assert cv2.imread("output/clip0.jpg").shape == (512, 512, 3)
    assert video.analyze(detector, detection_box=part | {"x_min": 300}, **BARE) == []
    for wrong in ({"x_min": 1}, part | {"x_min": 600}):
        with pytest.raises(InputError, match="detection_box"):
            video.analyze(detector, detection_box=wrong, **BARE)


def test_saved_frames_are_annotated_if_wanted(video: Video, detector: FER, astronaut: np.ndarray) -> None:
    change = {}
    for annotate in (True, False):
        video.analyze(
            detector, max_results=1, save_video=False, zip_images=False, annotate_frames=annotate, video_id="x"
        )
        saved = cv2.cvtColor(cv2.imread("output/x0.jpg"), cv2.COLOR_BGR2RGB)
        change[annotate] = np.abs(saved.astype(int) - astronaut).mean()
    assert change[False] < 4 < 2 * change[True] and change[True] > change[False] + 0.5


def test_sound_is_kept_if_wanted(video: Video, detector: FER) -> None:
    video.analyze(detector, save_frames=False, include_audio=True)
    heard = {path.name: len(av.open(str(path)).streams.audio) for path in Path("output").iterdir()}
    assert heard == {"clip_output.mp4": 0, "clip_output_audio.mp4": 1}


def test_a_video_without_a_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, detector: FER) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_video(tmp_path / "empty.avi", [BLANK] * 3, codec="mpeg4")
    empty = Video(str(path))
    assert empty.analyze(detector, zip_images=False) == []
    assert Path("data.csv").read_text() == ",".join(sorted([*(n + "0" for n in NAMES), "box0"])) + "\n"
    assert len(empty.analyze(detector, output="pandas", **BARE)) == 0
    assert (Path("output") / "empty_output.mp4").exists()  # AVI is not written


def test_mistakes(video: Video, detector: FER) -> None:
    with pytest.raises(AssertionError, match="Video file not found") as caught:
        Video("nope.mp4")
    assert isinstance(caught.value, VideoNotFound) and isinstance(caught.value, MienError)
    with pytest.raises(InputError, match="unknown output 'xls'; known: csv, pandas"):
        video.analyze(detector, output="xls")
    with pytest.raises(InputError, match=r"detector must be a mien\.compat.FER, got str"):
        video.analyze("mtcnn")
    assert list(Path("output").iterdir()) == []
    Path("text.mp4").write_text("no video")
    with pytest.raises(InputError, match=r"text\.mp4"):
        Video("text.mp4").analyze(detector)
