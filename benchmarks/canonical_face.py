"""Makes `src/mien/attributes/canonical_face.npy`: the mean face that poses and brows are measured against.

    mien models pull mesh
    python benchmarks/canonical_face.py ../shared/data/faces/london src/mien/attributes/canonical_face.npy

The meshes (MediaPipe's) of the 102 neutral portraits of the Face Research Lab London Set are laid over one another by
rotation, shift and scale (generalised Procrustes analysis, Gower 1975), their median is made symmetric and turned about
the axis through the eyes until the median person looks straight into the camera. No face of the set is in the result.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

import mien
from mien.attributes.geometry import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS, pose_of
from mien.attributes.mesh import FaceMesh

ROUNDS = 8
MIRROR = np.array([-1.0, 1.0, 1.0])
Points = NDArray[np.float64]


def turn(source: Points, target: Points) -> Points:
    """Return the rotation (3, 3) that brings centred points onto others (Kabsch 1976)."""
    u, _, vt = np.linalg.svd((target - target.mean(axis=0)).T @ (source - source.mean(axis=0)))
    return np.asarray(u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt)


def sized(points: Points) -> Points:
    """Return points about their mean, in eye distances."""
    left, right = (points[list(corners)].mean(axis=0) for corners in (LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS))
    return np.asarray((points - points.mean(axis=0)) / np.linalg.norm(left - right))


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    mesh, analyzer, found = FaceMesh("mediapipe"), mien.Analyzer(), []
    for path in sorted(given.folder.glob("*_neutral.jpg")):
        image = mien.read_image(path).image
        faces = analyzer.analyze(image).largest()
        found.append(sized(mesh.find(image, faces).points[0]))
    mean = sized(np.mean(found, axis=0))
    apart = ((mean[:, None] - (mean * MIRROR)[None]) ** 2).sum(axis=-1)
    _, other = linear_sum_assignment(apart)  # the point of the other side
    for _ in range(ROUNDS):
        mean = sized(np.median([one @ turn(one, mean).T for one in found], axis=0))
        mirrored = (mean * MIRROR)[other]
        mean = sized((mean + mirrored @ turn(mirrored, mean).T) / 2)
        mean = sized((mean + (mean * MIRROR)[other]) / 2)
    pitch = np.radians(np.median(pose_of(np.stack([turn(mean, one) for one in found]))[:, 1]))
    tilt = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    mean = sized(mean @ tilt.T)
    np.save(given.out, mean.astype(np.float32))
    left = np.median(pose_of(np.stack([turn(mean, one) for one in found])), axis=0)
    print(f"{len(found)} people; median yaw, pitch, roll: {left.round(2)}; wrote {given.out}")


if __name__ == "__main__":
    main()
