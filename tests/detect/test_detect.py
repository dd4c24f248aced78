import hashlib
import json
import pickle
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import joblib
import numpy as np
import onnxruntime as ort
import pytest
from conftest import read_rgb
from numpy.lib.stride_tricks import sliding_window_view

from detector_files import mean_color_ssd, red_spot_yunet
from mien._onnx_graph import Graph, Value
from mien.detect import DETECTORS, Detector, DetectorSettings, create_detector
from mien.detect import _mtcnn_nets as nets
from mien.detect import mtcnn as mtcnn_module
from mien.detect._octaves import Octaves
from mien.detect.boxes import logit, overlap, sigmoid, squared, suppress
from mien.detect.haar import FRONTALFACE_ALT2, FRONTALFACE_DEFAULT
from mien.detect.mtcnn import MtcnnDetector
from mien.detect.ssd import decode_rows as decode_ssd
from mien.detect.ssd import to_blob
from mien.detect.yunet import decode_rows as decode_yunet
from mien.errors import InputError, MissingExtraError, MissingWeightsError, ModelError
from mien.faces import Faces

BLAZEFACE = ("blazeface-short", "blazeface-full")  # their weights are pulled; elsewhere their tests skip
OFFLINE = ("mtcnn", "haar", "haar-alt2", "dlib-hog", "dlib-mmod", "none", *BLAZEFACE)
ASTRONAUT_FACE = np.array([[176, 64, 268, 172]], np.float32)  # measured with a ruler: brow to chin, cheek to cheek
ASTRONAUT_EYES = np.array([[203, 101], [247, 103]], np.float32)


@pytest.fixture(scope="module")
def mtcnn():
    return MtcnnDetector()


@pytest.fixture(scope="module")
def portrait(astronaut):
    """(240, 240, 3) uint8: the head, small enough for slow detectors."""
    return np.ascontiguousarray(astronaut[0:240, 100:340])


def detector_or_skip(name):
    try:
        return create_detector(name)
    except (MissingExtraError, MissingWeightsError) as error:
        pytest.skip(str(error))


def iou(faces, box):
    return float(overlap(faces.xyxy[:1], np.asarray(box, np.float32).reshape(1, 4))[0, 0])


class TestEveryDetector:
    @pytest.mark.parametrize("name", OFFLINE)
    def test_finds_the_face_and_sorts_by_score(self, name, portrait):
        detector = detector_or_skip(name)
        assert isinstance(detector, Detector)
        faces = detector.detect(portrait)
        assert len(faces) >= 1
        assert (np.diff(faces.score) <= 0).all()
        assert ((faces.score > 0) & (faces.score <= 1)).all()
        if name != "none":
            assert iou(faces, ASTRONAUT_FACE - np.array([100, 0, 100, 0])) > 0.6

    @pytest.mark.parametrize("name", OFFLINE)
    @pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (3, 700), (12, 12), (33, 32)])
    def test_tiny_and_odd_images_do_not_crash(self, name, shape):
        image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
        faces = detector_or_skip(name).detect(image)
        assert len(faces) == (1 if name == "none" else 0)

    @pytest.mark.parametrize("name", OFFLINE)
    def test_one_colour_has_no_face(self, name):
        faces = detector_or_skip(name).detect(np.full((90, 120, 3), 119, np.uint8))
        assert isinstance(faces, Faces)
        assert len(faces) == (1 if name == "none" else 0)

    @pytest.mark.parametrize("name", OFFLINE)
    def test_refuses_what_is_no_image(self, name):
        with pytest.raises(InputError, match="uint8 RGB"):
            detector_or_skip(name).detect(np.zeros((40, 40), np.uint8))

    @pytest.mark.parametrize("name", OFFLINE)
    def test_eight_threads_see_what_one_sees(self, name, portrait):
        detector = detector_or_skip(name)
        images = [portrait[:, :200], portrait[:, 40:], portrait[20:], portrait[:200, :, ::-1]]
        alone = [detector.detect(image) for image in images]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(detector.detect, images * (1 if name == "dlib-mmod" else 4)))
        for number, faces in enumerate(together):
            np.testing.assert_array_equal(faces.xyxy, alone[number % 4].xyxy)
            np.testing.assert_array_equal(faces.score, alone[number % 4].score)

    @pytest.mark.parametrize("name", OFFLINE)
    def test_survives_pickling(self, name, portrait):
        detector = detector_or_skip(name)
        copy = pickle.loads(pickle.dumps(detector))
        np.testing.assert_array_equal(copy.detect(portrait).xyxy, detector.detect(portrait).xyxy)

    @pytest.mark.parametrize("name", ["mtcnn", "haar", "haar-alt2", "dlib-hog", *BLAZEFACE])
    def test_threshold_drops_weak_faces(self, name, portrait):
        detector_or_skip(name)
        faces = create_detector(name).detect(portrait)
        limit = float(faces.score[0])
        stricter = create_detector(name, DetectorSettings(threshold=min(limit + 1e-3, 1.0)))
        assert len(stricter.detect(portrait)) == 0
        assert len(create_detector(name, DetectorSettings(threshold=limit - 1e-3)).detect(portrait)) >= 1


class TestSettings:
    def test_unknown_detector_lists_the_known(self):
        with pytest.raises(
            InputError,
            match="mtcnn, haar, haar-alt2, dlib-hog, dlib-mmod, yunet, ssd, blazeface-short, blazeface-full, none",
        ):
            create_detector("retina")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"min_face_px": 5},
            {"threshold": 1.5},
            {"threads": -1},
            {"proposal_thresholds": (0.6, 1.2)},
            {"pyramid_factor": 1.0},
            {"upsample": 9},
        ],
    )
    def test_out_of_range_names_the_setting(self, wrong):
        with pytest.raises(InputError, match=next(iter(wrong))):
            DetectorSettings(**wrong)

    def test_factories_import_only_when_called(self):
        code = (
            "import sys, mien.detect; print([m for m in ('cv2', 'onnxruntime', 'dlib', 'joblib') if m in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"

    def test_creating_mtcnn_does_not_execute_the_wheel(self):
        code = (
            "import sys; from mien.detect import create_detector; create_detector('mtcnn'); "
            "print([m for m in ('mtcnn', 'tensorflow', 'onnx', 'torch') if m in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


class TestMtcnnOnImages:
    def test_box_and_landmarks_of_the_astronaut(self, mtcnn, astronaut):
        faces = mtcnn.detect(astronaut)
        assert len(faces) == 1
        assert faces.score[0] > 0.95
        assert iou(faces, ASTRONAUT_FACE) > 0.8
        assert np.abs(faces.landmarks[0, :2] - ASTRONAUT_EYES).max() < 4

    def test_landmarks_lie_in_the_box_and_in_order(self, mtcnn, astronaut, hopper):
        for image in (astronaut, hopper):
            face = next(iter(mtcnn.detect(image)))
            assert (face.landmarks > face.xyxy[:2]).all()
            assert (face.landmarks < face.xyxy[2:]).all()
            left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
            assert left_eye[0] < nose[0] < right_eye[0]
            assert left_mouth[0] < nose[0] < right_mouth[0]
            assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])

    def test_moved_image_gives_moved_box(self, mtcnn, astronaut):
        before = mtcnn.detect(astronaut)
        moved = cv2.copyMakeBorder(astronaut, 37, 0, 58, 0, cv2.BORDER_CONSTANT, value=(90, 90, 90))
        after = mtcnn.detect(moved)
        assert len(after) == 1
        np.testing.assert_allclose(after.xyxy - before.xyxy, [[58, 37, 58, 37]], atol=4)
        np.testing.assert_allclose(after.landmarks - before.landmarks, [[[58, 37]] * 5], atol=3)

    def test_enlarged_image_gives_enlarged_box(self, mtcnn, astronaut):
        before = mtcnn.detect(astronaut)
        after = mtcnn.detect(cv2.resize(astronaut, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC))
        assert len(after) == 1
        np.testing.assert_allclose(after.xyxy, 2 * before.xyxy, atol=12)
        np.testing.assert_allclose(after.landmarks, 2 * before.landmarks, atol=8)

    @pytest.mark.parametrize("degrees", [-15, 15])
    def test_roll_of_the_eye_line(self, mtcnn, astronaut, degrees):
        def roll(image):
            left, right = mtcnn.detect(image).landmarks[0, :2]
            return np.degrees(np.arctan2(right[1] - left[1], right[0] - left[0]))

        turn = cv2.getRotationMatrix2D((223, 118), degrees, 1)
        turned = cv2.warpAffine(astronaut, turn, (512, 512), borderMode=cv2.BORDER_REFLECT)
        assert roll(turned) - roll(astronaut) == pytest.approx(-degrees, abs=3)

    def test_upside_down_is_no_crash(self, mtcnn, astronaut):
        assert len(mtcnn.detect(np.ascontiguousarray(astronaut[::-1, ::-1]))) <= 1

    def test_views_and_gray_looking_images(self, mtcnn, astronaut):
        view = astronaut[:, ::-1]
        np.testing.assert_array_equal(mtcnn.detect(view).xyxy, mtcnn.detect(view.copy()).xyxy)
        gray = cv2.cvtColor(cv2.cvtColor(astronaut, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        assert iou(mtcnn.detect(gray), ASTRONAUT_FACE) > 0.8

    def test_noise_has_no_faces(self, mtcnn):
        noise = np.random.default_rng(1).integers(0, 256, (4, 240, 320, 3), dtype=np.uint8)
        assert sum(len(mtcnn.detect(image)) for image in noise) == 0

    def test_no_face_keeps_the_landmark_array(self, mtcnn):
        faces = mtcnn.detect(np.zeros((200, 200, 3), np.uint8))
        assert faces.landmarks.shape == (0, 5, 2)

    def test_smallest_face_is_honoured(self, mtcnn, astronaut):
        small = cv2.resize(astronaut, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)  # the face is 32 pixels high
        assert len(MtcnnDetector(DetectorSettings(min_face_px=20)).detect(small)) == 1
        assert len(MtcnnDetector(DetectorSettings(min_face_px=60)).detect(small)) == 0

    def test_threads_change_speed_only(self, mtcnn, portrait):
        two = MtcnnDetector(DetectorSettings(threads=2)).detect(portrait)
        np.testing.assert_allclose(two.xyxy, mtcnn.detect(portrait).xyxy, atol=0.01)

    def test_side_longer_than_opencv_can_map(self, mtcnn, portrait):
        wide = np.full((240, 33_000, 3), 90, np.uint8)
        wide[:, 32_600:32_840] = portrait
        faces = mtcnn.detect(wide)
        assert len(faces) == 1
        assert iou(faces, mtcnn.detect(portrait).xyxy + np.array([32_600, 0, 32_600, 0])) > 0.7

    def test_recall_and_precision_on_photos(self, mtcnn, shared):
        folder = shared / "data" / "photos"
        found = missed = false = 0
        for photo in json.loads((folder / "faces.json").read_text()):
            boxes = mtcnn.detect(read_rgb(folder / photo["file"])).xyxy
            counted, ignored = (corners(photo["faces"], flag) for flag in (False, True))
            hits = overlap(boxes, counted) >= 0.4
            excused = (overlap(boxes, ignored) >= 0.2).any(axis=1)
            found += int(hits.any(axis=0).sum())
            missed += int((~hits.any(axis=0)).sum())
            counting = int((hits.any(axis=1) | ~excused).sum())
            false += counting - int(hits.any(axis=0).sum())  # a second box on a face is false too
        assert found + missed == 390
        assert found / (found + missed) >= 0.92
        assert found / (found + false) >= 0.965


def corners(faces, ignored):
    xywh = np.array([face["box"] for face in faces if face["ignore"] == ignored], np.float32).reshape(-1, 4)
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)


class TestRefine:
    def test_pulls_a_displaced_box_back(self, mtcnn, astronaut):
        found = mtcnn.detect(astronaut)
        side = found.xyxy[0, 3] - found.xyxy[0, 1]
        for dx, dy in ((0.1, 0), (-0.1, 0.05), (0, -0.1)):
            displaced = found.xyxy + np.array([dx, dy, dx, dy], np.float32) * side
            again = mtcnn.refine(astronaut, displaced)
            assert len(again) == 1
            assert again.score[0] > 0.9
            assert iou(again, found.xyxy) > 0.85
            assert np.abs(again.landmarks - found.landmarks).max() < 0.06 * side

    def test_keeps_every_box_in_order(self, mtcnn, astronaut):
        face = mtcnn.detect(astronaut).xyxy[0]
        boxes = np.stack([[400, 300, 500, 400], face, [-80, -80, -10, -10], [5, 5, 5, 5]]).astype(np.float32)
        again = mtcnn.refine(astronaut, boxes)
        assert len(again) == 4
        assert again.score[1] > 0.9
        assert (again.score[[0, 2, 3]] < 0.5).all()

    def test_batch_equals_single(self, mtcnn, astronaut):
        rng = np.random.default_rng(3)
        corner = rng.uniform(0, 380, (40, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(20, 130, (40, 2))], axis=1).astype(np.float32)
        together = mtcnn.refine(astronaut, boxes)
        for number in range(40):
            alone = mtcnn.refine(astronaut, boxes[number : number + 1])
            np.testing.assert_allclose(alone.xyxy[0], together.xyxy[number], atol=1e-2)
            np.testing.assert_allclose(alone.score[0], together.score[number], atol=1e-4)

    def test_empty_in_empty_out(self, mtcnn, astronaut):
        assert len(mtcnn.refine(astronaut, np.zeros((0, 4), np.float32))) == 0

    @pytest.mark.parametrize("wrong", [np.zeros(4), np.zeros((2, 5)), np.full((1, 4), np.nan)])
    def test_refuses_what_is_no_box_list(self, mtcnn, astronaut, wrong):
        with pytest.raises(InputError, match="xyxy must be"):
            mtcnn.refine(astronaut, wrong)


class Marker:
    """Writes a file when unpickled, as a harmful weight file might."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class TestWeights:
    @pytest.mark.parametrize("name", ["pnet", "rnet", "onet"])
    def test_arrays_are_float32(self, name):
        assert all(array.dtype == np.float32 for array in nets.read_weights(name))

    def test_tampered_file_is_refused_before_unpickling(self, tmp_path):
        marker = tmp_path / "was unpickled"
        joblib.dump([Marker(marker)], tmp_path / "pnet.lz4", compress="lz4")
        with pytest.raises(ModelError, match=r"pnet\.lz4 must have the SHA-256 ea6b0c3e.*pip install"):
            nets.read_weights("pnet", tmp_path)
        assert not marker.exists()
        joblib.load(tmp_path / "pnet.lz4")
        assert marker.exists()  # so the file would have done harm

    def test_one_flipped_bit_is_refused(self, tmp_path):
        data = bytearray((nets.weights_folder() / "rnet.lz4").read_bytes())
        assert hashlib.sha256(data).hexdigest() == nets.SHA256["rnet"]
        data[-1] ^= 1
        (tmp_path / "rnet.lz4").write_bytes(data)
        with pytest.raises(ModelError, match=r"rnet\.lz4"):
            nets.read_weights("rnet", tmp_path)

    def test_missing_file_names_the_fix(self, tmp_path):
        with pytest.raises(ModelError, match=r"cannot read .*onet\.lz4.*pip install .*mtcnn==1\.0\.0"):
            nets.read_weights("onet", tmp_path)

    def test_missing_wheel_names_the_fix(self, monkeypatch):
        monkeypatch.setattr(nets.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ModelError, match=r"pip install mtcnn==1\.0\.0"):
            nets.weights_folder()

    def test_networks_are_built_once(self):
        assert nets.load_networks(1) is nets.load_networks(1)


def conv(x, kernel, bias):
    """Valid convolution of (H, W, C) with (h, w, C, out), by the book."""
    windows = sliding_window_view(x, kernel.shape[:2], axis=(0, 1))
    return np.einsum("ijcab,abco->ijo", windows, kernel) + bias


def prelu(x, slope):
    return np.where(x > 0, x, x * slope.reshape(-1))


def pool(x, size, *, same):
    height, width = x.shape[:2]
    if same:
        missing = [max((-(-n // 2) - 1) * 2 + size - n, 0) for n in (height, width)]
        before = [m // 2 for m in missing]
        pads = [(b, m - b) for b, m in zip(before, missing, strict=True)]
        x = np.pad(x, (*pads, (0, 0)), constant_values=-np.inf)
    return sliding_window_view(x, (size, size), axis=(0, 1))[::2, ::2].max(axis=(-2, -1))


def by_the_book(name, image):
    """The network as published, layer by layer in double precision: (H, W, 3) uint8 to its joined outputs."""
    w = [array.astype(np.float64) for array in nets.read_weights(name)]
    x = (image.astype(np.float64) - 127.5) / 128
    pools = {"pnet": [(2, True)], "rnet": [(3, True), (3, False)], "onet": [(3, True), (3, False), (2, True)]}[name]
    convolutions = {"pnet": 3, "rnet": 3, "onet": 4}[name]
    for number in range(convolutions):
        kernel, bias, slope = w[:3]
        w = w[3:]
        x = prelu(conv(x, kernel, bias), slope)
        if number < len(pools):
            x = pool(x, pools[number][0], same=pools[number][1])
    if name == "pnet":
        w[0::2] = [kernel[0, 0] for kernel in w[0::2]]
    else:
        x = prelu(x.transpose(1, 0, 2).ravel() @ w[0] + w[1], w[2])
        w = w[3:]
    outputs = [x @ weight + bias for weight, bias in zip(w[0::2], w[1::2], strict=True)]
    return np.concatenate([*outputs[:-1], outputs[-1][..., 1:] - outputs[-1][..., :1]], axis=-1)


class TestNetworks:
    @pytest.mark.parametrize("shape", [(12, 12), (12, 31), (37, 25), (40, 40)])
    def test_pnet_equals_the_book(self, shape):
        image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
        found = nets.run(nets.load_networks(1).pnet, image[None])[0].transpose(1, 2, 0)
        np.testing.assert_allclose(found, by_the_book("pnet", image), atol=1e-4)

    @pytest.mark.parametrize(("name", "size"), [("rnet", 24), ("onet", 48)])
    def test_rnet_and_onet_equal_the_book(self, name, size, portrait):
        image = cv2.resize(portrait, (size, size))
        found = nets.run(getattr(nets.load_networks(1), name), np.stack([image, 255 - image]))
        np.testing.assert_allclose(found[0], by_the_book(name, image), atol=2e-4)
        np.testing.assert_allclose(found[1], by_the_book(name, 255 - image), atol=2e-4)

    @pytest.mark.parametrize("size", [(100, 61), (101, 60), (64, 64), (43, 200)])
    def test_stripes_equal_the_whole(self, size, monkeypatch):
        level = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
        detector = MtcnnDetector(DetectorSettings(proposal_thresholds=(1e-6, 0.7)))
        whole, whole_logits = detector._scan(level)
        monkeypatch.setattr(mtcnn_module, "STRIPE_PX", 1200)
        assert len(list(mtcnn_module._stripes(level))) > 2
        striped, striped_logits = detector._scan(level)
        assert len(whole) > 50
        np.testing.assert_allclose(striped, whole, atol=1e-4)
        np.testing.assert_allclose(striped_logits, whole_logits, atol=1e-4)


class TestOnnxWriter:
    @pytest.mark.parametrize("name", ["pnet", "rnet", "onet"])
    def test_onnx_accepts_the_networks(self, name):
        onnx = pytest.importorskip("onnx")
        data = getattr(nets, f"build_{name}")(nets.read_weights(name))
        model = onnx.load_from_string(data)
        onnx.checker.check_model(model, full_check=True)
        assert [value.name for value in model.graph.input] == ["image"]
        assert [value.name for value in model.graph.output] == ["found"]

    def test_every_kind_of_attribute_survives(self):
        onnx = pytest.importorskip("onnx")
        graph = Graph("attributes")
        graph.constant("shape", np.array([-1, 300], np.int64))
        attributes = {"alpha": 0.25, "to": -3, "mode": "linear", "perm": [0, 200, 70_000]}
        graph.add("Anything", ["x", "", "shape"], ["y", "z"], attributes)
        model = onnx.load_from_string(graph.serialise([Value("x", "uint8", (2, "n"))], [Value("y", "float32", (300,))]))
        node = model.graph.node[0]
        assert (list(node.input), list(node.output), node.op_type) == (["x", "", "shape"], ["y", "z"], "Anything")
        assert {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute} == {
            "alpha": 0.25,
            "to": -3,
            "mode": b"linear",
            "perm": [0, 200, 70_000],
        }
        assert onnx.numpy_helper.to_array(model.graph.initializer[0]).tolist() == [-1, 300]
        dims = model.graph.input[0].type.tensor_type.shape.dim
        assert (dims[0].dim_value, dims[1].dim_param) == (2, "n")

    def test_runs_without_onnx(self):
        graph = Graph("sum")
        graph.add("Add", ["x", graph.constant("one", np.ones(3, np.float32))], "y")
        session = ort.InferenceSession(graph.serialise([Value("x", "float32", (3,))], [Value("y", "float32", (3,))]))
        assert session.run(None, {"x": np.arange(3, dtype=np.float32)})[0].tolist() == [1, 2, 3]


class TestBoxes:
    def test_overlap_values(self):
        first = np.array([[0, 0, 10, 10]], np.float32)
        second = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [2, 2, 4, 4]], np.float32)
        np.testing.assert_allclose(overlap(first, second)[0], [1, 1 / 3, 0, 0.04], rtol=1e-6)
        np.testing.assert_allclose(overlap(first, second, of="smaller")[0], [1, 0.5, 0, 1], rtol=1e-6)

    @pytest.mark.parametrize("of", ["union", "smaller"])
    def test_suppression_equals_the_usual_loop(self, of):
        rng = np.random.default_rng(4)
        corner = rng.uniform(0, 200, (700, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(5, 60, (700, 2))], axis=1).astype(np.float32)
        score = rng.uniform(0, 1, 700).astype(np.float32)
        group = rng.integers(0, 2, 700)
        kept: list[int] = []
        for i in np.argsort(-score, kind="stable").tolist():
            rivals = [j for j in kept if group[j] == group[i]]
            if not (overlap(boxes[i : i + 1], boxes[rivals], of=of) > 0.4).any():
                kept.append(i)
        assert 50 < len(kept) < 650
        assert suppress(boxes, score, 0.4, of=of, group=group).tolist() == kept

    def test_suppression_of_nothing(self):
        assert len(suppress(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.5)) == 0

    def test_squares_keep_centre_and_longer_side(self):
        boxes = np.array([[0, 0, 10, 20], [5, 5, 5, 5]], np.float32)
        assert squared(boxes).tolist() == [[-5, 0, 15, 20], [4.5, 4.5, 5.5, 5.5]]

    def test_sigmoid_and_logit_are_inverse_and_finite(self):
        assert sigmoid(np.array([logit(0.8), -1e9, 1e9], np.float32)).tolist() == pytest.approx([0.8, 0, 1])
        assert np.isfinite([logit(0), logit(1)]).all()


class TestOctaves:
    def test_sample_of_the_same_size_is_the_image(self, portrait):
        box = np.array([[30, 50, 78, 98]], np.float32)
        crop = Octaves(portrait).sample(box, 48)[0]
        np.testing.assert_array_equal(crop, portrait[50:98, 30:78])

    def test_sample_of_a_large_box_is_its_reduced_image(self, astronaut):
        crop = Octaves(astronaut).sample(np.array([[64, 32, 448, 416]], np.float32), 24)[0].astype(int)
        reduced = cv2.resize(astronaut[32:416, 64:448], (24, 24), interpolation=cv2.INTER_AREA).astype(int)
        assert np.abs(crop - reduced).mean() < 4

    def test_gray_beyond_the_border(self, portrait):
        crops = Octaves(portrait).sample(np.array([[-100, -100, -50, -50], [-24, 0, 24, 48]], np.float32), 48)
        assert (crops[0] == 128).all()
        assert (crops[1][:, :23] == 128).all()
        np.testing.assert_array_equal(crops[1][:, 24:], portrait[:48, :24])

    @pytest.mark.parametrize("size", [(511, 513), (64, 64), (37, 301), (200, 13)])
    def test_scaled_has_the_wanted_size(self, size):
        image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
        for share in (1, 0.9, 0.5, 0.3, 0.13):
            width, height = max(1, round(size[1] * share)), max(1, round(size[0] * share))
            assert Octaves(image).scaled(width, height).shape == (height, width, 3)


@pytest.mark.parametrize("cascade", [FRONTALFACE_DEFAULT, FRONTALFACE_ALT2])
def test_haar_threshold_is_that_of_the_file(cascade):
    root = ElementTree.parse(Path(cv2.__file__).parent / "data" / cascade.file).getroot()
    last = root.findall("cascade/stages/_")[-1]
    assert float(last.findtext("stageThreshold")) == pytest.approx(cascade.final_threshold, abs=1e-6)


def test_none_takes_the_whole_image():
    faces = create_detector("none").detect(np.zeros((48, 60, 3), np.uint8))
    assert faces.xyxy.tolist() == [[0, 0, 60, 48]]
    assert faces.score.tolist() == [1]
    assert faces.landmarks is None


def test_every_detector_is_registered():
    known = ["mtcnn", "haar", "haar-alt2", "dlib-hog", "dlib-mmod", "yunet", "ssd", *BLAZEFACE, "none"]
    assert list(DETECTORS) == known


YUNET_ROW = [10, 20, 30, 40, 15, 30, 35, 31, 25, 40, 18, 50, 33, 51]


class TestYunet:
    def test_missing_path_says_where_to_get_the_file(self):
        with pytest.raises(InputError, match=r"model_path must name .*opencv_zoo.*8f2383e4dd3cfbb4553e"):
            create_detector("yunet")

    def test_absent_file_is_named(self, tmp_path):
        with pytest.raises(InputError, match=r"no file .*yunet\.onnx"):
            create_detector("yunet", DetectorSettings(model_path=tmp_path / "yunet.onnx"))

    def test_other_file_is_refused(self, tmp_path):
        path = tmp_path / "yunet.onnx"
        path.write_bytes(b"this is no network")
        with pytest.raises(ModelError, match=r"cannot read .*yunet\.onnx"):
            create_detector("yunet", DetectorSettings(model_path=path))

    def test_rows_become_faces_best_first(self):
        weak, strong = [*YUNET_ROW, 0.7], [v + 100 for v in YUNET_ROW] + [0.9]
        faces = decode_yunet(np.array([weak, strong], np.float32))
        assert faces.score.tolist() == pytest.approx([0.9, 0.7])
        assert faces.xyxy[1].tolist() == [10, 20, 40, 60]
        assert faces.landmarks[1].tolist() == [[15, 30], [35, 31], [25, 40], [18, 50], [33, 51]]

    def test_no_rows_are_no_faces(self):
        assert decode_yunet(None).landmarks.shape == (0, 5, 2)

    def test_a_network_of_that_shape_runs(self, tmp_path):
        detector = create_detector("yunet", red_spot_yunet(tmp_path))
        image = np.zeros((64, 64, 3), np.uint8)
        image[16:24, 40:48] = (255, 0, 0)
        image[48:56, 8:16] = (0, 0, 255)
        faces = detector.detect(image)
        assert len(faces) == 1
        np.testing.assert_allclose(faces.xyxy, [[36, 12, 44, 20]], atol=1e-3)
        np.testing.assert_allclose(faces.landmarks, [[[40, 16]] * 5], atol=1e-3)
        with ThreadPoolExecutor(4) as pool:
            for other in pool.map(detector.detect, [image] * 8):
                np.testing.assert_array_equal(other.xyxy, faces.xyxy)


class TestSsd:
    def test_missing_paths_say_where_to_get_the_files(self, tmp_path):
        with pytest.raises(InputError, match=r"model_path must name .*res10_300x300.*github"):
            create_detector("ssd")
        weights = tmp_path / "a.caffemodel"
        weights.write_bytes(b"")
        with pytest.raises(InputError, match=r"config_path must name .*deploy\.prototxt"):
            create_detector("ssd", DetectorSettings(model_path=weights))

    def test_other_files_are_refused(self, tmp_path):
        config, weights = tmp_path / "a.prototxt", tmp_path / "a.caffemodel"
        config.write_text("this is no network")
        weights.write_bytes(b"neither is this")
        with pytest.raises(ModelError, match=r"cannot read .*a\.prototxt and .*a\.caffemodel"):
            create_detector("ssd", DetectorSettings(model_path=weights, config_path=config))

    def test_blob_is_bgr_less_the_mean(self):
        blob = to_blob(np.full((30, 50, 3), (200, 150, 100), np.uint8))
        assert blob.shape == (1, 3, 300, 300)
        assert blob[0, :, 7, 9].tolist() == [100 - 104, 150 - 177, 200 - 123]

    def test_rows_become_faces_best_first(self):
        rows = np.array(
            [[0, 1, 0.6, 0.1, 0.2, 0.3, 0.4], [0, 1, 0.9, 0.5, 0.5, 1.0, 1.0], [0, 1, 0.4, 0, 0, 1, 1]], np.float32
        )
        faces = decode_ssd(rows, (200, 100), 0.5)
        assert faces.score.tolist() == pytest.approx([0.9, 0.6])
        np.testing.assert_allclose(faces.xyxy, [[100, 50, 200, 100], [20, 20, 60, 40]], atol=1e-4)

    def test_a_caffe_network_of_that_shape_runs(self, tmp_path):
        detector = create_detector("ssd", mean_color_ssd(tmp_path))
        red, dark = np.full((2, 40, 80, 3), (223, 177, 104), np.uint8)
        dark = dark - np.array([123, 0, 0], np.uint8)
        faces = detector.detect(red)
        np.testing.assert_allclose(faces.xyxy, [[20, 20, 60, 40]], atol=1e-4)
        assert faces.score.tolist() == pytest.approx([0.8], abs=1e-3)
        assert len(detector.detect(dark)) == 0
        with ThreadPoolExecutor(4) as pool:
            assert [len(found) for found in pool.map(detector.detect, [red, dark] * 6)] == [1, 0] * 6


@pytest.mark.parametrize("shape", [(80, 63_558), (44_880, 70), (300, 12_000)])
def test_haar_survives_images_of_any_length_and_finds_the_face_in_them(shape, astronaut):
    """OpenCV's cascades ask for gigabytes, or write beyond their memory, where a side is very long."""
    image = np.full((*shape, 3), 128, np.uint8)
    if shape == (300, 12_000):
        image[:, 11_500:11_800] = astronaut[:300, 90:390]
    faces = create_detector("haar").detect(image)
    if shape != (300, 12_000):
        assert len(faces) == 0
    else:
        near = create_detector("haar").detect(astronaut[:300, 90:390])
        np.testing.assert_allclose(faces.xyxy[0] - [11_500, 0, 11_500, 0], near.xyxy[0], atol=20)
