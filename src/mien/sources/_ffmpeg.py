"""Videos through FFmpeg (PyAV): time, order and number of frames, upright square pixels, damage."""

import heapq
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from mien.errors import SourceError, require_extra
from mien.sources._convert import FrameConverter
from mien.sources._entries import KeyFrame, entries_near, origin_of
from mien.sources._frames import Problems, RawFrame, VideoInfo, broken_off, check_frame_size, is_an_image
from mien.sources._opening import Address, OpenVideo, opened, reason
from mien.sources._upright import orientation_of, pixel_aspect_of, square_size

if TYPE_CHECKING:
    from av import Packet, VideoFrame, VideoStream
    from av.container import InputContainer

MAX_DEMUX_ERRORS = 100  # in a row
DAMAGE_TOLERANCE_S, DAMAGE_TOLERANCE = 0.5, 0.01  # how much of the promised length may be missing
SEEK_EARLY_S = (0, 2, 10)  # a container without an index leads only near the place asked for


# Reading --------------------------------------------------------------------------------------------------------------


class FFmpegReader:
    """Any container and codec that FFmpeg knows."""

    def __init__(self, address: Address, problems: Problems) -> None:
        """Open the video, decode its first frame and close it again.

        Args:
            address: Where it is.
            problems: Takes the warnings.

        Raises:
            SourceError: There is no video, or no frame in it.
        """
        self._address = address
        self._problems = problems
        self.info = self._probe()

    def _probe(self) -> VideoInfo:
        with opened(self._address) as video:
            frame = next(_Pass(video, Problems()).decoded(), None)
            if frame is None:  # the decoder refuses what is too large, and says only that the data are invalid
                context = video.stream.codec_context
                check_frame_size(video.name, context.width, context.height, video.max_pixels)
            if frame is None and video.failure:
                raise SourceError(f"{video.name} {video.failure}")
            if frame is None:
                raise SourceError(f"{video.name} holds no frame that can be decoded; check the file")
            if video.choice:
                self._problems.note(video.choice)
            return describe(video, frame)

    def entries(self, times_s: Sequence[float]) -> list[KeyFrame]:
        """Return the first key frame at or after each of some times, as `entries_near`."""
        return entries_near(self._address, times_s)

    def frames(self, start_s: float, entry: KeyFrame | None = None) -> Iterator[RawFrame]:
        """Yield the frames in the order of their time, from the last key frame before `start_s` on.

        Args:
            start_s: Frames before this time are of no interest, but for the last one of them.
            entry: The key frame to begin with, if it is known.

        Raises:
            SourceError: The video breaks off; all that it holds came before.
        """
        with self._pass_from(start_s, self._address, entry) as video:
            yield from video.frames()
            missing, last = video.missing(), video.last_before_gap()
        if last is not None:
            with self._pass_from(last.since_start_s, replace(self._address, threads=1)) as video:
                yield from video.frames(after=last.pts)
        if missing:
            raise broken_off(self._address.name, video.last_s, missing)

    @contextmanager
    def _pass_from(self, start_s: float, address: Address, key: KeyFrame | None = None) -> Iterator["_Pass"]:
        key = self._key_frame_before(start_s) if key is None and start_s > 0 else key
        if key is not None:
            with opened(address) as video:
                reading = _Pass(video, self._problems)
                if reading.jump(key):
                    yield reading
                    return
        with opened(address) as video:
            yield _Pass(video, self._problems)

    def _key_frame_before(self, start_s: float) -> "KeyFrame | None":
        """Read, but do not decode, the video up to a time; return None where its packets carry no times."""
        with opened(self._address) as video:
            stream = video.stream
            key, number, skipped, origin = None, 0, 0, origin_of(video.container, stream)
            for packet in _Pass(video, Problems()).packets():
                if packet.stream is not stream or not packet.size:
                    continue
                if packet.is_discard:
                    skipped += 1
                    continue
                if packet.pts is None:
                    return None
                origin = origin if origin is not None else packet.pts
                limit = origin + start_s / float(stream.time_base or 1)
                if packet.dts is not None and packet.dts >= limit:  # Matroska's first packets may have none
                    break
                if packet.is_keyframe and packet.pts < limit:
                    time_s = float((packet.pts - origin) * (stream.time_base or 1))
                    key = KeyFrame(number, number + skipped, packet.pts, origin, time_s)
                number += 1
            return key if key and key.number else None


def describe(video: OpenVideo, frame: "VideoFrame") -> VideoInfo:
    """Return what is known of an open video.

    Args:
        video: The open video.
        frame: Its first frame.
    """
    container, stream, name = video.container, video.stream, video.name
    orientation, aspect = orientation_of(frame), pixel_aspect_of(stream)
    width, height = orientation.size(*square_size(frame.width, frame.height, aspect))
    duration_s, fps = _duration_s(container, stream), _fps(stream)
    frames = _shown(stream) or (round(duration_s * fps) if duration_s and fps else None)
    if container.format.name in ("gif", "apng") and frames == 1:
        raise is_an_image(name)
    return VideoInfo(
        name,
        width,
        height,
        duration_s,
        frames,
        fps,
        stream.codec_context.name,
        orientation.rotation_deg,
        bool(container.streams.audio),
        mirrored=orientation.mirrored,
        stored_size=(frame.width, frame.height),
        pixel_aspect=aspect,
        stream=video.number,
        streams=video.streams,
    )


def _shown(stream: "VideoStream") -> int:
    """Return how many frames the index lists, less those that the edit list of an MP4 leaves out; 0 if unknown."""
    if stream.frames and len(stream.index_entries) == stream.frames:
        return sum(not entry.is_discard for entry in stream.index_entries)
    return stream.frames


def _fps(stream: "VideoStream") -> float | None:
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate else None


def _duration_s(container: "InputContainer", stream: "VideoStream") -> float | None:
    if container.duration is None or container.duration <= 0:
        return None
    seconds = container.duration / 1e6
    if container.format.name.startswith("matroska"):  # counts from time 0, not from the first frame
        seconds -= (container.start_time or 0) / 1e6
    return seconds if seconds > 0 else None


@dataclass(frozen=True)
class _Last:
    pts: int
    since_start_s: float


class _Pass:
    """One reading of an open video."""

    def __init__(self, video: OpenVideo, problems: Problems) -> None:
        self._video, self._problems = video, problems
        container, stream = video.container, video.stream
        self._container, self._stream, self._name = container, stream, video.name
        self._count = _Count()
        self._clock = _Clock(stream, origin_of(container, stream))
        self._convert, self._aspect = FrameConverter(), pixel_aspect_of(stream)
        self._promised = len(stream.index_entries) if container.format.name.startswith("mov") else 0
        self.last_s: float | None = None
        self._last_pts: int | None = None
        self._after: int | None = None
        self._seen = 0
        self._end_s = 0.0
        self._cut = False
        self._queue: list[Packet[Any]] = []
        self._input: Iterator[Packet[Any]] | None = None

    def jump(self, key: KeyFrame) -> bool:
        """Go to a key frame; return False where the container does not lead there."""
        av = require_extra("video", "av")
        for early_s in SEEK_EARLY_S:
            try:
                self._container.seek(key.pts - round(early_s / (self._stream.time_base or 1)), stream=self._stream)
                if self._comes_to(key):
                    self._count, self._clock.origin, self._seen = _Count(key.number), key.origin, key.packets
                    return True
            except av.FFmpegError:
                return False
        return False

    def _comes_to(self, key: KeyFrame) -> bool:
        """Pass over packets until the one of the key frame is next; return False if it was before."""
        self._input = self.packets()
        for packet in self._input:
            if packet.stream is self._stream and packet.pts == key.pts:
                self._queue = [packet]
                return True
            if packet.stream is self._stream and (packet.dts is None or packet.dts > key.pts):
                return False
        return False

    def frames(self, after: int | None = None) -> Iterator[RawFrame]:
        """Yield all frames, or those after a time in the stream's units."""
        self._after = after
        for frame in self.decoded():
            self._last_pts = frame.pts
            index, self.last_s = self._count.number_of(frame.pts), self._clock.time_of(frame.pts)
            if after is None or frame.pts is None or frame.pts > after:
                yield RawFrame(index, self.last_s, partial(self._convert.pixels, frame, self._aspect))

    def last_before_gap(self) -> _Last | None:
        """Return the last frame, if the packets after it gave none.

        Decoder threads give up at the end of a video when the last frames they work on hold a damaged one.
        """
        if self._stream.codec_context.thread_count == 1 or self._clock.shifted or self._last_pts is None:
            return None
        if not self._count.has_more_after(self._last_pts):
            return None
        return _Last(self._last_pts, self._seconds(self._last_pts))

    def decoded(self) -> Iterator["VideoFrame"]:
        """Yield the frames of all packets; a packet that cannot be decoded is a problem, not the end."""
        av = require_extra("video", "av")
        packets = self._input or self.packets()
        while True:
            packet = self._queue.pop(0) if self._queue else next(packets, None)
            if packet is None:
                return
            self._watch(packet)
            if packet.stream is not self._stream:
                continue
            try:
                frames = self._stream.decode(packet if packet.size else None)
            except av.FFmpegError as error:
                self._note(packet, reason(error))
                continue
            for frame in frames:
                check_frame_size(self._name, frame.width, frame.height, self._video.max_pixels)
                if frame.is_corrupt:
                    self._problems.note(f"{self._name}: the image is damaged at {self._seconds(frame.pts):.2f} s")
                yield self._convert.as_decoded(frame) if self._video.on_hardware else frame

    def packets(self) -> Iterator["Packet[Any]"]:
        """Yield the packets of all streams; damage between them is a problem, not the end."""
        av = require_extra("video", "av")
        for _ in range(MAX_DEMUX_ERRORS):
            try:
                yield from self._container.demux()
                self._cut |= self._video.failure is not None
                return
            except av.error.InvalidDataError as error:
                self._problems.note(f"{self._name}: damaged after {self._end_s:.2f} s ({reason(error)})")
            except (av.FFmpegError, OSError) as error:
                self._cut = True
                self._problems.note(f"{self._name}: cannot be read after {self._end_s:.2f} s ({reason(error)})")
                return
        self._cut = True

    def _watch(self, packet: "Packet[Any]") -> None:
        """Keep count of what came, to know at the end whether the video is whole."""
        if not packet.size:
            return
        if packet.pts is not None and packet.time_base:
            self._end_s = max(self._end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        self._cut = packet.is_corrupt
        if packet.stream is self._stream:
            self._seen += 1
            if not packet.is_discard:
                self._count.expect(packet.pts)

    def missing(self) -> str | None:
        """Return what is missing at the end of a video that is cut off, or None."""
        if self._promised > self._seen:
            return f"{self._promised - self._seen} of {self._promised} frames are missing"
        promised_s = (self._container.duration or 0) / 1e6
        if self._end_s + DAMAGE_TOLERANCE_S + DAMAGE_TOLERANCE * promised_s < promised_s:
            return f"it should be {promised_s:.2f} s long"
        return self._video.failure or ("its last part is cut" if self._cut else None)

    def _note(self, packet: "Packet[Any]", why: str) -> None:
        if self._after is not None and packet.pts is not None and packet.pts <= self._after:
            return
        where = "near the end" if packet.pts is None else f"near {self._seconds(packet.pts):.2f} s"
        self._problems.note(f"{self._name}: a frame {where} cannot be decoded ({why})")

    def _seconds(self, pts: int | None) -> float:
        return 0.0 if pts is None else float((pts - (self._clock.origin or 0)) * (self._stream.time_base or 1))


class _Count:
    """Numbers frames by how many packets come before them in time, so that a lost frame leaves a gap.

    Whether reading starts at the beginning or at a key frame, and whether frames come out late or in another order than
    their packets, a frame gets the same number.
    """

    def __init__(self, first: int = 0) -> None:
        self._waiting: list[int] = []
        self._passed = self._next = first

    def expect(self, pts: int | None) -> None:
        """Count a packet."""
        if pts is not None:
            heapq.heappush(self._waiting, pts)

    def number_of(self, pts: int | None) -> int:
        """Return the number of a decoded frame; numbers only grow."""
        if pts is not None:
            self._pass_before(pts)
        number = max(self._next, self._passed)
        if self._waiting and self._waiting[0] == pts:
            heapq.heappop(self._waiting)
            self._passed += 1
        self._next = number + 1
        return number

    def has_more_after(self, pts: int) -> bool:
        """Whether packets after a frame have given none."""
        self._pass_before(pts)
        return bool(self._waiting)

    def _pass_before(self, pts: int) -> None:
        while self._waiting and self._waiting[0] < pts:
            heapq.heappop(self._waiting)
            self._passed += 1


class _Clock:
    """Seconds since the start of the video; never runs backwards."""

    def __init__(self, stream: "VideoStream", origin: int | None) -> None:
        self.origin = origin
        self._unit_s = float(stream.time_base or 1)
        self._usual_s = 1 / (_fps(stream) or 25.0)
        self._last_s: float | None = None
        self._shift_s = 0.0

    @property
    def shifted(self) -> bool:
        """Whether the timestamps started again in the middle."""
        return self._shift_s != 0

    def time_of(self, pts: int | None) -> float:
        """Return the time of a frame; one without a timestamp follows the last at the usual distance."""
        expected = 0.0 if self._last_s is None else self._last_s + self._usual_s
        if pts is None:
            self._last_s = expected
            return expected
        if self.origin is None:
            self.origin = pts
        time_s = (pts - self.origin) * self._unit_s + self._shift_s
        if self._last_s is not None and time_s < self._last_s:  # recordings that were joined start again at 0
            self._shift_s += expected - time_s
            time_s = expected
        self._last_s = time_s
        return time_s
