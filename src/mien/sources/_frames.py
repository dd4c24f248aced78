"""What every reader of videos gives: `VideoInfo` at once, then one `RawFrame` after another."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from mien.errors import FrameSizeError, SourceError
from mien.planes import Pixels

MAX_PROBLEMS = 100


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video before its frames are read.

    Attributes:
        source: Its name for people, as in `Frame.source`.
        width: Width of the frames as they are given: upright, with square pixels.
        height: Their height.
        duration_s: Length in seconds, or None where the container does not say.
        frames: About how many frames there will be, or None.
        fps: Frames per second on average, or None.
        codec: FFmpeg's name of the video codec.
        rotation_deg: Clockwise turn that the metadata ask for, and that the frames have had: 0, 90, 180 or 270.
        has_audio: Whether there is sound, too.
        mirrored: Whether the metadata ask to exchange left and right after that turn, which has been done, too.
        stored_size: Width and height of the frames as they are stored, or None where that is not known.
        pixel_aspect: Width over height of a stored pixel; where it is not 1, the frames have been made square.
        stream: Number of the video stream that is read, from 0: `VideoSettings.stream`.
        streams: How many video streams there are to choose from.
    """

    source: str
    width: int
    height: int
    duration_s: float | None
    frames: int | None
    fps: float | None
    codec: str
    rotation_deg: int = 0
    has_audio: bool = False
    mirrored: bool = False
    stored_size: tuple[int, int] | None = None
    pixel_aspect: float = 1.0
    stream: int = 0
    streams: int = 1


@dataclass(frozen=True)
class RawFrame:
    """A frame whose pixels have not been asked for yet, so that skipping it costs little.

    Attributes:
        index: Number of the frame within its video, from 0.
        time_s: Time since the start of the video, seconds.
        pixels: Gives the upright image with square pixels: planes where they are of a common kind, else RGB.
    """

    index: int
    time_s: float
    pixels: Callable[[], Pixels]


class VideoReader(Protocol):
    """Reads one video, any number of times."""

    info: VideoInfo

    def frames(self, start_s: float) -> Iterator[RawFrame]:
        """Yield the frames in the order of their time.

        Args:
            start_s: Frames before this time are of no interest, but for the last one of them.

        Raises:
            SourceError: The video breaks off; all that it holds came before.
        """
        ...


class Problems:
    """Warnings about a video, in a list that stays short however broken the video is."""

    def __init__(self) -> None:
        """Start with none."""
        self.messages: list[str] = []
        self.count = 0

    def note(self, message: str) -> None:
        """Add a warning; beyond `MAX_PROBLEMS` they are only counted.

        Args:
            message: One sentence for people.
        """
        self.count += 1
        if self.count <= MAX_PROBLEMS:
            self.messages.append(message)
        elif self.count == MAX_PROBLEMS + 1:
            self.messages.append("further problems are not listed")


class OpenedSource(ABC):
    """A video or live source that is open, and the warnings about it."""

    def __init__(self) -> None:
        """Start without warnings."""
        self._problems = Problems()

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    @property
    def problems(self) -> list[str]:
        """Warnings about damage and interruptions, at most a hundred, in the order they came up."""
        return list(self._problems.messages)

    @abstractmethod
    def close(self) -> None:
        """Give no more frames."""


def broken_off(name: str, time_s: float | None, why: str) -> SourceError:
    """Return the error for a video that ends before its end.

    Args:
        name: The video.
        time_s: Time of the last frame, or None where there was none.
        why: What is missing.
    """
    at = "before its first frame" if time_s is None else f"after {time_s:.2f} s"
    return SourceError(
        f"{name} breaks off {at}: {why}; the frames until there are good, copy the file again for the rest"
    )


def is_an_image(name: str) -> SourceError:
    """Return the error for a still image where a video should be.

    Args:
        name: The image.
    """
    return SourceError(
        f"{name} is an image, not a video; analyze it as one: mien.analyze() in Python, `mien analyze` on the command "
        "line, POST /v1/analyze on a server"
    )


def check_frame_size(name: str, width: int, height: int, most: int) -> None:
    """Refuse a frame that is too large, before it is turned into an image.

    Args:
        name: The video.
        width: Of the frame, pixels.
        height: Of the frame, pixels.
        most: Largest width x height.

    Raises:
        FrameSizeError: It is larger.
    """
    if width * height > most:
        raise FrameSizeError(
            f"{name} has a frame of {width:,} x {height:,} pixels, more than the limit of {most:,} pixels; make the "
            "video smaller or raise the limit: VideoSettings(max_pixels=…) in Python"
        )
