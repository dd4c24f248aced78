"""A wheel and an sdist are built; each installs into an empty environment and analyzes a photo there."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(*command: object) -> str:
    """Run a program outside the repository's sources and return what it printed."""
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # not the repository's sources
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=900, cwd=ROOT.parent, env=alone
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-1500:]}{done.stderr[-1500:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, built by a fresh build environment."""
    folder = tmp_path_factory.mktemp("dist")
    builder = folder / "builder"
    venv.create(builder, with_pip=True)
    run(builder / "bin/pip", "install", "-q", "build", "hatchling")
    run(builder / "bin/python", "-m", "build", "--no-isolation", "-o", folder / "dist", ROOT)
    return folder / "dist"


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(1200)  # three environments are filled from the registry
@pytest.mark.skipif(sys.platform == "win32", reason="paths of a virtual environment")
@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_what_is_built_installs_and_runs(kind: str, built: Path, tmp_path: Path) -> None:
    (package,) = built.glob(kind)
    venv.create(tmp_path / "empty", with_pip=True)
    run(tmp_path / "empty/bin/pip", "install", "-q", "--no-compile", "-c", ROOT / "constraints.txt", package)
    said = run(tmp_path / "empty/bin/mien", "analyze", ROOT / "examples" / "astronaut.jpg")
    assert "happy" in said
    assert str(tmp_path) in run(tmp_path / "empty/bin/python", "-c", "import mien; print(mien.__file__)")
