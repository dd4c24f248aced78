"""A live session: the newest frame of a camera, stream or file is analyzed, shown, logged and recorded."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
