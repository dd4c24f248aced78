"""One screen of `mien live` as an array: image, faces, a scrolling timeline, a status line, marks and help.

Everything here is a pure function of its arguments but `History`, which remembers the last seconds of every person.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.faces import Faces, Frame
from mien.labels import EMOJI, LabelSet, canonical_name
from mien.output.draw.faces import (
    DARK,
    PLAIN,
    WHITE,
    Colour,
    DrawStyle,
    Rect,
    draw_faces,
    expression_colour,
    paint_emoji,
    paint_text,
    shown_expression,
    text_width,
)

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

BACKGROUND: Colour = (14, 15, 18)
LANE: Colour = (38, 41, 47)
DIM: Colour = (168, 173, 181)
RED: Colour = (232, 58, 52)
PANEL_OPACITY = 0.78

SPAN_S = 20.0  # how far back the timeline reaches
TICK_S = 5.0
GAP_S = 0.7  # a person unseen for longer leaves a hole
POINTS = 1024  # per person
POINT_S = SPAN_S / POINTS
STALE_S = 1.0  # an image older than this is said to be old

TEXT_PX = (11, 20)
TIMELINE_LEAST = (300, 240)  # width and height of a window below which the timeline makes way for the image
STATUS_LEAST = (160, 120)


@dataclass(frozen=True)
class ViewOptions:
    """How the user wants the screen.

    Attributes:
        style: What is drawn for each face.
        mirror: Show the image as a mirror does.
        help: Show the keys.
    """

    style: DrawStyle = PLAIN
    mirror: bool = False
    help: bool = False


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


# What was seen --------------------------------------------------------------------------------------------------------


@dataclass
class Person:
    """The last smoothed probabilities of one track, oldest first from `start`.

    Attributes:
        times: (POINTS,) float64, seconds; a ring.
        probs: (POINTS, C) float32; a ring.
        count: How many points were ever added.
        expression: What the person shows now, or None.
    """

    times: NDArray[np.float64]
    probs: NDArray[np.float32]
    count: int = 0
    expression: str | None = None

    def add(self, time_s: float, probs: NDArray[np.float32]) -> None:
        """Add a point; what comes too soon after the last one to be told apart takes its place."""
        if self.count and time_s - self.last_s < POINT_S:
            time_s = self.last_s
            self.count -= 1
        self.times[self.count % POINTS], self.probs[self.count % POINTS] = time_s, probs
        self.count += 1

    @property
    def last_s(self) -> float:
        """Time of the newest point."""
        return float(self.times[(self.count - 1) % POINTS])

    def at(self, times: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the probabilities at some times.

        Args:
            times: (T,) float64, seconds.

        Returns:
            (T, C) float32, and (T,) bool: whether the person was seen then.
        """
        held = min(self.count, POINTS)
        order = (self.count - held + np.arange(held)) % POINTS
        known = self.times[order]
        after = np.searchsorted(known, times, side="right")
        before = np.maximum(after - 1, 0)
        within = known[np.minimum(after, held - 1)] - known[before] <= GAP_S
        seen = (after > 0) & np.where(after < held, within, times - self.last_s <= POINT_S)
        return self.probs[order[before]], seen


@dataclass
class History:
    """Who showed what in the last `SPAN_S` seconds. Memory stays flat.

    Attributes:
        labels: The label set, None before the first face.
        now_s: Time of the newest frame, seconds.
        people: The persons seen, by track number.
    """

    labels: LabelSet | None = None
    now_s: float = 0.0
    people: dict[int, Person] = field(default_factory=dict)

    def add(self, faces: Faces, *, time_s: float) -> None:
        """Add the faces of one frame; another label set or a clock that goes back starts anew.

        Args:
            faces: The faces; those without a track or probabilities are left out.
            time_s: Time of the frame, seconds.
        """
        if time_s < self.now_s or (faces.labels is not None and faces.labels != self.labels):
            self.people.clear()
        self.labels, self.now_s = faces.labels or self.labels, time_s
        for face in faces:
            probs = face.probs if face.smoothed is None else face.smoothed
            if face.track_id is not None and probs is not None:
                person = self._person(face.track_id, len(probs))
                person.add(time_s, probs)
                person.expression = shown_expression(face)[0]
        for number in [n for n, person in self.people.items() if time_s - person.last_s > SPAN_S]:
            del self.people[number]

    def _person(self, number: int, classes: int) -> Person:
        if number not in self.people:
            self.people[number] = Person(np.full(POINTS, -np.inf), np.zeros((POINTS, classes), np.float32))
        return self.people[number]

    def lanes(self, most: int) -> list[tuple[int, Person]]:
        """Return those seen last, at most `most`, in the order of their numbers."""
        latest = sorted(self.people.items(), key=lambda item: (-item[1].last_s, item[0]))[: max(0, most)]
        return sorted(latest, key=lambda item: item[0])


# The screen -----------------------------------------------------------------------------------------------------------


class Places(NamedTuple):
    """Where the parts of a screen are; a part without room has no height."""

    image: Rect
    timeline: Rect
    status: Rect
    px: int


def arrange(size: tuple[int, int]) -> Places:
    """Divide a window.

    Args:
        size: Width and height of the window, pixels.

    Returns:
        Places that do not overlap and fill the window, and the size of letters in pixels.
    """
    width, height = size
    px = int(np.clip(round(min(width / 60, height / 40)), *TEXT_PX))
    status = 2 * px if width >= STATUS_LEAST[0] and height >= STATUS_LEAST[1] else 0
    timeline = 0
    if width >= TIMELINE_LEAST[0] and height >= TIMELINE_LEAST[1]:
        timeline = int(np.clip(round(0.2 * height), 7 * px, 13 * px))
    rest = height - status - timeline
    return Places(Rect(0, 0, width, rest), Rect(0, rest, width, timeline), Rect(0, rest + timeline, width, status), px)


def render(
    size: tuple[int, int],
    frame: Frame | None,
    faces: Faces | None,
    history: History,
    status: Status,
    options: ViewOptions,
) -> NDArray[np.uint8]:
    """Return one screen.

    Args:
        size: Width and height of the window, pixels.
        frame: The newest frame analyzed; None before the first.
        faces: Its faces, pixels of the frame.
        history: For the timeline.
        status: For the status line and the marks.
        options: What the user chose.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        InputError: The window has no pixel.
    """
    if min(size) < 1:
        raise InputError(f"a window needs at least one pixel, got {size[0]} x {size[1]}")
    canvas = np.full((size[1], size[0], 3), BACKGROUND, np.uint8)
    places = arrange(size)
    if frame is None:
        _write_centred(canvas, f"waiting for {status.source} …", places.image, places.px, DIM)
    else:
        _paint_image(canvas, frame, faces or Faces.empty(), places.image, options)
    if places.timeline.h:
        _paint_timeline(canvas, history, places.timeline, places.px)
    if places.status.h:
        _paint_status(canvas, status, len(faces or ()), places.status, places.px)
    _paint_marks(canvas, status, places)
    if options.help:
        _paint_help(canvas, places)
    return canvas


def fitted(image: tuple[int, int], area: Rect) -> Rect:
    """Return the largest place in the middle of `area` with the proportions of an image.

    Args:
        image: Width and height of the image.
        area: Where it has to fit.
    """
    scale = min(area.w / image[0], area.h / image[1])
    w, h = max(1, round(image[0] * scale)), max(1, round(image[1] * scale))
    return Rect(area.x + (area.w - w) // 2, area.y + (area.h - h) // 2, w, h)


def _paint_image(canvas: NDArray[np.uint8], frame: Frame, faces: Faces, area: Rect, options: ViewOptions) -> None:
    height, width = frame.image.shape[:2]
    spot = fitted((width, height), area)
    how = cv2.INTER_AREA if spot.w < width else cv2.INTER_LINEAR
    image = np.asarray(cv2.resize(frame.image, (spot.w, spot.h), interpolation=how), np.uint8)
    seen = scaled(faces, spot.w / width, spot.h / height)
    if options.mirror:
        image, seen = np.asarray(cv2.flip(image, 1), np.uint8), mirrored(seen, spot.w)
    canvas[spot.y : spot.y + spot.h, spot.x : spot.x + spot.w] = draw_faces(image, seen, style=options.style)


def scaled(faces: Faces, across: float, down: float) -> Faces:
    """Return faces for an image that was resized.

    Args:
        faces: The faces.
        across: New width over old.
        down: New height over old.
    """
    factor = np.array([across, down], np.float32)
    points = None if faces.landmarks is None else faces.landmarks * factor
    return replace(faces, xyxy=faces.xyxy * np.tile(factor, 2), landmarks=points)


def mirrored(faces: Faces, width: int) -> Faces:
    """Return faces for an image that was flipped from left to right.

    Args:
        faces: The faces.
        width: Width of the image, pixels.
    """
    boxes = faces.xyxy.copy()
    boxes[:, [0, 2]] = width - faces.xyxy[:, [2, 0]]
    if faces.landmarks is None:
        return replace(faces, xyxy=boxes)
    points = faces.landmarks[:, [1, 0, 2, 4, 3]]
    points[..., 0] = width - points[..., 0]
    return replace(faces, xyxy=boxes, landmarks=points)


# Timeline -------------------------------------------------------------------------------------------------------------


def _paint_timeline(canvas: NDArray[np.uint8], history: History, area: Rect, px: int) -> None:
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
        _fill(canvas, lanes, LANE)
        _write_centred(canvas, "no face seen", lanes, px, DIM)
    gap = max(2, px // 5)
    height = (lanes.h + gap) / max(1, len(people))
    for place, (number, person) in enumerate(people):
        top = lanes.y + round(place * height)
        lane = lanes._replace(y=top, h=lanes.y + round((place + 1) * height) - gap - top)
        _paint_lane(canvas, history, person, lane)
        _paint_name(canvas, history, number, person, Rect(area.x, lane.y, left - area.x, lane.h), px)
    _paint_seconds(canvas, lanes, area.y + area.h - round(0.75 * small), small)


def _paint_lane(canvas: NDArray[np.uint8], history: History, person: Person, lane: Rect) -> None:
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


def _paint_name(canvas: NDArray[np.uint8], history: History, number: int, person: Person, area: Rect, px: int) -> None:
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
        _fill(canvas, Rect(x, middle - mark // 2, mark, mark), expression_colour(name))
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


# Status, marks, help --------------------------------------------------------------------------------------------------


def _paint_status(canvas: NDArray[np.uint8], status: Status, faces: int, area: Rect, px: int) -> None:
    """Write the figures from the left and the label set from the right; what has no room is left out, last first."""
    _fill(canvas, area, DARK)
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


def _paint_marks(canvas: NDArray[np.uint8], status: Status, places: Places) -> None:
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
    text = f"REC {clock(seconds)}"
    w, h = text_width(text, px) + round(2.6 * px), 2 * px
    spot = Rect(area.x + area.w - w - px, area.y + px, w, h)
    if spot.x < area.x or spot.y + h > area.y + area.h:
        spot = Rect(max(area.x, area.x + area.w - w), area.y, w, h)
    _shade(canvas, spot)
    middle = spot.y + h // 2
    cv2.circle(canvas, (spot.x + px, middle), max(2, round(0.4 * px)), RED, cv2.FILLED, cv2.LINE_AA)
    paint_text(canvas, text, spot.x + round(1.9 * px), middle, px, WHITE)


def _paint_paused(canvas: NDArray[np.uint8], area: Rect, px: int) -> None:
    text = "paused"
    w, h = text_width(text, px) + round(3 * px), 2 * px
    spot = Rect(area.x + px, area.y + px, w, h)
    if spot.x + w > area.x + area.w or spot.y + h > area.y + area.h:
        spot = Rect(area.x, area.y, w, h)
    _shade(canvas, spot)
    bar, top = max(2, round(0.28 * px)), spot.y + (h - round(0.9 * px)) // 2
    for x in (round(0.7 * px), round(0.7 * px) + 2 * bar):
        _fill(canvas, Rect(spot.x + x, top, bar, round(0.9 * px)), WHITE)
    paint_text(canvas, text, spot.x + round(2.3 * px), spot.y + h // 2, px, WHITE)


def _paint_note(canvas: NDArray[np.uint8], text: str, area: Rect, px: int, height: float) -> None:
    """Write a line on a dark panel in the middle of the lower image; a long one is shortened at its start."""
    room = max(0, area.w - 2 * px)
    while text_width(text, px) > room and len(text) > 1:
        text = "…" + text[2:]
    w, h = text_width(text, px) + 2 * px, 2 * px
    spot = Rect(area.x + (area.w - w) // 2, area.y + max(0, min(round(height * area.h), area.h - h) - px), w, h)
    _shade(canvas, spot)
    paint_text(canvas, text, spot.x + px, spot.y + h // 2, px, WHITE)


def _paint_help(canvas: NDArray[np.uint8], places: Places) -> None:
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
    _shade(canvas, spot, 0.95)
    for row, (key, what) in enumerate(HELP):
        middle = spot.y + px + round(1.7 * (row + 0.5) * px)
        paint_text(canvas, key, spot.x + round(1.5 * px), middle, px, WHITE)
        paint_text(canvas, what, spot.x + round(3.5 * px) + keys, middle, px, DIM)


def clock(seconds: float) -> str:
    """Return a length as minutes and seconds, `3:07`, or with hours, `1:03:07`."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


# Paint ----------------------------------------------------------------------------------------------------------------


def _part(canvas: NDArray[np.uint8], spot: Rect) -> NDArray[np.uint8]:
    """Return the pixels of a place that lie on the canvas."""
    return canvas[max(0, spot.y) : max(0, spot.y + spot.h), max(0, spot.x) : max(0, spot.x + spot.w)]


def _fill(canvas: NDArray[np.uint8], spot: Rect, colour: Colour) -> None:
    _part(canvas, spot)[:] = colour


def _shade(canvas: NDArray[np.uint8], spot: Rect, opacity: float = PANEL_OPACITY) -> None:
    part = _part(canvas, spot)
    part[:] = np.rint(part * (1 - opacity) + np.array(DARK) * opacity).astype(np.uint8)


def _write_centred(canvas: NDArray[np.uint8], text: str, area: Rect, px: int, colour: Colour) -> None:
    x = area.x + (area.w - text_width(text, px)) // 2
    paint_text(canvas, text, x, area.y + area.h / 2, px, colour)
