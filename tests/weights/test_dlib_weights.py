"""dlib's recognition network as ONNX against dlib's own answers. Needs the extra `dlib`, which brings the file."""

import numpy as np
import onnx
import pytest

from mien._onnxruntime import ort
from mien.detect.chips import face_chips
from mien.detect.dlib_ import model_file
from mien.detect.registry import create_detector
from mien.errors import ModelError
from mien.faces import Faces
from mien.weights._dlib import convert, read_layers

dlib = pytest.importorskip("dlib", reason="needs the extra dlib")
FILE = "dlib_face_recognition_resnet_model_v1.dat"


@pytest.fixture(scope="module")
def data():
    return model_file(FILE).read_bytes()


@pytest.fixture(scope="module")
def converted(data):
    return convert(data)


@pytest.fixture(scope="module")
def embed(converted):
    session = ort.InferenceSession(converted, providers=["CPUExecutionProvider"])
    return lambda chips: session.run(None, {"images": np.stack(chips)})[0]


@pytest.fixture(scope="module")
def theirs():
    """dlib's own network: crops (150, 150, 3) uint8 RGB to (N, 128)."""
    network = dlib.face_recognition_model_v1(str(model_file(FILE)))
    return lambda chips: np.array(network.compute_face_descriptor(list(chips)))


def chips_of(images):
    detector = create_detector("mtcnn")
    found = [detector.detect(image) for image in images]
    return [face_chips(i, f.largest(), 150, padding=0.25)[0] for i, f in zip(images, found, strict=True)]


def test_the_graph_is_one_of_29_convolutions_that_onnx_accepts(converted):
    model = onnx.load_from_string(converted)
    onnx.checker.check_model(model, full_check=True)
    assert sum(node.op_type == "Conv" for node in model.graph.node) == 29
    assert not any(node.op_type in ("Mul", "Sub") for node in model.graph.node)  # all folded in


def test_the_file_says_what_it_subtracts(data):
    mean, layers = read_layers(data)
    np.testing.assert_allclose(mean, (122.782, 117.001, 104.298), atol=1e-4)
    assert len(layers) == 108 and layers[0].weights.shape == (32, 3, 7, 7) and layers[-1].weights.shape == (256, 128)


def test_it_answers_as_dlib_does(embed, theirs, astronaut, hopper):
    noise = np.random.default_rng(0).integers(0, 256, (150, 150, 3)).astype(np.uint8)
    chips = [*chips_of([astronaut, hopper]), noise, np.zeros_like(noise), np.full_like(noise, 255)]
    ours, dlibs = embed(chips), theirs(chips)
    np.testing.assert_allclose(ours, dlibs, atol=1e-3)
    assert np.linalg.norm(ours[0] - ours[1]) > 0.6  # two people


@pytest.mark.slow
def test_it_answers_as_dlib_does_on_two_hundred_faces(embed, theirs, shared):
    from PIL import Image

    files = sorted((shared / "data/faces/london").glob("*.jpg"))
    chips = chips_of([np.array(Image.open(file).convert("RGB")) for file in files])
    assert len(chips) == 204
    np.testing.assert_allclose(embed(chips), theirs(chips), atol=1e-3)


@pytest.mark.parametrize("damage", ["cut", "other", "empty", "turned"])
def test_what_is_no_such_network_is_refused(data, damage):
    bad = {"cut": data[:-1000], "other": b"\x01\x02" * 500, "empty": b"", "turned": data[::-1]}[damage]
    with pytest.raises(ModelError, match="no network of dlib's"):
        convert(bad)


def test_a_face_without_landmarks_gets_a_crop_by_its_box(astronaut):
    detector = create_detector("mtcnn")
    found = detector.detect(astronaut).largest()
    by_points, by_box = (face_chips(astronaut, f, 150, padding=0.25) for f in (found, Faces(found.xyxy, found.score)))
    assert by_points.shape == by_box.shape == (1, 150, 150, 3)
    close = np.corrcoef(by_points.ravel(), by_box.ravel())[0, 1]
    assert close > 0.7
