"""Readers and writers of expression data sets, their splits, and checks for leaks between splits."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
