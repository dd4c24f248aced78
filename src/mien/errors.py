"""Every error mien raises on purpose, and the hint that names a missing extra.

    MienError
    ├── InputError          a value, file, image or setting the caller can mend
    │   └── SourceError     a path, URL or stream that gives no image
    │       └── FrameSizeError  a video whose frames are larger than the limit
    ├── ModelError          a model file that cannot be used
    ├── DeviceError         an execution provider that is not installed here
    ├── OutputError         a result that could not be written
    ├── MissingExtraError   an optional dependency that is not installed
    ├── MissingWeightsError weights of others that were not pulled
    └── FetchError          a package that cannot be fetched

Each one is also the built-in error that fits best (`ValueError`, `OSError`…), so plain `except` clauses catch it, too.
"""

import importlib
from collections.abc import Collection, Iterable
from types import ModuleType


class MienError(Exception):
    """Base of all errors that mien raises on purpose."""


class InputError(MienError, ValueError):
    """A value, file or setting is not what it must be; the message names the fix."""


class SourceError(InputError):
    """A path, URL or stream gives no image."""


class FrameSizeError(SourceError):
    """A video's frame has more pixels than the caller allows."""


class ModelError(MienError, ValueError):
    """A model file is not one that mien can run."""


class DeviceError(MienError, RuntimeError):
    """The asked-for execution provider is not in the installed onnxruntime."""


class OutputError(MienError, OSError):
    """A result could not be written."""


class MissingExtraError(MienError, ImportError):
    """A feature needs an optional dependency that is not installed."""


class MissingWeightsError(MienError, LookupError):
    """A feature needs weights of others that the user has not pulled; the message has the line to type."""


class FetchError(MienError, OSError):
    """A package cannot be fetched from the registry."""


SHOWN = 200  # most characters of what came that a message repeats


def shortened(text: str, most: int = SHOWN) -> str:
    """Return a text for a message: its beginning and end, where it is long.

    Args:
        text: What came.
        most: Most characters.
    """
    if len(text) <= most:
        return text
    end = most // 3
    return f"{text[: most - end - 1]}…{text[len(text) - end :]}"


def shown(value: object) -> str:
    """Return a value for a message, as Python writes it: its beginning and end, where that is long.

    Args:
        value: What came.
    """
    return shortened(repr(value))


def listed(values: Iterable[object]) -> str:
    """Return values for a message, with commas between them: the first and the last, where they are many.

    Args:
        values: What came.
    """
    return shortened(", ".join(map(str, values)))


def check_known(what: str, name: str, known: Collection[str]) -> None:
    """Refuse a name that is not one of the known ones.

    Args:
        what: What it names, for the message: `"detector"` say.
        name: The name.
        known: All there are, a registry say.

    Raises:
        InputError: It is none of them; the message lists them.
    """
    if name not in known:
        raise InputError(f"unknown {what} {shown(name)}; known: {', '.join(known)}")


def require_extra(extra: str, module: str) -> ModuleType:
    """Import an optional dependency or say which extra brings it.

    Args:
        extra: Name of the extra in mien's package metadata, `"dlib"` say.
        module: The module to import, `"dlib"` say.

    Returns:
        The imported module.

    Raises:
        MissingExtraError: The module is not installed; the message gives the pip line.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = error.name or module
        raise MissingExtraError(
            f"this needs the module {missing!r}, which is not installed; run: pip install 'mien[{extra}]'"
        ) from error
