"""Faces of real images measured: mirrored, turned, made small, cut, hidden. Needs the weights of a mesh."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import mien
from mien.attributes import AttributeSettings, FaceMeasures, FaceMesh
from mien.attributes.mesh import MESHES
from mien.detect.align import crop_faces
from mien.detect.landmarks import find_landmarks
from mien.errors import InputError, MissingWeightsError
from mien.faces import ATTRIBUTES, Faces, attribute_columns
from mien.weights import WEIGHTS
from turned_faces import turned, turned_head

EXAMPLES = Path(__file__).parents[2] / "examples"
OWN = ("mesh", "pose", "eyes", "mouth", "brows", "quality")
VALUES = [column for column in attribute_columns(OWN) if column not in ("note", "quality")]


@pytest.fixture(params=MESHES)
def mesh(request):
    """The name of a mesh that is here."""
    if not MESHES[request.param].is_there() and not (MESHES[request.param].pulled and WEIGHTS["mesh"].is_there()):
        pytest.skip(f"the mesh {request.param} is not here")
    return request.param


@pytest.fixture(scope="module")
def portraits():
    return {name: mien.read_image(EXAMPLES / f"{name}.jpg").image for name in ("astronaut", "grace_hopper")}


@pytest.fixture(params=["astronaut", "grace_hopper"])
def portrait(request, portraits):
    return portraits[request.param]


def analyzed(image, mesh, names=OWN, **more):
    settings = AttributeSettings(names, mesh=mesh)
    return mien.analyze_image(image, attributes=settings, largest_only=True, **more)


def values(faces):
    return {name: float(told[0]) for name, told in faces.attributes.items()}


def test_a_portrait_has_all_measures(portrait, mesh):
    faces = analyzed(portrait, mesh)
    told = values(faces)
    assert faces.notes == ("",)
    assert all(np.isfinite(value) for value in told.values())
    assert abs(told["yaw"]) < 10 and abs(told["pitch"]) < 15 and abs(told["roll"]) < 10
    assert 0.12 < told["eye_left"] < 0.45 and told["quality"] > 0.7
    x1, y1, x2, y2 = faces.xyxy[0]
    inside = (faces.mesh[0] > [x1 - 20, y1 - 40]) & (faces.mesh[0] < [x2 + 20, y2 + 40])
    assert inside.all()
    five = faces[0].landmarks
    eye = faces.mesh[0][[33, 133]].mean(axis=0)
    assert np.linalg.norm(eye - five[0]) < 0.12 * np.linalg.norm(five[1] - five[0])


def test_68_landmarks_come_from_the_mesh_without_dlib(portrait, mesh, monkeypatch):
    faces = analyzed(portrait, mesh)
    monkeypatch.setitem(__import__("sys").modules, "dlib", None)
    points = find_landmarks(portrait, faces)
    np.testing.assert_array_equal(points, faces.landmarks68)
    np.testing.assert_array_equal(points[0], faces[0].landmarks68)
    five = faces[0].landmarks
    eye = np.linalg.norm(five[1] - five[0])
    for landmarks, middle in ((slice(36, 42), five[0]), (slice(42, 48), five[1]), (slice(48, 49), five[3])):
        assert np.linalg.norm(points[0, landmarks].mean(axis=0) - middle) < 0.15 * eye
    assert mien.analyze_image(portrait)[0].landmarks68 is None


def test_a_smile_is_wider_and_its_corners_are_higher(portraits, mesh):
    smiling, neutral = (values(analyzed(portraits[name], mesh)) for name in ("astronaut", "grace_hopper"))
    assert smiling["mouth_width"] > neutral["mouth_width"] + 0.1
    assert smiling["mouth_corners"] > neutral["mouth_corners"] + 0.05
    assert smiling["mouth_opening"] > neutral["mouth_opening"] + 0.05


def test_a_mirror_image_changes_signs_and_swaps_the_eyes(portrait, mesh):
    plain, other = values(analyzed(portrait, mesh)), values(analyzed(np.ascontiguousarray(portrait[:, ::-1]), mesh))
    assert other["yaw"] == pytest.approx(-plain["yaw"], abs=4)
    assert other["roll"] == pytest.approx(-plain["roll"], abs=2.5)
    assert other["pitch"] == pytest.approx(plain["pitch"], abs=2.5)
    assert other["eye_left"] == pytest.approx(plain["eye_right"], abs=0.04)
    assert other["mouth_asymmetry"] == pytest.approx(-plain["mouth_asymmetry"], abs=0.04)
    for name in ("mouth_opening", "mouth_width", "mouth_corners", "brow_raise", "brow_furrow", "quality"):
        assert other[name] == pytest.approx(plain[name], abs=0.06), name


@pytest.mark.parametrize("degrees", [-25, 15])
def test_an_image_turned_in_its_plane_changes_the_roll_alone(portrait, mesh, degrees):
    plain = analyzed(portrait, mesh)
    height, width = portrait.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1)
    other = analyzed(cv2.warpAffine(portrait, turn, (width, height), borderMode=cv2.BORDER_REPLICATE), mesh)
    before, after = values(plain), values(other)
    assert after["roll"] - before["roll"] == pytest.approx(degrees, abs=2.5)
    assert after["yaw"] == pytest.approx(before["yaw"], abs=3)
    assert after["pitch"] == pytest.approx(before["pitch"], abs=3)
    assert after["mouth_width"] == pytest.approx(before["mouth_width"], abs=0.08)


def test_an_image_of_twice_the_size_changes_nothing_but_pixels(portrait, mesh):
    plain = analyzed(portrait, mesh)
    other = analyzed(cv2.resize(portrait, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), mesh)
    before, after = values(plain), values(other)
    for name in ("yaw", "pitch", "roll"):
        assert after[name] == pytest.approx(before[name], abs=2)
    for name in VALUES[3:]:
        assert after[name] == pytest.approx(before[name], abs=0.05), name
    assert np.abs(other.mesh / 2 - plain.mesh).max() < 0.1 * np.linalg.norm(plain.mesh[0, 33] - plain.mesh[0, 263])


@pytest.mark.parametrize(("yaw", "pitch"), [(30, 0), (-30, 0), (0, 20), (0, -20)])
def test_a_face_that_is_rendered_turned_is_seen_turned(portrait, mesh, yaw, pitch):
    faces = analyzed(portrait, mesh)
    points = FaceMesh(mesh).find(portrait, faces).points[0]
    measures = FaceMeasures(AttributeSettings(("pose",), mesh=mesh))

    def seen(*pose):
        image, found = turned(portrait, points, *pose)
        return values(measures.measure(image, found, crop_faces(image, found)))

    straight, other = seen(0, 0, 0), seen(yaw, pitch, 0)
    assert 0.5 < (other["yaw"] - straight["yaw"]) / yaw < 1.1 if yaw else abs(other["yaw"] - straight["yaw"]) < 6
    assert 0.4 < (other["pitch"] - straight["pitch"]) / pitch < 1.3 if pitch else True


@pytest.mark.parametrize("yaw", [30, -30])
def test_a_whole_head_that_is_turned_reads_most_of_it(portraits, mesh, yaw):
    portrait = portraits["astronaut"]
    points = FaceMesh(mesh).find(portrait, analyzed(portrait, mesh)).points[0]
    straight, other = (
        values(analyzed(turned_head(portrait, points, angle)[0], mesh, ("pose",)))["yaw"] for angle in (0, yaw)
    )
    assert 0.65 < (other - straight) / yaw < 1.05


def refused(faces, *reasons):
    """Assert that nothing was measured, for one of these reasons."""
    told = values(faces)
    assert all(np.isnan(told[name]) for name in VALUES), told
    assert any(reason in faces.notes[0] for reason in reasons), faces.notes
    assert np.isnan(faces.mesh[0]).all()
    assert 0 <= told["quality"] <= 1


def test_a_face_of_20_pixels_is_too_small(portrait, mesh):
    faces = analyzed(portrait, mesh)
    factor = np.float32(20 / (faces.xyxy[0, 2] - faces.xyxy[0, 0]))
    small = cv2.resize(portrait, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    scaled = Faces(faces.xyxy * factor, faces.score, landmarks=faces.landmarks * factor)
    told = FaceMeasures(AttributeSettings(OWN, mesh=mesh)).measure(small, scaled, crop_faces(small, scaled))
    refused(told, "too small", "no face seen")
    assert values(told)["quality"] < values(faces)["quality"]


def test_half_a_face_is_partly_outside(portrait, mesh):
    faces = analyzed(portrait, mesh)
    nose = int(faces.landmarks[0, 2, 0])
    half = np.ascontiguousarray(portrait[:, nose:])
    shift = np.array([nose, 0], np.float32)
    moved = Faces(faces.xyxy - np.tile(shift, 2), faces.score, landmarks=faces.landmarks - shift)
    told = FaceMeasures(AttributeSettings(OWN, mesh=mesh)).measure(half, moved, crop_faces(half, moved))
    refused(told, "outside the image", "no face seen", "disagree", "profile")


def test_what_is_no_face_says_so(portrait, mesh):
    rng = np.random.default_rng(0)
    height, width = portrait.shape[:2]
    noise = cv2.resize(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8), (200, 200))
    flat = np.full((200, 200, 3), 128, np.uint8)
    corner = np.ascontiguousarray(portrait[-height // 5 :, -width // 5 :])
    for image in (noise, flat, corner):
        refused(analyzed(image, mesh, detector="none"), "no face seen", "profile", "outside")


def test_a_profile_is_refused(portrait, mesh):
    faces = analyzed(portrait, mesh)
    points = faces.landmarks[0].copy()
    middle = points[:2].mean(axis=0)
    points[:2] = middle + 0.3 * (points[:2] - middle)  # eyes as near to each other as in a profile
    told = FaceMeasures(AttributeSettings(OWN, mesh=mesh)).measure(
        portrait, Faces(faces.xyxy, faces.score, landmarks=points[None]), crop_faces(portrait, faces)
    )
    refused(told, "in profile", "no face seen")


def test_a_mesh_elsewhere_than_the_detector_is_refused(portrait, mesh):
    faces = analyzed(portrait, mesh)
    shift = np.float32(0.6) * (faces.landmarks[0, 1] - faces.landmarks[0, 0])
    elsewhere = Faces(faces.xyxy, faces.score)  # a box alone says where to look
    measures = FaceMeasures(AttributeSettings(OWN, mesh=mesh))
    found = measures.measure(portrait, elsewhere, crop_faces(portrait, elsewhere))
    assert np.isfinite(found.attributes["yaw"]).all()
    moved = Faces(faces.xyxy, faces.score, landmarks=faces.landmarks + shift)
    refused(measures.measure(portrait, moved, crop_faces(portrait, moved)), "disagree", "no face seen", "outside")


def test_the_farther_eye_of_a_face_that_turns_is_not_told(shared, mesh):
    analyzer = mien.Analyzer(attributes=AttributeSettings(("pose", "eyes"), mesh=mesh))
    told = 0
    for path in sorted((shared / "data" / "photos").glob("*.jpg"))[:90]:
        for face in analyzer.analyze(path):
            yaw, pitch, large = face.attributes["yaw"], face.attributes["pitch"], "too small" not in face.note
            if large and 35.5 < abs(yaw) < 44.5 and abs(pitch) < 39:
                hidden, shown = ("eye_left", "eye_right") if yaw > 0 else ("eye_right", "eye_left")
                assert np.isnan(face.attributes[hidden]) and np.isfinite(face.attributes[shown]), path
                assert f"{hidden}: turned away" in face.note
                told += 1
    assert told >= 3


@pytest.mark.parametrize(("name", "sigma"), [("astronaut", 6), ("grace_hopper", 12)])
def test_low_quality_is_marked_and_kept(portraits, name, sigma, mesh):
    portrait = portraits[name]
    blurred = cv2.GaussianBlur(portrait, (0, 0), sigma)
    settings = AttributeSettings(("quality",), mesh=mesh, min_quality=0.9)
    clear, spoilt = (mien.analyze_image(image, attributes=settings, largest_only=True) for image in (portrait, blurred))
    assert "low quality" not in clear.notes[0]
    assert len(spoilt) == 1 and "low quality (below 0.9)" in spoilt.notes[0]
    assert spoilt.to_records()[0]["note"] == spoilt.notes[0]


def test_nothing_is_measured_unless_asked(portrait):
    faces = mien.analyze_image(portrait)
    assert faces.attributes is None and faces.mesh is None
    assert "yaw" not in faces.to_records()[0]


def test_no_face_is_an_ordinary_value(mesh):
    faces = analyzed(np.zeros((60, 80, 3), np.uint8), mesh)
    assert len(faces) == 0
    assert list(faces.to_pandas().columns)[-1] == "note"


def test_unknown_names_and_weights_that_are_not_there_get_the_fix(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="attributes must be among mesh, pose"):
        mien.analyze_image(EXAMPLES / "astronaut.jpg", attributes=("smile",))
    with pytest.raises(InputError, match="mesh must be one of auto, mien-mesh, mediapipe"):
        AttributeSettings(("pose",), mesh="dlib")
    with pytest.raises(InputError, match="min_quality needs the attribute quality; add it: pose,quality"):
        AttributeSettings(("pose",), min_quality=0.5)
    with pytest.raises(InputError, match="min_quality must be 0 to 1"):
        AttributeSettings(("quality",), min_quality=5)
    monkeypatch.setenv("MIEN_HOME", str(tmp_path))
    with pytest.raises(MissingWeightsError, match="mien models pull mesh"):
        FaceMesh("mediapipe")


def test_gaze_follows_the_mirror(portrait):
    if not (WEIGHTS["iris"].is_there() and (WEIGHTS["mesh"].is_there() or MESHES["mien-mesh"].is_there())):
        pytest.skip("the weights iris are not here; run: mien models pull mesh iris")
    plain, other = (
        values(mien.analyze_image(image, attributes=("gaze",), largest_only=True))
        for image in (portrait, np.ascontiguousarray(portrait[:, ::-1]))
    )
    assert set(plain) == set(ATTRIBUTES["gaze"])
    assert other["gaze_yaw"] == pytest.approx(-plain["gaze_yaw"], abs=3)
    assert other["gaze_pitch"] == pytest.approx(plain["gaze_pitch"], abs=3)
    assert abs(plain["gaze_yaw"]) < 15 and abs(plain["gaze_pitch"]) < 15


def test_real_profiles_and_drawings_are_refused_and_others_are_not(shared, mesh):
    analyzer = mien.Analyzer(attributes=AttributeSettings(("pose", "eyes", "mouth"), mesh=mesh))
    seen, profiles, refused_profiles = 0, 0, 0
    for path in sorted((shared / "data" / "photos").glob("*.jpg"))[:60]:
        faces = analyzer.analyze(path)
        for face in faces:
            if face.xyxy[2] - face.xyxy[0] < 40:
                continue
            seen += 1
            eyes, mouth = face.landmarks[:2], face.landmarks[3:].mean(axis=0)
            if np.linalg.norm(eyes[1] - eyes[0]) < 0.5 * np.linalg.norm(mouth - eyes.mean(axis=0)):
                profiles += 1
                refused_profiles += np.isnan(face.attributes["yaw"]) and bool(face.note)
            for name, value in face.attributes.items():
                assert np.isnan(value) or abs(value) <= (90 if name in ("yaw", "pitch") else 180), (path, name)
                assert np.isfinite(value) or face.note, (path, name)
    assert seen > 50 and profiles >= 3 and refused_profiles == profiles
