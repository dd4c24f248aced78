"""An image of a network: one card per resolution with what happens there, arrows that shrink, heads at the end."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import InputError, require_extra
from mien.files import write_whole
from mien.labels import LABEL_SETS
from mien.output.plots import figure_bytes
from mien.train.show.layers import NetLayer, NetSummary, Shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".svg", ".png")
CARD_IN, GAP_IN, MARGIN_IN = 2.5, 0.95, 0.3
GLYPH_IN, LINE_IN, HEAD_IN, FOOT_IN = 1.15, 0.235, 0.36, 0.34
CARDS_PER_ROW = 7
LONGEST_LINE = 38
FOLD_FROM = 9  # lines of a card; more are folded

INK, MUTED, EDGE = "#1f2a37", "#667085", "#cbd2dc"
FILL = {"input": "#f2f4f7", "maps": "#e8f0fb", "vectors": "#fdf1e2", "head": "#e7f6ec"}
ACCENT = {"input": "#98a2b3", "maps": "#3b76c4", "vectors": "#d98a2b", "head": "#3a9a5b"}

WEIGHTED = {"Conv2d": "conv", "Conv": "conv", "ConvInteger": "conv", "QLinearConv": "conv", "Linear": "linear",
            "Gemm": "linear", "MatMul": "linear", "MatMulInteger": "linear", "QLinearMatMul": "linear"}  # fmt: skip
POOLS = {"MaxPool2d": "max pool", "AvgPool2d": "mean pool", "MaxPool": "max pool", "AveragePool": "mean pool"}
SHORT = {
    "BatchNorm2d": "BN",
    "BatchNorm1d": "BN",
    "BatchNormalization": "BN",
    "Relu": "ReLU",
    "Dropout": "dropout",
    "ZeroPad2d": "pad",
    "Softmax": "softmax",
    "Sigmoid": "sigmoid",
    "GlobalAveragePool": "global mean",
}
MEANS = {"ReduceMean", "GlobalAveragePool"}
UNSEEN = {"Flatten", "Reshape", "Cast", "Identity", "Unsqueeze", "Squeeze"}  # move numbers, compute nothing


@dataclass(frozen=True)
class Card:
    """One box of the image.

    Attributes:
        kind: `input`, `maps`, `vectors` or `head`: decides the colour.
        title: Its headline.
        shape: Shape of what leaves it.
        lines: What happens in it.
        parameters: Trained values.
        macs: Multiply-adds for one crop.
        arrow: What happens between this card and the next.
    """

    kind: str
    title: str
    shape: Shape
    lines: tuple[str, ...] = ()
    parameters: int = 0
    macs: int = 0
    arrow: tuple[str, ...] = ()


@dataclass
class _Open:
    """A card that is being filled."""

    kind: str
    shape: Shape
    lines: list[str] = field(default_factory=list)
    arrow: list[str] = field(default_factory=list)
    parameters: int = 0
    macs: int = 0

    def close(self) -> Card:
        title = " × ".join(map(str, self.shape)) if self.kind == "maps" else f"{self.shape[0]} features"
        lines = tuple(_folded(self.lines))
        return Card(self.kind, title, self.shape, lines, self.parameters, self.macs, tuple(self.arrow))


def cards_of(summary: NetSummary) -> list[Card]:
    """Cut a network into cards: the input, one per resolution, the vectors, the heads.

    Args:
        summary: What `summarise_net` returned.

    Raises:
        InputError: No layer has a known shape, so there is nothing to draw.
    """
    known = [layer for layer in summary.layers if layer.output]
    if not known:
        raise InputError(f"{summary.name} has no layer with a known shape; give an ONNX file with fixed image sizes")
    first = next((i for i, layer in enumerate(known) if layer.kind in WEIGHTED), 0)
    trunk = [layer for layer in known[first:] if not layer.head and layer.kind not in UNSEEN]
    return [
        _input_card(summary, [layer for layer in known[:first] if layer.kind not in UNSEEN]),
        *_trunk(_with_side_branches(trunk)),
        *_heads(summary),
    ]


def _input_card(summary: NetSummary, before: list[NetLayer]) -> Card:
    title = "gray crop" if len(summary.input) < 3 or summary.input[0] == 1 else "input"
    lines = [" × ".join(map(str, summary.input))]
    if before:
        lines.append(f"{len(before)} operators that prepare it" if len(before) > 1 else _short(before[0]))
    return Card("input", title, summary.input, tuple(lines))


def _with_side_branches(layers: list[NetLayer]) -> list[NetLayer]:
    """Give squeeze-and-excite and other side branches the shape of the maps they scale, so that they stay with them."""
    last_maps = max((i for i, layer in enumerate(layers) if len(layer.output) == 3), default=-1)
    merged: list[NetLayer] = []
    for i, layer in enumerate(layers):
        small = len(layer.output) != 3 or max(layer.output[1:]) == 1 < _side(merged)
        inside = i < last_maps or "Residual" in layer.block
        if small and inside and merged and layer.kind not in POOLS:
            layer = replace(layer, output=merged[-1].output)
        merged.append(layer)
    return merged


def _side(layers: list[NetLayer]) -> int:
    return layers[-1].output[-1] if layers and len(layers[-1].output) == 3 else 0


def _trunk(layers: list[NetLayer]) -> Iterator[Card]:
    card: _Open | None = None
    for residual, members in groupby(layers, key=lambda layer: layer.block if "Residual" in layer.block else ""):
        for position, layer in enumerate(members):
            if card is None or _starts_card(card, layer):
                if card is not None:
                    card.arrow += _way_to_vectors(card, layer)
                    yield card.close()
                card = _Open("maps" if len(layer.output) == 3 else "vectors", layer.output)
            _add(card, layer, residual=bool(residual), first=position == 0)
    if card is not None:
        yield card.close()


def _starts_card(card: _Open, layer: NetLayer) -> bool:
    if layer.kind in POOLS or (layer.kind not in WEIGHTED and card.arrow):
        return False
    if card.kind == "vectors":
        return False
    return bool(card.arrow) or len(layer.output) != 3 or layer.output[1:] != card.shape[1:]


def _way_to_vectors(card: _Open, layer: NetLayer) -> list[str]:
    averaged = layer.output == card.shape[:1] and layer.kind not in WEIGHTED and not card.arrow
    return ["global", "mean"] if averaged else []


def _add(card: _Open, layer: NetLayer, *, residual: bool, first: bool) -> None:
    card.parameters += layer.parameters
    card.macs += layer.macs
    if layer.kind in POOLS:
        card.arrow += [POOLS[layer.kind], layer.detail.split(" / ")[0].replace("x", "×")]
        return
    if layer.kind in MEANS and card.kind == "vectors" and not card.lines:
        return  # the arrow says it
    if card.arrow:
        card.arrow.append(SHORT.get(layer.kind, layer.kind))
        return
    if residual and first:
        card.lines.append("residual block:")
    if layer.kind in WEIGHTED:
        card.shape = layer.output if len(layer.output) == 3 or card.kind == "vectors" else card.shape
        card.lines.append(("  " if residual else "") + _weighted_line(layer, gate=card.kind == "maps"))
    elif not card.lines or len(card.lines[-1]) + len(_short(layer)) + 3 > LONGEST_LINE:
        card.lines.append(("  " if residual else "") + _short(layer))
    elif card.lines[-1].endswith(":"):
        card.lines.append("  " + _short(layer))
    else:
        card.lines[-1] += f" · {_short(layer)}"


def _weighted_line(layer: NetLayer, *, gate: bool) -> str:
    if WEIGHTED[layer.kind] == "conv":
        return f"conv {layer.detail.replace('x', '×')}, {layer.output[0]}"
    return f"{'channel gate' if gate else 'linear'} {layer.detail}".strip()


def _short(layer: NetLayer) -> str:
    return SHORT.get(layer.kind, layer.kind)


def _folded(lines: list[str]) -> list[str]:
    """Write a repeated run of lines once with its count, then cut what is still too long."""
    folded: list[str] = []
    for line, run in groupby(lines):
        count = len(list(run))
        folded.append(line if count == 1 else f"{count} × {line.strip()}")
    if len(folded) > FOLD_FROM:
        folded = [*folded[: FOLD_FROM - 1], f"… {len(folded) - FOLD_FROM + 1} more lines"]
    return folded


def _heads(summary: NetSummary) -> Iterator[Card]:
    for key, classes in summary.heads.items():
        own = [layer for layer in summary.layers if layer.head == key]
        names = LABEL_SETS[key].names if key in LABEL_SETS and len(LABEL_SETS[key]) == classes else ()
        lines = tuple(", ".join(names[i : i + 3]) for i in range(0, len(names), 3))
        yield Card(
            "head", f"head {key}: {classes} classes", (classes,), lines,
            sum(layer.parameters for layer in own), sum(layer.macs for layer in own),
        )  # fmt: skip


def draw_network(summary: NetSummary) -> "Figure":
    """Draw a network as cards joined by arrows.

    Args:
        summary: What `summarise_net` returned.

    Returns:
        A matplotlib figure that no window owns.

    Raises:
        InputError: There is nothing to draw.
        MissingExtraError: matplotlib is not installed.
    """
    cards = cards_of(summary)
    flow = [card for card in cards if card.kind != "head"]
    heads = [card for card in cards if card.kind == "head"]
    rows = [flow[i : i + CARDS_PER_ROW] for i in range(0, len(flow), CARDS_PER_ROW)]
    columns = max(len(rows[-1]) + bool(heads), *map(len, rows))
    row_in = max(_height(card) for card in flow)
    heads_in = sum(_height(card) for card in heads) + 0.2 * max(0, len(heads) - 1)
    heights = [row_in] * (len(rows) - 1) + [max(row_in, heads_in)]
    width = 2 * MARGIN_IN + columns * CARD_IN + (columns - 1) * GAP_IN
    height = 2 * MARGIN_IN + 0.75 + sum(heights) + 0.5 * (len(rows) - 1)
    figure = require_extra("plots", "matplotlib.figure").Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    _draw_title(axes, summary, height)
    top = height - MARGIN_IN - 0.75
    for row, tall in zip(rows, heights, strict=True):
        _draw_row(axes, row, top - tall / 2, summary, last=row is rows[-1])
        top -= tall + 0.5
    if heads:
        _draw_heads(axes, heads, len(rows[-1]), top + 0.5 + heights[-1] / 2, heads_in)
    return figure  # type: ignore[no-any-return]


def _draw_title(axes: "Axes", summary: NetSummary, height: float) -> None:
    axes.text(MARGIN_IN, height - MARGIN_IN, summary.name, size=15, weight="bold", color=INK, va="top")
    about = f"{_count(summary.values)} values, {_count(summary.macs)} multiply-adds for one face"
    axes.text(MARGIN_IN, height - MARGIN_IN - 0.36, about, size=9.5, color=MUTED, va="top")


def _draw_row(axes: "Axes", row: list[Card], middle: float, summary: NetSummary, *, last: bool) -> None:
    largest = max(summary.input[-2:]) if len(summary.input) >= 2 else 1
    for i, card in enumerate(row):
        left = MARGIN_IN + i * (CARD_IN + GAP_IN)
        _draw_card(axes, card, left, middle, largest)
        if i + 1 < len(row) or (last and summary.heads) or not last:
            _draw_arrow(axes, left + CARD_IN, middle, left + CARD_IN + GAP_IN, middle, card.arrow)


def _draw_heads(axes: "Axes", heads: list[Card], column: int, middle: float, total: float) -> None:
    left = MARGIN_IN + column * (CARD_IN + GAP_IN)
    top = middle + total / 2
    for card in heads:
        tall = _height(card)
        _draw_card(axes, card, left, top - tall / 2, 1)
        top -= tall + 0.2


def _height(card: Card) -> float:
    glyph = GLYPH_IN if card.kind in ("input", "maps") else 0.12
    foot = FOOT_IN if card.parameters else 0.12
    return HEAD_IN + glyph + LINE_IN * len(card.lines) + foot + 0.1


def _draw_card(axes: "Axes", card: Card, left: float, middle: float, largest: int) -> None:
    patches = require_extra("plots", "matplotlib.patches")
    tall = _height(card)
    bottom, top = middle - tall / 2, middle + tall / 2
    axes.add_patch(
        patches.FancyBboxPatch(
            (left, bottom), CARD_IN, tall, boxstyle="round,pad=0,rounding_size=0.09",
            facecolor=FILL[card.kind], edgecolor=ACCENT[card.kind], linewidth=1.1,
        )
    )  # fmt: skip
    axes.text(left + 0.14, top - 0.13, card.title, size=10, weight="bold", color=INK, va="top")
    y = top - HEAD_IN
    if card.kind in ("input", "maps"):
        _draw_maps(axes, card, left + CARD_IN / 2, y - GLYPH_IN / 2, largest)
        y -= GLYPH_IN
    for line in card.lines:
        indent = 0.12 if line.startswith("  ") else 0.0
        axes.text(left + 0.14 + indent, y - 0.05, line.strip(), size=8.3, color=INK, va="top")
        y -= LINE_IN
    if card.parameters:
        work = f", {_count(card.macs)} mult-adds" if card.macs else ""
        axes.text(left + 0.14, bottom + 0.11, f"{_count(card.parameters)} values{work}", size=7.8, color=MUTED)


def _draw_maps(axes: "Axes", card: Card, x: float, y: float, largest: int) -> None:
    """A stack of feature maps: side as the resolution, sheets as the logarithm of the channels."""
    patches = require_extra("plots", "matplotlib.patches")
    channels = card.shape[0] if len(card.shape) == 3 else 1
    sheets = 1 + round(math.log2(max(channels, 1)))
    side = max(0.1, 0.78 * card.shape[-1] / max(largest, 1))
    step = min(0.035, 0.3 / sheets)
    spread = step * (sheets - 1)
    for i in reversed(range(sheets)):
        corner = (x - (side + spread) / 2 + i * step, y - (side + spread) / 2 + i * step)
        axes.add_patch(
            patches.Rectangle(corner, side, side, facecolor="white", edgecolor=ACCENT[card.kind], linewidth=0.8)
        )


def _draw_arrow(axes: "Axes", x1: float, y1: float, x2: float, y2: float, words: tuple[str, ...]) -> None:
    axes.annotate(
        "", (x2 - 0.06, y2), (x1 + 0.06, y1), arrowprops={"arrowstyle": "-|>", "color": MUTED, "linewidth": 1.2}
    )
    axes.text((x1 + x2) / 2, y1 + 0.09, "\n".join(words), size=7.8, color=MUTED, ha="center", va="bottom")


def _count(value: int) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return str(value)


def save_diagram(summary: NetSummary, path: Path) -> None:
    """Draw a network into a file, which appears whole or not at all.

    Args:
        summary: What `summarise_net` returned.
        path: An .svg or .png file.

    Raises:
        InputError: Another ending, or nothing to draw.
        OutputError: The file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"a diagram must end in {' or '.join(FORMATS)}, got {path.name}; change the name after -o")
    write_whole(path, figure_bytes(draw_network(summary), suffix[1:]))
