"""Face detectors behind one protocol. `DETECTORS` maps a name to a factory; heavy imports happen inside the factory."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.faces import Faces


@runtime_checkable
class Detector(Protocol):
    """Finds faces in pictures. Implementations are safe to call from several threads at once."""

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        """Return the faces of one picture, best first; an empty `Faces` where there is none.

        Args:
            image: (H, W, 3) uint8 RGB.
        """
        ...


@dataclass(frozen=True)
class DetectorSettings:
    """What a user may set, for every detector; one that has no use for a setting ignores it.

    Attributes:
        min_face_px: Side of the smallest face looked for, pixels of the picture.
        threshold: Score below which a face is dropped; None takes the detector's own default.
        model_path: Model file, for detectors that read one (`yunet`, `ssd`).
        config_path: Network description, for `ssd` (the Caffe prototxt).
        threads: CPU threads of the detector; 0 lets the runtime choose.
    """

    min_face_px: int = 32
    threshold: float | None = None
    model_path: Path | None = None
    config_path: Path | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.min_face_px < 12:
            raise InputError(f"min_face_px must be at least 12, got {self.min_face_px}; enlarge the picture instead")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise InputError(f"threshold must be 0 to 1, got {self.threshold}")


Factory = Callable[[DetectorSettings], Detector]

DETECTORS: dict[str, Factory] = {}


def create_detector(name: str, settings: DetectorSettings | None = None) -> Detector:
    """Return a detector by its name.

    Args:
        name: A key of `DETECTORS`.
        settings: Settings; None takes the defaults.

    Raises:
        InputError: No such detector; the message lists the known ones.
        MissingExtraError: The detector's extra is not installed.
    """
    if name not in DETECTORS:
        raise InputError(f"unknown detector {name!r}; known: {', '.join(DETECTORS)}")
    return DETECTORS[name](settings or DetectorSettings())
