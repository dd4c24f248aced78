"""The folder of a run: what it was begun with, and whether another call may go on with it or replace it."""

import importlib.metadata
import json
import platform
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only

from mien._version import __version__
from mien.datasets.dataset import CropDataset
from mien.errors import InputError, OutputError, listed
from mien.files import write_whole
from mien.train.callbacks import BEST, LAST
from mien.train.checkpoints import load_settings
from mien.train.hardware import Hardware, device_of, precision_of
from mien.train.settings import TrainSettings, settings_to_json

SETTINGS, RUN = "settings.json", "run.json"
PACKAGES = ("torch", "lightning", "kornia", "numpy")
MAY_CHANGE = ("epochs", "patience")  # on resuming: a longer or shorter run is a wish, anything else a mistake


def open_folder(
    out: Path, settings: TrainSettings, record: dict[str, Any], *, resume: bool, overwrite: bool
) -> Path | None:
    """Return the checkpoint to go on from, or None for a new run, whose settings and record are written.

    Args:
        out: Folder of the run.
        settings: The run's settings.
        record: What `run_record` returned.
        resume: Whether to go on with the run in the folder.
        overwrite: Whether to start anew where it holds another run.

    Raises:
        InputError: The folder holds a run that may not be touched, another run than this one, or none to go on with.
        OutputError: It cannot be written to.
    """
    last = out / LAST
    if resume:
        _check_resumable(out, settings, record)
        if last.is_file():
            return last
    elif (last.exists() or (out / BEST).exists()) and not overwrite and is_first_process():
        raise InputError(
            f"{out} holds a run already; go on with it (--resume), replace it (--overwrite) or choose another"
        )
    if is_first_process():
        _start_folder(out, settings, record)
    return None


def is_first_process() -> bool:
    """Return whether this process is the one of a run that writes and speaks; the others were started by Lightning."""
    return getattr(rank_zero_only, "rank", 0) == 0


def _start_folder(out: Path, settings: TrainSettings, record: dict[str, Any]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in (LAST, BEST):
            (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {out} ({error.strerror}); choose another folder with --out") from error
    write_whole(out / SETTINGS, settings_to_json(settings))
    write_whole(out / RUN, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def _check_resumable(out: Path, settings: TrainSettings, record: dict[str, Any]) -> None:
    if not (out / LAST).is_file() and not (out / SETTINGS).is_file():
        raise InputError(f"nothing to resume: {out} holds no run; start without --resume")
    if (out / LAST).is_file():
        begun = load_settings(out / LAST)
        same = replace(begun, **{name: getattr(settings, name) for name in MAY_CHANGE})
        if same != settings:
            ours, theirs = asdict(settings), asdict(begun)
            changed = [name for name in ours if ours[name] != theirs[name] and name not in MAY_CHANGE]
            raise InputError(f"{out} was begun with other settings ({listed(changed)}); resume it with its own")
    if (out / RUN).is_file():
        begun_with = json.loads((out / RUN).read_text(encoding="utf-8"))["data"]
        if begun_with != record["data"]:
            raise InputError(f"{out} was begun with other data; resume it with the same files, or start a new run")


def has_stopped_early(last: Path, settings: TrainSettings) -> bool:
    """Return whether a run has ended before its last epoch, because no epoch was better for `settings.patience` epochs.

    Args:
        last: The checkpoint to go on from.
        settings: The run's settings.
    """
    states = torch.load(last, map_location="cpu", weights_only=True).get("callbacks", {})
    waited = [s.get("wait_count", 0) for name, s in states.items() if name.startswith("EarlyStopping")]
    return bool(settings.patience and waited and waited[0] >= settings.patience)


def run_record(
    training: CropDataset,
    validation: CropDataset,
    settings: TrainSettings,
    hardware: Hardware,
    *,
    unlabelled: CropDataset | None = None,
) -> dict[str, Any]:
    """Return what `run.json` says of a run: data hashes, versions, hardware.

    Args:
        training: What it trains on.
        validation: What it validates on.
        settings: The run's settings.
        hardware: Where and how it computes.
        unlabelled: What else it trains on, by its teachers' answers.
    """
    parts = {"training": training, "validation": validation} | ({"unlabelled": unlabelled} if unlabelled else {})
    return {
        "mien": __version__,
        "net": settings.net,
        "seed": settings.seed,
        "data": {name: _describe(data) for name, data in parts.items()},
        "hardware": {
            **asdict(hardware),
            "device": device_of(hardware),
            "precision": precision_of(hardware),
            "machine": platform.machine(),
        },
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
    }


def _describe(data: CropDataset) -> dict[str, Any]:
    counts = {name: int((data.label == number).sum()) for number, name in enumerate(data.labels.names)}
    return {
        "sha256": data.digest(), "crops": len(data), "splits": list(data.splits()), "labels": data.labels.key,
        "classes": counts, "votes": data.votes is not None,
    }  # fmt: skip
