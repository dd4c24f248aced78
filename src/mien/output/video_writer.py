"""Videos written with PyAV: H.264 or VP9, every frame at its own time, the sound of the source copied.

H.264 is ITU-T H.264 (ISO/IEC 14496-10), encoded by x264 where the installed PyAV has it.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import OutputError, listed, require_extra
from mien.files import PartFile, explained
from mien.output.kinds import VIDEO

MARK = "Annotated by mien"
MUXERS = {".mp4": "mp4", ".mkv": "matroska", ".mov": "mov", ".webm": "webm"}

H264_ENCODERS: dict[str, dict[str, str]] = {
    # No B-frames: what is written is in the order of time, and no player has to apply an edit list.
    "libx264": {"preset": "veryfast", "crf": "21", "bf": "0"},
    "libopenh264": {"b": "6M"},
    "h264_videotoolbox": {"b": "6M"},
    "h264_mf": {"b": "6M"},
}
VP9_ENCODERS = {
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "7", "row-mt": "1", "crf": "32", "b": "0", "lag-in-frames": "0"},
}
FALLBACK_ENCODER = {"mpeg4": {"b": "8M", "bf": "0"}}
MPEG4_BASE = Fraction(1, 60_000)  # its ticks are 16 bits

TIME_BASE = Fraction(1, 90_000)  # where the source has none that a video can use
FINEST = 1_000_000
HD_HEIGHT = 720  # from here on players expect the colours of BT.709, below it those of BT.601
NOT_PLAYED = {".mp4": ("pcm_",)}  # FFmpeg writes these, but browsers and most players stay silent


class VideoWriter:
    """One video that grows under a hidden name and takes its own at the end.

    A video that is entered in the middle starts at 0; otherwise times are those of the source, as exactly as the
    container keeps them: to the source's own ticks in `.mp4` and `.mov`, to the millisecond in `.mkv` and `.webm`.

    Attributes:
        problems: What could not be done without harm to the image: sound that cannot be read, say.
    """

    def __init__(self, path: str | Path, *, sound: Path | None = None, time_base: Fraction | None = None) -> None:
        """Check the place; the video itself starts with its first frame, which gives the size.

        Args:
            path: Ends in one of `mien.output.kinds.VIDEO.extensions`.
            sound: The file whose sound is copied, as long as the written frames last; None for a silent video.
            time_base: The ticks in which the source times its images, seconds; None takes 1/90000.

        Raises:
            InputError: Another extension.
            OutputError: Nothing can be written there.
            MissingExtraError: PyAV is not installed.
        """
        self._av: Any = require_extra("video", "av")
        self.path = Path(path)
        self._extension = VIDEO.check(self.path)
        self.problems: list[str] = []
        self._sound_path, self._time_base = sound, time_base
        self._container: Any = None
        self._stream: Any = None
        self._sound: _Sound | None = None
        self._size = (0, 0)
        self._start_s = self._last_s = self._gap_s = 0.0
        self._last_pts = -1
        self._part = PartFile(self.path)
        self._part.start()

    def add(self, image: NDArray[np.uint8], time_s: float, *, start_s: float = 0.0) -> None:
        """Write one frame.

        Args:
            image: (H, W, 3) uint8 RGB; a frame of another size than the first is scaled to that. Odd sizes get one
                more row or column, since H.264 halves the resolution of colour.
            time_s: When it is shown, seconds; later than the frame before.
            start_s: The time that becomes 0 in the video; only that of the first frame counts.

        Raises:
            OutputError: The disk is full, or the like; the unfinished video is removed.
        """
        with self._guarded():
            if self._container is None:
                self._open(image, start_s)
            pts = max(self._last_pts + 1, round((time_s - self._start_s) / self._time_base))  # type: ignore[operator]
            if self._last_pts >= 0:
                self._gap_s = time_s - self._last_s
            self._last_pts, self._last_s = pts, time_s
            frame = self._image(image)
            frame.pts, frame.time_base = pts, self._time_base
            self._mux(self._stream.encode(frame))
            if self._sound:
                self._sound.copy_until(time_s)

    def close(self) -> None:
        """Complete the video; without any frame there is none.

        Raises:
            OutputError: It cannot be completed; the unfinished file is removed.
        """
        if self._container is None:
            self._part.discard()
            return
        with self._guarded():
            self._mux(self._stream.encode(None))
            if self._sound:
                self._sound.finish(self._last_s + self._gap_s)
            container, self._container = self._container, None
            container.close()
        self._close_sound()
        self._part.commit()

    def discard(self) -> None:
        """Remove the unfinished video."""
        self._close_sound()
        container, self._container = self._container, None
        if container is not None:
            with suppress(self._av.FFmpegError, OSError):  # the disk that is full may be why we are here
                container.close()
        self._part.discard()

    def _guarded(self) -> "_Guard":
        return _Guard(self)

    def _open(self, image: NDArray[np.uint8], start_s: float) -> None:
        self._start_s = start_s
        if self._sound_path is not None:
            self._sound = _open_sound(self._av, self._sound_path, start_s, self.problems)
        base = self._time_base
        usable = base is not None and base > 0 and base.denominator <= FINEST
        self._time_base = base if usable else TIME_BASE
        try:
            self._begin(image, copy_sound=True)
        except self._av.FFmpegError:
            if self._sound is None:
                raise
            self._begin(image, copy_sound=False)  # MP4 refuses some sound, MP3 of 8 kHz say, only when it begins

    def _begin(self, image: NDArray[np.uint8], *, copy_sound: bool) -> None:
        options = {"movflags": "+faststart"} if self._extension in (".mp4", ".mov") else {}
        self._container = self._av.open(
            str(self._part.growing), "w", format=MUXERS[self._extension], container_options=options
        )
        self._container.metadata["comment"] = MARK
        self._stream = self._add_image_stream(image)
        if self._sound:
            self._sound.connect(self._container, self._extension, copy=copy_sound)
        self._container.start_encoding()

    def _add_image_stream(self, image: NDArray[np.uint8]) -> Any:
        height, width = image.shape[:2]
        self._size = width + width % 2, height + height % 2
        name, options = _encoder(self._av, self._extension)
        stream = self._container.add_stream(name, options=options)
        if name == "mpeg4":
            self._time_base = MPEG4_BASE
        context = stream.codec_context
        context.width, context.height = self._size
        context.pix_fmt = "yuv420p"
        context.time_base = self._time_base
        context.thread_count = 0
        context.color_range = 1  # 16-235, as videos have it
        colours = 1 if height >= HD_HEIGHT else 6  # BT.709, BT.601 (ITU-T H.273, tables 2-4)
        context.colorspace = context.color_primaries = context.color_trc = colours
        return stream

    def _image(self, image: NDArray[np.uint8]) -> Any:
        width, height = self._size
        rows, columns = image.shape[:2]
        if (columns + columns % 2, rows + rows % 2) != self._size:
            image = np.asarray(cv2.resize(image, self._size, interpolation=cv2.INTER_AREA), np.uint8)
        elif (columns, rows) != self._size:
            border = 0, height - rows, 0, width - columns
            image = np.asarray(cv2.copyMakeBorder(image, *border, cv2.BORDER_REPLICATE), np.uint8)
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        matrix = "ITU709" if height >= HD_HEIGHT else "ITU601"
        return frame.reformat(format="yuv420p", dst_colorspace=matrix, dst_color_range="MPEG")

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            if not packet.duration:  # the last one's is the length of the video
                packet.duration = max(1, round(self._gap_s / packet.time_base))
            self._container.mux(packet)

    def _close_sound(self) -> None:
        if self._sound:
            self._sound.close()
            self._sound = None


class _Guard:
    """Turns errors of FFmpeg and of the disk into `OutputError`, and removes the video after any error."""

    def __init__(self, writer: VideoWriter) -> None:
        self._writer = writer

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, KeyboardInterrupt):
            return
        writer = self._writer
        failed = isinstance(error, (writer._av.FFmpegError, OSError))
        writer.discard()
        if not failed or isinstance(error, OutputError):
            return
        with explained(writer.path):
            if isinstance(error, OSError):
                raise error
            raise OutputError(f"cannot write {writer.path}: {error}; try another format: {', '.join(VIDEO.extensions)}")


def _encoder(av: Any, extension: str) -> tuple[str, dict[str, str]]:
    """Return the best encoder that this build of PyAV has, and its options."""
    wanted = VP9_ENCODERS if extension == ".webm" else {**H264_ENCODERS, **FALLBACK_ENCODER}
    for name, options in wanted.items():
        try:
            av.codec.Codec(name, "w")
        except av.codec.codec.UnknownCodecError:
            continue
        return name, options
    raise OutputError(f"this PyAV has no encoder for {extension} ({listed(wanted)}); write another format")


def time_base_of(path: Path, stream: int = 0) -> Fraction | None:
    """Return the ticks that a video's images are timed in, seconds; None for what FFmpeg cannot read.

    Args:
        path: The video.
        stream: Number of the video stream, from 0.
    """
    av: Any = require_extra("video", "av")
    with suppress(av.FFmpegError, OSError), av.open(str(path)) as container:
        streams = container.streams.video
        return streams[min(stream, len(streams) - 1)].time_base if streams else None
    return None


# Sound ----------------------------------------------------------------------------------------------------------------


def _open_sound(av: Any, path: Path, start_s: float, problems: list[str]) -> "_Sound | None":
    try:
        return _Sound(av, path, start_s, problems)
    except (av.FFmpegError, OSError) as error:
        problems.append(f"{path}: the sound cannot be read ({error}); the video is silent")
        return None


class _Sound:
    """The sound of a video, read along with the images that are written and handed on packet by packet."""

    def __init__(self, av: Any, path: Path, start_s: float, problems: list[str]) -> None:
        self._av, self._path, self._start_s, self._problems = av, path, start_s, problems
        self._input = av.open(str(path))
        self._offset_s = (self._input.start_time or 0) / 1e6
        image = next(iter(self._input.streams.video), None)
        self._end_s = self._end_of(image)
        self._tracks: dict[int, _Copy | _Encode] = {}
        self._packets: Iterator[tuple[float, Any]] = iter(())
        self._waiting: tuple[float, Any] | None = None

    def _end_of(self, image: Any) -> float:
        """Return when the last image ends, seconds; infinity where the file does not say."""
        if image is not None and image.duration and image.time_base:
            return float(((image.start_time or 0) + image.duration) * image.time_base) - self._offset_s
        return self._input.duration / 1e6 if self._input.duration else float("inf")

    def connect(self, container: Any, extension: str, *, copy: bool) -> None:
        """Add the sound's streams to a video.

        Args:
            container: The video, not begun.
            extension: Its extension.
            copy: Whether sound is copied where the container says that it can hold it.
        """
        streams = list(self._input.streams.audio)
        for stream in streams:
            try:
                self._tracks[stream.index] = _track(self._av, container, stream, extension, copy)
            except (self._av.FFmpegError, ValueError) as error:
                self._problems.append(f"{self._path}: sound stream {stream.index} cannot be kept ({error})")
        if self._tracks:
            # Sound before the first image is what an encoder needs to get going. MP4 keeps it and cuts it off when
            # played; Matroska would move the images instead.
            early = self._start_s == 0 and extension in (".mp4", ".mov")
            kept = [stream for stream in streams if stream.index in self._tracks]
            self._packets = self._timed(kept, early=early)

    def _timed(self, streams: list[Any], *, early: bool) -> Iterator[tuple[float, Any]]:
        """Yield the packets of the analyzed span with their time in the video, seconds."""
        if self._start_s > 0:
            with suppress(self._av.FFmpegError):  # what cannot be sought is read from its start
                self._input.seek(round((self._start_s + self._offset_s) * 1e6))
        try:
            for packet in self._input.demux(streams):
                ticks = packet.pts if packet.pts is not None else packet.dts
                if ticks is None or not packet.size:
                    continue
                time_s = float(ticks * packet.time_base) - self._offset_s - self._start_s
                if time_s >= 0 or early:
                    yield time_s, packet
        except (self._av.FFmpegError, OSError) as error:
            self._problems.append(f"{self._path}: the sound breaks off ({error})")

    def copy_until(self, time_s: float) -> None:
        """Write the sound up to a time of the source, seconds."""
        until = time_s - self._start_s
        while True:
            if self._waiting is None:
                self._waiting = next(self._packets, None)
            if self._waiting is None or self._waiting[0] >= until:
                return
            (when, packet), self._waiting = self._waiting, None
            self._tracks[packet.stream.index].write(packet, when)

    def finish(self, end_s: float) -> None:
        """Write the rest: all of it where the images ran to their end, else up to `end_s`, a time of the source."""
        self.copy_until(float("inf") if end_s >= self._end_s - 0.02 else end_s)
        for track in self._tracks.values():
            track.flush()

    def close(self) -> None:
        """Close the source."""
        self._input.close()


def _track(av: Any, container: Any, stream: Any, extension: str, copy: bool) -> "_Copy | _Encode":
    name = stream.codec_context.codec.canonical_name
    silent = any(name.startswith(start) for start in NOT_PLAYED.get(extension, ()))
    if copy and name in container.supported_codecs and not silent:
        return _Copy(container, stream)
    return _Encode(av, container, stream, "libopus" if extension == ".webm" else "aac")


class _Copy:
    """One stream of sound, copied as it is."""

    def __init__(self, container: Any, stream: Any) -> None:
        self._container = container
        self._stream = container.add_stream_from_template(stream)

    def write(self, packet: Any, time_s: float) -> None:
        """Copy one packet to a time of the video, seconds."""
        shift = round(time_s / packet.time_base) - (packet.pts if packet.pts is not None else packet.dts)
        packet.dts = None if packet.dts is None else packet.dts + shift
        packet.pts = None if packet.pts is None else packet.pts + shift
        packet.stream = self._stream
        self._container.mux(packet)

    def flush(self) -> None:
        """Nothing is held back."""


class _Encode:
    """One stream of sound, encoded anew because the container cannot hold its codec."""

    def __init__(self, av: Any, container: Any, stream: Any, codec: str) -> None:
        source = stream.codec_context
        self._container, self._broken = container, av.error.InvalidDataError
        rate = 48_000 if codec == "libopus" else source.sample_rate
        layout = "mono" if source.layout.nb_channels == 1 else "stereo"
        self._stream = container.add_stream(codec, rate=rate, layout=layout)
        context = self._stream.codec_context
        context.open()
        self._resampler = av.AudioResampler(context.format, context.layout, rate, context.frame_size or None)

    def write(self, packet: Any, time_s: float) -> None:
        """Encode one packet for a time of the video, seconds."""
        with suppress(self._broken):  # a broken packet is a moment of silence
            for frame in packet.decode():
                frame.pts, frame.time_base = round(time_s * frame.sample_rate), Fraction(1, frame.sample_rate)
                time_s += frame.samples / frame.sample_rate
                self._encode(self._resampler.resample(frame))

    def flush(self) -> None:
        """Write what is held back."""
        self._encode(self._resampler.resample(None))
        self._container.mux(self._stream.encode(None))

    def _encode(self, frames: Iterable[Any]) -> None:
        for frame in frames:
            self._container.mux(self._stream.encode(frame))
