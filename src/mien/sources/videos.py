"""A video → its frames in time order, upright, with square pixels, each with the time that the container gives it.

    with Video("clip.mp4", VideoSettings(fps=10, start_s=60)) as video:
        for frame in video:
            ...
    video.problems  # what was damaged

Any container and codec of FFmpeg (PyAV) is read, and so are animated GIF and WebP and images in a row.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, SourceError, shortened, shown
from mien.faces import Frame
from mien.planes import Pixels, rgb_of
from mien.sources._entries import KeyFrame
from mien.sources._ffmpeg import FFmpegReader
from mien.sources._frames import OpenedSource, Problems, RawFrame, VideoInfo, VideoReader
from mien.sources._opening import Address
from mien.sources._sequences import NUMBER, ImagesReader, WebPReader, is_animated_webp, numbered_files
from mien.sources.addresses import URL, AddressRule, public_name, video_rule
from mien.sources.images import IMAGE_SUFFIXES, MAX_PIXELS

__all__ = [
    "VIDEO_SUFFIXES",
    "KeyFrame",
    "Video",
    "VideoInfo",
    "VideoSettings",
    "is_video",
    "open_reader",
    "scale_frame",
]

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m2v", ".ts", ".mts", ".m2ts", ".wmv", ".asf",
    ".flv", ".f4v", ".3gp", ".3g2", ".ogv", ".mxf", ".vob", ".mjpg", ".mjpeg", ".y4m", ".apng", ".nut", ".dv", ".h264",
    ".hevc", ".ivf", ".rm", ".rmvb", ".divx",
)  # fmt: skip
ANIMATED_SUFFIXES = (".gif", ".webp", ".avif")  # of images that may move
URL_TIMEOUT_S = 20.0
SAME_TIME_S = 1e-6
HEAD_BYTES = 64


@dataclass(frozen=True)
class VideoSettings:
    """Which frames of a video are wanted.

    Attributes:
        every: Take each n-th frame of the video: numbers 0, n, 2n…
        fps: Take at most this many frames per second of video, chosen by their time; None for all.
        start_s: Leave out what comes before this time, seconds.
        end_s: Leave out what comes at this time or later; None for the end.
        max_frames: Stop after so many frames; None for no limit.
        threads: Decoder threads, each of which holds a frame; None takes one more than there are cores, at most 8.
        image_fps: Frames per second of images in a row, which carry no times.
        name: What results call the video; None takes its path or address.
        stream: Number of the video stream to read, from 0, where a file holds several; None takes the best.
        allow_private: Fetch http(s) URLs from loopback, private and other addresses that are not public as well, and
            connect to any camera. A camera that the source names by a private address (`rtsp://192.168.1.10/…`) or a
            local name needs no permission.
        max_pixels: Largest width x height of a frame, checked for each one before it is decoded.
        hwaccel: Let a graphics card decode, where one can: auto, or cuda, videotoolbox, vaapi, …; what it cannot
            decode is left to the processor. None never does.
    """

    every: int = 1
    fps: float | None = None
    start_s: float = 0.0
    end_s: float | None = None
    max_frames: int | None = None
    threads: int | None = None
    image_fps: float = 25.0
    name: str | None = None
    stream: int | None = None
    allow_private: bool = False
    max_pixels: int = MAX_PIXELS
    hwaccel: str | None = None

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("every", "max_frames", "threads", "max_pixels"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise InputError(f"{name} must be a whole number of at least 1, got {shown(value)}")
        check_stream(self.stream)
        for name in ("fps", "image_fps", "start_s", "end_s"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise InputError(f"{name} must be a finite number, got {value}")
        for name in ("fps", "image_fps"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InputError(f"{name} must be more than 0, got {value}")
        if self.every > 1 and self.fps is not None:
            raise InputError(f"give every or fps, not both; got every={self.every} and fps={self.fps}")
        if self.start_s < 0:
            raise InputError(f"start_s must be at least 0, got {self.start_s}")
        if self.end_s is not None and self.end_s <= self.start_s:
            raise InputError(f"end_s must be after start_s = {self.start_s}, got {self.end_s}")


def check_stream(stream: int | None) -> None:
    """Refuse what is no number of a video stream.

    Args:
        stream: From 0; None for the best.

    Raises:
        InputError: It is less, or no whole number.
    """
    if stream is not None and (not isinstance(stream, int) or stream < 0):
        raise InputError(f"stream must be a whole number of at least 0, got {shown(stream)}")


DEFAULTS = VideoSettings()


def is_video(path: str | Path) -> bool:
    """Whether a path names a video: by its suffix, and by its content where the suffix does not say.

    An animated GIF or WebP is a video, a still one is not. A pattern like `frame%04d.png` is a video; `*.png` is not.

    Args:
        path: A path; one with a video's suffix counts whether it exists or not.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return not path.is_dir()
    if _is_pattern(path):
        return True
    if not path.is_file() or (suffix in IMAGE_SUFFIXES and suffix not in ANIMATED_SUFFIXES):
        return False
    try:
        _open_file(path, DEFAULTS, Problems())
    except InputError:
        return False
    return True


class Video(OpenedSource):
    """The frames of a video. Iterating again starts again, until it is closed; memory stays flat for any length."""

    def __init__(
        self, source: str | Path, settings: VideoSettings | None = None, *, entry: KeyFrame | None = None
    ) -> None:
        """Open a video and decode its first frame.

        Args:
            source: The path of a video; a pattern like `frame%04d.png` for images in a row; or a URL. An http(s) URL,
                its redirects and what a playlist names lead to public addresses only, unless the settings allow others.
            settings: Which frames are wanted.
            entry: A key frame before all of them, one of `entries`; None finds it where the settings start late.

        Raises:
            SourceError: It is no video; the message names the file and what to do.
            MissingExtraError: PyAV is not installed.
        """
        super().__init__()
        self.settings = settings or DEFAULTS
        self._reader = open_reader(source, self._problems, self.settings)
        self._closed, self._entry = False, entry
        info = self._reader.info
        self._size = (info.width, info.height)
        self.info = replace(info, frames=_estimate(info, self.settings), source=self.settings.name or info.source)

    def close(self) -> None:
        """End a running iteration at its next frame, and give no more; may be called from another thread."""
        self._closed = True

    def entries(self, times_s: Sequence[float]) -> list[KeyFrame]:
        """Return the first key frame at or after each of some times, without decoding; several may share one.

        Args:
            times_s: Seconds since the video's start, in order.

        Returns:
            In order, without the video's first frame. Empty where a video can only be read from its beginning on: from
            the web, a GIF or WebP, images in a row, recordings that were joined, and what FFmpeg knows no times of.
        """
        return self._reader.entries(times_s) if isinstance(self._reader, FFmpegReader) else []

    def _raw(self) -> Iterator[RawFrame]:
        start_s = self.settings.start_s
        if isinstance(self._reader, FFmpegReader):
            return self._reader.frames(start_s, self._entry)
        return self._reader.frames(start_s)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the wanted frames in the order of their time.

        `Frame.index` is the number of the frame in the whole video, `Frame.time_s` the time since the video's start,
        both the same whatever the settings leave out. Frames that change their size are scaled to the size of the
        first.

        Raises:
            SourceError: The video breaks off; all frames that it holds came before.
            InputError: The settings leave no frame: they start after the end, say. The message has the length.
        """
        last_s, given = 0.0, False
        for raw, wanted in _marked(self._raw(), self.settings):
            last_s = raw.time_s
            if self._closed:
                return
            if wanted:
                given = True
                yield Frame.of(self._fitted(raw), self.info.source, raw.index, raw.time_s)
        if not given and not self._closed:
            self._check_selection(last_s)

    def _check_selection(self, last_s: float) -> None:
        """Raise an error where no frame came because of the settings."""
        settings = self.settings
        length_s = max(last_s, self._reader.info.duration_s or 0.0)
        asked = {"start_s": settings.start_s, "end_s": settings.end_s, "fps": settings.fps, "every": settings.every}
        said = ", ".join(f"{n} = {v:g}" for n, v in asked.items() if v is not None and v != getattr(DEFAULTS, n))
        if not said:
            return
        raise InputError(
            f"{self.info.source} is {length_s:.2f} s long, and {said} leaves none of its frames; "
            f"{'start earlier' if settings.start_s >= length_s else 'take more of them'}"
        )

    def _fitted(self, raw: RawFrame) -> Pixels:
        pixels = raw.pixels()
        height, width = pixels.shape[:2]
        if (width, height) == self._size:
            return pixels
        wanted = "x".join(map(str, self._size))
        self._problems.note(f"{self.info.source}: scaled from {width}x{height} to {wanted} at {raw.time_s:.2f} s")
        return scale_frame(rgb_of(pixels), self._size)


def scale_frame(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return an image in another size, or itself if that is its size.

    Args:
        image: (H, W, 3) uint8.
        size: (width, height), pixels.
    """
    if image.shape[1::-1] == size:
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


# Which frames ---------------------------------------------------------------------------------------------------------


def _marked(frames: Iterator[RawFrame], settings: VideoSettings) -> Iterator[tuple[RawFrame, bool]]:
    """Yield the frames up to the last wanted one, and whether each is wanted."""
    end_s = math.inf if settings.end_s is None else settings.end_s
    left = math.inf if settings.max_frames is None else settings.max_frames
    last_slot = -1
    for raw in frames:
        slot = _slot(raw, settings)
        chosen, last_slot = slot > last_slot, max(slot, last_slot)
        if raw.time_s >= end_s - SAME_TIME_S:
            return
        wanted = chosen and raw.time_s >= settings.start_s - SAME_TIME_S
        yield raw, wanted
        left -= wanted
        if left <= 0:
            return


def _slot(raw: RawFrame, settings: VideoSettings) -> int:
    """Return the number of the interval that a frame falls in; the first frame of each is taken."""
    if settings.fps is not None:
        return math.floor((raw.time_s + SAME_TIME_S) * settings.fps)
    return raw.index if raw.index % settings.every == 0 else -1


def _estimate(info: VideoInfo, settings: VideoSettings) -> int | None:
    """Return about how many frames the settings leave."""
    frames: float | None = info.frames
    if frames is not None and info.duration_s:
        end_s = min(settings.end_s or info.duration_s, info.duration_s)
        share = max(0.0, end_s - settings.start_s) / info.duration_s
        frames = math.ceil(frames * share / settings.every)
        if settings.fps is not None:
            frames = min(frames, math.ceil(info.duration_s * share * settings.fps))
    if settings.max_frames is not None:
        frames = settings.max_frames if frames is None else min(frames, settings.max_frames)
    return None if frames is None else int(frames)


# Opening --------------------------------------------------------------------------------------------------------------


def open_reader(
    source: str | Path, problems: Problems, settings: VideoSettings = DEFAULTS, *, rule: AddressRule | None = None
) -> VideoReader:
    """Return what reads a source, all of it.

    Args:
        source: As for `Video`.
        problems: Takes the warnings.
        settings: For threads, the rate of images in a row and the addresses that are admitted.
        rule: Which addresses may be connected to, instead of what the settings say.

    Raises:
        SourceError: It is no video, or at an address that is not admitted.
    """
    if isinstance(source, str) and URL.match(source):
        if source.lower().startswith("file://"):
            path = Path(unquote(urlsplit(source).path))
            _check_name(path)
            return _open_file(path, settings, problems)
        rule = rule or video_rule(source, allow_private=settings.allow_private)
        address = Address(
            source,
            public_name(source),
            timeout_s=URL_TIMEOUT_S,
            threads=settings.threads,
            rule=rule,
            stream=settings.stream,
            max_pixels=settings.max_pixels,
            hwaccel=settings.hwaccel,
        )
        return FFmpegReader(address, problems)
    path = Path(source).expanduser()
    _check_name(path)
    if _is_pattern(path):
        return ImagesReader(numbered_files(path), str(source), settings.image_fps, problems, settings.max_pixels)
    return _open_file(path, settings, problems)


def _is_pattern(path: Path) -> bool:
    return len(NUMBER.findall(path.name)) == 1 and not path.exists()


def _check_name(path: Path) -> None:
    try:
        path.exists()
    except OSError as error:  # it is too long
        raise SourceError(f"{shortened(str(path))}: {error.strerror}; check the name") from None


def _open_file(path: Path, settings: VideoSettings, problems: Problems) -> VideoReader:
    head = _head(path)
    if is_animated_webp(head):
        return WebPReader(path.read_bytes(), str(path), problems, settings.max_pixels)
    address = Address(
        f"file:{path}",
        str(path),
        threads=settings.threads,
        stream=settings.stream,
        max_pixels=settings.max_pixels,
        hwaccel=settings.hwaccel,
    )
    return FFmpegReader(address, problems)


def _head(path: Path) -> bytes:
    """Return the first bytes of a file, or say why there are none."""
    if path.is_dir():
        raise SourceError(f"{path} is a folder, not a video; name a file, or images in a row as {path}/%d.png")
    try:
        if path.exists() and not path.is_file():
            raise SourceError(f"{path} is not a file; use LiveSource for cameras and streams")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise SourceError(f"{path} does not exist; check the spelling and the folder you are in") from None
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"{path} cannot be opened: {said}; check the name and its permissions") from error
    if not head:
        raise SourceError(f"{path} is empty; copy or record it again")
    return head
