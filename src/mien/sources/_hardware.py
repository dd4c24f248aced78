"""Decoders of graphics cards, where FFmpeg offers them; each video that they do not take is left to the processor."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mien.errors import InputError, require_extra, shown

if TYPE_CHECKING:
    from av.container import InputContainer

AUTO = "auto"
ORDER = ("cuda", "videotoolbox", "d3d11va", "d3d12va", "vaapi", "qsv", "amf", "vulkan")  # tried one after another


def hardware_of(wanted: str) -> list[str]:
    """Return the kinds of hardware to try, as FFmpeg calls them.

    Args:
        wanted: `auto`, or one of them.

    Raises:
        InputError: This FFmpeg was built without it; the message says what it has.
    """
    have = list(require_extra("video", "av.codec.hwaccel").hwdevices_available())
    if wanted == AUTO:
        return [kind for kind in ORDER if kind in have]
    if wanted not in have:
        raise InputError(
            f"hwaccel must be auto or what this FFmpeg has ({', '.join(have) or 'none'}), got {shown(wanted)}"
        )
    return [wanted]


def open_on_hardware(open_: Callable[..., "InputContainer"], wanted: str) -> "InputContainer | None":
    """Open a video on the first hardware that takes it; None where none does.

    Args:
        open_: Opens it; takes PyAV's `hwaccel`.
        wanted: As for `hardware_of`.

    Raises:
        InputError: As `hardware_of`.
    """
    av = require_extra("video", "av")
    accelerator = require_extra("video", "av.codec.hwaccel").HWAccel
    for kind in hardware_of(wanted):
        try:
            container = open_(hwaccel=accelerator(kind, allow_software_fallback=True))
        except (av.FFmpegError, NotImplementedError):  # no such card, no driver; a video that is none is told later
            continue
        if any(is_on_hardware(stream) for stream in container.streams.video):
            return container
        container.close()
    return None


def is_on_hardware(stream: Any) -> bool:
    """Whether a video stream is decoded by hardware."""
    return stream.codec_context is not None and bool(stream.codec_context.is_hwaccel)
