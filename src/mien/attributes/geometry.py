"""Measures of a face from the 468 points of its mesh. Pure functions.

The points are those of MediaPipe's face mesh (Kartynnik et al. 2019, arXiv:1907.06724): x to the right, y downwards and
z away from the camera, all three in one unit. Left and right are the person's: the left eye of somebody who looks into
the camera is on the right side of the image.

Every measure but the pose is taken in the *frame of the head*: the points turned so that the face looks straight into
the camera, about the middle between the eyes, in units of the eye distance (between the middles of the two eyes). So
turning and tilting the head changes a measure only as far as the mesh is wrong.

Pose is the rotation that brings the canonical face onto the mesh in the least squares sense (Kabsch 1976; Umeyama
1991), over points that expressions move little: `R = Rz(roll) Ry(-yaw) Rx(-pitch)`. Turning the image in its plane
therefore changes the roll alone. Signs: yaw > 0, the person turns to their left; pitch > 0, they look up; roll > 0,
they tilt the head towards their left shoulder. In a mirror image yaw and roll change their sign.
"""

import functools
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.faces import MESH_POINTS, Floats

Points = NDArray[np.float64]

# Corners, then the pairs of upper and lower lid that the eye aspect ratio takes (Soukupová & Čech 2016: p2-p6, p3-p5).
LEFT_EYE_CORNERS, LEFT_LIDS = (362, 263), ((385, 380), (387, 373))
RIGHT_EYE_CORNERS, RIGHT_LIDS = (33, 133), ((160, 144), (158, 153))
LEFT_MOUTH, RIGHT_MOUTH, UPPER_LIP, LOWER_LIP = 291, 61, 13, 14
INNER_LIPS = ((82, 87), (13, 14), (312, 317))  # upper and lower inner lip: beside the middle, middle, beside it
OUTER_LIPS = (0, 17)
LEFT_BROW, RIGHT_BROW = (336, 296, 334, 293, 300), (107, 66, 105, 63, 70)  # the upper edge, from the nose outwards
LEFT_INNER_BROW, RIGHT_INNER_BROW = (336, 285), (107, 55)
RIGID = np.array(  # forehead, temples, bridge and wings of the nose, corners of the eyes, below the eyes
    [10, 109, 338, 67, 297, 103, 332, 54, 284, 21, 251, 162, 389, 127, 356, 168, 6, 197, 195, 5, 33, 133, 362, 263,
     130, 359, 243, 463, 119, 348, 118, 347, 100, 329, 121, 350, 128, 357, 114, 343, 188, 412]
)  # fmt: skip
IBUG68 = np.array(  # the points of the mesh nearest to the 68 of iBUG 300-W, from left to right as the viewer sees them
    [127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356,
     70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
     168, 197, 5, 4, 75, 97, 2, 326, 305,
     33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
     61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87]
)  # fmt: skip


@functools.cache
def canonical_face() -> Points:
    """Return the canonical face: (468, 3) float64 in eye distances, symmetric, looking straight into the camera.

    Its shape is the mean of the meshes of 102 people with a neutral face, made symmetric:
    `benchmarks/canonical_face.py`.
    """
    with (files(__package__) / "canonical_face.npy").open("rb") as file:
        found: Points = np.load(file, allow_pickle=False).astype(np.float64)
    found.flags.writeable = False
    return found


def rotations(meshes: Points) -> Points:
    """Return the rotation of each head, from the frame of the head to that of the image.

    Args:
        meshes: (N, 468, 3), any unit.

    Returns:
        (N, 3, 3) float64; NaN where a mesh is.
    """
    model = canonical_face()[RIGID]
    model = model - model.mean(axis=0)
    seen = np.asarray(meshes, np.float64)[:, RIGID]
    good = np.isfinite(seen).all(axis=(1, 2))
    found = np.full((len(seen), 3, 3), np.nan)
    seen = seen[good] - seen[good].mean(axis=1, keepdims=True)
    u, _, vt = np.linalg.svd(np.einsum("nki,kj->nij", seen, model))
    proper = np.ones((len(seen), 1, 3))
    proper[:, 0, 2] = np.sign(np.linalg.det(u @ vt))
    found[good] = (u * proper) @ vt
    return found


def pose_of(turns: Points) -> Points:
    """Return yaw, pitch and roll of rotations.

    Args:
        turns: (N, 3, 3), from `rotations`.

    Returns:
        (N, 3) degrees: yaw > 0 to the person's left, pitch > 0 upwards, roll > 0 towards the person's left shoulder.
    """
    yaw = np.arctan2(turns[:, 2, 0], np.hypot(turns[:, 0, 0], turns[:, 1, 0]))
    pitch = np.arctan2(-turns[:, 2, 1], turns[:, 2, 2])
    roll = np.arctan2(turns[:, 1, 0], turns[:, 0, 0])
    return np.asarray(np.degrees(np.stack([yaw, pitch, roll], axis=1)))


def turn_of(yaw: float, pitch: float, roll: float) -> Points:
    """Return the rotation (3, 3) of a head with this pose: the inverse of `pose_of`.

    Args:
        yaw: Degrees, as `pose_of` gives them.
        pitch: Degrees.
        roll: Degrees.
    """
    (a, b, c), (s, t, u) = np.cos(np.radians([-yaw, -pitch, roll])), np.sin(np.radians([-yaw, -pitch, roll]))
    about_y = np.array([[a, 0, s], [0, 1, 0], [-s, 0, a]])
    about_x = np.array([[1, 0, 0], [0, b, -t], [0, t, b]])
    about_z = np.array([[c, -u, 0], [u, c, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def in_head_frame(meshes: Points, turns: Points) -> Points:
    """Return meshes as if every head looked straight into the camera, in eye distances from the middle of the eyes.

    Args:
        meshes: (N, 468, 3), any unit.
        turns: (N, 3, 3), from `rotations`.

    Returns:
        (N, 468, 3) float64.
    """
    left, right = meshes[:, LEFT_EYE_CORNERS].mean(axis=1), meshes[:, RIGHT_EYE_CORNERS].mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        local = (meshes - ((left + right) / 2)[:, None]) / np.linalg.norm(left - right, axis=1)[:, None, None]
    return np.asarray(np.einsum("nki,nij->nkj", local, turns))


def eye_openness(heads: Points) -> Points:
    """Return the eye aspect ratio of the left and the right eye: height over width (Soukupová & Čech 2016).

    Args:
        heads: (N, 468, 3), from `in_head_frame`.

    Returns:
        (N, 2), the person's left, right; about 0.3 for an open eye, 0.1 and less for a closed one.
    """
    return np.stack(
        [_aspect(heads, LEFT_LIDS, LEFT_EYE_CORNERS), _aspect(heads, RIGHT_LIDS, RIGHT_EYE_CORNERS)], axis=1
    )


def _aspect(heads: Points, lids: tuple[tuple[int, int], ...], corners: tuple[int, int]) -> Points:
    height = np.mean([_between(heads, a, b) for a, b in lids], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(height / _between(heads, *corners))


def _between(heads: Points, a: int, b: int) -> Points:
    return np.asarray(np.linalg.norm(heads[:, a] - heads[:, b], axis=1))


def mouth_of(heads: Points) -> Points:
    """Return opening, width, lift of the corners, and asymmetry of the mouth.

    Args:
        heads: (N, 468, 3), from `in_head_frame`.

    Returns:
        (N, 4) in eye distances: the gap between the inner lips (0: closed), the distance between the corners, how far
        the corners lie above the middle of the outer lips (negative: below), and how much further the left one does
        than the right.
    """
    opening = np.mean([_between(heads, a, b) for a, b in INNER_LIPS], axis=0)
    middle = heads[:, OUTER_LIPS, 1].mean(axis=1)
    left, right = middle - heads[:, LEFT_MOUTH, 1], middle - heads[:, RIGHT_MOUTH, 1]
    return np.stack([opening, _between(heads, LEFT_MOUTH, RIGHT_MOUTH), (left + right) / 2, left - right], axis=1)


def brows_of(heads: Points) -> Points:
    """Return how far the brows are raised, and how far they are drawn together.

    Args:
        heads: (N, 468, 3), from `in_head_frame`.

    Returns:
        (N, 2) in eye distances, both against the canonical face: the height of the brows above the corners of the eyes,
        and by how much their inner ends are nearer to each other.
    """
    raised, near = _brow_places(heads)
    resting, apart = _resting_brows()
    return np.stack([raised - resting, apart - near], axis=1)


@functools.cache
def _resting_brows() -> tuple[float, float]:
    height, apart = _brow_places(in_head_frame(canonical_face()[None], np.eye(3)[None]))
    return float(height[0]), float(apart[0])


def _brow_places(heads: Points) -> tuple[Points, Points]:
    height = -heads[:, LEFT_BROW + RIGHT_BROW, 1].mean(axis=1)
    return height, heads[:, LEFT_INNER_BROW, 0].mean(axis=1) - heads[:, RIGHT_INNER_BROW, 0].mean(axis=1)


def landmarks68(points: Floats) -> Floats:
    """Return the 68 landmarks of iBUG 300-W, by index, from the points of meshes.

    0-16 jaw, 17-26 brows, 27-35 nose, 36-47 eyes, 48-67 mouth, each from left to right as the viewer sees them.

    Args:
        points: (…, 468, D) of any unit; `Face.mesh` or `Faces.mesh`.

    Returns:
        (…, 68, D).
    """
    if points.shape[-2] != MESH_POINTS:
        raise InputError(f"points must be (…, {MESH_POINTS}, 2 or 3), got {points.shape}; pass the mesh of a face")
    chosen: Floats = points[..., IBUG68, :]
    return chosen
