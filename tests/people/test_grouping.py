"""Tracks put together by their embeddings: points whose distances are known."""

import numpy as np
import pytest

from mien.errors import InputError
from mien.people import distances, group_tracks
from mien.people.grouping import average_distances


def points(*places):
    """Return a track's embeddings (k, 128) at these places on the first two axes."""
    track = np.zeros((len(places), 128), np.float32)
    track[:, :2] = np.reshape(places, (-1, 2))
    return track


def test_distances_are_euclidean():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 128)).astype(np.float32), rng.normal(size=(3, 128)).astype(np.float32)
    np.testing.assert_allclose(distances(a, b), np.linalg.norm(a[:, None] - b[None], axis=2), rtol=1e-4)
    assert (distances(a, a).diagonal() < 1e-2).all()


def test_the_average_is_over_all_crops_and_a_track_without_any_is_infinitely_far():
    links = average_distances([points((0, 0), (0, 2)), points((1, 0)), points()])
    assert links[0, 1] == pytest.approx((1 + 5**0.5) / 2, abs=1e-3)
    assert np.isinf(links[2]).all() and np.isinf(links[:, 2]).all()


def test_people_are_numbered_as_they_appear():
    tracks = [points((9, 0)), points((0, 0)), points((9.2, 0)), points((0.1, 0)), points()]
    assert group_tracks(tracks).tolist() == [0, 1, 0, 1, 2]
    assert group_tracks([]).tolist() == []


def test_tracks_seen_together_are_never_one_not_even_by_way_of_a_third():
    tracks = [points((0, 0)), points((0.1, 0)), points((0.2, 0))]
    apart = np.zeros((3, 3), bool)
    apart[0, 2] = True
    groups = group_tracks(tracks, apart=apart)
    assert groups[0] != groups[2]
    assert len(set(groups.tolist())) == 2


def test_the_link_is_the_average_and_not_the_nearest():
    chain = [points((0.4 * i, 0)) for i in range(6)]  # each is near the next, the ends are far apart
    groups = group_tracks(chain, threshold=0.5)
    assert 2 < len(set(groups.tolist())) < 6 and groups[0] != groups[-1]


def test_it_agrees_with_another_implementation():
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy")
    from scipy.spatial.distance import squareform

    rng = np.random.default_rng(3)
    tracks = [rng.normal(0, 0.06, (1, 128)).astype(np.float32) + (i % 7) * 0.05 for i in range(40)]
    links = average_distances(tracks)
    np.fill_diagonal(links, 0)
    wanted = hierarchy.fcluster(hierarchy.linkage(squareform(links, checks=False), "average"), 0.9, "distance")
    ours = group_tracks(tracks, threshold=0.9)
    assert 1 < len(set(ours.tolist())) < 40
    assert ((ours[:, None] == ours) == (wanted[:, None] == wanted)).all()


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="threshold must be more than 0, got 0"):
        group_tracks([points((0, 0))], threshold=0)
    with pytest.raises(InputError, match=r"apart must be \(1, 1\)"):
        group_tracks([points((0, 0))], apart=np.zeros((2, 2), bool))
