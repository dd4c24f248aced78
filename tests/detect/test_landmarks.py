import importlib.util
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mien.detect.landmarks import _predictor_boxes, find_landmarks
from mien.detect.mtcnn import MtcnnDetector
from mien.errors import InputError, MissingExtraError, ModelError
from mien.faces import Faces

installed = importlib.util.find_spec("dlib") and importlib.util.find_spec("face_recognition_models")
needs_dlib = pytest.mark.skipif(not installed, reason="needs the extra dlib")


@pytest.fixture(scope="module")
def found(astronaut, hopper):
    detector = MtcnnDetector()
    return [(image, detector.detect(image)) for image in (astronaut, hopper)]


def five_of(points):
    """Eye centres, nose tip and mouth corners of (68, 2) landmarks."""
    return np.stack([points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]])


@needs_dlib
def test_agree_with_the_five_points_of_the_detector(found):
    for image, faces in found:
        landmarks = find_landmarks(image, faces)
        assert landmarks.shape == (1, 68, 2)
        assert landmarks.dtype == np.float32
        eyes_apart = np.linalg.norm(faces.landmarks[0, 1] - faces.landmarks[0, 0])
        assert np.linalg.norm(five_of(landmarks[0]) - faces.landmarks[0], axis=1).max() < 0.2 * eyes_apart


@needs_dlib
def test_order_is_that_of_300_w(found):
    for image, faces in found:
        jaw, brows, mouth = (
            find_landmarks(image, faces)[0][part] for part in (slice(0, 17), slice(17, 27), slice(48, 68))
        )
        assert jaw[0, 0] < jaw[8, 0] < jaw[16, 0]
        assert jaw[8, 1] == jaw[:, 1].max()
        assert (np.diff(brows[:, 0]) > 0).all()
        assert brows[:, 1].max() < mouth[:, 1].min()


@needs_dlib
def test_same_points_from_a_slightly_moved_box(found):
    image, faces = found[0]
    moved = Faces(faces.xyxy + np.array([4, -3, 4, -3], np.float32), faces.score)
    assert np.abs(find_landmarks(image, moved) - find_landmarks(image, faces)).mean() < 2


@needs_dlib
def test_one_row_per_face_in_any_number_and_place(found):
    image, faces = found[0]
    boxes = np.concatenate([faces.xyxy, [[-300, -300, -200, -200], [7, 7, 7, 7], [0, 0, 5000, 5000]]]).astype(
        np.float32
    )
    landmarks = find_landmarks(image, Faces(boxes, np.ones(4, np.float32)))
    assert landmarks.shape == (4, 68, 2)
    assert np.isfinite(landmarks).all()
    np.testing.assert_array_equal(landmarks[:1], find_landmarks(image, faces))
    assert find_landmarks(image, Faces.empty()).shape == (0, 68, 2)
    whole = Faces(np.array([[0, 0, 1, 1]], np.float32), np.ones(1, np.float32))
    assert find_landmarks(np.zeros((1, 1, 3), np.uint8), whole).shape == (1, 68, 2)


@needs_dlib
def test_threads_agree(found):
    image, faces = found[1]
    alone = find_landmarks(image, faces)
    with ThreadPoolExecutor(8) as pool:
        for together in pool.map(lambda _: find_landmarks(image, faces), range(16)):
            np.testing.assert_array_equal(together, alone)


@needs_dlib
def test_model_package_is_located_without_importing_it(found):
    find_landmarks(*found[0])
    assert "face_recognition_models" not in sys.modules


def test_tall_box_becomes_a_square_on_its_lower_edge():
    boxes = np.array([[10, 10, 90, 135], [5, 5, 45, 45]], np.float32)
    assert _predictor_boxes(boxes).tolist() == [[0, 35, 100, 135], [5, 5, 45, 45]]


def test_missing_dlib_names_the_extra(monkeypatch, astronaut):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mien\[dlib\]'"):
        find_landmarks(astronaut, Faces.empty())


def test_missing_model_package_names_the_extra(monkeypatch):
    from mien.detect import dlib_

    monkeypatch.setattr(dlib_.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"face_recognition_models.*pip install 'mien\[dlib\]'"):
        dlib_.model_file("shape_predictor_68_face_landmarks.dat")


@needs_dlib
def test_missing_model_file_is_named():
    from mien.detect.dlib_ import model_file

    with pytest.raises(ModelError, match=r"no file .*other\.dat"):
        model_file("other.dat")


def test_refuses_what_is_no_image():
    with pytest.raises(InputError, match="uint8 RGB"):
        find_landmarks(np.zeros((9, 9), np.float32), Faces.empty())
