"""Several videos of `mien analyze`, in parallel, and the images beside them."""

import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from mien.analyzer import Analyzer, AnalyzerSettings, Result
from mien.cli.analyze.folders import INTERVALS, ROWS, SUMMARY, say_all_written
from mien.cli.analyze.images import TerminalSink, deliver
from mien.cli.analyze.jobs import INSTEAD, VideoJobs
from mien.cli.analyze.scored import ScoreSink
from mien.cli.analyze.show import ProgressLines, row_printer, score_text, tell
from mien.cli.console import for_people
from mien.errors import InputError
from mien.output.base import Sink
from mien.output.images import folder_below, image_name
from mien.output.kinds import FOLDER, OF_IMAGES, TABLE, VIDEO, kind_of
from mien.output.sinks import open_sink
from mien.sources.images import Item
from mien.video.intervals import open_interval_sink
from mien.video.job import VideoJob
from mien.video.outputs import VideoOutputs
from mien.video.parallel import analyze_videos
from mien.video.result import VideoResult, replay
from mien.video.summary_table import SummariesSink
from mien.video.veil import Drawing
from mien.video.work_folder import WorkFolder


class ManyVideos:
    """Several videos, in parallel, and images beside them: tables hold all, folders a folder for each video."""

    def __init__(
        self,
        jobs: VideoJobs,
        items: Sequence[Item],
        videos: dict[int, str],
        analyzer: Analyzer,
        stop: threading.Event,
    ) -> None:
        """Check what is asked for.

        Args:
            jobs: Makes the job of each video.
            items: All sources.
            videos: Which of them are videos.
            analyzer: Detector and model.
            stop: Set to end the work early.

        Raises:
            InputError: An output is for one video only, or is of no known kind.
        """
        self._jobs, self._request, self._items = jobs, jobs.request, items
        self._videos, self._analyzer, self._stop = videos, analyzer, stop
        kinds = [(Path(path), kind_of(path, OF_IMAGES, instead=INSTEAD)) for path in self._request.outputs]
        self._folders = [path for path, kind in kinds if kind is FOLDER]
        self._files = {path: kind for path, kind in kinds if kind is not FOLDER}
        self._check()

    def _check(self) -> None:
        single = [path for path, kind in self._files.items() if kind is VIDEO]
        single += [*self._jobs.extra.timelines, *self._jobs.extra.moments]
        if single:
            raise InputError(f"{single[0]} is for one video, but there are {len(self._items)} sources; use -o FOLDER/")
        for folder in self._folders if self._videos else ():
            VideoOutputs.in_folder(folder).check_extras()
        self._jobs.check_resume(self._request.outputs)

    def run(self, settings: AnalyzerSettings, images: Callable[[Sequence[Item]], Iterator[Result]]) -> int:
        """Analyze them all in the order of the sources; return how many failed.

        Args:
            settings: How other processes make the analyzer.
            images: Analyzes images.
        """
        request, labels = self._request, self._analyzer.labels
        tables = self._tables()
        score = ScoreSink(self._jobs.truth) if self._jobs.truth else None
        with tempfile.TemporaryDirectory(prefix="mien-") as spare, self._work_folder(list(tables)) as work:
            with ExitStack() as stack:
                sinks = [stack.enter_context(opened(work.path(table))) for table, opened in tables.items()]
                sinks += [stack.enter_context(row_printer(request, labels))] if request.rows else []
                sinks += [score] if score else []
                others = [stack.enter_context(self._open_images(path)) for path in self._for_images()]
                others += [TerminalSink()] if request.shown else []
                lines = stack.enter_context(ProgressLines(request))
                jobs = self._jobs_of(work, Path(spare))
                videos = analyze_videos(
                    jobs, settings, workers=request.jobs or None, progress=lines.show, stop=self._stop
                )
                stills = images([item for number, item in enumerate(self._items) if number not in self._videos])
                results = stack.enter_context(closing(videos))
                failed = 0
                for number in range(len(self._items)):
                    if number in self._videos:
                        failed += self._hand_on(next(results), sinks, lines)
                    elif not self._stop.is_set():
                        failed += deliver(next(stills), [*sinks, *others])
                for sink in sinks if self._stop.is_set() else ():
                    sink.interrupt()
            published = work.publish(done=not self._stop.is_set())
        if not request.quiet:
            say_all_written(published, self._folders)
        if score and not request.quiet:
            for_people().print(score_text(score.score.to_dict()))
        return failed

    def _work_folder(self, tables: Sequence[Path]) -> WorkFolder:
        home = self._folders[0] if self._folders else None
        return WorkFolder(tables, sources=list(self._videos.values()), resume=self._request.resume, home=home)

    def _hand_on(self, result: VideoResult, sinks: Sequence[Sink], lines: ProgressLines) -> bool:
        """Give the results of a video to the writers and tell of it; return whether it failed."""
        lines.drop(result.source)
        if result.info is None and result.interrupted:
            return False
        replay(result, self._analyzer.labels, sinks)
        tell(result, self._request)
        return result.error is not None

    def _tables(self) -> dict[Path, Callable[[Path], Sink]]:
        """Return the tables that hold all sources, and what opens each."""
        labels, interval_s = self._analyzer.labels, self._request.interval_s
        attributes = self._request.video_attributes
        rows = partial(open_sink, labels=labels, tracked=True, attributes=attributes)
        intervals = partial(open_interval_sink, labels=labels, interval_s=interval_s or 0, attributes=attributes)
        summaries = partial(SummariesSink, labels=labels, attributes=attributes)
        by_interval = interval_s is not None
        found: dict[Path, Callable[[Path], Sink]] = {
            path: intervals if by_interval else rows for path, kind in self._files.items() if kind is TABLE
        }
        for folder in self._folders:
            found |= {folder / ROWS: rows, folder / SUMMARY: summaries}
            found |= {folder / INTERVALS: intervals} if by_interval else {}
        return found | ({self._request.summary: summaries} if self._request.summary else {})

    def _for_images(self) -> list[Path]:
        """Return the outputs that hold images; a folder only where there are any."""
        only_videos = len(self._videos) == len(self._items)
        return [path for path, kind in self._files.items() if kind is not TABLE] + (
            [] if only_videos else self._folders
        )

    def _jobs_of(self, work: WorkFolder, spare: Path) -> list[VideoJob]:
        """Return a job per video, its folders named after it, below those that its source lies in."""
        taken = Counter[str]()
        interval = self._request.interval_s is not None
        jobs: list[VideoJob] = []
        for source in self._videos.values():
            place = folder_below(source, self._request.root) / image_name(source)[0]
            taken[str(place).casefold()] += 1
            number = taken[str(place).casefold()]
            name = place if number == 1 else place.with_name(f"{place.name}-{number}")
            outputs = VideoOutputs()
            for folder in self._folders:
                outputs = outputs.plus(VideoOutputs.in_folder(folder / name, interval=interval))
            journal = work.journal_path(source) or spare / f"{len(jobs)}.journal"
            jobs.append(self._jobs.job(source, outputs, journal))
        return jobs

    def _open_images(self, path: Path) -> Sink:
        draw = Drawing(self._request.style, self._jobs.truth)
        place = f"{path}/" if path in self._folders else path
        return open_sink(place, labels=self._analyzer.labels, draw=draw, root=self._request.root)
