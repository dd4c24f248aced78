"""Known expressions as plain values and as the table that `read_truth` reads."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mien.errors import InputError, shown
from mien.files import FileNames, guarded_cells, tidy_name, write_whole
from mien.labels import LabelSet
from mien.video.truth import OPTIONAL_COLUMNS, SPAN_COLUMNS, Truth, TruthSpan

MOST_SPANS = 5000


def spans_from_values(values: Iterable[Mapping[str, Any]], labels: LabelSet) -> list[TruthSpan]:
    """Return spans from plain values, as `spans_to_values` gives them, in the order of time.

    Args:
        values: `start_s`, `end_s` (None for the end), `expression`, and `track_id` (None for every face).
        labels: The label set of the results; synonyms and any case are understood.

    Raises:
        InputError: A value is missing or wrong, two spans of one track overlap, or there are too many.
    """
    try:
        spans = [_span(value, labels) for value in values]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"a span has start_s, end_s and expression (and track_id), got {shown(str(error))}") from error
    if len(spans) > MOST_SPANS:
        raise InputError(f"a video has at most {MOST_SPANS} spans, got {len(spans)}; leave some out")
    return Truth(spans, labels).spans


def _span(value: Mapping[str, Any], labels: LabelSet) -> TruthSpan:
    start_s = float(value["start_s"])
    end_s = math.inf if value.get("end_s") is None else float(value["end_s"])
    if not (math.isfinite(start_s) and start_s >= 0 and end_s > start_s):
        raise InputError(f"a span must begin at 0 s or later and end after that, got {start_s:g} and {end_s:g}")
    track = value.get("track_id")
    expression = labels.names[labels.index(str(value["expression"]))]
    return TruthSpan(start_s, end_s, expression, None if track is None else int(track))


def spans_to_values(spans: Iterable[TruthSpan]) -> list[dict[str, Any]]:
    """Return spans as plain values, ready for JSON; `end_s` is None for the end of the video."""
    return [
        {
            "start_s": span.start_s,
            "end_s": span.end_s if math.isfinite(span.end_s) else None,
            "expression": span.expression,
            "track_id": span.track_id,
        }
        for span in spans
    ]


def spans_of_video(spans: Sequence[TruthSpan], source: str) -> list[TruthSpan]:
    """Return the spans of a table that are about one video: those that name it, else those that name none.

    Args:
        spans: From `read_truth`.
        source: The video's name; it may be longer or shorter than in the table by leading folders.

    Raises:
        InputError: There are none.
    """
    name = FileNames(span.file for span in spans).of(source)
    own = [span for span in spans if name and tidy_name(span.file) == name]
    found = [span for span in own or (span for span in spans if not span.file) if math.isfinite(span.start_s)]
    if not found:
        raise InputError(f"the table has no span for {shown(source)}; its column file must name it, or be left out")
    return [TruthSpan(span.start_s, span.end_s, span.expression, span.track_id) for span in found]


def truth_as_csv(spans: Iterable[TruthSpan]) -> str:
    """Return spans as the table that `read_truth` and `mien analyze --truth` read."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    columns = (*SPAN_COLUMNS, OPTIONAL_COLUMNS[0])
    table.writerow(columns)
    for span in spans:
        end = f"{span.end_s:.3f}" if math.isfinite(span.end_s) else ""
        track = "" if span.track_id is None else span.track_id
        table.writerow(guarded_cells([f"{span.start_s:.3f}", end, span.expression, track]))
    return text.getvalue()


def write_truth(spans: Iterable[TruthSpan], path: str | Path) -> Path:
    """Write spans as the table that `read_truth` reads; the file appears whole or not at all.

    Args:
        spans: The spans.
        path: A CSV file.

    Raises:
        OutputError: It cannot be written.
    """
    return write_whole(path, truth_as_csv(spans))
