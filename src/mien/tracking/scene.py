"""What changes from one frame of a video to the next: cuts, and places where something new may have come into view.

Both work on a tiny gray copy of the frame, sampled so that its cost does not grow with the frame. Cuts compare local
contrast, which a flash or a fade leaves as it is, at the best of many shifts, which undoes a pan.
"""

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.faces import Floats
from mien.planes import Pixels, Planes
from mien.tracking._changed import changed

WIDTH, HEIGHT = 64, 48
OVERSAMPLING = 4
MAX_SHIFT = (12, 9)  # cells (x, y): how far a pan may go from one frame to the next
CONTRAST_SIGMA, CONTRAST_FLOOR = 4.0, 4.0
FLAT_STD = 8.0  # gray levels: below it a frame is black, white or all fog, and says nothing about the scene
WHITE, MOST_WHITE = 248.0, 0.5  # share of saturated cells above which it says nothing, either
ALIKE = 0.6  # similarity without any shift that needs no closer look
HISTOGRAM_BINS = (8, 8, 8)

# Measured between photos: 99% of 456 cuts have a lower similarity and total (similarity and shared colours); fewer than
# 1% of as many images with noise, a pan or zoom of 15% or a flash do.
CUT_SIMILARITY, CUT_TOTAL = 0.42, 1.02

CHANGE_LEVELS = 12.0  # gray levels by which a cell must differ, beyond what the whole image does
EDGE_SHARE = 0.5  # of the contrast around a cell, by which it may differ besides: a camera that shakes moves edges
NEARLY_WHITE = 235.0  # cells that cannot grow brighter with the rest
NEWS_CELLS = 3  # changed cells, near one another, that may be a new face
NEARBY_CELLS = 5  # changes that are closer together are one piece of news
NEWS_MARGIN = 0.25
PERSON = (-0.5, -0.5, 0.5, 1.5)  # in widths and heights of a known face: what moves with it

Part = tuple[int, int, int, int]  # left, top, right, bottom, pixels


@dataclass(frozen=True)
class Glance:
    """A tiny copy of a frame, with what comparisons need, made when first asked for.

    Attributes:
        pixels: (48, 64, 3) uint8 RGB.
    """

    pixels: NDArray[np.uint8]

    @cached_property
    def gray(self) -> Floats:
        """(48, 64) float32 gray levels."""
        return np.asarray(cv2.cvtColor(self.pixels, cv2.COLOR_RGB2GRAY), np.float32)

    @cached_property
    def flat(self) -> bool:
        """Whether the frame shows next to nothing: black, white, saturated by a flash."""
        white = cv2.countNonZero((self.gray >= WHITE).view(np.uint8))
        return float(cv2.meanStdDev(self.gray)[1][0, 0]) < FLAT_STD or white > MOST_WHITE * WIDTH * HEIGHT

    @cached_property
    def edges(self) -> Floats:
        """(48, 64) float32: gray levels between the darkest and the brightest of a cell and its neighbours."""
        around = np.ones((3, 3), np.uint8)
        return np.asarray(cv2.dilate(self.gray, around) - cv2.erode(self.gray, around), np.float32)

    @cached_property
    def contrast(self) -> Floats:
        """(48, 64) float32: how much brighter a cell is than its surroundings, in units of their variation."""
        above = self.gray - cv2.GaussianBlur(self.gray, (0, 0), CONTRAST_SIGMA)
        spread = np.sqrt(cv2.GaussianBlur(above * above, (0, 0), CONTRAST_SIGMA))
        return np.asarray(above / (spread + CONTRAST_FLOOR), np.float32)

    @cached_property
    def colours(self) -> Floats:
        """(512,) float32 shares of the colours; sums to 1."""
        channels = [cv2.cvtColor(self.pixels, cv2.COLOR_RGB2YCrCb)]
        counts = cv2.calcHist(channels, [0, 1, 2], None, HISTOGRAM_BINS, [0, 256] * 3)
        colours: Floats = (counts.ravel() / (WIDTH * HEIGHT)).astype(np.float32)
        return colours

    def to_json(self) -> str:
        """Return the pixels as text."""
        return base64.b85encode(zlib.compress(self.pixels.tobytes())).decode()

    @classmethod
    def from_json(cls, value: str) -> Self:
        """Read what `to_json` wrote."""
        pixels = np.frombuffer(zlib.decompress(base64.b85decode(value)), np.uint8)
        return cls(pixels.reshape(HEIGHT, WIDTH, 3))


def glance(image: Pixels) -> Glance:
    """Return the tiny copy of a frame.

    Args:
        image: (H, W, 3) uint8 RGB, or planes.
    """
    size = (WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING)
    if isinstance(image, Planes):
        sampled = image.sampled(*size)
    else:
        sampled = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    return Glance(np.asarray(cv2.resize(sampled, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8))


def similarity(first: Glance, second: Glance) -> float:
    """Return the correlation of two frames' local contrast at the best shift, -1 to 1.

    Args:
        first: One frame.
        second: Another.
    """
    before, now = first.contrast, second.contrast
    norm = float(np.sqrt((before * before).sum() * (now * now).sum()))
    still = float((before * now).sum()) / max(norm, 1e-6)
    if still >= ALIKE:
        return still
    x, y = MAX_SHIFT
    shifted = cv2.matchTemplate(now, before[y : HEIGHT - y, x : WIDTH - x], cv2.TM_CCORR_NORMED)
    return max(still, float(shifted.max()))


def is_cut(first: Glance, second: Glance) -> bool:
    """Return whether a cut lies between two frames.

    Args:
        first: The last frame that showed something.
        second: The present frame.
    """
    alike = similarity(first, second)
    if alike >= CUT_SIMILARITY:
        return False
    return alike + float(np.minimum(first.colours, second.colours).sum()) < CUT_TOTAL


@dataclass(frozen=True)
class News:
    """A place where something as large as a face changed.

    Attributes:
        cells: Left, top, right, bottom of what changed, in cells of the tiny copy.
        part: The same with a margin, in pixels of the frame and within it: where to search.
    """

    cells: Part
    part: Part


def news(reference: Glance, now: Glance, xyxy: Floats, size: tuple[int, int]) -> list[News]:
    """Return the places of the frame in which something as large as a face changed, apart from the known people.

    A change of the whole image's brightness is no news.

    Args:
        reference: What every cell looked like when faces were last searched there.
        now: The present frame.
        xyxy: (N, 4) float32 boxes of the known faces, pixels of the frame.
        size: (width, height) of the frame, pixels.

    Returns:
        One for each group of changed cells; none where there is no news.
    """
    difference = now.gray - reference.gray
    change = np.abs(difference - _median(difference)) - EDGE_SHARE * reference.edges
    new = (change > CHANGE_LEVELS).view(np.uint8)
    if cv2.countNonZero(new) < NEWS_CELLS:
        return []
    new[np.maximum(now.gray, reference.gray) >= NEARLY_WHITE] = 0
    for left, top, right, bottom in _cells(xyxy, size).tolist():
        new[top:bottom, left:right] = 0
    if cv2.countNonZero(new) < NEWS_CELLS:
        return []
    around = cv2.dilate(new, np.ones((NEARBY_CELLS, NEARBY_CELLS), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(around, connectivity=8)
    cells = np.bincount(labels.ravel(), new.ravel(), count)
    return [_news(stats[i], size) for i in range(1, count) if cells[i] >= NEWS_CELLS]


def _median(cells: Floats) -> Floats:
    """Return what `numpy.median` does of an even number of cells, in a third of the time."""
    middle = cells.size // 2
    ordered = np.partition(cells.ravel(), (middle - 1, middle))
    return np.asarray((ordered[middle - 1] + ordered[middle]) / 2, np.float32)


def _news(stats: NDArray[np.int32], size: tuple[int, int]) -> News:
    """Return what encloses a group of changed cells."""
    low, high = stats[:2], stats[:2] + stats[2:4]
    cell = np.array([size[0] / WIDTH, size[1] / HEIGHT])
    margin = NEWS_MARGIN * (high - low) * cell
    left, top = np.maximum(np.floor(low * cell - margin), 0).astype(int).tolist()
    right, bottom = np.minimum(np.ceil(high * cell + margin), size).astype(int).tolist()
    return News((*low.tolist(), *high.tolist()), (left, top, right, bottom))


def _cells(xyxy: Floats, size: tuple[int, int]) -> NDArray[np.int64]:
    """Return (N, 4) ranges of cells that belong to the faces."""
    people = xyxy + np.array(PERSON, np.float32) * np.tile(xyxy[:, 2:] - xyxy[:, :2], 2)
    scale = np.array([WIDTH / size[0], HEIGHT / size[1]])
    low = np.floor(people[:, :2] * scale)
    high = np.ceil(people[:, 2:] * scale)
    limit = np.array([WIDTH, HEIGHT])
    return np.concatenate([np.clip(low, 0, limit), np.clip(high, 0, limit)], axis=1).astype(np.int64)


@dataclass(frozen=True)
class SceneMemory:
    """What is kept of a video to notice changes.

    Attributes:
        last: The last frame that showed something, None before the first.
        searched: What every cell looked like when faces were last searched there.
    """

    last: Glance | None = None
    searched: Glance | None = None

    def is_cut(self, now: Glance) -> bool:
        """Return whether a cut lies before a frame; a black or white one never begins a scene.

        Args:
            now: The frame.
        """
        return self.last is not None and not now.flat and is_cut(self.last, now)

    def after(self, now: Glance) -> Self:
        """Return the memory after a frame.

        Args:
            now: The frame.
        """
        return self if now.flat else changed(self, last=now)

    def looked_at(self, now: Glance, news: Sequence[News]) -> Self:
        """Return the memory after faces were searched in some places of a frame.

        Args:
            now: The frame.
            news: The places; their margins do not count, a face there may be cut off.
        """
        if self.searched is None:
            return self
        pixels = self.searched.pixels.copy()
        for left, top, right, bottom in (n.cells for n in news):
            pixels[top:bottom, left:right] = now.pixels[top:bottom, left:right]
        return changed(self, searched=Glance(pixels))

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            name: None if g is None else g.to_json() for name, g in (("last", self.last), ("searched", self.searched))
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(*(None if value[name] is None else Glance.from_json(value[name]) for name in ("last", "searched")))
