"""From data to an ONNX file: networks, augmentation, training, search for settings, export, and classical models.

Needs the extra `train`; it never imports the analyzer, the tracker or videos.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
