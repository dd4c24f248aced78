"""What a crop shows: the expression model, its card, the catalogue, networks of others, and those that Keras saved."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
