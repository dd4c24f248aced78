"""What is printed: file names are never read as markup or as emoji."""

import numpy as np
import pytest
from conftest import EXAMPLES
from rich.table import Table

import mien
from mien.cli import console
from mien.cli.analyze.images import TerminalSink
from mien.faces import Frame

NAME = "a[x][/y][red]:smile:.csv"


@pytest.mark.parametrize("name", ["out", "errors"])
def test_brackets_are_printed_as_they_are(name, capsys):
    to = getattr(console, name)
    for write in (to.print, lambda text: console.say(text, to=to, mark="[bold]![/] ")):
        write(NAME)
    table = Table(NAME, title=NAME)
    table.add_row(NAME)
    to.print(table)
    printed = capsys.readouterr()
    assert (printed.out + printed.err).count(NAME) == 5


def test_what_was_written_is_named_in_one_way(capsys):
    console.say_written(NAME, " (1 MB)")
    assert capsys.readouterr().err == f"wrote {NAME} (1 MB)\n"


def test_every_estimate_that_was_asked_for_is_printed(capsys):
    faces = mien.analyze_image(EXAMPLES / "astronaut.jpg")
    guessed = {"age_estimate": np.array([31], np.float32), "gender_estimate": np.array([0.25], np.float32)}
    faces = faces.with_attributes(guessed, [""])
    with TerminalSink() as sink:
        sink.write(Frame(np.zeros((8, 8, 3), np.uint8), source="a.jpg"), faces)
    assert "age_estimate 31 · gender_estimate 0.25" in capsys.readouterr().out
