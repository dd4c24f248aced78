"""The letters and the emoji, from small sheets in this folder.

The letters are Inter SemiBold and the emoji Noto Color Emoji, both under the SIL Open Font License 1.1, so drawing
needs neither a font engine nor a font on the machine.
"""

import json
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources

import cv2
import numpy as np
from numpy.typing import NDArray


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


def bearing_px(px: int) -> float:
    """Return how far a line of text reaches to the left of where it starts, pixels.

    Args:
        px: Size, pixels to the em.
    """
    letters = _letters()
    return letters.bearing * px / letters.em_px


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


def _spelt(text: str) -> str:
    known = _letters().advance
    return "".join(c if c in known else "?" for c in unicodedata.normalize("NFC", text))


def shortened(name: str, most: int) -> str:
    """Return a name, cut where it has more than `most` letters."""
    return name if len(name) <= most else name[: most - 1] + "…"


def _resized(line: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Resize coverage; enlarged edges are made as sharp again as they were."""
    size = max(1, round(line.shape[1] * factor)), max(1, round(line.shape[0] * factor))
    if factor <= 1:
        return np.asarray(cv2.resize(line, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    soft = cv2.resize(line, size, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    return np.asarray(np.rint(((soft - 127.5) * factor + 127.5).clip(0, 255)), dtype=np.uint8)


@lru_cache(maxsize=32)
def sprite(name: str, side: int) -> NDArray[np.float32]:
    """Return the emoji of an expression, (side, side, 4) float32; see `_full_sprite`."""
    full = _full_sprite(name)
    how = cv2.INTER_AREA if side <= full.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(full, (side, side), interpolation=how), dtype=np.float32)


@cache
def _full_sprite(name: str) -> NDArray[np.float32]:
    """Return the (128, 128, 4) float32 sprite: RGB 0-255 times opacity, opacity 0-1."""
    data = (resources.files("mien.output.draw") / "emoji" / f"{name}.png").read_bytes()
    stored = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
    sprite = cv2.cvtColor(stored, cv2.COLOR_BGRA2RGBA).astype(np.float32)
    sprite[..., 3] /= 255
    sprite[..., :3] *= sprite[..., 3:]
    return np.asarray(sprite, dtype=np.float32)
