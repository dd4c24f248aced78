"""Images that are no files: data URLs, base64, open files, Pillow's images, and tensors (refused with a fix)."""

import base64
import io
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Protocol, runtime_checkable
from urllib.parse import unquote_to_bytes

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, SourceError, shortened
from mien.sources._headers import EXIF_ORIENTATION

DATA_URL = re.compile(r"\s*data:", re.IGNORECASE)
_TENSORS = ("torch", "tensorflow", "jax", "jaxlib", "cupy", "mlx")
_BASE64_LETTERS = re.compile(r"[A-Za-z0-9+/=\s]{400,}")
_LINE_END = re.compile(r"[ \t]*[\r\n]+[ \t]*")


@runtime_checkable
class BinaryFile(Protocol):
    """What is read like a file opened with mode `"rb"`: `io.BytesIO`, an upload of a web framework."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes."""
        ...


class PillowImage(Protocol):
    """An image of Pillow, `PIL.Image.Image`, in any mode; its EXIF orientation is applied."""

    mode: str
    info: Any

    def convert(self, mode: str) -> Any:
        """Return it in another mode."""
        ...

    def getexif(self) -> Any:
        """Return its EXIF tags."""
        ...


def is_pillow(source: object) -> bool:
    """Return whether something is an image of Pillow, without loading Pillow."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(source, getattr(module, "Image", ()))


def is_tensor(source: object) -> bool:
    """Return whether something is a tensor of another library, which can be iterated and must not be."""
    return type(source).__module__.partition(".")[0] in _TENSORS and hasattr(source, "shape")


# Data URLs and base64.


def from_data_url(url: str) -> bytes:
    """Return the content of a data URL (RFC 2397).

    Args:
        url: `data:image/jpeg;base64,…`

    Raises:
        SourceError: It has no comma, or its base64 is damaged; the message is the rest of a sentence.
    """
    head, comma, body = url.partition(",")
    if not comma:
        raise SourceError("has no comma before its data; write data:image/jpeg;base64,…")
    if not head.rstrip().lower().endswith(";base64"):
        return unquote_to_bytes(body)
    return from_base64(unquote_to_bytes(body).decode("latin-1") if "%" in body else body)


def from_base64(text: str) -> bytes:
    """Return the bytes that base64 stands for. Line ends may stand anywhere in it, blanks within a line may not.

    Args:
        text: The letters.

    Raises:
        SourceError: A blank stands where a `+` was, say; the message is the rest of a sentence.
    """
    try:
        return base64.b64decode(text, validate=True)  # most have no line ends
    except ValueError:
        letters = _LINE_END.sub("", text.strip())
    if " " in letters:
        raise SourceError("has blanks in its base64, where each + was lost on the way; in a form, write %2B for +")
    try:
        return base64.b64decode(letters, validate=True)
    except ValueError as error:
        raise SourceError(
            "is not base64, or a part of it is missing; encode the bytes of the file: base64 -w0 photo.jpg"
        ) from error


def looks_like_base64(text: str) -> bool:
    """Return whether a text is no name but the content of a file."""
    return _BASE64_LETTERS.match(text) is not None


# Open files.


def from_file(file: object, name: str, *, limit: int) -> bytes:
    """Read an open file from its beginning, where it has one.

    Args:
        file: It.
        name: What messages call it.
        limit: Most bytes an image may have.

    Raises:
        InputError: It gives text, or more than `limit` bytes.
    """
    if isinstance(file, io.TextIOBase):
        raise InputError(f"{name} gives text, not bytes; open the file with mode 'rb'")
    with suppress(AttributeError, OSError, TypeError, ValueError):
        file.seek(0)  # type: ignore[attr-defined]
    data = file.read(limit + 1)  # type: ignore[attr-defined]
    if not isinstance(data, bytes | bytearray | memoryview):
        raise InputError(f"{name} gives {type(data).__name__}, not bytes; open the file with mode 'rb'")
    if len(data) > limit:
        raise SourceError(f"{name} holds more than {limit:,} bytes, more than an image can need")
    return bytes(data)


def file_name(file: object, default: str) -> str:
    """Return what messages call an open file.

    Args:
        file: It.
        default: For one without a name.
    """
    name = getattr(file, "filename", None) or getattr(file, "name", None)
    return name if isinstance(name, str) and name else default


# Images and tensors of other libraries.


def from_pillow(image: Any) -> tuple[NDArray[Any], int]:
    """Return the samples of an image of Pillow, and its EXIF orientation.

    Args:
        image: `PIL.Image.Image`.

    Returns:
        (H, W), (H, W, 3) or (H, W, 4), uint8 or uint16, in the order blue, green, red, alpha; 1 to 8.

    Raises:
        SourceError: Its file is damaged or closed, or its mode cannot be shown; the message is the rest of a sentence.
    """
    try:
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)
        samples = _pillow_samples(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise SourceError(f"cannot be read by Pillow: {shortened(str(error))}; open its file again") from error
    return samples, orientation if orientation in range(1, 9) else 1


def _pillow_samples(image: Any) -> NDArray[Any]:
    if image.mode.startswith("I"):
        return _as_uint16(np.asarray(image))
    if image.mode == "F":
        return _from_floats(np.asarray(image))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        if image.mode == "La":
            image = image.convert("LA")
        return np.asarray(image.convert("RGBA"))[..., [2, 1, 0, 3]]
    return np.asarray(image.convert("RGB"))[..., ::-1]


def _as_uint16(samples: NDArray[Any]) -> NDArray[np.uint16]:
    if samples.size and (samples.min() < 0 or samples.max() > 65535):
        raise ValueError("its whole numbers are beyond 0-65535")
    return samples.astype(np.uint16)


def _from_floats(samples: NDArray[Any]) -> NDArray[np.uint8]:
    if not np.isfinite(samples).all() or (samples.size and (samples.min() < 0 or samples.max() > 255)):
        raise ValueError("its numbers are beyond 0-255")
    top = 255 if samples.size and samples.max() <= 1 else 1
    whole: NDArray[np.uint8] = np.rint(samples * top).astype(np.uint8)
    return whole


def tensor_error(tensor: Any, name: str) -> InputError:
    """Return the error that says how a tensor becomes an array.

    Args:
        tensor: Of torch, say.
        name: What messages call it.
    """
    shape = tuple(int(side) for side in tensor.shape)
    kind = f"{type(tensor).__module__.partition('.')[0]} tensor"
    return InputError(
        f"{name} is a {kind} {shape} {str(tensor.dtype).removeprefix('torch.')}, and an array (H, W, 3) uint8 RGB is "
        f"wanted; pass {_line_for(tensor, shape)}"
    )


def _line_for(tensor: Any, shape: tuple[int, ...]) -> str:
    line = "tensor"
    if len(shape) == 4:
        line, shape = "tensor[0]", shape[1:]
    if type(tensor).__module__.partition(".")[0] != "torch":
        return f"numpy.asarray({line})"
    if len(shape) == 2:
        line += ".expand(3, -1, -1).permute(1, 2, 0)"
    elif shape and shape[0] in (1, 3, 4) and shape[-1] not in (3, 4):
        line += {1: ".expand(3, -1, -1)", 3: "", 4: "[:3]"}[shape[0]] + ".permute(1, 2, 0)"
    if "float" in str(tensor.dtype):
        top = float(tensor.max()) if 0 not in tensor.shape else 1.0
        line = f"{line}.mul(255).round().byte()" if top <= 1 else f"{line}.round().byte()"
    elif "uint8" not in str(tensor.dtype):
        line += ".byte()"
    return f"{line}.cpu().numpy()"


def is_several(source: object) -> bool:
    """Return whether something holds sources and is none itself."""
    if isinstance(source, np.ndarray):
        return source.dtype.kind in "OUT"  # names, or images of several sizes
    one = isinstance(source, str | bytes | bytearray | memoryview | BinaryFile) or hasattr(source, "__fspath__")
    return not one and not is_pillow(source) and not is_tensor(source) and isinstance(source, Iterable)
