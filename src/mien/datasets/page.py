"""The page of a data set: its figures, copies, means and samples."""

from collections.abc import Iterator
from pathlib import Path

from mien._version import __version__
from mien.datasets.dataset import CropDataset
from mien.datasets.duplicates import Duplicates
from mien.datasets.sheets import class_sheet, copies_sheet, mean_crop
from mien.datasets.summary import NO_LABEL, DatasetSummary, class_totals, copy_rows, present_classes
from mien.files import write_whole
from mien.output.pages import (
    Html,
    cards,
    details,
    expression,
    expression_css,
    face_card,
    gallery,
    html_page,
    html_table,
    joined,
    remark,
    section,
    share_bar,
    sheet,
)

SHEET_COLUMNS = 10  # as many as the page has room for, pixel by pixel
STYLE = """
.gallery { grid-template-columns: repeat(auto-fill, minmax(110px, 1fr)); }
.gallery img { image-rendering: pixelated; }
"""


def write_html(
    summary: DatasetSummary, data: CropDataset, path: str | Path, *, title: str, duplicates: Duplicates | None = None
) -> Path:
    """Write the figures and sheets as one HTML page that needs no other file; light and dark.

    Args:
        summary: The figures.
        data: The data set they are of.
        path: The page.
        title: Its heading, the file's name say.
        duplicates: Groups of copies to show; None shows none.

    Returns:
        The page's path.

    Raises:
        OutputError: The place cannot be written to.
    """
    facts = {"format": summary.format, "label set": summary.labels, "SHA-256 of the data": summary.digest}
    sections = [
        _headline(summary), _remarks(summary), section("Classes and splits", _class_table(summary)),
        _copies(summary, data, duplicates), section("Pixels", _pixel_table(summary)), _means(summary, data),
        _samples(summary, data),
    ]  # fmt: skip
    return write_whole(path, html_page(title, facts, sections, f"Made with mien {__version__}.", style=STYLE))


def _headline(summary: DatasetSummary) -> Html:
    splits = len(summary.counts)
    items = [
        ("crops", f"{summary.crops:,}", f"in {splits} split{'s' * (splits != 1)}"),
        ("classes", f"{len(present_classes(summary))}", "that have a crop"),
    ]
    if summary.imbalance is not None and summary.largest_share is not None:
        items += [
            ("imbalance", f"{summary.imbalance:.1f} : 1", "largest to smallest class"),
            ("largest class", f"{summary.largest_share:.1%}", "right by always answering it"),
        ]
    if summary.votes is not None:
        items += [
            ("FER+ votes", f"{summary.votes.voted:,}", "crops that have them"),
            ("FER+ majority", f"{sum(summary.votes.majority.values()):,}", "crops with such a label"),
            ("not a face", f"{summary.votes.not_a_face:,}", "voted so, or unknown"),
        ]
    return cards(items)


def _remarks(summary: DatasetSummary) -> Html:
    return joined([*map(remark, summary.notes), *_bad_rows(summary)], "\n")


def _bad_rows(summary: DatasetSummary) -> Iterator[Html]:
    if not summary.bad:
        return
    title = Html(f"<b>{summary.bad:,} bad row{'s' * (summary.bad != 1)} left out</b>")
    unseen = summary.bad - len(summary.bad_rows)
    yield remark(title, *summary.bad_rows, *([f"… and {unseen:,} more"] if unseen else []), wrong=True)


def _class_table(summary: DatasetSummary) -> Html:
    totals = class_totals(summary)
    largest = max(totals.values())
    rows = [
        [
            expression(name), *(f"{counts.get(name, 0):,}" for counts in summary.counts.values()), f"{total:,}",
            f"{total / summary.crops:.1%}", share_bar(total / largest, _colour(name)),
        ]
        for name, total in totals.items()
    ]  # fmt: skip
    sums = [f"{sum(counts.values()):,}" for counts in summary.counts.values()]
    header = ("class", *summary.counts, "all", "share", "")
    return html_table(header, rows, sums=("all", *sums, f"{summary.crops:,}", "100%", ""))


def _colour(name: str) -> str:
    return "var(--muted)" if name == NO_LABEL else expression_css(name)


def _copies(summary: DatasetSummary, data: CropDataset, duplicates: Duplicates | None) -> Html:
    rows = [
        (what, f"{exact:,}", "not looked for" if near is None else f"{near:,}")
        for what, exact, near in copy_rows(summary)
    ]
    table = html_table(("crops of which this holds", "same pixels", "same pixels or looks alike"), rows)
    found = None if duplicates is None else copies_sheet(data, duplicates.near)
    if found is None:
        return section("Copies", table)
    lead = Html("<p>The largest groups of crops that look alike, one per row.</p>")
    return section("Copies", table, lead, sheet(found, alt="groups of crops that look alike"))


def _pixel_table(summary: DatasetSummary) -> Html:
    rows = [
        [
            split, f"{p.mean:.1f}", f"{p.std:.1f}", f"{p.darkest:.1f}", f"{p.brightest:.1f}", f"{p.black:.2%}",
            f"{p.white:.2%}", f"{p.blank:,}",
        ]
        for split, p in summary.pixels.items()
    ]  # fmt: skip
    header = ("split", "mean", "std", "darkest crop", "brightest crop", "pixels 0", "pixels 255", "blank crops")
    return html_table(header, rows)


def _means(summary: DatasetSummary, data: CropDataset) -> Html:
    shown = (
        face_card(mean_crop(data, name), alt=f"mean of {name}", caption=expression(name))
        for name in present_classes(summary)
    )
    return section("Mean of each class", gallery(shown))


def _samples(summary: DatasetSummary, data: CropDataset) -> Html:
    folds = (
        details(
            expression(name),
            sheet(class_sheet(data, name, columns=SHEET_COLUMNS), alt=f"crops of {name}"),
            unfolded=True,
        )
        for name in present_classes(summary)
    )
    return section("Samples", *folds, note="Drawn at random.")
