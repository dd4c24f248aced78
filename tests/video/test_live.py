"""`mien live`: the newest frame, its delay, files that are valid however it ends, and the window under Xvfb."""

import contextlib
import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

av = pytest.importorskip("av")

from helpers import rows_in  # noqa: E402
from mien.cli.live import show  # noqa: E402
from mien.cli.live.window import Window, first_size  # noqa: E402
from mien.errors import InputError, OutputError, SourceError  # noqa: E402
from mien.faces import Faces, columns_of  # noqa: E402
from mien.labels import FER7, FERPLUS8  # noqa: E402
from mien.sources.live import LiveFrame, LiveSettings, LiveSource  # noqa: E402
from mien.tracking.tracker import Tracker  # noqa: E402
from mien.video.live.delays import Delays, FrameRate  # noqa: E402
from mien.video.live.files import LiveOutputs, unused  # noqa: E402
from mien.video.live.session import LiveSession  # noqa: E402
from mien.video.live.view import ViewOptions  # noqa: E402
from videos import numbered, portraits, read_number, write_video  # noqa: E402

NO_KEYS = {name: "" for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")}


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    """A video of 1 s at 25 frames/s with one smiling face that moves."""
    return write_video(tmp_path_factory.mktemp("live") / "portrait.mp4", portraits(25, scale=0.45))


def frames_in(path):
    with av.open(str(path)) as container:
        return [(float(frame.time), frame.width, frame.height) for frame in container.decode(video=0)]


class Watching:
    """A tracker that finds one happy face in every frame, notes what it was given and may be slow."""

    def __init__(self, labels=FER7, *, takes_s=0.0):
        self.labels, self.takes_s, self.seen = labels, takes_s, []

    def track(self, frames):
        self.seen += [(frame, time.monotonic()) for frame in frames]
        time.sleep(self.takes_s)
        return [self.faces().at(frame) for frame in frames]

    def faces(self):
        probs = np.zeros((1, len(self.labels)), np.float32)
        probs[0, self.labels.index("happy")] = 1
        box = np.array([[4, 4, 40, 40]], np.float32)
        return Faces(box, np.ones(1, np.float32), probs=probs, labels=self.labels, track_id=np.array([1]),
                     smoothed=probs, steady=probs.argmax(axis=1))  # fmt: skip


class Feed:
    """A source that gives `count` frames as fast as they are taken, and then ends, or fails with `error`."""

    def __init__(self, count=None, *, error=None, pause_s=0.0, size=(96, 64)):
        self.dropped, self.problems, self.ended = 0, [], False
        self.name, self._size = "feed", size
        self.info = SimpleNamespace(source="feed", width=size[0], height=size[1])
        self._left, self._error, self._pause_s, self._number = count, error, pause_s, 0

    def newest(self, timeout_s=None):
        time.sleep(self._pause_s)
        if self._left is not None and self._number >= self._left:
            self.ended = True
            if self._error:
                raise self._error
            return None
        number, self._number = self._number, self._number + 1
        (image,) = numbered(1, size=self._size, start=number)
        return LiveFrame(image, self.name, number, number / 25, captured_s=time.monotonic())


def run_to_end(session, limit_s=20.0):
    """Wait for a session that ends by itself and return its summary."""
    with session:
        until = time.monotonic() + limit_s
        while not session.done and time.monotonic() < until:
            time.sleep(0.01)
        assert session.done
    return session.summary()


def until(condition, limit_s=10.0):
    """Wait for a condition."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


class TestMeasuring:
    def test_quantiles_are_those_of_all_delays(self):
        values = np.random.default_rng(0).gamma(4, 6, 5000)
        delays = Delays()
        for value in values:
            delays.add(value)
        assert delays.quantile(0.5) == pytest.approx(np.median(values), abs=0.3)
        assert delays.quantile(0.95) == pytest.approx(np.quantile(values, 0.95), abs=0.5)
        assert delays.recent_ms == pytest.approx(np.median(values[-30:]))

    def test_no_delay_yet_and_one_beyond_all_bounds(self):
        delays = Delays()
        assert math.isnan(delays.quantile(0.5))
        assert delays.recent_ms is None
        delays.add(1e9)
        assert delays.quantile(0.5) >= 10_000

    def test_the_rate_is_that_of_the_last_seconds(self):
        rate = FrameRate()
        assert rate.at(0) is None
        for time_s in [*np.arange(0, 5, 0.1), *np.arange(5, 10, 0.05)]:
            rate.tick(time_s)
        assert rate.at(10) == pytest.approx(20, rel=0.01)
        assert rate.at(20) is None


class TestSession:
    def test_the_newest_frame_is_analysed_and_old_ones_are_dropped(self, tmp_path):
        """A tracker of 100 ms on 25 frames/s: what it gets is never older than a frame, and the numbers jump."""
        path = write_video(tmp_path / "numbers.mp4", numbered(50))
        slow = Watching(takes_s=0.1)
        with LiveSource(path) as source:
            summary = run_to_end(LiveSession(source, lambda _: slow, [FER7]))
        numbers = [read_number(frame.image) for frame, _ in slow.seen]
        ages_ms = [1e3 * (now_s - frame.captured_s) for frame, now_s in slow.seen]
        assert numbers == [frame.index for frame, _ in slow.seen]
        assert np.median(np.diff(numbers)) >= 2
        assert np.median(ages_ms) < 50
        assert summary.frames == len(numbers)
        assert summary.dropped >= 20
        assert summary.dropped + summary.frames <= 50
        assert 100 < summary.median_ms < 200

    def test_a_real_video_is_tracked(self, video, analyzer):
        with LiveSource(video, LiveSettings(realtime=False)) as source:
            session = LiveSession(source, lambda _: Tracker(analyzer), [analyzer.labels])
            summary = run_to_end(session)
        moment = session.latest()
        assert summary.frames == 25 and summary.dropped == 0 and summary.error is None
        assert moment.number == 25
        assert moment.faces.track_id.tolist() == [1]
        assert moment.faces.steady is not None
        assert [face.steady_expression for face in moment.faces] == ["happy"]

    def test_log_and_recording_hold_every_frame(self, tmp_path):
        outputs = LiveOutputs(tmp_path / "log.jsonl", tmp_path / "video.mp4")
        summary = run_to_end(LiveSession(Feed(30, pause_s=0.01), Watching, [FER7], outputs=outputs))
        logged, recorded = rows_in(tmp_path / "log.jsonl"), frames_in(tmp_path / "video.mp4")
        assert [row["frame"] for row in logged] == list(range(30))
        assert tuple(logged[0]) == (*columns_of(FER7, tracked=True), "error")
        assert logged[3]["steady_expression"] == "happy"
        assert [time_s for time_s, *_ in recorded] == pytest.approx([n / 25 for n in range(30)], abs=1e-3)
        assert recorded[0][1:] == (96, 64)
        assert set(summary.written) == {tmp_path / "log.jsonl", tmp_path / "video.mp4"}
        assert sorted(p.name for p in tmp_path.iterdir()) == ["log.jsonl", "video.mp4"]

    def test_a_recording_that_cannot_keep_up_skips_frames_and_says_so(self, tmp_path):
        def slow_draw(image, faces):
            time.sleep(0.03)
            return image.copy()

        outputs = LiveOutputs(tmp_path / "log.csv", tmp_path / "video.mp4", slow_draw)
        summary = run_to_end(LiveSession(Feed(200, pause_s=0.001), Watching, [FER7], outputs=outputs))
        (problem,) = summary.problems
        skipped = int(problem.split(" lacks ")[1].split()[0])
        assert skipped > 50
        assert len(frames_in(tmp_path / "video.mp4")) == 200 - skipped
        assert len((tmp_path / "log.csv").read_text().splitlines()) == 201
        assert summary.median_ms < 20

    def test_recordings_started_by_hand_do_not_overwrite_each_other(self, tmp_path):
        outputs = LiveOutputs(record=tmp_path / "video.mp4")
        session = LiveSession(Feed(pause_s=0.005), Watching, [FER7], outputs=outputs)
        with session:
            until(lambda: session.recording_s)
            assert session.files.toggle_recording() == f"saved {tmp_path / 'video.mp4'}"
            assert session.recording_s is None
            assert session.files.toggle_recording() == f"recording to {tmp_path / 'video-2.mp4'}"
            until(lambda: session.recording_s)
        assert session.summary().written == (tmp_path / "video.mp4", tmp_path / "video-2.mp4")
        assert frames_in(tmp_path / "video-2.mp4")[0][0] == 0

    def test_a_recording_without_a_name_gets_one_with_the_time(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        session = LiveSession(Feed(pause_s=0.005), Watching, [FER7])
        with session:
            session.files.toggle_recording()
            until(lambda: session.recording_s)
        (path,) = tmp_path.glob("mien-*.mp4")
        assert session.summary().written[0].name == path.name

    def test_another_label_set_goes_on_in_another_log(self, tmp_path):
        outputs = LiveOutputs(tmp_path / "log.jsonl")
        session = LiveSession(Feed(pause_s=0.002), Watching, [FER7, FERPLUS8], outputs=outputs)
        with session:
            until(lambda: session.latest() is not None)
            assert session.next_labels() == FERPLUS8
            until(lambda: session.latest().faces.labels == FERPLUS8 and (tmp_path / "log.jsonl").exists())
            assert session.note() == f"the log goes on in {tmp_path / 'log-2.jsonl'}"
            assert session.note() is None
            assert session.next_labels() == FER7
        first, second = rows_in(tmp_path / "log.jsonl"), rows_in(tmp_path / "log-2.jsonl")
        assert "contempt" not in first[0] and "contempt" in second[0]
        assert second[0]["frame"] == first[-1]["frame"] + 1

    def test_nothing_is_analysed_or_logged_while_paused(self, tmp_path):
        session = LiveSession(Feed(pause_s=0.005), Watching, [FER7], outputs=LiveOutputs(tmp_path / "log.jsonl"))
        with session:
            until(lambda: session.latest(2) is not None)
            session.paused = True
            time.sleep(0.05)
            stood = session.latest().number
            time.sleep(0.2)
            assert session.latest().number == stood
            session.paused = False
            until(lambda: session.latest(stood) is not None)
        numbers = [row["frame"] for row in rows_in(tmp_path / "log.jsonl")]
        assert max(np.diff(numbers)) > 20

    def test_seconds_end_it(self):
        started = time.monotonic()
        summary = run_to_end(LiveSession(Feed(pause_s=0.01), Watching, [FER7], seconds=0.3))
        assert 0.3 <= summary.seconds < 2
        assert time.monotonic() - started < 3

    def test_a_source_that_breaks_keeps_what_came_before(self, tmp_path):
        gone = SourceError("camera 0 is gone")
        outputs = LiveOutputs(tmp_path / "log.jsonl", tmp_path / "video.mkv")
        summary = run_to_end(LiveSession(Feed(5, error=gone, pause_s=0.01), Watching, [FER7], outputs=outputs))
        assert summary.error is gone
        assert summary.frames == len(rows_in(tmp_path / "log.jsonl")) == len(frames_in(tmp_path / "video.mkv")) == 5

    def test_a_lost_output_is_named_and_the_rest_goes_on(self, tmp_path):
        lost, kept = tmp_path / "lost", tmp_path / "kept.jsonl"
        session = LiveSession(
            Feed(pause_s=0.005), Watching, [FER7], outputs=LiveOutputs(kept, lost / "video.mp4"), seconds=0.4
        )
        with session:
            until(lambda: session.latest(3) is not None)
            shutil.rmtree(lost)
            assert "video.mp4" in session.files.toggle_recording()
            until(lambda: session.done)
        summary = session.summary()
        assert summary.written == (kept,)
        assert isinstance(summary.error, OutputError) and "video.mp4" in str(summary.error)
        assert len(rows_in(kept)) == summary.frames

    def test_an_unexpected_error_is_not_hidden(self):
        def broken(labels):
            return SimpleNamespace(track=lambda frames: 1 / 0)

        with pytest.raises(ZeroDivisionError):
            run_to_end(LiveSession(Feed(3), broken, [FER7]))

    def test_no_frame_at_all(self):
        summary = run_to_end(LiveSession(Feed(0), Watching, [FER7]))
        assert (summary.frames, summary.dropped) == (0, 0)
        assert math.isnan(summary.median_ms)

    @pytest.mark.parametrize(
        ("outputs", "message"),
        [({"log": "a.mp4"}, "a table ends in .jsonl"), ({"record": "a.csv"}, "a video ends in .mp4")],
    )
    def test_outputs_with_other_extensions(self, tmp_path, outputs, message):
        with pytest.raises(InputError, match=message):
            LiveOutputs(**{name: tmp_path / value for name, value in outputs.items()})

    def test_no_log_is_left_where_the_recording_cannot_start(self, tmp_path):
        (tmp_path / "file").touch()
        outputs = LiveOutputs(tmp_path / "log.jsonl", tmp_path / "file" / "video.mp4")
        with pytest.raises(OutputError):
            LiveSession(Feed(3), Watching, [FER7], outputs=outputs)
        assert [p.name for p in tmp_path.iterdir()] == ["file"]

    def test_unused(self, tmp_path):
        assert unused(tmp_path / "a.mp4") == tmp_path / "a.mp4"
        for name in ("a.mp4", "a-2.mp4"):
            (tmp_path / name).touch()
        assert unused(tmp_path / "a.mp4") == tmp_path / "a-3.mp4"


class TestCommand:
    def test_headless_logs_records_and_sums_up(self, mien, video, tmp_path):
        log, record = tmp_path / "out.jsonl", tmp_path / "out.mp4"
        code, out, err = mien("live", video, "--headless", "--log", log, "--record", record)
        assert code == 0
        assert out == ""
        logged = rows_in(log)
        assert 10 <= len(logged) <= 25
        assert {row["track_id"] for row in logged} == {1}
        assert logged[-1]["steady_expression"] == "happy"
        recorded = frames_in(record)
        assert len(recorded) == len(logged)
        assert recorded[0][1:] == (320, 240)
        assert f"{len(logged)} frames in" in err and "delay: median" in err
        assert f"wrote {log}" in err and f"wrote {record}" in err

    def test_piped_without_a_log_it_prints_json_lines(self, mien, video):
        code, out, _ = mien("live", video, "--headless", "--labels", "ferplus", "--half-life", "0")
        assert code == 0
        first = json.loads(out.splitlines()[0])
        assert tuple(first) == (*columns_of(FERPLUS8, tracked=True), "error")
        assert first["smooth_happy"] == first["happy"]

    def test_seconds_and_loop(self, mien, video, tmp_path):
        code, _, _ = mien("live", video, "--headless", "--loop", "--seconds", "1.6", "--log", tmp_path / "a.csv")
        assert code == 0
        times = [float(line.split(",")[2]) for line in (tmp_path / "a.csv").read_text().splitlines()[1:]]
        assert times == sorted(times)
        assert times[-1] > 1.1

    @pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_completes_the_files(self, video, tmp_path, stop):
        arguments = ["live", video, "--headless", "--loop", "--log", "a.jsonl", "--record", "a.mp4"]
        running = subprocess.Popen(
            [sys.executable, "-m", "mien", *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True
        )
        try:
            until(lambda: any(p.stat().st_size > 20_000 for p in tmp_path.iterdir()), 60)
            running.send_signal(stop)
            _, err = running.communicate(timeout=30)
        finally:
            running.kill()
        assert running.returncode == 0, err
        assert "wrote a.jsonl" in err and "wrote a.mp4" in err
        assert len(rows_in(tmp_path / "a.jsonl")) >= len(frames_in(tmp_path / "a.mp4")) > 5
        assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "a.mp4"]

    @pytest.mark.parametrize("source", ["77", "/dev/video77", "nowhere.mp4"])
    def test_a_source_that_cannot_be_opened(self, mien, source, tmp_path):
        code, out, err = mien("live", source, "--headless", "--log", tmp_path / "a.jsonl")
        assert code == 1
        assert out == ""
        assert source in err or "camera 77" in err
        assert list(tmp_path.iterdir()) == []

    def test_a_video_that_breaks_off(self, mien, video, tmp_path):
        half = tmp_path / "half.mkv"
        whole = write_video(tmp_path / "whole.mkv", portraits(50)).read_bytes()
        half.write_bytes(whole[: len(whole) // 2])
        code, _, err = mien("live", half, "--headless", "--log", tmp_path / "a.jsonl")
        assert rows_in(tmp_path / "a.jsonl")
        assert (code, "half.mkv" in err) == (1, True)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--log", "a.mp4"), "a table ends in .jsonl"),
            (("--record", "a.jsonl"), "a video ends in .mp4"),
            (("--size", "large"), "--size must be width x height"),
            (("--seconds", "0"), "--seconds must be more than 0"),
            (("--labels", "nine"), "nine"),
            (("--half-life", "-1"), "--half-life must be"),
        ],
    )
    def test_wrong_use(self, mien, video, arguments, message):
        code, _, err = mien("live", video, "--headless", *arguments)
        assert code == 2
        assert message in err

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there is always a display")
    def test_without_a_display_it_names_headless(self, mien, video, monkeypatch):
        pytest.importorskip("pygame")
        for name in NO_KEYS:
            monkeypatch.delenv(name, raising=False)
        code, _, err = mien("live", video)
        assert code == 2
        assert "no display" in err and "--headless" in err

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there is always a display")
    @pytest.mark.parametrize("display", [{"DISPLAY": ":7777"}, {"WAYLAND_DISPLAY": "nothing", "XDG_RUNTIME_DIR": "/x"}])
    def test_a_display_that_does_not_answer_names_headless(self, video, display):
        """SDL falls back to a driver that shows nothing; that must not pass for a window."""
        pytest.importorskip("pygame")
        environment = {name: value for name, value in os.environ.items() if name not in NO_KEYS} | display
        done = subprocess.run(
            [sys.executable, "-m", "mien", "live", video], env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 2, done.stderr
        assert "no display" in done.stderr and "--headless" in done.stderr

    def test_the_line_in_a_terminal(self, video):
        session = LiveSession(Feed(5, pause_s=0.01), Watching, [FER7])
        run_to_end(session)
        line = show._line(session, 67.0).plain
        assert line.startswith("1:07  ")
        assert "frames/s" in line and "delay" in line and "#1 😄 happy 100%" in line


# The window -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    """Start a virtual X display; return the file that holds its pixels."""
    pytest.importorskip("pygame")
    if not shutil.which("Xvfb"):
        pytest.skip("needs Xvfb (apt-get install xvfb)")
    folder = tmp_path_factory.mktemp("screen")
    reader, writer = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1280x1024x24", "-fbdir", str(folder)],
        pass_fds=[writer],
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    with os.fdopen(reader) as answer, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", f":{answer.readline().strip()}")
        patch.setenv("SDL_VIDEODRIVER", "x11")
        patch.setenv("SDL_VIDEO_WINDOW_POS", "0,0")
        yield folder / "Xvfb_screen0"
    server.terminate()
    server.wait()


def pixels_of(screen):
    """Return what is on the virtual screen, (H, W, 3) uint8 RGB, from its XWD file."""
    data = screen.read_bytes()
    header = struct.unpack(">25I", data[:100])
    size, width, height, per_line, colours = (header[i] for i in (0, 4, 5, 12, 19))
    raw = np.frombuffer(data, np.uint8, per_line * height, size + 12 * colours).reshape(height, per_line)
    return raw[:, : 4 * width].reshape(height, width, 4)[..., 2::-1]


@pytest.fixture
def open_window(screen, tmp_path, monkeypatch):
    """Return a function that opens a window on a source and gives it with its session."""
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as stack:

        def open_(source, trackers=Watching, *, sets=(FER7, FERPLUS8), options=None, **named):
            session = LiveSession(source, trackers, list(sets), window=True, **named)
            stack.enter_context(session)
            size = source.info.width, source.info.height
            return stack.enter_context(
                Window(session, options or ViewOptions(), source=source.name, image=size)
            ), session

        yield open_


def press(window, *names):
    """Press keys and let the window obey."""
    pygame = window._pygame
    for name in names:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.key.key_code(name)))
    return window.step()


def shown(window):
    """Return the window's own image, (H, W, 3) uint8 RGB."""
    surface = window._pygame.display.get_surface()
    return window._pygame.surfarray.array3d(surface).swapaxes(0, 1)


def step_until(window, condition, limit_s=20.0):
    end = time.monotonic() + limit_s
    while not condition():
        assert window.step(), "the window closed"
        assert time.monotonic() < end, "waited in vain"


class TestWindow:
    def test_what_is_shown_reaches_the_screen(self, open_window, screen):
        window, session = open_window(Feed(pause_s=0.02))
        step_until(window, lambda: session.delays.count > 3)
        session.paused = True
        press(window, "m")
        time.sleep(0.3)
        own, whole = shown(window), pixels_of(screen)
        assert (whole[: own.shape[0], : own.shape[1]] == own).mean() > 0.99
        assert len(np.unique(own.reshape(-1, 3), axis=0)) > 50

    def test_it_shows_a_real_video_with_its_face(self, open_window, video, analyzer):
        with LiveSource(video, LiveSettings(loop=True)) as source:
            window, session = open_window(source, lambda _: Tracker(analyzer), sets=[analyzer.labels])
            step_until(window, lambda: session.delays.count > 8)
            yellow = (np.abs(shown(window).astype(int) - (245, 184, 32)) < 12).all(axis=-1)
            assert yellow.sum() > 500
            assert session.latest().faces.track_id.tolist() == [1]
            assert session.delays.quantile(0.5) < 1000

    def test_keys_that_change_the_look(self, open_window):
        window, session = open_window(Feed(pause_s=0.01))
        step_until(window, lambda: session.delays.count > 1)
        press(window, "h", "b", "m")
        assert window.options.help and window.options.mirror and window.options.style.bars
        press(window, "h", "b", "m")
        assert window.options == ViewOptions()

    def test_space_freezes_the_image(self, open_window):
        window, session = open_window(Feed(pause_s=0.01))
        step_until(window, lambda: session.delays.count > 1)
        press(window, "space")
        assert session.paused
        counted = session.delays.count
        for _ in range(5):
            assert window.step()
        assert session.delays.count == counted
        press(window, "space")
        step_until(window, lambda: session.delays.count > counted)

    def test_a_frozen_image_stays_when_the_source_ends(self, open_window):
        window, session = open_window(Feed(10, pause_s=0.02))
        step_until(window, lambda: session.delays.count > 1)
        press(window, "space")
        until(lambda: session.done)
        assert window.step()
        assert not press(window, "space")

    def test_s_saves_an_image_in_its_own_size(self, open_window, tmp_path):
        window, session = open_window(Feed(pause_s=0.02))
        press(window, "s")
        assert list(tmp_path.iterdir()) == []
        step_until(window, lambda: session.delays.count > 1)
        press(window, "s", "s")
        first, second = sorted(tmp_path.glob("mien-*.png"))
        assert cv2.imread(str(first)).shape == (64, 96, 3)
        assert cv2.imread(str(second)) is not None
        assert window._message.startswith("saved mien-")

    def test_r_starts_and_completes_a_video(self, open_window, tmp_path):
        window, session = open_window(Feed(pause_s=0.01))
        press(window, "r")
        step_until(window, lambda: session.recording_s)
        press(window, "r")
        (path,) = tmp_path.glob("mien-*.mp4")
        assert len(frames_in(path)) > 1

    def test_l_changes_the_label_set(self, open_window):
        window, _ = open_window(Feed(pause_s=0.01))
        step_until(window, lambda: window._history.labels == FER7)
        press(window, "l")
        assert window._message == "ferplus: 8 expressions"
        step_until(window, lambda: window._history.labels == FERPLUS8)

    @pytest.mark.parametrize("key", ["q", "escape"])
    def test_keys_that_end_it(self, open_window, key):
        window, session = open_window(Feed(pause_s=0.01))
        step_until(window, lambda: session.delays.count > 1)
        assert not press(window, key)

    def test_closing_the_window_ends_it_and_other_keys_do_nothing(self, open_window):
        window, session = open_window(Feed(pause_s=0.01))
        before = replace(window.options)
        assert press(window, "x", "left", "f5", "a")
        assert window.options == before and not session.paused
        window._pygame.event.post(window._pygame.event.Event(window._pygame.QUIT))
        assert not window.step()

    def test_it_ends_with_its_source(self, open_window):
        window, _ = open_window(Feed(3, pause_s=0.01))
        steps = 0
        while window.step():
            steps += 1
            assert steps < 1000

    @pytest.mark.parametrize("size", [(1200, 900), (300, 200), (60, 40)])
    def test_any_size(self, open_window, size):
        window, session = open_window(Feed(pause_s=0.01))
        pygame = window._pygame
        pygame.display.set_mode(size, pygame.RESIZABLE)
        step_until(window, lambda: session.delays.count > 2)
        assert shown(window).shape == (size[1], size[0], 3)
        assert shown(window).max() > 100

    def test_the_command_from_start_to_end(self, screen, mien, video, tmp_path):
        code, _, err = mien("live", video, "--log", tmp_path / "a.jsonl", "--record", tmp_path / "a.mp4", "--bars")
        assert code == 0
        assert len(rows_in(tmp_path / "a.jsonl")) > 5
        assert len(frames_in(tmp_path / "a.mp4")) > 5
        assert "delay: median" in err


@pytest.mark.parametrize("image", [(640, 480), (1920, 1080), (7680, 4320), (480, 640), (32, 16), (10, 4000)])
def test_a_new_window_fits_the_desktop(image):
    width, height = first_size(image, (1280, 1024))
    assert 0 < width <= 1280 and 0 < height <= 1024
