"""FER2013's framing, and what it costs to find and align a face instead of being given its crop.

    python benchmarks/framing.py template fer2013.csv   the median landmarks and box on Training crops, with spreads
    python benchmarks/framing.py loss fer2013.csv       accuracy on PublicTest: crop given, against found and aligned
    python benchmarks/framing.py beside PHOTOS          how far a detector's crops are from those of `mtcnn`

For `loss`, each crop is enlarged (3 to 6 times, seeded) and put somewhere onto a larger gray canvas, as a face in a
photo; the detector finds it, mien aligns it, and the same network looks at both crops.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.datasets import PUBLIC_TEST, TRAINING, CropDataset, read_fer2013
from mien.detect import DetectorSettings, create_detector
from mien.detect.align import crop_faces, crop_matrices
from mien.detect.boxes import overlap
from mien.faces import CROP_PX, Faces
from mien.models.catalogue import load_model

SAME_FACE_IOU = 0.4
ENLARGE = 4
MARGIN = 24  # pixels around the enlarged Training crops, so that a box may reach beyond the crop


def place(crop: NDArray[np.uint8], rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Put an enlarged crop onto a canvas.

    Args:
        crop: (48, 48) uint8.
        rng: Draws the size and the place.

    Returns:
        The image (H, W, 3) uint8 and the corners of the crop in it, (4,) float32 x1, y1, x2, y2.
    """
    side = int(rng.integers(3 * CROP_PX, 6 * CROP_PX))
    large = cv2.resize(crop, (side, side), interpolation=cv2.INTER_CUBIC)
    canvas = np.full((480, 640), int(crop.mean()), np.uint8)
    x, y = int(rng.integers(0, 640 - side)), int(rng.integers(0, 480 - side))
    canvas[y : y + side, x : x + side] = large
    return np.dstack([canvas] * 3), np.array([x, y, x + side, y + side], np.float32)


def face_in(faces: Faces, corners: NDArray[np.float32]) -> Faces:
    """Return the face whose middle lies nearest to the middle of the crop, if inside its inner half; else none."""
    if not len(faces):
        return faces
    middles = (faces.xyxy[:, :2] + faces.xyxy[:, 2:]) / 2
    distance = np.abs(middles - (corners[:2] + corners[2:]) / 2).max(axis=1)
    best = int(distance.argmin())
    return faces[[best]] if distance[best] < (corners[2] - corners[0]) / 4 else faces[:0]


def measure_template(training: CropDataset, detector_name: str, count: int) -> dict[str, object]:
    """Return the median landmarks and box that the detector finds on enlarged Training crops."""
    chosen = np.random.default_rng(0).choice(len(training), min(count, len(training)), replace=False)
    detector = create_detector(detector_name, DetectorSettings(min_face_px=60))
    points, boxes = [], []
    for crop in training.crops[chosen]:
        large = cv2.resize(crop, None, fx=ENLARGE, fy=ENLARGE, interpolation=cv2.INTER_CUBIC)
        framed = cv2.copyMakeBorder(large, *[MARGIN] * 4, cv2.BORDER_CONSTANT, value=int(crop.mean()))
        side = framed.shape[0]
        faces = face_in(detector.detect(np.dstack([framed] * 3)), np.array([0, 0, side, side], np.float32))
        if len(faces) and faces.landmarks is not None:
            points.append((faces.landmarks[0] - MARGIN + 0.5) / ENLARGE - 0.5)
            boxes.append((faces.xyxy[0] - MARGIN + 0.5) / ENLARGE - 0.5)
    return {
        "detector": detector_name,
        "crops": len(chosen),
        "found": len(points),
        "landmarks_px": np.median(np.float64(points), axis=0).round(2).tolist(),
        "landmarks_spread_px": np.std(np.float64(points), axis=0).round(2).tolist(),
        "box_px": np.median(np.float64(boxes), axis=0).round(2).tolist(),
    }


def measure_loss(test: CropDataset, detector_name: str, model_name: str, *, landmarks: bool) -> dict[str, object]:
    """Return both accuracies on the PublicTest crops whose face was found."""
    detector = create_detector(detector_name)
    rng = np.random.default_rng(0)
    found = np.zeros(len(test), bool)
    aligned = np.zeros_like(test.crops)
    for i, crop in enumerate(test.crops):
        image, corners = place(crop, rng)
        faces = face_in(detector.detect(image), corners)
        if len(faces):
            found[i] = True
            aligned[i] = crop_faces(image, faces if landmarks else Faces(faces.xyxy, faces.score))[0]
    model = load_model(model_name)
    given, got = (model.predict_proba(c[found]).argmax(axis=1) == test.label[found] for c in (test.crops, aligned))
    return {
        "detector": detector_name,
        "aligned by": "landmarks" if landmarks else "box",
        "model": f"{model.card.name} {model.sha256[:12]}",
        "crops": len(test),
        "found": int(found.sum()),
        "accuracy given": round(float(given.mean()), 4),
        "accuracy found and aligned": round(float(got.mean()), 4),
        "loss in points": round(100 * float(given.mean() - got.mean()), 2),
    }


def measure_beside(folder: Path, detector_name: str) -> dict[str, object]:
    """Return how far the crops of a detector's faces are from those of `mtcnn`, on photos and faces that both find."""
    detectors = [create_detector(name) for name in ("mtcnn", detector_name)]
    grid = np.array([[8, 8], [40, 8], [24, 24], [8, 40], [40, 40]], np.float64)
    off = []
    for path in sorted(folder.glob("*.jpg")):
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        known, found = (detector.detect(image) for detector in detectors)
        iou = overlap(known.xyxy, found.xyxy)
        for i, j in zip(*np.nonzero(iou > SAME_FACE_IOU), strict=True):
            if iou[i, j] == iou[i].max() == iou[:, j].max():
                theirs, ours = (crop_matrices(f)[k].astype(np.float64) for f, k in ((known, i), (found, j)))
                in_image = (grid - theirs[:, 2]) @ np.linalg.inv(theirs[:, :2]).T
                off.append(np.linalg.norm(in_image @ ours[:, :2].T + ours[:, 2] - grid, axis=1).mean())
    return {
        "detector": detector_name,
        "faces that both find": len(off),
        "pixels of 48, mean": round(float(np.mean(off)), 2),
        "median": round(float(np.median(off)), 2),
        "90th percentile": round(float(np.percentile(off, 90)), 2),
    }


def main() -> None:
    """Run one measurement and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("template", "loss", "beside"))
    parser.add_argument("csv_path", help="fer2013.csv, or the folder of photos")
    parser.add_argument("--detector", default="mtcnn")
    parser.add_argument("--model", default="mien-b")
    parser.add_argument("--count", type=int, default=4000, help="Training crops for the template")
    parser.add_argument("--every", type=int, default=1, help="take one PublicTest crop in so many for the loss")
    parser.add_argument("--by-box", action="store_true", help="align by the box even where there are landmarks")
    args = parser.parse_args()
    if args.what == "template":
        training = read_fer2013(args.csv_path).split(TRAINING)
        result = measure_template(training, args.detector, args.count)
    elif args.what == "beside":
        result = measure_beside(Path(args.csv_path), args.detector)
    else:
        test = read_fer2013(args.csv_path).split(PUBLIC_TEST)
        test = test.where(np.arange(len(test)) % args.every == 0)
        result = measure_loss(test, args.detector, args.model, landmarks=not args.by_box)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
