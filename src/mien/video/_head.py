"""The head of a journal: what must be the same when a run goes on."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mien._version import __version__
from mien.analyzer import Analyzer
from mien.detect.identity import may_be
from mien.errors import InputError
from mien.faces import KEEP_ALL
from mien.models.prior import NATURAL
from mien.sources.videos import Video
from mien.tracking.settings import TrackSettings

FORMAT = 1
FINGERPRINT_BYTES = 1 << 20
HASH_DIGITS = 16
NO_ATTRIBUTES = "none"
OLD_NAMES = {"film": "video", "picture_fps": "image_fps"}  # what older journals call them
NOT_OF_THE_RESULT = ("threads", "allow_private", "max_pixels", "hwaccel")  # settings that change no row

Head = dict[str, Any]


def head_of(source: str | Path, video: Video, analyzer: Analyzer, track: TrackSettings) -> Head:
    """Return what must be the same when a run goes on, as JSON values.

    Args:
        source: The video: a path or a URL.
        video: The same, open.
        analyzer: Detector and expression model.
        track: How faces are tracked.
    """
    model = analyzer.model
    return {
        "format": FORMAT,
        "version": __version__,
        "video": {
            "name": video.info.source,
            **_fingerprint(source),
            "width": video.info.width,
            "height": video.info.height,
        },
        **{name: value for name, value in asdict(video.settings).items() if name not in NOT_OF_THE_RESULT},
        **asdict(track),
        "model": f"{model.card.name} {model.card.version} (sha256 {model.sha256[:HASH_DIGITS]})",
        "labels": analyzer.labels.key,
        "prior": str(analyzer.prior),
        "detector": analyzer.detector.identity,
        "faces kept": asdict(analyzer.keep),
        "attributes": analyzer.measures.identity if analyzer.measures else NO_ATTRIBUTES,
    }


def check_head(before: Mapping[str, Any], now: Head) -> None:
    """Refuse to go on with a journal of something else.

    Args:
        before: The journal's head; one of an older version of mien may say less of the model and the detector.
        now: The head of this run.

    Raises:
        InputError: They differ; the message names both.
    """
    before = {OLD_NAMES.get(name, name): value for name, value in before.items()}
    for name, value in now.items():
        if not _is_same(name, before.get(name), value):
            raise InputError(
                f"cannot resume: {_difference(name, before.get(name), value)}; "
                "give what the first run had, or start again (without --resume)"
            )


def _is_same(name: str, before: Any, now: Any) -> bool:
    if name == "detector" and isinstance(before, str):
        return may_be(before, now)
    if name == "model" and isinstance(before, str) and " (sha256 " not in before:
        return bool(before == now.rpartition(" (sha256 ")[0])
    if name == "prior" and before is None:  # an older version had none
        return bool(now == NATURAL)
    if name == "faces kept" and before is None:  # an older version kept all
        return bool(now == asdict(KEEP_ALL))
    if name == "attributes" and before is None:  # an older version measured none
        return bool(now == NO_ATTRIBUTES)
    if name == "relative" and before is None:  # an older version knew no such columns
        return True
    return bool(before == now)


def _difference(name: str, before: Any, now: Any) -> str:
    """Say in words in what two values of the head differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in {**before, **now}:
            if before.get(key) != now.get(key):
                return _difference(f"{name} {key}", before.get(key), now.get(key))
    return f"{name} was {before} and is {now}"


def _fingerprint(source: str | Path) -> dict[str, Any]:
    """Return what tells a file from another of the same name."""
    path = Path(source)
    if not path.is_file():
        return {}
    status = path.stat()
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(FINGERPRINT_BYTES))
        file.seek(max(0, status.st_size - FINGERPRINT_BYTES))
        digest.update(file.read())
    return {"size": status.st_size, "time": status.st_mtime_ns, "hash": digest.hexdigest()[:16]}
