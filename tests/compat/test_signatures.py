"""Our signatures against those of the packages: written down here, and read from the installed packages where they are.

Their source is read, not run: importing them loads TensorFlow and makes folders in the home directory.
"""

import ast
import importlib.metadata
import importlib.util
import inspect
from pathlib import Path

import pytest

from mien.compat import FER, DeepFace, Video

EMPTY = inspect.Parameter.empty
THEIRS = {
    "analyze": {
        "img_path": EMPTY,
        "actions": ("emotion", "age", "gender", "race"),
        "enforce_detection": True,
        "detector_backend": "opencv",
        "align": True,
        "expand_percentage": 0,
        "silent": False,
        "anti_spoofing": False,
    },
    "FER": {
        "cascade_file": None,
        "mtcnn": False,
        "tfserving": False,
        "use_tflite": True,
        "scale_factor": 1.1,
        "min_face_size": 50,
        "min_neighbors": 5,
        "offsets": (10, 10),
    },
    "find_faces": {"img": EMPTY, "bgr": True, "gray_img": None},
    "detect_emotions": {"img": EMPTY, "face_rectangles": None},
    "batch_detect_emotions": {"imgs": EMPTY},
    "top_emotion": {"img": EMPTY},
    "Video": {"video_file": EMPTY, "outdir": "output", "first_face_only": True, "tempfile": None},
    "Video.analyze": {
        "detector": EMPTY,
        "display": False,
        "output": "csv",
        "frequency": None,
        "max_results": None,
        "save_fps": None,
        "video_id": None,
        "save_frames": True,
        "save_video": True,
        "annotate_frames": True,
        "zip_images": True,
        "detection_box": None,
        "lang": "en",
        "include_audio": False,
        "size_multiplier": 1,
        "batch_size": 1,
        "use_async_io": True,
    },
    "to_pandas": {"data": EMPTY},
    "to_csv": {"data": EMPTY, "filename": "data.csv"},
    "to_format": {"data": EMPTY, "format": EMPTY},
    "get_first_face": {"df": EMPTY},
    "get_emotions": {"df": EMPTY},
    "get_max_faces": {"data": EMPTY},
}
OURS = {
    "analyze": DeepFace.analyze,
    "FER": FER.__init__,
    **{name: getattr(FER, name) for name in ("find_faces", "detect_emotions", "batch_detect_emotions", "top_emotion")},
    "Video": Video.__init__,
    "Video.analyze": Video.analyze,
    **{
        name: getattr(Video, name)
        for name in ("to_pandas", "to_csv", "to_format", "get_first_face", "get_emotions", "get_max_faces")
    },
}
HOMES = {
    name: (
        ("deepface", "DeepFace.py", "", "analyze")
        if name == "analyze"
        else ("fer", "fer.py", "FER", name if name != "FER" else "__init__")
        if name in ("FER", "find_faces", "detect_emotions", "batch_detect_emotions", "top_emotion")
        else ("fer", "classes.py", "Video", {"Video": "__init__", "Video.analyze": "analyze"}.get(name, name))
    )
    for name in THEIRS
}
LINES = {"deepface": "0.0.10", "fer": "25.10"}


def installed(package: str, file: str, owner: str, function: str) -> dict:
    """Return names and defaults of a function's arguments from an installed package's source."""
    spec = importlib.util.find_spec(package)
    if spec is None or not importlib.metadata.version(package).startswith(LINES[package]):
        pytest.skip(f"{package} {LINES[package]} is not installed")
    body = ast.parse((Path(spec.origin).parent / file).read_text(encoding="utf-8")).body
    if owner:
        body = next(node for node in body if isinstance(node, ast.ClassDef) and node.name == owner).body
    arguments = next(node for node in body if isinstance(node, ast.FunctionDef) and node.name == function).args
    names = [argument.arg for argument in arguments.args if argument.arg != "self"]
    defaults = [ast.literal_eval(default) for default in arguments.defaults]
    return dict(zip(names, [EMPTY] * (len(names) - len(defaults)) + defaults, strict=True))


@pytest.mark.parametrize("name", THEIRS)
def test_arguments_have_their_names_order_and_defaults(name: str) -> None:
    found = {p.name: p.default for p in inspect.signature(OURS[name]).parameters.values() if p.name != "self"}
    wanted = dict(THEIRS[name])
    if name == "analyze":
        wanted["actions"] = ("emotion",)  # the others are not answered
    assert list(found) == list(wanted)
    assert found == wanted


@pytest.mark.parametrize("name", THEIRS)
def test_the_installed_packages_have_these_signatures(name: str) -> None:
    assert installed(*HOMES[name]) == THEIRS[name]
