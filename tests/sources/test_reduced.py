"""A JPEG above the limit is read reduced: boxes, crops and drawings fit the whole image all the same."""

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import mien
from mien.compat import FER, DeepFace
from mien.errors import InputError, SourceError
from mien.faces import Reduced
from mien.sources.images import SourceSettings, decode_image, read_image

PHOTO = Image.open(Path(__file__).parents[2] / "examples" / "astronaut.jpg").convert("RGB").resize((641, 801))
LIMIT = 641 * 801 - 1
SMALLER = SourceSettings(max_pixels=LIMIT)


def jpeg(image: Image.Image = PHOTO, orientation: int = 1, **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, "JPEG", **{"quality": 92, "exif": exif, **options})
    return file.getvalue()


@pytest.mark.parametrize(("limit", "factor"), [(LIMIT, 2), (321 * 401, 2), (321 * 401 - 1, 4), (81 * 101, 8)])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"restart_marker_rows": 1}])
def test_the_largest_size_within_the_limit_is_read(limit, factor, options, caplog):
    frame = read_image(jpeg(**options), settings=SourceSettings(max_pixels=limit))
    assert frame.reduced == Reduced(factor, 641, 801)
    assert frame.image.shape == (-(-801 // factor), -(-641 // factor), 3)
    assert (frame.width, frame.height) == (641, 801)
    assert f"bytes 0 is 641 x 801 pixels, more than max_pixels = {limit:,}: it is read at 1/{factor}" in caplog.text


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_it_shows_the_same_as_the_whole(mode):
    data = jpeg(PHOTO.convert(mode))
    reduced = read_image(data, settings=SMALLER).image[:400, :320]
    whole = decode_image(data, name="x")[:800, :640].reshape(400, 2, 320, 2, 3).mean(axis=(1, 3))
    assert np.abs(reduced - whole).mean() < 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_image_stands_upright(orientation):
    data = jpeg(orientation=orientation)
    frame = read_image(data, settings=SMALLER)
    whole = decode_image(data, name="x")
    assert (frame.height, frame.width) == whole.shape[:2]
    small = cv2.resize(whole, frame.image.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small - frame.image.astype(int)).mean() < 4


def test_one_that_fits_is_whole(caplog):
    frame = read_image(jpeg(), settings=SourceSettings(max_pixels=641 * 801))
    assert (frame.reduced, frame.image.shape) == (None, (801, 641, 3))
    assert not caplog.messages


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM"])
def test_other_formats_are_refused_with_the_option(kind):
    file = io.BytesIO()
    PHOTO.save(file, kind)
    with pytest.raises(SourceError, match=r"is 641 x 801 pixels, more than the limit .* --max-pixels on the command"):
        read_image(file.getvalue(), settings=SMALLER)


def test_a_jpeg_too_large_even_at_an_eighth_is_refused():
    with pytest.raises(SourceError, match=r"641 x 801 pixels, more than the limit of 8,180 pixels"):
        read_image(jpeg(), settings=SourceSettings(max_pixels=81 * 101 - 1))


def test_data_that_must_be_held_whole_have_a_limit_of_their_own():
    data = jpeg(progressive=True)
    assert read_image(data, settings=SMALLER).reduced == Reduced(2, 641, 801)
    with pytest.raises(SourceError, match="more than the limit of"):
        read_image(data, settings=SourceSettings(max_pixels=641 * 801 // 2 - 1))


def test_damage_is_noticed_in_a_reduced_image():
    data = jpeg()
    with pytest.raises(SourceError, match="is damaged"):
        read_image(data[:-3000] + bytes(2998) + data[-2:], settings=SMALLER)


def test_decode_image_stays_whole_or_refuses():
    with pytest.raises(SourceError, match="more than the limit"):
        decode_image(jpeg(), name="x", max_pixels=LIMIT)


# Faces.


@pytest.fixture(scope="module", params=[1, 6, 8, 3, 2])
def both(request):
    """Return the faces of an image read whole and of the same read reduced."""
    turned = {1: PHOTO, 6: PHOTO.rotate(90, expand=True), 8: PHOTO.rotate(-90, expand=True), 3: PHOTO.rotate(180)}
    turned[2] = PHOTO.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    data = jpeg(turned[request.param], orientation=request.param)  # upright all of them
    return mien.analyze(data), mien.analyze(data, reading=SMALLER)


def test_boxes_and_landmarks_are_in_pixels_of_the_whole(both):
    whole, reduced = both
    assert len(whole) == len(reduced) == 1
    side = whole.xyxy[0, 2] - whole.xyxy[0, 0]
    assert np.abs(whole.xyxy - reduced.xyxy).max() < 0.08 * side
    assert np.abs(whole.landmarks - reduced.landmarks).max() < 0.05 * side
    assert whole.expression == reduced.expression
    assert reduced.reduced == Reduced(2, 641, 801)
    assert whole.reduced is None


def test_crops_and_drawings_fit_both_images(both):
    whole, reduced = both
    (small,), (large,) = reduced.crops(), reduced.crops(whole.image)
    assert reduced.image.shape[:2] == (401, 321)
    assert np.abs(np.array(large.shape[:2]) - 2 * np.array(small.shape[:2])).max() <= 4
    assert np.abs(cv2.resize(large, small.shape[1::-1], interpolation=cv2.INTER_AREA).astype(int) - small).mean() < 12
    for image, factor in ((reduced.image, 2), (whole.image, 1)):
        changed = np.argwhere((reduced.draw(image, tag=False) != image).any(axis=2))
        box = np.concatenate([changed.min(axis=0)[::-1], changed.max(axis=0)[::-1] + 1])
        assert np.abs(box * factor - reduced.xyxy[0]).max() < 8
    np.testing.assert_array_equal(reduced[0].crop(reduced.image), small)
    assert "<img" in reduced._repr_html_()


def test_the_smallest_face_and_the_border_are_those_of_the_whole():
    side = float(np.diff(mien.analyze(jpeg()).xyxy[0, ::2])[0])
    (kept,) = mien.analyze_images(jpeg(), reading=SMALLER, min_face=int(side * 0.8), progress=False)
    assert len(kept.faces) == 1
    assert (kept.width, kept.height) == (641, 801)
    cut = PHOTO.crop((0, 0, int(mien.analyze(jpeg()).xyxy[0, 2]) - 10, 801))
    limit = SourceSettings(max_pixels=cut.width * cut.height - 1)
    clipped = mien.analyze(jpeg(cut), reading=limit, clip_boxes=True)
    assert clipped.xyxy[0, 2] == cut.width


def test_rows_say_how_it_was_read():
    told = mien.analyze(jpeg(), reading=SMALLER).to_dict()
    assert told["reduced"] == 2
    assert "reduced" not in mien.analyze(jpeg()).to_dict()
    json.dumps(told)


def test_the_calls_of_others_answer_in_pixels_of_the_whole(tmp_path, monkeypatch):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg())
    (whole,) = DeepFace.analyze(path, actions=["emotion"])
    fer_whole = FER(mtcnn=True).detect_emotions(str(path))
    monkeypatch.setattr("mien.sources.images.DEFAULTS", SMALLER)
    monkeypatch.setattr("mien.sources.images.read_image.__kwdefaults__", {"channels": "rgb", "settings": SMALLER})
    (reduced,) = DeepFace.analyze(path, actions=["emotion"])
    for key in ("x", "y", "w", "h"):
        assert abs(whole["region"][key] - reduced["region"][key]) < 12
    fer_reduced = FER(mtcnn=True).detect_emotions(str(path))
    assert np.abs(np.array(fer_whole[0]["box"]) - fer_reduced[0]["box"]).max() < 12
    given = FER().detect_emotions(str(path), face_rectangles=[fer_whole[0]["box"]])
    assert list(given[0]["box"]) == list(fer_whole[0]["box"])


def test_an_image_of_another_size_is_no_image_of_these_faces():
    faces = mien.analyze(jpeg(), reading=SMALLER)
    with pytest.raises(InputError, match="pass the image in which the face was found"):
        faces[0].crop(np.zeros((10, 10, 3), np.uint8))
