"""`DeepFace.analyze` as deepface 0.0.103 has it: its arguments, its dictionaries, its scales, its kinds of errors.

`verify` and `represent`, with the one network that both have, are in `compat/_verify.py`.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np

from mien.attributes.age_gender import AgeGender
from mien.compat._faces import BACKENDS, found_faces, region
from mien.compat._images import read_frame
from mien.compat._seven import seven_of
from mien.compat._verify import represent, verify
from mien.errors import InputError, check_known, shown
from mien.faces import Face, Floats, Frame
from mien.labels import FER7

ACTIONS = ("emotion", "age", "gender", "race")


def analyze(
    img_path: object,
    actions: tuple[str, ...] | list[str] | str = ("emotion",),
    enforce_detection: bool = True,
    detector_backend: str = "opencv",
    align: bool = True,
    expand_percentage: int = 0,
    silent: bool = False,
    anti_spoofing: bool = False,
) -> list[Any]:
    """Return what the faces of an image show, in the shape of `deepface.DeepFace.analyze`.

    Args:
        img_path: A path, URL, data URL, binary file object or array (H, W, 3) uint8 **BGR**; a list of these, or an
            array (N, H, W, 3), for several images.
        actions: `"emotion"`, `"age"` and `"gender"`, which need `mien models pull age gender` and are guesses, however
            sure they sound: docs/people.md. mien does not guess `"race"`.
        enforce_detection: Whether an image without a face is an error; if not, the whole image is taken for a face.
        detector_backend: A key of `BACKENDS`; `"opencv"` is the Haar cascade, `"mtcnn"` misses far fewer.
        align: Turn each face upright by its eyes before the model sees it.
        expand_percentage: By how much `region` grows; the model always sees the framing that it was trained on.
        silent: Without effect: mien reports no progress here.
        anti_spoofing: Must be False; mien does not offer it.

    Returns:
        One dictionary per face, best first: `emotion` (0-100 by name, adding up to 100), `dominant_emotion`, `age` (a
        whole number), `gender` (0-100 for `Woman` and `Man`), `dominant_gender`, `region` (`x`, `y`, `w`, `h`, pixels,
        and `left_eye`, `right_eye`, (x, y) as the person has them, or None) and `face_confidence` (0-1; 0 where no face
        was found). For several images, a list of such lists.

    Raises:
        FaceNotDetected: There is no face; a `ValueError`, as are the others.
        SourceError: It gives no image.
        InputError: An unknown action or detector, or one that is not offered.
        MissingExtraError: The detector's extra is not installed.
        MissingWeightsError: A network that an action needs was not pulled yet.
    """
    wanted = _checked_actions(actions)
    check_known("detector_backend", detector_backend, BACKENDS)
    if anti_spoofing:
        raise InputError("mien has no anti-spoofing; pass anti_spoofing=False")
    grow = max(0, expand_percentage) / 100
    several = img_path if isinstance(img_path, list) else None
    if isinstance(img_path, np.ndarray) and img_path.ndim == 4:
        several = list(img_path)
    if several is not None:
        return [
            analyze(image, actions, enforce_detection, detector_backend, align, expand_percentage) for image in several
        ]
    frame = read_frame(img_path)
    return _analyze_frame(frame, detector_backend, wanted, enforce=enforce_detection, align=align, grow=grow)


class _DeepFace:
    """What stands in for the module `deepface.DeepFace`."""

    analyze = staticmethod(analyze)
    represent = staticmethod(represent)
    verify = staticmethod(verify)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"mien.compat.DeepFace has no {shown(name)}; it has analyze(), verify() and represent(). "
            "mien.people.find_person() looks for people, and mien.Analyzer().find() gives faces without expressions"
        )

    def __dir__(self) -> list[str]:
        return ["analyze", "represent", "verify"]

    def __repr__(self) -> str:
        return "<mien.compat.DeepFace: analyze(), represent(), verify()>"


DeepFace = _DeepFace()


def _checked_actions(actions: object) -> tuple[str, ...]:
    wanted = (actions,) if isinstance(actions, str) else actions
    if not isinstance(wanted, tuple | list) or not wanted:
        raise InputError(f"`actions` must be a list of strings, got {type(actions).__name__}; pass actions=['emotion']")
    for action in wanted:
        if action not in ACTIONS:
            raise InputError(f"Invalid action passed ({action!r:.50}). Valid actions are `emotion`, `age`, `gender`.")
        if action == "race":
            raise InputError("mien does not guess the action 'race'; pass actions=['emotion']")
    return tuple(wanted)


def _analyze_frame(
    frame: Frame, backend: str, actions: tuple[str, ...], *, enforce: bool, align: bool, grow: float
) -> list[dict[str, Any]]:
    analyzer, found, whole = found_faces(frame, backend, enforce=enforce)
    told = _guesses(actions).guess(frame.image, found.on(frame.image)).values
    if "emotion" not in actions:
        return [_entry(face, frame, told, i, grow=0 if whole else grow, sure=not whole) for i, face in enumerate(found)]
    crops = analyzer.crop(frame.image, found if align else replace(found, landmarks=None))
    (faces,) = analyzer.with_expressions([found], analyzer.model.predict_proba(crops, head=analyzer.labels.key))
    seven = enumerate(seven_of(faces))
    return [_entry(face, frame, told, i, grow=0 if whole else grow, sure=not whole) for i, face in seven]


@lru_cache(maxsize=4)
def _guesses(actions: tuple[str, ...]) -> AgeGender:
    return AgeGender(actions)


def _entry(
    face: Face, frame: Frame, guessed: Mapping[str, Floats], number: int, *, grow: float, sure: bool
) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if face.probs is not None:
        told |= {
            "emotion": {name: 100 * p for name, p in zip(FER7.names, face.probs.tolist(), strict=True)},
            "dominant_emotion": face.expression,
        }
    if "age_estimate" in guessed:
        years = float(guessed["age_estimate"][number])
        told["age"] = None if math.isnan(years) else int(years)
    if "gender_estimate" in guessed:
        woman = float(guessed["gender_estimate"][number])
        told["gender"] = {"Woman": 100 * woman, "Man": 100 * (1 - woman)}
        told["dominant_gender"] = None if math.isnan(woman) else "Woman" if woman > 0.5 else "Man"
    return told | {"region": region(face, frame, grow), "face_confidence": round(face.score, 2) if sure else 0.0}
