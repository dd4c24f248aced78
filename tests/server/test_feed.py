"""The server's own camera, which here is a video."""

import json
import socket
import threading

import cv2
import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("av")

import httpx

from helpers import wait_for
from served import check_problem, served
from videos import make_video


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("camera") / "camera.mp4", frames=20)


def images(url, count):
    """Return the first images of a feed."""
    data = b""
    with httpx.stream("GET", f"{url}/video_feed", timeout=20) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "multipart/x-mixed-replace; boundary=mien-image"
        for chunk in answer.iter_raw():
            data += chunk
            parts = data.split(b"--mien-image\r\n")[1:]
            if len(parts) > count:
                break
    return [part.partition(b"\r\n\r\n")[2] for part in parts[:count]]


def test_all_viewers_see_the_same_analysis(tmp_path, camera):
    with served(tmp_path, source=str(camera)) as server:
        assert server.http.get("/v1/models").json()["limits"]["server_camera"]
        seen = [[], []]

        def watch(i):
            seen[i] = images(server.url, 8)

        threads = [threading.Thread(target=watch, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [len(one) for one in seen] == [8, 8]
        assert len(set(seen[0]) & set(seen[1])) >= 4  # byte for byte: drawn and packed once
        image = cv2.imdecode(np.frombuffer(seen[0][3], np.uint8), cv2.IMREAD_COLOR_RGB)
        assert image.shape == (160, 160, 3)
        yellow = (abs(image.astype(int) - (245, 184, 32)).max(axis=2) < 60).sum()
        assert yellow > 150  # the colour of «happy»: box and tag
        wait_for(lambda: len(server.app.state.streams) == 0)


def test_the_faces_of_the_same_analysis_come_as_lines(tmp_path, camera):
    with served(tmp_path, source=str(camera), labels="ferplus") as server:
        rows = []
        with httpx.stream("GET", f"{server.url}/v1/feed", timeout=20) as answer:
            assert answer.headers["content-type"] == "application/x-ndjson"
            for line in answer.iter_lines():
                rows.append(json.loads(line))
                if len(rows) == 6:
                    break
        numbers = [row["number"] for row in rows]
        assert numbers == sorted(set(numbers))
        assert {(row["width"], row["height"]) for row in rows} == {(160, 160)}
        (face,) = rows[-1]["faces"]
        assert face["steady_expression"] == "happy" and len(face["smoothed"]) == 8 and face["track_id"] == 1
        wait_for(lambda: len(server.app.state.streams) == 0)


def test_the_camera_is_open_only_while_somebody_watches(tmp_path, camera, monkeypatch):
    monkeypatch.setattr("mien.server.routes.feed.LINGER_S", 0.2)
    with served(tmp_path, source=str(camera)) as server:
        feed = server.app.state.feed
        for _ in range(2):
            assert feed._thread is None
            assert images(server.url, 1)
            wait_for(lambda: feed._thread is None, seconds=5)


def test_viewers_take_places_of_live_streams(tmp_path, camera):
    with served(tmp_path, source=str(camera), streams=1) as server:
        with httpx.stream("GET", f"{server.url}/video_feed", timeout=20) as first:
            reading = first.iter_raw()  # kept: the viewer leaves when it is collected
            next(reading)
            check_problem(server.http.get("/video_feed"), 503, "taken")
        wait_for(lambda: len(server.app.state.streams) == 0)
        assert images(server.url, 1)


def test_a_camera_that_cannot_be_opened_is_a_problem_that_names_no_address(tmp_path):
    with served(tmp_path, source="/nowhere/camera.mp4") as server:
        answer = server.http.get("/video_feed")
        assert "nowhere" not in check_problem(answer, 503, "camera") and answer.headers["retry-after"]


def test_a_camera_in_disguise_is_not_opened(tmp_path, caplog):
    with socket.create_server(("127.0.0.1", 0)) as inside:
        source = f"http://2130706433:{inside.getsockname()[1]}/camera"
        with served(tmp_path, source=source) as server:
            check_problem(server.http.get("/video_feed"), 503, "camera")
        inside.settimeout(0)
        with pytest.raises(BlockingIOError):
            inside.accept()
    assert "leads to 127.0.0.1, not a public address" in caplog.text


def test_a_server_without_a_camera_says_so(tmp_path):
    with served(tmp_path) as server:
        check_problem(server.http.get("/video_feed"), 404, "--source")
        check_problem(server.http.get("/v1/feed"), 404, "--source")


def test_viewers_do_not_keep_the_server_from_stopping(tmp_path, camera):
    with (
        served(tmp_path, source=str(camera), grace_s=10.0) as server,
        httpx.stream("GET", f"{server.url}/video_feed", timeout=20) as answer,
    ):
        stream = answer.iter_raw()
        next(stream)
        server.uvicorn.should_exit = True
        assert b"--mien-image--" in b"".join(stream)  # the feed ends, it is not cut off
