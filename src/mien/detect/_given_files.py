"""What detectors share whose model files the user gives."""

import os
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from mien.detect._threads import PerThread
from mien.detect.detector import Detector
from mien.errors import InputError, shortened
from mien.faces import Faces, check_image

Network = TypeVar("Network")


class NetworkDetector(Detector, Generic[Network]):
    """A detector that runs a network of OpenCV, of which each thread gets its own."""

    def __init__(self, load: Callable[[], Network]) -> None:
        """Load the network.

        Args:
            load: Called once per thread; a picklable one makes the detector picklable.
        """
        self._network = PerThread(load)
        self._network.get()

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        """Return the faces of one image, best first; an empty `Faces` where there is none.

        Args:
            image: (H, W, 3) uint8 RGB.

        Raises:
            InputError: `image` is something else.
        """
        return self._find(self._network.get(), check_image(image))

    @abstractmethod
    def _find(self, network: Network, image: NDArray[np.uint8]) -> Faces: ...


def given_file(path: Path | None, *, setting: str, what: str) -> Path:
    """Return the path if it names a file.

    Args:
        path: What the user gave.
        setting: Name of the setting, for the message.
        what: What the file is and where to get it, for the message.

    Raises:
        InputError: No path was given, or no file is there.
    """
    if path is None:
        option = f"--detector-{setting.removesuffix('_path')}"
        raise InputError(f"{setting} must name {what}, got nothing; set it ({option} on the command line)")
    if not os.path.isfile(path):
        raise InputError(f"{setting} must name {what}, but there is no file {shortened(str(path))}; check the path")
    return Path(path)
