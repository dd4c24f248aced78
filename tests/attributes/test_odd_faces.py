"""Faces of detectors of one's own: points that are missing, expressions named like columns."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest

import mien
from mien.errors import InputError
from mien.faces import Faces, Frame
from mien.labels import LabelSet
from mien.people.gallery import Gallery
from mien.video._people import Sightings, name_tracks


@pytest.fixture
def measured(astronaut):
    return mien.analyze_image(astronaut, attributes=("mesh", "pose"))


@pytest.mark.parametrize("missing", [np.nan, np.inf])
def test_points_that_are_missing_are_no_numbers_in_json_and_not_drawn(measured, missing):
    points = measured.landmarks.copy()
    points[0, :3] = missing
    faces = replace(measured, landmarks=points, mesh=np.full_like(measured.mesh, np.nan))
    (told,) = json.loads(json.dumps(faces.to_dict(), allow_nan=False))["faces"]
    assert told["landmarks"] is None and told["mesh"] is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = faces.draw(landmarks=True)
    assert drawn.shape == measured.image.shape


def test_an_expression_that_is_named_like_a_measure_is_refused(measured):
    labels = LabelSet("own", ("yaw", "calm"))
    faces = measured.with_probs(np.full((len(measured), 2), 0.5, np.float32), labels)
    with pytest.raises(InputError, match="the name of another column: yaw"):
        faces.to_records()


def test_the_numbers_of_the_unknown_are_nobodys_names():
    seen = Sightings()
    frame = Frame(np.zeros((90, 90, 3), np.uint8))
    boxes = np.array([[0, 0, 40, 40], [45, 0, 85, 40]], np.float32)
    faces = Faces(xyxy=boxes, score=np.ones(2, np.float32), track_id=np.array([1, 2])).found_in(frame)
    seen.add(faces)
    known, stranger = np.zeros((2, 1, 128), np.float32)
    stranger[:, 0] = 5
    gallery = Gallery.of([("person 1", known[0])])
    assert name_tracks(seen, {1: known, 2: stranger}, gallery) == {1: "person 1", 2: "person 2"}
