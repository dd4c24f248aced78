"""How frames of a video are shown: turned, mirrored, and with pixels that are not square."""

import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import require_extra

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream

MOST_ASPECT = 5  # pixels longer than this are damage, not a format
MOST_PIXELS = 1 << 24  # a frame that would be larger is made square by making it smaller


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to show a frame: rows and columns exchanged first, then mirrored.

    Attributes:
        swapped: Whether rows and columns change places.
        left_right: Whether left and right do, after that.
        up_down: Whether top and bottom do, after that.
    """

    swapped: bool = False
    left_right: bool = False
    up_down: bool = False

    @property
    def mirrored(self) -> bool:
        """Whether text would read backwards without it."""
        return (self.swapped + self.left_right + self.up_down) % 2 == 1

    @property
    def rotation_deg(self) -> int:
        """The clockwise turn, before left and right change places where it is mirrored: 0, 90, 180 or 270."""
        if self.swapped:
            return 270 if self.up_down else 90
        return 180 if self.up_down else 0

    def upright(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the image as it is to be seen.

        Args:
            image: (H, W, 3) uint8, as stored.
        """
        shown = cv2.transpose(image) if self.swapped else image
        if self.left_right or self.up_down:
            shown = cv2.flip(shown, 0 if not self.left_right else -1 if self.up_down else 1)
        return np.ascontiguousarray(shown, dtype=np.uint8)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height of the upright image of a stored one."""
        return (height, width) if self.swapped else (width, height)


AS_STORED = Orientation()


def orientation_of(frame: "VideoFrame") -> Orientation:
    """Return how a frame is to be shown: its display matrix, rounded to the nearest of the eight ways.

    Args:
        frame: From the decoder.
    """
    kind = require_extra("video", "av.sidedata.sidedata").Type.DISPLAYMATRIX
    matrix: Any = frame.side_data.get(kind)
    return AS_STORED if matrix is None else of_matrix(bytes(matrix))


def of_matrix(matrix: bytes) -> Orientation:
    """Return the orientation that a display matrix asks for.

    The matrix (ISO/IEC 14496-12, 8.3.2; FFmpeg's `AV_FRAME_DATA_DISPLAYMATRIX`) moves the pixel at (x, y) to
    (a x + c y, b x + d y).

    Args:
        matrix: Nine int32 in the machine's order, rows a b u, c d v, x y w.
    """
    if len(matrix) != 36:
        return AS_STORED
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix)
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(swapped=True, left_right=c < 0, up_down=b < 0)
    return Orientation(left_right=a < 0, up_down=d < 0)


def pixel_aspect_of(stream: "VideoStream") -> float:
    """Return width over height of a stored pixel; 1.0 where nothing, or nothing possible, is said.

    Args:
        stream: Open.
    """
    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
    return float(aspect) if 1 / MOST_ASPECT <= aspect <= MOST_ASPECT else 1.0


def square_size(width: int, height: int, pixel_aspect: float) -> tuple[int, int]:
    """Return the size at which a stored frame has square pixels: no smaller, unless it would be very large.

    Args:
        width: As stored.
        height: As stored.
        pixel_aspect: Width over height of a stored pixel.
    """
    wide = pixel_aspect > 1
    stretch = pixel_aspect if wide else 1 / pixel_aspect
    if width * height * stretch > MOST_PIXELS:
        wide, stretch = not wide, 1 / stretch
    return (max(1, _near(width * stretch)), height) if wide else (width, max(1, _near(height * stretch)))


def _near(value: float) -> int:
    return math.floor(value + 0.5)
