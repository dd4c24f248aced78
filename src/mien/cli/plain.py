"""Output that takes letters of one code page only: what cannot be written is replaced, and nothing ever raises.

Windows redirects to cp1252, say, and `LANG=C` may mean ASCII. Boxes, bars and dashes become the nearest ASCII
character, emoji the first two letters of their expression, and all else an escape as in JSON.
"""

import codecs
import unicodedata
from typing import TextIO

from mien.labels import EMOJI

HANDLER = "mien-plain"

_NEAR = {
    **dict.fromkeys("─━═╌┄╍┅╴╶╸╺", "-"),
    **dict.fromkeys("│┃║╎┆╏┇", "|"),
    **dict.fromkeys("–—−‐‑", "-"),
    **dict.fromkeys("▏▎▍", " "),
    **dict.fromkeys("▌▋▊▉", "-"),
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("“”«»", '"'),
    **{block: str(level) for level, block in enumerate("▁▂▃▄▅▆▇")},
    **{emoji: name[:2] for name, emoji in EMOJI.items()},
    "█": "#", "…": "...", "·": "-", "•": "*", "×": "x", "→": ">", "≤": "<=", "≥": ">=", "±": "+-", "✓": "+", "✗": "x",
    "\u2009": " ", "\u202f": " ", "\xa0": " ",
}  # fmt: skip


def write_anything(stream: TextIO | None) -> None:
    """Let a text stream take every character, whatever its encoding.

    Args:
        stream: Standard output, say; None, as programs without a console have it, is left alone.
    """
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors=HANDLER)


def in_ascii(text: str) -> str:
    """Return text in ASCII."""
    return "".join(letter if letter.isascii() else _nearest(letter) for letter in text)


def _nearest(letter: str) -> str:
    if letter in _NEAR:
        return _NEAR[letter]
    if "\u2500" <= letter <= "\u257f":  # box drawing: corners and crossings
        return "+"
    base = unicodedata.normalize("NFKD", letter)[:1]
    if base.isascii() and base.isalnum():
        return base
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return in_ascii(error.object[error.start : error.end]), error.end


codecs.register_error(HANDLER, _replace)
