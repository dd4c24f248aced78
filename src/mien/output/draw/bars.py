"""A panel beside a face with a bar for every expression."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.output.draw.colours import DARK, WHITE, expression_colour
from mien.output.draw.layout import Layout, Rect
from mien.output.draw.letters import shortened, text_width
from mien.output.draw.marks import Mark, sprite_name
from mien.output.draw.paint import paint_emoji, paint_panel, paint_text
from mien.output.draw.style import DrawStyle

MIN_BARS_PX = 8
PANEL_OPACITY = 0.8


class Panel(NamedTuple):
    """Sizes of a panel of bars, pixels."""

    px: int
    row: int
    pad: int
    icon: int
    name: int
    bar: int
    number: int

    @property
    def width(self) -> int:
        """Width of the whole panel."""
        parts = [part for part in (self.icon, self.name, self.bar, self.number) if part]
        return 2 * self.pad + sum(parts) + self.px // 2 * (len(parts) - 1)


def draw_bars(canvas: NDArray[np.uint8], mark: Mark, style: DrawStyle, layout: Layout, number: int) -> None:
    """Draw a bar for every expression beside the face, as large as hides nothing if possible."""
    probs = mark.face.probs if mark.face.smoothed is None else mark.face.smoothed
    if probs is None or mark.face.labels is None:
        return
    names = mark.face.labels.names
    choices: list[tuple[float, Rect, Panel]] = []
    for panel in _panels(names, mark.text_px, style, layout):
        spot, on_tags, on_boxes = layout.best(_panel_spots(mark.box, panel, len(names), layout), number)
        choices.append((on_tags + on_boxes, spot, panel))
        if on_tags + on_boxes == 0:
            break
    if choices:
        _, spot, panel = min(choices, key=lambda choice: choice[0])
        paint_panel(canvas, spot, DARK, PANEL_OPACITY, radius=0.5 * panel.px)
        for row, (name, p) in enumerate(zip(names, probs, strict=True)):
            _paint_row(canvas, panel, spot.x + panel.pad, spot.y + panel.pad + row * panel.row, name, float(p), style)
        layout.add(spot)


def _panel_spots(box: Rect, panel: Panel, rows: int, layout: Layout) -> list[Rect]:
    x, y, box_w, box_h = box
    w, h = panel.width, 2 * panel.pad + panel.row * rows
    gap = max(2, panel.px // 2)
    after, before, low = x + box_w + gap, x - w - gap, y + box_h - h
    beneath, above, right = y + box_h + gap, y - h - gap, x + box_w - w
    corners = [(after, y), (before, y), (after, low), (before, low)]
    corners += [(x, beneath), (x, above), (right, beneath), (right, above)]
    return [layout.inside(Rect(left, top, w, h)) for left, top in corners]


def _panels(names: Sequence[str], text_px: int, style: DrawStyle, layout: Layout) -> Iterator[Panel]:
    """Yield the largest panel that fits the image: whole, without words, without words and numbers."""
    imaged = [sprite_name(name, style) is not None for name in names]
    spelt = not all(imaged)
    for words, bar, numbers in ((True, 5, True), (spelt, 3, True), (spelt, 3, False)):
        for px in range(max(MIN_BARS_PX, round(0.88 * text_px)), MIN_BARS_PX - 1, -1):
            name = max(text_width(shortened(name, 16), px) for name in names) if words else 0
            number = text_width("100%", px) if numbers else 0
            icon = round(1.2 * px) if any(imaged) else 0
            panel = Panel(px, round(1.5 * px), round(0.6 * px), icon, name, bar * px, number)
            height = 2 * panel.pad + panel.row * len(names)
            if panel.width <= 0.7 * layout.width and height <= 0.96 * layout.height:
                yield panel
                break


def _paint_row(canvas: NDArray[np.uint8], panel: Panel, x: int, y: int, name: str, p: float, style: DrawStyle) -> None:
    gap, middle = panel.px // 2, y + panel.row / 2
    if panel.icon:
        sprite = sprite_name(name, style)
        if sprite:
            paint_emoji(canvas, sprite, x, round(middle - panel.icon / 2), panel.icon)
        else:
            side = round(0.6 * panel.icon)
            dot = Rect(x + (panel.icon - side) // 2, round(middle - side / 2), side, side)
            paint_panel(canvas, dot, expression_colour(name), 1.0, radius=side / 2)
        x += panel.icon + gap
    if panel.name:
        paint_text(canvas, shortened(name, 16), x, middle, panel.px, WHITE)
        x += panel.name + gap
    thick = max(3, round(0.5 * panel.px))
    track = Rect(x, round(middle - thick / 2), panel.bar, thick)
    paint_panel(canvas, track, (96, 100, 108), 0.6, radius=thick / 2)
    filled = round(p * panel.bar)
    if filled:
        paint_panel(canvas, track._replace(w=filled), expression_colour(name), 1.0, radius=min(thick, filled) / 2)
    if not panel.number:
        return
    percent = f"{p:.0%}"
    end = x + panel.bar + gap + panel.number
    paint_text(canvas, percent, end - text_width(percent, panel.px), middle, panel.px, WHITE)
