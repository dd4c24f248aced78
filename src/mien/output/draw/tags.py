"""Tags with emoji, expression and percentage, and those that say the truth."""

import numpy as np
from numpy.typing import NDArray

from mien.output.draw.colours import TRUTH_COLOUR, Colour, ink_on
from mien.output.draw.layout import Layout, Rect
from mien.output.draw.letters import shortened, text_width
from mien.output.draw.marks import Mark, sprite_name
from mien.output.draw.paint import paint_emoji, paint_panel, paint_text
from mien.output.draw.style import DrawStyle


def draw_tag(canvas: NDArray[np.uint8], mark: Mark, style: DrawStyle, layout: Layout, number: int) -> None:
    """Draw the longest tag that has room; none where even the shortest is larger than the image."""
    choices: list[tuple[float, Rect, str]] = []
    sprite = sprite_name(mark.expression, style)
    for words in _wordings(mark, style):
        w, h = _tag_size(words, mark.text_px, sprite)
        if w > layout.width or h > layout.height:
            continue
        spot, hidden, _ = layout.best(_tag_spots(mark, w, h, layout), number)
        choices.append((hidden, spot, words))
        if hidden == 0:
            break
    if choices:
        _, spot, words = min(choices, key=lambda choice: choice[0])
        _paint_tag(canvas, spot, mark.colour, mark.text_px, words, sprite)
        layout.add(spot)


def draw_truth(canvas: NDArray[np.uint8], mark: Mark, style: DrawStyle, layout: Layout, number: int) -> None:
    """Draw the actual expression as a gray tag, where there is room for it."""
    if mark.truth is None:
        return
    words, sprite = f"truth: {shortened(mark.truth, 24)}", sprite_name(mark.truth, style)
    w, h = _tag_size(words, mark.text_px, sprite)
    if w <= layout.width and h <= layout.height:
        spot, _, _ = layout.best(_tag_spots(mark, w, h, layout, stacked=1), number)
        _paint_tag(canvas, spot, TRUTH_COLOUR, mark.text_px, words, sprite)
        layout.add(spot)


def _wordings(mark: Mark, style: DrawStyle) -> list[str]:
    """Return what a tag may say, the fullest first; an empty text leaves the emoji alone."""
    prefix, name, confidence = mark.number, mark.expression, mark.confidence
    if name is None or confidence is None:
        score = f"{mark.face.score:.2f}"
        return [f"{prefix}face {score}", f"{prefix}{score}", score]
    short = shortened(name, 24)
    words = [prefix + short, short]
    if style.percent:
        words.insert(0, f"{prefix}{short} {confidence:.0%}")
    return [*words, ""] if sprite_name(name, style) else words


def _tag_size(words: str, px: int, sprite: str | None) -> tuple[int, int]:
    """Return width and height."""
    if not words:
        return round(1.7 * px), round(1.7 * px)
    text = text_width(words, px)
    return round((0.25 + 1.3 + 0.3) * px + text + 0.5 * px) if sprite else round(text + 1.1 * px), round(1.7 * px)


def _tag_spots(mark: Mark, w: int, h: int, layout: Layout, *, stacked: int = 0) -> list[Rect]:
    """Return places for a tag: above and below the box where there is room, inside it, beside it.

    With `stacked`, there are more above and below those, so that a second tag lies beside the first.
    """
    x, y, box_w, box_h = mark.box
    gap = max(1, round(0.2 * mark.text_px))
    edge = mark.line_px + gap
    right, above, below, step = x + box_w - w, y - h - gap, y + box_h + gap, h + gap
    outside = [(left, above - n * step) for n in range(stacked + 1) for left in (x, right)]
    outside += [(left, below + n * step) for n in range(stacked + 1) for left in (x, right)]
    places = [(left, top) for left, top in outside if 0 <= top <= layout.height - h]
    places += [(x + edge, y + edge), (x + edge, y + box_h - h - edge), (x - w - gap, y), (x + box_w + gap, y)]
    places += [(x + edge, y + edge + n * step) for n in range(1, stacked + 1)]
    return [layout.inside(Rect(left, top, w, h)) for left, top in places]


def _paint_tag(canvas: NDArray[np.uint8], spot: Rect, colour: Colour, px: int, words: str, sprite: str | None) -> None:
    paint_panel(canvas, spot, colour, 0.94, radius=0.3 * spot.h)
    x = spot.x + round(0.5 * px)
    if sprite:
        side = round(1.3 * px)
        x = spot.x + (round(0.25 * px) if words else (spot.w - side) // 2)
        paint_emoji(canvas, sprite, x, spot.y + (spot.h - side) // 2, side)
        x += side + round(0.3 * px)
    if words:
        paint_text(canvas, words, x, spot.y + spot.h / 2, px, ink_on(colour))
