"""The networks that know faces: read from the files of their packages, in the layout that these have."""

import hashlib
import json

import numpy as np
import pytest
import torch
from torch import nn

from mien.errors import InputError, ModelError
from mien.labels import FER7
from mien.train.nets import faces
from mien.train.nets.registry import NETS, pretrained_loader


def written(folder, entries, names, *, whole_model):
    """Write TensorFlow.js weights: (name, array, what the file stores, its quantisation)."""
    told = [{"weights": [{"name": n, "shape": list(a.shape), **kind} for n, a, _, kind in entries]}]
    manifest, binary = (folder / name for name in names)
    manifest.write_text(json.dumps({"weightsManifest": told} if whole_model else told))
    binary.write_bytes(b"".join(stored.tobytes() for _, _, stored, _ in entries))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (manifest, binary)}


def convolutions(net):
    return [(name, part) for name, part in net.trunk.named_modules() if isinstance(part, nn.Conv2d)]


@pytest.fixture
def dlib_folder(tmp_path, monkeypatch):
    """A file laid out like face-api's: eight bits with a scale and a least value, three colours, affine layers."""
    rng, entries = np.random.default_rng(0), []
    packed = {"dtype": "float32", "quantization": {"dtype": "uint8", "scale": 0.01, "min": -1.0}}
    for name, conv in convolutions(faces.face_dlib((FER7,))):
        out, inputs, high, wide = conv.weight.shape
        path, inputs = name.replace(".", "/"), 3 if inputs == 1 else inputs
        for part, shape in (
            ("conv/filters", (high, wide, inputs, out)), ("conv/bias", (out,)), ("scale/weights", (out,)),
            ("scale/biases", (out,)),
        ):  # fmt: skip
            stored = rng.integers(0, 256, shape, np.uint8)
            entries.append((f"{path}/{part}", np.float32(0.01) * stored - 1, stored, packed))
    monkeypatch.setattr(faces, "DLIB_SHA256", written(tmp_path, entries, faces.DLIB_SHA256, whole_model=False))
    return tmp_path, {name: array for name, array, _, _ in entries}


def test_dlib_weights_are_unpacked_and_their_affine_layers_folded(dlib_folder):
    folder, arrays = dlib_folder
    net = faces.face_dlib((FER7,))
    pretrained_loader("face-dlib", folder)(net)
    first, last = net.trunk.conv32_down, net.trunk.conv256_down_out.conv2
    colours = torch.rand(1, 1, 9, 9).repeat(1, 3, 1, 1)
    filters = torch.from_numpy(arrays["conv32_down/conv/filters"]).permute(3, 2, 0, 1).float()
    plain = nn.functional.conv2d(colours, filters, torch.from_numpy(arrays["conv32_down/conv/bias"]).float())
    scale, shift = (torch.from_numpy(arrays[f"conv32_down/scale/{n}"])[:, None, None] for n in ("weights", "biases"))
    torch.testing.assert_close(first(colours[:, :1]), plain[:, :, ::2, ::2] * scale + shift, rtol=1e-4, atol=1e-4)
    wanted = arrays["conv256_down_out/conv2/conv/bias"] * arrays["conv256_down_out/conv2/scale/weights"]
    wanted = wanted + arrays["conv256_down_out/conv2/scale/biases"]
    np.testing.assert_allclose(last.bias.detach(), wanted, rtol=1e-5)


@pytest.fixture
def hse_folder(tmp_path, monkeypatch):
    """A file laid out like human's: half precision, normalisation folded in part."""
    rng, entries = np.random.default_rng(1), []
    half = {"dtype": "float32", "quantization": {"dtype": "float16", "original_dtype": "float32"}}
    for name, conv in convolutions(faces.face_hse((FER7,))):
        out, inputs, high, wide = conv.weight.shape
        shapes = {f"{name}/convolution/merged_input": (high, wide, 3 if name == "conv1" else inputs, out)}
        if "dw" in name:
            shapes = {f"{name}/depthwise_kernel": (3, 3, out, 1), f"{name}_bn/batchnorm_1/mul": (out,)}
        for part, shape in {**shapes, f"{name}_bn/batchnorm_1/sub": (out,)}.items():
            stored = rng.normal(0, 0.1, shape).astype(np.float16)
            entries.append((part, stored.astype(np.float32), stored, half))
    monkeypatch.setattr(faces, "HSE_SHA256", written(tmp_path, entries, faces.HSE_SHA256, whole_model=True))
    return tmp_path, {name: array for name, array, _, _ in entries}


def test_hse_weights_are_widened_and_its_stem_takes_shares_of_white(hse_folder):
    folder, arrays = hse_folder
    net = faces.face_hse((FER7,))
    pretrained_loader("face-hse", folder)(net)
    stem = arrays["conv1/convolution/merged_input"].sum(axis=2).transpose(2, 0, 1) * 255
    np.testing.assert_allclose(net.trunk.conv1.weight.detach()[:, 0], stem, rtol=1e-4, atol=1e-4)
    depth = arrays["conv_dw_2/depthwise_kernel"][..., 0] * arrays["conv_dw_2_bn/batchnorm_1/mul"]
    np.testing.assert_allclose(net.trunk.conv_dw_2.weight.detach()[:, 0], depth.transpose(2, 0, 1), rtol=1e-5)


def test_views_are_enlarged_and_have_the_contrast_the_network_knows():
    net = faces.face_dlib((FER7,))
    ready = net.normalise(255 * torch.rand(2, 1, 48, 48))
    assert ready.shape == (2, 1, 112, 112)
    torch.testing.assert_close(ready.mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(ready.square().mean(dim=(1, 2, 3)).sqrt(), torch.full((2,), faces.CONTRAST))
    assert net.normalise(torch.full((1, 1, 48, 48), 90.0)).abs().max() < 1e-4


def test_padding_is_at_the_end_alone_where_a_stride_meets_an_even_side():
    trunk = faces.face_hse((FER7,)).trunk
    nn.init.ones_(trunk.conv1.weight)
    nn.init.zeros_(trunk.conv1.bias)
    found = trunk.conv1(trunk.pad(torch.ones(1, 1, 4, 4)))[0, 0]
    assert found.tolist() == [[9, 6], [6, 4]]
    assert trunk(torch.ones(1, 1, 96, 96)).shape == (1, 1024, 3, 3)


@pytest.mark.parametrize(("name", "first"), [("face-dlib", "conv32_down"), ("face-hse", "conv1")])
def test_files_that_are_missing_or_others_are_named(tmp_path, name, first):
    net = NETS[name]((FER7,))
    before = net.trunk.get_submodule(first).weight.clone()
    with pytest.raises(ModelError, match="no weights at"):
        pretrained_loader(name, tmp_path)(net)
    for file in (*faces.DLIB_SHA256, *faces.HSE_SHA256):
        (tmp_path / file).write_text("other")
    with pytest.raises(ModelError, match="must have SHA-256"):
        pretrained_loader(name, tmp_path)(net)
    assert torch.equal(net.trunk.get_submodule(first).weight, before)


def test_weights_of_another_origin_fill_three_networks(tmp_path):
    with pytest.raises(InputError, match="vgg16, face-dlib, face-hse, not 'mien-b'"):
        pretrained_loader("mien-b", tmp_path)
    pretrained_loader("mien-b", None)(NETS["mien-b"]((FER7,)))
