"""Videos made of images: files in a row, animated WebP."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, SourceError
from mien.sources._convert import over_white
from mien.sources._decode import MAX_PIXELS, decode_image
from mien.sources._frames import Problems, RawFrame, VideoInfo, broken_off, check_frame_size, is_an_image

UNSAID_DURATION_S = 0.1  # of a WebP frame that gives none; browsers take the same
NUMBER = re.compile(r"%0?(\d*)d")


# Files in a row -------------------------------------------------------------------------------------------------------


def numbered_files(pattern: Path) -> list[Path]:
    """Return the files that a pattern like `frame%04d.png` stands for, by their number.

    Args:
        pattern: A path with one `%d` or `%04d` in its last part.

    Raises:
        SourceError: There is none.
    """
    before, after = NUMBER.split(pattern.name)[0], NUMBER.split(pattern.name)[-1]
    wanted = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    try:
        found = [(wanted.fullmatch(path.name), path) for path in pattern.parent.iterdir()]
    except OSError:
        found = []
    files = sorted((int(match[1]), path) for match, path in found if match)
    if not files:
        raise SourceError(f"{pattern} matches no file; check the folder and the name before the number")
    return [path for _, path in files]


class ImagesReader:
    """Image files as the frames of a video with a constant rate."""

    def __init__(
        self, files: list[Path], name: str, fps: float, problems: Problems, max_pixels: int = MAX_PIXELS
    ) -> None:
        """Read the first image.

        Args:
            files: In their order; at least one.
            name: Of the video, for people.
            fps: Frames per second.
            problems: Takes a warning for each image that cannot be read.
            max_pixels: Largest image.

        Raises:
            SourceError: None of the images can be read.
        """
        self._files, self._fps, self._problems, self._max_pixels = files, fps, problems, max_pixels
        image = next(self._readable(files), None)
        if image is None:
            raise SourceError(f"{name}: none of its {len(files)} images can be read; check the files")
        codec = files[0].suffix.lower().lstrip(".") or "images"
        self.info = VideoInfo(name, image.shape[1], image.shape[0], len(files) / fps, len(files), fps, codec)

    def _readable(self, files: list[Path]) -> Iterator[NDArray[np.uint8]]:
        for path in files:
            try:
                yield _read_image(path, self._max_pixels)
            except InputError:
                continue

    def frames(self, start_s: float) -> Iterator[RawFrame]:
        """Yield the images.

        Args:
            start_s: Images before this time are not read, but for the last one of them.
        """
        first = max(0, int(start_s * self._fps) - 1)
        for index, path in enumerate(self._files[first:], first):
            try:
                image = _read_image(path, self._max_pixels)
            except InputError as error:
                self._problems.note(str(error))
                continue
            yield RawFrame(index, index / self._fps, partial(_same, image))


def _read_image(path: Path, max_pixels: int) -> NDArray[np.uint8]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}; check its permissions") from error
    return decode_image(data, name=str(path), max_pixels=max_pixels)


def _same(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image


# Animated WebP --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _WebPFrame:
    """One frame of an animated WebP: an image that covers part of the canvas."""

    x: int
    y: int
    width: int
    height: int
    duration_s: float
    blends: bool
    clears: bool
    chunks: bytes


class WebPReader:
    """Animated WebP, which FFmpeg does not decode: each frame is unpacked into a WebP image of its own."""

    def __init__(self, data: bytes, name: str, problems: Problems, max_pixels: int = MAX_PIXELS) -> None:
        """Read the table of contents.

        Args:
            data: The file.
            name: Of the video, for people.
            problems: Takes a warning for each frame that cannot be decoded.
            max_pixels: Largest canvas.

        Raises:
            SourceError: It is damaged, too large or a still image.
        """
        if not is_animated_webp(data):
            raise is_an_image(name)
        self._name, self._problems = name, problems
        self._width, self._height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        check_frame_size(name, self._width, self._height, max_pixels)
        self._parts = list(_parts(data))
        self._whole = len(data) >= int.from_bytes(data[4:8], "little") + 8
        if not self._parts:
            raise SourceError(f"{name} holds no frame that can be decoded; check the file")
        count, length_s = len(self._parts), sum(part.duration_s for part in self._parts)
        self.info = VideoInfo(name, self._width, self._height, length_s, count, count / length_s, "webp")

    def frames(self, start_s: float) -> Iterator[RawFrame]:
        """Yield all frames; `start_s` saves nothing, because each frame is drawn over the last.

        Args:
            start_s: Frames before this time are of no interest.

        Raises:
            SourceError: The file is cut off; all that it holds came before.
        """
        canvas = np.full((self._height, self._width, 3), 255, np.uint8)
        time_s = 0.0
        for index, part in enumerate(self._parts):
            if self._draw(canvas, part, time_s):
                yield RawFrame(index, time_s, partial(_same, canvas.copy()))
            if part.clears:
                canvas[part.y : part.y + part.height, part.x : part.x + part.width] = 255
            time_s += part.duration_s
        if not self._whole:
            raise broken_off(self._name, time_s, "its last part is cut")

    def _draw(self, canvas: NDArray[np.uint8], part: _WebPFrame, time_s: float) -> bool:
        place = canvas[part.y : part.y + part.height, part.x : part.x + part.width]
        image = cv2.imdecode(np.frombuffer(_as_still(part), np.uint8), cv2.IMREAD_UNCHANGED)
        if image is None or image.shape[:2] != place.shape[:2]:
            self._problems.note(f"{self._name}: a frame at {time_s:.2f} s cannot be decoded")
            return False
        if image.shape[2] == 3:
            place[:] = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            return True
        rgba = cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA).astype(np.uint8)
        place[:] = _over(rgba, place) if part.blends else over_white(rgba)
        return True


def is_animated_webp(head: bytes) -> bool:
    """Whether a file starts as an animated WebP does.

    Args:
        head: At least its first 30 bytes.
    """
    return len(head) >= 30 and head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20] & 2)


def _parts(data: bytes) -> Iterator[_WebPFrame]:
    """Yield the complete frames (https://developers.google.com/speed/webp/docs/riff_container)."""
    for kind, body in _chunks(data, 12):
        if kind == b"ANMF" and len(body) > 16:
            x, y, width, height, milliseconds = (int.from_bytes(body[at : at + 3], "little") for at in range(0, 15, 3))
            seconds = milliseconds / 1000 or UNSAID_DURATION_S
            blends, clears = not body[15] & 2, bool(body[15] & 1)
            yield _WebPFrame(2 * x, 2 * y, width + 1, height + 1, seconds, blends, clears, body[16:])


def _chunks(data: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of each complete RIFF chunk."""
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + size > len(data):
            return
        yield kind, data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _as_still(part: _WebPFrame) -> bytes:
    """Return a frame as a WebP file; one with an alpha channel beside its image needs the extended header."""
    kinds = [kind for kind, _ in _chunks(part.chunks, 0)]
    size = chain.from_iterable((v - 1).to_bytes(3, "little") for v in (part.width, part.height))
    head = b"VP8X" + struct.pack("<IB3x", 10, 0x10) + bytes(size) if b"ALPH" in kinds else b""
    body = b"WEBP" + head + part.chunks
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def _over(rgba: NDArray[np.uint8], below: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8: an image with transparency on another."""
    alpha = rgba[..., 3:].astype(np.uint16)
    mixed = (rgba[..., :3] * alpha + below * (255 - alpha) + 127) // 255
    return mixed.astype(np.uint8)
