"""The mesh of a face: 468 points in three dimensions, from mien's own small network or from MediaPipe's finer one."""

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien._onnxruntime import ort
from mien.attributes.geometry import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS, Points
from mien.detect.align import crop_matrices, warp
from mien.errors import InputError, ModelError, check_known, shown
from mien.faces import CROP_PX, MESH_POINTS, Faces, Floats, check_image
from mien.models.runtime import RuntimeSettings, open_model, open_weights
from mien.weights import path_of

AUTO, OWN_MESH = "auto", "mien-mesh"
OUTER_CORNERS = [RIGHT_EYE_CORNERS[0], LEFT_EYE_CORNERS[1]]
ROOM = 1.5  # side of the second look, in longer sides of the box around the points
LEAST_PX, MOST_CROPS = 4.0, 4.0  # sides of the second look that make sense: pixels of the image, standard crops


@dataclass(frozen=True)
class MeshFile:
    """One network that finds a mesh, and what it looks at.

    Attributes:
        shipped: Name of the file in the package's `weights` folder; "" for weights that a user pulls.
        pulled: Key of `mien.weights.WEIGHTS`; "" for a shipped file.
        side: Side of the image it takes, pixels.
        look: Side of what it sees first, pixels of the standard crop, about the middle of the crop.
        down: How far below that middle, pixels of the standard crop.
        colour: Whether it takes RGB from 0 to 1; else gray levels, uint8.
        again: Whether it looks once more, where its own points say.
        edge: Where the middle of its first pixel lies in its own coordinates.
        summary: One line for people who choose.
        sha256: Hash of a shipped file; "" for weights that are pulled, whose hash `mien.weights` checks.
    """

    shipped: str
    pulled: str
    side: int
    look: float
    down: float
    colour: bool
    again: bool
    edge: float
    summary: str
    sha256: str = ""

    @property
    def path(self) -> Path:
        """The file.

        Raises:
            MissingWeightsError: It was not pulled; the message has the line to type.
        """
        if self.pulled:
            return path_of(self.pulled)
        return Path(str(resources.files("mien.models"))) / "weights" / self.shipped

    def is_there(self) -> bool:
        """Return whether a shipped file came with this package; weights that are pulled are asked for by name."""
        return bool(self.shipped) and self.path.is_file()

    def is_intact(self) -> bool:
        """Return whether a shipped file is the one that was measured."""
        return self.is_there() and hashlib.sha256(self.path.read_bytes()).hexdigest() == self.sha256


MESHES = {
    OWN_MESH: MeshFile(
        "mien-mesh.onnx", "", 64, 64, 0, colour=False, again=False, edge=0, summary="mien's own, shipped: fast",
        sha256="b32717d4a06f290a493cd8aff85d9f813e4257d618c5052148e29bc5432ca7dd",
    ),
    "mediapipe": MeshFile(
        "", "mesh", 192, 69, 4.5, colour=True, again=True, edge=0.5,
        summary="MediaPipe's, pulled: finer at eyes and lips, some ten times slower",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Meshes:
    """The meshes of the faces of one image.

    Attributes:
        points: (N, 468, 3) float64, pixels of the image that count from its outer edge; z in the same unit, smaller is
            nearer to the camera.
        presence: (N,) float32, how sure the network is that there is a face, 0-1.
    """

    points: Points
    presence: Floats


def chosen_mesh(name: str = AUTO) -> str:
    """Return the name of a mesh: mien's own for `"auto"` where it is shipped, else MediaPipe's.

    Args:
        name: `"auto"` or a key of `MESHES`.

    Raises:
        InputError: Unknown name; the message lists the known ones.
    """
    if name == AUTO:
        return next((known for known, file in MESHES.items() if file.is_there()), "mediapipe")
    check_known("mesh", name, MESHES)
    return name


class FaceMesh:
    """Finds the mesh of faces that a detector found. Safe to call from several threads at once.

    Attributes:
        name: Its name in `MESHES`.
    """

    def __init__(self, name: str = AUTO, *, runtime: RuntimeSettings | None = None) -> None:
        """Open the network.

        Args:
            name: `"auto"` or a key of `MESHES`.
            runtime: Device, threads and memory.

        Raises:
            InputError: Unknown name.
            MissingWeightsError: It must be pulled first; the message has the line to type.
            ModelError: The file is damaged.
        """
        self.name = chosen_mesh(name)
        self._file = MESHES[self.name]
        self._session = _opened(self._file, runtime or RuntimeSettings())
        self._input = self._session.get_inputs()[0].name

    def find(self, image: NDArray[np.uint8], faces: Faces, *, framed: bool = False) -> Meshes:
        """Return the mesh of every face.

        Args:
            image: (H, W, 3) uint8 RGB.
            faces: N faces in pixels of that image.
            framed: Whether the image already is a crop with the framing of FER2013.

        Raises:
            InputError: `image` is something else.
        """
        check_image(image)
        if not len(faces):
            return Meshes(np.zeros((0, MESH_POINTS, 3)), np.zeros(0, np.float32))
        crops = _whole(image)[None] if framed else crop_matrices(faces).astype(np.float64)
        maps = [_view(crop, self._file) for crop in crops]
        points, presence = self._look(image, maps)
        if self._file.again:
            points, presence = self._look(image, self._closer(points, crops, maps))
        points[..., :2] += 0.5  # pixel centres to the outer edge
        return Meshes(points, presence)

    def _look(self, image: NDArray[np.uint8], maps: list[Points]) -> tuple[Points, Floats]:
        """Return points in pixel centres of the image, and presence."""
        side, colour = self._file.side, self._file.colour
        views = np.stack([warp(image, view, side=side, colour=colour) for view in maps])
        given = views.astype(np.float32) / np.float32(255) if colour else views
        told = self._session.run(["points", "presence"], {self._input: given})
        points = np.asarray(told[0], np.float64).reshape(-1, MESH_POINTS, 3)
        presence = np.asarray(told[1], np.float32).reshape(-1)
        if self._file.pulled:  # a logit
            presence = 1 / (1 + np.exp(-presence.clip(-30, 30)))
        points[..., :2] -= self._file.edge
        for one, view in zip(points, maps, strict=True):
            scale = np.hypot(view[0, 0], view[1, 0]) or np.nan  # 0: a box beyond all bounds, where there is no face
            one[:, :2] = (one[:, :2] - view[:, 2]) @ view[:, :2] / scale**2  # the inverse of a turn and a scale
            one[:, 2] /= scale
        return points, presence

    def _closer(self, points: Points, crops: Points, maps: list[Points]) -> list[Points]:
        """Return the maps of the second look: upright by the eyes, and around the points; none that runs away."""
        found = []
        for one, crop, before in zip(points, crops, maps, strict=True):
            along = one[OUTER_CORNERS[1], :2] - one[OUTER_CORNERS[0], :2]
            upright = np.array([[along[0], along[1]], [-along[1], along[0]]]) / max(float(np.hypot(*along)), 1e-6)
            turned = one[:, :2] @ upright.T
            low, high = turned.min(axis=0), turned.max(axis=0)
            size = ROOM * float((high - low).max())
            usual = CROP_PX / float(np.hypot(crop[0, 0], crop[1, 0]))
            if not max(LEAST_PX, usual / MOST_CROPS) <= size <= usual * MOST_CROPS:
                found.append(before)
                continue
            scaled = upright * (self._file.side / size)
            middle = (low + high) / 2 * (self._file.side / size)
            found.append(np.column_stack([scaled, (self._file.side - 1) / 2 - middle]))
        return found


def _opened(file: MeshFile, runtime: RuntimeSettings) -> ort.InferenceSession:
    if file.pulled:
        return open_weights(file.pulled, runtime)
    if not file.path.is_file():
        raise ModelError(f"this package lacks {file.path.name}; install mien again, or choose the mesh mediapipe")
    return open_model(file.path.read_bytes(), file.path, runtime)


def _whole(image: NDArray[np.uint8]) -> Points:
    """Return the map from an image that is a crop to the standard crop, of one scale in both directions."""
    height, width = image.shape[:2]
    scale = CROP_PX / np.sqrt(height * width)
    shift = (CROP_PX - 1) / 2 - scale * (np.array([width, height]) - 1) / 2
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])


def _view(crop: Points, file: MeshFile) -> Points:
    """Return the map from the image to what the network sees first, from that to the standard crop."""
    scale = file.side / file.look
    middle = (CROP_PX - 1) / 2 + np.array([0, file.down])
    view = crop * scale
    view[:, 2] += (file.side - 1) / 2 - scale * middle
    return view


def mesh_names() -> tuple[str, ...]:
    """Return what a user may name: `"auto"` and the keys of `MESHES`."""
    return (AUTO, *MESHES)


def check_mesh(name: str) -> None:
    """Refuse an unknown name of a mesh.

    Args:
        name: As given.

    Raises:
        InputError: The message lists the known ones.
    """
    if name not in mesh_names():
        raise InputError(f"mesh must be one of {', '.join(mesh_names())}, got {shown(name)}")
