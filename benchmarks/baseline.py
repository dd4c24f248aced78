"""What taking out a person's resting face does to neutral faces and faint smiles: photos of people in both.

    python benchmarks/baseline.py FOLDER [--models mien-b mien-s] [--labels combined fer2013 ferplus]

FOLDER holds `001_neutral.jpg`, `001_smiling.jpg`, …: two photos a person (the Face Research Lab London Set does, 102
people). The default detector finds the face; 16 views of each crop (rotation 3 degrees, zoom 3 %, shift 0.7 pixels,
light 5 %, noise 2.5; seeds 0 to 15) stand for frames. Eight views of a person's neutral photo, a second apart, are the
stretch in which that person rests; the eight others of both photos are judged. Prints a Markdown table: how many of
the neutral faces are called neutral and of the smiling ones happy, and the area under the curve of happy against
neutral, plain, with one's own baseline, and with that of the next person.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien import Analyzer
from mien.faces import Faces
from mien.labels import LabelSet
from mien.sources.images import read_image
from mien.tracking.baseline import Baselines, log_answers
from mien.tracking.settings import TrackSettings

VIEWS, LEARNT = 16, 8
Crops = NDArray[np.uint8]
Probs = NDArray[np.float32]


def views(crops: Crops, seed: int) -> Crops:
    """Return each crop a little turned, moved, lit and noisy."""
    rng = np.random.default_rng(seed)
    found = []
    for crop in crops:
        place = cv2.getRotationMatrix2D((23.5, 23.5), rng.uniform(-3, 3), 1 + rng.uniform(-0.03, 0.03))
        place[:, 2] += rng.uniform(-0.7, 0.7, 2)
        turned = cv2.warpAffine(crop, place, (48, 48), borderMode=cv2.BORDER_REFLECT)
        found.append(turned * (1 + rng.uniform(-0.05, 0.05)) + rng.normal(0, 2.5, turned.shape))
    return np.clip(np.round(found), 0, 255).astype(np.uint8)


def people(probs: Probs, labels: LabelSet, time_s: float, ids: NDArray[np.int64]) -> Faces:
    """Return one frame in which everybody is seen."""
    box = np.tile(np.float32([0, 0, 48, 48]), (len(probs), 1))
    return Faces(box, np.ones(len(probs), np.float32), probs=probs, labels=labels, track_id=ids, time_s=time_s)


def told(neutral: Sequence[Probs], smiling: Sequence[Probs], labels: LabelSet) -> str:
    """Return recall of neutral and happy, and the area under the curve, as cells of a table."""
    rest, happy = labels.index("neutral"), labels.index("happy")
    shown = [np.concatenate(frames) for frames in (neutral, smiling)]
    recall = [100 * np.mean(p.argmax(axis=1) == name) for p, name in zip(shown, (rest, happy), strict=True)]
    margins = [logs[:, happy] - logs[:, rest] for logs in map(log_answers, shown)]
    area = np.mean(margins[1][:, None] > margins[0][None])
    return f"{recall[0]:.1f} | {recall[1]:.1f} | {area:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", nargs="+", default=["mien-b", "mien-s"])
    parser.add_argument("--labels", nargs="+", default=["combined", "fer2013", "ferplus"])
    args = parser.parse_args()
    names = sorted(path.name.partition("_")[0] for path in args.folder.glob("*_neutral.jpg"))
    ids = np.arange(len(names), dtype=np.int64)
    finder = Analyzer(model="mien-s")
    photos: dict[str, Crops] = {}
    for kind in ("neutral", "smiling"):
        frames = [read_image(args.folder / f"{name}_{kind}.jpg") for name in names]
        photos[kind] = np.concatenate([finder.crop(f.image, finder.detector.detect(f.image).largest()) for f in frames])
    print(f"{len(names)} people\n\n| model, answer | way | neutral % | smile % | AUC |\n|---|---|---|---|---|")
    for model in args.models:
        for key in args.labels:
            analyzer = Analyzer(model=model, labels=key)
            labels = analyzer.labels
            said = {
                kind: [analyzer.model.predict_proba(views(crops, seed), head=key) for seed in range(VIEWS)]
                for kind, crops in photos.items()
            }
            found = Baselines(TrackSettings(baseline=(0, VIEWS)), labels, analyzer.model.card)
            for second, probs in enumerate(said["neutral"][:LEARNT]):
                found.add(people(probs, labels, second, ids))
            found.settle()
            ways = {"plain": None, "own baseline": ids, "another person's": np.roll(ids, 1)}
            for way, whose in ways.items():
                judged = [said[kind][LEARNT:] for kind in ("neutral", "smiling")]
                if whose is not None:
                    judged = [[found.taken_out(people(p, labels, 0, whose)).probs for p in part] for part in judged]
                print(f"| {model}, {key} | {way} | {told(*judged, labels)} |", flush=True)


if __name__ == "__main__":
    main()
