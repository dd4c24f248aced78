"""The progress bar: seen in terminals and notebooks, silent elsewhere."""

import io
import sys
from types import SimpleNamespace

import pytest

from mien.output import progress
from mien.output.progress import ProgressBar


def run(bar):
    with bar:
        for number in range(1, 4):
            bar.update(number)


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(progress, "REFRESH_S", 0)


def test_nothing_is_written_where_nobody_watches(capsys, at_once):
    bar = ProgressBar("clip.mp4", total=3, unit="frames")
    assert not bar.shown
    run(bar)
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def terminal(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    for name, value in (("TERM", "xterm"), ("COLUMNS", "100")):
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    return stream


def test_a_terminal_sees_how_far_it_is(monkeypatch, at_once):
    stderr = terminal(monkeypatch)
    run(ProgressBar("[b]clip.mp4", total=3, unit="frames"))
    assert "[b]clip.mp4" in stderr.getvalue()
    assert "1/3 frames" in stderr.getvalue()


def test_a_terminal_without_a_total_sees_the_count(monkeypatch, at_once):
    stderr = terminal(monkeypatch)
    run(ProgressBar("rtsp://camera", unit="frames"))
    assert "3 frames" in stderr.getvalue()


def test_it_can_be_turned_off(monkeypatch, at_once):
    stderr = terminal(monkeypatch)
    run(ProgressBar("clip.mp4", total=3, shown=False))
    assert stderr.getvalue() == ""


def test_a_notebook_sees_one_bar_that_moves_and_goes_away(monkeypatch, at_once):
    shell = type("ZMQInteractiveShell", (), {})()
    cells = []
    handle = SimpleNamespace(update=cells.append)

    def display(shown, display_id):
        cells.append(shown)
        return handle

    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(HTML=str, display=display))
    run(ProgressBar("<clip>.mp4", total=3, unit="frames"))
    assert cells[0].startswith('&lt;clip&gt;.mp4 <progress value="1" max="3">')
    assert "3/3 frames" in cells[2]
    assert cells[3] == ""
