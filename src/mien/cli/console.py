"""The two consoles, the exit codes, and the small pieces that several commands print."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from mien.labels import COLOURS, EMOJI

DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130  # exit codes

PIPED_WIDTH = 140  # characters; rich would take 80 where it cannot ask a terminal

# Text is printed as it is: names of files, people and classes may hold what rich would read as markup or as an emoji.
out = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, markup=False, emoji=False, highlight=False)
errors = Console(stderr=True, markup=False, emoji=False, highlight=False)

LONG_WORD = re.compile(r"\S{201,}")
BLOCKS = " ▏▎▍▌▋▊▉█"


def for_people() -> Console:
    """Return where people read: standard output if it is a terminal."""
    return out if out.is_terminal else errors


def say(text: str, *, to: Console = errors, mark: str = "") -> None:
    """Print a line, which the terminal may wrap but mien does not.

    Args:
        text: The line.
        to: One of the two consoles.
        mark: What stands before the line; this is read as markup.
    """
    to.print(Text.from_markup(mark).append(text), soft_wrap=True)


def print_json(value: object) -> None:
    """Print a value as JSON on standard output; letters that its encoding lacks become JSON's own escapes."""
    sys.stdout.write(json.dumps(value, ensure_ascii=not takes_emoji(), indent=2) + "\n")


def say_written(path: str | Path, note: str = "") -> None:
    """Say that a file or folder was written.

    Args:
        path: The file or folder.
        note: What else is to be said of it.
    """
    say(f"wrote {path}{note}", to=for_people())


def say_error(error: object) -> None:
    """Print the error that ends a command."""
    say(shortened(str(error)), mark="[bold red]mien:[/] ")


def shortened(message: str) -> str:
    """Return a message in which no word, a name or a value that came, say, is longer than 200 characters."""
    return LONG_WORD.sub(lambda word: f"{word[0][:120]}…{word[0][-60:]}", message)


def say_failure(message: str) -> None:
    """Print why a source or a check failed while the command goes on."""
    say(shortened(message), mark="[bold red]✗[/] ")


def say_problem(message: str) -> None:
    """Print what is not as it should be while the result is there."""
    say(shortened(message), mark="[bold yellow]![/] ")


def bar(share: float, *, width: int = 12, colour: str = "cyan") -> Text:
    """Return a horizontal bar.

    Args:
        share: 0-1.
        width: Width of the full bar, characters.
        colour: A colour that rich knows.
    """
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return Text(("█" * full + (BLOCKS[rest] if rest else "")).ljust(width), style=colour)


def expression_text(name: str) -> Text:
    """Return an expression with its emoji, in its colour."""
    mark = f"{EMOJI.get(name, '·')} " if takes_emoji() else ""
    return Text(f"{mark}{name}", style=f"bold {colour(name)}")


def takes_emoji() -> bool:
    """Whether standard output has all characters."""
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")


def colour(name: str) -> str:
    """Return an expression's colour as rich wants it."""
    return "rgb({},{},{})".format(*COLOURS.get(name, (160, 160, 160)))


def megabytes(count: int) -> str:
    """Return a file size for people."""
    return f"{count / 1e6:.1f} MB"


def print_entry(name: Text, facts: Sequence[str], about: str) -> None:
    """Print one line of a table where the terminal is too narrow for a table, which would cut words.

    Args:
        name: What is to be typed.
        facts: What is told of it in a few words.
        about: A sentence, which stands below.
    """
    out.print(name.copy().append(f"  {', '.join(facts)}" if facts else "", "not bold"))
    out.print(Padding(Text(about, "dim"), (0, 0, 0, 2)))
