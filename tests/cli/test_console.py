"""What is printed: file names are never read as markup or as emoji."""

import pytest
from rich.table import Table

from mien.cli import console

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
