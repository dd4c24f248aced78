"""The summary of a video as people read it in a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mien.cli.console import colour, expression_text
from mien.video.job import VideoResult
from mien.video.summary_text import time_text

MOST_TRACKS = 12
BAR_WIDTH = 24  # characters
LEAST_SHARE = 0.01


def video_text(result: VideoResult) -> Group:
    """Return the summary of a video.

    Args:
        result: From `analyze_video`.
    """
    summary = result.summary
    parts: list[Text | Table] = [_title(result)]
    tracks = sorted(summary["tracks"], key=lambda track: -track["seconds"])[:MOST_TRACKS]
    if tracks:
        parts.append(_tracks(sorted(tracks, key=lambda track: track["first_s"])))
    if len(summary["tracks"]) > len(tracks):
        more = len(summary["tracks"]) - len(tracks)
        parts.append(Text(f"  and {more} more, seen for less time", style="dim"))
    if "truth" in summary:
        parts.append(score_text(summary["truth"]))
    return Group(*parts)


def _title(result: VideoResult) -> Text:
    summary = result.summary
    people = {0: "nobody", 1: "1 person"}.get(summary["people"], f"{summary['people']} people")
    facts = [time_text(summary["seconds"]), f"{result.frames:,} frames", people]
    if summary["people"] and summary["frames_with_faces"] < summary["frames"]:
        facts.append(f"a face for {time_text(summary['seconds_with_faces'])}")
    new = result.frames - result.resumed
    if result.seconds and new:
        facts.append(f"{new / result.seconds:.0f} frames/s")
    if result.resumed:
        facts.append(f"{result.resumed:,} frames taken over from the earlier run")
    return Text.assemble((result.source, "bold"), ("  " + ", ".join(facts), "dim"))


def _tracks(tracks: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right", style="bold")
    for track in tracks:
        seen = f"{time_text(track['first_s'])} – {time_text(track['last_s'])}"
        table.add_row(f"  #{track['track_id']}", Text(seen, style="dim"), _bar(track["share"]), _shares(track["share"]))
        spans = sorted(track["longest_spans"], key=lambda span: span["start_s"])
        if len(spans) > 1:
            table.add_row("", "", "", _spans(spans))
    return table


def _bar(share: Mapping[str, float]) -> Text:
    """Return one bar that all expressions share."""
    bar, done, width = Text(), 0.0, 0
    for name, part in share.items():
        done += part
        step = round(done * BAR_WIDTH) - width
        bar.append("█" * step, style=colour(name))
        width += step
    return bar


def _shares(share: Mapping[str, float]) -> Text:
    text = Text()
    for name, part in sorted(share.items(), key=lambda item: -item[1]):
        if part >= LEAST_SHARE:
            text.append_text(expression_text(name)).append(f" {part:.0%}   ")
    return text


def _spans(spans: Sequence[Mapping[str, Any]]) -> Text:
    """Say when what was shown; of many spans the longest."""
    said = (f"{span['expression']} {time_text(span['start_s'])} – {time_text(span['end_s'])}" for span in spans)
    return Text(" · ".join(said), style="dim")


def score_text(score: Mapping[str, Any]) -> Text:
    """Return how the results compare with the truth.

    Args:
        score: From `TruthScore.to_dict`.
    """
    if not score["n"]:
        return Text("  truth: nothing of it was seen here", style="yellow")
    facts = [f"{score['accuracy']:.1%} of {score['n']:,} frames right", f"{score['accuracy_by_time']:.1%} of the time"]
    if score["macro_f1"] is not None:
        facts.append(f"macro-F1 {score['macro_f1']:.2f}")
    if score["missed_s"]:
        facts.append(f"no face for {time_text(score['missed_s'])} of it")
    return Text.assemble(("  truth: ", "bold"), ", ".join(facts))
