"""Leave-one-set-out: what a set gives when all that was chosen is chosen again without it.

Constants that were chosen on the sets of a report flatter its figures. Here each set is judged by the constants that
the other sets choose: of several rules the one with the best mean balanced accuracy, then the temperature with the
least mean calibration error. Sets count alike.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mien.errors import InputError
from mien.evaluate.calibrate import TRIED_TEMPERATURES, ConfidenceScaling, apply_temperature
from mien.evaluate.measures import balanced_accuracy_of, calibration, confusion_matrix
from mien.evaluate.values import LeftOut, Predictions
from mien.faces import Floats
from mien.labels import COMBINED8, FER7, FERPLUS8, LabelSet, convert_probs
from mien.models.card import ModelCard
from mien.models.combined import CombinedRule

AS_IT_IS = "the answer as it is"
WEIGHTS, STRENGTHS = (0.5, 0.3, 0.4, 0.6, 0.7), (0.75, 0.5, 0.625, 0.875, 1.0)  # of equals the first is taken


def combined_choices(
    card: ModelCard, answers: Sequence[tuple[Floats, Floats]], target: LabelSet
) -> dict[str, tuple[Floats, ...]]:
    """Return what other constants of the combined answer would have said.

    Args:
        card: The card of a model with the heads `fer2013` and `ferplus`.
        answers: For each set (N, 7) and (N, 8) float32, the probabilities of the two heads.
        target: The label set that is scored.

    Returns:
        For each choice of weight and strength, at temperature 1, (N, len(target)) float32 probabilities of each set.
    """
    scalings = [ConfidenceScaling(card.temperatures[h.key], card.exponents.get(h.key, 0.0)) for h in (FER7, FERPLUS8)]
    logits = [tuple(s.logits(probs) for s, probs in zip(scalings, both, strict=True)) for both in answers]
    rules = [CombinedRule(weight, strength, 1.0) for weight in WEIGHTS for strength in STRENGTHS]
    return {
        f"weight {rule.weight:g}, strength {rule.strength:g}": tuple(
            convert_probs(rule.probs(*both), COMBINED8, target) for both in logits
        )
        for rule in rules
    }


def leave_one_out(
    sets: Mapping[str, Predictions], choices: Mapping[str, Sequence[Floats]] | None = None
) -> tuple[LeftOut, ...]:
    """Judge each set by what the others choose.

    Args:
        sets: The answers and the truth of each set, by name.
        choices: For each choice, the probabilities (N, C) float32 of each set; None has the answers alone, whose
            temperature is chosen.

    Returns:
        One result for each set, in order.

    Raises:
        InputError: There is one set alone.
    """
    if len(sets) < 2:
        raise InputError(f"to leave one set out needs two sets or more, got {len(sets)}; name more")
    counted = {
        choice: [replace(p, probs=probs).where(p.counted) for p, probs in zip(sets.values(), of_sets, strict=True)]
        for choice, of_sets in (choices or {AS_IT_IS: [p.probs for p in sets.values()]}).items()
    }
    balanced = {choice: [_balanced(p) for p in of_sets] for choice, of_sets in counted.items()}
    curves = functools.cache(lambda choice: np.array([_ece_curve(p) for p in counted[choice]]))
    found = []
    for number, name in enumerate(sets):
        others = [i for i in range(len(sets)) if i != number]
        choice = max(counted, key=lambda one: np.mean([balanced[one][i] for i in others]))
        curve = curves(choice)
        at = int(curve[others].mean(axis=0).argmin())
        temperature, ece = float(TRIED_TEMPERATURES[at]), float(curve[number, at])
        found.append(LeftOut(name, choice, temperature, balanced[choice][number], ece))
    return tuple(found)


def _balanced(predictions: Predictions) -> float:
    return float(balanced_accuracy_of(confusion_matrix(predictions)))


def _ece_curve(predictions: Predictions) -> list[float]:
    """Return the calibration error at each of `TRIED_TEMPERATURES`."""
    return [
        calibration(replace(predictions, probs=apply_temperature(predictions.probs, float(t)))).ece
        for t in TRIED_TEMPERATURES
    ]
