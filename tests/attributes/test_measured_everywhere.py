"""Attributes asked for in images, videos, tracking, resumed runs and on the command line."""

import csv
import json

import numpy as np
import pytest

import mien
from mien.attributes.mesh import MESHES
from mien.errors import InputError
from mien.faces import attribute_columns
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


def test_an_interval_has_no_measures_and_the_command_says_so(tmp_path, video, mien):
    table = tmp_path / "intervals.csv"
    code, out, err = mien("analyze", video, "-o", table, "--interval", "1s", "--attributes", "pose")
    assert code == 0 and "intervals have no columns for attributes" in out + err
    assert "yaw" not in table.read_text(encoding="utf-8")
    assert "no columns" not in "".join(mien("analyze", video, "-o", table, "--interval", "1s")[1:])
