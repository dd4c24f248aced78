"""The timeline of a whole video: every person's expressions over time.

It is collected while a video runs, in memory that does not grow with its length, and drawn as a figure
for a paper (`.png`, `.svg`, `.pdf`) or as a page to explore (`.html`, one file without any request to the network).
"""

import html
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import require_extra
from mien.files import storable, write_whole
from mien.labels import EMOJI, LabelSet, canonical_name
from mien.output import plots
from mien.output.draw.colours import expression_colour
from mien.output.kinds import TIMELINE
from mien.video.held import Held, Sight, SummaryBuilder, pieces
from mien.video.truth import Truth, TruthSpan

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIRST_BIN_S = 0.02
MOST_BINS = 2000
MOST_ROWS, MOST_ROWS_PAGE = 12, 40
TRUTH_GRAY = "#ced1d5"
STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
MOST_TICKS = 9
STEADY_ROW, TRUTH_ROW = (-0.20, -0.06), (-0.44, -0.26)  # heights below the stacked probabilities, which fill 0 to 1
LETTER_IN = 0.058  # width of a letter of the truth's text, inches


# Timeline -------------------------------------------------------------------------------------------------------------


class _Bins:
    """Sums over the bins of one track: seconds, probabilities times seconds, seconds of each expression shown."""

    def __init__(self, columns: int) -> None:
        self.first = 0
        self.data = np.zeros((0, columns), np.float32)

    def row(self, number: int) -> NDArray[np.float32]:
        """Return the sums of a bin, to be added to."""
        if not len(self.data):
            self.first = number
        place = number - self.first
        if place >= len(self.data):
            more = np.zeros((max(8, place + 1 - len(self.data), len(self.data) // 2), self.data.shape[1]), np.float32)
            self.data = np.concatenate([self.data, more])
        row: NDArray[np.float32] = self.data[place]
        return row

    def halve(self) -> None:
        """Make one bin of each two."""
        odd = self.first % 2
        padded = np.pad(self.data, ((odd, (len(self.data) + odd) % 2), (0, 0)))
        self.data, self.first = padded[0::2] + padded[1::2], self.first // 2


@dataclass(frozen=True)
class TimelineRow:
    """One person's part of a timeline; bins in which the person was not seen are left out.

    Attributes:
        track_id: The track, or None where faces were not tracked.
        bins: (K,) int64 numbers of the bins; bin k lasts from k to k + 1 times the width.
        probs: (K, C) float32 mean smoothed probabilities.
        shown: (K,) int64 number of the expression shown longest in each bin, -1 for none.
        seconds: How long the person was seen.
        truth: What is known about this person.
        person: Who it is, where that was asked for and is known.
    """

    track_id: int | None
    bins: NDArray[np.int64]
    probs: NDArray[np.float32]
    shown: NDArray[np.int64]
    seconds: float
    truth: Sequence[TruthSpan]
    person: str | None = None

    @property
    def name(self) -> str:
        """What the row is called."""
        return self.person or ("faces" if self.track_id is None else f"#{self.track_id}")

    def runs(self) -> list[slice]:
        """Return the parts without a gap, as slices of `bins`."""
        ends = [0, *(np.flatnonzero(np.diff(self.bins) > 1) + 1).tolist(), len(self.bins)]
        return [slice(a, b) for a, b in itertools.pairwise(ends) if b > a]


class Timeline(SummaryBuilder):
    """Who shows what over a video: smoothed probabilities per person, averaged over at most `MOST_BINS` bins of time.

    Bins start narrow and become twice as wide whenever the video outgrows them.
    """

    def __init__(self, labels: LabelSet, *, truth: Truth | None = None) -> None:
        """Start empty.

        Args:
            labels: The label set of the results.
            truth: What is known, to be drawn in gray beside the results.
        """
        super().__init__(labels)
        self._truth = truth
        self._lines: dict[int | None, _Bins] = {}
        self._people: dict[int | None, str] = {}
        self._bin_s = FIRST_BIN_S
        self._source = ""
        self._start_s, self._end_s = math.inf, 0.0

    def _take(self, held: Held) -> None:
        self._source = held.source
        self._start_s, self._end_s = min(self._start_s, held.start_s), max(self._end_s, held.end_s)
        while self._end_s > MOST_BINS * self._bin_s:
            self._bin_s *= 2
            for line in self._lines.values():
                line.halve()
        for sight in held.sights:
            self._add(sight, held)

    def _add(self, sight: Sight, held: Held) -> None:
        if sight.probs is None:
            return
        if sight.person:
            self._people[sight.track_id] = sight.person
        classes = len(self.labels)
        line = self._lines.setdefault(sight.track_id, _Bins(1 + 2 * classes))
        for number, start_s, end_s in pieces(held.start_s, max(held.end_s, held.start_s + 1e-6), self._bin_s):
            row = line.row(number)
            row[0] += end_s - start_s
            row[1 : 1 + classes] += (end_s - start_s) * sight.probs
            row[1 + classes + sight.shown] += end_s - start_s

    @property
    def bin_s(self) -> float:
        """Width of a bin, seconds."""
        return self._bin_s

    def rows(self, *, most: int = MOST_ROWS) -> list[TimelineRow]:
        """Return the people seen longest, in the order of their appearance.

        Args:
            most: How many at most.
        """
        self._finish()
        rows = [self._row(track, line) for track, line in self._lines.items()]
        longest = sorted(rows, key=lambda row: -row.seconds)[:most]
        return sorted(longest, key=lambda row: (int(row.bins[0]), row.track_id or 0))

    def _row(self, track: int | None, line: _Bins) -> TimelineRow:
        classes = len(self.labels)
        seen = np.flatnonzero(line.data[:, 0] > 0)
        data = line.data[seen]
        shown = data[:, 1 + classes :]
        return TimelineRow(
            track,
            seen + line.first,
            data[:, 1 : 1 + classes] / data[:, :1],
            shown.argmax(axis=1),
            float(data[:, 0].sum()),
            self._truth.spans_of(track_id=track, source=self._source) if self._truth else (),
            self._people.get(track),
        )

    @property
    def people(self) -> int:
        """How many tracks there are."""
        return len(self._lines)

    def span(self) -> tuple[float, float]:
        """Return start and end of what was analyzed, seconds."""
        return (0.0, 1.0) if math.isinf(self._start_s) else (self._start_s, max(self._end_s, self._start_s + 1e-3))

    def figure(self, *, title: str = "", most: int = MOST_ROWS) -> "Figure":
        """Draw one row of stacked probabilities per person over time, the model's answer and the truth beneath.

        Args:
            title: Heading; none for a figure that gets a caption.
            most: How many people at most, those seen longest.

        Returns:
            A figure as wide as two columns of a journal (7.2 inches).

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        return _figure(self, self.rows(most=most), title)

    def to_html(self, *, title: str = "", most: int = MOST_ROWS_PAGE) -> str:
        """Return a page that shows the values under the mouse; it needs nothing but itself.

        Args:
            title: Heading; empty takes the name of the video.
            most: How many people at most, those seen longest.
        """
        page = (resources.files("mien.video") / "timeline.html").read_text(encoding="utf-8")
        data = self._page_data(self.rows(most=most))
        heading = html.escape(title or self._source or "Timeline")
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
        return page.replace("{{title}}", heading).replace("{{data}}", text)

    def _page_data(self, rows: Sequence[TimelineRow]) -> dict[str, Any]:
        start_s, end_s = self.span()
        return {
            "names": self.labels.names,
            "emoji": [EMOJI.get(canonical_name(name), "") for name in self.labels.names],
            "colours": [_hex(name) for name in self.labels.names],
            "start": round(start_s, 3),
            "end": round(end_s, 3),
            "bin": self._bin_s,
            "hidden": self.people - len(rows),
            "rows": [_page_row(row, end_s) for row in rows],
        }

    def write(self, path: str | Path, *, title: str = "", dpi: int = 200) -> Path:
        """Write the timeline; the file appears whole or not at all.

        Args:
            path: Ends in `.png`, `.svg` or `.pdf` for a figure, in `.html` for a page to explore.
            title: Heading.
            dpi: Dots per inch of a PNG.

        Returns:
            The path.

        Raises:
            InputError: Another extension.
            OutputError: It cannot be written.
            MissingExtraError: A figure needs matplotlib.
        """
        kind = TIMELINE.check(path)
        if kind == ".html":
            return write_whole(path, self.to_html(title=title))
        return write_whole(path, plots.figure_bytes(self.figure(title=title), kind.removeprefix("."), dpi=dpi))


def _hex(name: str) -> str:
    return "#{:02x}{:02x}{:02x}".format(*expression_colour(name))


def _page_row(row: TimelineRow, end_s: float) -> dict[str, Any]:
    return {
        "name": row.name,
        "seconds": round(row.seconds, 2),
        "runs": [
            {"bin": int(row.bins[run][0]), "probs": np.rint(1000 * row.probs[run]).astype(int).tolist(),
             "shown": row.shown[run].tolist()}
            for run in row.runs()
        ],
        "truth": [[max(0.0, s.start_s), min(end_s, s.end_s), s.expression] for s in row.truth if s.start_s < end_s],
    }  # fmt: skip


# The figure -----------------------------------------------------------------------------------------------------------


@plots.in_style
def _figure(timeline: Timeline, rows: Sequence[TimelineRow], title: str) -> "Figure":
    known = any(row.truth for row in rows)
    count = max(1, len(rows))
    legend_in, heading_in = 0.34, 0.3 * bool(title)
    figure, all_axes = plots.new_figure(7.2, (1.08 if known else 0.94) * count + 0.5 + legend_in + heading_in, count)
    if title:
        figure.suptitle(storable(title), fontweight="bold", fontsize=11, x=0.01, ha="left")
    if not rows:
        all_axes[0].text(0.5, 0.5, "no face was seen", transform=all_axes[0].transAxes, ha="center", va="center")
        all_axes[0].set_yticks([])
    for axes, row in zip(all_axes, rows, strict=bool(rows)):
        _draw_row(axes, row, timeline, known)
    for axes in all_axes:
        axes.set_xlim(*timeline.span())
        axes.tick_params(axis="x", labelbottom=axes is all_axes[-1])
        _time_axis(axes, *timeline.span())
    all_axes[-1].set_xlabel(_time_unit(timeline.span()[1]) + _note(timeline, rows))
    _legend(figure, timeline.labels.names, known)
    return figure


def _note(timeline: Timeline, rows: Sequence[TimelineRow]) -> str:
    hidden = timeline.people - len(rows)
    return f"   ({hidden} more seen for a shorter time)" if hidden else ""


def _draw_row(axes: "Axes", row: TimelineRow, timeline: Timeline, known: bool) -> None:
    x, probs = _curve(row, timeline.bin_s)
    upper = np.cumsum(probs, axis=1)
    for number, name in enumerate(timeline.labels.names):
        low = upper[:, number - 1] if number else np.zeros(len(x))
        axes.fill_between(x, low, upper[:, number], where=np.isfinite(low), color=_hex(name), linewidth=0)
    _draw_steady(axes, row, timeline)
    ticks = {0: "0", 0.5: "0.5", 1: "1", sum(STEADY_ROW) / 2: "answer"}
    if known:
        ticks[sum(TRUTH_ROW) / 2] = "truth"
        _draw_truth(axes, row.truth, timeline.span())
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.tick_params(axis="y", labelsize=7.5, length=0)
    bottom = (TRUTH_ROW if known else STEADY_ROW)[0] - 0.03
    axes.set_ylim(bottom, 1.0)
    middle = (0.5 - bottom) / (1 - bottom)
    axes.set_ylabel(row.name, rotation=0, ha="right", va="center", fontweight="bold", labelpad=4, y=middle)
    axes.spines["left"].set_visible(False)


def _curve(row: TimelineRow, bin_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return times and probabilities through the middle of the bins to the ends of each run, NaN between runs."""
    times, values = [], []
    for run in row.runs():
        bins, probs = row.bins[run] * bin_s, row.probs[run].astype(np.float64)
        times += [bins[:1], bins + bin_s / 2, bins[-1:] + bin_s, bins[-1:] + bin_s]
        values += [probs[:1], probs, probs[-1:], np.full((1, probs.shape[1]), np.nan)]
    return np.concatenate(times), np.concatenate(values)


def _draw_steady(axes: "Axes", row: TimelineRow, timeline: Timeline) -> None:
    low, high = STEADY_ROW
    for run in row.runs():
        bins, shown = row.bins[run], row.shown[run]
        for part in np.split(np.arange(len(bins)), np.flatnonzero(np.diff(shown)) + 1):
            start, width = bins[part[0]] * timeline.bin_s, len(part) * timeline.bin_s
            colour = _hex(timeline.labels.names[int(shown[part[0]])])
            axes.broken_barh([(start, width)], (low, high - low), facecolor=colour, linewidth=0)


def _draw_truth(axes: "Axes", spans: Sequence[TruthSpan], span: tuple[float, float]) -> None:
    low, high = TRUTH_ROW
    inch = 6.2 / (span[1] - span[0])
    for known in spans:
        start, end = max(span[0], known.start_s), min(span[1], known.end_s)
        if end <= start:
            continue
        axes.broken_barh(
            [(start, end - start)], (low, high - low), facecolor=TRUTH_GRAY, edgecolor="white", linewidth=0.8
        )
        room = int((end - start) * inch / LETTER_IN)
        words = known.expression if len(known.expression) <= room else known.expression[:3] if room >= 3 else ""
        axes.text((start + end) / 2, (low + high) / 2 - 0.01, words, ha="center", va="center", fontsize=7)


def _legend(figure: "Figure", names: Sequence[str], known: bool) -> None:
    patch = require_extra("plots", "matplotlib.patches").Patch
    handles = [patch(color=_hex(name), label=name) for name in names]
    if known:
        handles.append(patch(facecolor=TRUTH_GRAY, label="truth"))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, handlelength=1.0,
        handletextpad=0.4, columnspacing=1.1,
    )  # fmt: skip


def _time_axis(axes: "Axes", start_s: float, end_s: float) -> None:
    ticker = require_extra("plots", "matplotlib.ticker")
    span = end_s - start_s
    step = next((step for step in STEPS_S if span / step <= MOST_TICKS), math.ceil(span / MOST_TICKS / 3600) * 3600)
    axes.xaxis.set_major_locator(ticker.MultipleLocator(step))
    if end_s >= 120:
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: _clock_tick(value, end_s)))


def _time_unit(end_s: float) -> str:
    return "time (s)" if end_s < 120 else "time (min:s)" if end_s < 3600 else "time (h:min:s)"


def _clock_tick(value: float, end_s: float) -> str:
    seconds = round(value)
    if end_s < 3600:
        return f"{seconds // 60}:{seconds % 60:02}"
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
