"""Weights of others that a user pulls: what there is, where it lies, and how it becomes ONNX."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
