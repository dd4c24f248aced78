"""What a second look with a replicated border adds where an image shows no face: portraits won, false faces.

    python benchmarks/border.py PORTRAITS PHOTOS [--only *_neutral.jpg] [--seed 1] [--clip FILE] [--pool FILE]

PORTRAITS is a folder of photos of one person each, which are cut as tight as the box of the face and tighter. PHOTOS
has a `faces.json` as for `detectors.py`: parts of its photos in which no face is marked stand for images without any.
`--clip` names a video without faces, `--pool` an `.npz` whose `crops` (N, 64, 64) are tight faces. Prints Markdown.

The size of the second look was chosen on London's `*_smiling.jpg`, and the size that a face must have after a look at
the one false face in parts of seed 0; so the defaults measure with other images of the same people, and other parts.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.detect import DetectorSettings, create_detector
from mien.detect.border import BORDER_SHARE, detect_within_border

Image = NDArray[np.uint8]
CUTS = (0.0, 0.05, 0.1, 0.15)  # shares of the box's sides that are cut away on each side
POOL_COUNT, PARTS_PER_PHOTO, FACE_MARGIN = 500, 24, 0.5


def read(path: Path) -> Image:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def portraits(folder: Path, only: str, cut: float) -> Iterator[Image]:
    """Yield the portraits, cut to the box of their best face less `cut` of its sides."""
    detector = create_detector("mtcnn")
    for path in sorted(folder.rglob(only)):
        image = read(path)
        faces = detector.detect(image)
        if len(faces):
            box = faces.xyxy[0]
            less = np.tile(box[2:] - box[:2], 2) * np.array([1, 1, -1, -1]) * cut
            x1, y1, x2, y2 = np.clip(np.round(box + less), 0, [*image.shape[1::-1]] * 2).astype(int)
            yield np.ascontiguousarray(image[y1:y2, x1:x2])


def pool(path: Path) -> Iterator[Image]:
    """Yield tight faces of 64 pixels, twice as large."""
    with np.load(path) as file:
        crops = file["crops"]
    for crop in crops[np.random.default_rng(0).choice(len(crops), POOL_COUNT, replace=False)]:
        yield cv2.cvtColor(cv2.resize(crop, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2RGB)


def faceless_parts(folder: Path, seed: int) -> Iterator[Image]:
    """Yield parts of photos that no marked face touches, half a face's size around it included."""
    rng = np.random.default_rng(seed)
    for photo in json.loads((folder / "faces.json").read_text()):
        image = read(folder / photo["file"])
        height, width = image.shape[:2]
        boxes = np.array([face["box"] for face in photo["faces"]], np.float32).reshape(-1, 4)
        for _ in range(PARTS_PER_PHOTO):
            w, h = rng.integers(64, 257, 2)
            if w >= width or h >= height:
                continue
            x, y = rng.integers(0, width - w), rng.integers(0, height - h)
            grown = boxes[:, :2] - FACE_MARGIN * boxes[:, 2:], boxes[:, :2] + (1 + FACE_MARGIN) * boxes[:, 2:]
            if not ((grown[0] < [x + w, y + h]) & (grown[1] > [x, y])).all(axis=1).any():
                yield np.ascontiguousarray(image[y : y + h, x : x + w])


def frames(path: Path) -> Iterator[Image]:
    """Yield every fifth frame of a video."""
    video, number = cv2.VideoCapture(str(path)), 0
    while (read_frame := video.read())[0]:
        if number % 5 == 0:
            yield cv2.cvtColor(read_frame[1], cv2.COLOR_BGR2RGB)
        number += 1


def textures() -> Iterator[Image]:
    """Yield drawn images: noise at four scales, stripes, discs, gradients."""
    rng = np.random.default_rng(0)
    for number in range(200):
        coarse = rng.integers(0, 256, (*[2 ** (2 + number % 4) * 4] * 2, 3), dtype=np.uint8)
        yield cv2.resize(coarse, (200, 200), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:200, :200]
    for period in range(4, 44):
        for wave in (x, y, x + y, np.hypot(x - 100, y - 100), x * y / 100):
            yield np.repeat((127 + 120 * np.sin(wave * 2 * np.pi / period)).astype(np.uint8)[..., None], 3, axis=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--detector", default="mtcnn")
    parser.add_argument("--only", default="*_neutral.jpg", help="which portraits")
    parser.add_argument("--seed", type=int, default=1, help="of the parts of photos")
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--pool", type=Path)
    arguments = parser.parse_args()
    detector = create_detector(arguments.detector, DetectorSettings(threshold=arguments.threshold))
    print(f"`{arguments.detector}`, border {BORDER_SHARE:.0%}\n")
    print("| images | N | with a face in the first look | with one in the second | faces in the second, median score |")
    print("|---|---|---|---|---|")
    sets: dict[str, Iterable[Image]] = {
        f"portraits, {cut:.0%} cut": portraits(arguments.portraits, arguments.only, cut) for cut in CUTS
    }
    if arguments.pool:
        sets["tight faces of 64 px"] = pool(arguments.pool)
    sets["parts of photos without a face"] = faceless_parts(arguments.photos, arguments.seed)
    if arguments.clip:
        sets["frames without a face"] = frames(arguments.clip)
    sets["drawn textures"] = textures()
    for label, images in sets.items():
        count, first, second, scores = 0, 0, 0, []
        for image in images:
            count += 1
            if len(detector.detect(image)):
                first += 1
            elif len(faces := detect_within_border(detector, image)):
                second += 1
                scores += faces.score.tolist()
        told = f"{len(scores)}, {np.median(scores):.2f}" if scores else "0"
        print(f"| {label} | {count:,} | {first} | {second} | {told} |", flush=True)


if __name__ == "__main__":
    main()
