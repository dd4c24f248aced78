"""What `mien live` does: it opens a source, and shows it in a window or as a line in the terminal."""

import math
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import numpy as np
import typer
from rich.live import Live
from rich.text import Text

from mien.analyzer import Analyzer, AnalyzerSettings
from mien.cli.console import FAILED, expression_text, for_people, out, say, say_error, say_problem, say_written
from mien.cli.live.window import Window, require_display
from mien.errors import InputError, SourceError, shown
from mien.faces import CROP_PX
from mien.labels import LabelSet
from mien.output.draw.marks import shown_expression
from mien.output.draw.style import DrawStyle
from mien.output.tables import JsonLinesStream
from mien.sources.live import CAMERA, LiveSettings, LiveSource
from mien.tracking.settings import TrackSettings
from mien.tracking.tracker import Tracker
from mien.video.baseline import check_baseline
from mien.video.live.files import LiveOutputs
from mien.video.live.marks import length_text
from mien.video.live.session import LiveSession, LiveSummary
from mien.video.live.view import ViewOptions
from mien.video.veil import Drawing

LINE_S = 0.25  # how often the line in the terminal changes


@dataclass(frozen=True, kw_only=True)
class LiveRequest:
    """What the options of the command line ask for.

    Attributes:
        source: Number of a camera, a stream or a video.
        opening: How it is opened, but for the size.
        record: Where the annotated video goes, or None.
        log: Where the rows go, or None.
        headless: Whether no window is opened.
        size: Image size wanted of a camera, as given; None for the camera's own.
        seconds: When to stop; None goes on to the end.
        mirror: Whether a mirror image is shown; None for cameras only.
    """

    source: str
    opening: LiveSettings
    record: Path | None = None
    log: Path | None = None
    headless: bool = False
    size: str | None = None
    seconds: float | None = None
    mirror: bool | None = None

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.seconds is not None and self.seconds <= 0:
            raise InputError(f"--seconds must be more than 0, got {self.seconds:g}")

    def settings(self) -> LiveSettings:
        """Return how the source is opened.

        Raises:
            InputError: The size is none.
        """
        match = re.fullmatch(r"(\d{1,5})[xX×](\d{1,5})", self.size or "")
        if self.size is not None and match is None:
            raise InputError(f"--size must be width x height, 640x480 say, got {shown(self.size)}")
        return replace(self.opening, width=int(match[1]), height=int(match[2])) if match else self.opening


def show(request: LiveRequest, settings: AnalyzerSettings, tracking: TrackSettings, style: DrawStyle) -> None:
    """Show a source until it ends or the user ends it, and say what was written.

    Args:
        request: What is wanted.
        settings: Detector and model.
        tracking: How faces are tracked.
        style: What is drawn.

    Raises:
        InputError: There is no display, or an option makes no sense.
        typer.Exit: The source or an output failed.
    """
    if not request.headless:
        require_display()
    opening = request.settings()
    analyzer = settings.open()
    check_baseline(tracking, analyzer)
    _warm_up(analyzer)

    def trackers(chosen: LabelSet) -> Tracker:
        own = Analyzer(
            detector=analyzer.detector, model=analyzer.model, labels=chosen.key, keep=analyzer.keep,
            prior=analyzer.prior, attributes=settings.attributes, runtime=settings.runtime,
        )  # fmt: skip
        return Tracker(own, tracking)

    drawing = Drawing(style)
    piped = request.headless and request.log is None and not out.is_terminal
    stream = (
        JsonLinesStream(sys.stdout, labels=analyzer.labels, tracked=True, attributes=analyzer.attributes)
        if piped
        else None
    )
    outputs = LiveOutputs(request.log, request.record, drawing, stream, analyzer.attributes)
    try:
        camera = LiveSource(request.source, opening)
    except SourceError as error:
        say_error(error)
        raise typer.Exit(FAILED) from None
    with camera:
        session = LiveSession(
            camera, trackers, _label_sets(analyzer), outputs=outputs, window=not request.headless,
            seconds=request.seconds,
        )  # fmt: skip
        with session, _ended_by_signals():
            if request.headless:
                _show_line(session)
            else:
                mirror = bool(CAMERA.fullmatch(request.source)) if request.mirror is None else request.mirror
                _show_window(session, camera, ViewOptions(style, mirror), drawing)
    _say_summary(session.summary())


def _label_sets(analyzer: Analyzer) -> list[LabelSet]:
    """Return the label sets of the model, the chosen one first."""
    card = analyzer.model.card
    sets = [card.label_set(key) for key in card.heads]
    chosen = sets.index(analyzer.labels)
    return sets[chosen:] + sets[:chosen]


def _warm_up(analyzer: Analyzer) -> None:
    """Let networks do once what takes longer the first time, before frames come in."""
    analyzer.analyze(np.zeros((480, 640, 3), np.uint8))
    analyzer.model.predict_proba(np.zeros((1, CROP_PX, CROP_PX), np.uint8), head=analyzer.labels.key)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let Ctrl-C, and the signal that services are stopped with, end the block as if it had come to its end."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say_summary(summary: LiveSummary) -> None:
    rate = summary.frames / max(summary.seconds, 1e-6)
    line = f"{summary.frames} frames in {summary.seconds:.1f} s ({rate:.1f}/s), {summary.dropped} dropped"
    if not math.isnan(summary.median_ms):
        line += f"; delay: median {summary.median_ms:.0f} ms, 95 % within {summary.p95_ms:.0f} ms"
    say(line, to=for_people())
    for path in summary.written:
        say_written(path)
    for problem in summary.problems:
        say_problem(problem)
    if summary.error is not None:
        say_error(summary.error)
        raise typer.Exit(FAILED)


def _show_window(session: LiveSession, camera: LiveSource, options: ViewOptions, recorded: Drawing) -> None:
    size = camera.info.width, camera.info.height
    with Window(session, options, source=camera.name, image=size, recorded=recorded) as window:
        while window.step():
            pass


def _show_line(session: LiveSession) -> None:
    """Wait for the end; in a terminal, show one line meanwhile."""
    if not out.is_terminal:
        while not session.done:
            time.sleep(LINE_S)
        return
    started_s = time.monotonic()
    with Live(console=out, auto_refresh=False, transient=True) as screen:
        while not session.done:
            screen.update(_line(session, time.monotonic() - started_s), refresh=True)
            time.sleep(LINE_S)


def _line(session: LiveSession, seconds: float) -> Text:
    now_s = time.monotonic()
    line = Text(length_text(seconds), overflow="ellipsis", no_wrap=True)
    rate, delay, moment = session.rate.at(now_s), session.delays.recent_ms, session.latest()
    if session.recording_s is not None:
        line.append("  REC", style="bold red")
    if rate is not None:
        line.append(f"  {rate:.1f} frames/s")
    if delay is not None:
        line.append(f"  delay {delay:.0f} ms")
    for face in moment.faces if moment else ():
        name, confidence = shown_expression(face)
        if name is not None and confidence is not None:
            line.append(f"  #{face.track_id} ", style="dim")
            line.append_text(expression_text(name)).append(f" {confidence:.0%}")
    if note := session.note():
        line.append(f"  {note}", style="yellow")
    return line
