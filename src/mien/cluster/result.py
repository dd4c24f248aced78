"""How far the work is (`ClusterProgress`) and what became of it (`ClusterResult`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ClusterProgress:
    """How far the work is.

    Attributes:
        done: Images and videos with results.
        known: How many are known so far; lists and folders are read as the work goes on.
        all_known: Whether there are no more.
        workers: Workers that are ready.
        note: What people should know: that no worker fits, say.
    """

    done: int
    known: int
    all_known: bool
    workers: int
    note: str = ""


@dataclass(frozen=True)
class ClusterResult:
    """What became of the images and videos; their rows are in the data set.

    Attributes:
        out: The data set.
        images: Images that this run analyzed.
        videos: Videos that this run analyzed.
        failed: How many of both have an error instead of a result.
        before: Images and videos that an earlier run had done.
        rows: Rows that this run wrote.
        parts: Parquet files that this run wrote.
        crashes: How often a worker was lost.
        seconds: How long it took.
        by_worker: Images and videos per worker that gave results.
    """

    out: str
    images: int = 0
    videos: int = 0
    failed: int = 0
    before: int = 0
    rows: int = 0
    parts: int = 0
    crashes: int = 0
    seconds: float = 0.0
    by_worker: Mapping[str, int] = field(default_factory=dict)
