"""Videos: times, numbers, rotation, choices, damage. The images say their own number, so nothing can shift unseen."""

import itertools
import shutil
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from mien.errors import FrameSizeError, InputError, SourceError
from mien.sources.addresses import public_name
from mien.sources.videos import Video, VideoSettings, is_video
from videos import is_upright, numbered, portraits, read_number, write_audio, write_video, write_webp

CONTAINERS = {
    "h264.mp4": {},
    "b_frames.mp4": {"b_frames": 2, "audio": True},
    "b_frames.mkv": {"b_frames": 3, "audio": True},
    "b_frames.mov": {"b_frames": 2},
    "b_frames.ts": {"b_frames": 2},
    "mpeg4.avi": {"codec": "mpeg4", "b_frames": 2},
    "mjpeg.avi": {"codec": "mjpeg"},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "vp8.webm": {"codec": "libvpx", "options": {"deadline": "realtime", "auto-alt-ref": "1", "lag-in-frames": "5"}},
    "ffv1.mkv": {"codec": "ffv1"},
    "mpeg2.mpg": {"codec": "mpeg2video", "b_frames": 2},
    "flash.flv": {"codec": "flv"},
    "moving.gif": {"codec": "gif"},
    "late.mp4": {"start_s": 5.0, "b_frames": 2},
    "late.mkv": {"start_s": 5.0, "b_frames": 2},
    "late.ts": {"start_s": 5.0},
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Return a function: name → a video of 60 numbered images at 25 frames/s, key frames every 12."""
    folder = tmp_path_factory.mktemp("videos")

    def video(name):
        path = folder / name
        return path if path.exists() else write_video(path, numbered(60), **CONTAINERS[name])

    return video


def frames_of(path, **settings):
    with Video(path, VideoSettings(**settings)) as video:
        return list(video)


def numbers(frames):
    return [read_number(frame.image) for frame in frames]


# Time and order -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_gives_all_frames_in_order_with_their_times(videos, name):
    path = videos(name)
    with Video(path) as video:
        frames = list(video)
    assert numbers(frames) == list(range(60))
    assert [frame.index for frame in frames] == list(range(60))
    late_s = 0.04 if name == "mpeg4.avi" else 0  # AVI says when to decode a frame, not when to show it
    assert np.allclose([frame.time_s for frame in frames], np.arange(60) / 25 + late_s, atol=0.0011)
    assert {frame.source for frame in frames} == {str(path)}
    assert video.problems == []
    info = video.info
    assert (info.width, info.height, info.rotation_deg, info.has_audio) == (96, 64, 0, "audio" in CONTAINERS[name])
    assert info.duration_s == pytest.approx(2.4, abs=0.1)
    assert info.frames == pytest.approx(60, abs=2)
    assert info.fps == pytest.approx(25, abs=0.1)


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("start_s", [0.5, 1.0, 1.93])
def test_a_later_start_changes_neither_numbers_nor_times(videos, name, start_s):
    whole = [frame for frame in frames_of(videos(name)) if frame.time_s >= start_s - 1e-6]
    later = frames_of(videos(name), start_s=start_s)
    assert numbers(later) == numbers(whole)
    assert [(f.index, f.time_s) for f in later] == [(f.index, f.time_s) for f in whole]


@pytest.mark.parametrize(
    "name", ["b_frames.mp4", "b_frames.mkv", "vp9.webm", "mjpeg.avi", "hevc.mp4", "b_frames.ts", "late.mkv"]
)
def test_starting_late_decodes_from_the_key_frame_before_and_no_earlier(videos, monkeypatch, name):
    from mien.sources import _ffmpeg as ffmpeg

    decoded = []
    inner = ffmpeg._Pass.decoded
    monkeypatch.setattr(ffmpeg._Pass, "decoded", lambda self: (decoded.append(f) or f for f in inner(self)))
    with Video(videos(name), VideoSettings(start_s=2.0)) as video:
        decoded.clear()
        assert len(list(video)) == 10
    assert 10 < len(decoded) <= 12 + 12  # from frame 48 or 36 on


@pytest.mark.parametrize("name", [name for name in CONTAINERS if not name.endswith(".gif")])
def test_entered_at_any_key_frame_the_rest_is_the_same_to_the_last_bit(videos, name):
    whole = {frame.index: frame for frame in frames_of(videos(name))}
    with Video(videos(name)) as video:
        entries = video.entries([0.1, 0.2, 0.9, 1.5, 9.0])
    assert len(entries) == len({entry.number for entry in entries}) >= 2
    for entry in entries:
        with Video(videos(name), VideoSettings(start_s=entry.time_s), entry=entry) as video:
            rest = list(video)
        assert [frame.index for frame in rest] == list(range(rest[0].index, 60)) and rest[0].index >= entry.number > 0
        for frame in rest:
            assert frame.time_s == whole[frame.index].time_s
            assert np.array_equal(frame.image, whole[frame.index].image)


def test_a_file_whose_times_start_again_cannot_be_entered(tmp_path, videos):
    joined = tmp_path / "joined.ts"
    joined.write_bytes(2 * videos("b_frames.ts").read_bytes())
    for path in (joined, videos("moving.gif")):
        with Video(path) as video:
            assert video.entries([0.5, 1.0, 3.0]) == []


def test_a_variable_rate_keeps_the_times_of_the_container(tmp_path):
    times = [0, 0.1, 1, 1.04, 3.5, 3.52]
    for name in ("uneven.mkv", "uneven.mp4"):
        frames = frames_of(write_video(tmp_path / name, numbered(6), times_s=times))
        assert [frame.time_s for frame in frames] == pytest.approx(times, abs=1e-6), name
        assert numbers(frames) == list(range(6))


def test_sound_that_starts_first_delays_the_image(tmp_path):
    path = tmp_path / "late_image.mkv"
    with av.open(str(path), "w") as video:
        stream, tone = video.add_stream("mpeg4", rate=25), video.add_stream("pcm_s16le", rate=8000, layout="mono")
        stream.width, stream.height = 96, 64
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = 8000, 0, Fraction(1, 8000)
        video.mux(tone.encode(sound))
        for number, image in enumerate(numbered(10)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number + 10, Fraction(1, 25)
            video.mux(stream.encode(frame))
        video.mux([*stream.encode(None), *tone.encode(None)])
    frames = frames_of(path)
    assert [frame.time_s for frame in frames] == pytest.approx([0.4 + n / 25 for n in range(10)], abs=0.001)


def test_a_raw_stream_without_any_times_runs_at_its_usual_rate(tmp_path, videos):
    path = tmp_path / "raw.h264"
    with av.open(str(videos("h264.mp4"))) as video, av.open(str(path), "w", format="h264") as out:
        stream = out.add_stream_from_template(video.streams.video[0])
        for packet in video.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    frames = frames_of(path)
    assert numbers(frames) == list(range(60)) == [frame.index for frame in frames]
    assert all(b.time_s > a.time_s for a, b in itertools.pairwise(frames))
    assert [f.index for f in frames_of(path, start_s=1.0)] == [f.index for f in frames if f.time_s >= 1 - 1e-6]


def test_recordings_joined_together_go_on_in_time(tmp_path, videos):
    path = tmp_path / "joined.ts"
    path.write_bytes(videos("b_frames.ts").read_bytes() * 2)
    frames = frames_of(path)
    assert len(frames) >= 110
    assert all(b.time_s >= a.time_s and b.index > a.index for a, b in itertools.pairwise(frames))
    assert frames[-1].time_s == pytest.approx(4.8, abs=0.3)


def test_a_video_can_be_read_again_and_closed_in_between(videos):
    video = Video(videos("h264.mp4"))
    assert [f.index for f in video] == [f.index for f in video]
    taken = []
    for frame in video:
        taken.append(frame.index)
        if frame.index == 3:
            video.close()
    assert taken == [0, 1, 2, 3]
    assert list(video) == []


# Which frames ---------------------------------------------------------------------------------------------------------


def test_every_takes_the_same_frames_wherever_one_starts(videos):
    assert numbers(frames_of(videos("h264.mp4"), every=7)) == list(range(0, 60, 7))
    assert numbers(frames_of(videos("h264.mp4"), every=7, start_s=0.6)) == list(range(21, 60, 7))


def test_fps_goes_by_time(tmp_path, videos):
    frames = frames_of(videos("h264.mp4"), fps=10)
    assert numbers(frames) == [
        0,
        3,
        5,
        8,
        10,
        13,
        15,
        18,
        20,
        23,
        25,
        28,
        30,
        33,
        35,
        38,
        40,
        43,
        45,
        48,
        50,
        53,
        55,
        58,
    ]
    uneven = write_video(tmp_path / "u.mkv", numbered(6), times_s=[0, 0.02, 0.04, 2, 2.02, 2.6])
    assert numbers(frames_of(uneven, fps=2)) == [0, 3, 5]
    assert len(frames_of(videos("h264.mp4"), fps=1000)) == 60
    later = frames_of(videos("h264.mp4"), fps=10, start_s=1.0)
    assert numbers(later) == [n for n in numbers(frames) if n >= 25]


def test_start_end_and_number_bound_what_comes(videos):
    assert numbers(frames_of(videos("h264.mp4"), start_s=0.4, end_s=0.6)) == [10, 11, 12, 13, 14]
    assert numbers(frames_of(videos("h264.mp4"), start_s=0.4, max_frames=2)) == [10, 11]


@pytest.mark.parametrize(
    ("settings", "count"),
    [({}, 60), ({"every": 7}, 9), ({"fps": 10}, 24), ({"start_s": 2}, 10), ({"max_frames": 5}, 5), ({"end_s": 1}, 25)],
)  # fmt: skip
def test_the_estimate_of_frames_is_what_comes(videos, settings, count):
    with Video(videos("h264.mp4"), VideoSettings(**settings)) as video:
        assert len(list(video)) == count
        assert video.info.frames == pytest.approx(count, abs=1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"every": 0}, "every must be a whole number of at least 1, got 0"),
        ({"max_frames": 0}, "max_frames must be"),
        ({"threads": 1.5}, "threads must be a whole number"),
        ({"fps": 0.0}, "fps must be more than 0"),
        ({"fps": float("nan")}, "fps must be a finite number"),
        ({"every": 2, "fps": 5.0}, "every or fps, not both"),
        ({"start_s": -1.0}, "start_s must be at least 0"),
        ({"start_s": 2.0, "end_s": 1.0}, "end_s must be after start_s = 2.0"),
    ],
)
def test_settings_out_of_range_say_so(settings, words):
    with pytest.raises(InputError, match=words):
        VideoSettings(**settings)


# Images: size, turn, colour -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["turned.mp4", "turned.mkv", "turned.mov"])
@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_rotation_metadata_is_applied(tmp_path, name, turn):
    """The stored images lie as a phone held sideways stores them; turned upright they must read as drawn."""
    lying = [np.rot90(image, turn // 90) for image in numbered(5)]
    with Video(write_video(tmp_path / name, lying, rotation=turn)) as video:
        frames = list(video)
    assert video.info.rotation_deg == turn
    assert (video.info.width, video.info.height) == (96, 64)
    assert {frame.image.shape for frame in frames} == {(64, 96, 3)}
    assert all(frame.image.flags.c_contiguous and is_upright(frame.image) for frame in frames)
    assert numbers(frames) == list(range(5))


@pytest.mark.parametrize("size", [(97, 63), (33, 64), (64, 33), (2, 2)])
def test_odd_sizes_are_kept(tmp_path, size):
    frames = frames_of(write_video(tmp_path / "odd.mkv", numbered(3, size=size), codec="ffv1"))
    assert [frame.image.shape for frame in frames] == [(size[1], size[0], 3)] * 3


@pytest.mark.parametrize("codec", ["ffv1", "libx264rgb"])
def test_lossless_videos_give_the_pixels_that_went_in(tmp_path, astronaut, codec):
    small = cv2.resize(astronaut, (160, 120), interpolation=cv2.INTER_AREA)
    path = tmp_path / "lossless.mkv"
    with av.open(str(path), "w") as video:
        stream = video.add_stream(codec, rate=25, options={"crf": "0"} if codec == "libx264rgb" else {})
        stream.width, stream.height = 160, 120
        stream.pix_fmt = {"ffv1": "bgr0", "libx264rgb": "rgb24"}[codec]
        video.mux([*stream.encode(av.VideoFrame.from_ndarray(small, format="rgb24")), *stream.encode(None)])
    assert np.array_equal(frames_of(path)[0].image, small)


@pytest.mark.parametrize(("space", "wide"), [("ITU601", False), ("ITU709", False), ("ITU601", True)])
def test_colours_follow_the_matrix_and_range_of_the_video(tmp_path, astronaut, space, wide):
    small = cv2.resize(astronaut, (160, 120), interpolation=cv2.INTER_AREA)
    path = tmp_path / "colours.mkv"
    with av.open(str(path), "w") as video:
        stream = video.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv444p"
        frame = av.VideoFrame.from_ndarray(small, format="rgb24").reformat(
            format="yuv444p", dst_colorspace=space, dst_color_range="JPEG" if wide else "MPEG"
        )
        stream.codec_context.colorspace = {"ITU601": 5, "ITU709": 1}[space]
        stream.codec_context.color_range = 2 if wide else 1
        video.mux([*stream.encode(frame), *stream.encode(None)])
    difference = np.abs(frames_of(path)[0].image.astype(int) - small)
    assert difference.mean() < 1.5


def test_frames_of_8k_come_whole(tmp_path):
    path = write_video(tmp_path / "8k.mkv", numbered(2, size=(7680, 4320)), codec="mjpeg")
    with Video(path) as video:
        assert (video.info.width, video.info.height) == (7680, 4320)
        for number, frame in enumerate(video):
            assert frame.image.shape == (4320, 7680, 3)
            assert read_number(frame.image) == number


def test_frames_that_change_their_size_are_scaled_to_the_first(tmp_path):
    parts = [
        write_video(tmp_path / f"{n}.ts", numbered(10, size=size)) for n, size in enumerate([(96, 64), (192, 128)])
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with Video(path) as video:
        frames = list(video)
    assert {frame.image.shape for frame in frames} == {(64, 96, 3)}
    assert len(frames) >= 18
    assert any("scaled from 192x128 to 96x64" in problem for problem in video.problems)


# GIF, WebP, images in a row -----------------------------------------------------------------------------------------


def test_an_animated_webp_is_a_video(tmp_path):
    path = write_webp(tmp_path / "moving.webp", list(numbered(7)), duration_ms=80)
    with Video(path) as video:
        frames = list(video)
    assert numbers(frames) == list(range(7)) == [frame.index for frame in frames]
    assert [frame.time_s for frame in frames] == pytest.approx([0.08 * n for n in range(7)])
    assert (video.info.codec, video.info.frames, video.info.fps) == ("webp", 7, pytest.approx(12.5))
    assert video.info.duration_s == pytest.approx(0.56)
    assert numbers(frames_of(path, start_s=0.3)) == [4, 5, 6]


def test_a_webp_with_transparency_is_drawn_as_opencv_draws_it_and_shows_white(tmp_path):
    images = []
    for n in range(4):
        image = np.zeros((48, 64, 4), np.uint8)
        cv2.circle(image, (12 + 12 * n, 24), 10, (20, 40 * n, 200, 255 if n % 2 else 120), -1)
        images.append(image)
    animation = cv2.Animation()
    animation.frames, animation.durations = images, np.full(4, 50, np.int32)
    path = tmp_path / "glass.webp"
    assert cv2.imwriteanimation(str(path), animation, [cv2.IMWRITE_WEBP_QUALITY, 101])
    done, told = cv2.imreadanimation(str(path))
    assert done
    for frame, expected in zip(frames_of(path), told.frames, strict=True):
        alpha = expected[..., 3:] / 255
        on_white = expected[..., 2::-1] * alpha + 255 * (1 - alpha)
        assert np.abs(frame.image - on_white).max() <= 2
        assert (frame.image[0, 0] == 255).all()


def test_a_webp_cut_short_gives_what_it_holds_then_an_error(tmp_path):
    data = write_webp(tmp_path / "whole.webp", list(portraits(5))).read_bytes()
    path = tmp_path / "cut.webp"
    path.write_bytes(data[: len(data) * 2 // 3])
    frames, error = until_it_breaks(Video(path))
    assert 2 <= len(frames) <= 4
    assert "breaks off" in str(error)


def test_images_in_a_row_are_a_video_in_the_order_of_their_numbers(tmp_path):
    for number, image in zip((7, 8, 9, 10, 11, 100), numbered(6), strict=True):
        cv2.imwrite(str(tmp_path / f"shot_{number}.png"), image[..., ::-1])
    (tmp_path / "shot_x.png").write_bytes(b"no number")
    with Video(tmp_path / "shot_%d.png", VideoSettings(image_fps=10)) as video:
        frames = list(video)
    assert numbers(frames) == list(range(6)) == [frame.index for frame in frames]
    assert [frame.time_s for frame in frames] == pytest.approx([n / 10 for n in range(6)])
    assert (video.info.frames, video.info.duration_s) == (6, pytest.approx(0.6))
    later = frames_of(tmp_path / "shot_%d.png", image_fps=10, start_s=0.3)
    assert [(f.index, read_number(f.image)) for f in later] == [(3, 3), (4, 4), (5, 5)]


def test_a_bad_image_in_a_row_is_a_problem_and_the_others_come(tmp_path):
    for number, image in enumerate(numbered(4)):
        cv2.imwrite(str(tmp_path / f"{number:04d}.png"), image)
    (tmp_path / "0002.png").write_bytes(b"not an image")
    with Video(tmp_path / "%04d.png") as video:
        assert [frame.index for frame in video] == [0, 1, 3]
    assert len(video.problems) == 1 and "0002.png" in video.problems[0]


# Damage ---------------------------------------------------------------------------------------------------------------


def until_it_breaks(video):
    frames = []
    try:
        for frame in video:
            frames.append(frame)
    except SourceError as error:
        return frames, error
    return frames, None


@pytest.mark.parametrize("name", ["h264.mp4", "b_frames.mkv", "mpeg4.avi", "b_frames.ts", "mjpeg.avi"])
def test_damage_in_the_middle_is_a_problem_and_the_video_goes_on(tmp_path, videos, name):
    data = bytearray(videos(name).read_bytes())
    with av.open(str(videos(name))) as container:
        hit = [p for p in container.demux(video=0) if p.size][26]
        start, size = hit.pos, hit.size
    data[start + 8 : start + size] = np.random.default_rng(0).bytes(size - 8)
    path = tmp_path / name
    path.write_bytes(data)
    with Video(path) as video:
        frames, error = until_it_breaks(video)
    assert error is None
    assert len(frames) >= 50
    by_index = {frame.index: read_number(frame.image) for frame in frames}
    untouched = [n for n in [*range(22), *range(48, 60)] if n in by_index]
    assert len(untouched) >= 30
    if not name.endswith(".ts"):  # damage may swallow packets there, and with them their numbers
        assert all(by_index[n] == n for n in untouched)


def test_a_packet_of_garbage_is_named_in_the_problems(tmp_path, videos):
    data = bytearray(videos("mjpeg.avi").read_bytes())
    with av.open(str(videos("mjpeg.avi"))) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        for packet in packets[20:23]:
            at = data.index(bytes(packet))
            data[at : at + packet.size] = bytes(packet.size)
    path = tmp_path / "garbage.avi"
    path.write_bytes(data)
    with Video(path) as video:
        frames = list(video)
    assert [frame.index for frame in frames] == [*range(20), *range(23, 60)]
    assert numbers(frames) == [frame.index for frame in frames]
    assert len(video.problems) == 3
    assert "garbage.avi: a frame near 0.8" in video.problems[0]


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("bad", [20, 55, 59])
def test_a_bad_frame_costs_no_other_however_many_threads_decode(tmp_path, threads, bad):
    path = write_video(tmp_path / "key_frames.mp4", numbered(60), codec="mpeg4", gop=1)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packet = [p for p in container.demux(video=0) if p.size][bad]
        at = data.index(bytes(packet))
        data[at : at + packet.size] = bytes(packet.size)
    path.write_bytes(data)
    with Video(path, VideoSettings(threads=threads)) as video:
        frames = list(video)
    assert [frame.index for frame in frames] == [n for n in range(60) if n != bad] == numbers(frames)
    assert len(video.problems) == 1


def test_the_list_of_problems_stays_short(tmp_path):
    path = write_video(tmp_path / "long.avi", numbered(300, size=(32, 32)), codec="mjpeg")
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        for packet in [p for p in container.demux(video=0) if p.size][1:]:
            at = data.index(bytes(packet))
            data[at : at + packet.size] = bytes(packet.size)
    path.write_bytes(data)
    with Video(path) as video:
        list(video)
    assert len(video.problems) == 101
    assert video.problems[-1] == "further problems are not listed"


@pytest.mark.parametrize("name", ["b_frames.mkv", "fast.mp4", "mjpeg.avi", "vp9.webm", "fragments.mp4"])
def test_a_video_cut_short_gives_all_it_holds_then_an_error(tmp_path, videos, name):
    options = {"fast.mp4": "faststart", "fragments.mp4": "frag_keyframe+empty_moov"}
    whole = tmp_path / f"whole_{name}"
    if name in options:
        remux(videos("b_frames.mp4"), whole, movflags=options[name])
    else:
        shutil.copy(videos(name), whole)
    data = whole.read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: len(data) // 2])
    frames, error = until_it_breaks(Video(path))
    assert 15 <= len(frames) < 50
    assert numbers(frames[:-2]) == list(range(len(frames) - 2))
    if name != "fragments.mp4":  # nothing there says how long the whole was
        assert f"{name} breaks off after {frames[-1].time_s:.2f} s" in str(error)
        assert "copy the file again" in str(error)


def remux(source, target, **options):
    with av.open(str(source)) as video, av.open(str(target), "w", options=options) as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in video.streams}
        for packet in video.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)


def test_a_cut_video_with_an_early_end_asked_for_is_no_error(tmp_path, videos):
    remux(videos("b_frames.mp4"), tmp_path / "w.mp4", movflags="faststart")
    data = (tmp_path / "w.mp4").read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: len(data) // 2])
    assert len(frames_of(path, max_frames=5)) == 5
    assert len(frames_of(path, end_s=0.2)) == 5


# What is no video -----------------------------------------------------------------------------------------------------


def test_what_is_no_video_says_what_it_is(tmp_path, videos):
    def path(name, content):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    video = videos("h264.mp4").read_bytes()
    photo = cv2.imencode(".jpg", next(portraits(1)))[1].tobytes()
    cases = {
        tmp_path / "absent.mp4": "does not exist; check the spelling",
        tmp_path: "is a folder, not a video",
        path("empty.mp4", b""): "is empty; copy or record it again",
        path("text.mp4", b"This is a letter.\n" * 100): "is not a video that FFmpeg can read",
        path("letter.txt", b"This is a letter.\n" * 100): "is not a video|is a text file, not a video",
        path("noise.mkv", np.random.default_rng(1).bytes(5000)): "is not a video",
        path("no_index.mp4", video[: len(video) // 2]): "cut off before its index",
        path("photo.mp4", photo): "is an image, not a video; analyze it as one",
        path("photo.jpg", photo): "is an image, not a video",
        write_audio(tmp_path / "sound.m4a"): "holds sound but no video",
        write_audio(tmp_path / "sound.mp4"): "holds sound but no video",
        write_video(tmp_path / "still.gif", numbered(1), codec="gif"): "is an image, not a video",
        tmp_path / "gone_%04d.png": "matches no file",
    }
    for source, words in cases.items():
        with pytest.raises(SourceError, match=words) as said:
            Video(source)
        assert str(source) in str(said.value)


def test_a_still_webp_is_an_image(tmp_path):
    path = tmp_path / "still.webp"
    cv2.imwrite(str(path), next(portraits(1)))
    assert not is_video(path)
    with pytest.raises(SourceError, match="is an image, not a video"):
        Video(path)


def test_a_song_with_a_cover_is_no_video(tmp_path):
    song, cover = write_audio(tmp_path / "plain.m4a"), cv2.imencode(".jpg", next(portraits(1)))[1].tobytes()
    path = tmp_path / "song.m4a"
    with av.open(str(song)) as plain, av.open(str(path), "w", format="mp4") as out:
        tone = out.add_stream_from_template(plain.streams.audio[0])
        art = out.add_stream("mjpeg", rate=1)
        art.width, art.height, art.pix_fmt = 320, 240, "yuvj420p"
        art.disposition = av.stream.Disposition.attached_pic
        packet = av.Packet(cover)
        packet.stream, packet.pts, packet.dts, packet.time_base = art, 0, 0, Fraction(1, 90000)
        out.mux(packet)
        for packet in plain.demux(audio=0):
            if packet.dts is not None:
                packet.stream = tone
                out.mux(packet)
    with pytest.raises(SourceError, match="holds sound and a cover image but no video"):
        Video(path)
    assert not is_video(path)


def test_a_video_without_a_frame_says_so(tmp_path):
    path = tmp_path / "zero.mkv"
    with av.open(str(path), "w") as video:
        stream = video.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 96, 64
        video.start_encoding()
    with pytest.raises(SourceError, match=r"zero\.mkv holds no frame"):
        Video(path)


def test_content_decides_when_the_suffix_is_wrong(tmp_path, videos):
    for name in ("video.jpg", "video.txt", "video.png", "video", "video.avi", "odd name %d [1] #?.mp4", "http:x.mp4"):
        path = tmp_path / name
        shutil.copy(videos("h264.mp4"), path)
        assert len(frames_of(path)) == 60, name


def test_a_play_list_cannot_reach_the_network(tmp_path):
    path = tmp_path / "list.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:9/part.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(SourceError, match=r"list\.m3u8"):
        Video(path)


def test_is_video(tmp_path, videos):
    for name in ("a.mp4", "A.MOV", "x.webm", "shots/frame%04d.png"):
        assert is_video(tmp_path / name), name
    assert is_video(videos("moving.gif"))
    assert is_video(write_webp(tmp_path / "m.webp", list(numbered(3))))
    shutil.copy(videos("h264.mp4"), tmp_path / "no_suffix")
    assert is_video(tmp_path / "no_suffix")
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    still = write_video(tmp_path / "still.gif", numbered(1), codec="gif")
    for name in ("rows.csv", "photo.jpg", "*.png", "absent", still, tmp_path):
        assert not is_video(tmp_path / name), name


def test_messages_and_results_hold_no_password():
    assert public_name("rtsp://me:se@cret@cam/live?pwd=secret#x") == "rtsp://cam/live?…"
    assert public_name("http://cam:80/video") == "http://cam:80/video"
    assert public_name("a/b?c.mp4") == "a/b?c.mp4"
    with pytest.raises(SourceError, match="http://127") as said:
        Video("http://me:secret@127.0.0.1:9/video.mp4?key=secret")
    assert "secret" not in str(said.value)


# Real clips -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["face_noface.mov", "no_face.mp4"])
def test_real_clips_can_be_entered_anywhere(shared, name):
    path = shared / "data" / "media" / name
    with Video(path) as video:
        whole = [(f.index, f.time_s) for f in video if f.time_s >= 2.5]
    assert whole
    with Video(path, VideoSettings(start_s=2.5)) as video:
        assert [(f.index, f.time_s) for f in video] == whole
    assert video.problems == []


@pytest.mark.parametrize("name", ["single_face.mp4", "face_noface.mov", "no_face.mp4"])
def test_real_clips_agree_with_opencv(shared, name):
    path = shared / "data" / "media" / name
    capture = cv2.VideoCapture(str(path))
    with Video(path) as video:
        count = 0
        for frame in video:
            done, expected = capture.read()
            assert done
            if count % 10 == 0:
                assert np.abs(frame.image.astype(int) - expected[..., ::-1]).mean() < 3
            count += 1
    assert not capture.read()[0]
    capture.release()
    assert video.problems == []
    assert video.info.frames == count
    assert frame.time_s == pytest.approx(video.info.duration_s, abs=0.1)


# Frames that are larger than what the container or the first frame says.


def joined(folder, codec, suffix, *sizes):
    """A stream whose frames change their size on the way."""
    data = b""
    for height, width in sizes:
        images = [np.full((height, width, 3), 40 * i, np.uint8) for i in range(4)]
        data += write_video(folder / f"part{suffix}", images, codec=codec).read_bytes()
    path = folder / f"joined{suffix}"
    path.write_bytes(data)
    return path


SMALL, LARGE = (120, 160), (1200, 1600)


@pytest.mark.parametrize("codec, suffix", [("h264", ".h264"), ("mjpeg", ".mjpeg"), ("mpeg4", ".m4v"), ("h264", ".ts")])
@pytest.mark.parametrize("sizes", [(SMALL, LARGE), (LARGE, SMALL), (SMALL, LARGE, SMALL)])
def test_no_frame_is_converted_that_is_larger_than_allowed(tmp_path, codec, suffix, sizes):
    path, most = joined(tmp_path, codec, suffix, *sizes), 100_000
    shapes, said = set(), ""
    try:
        with Video(path, VideoSettings(max_pixels=most)) as video:
            shapes = {frame.image.shape for frame in video}
            said = " ".join(video.problems)
    except FrameSizeError as error:
        assert "1,600 x 1,200 pixels" in str(error) and "100,000" in str(error)
    except SourceError as error:
        assert "no frame" in str(error) or "breaks off" in str(error)
    assert shapes <= {(*SMALL, 3)} and "scaled" not in said
    with Video(path, VideoSettings(max_pixels=2_000_000)) as video:
        assert {frame.image.shape for frame in video} == {(*sizes[0], 3)}


def test_the_limit_holds_for_images_in_a_row_and_animations_too(tmp_path):
    for number, (height, width) in enumerate([SMALL, LARGE]):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((height, width, 3), np.uint8))
    with Video(tmp_path / "%d.png", VideoSettings(max_pixels=100_000)) as video:
        assert len(list(video)) == 1 and "1,600 x 1,200" in video.problems[0]
    webp = write_webp(tmp_path / "moving.webp", [np.full((*LARGE, 3), shade, np.uint8) for shade in (0, 255)])
    with pytest.raises(FrameSizeError, match="1,600 x 1,200"):
        Video(webp, VideoSettings(max_pixels=100_000))
    with pytest.raises(InputError, match="max_pixels"):
        VideoSettings(max_pixels=0)
