"""How faces are tracked and expressions smoothed: the one place of these settings."""

from dataclasses import dataclass

from mien.errors import InputError

AUTO = "auto"  # find it out


@dataclass(frozen=True)
class TrackSettings:
    """How the faces of a video are tracked and their expressions smoothed. All times are seconds of the video.

    Attributes:
        detect_every_s: Time between two searches of the whole frame by the clock; 0 searches every frame.
        change_every_s: Shortest time from one search to the next that is due to changes all over the image; changes
            in a part of it are searched sooner in proportion.
        max_age_s: How long a face out of sight keeps its number.
        keep_score: Score of the detector, 0-1, from which a known face is still one.
        half_life_s: Time after which a frame counts half in the smoothed probabilities; 0 for no smoothing.
        steady_margin: Lead in smoothed probability with which another expression becomes the steady one at once.
        steady_after_s: Time after which it does with any lead.
        reid: Give somebody who comes back the old number, at once or within a second, where the looks are
            surely the same.
        baseline: Take each person's resting face as the measure: `auto` finds it, a stretch (`0:02-0:06`) says when
            people rest; None for neither, (start, end) in seconds for a stretch.
        people: Tell who is who after the last frame, over cuts as well: `auto`, or a folder that holds a folder of
            pictures per name; None for neither. For videos that can be read twice; needs `mien models pull identity`.
        relative: Give eyes, mouth and brows relative to each track's own median, too (`relative_brow_raise`,
            …), where they are measured; for tables of videos.
        detect_max_side_px: Longer frames are searched in a copy reduced to this side, pixels.
    """

    detect_every_s: float = 0.5
    change_every_s: float = 0.2
    max_age_s: float = 1.0
    keep_score: float = 0.5
    half_life_s: float = 0.3
    steady_margin: float = 0.15
    steady_after_s: float = 0.5
    reid: bool = False
    baseline: str | tuple[float, float] | None = None
    people: str | None = None
    relative: bool = True
    detect_max_side_px: int = 1920

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("detect_every_s", "change_every_s", "max_age_s", "half_life_s", "steady_after_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"{name} must be 0 or more seconds, got {getattr(self, name)}")
        for name in ("keep_score", "steady_margin"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be 0 to 1, got {getattr(self, name)}")
        if self.baseline is not None and not _is_baseline(self.baseline):
            raise InputError(
                'baseline must be "auto" or (start, end) in seconds, the end after the start, '
                f"got {str(self.baseline)[:60]!r}"
            )
        if self.detect_max_side_px < 64:
            raise InputError(f"detect_max_side_px must be at least 64, got {self.detect_max_side_px}; 1920 is usual")


def _is_baseline(value: object) -> bool:
    if isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(v, int | float) for v in value):
        return bool(0 <= value[0] < value[1] < float("inf"))
    return isinstance(value, str) and value == AUTO
