"""Splits: stratified, k-fold, checked for leaks, and kept in a file."""

import csv
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.datasets._tables import Table, with_table
from mien.datasets.dataset import LEFT_OUT, TEST, TRAINING, VALIDATION, CropDataset
from mien.datasets.duplicates import copies_across
from mien.errors import InputError, listed, require_extra, shortened, shown
from mien.files import guarded_cells, whole_or_nothing

DEFAULT_SHARES = {TRAINING: 0.8, VALIDATION: 0.1, TEST: 0.1}
COLUMNS = ("row", "name", "split")


def stratified_split(
    data: CropDataset,
    *,
    shares: Mapping[str, float] = DEFAULT_SHARES,
    seed: int = 0,
    groups: NDArray[np.int64] | None = None,
) -> NDArray[np.str_]:
    """Deal crops to splits so that each has the same mix of expressions.

    Args:
        data: A labelled data set.
        shares: The share of each split, adding up to 1.
        seed: Seed of the shuffle.
        groups: (N,) int64, crops with the same number stay together (`Duplicates.near`, say); None deals one by one.

    Returns:
        (N,) str, the split of each crop.

    Raises:
        InputError: Shares do not add up, a crop has no label, or a class is too small.
        MissingExtraError: scikit-learn is not installed.
    """
    selection = require_extra("train", "sklearn.model_selection")
    if min(shares.values(), default=0) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise InputError(f"shares must be above 0 and add up to 1, got {listed(shares.values())}")
    units, unit_of, label = _units(data, groups, least=len(shares))
    dealt = np.full(len(units), next(iter(shares)), dtype=object)
    rest = np.arange(len(units))
    for name, share in list(shares.items())[:0:-1]:
        try:
            rest, taken = selection.train_test_split(
                rest, test_size=round(share * len(units)), random_state=seed, stratify=label[rest]
            )
        except ValueError as error:
            raise InputError(f"{len(units):,} different crops are too few for these shares: {error}") from error
        dealt[taken] = name
    return dealt[unit_of].astype(str)


def k_fold_split(
    data: CropDataset, *, folds: int = 5, seed: int = 0, groups: NDArray[np.int64] | None = None
) -> NDArray[np.str_]:
    """Deal crops to folds with the same mix of expressions.

    Args:
        data: A labelled data set.
        folds: Number of folds, at least 2.
        seed: Seed of the shuffle.
        groups: (N,) int64, crops with the same number stay together; None deals one by one.

    Returns:
        (N,) str, `"Fold1"` to `"FoldK"`; `use_fold` turns them into Training and Validation.

    Raises:
        InputError: Too few folds, a crop has no label, or a class is too small.
        MissingExtraError: scikit-learn is not installed.
    """
    selection = require_extra("train", "sklearn.model_selection")
    if folds < 2:
        raise InputError(f"folds must be at least 2, got {folds}")
    units, unit_of, label = _units(data, groups, least=folds)
    dealt = np.empty(len(units), dtype=object)
    dealer = selection.StratifiedKFold(folds, shuffle=True, random_state=seed)
    for number, (_, held_out) in enumerate(dealer.split(units, label), start=1):
        dealt[held_out] = f"Fold{number}"
    return dealt[unit_of].astype(str)


def _units(
    data: CropDataset, groups: NDArray[np.int64] | None, *, least: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int8]]:
    """Return what is dealt as one: first crop of each unit, the unit of each crop, the label of each unit."""
    if not data.is_labelled.all():
        missing = int((~data.is_labelled).sum())
        raise InputError(f"a stratified split needs a label for every crop, {missing:,} of {len(data):,} have none")
    _, units, unit_of = np.unique(
        np.arange(len(data)) if groups is None else groups, return_index=True, return_inverse=True
    )
    label = data.label[units]
    for number, count in enumerate(np.bincount(label, minlength=len(data.labels))):
        if 0 < count < least:
            name = data.labels.names[number]
            raise InputError(
                f"every class needs at least {least} different crops, {name} has {count}; add some or split less"
            )
    return units, unit_of, label


def use_fold(split: NDArray[np.str_], fold: int) -> NDArray[np.str_]:
    """Turn folds into Training and Validation.

    Args:
        split: (N,) str of `k_fold_split`.
        fold: The fold that validates, from 1.

    Raises:
        InputError: There is no such fold.
    """
    chosen = f"Fold{fold}"
    if chosen not in split:
        present = ", ".join(sorted(set(split.tolist())))
        raise InputError(f"the split has no {chosen}; it has {present}")
    held_out = np.where(np.char.startswith(split, "Fold"), TRAINING, split)
    return np.where(split == chosen, VALIDATION, held_out)


def check_leaks(split: NDArray[np.str_], groups: NDArray[np.int64]) -> None:
    """Refuse a split in which crops of one part have copies in another.

    Args:
        split: (N,) str; crops in LeftOut do not count.
        groups: (N,) int64, `exact` or `near` of `Duplicates`.

    Raises:
        InputError: There are leaks; the message counts them and says what to do.
    """
    used = split != LEFT_OUT
    leaks = {pair: n for pair, n in copies_across(groups[used], split[used]).items() if n}
    if not leaks:
        return
    listed = "; ".join(
        f"{a} and {b} share images ({leaks[b, a]:,} and {n:,} crops)" for (a, b), n in leaks.items() if a < b
    )
    raise InputError(
        f"the split leaks: {listed}; keep copies together, leave those of Training out (--drop-leaks), "
        "or accept them (--allow-leaks)"
    )


def drop_leaks(split: NDArray[np.str_], groups: NDArray[np.int64]) -> NDArray[np.str_]:
    """Leave out crops that have a copy in a later split, so that test splits stay whole and comparable.

    Args:
        split: (N,) str; splits count in the order Training, others, in which they first occur.
        groups: (N,) int64, `exact` or `near` of `Duplicates`.

    Returns:
        (N,) str with LeftOut for the crops dropped.
    """
    names = sorted(dict.fromkeys(split.tolist()), key=lambda name: name != TRAINING)
    result = split.astype(object)
    for place, name in enumerate(names):
        later = np.isin(split, names[place + 1 :])
        result[(split == name) & np.isin(groups, groups[later])] = LEFT_OUT
    return result.astype(str)


def write_split(path: str | Path, data: CropDataset, split: NDArray[np.str_]) -> Path:
    """Write a split as a CSV of row, name, split.

    Args:
        path: The file.
        data: The data set; `row` counts its crops from 0.
        split: (N,) str.

    Raises:
        OutputError: The place cannot be written to.
    """
    names = [""] * len(data) if data.name is None else data.name.tolist()
    with whole_or_nothing(Path(path)) as part, part.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        rows = zip(range(len(data)), names, split.tolist(), strict=True)
        table.writerows(guarded_cells(row) for row in rows)
    return Path(path)


def with_split(data: CropDataset, path: str | Path, *, fold: int | None = None) -> CropDataset:
    """Return a data set with the split of a file; crops in LeftOut are gone.

    Args:
        data: The data set that the split was made of, read the same way.
        path: What `write_split` wrote.
        fold: For folds, the one that validates, from 1.

    Raises:
        InputError: The file is not of these crops, or holds folds and `fold` does not pick one.
    """
    if not os.path.isfile(path):
        raise InputError(f"no split file {shortened(str(path))}; make one with: mien data split")
    split = with_table(Path(path), lambda table: _parse_split(table, data))
    if fold is not None:
        split = use_fold(split, fold)
    elif np.char.startswith(split, "Fold").any():
        raise InputError(f"{path} holds folds; say which one validates with fold (--fold 1)")
    result = replace(data, usage=split)
    return result.where(split != LEFT_OUT)


def _parse_split(table: Table, data: CropDataset) -> NDArray[np.str_]:
    if tuple(table.header) != COLUMNS:
        raise table.lacks(", ".join(COLUMNS))
    names = None if data.name is None else data.name.tolist()
    split = []
    for number, (line, fields) in enumerate(table.rows):
        if len(fields) != len(COLUMNS) or fields[0] != str(number) or not fields[2]:
            raise InputError(
                f"{table.path}, line {line}: must be row {number}, a name and a split; write the file again"
            )
        if names is not None and fields[1] and (number >= len(names) or names[number] != fields[1]):
            raise InputError(
                f"{table.path}, line {line}: crop {shown(fields[1])} is not row {number} of this data set; "
                "read the data it was made of"
            )
        split.append(fields[2])
    if len(split) != len(data):
        raise InputError(
            f"{table.path} splits {len(split):,} crops, the data set has {len(data):,}; read the data it was made of"
        )
    return np.array(split)
