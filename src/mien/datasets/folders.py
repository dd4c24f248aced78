"""Images in class folders, in any of the usual layouts."""

import os
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.datasets._meaning import Meaning, meaning_of_folders
from mien.datasets.dataset import (
    KNOWN_NAMES,
    PRIVATE_TEST,
    PUBLIC_TEST,
    TEST,
    TRAINING,
    UNSPLIT,
    VALIDATION,
    BadRow,
    CropDataset,
    ReadResult,
    missing_classes,
    own_classes,
    refuse_bad_rows,
)
from mien.errors import InputError, listed, shown
from mien.faces import CROP_PX
from mien.files import storable
from mien.labels import LabelSet, canonical_name

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm"}
SPLIT_FOLDERS = {
    "train": TRAINING,
    "training": TRAINING,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "dev": VALIDATION,
    "test": TEST,
    "testing": TEST,
    "publictest": PUBLIC_TEST,
    "privatetest": PRIVATE_TEST,
}
OFFICIAL_PREFIXES = {"Training_": TRAINING, "PublicTest_": PUBLIC_TEST, "PrivateTest_": PRIVATE_TEST}


class CropReader(Protocol):
    """Turns images into crops; called from several threads at once."""

    def __call__(self, path: Path) -> NDArray[np.uint8]:
        """Return the crop (48, 48) uint8 of the image at a path, or raise InputError."""
        ...

    def notes(self) -> tuple[str, ...]:
        """Return what a person should know of the images read."""
        ...


class WholeImageReader:
    """Reads images with `read_crop`, and remembers their sizes."""

    def __init__(self) -> None:
        """Start without any."""
        self.sizes: set[tuple[int, int]] = set()

    def __call__(self, path: Path) -> NDArray[np.uint8]:
        """Return the image as a crop (48, 48) uint8.

        Raises:
            InputError: The file is missing, empty or no image.
        """
        gray = _decode(path)
        self.sizes.add((gray.shape[1], gray.shape[0]))
        return to_crop(gray)

    def notes(self) -> tuple[str, ...]:
        """Say which other sizes became crops."""
        return resized_note(self.sizes)


def resized_note(sizes: set[tuple[int, int]]) -> tuple[str, ...]:
    """Return a note on images of other sizes than a crop; none where there were none.

    Args:
        sizes: Width and height of the images read.
    """
    others = sorted(sizes - {(CROP_PX, CROP_PX)})
    if not others:
        return ()
    first, last = ("x".join(map(str, size)) for size in (others[0], others[-1]))
    spelled = first if len(others) == 1 else f"{len(others)} other sizes, {first} to {last},"
    return (
        f"images of {spelled} were resized to {CROP_PX}x{CROP_PX}; if they are photos, cut the faces out first "
        "(mien data convert --faces)",
    )


def read_crop(path: Path) -> NDArray[np.uint8]:
    """Read an image of any size and colour as a crop.

    Colour becomes gray (ITU-R 601 luma); another size is resized to 48x48 without keeping the aspect ratio, by area
    when shrinking and linearly when enlarging.

    Args:
        path: The image.

    Returns:
        (48, 48) uint8 gray.

    Raises:
        InputError: The file is missing, empty or no image.
    """
    return to_crop(_decode(path))


def _decode(path: Path) -> NDArray[np.uint8]:
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    return decode_gray(content, str(path))


def decode_gray(content: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Return the image (H, W) uint8 that the content of an image file holds.

    Args:
        content: (bytes,) uint8.
        name: What it is, for the error.

    Raises:
        InputError: It is empty or no image.
    """
    gray = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE) if content.size else None
    if gray is None:
        what = "is empty" if not content.size else "is no image that OpenCV can read"
        raise InputError(f"{name} {what}; restore or remove it")
    return np.asarray(gray, np.uint8)


def to_crop(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Resize a gray image to a crop, by area when shrinking and linearly when enlarging.

    Args:
        gray: (H, W) uint8.

    Returns:
        (48, 48) uint8.
    """
    if gray.shape == (CROP_PX, CROP_PX):
        return gray
    way = cv2.INTER_AREA if min(gray.shape) >= CROP_PX else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(gray, (CROP_PX, CROP_PX), interpolation=way), np.uint8)


def list_images(root: Path) -> list[Path]:
    """Return all images below a folder in a fixed order; hidden files and folders are passed over.

    Args:
        root: The folder.
    """
    files = (Path(folder, name) for folder, _, names in _walk(root) for name in names)
    return sorted(path for path in files if path.suffix.lower() in IMAGE_SUFFIXES)


def list_folders(root: Path) -> list[Path]:
    """Return all folders below a folder, empty ones too, in a fixed order; hidden ones are passed over.

    Args:
        root: The folder.
    """
    return sorted(Path(folder, name) for folder, below, _ in _walk(root) for name in below)


def _walk(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    for folder, below, files in os.walk(root):
        below[:] = [name for name in below if not name.startswith((".", "__MACOSX"))]
        yield folder, below, [name for name in files if not name.startswith(".")]


def read_folders(
    root: Path, labels: LabelSet | None, *, skip_bad: bool, crop_of: CropReader | None = None
) -> ReadResult:
    """Read class folders: `class/…`, `train/class/…`, `images/validation/class/…` and the like.

    The folder nearest to an image that names an expression is its class, in any case or wording. Where no folder names
    one, the folders that hold the images are classes of a person's own. A file name such as `PublicTest_123.jpg`
    gives the official split; otherwise a folder above the class (train, validation, test …) does. Folders that are
    numbered 0 to 6 are FER2013's classes, 1 to 7 RAF-DB's; with `labels` numbers mean the names in their order.

    Args:
        root: The folder.
        labels: The label set; None takes the five classes, FER2013's seven or FER+'s eight, whichever the folders name,
            or the folders' own names.
        skip_bad: Leave unreadable images, images outside a class folder and empty class folders out.
        crop_of: How an image becomes a crop; None resizes it whole.

    Raises:
        InputError: Images or class folders are not usable; the message names them. Or some folders name expressions
            and others do not, and `labels` does not say what is meant.
    """
    images = list_images(root)
    if not images:
        raise InputError(f"{root} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); give the data set's folder")
    meaning = _meaning_of(root, images, labels)
    chosen = meaning.labels
    reader = crop_of or WholeImageReader()

    def read(path: Path) -> tuple[NDArray[np.uint8], int] | BadRow:
        inside = path.relative_to(root)
        try:
            number = _class_of(inside, meaning)
            return reader(path), number
        except InputError as error:
            return BadRow(inside.as_posix(), str(error))

    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="mien") as pool:
        found = list(zip(images, pool.map(read, images), strict=True))
    good = [(path.relative_to(root), *row) for path, row in found if not isinstance(row, BadRow)]
    bad = [*_empty_classes(root, images, chosen), *(row for _, row in found if isinstance(row, BadRow))]
    if not skip_bad:
        refuse_bad_rows(root, bad)
    if not good:
        raise InputError(f"{root} has no usable image; {len(bad):,} were left out, the first is {bad[0]}")
    kept, crops, label = zip(*good, strict=True)
    data = CropDataset(
        np.stack(crops), np.array(label, np.int8), np.array([_split_of(path) for path in kept]), chosen,
        name=np.array([storable(path.as_posix()) for path in kept]),
    )  # fmt: skip
    notes = (*meaning.notes, *own_classes(chosen), *reader.notes(), *missing_classes(data))
    return ReadResult(data, "class folders", tuple(bad), notes)


def _meaning_of(root: Path, images: list[Path], asked: LabelSet | None) -> Meaning:
    """Return what the folders mean: the nearest that names an expression, else the one that holds the image."""
    wanted = KNOWN_NAMES.union(asked.names if asked else ())
    places = {path.relative_to(root).parts[:-1] for path in images}
    return meaning_of_folders({name for parts in places if (name := _named(parts, wanted))}, asked, where=root)


def _named(parts: tuple[str, ...], wanted: Collection[str]) -> str | None:
    """Return the canonical name of the nearest folder that names a class, else of the last one, unless it is a split.

    Args:
        parts: The folders above an image, from the outermost.
        wanted: Canonical names of classes.
    """
    names = [canonical_name(part) for part in reversed(parts) if _key(part) not in SPLIT_FOLDERS]
    own = canonical_name(parts[-1]) if parts and _key(parts[-1]) not in SPLIT_FOLDERS else None
    return next((name for name in names if name in wanted), own)


def _class_of(path: PurePath, meaning: Meaning) -> int:
    """Return the number of the class that the nearest folder names; one of another set hides those above it."""
    labels = meaning.labels
    name = _named(path.parts[:-1], KNOWN_NAMES.union(labels.names))
    is_number = name is not None and name not in labels.names and name.isascii() and name.isdigit()
    index = None if name is None else meaning.index(int(name) if is_number else name)
    if index is not None:
        return index
    raise InputError(
        f"a class folder must be one of {listed(labels.names)} (any case or wording), got "
        f"{shown(path.parent.name or 'no folder')}; for classes of your own give all of them as labels "
        "(--labels bored,happy)"
    )


def _split_of(path: PurePath) -> str:
    for prefix, usage in OFFICIAL_PREFIXES.items():
        if path.name.startswith(prefix):
            return usage
    keys = map(_key, reversed(path.parts[:-1]))
    return next((SPLIT_FOLDERS[key] for key in keys if key in SPLIT_FOLDERS), UNSPLIT)


def _key(folder: str) -> str:
    return folder.lower().replace("_", "").replace("-", "").replace(" ", "")


def _empty_classes(root: Path, images: list[Path], labels: LabelSet) -> list[BadRow]:
    filled = {parent for path in images for parent in path.parents}
    known = KNOWN_NAMES.union(labels.names)
    empty = [path for path in list_folders(root) if canonical_name(path.name) in known and path not in filled]
    reason = "a class folder must hold an image, this one is empty; fill or remove it"
    return [BadRow(f"{path.relative_to(root).as_posix()}/", reason) for path in empty]
