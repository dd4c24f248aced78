"""Photos of phones and cameras, rarer formats, and damage in the middle of a file."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mien.errors import MissingExtraError, SourceError
from mien.sources.images import decode_image, expand, passed_over, read_image
from mien.sources.videos import VIDEO_SUFFIXES, Video, is_video
from videos import numbered, read_number, write_video

PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.jpg"


def photo() -> NDArray[np.uint8]:
    return np.asarray(Image.open(PHOTO).convert("RGB").resize((256, 192)))


def saved(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").from_pillow(Image.fromarray(photo())).save(file, **options)
    else:
        Image.fromarray(photo()).save(file, kind, **options)
    return file.getvalue()


KINDS = {
    ".heic": ("HEIF", 6), ".avif": ("AVIF", 6), ".jp2": ("JPEG2000", 0), ".ppm": ("PPM", 0), ".tga": ("TGA", 0),
    ".ico": ("ICO", 0),
}  # fmt: skip


@pytest.mark.parametrize("suffix", KINDS)
def test_rarer_formats_are_read_as_images(suffix: str, tmp_path: Path) -> None:
    kind, tolerance = KINDS[suffix]
    options = {"sizes": [(256, 192)]} if kind == "ICO" else {}
    path = tmp_path / f"a{suffix}"
    path.write_bytes(saved(kind, **options))
    assert [item.origin for item in expand(tmp_path)] == [path]
    assert not is_video(path)
    found = read_image(path).image
    assert found.shape == (192, 256, 3)
    assert np.abs(found.astype(int) - photo()).mean() <= tolerance
    assert read_image(path.read_bytes()).image.shape == (192, 256, 3)


def test_tga_with_runs_and_gray_files() -> None:
    np.testing.assert_array_equal(decode_image(saved("TGA", compression="tga_rle"), name="x"), photo())
    gray = Image.fromarray(photo()).convert("L")
    for kind in ("PPM", "TGA", "JPEG2000"):
        file = io.BytesIO()
        gray.save(file, kind)
        np.testing.assert_array_equal(decode_image(file.getvalue(), name="x")[..., 1], np.asarray(gray))


UPRIGHT = {
    1: lambda image: image, 2: np.fliplr, 3: lambda image: np.rot90(image, 2), 4: np.flipud,
    5: lambda image: image.swapaxes(0, 1), 6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).swapaxes(0, 1), 8: np.rot90,
}  # fmt: skip


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_avif_and_heic_stand_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(kind, exif=exif.tobytes(), quality=95)
    # Both writers say it in boxes of the container, turn and mirror, which the decoders apply.
    assert (b"irot" in data) == (orientation in (3, 5, 6, 7, 8))
    assert (b"imir" in data) == (orientation in (2, 4, 5, 7))
    image = decode_image(data, name="x").astype(int)
    wanted = UPRIGHT[orientation](photo())
    assert image.shape == wanted.shape
    assert np.abs(image - wanted).mean() < 5
    assert all(np.abs(image - other(photo())).mean() > 20 for key, other in UPRIGHT.items()
               if key != orientation and other(photo()).shape == image.shape)  # fmt: skip


def test_several_images_in_one_file_give_the_first() -> None:
    heif = pytest.importorskip("pillow_heif")
    several, file = heif.from_pillow(Image.fromarray(photo())), io.BytesIO()
    several.add_from_pillow(Image.fromarray(255 - photo()))
    several.save(file, quality=95)
    assert np.abs(decode_image(file.getvalue(), name="x").astype(int) - photo()).mean() < 5


def test_an_avif_sequence_is_a_video_and_its_first_image_an_image(tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = tmp_path / "a.avif"
    frames = [Image.fromarray(photo() // step) for step in (1, 2, 3)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=200, quality=90)
    assert is_video(path)
    with Video(path) as video:
        times, means = zip(*((frame.time_s, frame.image.mean()) for frame in video), strict=True)
    assert times == pytest.approx((0, 0.2, 0.4))
    assert means == pytest.approx([np.asarray(frame).mean() for frame in frames], abs=4)
    assert np.abs(read_image(path).image.astype(int) - photo()).mean() < 6


def test_a_heic_sequence_is_a_video_and_no_image(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    data = bytearray(write_video(tmp_path / "clip.mp4", numbered(4, size=(192, 128)), codec="hevc").read_bytes())
    data[8:12] = b"hevc"
    path = tmp_path / "burst.heics"
    path.write_bytes(data)
    with Video(path) as video:
        assert [read_number(frame.image) for frame in video] == [0, 1, 2, 3]
    with pytest.raises(SourceError, match=r"is a HEIC image sequence without a still image; name it \.heics and"):
        read_image(path.rename(tmp_path / "burst.heic"))


def test_heic_without_its_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved("HEIF")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MissingExtraError, match=r"IMG_1.HEIC is a HEIC image; .*mien\[heif\]"):
        decode_image(data, name="IMG_1.HEIC")


def test_limits_and_cuts_hold_for_them() -> None:
    for kind in ("HEIF", "AVIF", "JPEG2000", "PPM", "TGA"):
        data = saved(kind)
        with pytest.raises(SourceError, match=r"x is 256 x 192 pixels, more than the limit"):
            decode_image(data, name="x", max_pixels=1000)
        with pytest.raises(SourceError, match=r"x is (a damaged|damaged|truncated)"):
            decode_image(data[: len(data) // 3], name="x")


def test_a_sound_file_is_no_video() -> None:
    assert ".m4a" not in VIDEO_SUFFIXES
    with pytest.raises(SourceError, match="is sound without images"):
        decode_image(b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(40), name="x")


# Damage in the middle.


def hurt(data: bytes, share: float, how: str) -> bytes:
    at, hurt = int(len(data) * share), bytearray(data)
    if how == "zeros":
        hurt[at : at + 400] = bytes(400)
    if how == "cut":
        del hurt[at : at + 400]
    return bytes(hurt)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
@pytest.mark.parametrize(
    ("kind", "how", "options"),
    [
        ("JPEG", "zeros", {"quality": 90}), ("JPEG", "cut", {"quality": 90}),
        ("JPEG", "zeros", {"quality": 90, "progressive": True}), 
        ("JPEG", "zeros", {"quality": 90, "optimize": True}), ("WEBP", "zeros", {"quality": 90}),
        ("WEBP", "cut", {"quality": 90}), ("WEBP", "zeros", {"lossless": True}),
        ("TIFF", "zeros", {"compression": "tiff_lzw"}), ("TIFF", "zeros", {"compression": "tiff_adobe_deflate"}),
        ("PNG", "zeros", {}),
    ],
)  # fmt: skip
def test_an_image_damaged_in_its_middle_is_an_error(
    kind: str, how: str, options: dict, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    data = saved(kind, **options)
    decode_image(data, name="whole")
    with pytest.raises(SourceError, match=r"^hurt\.x is (damaged|truncated)"):
        decode_image(hurt(data, share, how), name="hurt.x")
    if kind != "TIFF":  # libtiff in Pillow prints a line
        assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF"])
def test_flat_images_are_not_taken_for_damaged(kind: str) -> None:
    flat = np.full((2000, 3000, 3), 255, np.uint8)
    flat[900:1092, 1200:1456] = photo()
    for options in ({}, {"optimize": True}, {"compression": "tiff_lzw"}):
        file = io.BytesIO()
        Image.fromarray(flat).save(file, kind, **options)
        assert decode_image(file.getvalue(), name="x").shape == flat.shape


def test_a_few_bytes_too_many_before_the_end_marker_do_no_harm() -> None:
    data = saved("JPEG")
    assert decode_image(data[:-2] + bytes(5) + data[-2:], name="x").shape == (192, 256, 3)


def test_folders_say_what_they_passed_over(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("a.jpg", "b.txt", "deep/c.TXT", "d.psd", ".hidden", "e"):
        (tmp_path / name).write_bytes(b"x")
    (line,) = passed_over([str(tmp_path), str(tmp_path / "a.jpg")])
    assert line.startswith(f"{tmp_path}: passed over 4 files that are not images by their extension (.txt: 2, ")
    (line,) = passed_over([str(tmp_path / "deep")])
    assert line.endswith("passed over 1 file that is not an image by its extension (.txt: 1)")


def test_the_message_about_pixels_names_both_ways_to_raise_the_limit() -> None:
    with pytest.raises(SourceError, match=r"raise the limit: max_pixels in Python, --max-pixels on the command line"):
        decode_image(saved("PNG"), name="x", max_pixels=1000)
