"""Where faces are, and the crop that a model sees: detectors behind one protocol, and alignment."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
