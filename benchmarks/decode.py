"""Frames of a video as RGB: frames a second beside OpenCV and plain PyAV, and memory against minutes of video.

    python benchmarks/decode.py --clip clip.mp4 [--rounds 5] [--minutes 1 12]

The clip is repeated, not encoded again, until it is as long as asked. Speed: the ways take turns in one process on
the shortest video, and the median round of each counts; ratios are within a round. Memory: each video is read in a
fresh process, whose resident memory is taken after its first frames and at its peak afterwards.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np

from mien.sources.videos import Video, VideoSettings

WARM_FRAMES = 200


def by_mien(path: str) -> int:
    return sum(1 for _ in Video(path))


def by_opencv(path: str) -> int:
    capture = cv2.VideoCapture(path)
    count = 0
    while True:
        done, image = capture.read()
        if not done:
            capture.release()
            return count
        cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        count += 1


def by_plain_pyav(path: str) -> int:
    with av.open(path) as video:
        video.streams.video[0].thread_type = "AUTO"
        return sum(1 for frame in video.decode(video=0) if frame.to_ndarray(format="rgb24") is not None)


WAYS: dict[str, Callable[[str], int]] = {"mien": by_mien, "opencv": by_opencv, "plain PyAV": by_plain_pyav}


def repeat(clip: Path, target: Path, minutes: float) -> None:
    """Copy the packets of a clip again and again until the video is long enough."""
    with av.open(str(clip)) as first, av.open(str(target), "w") as video:
        stream = video.add_stream_from_template(first.streams.video[0])
        packets = [packet for packet in first.demux(video=0) if packet.size]
        base = first.streams.video[0].time_base or 1
        length = max(p.pts + p.duration for p in packets) - min(p.pts for p in packets)
        for turn in range(int(np.ceil(minutes * 60 / float(length * base)))):
            for packet in packets:
                copy = av.Packet(bytes(packet))
                copy.pts, copy.dts = packet.pts + turn * length, packet.dts + turn * length
                copy.duration, copy.time_base = packet.duration, base
                copy.is_keyframe, copy.stream = packet.is_keyframe, stream
                video.mux(copy)


def resident_mb() -> float:
    """Return the memory that this process holds now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def memory_of(path: str) -> None:
    """Read a whole video and print its memory as JSON."""
    for _ in Video(path, VideoSettings(max_frames=WARM_FRAMES)):
        pass
    warm = resident_mb()
    peak, count, last = warm, 0, 0.0
    for frame in Video(path):
        count, last = count + 1, frame.time_s
        if count % 50 == 0:
            peak = max(peak, resident_mb())
    print(json.dumps({"minutes": round(last / 60, 2), "frames": count, "warm_mb": warm, "peak_mb": peak}))


def speed(clip: str, rounds: int) -> None:
    """Print frames a second of each way, and mien's ratio to the others."""
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, way in WAYS.items():
            started = time.perf_counter()
            count = way(clip)
            rates[name].append(count / (time.perf_counter() - started))
    info = Video(clip).info
    print(json.dumps({"size": f"{info.width}x{info.height}", "frames": info.frames, "rounds": rounds}))
    for name, found in rates.items():
        ratio = float(np.median(np.divide(rates["mien"], found)))
        print(json.dumps({"way": name, "frames_per_s": round(float(np.median(found))), "mien / way": round(ratio, 2)}))


def main() -> None:
    """Measure speed, then memory for each length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, nargs="*", default=[1, 12])
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        memory_of(args.memory_of)
        return
    for number, minutes in enumerate(sorted(args.minutes)):
        with tempfile.TemporaryDirectory() as folder:
            video = str(Path(folder) / "long.mkv")
            repeat(Path(args.clip), Path(video), minutes)
            if number == 0:
                speed(video, args.rounds)
            command = [sys.executable, __file__, "--clip", args.clip, "--memory-of", video]
            print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


if __name__ == "__main__":
    main()
