"""The Python client, against a real server."""

import csv

import cv2
import numpy as np
import pytest
from conftest import EXAMPLES

pytest.importorskip("fastapi")
pytest.importorskip("av")

from helpers import wait_for
from mien import Analyzer
from mien.client import Client, ServerError
from mien.errors import InputError, SourceError
from served import served
from videos import make_video

TOKEN = "a-token-of-the-client-tests"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("client"), token=TOKEN, max_video_mb=1) as running:
        yield running


@pytest.fixture
def client(server):
    return Client(server.url, token=TOKEN)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("videos") / 'a "video" ü.mp4', frames=6)


def test_images_come_back_as_faces_in_the_order_given(client, astronaut, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    results = client.analyze(
        EXAMPLES / "astronaut.jpg", tmp_path / "broken.jpg", (EXAMPLES / "grace_hopper.jpg").read_bytes()
    )
    assert [one.source for one in results] == ["astronaut.jpg", "broken.jpg", "image 2"]
    assert [one.faces.expression for one in results] == [["happy"], [], ["neutral"]]
    assert [one.error is None for one in results] == [True, False, True] and results[0].annotated is None
    known = Analyzer().analyze(astronaut)
    np.testing.assert_allclose(results[0].faces.xyxy, known.xyxy, atol=0.01)
    np.testing.assert_allclose(results[0].faces.landmarks, known.landmarks, atol=0.06)
    np.testing.assert_allclose(results[0].faces.probs, known.probs, atol=2e-4)


def test_label_sets_and_annotated_images(client):
    (result,) = client.analyze(str(EXAMPLES / "astronaut.jpg"), labels="ferplus", detector="haar", annotated=True)
    assert result.faces.labels.key == "ferplus" and len(result.faces.labels) == 8 and result.faces.landmarks is None
    drawn = cv2.imdecode(np.frombuffer(result.annotated, np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape == (512, 512, 3)


def test_information(client, server):
    assert client.health()["status"] == "ok"
    assert client.models()["limits"]["max_video_bytes"] == 1 << 20


def test_a_video_from_sending_to_removing(client, video, tmp_path):
    looks = []
    job = client.submit(video, labels="ferplus", every=2)
    done = client.wait(job["id"], timeout_s=60, progress=looks.append)
    assert done["state"] == "done" and done["source"] == "a _video_ ü.mp4" and looks[-1] == done
    table = client.download(job["id"], "csv", tmp_path / "out" / "rows.csv")
    with table.open() as file:
        assert [row["frame"] for row in csv.DictReader(file)] == ["0", "2", "4"]
    assert client.download(job["id"], "video", tmp_path / "video.mp4").read_bytes() == video.read_bytes()
    assert client.summary(job["id"])["frames"] == 3
    assert [one["id"] for one in client.jobs()] == [job["id"]]
    client.cancel(job["id"])
    with pytest.raises(ServerError, match="no job") as gone:
        client.job(job["id"])
    assert gone.value.status == 404


def test_a_live_stream(client):
    image = (EXAMPLES / "astronaut.jpg").read_bytes()
    with client.stream(labels="ferplus", half_life_s=0.5) as stream:
        first, second = stream.send(image), stream.send(image)
        assert [face.steady_expression for face in second] == ["happy"]
        assert first.track_id.tolist() == second.track_id.tolist() == [1] and second.frame_index == 1
        assert len(stream.labels) == 8
        with pytest.raises(ServerError, match="not an image"):
            stream.send(b"nonsense")
        assert len(stream.send(image)) == 1


# What goes wrong.


def test_what_the_server_refuses_is_told_in_its_words(client, server, tmp_path):
    with pytest.raises(ServerError, match="token") as refused:
        Client(server.url).models()
    assert refused.value.status == 401
    with pytest.raises(ServerError, match="token"), Client(server.url).stream():
        pass
    with pytest.raises(ServerError, match="fetches no URLs"):
        client.analyze("http://example.org/a.jpg")
    (tmp_path / "large.mp4").write_bytes(bytes(20 << 20))
    with pytest.raises(ServerError):
        client.submit(tmp_path / "large.mp4")
    with pytest.raises(ServerError, match="no job"):
        client.download("0" * 32, "csv", tmp_path / "none.csv")
    assert not (tmp_path / "none.csv").exists()


def test_wrong_use_is_told_before_anything_is_sent(client, tmp_path):
    for address in ("127.0.0.1:8000", "ftp://x", ""):
        with pytest.raises(InputError, match=r"http://127\.0\.0\.1:8000"):
            Client(address)
    with pytest.raises(SourceError, match=r"nothing\.jpg"):
        client.analyze(tmp_path / "nothing.jpg")
    with pytest.raises(SourceError, match=r"nothing\.mp4"):
        client.submit(tmp_path / "nothing.mp4")
    with pytest.raises(InputError, match="csv"):
        client.download("x", "xls", tmp_path / "x")


def test_a_server_that_is_not_there_is_named():
    with pytest.raises(ServerError, match=r"127\.0\.0\.1:9 does not answer") as refused:
        Client("http://127.0.0.1:9").health()
    assert refused.value.status == 0
    with pytest.raises(ServerError), Client("http://127.0.0.1:9").stream():
        pass


def test_waiting_has_an_end_and_a_busy_server_says_when_to_come_back(tmp_path, video):
    with served(tmp_path, job_workers=0, jobs_waiting=1) as server:
        client = Client(server.url)
        job = client.submit(video)
        with pytest.raises(ServerError, match="still queued"):
            client.wait(job["id"], timeout_s=0.2)
        with pytest.raises(ServerError) as busy:
            client.submit(video)
        assert (busy.value.status, busy.value.retry_after_s) == (503, 60)
        client.cancel(job["id"])
        wait_for(lambda: client.job(job["id"])["state"] == "cancelled")
