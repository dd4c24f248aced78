"""Frames that stay as they were decoded: their pieces are those of the RGB image, and so is what is found in them."""

import pickle
import platform
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

import scenes
from mien import Analyzer
from mien.detect.align import crop_faces
from mien.detect.mtcnn import MtcnnDetector
from mien.errors import InputError
from mien.faces import Frame
from mien.planes import Planes, part_around, part_of, rgb_of
from mien.sources._convert import WEIGHTS, FrameConverter
from mien.sources.videos import Video
from mien.tracking.scene import glance
from mien.video.run import analyze_video

EXAMPLES = Path(__file__).parents[2] / "examples"
EXACT = platform.machine().lower() in ("x86_64", "amd64")
MOST_OFF = 0 if EXACT else 3  # levels; FFmpeg rounds otherwise on other processors
SIDES = (96, 64)


def noise(kind: str, space: int = 1, levels: int = 0, size: tuple[int, int] = SIDES) -> av.VideoFrame:
    """Return a decoded frame of noise, all numbers that planes can hold."""
    frame = av.VideoFrame(*size, kind)
    rng = np.random.default_rng(0)
    for plane in frame.planes:
        numbers = np.frombuffer(plane, np.uint8)
        numbers[:] = rng.integers(0, 256, len(numbers))
    frame.colorspace, frame.color_range = space, levels
    return frame


def planes_of(frame: av.VideoFrame) -> Planes:
    planes = FrameConverter().pixels(frame, 1.0)
    assert isinstance(planes, Planes)
    return planes


def assert_same(got: np.ndarray, wanted: np.ndarray, most: int = MOST_OFF) -> None:
    assert got.shape == wanted.shape
    assert np.abs(got.astype(int) - wanted).max() <= most


@pytest.mark.parametrize("space", WEIGHTS)
@pytest.mark.parametrize("kind, levels", [("yuv420p", 0), ("yuv420p", 1), ("yuv420p", 2), ("yuvj420p", 2)])
def test_pieces_and_points_are_those_of_the_rgb_image(kind: str, levels: int, space: int) -> None:
    planes = planes_of(noise(kind, space, levels))
    image = planes.rgb()
    assert image.shape == planes.shape == (SIDES[1], SIDES[0], 3)
    for left, top, right, bottom in ((0, 0, 96, 64), (10, 6, 44, 40), (94, 62, 96, 64), (0, 0, 2, 2)):
        assert_same(planes.part(left, top, right, bottom).rgb(), image[top:bottom, left:right])
    for size in ((256, 192), (17, 9), SIDES):
        assert_same(planes.sampled(*size), cv2.resize(image, size, interpolation=cv2.INTER_NEAREST))
    assert_same(glance(planes).pixels, glance(image).pixels)


def test_a_range_or_matrix_that_is_taken_for_another_is_seen() -> None:
    limited, full = (planes_of(noise("yuv420p", 1, levels)) for levels in (1, 2))
    other = planes_of(noise("yuv420p", 5, 1))
    image = limited.rgb().astype(int)
    for wrong in (full, other):
        assert np.abs(wrong.part(0, 0, 96, 64).rgb().astype(int) - image).mean() > 3
        assert np.abs(wrong.sampled(*SIDES).astype(int) - image).mean() > 3


def test_nv12_differs_by_how_ffmpeg_spreads_its_chroma() -> None:
    frame = noise("nv12")
    for plane in frame.planes:  # smooth, as chroma is
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        rows[:] = cv2.GaussianBlur(rows, (0, 0), 6)
    planes = planes_of(frame)
    image = planes.rgb()
    assert_same(planes.part(10, 6, 44, 40).rgb(), image[6:40, 10:44], 8)
    assert np.abs(planes.sampled(*SIDES).astype(int) - image).mean() < 3


@pytest.mark.parametrize(
    "frame, pixel_aspect",
    [
        (noise("yuv420p10le"), 1.0),
        (noise("yuva420p"), 1.0),
        (noise("yuv444p"), 1.0),
        (noise("rgb24", 0), 1.0),
        (noise("gray", 0), 1.0),
        (noise("yuv420p", size=(95, 64)), 1.0),
        (noise("yuv420p", size=(96, 63)), 1.0),
        (noise("yuv420p"), 4 / 3),
    ],
    ids=["10 bit", "alpha", "4:4:4", "rgb", "gray", "odd width", "odd height", "wide pixels"],
)
def test_what_is_not_of_the_common_kind_becomes_rgb(frame: av.VideoFrame, pixel_aspect: float) -> None:
    converter = FrameConverter()
    image = converter.pixels(frame, pixel_aspect)
    assert isinstance(image, np.ndarray)
    np.testing.assert_array_equal(image, converter.rgb(frame, pixel_aspect))


@pytest.mark.parametrize("left, top, right, bottom", [(0, 0, 96, 64), (3, 5, 40, 41), (95, 63, 96, 64), (1, 1, 2, 2)])
def test_a_part_with_odd_corners_is_cut_exactly(left: int, top: int, right: int, bottom: int) -> None:
    planes = planes_of(noise("yuv420p"))
    image = planes.rgb()
    assert_same(part_of(planes, left, top, right, bottom), image[top:bottom, left:right])
    assert_same(part_of(image, left, top, right, bottom), image[top:bottom, left:right])
    first, upper, part = part_around(planes, left, top, right, bottom)
    assert_same(part, image[upper : upper + part.shape[0], first : first + part.shape[1]])
    assert 0 <= left - first <= 1 and 0 <= top - upper <= 1


def test_a_frame_makes_its_image_once_and_when_asked() -> None:
    planes = planes_of(noise("yuv420p"))
    made = []
    frame = Frame.of(
        Planes(planes.y, planes.chroma, planes.colours, lambda: made.append(1) or planes.rgb()), "x", 3, 0.5
    )
    assert (frame.width, frame.height, frame.index, frame.time_s) == (96, 64, 3, 0.5) and not made
    assert frame.image is frame.image and made == [1]
    np.testing.assert_array_equal(rgb_of(frame.pixels), frame.image)
    later = replace(frame, index=4)
    assert later.index == 4 and later.image is frame.image
    there = pickle.loads(pickle.dumps(Frame.of(planes, "x", 3, 0.5)))
    np.testing.assert_array_equal(there.image, frame.image)
    with pytest.raises(InputError, match="got str"):
        Frame("planes")  # type: ignore[arg-type]


def write(path: Path, name: str, size: tuple[int, int], *, space: int, options: dict[str, str] | None = None) -> Path:
    """Write a scene of moving people as H.264."""
    with av.open(str(path), "w") as video:
        stream = video.add_stream("libx264", rate=25, options={"preset": "superfast", "crf": "20", **(options or {})})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.colorspace = space
        for scene in scenes.CASES[name](scenes.portrait_people(EXAMPLES), size=size).frames():
            frame = av.VideoFrame.from_ndarray(scene.image, format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709" if space == 1 else "ITU601")
            frame.colorspace, frame.pts, frame.time_base = space, scene.index, Fraction(1, 25)
            video.mux(stream.encode(frame))
        video.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def analyzer() -> Analyzer:
    return Analyzer(model="mien-s")


@pytest.mark.skipif(
    not EXACT, reason="elsewhere FFmpeg rounds otherwise, and tracking carries a level on from frame to frame"
)
@pytest.mark.parametrize(
    "name, size, space", [("crossing", (640, 360), 6), ("arriving", (1280, 720), 1), ("cutting", (854, 480), 1)]
)
def test_a_video_gives_the_rows_that_its_rgb_images_give(
    name: str, size: tuple[int, int], space: int, analyzer: Analyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write(tmp_path / "clip.mp4", name, size, space=space)
    assert isinstance(next(iter(Video(clip))).pixels, Planes)
    rows = analyze_video(clip, analyzer=analyzer, progress=False).to_pandas()
    monkeypatch.setattr(FrameConverter, "pixels", FrameConverter.rgb)
    wanted = analyze_video(clip, analyzer=analyzer, progress=False).to_pandas()
    assert len(wanted) > 60
    assert rows.equals(wanted)


def test_only_searched_frames_become_rgb(analyzer: Analyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write(tmp_path / "clip.mp4", "zooming", (640, 360), space=1)
    made = []
    whole = FrameConverter.rgb
    monkeypatch.setattr(FrameConverter, "rgb", lambda self, *given: made.append(1) or whole(self, *given))
    result = analyze_video(clip, analyzer=analyzer, progress=False)
    assert result.faces >= result.frames - 1
    assert 0 < len(made) < result.frames / 4


def test_faces_are_looked_at_and_cut_out_of_planes_as_of_rgb() -> None:
    image = cv2.cvtColor(cv2.imread(str(EXAMPLES / "astronaut.jpg")), cv2.COLOR_BGR2RGB)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
    planes = planes_of(frame)
    image = planes.rgb()
    detector = MtcnnDetector()
    faces = detector.detect(image)
    assert len(faces)
    moved = faces.xyxy + np.float32(3)
    looked, wanted = detector.refine(planes, moved), detector.refine(image, moved)
    off = 0 if EXACT else 0.5
    np.testing.assert_allclose(looked.xyxy, wanted.xyxy, atol=off)
    assert_same(crop_faces(planes, faces), crop_faces(image, faces))
