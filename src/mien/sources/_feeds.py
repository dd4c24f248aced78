"""Where a live source gets its frames from: a file in real time, a network stream that comes back, a camera."""

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import SourceError, require_extra
from mien.planes import rgb_of
from mien.sources._convert import FrameConverter
from mien.sources._ffmpeg import describe
from mien.sources._frames import Problems, RawFrame, VideoInfo, VideoReader
from mien.sources._opening import Address, OpenVideo, opened, reason
from mien.sources._upright import pixel_aspect_of

if TYPE_CHECKING:
    from av import Packet, VideoFrame, VideoStream

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0  # between two attempts to connect again
PROBE_BYTES, PROBE_US = "1000000", "2000000"  # what FFmpeg may read before the first frame
SILENT = "no image came in time"


Opened = Callable[[VideoInfo], None]


@dataclass(frozen=True)
class LiveRawFrame:
    """A frame that has just come in.

    Attributes:
        time_s: Time since the first frame, seconds: by the video's timestamps for a file, else by the clock here.
        captured_s: `time.monotonic()` when it came in.
        rgb: Gives the upright image, (H, W, 3) uint8 RGB.
    """

    time_s: float
    captured_s: float
    rgb: Callable[[], NDArray[np.uint8]]


class LiveFeed(Protocol):
    """Gives the frames of one live source, in a thread of its own."""

    def run(self, opened: Opened) -> Iterator[LiveRawFrame]:
        """Yield frames as they come.

        Args:
            opened: To be called before the first frame.

        Raises:
            SourceError: The source cannot be opened, or is gone for good.
        """
        ...


# A file in real time --------------------------------------------------------------------------------------------------


class FileFeed:
    """A video that plays as fast as its timestamps say."""

    def __init__(self, reader: VideoReader, stop: threading.Event, *, realtime: bool, loop: bool) -> None:
        """Play a video.

        Args:
            reader: The video.
            stop: Ends the waiting for the next frame.
            realtime: False gives frames without waiting.
            loop: Whether to start again at the end.
        """
        self._reader, self._stop, self._realtime, self._loop = reader, stop, realtime, loop

    def run(self, opened: Opened) -> Iterator[LiveRawFrame]:
        """Yield the frames, each when its time has come.

        Args:
            opened: To be called before the first frame.
        """
        opened(self._reader.info)
        started, before_s = time.monotonic(), 0.0
        usual_s = 1 / (self._reader.info.fps or 25.0)
        while not self._stop.is_set():
            time_s = before_s
            for raw in self._reader.frames(0.0):
                time_s = before_s + raw.time_s
                if self._realtime and self._stop.wait(max(0.0, started + time_s - time.monotonic())):
                    return
                yield LiveRawFrame(time_s, time.monotonic(), partial(_rgb, raw))
            if not self._loop:
                return
            before_s = time_s + usual_s


# Network streams ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Patience:
    """How long to wait for what comes in, seconds.

    Attributes:
        stall_s: For the next image, before the connection counts as lost.
        reconnect_s: For a lost stream to come back, from its last image on; 0 gives up at once.
    """

    stall_s: float
    reconnect_s: float


class StreamFeed:
    """A stream from the network; when it stalls or breaks off, it is opened again until it is back."""

    def __init__(
        self,
        address: Address,
        stop: threading.Event,
        problems: Problems,
        patience: Patience,
        *,
        video: Callable[[], LiveFeed] | None = None,
    ) -> None:
        """Read a stream.

        Args:
            address: Where it is.
            stop: Ends the reading, and the waiting between two attempts.
            problems: Takes a warning for each interruption.
            patience: How long to wait.
            video: Opens the feed for the case that the address leads to a video with an end; None reads that as a
            stream.
        """
        self._video = video
        self._address = replace(address, timeout_s=patience.stall_s, low_delay=True)
        self._stop, self._problems, self._patience = stop, problems, patience
        self._convert = FrameConverter()
        self._started: float | None = None
        self._heard = time.monotonic()

    def run(self, opened: Opened) -> Iterator[LiveRawFrame]:
        """Yield frames as they come; the first connection must succeed.

        Args:
            opened: To be called before the first frame.

        Raises:
            SourceError: It cannot be opened, or did not come back.
        """
        attempts = 0
        while not self._stop.is_set():
            before = self._heard
            try:
                yield from self._connection(opened)
            except _HasEndError:
                yield from self._video().run(opened)  # type: ignore[misc]
                return
            except _LostError as error:
                lost = str(error)
            except SourceError as error:
                if self._started is None:
                    raise
                lost = str(error).removeprefix(f"{self._address.name} ").partition(";")[0]
            else:
                return
            attempts = 0 if self._heard > before else attempts + 1
            self._wait(lost, attempts)

    def _wait(self, lost: str, attempts: int) -> None:
        name, patience_s = self._address.name, self._patience.reconnect_s
        away_s = time.monotonic() - self._heard
        if self._started is None:
            raise SourceError(f"{name} gives no image ({lost}); check the camera and the network")
        if away_s >= patience_s:
            again = f" and did not come back in {patience_s:g} s" if patience_s else ""
            raise SourceError(f"{name} stopped{again} ({lost}); check the camera and the network")
        if attempts == 0:
            self._problems.note(f"{name} stopped ({lost}); connecting again")
        self._stop.wait(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**attempts, patience_s - away_s))

    def _connection(self, opened_: Opened) -> Iterator[LiveRawFrame]:
        with opened(self._address) as video:
            if self._video and video.container.duration and video.container.duration > 0:
                raise _HasEndError
            aspect = pixel_aspect_of(video.stream)
            for frame in self._frames(video):
                now = time.monotonic()
                if self._started is None:
                    self._started = now
                    if video.choice:
                        self._problems.note(video.choice)
                    opened_(describe(video, frame))
                self._heard = now
                yield LiveRawFrame(now - self._started, now, partial(self._convert.rgb, frame, aspect))
            failure = video.failure
        if not self._stop.is_set():
            raise _LostError(failure or "it ended")

    def _frames(self, video: OpenVideo) -> Iterator["VideoFrame"]:
        """Yield the frames; sound alone does not count as a sign of life."""
        av = require_extra("video", "av")
        latest = time.monotonic()
        try:
            for packet in video.container.demux():
                if self._stop.is_set():
                    return
                if packet.stream is video.stream:
                    latest = time.monotonic()
                    yield from self._decoded(video.stream, packet)
                elif time.monotonic() - latest > self._patience.stall_s:
                    raise _LostError(SILENT)
        except (av.error.ExitError, TimeoutError):
            raise _LostError(SILENT) from None
        except (av.FFmpegError, OSError) as error:
            raise _LostError(reason(error)) from None

    def _decoded(self, stream: "VideoStream", packet: "Packet[Any]") -> list["VideoFrame"]:
        try:
            return stream.decode(packet if packet.size else None)
        except require_extra("video", "av").error.InvalidDataError as error:
            self._problems.note(f"{self._address.name}: a frame cannot be decoded ({reason(error)})")
            return []


class _LostError(Exception):
    """A connection that was good is gone; its text says how."""


class _HasEndError(Exception):
    """This is a video with an end, which plays at its own speed, not a live stream."""


# Cameras --------------------------------------------------------------------------------------------------------------


def camera_path(source: int | str) -> str:
    """Return the device of a camera on Linux.

    Args:
        source: A number, or `/dev/video0`.

    Raises:
        SourceError: There is no such camera; the message lists those there are.
    """
    path = f"/dev/video{source}" if isinstance(source, int) else source
    if os.path.exists(path):
        return path
    found = sorted(str(device) for device in Path("/dev").glob("video*"))
    there = f"there are {', '.join(found)}" if found else "this machine has none; connect one"
    raise SourceError(f"there is no camera {source} ({path}); {there}, or name a file or a stream")


def camera_feed(
    source: int | str, stop: threading.Event, problems: Problems, *, asked: dict[str, str], stall_s: float
) -> LiveFeed:
    """Return the feed of a camera: V4L2 on Linux, OpenCV elsewhere.

    Args:
        source: Its number, or a device.
        stop: Ends the reading.
        problems: Takes the warnings.
        asked: Wanted `video_size` and `framerate`, as FFmpeg writes them; the camera takes what comes nearest.
        stall_s: How long it may give no image.

    Raises:
        SourceError: There is no such camera.
    """
    if not sys.platform.startswith("linux"):
        return OpenCvFeed(source, f"camera {source}", asked)
    path = camera_path(source)
    address = Address(path, path, "v4l2", tuple(asked.items()))
    return StreamFeed(address, stop, problems, Patience(stall_s, 0.0))


class OpenCvFeed:
    """A camera through OpenCV, on systems where FFmpeg knows cameras only by their full names."""

    def __init__(self, source: int | str, name: str, asked: dict[str, str]) -> None:
        """Choose a camera; `run` opens it.

        Args:
            source: Its number, or what else `cv2.VideoCapture` opens.
            name: Its name for people.
            asked: Wanted `video_size` and `framerate`.
        """
        self._source, self._name, self._asked = source, name, asked

    def run(self, opened: Opened) -> Iterator[LiveRawFrame]:
        """Yield frames as they come.

        Args:
            opened: To be called before the first frame.

        Raises:
            SourceError: There is no such camera, or it is gone.
        """
        capture: Any = cv2.VideoCapture(self._source)
        try:
            self._ask(capture)
            done, image = capture.read()
            if not done:
                raise SourceError(f"there is no {self._name}, or another program uses it; try another number")
            opened(self._describe(capture, image))
            started = now = time.monotonic()
            while done:
                yield LiveRawFrame(now - started, now, partial(_bgr_to_rgb, image))
                done, image = capture.read()
                now = time.monotonic()
            raise SourceError(f"{self._name} stopped (no image came); check that it is still connected")
        finally:
            capture.release()

    def _ask(self, capture: Any) -> None:
        if "video_size" in self._asked:
            width, height = self._asked["video_size"].split("x")
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, int(width))
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, int(height))
        if "framerate" in self._asked:
            capture.set(cv2.CAP_PROP_FPS, float(self._asked["framerate"]))

    def _describe(self, capture: Any, image: NDArray[np.uint8]) -> VideoInfo:
        fps = capture.get(cv2.CAP_PROP_FPS)
        rate = fps if fps and math.isfinite(fps) and fps > 0 else None
        return VideoInfo(self._name, image.shape[1], image.shape[0], None, None, rate, "camera")


def _rgb(raw: RawFrame) -> NDArray[np.uint8]:
    return rgb_of(raw.pixels())


def _bgr_to_rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
