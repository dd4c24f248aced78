"""The frames of a video, a camera or a stream with their faces, one after another: `mien.track`."""

import logging
import re
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

from mien.analyzer import DEFAULT_DETECTOR, Analyzer, analyzer_settings
from mien.attributes.settings import GivenAttributes
from mien.faces import Faces, Frame
from mien.models.catalogue import DEFAULT_MODEL
from mien.models.prior import NATURAL, GivenPrior
from mien.sources.live import CAMERA, LiveSettings, LiveSource
from mien.sources.videos import Video, VideoSettings
from mien.tracking.settings import TrackSettings
from mien.tracking.tracker import Tracker, track_video
from mien.video.baseline import with_baseline

logger = logging.getLogger(__name__)

STREAM = re.compile(r"(?!https?:|file:)[a-z][a-z0-9+.-]+://", re.IGNORECASE)

Results = Generator[tuple[Frame, Faces]]


def track(
    source: str | int | Path,
    *,
    live: bool | LiveSettings | None = None,
    video: VideoSettings | None = None,
    settings: TrackSettings | None = None,
    baseline: str | tuple[float, float] | None = None,
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
) -> Results:
    """Yield the frames of a video or stream with their faces, each with its `track_id` and steady expression.

        for frame, faces in mien.track("rtsp://camera.local/stream"):
            for face in faces:
                print(frame.time_s, face.track_id, face.steady_expression)

    A video gives every frame. A camera or a stream gives the newest one whenever the loop is ready for it, so that what
    comes is never old. The source is opened at the first step, and closed at the end of the loop or by `close()`.

    Args:
        source: A video as for `analyze_video`; the number of a camera, `/dev/video0`; or an rtsp, rtmp, srt or udp URL.
        live: Whether the newest frames are taken, and how a live source is read; None decides by the source, where an
            http(s) URL counts as a video.
        video: Which frames of a video are taken.
        settings: How faces are tracked.
        baseline: Take each person's resting face as the measure, as far as it is known by then: `"auto"` finds it,
            better with time; a stretch such as `"0:00-0:03"` or (0.0, 3.0) seconds says when people rest, and frames
            before it stay as they are. None takes that of `settings`.
        analyzer: Detector and expression model, in place of what follows.
        detector: A name of `mien.detect.DETECTORS`.
        model: A name from the catalogue, or the path of an ONNX file.
        labels: Label set, `"combined"`, `"fer2013"` or `"ferplus"`; None takes the model's first.
        min_face: Smallest face, pixels; None takes the detector's own (32 for `mtcnn`).
        min_confidence: Faces whose most probable expression is less probable are left out, 0-1.
        largest_only: Only the largest face of a frame is given.
        clip_boxes: Boxes end where the image does.
        prior: Shares of the expressions where the faces come from: `"natural"`, `"even"`, shares by name, or the path
            of a .csv or .json file of them.
        attributes: What else is measured of every face: `("pose", "eyes")`, see `mien.faces.ATTRIBUTES`; nothing unless
            asked.

    Yields:
        `(frame, faces)`: `frame.image` is (H, W, 3) uint8 RGB, upright, with square pixels.

    Raises:
        SourceError: It cannot be opened, or breaks off; all frames that it holds came before.
        InputError: A wrong setting, or a choice that leaves no frame.
        MissingExtraError: PyAV is not installed.
    """
    made = analyzer_settings(
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
    analyzer = analyzer or made.shared()
    tracker = Tracker(analyzer, with_baseline(settings, baseline))
    if live or (live is None and _is_live(source)):
        return _newest(source, live if isinstance(live, LiveSettings) else None, tracker)
    return _all(cast(str | Path, source), video, tracker)


def _is_live(source: str | int | Path) -> bool:
    return isinstance(source, int) or bool(CAMERA.fullmatch(str(source)) or STREAM.match(str(source)))


def _all(source: str | Path, settings: VideoSettings | None, tracker: Tracker) -> Results:
    with Video(source, settings) as video:
        results = cast(Results, track_video(video, tracker))
        with closing(results):
            yield from _told(results, video)


def _newest(source: str | int | Path, settings: LiveSettings | None, tracker: Tracker) -> Results:
    with LiveSource(source, settings) as stream:
        yield from _told(_tracked(stream, tracker), stream)


def _tracked(stream: LiveSource, tracker: Tracker) -> Iterator[tuple[Frame, Faces]]:
    while (frame := stream.newest()) is not None:
        yield frame, tracker.track([frame])[0]


def _told(results: Iterator[tuple[Frame, Faces]], source: Video | LiveSource) -> Results:
    """Pass results on, and log each warning about the source once."""
    told = 0
    try:
        for result in results:
            told += _log(source.problems[told:])
            yield result
    finally:
        _log(source.problems[told:])


def _log(problems: list[str]) -> int:
    for problem in problems:
        logger.warning("%s", problem)
    return len(problems)
