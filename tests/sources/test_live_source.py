"""Live sources: the newest frame, drops, stalls, reconnects, ends. The network is a small server on this machine."""

import itertools
import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from mien.errors import InputError, SourceError
from mien.sources import live as live_source
from mien.sources._feeds import LiveRawFrame, OpenCvFeed
from mien.sources._frames import VideoInfo
from mien.sources.live import LiveFrame, LiveSettings, LiveSource
from videos import numbered, read_number, write_video

QUICK = {"stall_s": 0.4, "open_s": 5.0}


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Return two seconds of numbered images at 25 frames/s."""
    return write_video(tmp_path_factory.mktemp("live") / "video.mp4", numbered(50))


# Files ----------------------------------------------------------------------------------------------------------------


def test_a_file_plays_at_its_own_speed_and_ends_with_none(video):
    started = time.monotonic()
    seen, frame_count = [], 0
    with LiveSource(video) as source:
        while (frame := source.newest()) is not None:
            late_s = time.monotonic() - started - frame.time_s
            assert late_s > -0.05
            assert 0 <= time.monotonic() - frame.captured_s < 1
            seen.append((frame.index, read_number(frame.image)))
            frame_count += 1
        assert source.ended
        assert source.newest() is None
        assert frame_count + source.dropped == 50
        assert (source.info.width, source.info.height, source.info.codec) == (96, 64, "h264")
    assert 1.9 < time.monotonic() - started < 6
    assert all(index == number for index, number in seen)
    assert seen[-1] == (49, 49)
    assert isinstance(frame, LiveFrame | None)


def test_a_slow_reader_gets_the_newest_frame_and_the_old_ones_are_dropped(video):
    with LiveSource(video) as source:
        frames = []
        while (frame := source.newest()) is not None:
            frames.append(frame)
            time.sleep(0.3)
        dropped = source.dropped
    assert len(frames) <= 9
    assert len(frames) + dropped == 50
    assert all(b.index > a.index for a, b in itertools.pairwise(frames[:-1]))
    assert [read_number(f.image) for f in frames] == [f.index for f in frames]


def test_without_real_time_every_frame_waits_for_its_reader(video):
    with LiveSource(video, LiveSettings(realtime=False)) as source:
        frames = list(iter(source.newest, None))
    assert [frame.index for frame in frames] == list(range(50))
    assert source.dropped == 0


def test_a_loop_goes_on_in_time_and_number(video):
    with LiveSource(video, LiveSettings(realtime=False, loop=True)) as source:
        frames = [source.newest() for _ in range(120)]
    assert [read_number(frame.image) for frame in frames] == [n % 50 for n in range(120)]
    assert np.allclose([frame.time_s for frame in frames], np.arange(120) / 25, atol=0.001)
    assert [frame.index for frame in frames] == list(range(120))


def test_waiting_with_a_limit_gives_none_and_says_whether_it_ended(tmp_path):
    path = write_video(tmp_path / "gap.mkv", numbered(3), times_s=[0, 0.1, 1.2])
    with LiveSource(path) as source:
        first, second = source.newest(), source.newest()
        assert (read_number(first.image), read_number(second.image)) == (0, 1)
        assert source.newest(timeout_s=0.05) is None
        assert not source.ended
        assert read_number(source.newest().image) == 2
        assert source.newest() is None
        assert source.ended


def test_a_file_that_breaks_off_gives_its_frames_then_the_error(tmp_path):
    data = write_video(tmp_path / "whole.mkv", numbered(50)).read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(data[: len(data) // 2])
    with LiveSource(path, LiveSettings(realtime=False)) as source:
        count = 0
        with pytest.raises(SourceError, match=r"cut\.mkv breaks off"):
            while source.newest():
                count += 1
    assert count > 10


def test_what_cannot_be_opened_says_so_at_once(tmp_path):
    (tmp_path / "text.mp4").write_text("no video\n" * 50)
    cases = {
        tmp_path / "absent.mp4": "does not exist",
        tmp_path / "text.mp4": "is not a video",
        "http://127.0.0.1:9/live": "http://127.0.0.1:9/live cannot be reached: the connection was refused",
        "nonsense://x/y": "cannot be opened: 'nonsense' is no protocol mien knows",
    }
    for source, words in cases.items():
        started = time.monotonic()
        with pytest.raises(SourceError, match=words):
            LiveSource(source)
        assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"stall_s": 0}, "stall_s must be more than 0"),
        ({"open_s": float("inf")}, "open_s must be more than 0"),
        ({"reconnect_s": -1}, "reconnect_s must be at least 0"),
        ({"width": 640}, "give width and height together"),
    ],
)
def test_settings_out_of_range_say_so(settings, words):
    with pytest.raises(InputError, match=words):
        LiveSettings(**settings)


# Cameras --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("camera", [97, "97", "/dev/video97", -1])
def test_a_camera_that_is_not_there_says_so_and_names_those_that_are(camera):
    with pytest.raises(SourceError, match=r"there is no camera .*(there are /dev/video|this machine has none)"):
        LiveSource(camera)


def test_a_device_that_is_no_camera_says_so(tmp_path, monkeypatch):
    from mien.sources import _feeds as feeds

    monkeypatch.setattr(feeds, "camera_path", lambda source: "/dev/null")
    with pytest.raises(SourceError, match="/dev/null cannot be opened"):
        LiveSource(3, LiveSettings(width=640, height=480, fps=30))


class HungCamera:
    """Gives two images of different sizes, then hangs as a bad driver does, until the test is over."""

    def __init__(self):
        self.over = threading.Event()

    def run(self, opened):
        opened(VideoInfo("camera 0", 96, 64, None, None, None, "camera"))
        for number, size in enumerate([(96, 64), (192, 128)]):
            yield LiveRawFrame(
                float(number), time.monotonic(), lambda n=number, s=size: next(numbered(1, size=s, start=n))
            )
            time.sleep(0.1)
        self.over.wait(10)


def test_a_camera_that_hangs_is_an_error_even_if_its_driver_never_returns(monkeypatch):
    camera = HungCamera()
    monkeypatch.setattr(live_source, "camera_feed", lambda *_, **__: camera)
    monkeypatch.setattr(live_source, "DRIVER_S", 0.1)
    with LiveSource(0, LiveSettings(stall_s=0.5, realtime=False)) as source:
        frames = [source.newest(), source.newest()]
        assert source.newest(timeout_s=0.05) is None
        started = time.monotonic()
        with pytest.raises(SourceError, match=r"camera 0 stopped .*check that it is still connected"):
            source.newest()
        assert time.monotonic() - started < 1.5
        assert source.ended
        camera.over.set()
    assert [read_number(frame.image) for frame in frames] == [0, 1]
    assert {frame.image.shape for frame in frames} == {(64, 96, 3)}


def test_a_camera_through_opencv_gives_frames_until_it_is_unplugged(tmp_path):
    """A file stands for the camera: OpenCV reads both through the same object."""
    path = write_video(tmp_path / "camera.avi", numbered(10), codec="mjpeg")
    infos, numbers = [], []
    with pytest.raises(SourceError, match=r"camera 0 stopped .*still connected"):
        for shot in OpenCvFeed(str(path), "camera 0", {}).run(infos.append):
            numbers.append(read_number(shot.rgb()))
    assert numbers == list(range(10))
    assert infos == [VideoInfo("camera 0", 96, 64, None, None, 25.0, "camera")]
    with pytest.raises(SourceError, match="there is no camera 5, or another program uses it"):
        next(iter(OpenCvFeed(str(tmp_path / "none.avi"), "camera 5", {}).run(infos.append)))


# Network streams ------------------------------------------------------------------------------------------------------


class CameraServer:
    """An MJPEG camera on loopback: numbered images, 50 a second, that can stall, hang up and be away."""

    def __init__(self):
        self.sending, self.there, self.closing = threading.Event(), threading.Event(), threading.Event()
        self.sending.set()
        self.there.set()
        self.connections = 0
        self.sent = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.serve(self)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/video"

    def serve(self, handler):
        if not self.there.is_set():
            handler.send_error(503)
            return
        self.connections += 1
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        handler.end_headers()
        while self.there.is_set() and not self.closing.is_set():
            if not self.sending.wait(0.05):
                continue
            image = cv2.imencode(".jpg", next(numbered(1, start=self.sent % 4096)))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image)}\r\n\r\n".encode()
            try:
                handler.wfile.write(head + image + b"\r\n")
            except OSError:
                return
            self.sent += 1
            time.sleep(0.02)

    def close(self):
        self.closing.set()
        self.sending.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def camera():
    server = CameraServer()
    yield server
    server.close()


@contextmanager
def no_thread_left_behind():
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 3
    while left := [t for t in threading.enumerate() if t not in before and t.name == "mien-live-source"]:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


def test_an_mjpeg_stream_gives_its_newest_frame(camera):
    with no_thread_left_behind(), LiveSource(camera.url, LiveSettings(**QUICK)) as source:
        frames = []
        for _ in range(8):
            frames.append(source.newest(timeout_s=3))
            time.sleep(0.1)
            assert camera.sent - read_number(frames[-1].image) >= 1
        fresh = source.newest(timeout_s=3)
        assert read_number(fresh.image) > camera.sent / 2  # one after the other it would be the ninth of forty
    assert source.dropped > 5
    assert (source.info.width, source.info.codec, source.info.duration_s) == (96, "mjpeg", None)
    times = [frame.time_s for frame in frames]
    assert all(0.05 < b - a < 3 for a, b in itertools.pairwise(times))
    assert camera.connections == 1


def test_a_stream_that_stalls_comes_back(camera):
    with no_thread_left_behind(), LiveSource(camera.url, LiveSettings(**QUICK, reconnect_s=20)) as source:
        before = source.newest(timeout_s=3)
        camera.sending.clear()
        time.sleep(0.2)
        while source.newest(timeout_s=0.2) is not None:
            pass
        assert source.newest(timeout_s=1.0) is None
        assert not source.ended
        camera.sending.set()
        after = source.newest(timeout_s=5)
        assert after.time_s - before.time_s > 1.0
        assert after.index > before.index
        assert len(source.problems) >= 1
        assert "stopped (no image came in time); connecting again" in source.problems[0]
    assert camera.connections >= 2


def test_a_stream_that_hangs_up_and_is_away_comes_back(camera):
    with LiveSource(camera.url, LiveSettings(**QUICK, reconnect_s=20)) as source:
        assert source.newest(timeout_s=3)
        camera.there.clear()
        while source.newest(timeout_s=0.3) is not None:
            pass
        time.sleep(0.5)
        camera.there.set()
        assert source.newest(timeout_s=6) is not None
        assert re.search(r"stopped \((it ended|input/output error)\); connecting again", source.problems[0])


@pytest.mark.slow
def test_a_stream_that_is_away_for_a_minute_comes_back(camera):
    with LiveSource(camera.url, LiveSettings(stall_s=5, reconnect_s=120)) as source:
        assert source.newest(timeout_s=3)
        camera.there.clear()
        time.sleep(62)
        while source.newest(timeout_s=0.1) is not None:
            pass
        camera.there.set()
        frame = source.newest(timeout_s=15)
    assert frame.time_s > 60


@pytest.mark.parametrize(("patience_s", "words"), [(0.6, r"did not come back in 0\.6 s"), (0.0, r"stopped \(")])
def test_a_stream_that_stays_away_is_an_error_in_the_end(camera, patience_s, words):
    with LiveSource(camera.url, LiveSettings(**QUICK, reconnect_s=patience_s)) as source:
        assert source.newest(timeout_s=3)
        camera.there.clear()
        with pytest.raises(SourceError, match=words) as said:
            while source.newest(timeout_s=10) is not None:
                pass
        assert "check the camera and the network" in str(said.value)
        assert source.ended
        with pytest.raises(SourceError):
            source.newest()


def test_a_stream_that_never_sends_an_image_is_an_error(camera):
    camera.sending.clear()
    started = time.monotonic()
    with no_thread_left_behind(), pytest.raises(SourceError, match=r"does not answer in time|gives no image"):
        LiveSource(camera.url, LiveSettings(**QUICK))
    assert time.monotonic() - started < 3


def test_opening_is_given_up_in_time(camera):
    camera.sending.clear()
    with no_thread_left_behind():
        started = time.monotonic()
        with pytest.raises(SourceError, match=r"gave no image in 0\.3 s"):
            LiveSource(camera.url, LiveSettings(stall_s=1.5, open_s=0.3))
        assert time.monotonic() - started < 1.2


def test_closing_does_not_wait_for_a_silent_stream(camera):
    with no_thread_left_behind():
        source = LiveSource(camera.url, LiveSettings(stall_s=1.5))
        assert source.newest(timeout_s=3)
        camera.sending.clear()
        time.sleep(0.2)
        started = time.monotonic()
        source.close()
        assert time.monotonic() - started < 1.0
        assert source.newest() is None
        source.close()


def test_closing_wakes_a_reader_that_waits(camera):
    source = LiveSource(camera.url, LiveSettings(stall_s=2))
    camera.sending.clear()
    time.sleep(0.2)
    source.newest(timeout_s=0.1)
    answers = []
    reader = threading.Thread(target=lambda: answers.append(source.newest()))
    reader.start()
    time.sleep(0.1)
    source.close()
    reader.join(2)
    assert answers == [None]


def test_no_password_is_in_any_message_or_result(camera):
    url = camera.url.replace("http://", "http://me:secret@") + "?key=secret"
    with LiveSource(url, LiveSettings(**QUICK, reconnect_s=0.3)) as source:
        frame = source.newest(timeout_s=3)
        camera.there.clear()
        with pytest.raises(SourceError) as said:
            while source.newest(timeout_s=10) is not None:
                pass
        told = " ".join([str(said.value), frame.source, source.info.source, source.name, *source.problems])
    assert "secret" not in told
    assert re.search(r"http://127\.0\.0\.1:\d+/video\?… stopped", told)


def test_a_video_behind_a_url_plays_at_its_own_speed_and_ends(video):
    data = video.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
            self.send_response(206 if start else 200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            self.wfile.write(data[start:])

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    started = time.monotonic()
    with LiveSource(f"http://127.0.0.1:{server.server_port}/video.mp4") as source:
        frames = list(iter(source.newest, None))
    assert time.monotonic() - started > 1.9
    assert len(frames) + source.dropped == 50
    assert read_number(frames[-1].image) == 49
    server.shutdown()
    server.server_close()
    thread.join()
