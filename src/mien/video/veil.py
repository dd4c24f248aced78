"""What is drawn on the frames of a video: faces and truth, and a veil over those that were lost a moment ago."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mien.faces import Faces
from mien.output.draw.faces import blur_part, draw_faces
from mien.output.draw.layout import visible_part
from mien.output.draw.style import PLAIN, DrawStyle
from mien.tracking.scene import SceneMemory, glance
from mien.video.truth import Truth

VEIL_S = 0.5


class Veil:
    """Blurs the places where the people of a video were a moment ago, for frames in which the detector misses them.

    A cut ends it. One for each video or stream; frames come in order.
    """

    def __init__(self, hold_s: float = VEIL_S) -> None:
        """Start before the first frame.

        Args:
            hold_s: How long a place stays blurred after its face was last found, seconds.
        """
        self._hold_s = hold_s
        self._seen: dict[int, tuple[NDArray[np.float32], float]] = {}
        self._scene = SceneMemory()

    def cover(self, image: NDArray[np.uint8], faces: Faces) -> NDArray[np.uint8]:
        """Return the image with those places blurred; itself where there are none.

        Args:
            image: (H, W, 3) uint8 RGB; not changed.
            faces: The faces that were found in it, with `track_id`; they are left as they are.
        """
        sight = glance(image)
        if self._scene.is_cut(sight):
            self._seen = {}
        self._scene = self._scene.after(sight)
        now = {face.track_id: (face.xyxy, faces.time_s) for face in faces if face.track_id is not None}
        recent = {i: seen for i, seen in self._seen.items() if 0 <= faces.time_s - seen[1] <= self._hold_s}
        lost = {i: seen for i, seen in recent.items() if i not in now}
        self._seen = lost | now
        boxes = [visible_part(xyxy, image.shape[1], image.shape[0]) for xyxy, _ in lost.values()]
        canvas = image.copy() if any(boxes) else image
        for box in boxes:
            if box is not None:
                blur_part(canvas, image, box)
        return canvas


@dataclass
class Drawing:
    """Draws faces on a copy of an image, with the truth beside them where it is known.

    One for each video or live view.

    Attributes:
        style: What is drawn; it may change between two frames.
        truth: Known expressions, or None.
        veil: Hides, where faces are blurred, those that were lost a moment ago.
    """

    style: DrawStyle = PLAIN
    truth: Truth | None = None
    veil: Veil = field(default_factory=Veil)

    def __call__(self, image: NDArray[np.uint8], faces: Faces) -> NDArray[np.uint8]:
        """Draw."""
        known = self.truth.of(faces) if self.truth else ()
        return draw_faces(self.veiled(image, faces), faces, style=self.style, truth=known)

    def veiled(self, image: NDArray[np.uint8], faces: Faces) -> NDArray[np.uint8]:
        """Return the image, where faces are blurred with those that were lost a moment ago blurred, too."""
        return self.veil.cover(image, faces) if self.style.blur else image
