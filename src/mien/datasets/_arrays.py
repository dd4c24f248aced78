"""Data sets kept as NumPy's arrays: `.npz`."""

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
    CropDataset,
    ReadResult,
    label_set_of_names,
    missing_classes,
)
from mien.errors import InputError, listed
from mien.faces import CROP_PX
from mien.labels import FER7, LabelSet, canonical_name, label_set

SPLIT_NUMBERS = np.array([TRAINING, PUBLIC_TEST, PRIVATE_TEST])


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
    """Read an `.npz` with crops (or pixels) and, optionally, label, usage (or split, or set), votes and name.

    Labels are numbers, or names of expressions. Of crops larger than 48x48, which have a margin, the middle is taken.

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
        raise InputError(f"it must hold an array crops, it has {listed(arrays) or 'nothing'}")
    label = np.asarray(arrays.get("label", np.full(len(crops), UNLABELLED)))
    chosen = labels or _labels_of_npz(arrays, label)
    splits = (arrays[key] for key in ("usage", "split", "set") if key in arrays)
    split = next(splits, np.full(len(crops), UNSPLIT))
    return CropDataset(
        _without_margin(crops),
        _numbered(label, chosen) if label.dtype.kind == "U" else label.astype(np.int8),
        SPLIT_NUMBERS[split] if np.issubdtype(split.dtype, np.integer) else split.astype(str),
        chosen,
        votes=arrays.get("votes"),
        name=arrays.get("name"),
    )


def _labels_of_npz(arrays: Mapping[str, NDArray[Any]], label: NDArray[Any]) -> LabelSet:
    if "labels" not in arrays and label.dtype.kind == "U":
        return label_set_of_names({canonical_name(name) for name in label.tolist()} - {""}, where="the array label")
    key, names = str(arrays.get("labels", FER7.key)), arrays.get("label_names")
    return label_set(key) if names is None else LabelSet(key, tuple(names.astype(str).tolist()))


def _numbered(label: NDArray[np.str_], labels: LabelSet) -> NDArray[np.int8]:
    """Return the numbers of labels that are names; an empty name is no label."""
    names, number = np.unique(label, return_inverse=True)
    found = [UNLABELLED if not name else labels.index(name) for name in names.tolist()]
    return np.array(found, np.int8)[number]


def _without_margin(crops: NDArray[Any]) -> NDArray[Any]:
    """Return the middle 48x48 of crops that have an even margin all around; others as they came."""
    if crops.ndim != 3 or crops.shape[1] != crops.shape[2] or crops.shape[1] <= CROP_PX or crops.shape[1] % 2:
        return crops
    margin = (crops.shape[1] - CROP_PX) // 2
    return np.ascontiguousarray(crops[:, margin:-margin, margin:-margin])
