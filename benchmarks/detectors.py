"""Recall, precision and CPU time of mien's face detectors on a folder of photos.

    OMP_NUM_THREADS=1 python benchmarks/detectors.py PHOTOS [--only mtcnn haar] [--yunet FILE] [--ssd MODEL CONFIG]

PHOTOS holds images and a `faces.json`: a list of {"file": name, "faces": [{"box": [x, y, width, height], "ignore":
bool}]}, pixels. A face is found where a detection has an IoU of at least 0.4 with it; a detection is false where it
finds no face and has an IoU below 0.2 with every ignored one. Prints a Markdown table.

The functions named after detectors give (x, y, width, height, score) rows, for other measuring scripts.
"""

import argparse
import functools
import json
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.detect import DETECTORS, DetectorSettings, create_detector
from mien.detect.boxes import overlap
from mien.errors import InputError, MissingExtraError, MissingWeightsError

FOUND_IOU, EXCUSED_IOU = 0.4, 0.2
LARGE_PX = 80
OTHER_SETTINGS = ("mtcnn-48", "mtcnn-64", "mtcnn-80", "dlib-hog-0", "blazeface-full-80", "blazeface-short-80")

LIVE = (("mtcnn", 32), ("mtcnn", 48), ("mtcnn", 64), ("mtcnn", 80), ("blazeface-full", 80), ("blazeface-short", 80))

Row = tuple[float, float, float, float, float]
Image = NDArray[np.uint8]
Boxes = NDArray[np.float32]

_create = functools.cache(create_detector)


def _rows(name: str, image: Image, settings: DetectorSettings | None = None) -> list[Row]:
    faces = _create(name, settings).detect(image)
    boxes = np.concatenate([faces.xyxy[:, :2], faces.xyxy[:, 2:] - faces.xyxy[:, :2], faces.score[:, None]], axis=1)
    return [tuple(row) for row in boxes.tolist()]


def mtcnn(image: Image) -> list[Row]:
    return _rows("mtcnn", image)


def mtcnn_48(image: Image) -> list[Row]:
    return _rows("mtcnn", image, DetectorSettings(min_face_px=48))


def mtcnn_64(image: Image) -> list[Row]:
    return _rows("mtcnn", image, DetectorSettings(min_face_px=64))


def mtcnn_80(image: Image) -> list[Row]:
    return _rows("mtcnn", image, DetectorSettings(min_face_px=80))


def haar(image: Image) -> list[Row]:
    return _rows("haar", image)


def haar_alt2(image: Image) -> list[Row]:
    return _rows("haar-alt2", image)


def dlib_hog(image: Image) -> list[Row]:
    return _rows("dlib-hog", image)


def dlib_hog_0(image: Image) -> list[Row]:
    return _rows("dlib-hog", image, DetectorSettings(upsample=0))


def dlib_mmod(image: Image) -> list[Row]:
    return _rows("dlib-mmod", image)


def blazeface_full(image: Image) -> list[Row]:
    return _rows("blazeface-full", image)


def blazeface_full_80(image: Image) -> list[Row]:
    return _rows("blazeface-full", image, DetectorSettings(min_face_px=80))


def blazeface_short(image: Image) -> list[Row]:
    return _rows("blazeface-short", image)


def blazeface_short_80(image: Image) -> list[Row]:
    return _rows("blazeface-short", image, DetectorSettings(min_face_px=80))


@dataclass
class Score:
    """Counts over all photos.

    Attributes:
        found: Faces found.
        missed: Faces not found.
        false: Detections that are no face.
        cpu_ms: CPU time of each photo.
        large: Faces at least `LARGE_PX` high, each with whether it was found.
    """

    found: int
    missed: int
    false: int
    cpu_ms: list[float]
    large: list[bool] = field(default_factory=list)

    @property
    def recall(self) -> float:
        """Share of the faces that were found."""
        return self.found / max(self.found + self.missed, 1)

    @property
    def precision(self) -> float:
        """Share of the counted detections that are faces."""
        return self.found / max(self.found + self.false, 1)


def read_photos(folder: Path) -> list[tuple[Image, Boxes, Boxes]]:
    """Return image, counted and ignored boxes (N, 4) of each photo."""
    photos = []
    for photo in json.loads((folder / "faces.json").read_text()):
        image = cv2.cvtColor(cv2.imread(str(folder / photo["file"])), cv2.COLOR_BGR2RGB)
        counted, ignored = ([f["box"] for f in photo["faces"] if f["ignore"] == flag] for flag in (False, True))
        photos.append((image, _corners(counted), _corners(ignored)))
    return photos


def _corners(xywh: Iterable[Iterable[float]]) -> Boxes:
    boxes = np.array(list(xywh), np.float32).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def measure(detect: Callable[[Image], Iterable[Row]], photos: list[tuple[Image, Boxes, Boxes]]) -> Score:
    """Return the counts of one detector, after one warm-up call."""
    detect(photos[0][0])
    score = Score(0, 0, 0, [])
    for image, counted, ignored in photos:
        start = time.process_time()
        rows = list(detect(image))
        score.cpu_ms.append(1e3 * (time.process_time() - start))
        found = _corners(row[:4] for row in rows)
        matched = _match(found, counted)
        high = counted[:, 3] - counted[:, 1] >= LARGE_PX
        score.large += [j in matched.values() for j in np.flatnonzero(high)]
        excused = (overlap(found, ignored) >= EXCUSED_IOU).any(axis=1)
        score.found += len(matched)
        score.missed += len(counted) - len(matched)
        score.false += sum(1 for i in range(len(found)) if i not in matched and not excused[i])
    return score


def _match(found: Boxes, counted: Boxes) -> dict[int, int]:
    """Return which detections take which face, best overlap first."""
    iou = overlap(found, counted)
    used: dict[int, int] = {}
    for place in np.argsort(-iou, axis=None, kind="stable").tolist():
        i, j = divmod(place, len(counted))
        if iou[i, j] < FOUND_IOU:
            break
        if i not in used and j not in used.values():
            used[i] = j
    return used


def live_ms(name: str, settings: DetectorSettings, image: Image, repeats: int = 60) -> tuple[float, float]:
    """Return the median CPU milliseconds of a search in an image, and of looking again at the faces in it."""
    detector = create_detector(name, settings)
    boxes = detector.detect(image).xyxy
    search, again = [], []
    for _ in range(repeats):
        start = time.process_time()
        detector.detect(image)
        middle = time.process_time()
        detector.refine(image, boxes)
        search.append(1e3 * (middle - start))
        again.append(1e3 * (time.process_time() - middle))
    return statistics.median(search), statistics.median(again)


def print_live(photo: Path) -> None:
    """Print a table for a webcam's frame: the photo, 512 x 512 pixels, on gray of 640 x 480."""
    frame = np.full((480, 640, 3), 120, np.uint8)
    frame[:, 64:576] = cv2.cvtColor(cv2.imread(str(photo)), cv2.COLOR_BGR2RGB)[:480]
    print("| detector, smallest face | search, CPU ms | again, CPU ms |")
    print("|---|---|---|")
    for name, smallest in LIVE:
        search, again = live_ms(name, DetectorSettings(min_face_px=smallest), frame)
        print(f"| {name}, {smallest} px | {search:.1f} | {again:.1f} |", flush=True)


def main() -> None:
    """Print a Markdown table of all detectors that can run here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--only", nargs="*", choices=[*DETECTORS, *OTHER_SETTINGS], default=None)
    parser.add_argument("--yunet", type=Path)
    parser.add_argument("--ssd", type=Path, nargs=2)
    parser.add_argument("--live", type=Path, help="only time a webcam's frame made of this photo of 512 x 512 pixels")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if arguments.live:
        print_live(arguments.live)
        return
    photos = read_photos(arguments.photos)
    print(f"| detector | recall | recall from {LARGE_PX} px | precision | CPU ms, median | CPU ms, 90th percentile |")
    print("|---|---|---|---|---|---|")
    for label, detect in _chosen(arguments).items():
        try:
            score = measure(detect, photos)
        except (InputError, MissingExtraError, MissingWeightsError) as error:
            print(f"| {label} | not run: {str(error).splitlines()[0]} | | | | |")
            continue
        ms, p90 = np.percentile(score.cpu_ms, [50, 90])
        row = f"{score.recall:.3f} | {np.mean(score.large):.3f} | {score.precision:.3f} | {ms:.1f} | {p90:.1f}"
        print(f"| {label} | {row} |", flush=True)


def _chosen(arguments: argparse.Namespace) -> dict[str, Callable[[Image], Iterable[Row]]]:
    detectors: dict[str, Callable[[Image], Iterable[Row]]] = {
        "mtcnn": mtcnn,
        "mtcnn-48": mtcnn_48,
        "mtcnn-64": mtcnn_64,
        "mtcnn-80": mtcnn_80,
        "haar": haar,
        "haar-alt2": haar_alt2,
        "dlib-hog-0": dlib_hog_0,
        "dlib-hog": dlib_hog,
        "dlib-mmod": dlib_mmod,
        "blazeface-full": blazeface_full,
        "blazeface-full-80": blazeface_full_80,
        "blazeface-short": blazeface_short,
        "blazeface-short-80": blazeface_short_80,
    }
    if arguments.yunet:
        settings = DetectorSettings(model_path=arguments.yunet)
        detectors["yunet"] = functools.partial(_rows, "yunet", settings=settings)
    if arguments.ssd:
        model, config = arguments.ssd
        settings = DetectorSettings(model_path=model, config_path=config)
        detectors["ssd"] = functools.partial(_rows, "ssd", settings=settings)
    return {name: run for name, run in detectors.items() if arguments.only is None or name in arguments.only}


if __name__ == "__main__":
    main()
