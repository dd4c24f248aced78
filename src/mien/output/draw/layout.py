"""Where tags and panels lie: out of one another's way, and inside the image."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Rect(NamedTuple):
    """A rectangle of whole pixels."""

    x: int
    y: int
    w: int
    h: int


def visible_part(xyxy: NDArray[np.float32], width: int, height: int) -> Rect | None:
    """Return the pixels of a box that lie in an image of this size; None where there are none."""
    x1, y1, x2, y2 = (float(v) for v in xyxy)
    if x1 >= width or y1 >= height or x2 < 0 or y2 < 0:
        return None
    left, top = round(max(x1, 0)), round(max(y1, 0))
    right, bottom = round(min(x2, width)), round(min(y2, height))
    left, top = min(left, width - 1), min(top, height - 1)
    return Rect(left, top, max(1, right - left), max(1, bottom - top))


class Layout:
    """What lies where on the image: the boxes of all faces, then the tags and panels drawn so far."""

    def __init__(self, boxes: Sequence[Rect], width: int, height: int) -> None:
        """Start with the boxes.

        Args:
            boxes: The boxes of all faces.
            width: Width of the image, pixels.
            height: Its height.
        """
        self.width, self.height = width, height
        self._faces = self._used = len(boxes)
        self._rects = np.zeros((5 * len(boxes), 4))  # a face has at most a box, a tag, its truth and two panels
        self._rects[: len(boxes)] = np.array(boxes, dtype=np.float64).reshape(-1, 4)

    def add(self, rect: Rect) -> None:
        """Remember a tag or panel."""
        self._rects[self._used] = rect
        self._used += 1

    def inside(self, spot: Rect) -> Rect:
        """Return the rectangle moved into the image."""
        return spot._replace(x=max(0, min(spot.x, self.width - spot.w)), y=max(0, min(spot.y, self.height - spot.h)))

    def best(self, spots: Sequence[Rect], number: int) -> tuple[Rect, float, float]:
        """Choose the spot that hides least.

        Args:
            spots: The possible places, all of one size, best liked first.
            number: Which face it is for; its own box may be covered rather than another.

        Returns:
            The place, the share of it that lies on tags and panels, and the share that lies on boxes.
        """
        shared = self._shared(spots) / (spots[0].w * spots[0].h)
        weight = np.full(self._used, 10.0)
        weight[: self._faces] = 1.0
        weight[number] = 0.6
        best = int(np.argmin(shared @ weight + 0.02 * np.arange(len(spots))))
        return spots[best], float(shared[best, self._faces :].sum()), float(shared[best, : self._faces].sum())

    def _shared(self, spots: Sequence[Rect]) -> NDArray[np.float64]:
        """Return (len(spots), used), the shared area in pixels."""
        one = np.array(spots, dtype=np.float64)[:, None]
        other = self._rects[None, : self._used]
        low = np.maximum(one[..., :2], other[..., :2])
        high = np.minimum(one[..., :2] + one[..., 2:], other[..., :2] + other[..., 2:])
        shared: NDArray[np.float64] = np.maximum(high - low, 0).prod(axis=-1)
        return shared
