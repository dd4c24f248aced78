import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest

from mien.errors import InputError
from mien.faces import (
    ATTRIBUTES,
    COLUMNS,
    NOTE,
    Face,
    Faces,
    Frame,
    Reduced,
    attribute_columns,
    check_image,
    columns_of,
    known_attributes,
)
from mien.labels import FER7

PIXELS = np.zeros((20, 30, 3), np.uint8)


def three_faces(**changes):
    probs = np.zeros((3, 7), np.float32)
    probs[[0, 1, 2], [3, 4, 6]] = 0.7
    probs[:, 0] += 0.3
    values = {
        "xyxy": np.array([[0, 0, 10, 10], [5, 5, 25, 20], [-3, 1, 4, 9]], np.float32),
        "score": np.array([0.9, 0.8, 0.7], np.float32),
        "landmarks": np.arange(30, dtype=np.float32).reshape(3, 5, 2),
        "probs": probs,
        "labels": FER7,
        "track_id": np.array([7, 8, 9]),
    }
    return Faces(**{**values, **changes})


def test_expressions_and_confidence():
    faces = three_faces()
    assert faces.expression == ["happy", "sad", "neutral"]
    np.testing.assert_allclose(faces.confidence, 0.7)
    assert next(str(face) for face in faces) == "happy 70% at (0, 0)-(10, 10)"


def test_without_probabilities_there_is_no_expression():
    faces = three_faces(probs=None, labels=None)
    assert faces.expression == [None] * 3
    assert np.isnan(faces.confidence).all()
    assert "score 0.90" in str(next(iter(faces)))


@pytest.mark.parametrize("which", [np.array([True, False, True]), slice(0, None, 2), [0, 2], np.array([0, 2])])
def test_indexing_keeps_all_fields_together(which):
    picked = three_faces()[which]
    assert len(picked) == 2
    assert picked.expression == ["happy", "neutral"]
    assert picked.track_id.tolist() == [7, 9]
    assert picked.landmarks[1, 0, 0] == 20


def test_empty_is_an_ordinary_value():
    faces = Faces.empty(frame=Frame(PIXELS, "x.jpg", 4, 0.5))
    assert (len(faces), faces.expression, faces.to_records()) == (0, [], [])
    assert (faces.source, faces.frame_index, faces.time_s) == ("x.jpg", 4, 0.5)
    assert faces.confidence.shape == (0,)
    assert list(faces) == []


def test_empty_with_labels_has_all_columns_in_pandas():
    pytest.importorskip("pandas")
    faces = Faces.empty().with_probs(np.zeros((0, 7), np.float32), FER7)
    assert list(faces.to_pandas().columns) == [*COLUMNS, *FER7.names]


def test_it_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        three_faces().score = np.zeros(3, np.float32)


def test_records_are_long_format_rows():
    record = three_faces().at(Frame(PIXELS, "a.png", 2, 0.08)).to_records()[1]
    assert tuple(record) == (*COLUMNS, *FER7.names)
    assert record["source"] == "a.png"
    assert (record["frame"], record["time_s"], record["face"], record["track_id"]) == (2, 0.08, 1, 8)
    assert (record["x1"], record["y1"], record["x2"], record["y2"]) == (5, 5, 25, 20)
    assert record["expression"] == "sad"
    assert sum(record[name] for name in FER7.names) == pytest.approx(1, abs=1e-3)


def test_pandas_and_records_agree():
    pytest.importorskip("pandas")
    faces = three_faces()
    assert faces.to_pandas().to_dict("records") == faces.to_records()


def test_supervision():
    pytest.importorskip("supervision")
    detections = three_faces().to_supervision()
    assert detections.class_id.tolist() == [3, 4, 6]
    assert detections.tracker_id.tolist() == [7, 8, 9]
    assert detections.data["class_name"].tolist() == ["happy", "sad", "neutral"]
    assert len(Faces.empty().to_supervision()) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"xyxy": np.zeros((3, 4))}, r"xyxy must be \(3, 4\) float32, got \(3, 4\) float64"),
        ({"score": np.zeros(2, np.float32)}, r"score must be \(3,\)"),
        ({"landmarks": np.zeros((3, 68, 2), np.float32)}, "landmarks"),
        ({"probs": None}, "come together"),
        ({"probs": np.full((3, 7), 14.3, np.float32)}, "not logits or percentages"),
        ({"probs": np.full((3, 8), 0.125, np.float32)}, "probs must be"),
        ({"xyxy": np.array([[9, 9, 3, 3]] * 3, np.float32)}, "width, height"),
        ({"xyxy": np.full((3, 4), np.nan, np.float32)}, "finite"),
        ({"track_id": np.zeros(3, np.int32)}, "track_id"),
        ({"score": [0.9, 0.8, 0.7]}, "score must be"),
    ],
)
def test_bad_fields_are_refused_with_the_fix(change, message):
    with pytest.raises(InputError, match=message):
        three_faces(**change)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4), np.uint8), "repeat the gray channel"),
        (np.zeros((4, 4, 1), np.uint8), "repeat the gray channel"),
        (np.zeros((3, 8, 8), np.uint8), "channels last"),
        (np.zeros((4, 4, 4), np.uint8), "alpha"),
        (np.zeros((2, 4, 4, 3), np.uint8), "one image at a time"),
        (np.zeros((4, 4, 3)), "values are 0-1"),
        (np.full((4, 4, 3), np.nan), "NaN"),
        (np.zeros((4, 4, 3), np.uint16), "scale it to 0-255"),
        (np.zeros((0, 4, 3), np.uint8), "at least one pixel"),
        ("photo.jpg", "got str"),
        (None, "got NoneType"),
    ],
)
def test_what_is_no_image_is_refused_with_the_fix(image, message):
    with pytest.raises(InputError, match=message):
        check_image(image)
    with pytest.raises(InputError, match=message):
        Frame(image)


def test_faces_of_a_video_carry_smoothed_probabilities_and_a_steady_expression():
    probs, smoothed = np.eye(7, dtype=np.float32)[[3, 0]], np.full((2, 7), 1 / 7, np.float32)
    box = np.array([[0, 0, 9, 9], [5, 5, 8, 8]], np.float32)
    faces = Faces(box, np.ones(2, np.float32), probs=probs, labels=FER7, smoothed=smoothed, steady=np.array([3, 4]))
    assert faces[1:].to_records()[0]["steady_expression"] == "sad"
    assert [face.steady_expression for face in faces] == ["happy", "sad"]
    assert faces.to_records()[0]["smooth_angry"] == round(1 / 7, 4)
    assert list(faces.to_records()[0]) == list(columns_of(FER7, tracked=True))
    with pytest.raises(InputError, match="come together"):
        replace(faces, steady=None)
    with pytest.raises(InputError, match="from 0"):
        replace(faces, steady=np.array([3, 7]))
    with pytest.raises(InputError, match="sum to 1"):
        replace(faces, smoothed=smoothed * 2)


def test_a_number_gives_a_face_and_a_slice_or_mask_faces():
    faces = three_faces()
    assert isinstance(faces[0], Face) and isinstance(faces[-1], Face)
    assert faces[-1].score == float(faces.score[2])
    assert isinstance(faces[:2], Faces) and len(faces[:2]) == 2
    assert len(faces[np.array([True, False, True])]) == 2 and len(faces[[2, 0]]) == 2
    assert isinstance(faces[np.int64(1)], Face)
    with pytest.raises(IndexError):
        faces[3]


def test_probabilities_and_plain_values_by_name():
    face = three_faces()[0]
    assert list(face.probabilities) == list(face.labels.names)
    assert face.probabilities[face.expression] == pytest.approx(face.confidence)
    told = json.loads(json.dumps(three_faces().to_dict()))
    assert len(told["faces"]) == 3 and told["faces"][0]["expression"] == face.expression
    assert told["faces"][0]["box"] == [round(v, 2) for v in face.xyxy.tolist()]
    assert set(told["faces"][0]) == {
        "box", "score", "landmarks", "expression", "confidence", "probabilities", "track_id",
    }  # fmt: skip


def test_a_crop_is_the_box_as_far_as_the_image_reaches():
    image = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    face = Face(np.array([10.2, 5, 20, 15], np.float32), 1.0)
    np.testing.assert_array_equal(face.crop(image), image[5:15, 10:20])
    assert face.crop(image, margin=0.5).shape == (20, 20, 3)
    assert face.crop(image, margin=9).shape == image.shape
    with pytest.raises(InputError, match="pass the image in which the face was found"):
        face.crop(image[:4])
    crop = face.crop(image)
    crop[:] = 0
    assert image[5:15, 10:20].any()


def test_reprs_are_short_whatever_they_hold():
    faces = three_faces()
    assert len(repr(faces)) < 120 and repr(faces).startswith("Faces(3: ")
    assert repr(Faces.empty()) == "Faces(0)"
    assert len(repr(faces[0])) < 80
    many = faces[[0, 1, 2] * 40]
    assert len(repr(many)) < 160


def test_the_largest_face_and_boxes_inside_the_image():
    boxes = np.array([[-5, 0, 5, 8], [0, 0, 40, 40], [3, 3, 4, 4]], np.float32)
    faces = Faces(boxes, np.array([0.9, 0.8, 0.7], np.float32))
    assert faces.largest().xyxy.tolist() == [[0, 0, 40, 40]]
    assert len(Faces.empty().largest()) == 0
    assert faces.clipped(30, 20).xyxy.tolist() == [[0, 0, 5, 8], [0, 0, 30, 20], [3, 3, 4, 4]]


def test_faces_without_their_image_ask_for_it():
    with pytest.raises(InputError, match=r"faces.draw\(image\)"):
        three_faces().draw()


def measured_faces():
    values = {"yaw": np.array([1, np.nan, 3], np.float32), "pitch": np.zeros(3, np.float32)}
    points = np.arange(3 * 468 * 2, dtype=np.float32).reshape(3, 468, 2)
    return three_faces().with_attributes(values, ("", "pose: no face", ""), mesh=points)


def test_attributes_go_with_their_faces():
    faces = measured_faces()
    chosen = faces[[2, 1]]
    np.testing.assert_array_equal(chosen.attributes["yaw"], np.array([3, np.nan], np.float32))
    assert chosen.notes == ("", "pose: no face")
    np.testing.assert_array_equal(chosen.mesh, faces.mesh[[2, 1]])
    assert faces[np.array([False, True, False])].notes == ("pose: no face",)
    face = faces[2]
    assert face.attributes == {"yaw": 3.0, "pitch": 0.0}
    assert faces[1].note == "pose: no face"
    np.testing.assert_array_equal(face.mesh, faces.mesh[2])


def test_the_mesh_is_in_pixels_of_the_whole_image():
    faces = measured_faces()
    small = np.zeros((10, 15, 3), np.uint8)
    frame = Frame(small, reduced=Reduced(2, 30, 20))
    found = faces.found_in(frame)
    np.testing.assert_array_equal(found.mesh, 2 * faces.mesh)
    np.testing.assert_array_equal(found.attributes["yaw"], faces.attributes["yaw"])
    np.testing.assert_allclose(found.on(small).mesh, faces.mesh)
    np.testing.assert_array_equal(faces.clipped(4, 4).mesh, faces.mesh)
    assert faces.at(frame).notes == faces.notes


def test_rows_have_the_columns_of_attributes_and_the_reason():
    faces = measured_faces()
    row = faces.to_records()[1]
    assert (row["yaw"], row["pitch"], row[NOTE]) == (None, 0.0, "pose: no face")
    assert faces.to_records()[0][NOTE] is None
    assert list(faces.to_pandas().columns) == [*columns_of(FER7, attributes=["mesh", "pose"])]
    told = faces[1].to_dict()
    assert told["attributes"] == {"yaw": None, "pitch": 0.0}
    assert told[NOTE] == "pose: no face"
    assert np.shape(told["mesh"]) == (468, 2)
    json.dumps(faces.to_dict(), allow_nan=False)


def test_further_attributes_join_those_there_are():
    faces = measured_faces().with_attributes({"quality": np.ones(3, np.float32)}, ("dark", "small", ""))
    assert faces.notes == ("dark", "pose: no face; small", "")
    assert set(faces.attributes) == {"yaw", "pitch", "quality"}
    assert faces.measured == ("mesh", "pose", "quality")
    assert faces.mesh is not None


def test_names_of_attributes_come_in_one_order_and_an_unknown_one_gets_the_list():
    assert known_attributes("quality, pose") == ("pose", "quality")
    assert attribute_columns(["quality", "pose"]) == ("yaw", "pitch", "roll", "quality", "note")
    assert attribute_columns([]) == ()
    with pytest.raises(InputError, match=r"among mesh, pose, .*quality.*got 'smile'"):
        known_attributes(["pose", "smile"])
    columns = [column for columns in ATTRIBUTES.values() for column in columns]
    assert len(columns) == len(set(columns))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attributes": {"yaw": np.zeros(2, np.float32)}, "notes": ("",) * 3}, r"attributes\['yaw'\] must be \(3,\)"),
        ({"attributes": {"yaw": np.zeros(3, np.float32)}}, "attributes and notes come together"),
        ({"attributes": {}, "notes": ("",)}, "notes must be 3 texts, got 1"),
        ({"mesh": np.zeros((3, 68, 2), np.float32)}, r"mesh must be \(3, 468, 2\)"),
    ],
)
def test_attributes_of_another_shape_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        three_faces(**change)


def test_people_go_with_their_faces_and_into_rows():
    faces = three_faces().with_person(("Anna", None, "person 3"))
    assert faces[[2, 0]].person == ("person 3", "Anna")
    assert faces[0].person == "Anna" and faces[1].person is None
    assert [row["person"] for row in faces.to_records()] == ["Anna", None, "person 3"]
    assert faces.measured == ("people",)
    assert list(faces.to_pandas().columns)[-1] == "person"
    assert faces[0].to_dict()["person"] == "Anna" and "person" not in faces[1].to_dict()
    assert measured_faces().with_person(("A", "B", "C")).to_records()[2]["yaw"] == 3.0
    with pytest.raises(InputError, match="person must be 3 names, got 1"):
        three_faces(person=("Anna",))
    with pytest.raises(InputError, match="--people"):
        known_attributes(["people"])
