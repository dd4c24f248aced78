"""JPEG: damage anywhere in a file is noticed, and sound files of every making pass."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from mien.errors import SourceError
from mien.sources.images import decode_image

PHOTO = Image.open(Path(__file__).parents[2] / "examples" / "astronaut.jpg").convert("RGB").resize((320, 240))
MAKINGS = {
    "baseline": {}, "optimized": {"optimize": True}, "progressive": {"progressive": True},
    "rows": {"restart_marker_rows": 1}, "blocks": {"restart_marker_blocks": 3},
    "progressive rows": {"progressive": True, "restart_marker_rows": 1}, "4:4:4": {"subsampling": 0},
}  # fmt: skip
SHARES = (0.05, 0.25, 0.5, 0.75, 0.9, 0.92, 0.94, 0.96, 0.97, 0.98, 0.99)


def jpeg(image: Image.Image = PHOTO, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **{"quality": 90, **options})
    return file.getvalue()


def data_begin(data: bytes) -> int:
    return data.index(b"\xff\xda") + 14


def passes(data: bytes, caplog: pytest.LogCaptureFixture) -> bool:
    """Return whether an image is read without a word; what is said must name it."""
    caplog.clear()
    try:
        decode_image(data, name="photo.jpg")
    except SourceError as error:
        assert str(error).startswith("photo.jpg is ")
        return False
    assert all(message.startswith("photo.jpg") for message in caplog.messages)
    return not caplog.messages


# Damage.


def zeros(data: bytes, at: int) -> bytes:
    end = min(at + 512, len(data) - 2)
    return data[:at] + bytes(end - at) + data[end:]


def zeros_to_the_end(data: bytes, at: int) -> bytes:
    return data[:at] + bytes(len(data) - 2 - at) + data[-2:]


def cut(data: bytes, at: int) -> bytes:
    return data[:at] + data[-2:]


@pytest.mark.parametrize("how", [zeros, zeros_to_the_end, cut], ids=lambda how: how.__name__)
@pytest.mark.parametrize("making", MAKINGS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_damage_anywhere_is_noticed(mode, making, how, caplog, capfd):
    data = jpeg(PHOTO.convert(mode), **MAKINGS[making])
    begin = data_begin(data)
    unnoticed = [share for share in SHARES if passes(how(data, begin + int((len(data) - begin - 2) * share)), caplog)]
    assert unnoticed == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("share", SHARES)
def test_a_cut_that_a_second_image_in_the_file_hides_is_noticed(share, caplog):
    first, second = jpeg(), jpeg(PHOTO.resize((64, 48)))
    begin = data_begin(first)
    at = begin + int((len(first) - begin) * share)
    assert passes(first + second, caplog)
    assert not passes(first[:at] + bytes(len(first) - at) + second, caplog)
    assert not passes(first[:at] + second, caplog)


def test_a_marker_in_the_middle_of_the_data_is_damage():
    data = jpeg()
    at = data_begin(data) + 2000
    with pytest.raises(SourceError, match=r"^x is damaged: a marker \(0xc0\) stands in its image data; fetch or copy"):
        decode_image(data[:at] + b"\xff\xc0" + data[at + 2 :], name="x")


def test_some_bytes_left_over_at_the_end_are_a_warning_that_names_the_file(caplog):
    data = jpeg()
    with_junk = data[:-2] + bytes(range(1, 41)) + data[-2:]
    np.testing.assert_array_equal(decode_image(with_junk, name="x.jpg"), decode_image(data, name="x"))
    assert caplog.messages == ["x.jpg may be damaged: bytes are left over at the end of its image data"]
    with pytest.raises(SourceError, match="is damaged: bytes are left over"):
        decode_image(data[:-2] + bytes(range(1, 201)) + data[-2:], name="x")


def test_junk_at_the_end_does_not_hide_damage_before_it():
    data = jpeg(restart_marker_rows=1)
    at = data.index(b"\xff\xd3")
    with pytest.raises(SourceError, match="is damaged"):
        decode_image(data[: at - 300] + data[at:-2] + b"\1\2\3" + data[-2:], name="x")


# Sound files.


def drawings() -> dict[str, Image.Image]:
    page = Image.new("RGB", (200, 100), "white")
    for y in range(0, 100, 14):
        ImageDraw.Draw(page).text((5, y), "the quick brown fox " * 4, fill="black")
    shot = Image.new("RGB", (400, 240), "white")
    shot.paste(PHOTO.resize((200, 200)), (20, 20))
    noise = np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8)
    squares = np.kron(np.indices((20, 20)).sum(0) % 2, np.ones((8, 8))).astype(np.uint8) * 255
    return {
        "photo": PHOTO.resize((160, 120)), "page": page, "half white": shot, "noise": Image.fromarray(noise),
        "squares": Image.fromarray(squares).convert("RGB"), "white": Image.new("RGB", (500, 400), "white"),
        "dark": PHOTO.resize((160, 120)).point(lambda value: value // 16), "tiny": PHOTO.resize((1, 1)),
        "odd": PHOTO.resize((17, 33)),
    }  # fmt: skip


@pytest.mark.parametrize("drawing", drawings())
def test_sound_files_of_every_making_pass_without_a_word(drawing, caplog):
    image = drawings()[drawing]
    for quality in (5, 30, 60, 85, 95, 100):
        for making, options in MAKINGS.items():
            for mode in ("RGB", "L", "CMYK"):
                data = jpeg(image.convert(mode), quality=quality, **options)
                assert passes(data, caplog), (quality, making, mode)
    pixels = np.asarray(image)
    for sampling in (411, 422, 440):
        how = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{sampling}")]
        assert passes(cv2.imencode(".jpg", pixels, how)[1].tobytes(), caplog), sampling


def test_white_around_a_photo_is_not_taken_for_zeros_in_the_place_of_data(caplog):
    shot = Image.new("RGB", (1600, 1200), "white")
    shot.paste(PHOTO.resize((1100, 1100)), (100, 20))
    data = jpeg(shot, quality=92, progressive=True)
    assert bytes(64) in data  # the code of flat blocks
    assert passes(data, caplog)


@pytest.mark.parametrize("making", MAKINGS)
def test_what_cameras_add_does_no_harm(making, caplog):
    exif = Image.Exif()
    thumbnail = jpeg(PHOTO.resize((80, 60)))
    exif[0x010E] = "made here"
    data = jpeg(exif=exif.tobytes() + thumbnail, comment=b"\xff\xd9 in a comment", **MAKINGS[making])
    plain = decode_image(data, name="x")
    movie = b"\0\0\0\x18ftypmp42\0\0\0\0" + bytes(range(256)) * 20
    empty = b"\xff\xd8\xff\xe1"
    for more in (b"", bytes(5), bytes(4096), thumbnail, jpeg(progressive=True), movie, b"\xff" * 9, empty):
        assert passes(data + more, caplog)
        np.testing.assert_array_equal(decode_image(data + more, name="x"), plain)
    for padding in (b"\0", bytes(5), bytes(48), b"\xff\xff\xff"):
        assert passes(data[:-2] + padding + data[-2:], caplog)


def test_a_scan_header_that_some_phones_write_wrongly_passes(caplog):
    data = jpeg()
    begin = data_begin(data)
    assert data[begin - 3 : begin] == b"\0\x3f\0"
    slip = data[: begin - 3] + b"\0\0\0" + data[begin:]
    assert passes(slip, caplog)
    np.testing.assert_array_equal(decode_image(slip, name="x"), decode_image(data, name="x"))
    assert not passes(zeros(slip, begin + 3000), caplog)


@pytest.mark.parametrize("making", MAKINGS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_pixels_are_those_of_opencv(making, mode):
    data = jpeg(PHOTO.convert(mode), **MAKINGS[making])
    opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decode_image(data, name="x"), opencv[..., ::-1])


def test_a_rare_subsampling_is_read_by_opencv():
    data = bytearray(jpeg(subsampling=0))
    frame = data.index(b"\xff\xc0")
    data[frame + 11], data[frame + 14], data[frame + 17] = 0x11, 0x11, 0x31  # one kind of red for three pixels
    assert decode_image(bytes(data), name="x").shape == (240, 320, 3)


def test_a_jpeg_is_decoded_once(monkeypatch):
    simplejpeg = pytest.importorskip("simplejpeg")
    calls = []
    real = simplejpeg.decode_jpeg
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *a, **k: (calls.append("simplejpeg"), real(*a, **k))[1])
    real_cv2 = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *a, **k: (calls.append("cv2"), real_cv2(*a, **k))[1])
    decode_image(jpeg(), name="x")
    assert calls == ["simplejpeg"]
