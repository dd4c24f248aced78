"""Each set judged by what the others choose."""

import numpy as np
import pytest

from mien.errors import InputError
from mien.evaluate import ConfidenceScaling, Predictions, calibration, combined_choices, leave_one_out
from mien.labels import COMBINED8, FER7
from mien.models.catalogue import load_model

RNG = np.random.default_rng(0)


def answers(n, right, confidence, seed=0):
    """Answers of which `right` of `n` are right, all with one confidence."""
    truth = np.random.default_rng(seed).integers(0, 7, n)
    said = np.where(np.arange(n) < right * n, truth, (truth + 1) % 7)
    probs = np.full((n, 7), (1 - confidence) / 6, np.float32)
    probs[np.arange(n), said] = confidence
    return Predictions(probs, truth, FER7)


def test_the_temperature_of_a_set_is_the_one_that_suits_the_others():
    sets = {
        "sure": answers(400, 0.5, 0.8, 1),
        "modest": answers(400, 0.9, 0.5, 2),
        "sure again": answers(400, 0.5, 0.8, 3),
    }
    found = leave_one_out(sets)
    assert [one.name for one in found] == list(sets)
    assert found[1].temperature > 1.3
    assert found[1].ece > calibration(sets["modest"]).ece  # what suits the others makes it worse
    (first, second) = leave_one_out({"a": sets["sure"], "b": sets["sure again"]})
    assert first.ece == pytest.approx(0, abs=0.03)
    assert second.ece == pytest.approx(0, abs=0.03)


def test_the_rule_is_chosen_by_the_others_and_judged_on_the_set_left_out():
    good, bad = answers(100, 0.9, 0.8), answers(100, 0.2, 0.8)
    sets = {"a": good, "b": good, "c": good}
    choices = {"first": (good.probs, good.probs, bad.probs), "second": (bad.probs, bad.probs, good.probs)}
    found = leave_one_out(sets, choices)
    assert [one.choice for one in found] == ["first", "first", "first"]
    assert [one.balanced_accuracy for one in found] == pytest.approx([0.9, 0.9, 0.2], abs=0.03)
    with pytest.raises(InputError, match="two sets or more, got 1"):
        leave_one_out({"a": good})


@pytest.mark.parametrize(
    "scaling", [ConfidenceScaling(0.7), ConfidenceScaling(0.9, -0.57), ConfidenceScaling(1.8, 0.4)]
)
def test_probabilities_give_their_logits_back(scaling):
    z = RNG.normal(0, 2, (50, 7))
    found = scaling.logits(scaling.probs(z).astype(np.float32))
    np.testing.assert_allclose(found - found.mean(axis=1, keepdims=True), z - z.mean(axis=1, keepdims=True), atol=1e-4)


def test_the_shipped_constants_are_one_of_the_choices():
    crops = RNG.integers(0, 256, (12, 12, 12), dtype=np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    model = load_model("mien-s")
    heads = tuple(model.predict_proba(crops, head=head) for head in ("fer2013", "ferplus"))
    (probs,) = combined_choices(model.card, [heads], COMBINED8)["weight 0.5, strength 0.75"]
    logs = np.log(probs[:, :7]) / 0.85
    seven = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
    shipped = model.predict_proba(crops, head="combined")
    np.testing.assert_allclose(seven, shipped[:, :7] / shipped[:, :7].sum(axis=1, keepdims=True), atol=1e-4)
