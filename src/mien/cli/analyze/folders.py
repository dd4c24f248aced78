"""Folders of results of `mien analyze`: one table over all inputs, and the tree of the sources kept."""

import glob
import os
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from mien.cli.console import say_written
from mien.output.kinds import FOLDER, kind_of
from mien.sources.addresses import URL
from mien.sources.images import STDIN, Item

ROWS, INTERVALS, SUMMARY = "rows.csv", "intervals.csv", "summary.csv"


def root_of(sources: Sequence[str]) -> Path | None:
    """Return the folder that all sources lie in, below which folders of results keep their tree.

    Args:
        sources: As given on the command line; URLs and standard input lie nowhere.

    Returns:
        The folder; None where they share none.
    """
    paths = [os.path.abspath(_folder_of(source)) for source in sources if source != STDIN and not URL.match(source)]
    try:
        return Path(os.path.commonpath(paths)) if paths else None
    except ValueError:  # two drives of Windows
        return None


def _folder_of(source: str) -> Path:
    path = Path(source).expanduser()
    if os.path.isdir(path):
        return path
    if glob.has_magic(source) and not os.path.exists(path):
        return Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
    return path.parent


def folders_among(outputs: Sequence[str]) -> list[Path]:
    """Return the outputs that are folders."""
    return [Path(output) for output in outputs if kind_of(output) is FOLDER]


def without_results(items: Sequence[Item], sources: Sequence[str], outputs: Sequence[str]) -> list[Item]:
    """Leave out what an earlier run put into a folder of results that lies in a folder of sources.

    Args:
        items: All that the sources hold.
        sources: As given on the command line.
        outputs: As given with `-o`.
    """
    given = [Path(os.path.abspath(_folder_of(source))) for source in sources]
    places = [Path(os.path.abspath(folder)) for folder in folders_among(outputs)]
    inner = [place for place in places if not any(one.is_relative_to(place) for one in given)]
    return [item for item in items if not (isinstance(item.origin, Path) and _is_below(item.origin, inner))]


def _is_below(path: Path, folders: Sequence[Path]) -> bool:
    whole = Path(os.path.abspath(path))
    return any(whole.is_relative_to(folder) for folder in folders)


def say_all_written(written: Sequence[Path], folders: Sequence[Path]) -> None:
    """Say what was written: of what lies in a folder of results, only the folder.

    Args:
        written: The files.
        folders: The folders of results.
    """
    for path in (*(path for path in written if path.parent not in folders), *folders):
        say_written(path)
