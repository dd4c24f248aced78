"""A person's own resting face as the measure: what the model reads into it is taken out of all that person's answers.

There are people whose resting face looks angry or sad to a model. How far it is from a typical resting face is a bias,
a number per expression, and it lies in every answer about this person, in those about smiles as well. The resting face
is found among the frames of a track, or in a stretch that somebody names. The bias is taken off the logarithms of the
probabilities before anything is smoothed: less of it where the person was seen for a short time, and never more than
`LARGEST_BIAS`, which would be an expression that is held for the whole video.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.faces import Faces, Floats
from mien.labels import COMBINED8, FER7, FERPLUS8, LabelSet
from mien.models.card import ModelCard
from mien.models.prior import AS_TRAINED, Prior, changed_by
from mien.tracking.settings import TrackSettings

Doubles = NDArray[np.float64]

# Mean centred log probabilities of the 4,965 neutral crops of FER2013 Training, of `mien-b` 2 and `mien-s` 2 together,
# in the order of the labels. The two differ by at most 0.07 (combined), 0.17 (fer2013) and 0.67 (ferplus), and
# `mien-b` 3 from these by 0.12, 0.05 and 0.30.
TYPICAL: Mapping[LabelSet, tuple[float, ...]] = {
    FER7: (0.00, -1.78, -0.05, -0.20, 0.66, -1.20, 2.57),
    FERPLUS8: (6.80, 1.36, -0.85, 2.05, -0.77, -3.64, -3.72, -1.23),
    COMBINED8: (-0.17, -0.07, -0.74, -0.34, 0.77, -0.83, 2.85, -1.47),
}
LEAST_PROB = 1e-6
LARGEST_BIAS = 3.0  # nats
HALF_TRUSTED_S = 1.0  # with so many seconds of the resting face half of the bias is taken out
MOST_FRAME_S = 1.0  # no frame stands for more time than this
STILL_SHARE = 0.5  # of the frames, those that change least, may show the resting face
CORE_SHARE = 0.5  # of those, the ones that lie closest together do
NOT_AT_REST = ("happy", "surprise")  # no resting face looks like this; one that is found so is an expression held long
MOST_FRAMES = 512  # that are kept of a person, spread over all of the time
MOST_PEOPLE = 256  # whose frames are kept at once
AGAIN_S = 0.5  # how often the bias is worked out again while more is seen


def typical_answer(labels: LabelSet, card: ModelCard, prior: Prior = AS_TRAINED) -> Doubles:
    """Return the centred log probabilities of a typical resting face.

    Args:
        labels: The label set of the answers.
        card: The card of the model that gives them.
        prior: The shares that they expect: they change the typical answer as every other.

    Returns:
        (C,) float64, sums to 0.

    Raises:
        InputError: A label set with other expressions than those of FER2013, or without neutral; or a model without a
            calibration, whose probabilities cannot be compared with what is typical.
    """
    known = next((one for one in TYPICAL if one.key == labels.key and one.names == labels.names), COMBINED8)
    if "neutral" not in labels.names or not set(labels.names) <= set(known.names):
        raise InputError(
            f"a baseline needs expressions of FER2013 with neutral among them, but the label set {labels.key!r} has "
            f"{', '.join(labels.names)[:120]}; leave the baseline out"
        )
    if labels.key not in card.temperatures and labels.key not in card.rules:
        raise InputError(
            f"a baseline needs a calibrated model, and the card of {card.name[:40]!r} tells of no calibration of "
            f"{labels.key!r}; take mien-b or mien-s, or leave the baseline out"
        )
    powers = np.exp(np.array(TYPICAL[known])[known.columns_for(labels)])
    probs = (powers / powers.sum()).astype(np.float32)
    return np.asarray(log_answers(changed_by(prior.factors(card, labels), probs[None]))[0])


def log_answers(probs: Floats) -> Doubles:
    """Return the logarithms of probabilities, each row less its mean.

    Args:
        probs: (N, C) float32.
    """
    logs = np.log(np.maximum(probs.astype(np.float64), LEAST_PROB))
    return np.asarray(logs - logs.mean(axis=1, keepdims=True))


class RestingFace:
    """The frames of one person from which the resting face is found: at most `MOST_FRAMES`, spread over all of them."""

    def __init__(self, classes: int) -> None:
        """Start without any.

        Args:
            classes: How many expressions there are.
        """
        self._logs = np.zeros((MOST_FRAMES, classes), np.float32)
        self._change = np.zeros(MOST_FRAMES, np.float32)
        self._kept, self._every, self._frames = 0, 1, 0
        self._seconds, self._last_s = 0.0, 0.0
        self._last: Doubles | None = None

    def add(self, logs: Doubles, time_s: float) -> None:
        """Add a frame.

        Args:
            logs: (C,) centred log probabilities.
            time_s: Its time, seconds, after the one before.
        """
        change = 0.0 if self._last is None else float(np.abs(logs - self._last).mean())
        self._seconds += 0.0 if self._last is None else min(max(time_s - self._last_s, 0.0), MOST_FRAME_S)
        if self._frames % self._every == 0:
            if self._kept == MOST_FRAMES:
                self._thin()
            self._logs[self._kept], self._change[self._kept] = logs, change
            self._kept += 1
        self._frames, self._last, self._last_s = self._frames + 1, logs, time_s

    def _thin(self) -> None:
        """Keep every second frame of those that are kept, and of those to come."""
        half = MOST_FRAMES // 2
        self._logs[:half], self._change[:half] = self._logs[::2].copy(), self._change[::2].copy()
        self._kept, self._every = half, 2 * self._every

    def bias(self, typical: Doubles, *, named: bool) -> Doubles | None:
        """Return what to take off the person's log probabilities.

        Args:
            typical: (C,) what a typical resting face gets.
            named: Whether the person rests in all frames; else the resting face is the median of those that change
                least from frame to frame and lie closest together, because expressions come and go.

        Returns:
            (C,) float64, sums to 0; None where the person was seen in a single frame.
        """
        if not self._seconds:
            return None
        logs = self._logs[: self._kept].astype(np.float64)
        core = logs if named else _core(logs, self._change[: self._kept])
        seconds = self._seconds * len(core) / len(logs)
        bias = np.clip(np.median(core, axis=0) - typical, -LARGEST_BIAS, LARGEST_BIAS)
        bias *= seconds / (seconds + HALF_TRUSTED_S)
        return np.asarray(bias - bias.mean())

    def answer(self, *, named: bool) -> int:
        """Return the number of the expression that the model sees in the resting face; see `bias`."""
        logs = self._logs[: self._kept].astype(np.float64)
        return int(np.median(logs if named else _core(logs, self._change[: self._kept]), axis=0).argmax())


def _core(logs: Doubles, change: Floats) -> Doubles:
    still = logs[change <= np.quantile(change, STILL_SHARE)]
    distance = np.abs(still - np.median(still, axis=0)).mean(axis=1)
    return np.asarray(still[distance <= np.quantile(distance, CORE_SHARE)])


class Baselines:
    """The resting faces of all people of a video or stream, from the frames that were added so far."""

    def __init__(self, settings: TrackSettings, labels: LabelSet, card: ModelCard, prior: Prior = AS_TRAINED) -> None:
        """Start without anybody.

        Args:
            settings: Its `baseline` says where people rest.
            labels: The label set of the answers.
            card: The card of the model that gives them.
            prior: The shares that they expect.

        Raises:
            InputError: As `typical_answer`; or there is no `baseline`.
        """
        if settings.baseline is None:
            raise InputError('baselines need a setting; pass TrackSettings(baseline="auto")')
        self._stretch = None if isinstance(settings.baseline, str) else settings.baseline
        self._labels, self._typical = labels, typical_answer(labels, card, prior)
        self._people: dict[int, RestingFace] = {}  # the one longest unseen first
        self._found: dict[int, Doubles | None] = {}
        self._found_s: dict[int, float] = {}

    def add(self, faces: Faces) -> None:
        """Learn from the next frame.

        Args:
            faces: With `track_id` and the probabilities as the model gave them.
        """
        if self._stretch and not self._stretch[0] <= faces.time_s <= self._stretch[1]:
            return
        if faces.probs is None or faces.track_id is None:
            return
        for track_id, logs in zip(faces.track_id.tolist(), log_answers(faces.probs), strict=True):
            if track_id in self._people or track_id not in self._found:
                person = self._people.pop(track_id, None) or RestingFace(len(self._labels))
                person.add(logs, faces.time_s)
                self._people[track_id] = person
        while len(self._people) > MOST_PEOPLE:
            self._settle(next(iter(self._people)))

    def settle(self) -> None:
        """Work out everybody's bias for good; what is added later about people seen so far changes nothing."""
        for track_id in list(self._people):
            self._settle(track_id)

    def _settle(self, track_id: int) -> None:
        self._found[track_id] = self._bias_of(self._people.pop(track_id))

    def _bias_of(self, person: RestingFace) -> Doubles | None:
        named = self._stretch is not None
        if not named and self._labels.names[person.answer(named=False)] in NOT_AT_REST:
            return None
        return person.bias(self._typical, named=named)

    def bias(self, track_id: int, time_s: float) -> Doubles | None:
        """Return what is taken off a person's log probabilities, (C,), or None where nothing is known.

        Args:
            track_id: The person.
            time_s: Now; while people are added, their biases are worked out again every half second.
        """
        person = self._people.get(track_id)
        if person is not None and time_s - self._found_s.get(track_id, -np.inf) >= AGAIN_S:
            self._found[track_id], self._found_s[track_id] = self._bias_of(person), time_s
        return self._found.get(track_id)

    def __len__(self) -> int:
        """Return how many people were seen where a resting face is looked for."""
        return len(self._people.keys() | self._found.keys())

    def taken_out(self, faces: Faces) -> Faces:
        """Return the faces with everybody's bias taken out of the probabilities, and `baseline` that says how much.

        Args:
            faces: With `track_id` and probabilities as the model gave them.
        """
        if faces.probs is None or faces.track_id is None:
            return faces
        biases = [self.bias(track_id, faces.time_s) for track_id in faces.track_id.tolist()]
        sizes = np.array([np.nan if bias is None else np.abs(bias).max() for bias in biases], np.float32)
        probs = faces.probs.copy()
        for number, bias in enumerate(biases):
            if bias is not None:
                changed = probs[number] * np.exp(-bias)
                probs[number] = changed / changed.sum()
        return replace(faces, probs=probs, baseline=sizes)
