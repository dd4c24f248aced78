"""The combined answer: a third output of the graph, made of the heads for FER2013's labels and for the FER+ votes.

The two heads see different things: one learnt one noisy label a face, the other the votes of ten people, in which
«neutral» is common. The logits of both are averaged, and most of what they owe to the class shares of FER2013 is taken
out (Bayes: log p - log prior). As softmax ignores what all classes of an image share, this is one linear map of the
fifteen logits. Contempt keeps the probability that the FER+ head gives it, and the seven others share the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from mien.errors import InputError, ModelError
from mien.files import write_whole
from mien.labels import COMBINED8, FER7, FERPLUS8
from mien.models.card import METADATA_KEY, Measured, ModelCard, card_in_json

CONTEMPT = FERPLUS8.index("contempt")
VOTE_COLUMNS = FERPLUS8.columns_for(FER7)


@dataclass(frozen=True)
class CombinedRule:
    """The constants of the combined answer.

    Attributes:
        weight: Share of the `fer2013` head in the mean of the logits, 0-1.
        strength: How much of the priors is taken out: 0 nothing, 1 all.
        temperature: What the result is divided by before softmax.
        prior_labels: (7,) shares of the labels in FER2013 Training.
        prior_votes: (7,) shares of the FER+ votes in Training without contempt; they need not sum to 1.
        chosen_on: The sets that the constants were chosen on, for the card.
    """

    weight: float = 0.5
    strength: float = 0.75
    temperature: float = 0.9
    prior_labels: tuple[float, ...] = (0.13915, 0.01519, 0.14271, 0.25131, 0.16824, 0.11045, 0.17294)
    prior_votes: tuple[float, ...] = (0.08669, 0.01023, 0.03066, 0.26475, 0.14128, 0.12265, 0.33343)
    chosen_on: str = (
        "FER2013 PublicTest and four sets of other faces: one in the wild, two posed, London (neutral and faint smiles)"
    )

    def matrix(self) -> NDArray[np.float32]:
        """Return the (15, 7) float32 map from the logits of both heads to the seven scores."""
        found = np.zeros((len(FER7) + len(FERPLUS8), len(FER7)), np.float32)
        for column, vote in enumerate(VOTE_COLUMNS):
            found[column, column] = self.weight / self.temperature
            found[len(FER7) + vote, column] = (1 - self.weight) / self.temperature
        return found

    def offset(self) -> NDArray[np.float32]:
        """Return what is added to the seven scores, (7,) float32."""
        return np.asarray(-self.strength * self._log_prior() / self.temperature, np.float32)

    def left_prior(self) -> NDArray[np.float64]:
        """Return the class shares that the answer still assumes, (7,), sum to 1."""
        shares = np.exp((1 - self.strength) * self._log_prior() / self.temperature)
        return np.asarray(shares / shares.sum())

    def _log_prior(self) -> NDArray[np.float64]:
        logs = self.weight * np.log(self.prior_labels) + (1 - self.weight) * np.log(self.prior_votes)
        return np.asarray(logs)

    def told(self) -> str:
        """Say the rule with its constants, for the card."""
        labels, votes = (", ".join(f"{p:.5f}" for p in prior) for prior in (self.prior_labels, self.prior_votes))
        return (
            f"softmax over seven of ({self.weight:g} x fer2013 logits + {1 - self.weight:g} x ferplus logits - "
            f"{self.strength:g} x log prior) / {self.temperature:g}, times 1 - contempt; contempt as the ferplus head "
            f"has it. Log prior: the same mean over labels ({labels}) and votes ({votes}) in Training. "
            f"Chosen on {self.chosen_on}"
        )


def append_combined(model: onnx.ModelProto, rule: CombinedRule) -> None:
    """Add the output `combined` to a graph, behind its two heads; their nodes stay as they are.

    Args:
        model: What `mien export` makes of a network with the heads `fer2013` and `ferplus`; changed in place.
        rule: The constants.

    Raises:
        ModelError: It has other heads, or has the output already.
    """
    outputs = {output.name: output for output in model.graph.output}
    if set(outputs) != {FER7.key, FERPLUS8.key}:
        raise ModelError(
            f"a combined answer needs the outputs {FER7.key} and {FERPLUS8.key} and no other, got {', '.join(outputs)}"
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


def _logits_of(made_by: Mapping[str, NodeProto], head: str) -> str:
    """Return the logits of a head before its temperature, up to what all classes of an image share."""
    softmax = made_by[head]
    scaled = made_by.get(softmax.input[0])
    if softmax.op_type != "Softmax" or scaled is None or scaled.op_type != "Div":
        raise ModelError(f"the output {head} is no softmax of scaled logits (several networks?); export one network")
    return str(scaled.input[0])


def combined_card(card: ModelCard, rule: CombinedRule, *, measured: tuple[Measured, ...] = ()) -> ModelCard:
    """Return the card of a model that has the combined answer as its last label set.

    Args:
        card: The card of the two heads.
        rule: The constants.
        measured: Accuracies of the combined answer.
    """
    return replace(
        card,
        heads={**card.heads, COMBINED8.key: COMBINED8.names},
        rules={**card.rules, COMBINED8.key: rule.told()},
        measured=(*card.measured, *measured),
    )


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
        source: An ONNX file of `mien export` with the heads `fer2013` and `ferplus`.
        target: The file to write.
        version: Version of the new file, for its card.
        rule: The constants; None takes those that mien ships.
        measured: Accuracies of the combined answer, for the card.

    Returns:
        The new card.

    Raises:
        InputError: The source cannot be read.
        ModelError: It has other heads, has the answer already, or has no card.
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
