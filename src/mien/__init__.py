"""mien finds faces in images and says which expression each one shows.

    import mien
    for face in mien.analyze("photo.jpg"):
        print(face)

Importing this package loads nothing heavy; the names below are loaded when they are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
