"""Eyes seen closely: how open they are, and coarsely where they look, by MediaPipe's iris network.

The network (Ablavatski et al. 2020, arXiv:2006.11341) finds the contour of an eye and its iris. Unlike the points of a
mesh, its lids close when the eyes do.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.attributes.geometry import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS, Points
from mien.detect.align import warp
from mien.models.runtime import RuntimeSettings, open_weights

SIDE = 64
EYE_ROOM = 2.3  # side of the view in widths of the eye
EYEBALL = 0.4  # radius of the eyeball in widths of the eye: 12 of 30 mm
RESTING = (
    0.074  # how far above the line between the corners the iris lies when people look into a camera: docs/attributes.md
)
CORNERS = (0, 8)  # of the contour: the outer and the inner corner of the eye
LIDS = ((11, 3), (13, 5))  # of the contour: pairs of upper and lower lid, as for the points of the mesh
SHUT, WIDE = 0.13, 0.27  # eye aspect ratios at and below which eyes are closed, at and above which they are open


@dataclass(frozen=True)
class EyeLook:
    """The eyes of the faces of one image.

    Attributes:
        gaze: (N, 2) degrees within the head: to the person's left, and upwards.
        openness: (N, 2) eye aspect ratio of the left and the right eye.
    """

    gaze: Points
    openness: Points


class IrisFinder:
    """Looks at the eyes of faces whose mesh is known. Safe to call from several threads at once."""

    def __init__(self, *, runtime: RuntimeSettings | None = None) -> None:
        """Open the network.

        Args:
            runtime: Device, threads and memory.

        Raises:
            MissingWeightsError: It must be pulled first; the message has the line to type.
        """
        self._session = open_weights("iris", runtime or RuntimeSettings())
        self._input = self._session.get_inputs()[0].name

    def find(self, image: NDArray[np.uint8], meshes: Points) -> EyeLook:
        """Return how open the eyes of every face are, and where they look.

        The iris lies on an eyeball of a usual size: its place between the corners of the eye gives the angle. Both eyes
        are averaged for the gaze.

        Args:
            image: (H, W, 3) uint8 RGB.
            meshes: (N, 468, 3), pixels of that image that count from its outer edge.
        """
        if not len(meshes):
            return EyeLook(np.zeros((0, 2)), np.zeros((0, 2)))
        views, sides = [], []
        for mesh in meshes:
            for corners in (LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS):
                view = warp(image, _view(mesh, corners), side=SIDE, colour=True)
                mirrored = corners is LEFT_EYE_CORNERS
                views.append(view[:, ::-1] if mirrored else view)
                sides.append(-1.0 if mirrored else 1.0)
        given = np.stack(views).astype(np.float32) / np.float32(255)
        contours, irises = self._session.run(["contour", "iris"], {self._input: given})
        contour = np.asarray(contours, np.float64).reshape(-1, 71, 3)[..., :2]
        middle = np.asarray(irises, np.float64).reshape(-1, 5, 3)[:, 0, :2]
        angles = _angles(contour[:, CORNERS], middle, np.array(sides)).reshape(-1, 2, 2)
        heights = [np.linalg.norm(contour[:, a] - contour[:, b], axis=1) for a, b in LIDS]
        widths = np.linalg.norm(contour[:, CORNERS[1]] - contour[:, CORNERS[0]], axis=1)
        openness = np.mean(heights, axis=0) / np.maximum(widths, 1e-6)
        return EyeLook(angles.mean(axis=1), openness.reshape(-1, 2))


def closed_by(openness: Points) -> Points:
    """Return how closed eyes are, from 0 for open to 1 for closed.

    Args:
        openness: Eye aspect ratios by `IrisFinder`.
    """
    return np.asarray(((WIDE - openness) / (WIDE - SHUT)).clip(0, 1))


def _angles(corners: Points, irises: Points, sides: NDArray[np.float64]) -> Points:
    """Return the angles (M, 2) of eyes from their corners (M, 2, 2), outer and inner, and irises (M, 2).

    Args:
        corners: As the network saw the eye: the outer corner at the left.
        irises: Middle of the iris.
        sides: 1 for the eye at the viewer's left, -1 for the other one, which the network saw mirrored.
    """
    along = corners[:, 1] - corners[:, 0]
    width = np.maximum(np.linalg.norm(along, axis=1), 1e-6)
    offset = irises - corners.mean(axis=1)
    across = (offset * along).sum(axis=1) / width**2
    above = (offset[:, 0] * along[:, 1] - offset[:, 1] * along[:, 0]) / width**2
    turned = np.stack([sides * across, above - RESTING], axis=1) / EYEBALL
    return np.asarray(np.degrees(np.arcsin(turned.clip(-1, 1))))


def _view(mesh: Points, corners: tuple[int, int]) -> Points:
    """Return the map from pixel centres of the image to the view of one eye, upright by its corners."""
    first, second = mesh[list(corners), :2] - 0.5
    along = second - first
    scale = SIDE / (EYE_ROOM * max(float(np.hypot(*along)), 1e-6))
    c, s = along / max(float(np.hypot(*along)), 1e-6) * scale
    turn = np.array([[c, s], [-s, c]])
    return np.column_stack([turn, (SIDE - 1) / 2 - turn @ ((first + second) / 2)])
