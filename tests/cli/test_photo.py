"""What `mien analyze` visits on its way with one photo."""

import subprocess
import sys

from conftest import EXAMPLES

CODE = """
import sys
from mien.cli import main
visited = set()
def look(frame, event, _):
    name = frame.f_globals.get("__name__", "")
    if event == "call" and name.startswith("mien.") and frame.f_code.co_name != "<module>":
        visited.add(name)
sys.argv = ["mien", "analyze", sys.argv[1], "--json"]
sys.setprofile(look)
try:
    main()
except SystemExit:
    pass
sys.setprofile(None)
print(*sorted(visited), file=sys.stderr)
"""


def test_a_photo_visits_few_rooms_and_nothing_of_videos():
    command = [sys.executable, "-c", CODE, str(EXAMPLES / "astronaut.jpg")]
    visited = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()[-1]
    rooms = {name.split(".")[1] for name in visited.split()} - {"errors", "faces", "files", "labels", "_onnxruntime"}
    assert "analyzer" in rooms
    assert rooms <= {"analyzer", "cli", "detect", "models", "output", "sources", "tracking"}
    assert {name for name in visited.split() if ".tracking." in name} <= {"mien.tracking.settings"}, visited
