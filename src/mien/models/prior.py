"""Class shares that are expected where faces come from, and what they change in the answers (Bayes).

A model answers as if the expressions came as often as in its training data. Where they do not, and the true shares are
known, p x wanted / assumed, made to sum to 1, is the better answer; the card says what was assumed.
"""

import csv
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.labels import LabelSet, canonical_name
from mien.models.card import ModelCard

NATURAL, EVEN = "natural", "even"
MAX_BYTES = 1 << 16
LEAST = 1e-12  # a share of 0 leaves this, so that an image always has an answer
HOW = "see «Other shares» in docs/other-faces.md"
NO_ESTIMATE = (
    "mien does not estimate shares from the faces themselves: on four sets of photos this took 5 to 13 of 100 right "
    "answers away; label some of your faces, count them, and give a file of name,share; or take 'even'"
)


@dataclass(frozen=True)
class Prior:
    """The shares of the expressions among the faces to come.

    Attributes:
        kind: `"natural"` leaves the answers as they are; `"even"` expects each expression as often as another;
            `"given"` says that `shares` hold.
        shares: Share of each expression, summing to 1; for `"given"` alone.
    """

    kind: str = NATURAL
    shares: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the same text for the same shares, for journals and people."""
        return ", ".join(f"{name} {share:.5g}" for name, share in sorted(self.shares.items())) or self.kind

    def factors(self, card: ModelCard, labels: LabelSet) -> NDArray[np.float64] | None:
        """Return what the probabilities of a label set are multiplied by before they are made to sum to 1 again.

        Args:
            card: The card of the model.
            labels: The label set of the answers.

        Returns:
            (C,) float64; NaN for an expression that keeps its probability. None where nothing changes.

        Raises:
            InputError: The card does not say what the answers assume, or the shares are not those of its expressions.
        """
        if self.kind == NATURAL:
            return None
        assumed = card.priors.get(labels.key, {})
        if not assumed:
            raise InputError(
                f"model {card.name!r} does not say which shares its {labels.key} answers assume, so they cannot be "
                "changed; export it again with `mien export`, or leave the prior 'natural'"
            )
        wanted = self.shares or dict.fromkeys(assumed, 1 / len(assumed))
        _check_names(wanted, assumed, labels)
        ratio = {name: max(wanted[name], LEAST) / share for name, share in assumed.items()}
        return np.array([ratio.get(name, math.nan) for name in labels.names])


AS_TRAINED = Prior()


def changed_by(factors: NDArray[np.float64] | None, probs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return probabilities for other shares.

    Args:
        factors: From `Prior.factors`.
        probs: (N, C) float32, rows sum to 1.

    Returns:
        (N, C) float32, rows sum to 1; expressions whose factor is NaN keep their probability.
    """
    if factors is None or not len(probs):
        return probs
    moved = np.isfinite(factors)
    before = np.maximum(probs[:, moved].astype(np.float64), float(np.finfo(np.float32).tiny))
    after = before * factors[moved]
    after *= probs[:, moved].sum(axis=1, keepdims=True) / after.sum(axis=1, keepdims=True)
    found = probs.copy()
    found[:, moved] = after
    return found


GivenPrior = str | Path | Mapping[str, float] | Prior


def as_prior(value: GivenPrior) -> Prior:
    """Return the shares that a person means.

    Args:
        value: `"natural"`, `"even"`, the path of a file (.csv with lines of name,share, or .json with an object), or
            shares by name. They may be counts: they are made to sum to 1.

    Raises:
        InputError: The file cannot be read, or these are no shares; the message says what must hold.
    """
    if isinstance(value, Prior):
        return value
    if isinstance(value, Mapping):
        return _given(value.items(), "the prior")
    if str(value) in (NATURAL, EVEN):
        return Prior(str(value))
    if str(value) == "estimate":
        raise InputError(NO_ESTIMATE)
    return _given(_read(Path(value)), str(value))


def _given(pairs: Iterable[tuple[object, object]], where: str) -> Prior:
    shares: dict[str, float] = {}
    for name, share in pairs:
        key = canonical_name(str(name))
        if key in shares:
            raise InputError(f"{where} names {key!r:.50} twice; give each expression one share")
        shares[key] = _number(share, key, where)
    total = sum(shares.values())
    if not total > 0:
        raise InputError(f"{where} must give a share above 0 to at least one expression; {HOW}")
    return Prior("given", {name: share / total for name, share in shares.items()})


def _number(share: object, name: str, where: str) -> float:
    try:
        found = math.nan if isinstance(share, bool) else float(str(share))
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise InputError(f"{where}: the share of {name!r:.50} must be a number of 0 or more, got {str(share)!r:.50}")
    return found


def _read(path: Path) -> list[tuple[object, object]]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"the prior must be natural, even, or a file of name,share; cannot read {str(path)!r:.100} "
            f"({error.strerror})"
        ) from error
    try:
        text = content[:MAX_BYTES].decode("utf-8-sig")
        value = json.loads(text) if path.suffix.lower() == ".json" else None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{str(path)!r:.100} is no text of name,share or JSON object; {HOW}") from error
    if len(content) > MAX_BYTES:
        raise InputError(f"{str(path)!r:.100} is too large for a file of name,share; {HOW}")
    if path.suffix.lower() == ".json":
        if not isinstance(value, dict):
            raise InputError(f'{str(path)!r:.100} must hold an object like {{"happy": 0.4, …}}; {HOW}')
        return list(value.items())
    return _pairs(text, path)


def _pairs(text: str, path: Path) -> list[tuple[object, object]]:
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if any(map(str.strip, row))]
    if rows and [cell.lower() for cell in rows[0]] in (["name", "share"], ["expression", "share"]):
        rows = rows[1:]
    for row in rows:
        if len(row) != 2:
            raise InputError(f"{str(path)!r:.100} must have lines of name,share, got {','.join(row)!r:.50}; {HOW}")
    return [(row[0], row[1]) for row in rows]


def _check_names(wanted: Mapping[str, float], assumed: Mapping[str, float], labels: LabelSet) -> None:
    missing = [name for name in assumed if name not in wanted]
    if missing:
        raise InputError(f"the prior lacks a share for {', '.join(missing)}; give 0 to what does not occur")
    for name in wanted:
        if name not in assumed:
            why = "keeps its probability" if name in labels.names else f"is no expression of {labels.key}"
            raise InputError(f"the prior gives a share to {name!r:.50}, which {why}; leave it out")
