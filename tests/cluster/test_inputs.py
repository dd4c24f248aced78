"""What a user names becomes a stream of paths."""

import os
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mien.cluster.inputs import MISSING, kind_of_input, stream
from mien.errors import InputError
from mien.sources.images import expand


@pytest.fixture
def tree(tmp_path):
    for name in ("a.jpg", "b.PNG", "notes.txt", ".hidden.jpg", "sub/c.mp4", "sub/deep/d.webp", ".git/e.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def names(sources, base):
    return sorted(os.path.relpath(found.path, base) for found in stream(sources))


def test_folders_give_images_and_videos_but_no_hidden_files(tree):
    assert names(str(tree), tree) == ["a.jpg", "b.PNG", "sub/c.mp4", "sub/deep/d.webp"]
    assert names([tree / "sub", tree / "a.jpg"], tree) == ["a.jpg", "sub/c.mp4", "sub/deep/d.webp"]


@pytest.mark.parametrize("pattern", ["*.jpg", "**/*.webp", "sub/*", "s*", "**", "**/*"])
def test_globs_mean_what_they_mean_without_a_cluster(tree, pattern):
    from mien.cli.analyze.command import IMAGES_AND_VIDEOS

    whole = str(tree / pattern)
    assert sorted(found.path for found in stream(whole)) == sorted(
        item.name for item in expand(whole, kind=IMAGES_AND_VIDEOS)
    )


def test_the_tag_changes_when_the_file_does(tree):
    (before,) = stream(tree / "a.jpg")
    (tree / "a.jpg").write_bytes(b"other")
    (after,) = stream(tree / "a.jpg")
    assert before.path == after.path and before.tag != after.tag


def test_what_is_missing_is_an_input_which_will_say_so(tree):
    (found,) = stream(tree / "gone.jpg")
    assert found.tag == MISSING


def test_text_lists_are_relative_to_their_folder(tree):
    place = tree / "sub" / "list.txt"
    place.write_text("\ufeffc.mp4\n\n../a.jpg\r\nhttps://x.y/z.jpg\ns3://bucket/k.jpg\n", encoding="utf-8")
    found = list(stream(place))
    assert [one.path for one in found] == [
        str(tree / "sub" / "c.mp4"), str(tree / "a.jpg"), "https://x.y/z.jpg", "s3://bucket/k.jpg",
    ]  # fmt: skip
    assert found[0].tag != MISSING and found[3].tag == ""


def test_parquet_lists_may_bring_their_tags(tree):
    pq.write_table(pa.table({"path": ["a.jpg", "b.PNG"], "tag": ["v1", None], "x": [1, 2]}), tree / "l.parquet")
    first, second = stream(tree / "l.parquet")
    assert first.tag == "v1" and second.tag.startswith("1:")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("l.parquet", b"no parquet", "is no Parquet file"),
        ("l.txt", b"\xff\xfe\x00", "is not UTF-8 text"),
        ("other.parquet", None, "needs a column 'path', and has file"),
    ],
)
def test_a_list_that_is_none_says_so(tmp_path, name, content, says):
    if content is None:
        pq.write_table(pa.table({"file": ["a"]}), tmp_path / name)
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=says):
        list(stream(tmp_path / name))


@pytest.mark.parametrize("source", ["", "  ", "ftp://a.b/c.jpg", "missing.txt"])
def test_a_source_of_no_known_kind_says_so(source):
    with pytest.raises(InputError, match=r"empty name|cannot be read"):
        list(stream([source]))


def test_a_list_is_never_whole_in_memory(tmp_path):
    place = tmp_path / "list.txt"
    place.write_text("".join(f"https://a.b/{number:060d}.jpg\n" for number in range(100_000)))
    tracemalloc.start()
    count = sum(1 for _ in stream(place))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 100_000 and peak < 1 << 20


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("s3://b/x.MP4", "video"),
        ("s3://b/x.jpg", "image"),
        ("/a/b.mkv", "video"),
        ("/a/b.gif", "image"),
        ("https://a.b/c.jpg?d", "image"),
    ],
)
def test_kinds(path, kind):
    assert kind_of_input(path) == kind
