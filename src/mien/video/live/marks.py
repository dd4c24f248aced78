"""What a live screen says: the status line, marks on the image, and the keys."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.output.draw.colours import DARK, WHITE, Colour
from mien.output.draw.layout import Rect
from mien.output.draw.letters import text_width
from mien.output.draw.paint import paint_text
from mien.video.live._paint import DIM, Places, fill, shade

HELP = (
    ("q  Esc", "quit"),
    ("space", "pause, go on"),
    ("s", "save a snapshot"),
    ("r", "record: start, stop"),
    ("l", "next label set"),
    ("b", "bars: all probabilities"),
    ("m", "mirror"),
    ("h", "this help"),
)
RED: Colour = (232, 58, 52)
STALE_S = 1.0  # an image older than this is said to be old


@dataclass(frozen=True)
class Status:
    """What the status line and the marks say.

    Attributes:
        source: Name of the camera, stream or video.
        labels: Key of the label set.
        fps: Frames shown per second, or None before the second frame.
        delay_ms: From capture to screen, milliseconds, or None before the first frame.
        dropped: Frames left out so that the newest could be shown.
        recording_s: Length of the recording, seconds; None while there is none.
        paused: Whether the image stands still.
        message: What has just happened, or an empty text.
        silent_s: For how long no frame has come, seconds.
    """

    source: str = ""
    labels: str = ""
    fps: float | None = None
    delay_ms: float | None = None
    dropped: int = 0
    recording_s: float | None = None
    paused: bool = False
    message: str = ""
    silent_s: float = 0.0


def paint_status(canvas: NDArray[np.uint8], status: Status, faces: int, area: Rect, px: int) -> None:
    """Write the figures from the left and the label set from the right; what has no room is left out, last first."""
    fill(canvas, area, DARK)
    middle, x, gap = area.y + area.h / 2, area.x + round(0.6 * px), round(1.5 * px)
    hint = f"{status.labels}   h: help" if status.labels else "h: help"
    end = area.x + area.w - round(0.6 * px)
    for text, colour in _figures(status, faces):
        width = text_width(text, px)
        if x + width > end:
            return
        paint_text(canvas, text, x, middle, px, colour)
        x += width + gap
    if x + text_width(hint, px) <= end:
        paint_text(canvas, hint, end - text_width(hint, px), middle, px, DIM)


def _figures(status: Status, faces: int) -> Iterator[tuple[str, Colour]]:
    if status.fps is not None:
        yield f"{status.fps:.1f} frames/s", WHITE
    if status.delay_ms is not None:
        yield f"delay {status.delay_ms:.0f} ms", WHITE
    yield "1 face" if faces == 1 else f"{faces} faces", DIM
    yield f"{status.dropped} dropped", DIM


def paint_marks(canvas: NDArray[np.uint8], status: Status, places: Places) -> None:
    """Say on the image that it is recorded, paused or old, and what has just happened."""
    area, px = places.image, places.px
    if status.recording_s is not None:
        _paint_recording(canvas, status.recording_s, area, px)
    if status.paused:
        _paint_paused(canvas, area, px)
    if status.message:
        _paint_note(canvas, status.message, area, px, 0.9)
    elif status.silent_s > STALE_S and not status.paused:
        _paint_note(canvas, f"no image for {status.silent_s:.0f} s", area, px, 0.9)


def _paint_recording(canvas: NDArray[np.uint8], seconds: float, area: Rect, px: int) -> None:
    text = f"REC {length_text(seconds)}"
    w, h = text_width(text, px) + round(2.6 * px), 2 * px
    spot = Rect(area.x + area.w - w - px, area.y + px, w, h)
    if spot.x < area.x or spot.y + h > area.y + area.h:
        spot = Rect(max(area.x, area.x + area.w - w), area.y, w, h)
    shade(canvas, spot)
    middle = spot.y + h // 2
    cv2.circle(canvas, (spot.x + px, middle), max(2, round(0.4 * px)), RED, cv2.FILLED, cv2.LINE_AA)
    paint_text(canvas, text, spot.x + round(1.9 * px), middle, px, WHITE)


def _paint_paused(canvas: NDArray[np.uint8], area: Rect, px: int) -> None:
    text = "paused"
    w, h = text_width(text, px) + round(3 * px), 2 * px
    spot = Rect(area.x + px, area.y + px, w, h)
    if spot.x + w > area.x + area.w or spot.y + h > area.y + area.h:
        spot = Rect(area.x, area.y, w, h)
    shade(canvas, spot)
    bar, top = max(2, round(0.28 * px)), spot.y + (h - round(0.9 * px)) // 2
    for x in (round(0.7 * px), round(0.7 * px) + 2 * bar):
        fill(canvas, Rect(spot.x + x, top, bar, round(0.9 * px)), WHITE)
    paint_text(canvas, text, spot.x + round(2.3 * px), spot.y + h // 2, px, WHITE)


def _paint_note(canvas: NDArray[np.uint8], text: str, area: Rect, px: int, height: float) -> None:
    """Write a line on a dark panel in the middle of the lower image; a long one is shortened at its start."""
    room = max(0, area.w - 2 * px)
    while text_width(text, px) > room and len(text) > 1:
        text = "…" + text[2:]
    w, h = text_width(text, px) + 2 * px, 2 * px
    spot = Rect(area.x + (area.w - w) // 2, area.y + max(0, min(round(height * area.h), area.h - h) - px), w, h)
    shade(canvas, spot)
    paint_text(canvas, text, spot.x + px, spot.y + h // 2, px, WHITE)


def paint_help(canvas: NDArray[np.uint8], places: Places) -> None:
    """Lay the keys over the middle of the window, smaller where it is small; a tiny one has no room for them."""
    height, width = canvas.shape[:2]
    for px in range(places.px, 7, -1):
        keys = max(text_width(key, px) for key, _ in HELP)
        w, h = keys + max(text_width(what, px) for _, what in HELP) + 5 * px, round((1.7 * len(HELP) + 2) * px)
        if w <= width and h <= height:
            break
    else:
        return
    spot = Rect((width - w) // 2, max(0, (places.image.h - h) // 2), w, h)
    shade(canvas, spot, 0.95)
    for row, (key, what) in enumerate(HELP):
        middle = spot.y + px + round(1.7 * (row + 0.5) * px)
        paint_text(canvas, key, spot.x + round(1.5 * px), middle, px, WHITE)
        paint_text(canvas, what, spot.x + round(3.5 * px) + keys, middle, px, DIM)


def length_text(seconds: float) -> str:
    """Return a length as minutes and seconds, `3:07`, or with hours, `1:03:07`."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
