"""The second look at stills without a face: a portrait cut too tightly is found, its pixels are those of the image."""

import cv2
import numpy as np
import pytest

from mien.analyzer import Analyzer
from mien.detect import create_detector
from mien.detect.border import detect_in_still, detect_within_border
from mien.detect.boxes import overlap
from mien.faces import Frame


@pytest.fixture(scope="module")
def mtcnn():
    return create_detector("mtcnn")


@pytest.fixture(scope="module")
def tight(astronaut, mtcnn):
    """A portrait cut so that the first look finds nothing, and where the face is in it."""
    known = mtcnn.detect(astronaut)
    x1, y1, x2, y2 = known.xyxy[0]
    less = 0.12 * np.array([x2 - x1, y2 - y1])
    left, top, right, bottom = (int(v) for v in (x1 + less[0], y1 + less[1], x2 - less[0], y2 - less[1]))
    cut = np.ascontiguousarray(astronaut[top:bottom, left:right])
    assert len(mtcnn.detect(cut)) == 0
    return cut, known.xyxy - np.array([left, top] * 2, np.float32), known.landmarks - np.array([left, top], np.float32)


@pytest.mark.parametrize("factor", [1, 5, 12])
def test_a_tight_portrait_is_found_where_it_is(tight, mtcnn, factor):
    cut, box, landmarks = tight
    cut = cv2.resize(cut, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    faces = detect_within_border(mtcnn, cut)
    assert len(faces) == 1
    assert overlap(faces.xyxy / factor, box)[0, 0] > 0.75
    assert np.abs(faces.landmarks[0] / factor - landmarks[0]).max() < 6


def test_a_still_gets_a_second_look_and_a_frame_of_a_video_none(tight):
    analyzer = Analyzer()
    (still,) = analyzer.analyze_frames([Frame(tight[0])])
    assert [face.expression for face in still] == ["happy"]
    (later,) = analyzer.analyze_frames([Frame(tight[0], index=7, time_s=0.28)])
    assert len(later) == 0


def test_where_there_is_a_face_or_the_image_is_one_nothing_changes(astronaut, mtcnn):
    np.testing.assert_array_equal(detect_in_still(mtcnn, astronaut).xyxy, mtcnn.detect(astronaut).xyxy)
    whole = create_detector("none")
    np.testing.assert_array_equal(detect_in_still(whole, astronaut).xyxy, whole.detect(astronaut).xyxy)


def test_a_small_face_in_the_second_look_is_not_taken(tight):
    class Small(type(create_detector("none"))):
        framed = False

        def detect(self, image):
            faces = super().detect(image)
            return faces[:0] if image.shape == tight[0].shape else faces._times(0.2)

    assert len(detect_in_still(Small(), tight[0])) == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (3000, 2), (48, 48)])
def test_images_without_a_face_have_none(mtcnn, shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert len(detect_in_still(mtcnn, image)) == 0
