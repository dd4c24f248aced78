"""A face, ready to be drawn: what it shows, where, in which colour and size."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.faces import Face, Faces
from mien.labels import EMOJI, canonical_name
from mien.output.draw.colours import FACE_COLOUR, Colour, expression_colour
from mien.output.draw.layout import Rect, visible_part
from mien.output.draw.style import DrawStyle

MIN_TEXT_PX = 11  # below this the letters of a tag cannot be told apart
TEXT_PER_FACE, TEXT_PER_IMAGE = 0.16, (0.010, 0.034)
LINE_PER_FACE, LINE_PER_IMAGE = 0.022, (0.002, 0.006)


class Mark(NamedTuple):
    """One face, ready to draw: what it shows, its visible box, its colour, the sizes that suit it, its number."""

    face: Face
    expression: str | None
    confidence: float | None
    truth: str | None
    box: Rect
    colour: Colour
    text_px: int
    line_px: int
    number: str


def marks_of(canvas: NDArray[np.uint8], faces: Faces, style: DrawStyle, truth: Sequence[str | None]) -> Iterator[Mark]:
    """Yield the faces that show in the image."""
    height, width = canvas.shape[:2]
    image = float(np.sqrt(height * width))
    for i, (face, actual) in enumerate(zip(faces, truth, strict=True)):
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
        sizes = round(text_px), max(1, round(line_px))
        number = f"{i}: " if len(faces) > 1 else ""  # as the rows of a table number the faces of an image
        if face.track_id is not None:
            number = f"#{face.track_id} "
        if face.person is not None:
            number = f"{face.person}: "
        yield Mark(face, expression, confidence, actual, box, colour, *sizes, number if style.ids else "")


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


def sprite_name(expression: str | None, style: DrawStyle) -> str | None:
    """Return the name of the emoji to draw; None where there is none, or none is wanted."""
    name = None if expression is None or not style.emoji else canonical_name(expression)
    return name if name in EMOJI else None
