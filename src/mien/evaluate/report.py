"""A `Report` as three files: JSON with every figure, Markdown for a README, and one HTML page."""

from pathlib import Path

from mien.evaluate.document import ReportDocument, to_json
from mien.evaluate.markdown import to_markdown
from mien.evaluate.report_page import to_html
from mien.files import write_whole


def write_report(document: ReportDocument, folder: str | Path, *, page: bool = True) -> tuple[Path, ...]:
    """Write `report.json`, `report.md` and `report.html`; each appears whole or not at all.

    Args:
        document: What to write.
        folder: Made where it is missing.
        page: Whether to write `report.html`, whose figures need matplotlib.

    Returns:
        The paths.

    Raises:
        MissingExtraError: matplotlib is not installed, which the HTML page needs; the other two are written first.
        OutputError: A file cannot be written.
    """
    into = Path(folder)
    tables = (
        write_whole(into / "report.json", to_json(document)),
        write_whole(into / "report.md", to_markdown(document)),
    )
    return (*tables, write_whole(into / "report.html", to_html(document))) if page else tables
