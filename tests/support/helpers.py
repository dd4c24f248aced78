"""The splits of FER2013 where there is a shared folder, the command line and what it wrote, waiting, ports."""

import csv
import json
import socket
import sys
import time
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.cli import main
from mien.datasets import PUBLIC_TEST, TRAINING, VOTE_COLUMNS, CropDataset

FILES = {TRAINING: "training", PUBLIC_TEST: "public_test"}


@cache
def fer2013_split(shared: Path, usage: str) -> CropDataset:
    """Read one split from its sheet of crops and its table."""
    folder = shared / "data" / "fer2013"
    with (folder / f"{FILES[usage]}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    sheet = cv2.imread(str(folder / f"{FILES[usage]}.webp"), cv2.IMREAD_GRAYSCALE)
    down, across = sheet.shape[0] // 48, sheet.shape[1] // 48
    crops = sheet.reshape(down, 48, across, 48).transpose(0, 2, 1, 3).reshape(-1, 48, 48)[: len(rows)]
    names = list(rows[0])[2:]
    assert len(names) == len(VOTE_COLUMNS)
    return CropDataset(
        np.ascontiguousarray(crops),
        np.array([int(row["emotion"]) for row in rows], np.int8),
        np.full(len(rows), usage),
        votes=np.array([[int(row[name]) for name in names] for row in rows], np.uint8),
    )


def public_test(shared: Path) -> CropDataset:
    """Return the 3,589 crops of PublicTest."""
    return fer2013_split(shared, PUBLIC_TEST)


def run_cli(monkeypatch, capsys):
    """Return a function that runs the command line in this process: (exit code, standard output, standard error)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["mien", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
            sys.exit(0)
        said = capsys.readouterr()
        return exit_.value.code or 0, said.out, said.err

    return run


def rows(text):
    """Return the rows of JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


def rows_in(path):
    """Return the rows of a `.jsonl` file."""
    return rows(path.read_text(encoding="utf-8"))


def table(path):
    """Return the rows of a CSV file, every value as text."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def names_in(folder):
    """Return the sorted names of what a folder holds."""
    return sorted(path.name for path in folder.iterdir())


def wait_for(condition, *, seconds=30):
    """Wait until a condition holds and return its value."""
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)
    return value


def free_port():
    """Return a TCP port of this machine that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
