"""The cluster against this machine's own workers: throughput, what scheduling costs, and the driver's memory.

    python benchmarks/cluster.py throughput --images FOLDER [--repeat 8] [--rounds 3]
    python benchmarks/cluster.py scheduling [--count 100000]
    python benchmarks/cluster.py memory [--counts 10000 1000000]

`throughput` runs `analyze_images(workers=2)` and the cluster of this machine with two workers in turn, and compares
them pair by pair, with and without the seconds in which Ray and its workers start, and by CPU time, which a busy
machine changes little. `scheduling` and `memory` put a stub in place of the analyzer, which gives no face; each count
gets a process of its own. Workers run at the niceness of the others, where Ray would give them 15. Needs Linux.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from fresh import run_fresh
from mien.analyzer import analyze_images
from mien.cluster import ClusterSettings
from mien.cluster import analyze as analyze_on_cluster
from mien.cluster._ray import load_ray
from mien.cluster.places import Store
from mien.cluster.run import run
from mien.cluster.worker import WorkerSettings
from mien.faces import Faces, Frame
from mien.labels import FER7

WORKERS = 2


class Ready:
    """Notes when all workers are there, how far the work is then, and their CPU time since."""

    def __init__(self) -> None:
        """Start."""
        self.at_s, self.done = 0.0, 0
        self._before: dict[int, float] = {}
        self._after: dict[int, float] = {}
        self._next_s = 0.0

    def __call__(self, progress) -> None:
        """Look at the progress."""
        if not self.at_s and progress.workers >= WORKERS:
            self.at_s, self.done, self._before = time.perf_counter(), progress.done, cpu_of_workers()
        if time.perf_counter() > self._next_s:
            self._after |= cpu_of_workers()
            self._next_s = time.perf_counter() + 1

    def cpu_s(self, names) -> float:
        """Return the CPU seconds of workers since all were there; other clusters of this machine do not count."""
        pids = {int(name.rpartition("-")[2]) for name in names}
        return sum(now - self._before.get(pid, 0.0) for pid, now in self._after.items() if pid in pids)


def cpu_of_workers() -> dict[int, float]:
    """Return the CPU seconds of each worker of this machine so far."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if (place / "cmdline").read_bytes().startswith(b"ray::ClusterWorker"):
                fields = (place / "stat").read_text().rpartition(")")[2].split()
                found[int(place.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except OSError:
            continue
    return found


def own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def throughput(options) -> None:
    with tempfile.TemporaryDirectory() as folder:
        images = copies(Path(options.images), Path(folder) / "images", options.repeat)
        list(analyze_images(sorted(images.iterdir())[:8], progress=False))  # warm
        ratios, wholes, cpus = [], [], []
        for number in range(options.rounds):
            count = len(list(images.iterdir()))
            started, cpu = time.perf_counter(), own_cpu_s()
            rows = sum(len(r.to_records()) for r in analyze_images(images, workers=WORKERS, progress=False))
            here_s, here_cpu_s = time.perf_counter() - started, own_cpu_s() - cpu
            cpu = own_cpu_s()
            ready, started = Ready(), time.perf_counter()
            result = analyze_on_cluster(
                images, Path(folder) / f"out{number}", cluster=ClusterSettings(workers=WORKERS), progress=ready
            )
            whole_s = time.perf_counter() - started
            there = (count - ready.done) / (time.perf_counter() - ready.at_s)
            assert result.rows == rows and result.images == count
            there_cpu_s, driver_s = ready.cpu_s(result.by_worker) * count / (count - ready.done), own_cpu_s() - cpu
            cpus.append(here_cpu_s / there_cpu_s)
            ratios.append(there / (count / here_s))
            wholes.append(here_s / whole_s)
            print(
                f"{count} images: {count / here_s:.1f}/s here, {there:.1f}/s on the cluster, ratio {ratios[-1]:.3f}; "
                f"whole {here_s:.1f} s and {whole_s:.1f} s; "
                f"CPU {here_cpu_s:.1f} s and {there_cpu_s:.1f} s, the driver {driver_s:.1f} s, ratio {cpus[-1]:.3f}",
                flush=True,
            )
        whole, cpu_ratio = statistics.median(wholes), statistics.median(cpus)
        print(f"median ratio {statistics.median(ratios):.3f}, with its start {whole:.3f}, by CPU time {cpu_ratio:.3f}")


def copies(photos: Path, folder: Path, repeat: int) -> Path:
    """Fill a folder with links to images, each `repeat` times."""
    folder.mkdir()
    for photo in sorted(photos.glob("*.jpg")):
        for number in range(repeat):
            (folder / f"{number}-{photo.name}").symlink_to(photo.resolve())
    return folder


class Stub:
    """An analyzer that opens nothing and finds no face."""

    labels, attributes, model = FER7, (), SimpleNamespace(threads=1)

    def map_items(self, items, *, settings=None, workers=None):
        """Yield every item without a face."""
        image = np.zeros((1, 1, 3), np.uint8)
        for item in items:
            yield Frame(image, source=item.name), Faces.empty()


def stub_run(count: int, folder: Path) -> dict[str, float]:
    """Run a list of so many paths through the stub, twice, and return what it cost."""
    place = folder / "list.txt"
    with place.open("w") as file:
        for number in range(count):
            file.write(f"https://example.org/{number // 1000:06d}/photo-{number:09d}.jpg\n")
    store, told = Store(str(folder / "out")), {}
    for turn in ("first", "again"):
        ready, cpu, started = Ready(), own_cpu_s(), time.perf_counter()
        worker = WorkerSettings(Stub, store.uri, turn)
        result = run(load_ray(), place, store, worker, ClusterSettings(workers=WORKERS), {}, ready)
        told |= {
            f"{turn}_s": time.perf_counter() - started,
            f"{turn}_cpu_s": own_cpu_s() - cpu,
            f"{turn}_done": result.images,
            f"{turn}_parts": result.parts,
        }
        if turn == "first":
            told["after_ready_s"] = time.perf_counter() - ready.at_s
            told["after_ready_images"] = count - ready.done
        told[f"{turn}_peak_mb"] = peak_mb()
    return told


def peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


FRESH = """
import json, sys, tempfile
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import cluster
from ray import cloudpickle
cloudpickle.register_pickle_by_value(cluster)
with tempfile.TemporaryDirectory() as folder:
    print(json.dumps(cluster.stub_run(int(sys.argv[1]), Path(folder))))
"""


def scheduling(options) -> None:
    told = run_fresh(sys.executable, FRESH, str(options.count), str(Path(__file__).parent))
    per = 1e6 / told["after_ready_images"]
    print(json.dumps({name: round(value, 2) for name, value in told.items()}))
    driver, again = (told[name] * 1e6 / options.count for name in ("first_cpu_s", "again_s"))
    print(
        f"{options.count} images: {driver:.0f} us of the driver's CPU time per image, "
        f"{told['after_ready_s'] * per:.0f} us of wall time with {WORKERS} workers, "
        f"rows written; a second run, which finds all done, {again:.0f} us"
    )


def memory(options) -> None:
    peaks = []
    for count in options.counts:
        told = run_fresh(sys.executable, FRESH, str(count), str(Path(__file__).parent))
        peaks.append((told["first_peak_mb"], told["again_peak_mb"]))
        print(
            f"{count} paths: peak of the driver {peaks[-1][0]:.0f} MB, of a second run in it {peaks[-1][1]:.0f} MB",
            flush=True,
        )
    print(f"difference {max(p[0] for p in peaks) - min(p[0] for p in peaks):.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    for part, given in {
        throughput: [("--images", {"required": True}), ("--repeat", {"type": int, "default": 8})],
        scheduling: [("--count", {"type": int, "default": 100_000})],
        memory: [("--counts", {"type": int, "nargs": "+", "default": [10_000, 1_000_000]})],
    }.items():
        sub = parts.add_parser(part.__name__)
        for name, more in given:
            sub.add_argument(name, **more)
        sub.add_argument("--rounds", type=int, default=3)
        sub.set_defaults(run=part)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("RAY_worker_niceness", "0")  # 15 by default: on a busy machine the sides would not be alike
    options.run(options)


if __name__ == "__main__":
    main()
