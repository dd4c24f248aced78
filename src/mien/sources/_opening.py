"""Opening a video with FFmpeg (PyAV): a file, a device, a checked address, or the web through our own connections."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from mien.errors import InputError, SourceError, require_extra, shown
from mien.sources._decode import MAX_PIXELS
from mien.sources._frames import is_an_image
from mien.sources._hardware import AUTO, is_on_hardware, open_on_hardware
from mien.sources.addresses import PUBLIC, AddressRule, is_http, pinned

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import InputContainer

    from mien.sources._remote import Remote

MAX_THREADS = 8  # of a decoder; each holds a frame
NO_VIDEOS = ("tty", "bin", "xbin", "adf", "idf")  # FFmpeg paints text files as images of a terminal
STILLS = ("image2", "ico")
STILL_BRANDS = ("heic", "heix", "heim", "heis", "mif1", "mif2", "avif", "avio", "miaf", "msf1", "hevc", "hevx", "avis")
VARIANTS = ("hls", "dash")  # play lists of one video in several qualities
MOST_NAMED = 8  # streams in a message
DEFAULT_TIMEOUT_S = 20.0
# For playlists: to keep a connection for the next part, FFmpeg would need one of its own.
PLAYLIST_OPTIONS = {"http_persistent": "0", "http_multiple": "0"}
RTSP_OPTIONS = {"rtsp_transport": "tcp"}  # no packet is lost, and nothing comes from elsewhere
PIECE_BYTES = 1 << 17  # what FFmpeg asks of a file on the web at a time
# The protocols that FFmpeg speaks itself, each with those that it may open for it: no other, whatever a stream says.
PROTOCOLS = {
    "file": "file,crypto,data", "rtsp": "tcp", "rtsps": "tls,tcp", "rtmp": "rtmp,tcp", "rtmps": "rtmps,tls,tcp",
    "rtmpe": "rtmpe,ffrtmpcrypt,tcp", "rtp": "rtp,udp", "srtp": "srtp,rtp,udp", "udp": "udp", "tcp": "tcp",
    "srt": "srt",
}  # fmt: skip


@dataclass(frozen=True)
class Address:
    """Where FFmpeg finds a video.

    Attributes:
        url: What FFmpeg opens: `file:` and a path, a URL, or a device where there is a format.
        name: What people read; holds no password.
        format: FFmpeg's name of the format, or None to find out.
        options: Options of format and protocol.
        timeout_s: Seconds to wait for opening and for each packet, or None for as long as it takes.
        threads: Decoder threads; None takes one more than there are cores, at most `MAX_THREADS`.
        low_delay: Whether each frame must come out at once, which leaves out decoding several at a time.
        rule: Which hosts a URL may lead to.
        stream: Number of the video stream to read, from 0; None takes the one that FFmpeg thinks best.
        max_pixels: Largest frame, as stored; whatever the container says, each one is held against it.
        hwaccel: Hardware that decodes: `auto`, a name that FFmpeg knows, or None for the processor alone.
    """

    url: str
    name: str
    format: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    timeout_s: float | None = None
    threads: int | None = None
    low_delay: bool = False
    rule: AddressRule = PUBLIC
    stream: int | None = None
    max_pixels: int = MAX_PIXELS
    hwaccel: str | None = None


@dataclass(frozen=True)
class OpenVideo:
    """A video that FFmpeg has open.

    Attributes:
        container: What it is in.
        stream: Its images.
        name: What people read.
        number: Number of the stream among those of the video, from 0.
        streams: How many there are.
        choice: Says which was taken where there were several and nobody chose; else empty.
        remote: Where its bytes come from, if from the web.
        max_pixels: Largest frame.
        on_hardware: Whether a graphics card decodes it.
    """

    container: "InputContainer"
    stream: "VideoStream"
    name: str
    number: int = 0
    streams: int = 1
    choice: str = ""
    remote: "Remote | None" = None
    max_pixels: int = MAX_PIXELS
    on_hardware: bool = False

    @property
    def failure(self) -> str | None:
        """Why bytes are missing, or None; FFmpeg itself takes a connection that breaks off for the end."""
        return self.remote.failure if self.remote else None


@contextmanager
def opened(address: Address) -> Iterator[OpenVideo]:
    """Open a video and its video stream.

    Args:
        address: Where it is.

    Raises:
        SourceError: There is no video, or its host may not be connected to.
        MissingExtraError: PyAV is not installed.
    """
    av = require_extra("video", "av")
    with _remote_of(address) as remote:
        try:
            container = _container(address, remote)
        except (SourceError, InputError):
            raise
        except (av.FFmpegError, OSError, ValueError) as error:
            # FFmpeg's own message holds the URL with its password
            raise _no_video(address.name, error, remote) from None
        with container:
            videos = _video_streams(container, address.name)
            stream, choice = _chosen(container, videos, address)
            stream.codec_context.options = {"max_pixels": str(address.max_pixels)}  # before a frame is decoded
            stream.codec_context.thread_type = "SLICE" if address.low_delay else "AUTO"
            stream.codec_context.thread_count = address.threads or min((os.cpu_count() or 1) + 1, MAX_THREADS)
            number, count, on_hardware = videos.index(stream), len(videos), is_on_hardware(stream)
            if address.hwaccel not in (None, AUTO) and not on_hardware:
                choice = " ".join(filter(None, (choice, _not_on_hardware(address))))
            yield OpenVideo(
                container, stream, address.name, number, count, choice, remote, address.max_pixels, on_hardware
            )


def _not_on_hardware(address: Address) -> str:
    return (
        f"{address.name} is decoded by the processor: hwaccel {address.hwaccel} is not ready here, or does "
        "not know its codec; check the driver, or leave it out"
    )


def _remote_of(address: Address) -> AbstractContextManager["Remote | None"]:
    if not is_http(address.url):
        return nullcontext()
    from mien.sources._remote import Remote  # ssl and http.client are slow to import, and few runs need them

    timeout_s = address.timeout_s or DEFAULT_TIMEOUT_S
    return closing(Remote(address.url, address.rule, name=address.name, timeout_s=timeout_s))


def _container(address: Address, remote: "Remote | None") -> "InputContainer":
    """Let FFmpeg open an address: through our own connections on the web, else at the checked address."""
    open_ = partial(_container_with, address, remote)
    found = open_on_hardware(open_, address.hwaccel) if address.hwaccel else None
    return found or open_()


def _container_with(address: Address, remote: "Remote | None", hwaccel: Any = None) -> "InputContainer":
    av = require_extra("video", "av")
    open_ = partial(av.open, timeout=address.timeout_s, metadata_errors="replace", hwaccel=hwaccel)
    options, scheme = dict(address.options), address.url.partition(":")[0].lower()
    container: InputContainer
    if remote:
        options |= {"protocol_whitelist": "none", **PLAYLIST_OPTIONS}
        kind = address.format or remote.format
        container = open_(remote.url, format=kind, options=options, io_open=remote.open, buffer_size=PIECE_BYTES)
    elif address.format:
        container = open_(address.url, format=address.format, options=options)
    elif scheme in PROTOCOLS:
        options |= {"protocol_whitelist": PROTOCOLS[scheme], **(RTSP_OPTIONS if scheme.startswith("rtsp") else {})}
        container = open_(_checked(address, scheme), options=options)
    else:
        known = ", ".join(["http", "https", *PROTOCOLS])
        raise SourceError(f"{address.name} cannot be opened: {shown(scheme)} is no protocol mien knows ({known})")
    return container


def _checked(address: Address, scheme: str) -> str:
    if scheme == "file":
        return address.url
    timeout_s = address.timeout_s or DEFAULT_TIMEOUT_S
    return pinned(address.url, address.rule, name=address.name, timeout_s=timeout_s)


def _no_video(name: str, error: Exception, remote: "Remote | None" = None) -> SourceError:
    av = require_extra("video", "av")
    if isinstance(error, av.error.ExitError | TimeoutError):
        return SourceError(f"{name} does not answer in time; check the address and that it is switched on")
    if remote and remote.failure:
        return SourceError(f"{name} {remote.failure}")
    if isinstance(error, av.error.EOFError):
        return SourceError(f"{name} holds no frame; copy or record it again")
    if isinstance(error, av.error.InvalidDataError):
        if remote and not remote.seekable:
            return SourceError(
                f"{name} cannot be read from its beginning on, and its server gives no parts of files; "
                "download it first, or check that it is a video"
            )
        return SourceError(
            f"{name} is not a video that FFmpeg can read, or is cut off before its index; check the file"
        )
    if isinstance(error, av.error.ArgumentError) and name.lower().startswith("rtsp"):
        return SourceError(f"{name} redirects to another address, or is no camera; give the address it ends at")
    return SourceError(f"{name} cannot be opened: {reason(error)}; check the name and its permissions")


def reason(error: Exception) -> str:
    """Return what FFmpeg says, without the address, which may hold a password.

    Args:
        error: From PyAV.
    """
    own = str(error) if type(error) is OSError else ""  # from our connections, where messages hold no address
    said = getattr(error, "strerror", None) or own or type(error).__name__
    return f"{said[:1].lower()}{said[1:]}"


def _video_streams(container: "InputContainer", name: str) -> "list[VideoStream]":
    """Return the streams with moving images: neither covers nor stills."""
    kind = container.format.name
    if kind.endswith("_pipe") or kind in STILLS:
        raise is_an_image(name)
    if kind in NO_VIDEOS:
        raise SourceError(f"{name} is a text file, not a video; name another")
    cover = require_extra("video", "av.stream").Disposition.attached_pic
    videos = [stream for stream in container.streams.video if not stream.disposition & cover]
    if container.metadata.get("major_brand", "").strip() in STILL_BRANDS:  # of HEIC, each tile is a stream
        videos = [stream for stream in videos if stream.frames > 1]
        if not videos:
            raise is_an_image(name)
    if not videos:
        raise SourceError(f"{name} holds {_contents(container)} but no video; name a file with moving images")
    return videos


def _chosen(container: "InputContainer", videos: "list[VideoStream]", address: Address) -> "tuple[VideoStream, str]":
    """Return the stream to read, and a warning where it was not the only choice."""
    name = address.name
    if address.stream is not None:
        if address.stream >= len(videos):
            have = f"{len(videos)} video streams" if len(videos) > 1 else "one video stream"
            raise SourceError(
                f"{name} has {have}, numbered from 0; there is no stream {address.stream}, choose another"
            )
        stream = videos[address.stream]
        if stream.codec_context is None:
            raise _not_playable(name)
        return stream, ""
    playable = [stream for stream in videos if stream.codec_context is not None]
    if not playable:
        raise _not_playable(name)
    best = container.streams.best("video")
    stream = best if best in playable else playable[0]
    if len(videos) == 1 or container.format.name in VARIANTS:
        return stream, ""
    known = ", ".join(f"{number}: {_said(one)}" for number, one in enumerate(videos[:MOST_NAMED]))
    return stream, (
        f"{name} holds {len(videos)} video streams ({known}); stream {videos.index(stream)} is read; choose another "
        "with --video-stream (stream=… in Python and jobs)"
    )


def _said(stream: "VideoStream") -> str:
    context = stream.codec_context
    title = stream.metadata.get("title", "")[:40]
    return "unknown codec" if context is None else f"{context.width}x{context.height}{' ' if title else ''}{title}"


def _not_playable(name: str) -> SourceError:
    return SourceError(f"{name} has a video codec that this FFmpeg cannot decode; convert it to H.264")


def _contents(container: "InputContainer") -> str:
    streams = container.streams
    cover = " and a cover image" if streams.video else ""
    if streams.audio:
        return f"sound{cover}"
    return f"subtitles{cover}" if streams.subtitles else cover.removeprefix(" and ") or "data"
