"""Data sets kept as arrays: `.npz` and Parquet."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.datasets.dataset import (
    PRIVATE_TEST,
    PUBLIC_TEST,
    TRAINING,
    UNLABELLED,
    UNSPLIT,
    VOTE_COLUMNS,
    BadRow,
    CropDataset,
    ReadResult,
    missing_classes,
    refuse_bad_rows,
)
from mien.errors import InputError, require_extra
from mien.faces import CROP_PX
from mien.labels import FER7, LabelSet, canonical_name, label_set

SPLIT_NUMBERS = np.array([TRAINING, PUBLIC_TEST, PRIVATE_TEST])
LABELS_KEY, LABEL_NAMES_KEY = b"mien.labels", b"mien.label_names"


def write_npz(data: CropDataset, path: Path) -> None:
    """Write crops, label, usage and what else there is, compressed.

    Args:
        data: The data set.
        path: Where to; written directly, not by way of a temporary name.
    """
    extra = {"votes": data.votes, "name": data.name}
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            crops=data.crops,
            label=data.label,
            usage=data.usage,
            labels=np.array(data.labels.key),
            label_names=np.array(data.labels.names),
            **{key: value for key, value in extra.items() if value is not None},  # type: ignore[arg-type]
        )


def read_npz(path: Path, labels: LabelSet | None) -> ReadResult:
    """Read an `.npz` with the arrays crops (or pixels) and, optionally, label, usage (or split), votes and name.

    Args:
        path: The file; pickled objects in it are refused.
        labels: The label set of the numbers; None takes the one named in the file, else FER2013's.

    Raises:
        InputError: Arrays are missing or do not fit together.
    """
    try:
        with path.open("rb") as file, np.load(file) as kept:
            arrays: dict[str, NDArray[Any]] = {key: kept[key] for key in kept.files}
        data = _from_arrays(arrays, labels)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (OSError, ValueError, IndexError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is no data set that mien wrote: {error}; write it again with: mien data convert"
        ) from error
    return ReadResult(data, "npz", notes=missing_classes(data))


def _from_arrays(arrays: Mapping[str, NDArray[Any]], labels: LabelSet | None) -> CropDataset:
    crops = arrays.get("crops", arrays.get("pixels"))
    if crops is None:
        raise InputError(f"it must hold an array crops, it has {', '.join(arrays) or 'nothing'}")
    key, names = str(arrays.get("labels", FER7.key)), arrays.get("label_names")
    named = label_set(key) if names is None else LabelSet(key, tuple(names.astype(str).tolist()))
    split = arrays.get("usage", arrays.get("split", np.full(len(crops), UNSPLIT)))
    return CropDataset(
        crops,
        np.asarray(arrays.get("label", np.full(len(crops), UNLABELLED))).astype(np.int8),
        SPLIT_NUMBERS[split] if np.issubdtype(split.dtype, np.integer) else split.astype(str),
        labels or named,
        votes=arrays.get("votes"),
        name=arrays.get("name"),
    )


def write_parquet(data: CropDataset, path: Path) -> None:
    """Write one row per crop: name, label (the expression's name), usage, pixels (2,304 bytes) and the votes.

    Args:
        data: The data set.
        path: Where to; written directly, not by way of a temporary name.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    arrow, parquet = require_extra("data", "pyarrow"), require_extra("data", "pyarrow.parquet")
    names = [data.labels.names[i] if i != UNLABELLED else None for i in data.label]
    columns = {
        "label": arrow.array(names, arrow.string()),
        "usage": arrow.array(data.usage.tolist(), arrow.string()),
        "pixels": arrow.array([crop.tobytes() for crop in data.crops], arrow.binary(CROP_PX * CROP_PX)),
    }
    if data.name is not None:
        columns = {"name": arrow.array(data.name.tolist(), arrow.string())} | columns
    if data.votes is not None:
        columns |= {name: arrow.array(data.votes[:, i]) for i, name in enumerate(VOTE_COLUMNS)}
    about = {LABELS_KEY: data.labels.key.encode(), LABEL_NAMES_KEY: json.dumps(data.labels.names).encode()}
    parquet.write_table(arrow.table(columns).replace_schema_metadata(about), path, compression="zstd")


def read_parquet(path: Path, labels: LabelSet | None, *, skip_bad: bool) -> ReadResult:
    """Read a Parquet table with the columns label, pixels and, optionally, usage, name and the votes.

    Args:
        path: The file.
        labels: The label set; None takes the one named in the file, else FER2013's.
        skip_bad: Leave malformed rows out instead of refusing the file.

    Raises:
        InputError: Columns are missing or rows are malformed; they are named by number, from 1.
        MissingExtraError: pyarrow is not installed.
    """
    arrow, parquet = require_extra("data", "pyarrow"), require_extra("data", "pyarrow.parquet")
    try:
        table = parquet.read_table(path)
    except (arrow.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is no Parquet file that can be read: {error}") from error
    if not {"label", "pixels"} <= set(table.column_names):
        raise InputError(f"{path} must have the columns label and pixels; it has {', '.join(table.column_names)}")
    chosen = labels or _labels_in(table.schema.metadata or {}, path)
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    label, reasons = _labels_of(columns["label"], chosen)
    crops = [_crop_of(value) for value in columns["pixels"]]
    for row, crop in enumerate(crops):
        if crop is None:
            reasons.setdefault(row, f"pixels must be {CROP_PX * CROP_PX} bytes")
    bad = [BadRow(f"row {row + 1}", reasons[row]) for row in sorted(reasons)]
    if not skip_bad:
        refuse_bad_rows(path, bad)
    kept = [row for row in range(len(crops)) if row not in reasons]
    if not kept:
        raise InputError(f"{path} has no usable rows; is the file complete?")
    data = CropDataset(
        np.stack([crop for row, crop in enumerate(crops) if row not in reasons and crop is not None]),
        label[kept],
        np.array(columns.get("usage", [UNSPLIT] * len(crops)))[kept],
        chosen,
        votes=_votes_of(columns, kept),
        name=np.array(columns["name"])[kept] if "name" in columns else None,
    )
    return ReadResult(data, "Parquet", tuple(bad), missing_classes(data))


def _labels_in(about: Mapping[bytes, bytes], path: Path) -> LabelSet:
    key = about.get(LABELS_KEY, FER7.key.encode()).decode()
    if LABEL_NAMES_KEY not in about:
        return label_set(key)
    try:
        return LabelSet(key, tuple(map(str, json.loads(about[LABEL_NAMES_KEY]))))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: its list of classes is malformed ({error}); write it again") from error


def _labels_of(values: list[Any], labels: LabelSet) -> tuple[NDArray[np.int8], dict[int, str]]:
    numbers: dict[Any, int] = {None: UNLABELLED} | {i: i for i in range(len(labels))}
    numbers |= {name: i for i, name in enumerate(labels.names)}
    found = [numbers.get(canonical_name(value) if isinstance(value, str) else value) for value in values]
    rule = f"the label must be one of {', '.join(labels.names)}"
    reasons = {row: f"{rule}, got {values[row]!r}" for row, number in enumerate(found) if number is None}
    return np.array([UNLABELLED if number is None else number for number in found], np.int8), reasons


def _crop_of(value: Any) -> NDArray[np.uint8] | None:
    if not isinstance(value, bytes) or len(value) != CROP_PX * CROP_PX:
        return None
    return np.frombuffer(value, np.uint8).reshape(CROP_PX, CROP_PX)


def _votes_of(columns: Mapping[str, list[Any]], kept: list[int]) -> NDArray[np.uint8] | None:
    if not set(VOTE_COLUMNS) <= set(columns):
        return None
    return np.array([columns[name] for name in VOTE_COLUMNS], np.uint8).T[kept]
