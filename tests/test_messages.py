"""What errors say: nothing long of what came, and no Python function where a user of the command line reads it."""

import ast
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import mien
from mien.datasets import CropDataset, read_dataset, with_split
from mien.detect import create_detector
from mien.errors import MienError, listed, shown
from mien.labels import LabelSet, label_set
from mien.models import RuntimeSettings, load_model
from mien.models.foreign import parse_labels
from mien.sources import LiveSource, Video, VideoSettings, read_image
from mien.sources.addresses import is_plainly_local
from mien.video.truth import parse_time

SRC = Path(mien.__file__).parent
OWN = re.compile(  # what is known to be short: constants, keys of label sets, exceptions of libraries, names of devices
    r"[A-Z_]+|(.+\.)?key|card\.name|error(\.name)?|missing|current|shortened\(.+\)|(self\.)?settings\.(net|device)|device|.+\[:.+\]"
)
CALL = re.compile(r"\bmien\.[A-Za-z_.]*\w\b|(?<![\w{.'(-])[a-z_]{3,}(\.[a-z_]+)*\((?!e?s\))[a-z_, ]*\)")
OF_KERAS = re.compile(r"model\.(to_json|save|save_weights)\(\)")
FROM_PYTHON_ALONE = {  # messages that only a program's own values lead to
    "analyzer.py": ["mien.detect.Detector", "analyze_images()", "to_pandas()"],
    "datasets/dataset.py": ["read_dataset()"],
    "detect/detector.py": ["detect()"],
    "evaluate/calibrate.py": ["fit_confidence()", "fit_temperature()"],
    "evaluate/values.py": ["truth_of(data, labels)"],
    "faces.py": ["faces.draw(image)"],
    "models/expression.py": ["align.crop_faces()"],
    "output/base.py": ["open_sink()", "mien.draw_faces"],
    "output/rows.py": ["convert_probs()"],
    "tracking/tracker.py": ["mien.analyze_video"],
    "train/classical/baselines.py": ["align()"],
    "train/classical/distances.py": ["crop_landmarks()"],
    "video/result.py": ["mien.analyze_video"],
}
BLANKS = "ab " * 40_000
LETTERS = "x" * 120_000


@cache
def texts(path):
    """Return (line, text) of the messages in a file: all texts of more than a word that are no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    skipped.update(part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values)
    found = ((node, _text(node)) for node in ast.walk(tree) if node not in skipped)
    return [(node.lineno, text) for node, text in found if " " in text.strip()]


def _text(node):
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "{}" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def modules():
    return [path for path in sorted(SRC.rglob("*.py")) if "compat" not in path.parts]


def test_messages_name_no_python_call_that_a_user_of_the_command_line_cannot_make():
    met, wrong = {}, []
    for path in modules():
        where = path.relative_to(SRC).as_posix()
        for line, text in texts(path):
            for call in (match[0] for match in CALL.finditer(text)):
                if "in Python" in text or OF_KERAS.fullmatch(call) or call == "secrets.token_urlsafe()":
                    continue
                if call in FROM_PYTHON_ALONE.get(where, ()):
                    met.setdefault(where, set()).add(call)
                else:
                    wrong.append(f"{where}:{line}: {text}")
    assert wrong == []
    assert {where: sorted(calls) for where, calls in met.items()} == {
        where: sorted(calls) for where, calls in FROM_PYTHON_ALONE.items()
    }


def test_errors_show_what_came_with_the_helper_that_cuts_it():
    wrong = []
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(getattr(node, "func", None), "id", "")
            if not (isinstance(node, ast.Call) and name.endswith("Error")):
                continue
            for part in ast.walk(node):
                if isinstance(part, ast.FormattedValue) and part.conversion == ord("r") and not part.format_spec:
                    value = ast.unparse(part.value)
                    if not OWN.fullmatch(value):
                        wrong.append(f"{path.relative_to(SRC)}:{node.lineno}: {value}")
    assert wrong == []


def test_the_helpers_keep_both_ends():
    assert shown("a" * 500).startswith("'aaa") and shown("a" * 500).endswith("aaa'") and len(shown("a" * 500)) == 200
    assert shown("short") == "'short'" and shown(np.zeros(3)) == "array([0., 0., 0.])"
    assert listed(range(3)) == "0, 1, 2" and len(listed(range(10_000))) == 200


def of(**changes):
    """Return crops with something wrong."""
    crops = np.zeros((3, 48, 48), np.uint8)
    return CropDataset(**({"crops": crops, "label": np.zeros(3, np.int8), "usage": np.full(3, "Training")} | changes))


@pytest.mark.parametrize(
    "call",
    [
        lambda came: mien.analyze_image(came),
        lambda came: mien.analyze_image(came.encode()),
        lambda came: mien.analyze_image(f"data:image/png;base64,{came}"),
        lambda came: mien.analyze_image(Path(came)),
        lambda came: mien.analyze_image(f"https://127.0.0.1/{came}"),
        lambda came: mien.analyze_image(f"{came}://127.0.0.1/"),
        lambda came: mien.analyze_image(np.zeros((2, 2, 3), np.uint8), channels=came),
        lambda came: mien.Analyzer(detector=came),
        lambda came: mien.Analyzer(model=came),
        lambda came: mien.Analyzer(labels=came),
        lambda came: mien.analyze_video(came, progress=False),
        lambda came: list(mien.track(came)),
        lambda came: Video(came),
        lambda came: Video(f"file:///{came}"),
        lambda came: LiveSource(came),
        lambda came: VideoSettings(every=came),
        lambda came: VideoSettings(stream=came),
        lambda came: RuntimeSettings(device=came),
        lambda came: create_detector(came),
        lambda came: load_model(came),
        lambda came: label_set(came),
        lambda came: LabelSet("mine", (came, came)),
        lambda came: LabelSet("mine", tuple(came.split("b")) * 2),
        lambda came: parse_labels(came),
        lambda came: read_image(came),
        lambda came: read_dataset(came),
        lambda came: with_split(of(), came),
        lambda came: of().split(came),
        lambda came: parse_time(came, "--start"),
        lambda came: mien.FaceFilter(min_face_px=came),
        lambda came: mien.FaceFilter(min_confidence=came),
        lambda came: mien.TrackSettings(half_life_s=came),
    ],
)
@pytest.mark.parametrize("came", [BLANKS, LETTERS], ids=["blanks", "letters"])
def test_no_error_prints_more_than_200_characters_of_what_came(call, came):
    with pytest.raises((MienError, TypeError)) as raised:
        call(came)
    assert len(str(raised.value)) < 600, str(raised.value)[:300]


def test_a_host_of_any_length_is_told_at_once():
    assert not is_plainly_local("a" * 1_000_000 + "!")
    assert is_plainly_local("camera") and is_plainly_local("camera.local")
