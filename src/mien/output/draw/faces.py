"""Faces drawn on a copy of an image: boxes, points, tags, bars, or blurred."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.faces import Faces, check_image
from mien.output.draw.bars import draw_bars
from mien.output.draw.colours import DARK, WHITE
from mien.output.draw.layout import Layout, Rect
from mien.output.draw.marks import Mark, marks_of
from mien.output.draw.measures import draw_lines, draw_panel
from mien.output.draw.paint import SHIFT, draw_line, rounded
from mien.output.draw.style import PLAIN, DrawStyle
from mien.output.draw.tags import draw_tag, draw_truth

BLUR_CELLS = 6
BLUR_MARGIN = 0.12
ARMS = tuple(np.array(step) for step in ((0, -1), (1, 0), (0, 1), (-1, 0)))  # up, right, down, left


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
        faces: The faces, pixels of `image` (of a reduced one, of the whole); those wholly outside it are left out.
        style: What to draw.
        truth: The actual expression of each face, None where it is not known: a gray tag beside the other. Empty where
            nothing is known at all.

    Returns:
        (H, W, 3) uint8 RGB, a new array; equal to `image` where there is no face.

    Raises:
        InputError: `image` is not (H, W, 3) uint8, or `truth` has another length than `faces`.
    """
    canvas = np.array(check_image(image), order="C")
    faces = faces.on(image)
    marks = list(marks_of(canvas, faces, style, _truth_of(faces, truth)))
    if style.blur:
        for mark in marks:
            blur_part(canvas, image, mark.box)
    for mark in marks:
        _draw_outline(canvas, mark, style)
    layout = Layout([mark.box for mark in marks], canvas.shape[1], canvas.shape[0])
    parts = (draw_tag, style.tag), (draw_truth, any(truth)), (draw_bars, style.bars), (draw_panel, style.measures)
    for part, wanted in parts:
        for number, mark in enumerate(marks if wanted else ()):
            part(canvas, mark, style, layout, number)
    return canvas


def _truth_of(faces: Faces, truth: Sequence[str | None]) -> Sequence[str | None]:
    if truth and len(truth) != len(faces):
        raise InputError(f"truth must name one expression (or None) per face: {len(faces)}, got {len(truth)}")
    return truth or [None] * len(faces)


def _draw_outline(canvas: NDArray[np.uint8], mark: Mark, style: DrawStyle) -> None:
    if style.measures:
        draw_lines(canvas, mark, style)
    if style.box:
        _draw_box(canvas, mark)
    if style.landmarks and mark.face.landmarks is not None:
        known = mark.face.landmarks[np.isfinite(mark.face.landmarks).all(axis=1)]
        radius = max(0.9, 0.016 * min(mark.box.w, mark.box.h)) * style.scale
        for x, y in np.rint(known.clip(-1e4, 1e5) * 2**SHIFT).astype(int).tolist():
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
    corners = rounded(x1, y1, x2, y2, 0.09 * side)
    heavy = mark.line_px >= 3
    thickness = max(1, round(mark.line_px * 0.5)) if heavy else mark.line_px
    draw_line(canvas, corners.reshape(-1, 2), mark.colour, thickness, closed=True)
    if not heavy:
        return
    for arc, before, after in zip(corners, ARMS, ARMS[1:] + ARMS[:1], strict=True):
        arm = np.vstack([arc[0] - 0.2 * side * before, arc, arc[-1] + 0.2 * side * after])
        draw_line(canvas, arm, mark.colour, mark.line_px, closed=False)


def blur_part(canvas: NDArray[np.uint8], image: NDArray[np.uint8], box: Rect) -> None:
    """Keep 6 x 6 averages of a face at most, whatever its size: too little to know somebody by."""
    height, width = canvas.shape[:2]
    dx, dy = round(box.w * BLUR_MARGIN), round(box.h * BLUR_MARGIN)
    x1, y1 = max(0, box.x - dx), max(0, box.y - dy)
    x2, y2 = min(width, box.x + box.w + dx), min(height, box.y + box.h + dy)
    cells = max(1, min(BLUR_CELLS, (x2 - x1) // 3)), max(1, min(BLUR_CELLS, (y2 - y1) // 3))
    coarse = cv2.resize(np.ascontiguousarray(image[y1:y2, x1:x2]), cells, interpolation=cv2.INTER_AREA)
    canvas[y1:y2, x1:x2] = cv2.resize(coarse, (x2 - x1, y2 - y1), interpolation=cv2.INTER_CUBIC)
