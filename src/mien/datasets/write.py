"""Writers: CSV, class folders, `.npz` and Parquet, each whole or not at all."""

import csv
from collections.abc import Callable
from itertools import chain, count
from pathlib import Path, PurePath

import numpy as np

from mien.datasets._arrays import write_npz
from mien.datasets._parquet import write_parquet
from mien.datasets._tables import row_name
from mien.datasets.dataset import (
    LEFT_OUT,
    PRIVATE_TEST,
    PUBLIC_TEST,
    TEST,
    TRAINING,
    UNSPLIT,
    VALIDATION,
    VOTE_COLUMNS,
    CropDataset,
)
from mien.datasets.folders import OFFICIAL_PREFIXES
from mien.datasets.votes import FERPLUS_NAME
from mien.errors import InputError, shown
from mien.files import guarded_cells, whole_or_nothing
from mien.labels import FER7, FERPLUS8, FIVE
from mien.output.encode import encode_image

FORMATS = {".csv": "csv", ".npz": "npz", ".parquet": "parquet", ".pq": "parquet", "": "folders"}
FOLDER_OF_SPLIT = {
    TRAINING: "train",
    VALIDATION: "validation",
    TEST: "test",
    PUBLIC_TEST: "public_test",
    PRIVATE_TEST: "private_test",
    UNSPLIT: "",
    LEFT_OUT: "left_out",
}


def write_dataset(data: CropDataset, path: str | Path) -> tuple[Path, ...]:
    """Write a data set in the format that the name asks for; `read_dataset` reads each of them back.

    Args:
        data: The data set.
        path: `….csv` for FER2013's columns (pixels alone where nothing is labelled), `….npz`, `….parquet`, or a new
            folder (no suffix) for `SPLIT/CLASS/NAME.png`. Votes go into the `.npz` and `.parquet`, and into a
            FER+ file otherwise: `fer2013.csv` brings `fer2013new.csv`, a folder holds it.

    Returns:
        What was written, the data set first.

    Raises:
        InputError: The format is unknown or cannot hold these labels, or the folder is not empty.
        OutputError: The place cannot be written to.
        MissingExtraError: `.parquet` without the extra `data`.
    """
    out = Path(path)
    check_target(out)
    write = WRITERS[FORMATS[out.suffix.lower()]]
    if write is _write_csv:
        _check_csv_can_hold(data, out)
    with whole_or_nothing(out) as part:
        write(data, part)
    if write is not _write_csv or data.votes is None:
        return (out,)
    votes_path = out.with_name(f"{out.stem}new.csv")
    with whole_or_nothing(votes_path) as part:
        _write_votes(data, [row_name(row) for row in range(len(data))], part)
    return out, votes_path


def check_target(path: Path) -> None:
    """Refuse a place that `write_dataset` cannot write to, before the work is done.

    Args:
        path: As for `write_dataset`.

    Raises:
        InputError: The format is unknown, or the folder is not empty.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"unknown format {shown(path.suffix)}; known: .csv, .npz, .parquet, or a folder (no suffix)")
    if kind == "folders" and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} exists and is not empty; choose a new folder")


def _check_csv_can_hold(data: CropDataset, out: Path) -> None:
    if data.labels not in (FER7, FIVE):
        what = "FER+ labels" if data.labels == FERPLUS8 else "your own classes"
        raise InputError(
            f"{out}: the numbers in a CSV mean FER2013's classes; write {what} as .npz, .parquet or folders"
        )
    if data.is_labelled.any() and not data.is_labelled.all():
        raise InputError(
            f"{out}: a CSV is labelled throughout or not at all; write partly labelled data as .npz or .parquet"
        )


def _write_csv(data: CropDataset, path: Path) -> None:
    labelled = bool(data.is_labelled.any())
    numbers = [str(value) for value in range(256)]
    with path.open("w", encoding="ascii", newline="") as file:
        file.write("emotion,pixels,Usage\n" if labelled else "pixels,Usage\n")
        for crop, label, usage in zip(data.crops, data.label.tolist(), data.usage.tolist(), strict=True):
            pixels = " ".join([numbers[value] for value in crop.tobytes()])
            file.write(f"{label},{pixels},{usage}\n" if labelled else f"{pixels},{usage}\n")


def _write_folders(data: CropDataset, root: Path) -> None:
    if not data.is_labelled.all():
        raise InputError("class folders need a label for every crop; write unlabelled data as .csv, .npz or .parquet")
    names = image_names(data)
    for name, crop, label, usage in zip(names, data.crops, data.label, data.usage.tolist(), strict=True):
        path = root / FOLDER_OF_SPLIT.get(usage, usage) / data.labels.names[label] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(crop))
    if data.votes is not None:
        _write_votes(data, names, root / "fer2013new.csv")


def image_names(data: CropDataset) -> list[str]:
    """Return one file name per crop, unique in its folder.

    That is FER+'s name where every crop has one; the image's own name where crops came from files; else one made from
    its number, also where votes are joined by name or a name would tell the split when read again.

    Args:
        data: The data set.
    """
    given = [] if data.name is None else [PurePath(name).with_suffix(".png").name for name in data.name.tolist()]
    if given and len(set(given)) == len(given) and all(FERPLUS_NAME.fullmatch(name) for name in given):
        return given
    if not given or data.votes is not None or any(name.startswith(tuple(OFFICIAL_PREFIXES)) for name in given):
        return [row_name(row) for row in range(len(data))]
    taken: set[tuple[str, int, str]] = set()
    return [
        _free_name(name, (usage, label), taken)
        for name, usage, label in zip(given, data.usage.tolist(), data.label.tolist(), strict=True)
    ]


def _free_name(name: str, folder: tuple[str, int], taken: set[tuple[str, int, str]]) -> str:
    """Return the name, or one with a number where the folder has it already, in whatever case."""
    tries = chain([name], (f"{PurePath(name).stem}-{number}.png" for number in count(2)))
    free = next(one for one in tries if (*folder, one.casefold()) not in taken)
    taken.add((*folder, free.casefold()))
    return free


def _write_votes(data: CropDataset, names: list[str], path: Path) -> None:
    votes = np.zeros((0, len(VOTE_COLUMNS))) if data.votes is None else data.votes
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["Usage", "Image name", *VOTE_COLUMNS])
        table.writerows(
            guarded_cells([u, n, *v]) for u, n, v in zip(data.usage.tolist(), names, votes.tolist(), strict=True)
        )


WRITERS: dict[str, Callable[[CropDataset, Path], None]] = {
    "csv": _write_csv,
    "folders": _write_folders,
    "npz": write_npz,
    "parquet": write_parquet,
}
