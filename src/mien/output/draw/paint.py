"""Panels, lines, text and emoji laid over an image."""

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.output.draw.colours import Colour
from mien.output.draw.layout import Rect
from mien.output.draw.letters import bearing_px, sprite, text_mask

Pixel = TypeVar("Pixel", np.uint8, np.float32)

SHIFT = 4  # fractional bits of the coordinates that OpenCV draws at
_ANGLES = np.pi + np.linspace(0, np.pi / 2, 9) + np.arange(4)[:, None] * np.pi / 2
ARCS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=-1)  # quarter circles, clockwise from top left


def paint_panel(canvas: NDArray[np.uint8], rect: Rect, colour: Colour, opacity: float, *, radius: float) -> None:
    """Lay a filled rounded rectangle over the image."""
    mask = np.zeros((rect.h, rect.w), np.uint8)
    corners = rounded(0, 0, rect.w - 1, rect.h - 1, min(radius, (min(rect.w, rect.h) - 1) / 2)).reshape(-1, 2)
    fixed = np.rint(corners * 2**SHIFT).astype(np.int32)
    cv2.fillConvexPoly(mask, fixed, round(255 * opacity), cv2.LINE_AA, SHIFT)
    _paint_mask(canvas, mask, rect.x, rect.y, colour)


def rounded(x1: float, y1: float, x2: float, y2: float, radius: float) -> NDArray[np.float64]:
    """Return the corners of a rounded rectangle, (4, 9, 2), nine points each, clockwise from top left."""
    centres = np.array(
        [[x1 + radius, y1 + radius], [x2 - radius, y1 + radius], [x2 - radius, y2 - radius], [x1 + radius, y2 - radius]]
    )
    corners: NDArray[np.float64] = centres[:, None] + radius * ARCS
    return corners


def draw_line(
    canvas: NDArray[np.uint8], points: NDArray[np.float64], colour: Colour, thickness: int, *, closed: bool
) -> None:
    """Draw a line through points, (N, 2) in pixels."""
    fixed = np.rint(points * 2**SHIFT).astype(np.int32)
    cv2.polylines(canvas, [fixed], closed, colour, thickness, cv2.LINE_AA, SHIFT)


def paint_text(canvas: NDArray[np.uint8], text: str, x: int, middle: float, px: int, colour: Colour) -> None:
    """Write one line of text on an image.

    Args:
        canvas: (H, W, 3) uint8 RGB; changed.
        text: The text; characters that are not on the sheet become `?`.
        x: Where it starts, pixels.
        middle: Where the middle of the line is, pixels from the top.
        px: Size, pixels to the em.
        colour: RGB, 0-255.
    """
    mask = text_mask(text, px)
    _paint_mask(canvas, mask, round(x - bearing_px(px)), round(middle - mask.shape[0] / 2), colour)


def _paint_mask(canvas: NDArray[np.uint8], mask: NDArray[np.uint8], x: int, y: int, colour: Colour) -> None:
    """Blend one colour into the image, as much as `mask` (h, w) uint8 says."""
    area, inside = _crop(canvas, mask, x, y)
    if area.size:
        opacity = cv2.merge([inside] * 3)
        paint = cv2.multiply(np.full_like(area, colour), opacity, scale=1 / 255)
        area[:] = cv2.add(paint, cv2.multiply(area, 255 - opacity, scale=1 / 255))


def paint_emoji(canvas: NDArray[np.uint8], name: str, x: int, y: int, side: int) -> None:
    """Lay the emoji of an expression on an image.

    Args:
        canvas: (H, W, 3) uint8 RGB; changed.
        name: A key of `mien.labels.EMOJI`.
        x: Left edge, pixels.
        y: Upper edge, pixels.
        side: Width and height, pixels.
    """
    area, emoji = _crop(canvas, sprite(name, side), x, y)
    area[:] = np.rint(area * (1 - emoji[..., 3:]) + emoji[..., :3]).clip(0, 255).astype(np.uint8)


def _crop(canvas: NDArray[np.uint8], patch: NDArray[Pixel], x: int, y: int) -> tuple[NDArray[np.uint8], NDArray[Pixel]]:
    """Return the pixels of the image under a patch, and the part of the patch that lies on the image."""
    height, width = canvas.shape[:2]
    x1, y1 = max(0, x), max(0, y)
    x2, y2 = max(x1, min(width, x + patch.shape[1])), max(y1, min(height, y + patch.shape[0]))
    return canvas[y1:y2, x1:x2], patch[max(0, y1 - y) : max(0, y2 - y), max(0, x1 - x) : max(0, x2 - x)]
