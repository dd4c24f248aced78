"""What tells one detector from another, as text that a run notes and a later one compares."""

import hashlib
import re
from pathlib import Path

HASH_DIGITS = 16

NAMES_BY_CLASS = {  # what runs noted before there were identities: a class and, of some, the settings
    "MtcnnDetector": ("mtcnn",),
    "HaarDetector": ("haar", "haar-alt2"),
    "HogDetector": ("dlib-hog",),
    "MmodDetector": ("dlib-mmod",),
    "YunetDetector": ("yunet",),
    "SsdDetector": ("ssd",),
    "WholeImage": ("none",),
    "TurnTakingRefiner": ("mtcnn",),
    "TurnTaking DetectorSettings": ("haar", "haar-alt2"),
    "TurnTaking": ("dlib-hog", "dlib-mmod", "yunet", "ssd", "none"),
}
DEFAULT_THRESHOLDS = {"mtcnn": "0.8", "haar": "0.0", "haar-alt2": "0.0"}  # of those that noted their settings


def identity_of(name: str, **values: object) -> str:
    """Return the identity of a detector.

    Args:
        name: Its name.
        values: All that changes what it finds, defaults filled in; of a path, the content of its file counts.

    Returns:
        Such as `haar-alt2(min_face_px=32, threshold=0.0)`.
    """
    told = (f"{key}={_hash(value) if isinstance(value, Path) else repr(value)}" for key, value in values.items())
    return f"{name}({', '.join(told)})" if values else name


def may_be(noted: str, identity: str) -> bool:
    """Return whether a detector may be the one that a run has noted.

    Args:
        noted: An identity, or what older journals hold: a class and perhaps the settings as Python shows them.
        identity: The detector's.
    """
    if noted == identity:
        return True
    name = identity.partition("(")[0]
    known = next((names for kind, names in NAMES_BY_CLASS.items() if re.match(rf"{kind}\b", noted)), ())
    before, now = _values(noted), _values(identity)
    if before.get("threshold") == "None":
        before["threshold"] = DEFAULT_THRESHOLDS.get(name, "None")
    return name in known and (not before or all(before.get(key) == value for key, value in now.items()))


def _values(text: str) -> dict[str, str]:
    """Return the settings in a text: `name=value`, a value being a plain word or a tuple."""
    return dict(re.findall(r"(\w+)=(\([^)]*\)|[^,()]+)", text))


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:HASH_DIGITS]
