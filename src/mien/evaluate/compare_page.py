"""Several models on the same images as one HTML page that needs nothing else: who is better, and on which faces."""

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from mien._version import __version__
from mien.errors import InputError
from mien.evaluate.cells import (
    COMPARISON_COLUMNS,
    FIGURE_COLUMNS,
    comparison_cells,
    figure_cells,
    scoring_rule,
)
from mien.evaluate.values import Comparison, Estimate, Figures, Predictions, Report
from mien.output.pages import (
    Html,
    expression,
    face_card,
    gallery,
    heading,
    html_page,
    html_table,
    interval_bar,
    joined,
    prob_bar,
    section,
)

SHOWN_FACES = 12  # for each model of a pair
SIGNIFICANT = 0.05
SIDES = ("var(--accent)", "var(--warm)")  # the colours of the two models of a pair
SCALE_STEP = 0.05  # the ends of the accuracy scale are multiples of it


def comparison_to_html(
    reports: Mapping[str, Report],
    comparisons: Mapping[tuple[str, str], Comparison],
    *,
    title: str,
    facts: Mapping[str, str] | None = None,
    crops: NDArray[np.uint8] | None = None,
) -> str:
    """Return one page with everything inside: styles, images, no script and no request; light and dark.

    Args:
        reports: Model → report, all on the same images and in the same label set.
        comparisons: Pair of models → comparison.
        title: Heading, `"mien-b and mien-s on FER2013 PublicTest"` say.
        facts: What was compared and how, in order: SHA-256 of each model, data, split, seed, date, command…
        crops: (N, 48, 48) uint8, the images of the data set, for the faces that one model alone gets right; None leaves
            them out.

    Raises:
        InputError: A pair names a model without a report, the reports are not on the same images, or the crops are not
            those images.
    """
    _check(reports, comparisons, crops)
    parts = [_models(reports), _pairs(comparisons), _expressions(reports)]
    parts += [
        _pair(number, names, comparisons[names], [reports[name] for name in names], crops)
        for number, names in enumerate(comparisons, 1)
    ]
    first = next(iter(reports.values()))
    footer = (
        f"{scoring_rule(first)} In brackets: 95% intervals from {first.resamples:,} bootstrap resamples, seed "
        f"{first.seed}. Made with mien {__version__}."
    )
    return html_page(title, facts or {}, parts, footer, style=STYLE)


def _check(
    reports: Mapping[str, Report],
    comparisons: Mapping[tuple[str, str], Comparison],
    crops: NDArray[np.uint8] | None,
) -> None:
    unknown = sorted({name for pair in comparisons for name in pair} - set(reports))
    if not reports or unknown:
        raise InputError(f"every model of a pair needs a report, missing {unknown or 'all'}; pass the reports compared")
    first, *others = (report.predictions for report in reports.values())
    if any(p.labels != first.labels or not np.array_equal(p.truth, first.truth) for p in others):
        raise InputError("the reports must be on the same images and label set; evaluate all models on one data set")
    if crops is not None and len(crops) != len(first):
        raise InputError(f"crops must be the {len(first)} images of the reports, got {len(crops)}; pass data.crops")


# All models


def _models(reports: Mapping[str, Report]) -> str:
    lines = [line for name, report in reports.items() for line in _model_lines(name, report)]
    low = math.floor(min(f.accuracy.low for _, f in lines) / SCALE_STEP) * SCALE_STEP
    high = max(math.ceil(max(f.accuracy.high for _, f in lines) / SCALE_STEP) * SCALE_STEP, low + SCALE_STEP)
    rows = [
        [name, *figure_cells(figures), _estimate_bar(figures.accuracy, ends=(low, high))] for name, figures in lines
    ]
    columns = ("model", *FIGURE_COLUMNS[1:], f"accuracy, {low:.0%} to {high:.0%}")
    return section("Models", html_table(columns, rows), note=_models_note(reports))


def _model_lines(name: str, report: Report) -> list[tuple[str, Figures]]:
    lines = [(name, report.overall)]
    if report.unseen is not None and report.n_duplicates:
        lines.append((f"{name}, without copies", report.unseen))
    return lines


def _models_note(reports: Mapping[str, Report]) -> str:
    first = next(iter(reports.values()))
    note = scoring_rule(first)
    if first.unseen is not None and first.n_duplicates:
        note += (
            f" {first.n_duplicates:,} of the images occur pixel for pixel in the training split of the data; the lines "
            "«without copies» do without them."
        )
    return note


def _pairs(comparisons: Mapping[tuple[str, str], Comparison]) -> str:
    if not comparisons:
        return ""
    reach = max(max(abs(c.difference.low), abs(c.difference.high)) for c in comparisons.values()) or SCALE_STEP
    rows = []
    for number, ((a, b), found) in enumerate(comparisons.items(), 1):
        pair, *cells = comparison_cells(a, b, found)
        bar = _estimate_bar(found.difference, ends=(-reach, reach), zero=True)
        rows.append([Html(f'<a href="#pair-{number}">{escape(pair)}</a>'), *cells, bar])
    columns = (*COMPARISON_COLUMNS, f"−{100 * reach:.1f} to +{100 * reach:.1f} points")
    note = (
        "The models answered the same images, so only those count on which one is right and the other wrong. McNemar's "
        "exact test: how often two equally good models would split them at least so unevenly."
    )
    if len(comparisons) > 1:
        note += f" Of {len(comparisons)} pairs some may look uneven by chance alone: ask for a smaller p."
    return section("Pairs", html_table(columns, rows), note=note)


def _expressions(reports: Mapping[str, Report]) -> str:
    (first, reference), *others = reports.items()
    scores = np.nan_to_num(np.array([[c.f1 for c in report.classes] for report in reports.values()]).T)
    differences = scores[:, :1] - scores[:, 1:]
    reach = float(np.abs(differences).max(initial=0)) or SCALE_STEP
    rows = [
        [expression(c.name), f"{c.support:,}", *_best_marked(of_class), *(_signed_bar(d, reach) for d in less)]
        for c, of_class, less in zip(reference.classes, scores.tolist(), differences.tolist(), strict=True)
    ]
    columns = [
        "expression",
        "images",
        *(f"F1 {name}" for name in reports),
        *(f"{first} − {name}" for name, _ in others),
    ]
    note = f"F1 of each expression, the best in bold, and what {first} has more or less, in points."
    return section("Expressions", html_table(columns, rows), note=note)


def _best_marked(scores: Sequence[float]) -> list[str]:
    texts = [f"{score:.1%}" for score in scores]
    best = f"{max(scores):.1%}"
    return [Html(f"<b>{text}</b>") if text == best else text for text in texts]


def _signed_bar(difference: float, reach: float) -> Html:
    """Draw a difference to the right of zero where the first model has more, else to the left; `reach` fills a side."""
    width = 50 * abs(difference) / reach
    kind, side = ("a", "left") if difference > 0 else ("b", "right")
    bar = f'<i class="{kind}" style="{side}:50%;width:{width:.1f}%"></i>'
    return Html(f'<span class="signed">{100 * difference:+.1f}<span class="lane">{bar}</span></span>')


# One pair


def _pair(
    number: int,
    names: tuple[str, str],
    found: Comparison,
    reports: Sequence[Report],
    crops: NDArray[np.uint8] | None,
) -> str:
    a, b = (report.predictions for report in reports)
    parts: list[str] = [Html(f'<p class="key" id="pair-{number}">{_key("a", names[0])}{_key("b", names[1])}</p>')]
    parts += [_outcomes(names, a, b), _by_label(names, reports)]
    if (a.predicted != b.predicted)[a.counted].any():
        parts.append(_by_answer(names, a, b))
    if crops is not None:
        parts += [_faces("a", names[0], a, b, crops), _faces("b", names[1], b, a, crops, swapped=True)]
    return section(f"{names[0]} and {names[1]}", *parts, note=_verdict(names, found))


def _key(kind: str, name: str) -> str:
    return f'<span><i class="{kind}"></i>{escape(name)}</span>'


def _verdict(names: tuple[str, str], found: Comparison) -> str:
    _, difference, _, _, p_value = comparison_cells(*names, found)
    p = f"p {p_value}" if p_value.startswith("<") else f"p = {p_value}"
    split = f"{found.only_a:,} images only {names[0]} gets right, {found.only_b:,} only {names[1]}"
    if found.p_value >= SIGNIFICANT:
        return f"No clear winner: {split}, which chance alone may do ({p}). Difference in points: {difference}."
    better = names[0] if found.only_a > found.only_b else names[1]
    return f"{better} is better: {split}, more than chance explains ({p}). Difference in points: {difference}."


def _outcomes(names: tuple[str, str], a: Predictions, b: Predictions) -> str:
    counts = [int((mask & a.counted).sum()) for mask in _outcome_masks(a, b)]
    titles = ("both right", f"only {names[0]} right", f"only {names[1]} right", "both wrong")
    rows = [(title, f"{n:,}", f"{n / sum(counts):.1%}") for title, n in zip(titles, counts, strict=True)]
    return html_table(("", "images", "share"), rows, kind="narrow")


def _outcome_masks(a: Predictions, b: Predictions) -> tuple[NDArray[np.bool_], ...]:
    """Return, (N,) bool each, where both are right, only the first, only the second, and neither."""
    right_a, right_b = a.correct, b.correct
    return right_a & right_b, right_a & ~right_b, right_b & ~right_a, ~(right_a | right_b)


def _by_label(names: tuple[str, str], reports: Sequence[Report]) -> str:
    a, b = (report.predictions for report in reports)
    classes = len(a.labels)
    counts = [np.bincount(a.truth[m & a.counted], minlength=classes).tolist() for m in _outcome_masks(a, b)]
    rows = [
        [
            expression(of_a.name), f"{of_a.support:,}", *(f"{n:,}" for n in outcome),
            _split_bar(outcome[1], outcome[2]), f"{100 * (np.nan_to_num(of_a.f1) - np.nan_to_num(of_b.f1)):+.1f}",
        ]
        for of_a, of_b, *outcome in zip(reports[0].classes, reports[1].classes, *counts, strict=True)
    ]  # fmt: skip
    columns = (
        "label", "images", "both right", f"only {names[0]}", f"only {names[1]}", "both wrong", "who wins", "F1, points",
    )  # fmt: skip
    return joined([heading("Who is right on which label"), html_table(columns, rows)])


def _split_bar(only_a: int, only_b: int, neither: int = 0) -> Html:
    """Draw how images are shared by who is right."""
    total = max(only_a + only_b + neither, 1)
    shares = (("a", only_a), ("b", only_b), ("none", neither))
    bars = "".join(f'<i class="{kind}" style="width:{100 * n / total:.1f}%"></i>' for kind, n in shares if n)
    return Html(f'<span class="split">{bars}</span>')


def _by_answer(names: tuple[str, str], a: Predictions, b: Predictions) -> str:
    outcomes = [_answers(a, b, mask) for mask in _outcome_masks(a, b)[1:]]
    columns = [f"{names[0]} ↓ {names[1]} →", *a.labels.names]
    rows = [
        [expression(name), *(_answer_cell(row == column, *(int(n[row, column]) for n in outcomes))
                              for column in range(len(a.labels)))]
        for row, name in enumerate(a.labels.names)
    ]  # fmt: skip
    note = (
        f"Images that the two answer differently: {names[0]}'s answer in rows, {names[1]}'s in columns. Beneath each "
        f"number, how many of them {names[0]} : {names[1]} gets right; gray: neither."
    )
    lead = Html(f"<p>{escape(note)}</p>")
    return joined([heading("Where the answers differ"), lead, html_table(columns, rows, kind="answers")])


def _answers(a: Predictions, b: Predictions, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count the images of a mask by the two answers, (C, C): rows the first model's, columns the second's."""
    classes, chosen = len(a.labels), mask & a.counted
    cells = a.predicted[chosen] * classes + b.predicted[chosen]
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def _answer_cell(same: bool, only_a: int, only_b: int, neither: int) -> Html:
    if same or not only_a + only_b + neither:
        return Html('<span class="nothing">·</span>')
    total = only_a + only_b + neither
    return Html(f"<b>{total:,}</b><small>{only_a:,} : {only_b:,}</small>{_split_bar(only_a, only_b, neither)}")


# Faces


def _faces(
    kind: str, name: str, right: Predictions, wrong: Predictions, crops: NDArray[np.uint8], *, swapped: bool = False
) -> str:
    """Show the images on which one model alone is right, those first on which the two are surest."""
    chosen = np.flatnonzero(right.counted & right.correct & ~wrong.correct)
    if not len(chosen):
        return ""
    sure = right.confidence[chosen] + wrong.confidence[chosen]
    shown = chosen[np.argsort(-sure, kind="stable")[:SHOWN_FACES]].tolist()
    pair = (wrong, right) if swapped else (right, wrong)
    cards = gallery(_card(index, crops[index], pair) for index in shown)
    which = "" if len(shown) == len(chosen) else f"; the {len(shown)} on which both are surest"
    title = Html(f'<i class="dot {kind}"></i>Only {escape(name)} is right: {_images(len(chosen))}{which}')
    return joined([heading(title), cards])


def _images(n: int) -> str:
    return "1 image" if n == 1 else f"{n:,} images"


def _card(index: int, crop: NDArray[np.uint8], pair: tuple[Predictions, Predictions]) -> str:
    truth = pair[0].labels.names[pair[0].truth[index]]
    answers = (_answer(colour, p, index) for colour, p in zip(SIDES, pair, strict=True))
    alt = f"face {index}: label {truth}, answers {' and '.join(p.labels.names[p.predicted[index]] for p in pair)}"
    return face_card(crop, number=index, alt=alt, caption=joined([expression(truth), *answers]))


def _answer(colour: str, predictions: Predictions, index: int) -> Html:
    name, right = predictions.labels.names[predictions.predicted[index]], bool(predictions.correct[index])
    mark = "✓" if right else "✗"
    return prob_bar(f"{mark} {name}", float(predictions.confidence[index]), colour, strong=right)


def _estimate_bar(found: Estimate, *, ends: tuple[float, float], zero: bool = False) -> Html:
    return interval_bar(found.value, found.low, found.high, ends=ends, zero=zero)


STYLE = """
a { color: inherit; text-decoration-color: var(--muted); }
.a { background: var(--accent); }
.b { background: var(--warm); }
.none { background: var(--muted); opacity: .35; }
td:has(> .split) { min-width: 110px; }
.key { display: flex; flex-wrap: wrap; gap: 4px 20px; color: var(--ink); font-size: .9rem; }
.key i, .dot { display: inline-block; width: 11px; height: 11px; border-radius: 50%; margin-right: 7px; }
.signed { display: grid; grid-template-columns: 1fr 90px; gap: 10px; align-items: center; }
.lane { position: relative; height: 12px;
  background: linear-gradient(var(--muted), var(--muted)) 50% / 1px 100% no-repeat; }
.lane i { position: absolute; top: 2px; height: 8px; border-radius: 2px; }
.split { display: flex; gap: 1px; height: 7px; border-radius: 3px; overflow: hidden; }
.answers td { text-align: center; padding: 5px 7px; width: 11%; }
.answers thead th:not(:first-child) { text-align: center; }
.answers b { display: block; font-weight: 550; }
.answers small { display: block; color: var(--muted); font-size: .74rem; line-height: 1.2; margin-bottom: 3px; }
.answers .split { height: 5px; }
.answers td:has(> .split) { min-width: 64px; }
.nothing { color: var(--grid); }
"""
