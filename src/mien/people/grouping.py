"""Which tracks are of one person: agglomerative clustering with average links.

Every track begins as a group of its own. The two groups whose faces are closest on average become one, again and again,
until none are closer than a threshold (Sokal & Michener 1958). Tracks that were seen at the same time are two people,
however alike they look, and so are groups that hold two such tracks.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.faces import Floats
from mien.people.embedding import SAME_DISTANCE, distances

GROUP_DISTANCE = SAME_DISTANCE  # average distance below which groups become one: docs/benchmarks.md


def group_tracks(
    embeddings: Sequence[Floats], *, apart: NDArray[np.bool_] | None = None, threshold: float = GROUP_DISTANCE
) -> NDArray[np.int64]:
    """Return the number of the person of each track, from 0 in the order of their first tracks.

    Args:
        embeddings: (k, 128) float32 for each of N tracks, its best crops; k may differ. Tracks without any stay alone.
        apart: (N, N) bool, which tracks cannot be of one person: those seen together.
        threshold: Average distance below which groups become one.

    Returns:
        (N,) int64.

    Raises:
        InputError: `apart` has another shape, or the threshold is not above 0.
    """
    count = len(embeddings)
    if not threshold > 0:
        raise InputError(f"threshold must be more than 0, got {threshold}; {GROUP_DISTANCE} is usual")
    if apart is not None and apart.shape != (count, count):
        raise InputError(f"apart must be ({count}, {count}) bool, one row and column per track, got {apart.shape}")
    links = average_distances(embeddings)
    if apart is not None:
        links[apart | apart.T] = np.inf
    np.fill_diagonal(links, np.inf)
    return _numbered(_merged(links, threshold))


def average_distances(embeddings: Sequence[Floats]) -> NDArray[np.float64]:
    """Return the average distance of the faces of each track to those of each other; infinite where one has none.

    Args:
        embeddings: (k, 128) float32 for each of N tracks.

    Returns:
        (N, N) float64.
    """
    count = len(embeddings)
    links = np.full((count, count), np.inf)
    known = [i for i, own in enumerate(embeddings) if len(own)]
    if not known:
        return links
    sizes = np.array([len(embeddings[i]) for i in known])
    every = np.concatenate([embeddings[i] for i in known])
    starts = np.cumsum(sizes) - sizes
    for i in known:
        sums = np.add.reduceat(distances(embeddings[i], every).sum(axis=0, dtype=np.float64), starts)
        links[i, known] = sums / (sizes * len(embeddings[i]))
    return links


def _merged(links: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    """Return the group of each track: the number of its first one."""
    groups, sizes = np.arange(len(links)), np.ones(len(links))
    while len(links):
        first, second = sorted(divmod(int(links.argmin()), len(links)))
        if not links[first, second] < threshold:
            break
        both = sizes[first] + sizes[second]
        line = (sizes[first] * links[first] + sizes[second] * links[second]) / both  # of Lance and Williams
        line[[first, second]] = np.inf
        links[first], links[:, first] = line, line
        links[second], links[:, second] = np.inf, np.inf
        sizes[first] = both
        groups[groups == second] = first
    return groups


def _numbered(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    order = {group: number for number, group in enumerate(dict.fromkeys(groups.tolist()))}
    return np.array([order[group] for group in groups.tolist()], np.int64)
