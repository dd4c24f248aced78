"""The colours of expressions, and letters that can be read on them."""

import colorsys
import zlib

from mien.labels import COLOURS, canonical_name

Colour = tuple[int, int, int]

FACE_COLOUR: Colour = (38, 166, 154)  # a face whose expression is not known
DARK: Colour = (24, 26, 30)
WHITE: Colour = (255, 255, 255)
TRUTH_COLOUR: Colour = (206, 209, 213)  # lighter than neutral, so that the two are not taken for each other


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
