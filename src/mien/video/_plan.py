"""Segments of a video: where it is cut, by the key frames that its container knows of, without decoding."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mien.errors import InputError
from mien.sources.videos import KeyFrame, Video, VideoSettings
from mien.tracking.settings import TrackSettings

SHORTEST_S, LONGEST_S, PARTS = 15.0, 60.0, 16  # of a segment, and how many there are in between
OVERLAP_S = 1.0  # with two searches by the clock; a face out of sight keeps its number that long
WORTH_IT = 4  # segments are at least so many overlaps long
ROOM = 1.1  # frames per second of a container are an average


@dataclass(frozen=True)
class Segment:
    """A part of a video that is analyzed on its own. It travels to other processes and machines as it is.

    Attributes:
        number: Its place among the segments, from 0.
        lead_s: Where the work on it begins, at a key frame: what lies before `start_s` is the overlap, seconds.
        start_s: Where its results count from: frames before this time are those of the segment before.
        end_s: Where they end; None for the last segment, which ends where the video or the wish of the user does.
        entry: The key frame; None for the first segment, which is entered as its video would be.
    """

    number: int
    lead_s: float
    start_s: float
    end_s: float | None
    entry: KeyFrame | None = None

    def settings(self, video: VideoSettings) -> VideoSettings:
        """Return which frames it needs, the overlap included.

        Args:
            video: Which frames of the whole video are wanted.
        """
        end_s = video.end_s if self.end_s is None else self.end_s
        return replace(video, start_s=self.lead_s, end_s=end_s, max_frames=None)


def plan_segments(
    source: str | Path,
    settings: VideoSettings | None = None,
    *,
    track: TrackSettings | None = None,
    segment_s: float | None = None,
) -> list[Segment]:
    """Return the segments of a video. The plan follows from the video and the settings alone, so a later run finds it.

    Args:
        source: The video, as for `Video`.
        settings: Which frames are wanted.
        track: How faces are tracked: the overlap is as long as a face out of sight keeps its number.
        segment_s: About how long a segment is, seconds; None takes a sixteenth of the video, 15 to 60 s. Key frames far
            apart make longer ones.

    Returns:
        In order, without gaps. One, where the video cannot be cut: it is short, it is read from the web, a GIF or
        WebP, images in a row, joined recordings or of unknown length, or `reid` compares everybody with all before.

    Raises:
        InputError: `segment_s` is not more than 0.
        SourceError: The video cannot be opened.
        MissingExtraError: PyAV is not installed.
    """
    if segment_s is not None and not segment_s > 0:
        raise InputError(f"segment_s must be more than 0 seconds, got {segment_s}")
    settings, track = settings or VideoSettings(), track or TrackSettings()
    with Video(source, settings) as video:
        end_s, overlap_s = _end_s(video), _overlap_s(video, track)
        if end_s is None or track.reid:
            return [_only(settings)]
        length_s = end_s - settings.start_s
        step_s = max(segment_s or min(max(length_s / PARTS, SHORTEST_S), LONGEST_S), WORTH_IT * overlap_s)
        times_s = [settings.start_s + step_s * k for k in range(1, int(length_s / step_s + 0.5))]
        entries = list(_apart(video.entries(times_s), settings.start_s, end_s, step_s / 2)) if times_s else []
    starts = [settings.start_s, *(entry.time_s + overlap_s for entry in entries)]
    leads = [settings.start_s, *(entry.time_s for entry in entries)]
    ends = [*starts[1:], None]
    return [
        Segment(number, lead_s, start_s, end_s, entry)
        for number, (lead_s, start_s, end_s, entry) in enumerate(
            zip(leads, starts, ends, [None, *entries], strict=True)
        )
    ]


def _only(settings: VideoSettings) -> Segment:
    return Segment(0, settings.start_s, settings.start_s, None)


def _end_s(video: Video) -> float | None:
    """Return about where the wanted frames end; None where that is not known."""
    info, settings = video.info, video.settings
    if info.duration_s is None:
        return None
    ends = [info.duration_s, *([] if settings.end_s is None else [settings.end_s])]
    rate = settings.fps or (info.fps and info.fps / settings.every)
    if settings.max_frames is not None and rate:
        ends.append(settings.start_s + ROOM * settings.max_frames / rate)
    return min(ends)


def _overlap_s(video: Video, track: TrackSettings) -> float:
    """Return the overlap: two frames or more, two searches if they are frequent, and the age of a lost face."""
    settings = video.settings
    frame_s = settings.every / (video.info.fps or 25.0) if settings.fps is None else 1 / settings.fps
    return max(OVERLAP_S, track.max_age_s, 2 * frame_s)


def _apart(entries: list[KeyFrame], start_s: float, end_s: float, least_s: float) -> Iterator[KeyFrame]:
    """Yield key frames with some time from each to the next, and to the end."""
    last_s = start_s
    for entry in entries:
        if entry.time_s - last_s >= least_s and end_s - entry.time_s >= least_s:
            yield entry
            last_s = entry.time_s
