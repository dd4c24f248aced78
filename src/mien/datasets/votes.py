"""FER+ votes: what they say about crops, and how they are joined to them by row or by image name."""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from mien.datasets._tables import Table, row_name, with_table
from mien.datasets.dataset import USAGES, VOTE_COLUMNS, CropDataset
from mien.errors import InputError, shortened, shown
from mien.faces import Floats
from mien.labels import FERPLUS8

NAME_COLUMNS = ("image name", "name")
FERPLUS_NAME = re.compile(r"fer\d{7}\.\w+", re.IGNORECASE)


def ferplus_majority(votes: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Return the FER+ label of each crop by its authors' «majority» rule (Barsoum et al. 2016).

    Votes of one are dropped; the winner must hold more than half of what remains; «unknown» and «not a face» are no
    label.

    Args:
        votes: (N, 10) uint8.

    Returns:
        (N,) int8, index into `FERPLUS8`, or -1 where the crop is left out.
    """
    kept = _without_single_votes(votes)
    winner = kept.argmax(axis=1)
    clear = 2 * kept.max(axis=1) > kept.sum(axis=1)
    return np.where(clear & (winner < len(FERPLUS8)), winner, -1).astype(np.int8)


def ferplus_distribution(votes: NDArray[np.uint8]) -> Floats:
    """Return the distribution of the votes over the eight expressions, votes of one dropped.

    Args:
        votes: (N, 10) uint8.

    Returns:
        (N, 8) float32; rows sum to 1, or to 0 where no vote for an expression remains.
    """
    kept = _without_single_votes(votes)[:, : len(FERPLUS8)].astype(np.float32)
    distribution: Floats = kept / np.maximum(kept.sum(axis=1, keepdims=True), 1)
    return distribution


def is_face(votes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which crops the annotators took for a face with a nameable expression.

    Args:
        votes: (N, 10) uint8.

    Returns:
        (N,) bool: False where «unknown» or «not a face» has the most votes.
    """
    return np.asarray(votes.argmax(axis=1) < len(FERPLUS8))


def _without_single_votes(votes: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.where(votes > 1, votes, 0).astype(np.int64)


@dataclass(frozen=True)
class _Votes:
    """The rows of a FER+ file; a row without an image name («not a face») gets the name of its row number."""

    usage: list[str]
    name: list[str]
    votes: NDArray[np.uint8]


def _read_votes(votes_path: Path) -> _Votes:
    if not os.path.isfile(votes_path):
        raise InputError(f"no file {shortened(str(votes_path))}; give the path of the FER+ file fer2013new.csv")
    return with_table(votes_path, _parse_votes)


def _parse_votes(table: Table) -> _Votes:
    wanted = ("usage", *(name.lower() for name in VOTE_COLUMNS))
    missing = [name for name in wanted if name not in table.header]
    if missing:
        raise table.lacks(", ".join(missing))
    usage_at, *votes_at = (table.header.index(name) for name in wanted)
    name_at = table.column(NAME_COLUMNS)
    usage, names, votes = [], [], []
    for number, (line, fields) in enumerate(table.rows):
        try:
            row = [int(fields[at]) for at in votes_at]
            usage.append(fields[usage_at])
        except (IndexError, ValueError):
            row = [-1]
        if min(row) < 0 or max(row) > 10:
            raise InputError(
                f"{table.path}, line {line}: every vote must be a whole number from 0 to 10; mend the file"
            )
        votes.append(row)
        given = "" if name_at is None else fields[name_at].strip()
        names.append(given or row_name(number))
    return _Votes(usage, names, np.array(votes, np.uint8).reshape(-1, len(VOTE_COLUMNS)))


def read_ferplus_votes(path: str | Path, usage: NDArray[np.str_]) -> NDArray[np.uint8]:
    """Read the FER+ votes, one row per row of `fer2013.csv`.

    Args:
        path: `fer2013new.csv`.
        usage: (N,) split of each row of the FER2013 file, used to check that the files belong together.

    Returns:
        (N, 10) uint8, columns in the order of `VOTE_COLUMNS`.

    Raises:
        InputError: A column is missing, a row is malformed, or the rows are not those of the FER2013 file.
    """
    found = _read_votes(Path(path))
    if found.usage != usage.tolist():
        raise InputError(
            f"{path} has {len(found.usage)} rows and does not follow the {len(usage)} rows of the FER2013 file; "
            "give the two files of the same rows"
        )
    return found.votes


def join_votes(data: CropDataset, path: str | Path) -> tuple[CropDataset, tuple[str, ...]]:
    """Join FER+ votes to crops by image name.

    Rows of a CSV go by FER+'s name of their number (`fer0000042.png` is row 42), images by their file name. Crops
    that the FER+ file does not list get ten zeros: no vote.

    Args:
        data: Crops with names.
        path: `fer2013new.csv`.

    Returns:
        The data set with votes, and a note where some crops have none.

    Raises:
        InputError: The FER+ file is malformed, knows none of the crops, or puts one into another official split.
    """
    found = _read_votes(Path(path))
    row_of = {PurePath(name).stem.lower(): row for row, name in enumerate(found.name)}
    names = [] if data.name is None else [PurePath(name) for name in data.name.tolist()]
    rows = np.array([row_of.get(name.stem.lower(), -1) if FERPLUS_NAME.fullmatch(name.name) else -1 for name in names])
    if not len(rows) or (rows < 0).all():
        raise InputError(
            f"{path} names none of the {len(data):,} crops; votes join rows of fer2013.csv, or images named "
            f"as in FER+ ({row_name(0)}); the first crop is {shown(names[0].name if names else 'without a name')}"
        )
    for name, usage, row in zip(names, data.usage.tolist(), rows.tolist(), strict=True):
        if row >= 0 and usage in USAGES and found.usage[row] in USAGES and found.usage[row] != usage:
            raise InputError(
                f"{path} puts {name.name} into {found.usage[row]}, the data set into {usage}; "
                "give files that belong together"
            )
    votes = np.where(rows[:, None] >= 0, found.votes[rows], 0).astype(np.uint8)
    lacking = int((rows < 0).sum())
    return replace(data, votes=votes), (f"{lacking:,} crops have no FER+ votes",) if lacking else ()
