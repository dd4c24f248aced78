"""How far a turned head reads turned: on drawn heads of known angle, and on real faces by their proportions.

    mien models pull mesh
    python benchmarks/pose.py drawn ../shared/data/faces/london
    python benchmarks/pose.py real ../shared/data/faces/pool.npz

`drawn` turns portraits by a known yaw. Beside the two meshes it asks the five landmarks of `mtcnn`, which learned from
points that people set: their pose is that of the canonical face's five points, in weak perspective. `real` takes faces
whose angle nobody knows. Turned by a yaw, the eyes are nearer to each other by its cosine, and the height from eyes to
mouth stays: so proportions tell an angle that knows nothing of depth. Medians, of `--faces` crops drawn with seed 0.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

import mien  # noqa: E402
from mien.attributes import FaceMesh  # noqa: E402
from mien.attributes.geometry import canonical_face, pose_of, rotations, turn_of  # noqa: E402
from mien.faces import Faces  # noqa: E402
from turned_faces import turned_head  # noqa: E402

Points = NDArray[np.float64]
YAWS = (-45, -30, -15, 0, 15, 30, 45)
BANDS = ((10, 20), (20, 30), (30, 40), (40, 60))
EVERY = 7  # of the portraits


def five_of(points: Points) -> Points:
    """Return the five landmarks (5, D) of a mesh (468, D)."""
    return np.stack([points[[33, 133]].mean(axis=0), points[[362, 263]].mean(axis=0), *points[[4, 61, 291]]])


def yaw_of_five(landmarks: Points) -> float:
    """Return the yaw of five landmarks (5, 2), in weak perspective."""
    model = five_of(canonical_face())
    model, seen = model - model.mean(axis=0), landmarks - landmarks.mean(axis=0)
    scale = float(np.sqrt((seen**2).sum() / (model[:, :2] ** 2).sum()))

    def apart(chosen: Points) -> Points:
        return np.asarray(chosen[3] * (model @ turn_of(*chosen[:3]).T)[:, :2] - seen / scale).ravel()

    tried = [least_squares(apart, [yaw, 0, 0, 1], x_scale=[30, 30, 30, 1]) for yaw in (-30, 0, 30)]
    return float(min(tried, key=lambda one: one.cost).x[0])


def yaw_of(mesh: FaceMesh, image: NDArray[np.uint8], face: Faces) -> tuple[float, Points]:
    """Return the yaw of a face, and its five points in the plane."""
    points = mesh.find(image, face).points
    return float(pose_of(rotations(points))[0, 0]), five_of(points[0])[:, :2]


def drawn(folder: Path) -> None:
    """Print what heads read that were turned."""
    analyzer, meshes = mien.Analyzer(), [FaceMesh(name) for name in ("mien-mesh", "mediapipe")]
    read: dict[int, list[list[float]]] = {yaw: [] for yaw in YAWS}
    for path in sorted(folder.glob("*_neutral.jpg"))[::EVERY]:
        image = mien.read_image(path).image
        points = meshes[1].find(image, analyzer.detector.detect(image).largest()).points[0]
        for yaw in YAWS:
            view, _ = turned_head(image, points, yaw)
            face = analyzer.detector.detect(view).largest()
            if len(face):
                told = [yaw_of(mesh, view, face)[0] for mesh in meshes]
                read[yaw].append([*told, yaw_of_five(face.landmarks[0].astype(np.float64))])
    print("| turned by | N | `mien-mesh` | MediaPipe's mesh | five landmarks of `mtcnn` |\n|---|---|---|---|---|")
    for yaw, rows in read.items():
        print(f"| {yaw}° | {len(rows)} | " + " | ".join(f"{value:.0f}°" for value in np.median(rows, axis=0)) + " |")


def real(path: Path, count: int) -> None:
    """Print what real faces read, and what their proportions say."""
    analyzer, meshes = mien.Analyzer(), [FaceMesh(name) for name in ("mien-mesh", "mediapipe")]
    crops = np.load(path)["crops"]
    rows = []
    for i in np.random.default_rng(0).permutation(len(crops))[:count]:
        large = cv2.cvtColor(cv2.resize(crops[i], (192, 192), interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2RGB)
        image = cv2.copyMakeBorder(large, 48, 48, 48, 48, cv2.BORDER_REPLICATE)
        face = analyzer.detector.detect(image).largest()
        if len(face) and meshes[0].find(image, face).presence[0] >= 0.5:
            (own, _), (theirs, five) = (yaw_of(mesh, image, face) for mesh in meshes)
            landmarks = face.landmarks[0].astype(np.float64)
            rows.append([own, theirs, yaw_of_five(landmarks), _proportion(landmarks), _proportion(five)])
    told = np.array(rows)
    straight = np.abs(told[:, 1]) < BANDS[0][0]
    at_rest = np.median(told[straight, 3:], axis=0)
    print(f"{len(told)} faces, {straight.sum()} of them straight\n")
    print("| `mien-mesh` | N | its median | MediaPipe's mesh | `mtcnn`'s five | proportions of these | of the mesh |")
    print("|---|---|---|---|---|---|---|")
    for low, high in BANDS:
        some = (np.abs(told[:, 0]) >= low) & (np.abs(told[:, 0]) < high)
        medians = np.median(told[some, :3] * np.sign(told[some, :1]), axis=0)
        angles = np.degrees(np.arccos(np.minimum(np.median(told[some, 3:], axis=0) / at_rest, 1)))
        print(f"| {low} to {high}° | {some.sum()} | " + " | ".join(f"{v:.0f}°" for v in (*medians, *angles)) + " |")


def _proportion(five: Points) -> float:
    """Return the distance of the eyes over the height from their line to the mouth."""
    across, down = five[1] - five[0], five[3:].mean(axis=0) - five[:2].mean(axis=0)
    width = float(np.hypot(*across))
    return width / abs(float(across[0] * down[1] - across[1] * down[0]) / width)


def main() -> None:
    """Do what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("drawn", "real"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--faces", type=int, default=3000)
    given = parser.parse_args()
    if given.what == "drawn":
        drawn(given.path)
    else:
        real(given.path, given.faces)


if __name__ == "__main__":
    main()
