"""A fixed number of threads for everything that takes time, taking turns between clients."""

import asyncio
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from mien.server.web.problems import busy

T = TypeVar("T")


@dataclass(frozen=True)
class _Work:
    call: Callable[[], Any]
    done: "Future[Any]"


class FairWorkers:
    """Runs calls in threads. Each client has a queue of its own, and the queues take turns.

    So a client that hands in a thousand images delays another's single one by one piece of work, not by a thousand.
    """

    def __init__(self, count: int, *, waiting: int, each: int | None = None, name: str = "mien-work") -> None:
        """Start the threads.

        Args:
            count: Calls at once.
            waiting: Calls that may wait, of all clients together; where they do, a client may add to them until it has
                its share.
            each: Calls at once of one client; None for any number, which suits calls that keep a core busy.
            name: What the threads are called.
        """
        self.count = count
        self.largest_queue = waiting
        self._queues: OrderedDict[Hashable, deque[_Work]] = OrderedDict()
        self._waiting = 0
        self._running = 0
        self._each = each or count
        self._at_work: Counter[Hashable] = Counter()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{i}", daemon=True) for i in range(max(1, count))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many calls wait for a thread."""
        return self._waiting

    @property
    def running(self) -> int:
        """How many calls are in a thread."""
        return self._running

    def submit(self, client: Hashable, call: Callable[[], T], *, always: bool = False) -> "Future[T]":
        """Put a call into its client's queue.

        Args:
            client: Whose turn it takes.
            call: Run in a thread.
            always: Whether the queues take it however long they are: for those who hand in one call at a time.

        Raises:
            Problem: 503, the queues are full or the workers closed.
        """
        work = _Work(call, Future())
        with self._changed:
            if self._closed:
                raise busy("the server is stopping; try again in a moment", retry_after_s=5)
            if not always and self._is_full(client):
                raise busy(f"{self._waiting} pieces of work wait already; try again in a moment")
            self._queues.setdefault(client, deque()).append(work)
            self._waiting += 1
            self._changed.notify()
        return work.done

    def _is_full(self, client: Hashable) -> bool:
        if self._waiting < self.largest_queue:
            return False
        mine = self._queues.get(client, ())
        return len(mine) >= self.largest_queue // (len(self._queues) + (not mine))

    async def run(self, client: Hashable, call: Callable[[], T]) -> T:
        """Run a call in a thread and return what it returns. Cancelling takes it out of the queue.

        Args:
            client: Whose turn it takes.
            call: Run in a thread.

        Raises:
            Problem: 503, the queues are full or the workers closed.
        """
        return await asyncio.wrap_future(self.submit(client, call))

    def close(self) -> None:
        """Drop what waits, and return when what runs is done."""
        with self._changed:
            self._closed = True
            dropped = [work for queue in self._queues.values() for work in queue]
            self._queues.clear()
            self._waiting = 0
            self._changed.notify_all()
        for work in dropped:
            work.done.cancel()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while found := self._next():
            client, work = found
            try:
                if work.done.set_running_or_notify_cancel():
                    _complete(work)
            finally:
                with self._changed:
                    self._running -= 1
                    self._at_work[client] -= 1
                    if not self._at_work[client]:
                        del self._at_work[client]
                    self._changed.notify()  # this client's next call may be waiting for its turn
            del found, work  # what it holds must not outlive it while this thread waits

    def _next(self) -> tuple[Hashable, _Work] | None:
        with self._changed:
            while (client := self._first()) is None:
                if self._closed:
                    return None
                self._changed.wait()
            queue = self._queues.pop(client)
            work = queue.popleft()
            if queue:
                self._queues[client] = queue  # at the end: the others come first
            self._waiting -= 1
            self._running += 1
            self._at_work[client] += 1
            return client, work

    def _first(self) -> Hashable | None:
        """Return the client whose turn it is."""
        return next((client for client in self._queues if self._at_work[client] < self._each), None)


def _complete(work: _Work) -> None:
    try:
        result = work.call()
    except BaseException as error:
        work.done.set_exception(error)
    else:
        work.done.set_result(result)
