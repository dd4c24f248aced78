"""Figures for reports: plain arrays in, a matplotlib `Figure` out; pyplot's global state is never touched.

Colours stay apart for red-green blindness and in gray print. `inline_svg` gives images that follow a page's light or
dark theme.
"""

import functools
import html
import io
import math
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, require_extra
from mien.files import ending_of, storable, write_whole
from mien.labels import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, ACCENT, WARM = "#1f2429", "#66707a", "#dfe3e7", "#2268a8", "#d9691e"
THEME = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)", ACCENT: "var(--accent)", WARM: "var(--warm)"}
SERIES = (ACCENT, WARM, "#2a9d78", "#b5559b", "#8a6d1b", "#56a5dd")  # after Okabe & Ito (2008)
FORMATS = (".png", ".svg", ".pdf")
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.facecolor": "none",
    "axes.grid": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "figure.facecolor": "white",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "text.color": INK,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}

P = ParamSpec("P")
_STYLE_LOCK = threading.RLock()  # rc_context swaps settings of the whole process for a moment


@dataclass(frozen=True)
class CurvePanel:
    """One small image of `robustness_curves`.

    Attributes:
        title: What is varied.
        settings: (K,) what people read along the axis.
        accuracy: Model → (K,) accuracy at each setting, 0-1.
    """

    title: str
    settings: Sequence[str]
    accuracy: Mapping[str, Sequence[float]]


def in_style(draw: Callable[P, "Figure"]) -> Callable[P, "Figure"]:
    """Draw in mien's style whatever the user's own settings of matplotlib are."""

    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> "Figure":
        style = require_extra("plots", "matplotlib.style")
        with _STYLE_LOCK, style.context(["default", STYLE]):
            return draw(*args, **kwargs)

    return styled


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> "tuple[Figure, list[Axes]]":
    """Return a figure, sizes in inches, and its axes row by row."""
    figure: Figure = require_extra("plots", "matplotlib.figure").Figure((width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


@in_style
def confusion_heatmap(confusion: NDArray[np.int64], names: Sequence[str], *, title: str = "") -> "Figure":
    """Draw a confusion matrix: the share of each label's images by answer, with the counts beneath.

    Args:
        confusion: (C, C) int64, rows the label, columns the answer.
        names: (C,) expressions.
        title: Heading.

    Raises:
        MissingExtraError: matplotlib is not installed (so for every function here).
    """
    classes = len(names)
    figure, (axes,) = new_figure(1.5 + 0.74 * classes, 1.0 + 0.6 * classes)
    rectangle = require_extra("plots", "matplotlib.patches").Rectangle
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    for (row, column), value in np.ndenumerate(share):
        axes.add_patch(rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=ACCENT, alpha=value, linewidth=0))
        colour = "white" if value > 0.65 else INK
        axes.text(column, row - 0.1, f"{value:.0%}", ha="center", va="center", color=colour, fontsize=10.5)
        count = f"{confusion[row, column]:,}"
        axes.text(column, row + 0.27, count, ha="center", va="center", color=colour, fontsize=8, alpha=0.8)
    axes.set(xlim=(-0.5, classes - 0.5), ylim=(classes - 0.5, -0.5), xlabel="answer", ylabel="label", title=title)
    axes.set_xticks(range(classes), names)
    axes.set_yticks(range(classes), names)
    axes.hlines(np.arange(1, classes) - 0.5, -0.5, classes - 0.5, color=GRID, linewidth=0.8)
    axes.vlines(np.arange(1, classes) - 0.5, -0.5, classes - 0.5, color=GRID, linewidth=0.8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


@in_style
def reliability(
    edges: Sequence[float],
    count: Sequence[int],
    confidence: Sequence[float],
    accuracy: Sequence[float],
    *,
    ece: float,
    title: str = "",
) -> "Figure":
    """Draw accuracy against confidence, bin by bin, over a histogram of the confidences.

    Args:
        edges: (B + 1,) borders of the bins, 0-1.
        count: (B,) images in each bin.
        confidence: (B,) mean confidence; NaN for an empty bin.
        accuracy: (B,) accuracy; NaN for an empty bin.
        ece: Expected calibration error, 0-1.
        title: Heading.
    """
    figure, (top, bottom) = new_figure(5.2, 5.4, rows=2)
    top.get_subplotspec().get_gridspec().set_height_ratios((3.2, 1))  # type: ignore[union-attr]
    left, width = np.array(edges[:-1]), np.diff(edges)
    hits, mean, n = np.array(accuracy), np.array(confidence), np.array(count)
    shown = n > 0
    at, wide = (left + width / 2)[shown], 0.92 * width[shown]
    top.bar(at, hits[shown], wide, color=ACCENT, alpha=0.85, label="accuracy")
    low, gap = np.minimum(hits, mean)[shown], np.abs(hits - mean)[shown]
    top.bar(at, gap, wide, low, facecolor="none", edgecolor=WARM, hatch="////", label="gap", linewidth=1)
    top.plot((0, 1), (0, 1), linestyle=(0, (4, 3)), color=MUTED, linewidth=1.2, label="perfect")
    top.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy", title=title)
    top.tick_params(labelbottom=False)
    top.legend(loc="upper left", title=f"ECE {ece:.1%}", title_fontproperties={"weight": "bold"}, alignment="left")
    bottom.bar(left + width / 2, n / max(n.sum(), 1), 0.92 * width, color=MUTED, alpha=0.7)
    bottom.set(xlim=(0, 1), xlabel="confidence", ylabel="images")
    for axes in (top, bottom):
        _percent(axes, "xy")
    return figure


@in_style
def risk_coverage_curves(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, title: str = "") -> "Figure":
    """Draw the error rate against the share of images answered, the most confident first.

    Args:
        curves: Name → coverage and risk, each (K,) in 0-1; one nameless curve gets no legend.
        title: Heading.
    """
    figure, (axes,) = new_figure(5.6, 4.0)
    for (name, (coverage, risk)), colour in zip(curves.items(), _colours(len(curves)), strict=True):
        axes.plot(coverage, risk, color=colour, label=f"{name}: {risk[-1]:.1%} of all")
        axes.plot(coverage[-1:], risk[-1:], "o", color=colour, clip_on=False)
        if len(curves) == 1:
            axes.fill_between(coverage, risk, color=colour, alpha=0.12, linewidth=0)
            axes.annotate(f"{risk[-1]:.1%}", (coverage[-1], risk[-1]), (-9, 4), textcoords="offset points", ha="right")
    axes.set(xlim=(0, 1), xlabel="share of images answered", ylabel="errors among them", title=title)
    axes.set_ylim(0, None)
    axes.yaxis.set_major_locator(require_extra("plots", "matplotlib.ticker").MaxNLocator(7, steps=(1, 2, 5, 10)))
    _percent(axes, "xy")
    axes.grid(axis="y")
    if any(curves):
        axes.legend(loc="upper left")
    return figure


@in_style
def class_scores(
    names: Sequence[str],
    f1: Sequence[float],
    precision: Sequence[float],
    recall: Sequence[float],
    support: Sequence[int],
    *,
    title: str = "",
) -> "Figure":
    """Draw F1 as a bar per expression, with precision and recall as marks on it.

    Args:
        names: (C,) expressions.
        f1: (C,) in 0-1, like precision and recall; NaN where there is nothing to divide by, which leaves a mark out.
        precision: (C,).
        recall: (C,).
        support: (C,) images of each expression.
        title: Heading.
    """
    figure, (axes,) = new_figure(5.4, 1.2 + 0.42 * len(names))
    row = np.arange(len(names))
    axes.barh(row, f1, 0.62, color=ACCENT, label="F1")
    for values, marker, colour, label in ((precision, "D", INK, "precision"), (recall, "o", WARM, "recall")):
        axes.plot(values, row, marker, markersize=7, color=colour, markeredgecolor="white", label=label, clip_on=False)
    for y, (*marks, value) in enumerate(zip(precision, recall, f1, strict=True)):
        right = np.nanmax([*marks, value, 0.0])
        text = f"{value:.2f}" if np.isfinite(value) else "–"
        axes.annotate(text, (right, y), (9, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(row, [f"{name}  ({n:,})" for name, n in zip(names, support, strict=True)])
    axes.set(xlim=(0, 1.06), ylim=(len(names) - 0.4, -0.6), title=title)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.spines[["left"]].set_visible(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=3)
    return figure


@in_style
def robustness_curves(panels: Sequence[CurvePanel], *, columns: int = 5, title: str = "") -> "Figure":
    """Draw accuracy against strength, one small image per corruption, all on one scale.

    Args:
        panels: What to draw; the first setting of each is the untouched image.
        columns: Images side by side.
        title: Heading.
    """
    columns = min(columns, max(1, len(panels)))
    rows = max(1, math.ceil(len(panels) / columns))
    figure, all_axes = new_figure(2.35 * columns + 0.3, 2.15 * rows + 0.4 + 0.3 * bool(title), rows, columns)
    for axes, panel in zip(all_axes, panels, strict=False):
        at = range(len(panel.settings))
        for (name, accuracy), colour in zip(panel.accuracy.items(), _colours(len(panel.accuracy)), strict=True):
            axes.plot(at, accuracy, marker="o", markersize=4, color=colour, label=name)
            axes.axhline(accuracy[0], color=colour, linestyle=(0, (4, 3)), linewidth=1, alpha=0.5)
        axes.set_title(panel.title, fontsize=10)
        axes.set_xticks(at, panel.settings, fontsize=8)
        axes.set_ylim(0, 1)
        axes.set_yticks(np.linspace(0, 1, 6))
        axes.grid(axis="y")
        _percent(axes, "y")
        axes.tick_params(length=0)
    for axes in all_axes[len(panels) :]:
        axes.set_axis_off()
    if panels and any(panels[0].accuracy):
        figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(SERIES))
    _heading(figure, title)
    return figure


@in_style
def class_counts(names: Sequence[str], counts: Mapping[str, Sequence[int]], *, title: str = "") -> "Figure":
    """Draw how many images each expression has, the splits stacked.

    Args:
        names: (C,) expressions.
        counts: Split → (C,) images.
        title: Heading.
    """
    figure, (axes,) = new_figure(6.6, 1.2 + 0.42 * len(names))
    row, done = np.arange(len(names)), np.zeros(len(names))
    for (split, of_class), colour in zip(counts.items(), _colours(len(counts)), strict=True):
        axes.barh(row, of_class, 0.66, left=done, color=colour, label=split)
        done = done + np.array(of_class)
    total = max(float(done.sum()), 1.0)
    for y, n in enumerate(done):
        text = f"{n:,.0f}  ({n / total:.0%})"
        axes.annotate(text, (n, y), (6, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(row, names)
    axes.set(xlim=(0, 1.2 * max(done.max(initial=0), 1)), ylim=(len(names) - 0.4, -0.6), xlabel="images", title=title)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.spines[["left"]].set_visible(False)
    if len(counts) > 1:
        axes.legend(loc="lower right")
    return figure


Row = Mapping[str, str | float | None]


@in_style
def training_curves(rows: Iterable[Row], *, title: str = "") -> "Figure":
    """Draw loss, accuracy and learning rate by epoch.

    Args:
        rows: Rows of a run's `metrics.csv`, values as text or numbers: an `epoch` (from 0) and any of the columns with
            «loss», «acc» or a name that starts with «lr»; blank cells are skipped and rows of one epoch are joined.
        title: Heading.

    Raises:
        InputError: No row has an epoch and one of these columns.
    """
    series = _series_by_epoch(rows)
    panels = {
        label: chosen
        for label, wanted in (("loss", "loss"), ("accuracy", "acc"), ("learning rate", "lr"))
        if (chosen := {name: points for name, points in series.items() if _is_kind(name, wanted)})
    }
    if not panels:
        raise InputError("no row has an epoch and a loss, an accuracy or a learning rate; pass rows of metrics.csv")
    figure, all_axes = new_figure(4.4 * len(panels), 3.5 + 0.3 * bool(title), columns=len(panels))
    for axes, (label, chosen) in zip(all_axes, panels.items(), strict=True):
        _draw_series(axes, label, chosen)
    _heading(figure, title)
    return figure


def _is_kind(name: str, kind: str) -> bool:
    return name.startswith("lr") if kind == "lr" else kind in name and not name.startswith("lr")


def _series_by_epoch(rows: Iterable[Row]) -> dict[str, dict[int, float]]:
    series: dict[str, dict[int, float]] = {}
    for row in rows:
        epoch = row.get("epoch")
        for name, value in row.items():
            if name not in ("epoch", "step") and epoch not in (None, "") and value not in (None, ""):
                series.setdefault(name, {})[int(float(epoch or 0)) + 1] = float(value or 0)
    return series


def _draw_series(axes: "Axes", label: str, chosen: Mapping[str, Mapping[int, float]]) -> None:
    for (name, points), colour in zip(chosen.items(), _colours(len(chosen)), strict=True):
        epochs, values = list(points), np.array(list(points.values()))
        text = name.replace("_", " ").replace("val ", "validation ").replace("acc ", "").replace("train ", "training ")
        if label == "accuracy":
            best = int(values.argmax())
            axes.plot(epochs[best], values[best], "o", color=colour)
            text += f": best {values[best]:.1%}, epoch {epochs[best]}"
        axes.plot(epochs, values, color=colour, label=text, marker="o" if len(epochs) == 1 else None)
    axes.set(xlabel="epoch", title=label)
    axes.grid(axis="y")
    if label == "accuracy":
        _percent(axes, "y")
    axes.xaxis.set_major_locator(require_extra("plots", "matplotlib.ticker").MaxNLocator(integer=True))
    if label != "learning rate" or len(chosen) > 1:
        axes.legend(loc="best")


@in_style
def gallery(
    crops: NDArray[np.uint8],
    captions: Sequence[str],
    *,
    probs: NDArray[np.float32] | None = None,
    names: Sequence[str] = (),
    columns: int = 6,
    title: str = "",
) -> "Figure":
    """Draw crops with a caption each and, where given, their probabilities as bars.

    Args:
        crops: (N, 48, 48) uint8 gray.
        captions: (N,) text above each crop.
        probs: (N, C) float32 probabilities.
        names: (C,) expressions of `probs`.
        columns: Crops side by side.
        title: Heading.

    Raises:
        InputError: There is no crop, or the lengths differ.
    """
    if not len(crops) or len(captions) != len(crops) or (probs is not None and probs.shape != (len(crops), len(names))):
        raise InputError("a gallery needs at least one crop, a caption each, and one probability per crop and name")
    columns = min(columns, len(crops))
    rows, parts = math.ceil(len(crops) / columns), 1 if probs is None else 2
    height = rows * (1.75 + (0.16 * len(names) + 0.15 if probs is not None else 0)) + 0.3 * bool(title)
    figure, all_axes = new_figure(1.65 * columns, height, rows * parts, columns)
    if probs is not None:
        grid = all_axes[0].get_subplotspec().get_gridspec()  # type: ignore[union-attr]
        grid.set_height_ratios((1.5, 0.16 * len(names)) * rows)
    for axes in all_axes:
        axes.set_axis_off()
    for i, (crop, caption) in enumerate(zip(crops, captions, strict=True)):
        axes = all_axes[(i // columns) * parts * columns + i % columns]
        axes.imshow(crop, cmap="gray", vmin=0, vmax=255, interpolation="bicubic")
        axes.set_title(caption, fontsize=8.5, fontweight="normal", loc="center")
        if probs is not None:
            _draw_probs(all_axes[((i // columns) * parts + 1) * columns + i % columns], probs[i], names)
    _heading(figure, title)
    return figure


def _draw_probs(axes: "Axes", probs: NDArray[np.float32], names: Sequence[str]) -> None:
    colours = [np.array(COLOURS.get(name, (110, 110, 110))) / 255 for name in names]
    row = np.arange(len(names))
    axes.barh(row, probs, 0.7, color=colours)
    for y, (name, p) in enumerate(zip(names, probs, strict=True)):
        axes.text(-0.04, y, name, ha="right", va="center", fontsize=7)
        axes.text(float(p) + 0.03, y, f"{p:.0%}", ha="left", va="center", fontsize=7)
    axes.set(xlim=(-0.62, 1.28), ylim=(len(names) - 0.4, -0.6))


def _colours(n: int) -> list[str]:
    return [SERIES[i % len(SERIES)] for i in range(n)]


def _heading(figure: "Figure", title: str) -> None:
    if title:
        figure.suptitle(storable(title), fontweight="bold")


def _percent(axes: "Axes", which: str) -> None:
    percent = require_extra("plots", "matplotlib.ticker").PercentFormatter
    for axis, name in ((axes.xaxis, "x"), (axes.yaxis, "y")):
        if name in which:
            axis.set_major_formatter(percent(1, decimals=0))


def save_figure(figure: "Figure", path: str | Path, *, dpi: int = 150) -> Path:
    """Write a figure; the file appears whole or not at all.

    Args:
        figure: What to write.
        path: Ends in `.png`, `.svg` or `.pdf`.
        dpi: Dots per inch of a PNG.

    Returns:
        The path.

    Raises:
        InputError: The name ends otherwise.
        OutputError: The file cannot be written.
    """
    kind = ending_of(path, FORMATS, f"a figure must end in {', '.join(FORMATS)}")
    return write_whole(path, figure_bytes(figure, kind.removeprefix("."), dpi=dpi))


def figure_bytes(
    figure: "Figure", kind: str, *, dpi: int = 150, text_as: str = "path", background: str = "white"
) -> bytes:
    """Return a figure as the bytes of a file; equal figures give equal bytes.

    Args:
        figure: The figure.
        kind: `"png"`, `"svg"` or `"pdf"`.
        dpi: Pixels per inch of a PNG.
        text_as: How an SVG holds text: `"path"`, or `"none"` for text.
        background: Colour of the background.
    """
    matplotlib = require_extra("plots", "matplotlib")
    buffer = io.BytesIO()
    metadata = {"png": None, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]  # equal figures, equal bytes
    context = {"svg.fonttype": text_as, "svg.hashsalt": "mien"}
    with _STYLE_LOCK, matplotlib.rc_context(context), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from font", UserWarning)  # a box; in a page, no box
        figure.savefig(buffer, format=kind, dpi=dpi, facecolor=background, metadata=metadata)
    return buffer.getvalue()


def inline_svg(figure: "Figure", *, label: str) -> str:
    """Return a figure as an SVG element for a web page.

    Ink, grid and the main colours become the CSS variables `--ink`, `--muted`, `--grid`, `--accent` and `--warm`, the
    background is transparent and text stays text, so the image follows the page's theme and font.

    Args:
        figure: What to show.
        label: What a screen reader says.

    Returns:
        `<svg …>…</svg>`, scaled to the width of its place.
    """
    svg = figure_bytes(figure, "svg", text_as="none", background="none").decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    for colour, variable in THEME.items():
        svg = svg.replace(colour, variable)
    size = re.search(r'<svg[^>]*? width="([\d.]+)pt"', svg)
    width = f"max-width:{float(size.group(1)) * 4 / 3:.0f}px" if size else ""
    svg = re.sub(r'(<svg[^>]*?) width="[\d.]+pt"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[\d.]+pt"', r"\1", svg, count=1)
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(label)}" style="{width}"', 1).strip()
