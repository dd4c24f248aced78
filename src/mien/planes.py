"""Frames as decoders give them: planes of luma and chroma, which become RGB piece by piece, where a stage asks.

A stage that knows where a face is reads a small part of a frame; to make the whole frame RGB first may take as long as
to decode it. So such a stage takes `Pixels`, planes or an RGB array, and asks for the piece it needs. A piece is the
same, to the last bit, as that part of the RGB image: what is found does not depend on how a frame is held.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
PIECES = 8  # of a frame that are kept as RGB, with the frame


class Colours(Protocol):
    """How the numbers of planes become colours; made by what decodes them."""

    def of_part(self, part: "Planes") -> Image:
        """Return the (H, W, 3) uint8 RGB image of a part of a frame."""
        ...

    def of_points(self, y: Image, chroma: tuple[Image, ...]) -> Image:
        """Return the (H, W, 3) uint8 RGB image of points of a frame, each with luma and chroma of its own."""
        ...


class Planes:
    """A frame, or a part of one, with one chroma pixel for two by two of luma; sides are even. Nobody changes it.

    Attributes:
        y: (H, W) uint8 luma.
        chroma: Two (H/2, W/2) uint8, blue against yellow and red against green; or one (H/2, W/2, 2) of both.
        colours: What the numbers mean.
    """

    __slots__ = ("_pieces", "_whole", "chroma", "colours", "y")

    def __init__(
        self, y: Image, chroma: tuple[Image, ...], colours: Colours, whole: Callable[[], Image] | None = None
    ) -> None:
        """Take planes.

        Args:
            y: As the attribute; may be a view of what a decoder holds.
            chroma: As the attribute.
            colours: As the attribute.
            whole: Makes the RGB image of all of it; None where these are a part of a frame.
        """
        self.y, self.chroma, self.colours, self._whole = y, chroma, colours, whole
        self._pieces: deque[tuple[int, int, int, int, Image]] = deque(maxlen=PIECES)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of the RGB image."""
        height, width = self.y.shape
        return height, width, 3

    def rgb(self) -> Image:
        """Return the (H, W, 3) uint8 RGB image."""
        return self._whole() if self._whole else self.colours.of_part(self)

    def part(self, left: int, top: int, right: int, bottom: int) -> "Planes":
        """Return a part, without copying it; all corners are even."""
        half = slice(top // 2, bottom // 2), slice(left // 2, right // 2)
        return Planes(self.y[top:bottom, left:right], tuple(plane[half] for plane in self.chroma), self.colours)

    def piece(self, left: int, top: int, right: int, bottom: int) -> tuple[int, int, Image]:
        """Return a part as RGB, with its left and top: that asked for, or a larger one that somebody asked for before.

        The crop of a face lies within what the detector has just looked at.
        """
        for known in tuple(self._pieces):
            if known[0] <= left and known[1] <= top and known[2] >= right and known[3] >= bottom:
                return known[0], known[1], known[4]
        image = self.part(left, top, right, bottom).rgb()
        self._pieces.append((left, top, right, bottom, image))
        return left, top, image

    def sampled(self, width: int, height: int) -> Image:
        """Return single points, evenly spread: what OpenCV's resampling by the nearest pixel makes of the RGB image.

        Args:
            width: Of the result, (height, width, 3) uint8 RGB.
            height: Of the result.
        """
        size = (width, height)
        y, *chroma = (cv2.resize(p, size, interpolation=cv2.INTER_NEAREST) for p in (self.y, *self.chroma))
        return self.colours.of_points(np.asarray(y, np.uint8), tuple(np.asarray(p, np.uint8) for p in chroma))

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to other processes as an RGB image."""
        return np.asarray, (self.rgb(),)


Pixels = Image | Planes


def part_around(image: Pixels, left: int, top: int, right: int, bottom: int) -> tuple[int, int, Image]:
    """Return a part of an image as RGB: that asked for, or of planes up to a pixel more on a side.

    Args:
        image: Planes, or (H, W, 3) uint8 RGB, of which the part is a view.
        left: From 0.
        top: From 0.
        right: More than `left`, at most the width.
        bottom: More than `top`, at most the height.

    Returns:
        Where its left and top really are, and the part.
    """
    if not isinstance(image, Planes):
        return left, top, image[top:bottom, left:right]
    first, upper, right, bottom = left - left % 2, top - top % 2, right + right % 2, bottom + bottom % 2
    left, top, piece = image.piece(first, upper, right, bottom)
    part = slice(upper - top, bottom - top), slice(first - left, right - left)
    return first, upper, piece[part]


def part_of(image: Pixels, left: int, top: int, right: int, bottom: int) -> Image:
    """Return exactly the part asked for as RGB, contiguous; see `part_around`."""
    first, upper, part = part_around(image, left, top, right, bottom)
    return np.ascontiguousarray(part[top - upper : bottom - upper, left - first : right - first])


def rgb_of(image: Pixels) -> Image:
    """Return the whole RGB image.

    Args:
        image: Planes, or (H, W, 3) uint8 RGB, which is returned itself.
    """
    return image.rgb() if isinstance(image, Planes) else image
