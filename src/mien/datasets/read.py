"""The reader that looks at a file and picks the right one of the others."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mien.datasets._arrays import read_npz
from mien.datasets._files import cached, content_digest
from mien.datasets._parquet import read_parquet
from mien.datasets._tables import (
    PATH_NAMES,
    Table,
    is_votes_header,
    listed_images,
    read_list_table,
    read_pixel_table,
    with_table,
)
from mien.datasets.dataset import USAGES, CropDataset, ReadResult
from mien.datasets.folders import CropReader, list_folders, list_images, read_folders
from mien.datasets.votes import join_votes, read_ferplus_votes
from mien.errors import InputError, shortened
from mien.labels import FER7, LabelSet, label_set, named_labels


def read_dataset(
    path: str | Path,
    *,
    votes_path: str | Path | None = None,
    labels: LabelSet | str | None = None,
    skip_bad: bool = False,
    cache: bool = True,
) -> ReadResult:
    """Read a data set of any known format; the format is found by looking at the file.

    Known are `fer2013.csv` (emotion, pixels, Usage), the challenge's `train.csv` and unlabelled `test.csv`, the
    five-class `ferdata.csv`, a list CSV (path, label), class folders in the usual layouts (names, or the numbers of
    FER2013 and RAF-DB), the `.npz` that `write_dataset` makes, and Parquet: mien's own, pandas' copy of a CSV, and
    Hugging Face's files, one or a folder of them. What took long to parse is kept beside the source and used again
    while the content is the same.

    Args:
        path: File or folder.
        votes_path: FER+'s `fer2013new.csv`, joined by image name (Barsoum et al. 2016).
        labels: Label set of the data: one of its own, the key of a known one, or class names between commas, in the
            order of the numbers in a CSV. None decides by looking, and says so in the notes; classes that mien has no
            name for are taken as they are where none of them has one, and a mixture is refused.
        skip_bad: Leave malformed rows and images out, listed in the result, instead of refusing the whole.
        cache: Whether to keep and use the parsed copy.

    Raises:
        InputError: The file is of no known format or malformed; bad rows are named by number.
        MissingExtraError: A `.parquet` file without the extra `data`.
    """
    source, asked = _existing(path), _asked(labels)
    with _readable(source):
        result = _read_source(source, asked, skip_bad=skip_bad, cache=cache)
    if votes_path is None:
        return result
    data, notes = join_votes(result.data, votes_path)
    return replace(result, data=data, notes=(*result.notes, *notes))


def read_photos(
    path: str | Path, crop_of: CropReader, *, labels: LabelSet | str | None = None, skip_bad: bool = False
) -> ReadResult:
    """Read class folders or a list CSV of photos, and make a crop of each.

    Args:
        path: The folder, or the CSV (path, label).
        crop_of: Makes the crop, `mien.datasets.photos.LargestFace` say.
        labels: As for `read_dataset`.
        skip_bad: Leave photos without a crop out, listed in the result, instead of refusing the whole.

    Raises:
        InputError: It is neither of the two, or photos gave no crop; they are named.
    """
    source, asked = _existing(path), _asked(labels)
    with _readable(source):
        if source.is_dir():
            return read_folders(source, asked, skip_bad=skip_bad, crop_of=crop_of)
        if not _is_list(source):
            raise InputError(f"{source} must be a folder or a CSV with the columns path and label to hold photos")
        return read_list_table(source, asked, skip_bad=skip_bad, crop_of=crop_of)


def _is_list(source: Path) -> bool:
    with source.open("rb") as file:
        if b"\0" in file.read(512):
            return False
    header = with_table(source, lambda table: table.header)
    return "pixels" not in header and bool(set(PATH_NAMES) & set(header))


def _existing(path: str | Path) -> Path:
    source = Path(path)
    if not os.path.exists(source):
        raise InputError(f"no file or folder {shortened(str(source))}; give the path of a data set")
    return source


@contextmanager
def _readable(source: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror or error}") from error


def _asked(labels: LabelSet | str | None) -> LabelSet | None:
    if not isinstance(labels, str):
        return labels
    return named_labels(labels.split(",")) if "," in labels else label_set(labels)


def _read_source(source: Path, labels: LabelSet | None, *, skip_bad: bool, cache: bool) -> ReadResult:
    options = f"{f'{labels.key}:' + ','.join(labels.names) if labels else 'any'}-{skip_bad}"
    if source.is_dir():
        if (tables := sorted(source.rglob("*.parquet"))) and not list_images(source):
            return read_parquet(tables, source, labels, skip_bad=skip_bad)
        paths = [*list_folders(source), *list_images(source)]
        return _parsed(source, paths, options, cache, lambda: read_folders(source, labels, skip_bad=skip_bad))
    with source.open("rb") as file:
        magic = file.read(4)
    if magic == b"PAR1":
        return read_parquet([source], source, labels, skip_bad=skip_bad)
    if magic == b"PK\3\4":
        return read_npz(source, labels)
    if b"\0" in magic:
        raise InputError(f"{source} is no data set; known are CSV, class folders, .npz and .parquet")
    return _read_table(source, labels, options, skip_bad=skip_bad, cache=cache)


def _read_table(source: Path, labels: LabelSet | None, options: str, *, skip_bad: bool, cache: bool) -> ReadResult:
    header = with_table(source, lambda table: table.header)
    if "pixels" in header:
        return _parsed(source, [source], options, cache, lambda: read_pixel_table(source, labels, skip_bad=skip_bad))
    if is_votes_header(header):
        raise InputError(
            f"{source} holds FER+ votes, no images; give fer2013.csv and this file as votes_path (--votes)"
        )
    if not set(PATH_NAMES) & set(header):
        raise Table(source, header, iter(())).lacks("pixels (or path and label)")
    paths = [source, *listed_images(source)]
    return _parsed(source, paths, options, cache, lambda: read_list_table(source, labels, skip_bad=skip_bad))


def _parsed(source: Path, paths: list[Path], options: str, cache: bool, parse: Callable[[], ReadResult]) -> ReadResult:
    if not cache:
        return parse()
    return cached(source, f"{options}-{content_digest(source.parent, paths)}", parse)


def read_fer2013(csv_path: str | Path, *, votes_path: str | Path | None = None, cache: bool = True) -> CropDataset:
    """Read Kaggle's `fer2013.csv` and, where given, the FER+ votes of the same rows.

    The parsed crops are kept in an `.npz` file beside the CSV and used again while the CSV's content is the same.

    Args:
        csv_path: File with the columns emotion, pixels and Usage (Goodfellow et al. 2013).
        votes_path: `fer2013new.csv` with ten vote columns, one row per row of `csv_path` (Barsoum et al. 2016).
        cache: Whether to keep and use the parsed copy.

    Returns:
        All rows in file order.

    Raises:
        InputError: A column is missing, a row is malformed (its number is named) or the two files do not match.
    """
    path = Path(csv_path)
    if not os.path.isfile(path):
        raise InputError(f"no file {shortened(str(path))}; give the path of Kaggle's fer2013.csv")
    with_table(path, _check_official)
    data = _read_source(path, None, skip_bad=False, cache=cache).data
    if data.labels != FER7 or not set(data.usage.tolist()) <= set(USAGES):
        data = read_pixel_table(path, FER7, skip_bad=False, usages=USAGES).data
    return data if votes_path is None else replace(data, votes=read_ferplus_votes(votes_path, data.usage))


def _check_official(table: Table) -> None:
    missing = [name for name in ("emotion", "pixels", "Usage") if name.lower() not in table.header]
    if missing:
        raise table.lacks(", ".join(missing))
