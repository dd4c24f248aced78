"""What the path of a result means."""

import pytest

from mien.errors import InputError
from mien.output import kinds, plots, sinks
from mien.output.kinds import FOLDER, IMAGE, OF_A_VIDEO, SUMMARY, TABLE, TIMELINE, VIDEO, kind_of


@pytest.mark.parametrize(
    ("path", "kinds_here", "expected"),
    [
        ("rows.csv", kinds.OF_IMAGES, TABLE),
        ("ROWS.JSONL", kinds.OF_IMAGES, TABLE),
        ("face.png", kinds.OF_IMAGES, IMAGE),
        ("face.png", OF_A_VIDEO, TIMELINE),
        ("sum.json", OF_A_VIDEO, SUMMARY),
        ("film.mkv", OF_A_VIDEO, VIDEO),
        ("out/", OF_A_VIDEO, FOLDER),
        ("rows.csv/", OF_A_VIDEO, FOLDER),
        ("out", OF_A_VIDEO, FOLDER),
    ],
)
def test_an_extension_decides(path, kinds_here, expected):
    assert kind_of(path, kinds_here) is expected


def test_a_folder_that_is_there_may_have_a_dot(tmp_path):
    (tmp_path / "day.1").mkdir()
    (tmp_path / "day.csv").mkdir()
    assert kind_of(tmp_path / "day.1") is FOLDER
    assert kind_of(tmp_path / "day.csv") is TABLE


def test_the_message_lists_what_is_known_for_the_case():
    with pytest.raises(
        InputError, match=r"unknown extension '\.xlsx'; known: \.jsonl, .*\.webm, or a folder \(dir/\)$"
    ):
        kind_of("x.xlsx", instead="do something else")
    with pytest.raises(InputError, match=r"'\.json' does not fit here; known: .*; use --summary$"):
        kind_of("x.json", instead="use --summary")
    with pytest.raises(InputError, match=r"x.gif: a timeline ends in \.png, .*, got '\.gif'; rename it"):
        TIMELINE.check("x.gif")


def test_every_extension_has_its_writer():
    assert set(sinks.SINKS) == {*TABLE.extensions, *IMAGE.extensions, *VIDEO.extensions}
    assert TIMELINE.extensions == (*plots.FORMATS, ".html")
