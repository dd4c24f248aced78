"""Measures of meshes whose geometry is known: the canonical face, turned, mirrored, scaled, and changed by hand."""

import numpy as np
import pytest

from mien.attributes.geometry import (
    INNER_LIPS,
    LEFT_BROW,
    LEFT_EYE_CORNERS,
    LEFT_INNER_BROW,
    LEFT_LIDS,
    LEFT_MOUTH,
    RIGHT_BROW,
    RIGHT_EYE_CORNERS,
    RIGHT_INNER_BROW,
    RIGHT_MOUTH,
    RIGID,
    brows_of,
    canonical_face,
    eye_openness,
    in_head_frame,
    landmarks68,
    mouth_of,
    pose_of,
    rotations,
    turn_of,
)
from mien.errors import InputError

POSES = [(0, 0, 0), (30, 0, 0), (-50, 10, 0), (0, 25, 0), (10, -35, 5), (0, 0, 120), (-20, 15, -40)]


def seen(face, yaw=0.0, pitch=0.0, roll=0.0, scale=80.0, shift=(200.0, 150.0, 0.0)):
    """The mesh in an image of a face with this pose."""
    return scale * face @ turn_of(yaw, pitch, roll).T + shift


def mirrored(mesh, width=400.0):
    """The mesh of the mirror image: each point is that of the other side."""
    face = canonical_face()
    other = np.linalg.norm(face[:, None] * [-1, 1, 1] - face[None], axis=2).argmin(axis=1)
    assert (other[other] == np.arange(len(face))).all()
    return np.column_stack([width - mesh[other, 0], mesh[other, 1:]])


def measured(mesh):
    turns = rotations(mesh[None])
    heads = in_head_frame(mesh[None], turns)
    return pose_of(turns)[0], eye_openness(heads)[0], mouth_of(heads)[0], brows_of(heads)[0]


def changed(indices, move):
    face = canonical_face().copy()
    face[list(indices)] += move
    return face


@pytest.mark.parametrize("pose", POSES)
def test_the_pose_of_a_turned_face_is_the_turn(pose):
    np.testing.assert_allclose(measured(seen(canonical_face(), *pose))[0], pose, atol=1e-6)


def test_signs_are_those_of_the_person():
    def tip(*pose):
        return seen(canonical_face(), *pose)[4] - seen(canonical_face())[4]

    assert tip(20, 0, 0)[0] > 0, "to their left is to the right in the image"
    assert tip(0, 20, 0)[1] < 0, "up"
    top = seen(canonical_face(), 0, 0, 20)[10] - seen(canonical_face())[10]
    assert top[0] > 0, "the top of the head towards their left shoulder"
    assert seen(canonical_face())[LEFT_EYE_CORNERS[0], 0] > seen(canonical_face())[RIGHT_EYE_CORNERS[0], 0]


@pytest.mark.parametrize("pose", POSES)
def test_a_mirror_image_changes_the_signs_of_yaw_roll_and_asymmetry_and_swaps_the_eyes(pose):
    face = changed([LEFT_MOUTH], [0, -0.05, 0])
    face[[a for a, _ in LEFT_LIDS]] += [0, 0.03, 0]
    (yaw, pitch, roll), eyes, mouth, brows = measured(seen(face, *pose))
    other, other_eyes, other_mouth, other_brows = measured(mirrored(seen(face, *pose)))
    np.testing.assert_allclose(other, [-yaw, pitch, -roll], atol=1e-6)
    np.testing.assert_allclose(other_eyes, eyes[::-1], atol=1e-9)
    np.testing.assert_allclose(other_mouth, mouth * [1, 1, 1, -1], atol=1e-9)
    np.testing.assert_allclose(other_brows, brows, atol=1e-9)
    assert mouth[3] > 0.04 and eyes[0] < eyes[1]


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("scale", [20.0, 300.0])
def test_size_place_and_pose_change_no_measure(pose, scale):
    face = changed(LEFT_BROW + RIGHT_BROW, [0, -0.1, 0])
    _, eyes, mouth, brows = measured(seen(face))
    _, others, other_mouth, other_brows = measured(seen(face, *pose, scale, (-50, 900, 30)))
    np.testing.assert_allclose(others, eyes, atol=1e-9)
    np.testing.assert_allclose(other_mouth, mouth, atol=1e-9)
    np.testing.assert_allclose(other_brows, brows, atol=1e-9)


def test_the_openness_of_an_eye_is_its_height_over_its_width():
    face = canonical_face().copy()
    width = np.linalg.norm(face[LEFT_EYE_CORNERS[0]] - face[LEFT_EYE_CORNERS[1]])
    for height in (0.0, 0.1, 0.4):
        for upper, lower in LEFT_LIDS:
            middle = (face[upper] + face[lower]) / 2
            half = np.array([0, height * width / 2, 0])
            face[upper], face[lower] = middle - half, middle + half
        left, right = measured(seen(face, 20, 5, 10))[1]
        assert left == pytest.approx(height, abs=1e-9)
        assert right == pytest.approx(measured(canonical_face())[1][1])


def test_mouth_and_brows_in_eye_distances():
    _, _, (opening, width, corners, asymmetry), (raised, furrow) = measured(canonical_face())
    assert (asymmetry, raised, furrow) == pytest.approx((0, 0, 0), abs=1e-6)
    assert 0 < opening < 0.1 and 0.6 < width < 1
    eyes = canonical_face()[list(LEFT_EYE_CORNERS)].mean(0) - canonical_face()[list(RIGHT_EYE_CORNERS)].mean(0)
    unit = np.linalg.norm(eyes)

    lower = changed([b for _, b in INNER_LIPS], [0, 0, 0])
    lower[[b for _, b in INNER_LIPS]] = lower[[a for a, _ in INNER_LIPS]] + [0, 0.5 * unit, 0]
    assert measured(seen(lower, 30, 10, 5))[2][0] == pytest.approx(0.5)

    wide = changed([LEFT_MOUTH], [0.1 * unit, 0, 0])
    wide[RIGHT_MOUTH] -= [0.1 * unit, 0, 0]
    assert measured(seen(wide, -30))[2][1] == pytest.approx(width + 0.2)

    smile = changed([LEFT_MOUTH, RIGHT_MOUTH], [0, -0.1 * unit, 0])
    assert measured(seen(smile, 10))[2][2:] == pytest.approx((corners + 0.1, 0), abs=1e-6)
    half = changed([LEFT_MOUTH], [0, -0.1 * unit, 0])
    assert measured(seen(half))[2][2:] == pytest.approx((corners + 0.05, 0.1), abs=1e-6)

    high = changed(LEFT_BROW + RIGHT_BROW, [0, -0.2 * unit, 0])
    assert measured(seen(high, 0, 20))[3][0] == pytest.approx(0.2)
    near = changed(LEFT_INNER_BROW, [-0.05 * unit, 0, 0])
    near[list(RIGHT_INNER_BROW)] += [0.05 * unit, 0, 0]
    assert measured(seen(near, 25))[3][1] == pytest.approx(0.1)


def test_the_canonical_face_is_symmetric_and_rigid_points_are_pairs():
    face = canonical_face()
    np.testing.assert_allclose(mirrored(face, 0.0), face, atol=1e-6)
    assert len(set(RIGID)) == len(RIGID)
    assert face[RIGID, 0].sum() == pytest.approx(0, abs=1e-4)
    with pytest.raises(ValueError, match="read-only"):
        face[0] = 0


def test_a_mesh_that_is_missing_has_no_pose():
    meshes = np.stack([canonical_face(), np.full((468, 3), np.nan)])
    told = pose_of(rotations(meshes))
    assert np.isfinite(told[0]).all() and np.isnan(told[1]).all()


def test_the_68_landmarks_lie_where_ibug_has_them():
    points = landmarks68(seen(canonical_face())[None])[0]
    assert points.shape == (68, 3)
    x, y = points[:, 0], points[:, 1]
    assert x[0] == x[:17].min() and x[16] == x[:17].max() and y[8] == y.max()
    assert (np.diff(x[17:22]) > 0).all() and (np.diff(x[22:27]) > 0).all()
    assert x[36] < x[39] < x[42] < x[45] and y[37] < y[41] and y[43] < y[47]
    assert x[48] == x[48:].min() and x[54] == x[48:].max() and y[51] < y[62] < y[66] < y[57]
    with pytest.raises(InputError, match="468"):
        landmarks68(np.zeros((3, 68, 2), np.float32))
