"""Images of every kind, whole and broken, from paths, folders, globs, standard input, bytes and arrays."""

import io
import os
import resource
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien.errors import InputError, SourceError, shortened
from mien.faces import Frame
from mien.sources import images as sources
from mien.sources.images import Failed, SourceSettings, decode_image, expand, load, read_frames, read_image, read_items

RNG = np.random.default_rng(7)
RGB = RNG.integers(0, 256, (11, 17, 3), np.uint8)
ALPHA = RNG.integers(0, 256, (11, 17), np.uint8)
RGBA = np.dstack([RGB, ALPHA])
RGBA16 = RNG.integers(0, 65536, (11, 17, 4)).astype(np.uint16)
GRAY = RGB[..., 0].copy()

ORIENTATIONS: dict[int, Callable[[NDArray], NDArray]] = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


# Builders of files, independent of the code under test.


def encode(suffix: str, rgb: NDArray, *params: int) -> bytes:
    order = [2, 1, 0, 3][: rgb.shape[2]] if rgb.ndim == 3 else ...
    done, data = cv2.imencode(suffix, np.ascontiguousarray(rgb[..., order] if rgb.ndim == 3 else rgb), list(params))
    assert done
    return data.tobytes()


def lossless_webp(rgb: NDArray) -> bytes:
    return encode(".webp", rgb, cv2.IMWRITE_WEBP_QUALITY, 101)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int, height: int, *, depth: int, colour: int, rows: bytes, interlaced: bool = False, extra: bytes = b""
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def png_rows(pixels: NDArray) -> bytes:
    """Rows with filter 0; samples in network order."""
    big = pixels.astype(pixels.dtype.newbyteorder(">"))
    return b"".join(b"\0" + row.tobytes() for row in big)


def adam7_rows(pixels: NDArray) -> bytes:
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    return b"".join(png_rows(part) for y, x, dy, dx in passes if (part := pixels[y::dy, x::dx]).size)


def tiff(
    pixels: NDArray,
    *,
    order: str = "<",
    extra: int | None = None,
    orientation: int = 1,
    photometric: int | None = None,
    sample_format: int | None = None,
    more: bytes = b"",
) -> bytes:
    """An uncompressed one-strip TIFF; `more` stands between the pixels and the directory."""
    height, width = pixels.shape[:2]
    samples = 1 if pixels.ndim == 2 else pixels.shape[2]
    body = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    strip = len(body)
    body += b"\0" * (len(body) % 2) + more
    tags: dict[int, tuple[str, list[int]]] = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [pixels.dtype.itemsize * 8] * samples),
        259: ("H", [1]),
        262: ("H", [photometric if photometric is not None else 1 if samples < 3 else 2]),
        273: ("I", [8]),
        274: ("H", [orientation]),
        277: ("H", [samples]),
        278: ("I", [height]),
        279: ("I", [strip]),
    }
    if extra is not None:
        tags[338] = ("H", [extra])
    if sample_format is not None:
        tags[339] = ("H", [sample_format] * samples)
    after, entries, tail = 8 + len(body) + 6 + 12 * len(tags), b"", b""
    for tag in sorted(tags):
        letter, values = tags[tag]
        packed = struct.pack(f"{order}{len(values)}{letter}", *values)
        where = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack(order + "I", after + len(tail))
        tail += packed if len(packed) > 4 else b""
        entries += struct.pack(order + "HHI", tag, {"H": 3, "I": 4}[letter], len(values)) + where
    start = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8 + len(body))
    return start + body + struct.pack(order + "H", len(tags)) + entries + b"\0" * 4 + tail


def exif(orientation: int, order: str = "<") -> bytes:
    start = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return start + struct.pack(order + "HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)


def jpeg_with_exif(data: bytes, orientation: int, order: str = "<") -> bytes:
    block = b"Exif\0\0" + exif(orientation, order)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(k + struct.pack("<I", len(d)) + d + b"\0" * (len(d) % 2) for k, d in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def vp8x(width: int, height: int, flags: int) -> tuple[bytes, bytes]:
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return b"VP8X", bytes((flags, 0, 0, 0)) + size


def over_white(rgba: NDArray) -> NDArray[np.float64]:
    """Exact composite as real numbers 0-255."""
    top = np.iinfo(rgba.dtype).max
    colour, alpha = rgba[..., :3] / top, rgba[..., 3:] / top
    return 255 * (colour * alpha + 1 - alpha)


def assert_close(image: NDArray, wanted: NDArray, tolerance: float = 0.5) -> None:
    assert image.shape == wanted.shape
    assert image.dtype == np.uint8
    assert np.abs(image - wanted.astype(float)).max() <= tolerance + 1e-9


# Formats.


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", "webp"])
def test_lossless_formats_give_the_exact_pixels_in_rgb(suffix: str) -> None:
    data = lossless_webp(RGB) if suffix == "webp" else encode(suffix, RGB)
    image = decode_image(data, name="x")
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image, RGB)


def test_jpeg_is_rgb_and_close() -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    image[...] = (200, 60, 20)
    assert_close(decode_image(encode(".jpg", image, cv2.IMWRITE_JPEG_QUALITY, 100), name="x"), image, 3)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_gray_is_repeated(suffix: str) -> None:
    np.testing.assert_array_equal(decode_image(encode(suffix, GRAY), name="x"), np.dstack([GRAY] * 3))


def test_gray_jpeg_has_three_equal_channels() -> None:
    image = decode_image(encode(".jpg", np.full((16, 24), 90, np.uint8)), name="x")
    assert image.shape == (16, 24, 3)
    assert np.ptp(image, axis=2).max() == 0
    assert abs(int(image[0, 0, 0]) - 90) <= 2


@pytest.mark.parametrize("make", [lambda a: encode(".png", a), lossless_webp], ids=["png", "webp"])
def test_alpha_is_laid_over_white(make: Callable[[NDArray], bytes]) -> None:
    rgba = RGBA.copy()
    rgba[0, 0] = (10, 20, 30, 0)
    rgba[0, 1] = (10, 20, 30, 255)
    image = decode_image(make(rgba), name="x")
    assert image[0, 0].tolist() == [255, 255, 255]
    assert image[0, 1].tolist() == [10, 20, 30]
    assert_close(image, over_white(rgba))


def test_alpha_composition_is_right_for_every_pair_of_values() -> None:
    alpha, value = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    rgba = np.dstack([value, value, value, alpha])
    assert_close(decode_image(encode(".png", rgba), name="x"), over_white(rgba))


def test_opaque_alpha_changes_nothing() -> None:
    opaque = RGBA16 | np.array([0, 0, 0, 65535], np.uint16)
    np.testing.assert_array_equal(
        decode_image(encode(".png", opaque), name="x"), decode_image(encode(".png", opaque[..., :3]), name="x")
    )


def test_gray_png_with_alpha_is_laid_over_white() -> None:
    data = png(17, 11, depth=8, colour=4, rows=png_rows(np.dstack([GRAY, ALPHA])))
    assert_close(decode_image(data, name="x"), over_white(np.dstack([GRAY, GRAY, GRAY, ALPHA])))


def test_16_bit_png_scales_every_value_to_the_nearest() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    image = decode_image(encode(".png", values), name="x")
    np.testing.assert_array_equal(image[..., 1], np.rint(values / 257).astype(np.uint8))
    assert image[0, 0, 0] == 0
    assert image[255, 255, 0] == 255


def test_16_bit_alpha_is_composed_before_scaling() -> None:
    assert_close(decode_image(encode(".png", RGBA16), name="x"), over_white(RGBA16), 0.5 + 1 / 257)


def test_alpha_and_depth_across_bands_of_a_tall_image() -> None:
    tall = RNG.integers(0, 65536, (601, 3, 4)).astype(np.uint16)
    assert_close(decode_image(encode(".png", tall), name="x"), over_white(tall), 0.5 + 1 / 257)


PALETTE = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 8, 7)], np.uint8)


def test_palette_png() -> None:
    index = RNG.integers(0, 4, (11, 17)).astype(np.uint8)
    data = png(17, 11, depth=8, colour=3, rows=png_rows(index), extra=chunk(b"PLTE", PALETTE.tobytes()))
    np.testing.assert_array_equal(decode_image(data, name="x"), PALETTE[index])


def test_palette_png_of_two_bits_with_transparent_entry() -> None:
    extra = chunk(b"PLTE", PALETTE.tobytes()) + chunk(b"tRNS", bytes((255, 0)))
    data = png(4, 1, depth=2, colour=3, rows=bytes((0, 0b00011011)), extra=extra)
    assert decode_image(data, name="x")[0].tolist() == [[255, 0, 0], [255, 255, 255], [0, 0, 255], [9, 8, 7]]


@pytest.mark.parametrize(
    ("depth", "rows", "key"), [(8, bytes((0, 5, 85, 255)), 85), (2, bytes((0, 0b00011100)), 1)], ids=["8bit", "2bit"]
)
def test_gray_png_with_a_transparent_value(depth: int, rows: bytes, key: int) -> None:
    data = png(3, 1, depth=depth, colour=0, rows=rows, extra=chunk(b"tRNS", struct.pack(">H", key)))
    assert decode_image(data, name="x")[0, :, 0].tolist() == [5 if depth == 8 else 0, 255, 255]


def test_16_bit_gray_png_with_a_transparent_value() -> None:
    extra = chunk(b"tRNS", struct.pack(">H", 300))
    data = png(3, 1, depth=16, colour=0, rows=png_rows(np.array([[0, 300, 30100]], np.uint16)), extra=extra)
    assert decode_image(data, name="x")[0, :, 0].tolist() == [0, 255, 117]


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_low_bits_in_16_bit_files_are_scaled_by_content(
    bits: int, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    deep = (RGB.astype(np.uint32) * ((1 << bits) - 1) // 255).astype(np.uint16)
    image = decode_image(encode(suffix, deep), name="photo.png")
    np.testing.assert_allclose(image.astype(int), RGB, atol=1)
    assert f"taken for {bits}-bit data" in caplog.text
    assert "photo.png" in caplog.text


def test_interlaced_png_16_bit() -> None:
    data = png(17, 11, depth=16, colour=2, rows=adam7_rows(RGBA16[..., :3]), interlaced=True)
    np.testing.assert_array_equal(decode_image(data, name="x"), np.rint(RGBA16[..., :3] / 257).astype(np.uint8))


def test_png_with_a_profile_libpng_complains_about_stays_silent(capfd: pytest.CaptureFixture[str]) -> None:
    broken = chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(b"not a profile"))
    data = png(17, 11, depth=8, colour=2, rows=png_rows(RGB), extra=broken)
    np.testing.assert_array_equal(decode_image(data, name="x"), RGB)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("pixels", [RGB, RGBA16[..., :3].copy(), GRAY, RGBA16[..., 0].copy()], ids=str.__call__)
def test_tiff_in_both_byte_orders_and_depths(order: str, pixels: NDArray) -> None:
    wanted = pixels if pixels.dtype == np.uint8 else np.rint(pixels / 257).astype(np.uint8)
    wanted = wanted if wanted.ndim == 3 else np.dstack([wanted] * 3)
    np.testing.assert_array_equal(decode_image(tiff(pixels, order=order), name="x"), wanted)


@pytest.mark.parametrize("extra", [None, 0, 2])
@pytest.mark.parametrize("rgba", [RGBA, RGBA16], ids=["8bit", "16bit"])
def test_tiff_with_plain_alpha(rgba: NDArray, extra: int | None) -> None:
    # libtiff multiplies 8-bit colours by plain alpha itself, which rounds a second time.
    assert_close(decode_image(tiff(rgba, extra=extra), name="x"), over_white(rgba), 1.01)


@pytest.mark.parametrize("rgba", [RGBA, RGBA16], ids=["8bit", "16bit"])
def test_tiff_with_premultiplied_alpha(rgba: NDArray) -> None:
    top = np.iinfo(rgba.dtype).max
    premultiplied = rgba.copy()
    premultiplied[..., :3] = np.rint(rgba[..., :3] / top * rgba[..., 3:])
    assert_close(decode_image(tiff(premultiplied, extra=1), name="x"), over_white(rgba), 1.01)


@pytest.mark.parametrize("gray", [GRAY, RGBA16[..., 0].copy()], ids=["8bit", "16bit"])
def test_tiff_where_zero_is_white(gray: NDArray) -> None:
    top = int(np.iinfo(gray.dtype).max)
    wanted = np.rint((top - gray.astype(float)) * 255 / top).astype(np.uint8)
    np.testing.assert_array_equal(decode_image(tiff(gray, photometric=0), name="x")[..., 2], wanted)


@pytest.mark.skipif(not hasattr(cv2, "imencodemulti"), reason="this OpenCV writes no pages")
def test_multipage_tiff_gives_the_first_page() -> None:
    done, data = cv2.imencodemulti(".tiff", [RGB[..., ::-1].copy(), 255 - RGB])
    assert done
    np.testing.assert_array_equal(decode_image(data.tobytes(), name="x"), RGB)


@pytest.mark.parametrize(
    ("pixels", "options", "reason"),
    [
        (np.ones((4, 5), np.float32), {"sample_format": 3}, "32 bits"),
        (np.ones((4, 5), np.float16), {"sample_format": 3}, "16 bits"),
        (np.ones((4, 5), np.uint32), {}, "32 bits"),
        (RGBA16, {"photometric": 5}, "neither gray nor RGB"),
    ],
)
def test_tiff_with_other_samples_is_refused_with_the_fix(pixels: NDArray, options: dict[str, int], reason: str) -> None:
    with pytest.raises(SourceError, match=rf"^x\.tif .*{reason}.*save it as 8-bit RGB"):
        decode_image(tiff(pixels, **options), name="x.tif")


def test_bmp_with_alpha() -> None:
    data = encode(".bmp", RGBA)
    if cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).shape[2] == 3:
        pytest.skip("this OpenCV leaves the alpha of BMP files out")
    assert_close(decode_image(data, name="x"), over_white(RGBA))


def test_bmp_whose_alpha_is_empty_is_opaque() -> None:
    np.testing.assert_array_equal(decode_image(encode(".bmp", RGBA * (1, 1, 1, 0)), name="x"), RGB)


HAS_GIF = cv2.haveImageWriter("x.gif")


@pytest.mark.skipif(not hasattr(cv2, "Animation"), reason="this OpenCV reads no animated WebP")
def test_animated_webp_gives_its_first_frame() -> None:
    def frame(pixels: NDArray) -> tuple[bytes, bytes]:
        place = b"\0" * 6 + struct.pack("<I", 16)[:3] + struct.pack("<I", 10)[:3] + b"\x64\0\0" + b"\0"
        return b"ANMF", place + lossless_webp(pixels)[12:]

    data = riff(vp8x(17, 11, 0x02), (b"ANIM", b"\xff\xff\xff\xff\0\0"), frame(RGB), frame(255 - RGB))
    np.testing.assert_array_equal(decode_image(data, name="x"), RGB)


@pytest.mark.skipif(not HAS_GIF, reason="this OpenCV reads no GIF")
def test_animated_gif_gives_its_first_frame_even_if_later_ones_are_cut_off() -> None:
    flat = np.zeros((8, 12, 3), np.uint8)
    animation = cv2.Animation()
    animation.frames = [np.full_like(flat, 255), flat]
    animation.durations = [100, 100]
    data = cv2.imencodeanimation(".gif", animation)[1].tobytes()
    assert_close(decode_image(data, name="x"), np.full_like(flat, 255), 4)  # the encoder's palette is coarse
    assert_close(decode_image(data[:-8], name="x"), np.full_like(flat, 255), 4)


def test_example_photo_equals_opencv(astronaut: NDArray[np.uint8]) -> None:
    path = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
    np.testing.assert_array_equal(read_image(path).image, astronaut)


def test_tiff_with_an_unknown_compression_is_refused() -> None:
    data = bytearray(tiff(RGB))
    at = data.index(struct.pack("<HHI", 259, 3, 1)) + 8
    data[at : at + 2] = struct.pack("<H", 9999)
    with pytest.raises(SourceError, match=r"^x is compressed in a way .*\(9999\).*; save it"):
        decode_image(bytes(data), name="x")


# Rotation.


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_exif_orientation_of_jpeg(orientation: int, order: str) -> None:
    data = encode(".jpg", RNG.integers(0, 256, (24, 40, 3), np.uint8), cv2.IMWRITE_JPEG_QUALITY, 95)
    stored = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGR2RGB)
    image = decode_image(jpeg_with_exif(data, orientation, order), name="x")
    np.testing.assert_array_equal(image, ORIENTATIONS[orientation](stored))
    assert image.flags.c_contiguous


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_exif_orientation_with_alpha(orientation: int) -> None:
    wanted = ORIENTATIONS[orientation](over_white(RGBA))
    plain = encode(".png", RGBA)
    in_png = plain[:33] + chunk(b"eXIf", exif(orientation)) + plain[33:]
    in_webp = riff(
        vp8x(17, 11, 0x18), (b"VP8L", lossless_webp(RGBA).split(b"VP8L", 1)[1][4:]), (b"EXIF", exif(orientation))
    )
    assert_close(decode_image(in_png, name="x"), wanted)
    assert_close(decode_image(in_webp, name="x"), wanted)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("pixels", [RGB, RGBA16[..., :3].copy()], ids=["8bit", "16bit"])
def test_orientation_of_tiff(orientation: int, pixels: NDArray) -> None:
    image = decode_image(tiff(pixels, orientation=orientation), name="x")
    upright = pixels if pixels.dtype == np.uint8 else np.rint(pixels / 257).astype(np.uint8)
    np.testing.assert_array_equal(image, ORIENTATIONS[orientation](upright))


@pytest.mark.parametrize("block", [exif(0), exif(9), exif(6)[:12], b"II*\0\xff\xff\xff\xff", b"", b"nonsense"])
def test_exif_that_makes_no_sense_is_ignored(block: bytes) -> None:
    plain = encode(".png", RGB)
    np.testing.assert_array_equal(decode_image(plain[:33] + chunk(b"eXIf", block) + plain[33:], name="x"), RGB)


# The pixel limit.


def jpeg_header(width: int, height: int) -> bytes:
    sof = struct.pack(">BHHB", 8, height, width, 3) + bytes((1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0))
    app0 = b"\xff\xe0\x00\x04\xff\xc0"  # a frame marker inside another segment is not the frame
    return b"\xff\xd8" + app0 + b"\xff\xff\xc2" + struct.pack(">H", len(sof) + 2) + sof


def tiff_header(width: int, height: int, order: str, tile: int = 0) -> bytes:
    tags = [(256, width), (257, height), *([(322, tile), (323, tile)] if tile else [])]
    entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in tags)
    start = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return start + struct.pack(order + "H", len(tags)) + entries + b"\0" * 4


HUGE = {
    "png": png(60000, 60000, depth=8, colour=2, rows=b""),
    "jpeg": jpeg_header(60000, 60000),
    "webp extended": riff(vp8x(60000, 60000, 0)),
    "webp lossy": riff((b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 16383, 16383))),
    "webp lossless": riff((b"VP8L", b"\x2f" + struct.pack("<I", 16383 | 16383 << 14))),
    "bmp": b"BM" + b"\0" * 8 + struct.pack("<IIiiHHI", 54, 40, 60000, -60000, 1, 24, 0),
    "tiff little": tiff_header(60000, 60000, "<"),
    "tiff big": tiff_header(60000, 60000, ">"),
    "tiff tile": tiff_header(8, 8, "<", tile=60000),
    "gif": b"GIF89a" + struct.pack("<HH", 60000, 60000) + b"\0\0\0",
}


@pytest.mark.parametrize("kind", HUGE)
def test_oversized_header_is_refused_at_once_and_without_memory(kind: str) -> None:
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    tracemalloc.start()
    with pytest.raises(
        SourceError, match=r"^big .* pixels, more than the limit of 100,000,000 pixels; make it smaller"
    ):
        decode_image(HUGE[kind], name="big")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.process_time() - start < 0.5
    assert peak < 1_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


def test_oversized_png_states_its_size() -> None:
    with pytest.raises(SourceError, match=r"60,000 x 60,000 pixels"):
        decode_image(HUGE["png"], name="x")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tiff", ".gif"])
def test_limit_is_inclusive(suffix: str) -> None:
    if suffix == ".gif" and not HAS_GIF:
        pytest.skip("this OpenCV reads no GIF")
    data = encode(suffix, RGB)
    assert decode_image(data, name="x", max_pixels=11 * 17).shape == RGB.shape
    with pytest.raises(SourceError, match=r"17 x 11 pixels"):
        decode_image(data, name="x", max_pixels=11 * 17 - 1)


def test_extended_webp_states_its_size_exactly() -> None:
    with pytest.raises(SourceError, match=r"1 x 16,777,216 pixels"):
        decode_image(riff(vp8x(1, 1 << 24, 0)), name="x", max_pixels=1000)


def test_size_of_zero_is_damage() -> None:
    with pytest.raises(SourceError, match=r"damaged: its header says 0 x 5 pixels"):
        decode_image(png(0, 5, depth=8, colour=2, rows=b""), name="x")


# Broken files.


WHOLE = {suffix: encode(suffix, RNG.integers(0, 256, (40, 60, 3), np.uint8)) for suffix in (".jpg", ".png", ".bmp")}
WHOLE[".webp"] = lossless_webp(RGB)
WHOLE[".tiff"] = encode(".tiff", RGB)
WHOLE["big-endian.tif"] = tiff(RGB, order=">")
if HAS_GIF:
    WHOLE[".gif"] = encode(".gif", RGB)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("kind", WHOLE)
def test_truncated_file_is_named_truncated(kind: str, share: float, capfd: pytest.CaptureFixture[str]) -> None:
    data = WHOLE[kind]
    with pytest.raises(SourceError, match=r"^photo is truncated: .*; fetch or copy it again$"):
        decode_image(data[: int(len(data) * share)], name="photo")
    assert capfd.readouterr().err == ""


def test_truncated_jpeg_padded_with_zeros_is_truncated() -> None:
    data = WHOLE[".jpg"]
    with pytest.raises(SourceError, match="truncated"):
        decode_image(data[: len(data) // 2] + b"\0" * (len(data) // 2), name="x")


def test_truncated_jpeg_with_a_whole_thumbnail_is_truncated() -> None:
    data, thumbnail = WHOLE[".jpg"], encode(".jpg", RGB)
    block = b"Exif\0\0" + exif(1) + thumbnail
    with_thumbnail = data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]
    assert decode_image(with_thumbnail, name="x").shape == (40, 60, 3)
    with pytest.raises(SourceError, match="truncated"):
        decode_image(with_thumbnail[:-200], name="x")


@pytest.mark.parametrize("kind", [kind for kind in WHOLE if "tif" not in kind])
def test_trailing_bytes_do_no_harm(kind: str) -> None:
    whole = decode_image(WHOLE[kind], name="x")
    np.testing.assert_array_equal(decode_image(WHOLE[kind] + b"\0" * 100 + b"appended", name="x"), whole)


def test_png_with_a_wrong_checksum_is_damaged(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(WHOLE[".png"])
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(SourceError, match=r"^x is damaged: the checksum of a PNG chunk \(IDAT\)"):
        decode_image(bytes(data), name="x")
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not hasattr(cv2.utils, "logging"), reason="this OpenCV cannot be kept quiet")
def test_damage_only_the_decoder_sees_leaves_opencv_quiet_and_its_log_level_alone(
    capfd: pytest.CaptureFixture[str],
) -> None:
    level = cv2.utils.logging.getLogLevel()
    data = bytearray(tiff(RGB))
    at = data.index(struct.pack("<HHI", 259, 3, 1)) + 8
    data[at : at + 2] = struct.pack("<H", 7)  # says that the strip is a JPEG
    with pytest.raises(SourceError, match=r"^x is damaged, or of a kind OpenCV cannot decode"):
        decode_image(bytes(data), name="x")
    assert capfd.readouterr().err == ""
    assert cv2.utils.logging.getLogLevel() == level


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (
            b"hello, this is text\n",
            r"JPEG, PNG, WebP, BMP, TIFF, GIF, .*TGA\); it starts with the text 'hello, this is ",
        ),
        (b"\x00\x01\x02\x03", r"it starts with the bytes b'\\x00\\x01\\x02\\x03'"),
        (b"BM is how this text begins", r"it starts with the text 'BM is how"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", r"is a damaged HEIF file"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", r"is a damaged AVIF file"),
        (
            b"\0\0\0\x18ftypisom\0\0\0\0",
            r"is a video, not an image mien can read .*; export frames of it as JPEG or PNG",
        ),
        (b"\x1aE\xdf\xa3\x01\0", r"is a video"),
        (b"\n<!DOCTYPE html><html>", r"is a web page"),
        (b"%PDF-1.7", r"is a PDF"),
        (b"\xff\xd8\xff\xd9", r"damaged: a JPEG without an image"),
        (b"\xff\xd8\xff\xda\x00\x02\xff\xd9", r"damaged: a JPEG that does not state its size"),
        (b"GIF89a\x01\0\x01\0\0\0\0;", r"damaged: a GIF without an image"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rJUNK", r"damaged: the PNG header is missing"),
        (riff((b"JUNK", b"")), r"damaged: a WebP file without an image"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=r"^photo\.jpg .*" + message):
        decode_image(data, name="photo.jpg")


@given(data=st.data())
@settings(max_examples=400, deadline=None, derandomize=True, database=None)
def test_mutated_files_give_an_image_or_a_source_error(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(WHOLE)))
    bytes_ = bytearray(WHOLE[kind])
    place = st.one_of(st.integers(0, 80), st.integers(0, len(bytes_) - 1))
    for at in data.draw(st.lists(place, min_size=1, max_size=6)):
        bytes_[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        image = decode_image(bytes(bytes_), name="x", max_pixels=1_000_000)
    except SourceError as error:
        assert str(error).startswith("x ")
    else:
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3
        assert 0 < image.shape[0] * image.shape[1] <= 1_000_000


def test_decoding_from_eight_threads_is_the_same_as_from_one() -> None:
    jobs = [RGB, RGBA, GRAY, 255 - RGB] * 16
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda a: decode_image(encode(".png", a), name="x"), jobs))
    for i, image in enumerate(images):
        np.testing.assert_array_equal(image, images[i % 4])


# Paths, folders, globs.


def write(path: Path, image: NDArray[np.uint8] = RGB) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(".png" if path.suffix.lower() == ".png" else ".jpg", image))
    return path


def names(items: list[sources.Item], root: Path) -> list[str]:
    return [str(Path(item.name).relative_to(root)) for item in items]


def test_path_as_text_or_path(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png")
    for source in (path, str(path)):
        frame = read_image(source)
        np.testing.assert_array_equal(frame.image, RGB)
        assert (frame.source, frame.index, frame.time_s) == (str(path), 0, 0.0)


def test_extension_does_not_matter_for_a_named_file(tmp_path: Path) -> None:
    path = tmp_path / "image.dat"
    path.write_bytes(encode(".png", RGB))
    np.testing.assert_array_equal(read_image(path).image, RGB)


def test_folder_is_read_recursively_in_natural_order_without_hidden_and_other_files(tmp_path: Path) -> None:
    for name in ("frame10.jpg", "frame2.PNG", "b/x.JPEG", "b/.hidden.jpg", ".git/y.jpg", "B2.jpg", "b/c/z.tif"):
        write(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "folder.jpg").mkdir()
    items = expand(tmp_path)
    assert names(items, tmp_path) == ["b/c/z.tif", "b/x.JPEG", "B2.jpg", "frame2.PNG", "frame10.jpg"]
    assert len(list(read_items(items))) == 5


def test_globs(tmp_path: Path) -> None:
    for name in ("a1.jpg", "a10.jpg", "a2.jpg", "sub/a3.jpg", "sub/deep/a4.png", "b.txt"):
        write(tmp_path / name)
    assert names(expand(f"{tmp_path}/a*.jpg"), tmp_path) == ["a1.jpg", "a2.jpg", "a10.jpg"]
    assert names(expand(f"{tmp_path}/**/*.jpg"), tmp_path) == ["a1.jpg", "a2.jpg", "a10.jpg", "sub/a3.jpg"]
    everything = ["a1.jpg", "a2.jpg", "a10.jpg", "sub/a3.jpg", "sub/deep/a4.png"]
    assert names(expand(f"{tmp_path}/*"), tmp_path) == everything
    assert names(expand(f"{tmp_path}/**"), tmp_path) == everything
    assert names(expand(tmp_path / "a?.jpg"), tmp_path) == ["a1.jpg", "a2.jpg"]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path: Path) -> None:
    write(tmp_path / "photo[1].jpg")
    write(tmp_path / "photo1.jpg")
    assert names(expand(str(tmp_path / "photo[1].jpg")), tmp_path) == ["photo[1].jpg"]


def test_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "a.jpg")
    assert names(expand("~/a.jpg"), tmp_path) == ["a.jpg"]
    assert names(expand("~/*.jpg"), tmp_path) == ["a.jpg"]


def test_several_sources_keep_their_order_and_repeats(tmp_path: Path) -> None:
    b, a = write(tmp_path / "b.jpg"), write(tmp_path / "a.jpg")
    assert names(expand([b, a, str(b)]), tmp_path) == ["b.jpg", "a.jpg", "b.jpg"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.jpg", "does not exist; check the spelling"),
        ("present.jpg/inside.jpg", "does not exist"),
        ("empty", "is a folder without images"),
        ("*.png", "matches nothing"),
        ("*.txt", "matches 1 names, none of them an image"),
        ("a\0b", "cannot be opened"),
        ("x" * 5000, "cannot be opened: file name too long"),
    ],
)
def test_sources_without_an_image_are_one_failure_each(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("text")
    write(tmp_path / "present.jpg")
    source = str(tmp_path / name)
    (failed,) = read_frames(source)
    assert isinstance(failed, Failed)
    assert failed.source == source
    assert isinstance(failed.error, SourceError)
    assert str(failed.error).startswith(f"{shortened(source)} {message}")
    with pytest.raises(SourceError, match=message[:20]):
        read_image(source)


@pytest.mark.parametrize("source", ["", "  ", None, 3, {"a": 1}.keys])
def test_sources_of_no_known_kind_fail_with_the_kinds_there_are(source: object) -> None:
    (failed,) = read_frames([source])  # type: ignore[list-item]
    assert isinstance(failed, Failed)
    assert "pass a path" in str(failed.error)


@pytest.mark.parametrize("url", ["ftp://host/a.jpg", "file:///etc/passwd", "rtsp://user:secret@camera/1"])
def test_other_schemes_are_refused_without_repeating_a_password(url: str) -> None:
    (failed,) = read_frames(url)
    assert isinstance(failed, Failed)
    assert "only http, https and plain paths are read" in str(failed.error)
    assert "secret" not in str(failed.error) + failed.source


def test_urls_are_named_without_user_and_password() -> None:
    (item,) = expand("https://me:secret@example.org:81/a@b.jpg?x=@y")
    assert item.name == "https://example.org:81/a@b.jpg?x=@y"
    (plain,) = expand("HTTP://example.org")
    assert plain.name == "HTTP://example.org"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file_and_folder(tmp_path: Path) -> None:
    locked, folder = write(tmp_path / "locked.jpg"), write(tmp_path / "folder" / "a.jpg").parent
    locked.chmod(0)
    folder.chmod(0)
    results = list(read_frames(tmp_path))
    folder.chmod(0o700)
    assert [isinstance(result, Failed) for result in results] == [True, True]
    assert all("permission denied" in str(r.error) for r in results if isinstance(r, Failed))


def test_a_video_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with path.open("wb") as file:
        file.write(b"\0\0\0\x18ftypisom\0\0\0\0")
        file.truncate(1 << 40)
    with pytest.raises(SourceError, match=r"clip\.mp4 is a video, not an image"):
        read_image(path)


def test_a_file_larger_than_any_image_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "OVERHEAD_BYTES", 2000)
    path = tmp_path / "a.png"
    path.write_bytes(encode(".png", RGB) + b"\0" * 10_000)
    with pytest.raises(SourceError, match=r"a\.png is larger than 10,000 bytes, the most 1,000 pixels can need"):
        read_image(path, settings=SourceSettings(max_pixels=1000))


def test_a_device_without_end_is_refused() -> None:
    with pytest.raises(SourceError, match=r"^/dev/zero is not an image"):
        read_image("/dev/zero")


# Many at once.


def test_one_broken_file_in_a_thousand_costs_one_result(tmp_path: Path) -> None:
    data = encode(".png", RGB[:4, :4])
    for number in range(1000):
        (tmp_path / f"{number}.png").write_bytes(data if number != 500 else data[:40])
    items = expand(tmp_path)
    assert len(items) == 1000
    results = list(read_items(items))
    assert sum(isinstance(result, Frame) for result in results) == 999
    broken = results[500]
    assert isinstance(broken, Failed)
    assert broken.source == str(tmp_path / "500.png")
    assert str(broken.error).startswith(f"{broken.source} is truncated")


def test_arrays_bytes_and_bad_ones_side_by_side() -> None:
    floats = RGB / 255
    results = list(read_frames([RGB, encode(".png", GRAY), floats, b"", RGB[:0], floats * np.nan, GRAY]))
    assert [getattr(r, "source", None) for r in results] == [
        "array 0", "bytes 1", "array 2", "bytes 3", "array 4", "array 5", "array 6",
    ]  # fmt: skip
    assert isinstance(results[0], Frame)
    np.testing.assert_array_equal(results[0].image, RGB)
    assert isinstance(results[1], Frame)
    np.testing.assert_array_equal(results[1].image, np.dstack([GRAY] * 3))
    messages = [str(result.error) for result in results[2:] if isinstance(result, Failed)]
    assert messages[0].startswith("array 2: image must be (H, W, 3) uint8 RGB, got (11, 17, 3) float64")
    assert messages[1].startswith("bytes 3 is empty")
    assert "at least one pixel" in messages[2]
    assert "NaN" in messages[3]
    assert "repeat the gray channel" in messages[4]


def test_a_single_array_or_bytes_object_is_one_source() -> None:
    assert len(expand(RGB)) == len(expand(b"xyz")) == len(expand(bytearray(b"xyz"))) == 1
    np.testing.assert_array_equal(read_image(encode(".png", RGB)).image, RGB)
    with pytest.raises(InputError, match="array 0: image must be"):
        read_image(GRAY)


def test_sources_are_taken_only_as_their_images_are_asked_for() -> None:
    def endless():
        while True:
            yield RGB

    frames = read_frames(endless())
    assert [next(frames).source for _ in range(3)] == ["array 0", "array 1", "array 2"]


def test_ctrl_c_passes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sources, "decode_frame", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(read_frames(write(tmp_path / "a.jpg")))


def test_read_image_wants_exactly_one(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path).image, RGB)
    write(tmp_path / "b.png")
    with pytest.raises(SourceError, match=r"holds 2 images, and one is wanted; .*analyze_images\(\)"):
        read_image(tmp_path)


# Standard input.


class Piped(io.TextIOWrapper):
    def __init__(self, data: bytes, *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(data))
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Piped(encode(".png", RGB)))
    frame = read_image("-")
    assert frame.source == "-"
    np.testing.assert_array_equal(frame.image, RGB)
    with pytest.raises(SourceError, match=r"^standard input \(-\) is empty"):
        read_image("-")


@pytest.mark.parametrize("stdin", [Piped(b"", terminal=True), None])
def test_standard_input_that_is_a_terminal_or_closed(stdin: Piped | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(SourceError, match=r"pipe an image into it"):
        read_image("-")


def test_standard_input_of_a_process() -> None:
    program = "from mien.sources.images import read_image; print(read_image('-').image.sum())"
    done = subprocess.run(
        [sys.executable, "-c", program], input=encode(".png", RGB), capture_output=True, check=True, timeout=60
    )
    assert int(done.stdout) == int(RGB.sum())


def test_a_file_called_dash_is_reached_as_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").write_bytes(encode(".png", RGB))
    np.testing.assert_array_equal(read_image(Path("-")).image, RGB)


# Settings and import.


@pytest.mark.parametrize(
    "bad", [{"max_pixels": 0}, {"url_timeout_s": 0}, {"url_max_bytes": -1}, {"url_max_redirects": -1}]
)
def test_settings_out_of_range(bad: dict[str, int]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(bad))} must be"):
        SourceSettings(**bad)


def test_pixel_limit_reaches_the_decoder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"limit of 100 pixels"):
        load(expand(write(tmp_path / "a.png"))[0], settings=SourceSettings(max_pixels=100))


def test_import_loads_no_network_modules_and_leaves_opencv_alone() -> None:
    program = (
        "import sys, cv2, numpy; known = set(sys.modules); import mien.sources.images\n"
        "new = set(sys.modules) - known\n"
        "print(sorted(new & {'ssl', 'http.client', 'urllib.request', 'mien.sources._http', 'av'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
