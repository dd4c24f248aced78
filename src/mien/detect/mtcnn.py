"""MTCNN, the default detector: a cascade of three small networks (Zhang et al. 2016, arXiv 1604.02878).

P-Net slides over a pyramid of the image and proposes boxes, R-Net rejects most of them, O-Net decides, refines the
box and finds five landmarks. Stages, thresholds and overlap limits are those of the `mtcnn` wheel, as are the weights.
Boxes are floating-point edges throughout, without rounding to pixels, and images are reduced by area averaging.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mien.detect._mtcnn_nets import ONET_PX, PNET_CELL_PX, RNET_PX, load_networks, run
from mien.detect._octaves import Octaves, sample_near
from mien.detect.boxes import checked_boxes, logit, move_sides, sigmoid, squared, suppress
from mien.detect.detector import Detector, DetectorSettings
from mien.detect.identity import identity_of
from mien.faces import Faces, Floats, check_image, check_pixels
from mien.planes import Pixels

DEFAULT_THRESHOLD = 0.8
LEVEL_OVERLAP, PROPOSAL_OVERLAP, REFINED_OVERLAP, FINAL_OVERLAP = 0.5, 0.7, 0.7, 0.7
PNET_STRIDE_PX = 2
STRIPE_PX = 65536  # pixels that P-Net sees in one run: bounds its memory on large images
RNET_BATCH, ONET_BATCH = 64, 16  # likewise for images of crowds

Sample = Callable[[Floats, int], NDArray[np.uint8]]


class MtcnnDetector(Detector):
    """Finds faces and their five landmarks. Safe to share between threads, and picklable."""

    refines = True
    planes = True

    def __init__(self, settings: DetectorSettings | None = None) -> None:
        """Load the networks.

        Args:
            settings: Uses `min_face_px`, `threshold` (default 0.8), `proposal_thresholds`, `pyramid_factor`, `threads`.

        Raises:
            ModelError: The weights of the `mtcnn` wheel are missing or not the known ones.
        """
        self._settings = settings or DetectorSettings()
        chosen = self._settings.threshold
        self._threshold = DEFAULT_THRESHOLD if chosen is None else float(chosen)
        self.identity = identity_of(
            "mtcnn",
            min_face_px=self._settings.min_face_px,
            threshold=self._threshold,
            proposal_thresholds=self._settings.proposal_thresholds,
            pyramid_factor=self._settings.pyramid_factor,
        )
        load_networks(self._settings.threads)

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        """Return the faces of one image, best first, with landmarks; an empty `Faces` where there is none.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            Faces with `score` from O-Net's softmax; boxes are not square and may reach beyond the border.

        Raises:
            InputError: `image` is something else.
        """
        octaves = Octaves(check_image(image))
        candidates = self._propose(octaves)
        candidates = self._reject(octaves, candidates)
        faces = self._look_closely(octaves.sample, squared(candidates))
        faces = faces[faces.score >= self._threshold]
        return faces[suppress(faces.xyxy, faces.score, FINAL_OVERLAP, of="smaller")]

    def refine(self, image: Pixels, xyxy: Floats) -> Faces:
        """Look again at faces whose place is roughly known, with the cascade's last stage only.

        Much cheaper than `detect`, and its time does not grow with the image: for following faces from one frame of a
        video to the next.

        Args:
            image: (H, W, 3) uint8 RGB, or planes.
            xyxy: (N, 4) float32, boxes around the faces, pixels; a tenth of the side off is no problem.

        Returns:
            N faces in the order of `xyxy`, none dropped: box, landmarks and score of what is there now. A score below
            the threshold says that the face is gone.

        Raises:
            InputError: `image` or `xyxy` is something else.
        """
        check_pixels(image)
        return self._look_closely(partial(sample_near, image), squared(checked_boxes(xyxy)))

    def _propose(self, octaves: Octaves) -> Floats:
        """Return (N, 4) boxes that P-Net takes for faces, over all levels of the pyramid."""
        boxes, logits, levels = [], [], []
        for number, (width, height) in enumerate(self._level_sizes(octaves.width, octaves.height)):
            cells, level_logits = self._scan(octaves.scaled(width, height))
            ratio = np.array([octaves.width / width, octaves.height / height] * 2, np.float32)
            boxes.append(cells * ratio)
            logits.append(level_logits)
            levels.append(np.full(len(cells), number, np.int64))
        if not boxes:
            return np.zeros((0, 4), np.float32)
        xyxy, score, level = np.concatenate(boxes), np.concatenate(logits), np.concatenate(levels)
        kept = suppress(xyxy, score, LEVEL_OVERLAP, group=level)
        return xyxy[kept[suppress(xyxy[kept], score[kept], PROPOSAL_OVERLAP)]]

    def _level_sizes(self, width: int, height: int) -> Iterator[tuple[int, int]]:
        """Yield (width, height) of the pyramid: faces of `min_face_px` fill P-Net's cell first, then larger ones."""
        scale = PNET_CELL_PX / self._settings.min_face_px
        while min(width, height) * scale >= PNET_CELL_PX:
            yield round(width * scale), round(height * scale)
            scale *= self._settings.pyramid_factor

    def _scan(self, level: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Return the boxes (N, 4) and logits (N,) of P-Net on one level, in its pixels."""
        pnet = load_networks(self._settings.threads).pnet
        found = np.concatenate([run(pnet, stripe[None])[0] for stripe in _stripes(level)], axis=1)
        row, column = np.nonzero(found[4] > logit(self._settings.proposal_thresholds[0]))
        corner = np.stack([column, row], axis=1).astype(np.float32) * PNET_STRIDE_PX
        cells = np.concatenate([corner, corner + PNET_CELL_PX], axis=1)
        return move_sides(cells, found[:4, row, column].T), found[4, row, column]

    def _reject(self, octaves: Octaves, candidates: Floats) -> Floats:
        """Return (N, 4) boxes that R-Net too takes for faces, with its corrections."""
        rnet = load_networks(self._settings.threads).rnet
        squares = squared(candidates)
        found = [np.zeros((0, 5), np.float32)]
        for start in range(0, len(squares), RNET_BATCH):
            found.append(run(rnet, octaves.sample(squares[start : start + RNET_BATCH], RNET_PX)))
        values = np.concatenate(found)
        kept = np.flatnonzero(values[:, 4] > logit(self._settings.proposal_thresholds[1]))
        boxes = move_sides(squares[kept], values[kept, :4])
        return boxes[suppress(boxes, values[kept, 4], REFINED_OVERLAP)]

    def _look_closely(self, sample: Sample, squares: Floats) -> Faces:
        """Return what O-Net says of each square, in order."""
        onet = load_networks(self._settings.threads).onet
        found = [np.zeros((0, 15), np.float32)]
        for start in range(0, len(squares), ONET_BATCH):
            found.append(run(onet, sample(squares[start : start + ONET_BATCH], ONET_PX)))
        values = np.concatenate(found)
        places = values[:, 4:14].reshape(-1, 2, 5).transpose(0, 2, 1)
        side = squares[:, None, 2:] - squares[:, None, :2]
        landmarks = np.ascontiguousarray(squares[:, None, :2] + places * side)
        return Faces(move_sides(squares, values[:, :4]), sigmoid(values[:, 14]), landmarks)


def _stripes(level: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Yield horizontal stripes of a level, overlapping so that P-Net's results, stacked, are those of the whole."""
    height, width = level.shape[:2]
    overlap = PNET_CELL_PX - PNET_STRIDE_PX
    step = max(PNET_CELL_PX, STRIPE_PX // width) // PNET_STRIDE_PX * PNET_STRIDE_PX
    for top in range(0, max(height - overlap, 1), step):
        yield level[top : top + step + overlap]
