"""The card: what a model file says about itself, in the metadata of the ONNX file."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from mien._onnxruntime import ort
from mien.errors import InputError, ModelError, listed, shown
from mien.labels import LabelSet

METADATA_KEY = "mien.card"
CARD_VERSION = 1


@dataclass(frozen=True)
class Measured:
    """An accuracy somebody measured.

    Attributes:
        head: Key of the label set.
        split: Data set and split, with the rule that chose the images.
        n: Number of images.
        accuracy: 0-1.
    """

    head: str
    split: str
    n: int
    accuracy: float


@dataclass(frozen=True)
class ModelCard:
    """What a model file says about itself.

    Attributes:
        name: Name in the catalogue.
        version: Version of the weights.
        heads: Label names of each output, by output name, in the order of its columns.
        landmarks_px: (5, 2) nested tuple, where the framing of the training crops has the eyes, nose and mouth corners,
            pixels of the 48x48 crop; None if unknown.
        data: Data set the weights were trained on.
        licence: Licence of the weights.
        measured: Accuracies with split and N.
        temperatures: Softmax temperature of each head, already inside the graph.
        exponents: The temperature is multiplied by this power of the standard deviation of an image's logits, in the
            graph as well; a head that is not named has 0.
        trained: How: net, epochs, seed and the version of mien.
        rules: How an output that no training made comes from the others, by output name.
        priors: The class shares that the answers of an output assume, by output name and expression; an expression that
            is not named keeps its probability whatever shares are wanted.
    """

    name: str
    version: str
    heads: Mapping[str, tuple[str, ...]]
    landmarks_px: tuple[tuple[float, float], ...] | None = None
    data: str = ""
    licence: str = ""
    measured: tuple[Measured, ...] = ()
    temperatures: Mapping[str, float] = field(default_factory=dict)
    exponents: Mapping[str, float] = field(default_factory=dict)
    trained: str = ""
    rules: Mapping[str, str] = field(default_factory=dict)
    priors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def label_set(self, head: str | None = None) -> LabelSet:
        """Return the label set of a head.

        Args:
            head: Output name; None takes the first.

        Raises:
            InputError: No such head; the message lists those there are.
        """
        name = next(iter(self.heads)) if head is None else head
        if name not in self.heads:
            raise InputError(f"model {shown(self.name)} has no label set {shown(name)}; it has {listed(self.heads)}")
        return LabelSet(name, tuple(self.heads[name]))

    def calibration_text(self, head: str) -> str:
        """Return how the graph scales the logits of a head, or computes the output, for people."""
        if head in self.rules:
            return self.rules[head]
        exponent = self.exponents.get(head, 0.0)
        power = f" times the logits' standard deviation to the power {exponent:.3f}" if exponent else ""
        return f"temperature {self.temperatures.get(head, 1):.3f}{power}, inside the graph"

    def shares_text(self, head: str) -> str:
        """Return the class shares that the answers of a head assume, for people."""
        return ", ".join(f"{name} {share:.1%}" for name, share in self.priors[head].items())

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the metadata of the file."""
        return {"card": CARD_VERSION, **asdict(self)}

    def text(self) -> str:
        """Return the card as the metadata of a file hold it."""
        return json.dumps(self.to_json(), ensure_ascii=False)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ModelError: A field is missing or has another form.
        """
        try:
            known = {k: v for k, v in value.items() if k != "card"}
            known["heads"] = {head: tuple(names) for head, names in value["heads"].items()}
            known["measured"] = tuple(Measured(**m) for m in value.get("measured", ()))
            points = value.get("landmarks_px")
            known["landmarks_px"] = None if points is None else tuple((float(x), float(y)) for x, y in points)
            return cls(**known)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"the model's card is malformed ({error}); export it again with `mien export`") from error


def read_card(session: ort.InferenceSession, path: str | Path) -> ModelCard:
    """Return the card in an open model's metadata.

    Args:
        session: The open model.
        path: Where it came from, for the message.

    Raises:
        ModelError: There is none, or it is malformed.
    """
    return card_in_json(session.get_modelmeta().custom_metadata_map.get(METADATA_KEY), path)


def card_in_json(text: str | None, path: str | Path) -> ModelCard:
    """Return the card that a file's metadata hold.

    Args:
        text: The metadata's text; None where there is none.
        path: Where it came from, for the message.

    Raises:
        ModelError: There is none, or it is malformed.
    """
    if text is None:
        raise ModelError(f"{path} is an ONNX file without mien's metadata ({METADATA_KEY!r}); export it with mien")
    try:
        return ModelCard.from_json(json.loads(text))
    except json.JSONDecodeError as error:
        raise ModelError(f"{path}: the metadata {METADATA_KEY!r} is not JSON; export the model again") from error
