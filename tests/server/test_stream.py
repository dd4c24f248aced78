"""The live stream."""

import json
import threading
import time
from contextlib import suppress

import cv2
import numpy as np
import pytest
from conftest import EXAMPLES

pytest.importorskip("fastapi")

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from helpers import wait_for
from mien import Analyzer
from served import served

ASTRONAUT = (EXAMPLES / "astronaut.jpg").read_bytes()
HOPPER = (EXAMPLES / "grace_hopper.jpg").read_bytes()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("streams"), streams=3, max_stream_pixels_mp=0.5) as running:
        yield running


class Stream:
    """A client that speaks the protocol word by word."""

    def __init__(self, server, settings="{}"):
        self._connection = connect(server.stream_url, max_size=None)
        self.socket = self._connection.__enter__()
        self.send(settings)
        self.ready = self.next()

    def next(self):
        return json.loads(self.socket.recv(20))

    def send(self, message):
        with suppress(ConnectionClosed):  # the server's last words may be waiting still
            self.socket.send(message)

    def ask(self, message):
        self.send(message)
        return self.next()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._connection.__exit__(*error)


def test_the_first_answer_names_the_expressions(server):
    with Stream(server) as stream:
        assert stream.ready["type"] == "ready" and stream.ready["label_set"] == "combined"
        assert stream.ready["labels"][3] == {"name": "happy", "emoji": "😄", "colour": "#f5b820"}


def test_an_image_gives_its_faces_followed_and_smoothed(server, astronaut):
    with Stream(server) as stream:
        first, second = stream.ask(ASTRONAUT), stream.ask(ASTRONAUT)
    assert (first["type"], first["frame"], second["frame"]) == ("faces", 0, 1)
    assert (first["width"], first["height"]) == (512, 512) and 0 <= first["time_s"] < second["time_s"]
    (face,), (again,) = first["faces"], second["faces"]
    (known,) = Analyzer().analyze(astronaut)
    np.testing.assert_allclose(face["box"], known.xyxy, atol=0.1)
    assert face["expression"] == face["steady_expression"] == "happy" == again["steady_expression"]
    assert face["confidence"] == pytest.approx(known.confidence, abs=0.01)
    assert sum(face["probs"].values()) == pytest.approx(1, abs=1e-3)
    assert sum(again["smoothed"].values()) == pytest.approx(1, abs=1e-3)
    assert face["track_id"] == again["track_id"] and np.shape(face["landmarks"]) == (5, 2)


def test_each_stream_has_people_of_its_own(server):
    with Stream(server) as one, Stream(server) as other:
        assert one.ask(ASTRONAUT)["faces"][0]["expression"] == "happy"
        assert other.ask(HOPPER)["faces"][0]["expression"] == "neutral"
        assert one.ask(ASTRONAUT)["faces"][0]["track_id"] == other.ask(HOPPER)["faces"][0]["track_id"] == 1


def test_settings_may_change_on_the_way(server):
    with Stream(server, '{"half_life_s": 2}') as stream:
        assert len(stream.ask(ASTRONAUT)["faces"][0]["probs"]) == 8
        assert stream.ask('{"labels": "fer2013", "detector": "haar"}')["label_set"] == "fer2013"
        face = stream.ask(ASTRONAUT)["faces"][0]
        assert len(face["probs"]) == 7 and face["landmarks"] is None


def test_every_kind_of_image_is_taken_and_an_empty_one_has_no_face(server):
    blank = np.full((60, 80, 3), 99, np.uint8)
    with Stream(server) as stream:
        for kind in (".jpg", ".png", ".webp"):
            answer = stream.ask(cv2.imencode(kind, blank)[1].tobytes())
            assert (answer["type"], answer["faces"], answer["width"]) == ("faces", [], 80)


@pytest.mark.parametrize(
    ("message", "status", "word"),
    [
        (b"", 422, "empty"),
        (b"hello", 422, "not an image"),
        (ASTRONAUT[:2000], 422, "truncated"),
        (cv2.imencode(".png", np.zeros((1000, 1000, 3), np.uint8))[1].tobytes(), 422, "500,000"),
        ("not json", 422, "settings"),
        ('{"labels": "nine"}', 422, "fer2013"),
        ('{"detector": "/etc/passwd"}', 422, "mtcnn"),
        ('{"half_life_s": -1}', 422, "half_life_s"),
        ('{"half_life_s": NaN}', 422, "half_life_s"),
        ('{"unknown": 1}', 422, "unknown"),
        ("[" * 3000, 422, "settings"),
        (" " * 5000, 413, "4096"),
    ],
)
def test_what_is_wrong_gets_an_error_and_the_stream_goes_on(server, message, status, word):
    with Stream(server) as stream:
        answer = stream.ask(message)
        assert answer["type"] == "error" and answer["problem"]["status"] == status
        assert word in answer["problem"]["detail"]
        assert stream.ask(ASTRONAUT)["faces"][0]["expression"] == "happy"


def test_an_image_before_the_last_answer_is_refused_not_queued(server):
    workers = server.app.state.engine.workers
    gate = threading.Event()
    blockers = [workers.submit("test", gate.wait) for _ in range(workers.count)]
    with Stream(server) as stream:
        for _ in range(5):
            stream.socket.send(ASTRONAUT)
        refused = [stream.next() for _ in range(4)]
        gate.set()
        answer = stream.next()
    assert [one["problem"]["status"] for one in refused] == [429] * 4
    assert answer["type"] == "faces" and answer["frame"] == 0
    assert all(blocker.result(5) for blocker in blockers)


def test_more_streams_than_there_is_room_for_are_refused_at_once(server):
    with Stream(server), Stream(server), Stream(server), Stream(server) as fourth:
        assert fourth.ready["problem"]["status"] == 503
        with pytest.raises(ConnectionClosed) as closed:
            fourth.next()
        assert closed.value.rcvd.code == 1013
    wait_for(lambda: len(server.app.state.streams) == 0)
    with Stream(server) as stream:
        assert stream.ready["type"] == "ready"


def test_one_client_cannot_take_all_streams(tmp_path):
    with served(tmp_path, streams_per_client=1) as server, Stream(server), Stream(server) as second:
        assert second.ready["problem"]["status"] == 429


def test_silence_and_length_have_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr("mien.server.routes.streams.HELLO_S", 0.3)
    with served(tmp_path, stream_idle_s=0.4, stream_max_s=1.0) as server:
        with connect(server.stream_url) as silent:
            assert json.loads(silent.recv(5))["problem"]["status"] == 408
        with Stream(server) as idle:
            start = time.monotonic()
            assert idle.next()["problem"]["status"] == 408 and 0.2 < time.monotonic() - start < 0.9
        with Stream(server) as busy:
            answers = iter(lambda: busy.ask("{}")["type"], "error")
            assert sum(1 for _ in (time.sleep(0.1) or one for one in answers)) < 15


def test_a_message_that_is_too_large_ends_the_stream_only(server, monkeypatch):
    with Stream(server) as stream:
        with pytest.raises(ConnectionClosed) as closed:
            stream.ask(bytes(17 << 20))
        assert closed.value.rcvd is None or closed.value.rcvd.code == 1009  # or cut off while it was still sending
    assert server.http.get("/health").status_code == 200


def test_a_client_that_vanishes_frees_its_place(server):
    stream = Stream(server)
    stream.socket.send(ASTRONAUT)
    stream.socket.socket.close()
    wait_for(lambda: len(server.app.state.streams) == 0)


def test_streams_are_told_when_the_server_stops_and_the_answer_under_way_comes(tmp_path):
    with served(tmp_path) as server:
        workers = server.app.state.engine.workers
        gate = threading.Event()
        for _ in range(workers.count):
            workers.submit("test", gate.wait)
        with Stream(server) as stream:
            stream.socket.send(ASTRONAUT)
            wait_for(lambda: workers.waiting == 1)
            server.uvicorn.should_exit = True
            wait_for(lambda: server.app.state.streams.stopping)
            gate.set()
            assert stream.next()["faces"][0]["expression"] == "happy"
            assert stream.next() == {"type": "closing", "reason": "the server is stopping"}
            with pytest.raises(ConnectionClosed) as closed:
                stream.next()
            assert closed.value.rcvd.code == 1001
