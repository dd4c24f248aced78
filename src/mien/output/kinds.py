"""What the path of a result means: its extension decides, and this table alone says how."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mien.errors import InputError
from mien.files import check_no_dash, ending_of


@dataclass(frozen=True)
class OutputKind:
    """One kind of result.

    Attributes:
        noun: What messages call it, with its article.
        extensions: Lower case, with their dots; the usual one first.
    """

    noun: str
    extensions: tuple[str, ...]

    def check(self, path: str | Path) -> str:
        """Return the extension of a file of this kind, lower case.

        Args:
            path: The file to be written.

        Raises:
            InputError: The file has another extension; the message lists those of this kind.
        """
        return ending_of(path, self.extensions, f"{self.noun} ends in {', '.join(self.extensions)}")


TABLE = OutputKind("a table", (".jsonl", ".csv", ".parquet"))
IMAGE = OutputKind("an image", (".jpg", ".jpeg", ".png", ".webp"))
VIDEO = OutputKind("a video", (".mp4", ".mkv", ".mov", ".webm"))
SUMMARY = OutputKind("a summary", (".json", ".csv", ".md", ".txt"))
TIMELINE = OutputKind("a timeline", (".png", ".svg", ".pdf", ".html"))
MOMENTS = OutputKind("a sheet of moments", IMAGE.extensions)
FOLDER = OutputKind("a folder", ())
KINDS = (TABLE, IMAGE, VIDEO, SUMMARY, TIMELINE, MOMENTS)

OF_IMAGES = (TABLE, IMAGE, VIDEO)
OF_A_VIDEO = (TABLE, VIDEO, SUMMARY, TIMELINE)


def kind_of(path: str | Path, kinds: Sequence[OutputKind] = OF_IMAGES, *, instead: str = "") -> OutputKind:
    """Return what a path means as an output.

    It is a folder when it ends with a slash, has no extension, or is one already and its extension is of no kind here.

    Args:
        path: As the user gave it.
        kinds: The kinds there may be; the first that has the extension is taken.
        instead: What to do where an extension belongs to a kind that is not among them, for the message.

    Raises:
        InputError: The extension belongs to none of the kinds, and the message lists what is known; or it is `-`.
    """
    check_no_dash(path)
    extension = Path(path).suffix.lower()
    if str(path).endswith(("/", os.sep)) or not extension:
        return FOLDER
    for kind in kinds:
        if extension in kind.extensions:
            return kind
    if Path(path).is_dir():
        return FOLDER
    known = ", ".join(dict.fromkeys(extension for kind in kinds for extension in kind.extensions))
    elsewhere = any(extension in kind.extensions for kind in KINDS)
    wrong = f"{extension!r} does not fit here" if elsewhere else f"unknown extension {extension!r}"
    advice = f"; {instead}" if elsewhere and instead else ""
    raise InputError(f"cannot write {path}: {wrong}; known: {known}, or a folder (dir/){advice}")
