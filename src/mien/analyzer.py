"""`Analyzer`: detector, alignment and expression model put together."""

import functools
import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from mien.detect.align import crops_of
from mien.detect.detector import Detector, DetectorSettings
from mien.detect.registry import create_detector
from mien.errors import InputError, MienError
from mien.faces import CROP_PX, Faces, Frame
from mien.models.catalogue import DEFAULT_MODEL, load_model
from mien.models.expression import ExpressionModel
from mien.models.runtime import RuntimeSettings
from mien.sources.images import Failed, ImageSource, Item, SourceSettings, load, read_image

DEFAULT_DETECTOR = "mtcnn"

Result = tuple[Frame, Faces] | Failed

logger = logging.getLogger(__name__)


def split_rows(rows: NDArray[np.float32], counts: Sequence[int]) -> list[NDArray[np.float32]]:
    """Return the rows of each part of what was put together.

    Args:
        rows: (N, C) float32.
        counts: How many of the N rows each part has, in order.
    """
    return np.split(rows, np.cumsum(counts)[:-1]) if counts else []


class Analyzer:
    """Finds the faces of images and the expression of each. Safe to call from several threads at once.

    Attributes:
        detector: The face detector.
        model: The expression model.
        labels: The label set of the answers.
    """

    def __init__(
        self,
        *,
        detector: str | Detector = DEFAULT_DETECTOR,
        model: str | ExpressionModel = DEFAULT_MODEL,
        labels: str | None = None,
        detector_settings: DetectorSettings | None = None,
        runtime: RuntimeSettings | None = None,
    ) -> None:
        """Open the detector and the model.

        Args:
            detector: A name of `mien.detect.DETECTORS`, or a detector of your own: see `mien.detect.Detector`.
            model: A name from the catalogue, the path of an ONNX file, or an open model.
            labels: `"fer2013"` (7 classes) or `"ferplus"` (8 classes); None takes the model's first.
            detector_settings: For a detector given by name.
            runtime: Device, threads and memory for a model given by name.

        Raises:
            InputError: Unknown detector or label set, or an object that is no detector.
            ModelError: Unknown or unusable model.
            MissingExtraError: The detector's extra is not installed.
        """
        self.model = model if isinstance(model, ExpressionModel) else load_model(model, runtime=runtime)
        self.labels = self.model.card.label_set(labels)
        self.detector = create_detector(detector, detector_settings) if isinstance(detector, str) else detector
        if not isinstance(self.detector, Detector):
            raise InputError(
                f"detector must be a name or a Detector, got {type(detector).__name__}; let its class inherit from "
                "mien.detect.Detector, which adds what is missing"
            )

    def analyze(self, image: NDArray[np.uint8]) -> Faces:
        """Return the faces of one image with their probabilities.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            The faces, best first; empty where there is none.

        Raises:
            InputError: Not such an array; the message says what to do.
        """
        return self.analyze_frames([Frame(image)])[0]

    def analyze_frames(self, frames: Sequence[Frame]) -> list[Faces]:
        """Return the faces of several frames; all their faces go through the network in one batch.

        Args:
            frames: Any number of frames.

        Returns:
            One `Faces` per frame, with its source, number and time.
        """
        found, crops = self.find(frames)
        return self.with_expressions(found, self.model.predict_proba(crops, head=self.labels.key))

    def find(self, frames: Sequence[Frame]) -> tuple[list[Faces], NDArray[np.uint8]]:
        """Return the faces of several frames without expressions, and their crops: the first half of `analyze_frames`.

        Args:
            frames: Any number of frames.

        Returns:
            One `Faces` per frame, with its source, number and time; the crops (N, 48, 48) uint8 of all, in that order.
        """
        found = [self.detector.detect(frame.image).at(frame) for frame in frames]
        return found, self.crops(frames, found)

    def crops(self, frames: Sequence[Frame], found: Sequence[Faces]) -> NDArray[np.uint8]:
        """Return what the model sees of all faces of several frames.

        Args:
            frames: Any number of frames.
            found: The faces of each.

        Returns:
            (N, 48, 48) uint8, frame by frame.
        """
        crops = [self.crop(frame.image, faces) for frame, faces in zip(frames, found, strict=True)]
        return np.concatenate(crops) if crops else np.empty((0, CROP_PX, CROP_PX), np.uint8)

    def with_expressions(self, found: Sequence[Faces], probs: NDArray[np.float32]) -> list[Faces]:
        """Give the faces their probabilities: the second half of `analyze_frames`.

        Args:
            found: As `find` returned it.
            probs: (N, C) float32, what the model says of the crops that `find` returned.
        """
        parts = split_rows(probs, [len(faces) for faces in found])
        return [faces.with_probs(p, self.labels) for faces, p in zip(found, parts, strict=True)]

    def crop(self, image: NDArray[np.uint8], faces: Faces) -> NDArray[np.uint8]:
        """Return what the model sees of each face: aligned, or the whole image where the detector says it is a crop.

        Args:
            image: (H, W, 3) uint8 RGB.
            faces: N faces of this image.

        Returns:
            (N, 48, 48) uint8.
        """
        return crops_of(self.detector, image, faces)

    def stream(self, frames: Iterable[Frame], *, batch_size: int = 8) -> Iterator[tuple[Frame, Faces]]:
        """Yield every frame with its faces, holding at most `batch_size` frames in memory.

        Args:
            frames: Any number of frames, read as they are needed.
            batch_size: Frames whose faces share a batch.
        """
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}")
        iterator = iter(frames)
        while batch := list(islice(iterator, batch_size)):
            yield from zip(batch, self.analyze_frames(batch), strict=True)

    def map_items(
        self, items: Iterable[Item], *, settings: SourceSettings | None = None, workers: int | None = None
    ) -> Iterator[Result]:
        """Load and analyze images in several threads; results come in order, and no image costs another.

        At most `2 * workers` images are in memory. Stopping the iteration early stops the work.

        Args:
            items: From `mien.sources.images.expand`.
            settings: Limits on what is read.
            workers: Threads; None takes one per CPU core.

        Yields:
            `(frame, faces)`, or a `Failed` in the place of an image that gave no result.
        """
        count = workers or os.cpu_count() or 1
        limits = settings or SourceSettings()
        pending: deque[Future[Result]] = deque()
        with ThreadPoolExecutor(count, thread_name_prefix="mien") as pool:
            try:
                for item in items:
                    pending.append(pool.submit(self._load_and_analyze, item, limits))
                    if len(pending) >= 2 * count:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _load_and_analyze(self, item: Item, settings: SourceSettings) -> Result:
        try:
            frame = load(item, settings=settings)
            return frame, self.analyze_frames([frame])[0]
        except MienError as error:
            return Failed(item.name, error)
        except Exception as error:
            logger.exception("unexpected error on %s", item.name)
            return Failed(item.name, MienError(f"{item.name}: unexpected {type(error).__name__}: {error}"))


@dataclass(frozen=True)
class AnalyzerSettings:
    """How an `Analyzer` is made. They travel to other processes, each of which opens its own.

    Attributes:
        detector: A name of `mien.detect.DETECTORS`.
        model: A name from the catalogue, or the path of an ONNX file.
        labels: Label set; None takes the model's first.
        detector_settings: What the detector is told.
        runtime: Device, threads and memory of the model.
    """

    detector: str = DEFAULT_DETECTOR
    model: str = DEFAULT_MODEL
    labels: str | None = None
    detector_settings: DetectorSettings = field(default_factory=DetectorSettings)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)

    def open(self) -> Analyzer:
        """Open the detector and the model.

        Raises:
            MienError: As `Analyzer`.
        """
        return Analyzer(
            detector=self.detector,
            model=self.model,
            labels=self.labels,
            detector_settings=self.detector_settings,
            runtime=self.runtime,
        )


@functools.lru_cache(maxsize=4)
def shared_analyzer(detector: str, model: str, labels: str | None) -> Analyzer:
    """Return an analyzer with default settings, opened once per process.

    Args:
        detector: A name of `mien.detect.DETECTORS`.
        model: A name from the catalogue, or the path of an ONNX file.
        labels: Label set; None takes the model's first.
    """
    return Analyzer(detector=detector, model=model, labels=labels)


def analyze(
    image: ImageSource, *, detector: str = DEFAULT_DETECTOR, model: str = DEFAULT_MODEL, labels: str | None = None
) -> Faces:
    """Return the faces of one image and the expression of each.

    The detector and the model are opened once per process and used again.

    Args:
        image: A path, an http(s) URL, an encoded image as bytes, or an array (H, W, 3) uint8 RGB.
        detector: A name of `mien.detect.DETECTORS`.
        model: A name from the catalogue, or the path of an ONNX file.
        labels: `"fer2013"` (7 classes) or `"ferplus"` (8 classes); None takes the model's first.

    Returns:
        The faces, best first; empty where there is none.

    Raises:
        SourceError: It gives no image.
        InputError: An array is not (H, W, 3) uint8 RGB, or a name is unknown.
    """
    frame = read_image(image)
    return shared_analyzer(detector, model, labels).analyze_frames([frame])[0]
