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
