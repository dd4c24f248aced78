"""Which inputs are done: millions of paths as 128-bit hashes in sorted arrays, 37 bytes each.

The arrays are levels as in a log-structured tree: what is new becomes a small sorted array, and the last two are merged
while the older is less than twice as long as the newer. So adding costs little, finding goes through a dozen arrays at
most, and a million paths need 37 MB.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mien.files import storable
from mien.sources.addresses import is_http, without_login

ENTRY = np.dtype([("high", "<u8"), ("low", "<u8"), ("tag", "<u8"), ("part", "<u4"), ("failed", "?")])
NO_PART = 0xFFFFFFFF  # of an input that this run took on

Entries = NDArray[np.void]


def name_in_rows(path: str) -> str:
    """Return what rows call an input: without a password, and as text that every file can hold."""
    return storable(without_login(path) if is_http(path) else path)


def entries_of(paths: Sequence[str], tags: Sequence[str], *, part: int = NO_PART) -> Entries:
    """Return what is kept of inputs.

    Args:
        paths: N paths.
        tags: N tags of their content.
        part: The part that holds their rows.

    Returns:
        (N,) of `ENTRY`, in the same order.
    """
    found = np.zeros(len(paths), ENTRY)
    if len(paths):
        digests = b"".join(hashlib.blake2b(name_in_rows(path).encode(), digest_size=16).digest() for path in paths)
        numbers = np.frombuffer(digests, "<u8").reshape(-1, 2)
        found["high"], found["low"] = numbers[:, 0], numbers[:, 1]
        marks = b"".join(hashlib.blake2b(tag.encode(), digest_size=8).digest() for tag in tags)
        found["tag"] = np.frombuffer(marks, "<u8")
    found["part"] = part
    return found


class KnownInputs:
    """Inputs by the hashes of their paths."""

    def __init__(self) -> None:
        """Start empty."""
        self._levels: list[tuple[NDArray[np.uint64], Entries]] = []  # the key apart: a search needs it in one piece

    def __len__(self) -> int:
        """Return how many there are."""
        return sum(len(entries) for _, entries in self._levels)

    def add(self, entries: Entries) -> None:
        """Add inputs; one that is there is replaced.

        Args:
            entries: (N,) of `ENTRY`.
        """
        if not len(entries):
            return
        self._levels.append(_sorted(entries))
        while len(self._levels) > 1 and len(self._levels[-2][0]) < 2 * len(self._levels[-1][0]):
            newer, older = self._levels.pop(), self._levels.pop()
            self._levels.append(_sorted(np.concatenate([older[1], newer[1]])))

    def find(self, entries: Entries) -> tuple[NDArray[np.bool_], Entries]:
        """Look inputs up.

        Args:
            entries: (N,) of `ENTRY`.

        Returns:
            (N,) bool, which are there; (N,) of `ENTRY`, what is kept of these, without meaning for the others.
        """
        there, kept = np.zeros(len(entries), bool), np.zeros(len(entries), ENTRY)
        for keys, level in self._levels:
            at = np.searchsorted(keys, entries["high"])
            asked = np.flatnonzero(at < len(keys))
            asked = asked[keys[at[asked]] == entries["high"][asked]]
            for _ in range(len(keys)):  # twice only where two paths share the half of a hash
                found = level["low"][at[asked]] == entries["low"][asked]
                there[asked[found]] = True
                kept[asked[found]] = level[at[asked[found]]]
                asked = asked[~found]
                at[asked] += 1
                asked = asked[at[asked] < len(keys)]
                asked = asked[keys[at[asked]] == entries["high"][asked]]
                if not len(asked):
                    break
        return there, kept


def _sorted(entries: Entries) -> tuple[NDArray[np.uint64], Entries]:
    """Return entries by key, the last one where there are several of an input."""
    ordered = entries[np.lexsort((entries["low"], entries["high"]))]
    last = np.ones(len(ordered), bool)
    last[:-1] = (ordered["high"][1:] != ordered["high"][:-1]) | (ordered["low"][1:] != ordered["low"][:-1])
    ordered = ordered[last]
    return np.ascontiguousarray(ordered["high"]), ordered
