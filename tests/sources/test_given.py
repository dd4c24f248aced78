"""Images that are no files: data URLs, base64, open files, Pillow's images, tensors; and how short messages stay."""

import base64
import io
import os
import pathlib
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mien.errors import InputError, SourceError, shortened
from mien.sources.given import from_base64
from mien.sources.images import Failed, expand, read_frames, read_image

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (9, 14, 3), np.uint8)


def png_of(rgb: NDArray) -> bytes:
    return cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))[1].tobytes()


PNG = png_of(RGB)
TEXT = base64.b64encode(PNG).decode()


class Named(os.PathLike):
    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


def at_its_end() -> io.BytesIO:
    file = io.BytesIO()
    file.write(PNG)
    return file


@pytest.mark.parametrize(
    "source",
    [
        io.BytesIO(PNG), at_its_end(), io.BufferedReader(io.BytesIO(PNG)), bytearray(PNG), memoryview(PNG),
        f"data:image/png;base64,{TEXT}", f"DATA:image/png;charset=utf-8;base64,{TEXT}", "data:image/png," + quote(PNG),
        "data:image/png;base64," + quote(TEXT), "data:image/png;base64,\n" + "\r\n  ".join(TEXT[i : i + 76] for i in
        range(0, len(TEXT), 76)), Image.fromarray(RGB), Image.open(io.BytesIO(PNG)), RGB,
    ],
)  # fmt: skip
def test_what_people_hold_is_read(source: object) -> None:
    frame = read_image(source)  # type: ignore[arg-type]
    np.testing.assert_array_equal(frame.image, RGB)
    assert frame.source
    assert len(frame.source) <= 200


def test_files_and_path_likes_have_their_name(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    assert read_image(Named(path)).source == str(path)
    with path.open("rb") as file:
        assert read_image(file).source == str(path)
    with Image.open(path) as image:
        assert read_image(image).source == str(path)


def test_a_file_opened_as_text_is_refused_with_the_mode(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="mode 'rb'"):
        read_image(io.StringIO("abc"))  # type: ignore[arg-type]


def test_several_files_images_and_arrays_side_by_side() -> None:
    frames = list(read_frames([io.BytesIO(PNG), Image.fromarray(RGB), RGB, PNG]))
    assert [frame.source for frame in frames] == ["file 0", "image 1", "array 2", "bytes 3"]
    assert len(expand(np.array(["a.png", "b.png"]))) == 2


# Pillow's modes.

RGBA = np.dstack([RGB, RNG.integers(0, 256, RGB.shape[:2], np.uint8)])
MODES = ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LA", "La", "RGBa", "RGBX", "I", "F", "I;16"]


@pytest.mark.parametrize("mode", MODES)
def test_images_of_pillow_of_any_mode(mode: str) -> None:
    gray = Image.fromarray(RGB[..., 0])
    base = {"La": gray.convert("LA"), "RGBa": Image.fromarray(RGBA)}.get(mode, gray if mode == "I;16" else None)
    image = (base or Image.fromarray(RGB)).convert(mode)
    found = read_image(image).image.astype(int)
    assert found.shape == RGB.shape
    wanted = np.asarray(Image.fromarray(RGB).convert("L"), int)
    if mode in ("L", "I", "F"):
        np.testing.assert_allclose(found[..., 0], wanted, atol=1)
    if mode in ("RGB", "RGBX", "CMYK"):
        np.testing.assert_array_equal(found, RGB)
    if mode == "RGBa":
        np.testing.assert_allclose(found, read_image(Image.fromarray(RGBA)).image, atol=2)


def test_alpha_of_pillow_is_laid_over_white() -> None:
    alpha = RGBA[..., 3:].astype(float) / 255
    np.testing.assert_allclose(read_image(Image.fromarray(RGBA)).image, RGB * alpha + 255 * (1 - alpha), atol=1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_of_pillow_stand_upright(orientation: int) -> None:
    image = Image.fromarray(RGB)
    exif = image.getexif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    np.testing.assert_array_equal(read_image(Image.open(file)).image, read_image(file).image)


def test_an_image_of_pillow_that_is_cut_off_is_an_error() -> None:
    file = io.BytesIO()
    Image.fromarray(np.tile(RGB, (20, 20, 1))).save(file, "JPEG")
    image = Image.open(io.BytesIO(file.getvalue()[:-3000]))
    with pytest.raises(SourceError, match=r"cannot be read by Pillow: .*truncated"):
        read_image(image)


# Tensors.


@pytest.mark.parametrize("shape", [(3, 8, 9), (8, 9, 3), (1, 8, 9), (4, 8, 9), (2, 3, 8, 9), (8, 9)])
@pytest.mark.parametrize("kind", ["float", "bytes", "large floats"])
def test_a_tensor_is_refused_with_a_line_that_works(shape: tuple[int, ...], kind: str) -> None:
    torch = pytest.importorskip("torch")
    tensor = {"float": torch.rand(shape), "bytes": torch.randint(0, 256, shape, dtype=torch.uint8)}.get(
        kind, 255 * torch.rand(shape)
    )
    with pytest.raises(InputError, match=r"tensor 0 is a torch tensor \(.*; pass tensor") as caught:
        read_image(tensor)
    line = str(caught.value).partition("; pass ")[2]
    image = eval(line, {"tensor": tensor})
    assert read_image(image).image.shape == (8, 9, 3)


# Base64.


def test_base64_whose_plus_became_a_blank_is_refused() -> None:
    assert "+" in TEXT
    with pytest.raises(SourceError, match=r"data URL 0 has blanks in its base64, where each \+ was lost"):
        read_image("data:image/png;base64," + TEXT.replace("+", " "))
    with pytest.raises(SourceError, match=r"write %2B for \+"):
        from_base64("ab cd")
    with pytest.raises(SourceError, match="not base64"):
        from_base64(TEXT[:-5])
    assert from_base64(" " + TEXT + "\n") == PNG


# Messages never repeat more than 200 characters.


@pytest.mark.parametrize(
    "source",
    [
        TEXT * 9, "/9j/" + "A" * 3_000_000, "x" * 5000, "data:image/png;base64" + "A" * 5000, ["y.jpg"] * 900,
        "data:image/png;base64," + "!" * 5000, "https:/" + "/" * 5000, "ftp://" + "a" * 5000, "\0" * 5000, b"z" * 5000,
        {"a": 1}.keys, [list(range(5000))], np.zeros((40, 40)), [object()] * 2, "https://" + "a" * 5000 + "/b.jpg",
        io.BytesIO(b"z" * 5000), "*" * 3000,
    ],
)  # fmt: skip
def test_no_message_repeats_what_came_at_length(source: object) -> None:
    for result in read_frames(source):  # type: ignore[arg-type]
        assert isinstance(result, Failed)
        assert len(str(result.error)) < 480
    with pytest.raises(InputError) as caught:
        read_image(source)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 480


def test_bare_base64_is_named() -> None:
    with pytest.raises(SourceError, match="looks like base64; write data:image/jpeg;base64, before it"):
        read_image(TEXT)


def test_shortened_keeps_beginning_and_end() -> None:
    assert shortened("abc") == "abc"
    text = shortened("a" * 500 + "b" * 500)
    assert len(text) == 200
    assert text.startswith("aaa")
    assert text.endswith("bbb")
