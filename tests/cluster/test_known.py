"""Which inputs are done, by hashes in sorted arrays."""

import numpy as np
import pytest

from mien.cluster.known import ENTRY, KnownInputs, entries_of, name_in_rows


def test_finds_what_was_added_and_nothing_else():
    known, rng = KnownInputs(), np.random.default_rng(7)
    names = [f"/photos/{number}.jpg" for number in range(5000)]
    tags = [str(number % 7) for number in range(5000)]
    for at in np.split(np.arange(5000), np.sort(rng.choice(5000, 40, replace=False))):
        known.add(entries_of([names[i] for i in at], [tags[i] for i in at], part=3))
    there, kept = known.find(entries_of(names, tags))
    assert there.all() and len(known) == 5000
    assert (kept["tag"] == entries_of(names, tags)["tag"]).all() and (kept["part"] == 3).all()
    assert not known.find(entries_of([f"/other/{number}.jpg" for number in range(5000)], tags))[0].any()


def test_one_that_is_added_again_is_replaced():
    known = KnownInputs()
    known.add(entries_of(["a", "b", "c"], ["1", "1", "1"], part=0))
    known.add(entries_of(["b"], ["2"], part=9))
    _, kept = known.find(entries_of(["a", "b"], ["", ""]))
    assert kept["part"].tolist() == [0, 9]
    known.add(entries_of(["d", "e", "f", "g"], [""] * 4, part=1))  # merges the levels
    _, kept = known.find(entries_of(["a", "b"], ["", ""]))
    assert kept["part"].tolist() == [0, 9] and len(known) == 7


def test_two_paths_that_share_half_of_their_hash_are_two():
    entries = np.zeros(3, ENTRY)
    entries["high"], entries["low"], entries["part"] = 5, [1, 2, 3], [10, 20, 30]
    known = KnownInputs()
    known.add(entries[:2])
    there, kept = known.find(entries)
    assert there.tolist() == [True, True, False] and kept["part"][:2].tolist() == [10, 20]


def test_nothing_is_known_of_nothing():
    known = KnownInputs()
    known.add(entries_of([], []))
    assert len(known) == 0 and known.find(entries_of(["a"], [""]))[0].tolist() == [False]


@pytest.mark.parametrize(
    ("path", "name"), [("https://me:secret@a.b/c.jpg", "https://a.b/c.jpg"), ("/a\udcff.jpg", "/a\\udcff.jpg")]
)
def test_the_hash_is_that_of_what_rows_say(path, name):
    assert name_in_rows(path) == name
    assert entries_of([path], [""])["low"] == entries_of([name], [""])["low"]


def test_a_million_paths_need_forty_bytes_each():
    known = KnownInputs()
    for start in range(0, 100_000, 4096):
        some = [str(number) for number in range(start, start + 4096)]
        known.add(entries_of(some, [""] * len(some)))
    assert len(known._levels) <= 18
    assert sum(keys.nbytes + entries.nbytes for keys, entries in known._levels) / len(known) < 40
