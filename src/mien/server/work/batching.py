"""One place where the faces of all clients meet: many small requests, few runs of the network."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mien.analyzer import split_rows
from mien.errors import MienError
from mien.models.expression import ExpressionModel

Crops = NDArray[np.uint8]
Probs = NDArray[np.float32]

LARGEST_BATCH = 64


@dataclass
class _Waiting:
    crops: Crops
    head: str
    probs: "Future[Probs]" = field(default_factory=Future)


class Batcher:
    """Collects crops for a few milliseconds and runs them together, per head; answers come in the order asked.

    Safe to call from many threads. A lone caller does not wait for others: the collecting ends as soon as everybody who
    is at work has handed something in.
    """

    def __init__(
        self,
        model: ExpressionModel,
        *,
        wait_s: float = 0.002,
        at_work: Callable[[], int] = lambda: 1,
        on_batch: Callable[[int], None] | None = None,
    ) -> None:
        """Start the thread that runs the model.

        Args:
            model: The model.
            wait_s: Longest time that crops wait for others.
            at_work: How many callers might hand something in soon, the caller itself included.
            on_batch: Told the size of each batch.
        """
        self._model = model
        self._wait_s = wait_s
        self._at_work = at_work
        self._on_batch = on_batch
        self._waiting: list[_Waiting] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="mien-batches", daemon=True)
        self._thread.start()

    def submit(self, crops: Crops, head: str) -> "Future[Probs]":
        """Hand in some crops, to be run together with those of others.

        Args:
            crops: (N, 48, 48) uint8; N may be 0.
            head: A head of the model.

        Returns:
            Will have the probabilities, (N, C) float32; whoever no longer wants them may cancel it.

        Raises:
            MienError: The batcher is closed.
        """
        mine = _Waiting(crops, head)
        if not len(crops):
            mine.probs.set_result(self._model.predict_proba(crops, head=head))
            return mine.probs
        with self._changed:
            if self._closed:
                raise MienError("the server is stopping; try again in a moment")
            self._waiting.append(mine)
            self._changed.notify()
        return mine.probs

    def close(self) -> None:
        """Run what waits and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._collect():
            by_head = defaultdict(list)
            for one in batch:
                if one.probs.set_running_or_notify_cancel():  # from here on nobody can cancel it
                    by_head[one.head].append(one)
            for head, group in by_head.items():
                self._run(head, group)

    def _collect(self) -> list[_Waiting]:
        """Wait for the first crops, then a moment for more; nothing once closed and done."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            until = time.monotonic() + self._wait_s
            while not self._is_full() and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            batch, self._waiting = self._waiting, []
            return batch

    def _is_full(self) -> bool:
        faces = sum(len(one.crops) for one in self._waiting)
        return self._closed or faces >= LARGEST_BATCH or len(self._waiting) >= self._at_work()

    def _run(self, head: str, group: list[_Waiting]) -> None:
        try:
            probs = self._model.predict_proba(np.concatenate([one.crops for one in group]), head=head)
        except Exception as error:
            for one in group:
                one.probs.set_exception(error)
            return
        if self._on_batch:
            self._on_batch(len(probs))
        parts = split_rows(probs, [len(one.crops) for one in group])
        for one, part in zip(group, parts, strict=True):
            one.probs.set_result(part)


class BatchedModel(ExpressionModel):
    """An open model whose faces go through a `Batcher`; everything that takes a model takes it."""

    def __init__(self, model: ExpressionModel, batcher: Batcher) -> None:
        """Stand in for a model.

        Args:
            model: The model that the batcher runs.
            batcher: The one place where faces meet.
        """
        self.card, self.sha256, self.device = model.card, model.sha256, model.device
        self._batcher = batcher

    def predict_proba(self, crops: Crops, *, head: str | None = None) -> Probs:
        """Return the probabilities of one head, as `ExpressionModel.predict_proba` does."""
        return self.submit(crops, head=head).result()

    def submit(self, crops: Crops, *, head: str | None = None) -> "Future[Probs]":
        """Hand in crops without waiting; takes what `predict_proba` takes."""
        return self._batcher.submit(crops, self.card.label_set(head).key)
