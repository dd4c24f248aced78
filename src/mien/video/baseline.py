"""What a user names as the time in which people rest."""

from dataclasses import replace

from mien.analyzer import Analyzer
from mien.errors import InputError
from mien.tracking.baseline import typical_answer
from mien.tracking.settings import TrackSettings
from mien.video.truth import parse_time


def read_baseline(value: str | tuple[float, float]) -> str | tuple[float, float]:
    """Return the value of `TrackSettings.baseline` for what a user says.

    Args:
        value: `auto`; a stretch, `0:02-0:06` or `2s-6s`; or (start, end) in seconds, which is returned as it is.

    Returns:
        `"auto"`, or (start, end) in seconds.

    Raises:
        InputError: It is none of these.
    """
    if not isinstance(value, str) or value.strip() == "auto":
        return value if not isinstance(value, str) else "auto"
    start, dash, end = value.partition("-")
    if not dash:
        raise InputError(f"baseline must be auto or a stretch such as 0:02-0:06, got {value.strip()[:60]!r}")
    start_s, end_s = (parse_time(part.strip().removesuffix("s"), "baseline") for part in (start, end))
    if end_s <= start_s:
        raise InputError(f"baseline must be a stretch that ends after its start, got {value.strip()[:60]!r}")
    return start_s, end_s


def with_baseline(settings: TrackSettings | None, value: str | tuple[float, float] | None) -> TrackSettings:
    """Return settings with the baseline that a user names.

    Args:
        settings: What it is added to; None is the defaults.
        value: As for `read_baseline`; None leaves the baseline of `settings`.

    Raises:
        InputError: It is no baseline.
    """
    settings = settings or TrackSettings()
    return settings if value is None else replace(settings, baseline=read_baseline(value))


def check_baseline(settings: TrackSettings, analyzer: Analyzer) -> None:
    """Refuse a baseline that the model cannot have, before any work is done.

    Args:
        settings: With or without a baseline.
        analyzer: Detector and expression model.

    Raises:
        InputError: As `mien.tracking.baseline.typical_answer`.
    """
    if settings.baseline is not None:
        typical_answer(analyzer.labels, analyzer.model.card)
