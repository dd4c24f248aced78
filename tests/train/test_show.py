"""Summaries of nets and ONNX files agree with arithmetic and with each other; diagrams show what they say."""

import json

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from mien.errors import InputError, ModelError, OutputError
from mien.models.catalogue import CATALOGUE, model_path
from mien.train.nets.mien import mien_s
from mien.train.nets.registry import NETS
from mien.train.show.diagram import cards_of, draw_network, save_diagram
from mien.train.show.layers import NetLayer, NetSummary, summarise_module, summarise_net, summarise_onnx
from trained_sizes import count_parameters, count_values


def stored(path, nodes, weights, *, inputs, outputs):
    """Write a small ONNX file; weights are name → shape."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [helper.make_tensor(n, TensorProto.FLOAT16 if n.endswith("_half") else TensorProto.FLOAT, s,
                            torch.zeros(s).flatten().tolist()) for n, s in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


@pytest.fixture
def two_headed(tmp_path):
    """A convolution with weights stored in half precision, pooling, a mean and two linear heads."""
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("Cast", ["w_half"], ["w"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["centred", "w", "b"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["y"], ["z"]),
        helper.make_node("MaxPool", ["z"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["p"], ["a"]),
        helper.make_node("Flatten", ["a"], ["f"]),
        helper.make_node("Gemm", ["f", "w7"], ["l7"]),
        helper.make_node("Softmax", ["l7"], ["fer2013"]),
        helper.make_node("Gemm", ["f", "w8"], ["l8"]),
        helper.make_node("Softmax", ["l8"], ["ferplus"]),
    ]
    weights = {"mean": [1], "w_half": [4, 1, 3, 3], "b": [4], "w7": [4, 7], "w8": [4, 8]}
    return stored(
        tmp_path / "two.onnx", nodes, weights, inputs={"x": ["batch", 1, 8, 8]}, outputs=["fer2013", "ferplus"]
    )


@pytest.mark.parametrize("name", NETS)
def test_totals_are_those_of_the_net(name):
    with torch.device("meta"):
        net = NETS[name]()
    found = summarise_net(name)
    assert (found.parameters, found.values) == (count_parameters(net), count_values(net))
    assert found.input == (1, net.view_px, net.view_px)
    assert found.heads == {labels.key: len(labels) for labels in net.heads}


def test_multiply_adds_are_those_of_arithmetic():
    per_layer = [48 * 48 * 9 * 64, 24 * 24 * 25 * 64 * 128, 12 * 12 * 9 * 128 * 512, 6 * 6 * 9 * 512 * 512]
    per_layer += [4608 * 256, 256 * 512, 512 * 7]
    found = summarise_net("tutorial-two-dense")
    assert [layer.macs for layer in found.layers if layer.macs] == per_layer
    assert found.macs == sum(per_layer) == 290_475_520


def test_layers_say_where_they_are():
    layers = {layer.name: layer for layer in summarise_net("mien-b").layers}
    first, gate, head = layers["trunk.0.0"], layers["trunk.7.attention.squeeze"], layers["classifiers.1"]
    assert (first.kind, first.detail, first.output) == ("Conv2d", "3x3", (32, 44, 44))
    assert (gate.block, gate.detail) == ("7 ResidualBlock", "128 → 16")
    assert (head.head, head.output, head.parameters) == ("ferplus", (8,), 257 * 8)


def test_heads_can_be_chosen():
    found = summarise_net("realtime", heads=["five", "ferplus"])
    assert found.heads == {"five": 5, "ferplus": 8}
    assert found.parameters == 1_485_831 - 1025 * 7 + 1025 * 13


def test_a_summary_leaves_the_net_alone():
    net = mien_s().train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    summarise_module(net, name="mien-s")
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())
    for key, value in net.state_dict().items():
        torch.testing.assert_close(value, before[key])


def test_an_onnx_file_counts_half_precision_weights_once(two_headed):
    found = summarise_onnx(two_headed)
    layers = {layer.kind: layer for layer in found.layers}
    assert found.input == (1, 8, 8)
    assert found.heads == {"fer2013": 7, "ferplus": 8}
    assert "Cast" not in layers
    assert (layers["Conv"].output, layers["Conv"].detail, layers["Conv"].parameters) == ((4, 4, 4), "3x3 / 2", 40)
    assert found.parameters == 1 + 40 + 28 + 32
    assert found.macs == 4 * 4 * 4 * 9 + 4 * 7 + 4 * 8


def test_heads_of_an_onnx_file_own_their_weights(two_headed):
    owned = {layer.name: layer.head for layer in summarise_onnx(two_headed).layers if layer.kind in ("Gemm", "Conv")}
    assert list(owned.values()) == ["", "fer2013", "ferplus"]


def test_the_shipped_file_has_the_multiply_adds_of_its_net():
    shipped = summarise_net(str(model_path("mien-b")))
    net = summarise_net(CATALOGUE["mien-b"].net)
    assert shipped.macs == net.macs + 15 * 7  # the combined answer of the heads
    assert shipped.heads == {**net.heads, "combined": 8}
    assert 0 < net.parameters - shipped.parameters < 0.001 * net.parameters  # batch normalisation is folded away


def test_unknown_names_and_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"unknown net 'vgg99'; known: mien-b.*or the path of an .onnx file"):
        summarise_net("vgg99")
    with pytest.raises(InputError, match="unknown label set 'seven'"):
        summarise_net("mlp", heads=["seven"])
    with pytest.raises(ModelError, match=r"no model file .*gone\.onnx"):
        summarise_net(str(tmp_path / "gone.onnx"))
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"broken\.onnx is not a sound ONNX file"):
        summarise_net(str(broken))


def test_cards_follow_the_resolution():
    cards = cards_of(summarise_net("tutorial-two-dense"))
    assert [card.title for card in cards] == [
        "gray crop", "64 × 48 × 48", "128 × 24 × 24", "512 × 12 × 12", "512 × 6 × 6", "512 features",
        "head fer2013: 7 classes",
    ]  # fmt: skip
    assert cards[2].lines == ("conv 5×5, 128 · BN · ReLU",)
    assert cards[2].arrow == ("max pool", "2×2", "dropout")


@pytest.mark.parametrize("name", NETS)
def test_cards_account_for_all_parameters_and_work(name):
    found = summarise_net(name)
    cards = cards_of(found)
    assert sum(card.parameters for card in cards) == found.parameters
    assert sum(card.macs for card in cards) == found.macs


def test_a_gate_stays_with_the_maps_it_scales():
    maps = [card for card in cards_of(summarise_net("mien-b")) if card.kind == "maps"]
    assert [card.shape for card in maps] == [(32, 44, 44), (64, 22, 22), (128, 11, 11), (256, 5, 5)]
    assert maps[0].lines == ("2 × conv 3×3, 32 · BN · ReLU",)
    assert "  channel gate 256 → 32" in maps[-1].lines
    assert maps[-1].arrow == ("global", "mean")


def test_cards_of_an_onnx_file(two_headed):
    cards = cards_of(summarise_onnx(two_headed))
    assert [card.kind for card in cards] == ["input", "maps", "head", "head"]
    assert cards[0].lines == ("1 × 8 × 8", "Sub")
    assert cards[1].lines == ("conv 3×3 / 2, 4 · ReLU",)
    assert cards[1].arrow == ("max pool", "2×2", "global mean")
    assert [card.parameters for card in cards[2:]] == [28, 32]


def test_the_image_names_every_card():
    found = summarise_net("mien-b")
    texts = [text.get_text() for text in draw_network(found).axes[0].texts]
    assert "mien-b" in texts
    assert {card.title for card in cards_of(found)} <= set(texts)


def test_a_long_net_wraps_into_rows():
    shapes = [(8, 2**k, 2**k) for k in range(12, 0, -1)]
    layers = [NetLayer(f"c{i}", "Conv2d", "3x3", s, parameters=1, macs=1) for i, s in enumerate(shapes)]
    wide, high = draw_network(NetSummary("deep", (1, 4096, 4096), tuple(layers), {"fer2013": 7})).get_size_inches()
    once_wide, once_high = draw_network(NetSummary("flat", (1, 4096, 4096), tuple(layers[:6]), {})).get_size_inches()
    assert high > 1.5 * once_high
    assert wide <= once_wide + 0.01


def test_diagrams_are_written_whole_or_not_at_all(tmp_path, two_headed):
    found = summarise_onnx(two_headed)
    save_diagram(found, tmp_path / "net.svg")
    save_diagram(found, tmp_path / "net.png")
    assert "<svg" in (tmp_path / "net.svg").read_text()
    assert (tmp_path / "net.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"must end in .svg or .png, got net.gif"):
        save_diagram(found, tmp_path / "net.gif")
    with pytest.raises(OutputError, match="part of the path is a file"):
        save_diagram(found, tmp_path / "net.png" / "net.svg")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.png", "net.svg", "two.onnx"]


def test_nothing_to_draw_is_said():
    with pytest.raises(InputError, match="no layer with a known shape"):
        cards_of(NetSummary("empty", (), (NetLayer("a", "Custom"),)))


@pytest.fixture
def run():
    typer = pytest.importorskip("typer")
    from typer.testing import CliRunner

    from mien.cli import nets

    app = typer.Typer()
    for command in (nets.nets, nets.summary, nets.diagram):
        app.command()(command)

    def call(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    return call


def test_the_commands_print_what_the_library_finds(run, tmp_path):
    found = json.loads(run("summary", "tutorial-one-dense", "--json"))
    assert (found["values"], found["macs"]) == (2_735_751, 263_505_664)
    assert found["layers"][0]["output"] == [64, 48, 48]
    assert "2,733,575 parameters, 2,176 running statistics (2,735,751 together)" in run("summary", "tutorial-one-dense")
    assert [row["name"] for row in json.loads(run("nets", "--json"))] == list(NETS)
    run("diagram", "mlp", "-o", tmp_path / "mlp.svg", "--labels", "five")
    assert (tmp_path / "mlp.svg").stat().st_size > 1000
