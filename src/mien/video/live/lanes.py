"""The scrolling timeline of a live screen: a lane per person with the probabilities of the last seconds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mien.labels import EMOJI, canonical_name
from mien.output.draw.colours import WHITE, Colour, expression_colour
from mien.output.draw.layout import Rect
from mien.output.draw.letters import text_width
from mien.output.draw.paint import paint_emoji, paint_text
from mien.video.live._paint import DIM, TEXT_PX, fill, write_centred
from mien.video.live.history import GAP_S, SPAN_S, History, PersonHistory

LANE: Colour = (38, 41, 47)
TICK_S = 5.0


def paint_timeline(canvas: NDArray[np.uint8], history: History, area: Rect, px: int) -> None:
    """Draw a legend, then a lane per person with the stacked probabilities of the last seconds, then the seconds."""
    row, small = round(1.7 * px), max(TEXT_PX[0] - 1, round(0.85 * px))
    left = area.x + round(4.4 * px)
    lanes = Rect(left, area.y + row, area.x + area.w - round(0.8 * px) - left, area.h - row - round(1.5 * small))
    if history.labels:
        _paint_legend(canvas, history.labels.names, Rect(lanes.x, area.y, lanes.w, row), small)
    people = history.lanes(max(1, lanes.h // round(1.5 * px)))
    if len(people) < len(history.people):
        more = f"{len(history.people) - len(people)} more"
        end = lanes.x + lanes.w - text_width(more, small)
        paint_text(canvas, more, end, area.y + row / 2, small, DIM)
    if not people:
        fill(canvas, lanes, LANE)
        write_centred(canvas, "no face seen", lanes, px, DIM)
    gap = max(2, px // 5)
    height = (lanes.h + gap) / max(1, len(people))
    for place, (number, person) in enumerate(people):
        top = lanes.y + round(place * height)
        lane = lanes._replace(y=top, h=lanes.y + round((place + 1) * height) - gap - top)
        _paint_lane(canvas, history, person, lane)
        _paint_name(canvas, history, number, person, Rect(area.x, lane.y, left - area.x, lane.h), px)
    _paint_seconds(canvas, lanes, area.y + area.h - round(0.75 * small), small)


def _paint_lane(canvas: NDArray[np.uint8], history: History, person: PersonHistory, lane: Rect) -> None:
    names = history.labels.names if history.labels else ()
    colours = np.array([LANE, *(expression_colour(name) for name in names)], np.uint8)
    probs, seen = person.at(column_times(history.now_s, lane.w))
    levels = stacked(probs, lane.h)
    canvas[lane.y : lane.y + lane.h, lane.x : lane.x + lane.w] = colours[np.where(seen, levels + 1, 0)]


def column_times(now_s: float, width: int) -> NDArray[np.float64]:
    """Return the time of each column of a timeline, so that what is drawn moves by whole columns and does not shimmer.

    Args:
        now_s: The time of the last column or up to a column later, seconds.
        width: Columns.

    Returns:
        (width,) float64, seconds.
    """
    step = SPAN_S / width
    last = np.floor(now_s / step + 1e-6)
    times: NDArray[np.float64] = (last - np.arange(width - 1, -1, -1)) * step
    return times


def stacked(probs: NDArray[np.float32], height: int) -> NDArray[np.int64]:
    """Return which expression each pixel of a stacked chart shows; the first is at the bottom.

    Args:
        probs: (T, C) float32, rows sum to 1.
        height: Pixels that a probability of 1 takes.

    Returns:
        (height, T) int64, 0 to C - 1, the top row first.
    """
    tops = np.rint(np.cumsum(probs, axis=1)[:, :-1] * height).astype(np.int64)  # (T, C - 1)
    rows = np.arange(height - 1, -1, -1)
    levels = np.zeros((height, len(probs)), np.int64)
    for top in tops.T:
        levels += rows[:, None] >= top[None]
    return levels


def _paint_name(
    canvas: NDArray[np.uint8], history: History, number: int, person: PersonHistory, area: Rect, px: int
) -> None:
    """Write the number of a person, and the emoji of what is most probable now."""
    middle, side = area.y + area.h / 2, round(1.3 * px)
    present = history.now_s - person.last_s <= GAP_S
    text = f"#{number}"
    paint_text(canvas, text, area.x + round(0.5 * px), middle, px, WHITE if present else DIM)
    name = canonical_name(person.expression or "")
    x = area.x + area.w - side - round(0.4 * px)
    if present and name in EMOJI and area.h >= side and x > area.x + text_width(text, px) + round(0.6 * px):
        paint_emoji(canvas, name, x, round(middle - side / 2), side)


def _paint_legend(canvas: NDArray[np.uint8], names: Sequence[str], area: Rect, px: int) -> None:
    """Name the colours: with words where there is room, else with emoji."""
    mark, gap = round(0.8 * px), round(0.4 * px)
    words = [text_width(name, px) for name in names]
    icon = round(1.2 * px)
    spelt = sum(words) + len(names) * (mark + 4 * gap) <= area.w
    x, middle = area.x, area.y + area.h // 2
    for name, width in zip(names, words, strict=True):
        step = mark + gap + (width if spelt else icon) + (3 if spelt else 1) * gap
        if x + step - gap > area.x + area.w:
            return
        fill(canvas, Rect(x, middle - mark // 2, mark, mark), expression_colour(name))
        if spelt:
            paint_text(canvas, name, x + mark + gap, middle, px, DIM)
        elif canonical_name(name) in EMOJI:
            paint_emoji(canvas, canonical_name(name), x + mark + gap, middle - icon // 2, icon)
        x += step


def _paint_seconds(canvas: NDArray[np.uint8], lanes: Rect, middle: int, px: int) -> None:
    for ago in np.arange(0, SPAN_S + 1e-6, TICK_S):
        text = f"-{ago:.0f} s" if ago else "now"
        x = lanes.x + lanes.w - round(ago / SPAN_S * lanes.w)
        width = text_width(text, px)
        start = int(np.clip(x - width // 2, lanes.x, lanes.x + lanes.w - width))
        paint_text(canvas, text, start, middle, px, DIM)
        if 0 < ago < SPAN_S:
            column = canvas[lanes.y : lanes.y + lanes.h, x]
            column[:] = column // 4 * 3 + 40
