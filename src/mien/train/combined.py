"""The combined answer in a graph: a third output, made of the heads for FER2013's labels and for the FER+ votes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from mien.errors import InputError, ModelError, listed
from mien.files import write_whole
from mien.labels import COMBINED8, FER7, FERPLUS8
from mien.models.card import METADATA_KEY, Measured, ModelCard, card_in_json
from mien.models.combined import CONTEMPT, CombinedRule


def append_combined(model: onnx.ModelProto, rule: CombinedRule) -> None:
    """Add the output `combined` to a graph, behind its two heads, in place of the one it has; their nodes stay.

    Args:
        model: What `mien export` makes of a network with the heads `fer2013` and `ferplus`; changed in place.
        rule: The constants.

    Raises:
        ModelError: It has other heads.
    """
    _remove_combined(model)
    outputs = {output.name: output for output in model.graph.output}
    if set(outputs) != {FER7.key, FERPLUS8.key}:
        raise ModelError(
            f"a combined answer needs the outputs {FER7.key} and {FERPLUS8.key} and no other, got {listed(outputs)}"
        )
    made_by = {name: node for node in model.graph.node for name in node.output}
    logits = [_logits_of(made_by, labels.key) for labels in (FER7, FERPLUS8)]
    constants: Mapping[str, NDArray[np.generic]] = {
        "combined.matrix": rule.matrix(),
        "combined.offset": rule.offset(),
        "combined.one": np.asarray(1, np.float32),
        "combined.contempt": np.array([CONTEMPT], np.int64),
    }
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    node = helper.make_node
    model.graph.node.extend(
        [
            node("Concat", logits, ["combined.logits"], axis=1),
            node("Gemm", ["combined.logits", "combined.matrix", "combined.offset"], ["combined.scores"]),
            node("Softmax", ["combined.scores"], ["combined.seven"], axis=1),
            node("Softmax", [logits[1]], ["combined.votes"], axis=1),
            node("Gather", ["combined.votes", "combined.contempt"], ["combined.share"], axis=1),
            node("Sub", ["combined.one", "combined.share"], ["combined.rest"]),
            node("Mul", ["combined.seven", "combined.rest"], ["combined.part"]),
            node("Concat", ["combined.part", "combined.share"], [COMBINED8.key], axis=1),
        ]
    )
    batch = outputs[FER7.key].type.tensor_type.shape.dim[0].dim_param or None
    shape = [batch, len(COMBINED8)]
    model.graph.output.append(helper.make_tensor_value_info(COMBINED8.key, TensorProto.FLOAT, shape))


def _remove_combined(model: onnx.ModelProto) -> None:
    graph = model.graph
    nodes = [node for node in graph.node if not any(map(_is_combined, node.output))]
    constants = [constant for constant in graph.initializer if not _is_combined(constant.name)]
    outputs = [output for output in graph.output if not _is_combined(output.name)]
    del graph.node[:], graph.initializer[:], graph.output[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    graph.output.extend(outputs)


def _is_combined(name: str) -> bool:
    return name.partition(".")[0] == COMBINED8.key


def _logits_of(made_by: Mapping[str, NodeProto], head: str) -> str:
    """Return the logits of a head before its temperature, up to what all classes of an image share."""
    softmax = made_by[head]
    scaled = made_by.get(softmax.input[0])
    if softmax.op_type != "Softmax" or scaled is None or scaled.op_type != "Div":
        raise ModelError(f"the output {head} is no softmax of scaled logits (several networks?); export one network")
    return str(scaled.input[0])


def combined_card(card: ModelCard, rule: CombinedRule, *, measured: tuple[Measured, ...] = ()) -> ModelCard:
    """Return the card of a model that has the combined answer as its first label set, which is what it answers.

    Args:
        card: The card of the two heads.
        rule: The constants.
        measured: Accuracies of the combined answer.
    """
    heads = {key: names for key, names in card.heads.items() if key != COMBINED8.key}
    assumed = {
        COMBINED8.key: _named(rule.left_prior()),
        FER7.key: _named(rule.prior_labels),
        FERPLUS8.key: _named(rule.prior_votes),
    }
    return replace(
        card,
        heads={COMBINED8.key: COMBINED8.names, **heads},
        rules={**card.rules, COMBINED8.key: rule.told()},
        priors={**assumed, **{head: prior for head, prior in card.priors.items() if head != COMBINED8.key}},
        measured=(*measured, *(m for m in card.measured if m.head != COMBINED8.key)),
    )


def _named(prior: Sequence[float] | NDArray[np.float64]) -> dict[str, float]:
    shares = np.asarray(prior) / np.sum(prior)
    return {name: round(float(share), 5) for name, share in zip(FER7.names, shares, strict=True)}


def add_combined(
    source: Path,
    target: Path,
    *,
    version: str,
    rule: CombinedRule | None = None,
    measured: tuple[Measured, ...] = (),
) -> ModelCard:
    """Write a model file with the combined answer added.

    Args:
        source: An ONNX file of `mien export` with the heads `fer2013` and `ferplus`; a combined answer that it has
            already is made anew.
        target: The file to write.
        version: Version of the new file, for its card.
        rule: The constants; None takes those that mien ships.
        measured: Accuracies of the combined answer, for the card.

    Returns:
        The new card.

    Raises:
        InputError: The source cannot be read.
        ModelError: It has other heads, or has no card.
        OutputError: The target cannot be written.
    """
    try:
        model = onnx.load(source)
    except Exception as error:  # protobuf's own kinds
        raise InputError(f"cannot read {source} as an ONNX file; give one of `mien export`") from error
    chosen = rule or CombinedRule()
    texts = {entry.key: entry.value for entry in model.metadata_props}
    card = card_in_json(texts.get(METADATA_KEY), source)
    append_combined(model, chosen)
    card = combined_card(replace(card, version=version), chosen, measured=measured)
    helper.set_model_props(model, {**texts, METADATA_KEY: card.text()})
    onnx.checker.check_model(model)
    write_whole(target, model.SerializeToString())
    return card
