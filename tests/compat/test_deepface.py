"""`mien.compat.DeepFace`: shapes, keys, scales and kinds of errors as deepface 0.0.103 showed them.

What is called «real» was recorded by running deepface 0.0.103 on the example images with its detector `opencv`. Its
emotion model is a download and was replaced by fixed numbers: boxes and shapes are real, expressions are not.
"""

import base64
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import EXAMPLES

from mien.compat import DeepFace, FaceNotDetected
from mien.compat.deepface import BACKENDS
from mien.errors import InputError, MienError

NAMES = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
REAL = {  # region and confidence by deepface 0.0.103
    "astronaut.jpg": {"x": 177, "y": 66, "w": 97, "h": 97, "left_eye": (247, 103), "right_eye": (201, 100)},
    "grace_hopper.jpg": {"x": 143, "y": 94, "w": 247, "h": 247, "left_eye": None, "right_eye": None},
}
ASTRONAUT = EXAMPLES / "astronaut.jpg"
BLANK = np.full((200, 300, 3), 200, np.uint8)


@pytest.mark.parametrize(("file", "dominant"), [("astronaut.jpg", "happy"), ("grace_hopper.jpg", "neutral")])
def test_an_image_gives_one_dictionary_per_face(file: str, dominant: str) -> None:
    (face,) = DeepFace.analyze(img_path=str(EXAMPLES / file), actions=["emotion"])
    assert list(face) == ["emotion", "dominant_emotion", "region", "face_confidence"]
    assert list(face["emotion"]) == NAMES
    assert sum(face["emotion"].values()) == pytest.approx(100, abs=0.01)
    assert face["dominant_emotion"] == dominant == max(face["emotion"], key=face["emotion"].get)
    assert face["emotion"][dominant] > 1.5 * sorted(face["emotion"].values())[-2]
    assert 0 < face["face_confidence"] <= 1
    assert json.loads(json.dumps(face))["region"]["x"] == face["region"]["x"]


@pytest.mark.parametrize("file", REAL)
def test_regions_are_those_of_the_real_one(file: str) -> None:
    (face,) = DeepFace.analyze(str(EXAMPLES / file))
    region, real = face["region"], REAL[file]
    assert list(region) == list(real)
    for side in "xywh":
        assert type(region[side]) is int
        assert region[side] == pytest.approx(real[side], abs=0.12 * real["w"]), side
    for eye in ("left_eye", "right_eye"):
        if real[eye]:
            assert region[eye] == pytest.approx(real[eye], abs=8)


def test_the_left_eye_is_the_persons() -> None:
    (face,) = DeepFace.analyze(str(ASTRONAUT), detector_backend="mtcnn")
    assert face["region"]["left_eye"][0] > face["region"]["right_eye"][0]


def sources(astronaut: np.ndarray) -> dict[str, object]:
    data = ASTRONAUT.read_bytes()
    return {
        "str": str(ASTRONAUT),
        "Path": ASTRONAUT,
        "bytes": data,
        "file": io.BytesIO(data),
        "data URL": "data:image/jpeg;base64," + base64.b64encode(data).decode(),
        "BGR": astronaut[:, :, ::-1],
        "BGRA": np.dstack([astronaut[:, :, ::-1], np.full(astronaut.shape[:2], 255, np.uint8)]),
    }


def test_every_kind_of_source_gives_the_same(astronaut: np.ndarray) -> None:
    found = {kind: DeepFace.analyze(source) for kind, source in sources(astronaut).items()}
    for kind, faces in found.items():
        assert faces[0]["region"]["x"] == pytest.approx(177, abs=3), kind
        assert faces[0]["emotion"]["happy"] == pytest.approx(found["BGR"][0]["emotion"]["happy"], abs=1), kind


def test_arrays_are_bgr() -> None:
    from mien.compat._images import rgb_of

    blue = np.zeros((2, 2, 3), np.uint8)
    blue[..., 0] = 255
    assert rgb_of(blue)[0, 0].tolist() == [0, 0, 255]


def test_several_images_give_a_list_of_lists(astronaut: np.ndarray) -> None:
    (one,) = DeepFace.analyze(astronaut[:, :, ::-1])
    both = DeepFace.analyze([str(ASTRONAUT), str(EXAMPLES / "grace_hopper.jpg")])
    assert [[face["dominant_emotion"] for face in faces] for faces in both] == [["happy"], ["neutral"]]
    batch = DeepFace.analyze(np.stack([astronaut[:, :, ::-1]] * 2))
    assert [faces[0]["region"] for faces in batch] == [one["region"]] * 2
    assert DeepFace.analyze([str(ASTRONAUT)])[0][0].keys() == one.keys()


def test_no_face_is_a_value_error_with_deepfaces_words() -> None:
    with pytest.raises(ValueError, match=r"Face could not be detected in numpy array.*enforce_detection") as caught:
        DeepFace.analyze(BLANK)
    assert isinstance(caught.value, FaceNotDetected) and isinstance(caught.value, MienError)
    with pytest.raises(ValueError, match="Face could not be detected"):
        DeepFace.analyze([str(ASTRONAUT), BLANK])


@pytest.mark.parametrize("options", [{"enforce_detection": False}, {"detector_backend": "skip"}])
def test_without_enforcing_the_whole_image_is_the_region(options: dict) -> None:
    (face,) = DeepFace.analyze(BLANK, **options)
    assert face["region"] == {"x": 0, "y": 0, "w": 299, "h": 199, "left_eye": None, "right_eye": None}
    assert face["face_confidence"] == 0.0
    assert sum(face["emotion"].values()) == pytest.approx(100, abs=0.01)


def test_expanding_grows_the_region_within_the_image() -> None:
    path = str(EXAMPLES / "grace_hopper.jpg")
    (plain,), (grown,) = DeepFace.analyze(path), DeepFace.analyze(path, expand_percentage=20)
    assert grown["region"]["w"] == pytest.approx(1.2 * plain["region"]["w"], abs=2)
    assert grown["emotion"] == plain["emotion"]
    (huge,) = DeepFace.analyze(path, expand_percentage=1000)
    assert [huge["region"][side] for side in "xywh"] == [0, 0, 511, 599]


def test_align_decides_whether_eyes_turn_the_crop() -> None:
    (turned,), (upright,) = (DeepFace.analyze(str(ASTRONAUT), align=align) for align in (True, False))
    assert turned["region"] == upright["region"] and turned["emotion"] != upright["emotion"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"img_path": "nope.jpg"}, "nope.jpg"),
        ({"img_path": 5}, "img must be .* got int"),
        ({"img_path": None}, "got NoneType"),
        ({"actions": ("mood",)}, "Invalid action passed"),
        ({"actions": ()}, "`actions` must be a list of strings"),
        ({"actions": None}, "`actions` must be a list of strings"),
        ({"actions": ["race"]}, "does not guess the action 'race'"),
        ({"detector_backend": "nope"}, "unknown detector_backend 'nope'; known: opencv"),
        ({"anti_spoofing": True}, "anti_spoofing=False"),
        ({"img_path": "data:image/png;base64,xx"}, "format error in base64"),
        ({"img_path": "data:image/png;base64"}, "format error in base64"),
        ({"img_path": "data:image/png;base64,/9j/ 4AA"}, "lost on the way"),
        ({"img_path": io.StringIO("x")}, "must give bytes, got StringIO"),
        ({"img_path": io.BytesIO(b"xx")}, "io object"),
        ({"img_path": np.zeros((4, 4, 3))}, "float64"),
        ({"img_path": "http://127.0.0.1:9/x.jpg"}, "127.0.0.1"),
    ],
)
def test_mistakes_are_value_errors_and_mien_errors(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        DeepFace.analyze(**{"img_path": str(ASTRONAUT), **options})
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["extract_faces", "find", "stream", "build_model"])
def test_what_is_not_there_says_what_is(name: str) -> None:
    assert not hasattr(DeepFace, name)
    with pytest.raises(AttributeError, match=rf"no '{name}'; it has analyze\(\)"):
        getattr(DeepFace, name)
    assert dir(DeepFace) == ["analyze", "represent", "verify"]


def test_every_detector_of_deepface_is_known() -> None:
    real = (
        "opencv mtcnn ssd dlib retinaface mediapipe yolov8n yolov8m yolov8l yolov11n yolov11s yolov11m yolov11l "
        "yolov12n yolov12s yolov12m yolov12l yunet fastmtcnn centerface skip"
    )
    assert set(BACKENDS) == set(real.split())


@pytest.mark.parametrize("backend", ["mtcnn", "retinaface", "yolov8n", "yunet"])
def test_detectors_find_the_astronaut(backend: str) -> None:
    (face,) = DeepFace.analyze(str(ASTRONAUT), detector_backend=backend)
    assert face["dominant_emotion"] == "happy" and face["face_confidence"] > 0.9


def test_a_list_of_paths_may_be_empty() -> None:
    assert DeepFace.analyze([]) == []
    assert isinstance(DeepFace.analyze(Path(ASTRONAUT)), list)


def test_age_and_gender_are_answered_where_their_networks_were_pulled() -> None:
    from mien.weights import WEIGHTS

    if not (WEIGHTS["age"].is_there() and WEIGHTS["gender"].is_there()):
        pytest.skip("needs `mien models pull age gender`")
    (face,) = DeepFace.analyze(str(ASTRONAUT), ["age", "gender"], detector_backend="mtcnn")
    assert isinstance(face["age"], int) and 20 < face["age"] < 60 and "emotion" not in face
    assert face["dominant_gender"] == "Woman" and sum(face["gender"].values()) == pytest.approx(100)
    (face,) = DeepFace.analyze(str(ASTRONAUT), ["emotion", "age"], detector_backend="mtcnn")
    assert face["dominant_emotion"] == "happy" and face["age"] > 20


def test_age_without_its_network_names_the_line_to_type(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from mien.compat.deepface import _guesses
    from mien.errors import MissingWeightsError

    _guesses.cache_clear()
    monkeypatch.setenv("MIEN_HOME", str(tmp_path))
    with pytest.raises(MissingWeightsError, match="mien models pull age"):
        DeepFace.analyze(str(ASTRONAUT), ["age"])


class TestPeople:
    """What deepface answers with dlib's network, the one that both have."""

    def test_two_images_are_of_one_person_or_not(self, identity, tmp_path: Path) -> None:
        darker = tmp_path / "a.png"
        cv2.imwrite(str(darker), cv2.convertScaleAbs(cv2.imread(str(ASTRONAUT))[:, ::-1], alpha=0.8))
        hopper = str(EXAMPLES / "grace_hopper.jpg")
        for metric in ("cosine", "euclidean", "euclidean_l2", "angular"):
            same = DeepFace.verify(str(ASTRONAUT), str(darker), "Dlib", "mtcnn", metric)
            other = DeepFace.verify(str(ASTRONAUT), hopper, "Dlib", "mtcnn", metric)
            assert same["verified"] and not other["verified"] and same["distance"] < other["distance"]
        assert list(same) == [
            "verified", "distance", "threshold", "confidence", "model", "detector_backend", "similarity_metric",
            "facial_areas", "time",
        ]  # fmt: skip
        assert (same["model"], same["threshold"], same["confidence"]) == ("Dlib", 0.12, 51)
        assert set(same["facial_areas"]["img1"]) == {"x", "y", "w", "h", "left_eye", "right_eye"}
        assert DeepFace.verify(str(ASTRONAUT), hopper, model_name="Dlib", threshold=2)["verified"]

    def test_faces_are_128_numbers(self, identity) -> None:
        (face,) = DeepFace.represent(str(ASTRONAUT), model_name="Dlib", detector_backend="mtcnn")
        assert len(face["embedding"]) == 128 and face["face_confidence"] > 0.9 and face["facial_area"]["w"] > 50
        image = np.hstack([cv2.imread(str(ASTRONAUT))] * 2)
        assert len(DeepFace.represent(image, "Dlib", detector_backend="mtcnn")) == 2
        assert len(DeepFace.represent(image, "Dlib", detector_backend="mtcnn", max_faces=1)) == 1

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({}, "pass model_name='Dlib', got 'VGG-Face'"),
            ({"model_name": "Dlib", "align": False}, "align=True"),
            ({"model_name": "Dlib", "distance_metric": "manhattan"}, "unknown distance_metric 'manhattan'"),
            ({"model_name": "Dlib", "img2_path": np.zeros((80, 80, 3), np.uint8)}, "could not be detected"),
        ],
    )
    def test_mistakes_say_what_to_pass(self, identity, options: dict, said: str) -> None:
        with pytest.raises(InputError, match=said):
            DeepFace.verify(**{"img1_path": str(ASTRONAUT), "img2_path": str(ASTRONAUT), **options})
