"""Videos: from a file to tables, an annotated video, a summary and figures, and on from where a run was stopped.

import mien

result = mien.analyze_video("clip.mp4")
for person in result.tracks:
    print(person.track_id, person.seconds, person.expression)
result.save("rows.csv", "annotated.mp4", "timeline.png")
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
