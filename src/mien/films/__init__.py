"""Films: from a file to tables, an annotated film, a summary and figures, and on from where a run was stopped.

from mien import Analyzer
from mien.films import analyze_video

result = analyze_video("clip.mp4", analyzer=Analyzer(), outputs=["rows.csv", "annotated.mp4", "summary.json"])
result.summary["share"]
"""

from mien.films._outputs import Drawing, FilmOutputs
from mien.films._parallel import FilmJob, Recipe, analyze_videos
from mien.films._run import FilmResult, Progress, analyze_video, replay
from mien.films._work import WorkFolder

__all__ = [
    "Drawing",
    "FilmJob",
    "FilmOutputs",
    "FilmResult",
    "Progress",
    "Recipe",
    "WorkFolder",
    "analyze_video",
    "analyze_videos",
    "replay",
]
