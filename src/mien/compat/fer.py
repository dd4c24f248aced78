"""`FER` as fer 25.10.3 has it: its arguments, its dictionaries, its scales."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.analyzer import Analyzer, AnalyzerSettings
from mien.compat._haar import PointedHaar, shared_haar
from mien.compat._images import read_frame, rgb_of
from mien.compat._seven import seven_of
from mien.errors import InputError
from mien.faces import Faces, Frame
from mien.labels import FER7

Box = NDArray[np.int32] | list[int] | tuple[int, ...]


class InvalidImage(InputError):
    """What was passed gives no image."""


class FER:
    """Finds faces and says what they show, in the shapes of `fer.fer.FER`.

    Attributes:
        analyzer: What answers: use it directly for more than fer gives.
        emotions: What `detect_emotions` returned last.
    """

    def __init__(
        self,
        cascade_file: str | None = None,
        mtcnn: bool = False,
        tfserving: bool = False,
        use_tflite: bool = True,
        scale_factor: float = 1.1,
        min_face_size: int = 50,
        min_neighbors: int = 5,
        offsets: tuple[int, int] = (10, 10),
    ) -> None:
        """Open the detector and the model; the model is mien's own.

        Args:
            cascade_file: Path of a Haar cascade; None takes OpenCV's frontal one.
            mtcnn: Find faces with MTCNN, which misses far fewer.
            tfserving: Must be False; no server is needed.
            use_tflite: Without effect.
            scale_factor: Ratio of one size searched to the next, more than 1 (cascade).
            min_face_size: Side of the smallest box, pixels (cascade); smaller than 9 counts as 9.
            min_neighbors: How many overlapping hits make a face (cascade).
            offsets: Without effect: each face gets the framing that the model was trained on.

        Raises:
            InputError: A value out of range; a `ValueError`.
            ModelError: OpenCV cannot read the cascade.
        """
        if not scale_factor > 1:
            raise InputError(f"scale_factor must be greater than 1.0, got {scale_factor}")
        if min_face_size < 1:
            raise InputError(f"min_face_size must be at least 1, got {min_face_size}")
        if min_neighbors < 0:
            raise InputError(f"min_neighbors must be non-negative, got {min_neighbors}")
        if not isinstance(offsets, tuple | list) or len(offsets) != 2:
            raise InputError("offsets must be a tuple or list of length 2")
        if tfserving:
            raise InputError("mien needs no server for its model; pass tfserving=False")
        self.tfserving, self.use_tflite = tfserving, use_tflite
        self._haar: PointedHaar | None = None
        if mtcnn:
            self.analyzer = AnalyzerSettings().shared()
        else:
            self._haar = shared_haar(
                scale_factor=scale_factor,
                min_neighbours=min_neighbors,
                min_side_px=min_face_size,
                cascade_file=cascade_file,
            )
            model = AnalyzerSettings("none").shared().model  # opened once for all detectors
            self.analyzer = Analyzer(detector=self._haar, model=model)
        self.emotions: list[dict[str, Any]] = []

    def find_faces(
        self, img: NDArray[np.uint8], bgr: bool = True, gray_img: NDArray[np.uint8] | None = None
    ) -> NDArray[np.int32] | list[list[int]]:
        """Return the boxes of the faces.

        Args:
            img: (H, W, 3) uint8 BGR, or gray.
            bgr: Without effect: the shape says it.
            gray_img: (H, W) uint8, the same image in gray; searched instead, where the cascade is used.

        Returns:
            Best first, (x, y, width, height), pixels: an array (N, 4) int32 by the cascade, a list of lists by MTCNN.
        """
        shown = gray_img if gray_img is not None and self._haar else img
        faces = self.analyzer.detector.detect(_rgb(shown))
        boxes = np.array([_xywh(box) for box in faces.xyxy], np.int32).reshape(-1, 4)
        return boxes if self._haar else boxes.tolist()

    def detect_emotions(self, img: object, face_rectangles: Sequence[Box] | None = None) -> list[dict[str, Any]]:
        """Return the faces of one image and what they show.

        Args:
            img: A path, URL, data URL in base64, binary file object, or array: (H, W, 3) uint8 BGR, or gray.
            face_rectangles: Boxes (x, y, width, height), pixels, where faces are known to be; None searches.

        Returns:
            One dictionary per face, best first: `box` (x, y, width, height), pixels, and `emotions`, probabilities by
            name rounded to two digits.

        Raises:
            InvalidImage: It gives no image.
        """
        frame = _read(img)
        if face_rectangles is None:
            (faces,) = self.analyzer.analyze_frames([frame])
            self.emotions = self.results(faces)
        else:
            faces = self._given(frame, face_rectangles)
            self.emotions = [
                entry | {"box": box} for entry, box in zip(self.results(faces), face_rectangles, strict=True)
            ]
        return self.emotions

    def batch_detect_emotions(self, imgs: Sequence[object]) -> list[list[dict[str, Any]]]:
        """Return the same for several images, whose faces go through the model in one batch.

        Args:
            imgs: As for `detect_emotions`.
        """
        return [self.results(faces) for faces in self.analyzer.analyze_frames([_read(img) for img in imgs])]

    def top_emotion(self, img: object) -> tuple[str | None, float | None]:
        """Return the most probable emotion of the best face and its probability, or (None, None) without a face.

        Args:
            img: As for `detect_emotions`.
        """
        found = self.detect_emotions(img)
        if not found:
            return None, None
        emotions: dict[str, float] = found[0]["emotions"]
        name = max(emotions, key=emotions.__getitem__)
        return name, emotions[name]

    def results(self, faces: Faces) -> list[dict[str, Any]]:
        """Return faces in fer's shape; mien's own addition.

        Args:
            faces: With probabilities; contempt's share goes to the seven emotions of fer.
        """
        faces = seven_of(faces)
        boxes = [_xywh(box) for box in faces.xyxy]
        probs = [] if faces.probs is None else faces.probs.tolist()
        return [
            {
                "box": np.array(box, np.int32) if self._haar else box,
                "emotions": {name: round(p, 2) for name, p in zip(FER7.names, row, strict=True)},
            }
            for box, row in zip(boxes, probs, strict=True)
        ]

    def _given(self, frame: Frame, boxes: Sequence[Box]) -> Faces:
        xywh = np.array([list(box) for box in boxes], np.float32).reshape(-1, 4)
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        faces = Faces(xyxy, np.ones(len(xyxy), np.float32)).at(frame)
        seen = faces.on(frame.image)
        crops = self.analyzer.crop(frame.image, self._haar.with_points(frame.image, seen) if self._haar else seen)
        probs = self.analyzer.model.predict_proba(crops, head=self.analyzer.labels.key)
        return self.analyzer.with_expressions([faces], probs)[0]


def _read(img: object) -> Frame:
    try:
        return read_frame(img)
    except InputError as error:
        raise InvalidImage(str(error)) from error


def _rgb(img: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if not isinstance(img, np.ndarray):
        raise InvalidImage(f"img must be a NumPy array, got {type(img).__name__}; detect_emotions() takes paths, too")
    return rgb_of(img)


def _xywh(xyxy: NDArray[np.float32]) -> list[int]:
    x1, y1, x2, y2 = (int(v) for v in xyxy.tolist())
    return [x1, y1, x2 - x1, y2 - y1]
