"""`mien live`: a window, or a line in the terminal, that shows a camera, a stream or a video as it happens."""

import math
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.live import Live
from rich.text import Text

from mien.analyzer import DEFAULT_DETECTOR, Analyzer
from mien.cli.console import FAILED, expression_text, for_people, out, say, say_error, say_problem, say_written
from mien.cli.options import (
    DetectorOption,
    DetectorOptions,
    DrawOptions,
    LabelSetOption,
    ModelOption,
    RuntimeOptions,
    Shown,
    with_groups,
)
from mien.errors import InputError, MienError, SourceError, require_extra
from mien.faces import CROP_PX, Faces, Frame
from mien.files import write_whole
from mien.labels import LabelSet
from mien.models.catalogue import DEFAULT_MODEL
from mien.output.draw.faces import draw_faces
from mien.output.draw.marks import shown_expression
from mien.output.draw.paint import paint_emoji
from mien.output.encode import annotated_bytes
from mien.output.tables import JsonLinesStream
from mien.sources.live import CAMERA, LiveSettings, LiveSource
from mien.tracking.settings import TrackSettings
from mien.tracking.tracker import Tracker
from mien.video.live.files import LiveOutputs, stamped_name, unused
from mien.video.live.history import History
from mien.video.live.marks import Status, length_text
from mien.video.live.session import LiveMoment, LiveSession, LiveSummary
from mien.video.live.view import BACKGROUND, ViewOptions, arrange, render
from mien.video.veil import Veil

if TYPE_CHECKING:
    from pygame import Surface
    from pygame.event import Event

WAIT_S = 0.01  # how long keys may wait while no frame comes
REDRAW_S = 0.25  # how often the screen is drawn while no frame comes
MESSAGE_S = 2.5
LINE_S = 0.25  # how often the line in the terminal changes
IMAGE_WIDTH = (800, 1120)  # of a new window, pixels
SHARE_OF_DESKTOP = 0.85
DUMMIES = ("dummy", "offscreen")  # what SDL falls back to where there is no display

Pygame = Any  # the module; it is imported only where a window is wanted


@with_groups
def live(
    tracking: Annotated[TrackSettings, Shown(half_life_s="--half-life")],
    style: DrawOptions,
    detecting: DetectorOptions,
    runtime: RuntimeOptions,
    source: Annotated[
        str, typer.Argument(help="Number of a camera, /dev/video0, an rtsp:// or http:// stream, or a video.")
    ] = "0",
    record: Annotated[
        Path | None, typer.Option(help="Annotated video: .mp4, .mkv, .mov, .webm.", show_default=False)
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="Table of all faces: .jsonl, .csv, .parquet.", show_default=False)
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Open no window; log and record only.")] = False,
    labels: LabelSetOption = None,
    detector: DetectorOption = DEFAULT_DETECTOR,
    model: ModelOption = DEFAULT_MODEL,
    size: Annotated[
        str | None, typer.Option(help="Image size wanted of a camera, 640x480 say.", show_default=False)
    ] = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second wanted of a camera.", show_default=False)] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after so many seconds.", show_default=False)] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Start a video again at its end.")] = False,
    mirror: Annotated[
        bool | None,
        typer.Option("--mirror/--no-mirror", help="Show a mirror image (default for cameras).", show_default=False),
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Let names and redirects lead to private addresses, too.")
    ] = False,
) -> None:
    """Show a camera, a stream or a video in real time, with everybody's expression.

    Keys in the window: q quit, space pause, s snapshot, r record, l label set, b bars, m mirror, h help. The newest
    frame is always the one analyzed. Ctrl-C ends it, too, and completes all files.

    Exit code 0: ended; 1: the camera or an output failed (what came before is written); 2: wrong use.
    """
    if seconds is not None and seconds <= 0:
        raise InputError(f"--seconds must be more than 0, got {seconds:g}")
    if not headless:
        require_display()
    settings = replace(_camera_size(size), fps=fps, loop=loop, allow_private=allow_private)
    finder = replace(detecting, threads=runtime.threads)
    analyzer = Analyzer(detector=detector, model=model, labels=labels, detector_settings=finder, runtime=runtime)
    _warm_up(analyzer)

    def trackers(chosen: LabelSet) -> Tracker:
        return Tracker(Analyzer(detector=analyzer.detector, model=analyzer.model, labels=chosen.key), tracking)

    mirrored = bool(CAMERA.fullmatch(source)) if mirror is None else mirror
    look = Look(ViewOptions(style, mirrored))
    piped = headless and log is None and not out.is_terminal
    stream = JsonLinesStream(sys.stdout, labels=analyzer.labels, tracked=True) if piped else None
    outputs = LiveOutputs(log, record, look.draw, stream)
    try:
        camera = LiveSource(source, settings)
    except SourceError as error:
        say_error(error)
        raise typer.Exit(FAILED) from None
    with camera:
        session = LiveSession(
            camera, trackers, _label_sets(analyzer), outputs=outputs, window=not headless, seconds=seconds
        )
        with session, _ended_by_signals():
            (_show_line if headless else _show_window)(session, camera, look)
    _say_summary(session.summary())


def _camera_size(text: str | None) -> LiveSettings:
    match = re.fullmatch(r"(\d{1,5})[xX×](\d{1,5})", text or "")
    if text is not None and match is None:
        raise InputError(f"--size must be width x height, 640x480 say, got {text!r}")
    return LiveSettings(width=int(match[1]), height=int(match[2])) if match else LiveSettings()


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


@dataclass
class Look:
    """What the user chose to see, the same in the window and in recordings."""

    options: ViewOptions
    recorded: Veil = field(default_factory=Veil)
    shown: Veil = field(default_factory=Veil)

    def veiled(self, frame: Frame, faces: Faces) -> Frame:
        """Return a frame for the window, where faces are blurred with those that were lost a moment ago."""
        return replace(frame, image=self.shown.cover(frame.image, faces)) if self.options.style.blur else frame

    def draw(self, image: NDArray[np.uint8], faces: Faces) -> NDArray[np.uint8]:
        """Draw faces on a copy of an image."""
        image = self.recorded.cover(image, faces) if self.options.style.blur else image
        return draw_faces(image, faces, style=self.options.style)


# In the terminal ------------------------------------------------------------------------------------------------------


def _show_line(session: LiveSession, camera: LiveSource, look: Look) -> None:
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


# In a window ----------------------------------------------------------------------------------------------------------


def require_display() -> None:
    """Check that a window can be opened.

    Raises:
        InputError: There is no display; the message names `--headless`.
        MissingExtraError: pygame-ce is not installed.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    require_extra("live", "pygame")
    named = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"))
    if sys.platform.startswith("linux") and not named:
        raise _no_display("neither DISPLAY nor WAYLAND_DISPLAY is set")


def _no_display(why: str) -> InputError:
    return InputError(f"no display to open a window on ({why}); add --headless, with --log FILE or --record FILE")


def open_display() -> Pygame:
    """Start pygame's display.

    Returns:
        The module.

    Raises:
        InputError: There is no display; the message names `--headless`.
    """
    require_display()
    pygame = require_extra("live", "pygame")
    try:
        pygame.display.init()
        driver = pygame.display.get_driver()
    except pygame.error as error:
        raise _no_display(str(error)) from None
    if driver in DUMMIES and os.environ.get("SDL_VIDEODRIVER") != driver:
        pygame.display.quit()
        raise _no_display("SDL found none")
    return pygame


def _show_window(session: LiveSession, camera: LiveSource, look: Look) -> None:
    info = camera.info
    with Window(session, look, source=camera.name, image=(info.width, info.height)) as window:
        while window.step():
            pass


class Window:
    """Shows a session and obeys keys.

    Attributes:
        look: What the user chose to see.
    """

    def __init__(self, session: LiveSession, look: Look, *, source: str, image: tuple[int, int]) -> None:
        """Open a window.

        Args:
            session: What is shown.
            look: What the user wants to see at first.
            source: Name for people.
            image: Width and height of the frames, pixels.

        Raises:
            InputError: There is no display.
            MissingExtraError: pygame-ce is not installed.
        """
        self._pygame = pygame = open_display()
        self._session, self.look, self._source = session, look, source
        self._history = History()
        self._moment: LiveMoment | None = None
        self._frozen = Status()
        self._message, self._message_until_s = "", 0.0
        self._drawn_s, self._stale, self._open = 0.0, True, True
        pygame.display.set_caption(f"mien: {source}")
        pygame.display.set_icon(self._surface(_icon()))
        try:
            pygame.display.set_mode(first_size(image, pygame.display.get_desktop_sizes()[0]), pygame.RESIZABLE)
        except pygame.error as error:
            pygame.display.quit()
            raise _no_display(str(error)) from None

    def __enter__(self) -> "Window":
        """Return the window itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the window."""
        self._pygame.display.quit()

    def step(self) -> bool:
        """Obey the keys and show the newest frame, if there is one.

        Returns:
            Whether the window is still wanted. An image that stands still stays after the source has ended.
        """
        for event in self._pygame.event.get():
            self._obey(event)
        moment = self._next_moment()
        if moment is not None:
            self._moment = moment
            self._history.add(moment.faces, time_s=moment.frame.time_s)
        if note := self._session.note():
            self._say(note)
        if moment is not None or self._stale or time.monotonic() - self._drawn_s > REDRAW_S:
            self._draw()
        if moment is not None:
            self._session.shown(moment)
        return self._open and (self._session.paused or not self._session.done)

    def _next_moment(self) -> LiveMoment | None:
        if self._session.paused:
            self._pygame.time.wait(round(1e3 * WAIT_S))
            return None
        return self._session.latest(self._moment.number if self._moment else 0, timeout_s=WAIT_S)

    def _draw(self) -> None:
        pygame, moment = self._pygame, self._moment
        screen = pygame.display.get_surface()
        size = max(1, screen.get_width()), max(1, screen.get_height())
        frame, faces = (self.look.veiled(moment.frame, moment.faces), moment.faces) if moment else (None, None)
        canvas = render(size, frame, faces, self._history, self._status(), self.look.options)
        screen.blit(self._surface(canvas), (0, 0))
        pygame.display.flip()
        self._drawn_s, self._stale = time.monotonic(), False

    def _surface(self, canvas: NDArray[np.uint8]) -> "Surface":
        height, width = canvas.shape[:2]
        surface: Surface = self._pygame.image.frombuffer(canvas, (width, height), "RGB")
        return surface

    def _status(self) -> Status:
        session, now_s = self._session, time.monotonic()
        if not session.paused:
            self._frozen = Status(fps=session.rate.at(now_s), delay_ms=session.delays.recent_ms)
        return Status(
            source=self._source,
            labels=session.labels.key,
            fps=self._frozen.fps,
            delay_ms=self._frozen.delay_ms,
            dropped=session.dropped,
            recording_s=session.recording_s,
            paused=session.paused,
            message=self._message if now_s < self._message_until_s else "",
            silent_s=now_s - self._moment.frame.captured_s if self._moment else 0.0,
        )

    # Keys

    def _obey(self, event: "Event") -> None:
        pygame = self._pygame
        self._stale = True
        if event.type == pygame.QUIT:
            self._open = False
        elif event.type == pygame.KEYDOWN and not getattr(event, "repeat", False):
            action = KEYS.get(pygame.key.name(event.key))
            if action is not None:
                action(self)

    def _say(self, message: str) -> None:
        self._message, self._message_until_s = message, time.monotonic() + MESSAGE_S
        self._stale = True

    def _quit(self) -> None:
        self._open = False

    def _pause(self) -> None:
        self._session.paused = not self._session.paused

    def _snapshot(self) -> None:
        """Save the newest frame as it is shown, in its own size."""
        if self._moment is None:
            self._say("there is no image yet")
            return
        frame, faces = self.look.veiled(self._moment.frame, self._moment.faces), self._moment.faces
        image = draw_faces(frame.image, faces, style=self.look.options.style)
        try:
            path = write_whole(unused(Path(f"{stamped_name()}.png")), annotated_bytes(image, ".png"))
            self._say(f"saved {path}")
        except MienError as error:
            self._say(str(error))

    def _record(self) -> None:
        self._say(self._session.files.toggle_recording())

    def _next_labels(self) -> None:
        labels = self._session.next_labels()
        self._say(f"{labels.key}: {len(labels)} expressions")

    def _bars(self) -> None:
        style = self.look.options.style
        self.look.options = replace(self.look.options, style=replace(style, bars=not style.bars))

    def _mirror(self) -> None:
        self.look.options = replace(self.look.options, mirror=not self.look.options.mirror)

    def _help(self) -> None:
        self.look.options = replace(self.look.options, help=not self.look.options.help)


KEYS: dict[str, Callable[[Window], None]] = {
    "q": Window._quit,
    "escape": Window._quit,
    "space": Window._pause,
    "s": Window._snapshot,
    "r": Window._record,
    "l": Window._next_labels,
    "b": Window._bars,
    "m": Window._mirror,
    "h": Window._help,
}


def first_size(image: tuple[int, int], desktop: tuple[int, int]) -> tuple[int, int]:
    """Return the size of a new window: the image in about its own size, with the timeline below it.

    Args:
        image: Width and height of the frames, pixels.
        desktop: Width and height of the screen, pixels.
    """
    scale = float(np.clip(image[0], *IMAGE_WIDTH)) / image[0]
    scale = min(scale, SHARE_OF_DESKTOP * desktop[0] / image[0])
    width, below = max(1, round(scale * image[0])), 0
    for _ in range(4):  # what is below depends a little on the whole
        places = arrange((width, round(scale * image[1]) + below))
        below = places.timeline.h + places.status.h
    height = min(round(scale * image[1]) + below, round(SHARE_OF_DESKTOP * desktop[1]))
    return width, max(1, height)


def _icon() -> NDArray[np.uint8]:
    canvas = np.full((64, 64, 3), BACKGROUND, np.uint8)
    paint_emoji(canvas, "happy", 2, 2, 60)
    return canvas
