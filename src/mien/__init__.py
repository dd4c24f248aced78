"""mien finds faces in images and says which expression each one shows.

    import mien
    for face in mien.analyze("photo.jpg"):
        print(face)

Importing this package loads nothing heavy; the names below are loaded when they are first used.
"""

import importlib
from typing import TYPE_CHECKING

from mien._version import __version__

if TYPE_CHECKING:
    from mien.analyzer import Analyzer, analyze
    from mien.detect.detector import DetectorSettings
    from mien.errors import MienError
    from mien.faces import Face, Faces, Frame
    from mien.labels import LabelSet
    from mien.models.expression import ExpressionModel
    from mien.models.runtime import RuntimeSettings
    from mien.output.draw.faces import draw_faces
    from mien.sources.images import read_image

_HOMES = {
    "Analyzer": "mien.analyzer",
    "DetectorSettings": "mien.detect.detector",
    "ExpressionModel": "mien.models.expression",
    "Face": "mien.faces",
    "Faces": "mien.faces",
    "Frame": "mien.faces",
    "LabelSet": "mien.labels",
    "MienError": "mien.errors",
    "RuntimeSettings": "mien.models.runtime",
    "analyze": "mien.analyzer",
    "draw_faces": "mien.output.draw.faces",
    "read_image": "mien.sources.images",
}

__all__ = [
    "Analyzer",
    "DetectorSettings",
    "ExpressionModel",
    "Face",
    "Faces",
    "Frame",
    "LabelSet",
    "MienError",
    "RuntimeSettings",
    "__version__",
    "analyze",
    "draw_faces",
    "read_image",
]


def __getattr__(name: str) -> object:
    """Load a public name from its module on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mien' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
