"""What a video shows, in figures: shares of time, transitions and the longest spans."""

import copy
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mien.faces import PERSON, Record
from mien.files import write_whole
from mien.labels import LabelSet
from mien.output.kinds import SUMMARY
from mien.video._sums import LONGEST_SPANS, Span, Sums, TrackSums
from mien.video.held import Held, Sight, SummaryBuilder
from mien.video.summary_text import summary_as_csv, summary_as_markdown


class VideoSummary(SummaryBuilder):
    """Who shows what, when: sums over a video and over each of its tracks, in memory that does not grow with time.

    Works on results as they come (`add`) or on the rows of a table (`add_record`), with the same outcome.
    """

    def __init__(self, labels: LabelSet) -> None:
        """Start empty.

        Args:
            labels: The label set of the results.
        """
        super().__init__(labels)
        self._video = Sums(len(labels))
        self._tracks: dict[int, TrackSums] = {}
        self._source: str | None = None
        self._span_s = [math.inf, -math.inf]
        self._frames = self._with_faces = self._most = 0
        self._with_faces_s = 0.0
        self._errors: list[str] = []

    def add_record(self, row: Record) -> None:
        """Add a row of a table of the video's results; `error` rows are counted. See `SummaryBuilder.add_record`."""
        if row.get("error"):
            self.fail(str(row["error"]))
        super().add_record(row)

    def fail(self, message: str) -> None:
        """Note that something went wrong in the video, for the summary's `errors`; the first ten are kept."""
        self._errors = [*self._errors, message][:10]

    def _take(self, held: Held) -> None:
        self._source = held.source
        self._span_s = [min(self._span_s[0], held.start_s), max(self._span_s[1], held.end_s)]
        self._frames += 1
        self._most = max(self._most, len(held.sights))
        if held.sights:
            self._with_faces += 1
            self._with_faces_s += held.seconds
        for sight in held.sights:
            self._video.see(sight, held)
            if sight.track_id is not None:
                self._add_to_track(sight, held)

    def _add_to_track(self, sight: Sight, held: Held) -> None:
        number = int(sight.track_id or 0)
        track = self._tracks.get(number)
        if track is None:
            track = self._tracks[number] = TrackSums(len(self.labels), number)
        ended, step = track.add(sight, held)
        if ended is not None:
            track.keep(ended)
            self._video.keep(ended)
        if step is not None:
            track.transitions[step] += 1
            self._video.transitions[step] += 1

    def to_dict(self) -> dict[str, Any]:
        """Return the summary so far as plain values, ready for JSON; more frames may follow.

        Times and lengths are seconds. Shares are of the time in which the face (for the video: any face, each for
        itself) was seen, and sum to 1. `mean_probs` are averages over time. Where attributes were measured, a track has
        their `medians` by column, and `blinks` where they were asked for.
        """
        whole = self._completed()
        video = whole._video
        start, end = whole._span_s if whole._frames else (0.0, 0.0)
        return {
            "source": whole._source,
            "labels": self.labels.key,
            "start_s": _s(start),
            "end_s": _s(end),
            "seconds": _s(end - start),
            "frames": whole._frames,
            "frames_with_faces": whole._with_faces,
            "seconds_with_faces": _s(whole._with_faces_s),
            "faces": video.frames,
            "most_faces": whole._most,
            "people": len(whole._tracks),
            **whole._figures(video, (track.now for track in whole._tracks.values())),
            "tracks": [whole._track_figures(track) for _, track in sorted(whole._tracks.items())],
            "errors": list(self._errors),
        }

    def _completed(self) -> "VideoSummary":
        """Return a copy that holds the last frame, too."""
        whole = copy.deepcopy(self)
        whole._finish()
        return whole

    def _track_figures(self, track: TrackSums) -> dict[str, Any]:
        return {
            "track_id": track.track_id,
            **({PERSON: track.person} if track.person else {}),
            "first_s": _s(track.first_s),
            "last_s": _s(track.last_s),
            "seconds": _s(track.seconds),
            "frames": track.frames,
            **(track.measures.to_dict() if track.measures else {}),
            **self._figures(track, [track.now]),
        }

    def _figures(self, sums: Sums, running: Iterable[Span | None]) -> dict[str, Any]:
        names = self.labels.names
        total, weight = sums.shown.sum(), sums.weight
        spans = [*sums.spans, *(span for span in running if span is not None)]
        longest = sorted(spans, key=lambda span: (-span.seconds, span.start_s))[:LONGEST_SPANS]
        return {
            "dominant": names[int(sums.shown.argmax())] if total else None,
            "share": {name: _share(value, total) for name, value in zip(names, sums.shown, strict=True)},
            "seconds_shown": {name: _s(value) for name, value in zip(names, sums.shown, strict=True)},
            "mean_probs": {name: _share(value, weight) for name, value in zip(names, sums.probs, strict=True)},
            "transitions": [
                {"from": names[a], "to": names[b], "count": count}
                for (a, b), count in sorted(sums.transitions.items(), key=lambda item: (-item[1], item[0]))
            ],
            "longest_spans": [
                {"track_id": span.track_id, "expression": names[span.expression], "start_s": _s(span.start_s),
                 "end_s": _s(span.end_s), "seconds": _s(span.seconds)}
                for span in longest
            ],
        }  # fmt: skip

    def to_json(self) -> str:
        """Return the summary as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2) + "\n"

    def to_markdown(self) -> str:
        """Return the summary as tables for people to read."""
        return summary_as_markdown(self.to_dict())

    def write(self, path: str | Path) -> Path:
        """Write the summary; the file appears whole or not at all.

        Args:
            path: Ends in `.json`, in `.csv` for a table, or in `.md` or `.txt` for people.

        Returns:
            The path.

        Raises:
            InputError: Another extension.
            OutputError: It cannot be written.
        """
        kind = SUMMARY.check(path)
        if kind == ".csv":
            return write_whole(path, summary_as_csv(self.to_dict()))
        return write_whole(path, self.to_json() if kind == ".json" else self.to_markdown())


def _s(value: float) -> float:
    return round(float(value), 3)


def _share(value: float, total: float) -> float:
    return round(float(value / total), 4) if total else 0.0
