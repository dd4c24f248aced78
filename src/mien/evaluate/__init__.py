"""Any `predict_proba` and a labelled data set give a `Report`: figures with intervals, calibration, risk and coverage.

NumPy only. Every figure that depends on chance takes a seed, and none depends on the order of the images.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
