"""What was measured, drawn: axes, lines and numbers, beside the faces and never over them."""

import numpy as np
import pytest

from mien.attributes.geometry import canonical_face, turn_of
from mien.faces import Faces
from mien.output.draw.faces import draw_faces
from mien.output.draw.measures import axes_of, rows_of_panel
from mien.output.draw.style import DrawStyle

GRAY = np.full((300, 400, 3), 120, np.uint8)
POSE = {"yaw": 20.0, "pitch": -10.0, "roll": 5.0}


def measured(n=1, **values):
    boxes = np.array([[150 + 90 * k, 100, 220 + 90 * k, 190] for k in range(n)], np.float32)
    faces = Faces(boxes, np.ones(n, np.float32))
    told = {name: np.full(n, value, np.float32) for name, value in values.items()}
    mesh = np.stack([canonical_face()[:, :2] * 26 + (185 + 90 * k, 145) for k in range(n)]).astype(np.float32)
    return faces.with_attributes(told, ("",) * n, mesh=mesh)


@pytest.mark.parametrize("pose", [(0, 0, 0), (30, -20, 10), (-45, 15, -60)])
def test_the_axes_are_those_of_the_pose(pose):
    turn = turn_of(*pose)
    axes = axes_of(dict(zip(POSE, pose, strict=True)))
    np.testing.assert_allclose(axes, np.stack([turn[:, 0], -turn[:, 1], -turn[:, 2]]), atol=1e-12)


def test_without_a_pose_there_are_no_axes():
    assert axes_of({}) is None
    assert axes_of({**POSE, "yaw": np.nan}) is None


def test_the_panel_says_what_is_known():
    told = {"yaw": -0.2, "pitch": 12.4, "roll": np.nan, "mouth_opening": 0.123, "quality": 0.876}
    assert rows_of_panel(told) == [("pose", "+0° +12° -"), ("mouth", "0.12"), ("quality", "88%")]
    assert rows_of_panel({}) == []


def test_measures_are_drawn_where_there_are_some_and_wanted():
    plain = Faces(measured().xyxy, measured().score)
    assert (draw_faces(GRAY, plain) == draw_faces(GRAY, plain, style=DrawStyle(measures=False))).all()
    faces = measured(**POSE)
    drawn = draw_faces(GRAY, faces)
    assert (draw_faces(GRAY, faces, style=DrawStyle(measures=False)) == draw_faces(GRAY, plain)).all()
    changed = (drawn != draw_faces(GRAY, plain)).any(axis=2)
    assert changed[100:190, 150:220].any(), "lines and axes on the face"
    assert changed[:, :140].any() or changed[:, 230:].any() or changed[200:].any(), "numbers beside it"


def test_the_panel_covers_no_face_and_no_tag():
    faces = measured(2, **POSE, quality=0.9)
    bare = DrawStyle(box=False, measures=False)
    tags = (draw_faces(GRAY, faces, style=bare) != GRAY).any(axis=2)
    assert tags.any()
    panels = (draw_faces(GRAY, faces, style=DrawStyle(box=False)) != draw_faces(GRAY, faces, style=bare)).any(axis=2)
    outside = panels.copy()
    for x1, y1, x2, y2 in faces.xyxy.astype(int) + np.array([-25, -25, 25, 25]):
        outside[y1:y2, x1:x2] = False
    assert outside.any()
    assert not (panels & tags).any()


def test_blurred_faces_keep_no_lines_of_the_mesh():
    faces = measured(quality=0.5)
    blurred = draw_faces(GRAY, faces, style=DrawStyle(blur=True, box=False))
    assert (blurred[100:190, 150:220] == 120).all()
    assert (draw_faces(GRAY, faces, style=DrawStyle(box=False))[100:190, 150:220] != 120).any()
    missing = Faces(faces.xyxy, faces.score).with_attributes(
        faces.attributes, faces.notes, mesh=np.full_like(faces.mesh, np.nan)
    )
    assert (draw_faces(GRAY, missing, style=DrawStyle(box=False))[100:190, 150:220] == 120).all()
