"""A report of videos and people as one HTML page that needs nothing else: what was measured, how, with which limits.

The browser prints it, or saves it as PDF.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from mien._version import __version__
from mien.output.pages import (
    Html,
    cards,
    details,
    expression,
    expression_css,
    html_page,
    html_table,
    interval_bar,
    joined,
    remark,
    section,
)
from mien.video.aligned import Alignment, Curve, Floats, Mean, shown_expressions
from mien.video.summary_text import time_text

WIDTH, HEIGHT, LEFT, BOTTOM = 460, 170, 34, 22
LANE_WIDTH, LANE_HEIGHT = 620, 40
GROUP_COLOURS = ("#2268a8", "#d9691e", "#2c8a57", "#8a4fa3", "#a8892a", "#b03a5b", "#4f6d7a", "#6b6b6b")
MOST_THIN_LINES = 60
LIMITS = (
    "An expression is what a face shows, not what a person feels. The same face is shown for many reasons.",
    "The probabilities are the model's. It learnt from posed and found photos of faces, and is wrong more often for "
    "faces that are small, turned, dark or covered, and for expressions that are rare in its data.",
    "Curves are smoothed over time by the tracker: a change appears a little later, and shorter ones appear lower.",
    "Intervals are 95 % t intervals over people: how far the mean of other people like these may be. They say nothing "
    "of the model's own errors, and with fewer than five people little at all.",
    "Somebody in several videos counts once where one table with --people has them all, and else once per video.",
    "Looking at many expressions, groups or windows finds differences by chance. Decide what to look at beforehand.",
)


def alignment_to_html(
    alignment: Alignment,
    *,
    title: str = "",
    facts: Mapping[str, str] | None = None,
    expressions: Sequence[str] | None = None,
    scores: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """Return one page with everything inside: styles and drawings, no script and no request; light, dark and printed.

    Args:
        alignment: The videos and people.
        title: Heading; empty for one from the number of videos.
        facts: What else was measured, by which model: name → value.
        expressions: Which expressions are drawn; None for those that vary most around the event.
        scores: Video → `TruthScore.to_dict()`, where something was known.

    Raises:
        InputError: An expression is unknown.
    """
    chosen = shown_expressions(alignment, expressions)
    videos = len(alignment.choices)
    parts = [
        _headline(alignment),
        remark("An expression is what a face shows, not what a person feels."),
        _curves(alignment, chosen),
        _lanes(alignment),
        _changes(alignment),
        _people(alignment),
        _videos(alignment),
        _scores(scores or {}),
        _limits(),
    ]
    footer = f"Made with mien {__version__}. 95 % t intervals over people; each person weighs the same."
    heading = title or f"Expressions in {videos} {'video' if videos == 1 else 'videos'}"
    return html_page(heading, {**_facts(alignment), **(facts or {})}, parts, footer, style=STYLE)


def _facts(alignment: Alignment) -> dict[str, str]:
    window = alignment.window
    zero = f"the event «{alignment.event}»" if alignment.event else "the beginning of each video"
    return {
        "Time 0": zero,
        "Window": f"{window.before_s:g} s before to {window.after_s:g} s after, in steps of {window.step_s:.2g} s",
        "Label set": f"{alignment.labels.key}: {', '.join(alignment.labels.names)}",
    }


def _headline(alignment: Alignment) -> Html:
    groups = alignment.people
    seconds = sum(choice.video.figures["seconds"] for choice in alignment.choices)
    items = [
        ("videos", str(len(alignment.choices)), f"{time_text(seconds)} in all"),
        ("people", str(len({curve.key for curve in alignment.curves})), "seen around time 0"),
        ("events", str(sum(curve.events for curve in alignment.curves)), "of all people"),
    ]
    items += [("groups", str(len(groups)), ", ".join(f"{name or 'all'} {len(who)}" for name, who in groups.items()))]
    return cards(items)


# Curves


def _curves(alignment: Alignment, chosen: Sequence[int]) -> str:
    means = alignment.means()
    colours = _group_colours(alignment)
    figures = [_figure(alignment, number, means, colours) for number in chosen]
    key = joined(
        Html(f'<span><i style="background:{colours[group]}"></i>{escape(group or "all")}, N = {len(people)}</span>')
        for group, people in alignment.people.items()
    )
    note = (
        "Mean probability of an expression: a thick line per group with its 95 % t interval over people, a thin line "
        "per person and video. An interval needs two people."
    )
    return section(
        "Around time 0",
        Html(f'<p class="key">{key}</p>'),
        Html(f'<div class="charts">{joined(figures)}</div>'),
        note=note,
    )


def _group_colours(alignment: Alignment) -> dict[str, str]:
    return {group: GROUP_COLOURS[i % len(GROUP_COLOURS)] for i, group in enumerate(alignment.people)}


def _figure(alignment: Alignment, number: int, means: Mapping[str, Mean], colours: Mapping[str, str]) -> Html:
    name = alignment.labels.names[number]
    highs = [np.nanmax(np.append(m.high[:, number], np.append(m.mean[:, number], 0.1))) for m in means.values()]
    curves = alignment.curves[:MOST_THIN_LINES]
    top = min(1.0, 1.08 * max(*highs, *(float(np.nanmax(np.append(c.probs[:, number], 0))) for c in curves)))
    place = _Place(alignment, top)
    drawn = [f'<path class="thin" d="{place.line(c.probs[:, number])}" stroke="{colours[c.group]}"/>' for c in curves]
    for group, mean in means.items():
        band = place.band(mean.low[:, number], mean.high[:, number])
        drawn.append(f'<path d="{band}" fill="{colours[group]}" opacity=".2"/>')
        drawn.append(f'<path class="thick" d="{place.line(mean.mean[:, number])}" stroke="{colours[group]}"/>')
    said = "; ".join(f"{group or 'all'}: {_said(alignment, mean.mean[:, number])}" for group, mean in means.items())
    svg = (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{name} around time 0. {said}")}">'
        f"{place.axes()}{''.join(drawn)}</svg>"
    )
    return Html(f"<figure><figcaption>{escape(expression(name))}</figcaption>{svg}</figure>")


def _said(alignment: Alignment, mean: Floats) -> str:
    """Return a curve in words."""
    times = alignment.window.times
    parts = [("before", mean[times < 0]), ("after", mean[times >= 0])]
    return ", ".join(f"{np.nanmean(p):.0%} {words}" for words, p in parts if np.isfinite(p).any())


class _Place:
    """Where values lie in a figure."""

    def __init__(self, alignment: Alignment, top: float) -> None:
        self.window, self.top = alignment.window, top
        self.x = self._x(self.window.times)

    def _x(self, times: Floats | float) -> Any:
        length = self.window.before_s + self.window.after_s
        return LEFT + (WIDTH - LEFT - 8) * (np.asarray(times) + self.window.before_s) / length

    def _y(self, values: Floats) -> Floats:
        return 8 + (HEIGHT - BOTTOM - 8) * (1 - np.clip(values, 0, self.top) / self.top)

    def line(self, values: Floats) -> str:
        return "".join(
            "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(self.x[run], self._y(values[run]), strict=True))
            for run in _runs(values)
        )

    def band(self, low: Floats, high: Floats) -> str:
        parts = []
        for run in _runs(low + high):
            there = [f"{x:.1f} {y:.1f}" for x, y in zip(self.x[run], self._y(high[run]), strict=True)]
            back = [f"{x:.1f} {y:.1f}" for x, y in zip(self.x[run], self._y(low[run]), strict=True)]
            parts.append("M" + "L".join([*there, *reversed(back)]) + "Z")
        return "".join(parts)

    def axes(self) -> str:
        floor, zero = HEIGHT - BOTTOM, float(self._x(0.0))
        lines = [f'<line class="zero-line" x1="{zero:.1f}" x2="{zero:.1f}" y1="4" y2="{floor}"/>']
        for share in (0, 0.5, 1):
            y = float(self._y(np.array(share * self.top)))
            lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}"/>')
            lines.append(f'<text x="{LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{share * self.top:.0%}</text>')
        for time_s in _ticks(self.window.before_s, self.window.after_s):
            lines.append(
                f'<text x="{float(self._x(time_s)):.1f}" y="{HEIGHT - 7}" text-anchor="middle">{time_s:g} s</text>'
            )
        return "".join(lines)


def _ticks(before_s: float, after_s: float) -> list[float]:
    length = before_s + after_s
    step = next((s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 600) if length / s <= 8), length)
    return [float(round(k * step, 3)) for k in range(-int(before_s / step), int(after_s / step) + 1)]


def _runs(values: Floats) -> list[slice]:
    """Return the stretches without a gap."""
    known = np.isfinite(values).astype(np.int8)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], known, [0]])))
    return [slice(a, b) for a, b in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)]


# People side by side


def _lanes(alignment: Alignment) -> str:
    lanes = joined(_lane(alignment, curve) for curve in alignment.curves)
    key = joined(
        Html(f'<span><i style="background:{expression_css(name)}"></i>{escape(expression(name))}</span>')
        for name in alignment.labels.names
    )
    note = "What each person showed around time 0 (the line), on the same scale of time; gaps where nobody was seen."
    return section(
        "Side by side",
        Html(f'<p class="key">{key}</p>'),
        Html(f'<div class="lanes long-section">{lanes}</div>'),
        note=note,
    )


def _lane(alignment: Alignment, curve: Curve) -> Html:
    window = alignment.window
    edges = np.linspace(0, LANE_WIDTH, len(window.times) + 1)
    drawn = []
    for run in _runs(curve.probs[:, 0]):
        xs = np.concatenate(
            [[edges[run.start]], (edges[run] + edges[run.start + 1 : run.stop + 1]) / 2, [edges[run.stop]]]
        )
        tops = np.cumsum(curve.probs[run], axis=1)
        tops = np.concatenate([tops[:1], tops, tops[-1:]])
        below = np.zeros(len(xs))
        for number, name in enumerate(alignment.labels.names):
            above = tops[:, number]
            points = [*zip(xs, above, strict=True), *zip(xs[::-1], below[::-1], strict=True)]
            path = "L".join(f"{x:.1f} {LANE_HEIGHT * (1 - y):.1f}" for x, y in points)
            drawn.append(f'<path d="M{path}Z" fill="{expression_css(name)}"/>')
            below = above
    zero = LANE_WIDTH * window.before_s / (window.before_s + window.after_s)
    line = f'<line class="zero-line" x1="{zero:.1f}" x2="{zero:.1f}" y1="0" y2="{LANE_HEIGHT}"/>'
    who = f"{curve.person}, {curve.video}"
    note = " · ".join(
        [*([curve.group] if curve.group else []), f"{curve.events} {'event' if curve.events == 1 else 'events'}"]
    )
    return Html(
        f'<div class="lane"><div><b>{escape(curve.person)}</b><small>{escape(curve.video)}</small>'
        f"<small>{escape(note)}</small></div>"
        f'<svg viewBox="0 0 {LANE_WIDTH} {LANE_HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(who)}">{"".join(drawn)}{line}</svg></div>'
    )


# Tables


def _changes(alignment: Alignment) -> str:
    if not alignment.window.before_s:
        return ""
    changes = alignment.changes()
    ends = [np.nanmax(np.abs(np.concatenate([m.low, m.high, m.mean, [0.05]]))) for m in changes.values()]
    reach = float(max(ends))
    rows = []
    for number, name in enumerate(alignment.labels.names):
        for group, mean in changes.items():
            value, low, high = (float(part[number]) for part in (mean.mean, mean.low, mean.high))
            if not np.isfinite(value):
                continue
            known = np.isfinite(low)
            interval = f"{100 * low:+.1f} to {100 * high:+.1f}" if known else "–"
            bar = interval_bar(
                value, low if known else value, high if known else value, ends=(-reach, reach), zero=True
            )
            rows.append(
                [expression(name), group or "all", str(int(mean.n[number])), f"{100 * value:+.1f}", interval, bar]
            )
    columns = (
        "expression",
        "group",
        "people",
        "change, points",
        "95 % interval",
        f"−{100 * reach:.0f} to +{100 * reach:.0f}",
    )
    window = alignment.window
    note = (
        f"Mean probability in the {window.after_s:g} s after time 0, less that in the {window.before_s:g} s before it, "
        "in points: the mean over people seen in both. Each person is compared with itself."
    )
    each = [
        [c.person, c.video, c.group, *(_points(value) for value in (c.after - c.before).tolist())]
        for c in alignment.curves
    ]
    fold = details("Every person", html_table(("person", "video", "group", *alignment.labels.names), each))
    return section("Change at time 0", html_table(columns, rows), fold, note=note)


def _points(value: float) -> str:
    return f"{100 * value:+.1f}" if np.isfinite(value) else "–"


def _people(alignment: Alignment) -> str:
    rows = []
    for choice in alignment.choices:
        for entry in choice.video.figures["tracks"]:
            who = str(entry.get("corrected_person") or entry.get("person") or f"#{entry['track_id']}")
            if choice.people is not None and who not in choice.people:
                continue
            told = f"{who} (by the model {entry.get('person') or 'a track'})" if entry.get("corrected_person") else who
            tracks = ", ".join(map(str, entry.get("tracks", [entry["track_id"]])))
            shares = (f"{share:.0%}" for share in entry["share"].values())
            rows.append([told, choice.name, tracks, time_text(entry["seconds"]), *shares])
    columns = ("person", "video", "tracks", "seen", *alignment.labels.names)
    note = "Share of the time in which each person was seen, over the whole video. Corrected names are not the model's."
    return section("Whole videos", Html(f'<div class="long-section">{html_table(columns, rows)}</div>'), note=note)


def _videos(alignment: Alignment) -> str:
    rows = []
    for choice in alignment.choices:
        figures = choice.video.figures
        frames, seconds = figures["frames"], figures["seconds"]
        events = ", ".join(time_text(moment) for moment in choice.events_s) or "–"
        rate = f"{frames / seconds:.1f}" if seconds else "–"
        faces = f"{figures['frames_with_faces'] / frames:.0%}" if frames else "–"
        rows.append(
            [
                choice.name,
                choice.group or "–",
                time_text(seconds),
                f"{frames:,}",
                rate,
                faces,
                str(figures["people"]),
                events,
            ]
        )
        rows += [[Html(f"<small>{escape(error)}</small>"), *[""] * 7] for error in figures["errors"]]
    columns = ("video", "group", "length", "frames", "per second", "with a face", "people", "events at")
    return section(
        "What was measured",
        html_table(columns, rows),
        note="Frames that were analyzed, and in how many a face was found.",
    )


def _scores(scores: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [
            video,
            f"{s['n']:,}",
            f"{s['accuracy']:.1%}",
            f"{s['accuracy_by_time']:.1%}",
            f"{s['macro_f1']:.3f}",
            f"{s['missed']:,}",
        ]
        for video, s in scores.items()
        if s["n"]
    ]
    if not rows:
        return ""
    columns = ("video", "frames", "right, of frames", "right, of time", "macro F1", "frames without a face")
    note = "How often the shown expression is what somebody marked as really shown."
    return section("Against the truth", html_table(columns, rows), note=note)


def _limits() -> str:
    return section("Limits", Html(f"<ul>{joined(Html(f'<li>{escape(line)}</li>') for line in LIMITS)}</ul>"))


STYLE = """
.key { display: flex; flex-wrap: wrap; gap: 4px 18px; color: var(--ink); font-size: .88rem; max-width: none; }
.key i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(400px, 100%), 1fr)); gap: 18px 26px; }
.charts figure { margin: 0; }
.charts figcaption { font-weight: 550; font-size: .95rem; }
.charts svg { display: block; width: 100%; height: auto; }
.charts text { font-size: 10.5px; fill: var(--muted); }
.grid { stroke: var(--grid); }
.zero-line { stroke: var(--ink); stroke-dasharray: 3 3; }
.thin { fill: none; stroke-width: .8; opacity: .4; }
.thick { fill: none; stroke-width: 2.4; stroke-linejoin: round; }
.lane { display: grid; grid-template-columns: 170px minmax(0, 1fr); gap: 14px; align-items: center; margin: 8px 0;
  break-inside: avoid; }
.long-section td:nth-child(2) { white-space: normal; overflow-wrap: anywhere; text-align: left; }
.lane b, .lane small { display: block; overflow-wrap: anywhere; line-height: 1.3; }
.lane small { color: var(--muted); font-size: .78rem; }
.lane svg { display: block; width: 100%; height: 44px; background: var(--grid); border-radius: 6px; }
li { margin: 0 0 8px; max-width: 80ch; }
@media (max-width: 560px) { .lane { grid-template-columns: 92px minmax(0, 1fr); } }
"""
