"""Reports and comparisons as Markdown, for a README."""

from collections.abc import Iterable, Mapping, Sequence

from mien.evaluate.cells import (
    CLASS_COLUMNS,
    COMPARISON_COLUMNS,
    FIGURE_COLUMNS,
    GROUP_COLUMNS,
    LATENCY_COLUMNS,
    class_rows,
    comparison_cells,
    figure_cells,
    footnote,
    group_cells,
    latency_rows,
    set_rows,
)
from mien.evaluate.document import ReportDocument
from mien.evaluate.values import Comparison, Report


def to_markdown(document: ReportDocument) -> str:
    """Return the headline figures and the table of expressions as Markdown.

    Args:
        document: What to render.
    """
    report = document.report
    facts = [f"- {_cell(name)}: {_cell(value)}" for name, value in document.facts.items()]
    parts = [
        [f"## {document.title}"],
        facts,
        markdown_table(FIGURE_COLUMNS, set_rows(report)),
        markdown_table(CLASS_COLUMNS, class_rows(report)),
        markdown_table(GROUP_COLUMNS, [group_cells(group) for group in report.groups]) if report.groups else [],
        markdown_table(LATENCY_COLUMNS, latency_rows(document.latency)) if document.latency else [],
        [footnote(report)],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def comparison_to_markdown(reports: Mapping[str, Report], comparisons: Mapping[tuple[str, str], Comparison]) -> str:
    """Return several models' headline figures and their paired comparisons as two Markdown tables.

    Args:
        reports: Model → report, all on the same data.
        comparisons: Pair of models → comparison.
    """
    models = markdown_table(FIGURE_COLUMNS, [[name, *figure_cells(r.overall)] for name, r in reports.items()])
    pairs = markdown_table(COMPARISON_COLUMNS, [comparison_cells(a, b, c) for (a, b), c in comparisons.items()])
    return "\n".join([*models, "", *pairs]) + "\n"


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    header = "| " + " | ".join(columns) + " |"
    rule = "|" + "|".join(["---", *["---:"] * (len(columns) - 1)]) + "|"
    return [header, rule, *("| " + " | ".join(map(_cell, row)) + " |" for row in rows)]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
