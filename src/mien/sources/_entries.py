"""Key frames at which a video may be entered, found without decoding: where it can be cut into parts.

An index that lists every frame (MP4, MOV, AVI) says where they are; a packet is read at each place that is taken, for
its time. Other containers are read through once, which costs a small part of decoding them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from mien.errors import require_extra
from mien.sources._opening import Address, opened

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import InputContainer

DRAWN_OVER = ("gif", "apng")  # each frame is drawn over the last, and all are called key frames


@dataclass(frozen=True)
class KeyFrame:
    """A frame from which decoding can begin, and what must be known to go on from there as if from the start.

    Attributes:
        number: How many frames come before it.
        packets: How many packets do, those that the edit list leaves out as well.
        pts: Its time in the units of the stream.
        origin: The start of the video in these units.
        time_s: Its time since then, seconds.
    """

    number: int
    packets: int
    pts: int
    origin: int
    time_s: float


@dataclass(frozen=True)
class _Place:
    """A key frame of the index, or of the packets; the latter know `pts`."""

    number: int
    packets: int
    dts: int
    pts: int | None = None


def origin_of(container: "InputContainer", stream: "VideoStream") -> int | None:
    """Return the start of the video in the stream's units; None where only the first frame tells.

    Args:
        container: Open.
        stream: Of the container.
    """
    if container.start_time is None or not stream.time_base:
        return None
    return round(Fraction(container.start_time, 1_000_000) / stream.time_base)


def entries_near(address: Address, times_s: Sequence[float]) -> list[KeyFrame]:
    """Return the first key frame at or after each of some times; fewer where several times share one.

    Args:
        address: Of a file; what comes over a net is read once, from its beginning on.
        times_s: Seconds since the start of the video, in order.

    Returns:
        In order; empty where the video cannot be entered: its packets carry no times, its times start again in the
        middle, or reading it fails.

    Raises:
        SourceError: There is no video.
    """
    av = require_extra("video", "av")
    if not address.url.startswith("file:"):
        return []
    with opened(address) as video:
        container, stream = video.container, video.stream
        if not stream.time_base or container.format.name in DRAWN_OVER:
            return []
        try:
            places = _listed(stream) or _read(container, stream)
        except av.FFmpegError:
            return []
        if not places:
            return []
        known = origin_of(container, stream)
        origin = known if known is not None else places[0].pts
        if origin is None:
            return []
        found = []
        for place in _first_after(places, [origin + round(t / stream.time_base) for t in times_s]):
            pts = place.pts if place.pts is not None else _pts_at(container, stream, place.dts)
            if pts is not None and place.number:
                time_s = float((pts - origin) * stream.time_base)
                found.append(KeyFrame(place.number, place.packets, pts, origin, time_s))
        return found


def _listed(stream: "VideoStream") -> list[_Place]:
    """Return the key frames of an index that lists every frame; none where it does not."""
    entries = stream.index_entries
    if not stream.frames or len(entries) != stream.frames:
        return []
    places, number, last = [], 0, None
    for packets, entry in enumerate(entries):
        if last is not None and entry.timestamp < last:
            return []
        last = entry.timestamp
        if entry.is_keyframe and not entry.is_discard:
            places.append(_Place(number, packets, entry.timestamp))
        number += not entry.is_discard
    return places


def _read(container: "InputContainer", stream: "VideoStream") -> list[_Place]:
    """Return the key frames of the packets; none where their times are missing or start again."""
    places, number, last = [], 0, None
    for packets, packet in enumerate(p for p in container.demux(stream) if p.size):
        if packet.is_discard:
            continue
        if packet.pts is None or (packet.dts is not None and last is not None and packet.dts < last):
            return []
        last = packet.dts if packet.dts is not None else last
        if packet.is_keyframe:
            places.append(_Place(number, packets, packet.pts if packet.dts is None else packet.dts, packet.pts))
        number += 1
    return places


def _first_after(places: Sequence[_Place], wanted: Sequence[int]) -> Iterator[_Place]:
    """Yield the first place at or after each of some times, each once."""
    rest, at = iter(places), -1
    place = next(rest, None)
    for limit in wanted:
        while place is not None and (place.dts if place.pts is None else place.pts) < limit:
            place = next(rest, None)
        if place is None:
            return
        if place.packets > at:
            yield place
            at = place.packets


def _pts_at(container: "InputContainer", stream: "VideoStream", dts: int) -> int | None:
    """Return the time of the key frame of which the index knows the time of decoding; None where it is not there."""
    av = require_extra("video", "av")
    try:
        container.seek(dts, stream=stream)
        for packet in container.demux(stream):
            if packet.dts is None or packet.dts > dts or not packet.size:
                return None
            if packet.dts == dts:
                return packet.pts if packet.is_keyframe else None
    except av.FFmpegError:
        return None
    return None
