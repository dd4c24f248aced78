"""Measures relative to a track's own median: people's faces differ at rest, so one face is its own measure."""

import math
from collections.abc import Mapping

import numpy as np

from mien.faces import RELATIVE_TO, WITH_RELATIVE, Faces, Floats
from mien.video.track_measures import Histogram


class OwnMedians:
    """The median of each of `WITH_RELATIVE` for every track; with people, for every person."""

    def __init__(self, people: Mapping[int, str | None] | None = None) -> None:
        """Start empty.

        Args:
            people: Who each track is, where that is known: the tracks of one person have medians in common.
        """
        self._people = people or {}
        self._values: dict[tuple[str | int, str], Histogram] = {}
        self._medians: dict[tuple[str | int, str], float] = {}

    def add(self, faces: Faces) -> None:
        """Take the faces of a frame, with their `track_id` and what was measured."""
        for who, column, values in self._of(faces):
            for key, value in zip(who, values.tolist(), strict=True):
                if math.isfinite(value):
                    if (key, column) not in self._values:
                        self._values[key, column] = Histogram(column)
                    self._values[key, column].add(value)

    def settle(self) -> None:
        """Take the medians; nothing is added any more."""
        self._medians = {key: values.median() for key, values in self._values.items()}
        self._values = {}

    def applied(self, faces: Faces) -> Faces:
        """Return the same faces with the relative columns beside the others; NaN where a value is."""
        relative = {}
        for who, column, values in self._of(faces):
            medians = np.array([self._medians.get((key, column), math.nan) for key in who], np.float32)
            relative[RELATIVE_TO + column] = values - medians
        return faces.with_attributes(relative, ("",) * len(faces)) if relative else faces

    def _of(self, faces: Faces) -> list[tuple[list[str | int], str, Floats]]:
        """Return who each face is, for each column that faces have, and its values."""
        if faces.track_id is None or not faces.attributes:
            return []
        who: list[str | int] = [self._people.get(track) or track for track in faces.track_id.tolist()]
        return [(who, column, faces.attributes[column]) for column in WITH_RELATIVE if column in faces.attributes]
