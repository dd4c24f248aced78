"""The parts of a live screen, and what paints rectangles and text on them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.output.draw.colours import DARK, Colour
from mien.output.draw.layout import Rect
from mien.output.draw.letters import text_width
from mien.output.draw.paint import paint_text

DIM: Colour = (168, 173, 181)
TEXT_PX = (11, 20)
PANEL_OPACITY = 0.78


class Places(NamedTuple):
    """Where the parts of a screen are; a part without room has no height."""

    image: Rect
    timeline: Rect
    status: Rect
    px: int


def part_of(canvas: NDArray[np.uint8], spot: Rect) -> NDArray[np.uint8]:
    """Return the pixels of a place that lie on the canvas."""
    return canvas[max(0, spot.y) : max(0, spot.y + spot.h), max(0, spot.x) : max(0, spot.x + spot.w)]


def fill(canvas: NDArray[np.uint8], spot: Rect, colour: Colour) -> None:
    part_of(canvas, spot)[:] = colour


def shade(canvas: NDArray[np.uint8], spot: Rect, opacity: float = PANEL_OPACITY) -> None:
    part = part_of(canvas, spot)
    part[:] = np.rint(part * (1 - opacity) + np.array(DARK) * opacity).astype(np.uint8)


def write_centred(canvas: NDArray[np.uint8], text: str, area: Rect, px: int, colour: Colour) -> None:
    x = area.x + (area.w - text_width(text, px)) // 2
    paint_text(canvas, text, x, area.y + area.h / 2, px, colour)
