"""Annotated videos, read back with PyAV: sizes, codec, times of every frame, sound and its sync, errors of the disk."""

import subprocess
import sys
from fractions import Fraction
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest

from mien.errors import InputError, MissingExtraError, OutputError
from mien.faces import Faces, Frame
from mien.labels import FER7
from mien.output import video_writer
from mien.output.draw.colours import TRUTH_COLOUR
from mien.output.draw.faces import draw_faces
from mien.output.draw.style import DrawStyle
from mien.output.kinds import VIDEO
from mien.output.sinks import open_sink
from mien.output.video import VideoSink
from mien.output.video_writer import VideoWriter

SIZE = (96, 64)
RATE = 8000
FLASH_S = (1.0, 1.2)  # white image and a tone at once, so that sync can be seen
UNEVEN_S = [0.0, 0.04, 0.05, 0.3, 0.35, 1.0, 1.1, 1.15, 1.2, 1.7, 1.75, 2.0]


def info(path, *, has_audio=True):
    """Return what the sink needs of a `VideoInfo`."""
    return SimpleNamespace(source=str(path), has_audio=has_audio, stream=0)


def flashing(times_s):
    for time_s in times_s:
        yield np.full((SIZE[1], SIZE[0], 3), 255 if FLASH_S[0] <= time_s < FLASH_S[1] else 20, np.uint8)


def tone(container, codec, seconds, *, layout="mono"):
    """Add a tone during the flash, silence before and after."""
    stream = container.add_stream(codec, rate=RATE, layout=layout)
    stream.codec_context.open()
    size = stream.codec_context.frame_size or 1024
    for start in range(0, round(seconds * RATE), size):
        at = (start + np.arange(size)) / RATE
        wave = 0.6 * np.sin(2 * np.pi * 500 * at) * ((at >= FLASH_S[0]) & (at < FLASH_S[1]))
        frame = av.AudioFrame.from_ndarray((wave * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        resampler = av.AudioResampler(stream.codec_context.format, stream.codec_context.layout, RATE)
        for ready in resampler.resample(frame):
            yield stream, ready
    yield stream, None


def write_source(path, times_s, *, sound="aac", start_s=0.0, sound_s=None):
    """Write a video with a flash and a tone, images at `times_s` in ticks of 1/12800 s (in Matroska: 1/1000 s)."""
    base = Fraction(1, 12800)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", options={"preset": "ultrafast", "crf": "10", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = base
        parts = list(tone(container, sound, sound_s or times_s[-1] + 0.1)) if sound else []
        for time_s, image in zip(times_s, flashing(times_s), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round((time_s + start_s) / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for track, frame in parts:
            if frame is not None:
                frame.pts += round(start_s / frame.time_base)
            container.mux(track.encode(frame))
    return path


def frames_of(path):
    """Decode a video as `mien.sources.videos.Video` does: times count from the container's start."""
    with av.open(str(path)) as container:
        offset = (container.start_time or 0) / 1e6
        for index, frame in enumerate(container.decode(video=0)):
            yield Frame(frame.to_ndarray(format="rgb24"), str(path), index, float(frame.pts * frame.time_base) - offset)


def copy_video(source, target, *, choose=lambda frame: True, draw=lambda image, faces: image, has_audio=True):
    with open_sink(target, labels=FER7, draw=draw, video=info(source, has_audio=has_audio)) as sink:
        for frame in frames_of(source):
            if choose(frame):
                sink.write(frame, Faces.empty())
    return sink


def image_times(path):
    return [frame.time_s for frame in frames_of(path)]


def packets(path):
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(audio=0) if p.size]


def heard(path):
    """Return when the sound starts and stops to be loud, seconds, and its sample rate and codec."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        loud = []
        for frame in container.decode(stream):
            values = frame.to_ndarray()[0].astype(float)
            scale = 32768 if frame.format.name.startswith("s16") else 1
            at = float(frame.pts * frame.time_base) + np.arange(len(values)) / frame.sample_rate
            loud += at[np.abs(values) / scale > 0.2].tolist()
        return loud[0], loud[-1], stream.codec_context.codec.canonical_name


def seen(path):
    """Return when the image flashes first, and when it is dark again."""
    white = [(frame.time_s, frame.image.mean() > 128) for frame in frames_of(path)]
    first = next(t for t, on in white if on)
    return first, next(t for t, on in white if t > first and not on)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """A video of variable rate with AAC sound."""
    return write_source(tmp_path_factory.mktemp("videos") / "uneven.mp4", UNEVEN_S)


@pytest.fixture(scope="module")
def even(tmp_path_factory):
    """A video of 2.4 s at 25 frames/s with AAC sound."""
    return write_source(tmp_path_factory.mktemp("videos") / "even.mp4", [k / 25 for k in range(60)])


# Images and times


@pytest.mark.parametrize("extension", VIDEO.extensions)
def test_every_frame_keeps_its_time(uneven, tmp_path, extension):
    target = tmp_path / f"out{extension}"
    copy_video(uneven, target)
    exact = extension in (".mp4", ".mov")
    assert image_times(target) == pytest.approx(image_times(uneven), abs=1e-9 if exact else 5.1e-4)
    with av.open(str(target)) as container:
        context = container.streams.video[0].codec_context
        assert context.name == ("vp9" if extension == ".webm" else "h264")
        assert (context.width, context.height, context.pix_fmt) == (*SIZE, "yuv420p")
        assert video_writer.MARK in container.metadata.values()
    assert [p.name for p in tmp_path.iterdir()] == [target.name]


def test_images_are_those_that_were_drawn(even, tmp_path):
    def paint(image, faces):
        painted = image.copy()
        painted[:32] = (200, 30, 60)
        return painted

    copy_video(even, tmp_path / "out.mp4", draw=paint)
    for before, after in zip(frames_of(even), frames_of(tmp_path / "out.mp4"), strict=True):
        assert np.abs(after.image[4:28].astype(int) - (200, 30, 60)).max() < 12
        assert np.abs(after.image[40:].astype(int) - before.image[40:]).mean() < 6


def test_skipped_frames_leave_the_times_of_the_others_right(even, tmp_path):
    copy_video(even, tmp_path / "out.mp4", choose=lambda frame: frame.index % 7 == 0)
    assert image_times(tmp_path / "out.mp4") == pytest.approx([k / 25 for k in range(0, 60, 7)], abs=1e-9)
    assert packets(tmp_path / "out.mp4") == packets(even)  # the last frame stands for the rest of the video


def test_odd_sizes_become_even_without_losing_a_pixel(tmp_path):
    image = np.full((35, 53, 3), 40, np.uint8)
    image[-6:, -6:] = (250, 250, 250)
    writer = VideoWriter(tmp_path / "out.mp4")
    for k in range(3):
        writer.add(image, k / 10)
    writer.close()
    last = list(frames_of(tmp_path / "out.mp4"))[-1].image
    assert last.shape == (36, 54, 3)
    assert last[-7:, -7:].mean() > 235 and last[:-10].mean() < 50


def test_a_frame_of_another_size_is_scaled_to_the_first(tmp_path):
    writer = VideoWriter(tmp_path / "out.mp4")
    writer.add(np.full((64, 96, 3), 200, np.uint8), 0.0)
    writer.add(np.full((128, 192, 3), 90, np.uint8), 0.1)
    writer.close()
    first, second = (frame.image for frame in frames_of(tmp_path / "out.mp4"))
    assert first.shape == second.shape == (64, 96, 3)
    assert abs(first.mean() - 200) < 3 and abs(second.mean() - 90) < 3


@pytest.mark.parametrize("height", [480, 720])
def test_colours_of_small_and_large_videos_come_back(tmp_path, height):
    colours = np.array([(220, 40, 40), (40, 200, 60), (50, 60, 220), (128, 128, 128)], np.uint8)
    image = np.repeat(np.repeat(colours[None], height, axis=0), 160, axis=1)
    writer = VideoWriter(tmp_path / "out.mp4")
    for k in range(2):
        writer.add(image, k / 10)
    writer.close()
    read = next(frames_of(tmp_path / "out.mp4")).image
    assert np.abs(read[height // 2, 80::160].astype(int) - colours).max() <= 6


def test_times_that_do_not_grow_still_give_a_video(tmp_path):
    writer = VideoWriter(tmp_path / "out.mp4", time_base=Fraction(1, 1000))
    for time_s in (0.0, 0.1, 0.1, 0.05, 0.3):
        writer.add(np.zeros((64, 64, 3), np.uint8), time_s)
    writer.close()
    assert image_times(tmp_path / "out.mp4") == pytest.approx([0.0, 0.1, 0.101, 0.102, 0.3])


def test_a_video_begins_playing_before_it_is_loaded(even, tmp_path):
    copy_video(even, tmp_path / "out.mp4")
    data = (tmp_path / "out.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_boxes_ids_and_bars_are_in_the_video_and_blur_leaves_no_face(tmp_path, astronaut):
    photo = cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA)
    faces = Faces(np.array([[90, 15, 145, 92]], np.float32), np.ones(1, np.float32)).with_probs(
        np.array([[0, 0, 0, 1, 0, 0, 0]], np.float32), FER7
    )
    path = tmp_path / "source.mp4"
    writer = VideoWriter(path)
    for k in range(6):
        writer.add(np.roll(photo, 2 * k, axis=1), k / 10)
    writer.close()
    styles = {"plain": DrawStyle(bars=True), "blur": DrawStyle(box=False, tag=False, blur=True)}
    outputs = {}
    for name, style in styles.items():
        with open_sink(
            tmp_path / f"{name}.mp4",
            labels=FER7,
            draw=lambda i, f, s=style: draw_faces(i, f, style=s),
            video=info(path),
        ) as sink:
            for frame in frames_of(path):
                moved = faces.xyxy + np.array([2, 0, 2, 0], np.float32) * frame.index
                sink.write(frame, Faces(moved, faces.score, probs=faces.probs, labels=FER7))
        outputs[name] = [frame.image for frame in frames_of(tmp_path / f"{name}.mp4")]
    for frame, plain, blurred in zip(frames_of(path), outputs["plain"], outputs["blur"], strict=True):
        x1, x2 = 90 + 2 * frame.index, 145 + 2 * frame.index
        yellow = np.abs(plain[30:70, x1 : x1 + 2].astype(int) - (245, 184, 32)).max(axis=-1)
        assert np.median(yellow) < 60
        assert _detail(blurred[15:92, x1:x2]) < 0.06 * _detail(frame.image[15:92, x1:x2])
        assert np.abs(blurred[130:].astype(int) - frame.image[130:]).mean() < 4  # the rest is as it was


def _detail(image):
    return cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), cv2.CV_32F).var()


# Sound


@pytest.mark.parametrize("extension", [".mp4", ".mov", ".mkv"])
def test_sound_is_copied_packet_by_packet(even, tmp_path, extension):
    sink = copy_video(even, tmp_path / f"out{extension}")
    got, wanted = packets(tmp_path / f"out{extension}"), packets(even)
    assert got == wanted[len(wanted) - len(got) :] and len(got) >= len(wanted) - 1
    assert sink.problems == []


@pytest.mark.parametrize(
    ("sound", "container", "extension", "codec"),
    [
        ("aac", ".mp4", ".mp4", "aac"),
        ("aac", ".mp4", ".webm", "opus"),
        ("pcm_s16le", ".mkv", ".mp4", "aac"),
        ("pcm_s16le", ".mkv", ".webm", "opus"),
        ("pcm_s16le", ".mkv", ".mkv", "pcm_s16le"),
        ("mp3", ".mkv", ".mp4", "aac"),  # MP4 holds no MP3 of 8 kHz
    ],
)
def test_sound_and_image_stay_together(tmp_path, sound, container, extension, codec):
    source = write_source(tmp_path / f"source{container}", [k / 25 for k in range(60)], sound=sound)
    target = tmp_path / f"out{extension}"
    assert copy_video(source, target).problems == []
    start, end, name = heard(target)
    flash, dark = seen(target)
    assert name == codec
    assert (flash, dark) == pytest.approx(FLASH_S, abs=2e-3)
    assert (start, end) == pytest.approx(heard(source)[:2], abs=0.012)
    assert (start, end) == pytest.approx((flash, dark), abs=0.06)  # MP3 smears


@pytest.mark.parametrize("extension", [".mp4", ".webm"])
def test_a_part_of_a_video_starts_at_nought_with_its_own_sound(even, tmp_path, extension):
    target = tmp_path / f"out{extension}"
    copy_video(even, target, choose=lambda frame: 0.8 <= frame.time_s < 1.6)
    times = image_times(target)
    assert times == pytest.approx([k / 25 for k in range(20)], abs=1e-3)
    start, end, _ = heard(target)
    assert (start, end) == pytest.approx((FLASH_S[0] - 0.8, FLASH_S[1] - 0.8), abs=0.05)
    with av.open(str(target)) as container:
        assert container.duration / 1e6 == pytest.approx(0.8, abs=0.15)


def test_a_late_start_of_the_container_is_taken_off_image_and_sound(tmp_path):
    source = write_source(tmp_path / "late.mkv", [k / 25 for k in range(60)], start_s=5.0)
    copy_video(source, tmp_path / "out.mp4")
    assert seen(tmp_path / "out.mp4") == pytest.approx(FLASH_S, abs=2e-3)
    assert heard(tmp_path / "out.mp4")[:2] == pytest.approx(FLASH_S, abs=0.05)


def test_sound_that_goes_on_after_the_images_is_kept_to_its_end(tmp_path):
    source = write_source(tmp_path / "long.mp4", [k / 25 for k in range(50)], sound_s=3.0)
    copy_video(source, tmp_path / "out.mp4")
    assert packets(tmp_path / "out.mp4") == packets(source)


def test_silent_videos_cameras_and_streams_have_no_sound(tmp_path):
    silent = write_source(tmp_path / "silent.mp4", UNEVEN_S, sound=None)
    copy_video(silent, tmp_path / "out.mp4", has_audio=False)
    assert image_times(tmp_path / "out.mp4") == image_times(silent)
    for source in ("0", "rtsp://camera/1", "/dev/video7"):
        with open_sink(tmp_path / "live.mp4", labels=FER7, draw=lambda i, f: i, video=info(source)) as sink:
            for k in range(3):
                sink.write(Frame(np.zeros((48, 64, 3), np.uint8), source, k, k / 30), Faces.empty())
        assert sink.problems == []
        with av.open(str(tmp_path / "live.mp4")) as container:
            assert [stream.type for stream in container.streams] == ["video"]


def test_sound_that_cannot_be_read_is_a_warning(tmp_path):
    (tmp_path / "gone.mp4").write_bytes(b"no video" * 100)
    with open_sink(tmp_path / "out.mp4", labels=FER7, draw=lambda i, f: i, video=info(tmp_path / "gone.mp4")) as sink:
        for k in range(3):
            sink.write(Frame(np.zeros((48, 64, 3), np.uint8), "x", k, k / 30), Faces.empty())
    assert len(sink.problems) == 1 and "sound cannot be read" in sink.problems[0]
    assert len(image_times(tmp_path / "out.mp4")) == 3


def test_a_cut_off_source_gives_the_sound_that_it_holds(tmp_path):
    whole = write_source(tmp_path / "whole.mkv", [k / 25 for k in range(60)])
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    copy_video(cut, tmp_path / "out.mkv")
    got, wanted = packets(tmp_path / "out.mkv"), packets(whole)
    assert 5 < len(got) < len(wanted)
    offset = wanted.index(got[0])
    assert got == wanted[offset : offset + len(got)]


# Whole or absent


def test_nothing_is_there_before_the_end_and_an_error_leaves_the_older_file(even, tmp_path):
    target = tmp_path / "out.mp4"
    target.write_bytes(b"older")
    with (
        pytest.raises(ZeroDivisionError),
        open_sink(target, labels=FER7, draw=lambda i, f: i, video=info(even)) as sink,
    ):
        for frame in frames_of(even):
            sink.write(frame, Faces.empty())
            assert target.read_bytes() == b"older"
        raise ZeroDivisionError
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"] and target.read_bytes() == b"older"


def test_an_error_while_drawing_leaves_nothing(even, tmp_path):
    def broken(image, faces):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        copy_video(even, tmp_path / "out.mp4", draw=broken)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_a_video_of_what_was_done(even, tmp_path):
    with (
        pytest.raises(KeyboardInterrupt),
        open_sink(tmp_path / "out.mp4", labels=FER7, draw=lambda i, f: i, video=info(even)) as sink,
    ):
        for frame in frames_of(even):
            sink.write(frame, Faces.empty())
            if frame.index == 29:
                raise KeyboardInterrupt
    assert image_times(tmp_path / "out.mp4") == pytest.approx([k / 25 for k in range(30)], abs=1e-9)
    assert 1.0 < len(packets(tmp_path / "out.mp4")) * 1024 / RATE < 1.5
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


def test_a_video_without_a_frame_is_no_file(even, tmp_path):
    with open_sink(tmp_path / "out.mp4", labels=FER7, draw=lambda i, f: i, video=info(even)) as sink:
        sink.fail("x", "broken")
    assert list(tmp_path.iterdir()) == []


LIMITED = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from mien.errors import OutputError
from mien.output.video_writer import VideoWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
random = np.random.default_rng(0)
for extension in (".mp4", ".mkv", ".webm"):
    try:
        writer = VideoWriter(Path(sys.argv[1]) / f"t{extension}")
        for k in range(60):
            writer.add(random.integers(0, 255, (240, 320, 3), dtype=np.uint8), k / 25)
        writer.close()
    except OutputError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="resource limits")
def test_a_disk_without_room_is_explained_and_leaves_nothing(tmp_path):
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, timeout=250
    )
    lines = result.stdout.splitlines()
    assert len(lines) == 3, result.stderr
    for line, extension in zip(lines, (".mp4", ".mkv", ".webm"), strict=True):
        assert line.startswith(f"cannot write {tmp_path / f't{extension}'}: the file grows larger than"), line
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written_are_explained(even, tmp_path):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder.mp4").mkdir()
    for name, why in (("file/out.mp4", "not a folder"), ("folder.mp4", "it is not a file")):
        with pytest.raises(OutputError, match=why):
            open_sink(tmp_path / name, labels=FER7, draw=lambda i, f: i, video=info(even))
    assert (tmp_path / "file").read_text() == "kept"


# Bad input


def test_a_video_needs_a_video(tmp_path):
    with pytest.raises(InputError, match="is a video, but what is analyzed is not; give a folder"):
        open_sink(tmp_path / "out.mp4", labels=FER7, draw=lambda i, f: i)
    with pytest.raises(InputError, match="needs a function that draws"):
        open_sink(tmp_path / "out.mp4", labels=FER7, video=info("x.mp4"))
    with pytest.raises(InputError, match=r"a video ends in \.mp4, \.mkv, \.mov, \.webm"):
        VideoWriter(tmp_path / "out.avi")
    assert list(tmp_path.iterdir()) == []


def test_the_analysed_video_is_not_replaced(even):
    before = even.read_bytes()
    with pytest.raises(InputError, match="is the video that is analyzed"):
        open_sink(even, labels=FER7, draw=lambda i, f: i, video=info(even))
    assert even.read_bytes() == before


def test_a_closed_video_takes_no_more(even, tmp_path):
    sink = copy_video(even, tmp_path / "out.mp4")
    assert isinstance(sink, VideoSink)
    with pytest.raises(InputError, match="closed"):
        sink.write(next(frames_of(even)), Faces.empty())
    sink.close()


def test_without_pyav_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mien\[video\]'"):
        VideoWriter(tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


def test_other_builds_of_pyav_use_what_they_have(tmp_path, monkeypatch):
    monkeypatch.setattr(video_writer, "H264_ENCODERS", {"no_such_encoder": {}})
    writer = VideoWriter(tmp_path / "out.mp4")
    for k in range(3):
        writer.add(np.full((64, 64, 3), 120, np.uint8), k / 10)
    writer.close()
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    monkeypatch.setattr(video_writer, "FALLBACK_ENCODER", {})
    writer = VideoWriter(tmp_path / "no.mp4")
    with pytest.raises(OutputError, match="this PyAV has no encoder for"):
        writer.add(np.zeros((64, 64, 3), np.uint8), 0.0)
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


# What videos show on top of images


def steady_faces(*, steady="sad", raw="happy"):
    probs = np.full((1, 7), 0.05, np.float32)
    smoothed = probs.copy()
    probs[0, FER7.index(raw)] = smoothed[0, FER7.index(steady)] = 0.7
    return Faces(
        np.array([[60, 80, 160, 200]], np.float32), np.ones(1, np.float32), probs=probs, labels=FER7,
        track_id=np.array([3]), smoothed=smoothed, steady=np.array([FER7.index(steady)]),
    )  # fmt: skip


def test_videos_show_the_steady_expression_and_the_smoothed_bars():
    image, style = np.full((300, 480, 3), 128, np.uint8), DrawStyle(bars=True)
    steady = steady_faces()
    as_if_raw = Faces(steady.xyxy, steady.score, probs=steady.smoothed, labels=FER7, track_id=steady.track_id)
    drawn = draw_faces(image, steady, style=style)
    assert (drawn == draw_faces(image, as_if_raw, style=style)).all()
    assert (drawn != draw_faces(image, steady_faces(steady="happy"), style=style)).any()


def test_truth_is_a_gray_tag_of_its_own():
    image, faces = np.full((300, 480, 3), 128, np.uint8), steady_faces()
    plain, known = draw_faces(image, faces), draw_faces(image, faces, truth=["happy"])
    assert (draw_faces(image, faces, truth=[None]) == plain).all() and (
        draw_faces(image, faces, truth=()) == plain
    ).all()
    added = (plain != known).any(axis=-1)
    assert (plain[added] == 128).all()  # nothing that was drawn before is covered
    gray = np.abs(known[added].astype(int) - TRUTH_COLOUR).max(axis=-1) < 12
    assert 0.4 < gray.mean() < 0.95  # the rest is emoji and letters
    with pytest.raises(InputError, match=r"one expression .* per face: 1, got 2"):
        draw_faces(image, faces, truth=["happy", "sad"])
