"""Videos: from a file to tables, an annotated video, a summary and figures, and on from where a run was stopped.

from mien import Analyzer
from mien.video import analyze_video

result = analyze_video("clip.mp4", analyzer=Analyzer(), outputs=["rows.csv", "annotated.mp4", "summary.json"])
result.summary["share"]
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
