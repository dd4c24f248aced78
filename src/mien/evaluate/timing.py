"""How long a model takes."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.evaluate.values import Latency, PredictProba


def latency(
    predict_proba: PredictProba,
    *,
    batch_sizes: Sequence[int] = (1, 64),
    repeats: int = 50,
    warmup: int = 5,
    seed: int = 0,
) -> tuple[Latency, ...]:
    """Time a model on random crops.

    Args:
        predict_proba: (n, 48, 48) uint8 → (n, C) probabilities.
        batch_sizes: Crops per call.
        repeats: Calls timed for each.
        warmup: Calls before those.
        seed: Seed of the crops.

    Returns:
        One entry per batch size.

    Raises:
        InputError: `repeats` or a batch size is below 1.
    """
    if repeats < 1 or min(batch_sizes, default=0) < 1:
        raise InputError(f"repeats and batch sizes must be 1 or more, got {repeats} and {tuple(batch_sizes)}")
    crops = np.random.default_rng(seed).integers(0, 256, (max(batch_sizes), 48, 48), np.uint8)
    return tuple(_time_batch(predict_proba, crops[:size], repeats, warmup) for size in batch_sizes)


def _time_batch(predict_proba: PredictProba, crops: NDArray[np.uint8], repeats: int, warmup: int) -> Latency:
    for _ in range(warmup):
        predict_proba(crops)
    times_ms = []
    for _ in range(repeats):
        start = time.perf_counter()
        predict_proba(crops)
        times_ms.append(1e3 * (time.perf_counter() - start))
    median, p90 = np.percentile(times_ms, (50, 90))
    return Latency(len(crops), float(median), float(p90), float(1e3 * len(crops) / median))
