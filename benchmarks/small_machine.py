"""What mien costs on one core: CPU time of a frame, and memory, for the settings that matter on a small machine.

    OMP_NUM_THREADS=1 python benchmarks/small_machine.py [--passes 3]

Each setting runs in a fresh process that keeps to one core (Linux), with one thread for the models. The videos are
those of `video_speed.py --curve`: one face, 150 frames, 25 frames/s. CPU time hardly depends on what else the machine
does; 1000 / ms is the rate that one such core keeps up with. The best of the passes is taken.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from fresh import run_fresh
from video_speed import crowd, write

CODE = """
import json, os, resource, sys, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import cv2
cv2.setNumThreads(1)
from mien import Analyzer, TrackSettings, VideoSettings, analyze_video
from mien.detect import DetectorSettings
clip, folder, passes, model, min_face, detect_every, fps = sys.argv[1:]
analyzer = Analyzer(model=model, detector_settings=DetectorSettings(min_face_px=int(min_face)))
track = TrackSettings(detect_every_s=float(detect_every))
video = VideoSettings(fps=float(fps) or None)
spent = []
for _ in range(int(passes)):
    started = time.process_time()
    result = analyze_video(clip, [folder + "/rows.csv"], analyzer=analyzer, track=track, video=video, progress=False)
    spent.append(time.process_time() - started)
least = min(spent)
print(json.dumps({"frames": result.frames, "faces": result.faces, "ms_a_frame": round(1000 * least / result.frames, 2),
    "cpu_share": round(least / 6, 3), "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)}))
"""
SETTINGS = (  # width, height, model, smallest face, seconds between searches, frames a second (0: all)
    (640, 360, "mien-b", 32, 0.5, 0),
    (640, 360, "mien-s", 32, 0.5, 0),
    (640, 360, "mien-s", 60, 0.5, 0),
    (640, 360, "mien-s", 60, 1.0, 0),
    (640, 360, "mien-s", 60, 1.0, 5),
    (1280, 720, "mien-b", 32, 0.5, 0),
    (1280, 720, "mien-s", 32, 0.5, 0),
    (1280, 720, "mien-s", 60, 1.0, 5),
)


def main() -> None:
    """Print one line of JSON per setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passes", type=int, default=3)
    args = parser.parse_args()
    for width, height, *rest in SETTINGS:
        with tempfile.TemporaryDirectory() as folder:
            clip = Path(folder, "clip.mp4")
            write(clip, crowd(1, (width, height)))
            told = [str(value) for value in rest]
            result = run_fresh(sys.executable, CODE, str(clip), folder, str(args.passes), *told)
        print(json.dumps({"size": f"{width}x{height}", "settings": told, **result}), flush=True)


if __name__ == "__main__":
    main()
