"""What is drawn on the frames of a video: faces and truth, and a veil over those that were lost a moment ago."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mien.faces import Faces
from mien.output.draw.faces import PLAIN, DrawStyle, Veil, draw_faces
from mien.video.truth import Truth


@dataclass(frozen=True)
class Drawing:
    """Draws faces on a copy of an image, with the truth beside them where it is known.

    One for each video.

    Attributes:
        style: What is drawn.
        truth: Known expressions, or None.
        veil: Hides, where faces are blurred, those that were lost a moment ago.
    """

    style: DrawStyle = PLAIN
    truth: Truth | None = None
    veil: Veil = field(default_factory=Veil)

    def __call__(self, image: NDArray[np.uint8], faces: Faces) -> NDArray[np.uint8]:
        """Draw."""
        image = self.veil.cover(image, faces) if self.style.blur else image
        return draw_faces(image, faces, style=self.style, truth=self.truth.of(faces) if self.truth else ())
