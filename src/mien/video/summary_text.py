"""A video's summary as tables for people, and times as people read them."""

from collections.abc import Iterable, Sequence
from typing import Any

from mien.labels import EMOJI


def summary_as_markdown(summary: dict[str, Any]) -> str:
    """Return a summary as Markdown tables.

    Args:
        summary: From `VideoSummary.to_dict`.
    """
    lines = [
        f"# {summary['source'] or 'video'}",
        "",
        f"{time_text(summary['seconds'])} analyzed, {summary['frames']:,} frames; a face in view for "
        f"{time_text(summary['seconds_with_faces'])} ({summary['frames_with_faces']:,} frames); "
        f"{_count(summary['people'], 'track')}, at most {_count(summary['most_faces'], 'face')} at once.",
        "",
        *_table(["", "seen", *summary["share"]], map(_share_row, [summary, *summary["tracks"]])),
    ]
    if summary["longest_spans"]:
        spans = ([span["track_id"], span["expression"], time_text(span["start_s"]), time_text(span["end_s"]),
                  f"{span['seconds']:.1f} s"] for span in summary["longest_spans"])  # fmt: skip
        lines += ["", "## Longest spans", "", *_table(["track", "expression", "from", "to", "length"], spans)]
    if summary["transitions"]:
        steps = ([step["from"], step["to"], step["count"]] for step in summary["transitions"])
        lines += ["", "## Transitions", "", *_table(["from", "to", "times"], steps)]
    if summary["errors"]:
        lines += ["", "## Errors", "", *(f"- {error}" for error in summary["errors"])]
    return "\n".join(lines) + "\n"


def time_text(time_s: float) -> str:
    """Return a time as people read it: `4.2 s`, `1:05.0`, `1:02:03`."""
    if time_s < 60:
        return f"{time_s:.1f} s"
    tenths = round(10 * time_s)
    if tenths < 36_000:
        return f"{tenths // 600}:{tenths % 600 / 10:04.1f}"
    seconds = round(time_s)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _share_row(entry: dict[str, Any]) -> list[object]:
    who = f"#{entry['track_id']}" if "track_id" in entry else "video"
    first, last = (entry["first_s"], entry["last_s"]) if "track_id" in entry else (entry["start_s"], entry["end_s"])
    shares = (f"{share:.0%}" if share else "" for share in entry["share"].values())
    return [who, f"{time_text(first)} – {time_text(last)}", *shares]


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    titled = [f"{EMOJI[name]} {name}" if name in EMOJI else name for name in head]
    cells = [titled, ["---"] * len(head), *([("" if v is None else str(v)) for v in row] for row in rows)]
    return ["| " + " | ".join(row) + " |" for row in cells]
