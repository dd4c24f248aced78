"""Attributes asked for in images, videos, tracking, resumed runs and on the command line."""

import csv
import json

import numpy as np
import pandas
import pytest

import mien
from mien.attributes.mesh import MESHES
from mien.errors import InputError
from mien.faces import ATTRIBUTES, Faces, attribute_columns
from mien.tracking.settings import TrackSettings
from mien.video._relative import OwnMedians
from mien.weights import WEIGHTS
from videos import write_video

POSE = attribute_columns(["pose"])


@pytest.fixture(autouse=True)
def weights():
    if not (WEIGHTS["mesh"].is_there() or MESHES["mien-mesh"].is_there()):
        pytest.skip("no mesh is here; run: mien models pull mesh")


@pytest.fixture(scope="module")
def video(tmp_path_factory, request):
    """Half a second of a portrait that moves a little."""
    portrait = request.getfixturevalue("astronaut")[40:400, 60:420]
    path = tmp_path_factory.mktemp("attributes") / "portrait.mp4"
    frames = [np.ascontiguousarray(np.roll(portrait, (step, step), (0, 1))[:352, :352]) for step in range(10)]
    return write_video(path, frames)


def test_many_images_have_the_columns_in_every_row(tmp_path, astronaut):
    empty = np.zeros((80, 80, 3), np.uint8)
    table = mien.analyze_images([astronaut, empty], attributes=("pose",), progress=False).to_pandas()
    assert list(table.columns)[-5:] == [*POSE, "error"]
    assert table["yaw"].notna().tolist() == [True, False]


def test_a_video_has_them_in_rows_tables_and_frames(tmp_path, video):
    asked = {"attributes": ("pose", "mesh"), "largest_only": True}
    result = mien.analyze_video(video, [tmp_path / "rows.csv"], progress=False, **asked)
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10 and all(abs(float(row["yaw"])) < 15 for row in rows)
    table = result.to_pandas()
    np.testing.assert_allclose(table["yaw"], [float(row["yaw"]) for row in rows], atol=1e-4)
    frames = list(result)
    assert frames[0].mesh.shape == (1, 468, 2) and frames[0].notes == ("",)
    shown = {f.time_s: f for _, f in mien.track(video, **asked)}
    for faces in frames:
        np.testing.assert_array_equal(shown[faces.time_s].mesh, faces.mesh)
        np.testing.assert_array_equal(shown[faces.time_s].attributes["yaw"], faces.attributes["yaw"])
    saved = result.save(tmp_path / "again.csv")
    assert saved[0].read_bytes() == (tmp_path / "rows.csv").read_bytes()


def test_a_run_goes_on_with_the_same_attributes_alone(tmp_path, video):
    import threading

    stop = threading.Event()
    outputs = [tmp_path / "rows.csv"]

    def after_three(progress):
        if progress.frames == 3:
            stop.set()

    stopped = mien.analyze_video(video, outputs, attributes=("pose",), progress=after_three, stop=stop)
    assert stopped.interrupted
    for other in ((), ("pose", "eyes")):
        with pytest.raises(InputError, match="cannot resume: attributes was pose"):
            mien.analyze_video(video, outputs, attributes=other, resume=True, progress=False)
    done = mien.analyze_video(video, outputs, attributes=("pose",), resume=True, progress=False)
    assert done.resumed >= 3
    mien.analyze_video(video, [tmp_path / "whole.csv"], attributes=("pose",), progress=False)
    assert outputs[0].read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_with_a_baseline_they_stay(tmp_path, video):
    result = mien.analyze_video(video, attributes=("pose",), baseline=(0.0, 0.2), largest_only=True, progress=False)
    assert result.to_pandas()["yaw"].notna().all()


def test_the_command_line(tmp_path, video, mien, astronaut):
    import cv2

    image = tmp_path / "face.png"
    cv2.imwrite(str(image), astronaut[..., ::-1])
    code, out, err = mien("analyze", str(image), "--attributes", "pose,quality", "--json")
    assert code == 0, err
    row = json.loads(out)
    assert abs(row["yaw"]) < 10 and row["quality"] > 0.9 and row["note"] is None
    code, out, err = mien("analyze", str(video), "--attributes", "quality", "--min-quality", "1", "--json")
    assert code == 0, err
    assert all("low quality (below 1)" in json.loads(line)["note"] for line in out.splitlines())
    code, out, err = mien("analyze", str(image), "--attributes", "smile")
    assert code == 2 and "mesh, pose, eyes, mouth, brows, gaze, blinks, quality" in err


def test_intervals_have_the_average_of_each_measure(tmp_path, video, mien):
    table, rows = tmp_path / "intervals.csv", tmp_path / "rows.csv"
    asked = ("analyze", video, "--attributes", "pose,mouth", "--largest-only")
    for path, more in ((table, ("--interval", "1s")), (rows, ())):
        code, out, err = mien(*asked, "-o", path, *more)
        assert code == 0, out + err
    (interval,), seen = (list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) for path in (table, rows))
    for column in ("yaw", "mouth_width", "relative_mouth_width"):
        mean = np.mean([float(row[column]) for row in seen])
        assert float(interval[column]) == pytest.approx(mean, abs=1e-3), column
    assert "note" not in interval and "relative_yaw" not in interval


def test_measures_of_a_video_are_relative_to_the_median_too(tmp_path, video):
    asked = {"attributes": ("pose", "mouth"), "largest_only": True, "progress": False}
    result = mien.analyze_video(video, [tmp_path / "rows.csv"], **asked)
    table = result.to_pandas()
    assert list(table.columns)[-6:] == [*(f"relative_{name}" for name in ATTRIBUTES["mouth"]), "note", "error"]
    for column in ATTRIBUTES["mouth"]:
        np.testing.assert_allclose(
            table[f"relative_{column}"], table[column] - result.tracks[0].medians[column], atol=2e-4
        )
        assert table[f"relative_{column}"].median() == pytest.approx(0, abs=2e-3), column
    assert table["relative_mouth_width"].abs().max() > 0
    with (tmp_path / "rows.csv").open(newline="") as file:
        written = [float(row["relative_mouth_width"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(written, table["relative_mouth_width"], atol=1e-4)
    plain = mien.analyze_video(video, track=TrackSettings(relative=False), **asked).to_pandas()
    assert list(plain.columns) == [name for name in table.columns if not name.startswith("relative_")]
    same = [name for name in plain.columns if name not in ("note", "error")]
    pandas.testing.assert_frame_equal(plain[same], table[same])
    image = mien.analyze_image(next(mien.track(video))[0].image, attributes=("mouth",))
    assert image.measured == ("mouth",), "an image has no track"


def test_people_have_medians_in_common():
    medians = OwnMedians({1: "Ada", 2: "Ada", 3: None})
    seen = [
        measured_faces(track, value) for track, value in ((1, 0.7), (1, 0.7), (2, 0.9), (2, 0.9), (2, 0.9), (3, 0.5))
    ]
    for faces in seen:
        medians.add(faces)
    medians.settle()
    told = [float(medians.applied(faces).attributes["relative_mouth_width"][0]) for faces in seen]
    np.testing.assert_allclose(told, [-0.2, -0.2, 0, 0, 0, 0], atol=2e-3)
    assert np.isnan(medians.applied(measured_faces(1, np.nan)).attributes["relative_mouth_width"]).all()


def measured_faces(track, width):
    faces = Faces(np.array([[0, 0, 9, 9]], np.float32), np.ones(1, np.float32), track_id=np.array([track]))
    return faces.with_attributes({"mouth_width": np.array([width], np.float32)}, [""])


def test_the_command_line_leaves_relative_columns_out(tmp_path, video, mien):
    for more, there in (((), True), (("--no-relative",), False)):
        code, out, err = mien("analyze", video, "--attributes", "mouth", "--json", *more)
        assert code == 0, err
        assert all(("relative_mouth_width" in json.loads(line)) is there for line in out.splitlines())
