"""One tracker per stream, with the settings that clients may choose."""

from mien.analyzer import Analyzer
from mien.tracking.tracker import Tracker, TrackSettings


def track_settings(half_life_s: float | None) -> TrackSettings:
    """Return how faces are followed.

    Args:
        half_life_s: Half-life of the smoothing; None takes the usual one.
    """
    return TrackSettings() if half_life_s is None else TrackSettings(half_life_s=half_life_s)


def create_tracker(analyzer: Analyzer, *, half_life_s: float | None) -> Tracker:
    """Return what finds and follows the faces of one stream; their crops meet those of others in the batcher.

    Args:
        analyzer: The analyzer of its detector and label set, with the shared model.
        half_life_s: Half-life of the smoothing; None takes the usual one.
    """
    return Tracker(analyzer, track_settings(half_life_s))
