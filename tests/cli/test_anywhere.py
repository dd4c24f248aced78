"""Every command in narrow terminals and with output that takes the letters of one code page only: nothing raises."""

import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios

import pytest
from conftest import EXAMPLES
from typer.main import get_command

from mien.cli import console
from mien.cli.app import app, main
from mien.cli.plain import in_ascii, write_anything

ASTRONAUT = EXAMPLES / "astronaut.jpg"
WIDTHS = (40, 80, 120)  # columns


def commands(group, path=()):
    """Yield the words of every command."""
    yield path
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


COMMANDS = sorted(commands(get_command(app)))
RUNS = [
    ("analyze", ASTRONAUT),
    ("analyze", ASTRONAUT, "--labels", "ferplus", "--json"),
    ("analyze", "missing–日本.jpg"),
    ("detectors",),
    ("models", "list"),
    ("models", "list", "--json"),
    ("models", "show", "mien-b"),
    ("models", "nets"),
    ("data", "info", "missing…"),
    ("data", "info", "{crops}"),
    ("doctor",),
    ("évaluer",),
]


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """A folder of two classes with letters that few code pages have."""
    import cv2

    folder = tmp_path_factory.mktemp("crops")
    image = cv2.imread(str(ASTRONAUT))
    for number, (name, shift) in enumerate((("happy", 0), ("sad", 9), ("neutral", 18))):
        (folder / name).mkdir()
        crop = cv2.resize(image[60 + shift : 180 + shift, 165:285], (48, 48))
        cv2.imencode(".png", crop)[1].tofile(folder / name / f"ж→{number}.png")
    return folder


@pytest.fixture(params=["cp1252", "ascii", "cp437", "utf-8"])
def narrow(request, monkeypatch):
    """The command line whose two outputs have an encoding: arguments to (exit code, what was written)."""

    def run(*arguments):
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=request.param, newline="\n") for _ in range(2)]
        monkeypatch.setattr(sys, "stdout", streams[0])
        monkeypatch.setattr(sys, "stderr", streams[1])
        monkeypatch.setattr(sys, "argv", ["mien", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
            sys.exit(0)
        written = []
        for stream in streams:
            stream.flush()
            written.append(stream.buffer.getvalue().decode(request.param))
        return ended.value.code or 0, *written

    return run


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_helps_in_every_encoding(narrow, words):
    code, out, err = narrow(*words, "-h")
    assert code == 0 and "Usage:" in out and err == ""


@pytest.mark.parametrize("arguments", RUNS, ids=lambda run: " ".join(map(str, run[:2])))
def test_what_is_printed_raises_in_no_encoding(narrow, crops, arguments):
    code, out, err = narrow(*(str(argument).format(crops=crops) for argument in arguments))
    assert code in (0, 1, 2) and out + err
    assert "Traceback" not in out + err


def in_terminal(columns, *arguments, encoding="utf-8"):
    """Run the command in a terminal and return exit code and what it showed."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environment |= {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONIOENCODING": encoding,
        "TERM": "xterm-256color",
    }
    command = [sys.executable, "-m", "mien", *map(str, arguments)]
    with subprocess.Popen(command, stdout=child, stderr=child, env=environment) as process:
        os.close(child)
        shown = b""
        while select.select([parent], [], [], 60)[0]:
            try:
                shown += os.read(parent, 65536)
            except OSError:  # the other side is closed
                break
    os.close(parent)
    return process.returncode, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode(encoding))


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_a_face_takes_one_line_in_every_terminal(columns, encoding):
    code, shown = in_terminal(columns, ASTRONAUT, "--labels", "ferplus", encoding=encoding)
    assert code == 0, shown
    source, face = (line.rstrip() for line in shown.splitlines()[-2:])
    assert source.endswith("1 face")
    assert re.match(r"  0  (😄 )?happy .*100%", face), shown
    assert columns == 40 or face.endswith("(179, 62)-(267, 173)"), shown


@pytest.mark.parametrize("words", [("doctor",), ("detectors",), ("models", "list"), ("-h",)], ids=" ".join)
def test_forty_columns_are_enough(words):
    code, shown = in_terminal(40, *words)
    assert code == 0 and "Traceback" not in shown
    assert all(len(line.rstrip("\r")) <= 40 for line in shown.split("\n") if "│ " in line), shown


def test_the_nearest_letters_are_ascii():
    assert in_ascii("╭─┤█ 😄 … – é 日 👍") == "+-+# ha ... - e \\u65e5 \\ud83d\\udc4d"


def test_streams_without_a_setting_are_left_alone():
    write_anything(None)
    write_anything(io.StringIO())


def test_errors_print_no_more_than_200_characters_of_what_came(mien, capsys):
    console.say_error(f"unknown model {'x' * 3_000_000!r}; known: mien-b")
    said = capsys.readouterr().err
    assert len(said) < 300 and said.endswith("; known: mien-b\n")
    code, _, err = mien("analyze", ASTRONAUT, "--model", "A" * 5000)
    assert code == 2 and len(err) < 600
    code, _, err = mien("analyze", "B" * 5000)
    assert code == 1 and len(err) < 600


@pytest.mark.parametrize("word", [str(ASTRONAUT), str(EXAMPLES), "missing.jpg", "http://127.0.0.1:9/x.jpg", "no*.png"])
def test_a_source_needs_no_command(mien, word):
    assert mien(word, "-q") == mien("analyze", word, "-q")


def test_a_misspelt_command_is_named(mien):
    code, out, err = mien("analyse")
    assert (code, out) == (2, "") and "Did you mean 'analyze'?" in err
