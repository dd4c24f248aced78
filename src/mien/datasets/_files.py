"""Parsed copies of data sets that last as long as the content of their source."""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from mien.datasets.dataset import BadRow, CropDataset, ReadResult
from mien.files import whole_or_nothing
from mien.labels import LabelSet

CACHE_VERSION = 4


def content_digest(root: Path, paths: Iterable[Path]) -> str:
    """Return a SHA-256 of the names and contents of files; of a folder, its name.

    Args:
        root: Names are taken relative to this folder.
        paths: Files and folders, in a fixed order.
    """
    total = hashlib.sha256()
    for path in paths:
        total.update(f"{os.path.relpath(path, root)}\0".encode("utf-8", "surrogateescape"))
        if path.is_file():
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def cached(source: Path, key: str, parse: Callable[[], ReadResult]) -> ReadResult:
    """Return the parsed copy of a source, or parse it and keep a copy beside it.

    Args:
        source: The data set's file or folder; the copy is `.NAME.mien-cache.npz` in the same folder.
        key: Digest of the content and of everything else that decides the result.
        parse: Reads the source.
    """
    cache_path = source.absolute().with_name(f".{source.absolute().name}.mien-cache.npz")
    wanted = f"{CACHE_VERSION}-{key}"
    try:
        return _load(cache_path, wanted)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # no copy yet, one of other content, or one that an older version or an interrupted run left
    result = parse()
    _keep(cache_path, wanted, result)
    return result


def _load(cache_path: Path, wanted: str) -> ReadResult:
    with cache_path.open("rb") as file, np.load(file) as kept:
        if str(kept["key"]) != wanted:
            raise KeyError(wanted)
        about = json.loads(str(kept["about"]))
        labels = LabelSet(about["labels"], tuple(about["label_names"]))
        data = CropDataset(kept["crops"], kept["label"], kept["usage"], labels, name=kept["name"])
    return ReadResult(data, about["format"], tuple(BadRow(*row) for row in about["bad"]), tuple(about["notes"]))


def _keep(cache_path: Path, wanted: str, result: ReadResult) -> None:
    data = result.data
    about = {
        "labels": data.labels.key,
        "label_names": data.labels.names,
        "format": result.format,
        "bad": [[row.where, row.reason] for row in result.bad],
        "notes": result.notes,
    }
    arrays = {"crops": data.crops, "label": data.label, "usage": data.usage, "name": data.name}
    try:
        with whole_or_nothing(cache_path) as part, part.open("wb") as file:
            np.savez(file, key=np.array(wanted), about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]
    except OSError:
        pass  # a read-only folder: go on without a copy
