"""Workers as actors of Ray: they come and go with the nodes, and what one was doing when it was lost is known.

The pool never waits for workers that the cluster has no room for: those that are ready do the work, and the others join
when there is room. So a pool as large as the cluster, or larger, does not hang.
"""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mien._version import __version__
from mien.cluster.settings import ClusterSettings
from mien.cluster.videos import PieceMade, Planned
from mien.cluster.worker import Chunk, ClusterWorker, Done, WorkerSettings
from mien.errors import InputError, MienError, shortened

DEPTH = 2  # tasks that a worker has: the next one waits in its queue
CAPACITY_S = 2.0  # between two looks at the cluster
POLL_S = 0.5
LEAVE_S = 5.0
NODE_GONE = ("node has died", "its node", "node was terminated", "node is dead")
STARTS = 3  # attempts of workers to start, in a row, before it is no accident


@dataclass(eq=False)
class _Actor:
    handle: Any
    starting: Any
    tasks: deque[tuple[Any, Chunk]] = field(default_factory=deque)
    told: dict[str, Any] | None = None
    node: str = ""


@dataclass(frozen=True)
class Come:
    """A task that is done.

    Attributes:
        chunk: The task.
        result: What the worker returned.
    """

    chunk: Chunk
    result: Done | Planned | PieceMade


@dataclass(frozen=True)
class Lost:
    """A task whose worker was lost.

    Attributes:
        chunk: The task.
        guilty: Whether it may be the reason: it was at work, and the node is still there.
        first: Whether it is the first one that this worker had.
    """

    chunk: Chunk
    guilty: bool
    first: bool


class Pool:
    """Hands tasks to workers."""

    def __init__(self, ray: Any, settings: ClusterSettings, worker: WorkerSettings) -> None:
        """Start no worker yet.

        Args:
            ray: The module, connected to a cluster.
            settings: How many workers, and what each gets.
            worker: What every worker is told.
        """
        self._ray, self._settings = ray, settings
        self._worker = ray.put(worker)
        self._class = ray.remote(ClusterWorker)
        self._actors: list[_Actor] = []
        self._next_look = 0.0
        self._began = time.monotonic()
        self._failed_starts = 0
        self.capacity = 0

    @property
    def ready(self) -> int:
        """How many workers are ready."""
        return sum(actor.told is not None for actor in self._actors)

    @property
    def busy(self) -> bool:
        """Whether any task is with a worker."""
        return any(actor.tasks for actor in self._actors)

    def told(self) -> list[dict[str, Any]]:
        """Return what the workers say of themselves."""
        return [actor.told for actor in self._actors if actor.told]

    def room(self) -> int:
        """Return how many tasks could be taken now."""
        depth = DEPTH if self.ready == len(self._actors) else 1  # those that start shall get some of a small job
        return sum(max(0, depth - len(actor.tasks)) for actor in self._actors if actor.told)

    def submit(self, chunk: Chunk, *, message: str | None = None) -> None:
        """Give a task to the worker that has the fewest.

        Args:
            chunk: The task.
            message: Write this as the error of its inputs instead of doing it.
        """
        actor = min((actor for actor in self._actors if actor.told), key=lambda actor: len(actor.tasks))
        handle = actor.handle
        ref = handle.work.remote(chunk) if message is None else handle.give_up.remote(chunk, message)
        actor.tasks.append((ref, chunk))

    def look(self) -> None:
        """Start workers where there is room for them, and let go of those that are too many.

        Raises:
            InputError: There is no room for a single one, and was none for `wait_s`.
        """
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + CAPACITY_S
        self.capacity = self._places()
        wanted = self.capacity if self._settings.workers is None else self._settings.workers
        for _ in range(max(wanted, 1) - len(self._actors)):
            self._start()
        if self.ready:
            self._began = now
        elif now - self._began > self._settings.wait_s:
            raise InputError(self.waiting())

    def waiting(self) -> str:
        """Say what a worker needs and what the cluster has."""
        cluster, free = self._ray.cluster_resources(), self._ray.available_resources()
        needs = f"{self._settings.cpus:g} CPU" + (f" and {self._settings.gpus:g} GPU" if self._settings.gpus else "")
        has = f"{cluster.get('CPU', 0):g} CPU and {cluster.get('GPU', 0):g} GPU, {free.get('CPU', 0):g} CPU of it free"
        return (
            f"no worker can start: each needs {needs} on one node, and the cluster has {has}; ask for less per worker, "
            "add nodes, or end other jobs"
        )

    def _places(self) -> int:
        """Return how many workers the nodes have room for."""
        count = 0
        for node in self._ray.nodes():
            has = node["Resources"] if node["Alive"] else {}
            cpus = has.get("CPU", 0) / self._settings.cpus
            gpus = has.get("GPU", 0) / self._settings.gpus if self._settings.gpus else cpus
            count += int(min(cpus, gpus) + 1e-9)
        return count

    def _start(self) -> None:
        handle = self._class.options(
            num_cpus=self._settings.cpus,
            num_gpus=self._settings.gpus,
            max_restarts=0,
            scheduling_strategy="SPREAD",
        ).remote(self._worker)
        self._actors.append(_Actor(handle, handle.ready.remote()))

    def wait(self) -> Iterator[Come | Lost]:
        """Wait a little and yield what has come: tasks with their results, and tasks that were lost.

        Raises:
            MienError: Workers cannot start, or their output cannot be written.
        """
        refs = [actor.starting for actor in self._actors if actor.told is None]
        refs += [ref for actor in self._actors for ref, _ in actor.tasks]
        if not refs:
            time.sleep(POLL_S)
            return
        come, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
        if not come:
            come, _ = self._ray.wait(refs, num_returns=1, timeout=POLL_S)
        come = set(come)
        for actor in list(self._actors):
            if actor.told is None:
                if actor.starting in come:
                    self._started(actor)
            else:
                yield from self._results(actor, come)

    def _started(self, actor: _Actor) -> None:
        try:
            told = self._ray.get(actor.starting)
        except self._ray.exceptions.RayError as error:
            self._actors.remove(actor)
            self._failed_starts += 1
            if self._failed_starts >= STARTS:
                raise MienError(f"workers cannot start: {_reason(error)}") from error
            return
        if told["version"] != __version__:
            raise MienError(
                f"a node of the cluster has mien {told['version']}, and this is {__version__}; "
                "install the same version everywhere"
            )
        actor.told, self._failed_starts = told, 0

    def _results(self, actor: _Actor, come: set[Any]) -> Iterator[Come | Lost]:
        while actor.tasks and actor.tasks[0][0] in come:
            ref, chunk = actor.tasks[0]
            try:
                result = self._ray.get(ref)
            except self._ray.exceptions.RayTaskError as error:
                raise _plain(error) from error
            except self._ray.exceptions.RayError as error:
                yield from self._lose(actor, error)
                return
            actor.tasks.popleft()
            yield Come(chunk, result)

    def _lose(self, actor: _Actor, error: Exception) -> Iterator[Lost]:
        """Yield the tasks of a worker that is gone; only the first was at work."""
        self._actors.remove(actor)
        self._ray.kill(actor.handle)  # where it is only out of reach
        self._next_look = 0.0
        node_gone = any(text in str(error) for text in NODE_GONE)
        for number, (_, chunk) in enumerate(actor.tasks):
            yield Lost(chunk, guilty=number == 0 and not node_gone, first=number == 0)

    def close(self) -> None:
        """Let the workers go, once they have cleaned up."""
        leaving = [actor.handle.leave.remote() for actor in self._actors if actor.told and not actor.tasks]
        if leaving:
            self._ray.wait(leaving, num_returns=len(leaving), timeout=LEAVE_S)
        for actor in self._actors:
            self._ray.kill(actor.handle)
        self._actors = []


def _plain(error: Any) -> MienError:
    """Return the error of a worker as the one that was raised there."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, MienError) else MienError(f"a worker failed: {_reason(error)}")


def _reason(error: Exception) -> str:
    """Return the last line of what Ray says, which is the error itself."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shortened(lines[-1] if lines else type(error).__name__, 600)
