"""68 facial landmarks for faces that a detector found: those of their mesh, or by dlib on demand.

Faces with a mesh (`attributes=("mesh",)`) have the landmarks in it, by index: `faces.landmarks68`. For others there is
a stage that needs the extra `dlib`.

The method is an ensemble of regression trees (Kazemi & Sullivan 2014) as trained for dlib by Davis King. The model file
comes with the `face_recognition_models` package. **Its training data, iBUG 300-W, excludes commercial use**, and its
author asks to keep to that for the model too; mien itself never needs it.
"""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.detect.dlib_ import model_file
from mien.errors import require_extra
from mien.faces import Faces, Floats, check_image

MODEL_FILE = "shape_predictor_68_face_landmarks.dat"
COUNT = 68


def find_landmarks(image: NDArray[np.uint8], faces: Faces) -> Floats:
    """Return 68 landmarks of every face: those of its mesh, else by dlib. Safe to call from several threads.

    Order and meaning are those of iBUG 300-W: 0-16 jaw, 17-26 brows, 27-35 nose, 36-47 eyes, 48-67 mouth, each from
    left to right as the viewer sees them. Those of dlib are not for commercial use: see the module's description.

    Args:
        image: (H, W, 3) uint8 RGB, the image in which the faces were found.
        faces: The faces; boxes of any detector serve.

    Returns:
        (N, 68, 2) float32, pixels, in the order of `faces`.

    Raises:
        InputError: `image` is something else.
        MissingExtraError: The faces have no mesh, and dlib or its model package is not installed.
    """
    rgb = np.ascontiguousarray(check_image(image))
    if (known := faces.landmarks68) is not None:
        return known
    dlib = require_extra("dlib", "dlib")
    predictor = _load_predictor()
    landmarks = np.zeros((len(faces), COUNT, 2), np.float32)
    for number, (x1, y1, x2, y2) in enumerate(_predictor_boxes(faces.xyxy).tolist()):
        found = predictor(rgb, dlib.rectangle(x1, y1, x2 - 1, y2 - 1))
        landmarks[number] = [(part.x, part.y) for part in found.parts()]
    return landmarks + np.float32(0.5)  # dlib names pixels; their centres are half a pixel further


@functools.cache
def _load_predictor() -> Any:
    return require_extra("dlib", "dlib").shape_predictor(str(model_file(MODEL_FILE)))


def _predictor_boxes(xyxy: Floats) -> NDArray[np.int64]:
    """Return boxes like those of dlib's own detector, on which the predictor was trained.

    These are squares from the brows to the chin. A detector trained on whole faces gives taller boxes; the square of
    the same area on the same lower edge then comes close, and square boxes stay as they are.

    Args:
        xyxy: (N, 4) float32.

    Returns:
        (N, 4) int64, sides at least 2 pixels.
    """
    size = np.maximum(xyxy[:, 2:] - xyxy[:, :2], 1)
    side = np.maximum(np.sqrt(size.prod(axis=1)), 2)
    middle = (xyxy[:, 0] + xyxy[:, 2]) / 2
    edges = [middle - side / 2, xyxy[:, 3] - side, middle + side / 2, xyxy[:, 3]]
    return np.stack(edges, axis=1).round().astype(np.int64)
