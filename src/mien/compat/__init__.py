"""The calls of DeepFace and fer with their shapes, keys, scales and error kinds, answered by mien.

    from mien.compat import DeepFace  # instead of: from deepface import DeepFace
    from mien.compat import FER, Video  # instead of: from fer.fer import FER; from fer.classes import Video

Nothing of those packages is needed or used. docs/coming-from.md says what differs.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
