"""The combined answer: what a model with heads for FER2013's labels and for the FER+ votes says of both together.

The two heads see different things: one learnt one noisy label a face, the other the votes of ten people, in which
«neutral» is common. The logits of both are averaged, and most of what they owe to the class shares of FER2013 is taken
out (Bayes: log p - log prior). As softmax ignores what all classes of an image share, this is one linear map of the
fifteen logits. Contempt keeps the probability that the FER+ head gives it, and the seven others share the rest.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.labels import FER7, FERPLUS8

VOTE_COLUMNS = FERPLUS8.columns_for(FER7)
CONTEMPT = FERPLUS8.index("contempt")


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
    temperature: float = 0.85
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

    def probs(self, labels: NDArray[np.floating], votes: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the combined answer.

        Args:
            labels: (N, 7) logits of the `fer2013` head, before any temperature.
            votes: (N, 8) logits of the `ferplus` head, likewise.

        Returns:
            (N, 8) float32 in the order of `COMBINED8`, rows sum to 1.
        """
        contempt = _softmax(votes)[:, [CONTEMPT]]
        seven = _softmax(np.hstack([labels, votes]) @ self.matrix() + self.offset())
        return np.hstack([seven * (1 - contempt), contempt]).astype(np.float32)

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


def _softmax(z: NDArray[np.floating]) -> NDArray[np.float64]:
    powers = np.exp(z.astype(np.float64) - z.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
