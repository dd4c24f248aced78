import cv2
import numpy as np
import pytest

from mien.detect.align import BOX_PX, TEMPLATE_PX, box_matrices, crop_faces, crop_matrices, similarity_matrices
from mien.faces import CROP_PX, Faces

RNG = np.random.default_rng(0)


def faces_with(landmarks, xyxy=None):
    n = len(landmarks)
    boxes = np.tile(np.array([[10, 10, 60, 70]], np.float32), (n, 1)) if xyxy is None else xyxy
    return Faces(boxes, np.ones(n, np.float32), landmarks=landmarks)


def moved(points, *, scale, degrees, shift):
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points @ turn.T + shift).astype(np.float32)


def applied(matrix, points):
    return points @ matrix[:, :2].T + matrix[:, 2]


@pytest.mark.parametrize("degrees", [-170, -30, 0, 12, 90])
@pytest.mark.parametrize("scale", [0.3, 1.0, 7.5])
def test_a_similar_shape_lands_exactly_on_the_template(degrees, scale):
    points = moved(TEMPLATE_PX, scale=scale, degrees=degrees, shift=(200, 90))
    (matrix,) = similarity_matrices(points[None], TEMPLATE_PX)
    np.testing.assert_allclose(applied(matrix, points), TEMPLATE_PX, atol=1e-3)


def test_the_map_is_the_least_squares_similarity():
    points = moved(TEMPLATE_PX, scale=3, degrees=8, shift=(50, 60)) + RNG.normal(0, 3, (5, 2)).astype(np.float32)
    (matrix,) = similarity_matrices(points[None], TEMPLATE_PX)
    design = np.zeros((10, 4))  # a, b, x, y of [a -b x; b a y]
    design[0::2] = np.column_stack([points[:, 0], -points[:, 1], np.ones(5), np.zeros(5)])
    design[1::2] = np.column_stack([points[:, 1], points[:, 0], np.zeros(5), np.ones(5)])
    a, b, x, y = np.linalg.lstsq(design, TEMPLATE_PX.ravel(), rcond=None)[0]
    np.testing.assert_allclose(matrix, [[a, -b, x], [b, a, y]], atol=1e-4)


def test_coinciding_landmarks_fall_back_to_the_box():
    faces = faces_with(np.full((1, 5, 2), 30, np.float32))
    np.testing.assert_array_equal(crop_matrices(faces), box_matrices(faces.xyxy))


def test_a_box_lands_where_the_training_boxes_lie():
    size = BOX_PX[2:] - BOX_PX[:2]
    box = np.concatenate([[100, 50], [100, 50] + 4 * size]).astype(np.float32)
    (matrix,) = box_matrices(box[None])
    np.testing.assert_allclose(applied(matrix, box.reshape(2, 2)), BOX_PX.reshape(2, 2), atol=1e-3)


@pytest.mark.parametrize("enlarge", [1, 2, 3, 6, 20])
def test_an_enlarged_crop_comes_back(enlarge, astronaut):
    crop = cv2.resize(
        cv2.cvtColor(astronaut[60:200, 160:300], cv2.COLOR_RGB2GRAY), (48, 48), interpolation=cv2.INTER_AREA
    )
    large = cv2.resize(crop, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_CUBIC)
    canvas = np.full((large.shape[0] + 90, large.shape[1] + 70), 128, np.uint8)
    canvas[40 : 40 + large.shape[0], 30 : 30 + large.shape[1]] = large
    points = (TEMPLATE_PX + 0.5) * enlarge - 0.5 + np.float32([30, 40])
    got = crop_faces(np.dstack([canvas] * 3), faces_with(points[None].astype(np.float32)))
    assert got.shape == (1, CROP_PX, CROP_PX)
    assert got.dtype == np.uint8
    assert np.abs(got[0].astype(int) - crop).mean() < (0.6 if enlarge == 1 else 3.0)


def test_a_large_face_does_not_alias():
    checkers = np.kron(np.indices((480, 480)).sum(0) % 2, np.ones((1, 1))).astype(np.uint8) * 255
    points = (TEMPLATE_PX + 0.5) * 10 - 0.5
    (crop,) = crop_faces(np.dstack([checkers] * 3), faces_with(points[None].astype(np.float32)))
    assert np.abs(crop.astype(int) - 127).max() <= 24


def test_a_face_beyond_the_border_is_filled_with_it():
    image = np.full((60, 60, 3), 90, np.uint8)
    (crop,) = crop_faces(image, faces_with((TEMPLATE_PX[None] - 30).astype(np.float32)))
    assert (crop == 90).all()


def test_no_face_no_crop():
    assert crop_faces(np.zeros((9, 9, 3), np.uint8), Faces.empty()).shape == (0, CROP_PX, CROP_PX)
