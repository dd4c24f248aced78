"""How far guesses of age and gender are off, by what people say of themselves.

    mien models pull age gender
    OMP_NUM_THREADS=1 python benchmarks/age_gender.py [--shared FOLDER]

The Face Research Lab London Set: 102 people, two pictures each; one gave no age. Prints Markdown tables: the error of
the age (estimate minus age) by gender, ethnicity, age and expression; the share of right genders; the same on spoilt
pictures; milliseconds a face on one thread.
"""

import argparse
import csv
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

from mien.attributes import AgeGender  # noqa: E402
from mien.detect.registry import create_detector  # noqa: E402
from scenes import _read  # noqa: E402

BANDS = ((18, 24), (25, 34), (35, 54))
Image = np.ndarray


def shrunk(side_px: int) -> Callable[[Image], Image]:
    """Return what makes a face as small as so many pixels: the London faces are some 200 px wide."""
    return lambda image: cv2.resize(image, None, fx=side_px / 200, fy=side_px / 200, interpolation=cv2.INTER_AREA)


SPOILT: dict[str, Callable[[Image], Image]] = {
    "as they are": lambda image: image,
    "face of 64 px": shrunk(64),
    "face of 40 px": shrunk(40),
    "face of 28 px": shrunk(28),
    "blurred (sigma 6 px)": lambda image: cv2.GaussianBlur(image, (0, 0), 6),
    "dark (x 0.35)": lambda image: cv2.convertScaleAbs(image, alpha=0.35),
    "bright (x 1.6)": lambda image: cv2.convertScaleAbs(image, alpha=1.6),
    "gray": lambda image: np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2),
}


def line(name: str, which: np.ndarray, off: np.ndarray, right: np.ndarray) -> None:
    known = off[which & np.isfinite(off)]
    cells = f"{np.abs(known).mean():.1f} | {known.mean():+.1f} | {np.quantile(np.abs(known), 0.9):.1f}"
    print(f"| {name} | {which.sum()} | {cells} | {right[which].mean():.1%} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    folder = parser.parse_args().shared / "data" / "faces" / "london"
    rows = list(csv.DictReader((folder / "people.csv").read_text().splitlines()))
    images = [_read(folder / row["file"]) for row in rows]
    detector, networks = create_detector("mtcnn"), AgeGender()
    age = np.array([np.nan if row["face_age"] == "NA" else float(row["face_age"]) for row in rows])
    head = "| pictures | N | age off by, mean | on average | 9 in 10 within | gender right |\n|---|---|---|---|---|---|"
    told = {}
    for name, spoil in SPOILT.items():
        values = np.full((len(rows), 2), np.nan)
        for i, image in enumerate(images):
            spoilt = spoil(image)
            faces = detector.detect(spoilt).largest()
            guess = networks.guess(spoilt, faces).values
            if len(faces):
                values[i] = guess["age_estimate"][0], guess["gender_estimate"][0]
        told[name] = values
    female = np.array([row["face_gender"] == "female" for row in rows])
    column = {key: np.array([row[key] for row in rows]) for key in rows[0]}

    def errors(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return values[:, 0] - age, (values[:, 1] > 0.5) == female

    off, right = errors(told["as they are"])
    print(head)
    line("all", np.ones(len(rows), bool), off, right)
    for key in ("face_gender", "face_eth", "expression"):
        for value in sorted(set(column[key])):
            line(value.replace("_", " "), column[key] == value, off, right)
    for low, high in BANDS:
        line(f"{low} to {high} years", (age >= low) & (age <= high), off, right)
    print(f"\n{head}")
    for name, values in told.items():
        some = np.isfinite(values).all(axis=1)
        line(name, some, *errors(values))
    faces = detector.detect(images[0]).largest()
    for name in ("age", "gender"):
        one, took = AgeGender([name]), []
        for _ in range(30):
            start = time.perf_counter()
            one.guess(images[0], faces)
            took.append(time.perf_counter() - start)
        print(f"\n{name}: {1000 * np.median(took):.1f} ms a face, crop included")


if __name__ == "__main__":
    main()
