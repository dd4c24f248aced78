"""Boxes, labels, bars and emoji drawn into images with OpenCV and NumPy alone."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
