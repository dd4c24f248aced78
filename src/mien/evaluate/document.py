"""A report with what else its readers want to know, and every figure of it as JSON."""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien._version import __version__
from mien.errors import InputError
from mien.evaluate.robustness import RobustnessReport
from mien.evaluate.values import Comparison, Latency, Report

SCHEMA = "mien-report/1"
COMPARISON_SCHEMA = "mien-comparison/1"
DIGITS = 6


@dataclass(frozen=True, eq=False)
class ReportDocument:
    """A report with what else its readers want to know.

    Attributes:
        title: Heading, `"mien-b on FER2013 PublicTest"` say.
        report: The figures.
        facts: What was measured and how, in order: model, SHA-256, data, split, date, command, seed…
        crops: (N, 48, 48) uint8, the images of the data set, for the gallery of mistakes; None leaves it out.
        robustness: Curves of accuracy on spoilt images, or None.
        latency: Timings, or none.
    """

    title: str
    report: Report
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    crops: NDArray[np.uint8] | None = None
    robustness: RobustnessReport | None = None
    latency: tuple[Latency, ...] = ()

    def __post_init__(self) -> None:
        """Check that the crops are those of the report."""
        n = len(self.report.predictions)
        if self.crops is not None and len(self.crops) != n:
            raise InputError(f"crops must be the {n} images of the report, got {len(self.crops)}; pass data.crops")


def to_json(document: ReportDocument) -> str:
    """Return every figure as JSON; the keys are the names of the dataclasses' fields, numbers have six digits.

    Args:
        document: What to render. Per-image probabilities are left out.
    """
    report = document.report
    content = {
        "schema": SCHEMA,
        "mien": __version__,
        "title": document.title,
        "facts": dict(document.facts),
        **{f.name: getattr(report, f.name) for f in dataclasses.fields(report) if f.name != "predictions"},
        "robustness": document.robustness,
        "latency": document.latency,
    }
    return dump(content)


def comparison_to_json(reports: Mapping[str, Report], comparisons: Mapping[tuple[str, str], Comparison]) -> str:
    """Return several models' headline figures and their paired comparisons as JSON.

    Args:
        reports: Model → report, all on the same data.
        comparisons: Pair of models → comparison.
    """
    models = {name: report.overall for name, report in reports.items()}
    pairs = [{"a": a, "b": b, **_plain(comparison)} for (a, b), comparison in comparisons.items()]
    return dump({"schema": COMPARISON_SCHEMA, "mien": __version__, "models": models, "pairs": pairs})


def dump(content: Mapping[str, Any]) -> str:
    """Return JSON of values, dataclasses and arrays; numbers have six digits."""
    return json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): _plain(of_key) for key, of_key in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    return value
