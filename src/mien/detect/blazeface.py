"""BlazeFace, MediaPipe's detectors of faces (Bazarevsky et al. 2019, arXiv 1907.05047), from weights that a user pulls.

A network sees a square of the image and says at each anchor, a place of a fixed grid, whether a face is there: its box
and six points (eyes, nose, middle of the mouth, ears). Answers for one face are averaged, weighted by their scores.

The square is the whole image, and then smaller ones that overlap, so far as faces of `min_face_px` would be too small
in it. What lies beyond the border is gray.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien._onnxruntime import ort
from mien.detect._octaves import Octaves, sample_near
from mien.detect.boxes import checked_boxes, logit, overlap, sigmoid
from mien.detect.detector import Detector, DetectorSettings
from mien.detect.identity import identity_of
from mien.errors import ModelError
from mien.faces import Faces, Floats, check_image, check_pixels
from mien.planes import Pixels
from mien.weights import damaged, path_of

MERGE_OVERLAP = 0.3  # of two answers for one face, as in MediaPipe
LEVEL_STEP = 3.0  # ratio of a square's side to that of the next smaller ones
SPARED = 1.15  # a level is left out where its squares are hardly smaller than those of the one before
SHARED = 0.25  # of a square's side, that neighbours have in common
REFINE_OVERLAP = 0.3  # of a face that is looked at again with what is found there
BATCH = 8  # bounds the memory on large images
POINTS = (0, 1, 2, 3, 3)  # of BlazeFace's, from which the five landmarks are told

Sample = Callable[[Floats, int], NDArray[np.uint8]]


@dataclass(frozen=True)
class Network:
    """One of the two networks.

    Attributes:
        name: Name of its weights and of the detector.
        side: Side of the square that it sees, pixels.
        grids: (stride, answers at each place) of its grids of anchors.
        threshold: Score below which a face is dropped, unless a user chooses; measured.
        smallest: Side of the smallest face that it finds well, pixels of that square; measured.
        near: Side of the square around a face that is looked at again, in sides of the face's box; measured.
        offsets: (5, 2), from BlazeFace's points to where MTCNN finds eyes, nose and corners of the mouth, in the
            direction and length of the line from eye to eye; medians on FER2013 Training crops.
    """

    name: str
    side: int
    grids: tuple[tuple[int, int], ...]
    threshold: float
    smallest: int
    near: float
    offsets: tuple[tuple[float, float], ...]

    @functools.cached_property
    def anchors(self) -> Floats:
        """(A, 2) float32: x and y of the anchors, in sides of the square."""
        found = []
        for stride, count in self.grids:
            place = (np.arange(self.side // stride) + 0.5) * stride / self.side
            x, y = np.meshgrid(place, place)
            found.append(np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), count, axis=0))
        return np.concatenate(found).astype(np.float32)


SHORT = Network(
    "blazeface-short",
    side=128,
    grids=((8, 2), (16, 6)),
    threshold=0.6,
    smallest=16,
    near=3.0,
    offsets=((0.016, -0.029), (0.052, -0.034), (0.048, 0.027), (-0.391, 0.058), (0.479, 0.054)),
)
FULL = Network(
    "blazeface-full",
    side=192,
    grids=((4, 1),),
    threshold=0.5,
    smallest=13,
    near=4.0,
    offsets=((0.017, -0.030), (0.037, -0.035), (0.016, -0.003), (-0.433, 0.047), (0.429, 0.056)),
)


class BlazefaceDetector(Detector):
    """Finds faces and their five landmarks. Safe to share between threads, and picklable.

    Eyes, nose and the middle of the mouth are found; the corners of the mouth are put beside that middle, as far off as
    they are in the median face, so they say nothing of a smile.
    """

    refines = True
    planes = True

    def __init__(self, network: Network, settings: DetectorSettings | None = None) -> None:
        """Load the network.

        Args:
            network: `SHORT` for near faces, `FULL` for those farther away.
            settings: Uses `min_face_px`, `threshold` (default 0.6 for `SHORT`, 0.5 for `FULL`), `threads`.

        Raises:
            MissingWeightsError: Its weights were not pulled.
            ModelError: The file cannot be used.
        """
        self._settings = settings or DetectorSettings()
        self._network = network
        chosen = self._settings.threshold
        self._threshold = network.threshold if chosen is None else float(chosen)
        path = path_of(network.name)
        self.identity = identity_of(
            network.name, min_face_px=self._settings.min_face_px, threshold=self._threshold, weights=path
        )
        _session(path, self._settings.threads, network.name)

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        """Return the faces of one image, best first, with landmarks; an empty `Faces` where there is none.

        Args:
            image: (H, W, 3) uint8 RGB.

        Raises:
            InputError: `image` is something else.
        """
        octaves = Octaves(check_image(image))
        squares = squares_over(octaves.width, octaves.height, self._network, self._settings.min_face_px)
        return self.detect_in(partial(octaves.sample, sharp=True), squares)

    def detect_in(self, sample: Sample, squares: Floats) -> Faces:
        """Return the faces in squares of an image, best first.

        Args:
            sample: Gives the content of squares: `Octaves.sample`, sharp.
            squares: (N, 4) float32, pixels.
        """
        points, score = zip(*self._answers(sample, squares, at_least=self._threshold), strict=True)
        return _merged(np.concatenate(points), np.concatenate(score), self._network)

    def refine(self, image: Pixels, xyxy: Floats) -> Faces:
        """Look again at faces whose place is roughly known, in a larger square around each.

        Args:
            image: (H, W, 3) uint8 RGB, or planes.
            xyxy: (N, 4) float32, boxes around the faces, pixels.

        Returns:
            N faces in the order of `xyxy`, none dropped: box, landmarks and score of what is there now, score 0 where
            nothing overlaps the box.

        Raises:
            InputError: `image` or `xyxy` is something else.
        """
        check_pixels(image)
        boxes = checked_boxes(xyxy)
        if not len(boxes):
            return _faces(np.zeros((0, 8, 2), np.float32), np.zeros(0, np.float32), self._network)
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        half = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True), 1) * (self._network.near / 2)
        squares = np.concatenate([middle - half, middle + half], axis=1)
        answers = self._answers(partial(sample_near, image, sharp=True), squares, at_least=0)
        points, score = zip(*(_best(*answer, box) for answer, box in zip(answers, boxes, strict=True)), strict=True)
        return _faces(np.stack(points), np.array(score, np.float32), self._network)

    def _answers(self, sample: Sample, squares: Floats, *, at_least: float) -> list[tuple[Floats, Floats]]:
        """Return what the network says of each square: at those of its anchors whose score is high enough.

        Returns:
            For each square (K, 8, 2) float32, left top, right bottom and six points, pixels of the image; (K,) scores.
        """
        session = _session(path_of(self._network.name), self._settings.threads, self._network.name)
        side, found = self._network.side, []
        for start in range(0, len(squares), BATCH):
            part = squares[start : start + BATCH]
            pixels = sample(part, side).astype(np.float32) * np.float32(1 / 127.5) - 1
            boxes, logits = session.run(None, {"images": pixels})
            for square, box, value in zip(part, boxes, logits[..., 0], strict=True):
                kept = np.flatnonzero(value >= (logit(at_least) if at_least else -np.inf))
                places = self._places(box[kept], self._network.anchors[kept])
                found.append((places * (square[2] - square[0]) + square[:2], sigmoid(value[kept])))
        return found

    def _places(self, boxes: Floats, anchors: Floats) -> Floats:
        """Return left top, right bottom and six points of answers (K, 16) at anchors, (K, 8, 2), in squares' sides."""
        values = boxes.reshape(-1, 8, 2) / np.float32(self._network.side)
        middle, half = values[:, 0] + anchors, np.abs(values[:, 1]) / 2
        return np.concatenate([(middle - half)[:, None], (middle + half)[:, None], values[:, 2:] + anchors[:, None]], 1)


def squares_over(width: int, height: int, network: Network, min_face_px: int) -> Floats:
    """Return the squares in which a network looks for faces.

    Args:
        width: Of the image, pixels.
        height: Of the image, pixels.
        network: The network.
        min_face_px: Side of the smallest face looked for, pixels.

    Returns:
        (N, 4) float32: one around the whole image, then smaller ones that cover it.
    """
    longest = max(width, height)
    sides = [float(longest)]
    side = network.side / network.smallest * min_face_px
    while side * SPARED < longest:
        sides.append(side)
        side *= LEVEL_STEP
    squares = []
    for side in sides:
        corners = [(x, y) for y in _starts(height, side) for x in _starts(width, side)]
        squares += [(x, y, x + side, y + side) for x, y in corners]
    return np.array(squares, np.float32)


def _starts(length: int, side: float) -> list[float]:
    """Return where squares begin that cover a length, evenly, sharing at least `SHARED` of their side."""
    if length <= side:
        return [(length - side) / 2]
    count = int(np.ceil((length - SHARED * side) / ((1 - SHARED) * side)))
    return [float(start) for start in np.linspace(0, length - side, count)]


def _merged(points: Floats, score: Floats, network: Network) -> Faces:
    """Return one face for each group of overlapping answers: their weighted mean, with the best one's score."""
    order = np.argsort(-score, kind="stable")
    points, score = points[order], score[order]
    boxes, left = points[:, :2].reshape(-1, 4), np.ones(len(points), bool)
    faces, scores = [np.zeros((0, 8, 2), np.float32)], [np.zeros(0, np.float32)]
    for best in range(len(points)):
        if left[best]:
            same = left & (overlap(boxes[best : best + 1], boxes)[0] > MERGE_OVERLAP)
            same[best] = True
            faces.append(_mean(points[same], score[same])[None])
            scores.append(score[best : best + 1])
            left &= ~same
    return _faces(np.concatenate(faces), np.concatenate(scores), network)


def _best(points: Floats, score: Floats, box: Floats) -> tuple[Floats, float]:
    """Return the (8, 2) points and score of the face that overlaps a box."""
    boxes = points[:, :2].reshape(-1, 4)
    score = np.where(overlap(box[None], boxes)[0] >= REFINE_OVERLAP, score, 0)
    best = int(score.argmax())
    same = (overlap(boxes[best : best + 1], boxes)[0] > MERGE_OVERLAP) & (score >= score[best] / 2) & (score > 0)
    same[best] = True
    weights = np.maximum(score[same], np.float32(1e-6))
    return _mean(points[same], weights), float(score[best])


def _mean(points: Floats, weights: Floats) -> Floats:
    mean: Floats = (points * (weights / weights.sum())[:, None, None]).sum(axis=0)
    return mean


def _faces(points: Floats, score: Floats, network: Network) -> Faces:
    """Return `Faces` with mien's five landmarks from boxes and BlazeFace's six points, (N, 8, 2)."""
    known = points[:, 2:]
    x = known[:, 1] - known[:, 0]
    y = np.stack([-x[:, 1], x[:, 0]], axis=1)
    offset = np.array(network.offsets, np.float32)
    landmarks = known[:, POINTS] + offset[:, :1] * x[:, None] + offset[:, 1:] * y[:, None]
    boxes = np.ascontiguousarray(points[:, :2].reshape(-1, 4))
    return Faces(boxes.astype(np.float32), score.astype(np.float32), np.ascontiguousarray(landmarks, np.float32))


@functools.cache
def _session(path: Path, threads: int, name: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads leave the processor alone
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own kinds have no common base
        raise ModelError(damaged(name)) from error
