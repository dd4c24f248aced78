"""What else was measured of a face: its mesh as lines, its pose as three axes, the numbers on a small panel."""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.faces import Face
from mien.output.draw.colours import DARK, WHITE
from mien.output.draw.layout import Layout, Rect
from mien.output.draw.letters import text_width
from mien.output.draw.marks import Mark
from mien.output.draw.paint import SHIFT, draw_line, paint_panel, paint_text
from mien.output.draw.style import DrawStyle

CLOSED_LINES = (  # numbers of the mesh's points: oval of the face, lips outside and inside, right eye, left eye
    (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
     136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191),
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)  # fmt: skip
OPEN_LINES = ((70, 63, 105, 66, 107), (336, 296, 334, 293, 300), (168, 6, 197, 195, 5, 4), (98, 2, 327))
NOSE = 4
AXES = ((235, 64, 52), (72, 187, 90), (66, 133, 244))  # to the person's left, upwards, forwards
AXIS_SHARE, PANEL_SHARE = 0.42, 0.8  # of the width of the box; of the size of the tag's letters
MIN_PX, PANEL_OPACITY = 8, 0.7
ROWS = (  # what a row of the panel says, and how a value is written
    ("pose", (("yaw", "{:+.0f}°"), ("pitch", "{:+.0f}°"), ("roll", "{:+.0f}°"))),
    ("eyes", (("eye_left", "{:.2f}"), ("eye_right", "{:.2f}"))),
    ("mouth", (("mouth_opening", "{:.2f}"), ("mouth_width", "{:.2f}"))),
    ("corners", (("mouth_corners", "{:+.2f}"), ("mouth_asymmetry", "{:+.2f}"))),
    ("brows", (("brow_raise", "{:+.2f}"), ("brow_furrow", "{:+.2f}"))),
    ("gaze", (("gaze_yaw", "{:+.0f}°"), ("gaze_pitch", "{:+.0f}°"))),
    ("closed", (("eyes_closed", "{:.0%}"),)),
    ("quality", (("quality", "{:.0%}"),)),
    ("age_estimate", (("age_estimate", "{:.0f}"),)),
)


def draw_lines(canvas: NDArray[np.uint8], mark: Mark, style: DrawStyle) -> None:
    """Draw the lines of the mesh, unless the face is to be unrecognisable, and the axes of the pose."""
    face = mark.face
    thin = max(1, round(0.4 * mark.line_px))
    if face.mesh is not None and not style.blur and np.isfinite(face.mesh).all():
        points = face.mesh.astype(np.float64).clip(-1e4, 1e5) - 0.5
        for lines, closed in ((CLOSED_LINES, True), (OPEN_LINES, False)):
            for line in lines:
                draw_line(canvas, points[list(line)], WHITE, thin, closed=closed)
    axes = axes_of(face.attributes)
    if axes is None:
        return
    start = _middle(face)
    ends = start + AXIS_SHARE * float(face.xyxy[2] - face.xyxy[0]) * axes[:, :2]
    for number in np.argsort(-axes[:, 2]):  # what points away first
        both = np.rint(np.stack([start, ends[number]]).clip(-1e4, 1e5) * 2**SHIFT).astype(int)
        (x1, y1), (x2, y2) = both.tolist()
        cv2.line(canvas, (x1, y1), (x2, y2), AXES[number], max(2, round(0.9 * mark.line_px)), cv2.LINE_AA, SHIFT)


def axes_of(measured: Mapping[str, float]) -> NDArray[np.float64] | None:
    """Return where a head's left, its top and its nose point to; None where its pose is not known.

    Args:
        measured: Of a face, by column.

    Returns:
        (3, 3), unit vectors: x to the right of the image, y downwards, z away from the camera.
    """
    pose = [measured.get(name, np.nan) for name in ("yaw", "pitch", "roll")]
    if not np.isfinite(pose).all():
        return None
    (a, b, c), (s, t, u) = np.cos(np.radians(pose)), np.sin(np.radians(pose))
    about_y = np.array([[a, 0, -s], [0, 1, 0], [s, 0, a]])
    about_x = np.array([[1, 0, 0], [0, b, t], [0, -t, b]])
    about_z = np.array([[c, -u, 0], [u, c, 0], [0, 0, 1]])
    turn = about_z @ about_y @ about_x
    return np.stack([turn[:, 0], -turn[:, 1], -turn[:, 2]])


def _middle(face: Face) -> NDArray[np.float64]:
    """Return where the axes begin: at the tip of the nose."""
    if face.mesh is not None and np.isfinite(face.mesh[NOSE]).all():
        return np.asarray(face.mesh[NOSE], np.float64) - 0.5
    if face.landmarks is not None and np.isfinite(face.landmarks[2]).all():
        return np.asarray(face.landmarks[2], np.float64) - 0.5
    return np.asarray(face.xyxy.reshape(2, 2).mean(axis=0), np.float64)


def rows_of_panel(measured: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return the lines of the panel: a word and values, `-` for one that could not be measured.

    Args:
        measured: Of a face, by column.
    """
    rows = []
    for word, columns in ROWS:
        known = [(form, measured[name]) for name, form in columns if name in measured]
        values = (_written(form, value) for form, value in known)
        if known:
            rows.append((word, " ".join(values)))
    return rows


def _written(form: str, value: float) -> str:
    if not np.isfinite(value):
        return "-"
    text = form.format(value)
    return text if any(digit in text for digit in "123456789") else text.replace("-", "+")


def draw_panel(canvas: NDArray[np.uint8], mark: Mark, style: DrawStyle, layout: Layout, number: int) -> None:
    """Draw the numbers beside the face, where they hide no face, tag or other panel; nowhere where there is no room."""
    rows = rows_of_panel(mark.face.attributes)
    if not rows:
        return
    for px in range(max(MIN_PX, round(PANEL_SHARE * mark.text_px)), MIN_PX - 1, -1):
        words, values = (max(text_width(row[k], px) for row in rows) for k in (0, 1))
        pad, step = round(0.6 * px), round(1.35 * px)
        w, h = 2 * pad + words + px + values, 2 * pad + step * len(rows)
        spot, on_tags, on_boxes = layout.best(_spots(mark.box, w, h, layout), number)
        if w > layout.width or h > layout.height or on_tags + on_boxes > 0:
            continue
        paint_panel(canvas, spot, DARK, PANEL_OPACITY, radius=0.5 * px)
        for row, (word, value) in enumerate(rows):
            middle = spot.y + pad + (row + 0.5) * step
            paint_text(canvas, word, spot.x + pad, middle, px, (176, 184, 194))
            paint_text(canvas, value, spot.x + w - pad - text_width(value, px), middle, px, WHITE)
        layout.add(spot)
        return


def _spots(box: Rect, w: int, h: int, layout: Layout) -> list[Rect]:
    gap = 4
    before, after, low = box.x - w - gap, box.x + box.w + gap, box.y + box.h - h
    beneath, above, right = box.y + box.h + gap, box.y - h - gap, box.x + box.w - w
    corners = [(before, low), (before, box.y), (after, low), (after, box.y)]
    corners += [(box.x, beneath), (right, beneath), (box.x, above), (right, above)]
    return [layout.inside(Rect(left, top, w, h)) for left, top in corners]
