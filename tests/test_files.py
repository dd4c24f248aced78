"""Files appear whole or not at all, and what the disk refuses is said with what to do."""

import errno
import os
import subprocess
import sys
import time

import pytest

from helpers import names_in
from mien.errors import InputError, OutputError
from mien.files import (
    ADVICE,
    PartFile,
    check_folder,
    check_not_source,
    ending_of,
    explained,
    whole_or_nothing,
    write_whole,
)


def fail_with(code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize(("content", "stored"), [(b"\0\xff", b"\0\xff"), ("größer\n", "größer\n".encode())])
def test_content_arrives_and_folders_are_made(tmp_path, content, stored):
    path = write_whole(tmp_path / "new" / "folder" / "file.bin", content)
    assert path == tmp_path / "new" / "folder" / "file.bin"
    assert path.read_bytes() == stored
    assert names_in(path.parent) == ["file.bin"]


def test_a_name_as_text_will_do(tmp_path):
    assert write_whole(f"{tmp_path}/x", "").read_bytes() == b""


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_content(tmp_path, monkeypatch, step):
    path = write_whole(tmp_path / "x.txt", "old")
    if step == "fsync":
        monkeypatch.setattr(os, "fsync", fail_with(errno.ENOSPC))
    else:
        monkeypatch.setattr(type(path), "replace", fail_with(errno.ENOSPC))
    with pytest.raises(OutputError, match=r"x\.txt: the disk is full; free some space"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["x.txt"]


def test_readers_see_the_old_or_the_new_while_writers_race(tmp_path):
    code = (
        "import sys; from mien.files import write_whole\n"
        "for _ in range(150): write_whole(sys.argv[1], sys.argv[2] * 200_000)"
    )
    path = write_whole(tmp_path / "x.txt", "a" * 200_000)
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), letter]) for letter in "ab"]
    seen, end = set(), time.monotonic() + 60
    while any(writer.poll() is None for writer in writers) and time.monotonic() < end:
        text = path.read_text()
        assert len(text) == 200_000
        assert len(set(text)) == 1
        seen.add(text[0])
    assert [writer.wait() for writer in writers] == [0, 0]
    assert seen == {"a", "b"}
    assert names_in(tmp_path) == ["x.txt"]


def test_a_link_stays_a_link(tmp_path):
    target = write_whole(tmp_path / "target.txt", "old")
    link = tmp_path / "link.txt"
    link.symlink_to(target)
    write_whole(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_what_is_no_file_is_not_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="it is not a file; give the name of one"):
        write_whole(tmp_path / "folder", "x")
    with pytest.raises(OutputError, match="part of the path is a file, not a folder"):
        write_whole(write_whole(tmp_path / "file", "x") / "below", "x")
    assert names_in(tmp_path) == ["file", "folder"]


def test_a_block_writes_a_file_or_a_folder(tmp_path):
    with whole_or_nothing(tmp_path / "new" / "file.txt") as part:
        assert part.parent == tmp_path / "new"
        part.write_text("content")
        assert not (tmp_path / "new" / "file.txt").exists()
    with whole_or_nothing(tmp_path / "folder") as part:
        part.mkdir()
        (part / "inside.txt").write_text("content")
    assert (tmp_path / "new" / "file.txt").read_text() == "content"
    assert (tmp_path / "folder" / "inside.txt").read_text() == "content"
    assert names_in(tmp_path) == ["folder", "new"]


@pytest.mark.parametrize("kind", ["file", "folder", "nothing"])
def test_a_block_that_fails_leaves_nothing(tmp_path, kind):
    with pytest.raises(KeyError), whole_or_nothing(tmp_path / "x") as part:
        if kind == "file":
            part.write_text("half")
        elif kind == "folder":
            part.mkdir()
            (part / "inside.txt").write_text("half")
        raise KeyError(kind)
    assert names_in(tmp_path) == []


def test_a_block_that_wrote_nothing_is_an_error(tmp_path):
    with pytest.raises(OutputError, match="cannot write"), whole_or_nothing(tmp_path / "x"):
        pass
    assert names_in(tmp_path) == []


def test_a_part_grows_hidden_and_takes_its_name_at_the_end(tmp_path):
    part = PartFile(tmp_path / "rows.csv")
    for row in (b"one\n", b"two\n"):
        with part.guarded() as file:
            file.write(row)
    assert [name[0] for name in names_in(tmp_path)] == ["."]
    part.commit()
    assert names_in(tmp_path) == ["rows.csv"]
    assert (tmp_path / "rows.csv").read_bytes() == b"one\ntwo\n"


def test_an_interrupted_row_is_taken_back(tmp_path):
    part = PartFile(tmp_path / "rows.csv")
    with part.guarded() as file:
        file.write(b"one\n")
    with pytest.raises(KeyboardInterrupt), part.guarded() as file:
        file.write(b"tw")
        raise KeyboardInterrupt
    with part.guarded() as file:
        file.write(b"three\n")
    part.commit()
    assert (tmp_path / "rows.csv").read_bytes() == b"one\nthree\n"


def test_a_part_that_is_given_up_leaves_nothing(tmp_path):
    part = PartFile(tmp_path / "rows.csv")
    with part.guarded() as file:
        file.write(b"one\n")
    part.discard()
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("code", ADVICE)
def test_every_known_reason_names_the_place_and_what_to_do(code):
    with pytest.raises(OutputError) as caught, explained("here.csv"):
        raise OSError(code, os.strerror(code))
    assert str(caught.value) == f"cannot write here.csv: {ADVICE[code]}"
    assert caught.value.__cause__.errno == code


def test_other_errors_of_the_disk_say_what_the_system_says():
    with (
        pytest.raises(OutputError, match=r"cannot write x: Input/output error; check the path and the disk"),
        explained("x"),
    ):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_what_is_no_error_of_the_disk_passes():
    with pytest.raises(ValueError, match="mine"), explained("x"):
        raise ValueError("mine")
    with pytest.raises(BrokenPipeError), explained("x"):
        raise BrokenPipeError


@pytest.mark.parametrize(("name", "came"), [("a.txt", ".txt"), ("folder.png/a", "no ending"), (".png", "no ending")])
def test_another_ending_is_refused_with_what_must_hold(name, came):
    assert ending_of("a.PNG", (".svg", ".png"), "a figure ends in .svg, .png") == ".png"
    with pytest.raises(InputError) as caught:
        ending_of(name, (".svg", ".png"), "a figure ends in .svg, .png")
    assert str(caught.value) == f"{name}: a figure ends in .svg, .png, got {came!r}; rename it"


def test_what_is_analysed_is_not_written_over(tmp_path):
    video, link = tmp_path / "video.mp4", tmp_path / "link.mp4"
    check_not_source(video, video)  # no file yet
    video.touch()
    link.symlink_to(video)
    for source in (video, str(video), link):
        with pytest.raises(InputError, match=r"video\.mp4 is the video that is analyzed; write to another file$"):
            check_not_source(video, source)
    with pytest.raises(InputError, match=r"is the image that is analyzed; write to a folder$"):
        check_not_source(video, link, kind="image", instead="a folder")
    for other in (tmp_path / "new.mp4", "rtsp://camera/1", "a\0b"):
        check_not_source(video, other)


def test_a_file_that_is_interrupted_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(PartFile, "commit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "x.txt", "half")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_made_and_tried(tmp_path):
    check_folder(tmp_path / "new" / "deep")
    assert list((tmp_path / "new" / "deep").iterdir()) == []
    (tmp_path / "file").write_text("")
    for wrong in ("file", "file/below"):
        with pytest.raises(OutputError, match="a file"):
            check_folder(tmp_path / wrong)


# Cells that spreadsheets would take for formulas.

TEXTS = [
    "=1+1",
    "+1 2",
    "-a.jpg",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "\uff1d1",
    "'=1",
    "''+a",
    "=",
    "-",
    "--5",
    "1-=",
    "'",
]
TEXTS += ["photo.jpg", "", "it's", "'quoted'", "-1.5", "+3e-7", "1", " =1", "a,b", 'a"b', "-1.5.jpg"]


@pytest.mark.parametrize("text", TEXTS)
def test_no_cell_is_a_formula_and_each_text_comes_back(text):
    import csv
    import io

    from mien.files import guarded_cells, plain_cell

    (cell,) = guarded_cells([text])
    assert not str(cell).startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d")) or float(str(cell)) is not None
    assert plain_cell(str(cell)) == text
    file = io.StringIO()
    csv.writer(file).writerow([cell, "x"])
    (row,) = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert [plain_cell(one) for one in row] == [text, "x"]


def test_numbers_and_empty_cells_stay_what_they_are():
    from mien.files import guarded_cells

    assert guarded_cells([-1.5, 3, None, True, "-2"]) == [-1.5, 3, None, True, "-2"]
