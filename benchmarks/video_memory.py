"""Memory against minutes: the peak of one process on videos of 1, 10 and 60 minutes, with all outputs.

    python benchmarks/video_memory.py --clip CLIP.mp4 [--minutes 1 10 60] [--fps 5] [--size 320x180] [--rows-only]
        [--attributes A,B]

Each video repeats the clip, in the given size and rate, and is analyzed in a fresh process. The figures are the
resident set (VmRSS of /proc) after a third, two thirds and all of the video, and its peak (VmHWM). Needs Linux.
"""

import argparse
import json
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import cv2

from fresh import run_fresh
from mien.sources.videos import Video

OUTPUTS = ("rows.csv", "rows.jsonl", "rows.parquet", "summary.json", "timeline.html")
IMAGES = ("annotated.mp4", "timeline.png")

RUN = """
import json, os, sys, time
from pathlib import Path
from mien import Analyzer
from mien.video import VideoOutputs, analyze_video

def megabytes(name):
    for line in open("/proc/self/status"):
        if line.startswith(name):
            return round(int(line.split()[1]) / 1024, 1)

marks, started = {}, time.perf_counter()
def watch(progress):
    share = 3 * progress.frames // progress.total
    marks.setdefault(share, megabytes("VmRSS"))

folder, outputs = Path(sys.argv[2]), sys.argv[3].split(",")
wanted = VideoOutputs.named([folder / name for name in outputs])
if "annotated.mp4" in outputs:
    wanted = wanted.plus(VideoOutputs(moments=(folder / "moments.png",)))
result = analyze_video(sys.argv[1], analyzer=Analyzer(attributes=sys.argv[4]), outputs=wanted, progress=watch)
seconds = time.perf_counter() - started
print(json.dumps({"frames": result.frames, "tracks": result.summary()["people"],
    "rss_start_mb": marks[0], "rss_1_3_mb": marks[1], "rss_2_3_mb": marks[2], "rss_end_mb": megabytes("VmRSS"),
    "peak_mb": megabytes("VmHWM"), "frames_per_s": round(result.frames / seconds, 1)}))
"""


def make_video(clip: Path, path: Path, *, minutes: float, fps: int, size: tuple[int, int]) -> None:
    with Video(clip) as video:
        step = max(1, round((video.info.fps or fps) / fps))
        images = [cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA) for frame in video][::step]
    images += images[::-1]  # forth and back, so that a repetition is no cut
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=fps, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(round(60 * minutes * fps)):
            frame = av.VideoFrame.from_ndarray(images[number % len(images)], format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def measure(video: Path, folder: Path, outputs: tuple[str, ...], attributes: str) -> dict[str, float]:
    return run_fresh(sys.executable, RUN, str(video), str(folder), ",".join(outputs), attributes, OMP_NUM_THREADS="1")


def main() -> None:
    """Make the videos, analyze them, and print one JSON line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10, 60])
    parser.add_argument("--fps", type=int, default=5)
    parser.add_argument("--size", default="320x180")
    parser.add_argument("--rows-only", action="store_true", help="leave the annotated video and the images out")
    parser.add_argument("--attributes", default="", help="what else is measured, with commas")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    peaks = []
    for minutes in args.minutes:
        with tempfile.TemporaryDirectory() as name:
            video = Path(name, "video.mp4")
            make_video(args.clip, video, minutes=minutes, fps=args.fps, size=(width, height))
            outputs = OUTPUTS + (() if args.rows_only else IMAGES)
            result = measure(video, Path(name, "out"), outputs, args.attributes)
        peaks.append(result["peak_mb"])
        print(json.dumps({"minutes": minutes, **result}), flush=True)
    print(json.dumps({"largest - smallest peak, MB": round(max(peaks) - min(peaks), 1)}))


if __name__ == "__main__":
    main()
