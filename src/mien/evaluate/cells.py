"""What the tables of reports and comparisons say, for Markdown and HTML alike."""

import math
from collections.abc import Iterable

from mien.evaluate.evaluation import FERPLUS_MAJORITY
from mien.evaluate.values import Comparison, Estimate, Figures, GroupFigures, Latency, Report
from mien.output.pages import expression

NO_GROUP = "not stated"
FIGURE_COLUMNS = ("", "N", "accuracy", "macro-F1", "top-2", "log loss", "ECE")
CLASS_COLUMNS = ("expression", "precision", "recall", "F1", "images")
GROUP_COLUMNS = ("group", "N", "accuracy", "macro-F1", "top-2", "log loss", "ECE")
COMPARISON_COLUMNS = ("pair", "difference in points", "only first right", "only second right", "McNemar p")
LATENCY_COLUMNS = ("batch", "median", "90th percentile", "faces/s")


def figure_cells(figures: Figures) -> list[str]:
    """Return the figures as `FIGURE_COLUMNS` wants them, but for the first column."""
    return [
        f"{figures.n:,}", _interval(figures.accuracy), _interval(figures.macro_f1), f"{figures.top2_accuracy:.1%}",
        f"{figures.log_loss:.3f}", f"{figures.ece:.1%}",
    ]  # fmt: skip


def set_rows(report: Report) -> list[list[str]]:
    """Return the figures of all images, and of those that are not in the training data, where some are."""
    rows = [["All images", *figure_cells(report.overall)]]
    if report.unseen is not None and report.n_duplicates:
        name = f"Without the {report.n_duplicates:,} also in the training data"
        rows.append([name, *figure_cells(report.unseen)])
    return rows


def class_rows(report: Report) -> list[list[str]]:
    """Return the figures of each expression as `CLASS_COLUMNS` wants them."""
    return [
        [expression(c.name), *map(percent_or_dash, (c.precision, c.recall, c.f1)), f"{c.support:,}"]
        for c in report.classes
    ]


def percent_or_dash(value: float) -> str:
    """Return a share in percent, or a dash where it is NaN."""
    return f"{value:.1%}" if math.isfinite(value) else "–"


def group_cells(group: GroupFigures) -> list[str]:
    """Return the figures of a group as `GROUP_COLUMNS` wants them."""
    return [f"{group.attribute}: {group.group or NO_GROUP}", *figure_cells(group.figures)]


def latency_rows(timings: Iterable[Latency]) -> list[list[str]]:
    """Return timings as `LATENCY_COLUMNS` wants them."""
    return [
        [f"{t.batch_size}", f"{t.median_ms:.2f} ms", f"{t.p90_ms:.2f} ms", f"{t.faces_per_s:,.0f}"] for t in timings
    ]


def comparison_cells(a: str, b: str, found: Comparison) -> list[str]:
    """Return a comparison as `COMPARISON_COLUMNS` wants it."""
    value, low, high = (100 * v for v in (found.difference.value, found.difference.low, found.difference.high))
    p_value = f"{found.p_value:.3f}" if found.p_value >= 0.001 else "< 0.001"
    return [
        f"{a} − {b}",
        f"{value:+.1f} ({low:+.1f} to {high:+.1f})",
        f"{found.only_a:,}",
        f"{found.only_b:,}",
        p_value,
    ]


def footnote(report: Report) -> str:
    """Say where the truth and the intervals came from."""
    fresh = " None of the images is also in the training data." * (
        report.unseen is not None and not report.n_duplicates
    )
    intervals = f"In brackets: 95% intervals from {report.resamples:,} bootstrap resamples, seed {report.seed}."
    return f"{scoring_rule(report)}{fresh} {intervals}"


def scoring_rule(report: Report) -> str:
    """Say in a sentence or two where the truth came from."""
    if report.rule == FERPLUS_MAJORITY:
        left_out = f"; {report.n_left_out:,} images without such a majority are left out" if report.n_left_out else ""
        return f"Scored by the FER+ authors' majority rule{left_out}."
    left_out = f" {report.n_left_out:,} images without a label in this set are left out." if report.n_left_out else ""
    return f"Scored by the data set's labels.{left_out}"


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.1%} ({100 * estimate.low:.1f}–{100 * estimate.high:.1f})"
