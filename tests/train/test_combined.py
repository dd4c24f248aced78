"""The combined answer, in the graph and as a formula."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mien import Analyzer
from mien._onnxruntime import ort
from mien.errors import InputError, ModelError
from mien.labels import COMBINED8, FER7, FERPLUS8
from mien.models import ExpressionModel
from mien.models.catalogue import CATALOGUE, load_model
from mien.models.combined import CONTEMPT, CombinedRule
from mien.train.combined import add_combined, append_combined

RULE = CombinedRule()
CROPS = np.random.default_rng(0).integers(0, 256, (16, 12, 12), dtype=np.uint8).repeat(4, axis=1).repeat(4, axis=2)


def softmax(z):
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def combine(labels, votes):
    """The rule as Bayes says it, from (N, 7) and (N, 8) logits."""
    p, q = softmax(labels), softmax(votes)
    seven = q[:, FERPLUS8.columns_for(FER7)]
    logs = 0.5 * np.log(p / np.array(RULE.prior_labels) ** 0.75) + 0.5 * np.log(
        seven / np.array(RULE.prior_votes) ** 0.75
    )
    contempt = q[:, CONTEMPT:][:, :1]
    return np.hstack([softmax(logs / RULE.temperature) * (1 - contempt), contempt])


def two_headed():
    """Gives back the logits that stand in the first fifteen pixels of a crop, as two heads with a temperature."""
    node = helper.make_node
    fixed = {"start7": [0], "end7": [7], "start8": [7], "end8": [15], "axis": [1], "flat": [0, -1]}
    nodes = [
        node("Cast", ["crops"], ["float"], to=TensorProto.FLOAT), node("Reshape", ["float", "flat"], ["pixels"]),
        node("Slice", ["pixels", "start7", "end7", "axis"], ["z7"]),
        node("Slice", ["pixels", "start8", "end8", "axis"], ["z8"]),
        node("Div", ["z7", "t"], ["scaled7"]), node("Div", ["z8", "t"], ["scaled8"]),
        node("Softmax", ["scaled7"], ["fer2013"], axis=1), node("Softmax", ["scaled8"], ["ferplus"], axis=1),
    ]  # fmt: skip
    constants = [helper.make_tensor(k, TensorProto.INT64, [len(v)], v) for k, v in fixed.items()]
    constants.append(helper.make_tensor("t", TensorProto.FLOAT, [], [2.0]))
    value = helper.make_tensor_value_info
    outputs = [value("fer2013", TensorProto.FLOAT, ["n", 7]), value("ferplus", TensorProto.FLOAT, ["n", 8])]
    graph = helper.make_graph(nodes, "g", [value("crops", TensorProto.UINT8, ["n", 48, 48])], outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model, crops):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"crops": crops})


def test_the_graph_computes_bayes_rule_from_the_logits_before_the_temperature():
    rng = np.random.default_rng(1)
    crops = np.zeros((50, 48, 48), np.uint8)
    crops[:, 0, :15] = rng.integers(0, 7, (50, 15))
    crops[0, 0, :15] = 0
    crops[0, 0, 7 + CONTEMPT] = 9
    model = two_headed()
    before = run(model, crops)
    append_combined(model, RULE)
    *heads, combined = run(model, crops)
    logits = crops[:, 0, :15].astype(float)
    np.testing.assert_allclose(combined, combine(logits[:, :7], logits[:, 7:]), atol=1e-6)
    np.testing.assert_allclose(combined.sum(axis=1), 1, atol=1e-6)
    assert combined[0].argmax() == COMBINED8.index("contempt")
    for now, then in zip(heads, before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_heads_that_only_know_the_priors_answer_with_what_is_left_of_them():
    votes = np.full((1, 8), -30.0)
    votes[0, FERPLUS8.columns_for(FER7)] = np.log(RULE.prior_votes)
    found = combine(np.log([RULE.prior_labels]), votes)
    np.testing.assert_allclose(found[0, :7], RULE.left_prior(), atol=1e-9)


def test_numpy_says_what_the_graph_does():
    rng = np.random.default_rng(2)
    labels, votes = rng.normal(0, 3, (20, 7)), rng.normal(0, 3, (20, 8))
    np.testing.assert_allclose(RULE.probs(labels, votes), combine(labels, votes), atol=1e-6)


def test_a_second_time_puts_new_constants_in_place_of_the_old():
    crops = np.zeros((3, 48, 48), np.uint8)
    crops[:, 0, :15] = np.random.default_rng(3).integers(0, 7, (3, 15))
    once, twice = two_headed(), two_headed()
    append_combined(once, RULE)
    append_combined(twice, CombinedRule(0.3, 1.0, 2.0))
    append_combined(twice, RULE)
    assert once.SerializeToString() == twice.SerializeToString()
    for before, after in zip(run(once, crops), run(twice, crops), strict=True):
        np.testing.assert_array_equal(before, after)


def test_other_heads_are_refused():
    third = two_headed()
    third.graph.output.append(helper.make_tensor_value_info("own", TensorProto.FLOAT, ["n", 2]))
    with pytest.raises(ModelError, match="no other, got fer2013, ferplus, own"):
        append_combined(third, RULE)
    averaged = two_headed()
    averaged.graph.node[-1].op_type = "Identity"
    averaged.graph.node[-1].ClearField("attribute")
    with pytest.raises(ModelError, match="export one network"):
        append_combined(averaged, RULE)


def without_combined(path):
    """The shipped file as it was before the answer was added."""
    model = onnx.load(path)
    for field in (model.graph.node, model.graph.initializer, model.graph.output):
        kept = [x for x in field if not (getattr(x, "output", None) or [x.name])[0].startswith("combined")]
        del field[:]
        field.extend(kept)
    return model


@pytest.mark.parametrize("name", CATALOGUE)
def test_shipped_models_have_it_and_their_heads_are_bit_for_bit_what_they_were(name):
    shipped = load_model(name)
    assert tuple(shipped.card.heads) == ("combined", "fer2013", "ferplus")
    assert shipped.card.label_set("combined") == COMBINED8
    assert "log prior" in shipped.card.calibration_text("combined")
    fer2013, ferplus = run(without_combined(CATALOGUE[name].path), CROPS)
    np.testing.assert_array_equal(shipped.predict_proba(CROPS, head="fer2013"), fer2013)
    np.testing.assert_array_equal(shipped.predict_proba(CROPS, head="ferplus"), ferplus)
    combined = shipped.predict_proba(CROPS, head="combined")
    np.testing.assert_allclose(combined.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(combined[:, -1], softmaxed_contempt(CATALOGUE[name].path), atol=1e-6)


def softmaxed_contempt(path):
    """The probability of contempt by the logits of the FER+ head, which a temperature of the card has not touched."""
    model = onnx.load(path)
    model.graph.output.append(helper.make_tensor_value_info("combined.logits", TensorProto.FLOAT, None))
    return softmax(run(model, CROPS)[-1][:, 7:].astype(float))[:, CONTEMPT]


def test_a_file_gains_it_with_its_card(tmp_path):
    model = without_combined(CATALOGUE["mien-s"].path)
    card = load_model("mien-s").card
    heads = {key: names for key, names in card.heads.items() if key != "combined"}
    helper.set_model_props(model, {"mien.card": replace(card, heads=heads, rules={}).text(), "other": "kept"})
    onnx.save(model, tmp_path / "two.onnx")
    add_combined(tmp_path / "two.onnx", tmp_path / "three.onnx", version="9")
    found = ExpressionModel(tmp_path / "three.onnx")
    assert found.card.version == "9"
    np.testing.assert_array_equal(
        found.predict_proba(CROPS, head="combined"), load_model("mien-s").predict_proba(CROPS, head="combined")
    )
    kept = {entry.key: entry.value for entry in onnx.load(tmp_path / "three.onnx").metadata_props}
    assert kept["other"] == "kept"
    (tmp_path / "bad.onnx").write_text("no model")
    with pytest.raises(InputError, match="as an ONNX file"):
        add_combined(tmp_path / "bad.onnx", tmp_path / "x.onnx", version="1")


def test_the_command_line_adds_it_and_answers_with_it(mien, tmp_path):
    model = without_combined(CATALOGUE["mien-s"].path)
    card = load_model("mien-s").card
    heads = {key: names for key, names in card.heads.items() if key != "combined"}
    helper.set_model_props(model, {"mien.card": replace(card, heads=heads, rules={}).text()})
    onnx.save(model, tmp_path / "two.onnx")
    code, _, err = mien("export", tmp_path / "two.onnx", "--combined", "--version", "3", "-o", tmp_path / "three.onnx")
    assert code == 0, err
    code, out, _ = mien("models", "show", tmp_path / "three.onnx", "--json")
    assert code == 0
    assert '"combined"' in out


def test_photos_are_answered_in_it(astronaut):
    faces = Analyzer().analyze(astronaut)
    assert faces.labels == COMBINED8
    assert COMBINED8.names[int(faces.probs[0].argmax())] == "happy"
