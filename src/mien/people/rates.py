"""How often an answer is wrong: what was measured, for whoever gets an answer. docs/people.md has the whole table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ErrorRates:
    """Shares of wrong answers among the 102 people of the Face Research Lab London Set.

    Attributes:
        threshold: Distance below which two faces are said to be of one person.
        missed: Share of the 102 pairs of one person, neutral and smiling on the same day, that are said to be of two.
        false_match: Share of the 20,604 pairs of two people that are said to be of one.
        worst_group: The group within which that is most frequent, in the people's own words for themselves.
        worst_false_match: Share within that group.
    """

    threshold: float
    missed: float
    false_match: float
    worst_group: str
    worst_false_match: float


MEASURED = (  # OMP_NUM_THREADS=1 python benchmarks/people.py --only verify
    ErrorRates(0.45, 0.010, 0.0000, "black", 0.000),
    ErrorRates(0.5, 0.0, 0.0006, "black", 0.035),
    ErrorRates(0.55, 0.0, 0.0027, "black", 0.128),
    ErrorRates(0.6, 0.0, 0.0073, "black", 0.282),
)


def rates_at(threshold: float) -> ErrorRates | None:
    """Return what was measured at a threshold; None where nothing was.

    Args:
        threshold: The distance.
    """
    return next((rates for rates in MEASURED if abs(rates.threshold - threshold) < 1e-9), None)
