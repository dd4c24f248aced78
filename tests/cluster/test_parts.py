"""Parts of the data set: whole or not at all, and each input in one of them."""

import numpy as np
import pandas
import pyarrow.parquet as pq
import pytest

from clusters import Stub
from mien.cluster.known import entries_of
from mien.cluster.parts import PartSink, check_home, name_of, open_home, scan, without
from mien.cluster.places import Store
from mien.errors import InputError, OutputError
from mien.output.base import SinkSettings
from mien.sources.images import Item

SETTINGS = SinkSettings(Stub().labels, tracked=True)


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "out"))


def put(store, *paths, tag="1"):
    sink = PartSink(SETTINGS)
    for frame, faces in Stub().map_items([Item(path, path) for path in paths]):
        sink.write(frame, faces)
    entries = entries_of(paths, [tag] * len(paths))
    name = name_of("image", entries)
    store.write(name, sink.content(entries))
    return name


def held(store):
    return sorted(pandas.read_parquet(store.root)["source"])


def test_a_part_names_its_inputs(store):
    name = put(store, "a.jpg", "b.jpg")
    found = scan(store)
    there, kept = found.known.find(entries_of(["a.jpg", "b.jpg", "c.jpg"], ["1", "1", "1"]))
    assert found.names == [name] and there.tolist() == [True, True, False]
    assert (kept["tag"][:2] == entries_of(["a.jpg"], ["1"])["tag"]).all()


def test_the_same_inputs_make_the_same_file(store):
    assert put(store, "a.jpg", "b.jpg") == put(store, "a.jpg", "b.jpg") != put(store, "a.jpg", "b.jpg", tag="2")


def test_parts_that_overlap_become_one_and_the_rest_is_missing_again(store):
    put(store, "a.jpg", "b.jpg")
    put(store, "b.jpg", "c.jpg")
    found = scan(store)
    assert found.removed == 1 and len(held(store)) == 2
    there, _ = found.known.find(entries_of(["a.jpg", "b.jpg", "c.jpg"], [""] * 3))
    assert there.sum() == 2 and there[1]


@pytest.mark.parametrize("keep", [0, 4, 100])
def test_a_damaged_part_is_removed(store, tmp_path, keep):
    good, bad = put(store, "a.jpg"), put(store, "b.jpg")
    path = tmp_path / "out" / bad
    path.write_bytes(path.read_bytes()[:keep])
    assert scan(store).removed == 1 and scan(store).names == [good]


def test_files_of_something_else_are_left_alone(store, tmp_path):
    put(store, "a.jpg")
    other = tmp_path / "out" / "mine.parquet"
    pq.write_table(pq.read_table(tmp_path / "out" / put(store, "b.jpg")).replace_schema_metadata(None), other)
    with pytest.raises(InputError, match=r"mine\.parquet is no result of mien"):
        scan(store)
    assert other.exists()


def test_inputs_can_be_taken_out(store):
    before = put(store, "a.jpg", "b.jpg", "c.jpg")
    name = without(store, before, entries_of(["b.jpg"], [""]))
    assert held(store) == ["a.jpg", "c.jpg"] and store.names(".parquet") == [name] != [before]
    there, _ = scan(store).known.find(entries_of(["a.jpg", "b.jpg", "c.jpg"], [""] * 3))
    assert there.tolist() == [True, False, True]
    assert without(store, name, entries_of(["a.jpg", "c.jpg"], ["", ""])) is None
    assert store.names(".parquet") == []


def test_the_columns_are_those_of_videos_with_all_types_and_none_lost(store):
    from mien.output.rows import table_columns

    sink = PartSink(SETTINGS)
    sink.fail("x.jpg", "x.jpg is broken")
    entries = entries_of(["x.jpg"], [""])
    store.write(name_of("image", entries), sink.content(entries))
    put(store, "a.jpg")
    table = pandas.read_parquet(store.root)
    assert list(table.columns) == [*table_columns(SETTINGS.labels, tracked=True), "kind"]
    assert set(table["error"].dropna()) == {"x.jpg is broken"} and sink.failed == {"x.jpg"}
    assert table["x1"].dtype == np.float64


def test_a_file_appears_whole_or_not_at_all(store, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="the disk is full"):
        store.write("kind=image/part-x.parquet", b"content")
    assert list((tmp_path / "out" / "kind=image").iterdir()) == []


def test_other_settings_are_refused_and_named(store):
    open_home(store, "one", {"model": "a", "labels": "b"})
    open_home(store, "two", {"model": "a", "labels": "b"})
    with pytest.raises(InputError, match="labels was b and is c; give what that run had"):
        open_home(store, "three", {"model": "a", "labels": "c"})


def test_the_newest_run_has_it(store):
    open_home(store, "one", {})
    check_home(store, "one")
    open_home(store, "two", {})
    with pytest.raises(OutputError, match="another run writes into"):
        check_home(store, "one")
