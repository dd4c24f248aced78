"""The window of `mien live`: it shows a session and obeys keys."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, MienError, require_extra
from mien.faces import Frame
from mien.files import write_whole
from mien.output.draw.paint import paint_emoji
from mien.output.encode import annotated_bytes
from mien.video.live.files import stamped_name, unused
from mien.video.live.history import History
from mien.video.live.marks import Status
from mien.video.live.session import LiveMoment, LiveSession
from mien.video.live.view import BACKGROUND, ViewOptions, arrange, render
from mien.video.veil import Drawing

if TYPE_CHECKING:
    from pygame import Surface
    from pygame.event import Event

WAIT_S = 0.01  # how long keys may wait while no frame comes
REDRAW_S = 0.25  # how often the screen is drawn while no frame comes
MESSAGE_S = 2.5
IMAGE_WIDTH = (800, 1120)  # of a new window, pixels
SHARE_OF_DESKTOP = 0.85
DUMMIES = ("dummy", "offscreen")  # what SDL falls back to where there is no display

Pygame = Any  # the module; it is imported only where a window is wanted


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


class Window:
    """Shows a session and obeys keys.

    Attributes:
        options: What the user chose to see.
    """

    def __init__(
        self,
        session: LiveSession,
        options: ViewOptions,
        *,
        source: str,
        image: tuple[int, int],
        recorded: Drawing | None = None,
    ) -> None:
        """Open a window.

        Args:
            session: What is shown.
            options: What the user wants to see at first.
            source: Name for people.
            image: Width and height of the frames, pixels.
            recorded: Draws the faces of recordings; its style follows the keys.

        Raises:
            InputError: There is no display.
            MissingExtraError: pygame-ce is not installed.
        """
        self._pygame = pygame = open_display()
        self._session, self.options, self._source = session, options, source
        self._shown = Drawing(options.style)
        self._drawings = [self._shown, recorded] if recorded else [self._shown]
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
        frame, faces = (self._veiled(moment), moment.faces) if moment else (None, None)
        canvas = render(size, frame, faces, self._history, self._status(), self.options)
        screen.blit(self._surface(canvas), (0, 0))
        pygame.display.flip()
        self._drawn_s, self._stale = time.monotonic(), False

    def _veiled(self, moment: LiveMoment) -> Frame:
        return replace(moment.frame, image=self._shown.veiled(moment.frame.image, moment.faces))

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
        image = self._shown(self._moment.frame.image, self._moment.faces)
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
        style = replace(self.options.style, bars=not self.options.style.bars)
        self.options = replace(self.options, style=style)
        for drawing in self._drawings:
            drawing.style = style

    def _mirror(self) -> None:
        self.options = replace(self.options, mirror=not self.options.mirror)

    def _help(self) -> None:
        self.options = replace(self.options, help=not self.options.help)


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
