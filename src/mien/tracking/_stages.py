"""Several steps over a stream of things, each step in its own thread, with a bound on what is under way."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

_END = object()


class _Failure:
    """An error on its way to the consumer, behind all earlier results."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Line:
    """The threads of one run."""

    def __init__(self, source: Iterable[Any], steps: Sequence[Callable[[Any], Any]], ahead: int) -> None:
        self._stopped = threading.Event()
        self._credit = threading.Semaphore(ahead)
        self._queues: list[queue.SimpleQueue[Any]] = [queue.SimpleQueue() for _ in range(len(steps) + 1)]
        self._threads = [threading.Thread(target=self._read, args=(source,), name="mien-read", daemon=True)]
        for number, step in enumerate(steps):
            work = threading.Thread(target=self._work, args=(number, step), name=f"mien-step-{number + 1}", daemon=True)
            self._threads.append(work)

    def run(self) -> Generator[Any, None, None]:
        """Start the threads and yield what comes out."""
        for thread in self._threads:
            thread.start()
        try:
            while (result := self._queues[-1].get()) is not _END:
                if isinstance(result, _Failure):
                    raise result.error
                yield result
                self._credit.release()
        finally:
            self._stop()

    def _stop(self) -> None:
        self._stopped.set()
        self._credit.release()
        for thread in self._threads:
            thread.join()

    def _read(self, source: Iterable[Any]) -> None:
        try:
            iterator = iter(source)
            while self._may_go_on():
                item = next(iterator, _END)
                self._queues[0].put(item)
                if item is _END:
                    return
        except BaseException as error:
            self._queues[0].put(_Failure(error))
        self._queues[0].put(_END)

    def _may_go_on(self) -> bool:
        self._credit.acquire()
        return not self._stopped.is_set()

    def _work(self, number: int, step: Callable[[Any], Any]) -> None:
        taken, given = self._queues[number], self._queues[number + 1]
        failed = False
        while (item := taken.get()) is not _END:
            if isinstance(item, _Failure):
                given.put(item)
            elif not failed and not self._stopped.is_set():
                try:
                    given.put(step(item))
                except BaseException as error:
                    failed = True
                    given.put(_Failure(error))
        given.put(_END)


def in_stages(
    source: Iterable[Any], steps: Sequence[Callable[[Any], Any]], *, ahead: int
) -> Generator[Any, None, None]:
    """Yield every thing of a source after all steps, in order; source, steps and consumer run at the same time.

    Closing the iterator ends the threads; it waits for the thing that each of them is working on.

    Args:
        source: Read in a thread of its own.
        steps: What is done to each thing, each in a thread of its own.
        ahead: How many things may be under way, the one that the consumer holds included.

    Raises:
        Exception: What the source or a step raised, after all earlier results.
    """
    yield from _Line(source, steps, ahead).run()
