"""Attributes from a real server: images, streams and videos, through its Python client."""

import csv

import cv2
import httpx
import numpy as np
import pytest

import mien
from mien.attributes.mesh import MESHES
from mien.client import Client, ServerError
from mien.weights import WEIGHTS
from served import served
from videos import portraits, write_video


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    if not (WEIGHTS["mesh"].is_there() or MESHES["mien-mesh"].is_there()):
        pytest.skip("no mesh is here; run: mien models pull mesh")
    with served(tmp_path_factory.mktemp("server")) as running:
        yield Client(running.url)


@pytest.fixture
def encoded(astronaut):
    return cv2.imencode(".png", astronaut[..., ::-1])[1].tobytes()


def test_an_image_has_what_the_library_measures(client, encoded, astronaut):
    asked = ("mesh", "pose", "quality")
    (result,) = client.analyze(encoded, attributes=asked)
    own = mien.analyze_image(astronaut, attributes=asked)
    assert set(result.faces.attributes) == {"yaw", "pitch", "roll", "quality"}
    for name, values in own.attributes.items():
        np.testing.assert_allclose(result.faces.attributes[name], values, atol=1e-3)
    np.testing.assert_allclose(result.faces.mesh, own.mesh, atol=0.06)
    assert result.faces.notes == own.notes
    (plain,) = client.analyze(encoded)
    assert plain.faces.attributes is None and plain.faces.mesh is None


def test_what_cannot_be_measured_is_null_with_its_reason(client, encoded, astronaut):
    flat = cv2.imencode(".png", np.full((200, 200, 3), 128, np.uint8))[1].tobytes()
    (result,) = client.analyze(flat, detector="none", attributes=("mesh", "pose"))
    assert np.isnan(result.faces.attributes["yaw"]).all() and np.isnan(result.faces.mesh).all()
    assert "no face seen" in result.faces.notes[0]


def test_a_stream(client, encoded):
    with client.stream(attributes=("pose",)) as stream:
        seen = stream.send(encoded)
    assert abs(seen.attributes["yaw"][0]) < 10 and seen.notes == ("",)


def test_a_video(client, tmp_path):
    video = write_video(tmp_path / "clip.mp4", portraits(5))
    job = client.submit(video, attributes=["pose"])
    client.wait(job["id"], timeout_s=120)
    with client.download(job["id"], "csv", tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows and all(abs(float(row["yaw"])) < 20 for row in rows)
    assert "yaw" in client.summary(job["id"])["tracks"][0]["medians"]


def test_unknown_names_get_the_list(client, encoded, tmp_path):
    with pytest.raises(mien.MienError, match="among mesh, pose"):
        client.analyze(encoded, attributes=("smile",))
    address = f"{client._parts.scheme}://{client._place}"
    answer = httpx.post(f"{address}/v1/analyze?attributes=smile", files={"file": ("a.png", encoded)})
    assert answer.status_code == 422 and "mesh, pose, eyes" in answer.json()["detail"]
    with pytest.raises(ServerError, match="mesh, pose, eyes"):
        client.submit(write_video(tmp_path / "clip.mp4", portraits(2)), attributes=["smile"])


def test_the_server_says_what_it_can_measure(client):
    offered = {one["name"]: one["columns"] for one in client.models()["attributes"]}
    assert offered["pose"] == ["yaw", "pitch", "roll"] and offered["mesh"] == []
    assert ("gaze" in offered) == WEIGHTS["iris"].is_there()
