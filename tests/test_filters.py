"""The choice of faces (smallest, least confidence, the largest alone) wherever somebody may make it, on two people."""

import cv2
import numpy as np
import pytest
from conftest import EXAMPLES, read_rgb

pytest.importorskip("av")

import mien
from helpers import rows, rows_in
from mien.faces import FaceFilter
from videos import write_video

COUNTS = [  # a choice, and how many of the two faces it leaves
    ({}, 2),
    ({"min_face": 70}, 1),
    ({"min_confidence": 0.99999}, 0),
    ({"largest_only": True}, 1),
]


@pytest.fixture(scope="module")
def two_people():
    """(240, 340, 3) uint8 RGB: a large face and a small one."""
    image = np.full((240, 340, 3), 128, np.uint8)
    image[:, :220] = cv2.resize(read_rgb(EXAMPLES / "astronaut.jpg")[20:260, 110:330], (220, 240))
    image[:120, 230:332] = cv2.resize(read_rgb(EXAMPLES / "grace_hopper.jpg"), (102, 120), interpolation=cv2.INTER_AREA)
    return image


@pytest.fixture(scope="module")
def clip(two_people, tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("two") / "two.mp4", [two_people] * 4, fps=8)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    pytest.importorskip("fastapi")
    from mien.client import Client
    from served import served

    with served(tmp_path_factory.mktemp("server")) as server:
        yield Client(server.url)


def as_filter(choice):
    return FaceFilter(**{("min_face_px" if name == "min_face" else name): value for name, value in choice.items()})


def as_options(choice):
    pairs = ((f"--{name.replace('_', '-')}", value) for name, value in choice.items())
    return [str(part) for flag, value in pairs for part in ((flag,) if value is True else (flag, value))]


@pytest.mark.parametrize(("choice", "count"), COUNTS)
def test_track_keeps_the_faces_asked_for(clip, choice, count):
    kept = [faces for _, faces in mien.track(clip, **choice)]
    assert [len(faces) for faces in kept] == [count] * 4
    if choice.get("largest_only"):
        assert {face.track_id for faces in kept for face in faces} == {1} and kept[0].xyxy[0, 0] < 220


@pytest.mark.parametrize(("choice", "count"), COUNTS)
def test_live_mode_keeps_the_faces_asked_for(mien, clip, tmp_path, choice, count):
    log = tmp_path / "log.jsonl"
    code, _, err = mien("live", clip, "--headless", "--log", log, *as_options(choice))
    assert code == 0, err
    found = [row for row in rows_in(log) if row["frame"] == rows_in(log)[0]["frame"]]
    assert sum(row["track_id"] is not None for row in found) == count


@pytest.mark.parametrize(("choice", "count"), COUNTS)
def test_the_client_and_the_jobs_of_the_server_keep_the_faces_asked_for(
    client, clip, two_people, tmp_path, choice, count
):
    image = cv2.imencode(".png", two_people[..., ::-1])[1].tobytes()
    (result,) = client.analyze(image, keep=as_filter(choice))
    assert len(result.faces) == count
    with client.stream(keep=as_filter(choice)) as stream:
        assert len(stream.send(image)) == count
    job = client.wait(client.submit(clip, **choice)["id"])
    table = client.download(job["id"], "jsonl", tmp_path / "rows.jsonl")
    faces = [row for row in rows(table.read_text(encoding="utf-8")) if row["track_id"] is not None]
    assert len(faces) == 4 * count
