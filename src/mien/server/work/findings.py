"""What is made of a finished job and what people noted of it: corrected tables, scores, the inputs of a report."""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mien.errors import InputError, listed
from mien.files import write_whole
from mien.output.read_rows import ResultTable
from mien.server.work.jobs import ABOUT, FILES, Jobs
from mien.server.work.notes import Note
from mien.server.work.store import JobRow
from mien.video.aligned import SeenVideo, seen_videos
from mien.video.corrections import Corrections, corrected_summary, write_corrected
from mien.video.truth import Truth, TruthScore, TruthSpan, read_truth
from mien.video.truth_table import spans_from_values, spans_of_video

PEOPLE, TRUTH, EVENTS = "people", "truth", "events"
CORRECTED = {"csv": ".csv", "jsonl": ".jsonl", "parquet": ".parquet", "json": ".json"}


class JobFindings:
    """Reads one finished job."""

    def __init__(self, jobs: Jobs, row: JobRow) -> None:
        """Choose the job.

        Args:
            jobs: The server's jobs.
            row: One that is done.
        """
        self._jobs, self._row = jobs, row
        self._folder = jobs.files.of(row.id)

    @property
    def table(self) -> ResultTable:
        """The rows of the model's answers."""
        return ResultTable.open(self._folder / FILES["jsonl"])

    def check_tracks(self, wanted: Iterable[int | None]) -> None:
        """Refuse tracks that the video does not have; None stands for every face.

        Raises:
            InputError: There is one.
        """
        summary = json.loads((self._folder / FILES["summary"]).read_text(encoding="utf-8"))
        there = {track["track_id"] for track in summary["tracks"]}
        if unknown := sorted({track for track in wanted if track is not None} - there):
            has = f"the tracks {listed(sorted(there))}" if there else "no tracks"
            raise InputError(f"the video has {has}, got {listed(unknown)}; take track_id from its rows")

    def note(self, kind: str) -> Note:
        """Return what is noted of the job."""
        return self._jobs.store.note(self._row.id, kind)

    @property
    def corrections(self) -> Corrections:
        """Who people really are."""
        return Corrections.from_values(self.note(PEOPLE).value)

    def corrected(self, kind: str) -> Path:
        """Return a file with the names that people gave, made now where it is not there yet.

        Args:
            kind: `csv`, `jsonl`, `parquet`, or `json` for the summary.
        """
        note = self.note(PEOPLE)
        path = self._folder / f"corrected-{note.number}{CORRECTED[kind]}"
        if path.is_file():
            return path
        corrections = Corrections.from_values(note.value)
        if kind == "json":
            summary = corrected_summary(self.table, corrections)
            write_whole(path, json.dumps(summary, ensure_ascii=False, indent=2) + "\n")
        else:
            write_corrected(self.table, corrections, path)
        for old in self._folder.glob(f"corrected-*{CORRECTED[kind]}"):
            if old != path:
                old.unlink(missing_ok=True)
        return path

    def spans(self) -> list[TruthSpan]:
        """Return what was really shown, as somebody marked it."""
        return spans_from_values(self.note(TRUTH).value, self.table.labels)

    def read_spans(self, text: bytes) -> list[TruthSpan]:
        """Return the spans of a table as `mien analyze --truth` takes it, those of this video.

        Raises:
            InputError: The table cannot be read, or says nothing of this video.
        """
        with tempfile.NamedTemporaryFile(suffix=".csv") as file:
            file.write(text)
            file.flush()
            try:
                truth = read_truth(file.name, self.table.labels)
            except InputError as error:
                raise InputError(str(error).replace(file.name, "the table")) from error
        return spans_of_video(truth.spans, self._row.source)

    @property
    def about(self) -> dict[str, str]:
        """What analyzed the video, for people; empty where an earlier version of mien did not note it."""
        try:
            told: dict[str, str] = json.loads((self._folder / ABOUT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return told

    def events(self, name: str) -> tuple[float, ...]:
        """Return when something happened, seconds."""
        return tuple(float(event["time_s"]) for event in self.note(EVENTS).value if event["name"] == name)

    def seen(self) -> SeenVideo:
        """Return the video with its people, as they were corrected, to be compared with others.

        Raises:
            InputError: It has no rows.
        """
        videos = seen_videos(self.table, self.corrections)
        if not videos:
            raise InputError(f"{self._row.source} has no rows; leave it out")
        return videos[0]

    def score(self) -> dict[str, Any]:
        """Return how often the answers are what was really shown, track by track."""
        table, spans = self.table, self.spans()
        if not spans:
            raise InputError("nothing is noted as the truth of this video; mark some spans first")
        score = TruthScore(Truth(spans, table.labels))
        for row in table:
            score.add_record({**row, "person": None})  # tracks are marked, not the people the model makes of them
        return score.to_dict()
