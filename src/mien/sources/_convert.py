"""What a decoder gives → what stages take: planes where they are of the common kind, else RGB."""

import functools
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import require_extra
from mien.planes import Image, Pixels, Planes
from mien.sources._upright import AS_STORED, orientation_of, square_size

if TYPE_CHECKING:
    from av import VideoFrame

PLANAR = ("yuv420p", "yuvj420p", "nv12")
FULL_RANGE = 2  # AVCOL_RANGE_JPEG
BT601, BT709 = (104597, 132201, 25675, 53279), (117489, 138438, 13975, 34925)
WEIGHTS = {  # by AVColorSpace: what FFmpeg takes of the chroma, in 65536ths: red of V, blue of U, green of U and of V
    0: BT601, 1: BT709, 2: BT601, 4: (104448, 132798, 24759, 53109), 5: BT601, 6: BT601,
    7: (117579, 136230, 16907, 35559), 9: (110013, 140363, 12277, 42626),
}  # fmt: skip


class FrameConverter:
    """Makes upright images with square pixels of decoded frames. Safe to share between threads."""

    def __init__(self) -> None:
        """Start without any of FFmpeg's converters: each thread makes its own, which takes longer than using it."""
        self._new = require_extra("video", "av.video.reformatter").VideoReformatter
        self._of_thread = threading.local()
        self._colours: dict[tuple[str, int, int], PlaneColours] = {}

    def as_decoded(self, frame: "VideoFrame") -> "VideoFrame":
        """Return a frame from a graphics card as the processor would have decoded it: its chroma in two planes.

        The numbers are the same, and so is then what is made of them.

        Args:
            frame: NV12; others stay as they are.
        """
        return frame.reformat(format="yuv420p") if frame.format.name == "nv12" else frame

    def pixels(self, frame: "VideoFrame", pixel_aspect: float) -> Pixels:
        """Return the planes of a frame, turned but never scaled; RGB where planes would not do.

        Planes are those of 8-bit 4:2:0 video with even sides and square pixels in a known colour space: nearly all
        video. Where they lie as they are to be seen, they are views of what the decoder holds.

        Args:
            frame: From the decoder.
            pixel_aspect: Width over height of its pixels.
        """
        planes = _planes(frame)
        if planes is None or square_size(frame.width, frame.height, pixel_aspect) != (frame.width, frame.height):
            return self.rgb(frame, pixel_aspect)
        orientation = orientation_of(frame)
        if orientation != AS_STORED:
            planes = [orientation.upright(plane) for plane in planes]
        y, *chroma = planes
        return Planes(y, tuple(chroma), self._colours_of(frame), partial(self.rgb, frame, pixel_aspect))

    def rgb(self, frame: "VideoFrame", pixel_aspect: float) -> NDArray[np.uint8]:
        """Return the upright image with square pixels, (H, W, 3) uint8 RGB; what is transparent shows white.

        Args:
            frame: From the decoder.
            pixel_aspect: Width over height of its pixels.
        """
        alpha = _has_alpha(frame)
        size = square_size(frame.width, frame.height, pixel_aspect)
        array = self.reformat(frame, size, "rgba" if alpha else "rgb24")
        return orientation_of(frame).upright(over_white(array) if alpha else array)

    def reformat(self, frame: "VideoFrame", size: tuple[int, int], kind: str) -> NDArray[np.uint8]:
        """Return a frame as an array of another size and kind of pixels.

        Args:
            frame: From the decoder, or like one.
            size: (width, height), pixels.
            kind: FFmpeg's name of the pixels.
        """
        convert: Any = getattr(self._of_thread, "convert", None)
        if convert is None:
            convert = self._of_thread.convert = self._new()
        array: NDArray[np.uint8] = convert.reformat(frame, *size, kind, threads=1).to_ndarray()
        return array

    def _colours_of(self, frame: "VideoFrame") -> "PlaneColours":
        key = frame.format.name, int(frame.colorspace), int(frame.color_range)
        if key not in self._colours:
            self._colours[key] = PlaneColours(self, *key)
        return self._colours[key]


class PlaneColours:
    """What the numbers of planes mean; FFmpeg makes colours of them, as of a whole frame."""

    def __init__(self, converter: FrameConverter, kind: str, space: int, levels: int) -> None:
        """Note what a frame says of itself.

        Args:
            converter: Converts parts.
            kind: FFmpeg's name of the pixels.
            space: Number of the colour space (`AVColorSpace`).
            levels: Number of the range of levels (`AVColorRange`).
        """
        self._converter, self._kind, self._space, self._levels = converter, kind, space, levels
        self._tables = tables_of(space, full=kind.startswith("yuvj") or levels == FULL_RANGE)

    def of_part(self, part: Planes) -> Image:
        """Return the (H, W, 3) uint8 RGB image of a part of a frame, by way of a small frame of FFmpeg's."""
        height, width, _ = part.shape
        frame = require_extra("video", "av").VideoFrame(width, height, self._kind)
        frame.colorspace, frame.color_range = self._space, self._levels
        for stored, plane in zip(frame.planes, (part.y, *part.chroma), strict=True):
            rows = plane.reshape(len(plane), -1) if plane.ndim == 3 else plane
            np.frombuffer(stored, np.uint8).reshape(-1, stored.line_size)[: len(rows), : rows.shape[1]] = rows
        return self._converter.reformat(frame, (width, height), "rgb24")

    def of_points(self, y: Image, chroma: tuple[Image, ...]) -> Image:
        """Return the (H, W, 3) uint8 RGB image of points of a frame."""
        u, v = chroma if len(chroma) == 2 else cv2.split(chroma[0])
        luma, red_v, green_u, green_v, blue_u = self._tables
        light = cv2.LUT(y, luma)
        green = cv2.add(cv2.LUT(u, green_u), cv2.LUT(v, green_v))
        sums = (cv2.add(light, shift, dtype=cv2.CV_8U) for shift in (cv2.LUT(v, red_v), green, cv2.LUT(u, blue_u)))
        return np.asarray(cv2.merge(list(sums)), np.uint8)


@functools.cache
def tables_of(space: int, *, full: bool) -> tuple[NDArray[np.int16], ...]:
    """Return what each number of luma and chroma adds to the colours, as FFmpeg's x86 code rounds it.

    Elsewhere FFmpeg rounds otherwise, by about one level (libswscale, `ff_yuv2rgb_c_init_tables` and `yuv_2_rgb.asm`).

    Args:
        space: A key of `WEIGHTS`.
        full: Whether black is 0 and white 255, else 16 and 235.

    Returns:
        Five (256,) int16: of the luma to all colours, of V to red, of U and of V to green, of U to blue.
    """
    red, blue, green_u, green_v = WEIGHTS[space]
    scale, black = (1 << 16, 0) if full else ((255 << 16) // 219, 16)
    if full:
        red, blue, green_u, green_v = (weight * 224 // 255 for weight in (red, blue, green_u, green_v))
    level, centred = 8 * (np.arange(256) - black), 8 * (np.arange(256) - 128)
    tables = [level * _thirteen_bits(scale)]
    tables += [centred * _thirteen_bits(weight) for weight in (red, -green_u, -green_v, blue)]
    return tuple((table >> 16).astype(np.int16) for table in tables)


def _thirteen_bits(weight: int) -> int:
    return (weight * (1 << 13) + (1 << 15)) >> 16


def _planes(frame: "VideoFrame") -> list[Image] | None:
    """Return luma and chroma of a frame as it is stored; None where they are not of the common kind."""
    width, height = frame.width, frame.height
    if frame.format.name not in PLANAR or width % 2 or height % 2 or int(frame.colorspace) not in WEIGHTS:
        return None
    y, *chroma = frame.planes
    if min(plane.line_size for plane in frame.planes) <= 0:
        return None
    if len(chroma) == 1:  # NV12: the two by turns
        return [_rows(y, height, width), _rows(chroma[0], height // 2, width).reshape(height // 2, width // 2, 2)]
    return [_rows(y, height, width), *(_rows(plane, height // 2, width // 2) for plane in chroma)]


def _rows(plane: Any, height: int, width: int) -> Image:
    stored = np.frombuffer(plane, np.uint8)
    return np.lib.stride_tricks.as_strided(stored, (height, width), (plane.line_size, 1), writeable=False)


def _has_alpha(frame: "VideoFrame") -> bool:
    return frame.format.name in ("rgba", "bgra", "argb", "abgr", "yuva420p", "yuva444p", "ya8", "pal8", "gbrap")


def over_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay an image with transparency on white.

    Args:
        rgba: (H, W, 4) uint8.

    Returns:
        (H, W, 3) uint8.
    """
    alpha = rgba[..., 3:].astype(np.uint16)
    if alpha.min() == 255:
        return np.ascontiguousarray(rgba[..., :3])
    mixed = (rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return mixed.astype(np.uint8)
