"""Batching and the fair workers."""

import threading
import time

import numpy as np
import pytest

pytest.importorskip("fastapi")

from mien.errors import InputError, MienError
from mien.models.catalogue import load_model
from mien.server.web.problems import Problem
from mien.server.work.batching import BatchedModel, Batcher
from mien.server.work.workers import FairWorkers


@pytest.fixture(scope="module")
def model():
    return load_model()


def crops(count, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (count, 48, 48), np.uint8)


def in_threads(calls):
    results = [None] * len(calls)

    def run(i):
        results[i] = calls[i]()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_crops_of_many_callers_share_a_batch_and_each_gets_its_own(model):
    sizes = []
    batcher = Batcher(model, wait_s=1.0, at_work=lambda: 6, on_batch=sizes.append)
    wanted = [crops(i % 3 + 1, seed=i) for i in range(6)]
    start = time.monotonic()
    found = in_threads([lambda one=one: batcher.submit(one, "fer2013").result() for one in wanted])
    assert time.monotonic() - start < 0.9  # all had handed in, so nobody waited for the bound
    batcher.close()
    assert sizes == [12]
    for one, probs in zip(wanted, found, strict=True):
        np.testing.assert_allclose(probs, model.predict_proba(one, head="fer2013"), atol=1e-5)


def test_a_caller_waits_no_longer_than_the_bound(model):
    batcher = Batcher(model, wait_s=0.05, at_work=lambda: 100)
    start = time.monotonic()
    assert batcher.submit(crops(1), "fer2013").result().shape == (1, 7)
    assert 0.05 <= time.monotonic() - start < 1
    batcher.close()


def test_a_lone_caller_does_not_wait_at_all(model):
    batcher = Batcher(model, wait_s=30, at_work=lambda: 1)
    assert batcher.submit(crops(1), "fer2013").result().shape == (1, 7)
    batcher.close()


def test_heads_are_kept_apart(model):
    batcher = Batcher(model, wait_s=1, at_work=lambda: 2)
    seven, eight = in_threads(
        [lambda: batcher.submit(crops(2), "fer2013").result(), lambda: batcher.submit(crops(2), "ferplus").result()]
    )
    batcher.close()
    assert (seven.shape, eight.shape) == ((2, 7), (2, 8))


def test_an_error_reaches_everybody_in_the_batch_and_ends_nothing(model):
    batcher = Batcher(model, wait_s=0.01)
    for _ in range(2):
        with pytest.raises(InputError, match="label set"):
            batcher.submit(crops(1), "nonsense").result()
    assert batcher.submit(crops(0), "fer2013").result().shape == (0, 7)
    assert batcher.submit(crops(3), "fer2013").result().shape == (3, 7)
    batcher.close()
    with pytest.raises(MienError, match="stopping"):
        batcher.submit(crops(1), "fer2013").result()


def test_crops_that_nobody_waits_for_any_more_are_left_out(model):
    sizes = []
    batcher = Batcher(model, wait_s=0.2, at_work=lambda: 100, on_batch=sizes.append)
    given_up, wanted = batcher.submit(crops(2), "fer2013"), batcher.submit(crops(3), "fer2013")
    assert given_up.cancel()
    assert wanted.result(timeout=5).shape == (3, 7)
    alone = batcher.submit(crops(1), "fer2013")
    assert alone.cancel()
    assert batcher.submit(crops(4), "fer2013").result(timeout=5).shape == (4, 7)
    batcher.close()
    assert sizes == [3, 4]


def test_the_batched_model_stands_in_for_a_model(model):
    batcher = Batcher(model)
    batched = BatchedModel(model, batcher)
    np.testing.assert_allclose(batched.predict_proba(crops(2)), model.predict_proba(crops(2)), atol=1e-6)
    assert batched.card == model.card and batched.sha256 == model.sha256
    batcher.close()


# Workers


def test_clients_take_turns():
    workers = FairWorkers(1, waiting=100)
    gate, order = threading.Event(), []
    first = workers.submit("x", gate.wait)
    done = [workers.submit("greedy", lambda i=i: order.append(("greedy", i))) for i in range(5)]
    done += [workers.submit("modest", lambda i=i: order.append(("modest", i))) for i in range(2)]
    gate.set()
    for future in [first, *done]:
        future.result(5)
    workers.close()
    assert order[:4] == [("greedy", 0), ("modest", 0), ("greedy", 1), ("modest", 1)]
    assert [number for name, number in order if name == "greedy"] == [0, 1, 2, 3, 4]


def test_no_more_calls_run_than_there_are_workers_and_none_is_lost():
    workers = FairWorkers(3, waiting=1000)
    now, most, lock = 0, 0, threading.Lock()

    def call(i):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.002)
        with lock:
            now -= 1
        return i * i

    futures = [workers.submit(i % 7, lambda i=i: call(i)) for i in range(100)]
    assert [future.result(10) for future in futures] == [i * i for i in range(100)]
    workers.close()
    assert most == 3 and workers.running == 0 and workers.waiting == 0


def test_a_full_queue_is_refused_and_empties_again():
    workers = FairWorkers(1, waiting=2)
    gate = threading.Event()
    running = workers.submit("a", gate.wait)
    while not workers.running:
        time.sleep(0.001)
    waiting = [workers.submit("a", int) for _ in range(2)]
    with pytest.raises(Problem) as refused:
        workers.submit("a", int)
    assert refused.value.status == 503 and refused.value.headers["Retry-After"] == "1"
    waiting.append(workers.submit("b", int))  # who has nothing in a full queue gets a share all the same
    for client in ("b", "c", "a"):  # but of two places, three clients have none
        with pytest.raises(Problem):
            workers.submit(client, int)
    always = workers.submit("job", int, always=True)
    gate.set()
    assert [future.result(5) for future in [running, *waiting, always]] == [True, 0, 0, 0, 0]
    assert workers.submit("b", int).result(5) == 0
    workers.close()


def test_an_error_is_the_callers_and_a_cancelled_call_is_left_out():
    workers = FairWorkers(1, waiting=10)
    gate, ran = threading.Event(), []
    running = workers.submit("a", gate.wait)
    cancelled = workers.submit("a", lambda: ran.append(1))
    failing = workers.submit("a", lambda: 1 / 0)
    assert cancelled.cancel()
    gate.set()
    with pytest.raises(ZeroDivisionError):
        failing.result(5)
    assert running.result(5) and ran == []
    workers.close()


def test_closing_finishes_what_runs_and_drops_what_waits():
    workers = FairWorkers(1, waiting=10)
    gate = threading.Event()
    running = workers.submit("a", lambda: gate.wait() and "done")
    while not workers.running:
        time.sleep(0.001)
    waiting = workers.submit("a", int)
    threading.Timer(0.05, gate.set).start()
    workers.close()
    assert running.result(0) == "done" and waiting.cancelled()
    with pytest.raises(Problem, match="stopping"):
        workers.submit("a", int)
