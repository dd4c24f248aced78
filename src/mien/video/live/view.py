"""One screen of `mien live` as an array: image, faces, a scrolling timeline, a status line, marks and help."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.faces import Faces, Frame
from mien.output.draw.colours import Colour
from mien.output.draw.faces import draw_faces
from mien.output.draw.layout import Rect
from mien.output.draw.style import PLAIN, DrawStyle
from mien.video.live._paint import DIM, TEXT_PX, Places, write_centred
from mien.video.live.history import History
from mien.video.live.lanes import paint_timeline
from mien.video.live.marks import Status, paint_help, paint_marks, paint_status

BACKGROUND: Colour = (14, 15, 18)
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
        write_centred(canvas, f"waiting for {status.source} …", places.image, places.px, DIM)
    else:
        _paint_image(canvas, frame, faces or Faces.empty(), places.image, options)
    if places.timeline.h:
        paint_timeline(canvas, history, places.timeline, places.px)
    if places.status.h:
        paint_status(canvas, status, len(faces or ()), places.status, places.px)
    paint_marks(canvas, status, places)
    if options.help:
        paint_help(canvas, places)
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
    seen = scaled_faces(faces, spot.w / width, spot.h / height)
    if options.mirror:
        image, seen = np.asarray(cv2.flip(image, 1), np.uint8), mirrored_faces(seen, spot.w)
    canvas[spot.y : spot.y + spot.h, spot.x : spot.x + spot.w] = draw_faces(image, seen, style=options.style)


def scaled_faces(faces: Faces, across: float, down: float) -> Faces:
    """Return faces for an image that was resized.

    Args:
        faces: The faces.
        across: New width over old.
        down: New height over old.
    """
    factor = np.array([across, down], np.float32)
    points = None if faces.landmarks is None else faces.landmarks * factor
    return replace(faces, xyxy=faces.xyxy * np.tile(factor, 2), landmarks=points)


def mirrored_faces(faces: Faces, width: int) -> Faces:
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
