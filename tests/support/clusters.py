"""Ray clusters for tests, and an analyzer for them that opens no file and does what the name of its input says.

The analyzer of `stub` gives every image one face; `slow` in a name makes it take a while, `broken` gives an error, and
`poison` ends its process at once, as a crash in a decoder does. Each image that is begun is a line in the file that the
variable CLUSTER_LOG names, where there is one.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from mien.analyzer import AnalyzerSettings
from mien.cluster._ray import load_ray
from mien.cluster.places import Store
from mien.cluster.run import run
from mien.cluster.settings import ClusterSettings
from mien.cluster.worker import WorkerSettings
from mien.errors import SourceError
from mien.faces import Faces, Frame
from mien.labels import FER7
from mien.sources.images import Failed

SLOW_S = 0.05
IDENTITY = {"model": "stub"}


@dataclass
class Stub:
    """Stands for an analyzer."""

    labels: Any = FER7
    attributes: tuple[str, ...] = ()
    model: Any = field(default_factory=lambda: SimpleNamespace(threads=1))

    def map_items(self, items, *, settings=None, workers=None):
        image = np.zeros((1, 1, 3), np.uint8)
        faces = Faces(
            np.array([[1, 2, 3, 4]], np.float32),
            np.array([0.5], np.float32),
            probs=np.full((1, 7), 1 / 7, np.float32),
            labels=FER7,
        )
        for item in items:
            _log(item.name)
            if "slow" in item.name:
                time.sleep(SLOW_S)
            if "poison" in item.name:
                os._exit(1)
            if "broken" in item.name:
                yield Failed(item.name, SourceError(f"{item.name} is broken"))
            else:
                yield Frame(image, source=item.name), faces


def _log(name: str) -> None:
    path = os.environ.get("CLUSTER_LOG")
    if path:
        with open(path, "a") as file:
            file.write(f"{os.getpid()} {name}\n")


@contextmanager
def ray_environment(folder: Path) -> Iterator[Any]:
    """Give Ray a home of its own, where it writes a token, and workers this code; yield the module."""
    path = os.pathsep.join([*(str(Path(entry).resolve()) for entry in sys.path if entry), str(Path(__file__).parent)])
    given = {
        "HOME": str(folder / "home"),
        "PYTHONPATH": path,
        "CLUSTER_LOG": str(folder / "begun.txt"),
        "RAY_worker_niceness": "0",  # Ray's 15 makes tests on a busy machine wait
    }
    before = {name: os.environ.get(name) for name in given}
    (folder / "home").mkdir(exist_ok=True)
    os.environ.update(given)
    try:
        yield load_ray()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def small_cluster(folder: Path, *cpus: int) -> Iterator[Any]:
    """Start a cluster with a node per number of cores, the first being its head; yield `ray.cluster_utils.Cluster`."""
    with ray_environment(folder) as ray:
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args=node(cpus[0]))
        try:
            for count in cpus[1:]:
                cluster.add_node(**node(count))
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


def node(cpus: int) -> dict[str, Any]:
    """Return the arguments of a node that needs little."""
    return {"num_cpus": cpus, "object_store_memory": 80 << 20, "include_dashboard": False}


def work(sources: Any, out: Path | str, settings: ClusterSettings, *, opener: Any = Stub, progress: Any = None) -> Any:
    """Run a job as `mien.cluster.analyze` does, with the stub in place of the analyzer unless another is given."""
    store = Store(str(out))
    name = f"{os.getpid()}-{time.monotonic_ns()}"
    if isinstance(opener, AnalyzerSettings):
        opener = opener.open
    worker = WorkerSettings(opener, store.uri, name, settings.threads)
    return run(load_ray(), sources, store, worker, settings, IDENTITY, progress or (lambda at: None))


def paths(folder: Path, count: int, *, what: str = "slow", special: dict[int, str] | None = None) -> Path:
    """Write a list of paths, of which those in `special` have another word in their names; return the list."""
    lines = [f"{(special or {}).get(number, what)}-{number:05d}.jpg" for number in range(count)]
    place = folder / "list.txt"
    place.write_text("\n".join(lines) + "\n")
    return place


def sources_in(out: Path | str) -> Counter[str]:
    """Return how many rows of a data set each source has, by file name."""
    import pandas

    table = pandas.read_parquet(out)
    return Counter(Path(source).name for source in table["source"])


def begun(folder: Path) -> Counter[str]:
    """Return how often each image was begun, by name."""
    lines = (folder / "begun.txt").read_text().splitlines()
    return Counter(Path(line.partition(" ")[2]).name for line in lines)
