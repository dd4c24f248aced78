"""Checks of model files whose path the user gives."""

from pathlib import Path

from mien.errors import InputError


def given_file(path: Path | None, *, setting: str, what: str) -> Path:
    """Return the path if it names a file.

    Args:
        path: What the user gave.
        setting: Name of the setting, for the message.
        what: What the file is and where to get it, for the message.

    Raises:
        InputError: No path was given, or no file is there.
    """
    if path is None:
        option = f"--detector-{setting.removesuffix('_path')}"
        raise InputError(f"{setting} must name {what}, got nothing; set it ({option} on the command line)")
    if not Path(path).is_file():
        raise InputError(f"{setting} must name {what}, but there is no file {path}; check the path")
    return Path(path)
