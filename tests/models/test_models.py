import hashlib
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from helpers import public_test
from mien.attributes.mesh import MESHES
from mien.errors import DeviceError, InputError, ModelError
from mien.labels import COMBINED8, FER7, FERPLUS8
from mien.models.card import METADATA_KEY, ModelCard
from mien.models.catalogue import CATALOGUE, DEFAULT_MODEL, load_model, model_path
from mien.models.expression import ExpressionModel
from mien.models.runtime import PROVIDERS, RuntimeSettings, available_devices, providers_of

RNG = np.random.default_rng(1)


@pytest.fixture(scope="module")
def model():
    return load_model()


@pytest.fixture(scope="module")
def crops():
    return RNG.integers(0, 256, (37, 48, 48), dtype=np.uint8)


@pytest.mark.parametrize("name", CATALOGUE)
def test_shipped_files_are_the_measured_ones(name):
    entry = CATALOGUE[name]
    assert entry.is_intact(), f"{entry.path} has another hash than the catalogue"
    assert entry.path.stat().st_size <= 6e6


def test_shipped_files_are_small_together():
    assert sum(entry.path.stat().st_size for entry in CATALOGUE.values()) < 12e6


def test_the_card_of_the_default_model_says_what_it_is(model):
    card = model.card
    assert card.heads == {"combined": COMBINED8.names, "fer2013": FER7.names, "ferplus": FERPLUS8.names}
    assert card.name == DEFAULT_MODEL
    assert card.licence
    assert "FER2013" in card.data
    assert np.array(card.landmarks_px).shape == (5, 2)
    accuracy = {(m.head, m.n): m.accuracy for m in card.measured}
    assert accuracy["fer2013", 3589] >= 0.695
    assert accuracy["ferplus", 3199] >= 0.87


@pytest.mark.parametrize(("head", "classes"), [("fer2013", 7), ("ferplus", 8), (None, 8)])
def test_probabilities(model, crops, head, classes):
    probs = model.predict_proba(crops, head=head)
    assert probs.shape == (37, classes)
    assert probs.dtype == np.float32
    assert (probs >= 0).all()
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)


def test_batch_equals_single(model, crops):
    together = model.predict_proba(crops)
    np.testing.assert_allclose(np.concatenate([model.predict_proba(c[None]) for c in crops]), together, atol=1e-5)


def test_batches_beyond_the_limit_are_cut_and_joined(model, crops):
    many = np.concatenate([crops] * 9)
    np.testing.assert_allclose(model.predict_proba(many), np.concatenate([model.predict_proba(crops)] * 9), atol=1e-5)


def test_empty_in_empty_out(model):
    assert model.predict_proba(np.zeros((0, 48, 48), np.uint8), head="ferplus").shape == (0, 8)


def test_flat_crops_do_not_give_nan(model):
    for level in (0, 255):
        assert np.isfinite(model.predict_proba(np.full((2, 48, 48), level, np.uint8))).all()


def test_brightness_and_contrast_are_standardised_in_the_graph(model, astronaut):
    crop = astronaut[70:118, 200:248, 0]
    dimmed = (crop.astype(np.float32) * 0.5 + 40).round().astype(np.uint8)
    np.testing.assert_allclose(model.predict_proba(crop[None]), model.predict_proba(dimmed[None]), atol=0.08)


def test_eight_threads_get_what_one_gets(model, crops):
    alone = model.predict_proba(crops)
    with ThreadPoolExecutor(8) as pool:
        for probs in pool.map(lambda _: model.predict_proba(crops), range(24)):
            np.testing.assert_array_equal(probs, alone)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((48, 48), np.uint8), np.zeros((2, 48, 48), np.float32), np.zeros((2, 64, 64), np.uint8), [[1]], None],
)
def test_wrong_crops_are_refused(model, wrong):
    with pytest.raises(InputError, match=r"crops must be \(N, 48, 48\) uint8, got .*; call align"):
        model.predict_proba(wrong)


def test_unknown_head_lists_the_known(model):
    with pytest.raises(InputError, match="it has combined, fer2013, ferplus"):
        model.predict_proba(np.zeros((1, 48, 48), np.uint8), head="five")


def test_fer2013_public_test_accuracy_of_the_shipped_file(model, shared):
    data = public_test(shared)
    probs = model.predict_proba(data.crops, head="fer2013")
    accuracy = float((probs.argmax(axis=1) == data.label).mean())
    stated = next(m.accuracy for m in model.card.measured if m.head == "fer2013" and m.n == 3589)
    assert len(data) == 3589
    assert accuracy == pytest.approx(stated, abs=0.001)


class TestBadFiles:
    def test_missing(self, tmp_path):
        with pytest.raises(ModelError, match="no model file"):
            ExpressionModel(tmp_path / "none.onnx")

    def test_empty(self, tmp_path):
        (tmp_path / "m.onnx").touch()
        with pytest.raises(ModelError, match="is empty"):
            ExpressionModel(tmp_path / "m.onnx")

    @pytest.mark.parametrize(
        ("members", "said"),
        [
            (b"\x89HDF\r\n\x1a\n" + bytes(100), "that Keras saved.* mien import-keras"),
            (("config.json", "model.weights.h5"), "that Keras saved.* mien import-keras"),
            (("archive/data.pkl", "archive/data/0"), "a checkpoint of PyTorch.* mien export"),
            (b"\x80\x02}q", "a checkpoint of PyTorch.* mien export"),
            (("weights.npy", "classes.npy"), "a file of arrays.*mien train-baseline.*mien evaluate"),
            (("a.txt",), "an archive"),
            (b"\x1c\0\0\0TFL3" + bytes(50), "a TFLite model"),
            (b"PK\x03\x04" + bytes(50), "a damaged archive"),
        ],
    )
    def test_files_of_other_tools_are_named_with_what_to_do(self, tmp_path, members, said):
        path = tmp_path / "model.bin"
        if isinstance(members, bytes):
            path.write_bytes(members)
        else:
            with zipfile.ZipFile(path, "w") as archive:
                for name in members:
                    archive.writestr(name, b"x")
        with pytest.raises(ModelError, match=said) as caught:
            load_model(path)
        assert "protobuf" not in str(caught.value)

    def test_not_onnx(self, tmp_path):
        (tmp_path / "m.onnx").write_text("these are not weights")
        with pytest.raises(ModelError, match=r"m\.onnx is not an ONNX model"):
            ExpressionModel(tmp_path / "m.onnx")

    def test_truncated(self, tmp_path):
        content = model_path(DEFAULT_MODEL).read_bytes()
        (tmp_path / "m.onnx").write_bytes(content[: len(content) // 2])
        with pytest.raises(ModelError, match=r"m\.onnx is not an ONNX model"):
            ExpressionModel(tmp_path / "m.onnx")

    @pytest.fixture
    def rewritten(self, tmp_path):
        onnx = pytest.importorskip("onnx")

        def rewrite(change):
            proto = onnx.load(model_path(DEFAULT_MODEL))
            change(proto, onnx)
            path = tmp_path / "changed.onnx"
            onnx.save(proto, path)
            return path

        return rewrite

    def test_without_metadata(self, rewritten):
        path = rewritten(lambda proto, _: proto.ClearField("metadata_props"))
        with pytest.raises(ModelError, match="without mien's metadata"):
            ExpressionModel(path)

    @pytest.mark.parametrize(
        ("text", "message"), [("{", "not JSON"), ("{}", "malformed"), ('{"heads": 3, "name": 1}', "malformed")]
    )
    def test_with_broken_metadata(self, rewritten, text, message):
        path = rewritten(lambda proto, onnx: onnx.helper.set_model_props(proto, {METADATA_KEY: text}))
        with pytest.raises(ModelError, match=message):
            ExpressionModel(path)

    def test_with_other_classes_than_its_card_says(self, rewritten):
        def change(proto, onnx):
            (prop,) = [p for p in proto.metadata_props if p.key == METADATA_KEY]
            card = json.loads(prop.value)
            card["heads"]["fer2013"].append("contempt")
            onnx.helper.set_model_props(proto, {METADATA_KEY: json.dumps(card)})

        with pytest.raises(ModelError, match="must give the outputs"):
            ExpressionModel(rewritten(change))

    def test_with_another_input(self, tmp_path):
        onnx = pytest.importorskip("onnx")
        helper, float_ = onnx.helper, onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            [helper.make_node("Softmax", ["x"], ["fer2013"])], "g",
            [helper.make_tensor_value_info("x", float_, [None, 7])],
            [helper.make_tensor_value_info("fer2013", float_, [None, 7])],
        )  # fmt: skip
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        card = ModelCard("other", "1", {"fer2013": FER7.names})
        helper.set_model_props(proto, {METADATA_KEY: json.dumps(card.to_json())})
        onnx.save(proto, tmp_path / "other.onnx")
        with pytest.raises(ModelError, match="must take one input 'crops'"):
            ExpressionModel(tmp_path / "other.onnx")


class TestDevices:
    def test_unknown_device_lists_the_known(self):
        with pytest.raises(InputError, match="known: auto, cpu, cuda"):
            RuntimeSettings(device="quantum")

    def test_absent_device_is_a_clear_error(self):
        absent = next(d for d in ("cuda", "coreml", "directml") if d not in available_devices())
        with pytest.raises(DeviceError, match=f"device '{absent}' needs .* offers only"):
            load_model(runtime=RuntimeSettings(device=absent))

    def test_auto_and_cpu_run_here(self, crops):
        auto, cpu = (load_model(runtime=RuntimeSettings(device=d)) for d in ("auto", "cpu"))
        np.testing.assert_allclose(auto.predict_proba(crops), cpu.predict_proba(crops), atol=1e-3)
        assert cpu.device == "cpu"

    @pytest.mark.parametrize("bad", [{"threads": -1}, {"gpu_memory_mb": 0}])
    def test_settings_are_checked(self, bad):
        with pytest.raises(InputError):
            RuntimeSettings(**bad)

    @pytest.mark.parametrize(
        "bad", ["cpu:1", "cuda:", "cuda:x", "cuda:-1", "cuda:²", "auto:1", "openvino:", "coreml:0"]
    )
    def test_an_unknown_part_of_a_device_lists_the_known(self, bad):
        with pytest.raises(InputError, match=r"known: .*cuda"):
            RuntimeSettings(device=bad)

    def test_an_absent_part_names_the_build_to_install(self):
        with pytest.raises(DeviceError, match=r"device 'openvino' needs .*install .*\(onnxruntime-openvino\)"):
            load_model(runtime=RuntimeSettings(device="openvino:GPU"))

    def test_the_cpu_stands_behind_every_device(self):
        for device, provider in PROVIDERS.items():
            chosen = providers_of(device, RuntimeSettings(device=device))
            assert chosen[0][0] == provider
            assert chosen[-1] == ("CPUExecutionProvider", {})
        names = [name for name, _ in providers_of("tensorrt", RuntimeSettings(device="tensorrt"))]
        assert names == ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

    def test_options_of_a_second_gpu_with_a_limit(self):
        (_, cuda), _ = providers_of("cuda", RuntimeSettings(device="cuda:1", gpu_memory_mb=512))
        assert cuda["device_id"] == "1"
        assert cuda["gpu_mem_limit"] == str(512 * 2**20)
        (_, tensorrt), (_, behind), _ = providers_of("tensorrt", RuntimeSettings(device="tensorrt:1"))
        assert tensorrt["device_id"] == behind["device_id"] == "1"

    def test_what_is_compiled_is_kept_in_the_cache(self, monkeypatch, tmp_path):
        monkeypatch.setenv("MIEN_HOME", str(tmp_path))
        for device, option in (
            ("tensorrt", "trt_engine_cache_path"),
            ("coreml", "ModelCacheDirectory"),
            ("openvino", "cache_dir"),
        ):
            assert providers_of(device, RuntimeSettings(device=device))[0][1][option] == str(tmp_path / device)
            assert (tmp_path / device).is_dir()

    def test_a_cache_that_cannot_be_made_stops_no_device(self, monkeypatch, tmp_path, caplog):
        (tmp_path / "file").touch()
        monkeypatch.setenv("MIEN_HOME", str(tmp_path / "file"))
        assert "cache_dir" not in providers_of("openvino", RuntimeSettings(device="openvino"))[0][1]
        assert "is not kept" in caplog.text

    def test_half_precision_where_a_device_offers_it(self):
        def told(device, half):
            return providers_of(device.partition(":")[0], RuntimeSettings(device=device, half_precision=half))[0][1]

        assert [told("tensorrt", half)["trt_fp16_enable"] for half in (False, True)] == ["0", "1"]
        assert [told("coreml", half)["AllowLowPrecisionAccumulationOnGPU"] for half in (False, True)] == ["0", "1"]
        assert json.loads(told("openvino", True)["load_config"]) == {
            "CPU": {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": "1"}
        }
        assert json.loads(told("openvino:GPU.1", True)["load_config"]) == {"GPU": {"INFERENCE_PRECISION_HINT": "f16"}}
        assert told("cuda", True) == told("cuda", False)


def test_unknown_name_lists_the_known():
    with pytest.raises(ModelError, match="unknown model 'mien-xxl'; known: mien-"):
        load_model("mien-xxl")
    with pytest.raises(ModelError, match=r"no model file .*weights\.onnx"):
        load_model("missing/weights.onnx")


def test_card_round_trip(model):
    assert ModelCard.from_json(json.loads(json.dumps(model.card.to_json()))) == model.card


def test_the_shipped_mesh_is_the_one_that_its_card_measured():
    card = (Path(__file__).parents[2] / "docs" / "models" / "mien-mesh.md").read_text(encoding="utf-8")
    file = MESHES["mien-mesh"].path
    assert f"sha256 `{hashlib.sha256(file.read_bytes()).hexdigest()}`" in card
