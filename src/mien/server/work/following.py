"""One follower per stream, with the settings that clients may choose."""

from mien.analyzer import Analyzer
from mien.tracking.tracker import Follower, FollowSettings


def follow_settings(half_life_s: float | None) -> FollowSettings:
    """Return how faces are followed.

    Args:
        half_life_s: Half-life of the smoothing; None takes the usual one.
    """
    return FollowSettings() if half_life_s is None else FollowSettings(half_life_s=half_life_s)


def create_follower(analyzer: Analyzer, *, half_life_s: float | None) -> Follower:
    """Return what finds and follows the faces of one stream; their crops meet those of others in the batcher.

    Args:
        analyzer: The analyzer of its detector and label set, with the shared model.
        half_life_s: Half-life of the smoothing; None takes the usual one.
    """
    return Follower(analyzer, follow_settings(half_life_s))
