"""Faces of known pose, made from a portrait: the pixels of its mesh, drawn on the mesh turned by a known rotation."""

import cv2
import numpy as np
from scipy.spatial import Delaunay

from mien.attributes.geometry import canonical_face, in_head_frame, rotations, turn_of
from mien.faces import Faces

SIDE = 320


def turned(image, mesh, yaw, pitch, roll, *, side=SIDE):
    """Draw a face as if it had this pose.

    Args:
        image: (H, W, 3) uint8 RGB, a portrait that looks about straight into the camera.
        mesh: (468, 3) float64, its mesh, pixels.
        yaw: Degrees, as `mien.attributes` gives them.
        pitch: Degrees.
        roll: Degrees.
        side: Width and height of the result.

    Returns:
        The image (side, side, 3) uint8 RGB, and the face as a detector without landmarks would give it.
    """
    head = in_head_frame(mesh[None], rotations(mesh[None]))[0]
    head = head - head.mean(axis=0)
    points = head @ turn_of(yaw, pitch, roll).T
    scale = 0.22 * side
    target = points[:, :2] * scale + side / 2
    canvas = cv2.GaussianBlur(cv2.resize(image, (side, side)), (0, 0), 12)
    triangles = Delaunay(canonical_face()[:, :2]).simplices
    depth = points[triangles, 2].mean(axis=1)
    for corners in triangles[np.argsort(-depth)]:  # the farthest first
        a, b = mesh[corners, :2].astype(np.float32), target[corners].astype(np.float32)
        x, y = np.floor(b.min(axis=0)).astype(int) - 1
        w, h = np.ceil(b.max(axis=0)).astype(int) + 2 - (x, y)
        if x < 0 or y < 0 or x + w > side or y + h > side:
            continue
        piece = cv2.warpAffine(image, cv2.getAffineTransform(a, (b - (x, y)).astype(np.float32)), (int(w), int(h)))
        mask = np.zeros((h, w), np.uint8)
        cv2.fillConvexPoly(mask, np.rint((b - (x, y)) * 16).astype(np.int32), 255, shift=4)
        mask = cv2.dilate(mask, np.ones((3, 3)))[..., None] > 0
        part = canvas[y : y + h, x : x + w]
        np.copyto(part, piece, where=mask)
    low, high = target.min(axis=0), target.max(axis=0)
    box = np.array([[*low, *high]], np.float32)
    return canvas, Faces(box, np.ones(1, np.float32))


OVAL = [10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377]
OVAL += [152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109]
RINGS = ((1.12, 0.06, 1.0), (1.3, 0.15, 1.0), (1.6, 0.25, 0.6), (2.2, 0.3, 0.2), (3.2, 0.3, 0.0))


def turned_head(image, mesh, yaw, *, side=400):
    """Draw a whole head as if it were turned, hair and ears, too (after Zhu et al. 2016, arXiv:1511.07212).

    Rings around the oval of the face lie farther back than it; outer ones turn less, the outermost not at all.

    Args:
        image: (H, W, 3) uint8 RGB, a portrait that looks about straight into the camera, with room around the head.
        mesh: (468, 3) float64, its mesh, pixels.
        yaw: Degrees, as `mien.attributes` gives them.
        side: Width and height of the result.

    Returns:
        The image (side, side, 3) uint8 RGB, and the points of the mesh in it (468, 3) float64.
    """
    turn = rotations(mesh[None])[0]
    head = in_head_frame(mesh[None], turn[None])[0]
    eyes = mesh[[33, 133, 362, 263]].reshape(2, 2, 3).mean(axis=1)
    oval = head[OVAL]
    middle, rear = oval.mean(axis=0), oval[:, 2].max()
    rings = []
    for wider, deeper, _ in RINGS:
        ring = middle + (oval - middle) * wider
        ring[:, 2] = oval[:, 2] + (rear - oval[:, 2]) * min(1, 3 * (wider - 1)) + deeper
        rings.append(ring)
    points = np.concatenate([head, *rings])
    share = np.concatenate([np.ones(len(head)), np.repeat([turns for *_, turns in RINGS], len(OVAL))])[:, None]
    flat = np.concatenate([canonical_face() - canonical_face()[OVAL].mean(axis=0), *(ring - middle for ring in rings)])
    source = points @ turn.T * np.linalg.norm(eyes[0] - eyes[1]) + eyes.mean(axis=0)
    points = points - [middle[0], middle[1], rear]
    scale = 0.16 * side
    points = (share * (points @ turn_of(yaw, 0, 0).T) + (1 - share) * points) * scale
    target = points[:, :2] + side / 2
    canvas = cv2.GaussianBlur(cv2.resize(image, (side, side)), (0, 0), side / 20)
    triangles = Delaunay(flat[:, :2]).simplices
    for corners in triangles[np.argsort(-points[triangles, 2].mean(axis=1))]:  # the farthest first
        _paint(canvas, image, source[corners, :2] - 0.5, target[corners])
    return canvas, np.column_stack([target + 0.5, points[:, 2]])[: len(mesh)]


def _paint(canvas, image, source, target):
    """Paint one triangle of an image, whose border is repeated beyond it."""
    low = np.maximum(np.floor(target.min(axis=0)).astype(int) - 1, 0)
    x, y, right, bottom = *low, *np.minimum(np.ceil(target.max(axis=0)).astype(int) + 2, canvas.shape[1::-1])
    if right <= x or bottom <= y:
        return
    corners, size = (target - (x, y)).astype(np.float32), (int(right - x), int(bottom - y))
    warp = cv2.getAffineTransform(source.astype(np.float32), corners)
    piece = cv2.warpAffine(image, warp, size, borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros(size[::-1], np.uint8)
    cv2.fillConvexPoly(mask, np.rint(corners * 16).astype(np.int32), 255, shift=4)
    mask = cv2.dilate(mask, np.ones((3, 3)))[..., None] > 0
    np.copyto(canvas[y:bottom, x:right], piece, where=mask)


UPPER_LIDS = ([33, 246, 161, 160, 159, 158, 157, 173, 133], [362, 398, 384, 385, 386, 387, 388, 466, 263])
LOWER_LIDS = ([33, 7, 163, 144, 145, 153, 154, 155, 133], [362, 382, 381, 380, 374, 373, 390, 249, 263])
ABOVE = ([247, 30, 29, 27, 28, 56, 190], [414, 286, 258, 257, 259, 260, 467])  # skin between lid and brow


def with_closed_eyes(image, mesh):
    """Paint lids over the eyes of a portrait: skin of the upper lid, and a dark line of lashes along the lower one.

    Args:
        image: (H, W, 3) uint8 RGB.
        mesh: (468, 3), the mesh of its face, pixels.
    """
    painted = image.copy()
    for upper, lower, above in zip(UPPER_LIDS, LOWER_LIDS, ABOVE, strict=True):
        edge = np.concatenate([mesh[upper, :2], mesh[lower[::-1], :2]])
        middle = edge.mean(axis=0)
        height = np.ptp(edge[:, 1])
        outline = np.rint((middle + (edge - middle) * [1.05, 1.6]) * 16).astype(np.int32)
        skin = np.median([image[int(y), int(x)] for x, y in mesh[above, :2]], axis=0)
        cv2.fillPoly(painted, [outline], skin.tolist(), cv2.LINE_AA, 4)
        lashes = np.rint((mesh[lower, :2] + [0, 0.25 * height]) * 16).astype(np.int32)
        cv2.polylines(painted, [lashes], False, (skin * 0.35).tolist(), max(1, round(0.12 * height)), cv2.LINE_AA, 4)
    eyes = mesh[UPPER_LIDS[0] + UPPER_LIDS[1], :2]
    low, high = np.floor(eyes.min(axis=0) - 30).astype(int), np.ceil(eyes.max(axis=0) + 30).astype(int)
    part = painted[low[1] : high[1], low[0] : high[0]]
    part[:] = cv2.GaussianBlur(part, (0, 0), 0.8)
    return painted
