"""What `mien analyze` visits on its way with one photo."""

import subprocess
import sys

import pytest
from conftest import EXAMPLES

CODE = """
import sys, threading
from mien.cli import main
visited = set()
def look(frame, event, _):
    name = frame.f_globals.get("__name__", "")
    if event != "call" or not name.startswith("mien."):
        return
    while frame is not None:  # what an import runs, and what makes a settings class, is no visit
        made = frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") != "__main__"
        if made or frame.f_code.co_name == "__post_init__" or "__create_fn__" in frame.f_code.co_qualname:
            return
        frame = frame.f_back
    visited.add(name)
sys.argv = ["mien", "analyze", sys.argv[1], "--json"]
sys.setprofile(look)
threading.setprofile(look)
try:
    main()
except SystemExit:
    pass
sys.setprofile(None)
print(*sorted(visited), file=sys.stderr)
"""


HALL = {
    "mien.errors",
    "mien.faces",
    "mien.files",
    "mien.labels",
    "mien.planes",
    "mien._onnxruntime",
    "mien._onnx_graph",
}
VISITED = {
    "attributes": {"settings"},
    "cli": {
        "app",
        "options",
        "console",
        "plain",
        "analyze.command",
        "analyze.folders",
        "analyze.images",
        "analyze.request",
    },
    "sources": {"given", "images", "videos", "_decode", "_formats", "_headers", "_jpeg"},
    "detect": {"registry", "identity", "mtcnn", "boxes", "align", "border", "_mtcnn_nets", "_octaves"},
    "models": {"catalogue", "card", "expression", "prior", "runtime"},
    "output": {"base", "rows", "tables"},
}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="code objects have no qualified names")
def test_a_photo_visits_these_modules_and_nothing_of_videos():
    command = [sys.executable, "-c", CODE, str(EXAMPLES / "astronaut.jpg")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()[-1]
    known = {f"mien.{room}.{name}" for room, names in VISITED.items() for name in names} | {"mien.analyzer"}
    assert "mien.analyzer" in said.split()
    assert set(said.split()) - HALL - known == set()
