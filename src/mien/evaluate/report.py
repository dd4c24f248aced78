"""A `Report` as JSON with every figure, as Markdown for a README, and as one HTML page that needs nothing else."""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien._version import __version__
from mien.errors import InputError
from mien.evaluate.evaluation import FERPLUS_MAJORITY
from mien.evaluate.robustness import RobustnessReport
from mien.evaluate.values import Comparison, Estimate, Figures, GroupFigures, Latency, Mistake, Report
from mien.files import write_whole
from mien.labels import COLOURS, EMOJI
from mien.output import plots
from mien.output.encode import data_url

SCHEMA = "mien-report/1"
COMPARISON_SCHEMA = "mien-comparison/1"
DIGITS = 6
SHOWN_PROBS = 3
LONG_FACT = 32  # characters; longer ones get two columns
NO_GROUP = "not stated"


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


def write_report(document: ReportDocument, folder: str | Path) -> tuple[Path, Path, Path]:
    """Write `report.json`, `report.md` and `report.html`; each appears whole or not at all.

    Args:
        document: What to write.
        folder: Made where it is missing.

    Returns:
        The three paths.

    Raises:
        MissingExtraError: matplotlib is not installed, which the HTML page needs; the other two are written first.
        OutputError: A file cannot be written.
    """
    into = Path(folder)
    return (
        write_whole(into / "report.json", to_json(document)),
        write_whole(into / "report.md", to_markdown(document)),
        write_whole(into / "report.html", to_html(document)),
    )


# JSON


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
    return _dump(content)


def _dump(content: Mapping[str, Any]) -> str:
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


# Markdown


def to_markdown(document: ReportDocument) -> str:
    """Return the headline figures and the table of expressions as Markdown.

    Args:
        document: What to render.
    """
    report = document.report
    facts = [f"- {_cell(name)}: {_cell(value)}" for name, value in document.facts.items()]
    sets = [("All images", report.overall), *_unseen_row(report)]
    parts = [
        [f"## {document.title}"],
        facts,
        _markdown_table(FIGURE_COLUMNS, [[name, *figure_cells(figures)] for name, figures in sets]),
        _markdown_table(CLASS_COLUMNS, _class_rows(report)),
        _markdown_table(GROUP_COLUMNS, [_group_cells(group) for group in report.groups]) if report.groups else [],
        _markdown_table(LATENCY_COLUMNS, _latency_rows(document.latency)) if document.latency else [],
        [_footnote(report)],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    header = "| " + " | ".join(columns) + " |"
    rule = "|" + "|".join(["---", *["---:"] * (len(columns) - 1)]) + "|"
    return [header, rule, *("| " + " | ".join(map(_cell, row)) + " |" for row in rows)]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


# What tables say, for Markdown and HTML

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


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.1%} ({100 * estimate.low:.1f}–{100 * estimate.high:.1f})"


def _unseen_row(report: Report) -> list[tuple[str, Figures]]:
    if report.unseen is None:
        return []
    return [(f"Without the {report.n_duplicates:,} also in the training data", report.unseen)]


def _class_rows(report: Report) -> list[list[str]]:
    return [
        [f"{EMOJI.get(c.name, '')} {c.name}".strip(), f"{c.precision:.1%}", f"{c.recall:.1%}", f"{c.f1:.1%}",
         f"{c.support:,}"]
        for c in report.classes
    ]  # fmt: skip


def _group_cells(group: GroupFigures) -> list[str]:
    return [f"{group.attribute}: {group.group or NO_GROUP}", *figure_cells(group.figures)]


def _latency_rows(timings: Iterable[Latency]) -> list[list[str]]:
    return [
        [f"{t.batch_size}", f"{t.median_ms:.2f} ms", f"{t.p90_ms:.2f} ms", f"{t.faces_per_s:,.0f}"] for t in timings
    ]


def _footnote(report: Report) -> str:
    intervals = f"In brackets: 95% intervals from {report.resamples:,} bootstrap resamples, seed {report.seed}."
    return f"{scoring_rule(report)} {intervals}"


def scoring_rule(report: Report) -> str:
    """Say in a sentence or two where the truth came from."""
    if report.rule == FERPLUS_MAJORITY:
        left_out = f"; {report.n_left_out:,} images without such a majority are left out" if report.n_left_out else ""
        return f"Scored by the FER+ authors' majority rule{left_out}."
    left_out = f" {report.n_left_out:,} images without a label in this set are left out." if report.n_left_out else ""
    return f"Scored by the data set's labels.{left_out}"


# HTML


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
    body = "\n".join(text for render in sections if (text := render(document)))
    footer = f"{_footnote(document.report)} Made with mien {__version__}."
    return html_page(document.title, document.facts, body, footer)


def html_page(title: str, facts: Mapping[str, str], body: str, footer: str, *, style: str = "") -> str:
    """Return a whole page in the look of the reports.

    Args:
        title: Heading, as text.
        facts: Name → value beneath it, as text.
        body: Sections, as HTML.
        footer: Last line, as text.
        style: CSS rules besides those of the reports.
    """
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>{STYLE}{style}</style>
</head>
<body>
<main>
<header><h1>{escape(title)}</h1>
{_facts(facts)}</header>
{body}
<footer>{escape(footer)}</footer>
</main>
</body>
</html>
"""


def _facts(facts: Mapping[str, str]) -> str:
    items = "".join(
        f"<div{' class=long' if len(value) > LONG_FACT else ''}><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in facts.items()
    )
    return f'<dl class="facts">{items}</dl>\n' if items else ""


def section(title: str, *parts: str, note: str = "") -> str:
    """Return a section of a page: title and note as text, the parts as HTML."""
    lead = f"<p>{escape(note)}</p>\n" if note else ""
    return f"<section>\n<h2>{escape(title)}</h2>\n{lead}" + "\n".join(parts) + "\n</section>"


def html_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of texts; the first cell of a row is its heading."""
    header = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    lines = "".join(
        f'<tr><th scope="row">{escape(first)}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in rest) + "</tr>\n"
        for first, *rest in rows
    )
    return f'<div class="scroll"><table>\n<thead><tr>{header}</tr></thead>\n<tbody>\n{lines}</tbody>\n</table></div>'


def _image(figure: Any, label: str) -> str:
    return f'<figure class="plot">{plots.inline_svg(figure, label=label)}</figure>'


def _columns(*parts: str) -> str:
    return '<div class="columns">' + "".join(f"<div>{part}</div>" for part in parts) + "</div>"


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def _headline(document: ReportDocument) -> str:
    figures = document.report.overall
    cards = [
        ("accuracy", f"{figures.accuracy.value:.1%}", _range(figures.accuracy)),
        ("macro-F1", f"{figures.macro_f1.value:.1%}", _range(figures.macro_f1)),
        ("top-2 accuracy", f"{figures.top2_accuracy:.1%}", "label in the best two"),
        ("calibration error", f"{figures.ece:.1%}", "0% is perfect"),
        ("log loss", f"{figures.log_loss:.3f}", "nats; 0 is perfect"),
        ("images", f"{figures.n:,}", f"{document.report.n_left_out:,} left out"),
    ]
    one = next((t for t in document.latency if t.batch_size == 1), None)
    if one:
        cards.append(("one face", f"{one.median_ms:.1f} ms", f"90% within {one.p90_ms:.1f} ms"))
    items = "".join(
        f'<div class="card"><div class="name">{escape(name)}</div><div class="value">{escape(value)}</div>'
        f'<div class="range">{escape(note)}</div></div>'
        for name, value, note in cards
    )
    return f'<section class="cards">{items}</section>'


def _range(estimate: Estimate) -> str:
    return f"{estimate.low:.1%} to {estimate.high:.1%}"


def _sets(document: ReportDocument) -> str:
    report = document.report
    rows = [("All images", report.overall), *_unseen_row(report)]
    note = scoring_rule(report)
    if report.unseen is not None:
        note += (
            " Some images of the data set occur pixel for pixel among those the model has learnt from; the second line "
            "does without them."
        )
    return section("Figures", html_table(FIGURE_COLUMNS, [[name, *figure_cells(f)] for name, f in rows]), note=note)


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
    table = f'<div class="narrow">{html_table(("measure", "value"), rows)}</div>'
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
        _columns(html_table(CLASS_COLUMNS, _class_rows(report)), _image(image, "F1, precision and recall")),
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
        (f"{b.low:.0%}–{b.high:.0%}", f"{b.count:,}", _percent_or_dash(b.confidence), _percent_or_dash(b.accuracy))
        for b in found.bins
    ]
    table = html_table(("confidence", "images", "mean confidence", "accuracy"), rows)
    note = (
        "Of the answers given with 80% confidence, 80% should be right. Bars above the diagonal: the model is too "
        f"modest; below: too sure. Expected calibration error {found.ece:.1%} over {len(found.bins)} bins of equal "
        f"width, {found.adaptive_ece:.1%} over bins of equal count."
    )
    return section("Calibration", _columns(_image(image, "Reliability diagram"), table), note=note)


def _percent_or_dash(value: float) -> str:
    return f"{value:.1%}" if math.isfinite(value) else "–"


def _selective(document: ReportDocument) -> str:
    found = document.report.selective
    image = plots.risk_coverage_curves({"": (found.coverage, found.risk)})
    rows = [(f"{p.threshold:.0%}", f"{p.coverage:.1%}", _percent_or_dash(p.accuracy)) for p in found.points]
    table = html_table(("answer from confidence", "images answered", "accuracy"), rows)
    note = (
        "Below a confidence of your choice the answer can be «uncertain». The fewer images are answered, the fewer of "
        f"the answers are wrong. Area under the curve {found.aurc:.4f}; smaller is better."
    )
    return section(
        "When the model may say «uncertain»", _columns(_image(image, "Risk against coverage"), table), note=note
    )


def _groups(document: ReportDocument) -> str:
    tables = [
        f"<h3>{escape(attribute)}</h3>" + _group_table(tuple(groups))
        for attribute, groups in groupby(document.report.groups, key=lambda group: group.attribute)
    ]
    note = "Groups of few images have wide intervals; where intervals overlap widely, do not read much into it."
    return section("Slices", *tables, note=note) if tables else ""


def _group_table(groups: Sequence[GroupFigures]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(g.group or NO_GROUP)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in figure_cells(g.figures)[:3])
        + f'<td class="wide">{_range_bar(g.figures.accuracy)}</td></tr>\n'
        for g in groups
    )
    names = ("group", "N", "accuracy", "macro-F1", "accuracy, 0 to 100%")
    header = "".join(f'<th scope="col">{name}</th>' for name in names)
    return f'<div class="scroll"><table><thead><tr>{header}</tr></thead><tbody>\n{rows}</tbody></table></div>'


def _range_bar(e: Estimate) -> str:
    interval = f"left:{100 * e.low:.1f}%;width:{100 * (e.high - e.low):.1f}%"
    return f'<div class="track"><i style="{interval}"></i><b style="left:{100 * e.value:.1f}%"></b></div>'


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
    return section("Robustness", image, _details("All values", table), note=note)


def _latency(document: ReportDocument) -> str:
    if not document.latency:
        return ""
    table = html_table(LATENCY_COLUMNS, _latency_rows(document.latency))
    note = "Time of one call with that many faces, and faces per second at the median."
    return section("Speed", f'<div class="narrow">{table}</div>', note=note)


def _mistakes(document: ReportDocument) -> str:
    report, crops = document.report, document.crops
    if crops is None or not report.mistakes:
        return ""
    cards = "\n".join(_mistake_card(m, crops[m.index], report) for m in report.mistakes)
    note = "The wrong answers given with most confidence: label → answer. Not every label is right."
    return section("Worst mistakes", f'<div class="gallery">{cards}</div>', note=note)


def _mistake_card(mistake: Mistake, crop: NDArray[np.uint8], report: Report) -> str:
    names, probs = report.labels.names, report.predictions.probs[mistake.index]
    best = np.argsort(-probs, kind="stable")[:SHOWN_PROBS].tolist()
    truth = names.index(mistake.truth)
    shown = best if truth in best else [*best[:-1], truth]
    bars = "".join(_prob_bar(names[i], float(probs[i]), strong=i == truth) for i in shown)
    caption = f"{escape(mistake.truth)} → <b>{escape(mistake.predicted)}</b>"
    alt = f"face {mistake.index}: label {mistake.truth}, answer {mistake.predicted}"
    return face_card(mistake.index, crop, alt=alt, caption=caption + bars)


def face_card(index: int, crop: NDArray[np.uint8], *, alt: str, caption: str) -> str:
    """Return a face with its number and a caption, as HTML for a gallery.

    Args:
        index: Number of the image.
        crop: (48, 48) uint8 gray.
        alt: What the image shows, plain text.
        caption: HTML.
    """
    return (
        f'<figure><img alt="{escape(alt)}" width="48" height="48" src="{data_url(crop)}">'
        f'<span class="number">#{index}</span><figcaption>{caption}</figcaption></figure>'
    )


def _prob_bar(name: str, prob: float, *, strong: bool) -> str:
    red, green, blue = COLOURS.get(name, (120, 120, 120))
    kind = "prob truth" if strong else "prob"
    fill = f"width:{100 * prob:.1f}%;background:rgb({red},{green},{blue})"
    return f'<div class="{kind}"><span>{escape(name)}</span><i><u style="{fill}"></u></i><em>{prob:.0%}</em></div>'


# Comparisons


def comparison_to_json(reports: Mapping[str, Report], comparisons: Mapping[tuple[str, str], Comparison]) -> str:
    """Return several models' headline figures and their paired comparisons as JSON.

    Args:
        reports: Model → report, all on the same data.
        comparisons: Pair of models → comparison.
    """
    models = {name: report.overall for name, report in reports.items()}
    pairs = [{"a": a, "b": b, **_plain(comparison)} for (a, b), comparison in comparisons.items()]
    return _dump({"schema": COMPARISON_SCHEMA, "mien": __version__, "models": models, "pairs": pairs})


def comparison_to_markdown(reports: Mapping[str, Report], comparisons: Mapping[tuple[str, str], Comparison]) -> str:
    """Return several models' headline figures and their paired comparisons as two Markdown tables.

    Args:
        reports: Model → report, all on the same data.
        comparisons: Pair of models → comparison.
    """
    models = _markdown_table(FIGURE_COLUMNS, [[name, *figure_cells(r.overall)] for name, r in reports.items()])
    pairs = _markdown_table(COMPARISON_COLUMNS, [comparison_cells(a, b, c) for (a, b), c in comparisons.items()])
    return "\n".join([*models, "", *pairs]) + "\n"


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


STYLE = """
:root { --page: #f6f7f8; --paper: #ffffff; --ink: #1f2429; --muted: #66707a; --grid: #dfe3e7; --accent: #2268a8;
  --warm: #d9691e; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14171a; --paper: #1c2024; --ink: #e6e9ec; --muted: #9aa4ae; --grid: #363c43; --accent: #3f88cc;
    --warm: #ee8a48; } }
* { box-sizing: border-box; }
@font-face { font-family: emoji; unicode-range: U+1F300-1FAFF;
  src: local("Apple Color Emoji"), local("Segoe UI Emoji"), local("Noto Color Emoji"); }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 emoji, system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 20px 48px; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 12px; }
h2 { font-size: 1.2rem; margin: 0 0 6px; }
h3 { font-size: 1rem; margin: 18px 0 4px; }
p { margin: 0 0 14px; color: var(--muted); max-width: 75ch; }
section { background: var(--paper); border: 1px solid var(--grid); border-radius: 10px; padding: 20px 22px;
  margin: 16px 0; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 8px 24px; margin: 0; }
@media (min-width: 560px) { .facts .long { grid-column: span 2; } }
.facts dt { color: var(--muted); font-size: .8rem; }
.facts dd { margin: 0; overflow-wrap: anywhere; font-size: .92rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(112px, 1fr)); gap: 18px; }
.card .name { color: var(--muted); font-size: .85rem; }
.card .value { font-size: 1.75rem; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
.card .range { color: var(--muted); font-size: .78rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 5px 10px; border-bottom: 1px solid var(--grid); white-space: nowrap; }
thead th { color: var(--muted); font-weight: 500; font-size: .82rem; }
tbody th { font-weight: 500; }
th:first-child { text-align: left; padding-left: 0; }
tbody tr:last-child > * { border-bottom: 0; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(380px, 100%), 1fr)); gap: 20px 32px;
  align-items: center; }
.columns > div { min-width: 0; }
.plot { margin: 0; }
.plot svg { display: block; width: 100%; height: auto; margin: 0 auto; }
.plot svg text { font-family: system-ui, "Segoe UI", Roboto, sans-serif !important; }
details { margin-top: 12px; }
details table { margin-top: 8px; }
details td:last-child { white-space: normal; text-align: left; min-width: 320px; }
details th:last-child { text-align: left; }
summary { cursor: pointer; color: var(--muted); }
.narrow { max-width: 520px; }
.wide { width: 40%; min-width: 160px; }
.track { position: relative; height: 14px; }
.track::before { content: ""; position: absolute; inset: 6px 0; background: var(--grid); }
.track i { position: absolute; top: 4px; height: 6px; border-radius: 3px; background: var(--accent); opacity: .45; }
.track b { position: absolute; top: 2px; width: 10px; height: 10px; margin-left: -5px; border-radius: 50%;
  background: var(--accent); }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 20px 18px; }
.gallery figure { margin: 0; position: relative; }
.gallery img { width: 100%; height: auto; aspect-ratio: 1; border-radius: 6px; display: block; }
.gallery figcaption { font-size: .85rem; margin-top: 6px; }
.number { position: absolute; top: 6px; right: 6px; padding: 0 6px; border-radius: 4px; font-size: .7rem;
  background: rgb(0 0 0 / .55); color: #fff; }
.prob { display: grid; grid-template-columns: 58px 1fr 34px; gap: 6px; align-items: center; font-size: .76rem;
  color: var(--muted); }
.prob.truth { color: var(--ink); }
.prob i { height: 7px; border-radius: 3px; background: var(--grid); overflow: hidden; }
.prob u { display: block; height: 100%; }
.prob em { font-style: normal; text-align: right; }
footer { color: var(--muted); font-size: .82rem; margin-top: 20px; }
@media print { section { break-inside: avoid; } }
"""
