"""A video end to end, mien beside fer's `Video.analyze`: frames per second from the file to the table.

    python benchmarks/video_speed.py --clip CLIP.mp4 [--peer-env FOLDER] [--rounds 3] [--model NAME]
    python benchmarks/video_speed.py --curve [--before CHECKOUT] [--rounds 3] [--frames 150] [--model NAME …]

The curve is mien alone: frames/s and processor time against number of faces and resolution, beside decoding alone; with
--before, a checkout of another version takes turns with this one, and ratios are within a round.

Each side runs in a fresh process, one after the other in one run, several rounds, with the threads that it takes by
itself; loading the networks is not counted, and a first pass over some frames warms both up. mien writes a CSV with a
row per face and frame, and in a second measurement the annotated video, too. fer (25.10.3) writes nothing, and in a
second measurement what `Video.analyze(detector)` writes unless told otherwise: video, frames, archive. It finds faces
with its default, Haar. Its environment is that of `end_to_end.py`. The videos of the curve show the two example
portraits, several times, moving a little over a gray room.
"""

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from end_to_end import peer_python
from fresh import run_fresh

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
FACES, SIZES = (0, 1, 4, 8), ((640, 360), (1280, 720), (1920, 1080), (3840, 2160))
FACE_SHARE = 0.2  # of the height of the image

MIEN = """
import json, sys, time
from mien import Analyzer
from mien.video import analyze_video
from mien.sources.videos import VideoSettings
clip, folder = sys.argv[1], sys.argv[2]
analyzer = Analyzer(model=sys.argv[4])
outputs = [folder + "/rows.csv"] + [folder + "/video.mp4"] * (sys.argv[5] == "annotated")
analyze_video(clip, analyzer=analyzer, outputs=[folder + "/warm.csv"], video=VideoSettings(max_frames=10))
spent = []
for _ in range(int(sys.argv[3])):
    started = time.perf_counter()
    result = analyze_video(clip, analyzer=analyzer, outputs=outputs)
    spent.append(time.perf_counter() - started)
print(json.dumps({"who": "mien", "frames": result.frames, "faces": result.faces,
    "frames_per_s": result.frames / sorted(spent)[len(spent) // 2]}))
"""

CURVE = """
import json, sys, time
import av
from mien import Analyzer
from mien.video import analyze_video
from mien.sources.videos import VideoSettings
clip, folder, models = sys.argv[1], sys.argv[2], sys.argv[3:]

def measured(work):
    started, used = time.perf_counter(), time.process_time()
    frames, faces = work()
    return {"frames_per_s": frames / (time.perf_counter() - started),
        "cpu_ms": 1000 * (time.process_time() - used) / frames, "faces": faces / frames}

def decode():
    with av.open(clip) as video:
        video.streams.video[0].thread_type = "AUTO"
        return sum(1 for _ in video.decode(video=0)), 0

def analyze():
    result = analyze_video(clip, analyzer=analyzer, outputs=[folder + "/rows.csv"], progress=False)
    return result.frames, result.faces

found = {"decoding": measured(decode)}
for model in models:
    analyzer = Analyzer(model=model)
    analyze_video(clip, analyzer=analyzer, outputs=[folder + "/rows.csv"], video=VideoSettings(max_frames=10))
    found[model] = measured(analyze)
print(json.dumps(found))
"""

PEER = """
import json, os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.chdir(sys.argv[2])
from fer.fer import FER
from fer.classes import Video
plain = dict(display=False, save_frames=False, save_video=False, annotate_frames=False, zip_images=False)
plain = {} if sys.argv[5] == "annotated" else plain
detector = FER(mtcnn=False)
Video(sys.argv[1]).analyze(detector, max_results=10, **plain)
spent = []
for _ in range(int(sys.argv[3])):
    started = time.perf_counter()
    found = Video(sys.argv[1]).analyze(detector, **plain)
    spent.append(time.perf_counter() - started)
faces = sum(1 for frame in found for key in frame if key.startswith("box") and frame[key] is not None)
print("\\n" + json.dumps({"who": "fer", "frames": len(found), "faces": faces,
    "frames_per_s": len(found) / sorted(spent)[len(spent) // 2]}))
"""


def run(python: str, code: str, clip: Path, passes: int, *, model: str, what: str = "table") -> dict[str, object]:
    """Run one side in a fresh process; `what` is «table» or «annotated»."""
    with tempfile.TemporaryDirectory() as folder:
        return run_fresh(python, code, str(clip.resolve()), folder, str(passes), model, what)


def compare(clip: Path, peer: str | None, rounds: int, model: str) -> None:
    """Print the median round of each side, and the ratios."""
    sides = {
        "mien, table": (sys.executable, MIEN, 3, "table"),
        "mien, video too": (sys.executable, MIEN, 3, "annotated"),
    }
    if peer:
        sides |= {"fer, nothing written": (peer, PEER, 1, "table"), "fer, as it comes": (peer, PEER, 1, "annotated")}
    results = [
        {
            who: run(python, code, clip, passes, model=model, what=what)
            for who, (python, code, passes, what) in sides.items()
        }
        for _ in range(rounds)
    ]
    for who in sides:
        middle = sorted((r[who] for r in results), key=_speed)[rounds // 2]
        print(json.dumps({**middle, "who": who, "frames_per_s": round(_speed(middle), 1)}))
    for ours, theirs in itertools.product(list(sides)[:2], list(sides)[2:]):
        ratios = [_speed(r[ours]) / _speed(r[theirs]) for r in results]
        print(json.dumps({f"{ours} / {theirs}": round(float(np.median(ratios)), 2)}))


def _speed(result: dict[str, object]) -> float:
    return float(str(result["frames_per_s"]))


def curve(models: list[str], before: Path | None, rounds: int, frames: int) -> None:
    """Print frames/s and processor time a frame for every number of faces and resolution."""
    sides = {"now": ROOT} | ({"before": before.resolve()} if before else {})
    for size, count in itertools.product(SIZES, FACES):
        with tempfile.TemporaryDirectory() as folder:
            clip = Path(folder, "clip.mp4")
            write(clip, crowd(count, size, frames))
            found = [
                {
                    side: run_fresh(sys.executable, CURVE, str(clip), folder, *models, PYTHONPATH=str(path / "src"))
                    for side, path in sides.items()
                }
                for _ in range(rounds)
            ]
        for what in ("decoding", *models):
            told: dict[str, object] = {"size": "x".join(map(str, size)), "faces": count, "what": what}
            told["found"] = round(found[0]["now"][what]["faces"], 2)
            for side, value in itertools.product(sides, ("frames_per_s", "cpu_ms")):
                told[f"{value} {side}"] = round(float(np.median([r[side][what][value] for r in found])), 2)
            if before:
                told["times as fast"] = _ratio(found, what, "frames_per_s", "now", "before")
                told["times less processor time"] = _ratio(found, what, "cpu_ms", "before", "now")
            print(json.dumps(told), flush=True)


def _ratio(rounds: list[dict[str, Any]], what: str, value: str, of: str, to: str) -> float:
    return round(float(np.median([r[of][what][value] / r[to][what][value] for r in rounds])), 2)


def crowd(count: int, size: tuple[int, int], frames: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the images of a video with so many faces."""
    width, height = size
    photos = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in sorted(EXAMPLES.glob("*.jpg"))[:2]]
    boxes = {"astronaut": (179, 62, 267, 173), "grace_hopper": (175, 117, 351, 336)}
    room = cv2.resize(np.random.default_rng(0).integers(90, 150, (9, 16, 3), dtype=np.uint8), size)
    for number in range(frames):
        image = room.copy()
        for k in range(count):
            photo, (x1, y1, x2, y2) = photos[k % 2], list(boxes.values())[k % 2]
            scale = FACE_SHARE * height / (y2 - y1)
            across, down = min(count, 4), (count + 3) // 4
            x = width * (k % 4 + 0.5) / across + 0.02 * width * np.sin(number / 12 + k)
            y = height * (k // 4 + 0.5) / down
            margin = 0.45 * (y2 - y1)
            part = photo[max(0, int(y1 - margin)) : int(y2 + margin), max(0, int(x1 - margin)) : int(x2 + margin)]
            part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            left, top = int(x - part.shape[1] / 2), int(y - part.shape[0] / 2)
            view = image[max(0, top) : top + part.shape[0], max(0, left) : left + part.shape[1]]
            view[:] = part[max(0, -top) :, max(0, -left) :][: view.shape[0], : view.shape[1]]
        yield image


def write(path: Path, images: Iterator[NDArray[np.uint8]]) -> None:
    """Write a video at 25 frames/s."""
    with av.open(str(path), "w") as video:
        stream = None
        for number, image in enumerate(images):
            if stream is None:
                stream = video.add_stream("libx264", rate=25, options={"preset": "superfast", "crf": "20"})
                stream.height, stream.width, stream.pix_fmt = *image.shape[:2], "yuv420p"
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            video.mux(stream.encode(frame))
        video.mux(stream.encode(None))


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--peer-env", type=Path, default=Path(".venv-fer"))
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", nargs="+", default=["mien-b"])
    parser.add_argument("--curve", action="store_true")
    parser.add_argument("--before", type=Path, help="checkout of another version, for the curve")
    parser.add_argument("--frames", type=int, default=150, help="of each video of the curve")
    args = parser.parse_args()
    if args.clip:
        peer = None if args.no_peer else peer_python(args.peer_env)
        compare(args.clip, peer, args.rounds, args.model[0])
    if args.curve:
        curve(args.model, args.before, args.rounds, args.frames)
    if not args.clip and not args.curve:
        parser.error("give --clip, --curve or both")


if __name__ == "__main__":
    main()
