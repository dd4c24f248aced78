"""A camera, a network stream or a file in real time → always the newest frame.

    with LiveSource(0) as camera:
        while (frame := camera.newest()) is not None:
            ...

A thread decodes and keeps one frame: a new one replaces one that nobody took, so that a slow reader sees fewer frames,
but never old ones.
"""

import math
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mien.errors import InputError, MienError, SourceError
from mien.faces import Frame
from mien.sources._feeds import (
    PROBE_BYTES,
    PROBE_US,
    FileFeed,
    LiveFeed,
    LiveRawFrame,
    Patience,
    StreamFeed,
    camera_feed,
)
from mien.sources._frames import OpenedSource, VideoInfo
from mien.sources._opening import Address
from mien.sources.addresses import URL, AddressRule, camera_rule, public_name
from mien.sources.videos import VideoSettings, check_stream, open_reader, scale_frame

CLOSE_S = 0.5  # how long close() waits for the thread; one that waits for the network ends by itself later
DRIVER_S = 1.0  # how much later than FFmpeg itself a camera's silence is noticed here
STREAM_OPTIONS = (  # keep the delay short
    ("fflags", "nobuffer"), ("flags", "low_delay"), ("probesize", PROBE_BYTES), ("analyzeduration", PROBE_US),
)  # fmt: skip
CAMERA = re.compile(r"\d+|/dev/(video\d+|v4l/.+)")


@dataclass(frozen=True)
class LiveSettings:
    """How a live source is read.

    Attributes:
        width: Wanted width of a camera's images, pixels; with `height`. The camera takes what comes nearest.
        height: Wanted height of a camera's images, pixels.
        fps: Wanted frames per second of a camera.
        open_s: How long opening may take.
        stall_s: How long a camera or stream may give no image before it counts as stopped.
        reconnect_s: How long to try to get a stopped stream back, from its last image on; 0 gives up at once.
        realtime: Whether a file plays at its own speed. If not, each frame waits until it is taken, and none is left
            out.
        loop: Start a file again at its end.
        stream: Number of the video stream to read, from 0, where a file or network stream holds several; None takes
            the best.
        allow_private: Connect to any address. Without, a camera may be in the private network where its address says
            so (`rtsp://192.168.1.10/…`, `http://camera.local/…`); other names, and what the camera redirects to or
            names inside, must lead to public addresses or to that same host.
    """

    width: int | None = None
    height: int | None = None
    fps: float | None = None
    open_s: float = 10.0
    stall_s: float = 5.0
    reconnect_s: float = 120.0
    realtime: bool = True
    loop: bool = False
    stream: int | None = None
    allow_private: bool = False

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("width", "height", "fps", "open_s", "stall_s"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise InputError(f"{name} must be more than 0, got {value}")
        if not self.reconnect_s >= 0:
            raise InputError(f"reconnect_s must be at least 0, got {self.reconnect_s}")
        check_stream(self.stream)
        if (self.width is None) != (self.height is None):
            raise InputError(f"give width and height together, got {self.width} and {self.height}")


DEFAULTS = LiveSettings()


@dataclass(frozen=True)
class LiveFrame(Frame):
    """A frame that remembers when it came in.

    Attributes:
        captured_s: `time.monotonic()` when it came in; the delay until now is the difference.
    """

    captured_s: float = 0.0


class LiveSource(OpenedSource):
    """Gives the newest frame of a camera, a stream or a file in real time.

    `newest` is for one thread at a time; the rest may be called from any.
    """

    def __init__(self, source: str | int | Path, settings: LiveSettings | None = None) -> None:
        """Open the source and start its thread.

        Args:
            source: The number of a camera, `/dev/video0`; an rtsp, http, rtmp, srt, udp or other URL; or a video.
            settings: How to read it.

        Raises:
            SourceError: There is no such camera, stream or file, or it gives no image in time.
            MissingExtraError: PyAV is not installed.
        """
        super().__init__()
        self.settings = settings or DEFAULTS
        self.name = _name_of(source)
        self.dropped = 0
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._raw: LiveRawFrame | None = None
        self._came = 0
        self._heard = math.inf
        self._silence_s = math.inf
        self._info: VideoInfo | None = None
        self._error: MienError | None = None
        self._done = False
        self._thread = threading.Thread(
            target=self._run, args=(self._feed(source),), name="mien-live-source", daemon=True
        )
        self._thread.start()
        self._wait_until_open()

    @property
    def info(self) -> VideoInfo:
        """Size, rate and codec, as the source gave them when it was opened.

        Raises:
            SourceError: It was never open.
        """
        if self._info is None:
            raise SourceError(f"{self.name} was never open; open it again")
        return self._info

    @property
    def ended(self) -> bool:
        """Whether no further frame will come."""
        with self._changed:
            return self._done and self._raw is None

    def newest(self, timeout_s: float | None = None) -> LiveFrame | None:
        """Wait for a frame that was not given out before and return it; of several, the newest.

        Args:
            timeout_s: How long to wait; None waits until there is a frame or the source has ended.

        Returns:
            The frame, or None if the source has ended or, with `timeout_s`, if none came in that time; `ended` tells
            which. `index` counts the frames that came in, those left out as well.

        Raises:
            SourceError: The camera is gone, or the stream stopped and did not come back in `reconnect_s`.
        """
        with self._changed:
            self._wait(timeout_s)
            raw, self._raw = self._raw, None
            index = self._came - 1
            if raw is None and self._done and self._error is not None:
                raise self._error
            self._changed.notify_all()
        if raw is None:
            return None
        image = scale_frame(raw.rgb(), (self.info.width, self.info.height))
        return LiveFrame(image, self.name, index, raw.time_s, captured_s=raw.captured_s)

    def _wait(self, timeout_s: float | None) -> None:
        """Wait for a frame or the end; a camera that hangs in its driver has ended, too."""
        left_s = self._heard + self._silence_s - time.monotonic()
        limit_s = min(math.inf if timeout_s is None else timeout_s, max(0.0, left_s))
        ready = self._changed.wait_for(
            lambda: self._raw is not None or self._done, None if limit_s == math.inf else limit_s
        )
        if not ready and time.monotonic() > self._heard + self._silence_s:
            self._stop.set()
            self._done = True
            self._error = SourceError(f"{self.name} stopped (no image came in time); check that it is still connected")

    def close(self) -> None:
        """Stop the thread. One that waits for a silent network is left to end by itself, after `stall_s` at most."""
        self._stop.set()
        with self._changed:
            self._raw, self._done, self._error = None, True, None
            self._changed.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(CLOSE_S)

    # In the thread

    def _run(self, open_feed: Callable[[], LiveFeed]) -> None:
        error: MienError | None = None
        try:
            self._read(open_feed())
        except MienError as problem:
            error = problem
        except Exception as problem:
            error = SourceError(f"{self.name}: unexpected {type(problem).__name__} while reading; open it again")
            error.__cause__ = problem
        with self._changed:
            if not self._stop.is_set():
                self._error = error
            self._done = True
            self._changed.notify_all()

    def _read(self, feed: LiveFeed) -> None:
        frames = feed.run(self._opened)
        try:
            for raw in frames:
                if self._stop.is_set():
                    return
                self._offer(raw)
        finally:
            frames.close()  # type: ignore[attr-defined]

    def _opened(self, info: VideoInfo) -> None:
        with self._changed:
            self._info = info
            self._changed.notify_all()

    def _offer(self, raw: LiveRawFrame) -> None:
        with self._changed:
            if not self.settings.realtime:
                self._changed.wait_for(lambda: self._raw is None or self._stop.is_set())
            if self._stop.is_set():
                return
            self.dropped += self._raw is not None
            self._raw = raw
            self._came += 1
            self._heard = time.monotonic()
            self._changed.notify_all()

    # Opening

    def _wait_until_open(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._info is not None or self._done, self.settings.open_s)
            error = self._error
            if self._info is None and error is None:
                error = SourceError(
                    f"{self.name} gave no image in {self.settings.open_s:g} s; check the address and the network"
                )
        if self._info is None and error is not None:
            self.close()
            raise error

    def _feed(self, source: str | int | Path) -> Callable[[], LiveFeed]:
        """Return what opens the source, in the thread, because the network may keep it waiting."""
        settings, text = self.settings, str(source)
        if isinstance(source, int) or CAMERA.fullmatch(text):
            if settings.stream:
                raise SourceError(f"{self.name} has one video stream, numbered 0; leave out --video-stream")
            number = int(text) if text.isdecimal() else text
            self._silence_s = settings.stall_s + DRIVER_S
            return partial(
                camera_feed, number, self._stop, self._problems, asked=_asked(settings), stall_s=settings.stall_s
            )
        if URL.match(text) and not text.lower().startswith("file://"):
            return partial(self._stream_feed, text)
        return partial(self._video_feed, source)

    def _video_feed(self, source: str | Path, rule: AddressRule | None = None) -> LiveFeed:
        settings = VideoSettings(stream=self.settings.stream)
        reader = open_reader(source, self._problems, settings=settings, rule=rule)
        return FileFeed(reader, self._stop, realtime=self.settings.realtime, loop=self.settings.loop)

    def _stream_feed(self, url: str) -> LiveFeed:
        rule = camera_rule(url, allow_private=self.settings.allow_private)
        address = Address(url, self.name, options=STREAM_OPTIONS, rule=rule, stream=self.settings.stream)
        patience = Patience(self.settings.stall_s, self.settings.reconnect_s)
        return StreamFeed(address, self._stop, self._problems, patience, video=partial(self._video_feed, url, rule))


def _name_of(source: str | int | Path) -> str:
    return f"camera {source}" if str(source).isdecimal() else public_name(str(source))


def _asked(settings: LiveSettings) -> dict[str, str]:
    asked = {}
    if settings.width is not None:
        asked["video_size"] = f"{settings.width}x{settings.height}"
    if settings.fps is not None:
        asked["framerate"] = f"{settings.fps:g}"
    return asked
