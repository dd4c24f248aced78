"""The two consoles, and the small pieces that several commands print."""

import sys

from rich.console import Console
from rich.text import Text

from mien.labels import COLOURS, EMOJI

PIPED_WIDTH = 140  # characters; rich would take 80 where it cannot ask a terminal

out = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
errors = Console(stderr=True)

BLOCKS = " ▏▎▍▌▋▊▉█"


def bar(share: float, *, width: int = 12, colour: str = "cyan") -> Text:
    """Return a horizontal bar.

    Args:
        share: 0-1.
        width: Width of the full bar, characters.
        colour: A colour that rich knows.
    """
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return Text(("█" * full + (BLOCKS[rest] if rest else "")).ljust(width), style=colour)


def expression_text(name: str) -> Text:
    """Return an expression with its emoji, in its colour."""
    return Text(f"{EMOJI.get(name, '·')} {name}", style=f"bold {colour(name)}")


def colour(name: str) -> str:
    """Return an expression's colour as rich wants it."""
    return "rgb({},{},{})".format(*COLOURS.get(name, (160, 160, 160)))


def megabytes(count: int) -> str:
    """Return a file size for people."""
    return f"{count / 1e6:.1f} MB"
