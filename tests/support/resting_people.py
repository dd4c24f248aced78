"""Made people whose resting face the model calls angry or sad: an example portrait with brows and mouth moved.

`resting_then_smiling("angry")` is 6 s at 10 frames/s: rest until 3 s, from 3.2 to 4.6 s the other portrait's smile,
rest again from 4.8 s.
"""

from pathlib import Path

import cv2
import numpy as np

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
BROWS, MOUTH = ((248, 168), (286, 166)), ((234, 281), (307, 276))  # inner ends and corners, pixels
POINTS = np.float32([[222, 194], [308, 189], [269, 241], [234, 281], [307, 276]])
SMILE_POINTS = np.float32([[204, 101], [247, 103], [225, 128], [202, 140], [246, 141]])  # of the other portrait
SMILE_CENTRE, SMILE_RADII = (270, 268), (62, 45)
REACH_PX = 22.0  # of a move
FPS = 10
RESTS = {"angry": (16, 6, 0), "sad": (-8, 0, -7)}  # brows down and together, corners of the mouth up, pixels
SHOWN = np.concatenate([np.zeros(31), [0.5], np.ones(15), [0.5], np.zeros(12)])  # of the smile, per frame


def resting_then_smiling(looks, *, shown=SHOWN, size=(256, 300)):
    """Yield images of a person whose resting face looks `"angry"` or `"sad"`, and who smiles as far as `shown` says."""
    photo, smile = read("grace_hopper"), aligned_smile()
    for share in shown:
        down, together, up = (rest * (1 - share / 2) for rest in RESTS[looks])
        face = moved(photo, down=down, together=together, up=up)
        yield cv2.resize(with_smile(face, smile, share), size, interpolation=cv2.INTER_AREA)


def read(name):
    """Return an example portrait, RGB."""
    return cv2.cvtColor(cv2.imread(str(EXAMPLES / f"{name}.jpg")), cv2.COLOR_BGR2RGB)


def moved(photo, *, down, together, up):
    """Return a portrait with the brows' inner ends moved down and together, the mouth's corners up, pixels."""
    y, x = np.mgrid[: photo.shape[0], : photo.shape[1]].astype(np.float32)
    to_x, to_y = x.copy(), y.copy()
    moves = zip((*BROWS, *MOUTH), ((together, down), (-together, down), (0, -up), (0, -up)), strict=True)
    for (at_x, at_y), (right, below) in moves:
        weight = np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * REACH_PX**2)).astype(np.float32)
        to_x, to_y = to_x - weight * np.float32(right), to_y - weight * np.float32(below)
    return cv2.remap(photo, to_x, to_y, cv2.INTER_LINEAR)


def aligned_smile():
    """Return the smiling portrait with its face where the other one has it, float32."""
    place, _ = cv2.estimateAffine2D(SMILE_POINTS, POINTS)
    return cv2.warpAffine(read("astronaut"), place, (512, 600), flags=cv2.INTER_CUBIC).astype(np.float32)


def with_smile(face, smile, share):
    """Return a face with the mouth of a smiling one, in its own light, blended in by `share`, 0-1."""
    y, x = np.mgrid[: face.shape[0], : face.shape[1]].astype(np.float32)
    away = ((x - SMILE_CENTRE[0]) / SMILE_RADII[0]) ** 2 + ((y - SMILE_CENTRE[1]) / SMILE_RADII[1]) ** 2
    inside = np.clip(1.6 - 1.2 * away, 0, 1)[..., None]
    middle = inside[..., 0] > 0.5
    lit = np.clip(smile * (face[middle].mean(axis=0) / smile[middle].mean(axis=0)), 0, 255)
    return (face * (1 - share * inside) + lit * share * inside).astype(np.uint8)
