"""Sheets of crops: samples of a class, and copies beside one another."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.datasets.dataset import CropDataset
from mien.datasets.summary import NO_LABEL, DatasetSummary, present_classes
from mien.errors import InputError, shown
from mien.faces import CROP_PX
from mien.files import write_whole
from mien.output.encode import encode_image

GAP_PX = 2
PAPER = 255


def write_sheets(data: CropDataset, summary: DatasetSummary, folder: str | Path, *, seed: int = 0) -> list[Path]:
    """Write one PNG of sample crops per class.

    Args:
        data: The data set.
        summary: Its figures.
        folder: Where to; made if it is not there.
        seed: Seed of the choice.

    Returns:
        The files, one per class that has crops.

    Raises:
        OutputError: The folder cannot be written to.
    """
    written = []
    for name in present_classes(summary):
        path = Path(folder) / f"{name}.png"
        write_whole(path, encode_image(class_sheet(data, name, seed=seed)))
        written.append(path)
    return written


def class_sheet(data: CropDataset, name: str, *, columns: int = 12, rows: int = 6, seed: int = 0) -> NDArray[np.uint8]:
    """Return a sheet of crops of one class, drawn at random.

    Args:
        data: The data set.
        name: The class, in any wording, or `"unlabelled"`.
        columns: Crops per row.
        rows: Rows at most.
        seed: Seed of the choice.

    Returns:
        (H, W) uint8 gray.

    Raises:
        InputError: The data set has no such crop.
    """
    number = -1 if name == NO_LABEL else data.labels.index(name)
    found = np.flatnonzero(data.label == number)
    if not len(found):
        raise InputError(f"the data set has no crop of {shown(name)}; see its classes with: mien data info")
    chosen = np.random.default_rng(seed).permutation(found)[: columns * rows]
    return crop_grid(data.crops[np.sort(chosen)], columns=columns, scale=2)


def mean_crop(data: CropDataset, name: str) -> NDArray[np.uint8]:
    """Return the mean of the crops of one class.

    Args:
        data: The data set.
        name: The class; it must have a crop.

    Returns:
        (48, 48) uint8.
    """
    number = -1 if name == NO_LABEL else data.labels.index(name)
    return np.asarray(data.crops[data.label == number].mean(axis=0).round(), np.uint8)


def copies_sheet(
    data: CropDataset, groups: NDArray[np.int64], *, rows: int = 10, columns: int = 12
) -> NDArray[np.uint8] | None:
    """Return a sheet of the largest groups of copies, one group per row; None where there is no copy.

    Args:
        data: The data set.
        groups: (N,) int64, `exact` or `near` of `Duplicates`.
        rows: Groups at most.
        columns: Copies shown per group at most.

    Returns:
        (H, W) uint8 gray.
    """
    names, sizes = np.unique(groups, return_counts=True)
    largest = [i for i in np.argsort(-sizes, kind="stable")[:rows] if sizes[i] > 1]
    if not largest:
        return None
    columns = min(columns, int(sizes[largest[0]]))
    cells = np.full((len(largest), columns, CROP_PX, CROP_PX), PAPER, np.uint8)
    for row, i in enumerate(largest):
        members = np.flatnonzero(groups == names[i])[:columns]
        cells[row, : len(members)] = data.crops[members]
    return crop_grid(cells.reshape(-1, CROP_PX, CROP_PX), columns=columns)


def crop_grid(crops: NDArray[np.uint8], *, columns: int, scale: int = 1) -> NDArray[np.uint8]:
    """Lay crops out row by row on white paper.

    Args:
        crops: (N, 48, 48) uint8, N at least 1.
        columns: Crops per row.
        scale: How much larger to draw them.

    Returns:
        (H, W) uint8 gray.
    """
    cell = CROP_PX * scale + GAP_PX
    rows = -(-len(crops) // columns)
    sheet = np.full((rows * cell + GAP_PX, columns * cell + GAP_PX), PAPER, np.uint8)
    for i, crop in enumerate(crops):
        y, x = (GAP_PX + cell * place for place in divmod(i, columns))
        large = np.kron(crop, np.ones((scale, scale), np.uint8))
        sheet[y : y + CROP_PX * scale, x : x + CROP_PX * scale] = large
    return sheet
