"""One video in segments against one pass: rows, processor time, wall time and memory, in turn.

    python benchmarks/segments.py CLIP.mp4 [--minutes 10] [--workers 1 2] [--segments 32] [--rounds 3] [--model mien-s]

The clip is repeated, without coding it again, until the video is long enough. Every run is a fresh process that writes
a table; processor time is that of the process and of all its workers, memory the largest of the workers and that of the
parent (ru_maxrss). Ratios are those of runs within a round; the middle of the rounds is printed. Needs Linux.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av

RUN = """
import json, resource, sys
import mien.video._plan as plan
from mien.video import analyze_video, plan_segments

if __name__ == "__main__":
    source, table, workers, segments, model = sys.argv[1:]
    if int(segments):
        plan.PARTS, plan.SHORTEST_S, plan.LONGEST_S = int(segments), 4.0, 3600.0
    result = analyze_video(source, [table], workers=int(workers), model=model, progress=False)
    who = {"parent": resource.RUSAGE_SELF, "workers": resource.RUSAGE_CHILDREN}
    peak = {name: round(resource.getrusage(one).ru_maxrss / 1024) for name, one in who.items()}
    print(json.dumps({"frames": result.frames, "faces": result.faces, "peak_mb": peak,
                      "segments": len(plan_segments(source)) if int(workers) > 1 else 1}))
"""


def repeat(clip: Path, path: Path, seconds: float) -> None:
    """Write a video that repeats a clip, packet by packet."""
    with av.open(str(clip)) as given, av.open(str(path), "w") as taken:
        stream = taken.add_stream_from_template(given.streams.video[0])
        unit, step = float(stream.time_base or given.streams.video[0].time_base), 0
        while step * unit < seconds:
            given.seek(0)
            end = 0
            for packet in given.demux(video=0):
                if packet.dts is None:
                    continue
                end = max(end, packet.pts + packet.duration)
                packet.pts, packet.dts, packet.stream = packet.pts + step, packet.dts + step, stream
                taken.mux(packet)
            unit, step = float(given.streams.video[0].time_base), step + end


def measure(video: Path, table: Path, workers: int, segments: int, model: str) -> dict[str, float]:
    """Analyze a video in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "run.py"
        script.write_text(RUN)
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        command = [sys.executable, str(script), str(video), str(table), str(workers), str(segments), model]
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        wall = time.monotonic() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": wall, "cpu_s": cpu, **told}


def main() -> None:
    """Measure, and say whether the rows are the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--segments", type=int, default=0, help="how many; 0 for the usual plan")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="mien-s")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video, tables = Path(folder) / "video.mp4", {n: Path(folder) / f"{n}.csv" for n in given.workers}
        repeat(given.clip, video, 60 * given.minutes)
        rounds = []
        for number in range(given.rounds):
            runs = {n: measure(video, tables[n], n, given.segments, given.model) for n in given.workers}
            rounds.append(runs)
            print(f"round {number + 1}: {json.dumps(runs)}", flush=True)
        first = given.workers[0]
        for n in given.workers[1:]:
            speed = statistics.median(runs[first]["wall_s"] / runs[n]["wall_s"] for runs in rounds)
            cpu = statistics.median(runs[n]["cpu_s"] / runs[first]["cpu_s"] for runs in rounds)
            same = tables[n].read_bytes() == tables[first].read_bytes()
            print(
                f"{n} workers against {first}: {speed:.2f} times as fast, processor time x {cpu:.3f}, same rows: {same}"
            )


if __name__ == "__main__":
    main()
