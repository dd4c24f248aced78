"""A `SetsReport` as JSON, Markdown and one HTML page: the means, then a line per set, expression and group."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mien._version import __version__
from mien.evaluate.document import dump
from mien.evaluate.markdown import markdown_table
from mien.evaluate.sets import SetReport, SetsReport
from mien.evaluate.values import Estimate
from mien.files import write_whole
from mien.output.pages import cards, html_page, html_table, section

SCHEMA = "mien-sets-report/1"
SET_COLUMNS = ("set", "N", "accuracy", "balanced accuracy", "ECE", "left out")
GROUP_COLUMNS = ("set", "group", "N", "accuracy", "ECE")
LEFT_OUT_COLUMNS = ("set", "chosen on the others", "balanced accuracy", "ECE")
MEAN = "mean over sets"


@dataclass(frozen=True, eq=False)
class SetsDocument:
    """A report on several sets with what else its readers want to know.

    Attributes:
        title: Heading.
        report: The figures.
        facts: What was measured and how, in order.
    """

    title: str
    report: SetsReport
    facts: Mapping[str, str] = field(default_factory=dict)


def write_sets_report(document: SetsDocument, folder: str | Path) -> tuple[Path, Path, Path]:
    """Write `report.json`, `report.md` and `report.html`; each appears whole or not at all.

    Args:
        document: What to write.
        folder: Made where it is missing.

    Returns:
        The three paths.

    Raises:
        OutputError: A file cannot be written.
    """
    into = Path(folder)
    return (
        write_whole(into / "report.json", sets_to_json(document)),
        write_whole(into / "report.md", sets_to_markdown(document)),
        write_whole(into / "report.html", sets_to_html(document)),
    )


def sets_to_json(document: SetsDocument) -> str:
    """Return every figure as JSON.

    Args:
        document: What to render. Probabilities and mistakes of single images are left out.
    """
    report = document.report
    return dump(
        {
            "schema": SCHEMA,
            "mien": __version__,
            "title": document.title,
            "facts": dict(document.facts),
            "labels": report.labels,
            "mean": {
                "accuracy": report.accuracy,
                "balanced_accuracy": report.balanced_accuracy,
                "ece": report.ece,
            },
            "sets": [_set_values(one) for one in report.sets],
            "left_out": report.left_out,
            "resamples": report.resamples,
            "seed": report.seed,
        }
    )


def _set_values(one: SetReport) -> dict[str, object]:
    found = one.report
    return {
        "name": one.name,
        "balanced_accuracy": one.balanced_accuracy,
        "rule": found.rule,
        "n_left_out": found.n_left_out,
        "overall": found.overall,
        "unseen": found.unseen,
        "n_duplicates": found.n_duplicates,
        "classes": found.classes,
        "confusion": found.confusion,
        "groups": found.groups,
    }


def sets_to_markdown(document: SetsDocument) -> str:
    """Return the means, the sets, the recall per expression and the groups as Markdown.

    Args:
        document: What to render.
    """
    report = document.report
    groups = list(_group_rows(report))
    parts = [
        [f"## {document.title}"],
        [f"- {name}: {value}" for name, value in document.facts.items()],
        markdown_table(SET_COLUMNS, sets_rows(report)),
        markdown_table(LEFT_OUT_COLUMNS, left_out_rows(report)) if report.left_out else [],
        markdown_table(_recall_columns(report), _recall_rows(report)),
        markdown_table(GROUP_COLUMNS, groups) if groups else [],
        [_footnote(report)],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def sets_to_html(document: SetsDocument) -> str:
    """Return one page with everything inside, without script or request.

    Args:
        document: What to render.
    """
    report = document.report
    groups = list(_group_rows(report))
    sections = (
            _headline(report),
            section("Sets", html_table(SET_COLUMNS, sets_rows(report)), note=f"Label set {report.labels.key}."),
            section(
                "Each set left out", html_table(LEFT_OUT_COLUMNS, left_out_rows(report)),
                note="Constants that were chosen on these sets flatter the figures above. Here all that can be chosen "
                "is chosen anew on the other sets: what to expect of faces of yet another origin.",
            ) if report.left_out else "",
            section(
                "Recall per expression", html_table(_recall_columns(report), _recall_rows(report)),
                note="How much of an expression is found, with the number of its images. The mean of a line is the "
                "balanced accuracy of that set.",
            ),
            section(
                "Groups", html_table(GROUP_COLUMNS, groups),
                note="Groups of few images have wide intervals, and may differ in what their images show.",
            ) if groups else "",
    )  # fmt: skip
    return html_page(document.title, document.facts, sections, f"{_footnote(report)} Made with mien {__version__}.")


def _headline(report: SetsReport) -> str:
    return cards(
        (
            ("Balanced accuracy", f"{report.balanced_accuracy.value:.1%}", _range(report.balanced_accuracy)),
            ("Accuracy", f"{report.accuracy.value:.1%}", _range(report.accuracy)),
            ("Calibration error", f"{report.ece:.1%}", "expected, 15 bins"),
            ("Sets", f"{len(report.sets)}", "each counts alike"),
        )
    )


def _range(estimate: Estimate) -> str:
    return f"{estimate.low:.1%} to {estimate.high:.1%}"


def sets_rows(report: SetsReport) -> list[list[str]]:
    """Return the lines of the table of sets, the mean last, as `SET_COLUMNS` wants them."""
    rows = [
        [
            one.name, f"{one.report.overall.n:,}", _interval(one.report.overall.accuracy),
            _interval(one.balanced_accuracy), f"{one.report.overall.ece:.1%}", f"{one.report.n_left_out:,}",
        ]
        for one in report.sets
    ]  # fmt: skip
    total = sum(one.report.overall.n for one in report.sets)
    left_out = sum(one.report.n_left_out for one in report.sets)
    mean = [
        MEAN, f"{total:,}", _interval(report.accuracy), _interval(report.balanced_accuracy), f"{report.ece:.1%}",
        f"{left_out:,}",
    ]  # fmt: skip
    return [*rows, mean]


def left_out_rows(report: SetsReport) -> list[list[str]]:
    """Return the lines of the table of sets that are left out, the mean last, as `LEFT_OUT_COLUMNS` wants them."""
    rows = [
        [one.name, f"{one.choice}, temperature {one.temperature:.2f}", f"{one.balanced_accuracy:.1%}", f"{one.ece:.1%}"]
        for one in report.left_out
    ]
    balanced, ece = np.mean([(one.balanced_accuracy, one.ece) for one in report.left_out], axis=0)
    return [*rows, [MEAN, "", f"{balanced:.1%}", f"{ece:.1%}"]]


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.1%} ({100 * estimate.low:.1f}–{100 * estimate.high:.1f})"


def _recall_columns(report: SetsReport) -> Sequence[str]:
    return ("set", *report.labels.names)


def _recall_rows(report: SetsReport) -> list[list[str]]:
    return [
        [one.name, *(f"{c.recall:.1%} of {c.support:,}" if c.support else "–" for c in one.report.classes)]
        for one in report.sets
    ]


def _group_rows(report: SetsReport) -> Iterator[list[str]]:
    for one in report.sets:
        for group in one.report.groups:
            found = group.figures
            name = f"{group.attribute}: {group.group or 'not stated'}"
            yield [one.name, name, f"{found.n:,}", _interval(found.accuracy), f"{found.ece:.1%}"]


def _footnote(report: SetsReport) -> str:
    return (
        "Balanced accuracy: the mean recall of the expressions that occur. Left out: images whose label is none of the "
        f"label set. In brackets: 95% intervals from {report.resamples:,} bootstrap resamples within each set, seed "
        f"{report.seed}."
    )
