"""Who is who from frame to frame, and expressions without flicker.

The room is called `tracking` because `mien.track` is a function.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
