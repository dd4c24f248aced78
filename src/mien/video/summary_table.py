"""Summaries of several sources in one file: a row for every image and video, and for every person of a video."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mien.faces import Faces, Frame
from mien.files import write_whole
from mien.labels import LabelSet
from mien.output.base import Sink, SinkSettings
from mien.output.kinds import SUMMARY
from mien.output.rows import INTERRUPTED_ROW
from mien.output.tables import CsvSink
from mien.video.summary import VideoSummary
from mien.video.summary_text import summary_as_markdown, summary_columns, summary_rows


class SummariesSink(Sink):
    """Sums up one source after another: their results come together, as those of `analyze_images` and `replay` do."""

    def __init__(self, path: Path, labels: LabelSet, attributes: Sequence[str] = ()) -> None:
        """Start the file.

        Args:
            path: Ends in `.csv`, of which each row is written when its source is done, or in `.json`, `.md` or `.txt`.
            labels: The label set of the results.
            attributes: Names of `mien.faces.ATTRIBUTES` that were asked for.

        Raises:
            InputError: Another extension.
            OutputError: Nothing can be written there.
        """
        super().__init__()
        self._path, self._labels = path, labels
        self._table = (
            CsvSink(path, SinkSettings(labels), summary_columns(labels.names, attributes))
            if SUMMARY.check(path) == ".csv"
            else None
        )
        self._now: VideoSummary | None = None
        self._source, self._index = "", -1
        self._done: list[dict[str, Any]] = []

    def _write(self, frame: Frame, faces: Faces) -> None:
        self._summary_of(frame.source, frame.index).add(frame, faces)

    def _fail(self, source: str, message: str) -> None:
        self._summary_of(source, self._index + 1).fail(message)

    def _summary_of(self, source: str, index: int) -> VideoSummary:
        """Return the summary that a frame belongs to; one that comes before the last is of another source."""
        if self._now is None or source != self._source or index <= self._index:
            self._end_source()
            self._now = VideoSummary(self._labels)
        self._source, self._index = source, index
        return self._now

    def _end_source(self) -> None:
        if self._now is not None:
            summary = self._now.to_dict() | {"source": self._source}
            if self._table:
                self._table.add_rows(summary_rows(summary))
            else:
                self._done.append(summary)
            self._now = None

    def interrupt(self) -> None:
        """Complete the file; the last source has the `error` that says that the run was interrupted.

        Raises:
            OutputError: It cannot be completed.
        """
        if not self._closed and self._now is not None:
            self._now.fail(INTERRUPTED_ROW)
        self.close()

    def _commit(self) -> None:
        self._end_source()
        if self._table:
            self._table.close()
        elif self._path.suffix.lower() == ".json":
            write_whole(self._path, json.dumps(self._done, ensure_ascii=False, indent=2) + "\n")
        else:
            write_whole(self._path, "\n".join(map(summary_as_markdown, self._done)))

    def _drop(self) -> None:
        if self._table:
            self._table.discard()
