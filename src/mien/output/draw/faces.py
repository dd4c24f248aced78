"""Boxes, tags with emoji, landmarks, probability bars and blurred faces, drawn on a copy of an image.

The letters are Inter SemiBold and the emoji Noto Color Emoji, both under the SIL Open Font License 1.1, kept as small
sheets in this folder so that drawing needs neither a font engine nor a font on the machine.
"""

import colorsys
import json
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.faces import Face, Faces, check_image
from mien.labels import COLOURS, EMOJI, canonical_name

Colour = tuple[int, int, int]
Pixel = TypeVar("Pixel", np.uint8, np.float32)

FACE_COLOUR: Colour = (38, 166, 154)  # a face whose expression is not known
DARK: Colour = (24, 26, 30)
WHITE: Colour = (255, 255, 255)
TRUTH_COLOUR: Colour = (206, 209, 213)  # lighter than neutral, so that the two are not taken for each other

MIN_TEXT_PX = 11  # below this the letters of a tag cannot be told apart
MIN_BARS_PX = 8
TEXT_PER_FACE, TEXT_PER_IMAGE = 0.16, (0.010, 0.034)
LINE_PER_FACE, LINE_PER_IMAGE = 0.022, (0.002, 0.006)
PANEL_OPACITY = 0.8
BLUR_CELLS = 6
BLUR_MARGIN = 0.12
SHIFT = 4  # fractional bits of the coordinates that OpenCV draws at
ARMS = tuple(np.array(step) for step in ((0, -1), (1, 0), (0, 1), (-1, 0)))  # up, right, down, left
_ANGLES = np.pi + np.linspace(0, np.pi / 2, 9) + np.arange(4)[:, None] * np.pi / 2
ARCS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=-1)  # quarter circles, clockwise from top left


@dataclass(frozen=True)
class DrawStyle:
    """What is drawn for each face.

    Attributes:
        box: The box.
        tag: The tag with emoji, expression and percentage (without probabilities: the detector's score).
        emoji: The emoji in tags and bars.
        percent: The percentage in tags.
        ids: The track number in tags, where the faces have one.
        landmarks: The five points, where the faces have them.
        bars: A panel beside the face with a bar for every expression of the label set.
        blur: Make faces unrecognisable; the box drawn is blurred, with a margin.
        scale: Factor on the size of letters and lines, 0.25 to 8; 1 suits the image and the face.
    """

    box: bool = True
    tag: bool = True
    emoji: bool = True
    percent: bool = True
    ids: bool = True
    landmarks: bool = False
    bars: bool = False
    blur: bool = False
    scale: float = 1.0

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0.25 <= self.scale <= 8:
            raise InputError(f"scale must be 0.25 to 8, got {self.scale}; 1 is the ordinary size")


PLAIN = DrawStyle()


class Rect(NamedTuple):
    """A rectangle of whole pixels."""

    x: int
    y: int
    w: int
    h: int


def draw_faces(
    image: NDArray[np.uint8], faces: Faces, *, style: DrawStyle = PLAIN, truth: Sequence[str | None] = ()
) -> NDArray[np.uint8]:
    """Draw faces and their expressions on a copy of an image.

    Faces of a video show their steady expression and the smoothed probabilities, which do not flicker; others those of
    the image itself. Sizes follow the image and the face. Tags stay inside the image and out of one another's
    way where there is room, and lose first their percentage, then their words, where there is not. Letters are Latin;
    others become `?`.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        faces: The faces, pixels of `image`; those wholly outside it are left out.
        style: What to draw.
        truth: The actual expression of each face, None where it is not known: a gray tag beside the other. Empty where
            nothing is known at all.

    Returns:
        (H, W, 3) uint8 RGB, a new array; equal to `image` where there is no face.

    Raises:
        InputError: `image` is not (H, W, 3) uint8, or `truth` has another length than `faces`.
    """
    canvas = np.array(check_image(image), order="C")
    marks = list(_marks(canvas, faces, style, _truth_of(faces, truth)))
    if style.blur:
        for mark in marks:
            blur_part(canvas, image, mark.box)
    for mark in marks:
        _draw_outline(canvas, mark, style)
    layout = Layout([mark.box for mark in marks], canvas.shape[1], canvas.shape[0])
    for part, wanted in ((_draw_tag, style.tag), (_draw_truth, any(truth)), (_draw_bars, style.bars)):
        for number, mark in enumerate(marks if wanted else ()):
            part(canvas, mark, style, layout, number)
    return canvas


def _truth_of(faces: Faces, truth: Sequence[str | None]) -> Sequence[str | None]:
    if truth and len(truth) != len(faces):
        raise InputError(f"truth must name one expression (or None) per face: {len(faces)}, got {len(truth)}")
    return truth or [None] * len(faces)


def shown_expression(face: Face) -> tuple[str | None, float | None]:
    """Return the expression to show and its probability: the steady one of a video, else that of the image.

    Args:
        face: The face.

    Returns:
        Both None before the expression model has run.
    """
    if face.steady is not None and face.smoothed is not None:
        return face.steady_expression, float(face.smoothed[face.steady])
    return face.expression, face.confidence


def expression_colour(name: str) -> Colour:
    """Return the colour of an expression, the same on every run.

    Args:
        name: The expression; names mien does not know get a colour of their own.

    Returns:
        RGB, 0-255 each.
    """
    known = canonical_name(name)
    if known in COLOURS:
        return COLOURS[known]
    hue = zlib.crc32(known.encode("utf-8", "replace")) * 0.6180339887 % 1  # golden ratio: neighbours fall far apart
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.62, 0.74)
    return round(red * 255), round(green * 255), round(blue * 255)


def contrast_ratio(one: Colour, other: Colour) -> float:
    """Return how well two colours can be told apart, 1 to 21 (WCAG 2.2, contrast ratio).

    Args:
        one: RGB, 0-255.
        other: RGB, 0-255.
    """
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def ink_on(colour: Colour) -> Colour:
    """Return the colour of letters, dark or white, that reads best on `colour` (RGB, 0-255)."""
    return max((WHITE, DARK), key=lambda ink: contrast_ratio(ink, colour))


def _luminance(colour: Colour) -> float:
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# What to draw where ---------------------------------------------------------------------------------------------------


class Mark(NamedTuple):
    """One face, ready to draw: what it shows, its visible box, its colour and the sizes that suit it."""

    face: Face
    expression: str | None
    confidence: float | None
    truth: str | None
    box: Rect
    colour: Colour
    text_px: int
    line_px: int


def _marks(canvas: NDArray[np.uint8], faces: Faces, style: DrawStyle, truth: Sequence[str | None]) -> Iterator[Mark]:
    """Yield the faces that show in the image."""
    height, width = canvas.shape[:2]
    image = float(np.sqrt(height * width))
    for face, actual in zip(faces, truth, strict=True):
        box = visible_part(face.xyxy, width, height)
        if box is None:
            continue
        side = min(float(face.xyxy[2] - face.xyxy[0]), float(face.xyxy[3] - face.xyxy[1]))
        low, high = (share * image for share in TEXT_PER_IMAGE)
        text_px = max(MIN_TEXT_PX, float(np.clip(TEXT_PER_FACE * side, low, high))) * style.scale
        low, high = (share * image for share in LINE_PER_IMAGE)
        line_px = max(1.5, float(np.clip(LINE_PER_FACE * side, low, high))) * style.scale
        expression, confidence = shown_expression(face)
        colour = FACE_COLOUR if expression is None else expression_colour(expression)
        yield Mark(face, expression, confidence, actual, box, colour, round(text_px), max(1, round(line_px)))


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
        self._rects = np.zeros((4 * len(boxes), 4))  # a face has at most a box, a tag, its truth and a panel
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


# Boxes, points, blur --------------------------------------------------------------------------------------------------


def _draw_outline(canvas: NDArray[np.uint8], mark: Mark, style: DrawStyle) -> None:
    if style.box:
        _draw_box(canvas, mark)
    if style.landmarks and mark.face.landmarks is not None:
        radius = max(0.9, 0.016 * min(mark.box.w, mark.box.h)) * style.scale
        for x, y in np.rint(mark.face.landmarks.clip(-1e4, 1e5) * 2**SHIFT).astype(int).tolist():
            for size, colour in ((1.5 * radius, DARK), (radius, WHITE)):
                cv2.circle(canvas, (x, y), round(size * 2**SHIFT), colour, cv2.FILLED, cv2.LINE_AA, SHIFT)


def _draw_box(canvas: NDArray[np.uint8], mark: Mark) -> None:
    """Draw a rounded box, with heavy corners where the line is not thin anyway; it stays inside the image."""
    inset = (mark.line_px - 1) / 2
    height, width = canvas.shape[:2]
    x1, y1 = max(mark.box.x, inset), max(mark.box.y, inset)
    x2 = max(x1, min(mark.box.x + mark.box.w, width) - 1 - inset)
    y2 = max(y1, min(mark.box.y + mark.box.h, height) - 1 - inset)
    side = min(x2 - x1, y2 - y1)
    corners = _rounded(x1, y1, x2, y2, 0.09 * side)
    heavy = mark.line_px >= 3
    thickness = max(1, round(mark.line_px * 0.5)) if heavy else mark.line_px
    _polyline(canvas, corners.reshape(-1, 2), mark.colour, thickness, closed=True)
    if not heavy:
        return
    for arc, before, after in zip(corners, ARMS, ARMS[1:] + ARMS[:1], strict=True):
        arm = np.vstack([arc[0] - 0.2 * side * before, arc, arc[-1] + 0.2 * side * after])
        _polyline(canvas, arm, mark.colour, mark.line_px, closed=False)


def _rounded(x1: float, y1: float, x2: float, y2: float, radius: float) -> NDArray[np.float64]:
    """Return the corners of a rounded rectangle, (4, 9, 2), nine points each, clockwise from top left."""
    centres = np.array(
        [[x1 + radius, y1 + radius], [x2 - radius, y1 + radius], [x2 - radius, y2 - radius], [x1 + radius, y2 - radius]]
    )
    corners: NDArray[np.float64] = centres[:, None] + radius * ARCS
    return corners


def _polyline(
    canvas: NDArray[np.uint8], points: NDArray[np.float64], colour: Colour, thickness: int, *, closed: bool
) -> None:
    fixed = np.rint(points * 2**SHIFT).astype(np.int32)
    cv2.polylines(canvas, [fixed], closed, colour, thickness, cv2.LINE_AA, SHIFT)


def blur_part(canvas: NDArray[np.uint8], image: NDArray[np.uint8], box: Rect) -> None:
    """Keep 6 x 6 averages of a face at most, whatever its size: too little to know somebody by."""
    height, width = canvas.shape[:2]
    dx, dy = round(box.w * BLUR_MARGIN), round(box.h * BLUR_MARGIN)
    x1, y1 = max(0, box.x - dx), max(0, box.y - dy)
    x2, y2 = min(width, box.x + box.w + dx), min(height, box.y + box.h + dy)
    cells = max(1, min(BLUR_CELLS, (x2 - x1) // 3)), max(1, min(BLUR_CELLS, (y2 - y1) // 3))
    coarse = cv2.resize(np.ascontiguousarray(image[y1:y2, x1:x2]), cells, interpolation=cv2.INTER_AREA)
    canvas[y1:y2, x1:x2] = cv2.resize(coarse, (x2 - x1, y2 - y1), interpolation=cv2.INTER_CUBIC)


# Tags -----------------------------------------------------------------------------------------------------------------


def _draw_tag(canvas: NDArray[np.uint8], mark: Mark, style: DrawStyle, layout: Layout, number: int) -> None:
    """Draw the longest tag that has room; none where even the shortest is larger than the image."""
    choices: list[tuple[float, Rect, str]] = []
    sprite = _sprite_name(mark.expression, style)
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


def _draw_truth(canvas: NDArray[np.uint8], mark: Mark, style: DrawStyle, layout: Layout, number: int) -> None:
    """Draw the actual expression as a gray tag, where there is room for it."""
    if mark.truth is None:
        return
    words, sprite = f"truth: {_short(mark.truth, 24)}", _sprite_name(mark.truth, style)
    w, h = _tag_size(words, mark.text_px, sprite)
    if w <= layout.width and h <= layout.height:
        spot, _, _ = layout.best(_tag_spots(mark, w, h, layout, stacked=1), number)
        _paint_tag(canvas, spot, TRUTH_COLOUR, mark.text_px, words, sprite)
        layout.add(spot)


def _wordings(mark: Mark, style: DrawStyle) -> list[str]:
    """Return what a tag may say, the fullest first; an empty text leaves the emoji alone."""
    number, name, confidence = mark.face.track_id, mark.expression, mark.confidence
    prefix = f"#{number} " if style.ids and number is not None else ""
    if name is None or confidence is None:
        score = f"{mark.face.score:.2f}"
        return [f"{prefix}face {score}", f"{prefix}{score}", score]
    short = _short(name, 24)
    words = [prefix + short, short]
    if style.percent:
        words.insert(0, f"{prefix}{short} {confidence:.0%}")
    return [*words, ""] if _sprite_name(name, style) else words


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _sprite_name(expression: str | None, style: DrawStyle) -> str | None:
    name = None if expression is None or not style.emoji else canonical_name(expression)
    return name if name in EMOJI else None


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
    _paint_panel(canvas, spot, colour, 0.94, radius=0.3 * spot.h)
    x = spot.x + round(0.5 * px)
    if sprite:
        side = round(1.3 * px)
        x = spot.x + (round(0.25 * px) if words else (spot.w - side) // 2)
        paint_emoji(canvas, sprite, x, spot.y + (spot.h - side) // 2, side)
        x += side + round(0.3 * px)
    if words:
        paint_text(canvas, words, x, spot.y + spot.h / 2, px, ink_on(colour))


# Bars -----------------------------------------------------------------------------------------------------------------


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


def _draw_bars(canvas: NDArray[np.uint8], mark: Mark, style: DrawStyle, layout: Layout, number: int) -> None:
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
        _paint_panel(canvas, spot, DARK, PANEL_OPACITY, radius=0.5 * panel.px)
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
    imaged = [_sprite_name(name, style) is not None for name in names]
    spelt = not all(imaged)
    for words, bar, numbers in ((True, 5, True), (spelt, 3, True), (spelt, 3, False)):
        for px in range(max(MIN_BARS_PX, round(0.88 * text_px)), MIN_BARS_PX - 1, -1):
            name = max(text_width(_short(name, 16), px) for name in names) if words else 0
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
        sprite = _sprite_name(name, style)
        if sprite:
            paint_emoji(canvas, sprite, x, round(middle - panel.icon / 2), panel.icon)
        else:
            side = round(0.6 * panel.icon)
            dot = Rect(x + (panel.icon - side) // 2, round(middle - side / 2), side, side)
            _paint_panel(canvas, dot, expression_colour(name), 1.0, radius=side / 2)
        x += panel.icon + gap
    if panel.name:
        paint_text(canvas, _short(name, 16), x, middle, panel.px, WHITE)
        x += panel.name + gap
    thick = max(3, round(0.5 * panel.px))
    track = Rect(x, round(middle - thick / 2), panel.bar, thick)
    _paint_panel(canvas, track, (96, 100, 108), 0.6, radius=thick / 2)
    filled = round(p * panel.bar)
    if filled:
        _paint_panel(canvas, track._replace(w=filled), expression_colour(name), 1.0, radius=min(thick, filled) / 2)
    if not panel.number:
        return
    percent = f"{p:.0%}"
    end = x + panel.bar + gap + panel.number
    paint_text(canvas, percent, end - text_width(percent, panel.px), middle, panel.px, WHITE)


# Paint ----------------------------------------------------------------------------------------------------------------


def _paint_panel(canvas: NDArray[np.uint8], rect: Rect, colour: Colour, opacity: float, *, radius: float) -> None:
    """Lay a filled rounded rectangle over the image."""
    mask = np.zeros((rect.h, rect.w), np.uint8)
    corners = _rounded(0, 0, rect.w - 1, rect.h - 1, min(radius, (min(rect.w, rect.h) - 1) / 2)).reshape(-1, 2)
    fixed = np.rint(corners * 2**SHIFT).astype(np.int32)
    cv2.fillConvexPoly(mask, fixed, round(255 * opacity), cv2.LINE_AA, SHIFT)
    _paint_mask(canvas, mask, rect.x, rect.y, colour)


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
    bearing = _letters().bearing * px / _letters().em_px
    _paint_mask(canvas, mask, round(x - bearing), round(middle - mask.shape[0] / 2), colour)


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
    area, sprite = _crop(canvas, _sprite(name, side), x, y)
    area[:] = np.rint(area * (1 - sprite[..., 3:]) + sprite[..., :3]).clip(0, 255).astype(np.uint8)


def _crop(canvas: NDArray[np.uint8], patch: NDArray[Pixel], x: int, y: int) -> tuple[NDArray[np.uint8], NDArray[Pixel]]:
    """Return the pixels of the image under a patch, and the part of the patch that lies on the image."""
    height, width = canvas.shape[:2]
    x1, y1 = max(0, x), max(0, y)
    x2, y2 = max(x1, min(width, x + patch.shape[1])), max(y1, min(height, y + patch.shape[0]))
    return canvas[y1:y2, x1:x2], patch[max(0, y1 - y) : max(0, y2 - y), max(0, x1 - x) : max(0, x2 - x)]


# Letters and emoji ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Letters:
    """The sheet of letters.

    Attributes:
        sheet: (H, W) uint8 coverage, equal cells row by row.
        em_px: Size of the letters on the sheet, pixels to the em.
        cell: (width, height) of a cell, pixels.
        columns: Cells in a row.
        bearing: Pixels in each cell left of the pen.
        number: Cell of each character.
        advance: Pen advance of each character, pixels.
    """

    sheet: NDArray[np.uint8]
    em_px: int
    cell: tuple[int, int]
    columns: int
    bearing: int
    number: dict[str, int]
    advance: dict[str, float]

    def glyph(self, character: str) -> NDArray[np.uint8]:
        """Return the (h, w) coverage of one character."""
        row, column = divmod(self.number[character], self.columns)
        w, h = self.cell
        return self.sheet[row * h : (row + 1) * h, column * w : (column + 1) * w]


@cache
def _letters() -> Letters:
    folder = resources.files("mien.output.draw") / "font"
    metrics = json.loads((folder / "letters.json").read_text(encoding="utf-8"))
    data = np.frombuffer((folder / "letters.png").read_bytes(), np.uint8)
    characters = metrics["characters"]
    return Letters(
        np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), dtype=np.uint8),
        metrics["em_px"],
        (metrics["cell"][0], metrics["cell"][1]),
        metrics["columns"],
        metrics["bearing"],
        {character: number for number, character in enumerate(characters)},
        {" ": metrics["space"], **dict(zip(characters, metrics["advances"], strict=True))},
    )


def _spelt(text: str) -> str:
    known = _letters().advance
    return "".join(c if c in known else "?" for c in unicodedata.normalize("NFC", text))


def text_width(text: str, px: int) -> int:
    """Return how far a line of text runs, pixels.

    Args:
        text: The text; characters that are not on the sheet count as `?`.
        px: Size, pixels to the em.
    """
    letters = _letters()
    return int(np.ceil(sum(letters.advance[c] for c in _spelt(text)) * px / letters.em_px))


@lru_cache(maxsize=64)
def text_mask(text: str, px: int) -> NDArray[np.uint8]:
    """Return one line of text as coverage.

    Args:
        text: The text; characters that are not on the sheet become `?`.
        px: Size, pixels to the em.

    Returns:
        (h, w) uint8, 255 where a letter covers the pixel wholly; shared, so not to be written to.
    """
    letters = _letters()
    spelt = _spelt(text)
    pen = np.concatenate([[0.0], np.cumsum([letters.advance[c] for c in spelt])])
    line = np.zeros((letters.cell[1], int(np.ceil(pen[-1])) + letters.cell[0]), np.uint8)
    for character, x in zip(spelt, np.rint(pen).astype(int), strict=False):
        if character != " ":
            part = line[:, x : x + letters.cell[0]]
            np.maximum(part, letters.glyph(character), out=part)
    line = line[:, : int(np.ceil(pen[-1])) + 2 * letters.bearing]
    mask = _resized(line, px / letters.em_px)
    mask.flags.writeable = False
    return mask


def _resized(line: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Resize coverage; enlarged edges are made as sharp again as they were."""
    size = max(1, round(line.shape[1] * factor)), max(1, round(line.shape[0] * factor))
    if factor <= 1:
        return np.asarray(cv2.resize(line, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    soft = cv2.resize(line, size, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    return np.asarray(np.rint(((soft - 127.5) * factor + 127.5).clip(0, 255)), dtype=np.uint8)


@cache
def _full_sprite(name: str) -> NDArray[np.float32]:
    """Return the (128, 128, 4) float32 sprite: RGB 0-255 times opacity, opacity 0-1."""
    data = (resources.files("mien.output.draw") / "emoji" / f"{name}.png").read_bytes()
    stored = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
    sprite = cv2.cvtColor(stored, cv2.COLOR_BGRA2RGBA).astype(np.float32)
    sprite[..., 3] /= 255
    sprite[..., :3] *= sprite[..., 3:]
    return np.asarray(sprite, dtype=np.float32)


@lru_cache(maxsize=32)
def _sprite(name: str, side: int) -> NDArray[np.float32]:
    full = _full_sprite(name)
    how = cv2.INTER_AREA if side <= full.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(full, (side, side), interpolation=how), dtype=np.float32)
