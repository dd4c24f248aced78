"""Where and how a run computes."""

from dataclasses import dataclass

import torch

from mien.errors import check_known
from mien.train.settings import check_within

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")


@dataclass(frozen=True)
class Hardware:
    """Where and how a run computes; none of it is part of the recipe.

    Attributes:
        accelerator: `"auto"` (a GPU if there is one), `"cpu"` or `"cuda"`.
        devices: Processes per node: GPUs, or CPU processes.
        nodes: Machines; start the same command on each, as Lightning's documentation of clusters says.
        strategy: Lightning's name of the strategy; `"auto"` is DDP where there is more than one process.
        precision: `"auto"` (the fastest that the hardware computes natively), `"32-true"`, `"bf16-mixed"` or
            `"16-mixed"`.
        threads: CPU threads of each process; None leaves PyTorch's own choice.
    """

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    precision: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        """Check names and ranges."""
        check_known("accelerator", self.accelerator, ("auto", "cpu", "cuda"))
        check_known("precision", self.precision, PRECISIONS)
        check_within("devices", self.devices, 1, None)
        check_within("nodes", self.nodes, 1, None)

    @property
    def processes(self) -> int:
        """How many processes train together."""
        return self.devices * self.nodes


def device_of(hardware: Hardware) -> str:
    """Return the kind of device that a run uses, `"cpu"` or `"cuda"`."""
    if hardware.accelerator == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return hardware.accelerator


def precision_of(hardware: Hardware) -> str:
    """Return Lightning's name of the precision that a run computes in."""
    return best_precision(device_of(hardware)) if hardware.precision == "auto" else hardware.precision


def best_precision(device: str) -> str:
    """Return Lightning's name of the fastest precision that the hardware computes natively.

    Args:
        device: `"cpu"` or `"cuda"`.
    """
    if device == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return "bf16-mixed" if torch.cpu._is_avx512_bf16_supported() else "32-true"
