"""A folder of photos with `people.csv`: crops as the default pipeline makes them, and groups of people."""

import csv
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.datasets._tables import LABEL_NAMES, PATH_NAMES, SPLIT_COLUMN_NAMES
from mien.datasets.dataset import ReadResult
from mien.datasets.folders import CropReader
from mien.datasets.read import read_photos
from mien.errors import InputError
from mien.files import plain_cell

PEOPLE_FILE = "people.csv"
AGE_BOUNDS = (18, 25, 35, 50)  # first year of each group but the youngest
Groups = dict[str, NDArray[np.str_]]
"""Attribute → (N,) str, the group of each crop; an empty text where it is not stated."""


def has_people(path: Path) -> bool:
    """Return whether a path is a folder of photos with a `people.csv` that names their expressions.

    Args:
        path: File or folder.
    """
    return os.path.isfile(path / PEOPLE_FILE)


def read_people(folder: Path, crop_of: CropReader) -> tuple[ReadResult, Groups]:
    """Read the photos that `people.csv` lists, a crop of each, and what else it says about the people on them.

    The file has a column of paths (`file`), one of labels (`expression`) and any others. These become groups, but for
    those whose name ends in `id`; a column of ages, whose name ends in `age`, becomes groups of ages.

    Args:
        folder: Holds the photos and `people.csv`.
        crop_of: Makes the crop, `mien.datasets.photos.LargestFace` say.

    Returns:
        What was read, photos without a face left out and listed; and the groups of its crops.

    Raises:
        InputError: The table cannot be read or lists a photo twice.
    """
    table = folder / PEOPLE_FILE
    result = read_photos(table, crop_of, skip_bad=True)
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = [
            {plain_cell(k or "").strip().lower(): plain_cell(v or "").strip() for k, v in row.items()}
            for row in csv.DictReader(file)
        ]
    path_at = next(name for name in PATH_NAMES if name in rows[0])
    by_path = {row[path_at]: row for row in rows}
    if len(by_path) < len(rows):
        raise InputError(f"{table} lists a photo twice; give each photo one row")
    names = [] if result.data.name is None else result.data.name.tolist()
    own = [name for name in rows[0] if name not in (*PATH_NAMES, *LABEL_NAMES, *SPLIT_COLUMN_NAMES)]
    return result, {
        name: np.array([_group(name, by_path[path.strip()][name]) for path in names])
        for name in own
        if name and not name.endswith("id")
    }


def _group(attribute: str, value: str) -> str:
    """Return the group that a value falls into."""
    if not attribute.endswith("age"):
        return value
    try:
        return age_group(float(value))
    except ValueError:
        return ""


def age_group(years: float) -> str:
    """Return the group of an age, `"25 to 34"` say.

    Args:
        years: The age.
    """
    bounds = (0, *AGE_BOUNDS)
    first = max(bound for bound in bounds if bound <= max(years, 0))
    if first == bounds[-1]:
        return f"{first} and older"
    return f"{first} to {bounds[bounds.index(first) + 1] - 1}"
