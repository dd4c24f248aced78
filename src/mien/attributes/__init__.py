"""What else a face tells, where it is asked for: mesh, pose, eyes, mouth, brows, gaze, and how good the image is."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
