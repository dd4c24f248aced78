"""What every face detector promises, and what a user may set.

Coordinates of every detector count from the outer edge of the image: its first pixel spans 0 to 1.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.faces import Faces


@runtime_checkable
class Detector(Protocol):
    """Finds faces in images. Implementations are safe to call from several threads at once.

    A detector of your own inherits from it and needs `detect` and `identity`:

        class Center(Detector):
            identity = "center"

            def detect(self, image):
                ...

    Attributes:
        identity: Tells it from every detector that may give other faces: its name, the settings that matter and the
            hashes of the files it was given. What an interrupted run notes and a later one compares.
        refines: Whether `refine` works, which makes tracking fast; else every frame of a video is searched.
        framed: Whether its images have the framing of the training crops already, so that alignment leaves them alone.
        planes: Whether `refine` takes frames of videos as `mien.planes.Planes`, too; else they become RGB for it.
    """

    identity: str
    refines: bool = False
    framed: bool = False
    planes: bool = False

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        """Return the faces of one image, best first; an empty `Faces` where there is none.

        Args:
            image: (H, W, 3) uint8 RGB.
        """
        ...

    def refine(self, image: NDArray[np.uint8], xyxy: NDArray[np.float32]) -> Faces:
        """Look again at faces whose place is roughly known; only where `refines` says so.

        Args:
            image: (H, W, 3) uint8 RGB.
            xyxy: (N, 4) float32, boxes around the faces, pixels.

        Returns:
            N faces in the order of `xyxy`, none dropped; a low score says that a face is gone.

        Raises:
            InputError: The detector cannot do this.
        """
        raise InputError(f"the detector {self.identity} cannot refine; call detect() on the whole image")


@dataclass(frozen=True)
class DetectorSettings:
    """What a user may set, for every detector; one that has no use for a setting ignores it.

    Attributes:
        min_face_px: Side of the smallest face looked for, pixels of the image (`mtcnn`, `blazeface-short`,
            `blazeface-full`, `haar`, `haar-alt2`).
        threshold: Score below which a face is dropped; None takes the detector's own default.
        model_path: Model file, for detectors that read one (`yunet`, `ssd`).
        config_path: Network description, for `ssd` (the Caffe prototxt).
        threads: CPU threads of the detector's own networks; 0 lets the runtime choose. What runs inside OpenCV follows
            `cv2.setNumThreads`, which belongs to the whole process and is left alone.
        proposal_thresholds: Scores below which the first two stages of `mtcnn` drop a candidate.
        pyramid_factor: Ratio of one level of `mtcnn`'s image pyramid to the next larger one. Larger is slower and finds
            a few more faces.
        upsample: How many times `dlib-hog` and `dlib-mmod` double the image first, to find smaller faces: each
            doubling takes four times as long. None takes the detector's own default.
    """

    min_face_px: int = 32
    threshold: float | None = None
    model_path: Path | None = None
    config_path: Path | None = None
    threads: int = 1
    proposal_thresholds: tuple[float, float] = (0.6, 0.7)
    pyramid_factor: float = 0.709
    upsample: int | None = None

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.min_face_px < 12:
            raise InputError(f"min_face_px must be at least 12, got {self.min_face_px}; enlarge the image instead")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise InputError(f"threshold must be 0 to 1, got {self.threshold}")
        if self.threads < 0:
            raise InputError(f"threads must be 0 or more, got {self.threads}; 0 lets the runtime choose")
        if len(self.proposal_thresholds) != 2 or not all(0 < t < 1 for t in self.proposal_thresholds):
            raise InputError(f"proposal_thresholds must be two numbers between 0 and 1, got {self.proposal_thresholds}")
        if not 0.3 <= self.pyramid_factor <= 0.95:
            raise InputError(f"pyramid_factor must be 0.3 to 0.95, got {self.pyramid_factor}; 0.709 is usual")
        if self.upsample is not None and not 0 <= self.upsample <= 4:
            raise InputError(f"upsample must be 0 to 4, got {self.upsample}; each step takes four times as long")
