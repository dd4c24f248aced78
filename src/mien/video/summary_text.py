"""A video's summary as tables for people, and times as people read them."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mien.faces import ATTRIBUTES, ERROR, PEOPLE, PERSON, Record, attribute_columns
from mien.files import guarded_cells
from mien.labels import EMOJI
from mien.output.rows import complete_row
from mien.video.track_measures import MEASURES

WHO_AND_WHEN = ("source", "track_id", "first_s", "last_s", "seconds", "frames", "faces", "people", "expression")
SHARE, MEAN, MEDIAN, BLINKS = "share_", "mean_", "median_", "blinks_per_minute"


def summary_as_markdown(summary: dict[str, Any]) -> str:
    """Return a summary as Markdown tables.

    Args:
        summary: From `VideoSummary.to_dict`.
    """
    known = any(PERSON in track for track in summary["tracks"])
    lines = [
        f"# {summary['source'] or 'video'}",
        "",
        f"{time_text(summary['seconds'])} analyzed, {summary['frames']:,} frames; a face in view for "
        f"{time_text(summary['seconds_with_faces'])} ({summary['frames_with_faces']:,} frames); "
        f"{_count(summary['people'], 'person' if known else 'track')}, "
        f"at most {_count(summary['most_faces'], 'face')} at once.",
        "",
        *_table(["", "seen", *summary["share"]], map(_share_row, [summary, *summary["tracks"]])),
    ]
    if summary["longest_spans"]:
        names = {track["track_id"]: track.get(PERSON) or track["track_id"] for track in summary["tracks"]}
        spans = (
            [
                names.get(span["track_id"], span["track_id"]),
                span["expression"],
                time_text(span["start_s"]),
                time_text(span["end_s"]),
                f"{span['seconds']:.1f} s",
            ]
            for span in summary["longest_spans"]
        )
        lines += ["", "## Longest spans", "", *_table(["track", "expression", "from", "to", "length"], spans)]
    if summary["transitions"]:
        steps = ([step["from"], step["to"], step["count"]] for step in summary["transitions"])
        lines += ["", "## Transitions", "", *_table(["from", "to", "times"], steps)]
    if any("medians" in track for track in summary["tracks"]):
        lines += [
            "",
            "## Measures",
            "",
            *_table(["", *_measured(summary)], map(_measures_row(summary), summary["tracks"])),
        ]
    if summary["errors"]:
        lines += ["", "## Errors", "", *(f"- {error}" for error in summary["errors"])]
    return "\n".join(lines) + "\n"


def _measured(summary: Mapping[str, Any]) -> list[str]:
    names = {name for track in summary["tracks"] for name in track.get("medians", ())}
    blinks = ["blinks a minute"] if any("blinks" in track for track in summary["tracks"]) else []
    return [*(name for name in MEASURES if name in names), *blinks]


def _measures_row(summary: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], list[object]]:
    """Return what makes the row of a track: medians, and blinks per minute."""
    wanted = _measured(summary)

    def row(track: Mapping[str, Any]) -> list[object]:
        known = dict(track.get("medians", {}))
        known |= {"blinks a minute": track["blinks"]["per_minute"]} if track.get("blinks") else {}
        return [f"#{track['track_id']}", *(f"{known[name]:.4g}" if name in known else "" for name in wanted)]

    return row


def summary_columns(names: Sequence[str], attributes: Sequence[str] = ()) -> list[str]:
    """Return the columns of a table of summaries.

    Args:
        names: The expressions.
        attributes: Names of `mien.faces.ATTRIBUTES` that were asked for: with people there is a column `person`, with
            measures a median of each, with blinks how many there are per minute.
    """
    first, second, *rest = WHO_AND_WHEN
    person = [PERSON] if PEOPLE in attributes else []
    shares = [prefix + name for prefix in (SHARE, MEAN) for name in names]
    medians = [MEDIAN + name for name in attribute_columns(attributes) if name in MEASURES]
    blinks = [BLINKS] if "blinks" in attributes else []
    return [first, second, *person, *rest, *shares, *medians, *blinks, ERROR]


def summary_rows(summary: Mapping[str, Any]) -> list[Record]:
    """Return the rows of a table of summaries: one for the whole image or video, and one for every track in it.

    `expression` is the one shown longest, `share_*` the share of the time in which it was seen that each was shown,
    `mean_*` the mean probability. The row of the whole has no `track_id`. `seconds` is the length of the whole, and
    how long a track was seen; `faces` counts the faces of all frames. What has no value stays empty.

    Args:
        summary: From `VideoSummary.to_dict`.
    """
    whole = {
        "first_s": summary["start_s"],
        "last_s": summary["end_s"],
        "faces": summary["faces"],
        "people": None if summary["faces"] and not summary["tracks"] else summary["people"],
        ERROR: "; ".join(summary["errors"]) or None,
    }
    rows = [dict(summary) | whole, *({"faces": track["frames"]} | track for track in summary["tracks"])]
    return [_summary_row(row | {"source": summary["source"]}) for row in rows]


def _summary_row(row: Mapping[str, Any]) -> Record:
    known = row["dominant"] is not None
    shares = {SHARE + name: share if known else None for name, share in row["share"].items()}
    means = {MEAN + name: mean if known else None for name, mean in row["mean_probs"].items()}
    medians = {MEDIAN + name: value for name, value in row.get("medians", {}).items()}
    blinks = {BLINKS: row["blinks"]["per_minute"]} if row.get("blinks") else {}
    wanted = summary_columns(tuple(row["share"]), tuple(ATTRIBUTES))
    return complete_row({**row, "expression": row["dominant"], **shares, **means, **medians, **blinks}, wanted)


def summary_as_csv(summary: Mapping[str, Any]) -> str:
    """Return the summary of one video as a table; see `summary_rows`.

    Args:
        summary: From `VideoSummary.to_dict`.
    """
    text = io.StringIO()
    seen = {name for track in summary["tracks"] for name in (*track.get("medians", ()), *({PERSON} & track.keys()))}
    known = [name for name, columns in ATTRIBUTES.items() if seen.intersection(columns)]
    columns = summary_columns(tuple(summary["share"]), known)
    table = csv.writer(text, lineterminator="\n")
    table.writerow(guarded_cells(columns))
    table.writerows(guarded_cells(row[column] for column in columns) for row in summary_rows(summary))
    return text.getvalue()


def who(track: Mapping[str, Any]) -> str:
    """Return what people call a track of a summary: the person, else its number.

    Args:
        track: An entry of `tracks` of `VideoSummary.to_dict`.
    """
    return str(track.get(PERSON) or f"#{track['track_id']}")


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
    many = "people" if what == "person" else f"{what}s"
    return f"{number:,} {what if number == 1 else many}"


def _share_row(entry: dict[str, Any]) -> list[object]:
    name = who(entry) if "track_id" in entry else "video"
    first, last = (entry["first_s"], entry["last_s"]) if "track_id" in entry else (entry["start_s"], entry["end_s"])
    shares = (f"{share:.0%}" if share else "" for share in entry["share"].values())
    return [name, f"{time_text(first)} – {time_text(last)}", *shares]


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    titled = [f"{EMOJI[name]} {name}" if name in EMOJI else name for name in head]
    cells = [titled, ["---"] * len(head), *([("" if v is None else str(v)) for v in row] for row in rows)]
    return ["| " + " | ".join(row) + " |" for row in cells]
