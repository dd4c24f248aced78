"""What is drawn for each face."""

from dataclasses import dataclass

from mien.errors import InputError


@dataclass(frozen=True)
class DrawStyle:
    """What is drawn for each face.

    Attributes:
        box: The box.
        tag: The tag with emoji, expression and percentage (without probabilities: the detector's score).
        emoji: The emoji in tags and bars.
        percent: The percentage in tags.
        ids: The number in tags: that of the track (`#1`), or among several faces of an image that of the face in tables
            (`0:`).
        landmarks: The five points, where the faces have them.
        bars: A panel beside the face with a bar for every expression of the label set.
        measures: What else was measured of the faces, where that was asked for: the lines of the mesh, the axes of the
            pose, and the numbers on a small panel.
        blur: Make faces unrecognisable; the box drawn is blurred, with a margin.
        scale: Factor on the size of letters and lines, 0.25 to 8; 1 suits the image and the face.
    """

    box: bool = True
    tag: bool = True
    emoji: bool = True
    percent: bool = True
    ids: bool = True
    landmarks: bool = False
    bars: bool = False
    measures: bool = True
    blur: bool = False
    scale: float = 1.0

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0.25 <= self.scale <= 8:
            raise InputError(f"scale must be 0.25 to 8, got {self.scale}; 1 is the ordinary size")


PLAIN = DrawStyle()
