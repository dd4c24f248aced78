"""The one builder of HTML pages: one file that needs nothing else, runs nothing and asks for nothing; light and dark.

What takes text escapes it. What takes HTML takes `Html`, which the functions here return; a plain `str` in its place is
text.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from mien.labels import EMOJI
from mien.output.draw.colours import expression_colour
from mien.output.encode import data_url

LONG_FACT = 32  # characters; longer ones get two columns


class Html(str):
    """A piece of a page: it is taken as it is, where other texts are escaped."""


def as_html(piece: str) -> Html:
    """Return a piece as HTML: text is escaped."""
    return piece if isinstance(piece, Html) else Html(escape(piece))


def joined(pieces: Iterable[str], between: str = "") -> Html:
    """Return pieces one after another, with some HTML between them."""
    return Html(between.join(map(as_html, pieces)))


def html_page(title: str, facts: Mapping[str, str], sections: Iterable[str], footer: str, *, style: str = "") -> str:
    """Return a whole page.

    Args:
        title: Heading, as text.
        facts: Name → value beneath it, as text.
        sections: What it holds; empty ones are left out.
        footer: Last line, as text.
        style: CSS rules that this page needs besides those of all.
    """
    body = joined(filter(None, sections), "\n")
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


# Parts of a page


def section(title: str, *parts: str, note: str = "") -> Html:
    """Return a section of a page.

    Args:
        title: Heading, as text.
        parts: What it holds; empty ones are left out.
        note: A paragraph beneath the heading.
    """
    lead = f"<p>{as_html(note)}</p>\n" if note else ""
    content = joined(filter(None, parts), "\n")
    return Html(f"<section>\n<h2>{escape(title)}</h2>\n{lead}{content}\n</section>")


def heading(title: str) -> Html:
    """Return a heading within a section."""
    return Html(f"<h3>{as_html(title)}</h3>")


def cards(items: Iterable[tuple[str, str, str]]) -> Html:
    """Return a section of headline figures: name, value and a note each, as text."""
    cells = "".join(
        f'<div class="card"><div class="name">{escape(name)}</div><div class="value">{escape(value)}</div>'
        f'<div class="range">{escape(note)}</div></div>'
        for name, value, note in items
    )
    return Html(f'<section class="cards">{cells}</section>')


def remark(*lines: str, wrong: bool = False) -> Html:
    """Return a paragraph that catches the eye, one line below the other.

    Args:
        lines: What it says.
        wrong: Whether something is wrong, rather than worth knowing.
    """
    return Html(f'<p class="remark{" wrong" if wrong else ""}">{joined(lines, "<br>")}</p>')


def html_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, sums: Sequence[str] = (), kind: str = ""
) -> Html:
    """Return a table; the first cell of a row is its heading.

    Args:
        columns: Heading of each column.
        rows: The cells.
        sums: Cells of a last row that adds the others up.
        kind: Further class of the table's box: `"narrow"`, `"slices"`, or one of the page's own.
    """
    header = "".join(f'<th scope="col">{as_html(name)}</th>' for name in columns)
    lines = "".join(_row(row) for row in rows)
    foot = f"<tfoot>\n{_row(sums)}</tfoot>\n" if sums else ""
    return Html(
        f'<div class="{f"scroll {kind}".strip()}"><table>\n<thead><tr>{header}</tr></thead>\n'
        f"<tbody>\n{lines}</tbody>\n{foot}</table></div>"
    )


def _row(cells: Sequence[str]) -> str:
    first, *rest = map(as_html, cells)
    return f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>\n"


def side_by_side(*parts: str) -> Html:
    """Return parts side by side where there is room, else one below the other."""
    return Html('<div class="columns">' + "".join(f"<div>{as_html(part)}</div>" for part in parts) + "</div>")


def details(summary: str, content: str, *, unfolded: bool = False) -> Html:
    """Return what a reader can fold and unfold beneath its summary."""
    return Html(
        f"<details{' open' if unfolded else ''}><summary>{as_html(summary)}</summary>{as_html(content)}</details>"
    )


# Images


def gallery(figures: Iterable[str]) -> Html:
    """Return figures in rows."""
    return Html(f'<div class="gallery">{joined(figures)}</div>')


def face_card(crop: NDArray[np.uint8], *, alt: str, caption: str, number: int | None = None) -> Html:
    """Return a crop with a caption, for a gallery.

    Args:
        crop: (48, 48) uint8 gray.
        alt: What the image shows, plain text.
        caption: What stands beneath it.
        number: Number of the image, shown in its corner.
    """
    corner = "" if number is None else f'<span class="number">#{number}</span>'
    return Html(f"<figure>{_img(crop, alt)}{corner}<figcaption>{as_html(caption)}</figcaption></figure>")


def sheet(image: NDArray[np.uint8], *, alt: str) -> Html:
    """Return a sheet of crops on white paper, pixel by pixel.

    Args:
        image: (H, W) uint8 gray.
        alt: What it shows, plain text.
    """
    return Html(f'<div class="sheet">{_img(image, alt)}</div>')


def _img(image: NDArray[np.uint8], alt: str) -> str:
    height, width = image.shape[:2]
    return f'<img alt="{escape(alt)}" width="{width}" height="{height}" src="{data_url(image)}">'


# Expressions and bars


def expression(name: str) -> str:
    """Return an expression with its emoji, where it has one; text."""
    return f"{EMOJI.get(name, '')} {name}".strip()


def expression_css(name: str) -> str:
    """Return the colour of an expression as CSS wants it."""
    return "rgb({},{},{})".format(*expression_colour(name))


def share_bar(share: float, colour: str) -> Html:
    """Return a bar whose length is a share, 0-1, of its place; `colour` is CSS."""
    return Html(f'<div class="share"><i style="width:{100 * share:.1f}%;background:{colour}"></i></div>')


def prob_bar(name: str, prob: float, colour: str, *, strong: bool = False) -> Html:
    """Return a line with a name, a bar and a percentage.

    Args:
        name: Text before the bar.
        prob: 0-1.
        colour: CSS colour of the bar.
        strong: Whether the text stands out.
    """
    fill = f"width:{100 * prob:.1f}%;background:{colour}"
    return Html(
        f'<div class="prob{" strong" if strong else ""}"><span>{escape(name)}</span>'
        f'<i><u style="{fill}"></u></i><em>{prob:.0%}</em></div>'
    )


def interval_bar(value: float, low: float, high: float, *, ends: tuple[float, float], zero: bool = False) -> Html:
    """Return a value as a point with its interval as a line, on a scale.

    Args:
        value: The value.
        low: Lower end of the interval.
        high: Upper end of the interval.
        ends: The ends of the scale.
        zero: Whether to mark the middle of the scale.
    """
    left, right, middle = (100 * (v - ends[0]) / (ends[1] - ends[0]) for v in (low, high, value))
    line = '<span class="zero"></span>' if zero else ""
    interval = f"left:{left:.1f}%;width:{right - left:.1f}%"
    return Html(f'<div class="track">{line}<i style="{interval}"></i><b style="left:{middle:.1f}%"></b></div>')


STYLE = """
:root { --page: #f6f7f8; --paper: #ffffff; --ink: #1f2429; --muted: #66707a; --grid: #dfe3e7; --accent: #2268a8;
  --warm: #d9691e; --bad: #c2402b; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14171a; --paper: #1c2024; --ink: #e6e9ec; --muted: #9aa4ae; --grid: #363c43; --accent: #3f88cc;
    --warm: #ee8a48; --bad: #e5705c; } }
* { box-sizing: border-box; }
@font-face { font-family: emoji; unicode-range: U+1F300-1FAFF;
  src: local("Apple Color Emoji"), local("Segoe UI Emoji"), local("Noto Color Emoji"); }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 emoji, system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 20px 48px; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 12px; overflow-wrap: anywhere; }
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
.remark { max-width: none; padding: 8px 14px; border-left: 4px solid var(--warm); background: var(--paper);
  color: var(--ink); font-size: .92rem; overflow-wrap: anywhere; }
.remark.wrong { border-left-color: var(--bad); }
.scroll { overflow-x: auto; }
.scroll + p { margin-top: 16px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 5px 10px; border-bottom: 1px solid var(--grid); white-space: nowrap; }
thead th { color: var(--muted); font-weight: 500; font-size: .82rem; white-space: normal; vertical-align: bottom;
  min-width: 62px; }
tbody th { font-weight: 500; white-space: normal; min-width: 100px; }
tfoot th, tfoot td { font-weight: 600; border-bottom: 0; }
th:first-child { text-align: left; padding-left: 0; }
table > :last-child > tr:last-child > * { border-bottom: 0; }
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
.track { position: relative; height: 14px; }
.track::before { content: ""; position: absolute; inset: 6px 0; background: var(--grid); }
.track i { position: absolute; top: 4px; height: 6px; border-radius: 3px; background: var(--accent); opacity: .45; }
.track b { position: absolute; top: 2px; width: 10px; height: 10px; margin-left: -5px; border-radius: 50%;
  background: var(--accent); }
td:has(> .track) { min-width: 150px; }
.slices td:has(> .track) { width: 40%; }
.zero { position: absolute; left: 50%; top: 0; bottom: 0; border-left: 1px solid var(--muted); }
.share { min-width: 100px; }
td:has(> .share) { width: 45%; }
.share i { display: block; height: 14px; border-radius: 2px; min-width: 1px; }
.sheet { display: inline-block; max-width: 100%; margin: 8px 0; padding: 4px; background: #fff;
  border: 1px solid var(--grid); border-radius: 6px; }
.sheet img { display: block; max-width: 100%; height: auto; image-rendering: pixelated; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 20px 18px;
  margin-top: 10px; }
.gallery figure { margin: 0; position: relative; }
.gallery img { width: 100%; height: auto; aspect-ratio: 1; border-radius: 6px; display: block; }
.gallery figcaption { font-size: .85rem; margin-top: 6px; }
.number { position: absolute; top: 6px; right: 6px; padding: 0 6px; border-radius: 4px; font-size: .7rem;
  background: rgb(0 0 0 / .55); color: #fff; }
.prob { display: grid; grid-template-columns: 72px 1fr 34px; gap: 6px; align-items: center; font-size: .76rem;
  color: var(--muted); }
.prob span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.prob.strong { color: var(--ink); }
.prob i { height: 7px; border-radius: 3px; background: var(--grid); overflow: hidden; }
.prob u { display: block; height: 100%; }
.prob em { font-style: normal; text-align: right; }
footer { color: var(--muted); font-size: .82rem; margin-top: 20px; overflow-wrap: anywhere; }
@media print {
  :root { color-scheme: light; --page: #ffffff; --paper: #ffffff; --ink: #1f2429; --muted: #555e67; --grid: #dfe3e7;
    --accent: #2268a8; --warm: #d9691e; --bad: #c2402b; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  main { max-width: none; padding: 0; }
  section { break-inside: avoid; padding: 12px 14px; }
  section:has(.long-section) { break-inside: auto; }
  h2, h3 { break-after: avoid; }
  tr, figure { break-inside: avoid; }
  .scroll { overflow: visible; }
  thead th, tbody th, td, details td:last-child { white-space: normal; min-width: 0; padding: 3px 4px;
    font-size: .68rem; }
}
"""
