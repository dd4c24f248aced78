"""How far mien's own mesh is from MediaPipe's on images that it did not learn from, by region, turn and measure.

    mien models pull mesh
    python benchmarks/mesh.py PHOTOS… [--crops DEV.npz] [--sheet sheet.png] [--model mien-mesh.onnx]

PHOTOS are images or folders; the largest face of each is taken. MediaPipe's network sees it at full resolution, twice;
mien's sees a crop of 64 px, once. Errors are mean distances in the image plane, in distances of the outer corners of
the eyes (three dimensions, MediaPipe's). `--crops` adds gray crops of 64 px (`crops` of the file).
"""

import argparse
import csv
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from mien.attributes import geometry
from mien.attributes import mesh as meshes
from mien.detect import create_detector
from mien.detect.align import BOX_PX
from mien.faces import Faces
from mien.sources.images import Failed, SourceSettings, expand, read_items

OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149)
REGIONS = {
    "eyes": (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173,
             263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398),
    "brows": (70, 63, 105, 66, 107, 55, 65, 52, 53, 46, 300, 293, 334, 296, 336, 285, 295, 282, 283, 276),
    "nose": (1, 2, 98, 327, 168, 6, 197, 195, 5, 4, 129, 358, 64, 294),
    "lips": (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409,
             78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415),
    "oval": OVAL,
}  # fmt: skip
TURNS_DEG = (0, 15, 30, 45, 90)
SHEET, TILE_PX = 20, 240

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("photos", nargs="*", type=Path)
parser.add_argument("--crops", type=Path)
parser.add_argument("--sheet", type=Path)
parser.add_argument("--model", type=Path)
given = parser.parse_args()
if given.model:
    meshes.MESHES["mien-mesh"] = replace(meshes.MESHES["mien-mesh"], shipped=str(given.model.absolute()))
ours, theirs = meshes.FaceMesh("mien-mesh"), meshes.FaceMesh("mediapipe")


def looked_at():
    """Yield images with their largest face, their group and name."""
    detector = create_detector("mtcnn")
    for frame in read_items(expand(given.photos), settings=SourceSettings()) if given.photos else ():
        if not isinstance(frame, Failed) and len(face := detector.detect(frame.image).largest()):
            yield "photos", frame.image, face, Path(frame.source).name
    if given.crops:
        box = Faces(xyxy=(BOX_PX + 8)[None].astype(np.float32), score=np.ones(1, np.float32))
        for crop in np.load(given.crops)["crops"]:
            yield given.crops.stem, np.repeat(crop[..., None], 3, axis=2), box, ""


def measures(points):
    """Return eye openness, mouth opening and width, and pose of meshes."""
    turns = geometry.rotations(points)
    heads = geometry.in_head_frame(points, turns)
    return np.hstack([geometry.eye_openness(heads), geometry.mouth_of(heads)[:, :2], geometry.pose_of(turns)])


found, names_seen, seconds, tiles = [], [], {"mien-mesh": 0.0, "mediapipe": 0.0}, []
for group, image, face, name in looked_at():
    pair = []
    for net in (ours, theirs):
        begun = time.perf_counter()
        pair.append(net.find(image, face))
        seconds[net.name] += time.perf_counter() - begun
    found.append((group, pair[0].points[0], pair[1].points[0], pair[0].presence[0], pair[1].presence[0]))
    tiles.append((image, pair[0].points[0]))
    names_seen.append(name)
groups = np.array([row[0] for row in found])
own, other = (np.stack([row[i] for row in found]) for i in (1, 2))
seen = np.array([row[4] for row in found]) > 0.95
unit = np.linalg.norm(other[:, 33] - other[:, 263], axis=1)
away = np.linalg.norm((own - other)[..., :2], axis=2) / unit[:, None]
told_own, told = measures(own), measures(other)
yaw = np.abs(told[:, -3])
print(f"{'':28}{'N':>6}{'median %':>10}{'p90 %':>8}" + "".join(f"{name:>8}" for name in REGIONS))
for group in dict.fromkeys(groups):
    for low, high in ((0, 45), *pairwise(TURNS_DEG)):
        chosen = (groups == group) & seen & (yaw >= low) & (yaw < high)
        if chosen.sum() < 5:
            continue
        mean = away[chosen].mean(axis=1)
        parts = [np.median(away[chosen][:, list(points)].mean(axis=1)) for points in REGIONS.values()]
        print(
            f"{group + f', yaw {low}-{high}':28}{chosen.sum():6}{100 * np.median(mean):10.2f}"
            f"{100 * np.percentile(mean, 90):8.2f}" + "".join(f"{100 * part:8.2f}" for part in parts)
        )
    chosen = (groups == group) & seen & (yaw < 45)
    names = ("openness left", "openness right", "mouth opening", "mouth width", "yaw", "pitch", "roll")
    for name, a, b in zip(names, told_own[chosen].T, told[chosen].T, strict=True):
        print(
            f"  {name:16} median difference {np.median(np.abs(a - b)):7.3f}   correlation {np.corrcoef(a, b)[0, 1]:.3f}"
        )
    there = np.array([row[3] for row in found])[groups == group]
    print(f"  presence > .5: {np.mean(there > 0.5):.1%}; MediaPipe's > .95: {seen[groups == group].mean():.1%}")
for table in (folder / "people.csv" for folder in given.photos):
    if not table.is_file():
        continue
    with table.open(newline="", encoding="utf-8-sig") as file:
        people = {row["file"]: row for row in csv.DictReader(file)}
    for column in [name for name in next(iter(people.values())) if name.endswith(("gender", "eth"))]:
        values = np.array([people.get(name, {}).get(column, "") for name in names_seen])
        for value in sorted(set(values) - {""}):
            mean = away[seen & (values == value)].mean(axis=1)
            print(f"  {column} {value:20} N {len(mean):4}   median {100 * np.median(mean):.2f} %")
for name, took in seconds.items():
    print(f"{name}: {1e3 * took / len(found):.2f} ms a face, crop included")

if given.sheet:
    sheet = []
    for number in np.random.default_rng(0).permutation(len(tiles))[:SHEET]:
        image, points = tiles[number]
        low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        scale = 0.75 * TILE_PX / (high - low).max()
        shift = TILE_PX / 2 - scale * (low + high) / 2
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        tile = cv2.warpAffine(image, matrix, (TILE_PX, TILE_PX), flags=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        for x, y in points[:, :2] * scale + shift:
            cv2.circle(tile, (round(x), round(y)), 1, (0, 255, 0), -1, cv2.LINE_AA)
        sheet.append(tile)
    rows = [np.hstack(sheet[i : i + 5]) for i in range(0, len(sheet) // 5 * 5, 5)]
    cv2.imwrite(str(given.sheet), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))
