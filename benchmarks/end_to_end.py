"""One photo end to end, mien beside fer: milliseconds, memory, and faces a second of the expression network alone.

    python benchmarks/end_to_end.py --photo examples/astronaut.jpg [--peer-env FOLDER]

Each side runs in a fresh process on one thread, one after the other in one run, several rounds, and the median round
counts. The peer (fer 25.10.3: Haar cascade and TFLite network) is installed into its own virtual environment, which
takes gigabytes; `--no-peer` leaves it out.
"""

import argparse
import json
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np

from fresh import run_fresh

ROUNDS = 3
REPEATS = 40
PEER_PACKAGES = (
    "fer==25.10.3",
    "opencv-contrib-python<5",
    "setuptools<81",
    "moviepy<2",
)  # OpenCV 5 has no Haar cascades

MIEN = """
import json, resource, sys, time
started = time.perf_counter()
import cv2, numpy as np, mien
cv2.setNumThreads(1)
image = cv2.cvtColor(cv2.imread(sys.argv[1]), cv2.COLOR_BGR2RGB)
imported = time.perf_counter() - started
analyzer = mien.Analyzer()
faces = analyzer.analyze(image)
first = time.perf_counter() - started
spent = []
for _ in range(int(sys.argv[2])):
    t = time.perf_counter(); analyzer.analyze(image); spent.append(time.perf_counter() - t)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
batches = {}
crops = np.random.default_rng(0).integers(0, 256, (64, 48, 48), dtype=np.uint8)
for size in (1, 64):
    times = []
    for _ in range(30 if size == 1 else 10):
        t = time.perf_counter(); analyzer.model.predict_proba(crops[:size]); times.append(time.perf_counter() - t)
    batches[size] = size / float(np.median(times))
print(json.dumps({"who": "mien", "answer": faces.expression, "import_s": imported, "first_answer_s": first,
    "median_ms": 1e3 * float(np.median(spent)), "peak_mb": peak,
    "faces_per_s_1": batches[1], "faces_per_s_64": batches[64]}))
"""

PEER = """
import json, os, resource, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
started = time.perf_counter()
import cv2, numpy as np
from fer.fer import FER
cv2.setNumThreads(1)
image = cv2.imread(sys.argv[1])
imported = time.perf_counter() - started
detector = FER(mtcnn=False)
faces = detector.detect_emotions(image)
first = time.perf_counter() - started
spent = []
for _ in range(int(sys.argv[2])):
    t = time.perf_counter(); detector.detect_emotions(image); spent.append(time.perf_counter() - t)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"who": "fer", "answer": [max(f["emotions"], key=f["emotions"].get) for f in faces],
    "import_s": imported, "first_answer_s": first, "median_ms": 1e3 * float(np.median(spent)), "peak_mb": peak}))
"""


def peer_python(folder: Path) -> str:
    """Return the interpreter of the peer's environment, made where it is missing."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PEER_PACKAGES], check=True)
    return str(python)


def run(python: str, code: str, photo: str) -> dict[str, object]:
    """Run one side in a fresh process on one thread."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    return run_fresh(python, code, photo, str(REPEATS), **one_thread)


def main() -> None:
    """Run both sides in turn and print one JSON line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", default="examples/astronaut.jpg")
    parser.add_argument("--peer-env", type=Path, default=Path(".venv-fer"))
    parser.add_argument("--no-peer", action="store_true")
    args = parser.parse_args()
    sides = {"mien": (sys.executable, MIEN)}
    if not args.no_peer:
        sides["fer"] = (peer_python(args.peer_env), PEER)
    rounds = [{who: run(*side, args.photo) for who, side in sides.items()} for _ in range(ROUNDS)]
    for who in sides:
        middle = sorted((r[who] for r in rounds), key=lambda r: float(str(r["median_ms"])))[ROUNDS // 2]
        print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in middle.items()}))
    if len(sides) == 2:
        ratios = [float(str(r["fer"]["median_ms"])) / float(str(r["mien"]["median_ms"])) for r in rounds]
        print(json.dumps({"fer / mien, time": round(float(np.median(ratios)), 2)}))


if __name__ == "__main__":
    main()
