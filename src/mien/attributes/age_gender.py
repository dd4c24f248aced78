"""Age and gender as a network guesses them from a picture: never the truth about a person.

Two networks of Cydral Technology for dlib (dnn_age_ex.cpp, dnn_gender_ex.cpp; weights CC0): a ResNet of 10 layers that
gives a probability for each year from 0 to 80, and a small one for two classes. Their crops are dlib's: 64 and 32
pixels with a margin of 0.2. docs/people.md says how far they are off, by group.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.detect.chips import face_chips
from mien.faces import ATTRIBUTES, Faces, Floats
from mien.models.runtime import RuntimeSettings, open_weights

GUESSED = ("age", "gender")
SIDE_PX = {"age": 64, "gender": 32}
PADDING = 0.2
MEAN, SCALE = np.array([122.782, 117.001, 104.298], np.float32), np.float32(256)
LEAST_PX = 24.0  # shorter side of a box from which there is a guess
BABY_YEARS = 0.25  # what the first class stands for, as in dlib's example
SAID = {  # docs/people.md, «Age and gender»
    "age": "age_estimate is a guess from a picture: for 101 people of 18 to 54 it was off by 4.8 years on average, "
    "more for the young, whom it takes for older; children and older people were not measured: docs/people.md",
    "gender": "gender_estimate is a guess from a picture, 0 male to 1 female, two words that do not fit everybody, and "
    "nobody's gender: Grace Hopper in her uniform gets 0.02: docs/people.md",
}


@dataclass(frozen=True)
class Guesses:
    """What the networks say.

    Attributes:
        values: (N,) float32 per column, NaN where there is no guess.
        notes: N texts: why there is none.
    """

    values: dict[str, Floats]
    notes: tuple[str, ...]


class AgeGender:
    """Guesses ages and genders. Safe to call from several threads at once.

    Attributes:
        names: What is guessed, of `GUESSED`.
    """

    def __init__(self, names: Sequence[str] = GUESSED, *, runtime: RuntimeSettings | None = None) -> None:
        """Open the networks.

        Args:
            names: What is guessed.
            runtime: Device, threads and memory.

        Raises:
            MissingWeightsError: A network was not pulled yet; the message gives the line to type.
        """
        self.names = tuple(name for name in GUESSED if name in names)
        self._sessions = {name: open_weights(name, runtime or RuntimeSettings()) for name in self.names}

    def guess(self, image: NDArray[np.uint8], faces: Faces) -> Guesses:
        """Return `age_estimate` in years and `gender_estimate`, 0 (male) to 1 (female), of every face.

        Args:
            image: (H, W, 3) uint8 RGB.
            faces: N faces of that image.
        """
        large = (faces.xyxy[:, 2:] - faces.xyxy[:, :2]).min(axis=1, initial=np.inf) >= LEAST_PX
        some = faces[np.flatnonzero(large)]
        values: dict[str, Floats] = {}
        for name in self.names:
            (column,) = ATTRIBUTES[name]
            values[column] = np.full(len(faces), np.nan, np.float32)
            if len(some):
                values[column][large] = _estimate(name, self._run(name, image, some))
        small = f"{', '.join(self.names)}: face smaller than {LEAST_PX:.0f} px"
        return Guesses(values, tuple("" if enough else small for enough in large.tolist()))

    def _run(self, name: str, image: NDArray[np.uint8], faces: Faces) -> Floats:
        chips = face_chips(image, faces, SIDE_PX[name], padding=PADDING)
        planes = np.ascontiguousarray(((chips.astype(np.float32) - MEAN) / SCALE).transpose(0, 3, 1, 2))
        session = self._sessions[name]
        told: Floats = session.run(None, {session.get_inputs()[0].name: planes})[0]
        return told


def _estimate(name: str, probs: Floats) -> Floats:
    """Return the mean of the ages (N, 81), or the probability of the class female (N, 2)."""
    if name == "gender":
        return probs[:, 0]
    years = np.arange(probs.shape[1], dtype=np.float32)
    years[0] = BABY_YEARS
    return probs @ years
