"""The Python client, against a real server."""

import csv
import json
import socket
import threading
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
from conftest import EXAMPLES

pytest.importorskip("fastapi")
pytest.importorskip("av")

from helpers import wait_for
from mien import Analyzer
from mien.client import Client, ServerError
from mien.errors import InputError, MienError, OutputError, SourceError
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


# Other servers, and other sides of the wire.


@contextmanager
def answering(answer):
    """A server that gives everybody one answer, byte for byte, and hangs up; yields a client of it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def work():
            try:
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.settimeout(2)
                        connection.recv(1 << 16)
                        connection.sendall(answer)
            except OSError:  # the end of the test
                pass

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield Client(f"http://127.0.0.1:{listening.getsockname()[1]}", timeout_s=2)
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def http_answer(body=b"", status="200 OK", **headers):
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


CHUNKED = {"Transfer_Encoding": "chunked"}


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (http_answer(b"x" * 800, Content_Length=1_000_000), "cut off"),
        (http_answer(b"a\r\n0123456789\r\nff\r\nxx", **CHUNKED), "cut off"),
        (http_answer(b"a\r\n0123456789\r\n", **CHUNKED), "cut off"),
        (http_answer(b"frame,face\n0,0\n"), "how long"),
        (http_answer(status="302 Found", Location="http://127.0.0.2/x", Content_Length=0), "sends on to http"),
        (http_answer(status="304 Not Modified"), "sends on"),
        (b"HTTP/1.1 200 OK\r\nContent-Len", "how long"),
        (b"", "does not answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 100_000, "does not answer"),
    ],
)
def test_a_download_is_whole_or_not_at_all(tmp_path, answer, word):
    old = tmp_path / "old.csv"
    old.write_text("kept")
    with answering(answer) as client:
        for target in (tmp_path / "new.csv", old):
            with pytest.raises(ServerError, match=word):
                client.download("0" * 32, "csv", target)
    assert [path.name for path in tmp_path.iterdir()] == ["old.csv"] and old.read_text() == "kept"


def test_whole_downloads_arrive_in_both_ways_to_say_their_length(tmp_path):
    for answer in (
        http_answer(b"0123456789", Content_Length=10),
        http_answer(b"a\r\n0123456789\r\n0\r\n\r\n", **CHUNKED),
    ):
        with answering(answer) as client:
            assert client.download("x", "csv", tmp_path / "rows.csv").read_bytes() == b"0123456789"


def test_a_download_tells_the_disks_fault_from_the_networks(tmp_path):
    with answering(http_answer(b"0123456789", Content_Length=10)) as client:
        with pytest.raises(OutputError, match="not a file"):
            client.download("x", "csv", tmp_path)
        with pytest.raises(InputError, match="path"):
            client.download("x", "csv", 5)


JSONS = [b"<html>", b"\xff\xfe", b"[]", b"null", b"5", b"{}", b"[" * 100_000, b'{"results": 5, "labels": []}']
JSONS += [
    b'{"jobs": 5}',
    b'{"state": null, "results": [{}], "labels": ["a"]}',
    b'{"results": [{"error": 5, "annotated": 1}]}',
]
JSONS += [b'{"labels": ["a"], "results": [{"source": "a", "error": null, "annotated": null, "faces": [{"a": "x"}]}]}']


@pytest.mark.parametrize("body", JSONS)
@pytest.mark.parametrize("status", ["200 OK", "500 Oh", "401 No", "999 What"])
def test_whatever_answers_every_error_is_one_of_mien(tmp_path, body, status):
    with answering(http_answer(body, status, Content_Length=len(body), Retry_After="9" * 400)) as client:
        calls = [
            lambda: client.analyze(b"x"),
            client.jobs,
            lambda: client.wait("x", timeout_s=0),
            lambda: client.submit(EXAMPLES / "astronaut.jpg"),
            lambda: client.stream().__enter__(),
        ]
        for call in calls:
            try:
                call()
            except MienError as error:
                assert len(str(error)) < 700
            else:
                assert status == "200 OK" and call is calls[3]  # any JSON object may be a job


@pytest.mark.parametrize("token", ["ä", "with\nline", "\udc80", None, 5])
def test_a_token_that_fits_in_no_header_is_refused_at_once(token):
    with pytest.raises(InputError, match="token"):
        Client(token=token)


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://a:b", "http://a:99999", "http://a b", "http://ä", None, 5, "http://a/\n"]
)
def test_an_address_that_is_none_is_refused_at_once(url):
    with pytest.raises(InputError, match="must be like"):
        Client(url)


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf"), "5"])
def test_a_time_limit_must_be_one(timeout_s):
    with pytest.raises(InputError, match="timeout_s"):
        Client(timeout_s=timeout_s)


def test_a_host_that_no_name_can_be_is_an_error_of_mien():
    for url in ("http://" + "a" * 70, "http://a..b", "http://" + "a." * 200):
        with pytest.raises(ServerError, match="does not answer"):
            Client(url, timeout_s=2).health()
        with pytest.raises(ServerError), Client(url, timeout_s=2).stream():
            pass


@pytest.mark.parametrize("name", ["ä", "\udc80", "a b\r\nX: y", "", "../../x", "?token=1#", 5])
def test_ids_of_jobs_may_be_anything(client, name):
    for call in (client.job, client.summary, client.cancel):
        with pytest.raises(ServerError) as refused:
            call(name)
        assert refused.value.status in (404, 405, 422)


def test_values_that_fit_nowhere_are_refused_before_anything_is_sent(client, tmp_path):
    for source in (None, 5, ["a"]):
        with pytest.raises(InputError, match="path"):
            client.analyze(source)
    with pytest.raises(SourceError, match="cannot be opened"):
        client.analyze("zero\0byte.jpg")
    for value in (object(), {1, 2}, {(1, 2): 3}):
        with pytest.raises(InputError, match="options"):
            client.submit(EXAMPLES / "astronaut.jpg", every=value)
    with pytest.raises(InputError, match="half_life_s"), client.stream(half_life_s=float("nan")):
        pass
    with client.stream() as stream, pytest.raises(InputError, match="bytes"):
        stream.send("text")


def test_names_of_files_that_are_no_text_are_sent_all_the_same(client, tmp_path):
    path = tmp_path / "photo\udc80.jpg"
    try:
        path.write_bytes((EXAMPLES / "astronaut.jpg").read_bytes())
    except OSError:
        pytest.skip("this file system takes text only")
    (result,) = client.analyze(path)
    assert result.faces.expression == ["happy"] and result.source == "photo.jpg"
    with pytest.raises(ServerError, match="video"):
        client.submit(path)


def test_a_stream_that_is_refused_in_the_handshake_says_why():
    body = json.dumps({"detail": "all places are taken", "status": 503}).encode()
    with answering(http_answer(body, "503 Service Unavailable", Content_Length=len(body))) as client:
        with pytest.raises(ServerError, match="places are taken") as refused, client.stream():
            pass
        assert refused.value.status == 503
