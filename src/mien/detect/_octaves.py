"""One image in halving sizes, and bilinear samples of boxes from the size that fits: fast and free of aliasing."""

import math

import cv2
import numpy as np

from mien.faces import Floats
from mien.planes import Image, Pixels, part_around

REMAP_LIMIT_PX = 32767  # cv2.remap refuses longer sides of source and result
GRAY = (128, 128, 128)  # what lies beyond the border


class Octaves:
    """An image at full, half, quarter… size, each made when first needed. Belongs to one thread."""

    def __init__(self, image: Image) -> None:
        """Start with the full size.

        Args:
            image: (H, W, 3) uint8.
        """
        self._images = [image]
        self.height, self.width = image.shape[:2]

    def at(self, octave: int) -> Image:
        """Return the image halved `octave` times, or as often as leaves a pixel in both directions."""
        while len(self._images) <= octave:
            last = self._images[-1]
            height, width = last.shape[:2]
            if min(height, width) < 2:
                return last
            self._images.append(_resize(last, width // 2, height // 2))
        return self._images[octave]

    def scaled(self, width: int, height: int) -> Image:
        """Return the image at a smaller size, resampled from the smallest octave that is not smaller.

        Args:
            width: Wanted width, pixels, at most that of the image.
            height: Wanted height, pixels, at most that of the image.
        """
        octave = int(np.log2(max(1.0, min(self.width / width, self.height / height))))
        while octave and (self.at(octave).shape[0] < height or self.at(octave).shape[1] < width):
            octave -= 1  # an odd side was rounded down
        return _resize(self.at(octave), width, height)

    def sample(self, squares: Floats, size: int, *, sharp: bool = False) -> Image:
        """Return the content of square boxes at one size, by bilinear interpolation; gray beyond the border.

        Args:
            squares: (N, 4) float32 boxes, pixels of the full image.
            size: Side of the result, pixels.
            sharp: Take an octave of twice the size, where there is one: sharper, with some aliasing.

        Returns:
            (N, size, size, 3) uint8.
        """
        crops = np.empty((len(squares), size, size, 3), np.uint8)
        fit = 2 * size if sharp else size
        octave = np.array([self.fitting(side, fit) for side in (squares[:, 2] - squares[:, 0]).tolist()], np.int64)
        for number in np.unique(octave):
            chosen = np.flatnonzero(octave == number)
            crops[chosen] = _sample(self.at(int(number)), squares[chosen], size, (self.width, self.height))
        return crops

    def fitting(self, side: float, size: int) -> int:
        """Return the octave in which a box is at least `size` pixels wide and less than twice that.

        Args:
            side: Of the box, pixels of the full image.
            size: Pixels.
        """
        lowest = math.ceil(math.log2(max(1.0, max(self.width, self.height) / (REMAP_LIMIT_PX - 1))))
        highest = int(math.log2(min(self.width, self.height)))
        octave = int(math.log2(max(side, 1.0) / size))
        return max(lowest, min(octave, highest))


def sample_near(image: Pixels, squares: Floats, size: int, *, sharp: bool = False) -> Image:
    """Do what `Octaves(image).sample` does while reducing only what lies around each box, never the whole image.

    For a few boxes in a large image this is many times faster; the results differ by rounding.

    Args:
        image: (H, W, 3) uint8, or planes.
        squares: (N, 4) float32 boxes, pixels of the image.
        size: Side of the result, pixels.
        sharp: As for `Octaves.sample`.

    Returns:
        (N, size, size, 3) uint8.
    """
    crops = np.empty((len(squares), size, size, 3), np.uint8)
    for number, square in enumerate(squares):
        left, top, part = _surroundings(image, square.tolist(), size)
        octaves = Octaves(part)
        octave = octaves.fitting(float(square[2] - square[0]), 2 * size if sharp else size)
        inside = square - np.array([left, top] * 2, np.float32)
        crops[number] = _sample(octaves.at(octave), inside[None], size, (octaves.width, octaves.height))[0]
    return crops


def _surroundings(image: Pixels, square: list[float], size: int) -> tuple[int, int, Image]:
    """Return left, top and the part of the image that samples of a square may touch, on the grid of its octave."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = square
    grid = 2 ** int(math.log2(max(1.0, (x2 - x1) / size)))
    left = min(max(int((x1 // grid - 2) * grid), 0), width - 1)
    top = min(max(int((y1 // grid - 2) * grid), 0), height - 1)
    right = min(max(int((x2 // grid + 3) * grid), left + 1), width)
    bottom = min(max(int((y2 // grid + 3) * grid), top + 1), height)
    return part_around(image, left, top, right, bottom)


def _resize(image: Image, width: int, height: int) -> Image:
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _sample(image: Image, squares: Floats, size: int, full: tuple[int, int]) -> Image:
    height, width = image.shape[:2]
    place = (np.arange(size, dtype=np.float32) + 0.5) / size
    side = squares[:, 2:] - squares[:, :2]
    x = (squares[:, :1] + side[:, :1] * place) * (
        width / full[0]
    ) - 0.5  # cv2 counts from the centre of the first pixel
    y = (squares[:, 1:2] + side[:, 1:] * place) * (height / full[1]) - 0.5
    shape = (len(squares), size, size)
    map_x = np.broadcast_to(x[:, None, :], shape).reshape(-1, size)
    map_y = np.broadcast_to(y[:, :, None], shape).reshape(-1, size)
    sampled = cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=GRAY)
    return np.asarray(sampled, np.uint8).reshape(*shape, 3)
