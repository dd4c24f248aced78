"""The label sets of the field, mapped to one another by name, with an emoji and a colour per expression."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, check_known, listed, shown
from mien.files import storable

EMOJI = {
    "angry": "😠",
    "disgust": "🤢",
    "fear": "😨",
    "happy": "😄",
    "sad": "😢",
    "surprise": "😮",
    "neutral": "😐",
    "contempt": "😏",
}

COLOURS = {  # RGB; chosen to stay apart in gray print and for red-green blindness
    "angry": (213, 62, 41),
    "disgust": (124, 148, 40),
    "fear": (124, 92, 178),
    "happy": (245, 184, 32),
    "sad": (52, 112, 186),
    "surprise": (236, 122, 36),
    "neutral": (138, 143, 150),
    "contempt": (168, 74, 118),
}

SYNONYMS = {
    "anger": "angry",
    "angriness": "angry",
    "mad": "angry",
    "disgusted": "disgust",
    "disgusting": "disgust",
    "fearful": "fear",
    "afraid": "fear",
    "scared": "fear",
    "frightened": "fear",
    "happiness": "happy",
    "joy": "happy",
    "joyful": "happy",
    "smile": "happy",
    "smiling": "happy",
    "sadness": "sad",
    "unhappy": "sad",
    "surprised": "surprise",
    "suprise": "surprise",
    "surprising": "surprise",
    "neutrality": "neutral",
    "calm": "neutral",
    "normal": "neutral",
    "contemptuous": "contempt",
}


def canonical_name(name: str) -> str:
    """Return mien's name for an expression, whatever its case or wording (`"Happiness"` gives `"happy"`).

    Args:
        name: A class name as found in a data set or a model.

    Returns:
        The name used throughout mien; unknown names come back lower-cased and stripped.
    """
    key = storable(name).strip().lower()
    return SYNONYMS.get(key, key)


@dataclass(frozen=True)
class LabelSet:
    """An ordered set of expression names.

    Attributes:
        key: The name by which users pick the set, `"fer2013"` say.
        names: Expression names in the order of the probability columns.
    """

    key: str
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that there is at least one name and none twice."""
        if not self.names or len(set(self.names)) != len(self.names):
            raise InputError(f"a label set needs distinct names, got {shown(self.names)}; remove the repeated ones")

    def __len__(self) -> int:
        """Return the number of expressions."""
        return len(self.names)

    def index(self, name: str) -> int:
        """Return the column of an expression.

        Args:
            name: The expression; synonyms and any case are understood.

        Raises:
            InputError: The set has no such expression; the message lists those it has.
        """
        wanted = canonical_name(name)
        if wanted not in self.names:
            raise InputError(f"label set {shown(self.key)} has no {shown(name)}; it has {listed(self.names)}")
        return self.names.index(wanted)

    def columns_for(self, other: "LabelSet") -> NDArray[np.int64]:
        """Return, for each expression of `other`, its column in this set, or -1 where this set lacks it.

        Args:
            other: The label set to map to.

        Returns:
            (len(other),) int64.
        """
        return np.array([self.names.index(n) if n in self.names else -1 for n in other.names], dtype=np.int64)


FER7 = LabelSet("fer2013", ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"))
FERPLUS8 = LabelSet("ferplus", ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt"))
FIVE = LabelSet("five", ("angry", "happy", "sad", "surprise", "neutral"))

COMBINED8 = LabelSet("combined", (*FER7.names, "contempt"))  # one answer from the heads of the two sets of FER2013

LABEL_SETS = {labels.key: labels for labels in (FER7, FERPLUS8, FIVE, COMBINED8)}
OWN = "own"  # key of label sets that people make from their own class names


def label_set(key: str) -> LabelSet:
    """Return a label set by its key.

    Args:
        key: `"fer2013"`, `"ferplus"`, `"five"` or `"combined"`.

    Raises:
        InputError: No such set; the message lists the known ones.
    """
    check_known("label set", key, LABEL_SETS)
    return LABEL_SETS[key]


def named_labels(names: Sequence[str], *, key: str = OWN) -> LabelSet:
    """Return the label set with some names: the known one where there is one, else one of its own.

    Args:
        names: Names in order, in any case or wording.
        key: The key of a set that is none of the known ones.

    Raises:
        InputError: There is no name, an empty one, or one twice.
    """
    given = tuple(canonical_name(name) for name in names)
    if not all(given):
        raise InputError(f"label names must not be empty, got {listed(map(repr, names))}; name every class")
    return next((known for known in LABEL_SETS.values() if known.names == given), LabelSet(key, given))


def convert_probs(probs: NDArray[np.float32], source: LabelSet, target: LabelSet) -> NDArray[np.float32]:
    """Carry probabilities from one label set to another by name and renormalise them.

    An expression that only the target knows gets 0; one that only the source knows is left out.

    Args:
        probs: (N, len(source)) float32, rows sum to 1.
        source: The label set of the columns that came.
        target: The label set of the columns wanted.

    Returns:
        (N, len(target)) float32, rows sum to 1 (uniform where nothing in common had any mass).
    """
    columns = source.columns_for(target)
    picked = np.where(columns >= 0, probs[:, np.maximum(columns, 0)], 0.0)
    mass = picked.sum(axis=1, keepdims=True)
    uniform = np.full_like(picked, 1.0 / len(target))
    converted: NDArray[np.float32] = np.where(mass > 1e-8, picked / np.maximum(mass, 1e-8), uniform).astype(np.float32)
    return converted
