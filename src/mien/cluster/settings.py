"""`ClusterSettings`: which cluster, how many workers, and what each of them gets."""

from dataclasses import dataclass

from mien.errors import InputError

TRIES = 2  # of an input that brought a worker down, alone


@dataclass(frozen=True)
class ClusterSettings:
    """Which Ray cluster does the work, and in which pieces.

    Attributes:
        address: The cluster: `host:6379`, `ray://host:10001`, `auto` for one that runs here; None takes the variable
            RAY_ADDRESS, and without it a cluster of this machine alone, which ends with the work.
        workers: Most workers at once; None takes as many as the cluster has room for, also when it grows or shrinks.
        cpus: CPU cores of a worker, which uses so many threads; less than one is one.
        gpus: GPUs of a worker, where onnxruntime-gpu is installed on the nodes; 0.25 lets four share one.
        images: Most images of one task, which are one Parquet file later.
        segment_s: About how long a segment of a video is, seconds; None takes a sixteenth of it, 15 to 60 s.
        retry_errors: Do again what gave an error in an earlier run.
        wait_s: How long to wait for the first worker before giving up, seconds; nodes that start need minutes.
    """

    address: str | None = None
    workers: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    images: int = 256
    segment_s: float | None = None
    retry_errors: bool = False
    wait_s: float = 300.0

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.workers is not None and self.workers < 1:
            raise InputError(f"workers must be at least 1, got {self.workers}; None takes what the cluster has")
        if not self.cpus > 0:
            raise InputError(f"cpus must be more than 0, got {self.cpus}; a worker needs a share of a core")
        if self.gpus < 0:
            raise InputError(f"gpus must be at least 0, got {self.gpus}")
        if self.images < 1:
            raise InputError(f"images must be at least 1, got {self.images}")
        if self.segment_s is not None and not self.segment_s > 0:
            raise InputError(f"segment_s must be more than 0 seconds, got {self.segment_s}; None leaves it to the plan")
        if not self.wait_s > 0:
            raise InputError(f"wait_s must be more than 0, got {self.wait_s}")

    @property
    def threads(self) -> int:
        """Threads of a worker."""
        return max(1, int(self.cpus))
