"""mien talks to nobody and leaves nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ANALYZE = "import mien; print(len(mien.analyze(sys.argv[1])))"


def run_at_home(home: Path, code: str, **environment: str) -> str:
    """Run code as a user with an empty home folder would, outside of tests and of continuous integration."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LD_LIBRARY_PATH", "LANG")}
    command = [sys.executable, "-c", f"import sys; {code}", str(ROOT / "examples" / "astronaut.jpg")]
    env = {**kept, "HOME": str(home), **environment}
    done = subprocess.run(command, env=env, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_analysis_leaves_no_file_in_the_home_folder(tmp_path):
    assert run_at_home(tmp_path, ANALYZE) == "1"
    assert list(tmp_path.rglob("*")) == []


def test_the_users_own_choice_stays(tmp_path):
    code = "import os, mien.models.expression; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert run_at_home(tmp_path, code, ORT_DISABLE_TELEMETRY="0") == "0"
    assert run_at_home(tmp_path, code) == "1"
