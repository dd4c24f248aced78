"""Any `predict_proba` and a labelled data set give a `Report`: figures with intervals, calibration, risk and coverage.

NumPy only. Every figure that depends on chance takes a seed, and none depends on the order of the images.
"""

from mien.evaluate._calibrate import apply_temperature, fit_temperature, log_of_probs
from mien.evaluate._compare import compare, mcnemar_exact
from mien.evaluate._measures import (
    RELIABILITY_BINS,
    by_group,
    calibration,
    class_figures,
    confusion_matrix,
    figures,
    log_loss,
    operating_point,
    risk_coverage,
    top_accuracy,
    vote_figures,
    worst_mistakes,
)
from mien.evaluate._report import DATA_LABELS, FERPLUS_MAJORITY, evaluate, predict, summarise, truth_of
from mien.evaluate._timing import latency
from mien.evaluate._values import (
    Calibration,
    ClassFigures,
    Comparison,
    Estimate,
    Figures,
    GroupFigures,
    Latency,
    Mistake,
    OperatingPoint,
    Predictions,
    PredictProba,
    Progress,
    ReliabilityBin,
    Report,
    RiskCoverage,
    VoteFigures,
)
from mien.evaluate._views import TEST_TIME_VIEWS, TestTimeAugmentation, test_time_augment

__all__ = [
    "DATA_LABELS",
    "FERPLUS_MAJORITY",
    "RELIABILITY_BINS",
    "TEST_TIME_VIEWS",
    "Calibration",
    "ClassFigures",
    "Comparison",
    "Estimate",
    "Figures",
    "GroupFigures",
    "Latency",
    "Mistake",
    "OperatingPoint",
    "PredictProba",
    "Predictions",
    "Progress",
    "ReliabilityBin",
    "Report",
    "RiskCoverage",
    "TestTimeAugmentation",
    "VoteFigures",
    "apply_temperature",
    "by_group",
    "calibration",
    "class_figures",
    "compare",
    "confusion_matrix",
    "evaluate",
    "figures",
    "fit_temperature",
    "latency",
    "log_loss",
    "log_of_probs",
    "mcnemar_exact",
    "operating_point",
    "predict",
    "risk_coverage",
    "summarise",
    "test_time_augment",
    "top_accuracy",
    "truth_of",
    "vote_figures",
    "worst_mistakes",
]
