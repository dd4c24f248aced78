"""BlazeFace: what its networks say, put in pixels; tests of real faces skip where its weights were not pulled."""

import cv2
import numpy as np
import pytest

from mien.analyzer import Analyzer
from mien.detect import DetectorSettings, create_detector
from mien.detect.align import crop_matrices
from mien.detect.blazeface import FULL, SHORT, BlazefaceDetector, squares_over
from mien.detect.boxes import overlap
from mien.errors import InputError, MissingWeightsError, ModelError
from mien.weights import path_of

NETWORKS = [SHORT, FULL]


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda network: network.name)
def detector(request):
    try:
        return BlazefaceDetector(request.param)
    except MissingWeightsError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def mtcnn():
    return create_detector("mtcnn")


def test_missing_weights_say_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setenv("MIEN_HOME", str(tmp_path))
    with pytest.raises(MissingWeightsError, match="run: mien models pull blazeface-full"):
        create_detector("blazeface-full")


def test_a_broken_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MIEN_HOME", str(tmp_path))
    with pytest.raises(MissingWeightsError):
        path_of("blazeface-full")
    from mien.weights import WEIGHTS

    WEIGHTS["blazeface-full"].path.parent.mkdir(parents=True)
    WEIGHTS["blazeface-full"].path.write_bytes(b"no network")
    with pytest.raises(ModelError, match="delete that file and run: mien models pull blazeface-full"):
        create_detector("blazeface-full")


@pytest.mark.parametrize(("network", "count"), [(SHORT, 896), (FULL, 2304)])
def test_the_anchors_are_as_many_as_answers(network, count):
    assert network.anchors.shape == (count, 2)
    np.testing.assert_allclose(network.anchors.mean(axis=0), 0.5, atol=1e-6)
    assert network.anchors.min() > 0 and network.anchors.max() < 1


@pytest.mark.parametrize("size", [(640, 480), (4000, 300), (33, 33), (1200, 5000)])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("smallest", [32, 80])
def test_squares_show_every_face_large_enough(size, network, smallest):
    squares = squares_over(*size, network, smallest)
    rng = np.random.default_rng(0)
    for side in (smallest, 2 * smallest, 5 * smallest):
        if side > min(size):
            continue
        corner = rng.uniform(0, 1, (200, 2)) * (np.array(size) - side)
        inside = (squares[:, None, :2] <= corner + 1e-3).all(axis=2) & (
            squares[:, None, 2:] >= corner + side - 1e-3
        ).all(axis=2)
        shown = side * network.side / (squares[:, 2] - squares[:, 0])
        assert (inside & (shown >= network.smallest / 1.16)[:, None]).any(axis=0).all()


def test_one_face_is_found_once_where_it_is(detector, mtcnn, astronaut):
    found, known = detector.detect(astronaut), mtcnn.detect(astronaut)
    assert len(found) == 1
    assert overlap(found.xyxy, known.xyxy)[0, 0] > 0.5
    eyes = np.linalg.norm(known.landmarks[0, 1] - known.landmarks[0, 0])
    off = np.linalg.norm(found.landmarks[0] - known.landmarks[0], axis=1) / eyes
    assert off[:3].max() < 0.1 and off[3:].max() < 0.3  # this smile draws the corners of the mouth up


def test_moved_turned_and_enlarged_images_move_the_face(detector, astronaut):
    plain = detector.detect(astronaut)
    moved = detector.detect(np.roll(astronaut, (12, -20), axis=(0, 1)))
    np.testing.assert_allclose(moved.landmarks - plain.landmarks, np.broadcast_to([-20, 12], (1, 5, 2)), atol=6)
    flipped = detector.detect(np.ascontiguousarray(astronaut[:, ::-1]))
    np.testing.assert_allclose(512 - flipped.landmarks[0, [1, 0, 2, 4, 3], 0], plain.landmarks[0, :, 0], atol=6)
    large = detector.detect(cv2.resize(astronaut, None, fx=2, fy=2))
    assert overlap(large.xyxy / 2, plain.xyxy)[0, 0] > 0.8


def test_the_crop_has_nearly_the_framing_of_mtcnn(detector, mtcnn, astronaut, hopper):
    corners = np.array([[8, 8, 1], [40, 8, 1], [24, 24, 1], [8, 40, 1], [40, 40, 1]], np.float64)
    for image in (astronaut, hopper):
        ours, known = (crop_matrices(d.detect(image)[:1])[0].astype(np.float64) for d in (detector, mtcnn))
        in_image = (corners[:, :2] - known[:, 2]) @ np.linalg.inv(known[:, :2]).T
        off = np.linalg.norm(in_image @ ours[:, :2].T + ours[:, 2] - corners[:, :2], axis=1)
        assert off.mean() < 3.5  # pixels of 48


def test_small_faces_are_looked_for_in_smaller_squares(detector, astronaut):
    wide = np.full((900, 1600, 3), 110, np.uint8)
    wide[700:828, 1300:1428] = cv2.resize(astronaut, (128, 128), interpolation=cv2.INTER_AREA)  # a face of 27 pixels
    small = BlazefaceDetector(detector._network, DetectorSettings(min_face_px=20))
    assert [
        len(d.detect(wide)) for d in (small, BlazefaceDetector(detector._network, DetectorSettings(min_face_px=200)))
    ] == [1, 0]


def test_refine_follows_a_face_and_keeps_the_order(detector, astronaut):
    (face,) = detector.detect(astronaut).xyxy
    side = face[2] - face[0]
    boxes = np.stack([face + 0.1 * side, [400, 300, 440, 340], face - 0.1 * side, [-80, -80, -10, -10], [5, 5, 5, 5]])
    again = detector.refine(astronaut, boxes.astype(np.float32))
    assert len(again) == 5 and again.landmarks.shape == (5, 5, 2)
    assert (again.score[[0, 2]] > 0.6).all() and (again.score[[1, 3, 4]] < 0.5).all()
    assert (overlap(again.xyxy[[0, 2]], face[None]) > 0.8).all()
    assert len(detector.refine(astronaut, np.zeros((0, 4), np.float32))) == 0
    with pytest.raises(InputError, match="xyxy must be"):
        detector.refine(astronaut, np.full((1, 4), np.nan))


def test_recall_and_precision_on_photos(detector, shared):
    from detectors import measure, read_photos

    def rows(image):
        faces = detector.detect(image)
        return np.concatenate([faces.xyxy[:, :2], faces.xyxy[:, 2:] - faces.xyxy[:, :2]], axis=1).tolist()

    score = measure(rows, read_photos(shared / "data" / "photos"))
    recall, precision = {"blazeface-short": (0.82, 0.89), "blazeface-full": (0.89, 0.92)}[detector._network.name]
    assert score.found + score.missed == 390
    assert score.recall >= recall and score.precision >= precision


def test_the_expressions_of_the_examples_are_those_that_mtcnn_gives(detector, astronaut, hopper):
    analyzer = Analyzer(detector=detector)
    assert [analyzer.analyze(image)[0].expression for image in (astronaut, hopper)] == ["happy", "neutral"]
