"""One video from its first frame, or from where an earlier run stopped, to its outputs."""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import cast

from mien.analyzer import DEFAULT_DETECTOR, Analyzer, analyzer_settings
from mien.attributes.settings import GivenAttributes
from mien.errors import InputError, MienError
from mien.faces import KEEP_ALL, PEOPLE
from mien.files import explained
from mien.models.catalogue import DEFAULT_MODEL
from mien.models.prior import NATURAL, GivenPrior
from mien.output.base import Sink
from mien.output.draw.style import PLAIN, DrawStyle
from mien.output.progress import ProgressBar
from mien.people.embedding import FaceEmbedder
from mien.sources.videos import Video, VideoSettings
from mien.tracking.settings import TrackSettings
from mien.tracking.tracker import Tracker
from mien.video._head import head_of
from mien.video._journal import Journal
from mien.video._parts import Parts
from mien.video._people import Named, SeenTracks, check_people
from mien.video._plan import Segment, plan_segments
from mien.video._rested import FirstPass
from mien.video._work import Run
from mien.video._writers import Findings, Writers, open_writers
from mien.video.baseline import check_baseline, with_baseline
from mien.video.job import Progress, VideoJob
from mien.video.outputs import VideoOutputs
from mien.video.result import KeptFolder, VideoResult
from mien.video.segment_pool import SegmentPool, SegmentRunner, worker_count
from mien.video.truth import Truth
from mien.video.work_folder import WorkFolder

logger = logging.getLogger(__name__)


def analyze_video(
    source: str | Path,
    outputs: VideoOutputs | Sequence[str | Path] = (),
    *,
    video: VideoSettings | None = None,
    track: TrackSettings | None = None,
    style: DrawStyle = PLAIN,
    interval_s: float | None = None,
    truth: Truth | None = None,
    baseline: str | tuple[float, float] | None = None,
    people: str | Path | None = None,
    resume: bool = False,
    workers: int | str | None = None,
    progress: bool | Callable[[Progress], None] = True,
    stop: threading.Event | None = None,
    analyzer: Analyzer | None = None,
    detector: str = DEFAULT_DETECTOR,
    model: str = DEFAULT_MODEL,
    labels: str | None = None,
    min_face: int | None = None,
    min_confidence: float = 0.0,
    largest_only: bool = False,
    clip_boxes: bool = False,
    prior: GivenPrior = NATURAL,
    attributes: GivenAttributes = (),
) -> VideoResult:
    """Analyze a video: find and track its faces, and say what they show and when.

        result = mien.analyze_video("clip.mp4")
        result.to_pandas()
        result.save("rows.csv", "annotated.mp4", "timeline.png")

    Memory stays flat with the length of the video: the result keeps its rows in a temporary file.

    `outputs` are written as the results come, in the same pass, and appear whole at the end, also after `stop`. While
    the work goes on, and after it was stopped or killed, a hidden folder beside the first output holds a journal, from
    which `resume` goes on; then the outputs are those of a run that was never interrupted.

    With `baseline`, `people`, or eyes, mouth or brows among the `attributes`, there are two passes: the video is
    analyzed to its end first, then everybody's resting face is taken out of the stored results, people get their names,
    measures are given relative to their medians, and the outputs are written. An annotated video reads the frames once
    more for that, and so does `people`. `TrackSettings(relative=False)` leaves the relative columns out.

    Args:
        source: The video: a path, a pattern of images in a row, or a URL.
        outputs: Where results go; paths are sorted by their extension as `VideoOutputs.named` does.
        video: Which frames are taken.
        track: How faces are tracked.
        style: What is drawn on the annotated video.
        interval_s: Length of the intervals of tables of intervals, seconds.
        truth: Known expressions: drawn in gray, and the summary gets the score.
        baseline: Take each person's resting face as the measure: `"auto"` finds it, a stretch such as `"0:02-0:06"` or
            (2.0, 6.0) seconds says when people rest; None takes that of `track`.
        people: Tell who is who, over cuts as well: `"auto"`, or a folder that holds a folder of pictures per name,
            which names them; None takes that of `track`. Needs `mien models pull identity`; docs/people.md says what it
            asks of you.
        resume: Go on where an earlier run with the same outputs stopped; without one, start.
        workers: Processes that share the work: the video is cut at key frames into segments, and they are stitched to
            the results of one pass. `"auto"` takes one per core; None or 1 none but this one. In a script, call it
            below `if __name__ == "__main__":`.
        progress: Whether a bar shows how far it is, in terminals and notebooks; elsewhere there is none. Or a function
            that is called after every frame.
        stop: Set it, from another thread or a signal handler, to end the work early.
        analyzer: Detector and expression model, in place of what follows.
        detector: A name of `mien.detect.DETECTORS`.
        model: A name from the catalogue, or the path of an ONNX file.
        labels: Label set, `"combined"`, `"fer2013"` or `"ferplus"`; None takes the model's first.
        min_face: Smallest face, pixels of the video; None takes the detector's own (32 for `mtcnn`).
        min_confidence: Faces whose most probable expression is less probable are left out, 0-1.
        largest_only: Only the largest face of a frame is given.
        clip_boxes: Boxes end where the image does.
        prior: Shares of the expressions where the faces come from: `"natural"`, `"even"`, shares by name, or the path
            of a .csv or .json file of them.
        attributes: What else is measured of every face: `("pose", "eyes")`, see `mien.faces.ATTRIBUTES`; nothing unless
            asked.

    Returns:
        What became of it. A video that breaks off gives all that it holds, and the `error`.

    Raises:
        SourceError: The video cannot be opened.
        InputError: A wrong setting or output, a choice that leaves no frame, or `resume` with another video or other
            settings.
        OutputError: A result cannot be written; there is no output then, but the journal stays.
        MissingExtraError: PyAV is not installed, or what an output needs.
    """
    if not isinstance(outputs, VideoOutputs):
        outputs = VideoOutputs.named(outputs, interval=interval_s is not None)
    settings = analyzer_settings(
        detector=detector,
        model=model,
        labels=labels,
        min_face=min_face,
        min_confidence=min_confidence,
        largest_only=largest_only,
        clip_boxes=clip_boxes,
        prior=prior,
        attributes=attributes,
    )
    runner = None
    if worker_count(workers) > 1:
        if analyzer is not None:
            raise InputError(
                "other processes cannot use an analyzer that is open here; with workers, say detector=…, model=… and "
                "the rest in place of analyzer=…"
            )
        runner = SegmentPool(settings, workers)
    analyzer = analyzer or settings.shared()
    job = VideoJob(
        source,
        outputs,
        video or VideoSettings(),
        with_people(with_baseline(track, baseline), people),
        style,
        interval_s,
        truth,
        resume,
        keep=True,
    )
    if callable(progress):
        return run_job(job, analyzer, progress=progress, stop=stop, runner=runner)
    with ProgressBar(job.name, unit="frames", shown=progress) as bar:
        return run_job(job, analyzer, progress=lambda at: bar.update(at.frames, at.total), stop=stop, runner=runner)


def with_people(settings: TrackSettings, people: str | Path | None) -> TrackSettings:
    """Return settings with the people that a user names.

    Args:
        settings: What it is added to.
        people: `auto` or a folder; None leaves those of `settings`.
    """
    return settings if people is None else replace(settings, people=str(people))


def run_job(
    job: VideoJob,
    analyzer: Analyzer,
    *,
    progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
    sinks: Sequence[Sink] = (),
    runner: SegmentRunner | None = None,
) -> VideoResult:
    """Analyze a video. One that an earlier run has finished, by the same journal, is not done again with `resume`.

    Args:
        job: The video and what is wanted of it.
        analyzer: Detector and expression model.
        progress: Called after every frame.
        stop: Set it, from another thread or a signal handler, to end the work early.
        sinks: Open writers that get the results, too, and are left open.
        runner: Analyzes the segments of the video somewhere else; None analyzes the video here. One that cannot be cut
            is analyzed here as well.

    Returns:
        As `analyze_video`.

    Raises:
        MienError: As `analyze_video`.
    """
    started = time.monotonic()
    job = replace(job, measured=tuple(name for name in analyzer.attributes if name != PEOPLE))
    job.outputs.check_extras()
    with Video(job.source, job.video) as reader, ExitStack() as stack:
        work = stack.enter_context(WorkFolder(job.outputs.all(), sources=[str(job.source)], resume=job.resume))
        kept = KeptFolder() if job.keep else None
        segments = plan_segments(job.source, job.video, track=job.track) if runner else []
        journal = _open_journal(job, reader, analyzer, work, kept, segments)
        if journal:
            stack.enter_context(journal)
        finished = journal is not None and journal.past.published and all(p.exists() for p in job.outputs.all())
        outputs = VideoOutputs() if finished else job.outputs
        parts = None
        if runner and len(segments) > 1 and not (journal and journal.past.ended):
            parts = Parts(job, segments, runner, analyzer, reader.info, journal, stop or threading.Event(), progress)
            stack.callback(parts.close)
        first = None
        people: Named | None = None
        told: list[str] = []
        if job.two_passes and not (journal and journal.past.ended):
            check_baseline(job.track, analyzer)
            check_people(job.track)
            first = _first_pass(job, reader, analyzer, stack, journal, stop, progress, parts)
            if job.known is not None:
                people, told = job.known.tracks, list(job.known.problems)
                first = replace(first, resumed=job.known.resumed)
            elif job.track.people is not None:
                with Video(job.source, job.video) as again:
                    people, told = first.people(analyzer, job.track, again, stop or threading.Event())
            if outputs.need_images:
                reader = stack.enter_context(Video(job.source, job.video))
        findings = Findings(analyzer.labels, job.truth, timeline=bool(outputs.timelines))
        writers = stack.enter_context(
            open_writers(
                replace(job, outputs=outputs), work, labels=analyzer.labels, info=reader.info, findings=findings,
                shared=sinks,
            )
        )  # fmt: skip
        run = Run(job, reader, _plain_tracker(analyzer, job), writers, findings, stop or threading.Event(), progress)
        if journal:
            run.journal(journal)
        try:
            if parts and first is None:
                if journal:
                    journal.restart()
                result = run.take(parts, analyzer.labels, images=outputs.need_images)
            elif first is None:
                result = run.work(analyzer.labels, images=outputs.need_images)
            else:
                result = run.finish(first, analyzer, people, told, images=outputs.need_images)
        except KeyboardInterrupt:
            run.complete(interrupted=True)
            work.publish(done=False)
            raise
        written = work.publish(done=not result.interrupted)
        if first and not result.interrupted:
            first.journal.unlink(missing_ok=True)
        if parts and not result.interrupted:
            parts.remove()
        if journal and not finished and not result.interrupted:
            journal.end(list(result.problems), result.error, published=True)
        if kept and journal and journal.path != kept.journal:
            with explained(kept.journal):
                shutil.copyfile(journal.path, kept.journal)
    published = job.outputs.all() if finished else tuple(written)
    seconds = time.monotonic() - started + (job.known.seconds if job.known else 0)
    result = replace(result, outputs=published, seconds=seconds, journal=job.journal)
    return replace(result, journal=kept.journal, job=job, _folder=kept) if kept else result


def _open_journal(
    job: VideoJob,
    reader: Video,
    analyzer: Analyzer,
    work: WorkFolder,
    kept: KeptFolder | None,
    segments: Sequence[Segment],
) -> Journal | None:
    path = job.journal or work.journal_path(str(job.source)) or (kept.journal if kept else None)
    if path is None:
        return None
    head = {
        **head_of(job.source, reader, analyzer, job.track),
        "segments": len(segments) if len(segments) > 1 else None,
    }
    return Journal(path, head, resume=job.resume)


def _plain_tracker(analyzer: Analyzer, job: VideoJob) -> Tracker:
    """Return a tracker that leaves the resting faces, and who is who, to a second pass."""
    return Tracker(analyzer, replace(job.track, baseline=None, people=None))


def _first_pass(
    job: VideoJob,
    reader: Video,
    analyzer: Analyzer,
    stack: ExitStack,
    journal: Journal | None,
    stop: threading.Event | None,
    progress: Callable[[Progress], None] | None,
    parts: Parts | None = None,
) -> FirstPass:
    """Analyze a video into a journal of its own, from where an earlier run stopped, and start the journal afresh."""
    if journal is None:
        spare = KeptFolder()
        stack.callback(spare.close)
        path = spare.journal
    else:
        journal.restart()
        path = journal.path.with_name(f"first-{journal.path.name}")
    with Journal(path, head_of(job.source, reader, analyzer, job.track), resume=job.resume) as own:
        findings = Findings(analyzer.labels, None, timeline=False)
        tracker = _plain_tracker(analyzer.keeping(KEEP_ALL), job)
        run = Run(job, reader, tracker, Writers(()), findings, stop or threading.Event(), progress)
        run.journal(own)
        if parts and not own.past.ended:
            own.restart()
            found = run.take(parts, analyzer.labels, images=False, raw=True)
        else:
            found = run.work(analyzer.labels, images=False)
    return FirstPass(
        path, reader.info, found.frames, found.resumed, found.problems, found.error, interrupted=found.interrupted
    )


def see_people(
    job: VideoJob,
    analyzer: Analyzer,
    *,
    progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> SeenTracks:
    """Analyze a video until it is known what tells its people from those of other videos.

    What was done stays in the journals: `run_job` of the same job goes on from there with `resume`.

    Args:
        job: The video, with a `journal`.
        analyzer: Detector and expression model.
        progress: Called after every frame.
        stop: Set it to end the work early.

    Raises:
        MienError: As `analyze_video`.
    """
    started = time.monotonic()
    check_baseline(job.track, analyzer)
    check_people(job.track)
    stop = stop or threading.Event()
    job = replace(job, measured=tuple(name for name in analyzer.attributes if name != PEOPLE))
    with Video(job.source, job.video) as reader, ExitStack() as stack:
        journal = Journal(cast(Path, job.journal), head_of(job.source, reader, analyzer, job.track), resume=job.resume)
        past = stack.enter_context(journal).past
        if past.ended:
            first = FirstPass(journal.path, reader.info, past.frames, past.frames, (), past.error, interrupted=False)
        else:
            first = _first_pass(job, reader, analyzer, stack, journal, stop, progress)
        with Video(job.source, job.video) as again:
            seen = first.seen(analyzer, again, FaceEmbedder(), stop)
            return replace(seen, seconds=time.monotonic() - started)


def attempt_job(
    job: VideoJob,
    analyzer: Analyzer,
    *,
    progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> VideoResult:
    """Do as `run_job`, but turn an error of any kind into a result that says so.

    Args:
        job: The video and what is wanted of it.
        analyzer: Detector and expression model.
        progress: Called after every frame.
        stop: Set it to end the work early.
    """
    try:
        return run_job(job, analyzer, progress=progress, stop=stop)
    except MienError as error:
        return VideoResult(job.name, error=str(error))
    except Exception as error:
        logger.exception("unexpected error on %s", job.name)
        return VideoResult(job.name, error=f"{job.name}: unexpected {type(error).__name__}: {error}")
