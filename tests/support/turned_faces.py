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
