"""What a notebook shows of faces: the annotated image, and of each face a crop with a bar per probability."""

from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.faces import Face, Faces
from mien.output.draw.colours import expression_colour
from mien.output.draw.faces import draw_faces
from mien.output.encode import data_url

IMAGE_PX = 480  # longest side of the annotated image
CROP_PX = 96  # height of the crops
BAR_PX = 110
MARGIN = 0.15
MOST = 12  # faces with a card of their own


def faces_html(faces: Faces) -> str:
    """Return the faces of an image as HTML, the annotated image first where `faces` has kept it.

    Args:
        faces: The faces; `faces.image` may be None.
    """
    whole = "" if faces.image is None else _img(_smaller(draw_faces(faces.image, faces), IMAGE_PX))
    cards = "".join(_card(face, faces.image) for _, face in zip(range(MOST), faces, strict=False))
    rest = f"<p>and {len(faces) - MOST} more</p>" if len(faces) > MOST else ""
    return f"<div>{whole}<p>{escape(repr(faces))}</p>{cards}{rest}</div>"


def face_html(face: Face) -> str:
    """Return one face as HTML: what it shows, and a bar per probability."""
    return _card(face, None)


def _card(face: Face, image: NDArray[np.uint8] | None) -> str:
    crop = "" if image is None else _img(_smaller(face.crop(image, margin=MARGIN), CROP_PX)) + "<br>"
    bars = "".join(_bar(name, p) for name, p in face.probabilities.items())
    style = "display:inline-block;vertical-align:top;margin:4px 14px 4px 0"
    return f'<div style="{style}">{crop}<b>{escape(face.answer)}</b><table style="font-size:85%">{bars}</table></div>'


def _bar(name: str, p: float) -> str:
    bar = f"display:inline-block;height:9px;width:{max(1, round(BAR_PX * p))}px;background:rgb{expression_colour(name)}"
    cell = "text-align:left;padding:0 6px"
    return f'<tr><td style="{cell}">{escape(name)}</td><td style="{cell}"><span style="{bar}"></span> {p:.0%}</td></tr>'


def _img(image: NDArray[np.uint8]) -> str:
    return f'<img alt="" src="{data_url(image, ".jpg")}">'


def _smaller(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
