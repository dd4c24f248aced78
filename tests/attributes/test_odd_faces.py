"""Faces of detectors of one's own: points that are missing, expressions named like columns."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest

import mien
from mien.attributes import FaceMeasures
from mien.detect.align import crop_faces
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


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 0, 1e30, -3e38, 1e-40])
@pytest.mark.parametrize(
    "box", [(-1e12, -1e12, 1e12, 1e12), (1e12, 0, 1e12, 9), (5, 5, 5, 5), (1e-30, 0, 2e-30, 1e-30)]
)
def test_points_and_boxes_that_are_no_places_give_no_values_and_no_warning(astronaut, odd, box):
    measures = FaceMeasures(("mesh", "pose", "eyes", "mouth", "brows", "quality"))
    faces = Faces(np.array([box], np.float32), np.ones(1, np.float32), landmarks=np.full((1, 5, 2), odd, np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = measures.measure(astronaut, faces, crop_faces(astronaut, faces))
        told.draw(astronaut)
    assert all(np.isnan(values).all() for name, values in told.attributes.items() if name != "quality")
    assert told.notes[0]


def test_a_box_beyond_all_bounds_is_refused():
    with (
        pytest.raises(InputError, match=r"xyxy must lie within 1e\+12 pixels; drop such boxes"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")
        Faces(np.array([[-3e38, -3e38, 3e38, 3e38]], np.float32), np.ones(1, np.float32))


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
