"""Frames come upright and with square pixels, whatever a file says of how it is to be shown."""

from contextlib import closing
from fractions import Fraction

import cv2
import numpy as np
import pytest

from mien.errors import InputError, SourceError
from mien.output.video_writer import VideoWriter
from mien.sources._upright import of_matrix, square_size
from mien.sources.images import read_image
from mien.sources.live import LiveSettings, LiveSource
from mien.sources.videos import Video, VideoSettings, is_video
from videos import numbered, portraits, read_number, write_audio, write_two_streams, write_video

MATRICES = {  # (a, b, c, d), and what it does to an array
    "as stored": ((1, 0, 0, 1), lambda image: image),
    "clockwise": ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    "half a turn": ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
    "counterclockwise": ((0, -1, 1, 0), np.rot90),
    "hflip": ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
    "vflip": ((1, 0, 0, -1), lambda image: image[::-1]),
    "transpose": ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
    "transverse": ((0, -1, -1, 0), lambda image: np.rot90(image, 2).transpose(1, 0, 2)),
}


def corners():
    """Return an image of which no turn or reflection is like another."""
    image = np.full((64, 96, 3), 90, np.uint8)
    image[:24, :36], image[:24, 60:], image[40:, :36] = (230, 20, 20), (20, 230, 20), (20, 20, 230)
    return image


def like(image, other):
    return image.shape == other.shape and np.abs(image.astype(int) - other).mean() < 12


def squeezed(images, *, x=1.0, y=1.0):
    return [cv2.resize(image, None, fx=x, fy=y, interpolation=cv2.INTER_AREA) for image in images]


# Turned and mirrored --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MATRICES)
def test_every_display_matrix_is_applied_in_files_and_live(tmp_path, name):
    matrix, seen = MATRICES[name]
    path = write_video(tmp_path / "clip.mp4", [corners()] * 4, matrix=matrix)
    expected = seen(corners())
    with Video(path) as video:
        assert (video.info.height, video.info.width) == expected.shape[:2]
        assert video.info.stored_size == (96, 64)
        assert all(like(frame.image, expected) for frame in video)
    with LiveSource(path, LiveSettings(realtime=False)) as source:
        assert (source.info.height, source.info.width) == expected.shape[:2]
        assert like(source.newest(3).image, expected)


@pytest.mark.parametrize("name", MATRICES)
def test_the_turn_and_the_mirror_that_are_told_lead_to_the_same_image(tmp_path, name):
    matrix, seen = MATRICES[name]
    with Video(write_video(tmp_path / "clip.mp4", [corners()], matrix=matrix)) as video:
        turned = np.rot90(corners(), -video.info.rotation_deg // 90)
        assert np.array_equal(turned[:, ::-1] if video.info.mirrored else turned, seen(corners()))


def test_a_matrix_that_is_none_changes_nothing():
    assert of_matrix(bytes(36)) == of_matrix(b"short") == of_matrix(np.int32([1, 0, 0, 0, 1, 0, 0, 0, 1]).tobytes())


# Pixels that are not square -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts", "clip.h264", "clip.avi", "vp9.mp4"])
@pytest.mark.parametrize(("aspect", "x", "y"), [(Fraction(2), 0.5, 1.0), (Fraction(1, 2), 1.0, 0.5)])
def test_pixels_are_made_square(tmp_path, name, aspect, x, y):
    codec = {"clip.avi": "mpeg4", "vp9.mp4": "libvpx-vp9"}.get(name, "h264")  # VP9 leaves it to the container
    path = write_video(tmp_path / name, squeezed(numbered(6, size=(192, 128)), x=x, y=y), aspect=aspect, codec=codec)
    with Video(path) as video:
        frames = list(video)
        assert (video.info.width, video.info.height) == (192, 128)
        assert video.info.stored_size == (192 * x, 128 * y)
        assert video.info.pixel_aspect == float(aspect)
    assert [read_number(frame.image) for frame in frames] == list(range(6))
    assert {frame.image.shape for frame in frames} == {(128, 192, 3)}
    with LiveSource(path, LiveSettings(realtime=False)) as source:
        assert source.newest(3).image.shape == (128, 192, 3)


def test_pixels_are_those_of_the_stored_frame_and_the_turn_comes_after(tmp_path):
    stored = squeezed([corners()], x=0.5)
    path = write_video(tmp_path / "clip.mp4", stored, aspect=Fraction(2), matrix=MATRICES["transpose"][0])
    with Video(path) as video:
        assert (video.info.width, video.info.height) == (64, 96)
        assert like(next(iter(video)).image, corners().transpose(1, 0, 2))


def test_an_animated_png_has_square_pixels(tmp_path):
    path = write_video(
        tmp_path / "clip.apng", squeezed(numbered(3), x=0.5), codec="apng", aspect=Fraction(2), container="apng"
    )
    with Video(path) as video:
        assert (video.info.width, video.info.height) == (96, 64)
        assert [read_number(frame.image) for frame in video] == [0, 1, 2]


def test_impossible_pixels_are_taken_for_square(tmp_path):
    path = write_video(tmp_path / "clip.mp4", numbered(2), aspect=Fraction(100))
    with Video(path) as video:
        assert (video.info.width, video.info.pixel_aspect) == (96, 1.0)


@pytest.mark.parametrize(
    ("size", "aspect", "square"),
    [
        ((720, 576), 64 / 45, (1024, 576)),
        ((1440, 1080), 4 / 3, (1920, 1080)),
        ((720, 480), 8 / 9, (720, 540)),
        ((96, 64), 1.0, (96, 64)),
        ((7680, 4320), 2.0, (7680, 2160)),
        ((1, 1), 0.2, (1, 5)),
    ],
)
def test_square_sizes_lose_no_pixels_and_stay_in_memory(size, aspect, square):
    assert square_size(*size, aspect) == square


# One of several streams -----------------------------------------------------------------------------------------------


@pytest.fixture
def two_views(tmp_path):
    return write_two_streams(tmp_path / "two.mkv")


def test_of_two_streams_the_one_that_is_read_is_named(two_views):
    with Video(two_views) as video:
        first = read_number(next(iter(video)).image)
        assert (video.info.streams, first) == (2, 100 * video.info.stream)
        assert "holds 2 video streams (0: 96x64, 1: 192x128)" in video.problems[0]
        assert f"stream {video.info.stream} is read; choose another" in video.problems[0]


@pytest.mark.parametrize("number", [0, 1])
def test_a_stream_can_be_chosen(two_views, number):
    with Video(two_views, VideoSettings(stream=number)) as video:
        assert [read_number(frame.image) for frame in video] == [100 * number + n for n in range(5)]
        assert (video.info.stream, video.problems) == (number, [])


def test_a_stream_that_is_not_there_says_how_many_there_are(two_views):
    with pytest.raises(SourceError, match="has 2 video streams, numbered from 0; there is no stream 2"):
        Video(two_views, VideoSettings(stream=2))
    with pytest.raises(InputError, match="stream must be a whole number of at least 0, got -1"):
        VideoSettings(stream=-1)


# What leaves no frame -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"start_s": 30}, r"is 2\.40 s long, and start_s = 30 leaves none of its frames; start earlier"),
        ({"start_s": 2.4}, r"is 2\.40 s long, and start_s = 2\.4 leaves"),
        ({"start_s": 1, "every": 100}, r"is 2\.40 s long, and start_s = 1, every = 100 leaves"),
        ({"start_s": 1, "fps": 0.1}, r"is 2\.40 s long, and start_s = 1, fps = 0\.1 leaves"),
        ({"start_s": 1.001, "end_s": 1.002}, r"is 2\.40 s long, and start_s = 1\.001, end_s = 1\.002 leaves"),
    ],
)
def test_settings_that_leave_no_frame_are_an_error_with_the_length(tmp_path, settings, words):
    path = write_video(tmp_path / "clip.mp4", numbered(60))
    with Video(path, VideoSettings(**settings)) as video, pytest.raises(InputError, match=words):
        list(video)


def test_settings_that_go_beyond_the_end_take_what_there_is(tmp_path):
    path = write_video(tmp_path / "clip.mp4", numbered(60))
    for settings, count in (({"end_s": 99}, 60), ({"every": 1000}, 1), ({"fps": 0.01}, 1)):
        with Video(path, VideoSettings(**settings)) as video:
            assert len(list(video)) == count


# No moving images -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tiff", ".jp2", ".ppm", ".avif", ".heic", ".ico"])
def test_a_still_image_is_no_video_whatever_it_is_called(tmp_path, suffix):
    pillow = pytest.importorskip("PIL.Image")
    image = pillow.fromarray(next(portraits(1)))
    if suffix == ".heic":
        heif = pytest.importorskip("pillow_heif")
        heif.from_pillow(image).save(tmp_path / "image.heic")
    else:
        image.save(tmp_path / f"image{suffix}")
    called_video = (tmp_path / f"image{suffix}").rename(tmp_path / "image.mp4")
    with pytest.raises(SourceError, match=r"is an image, not a video; analyze it as one: mien\.analyze\(\)"):
        Video(called_video)
    other = called_video.rename(tmp_path / f"renamed{suffix}")
    assert not is_video(other)


def test_subtitles_are_no_video(tmp_path):
    path = tmp_path / "words.srt"
    path.write_text("1\n00:00:00,000 --> 00:00:02,000\nHello\n")
    with pytest.raises(SourceError, match="holds subtitles but no video"):
        Video(path)
    assert not is_video(path)
    with pytest.raises(SourceError, match="is subtitles, not an image"):
        read_image(path)


def test_a_song_is_no_video_and_no_image(tmp_path):
    song = write_audio(tmp_path / "song.m4a")
    assert not is_video(song)
    with pytest.raises(SourceError, match="is sound without images, not an image"):
        read_image(song)


# Written again --------------------------------------------------------------------------------------------------------


def test_an_annotated_video_is_shown_as_the_source_is(tmp_path):
    path = write_video(tmp_path / "clip.mp4", squeezed([corners()] * 3, x=0.5), aspect=Fraction(2))
    with Video(path) as video, closing(VideoWriter(tmp_path / "out.mp4")) as writer:
        for frame in video:
            writer.add(frame.image, frame.time_s)
    with Video(tmp_path / "out.mp4") as video:
        assert like(next(iter(video)).image, corners())
        assert video.info.pixel_aspect == 1.0
