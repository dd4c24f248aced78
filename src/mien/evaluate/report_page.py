"""A `Report` as one HTML page that needs nothing else."""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mien._version import __version__
from mien.evaluate.cells import (
    CLASS_COLUMNS,
    FIGURE_COLUMNS,
    LATENCY_COLUMNS,
    NO_GROUP,
    class_rows,
    figure_cells,
    footnote,
    latency_rows,
    percent_or_dash,
    scoring_rule,
    set_rows,
)
from mien.evaluate.document import ReportDocument
from mien.evaluate.values import Estimate, GroupFigures, Mistake, Report
from mien.output import plots
from mien.output.pages import (
    Html,
    as_html,
    cards,
    details,
    expression_css,
    face_card,
    gallery,
    heading,
    html_page,
    html_table,
    interval_bar,
    joined,
    prob_bar,
    section,
    side_by_side,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_PROBS = 3


def to_html(document: ReportDocument) -> str:
    """Return one page with everything inside: styles, images, no script and no request; light and dark.

    Args:
        document: What to render.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    sections = (
        _headline, _sets, _votes, _classes, _confusion, _calibration, _selective, _groups, _robustness, _latency,
        _mistakes,
    )  # fmt: skip
    footer = f"{footnote(document.report)} Made with mien {__version__}."
    return html_page(document.title, document.facts, [part(document) for part in sections], footer)


def _headline(document: ReportDocument) -> str:
    figures = document.report.overall
    items = [
        ("accuracy", f"{figures.accuracy.value:.1%}", _range(figures.accuracy)),
        ("macro-F1", f"{figures.macro_f1.value:.1%}", _range(figures.macro_f1)),
        ("top-2 accuracy", f"{figures.top2_accuracy:.1%}", "label in the best two"),
        ("calibration error", f"{figures.ece:.1%}", "0% is perfect"),
        ("log loss", f"{figures.log_loss:.3f}", "nats; 0 is perfect"),
        ("images", f"{figures.n:,}", f"{document.report.n_left_out:,} left out"),
    ]
    one = next((t for t in document.latency if t.batch_size == 1), None)
    if one:
        items.append(("one face", f"{one.median_ms:.1f} ms", f"90% within {one.p90_ms:.1f} ms"))
    return cards(items)


def _range(estimate: Estimate) -> str:
    return f"{estimate.low:.1%} to {estimate.high:.1%}"


def _sets(document: ReportDocument) -> str:
    report = document.report
    note = scoring_rule(report)
    if report.unseen is not None and report.n_duplicates:
        note += (
            " Some images of the data set occur pixel for pixel among those the model has learnt from; the second line "
            "does without them."
        )
    return section("Figures", html_table(FIGURE_COLUMNS, set_rows(report)), note=note)


def _votes(document: ReportDocument) -> str:
    votes = document.report.votes
    if votes is None:
        return ""
    rows = [
        ("images", f"{votes.n:,}"),
        ("cross-entropy", f"{votes.cross_entropy:.3f} nats"),
        ("Kullback–Leibler divergence", f"{votes.kl_divergence:.3f} nats"),
        ("a vote drawn at random agrees", f"{votes.expected_accuracy:.1%}"),
        ("the best any answers could do", f"{votes.best_accuracy:.1%}"),
    ]
    note = (
        "Ten people named each expression and often disagreed. Here the model is held against all of their votes, "
        "ambiguous images included."
    )
    table = html_table(("measure", "value"), rows, kind="narrow")
    return section("Against the annotators' votes", table, note=note)


def _classes(document: ReportDocument) -> str:
    report = document.report
    rows = report.classes
    image = plots.class_scores(
        [c.name for c in rows], [c.f1 for c in rows], [c.precision for c in rows], [c.recall for c in rows],
        [c.support for c in rows],
    )  # fmt: skip
    return section(
        "Expressions",
        side_by_side(html_table(CLASS_COLUMNS, class_rows(report)), _image(image, "F1, precision and recall")),
        note="Precision: how often an answer is right. Recall: how much of an expression is found. F1 joins the two.",
    )


def _confusion(document: ReportDocument) -> str:
    report = document.report
    image = plots.confusion_heatmap(report.confusion, report.labels.names)
    note = "Rows are labels, columns answers: how the images of one label were answered, in percent and in numbers."
    return section("Confusion", _image(image, "Confusion matrix"), note=note)


def _calibration(document: ReportDocument) -> str:
    found = document.report.calibration
    image = plots.reliability(
        [*(b.low for b in found.bins), found.bins[-1].high], [b.count for b in found.bins],
        [b.confidence for b in found.bins], [b.accuracy for b in found.bins], ece=found.ece,
    )  # fmt: skip
    rows = [
        (f"{b.low:.0%}–{b.high:.0%}", f"{b.count:,}", percent_or_dash(b.confidence), percent_or_dash(b.accuracy))
        for b in found.bins
    ]
    table = html_table(("confidence", "images", "mean confidence", "accuracy"), rows)
    note = (
        "Of the answers given with 80% confidence, 80% should be right. Bars above the diagonal: the model is too "
        f"modest; below: too sure. Expected calibration error {found.ece:.1%} over {len(found.bins)} bins of equal "
        f"width, {found.adaptive_ece:.1%} over bins of equal count."
    )
    return section("Calibration", side_by_side(_image(image, "Reliability diagram"), table), note=note)


def _selective(document: ReportDocument) -> str:
    found = document.report.selective
    image = plots.risk_coverage_curves({"": (found.coverage, found.risk)})
    rows = [(f"{p.threshold:.0%}", f"{p.coverage:.1%}", percent_or_dash(p.accuracy)) for p in found.points]
    table = html_table(("answer from confidence", "images answered", "accuracy"), rows)
    note = (
        "Below a confidence of your choice the answer can be «uncertain». The fewer images are answered, the fewer of "
        f"the answers are wrong. Area under the curve {found.aurc:.4f}; smaller is better."
    )
    return section(
        "When the model may say «uncertain»", side_by_side(_image(image, "Risk against coverage"), table), note=note
    )


def _groups(document: ReportDocument) -> str:
    tables = [
        joined([heading(attribute), _group_table(tuple(groups))])
        for attribute, groups in groupby(document.report.groups, key=lambda group: group.attribute)
    ]
    note = "Groups of few images have wide intervals; where intervals overlap widely, do not read much into it."
    return section("Slices", *tables, note=note) if tables else ""


def _group_table(groups: Sequence[GroupFigures]) -> str:
    rows = [[g.group or NO_GROUP, *figure_cells(g.figures)[:3], _accuracy_bar(g.figures.accuracy)] for g in groups]
    return html_table(("group", "N", "accuracy", "macro-F1", "accuracy, 0 to 100%"), rows, kind="slices")


def _accuracy_bar(found: Estimate) -> Html:
    return interval_bar(found.value, found.low, found.high, ends=(0, 1))


def _robustness(document: ReportDocument) -> str:
    found = document.robustness
    if found is None:
        return ""
    panels = [plots.CurvePanel(c.title, c.settings, {"": c.accuracy}) for c in found.curves]
    rows = [
        (c.title, f"{c.mean_accuracy:.1%}", f"{c.accuracy[-1]:.1%}",
         ", ".join(f"{s}: {a:.1%}" for s, a in zip(c.settings, c.accuracy, strict=True)))
        for c in found.curves
    ]  # fmt: skip
    table = html_table(("", "mean", "strongest", "accuracy at each strength"), rows)
    half_width = 1.96 * math.sqrt(found.accuracy * (1 - found.accuracy) / found.n)
    note = (
        f"Accuracy on {found.n:,} images spoilt with growing strength. Untouched: {found.accuracy:.1%}, dashed; mean "
        f"over all curves: {found.mean_accuracy:.1%}. In 95 of 100 samples chance moves a "
        f"point by less than {100 * half_width:.1f} points."
    )
    image = _image(plots.robustness_curves(panels), "Accuracy against strength of corruption")
    return section("Robustness", image, details("All values", table), note=note)


def _latency(document: ReportDocument) -> str:
    if not document.latency:
        return ""
    table = html_table(LATENCY_COLUMNS, latency_rows(document.latency), kind="narrow")
    note = "Time of one call with that many faces, and faces per second at the median."
    return section("Speed", table, note=note)


def _mistakes(document: ReportDocument) -> str:
    report, crops = document.report, document.crops
    if crops is None or not report.mistakes:
        return ""
    shown = gallery(_mistake_card(m, crops[m.index], report) for m in report.mistakes)
    note = "The wrong answers given with most confidence: label → answer. Not every label is right."
    return section("Worst mistakes", shown, note=note)


def _mistake_card(mistake: Mistake, crop: NDArray[np.uint8], report: Report) -> str:
    names, probs = report.labels.names, report.predictions.probs[mistake.index]
    best = np.argsort(-probs, kind="stable")[:SHOWN_PROBS].tolist()
    truth = names.index(mistake.truth)
    shown = best if truth in best else [*best[:-1], truth]
    bars = (prob_bar(names[i], float(probs[i]), expression_css(names[i]), strong=i == truth) for i in shown)
    caption = [f"{mistake.truth} → ", Html(f"<b>{as_html(mistake.predicted)}</b>"), *bars]
    alt = f"face {mistake.index}: label {mistake.truth}, answer {mistake.predicted}"
    return face_card(crop, number=mistake.index, alt=alt, caption=joined(caption))


def _image(figure: "Figure", label: str) -> Html:
    return Html(f'<figure class="plot">{plots.inline_svg(figure, label=label)}</figure>')
