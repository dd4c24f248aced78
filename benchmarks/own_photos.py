"""The photos of the example in docs/tutorials/own-photos.md: crops of FER2013's PublicTest under other names.

    python benchmarks/own_photos.py fer2013.csv photos/

Of each of three classes, 160 crops (drawn with the seed) are enlarged four times and put somewhere onto a gray canvas
of 400x300.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from mien.datasets import PUBLIC_TEST, read_fer2013
from mien.labels import FER7

NAMES = {"surprise": "astonished", "neutral": "bored", "happy": "cheerful"}
PER_CLASS, SIDE, WIDTH, HEIGHT = 160, 192, 400, 300


def write_photos(csv_path: str, folder: Path, seed: int) -> None:
    """Write the photos, a folder per class.

    Args:
        csv_path: Kaggle's file.
        folder: Gets them.
        seed: Draws the crops and their places.
    """
    test, rng = read_fer2013(csv_path).split(PUBLIC_TEST), np.random.default_rng(seed)
    for known, name in NAMES.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        rows = np.flatnonzero(test.label == FER7.names.index(known))
        for number, row in enumerate(rng.choice(rows, PER_CLASS, replace=False)):
            crop = test.crops[row]
            photo = np.full((HEIGHT, WIDTH), int(crop.mean()), np.uint8)
            x, y = int(rng.integers(0, WIDTH - SIDE)), int(rng.integers(0, HEIGHT - SIDE))
            photo[y : y + SIDE, x : x + SIDE] = cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(folder / name / f"{number:03d}.png"), photo)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv_path")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    write_photos(args.csv_path, args.folder, args.seed)
