"""`Analyzer`: detector, alignment and expression model put together."""

import copy
import functools
import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mien.attributes.measure import FaceMeasures, open_measures
from mien.attributes.settings import AttributeSettings, GivenAttributes, as_attributes
from mien.detect.align import crops_of, crops_of_all
from mien.detect.border import detect_in_still
from mien.detect.detector import Detector, DetectorSettings
from mien.detect.registry import create_detector
from mien.errors import InputError, MienError, require_extra
from mien.faces import ERROR, KEEP_ALL, PEOPLE, FaceFilter, Faces, Frame, Record
from mien.labels import LabelSet
from mien.models.catalogue import DEFAULT_MODEL, load_model
from mien.models.expression import ExpressionModel
from mien.models.prior import NATURAL, GivenPrior, Prior, as_prior, changed_by
from mien.models.runtime import RuntimeSettings
from mien.output.progress import ProgressBar
from mien.output.rows import rows_of, table_columns
from mien.people.embedding import FaceEmbedder, shared_embedder
from mien.people.gallery import Gallery, read_gallery
from mien.planes import Pixels
from mien.sources.images import Failed, ImageSource, Item, SourceSettings, expand, load, read_image

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_DETECTOR = "mtcnn"
LEAST_FACE_PX = 12  # what detectors can look for

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
        keep: Which of the faces found are kept.
        prior: The shares of the expressions that the answers expect.
        gallery: The people whose faces get their names in images; None where nobody is to be named.
        measures: What else is measured of the faces; None where nothing is.
    """

    def __init__(
        self,
        *,
        detector: str | Detector = DEFAULT_DETECTOR,
        model: str | ExpressionModel = DEFAULT_MODEL,
        labels: str | None = None,
        detector_settings: DetectorSettings | None = None,
        runtime: RuntimeSettings | None = None,
        keep: FaceFilter = KEEP_ALL,
        prior: GivenPrior = NATURAL,
        attributes: GivenAttributes = (),
    ) -> None:
        """Open the detector and the model.

        Args:
            detector: A name of `mien.detect.DETECTORS`, or a detector of your own: see `mien.detect.Detector`.
            model: A name from the catalogue, the path of an ONNX file, or an open model.
            labels: `"combined"` (8 classes), `"fer2013"` (7) or `"ferplus"` (8); None takes the model's first.
            detector_settings: For a detector given by name.
            runtime: Device, threads and memory for a model given by name.
            keep: Which of the faces found are kept.
            prior: Shares of the expressions where the faces come from: `"natural"` leaves the model's answers as they
                are; `"even"`, shares by name, or the path of a file of them change them by Bayes' rule.
            attributes: What else is measured of every face: `("pose", "eyes")`, or `AttributeSettings`; nothing unless
                asked.

        Raises:
            InputError: Unknown detector, label set or attribute, an object that is no detector, or a prior that does
                not fit.
            MissingWeightsError: What is measured needs weights that must be pulled first; the message has the line.
            ModelError: Unknown or unusable model.
            MissingExtraError: The detector's extra is not installed.
        """
        self.model = model if isinstance(model, ExpressionModel) else load_model(model, runtime=runtime)
        self.labels = self.model.card.label_set(labels)
        self.keep = keep
        self.gallery: Gallery | None = None
        self._embedder: FaceEmbedder | None = None
        self._expect(as_prior(prior))
        self._measure(attributes, runtime)
        self.detector = create_detector(detector, detector_settings) if isinstance(detector, str) else detector
        if not isinstance(self.detector, Detector):
            raise InputError(
                f"detector must be a name or a Detector, got {type(detector).__name__}; let its class inherit from "
                "mien.detect.Detector, which adds what is missing"
            )

    def analyze(self, image: ImageSource, *, channels: str = "rgb", reading: SourceSettings | None = None) -> Faces:
        """Return the faces of one image with their probabilities.

        Args:
            image: What `mien.analyze_image` takes: a path, URL, bytes, file, PIL image or array (H, W, 3) uint8.
            channels: `"rgb"`, or `"bgr"` for an array as OpenCV reads it.
            reading: Limits on what is read.

        Returns:
            The faces, best first; empty where there is none. They keep the image, for `faces.draw()` and
            `faces.crops()`.

        Raises:
            SourceError: It gives no image.
            InputError: An array is not (H, W, 3) uint8; the message says what to do.
        """
        frame = read_image(image, channels=channels, settings=reading or SourceSettings())
        (faces,) = self.analyze_frames([frame])
        return replace(faces, image=frame.image)

    def analyze_frames(self, frames: Sequence[Frame]) -> list[Faces]:
        """Return the faces of several frames; all their faces go through the network in one batch.

        Args:
            frames: Any number of frames.

        Returns:
            One `Faces` per frame, with its source, number and time.
        """
        found, crops = self.find(frames)
        named = self.with_expressions(found, self.model.predict_proba(crops, head=self.labels.key))
        kept = [self.kept(faces, frame) for faces, frame in zip(named, frames, strict=True)]
        gallery, embedder = self.gallery, self._embedder
        if gallery is None or embedder is None:
            return kept
        return [gallery.named(faces, frame, embedder) for faces, frame in zip(kept, frames, strict=True)]

    def kept(self, faces: Faces, frame: Frame) -> Faces:
        """Return the faces of a frame that `keep` keeps once their expressions are known: end of `analyze_frames`."""
        return self.keep.named(faces, frame.width, frame.height)

    def keeping(self, keep: FaceFilter) -> "Analyzer":
        """Return an analyzer with the same detector and model that keeps other faces.

        Args:
            keep: Which.
        """
        other = copy.copy(self)
        other.keep = keep
        return other

    def naming(self, people: str | os.PathLike[str] | Gallery | None) -> "Analyzer":
        """Return an analyzer with the same detector and model that names the people whom it knows, in images.

        What is wrong with single pictures of them is in the `problems` of its `gallery`.

        Args:
            people: A folder that holds a folder of pictures per name, or what `mien.people.read_gallery` made of one,
                which is read once for many calls; None names nobody.

        Raises:
            InputError: There is no such folder, or no picture in it shows a face.
            MissingWeightsError: `mien models pull identity` was not run yet.
        """
        other = copy.copy(self)
        other.gallery, other._embedder = None, None
        if people is not None:
            other._embedder = shared_embedder()
            other.gallery = (
                people
                if isinstance(people, Gallery)
                else read_gallery(os.fspath(people), self.detector, other._embedder)
            )
        return other

    def expecting(self, prior: GivenPrior) -> "Analyzer":
        """Return an analyzer with the same detector and model whose answers expect other shares of the expressions.

        Args:
            prior: As for the analyzer itself.

        Raises:
            InputError: These are no shares of the model's expressions.
        """
        other = copy.copy(self)
        other._expect(as_prior(prior))
        return other

    def measuring(self, attributes: GivenAttributes) -> "Analyzer":
        """Return an analyzer with the same detector and model that measures other attributes.

        Args:
            attributes: As for the analyzer itself.

        Raises:
            InputError: An attribute is unknown; the message lists the known ones.
            MissingWeightsError: Weights must be pulled first; the message has the line to type.
        """
        other = copy.copy(self)
        other._measure(attributes, None)
        return other

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of `mien.faces.ATTRIBUTES` that the faces of images have columns for."""
        measured = tuple(self.measures.settings.names) if self.measures else ()
        return measured if self.gallery is None else (*measured, PEOPLE)

    def _measure(self, attributes: GivenAttributes, runtime: RuntimeSettings | None) -> None:
        chosen = as_attributes(attributes)
        self.measures: FaceMeasures | None = None
        if chosen.names:
            self.measures = open_measures(chosen, runtime or RuntimeSettings())

    def _expect(self, prior: Prior) -> None:
        self.prior, self._factors = prior, prior.factors(self.model.card, self.labels)

    def find(self, frames: Sequence[Frame]) -> tuple[list[Faces], NDArray[np.uint8]]:
        """Return the faces of several frames without expressions, and their crops: the first half of `analyze_frames`.

        Args:
            frames: Any number of frames.

        Returns:
            One `Faces` per frame, with its source, number and time; the crops (N, 48, 48) uint8 of all, in that order.
        """
        found = [self.keep.found(self._detect(frame).found_in(frame)) for frame in frames]
        crops = self.crops(frames, found)
        return self.measure(frames, found, crops), crops

    def _detect(self, frame: Frame) -> Faces:
        """Return the faces in pixels of the frame's image; a still without any gets a second look within a border."""
        return self.detector.detect(frame.image) if frame.time_s else detect_in_still(self.detector, frame.image)

    def crops(self, frames: Sequence[Frame], found: Sequence[Faces]) -> NDArray[np.uint8]:
        """Return what the model sees of all faces of several frames.

        Args:
            frames: Any number of frames.
            found: The faces of each.

        Returns:
            (N, 48, 48) uint8, frame by frame.
        """
        images = [frame.pixels for frame in frames]
        return crops_of_all(self.detector, images, [f.on(i) for f, i in zip(found, images, strict=True)])

    def measure(self, frames: Sequence[Frame], found: Sequence[Faces], crops: NDArray[np.uint8]) -> list[Faces]:
        """Return the faces of several frames with the attributes that were asked for; as they are where none were.

        Args:
            frames: Any number of frames.
            found: The faces of each.
            crops: (N, 48, 48) uint8, what `crops` returns for them.
        """
        if self.measures is None:
            return list(found)
        results, start = [], 0
        for frame, faces in zip(frames, found, strict=True):
            seen = self.measures.measure(
                frame.image, faces.on(frame.image), crops[start : start + len(faces)], framed=self.detector.framed
            )
            results.append(seen.found_in(frame))
            start += len(faces)
        return results

    def with_expressions(self, found: Sequence[Faces], probs: NDArray[np.float32]) -> list[Faces]:
        """Give the faces their probabilities, by the `prior`: the second half of `analyze_frames`.

        Args:
            found: As `find` returned it.
            probs: (N, C) float32, what the model says of the crops that `find` returned.
        """
        parts = split_rows(changed_by(self._factors, probs), [len(faces) for faces in found])
        return [faces.with_probs(p, self.labels) for faces, p in zip(found, parts, strict=True)]

    def crop(self, image: Pixels, faces: Faces) -> NDArray[np.uint8]:
        """Return what the model sees of each face: aligned, or the whole image where the detector says it is a crop.

        Args:
            image: (H, W, 3) uint8 RGB, or planes.
            faces: N faces of this image, or of the whole of which it is a reduced one.

        Returns:
            (N, 48, 48) uint8.
        """
        return crops_of(self.detector, image, faces.on(image))

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
        keep: Which of the faces found are kept.
        prior: As for `Analyzer`.
        attributes: As for `Analyzer`.
    """

    detector: str = DEFAULT_DETECTOR
    model: str = DEFAULT_MODEL
    labels: str | None = None
    detector_settings: DetectorSettings = field(default_factory=DetectorSettings)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
    keep: FaceFilter = KEEP_ALL
    prior: GivenPrior = NATURAL
    attributes: AttributeSettings = field(default_factory=AttributeSettings)

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
            keep=self.keep,
            prior=self.prior,
            attributes=self.attributes,
        )

    def shared(self) -> Analyzer:
        """Return such an analyzer whose detector and model are opened once per process and used again.

        Raises:
            MienError: As `Analyzer`.
        """
        opened = _open_once(self.detector, self.model, self.labels, self.detector_settings, self.runtime)
        return opened.keeping(self.keep).expecting(self.prior).measuring(self.attributes)


@functools.lru_cache(maxsize=4)
def _open_once(
    detector: str, model: str, labels: str | None, settings: DetectorSettings, runtime: RuntimeSettings
) -> Analyzer:
    return Analyzer(detector=detector, model=model, labels=labels, detector_settings=settings, runtime=runtime)


def analyzer_settings(
    *,
    detector: str = DEFAULT_DETECTOR,
    model: str = DEFAULT_MODEL,
    labels: str | None = None,
    min_face: int | None = None,
    min_confidence: float = 0.0,
    largest_only: bool = False,
    clip_boxes: bool = False,
    prior: GivenPrior = NATURAL,
    attributes: GivenAttributes = (),
) -> AnalyzerSettings:
    """Return how the analyzer is made that the functions of the library use.

    Args:
        detector: A name of `mien.detect.DETECTORS`.
        model: A name from the catalogue, or the path of an ONNX file.
        labels: `"combined"` (8 classes), `"fer2013"` (7) or `"ferplus"` (8); None takes the model's first.
        min_face: Smallest face, pixels of the image; None takes the detector's own (32 for `mtcnn`).
        min_confidence: Faces whose most probable expression is less probable are dropped, 0-1.
        largest_only: Only the largest face of an image is kept.
        clip_boxes: Boxes end where the image does.
        prior: Shares of the expressions where the faces come from: `"natural"`, `"even"`, shares by name, or the path
            of a .csv or .json file of them.
        attributes: What else is measured of every face: `("pose", "eyes")`, see `mien.faces.ATTRIBUTES`; nothing unless
            asked.
    """
    looking = DetectorSettings() if min_face is None else DetectorSettings(min_face_px=max(min_face, LEAST_FACE_PX))
    keep = FaceFilter(min_face or 0, min_confidence, largest_only, clip_boxes)
    return AnalyzerSettings(
        detector, model, labels, looking, keep=keep, prior=prior, attributes=as_attributes(attributes)
    )


def analyze_image(
    image: ImageSource,
    *,
    channels: str = "rgb",
    reading: SourceSettings | None = None,
    detector: str = DEFAULT_DETECTOR,
    model: str = DEFAULT_MODEL,
    labels: str | None = None,
    min_face: int | None = None,
    min_confidence: float = 0.0,
    largest_only: bool = False,
    clip_boxes: bool = False,
    prior: GivenPrior = NATURAL,
    people: str | os.PathLike[str] | Gallery | None = None,
    attributes: GivenAttributes = (),
) -> Faces:
    """Return the faces of one image and the expression of each.

        for face in mien.analyze_image("photo.jpg"):
            print(face.expression, face.probabilities)

    Args:
        image: A path, an http(s) URL, a `data:` address, an encoded image as bytes or an open binary file, a PIL image,
            or an array (H, W, 3) uint8.
        channels: `"rgb"`, or `"bgr"` for an array as OpenCV reads it.
        reading: Limits on what is read: the largest image, the largest file from a URL…
        detector: A name of `mien.detect.DETECTORS`.
        model: A name from the catalogue, or the path of an ONNX file.
        labels: Label set, `"combined"`, `"fer2013"` or `"ferplus"`; None takes the model's first.
        min_face: Smallest face, pixels of the image; None takes the detector's own (32 for `mtcnn`).
        min_confidence: Faces whose most probable expression is less probable are dropped, 0-1.
        largest_only: Only the largest face of an image is kept.
        clip_boxes: Boxes end where the image does.
        prior: Shares of the expressions where the faces come from: `"natural"`, `"even"`, shares by name, or the path
            of a .csv or .json file of them.
        people: A folder that holds a folder of pictures per name, or `mien.people.read_gallery` of one: faces get the
            names of those whom they are said to show. Needs `mien models pull identity`; docs/people.md says what it
            asks of you.
        attributes: What else is measured of every face: `("pose", "eyes")`, see `mien.faces.ATTRIBUTES`; nothing unless
            asked.

    Returns:
        The faces, best first; empty where there is none. They keep the image, for `faces.draw()` and `faces.crops()`.

    Raises:
        SourceError: It gives no image.
        InputError: An array is not (H, W, 3) uint8, or a name or setting is unknown.
    """
    analyzer = analyzer_settings(
        detector=detector,
        model=model,
        labels=labels,
        min_face=min_face,
        min_confidence=min_confidence,
        largest_only=largest_only,
        clip_boxes=clip_boxes,
        prior=prior,
        attributes=attributes,
    ).shared()
    return analyzer.naming(people).analyze(image, channels=channels, reading=reading)


analyze = analyze_image


@dataclass(frozen=True, repr=False)
class ImageResult:
    """What became of one image among many.

    Attributes:
        source: Its name: path, URL, or `array 3`.
        faces: Its faces; none is a result, too. None where there is an error.
        error: Why it gave no result, or None.
        width: Width of the whole image in pixels, 0 where there is an error.
        height: Its height.
        attributes: Names of the attributes that were asked for.
    """

    source: str
    faces: Faces | None = None
    error: MienError | None = None
    width: int = 0
    height: int = 0
    attributes: tuple[str, ...] = ()

    def to_records(self) -> list[Record]:
        """Return one row per face; one row for an image without a face, or with an error."""
        if self.faces is None:
            return [{"source": self.source, ERROR: str(self.error)}]
        if not self.faces.labels:
            return self.faces.to_records()
        return rows_of(self.faces, self.faces.labels, attributes=self.attributes)

    def __repr__(self) -> str:
        """Say in one line what came of it."""
        return f"ImageResult({self.source!r}, {self.error or self.faces!r})"


class ImageResults(Iterator[ImageResult]):
    """The results of many images in order, made as they are taken; from `analyze_images`.

    Attributes:
        total: How many images there are.
        labels: The label set of the answers.
        attributes: Names of the attributes that were asked for.
    """

    def __init__(
        self, results: Iterator[ImageResult], total: int, labels: LabelSet, attributes: tuple[str, ...] = ()
    ) -> None:
        """Keep what gives the results."""
        self.total, self.labels, self.attributes = total, labels, attributes
        self._results, self._taken = results, 0

    def __iter__(self) -> "ImageResults":
        """Return itself: results are given once."""
        return self

    def __next__(self) -> ImageResult:
        """Return the next result."""
        result = next(self._results)
        self._taken += 1
        return result

    def __len__(self) -> int:
        """Return how many images there are."""
        return self.total

    def to_pandas(self) -> "pd.DataFrame":
        """Analyze all and return a data frame: a row per face, and one for an image without a face or with an error.

        Raises:
            MissingExtraError: pandas is not installed.
            InputError: Some results were taken already, and would be missing.
        """
        pandas = require_extra("data", "pandas")
        if self._taken:
            raise InputError(
                f"{self._taken} results were taken already and would be missing; call analyze_images() again, "
                "or to_pandas() at once"
            )
        rows = [row for result in self for row in result.to_records()]
        frame: pd.DataFrame = pandas.DataFrame(rows, columns=table_columns(self.labels, attributes=self.attributes))
        return frame

    def __repr__(self) -> str:
        """Say how many there are, and how many were given."""
        return f"ImageResults({self._taken} of {self.total} images done)"


def analyze_images(
    sources: ImageSource | Iterable[ImageSource],
    *,
    workers: int | None = None,
    progress: bool = True,
    reading: SourceSettings | None = None,
    detector: str = DEFAULT_DETECTOR,
    model: str = DEFAULT_MODEL,
    labels: str | None = None,
    min_face: int | None = None,
    min_confidence: float = 0.0,
    largest_only: bool = False,
    clip_boxes: bool = False,
    prior: GivenPrior = NATURAL,
    people: str | os.PathLike[str] | Gallery | None = None,
    attributes: GivenAttributes = (),
) -> ImageResults:
    """Analyze many images over all cores; results come in order, and no image costs another.

        for result in mien.analyze_images(["photos/", "more/*.jpg"]):
            print(result.source, result.error or result.faces)
        table = mien.analyze_images("photos/").to_pandas()

    A few images are in memory at a time, whatever their number. Stopping early stops the work.

    Args:
        sources: One or several of what `analyze_image` takes, and folders and globs.
        workers: Threads; None takes one per CPU core.
        progress: Whether a bar shows how far it is, in terminals and notebooks; elsewhere there is none.
        reading: Limits on what is read.
        detector: A name of `mien.detect.DETECTORS`.
        model: A name from the catalogue, or the path of an ONNX file.
        labels: Label set, `"combined"`, `"fer2013"` or `"ferplus"`; None takes the model's first.
        min_face: Smallest face, pixels of the image; None takes the detector's own (32 for `mtcnn`).
        min_confidence: Faces whose most probable expression is less probable are dropped, 0-1.
        largest_only: Only the largest face of an image is kept.
        clip_boxes: Boxes end where the image does.
        prior: Shares of the expressions where the faces come from: `"natural"`, `"even"`, shares by name, or the path
            of a .csv or .json file of them.
        people: A folder that holds a folder of pictures per name, or `mien.people.read_gallery` of one: faces get the
            names of those whom they are said to show. Needs `mien models pull identity`; docs/people.md says what it
            asks of you.
        attributes: What else is measured of every face: `("pose", "eyes")`, see `mien.faces.ATTRIBUTES`; nothing unless
            asked.

    Returns:
        An iterator of results: each has `faces` or an `error`.

    Raises:
        InputError: A name or setting is unknown; what is wrong with an image is in its result.
    """
    analyzer = analyzer_settings(
        detector=detector,
        model=model,
        labels=labels,
        min_face=min_face,
        min_confidence=min_confidence,
        largest_only=largest_only,
        clip_boxes=clip_boxes,
        prior=prior,
        attributes=attributes,
    ).shared()
    items = expand(sources)
    analyzer = analyzer.naming(people)
    results = analyzer.map_items(items, settings=reading, workers=workers)
    told = _watched(results, len(items), progress, analyzer.attributes)
    return ImageResults(told, len(items), analyzer.labels, analyzer.attributes)


def _watched(
    results: Iterator[Result], total: int, progress: bool, attributes: tuple[str, ...]
) -> Iterator[ImageResult]:
    with ProgressBar("images", total=total, shown=progress) as bar:
        for done, result in enumerate(results, 1):
            bar.update(done)
            yield _image_result(result, attributes)


def _image_result(result: Result, attributes: tuple[str, ...]) -> ImageResult:
    if isinstance(result, Failed):
        return ImageResult(result.source, error=result.error)
    frame, faces = result
    return ImageResult(frame.source, faces, width=frame.width, height=frame.height, attributes=attributes)
