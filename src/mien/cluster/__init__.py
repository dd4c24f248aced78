"""Images and videos over several processes and machines, on Ray; the results are one Parquet data set.

    import mien.cluster

    result = mien.cluster.analyze("photos/", "faces/")
    print(result.images, result.failed, result.seconds)

The workers run the code of `mien.Analyzer` and `mien.analyze_video`. docs/scale.md says when this is worth it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
