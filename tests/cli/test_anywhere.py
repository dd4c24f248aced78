"""Every command in narrow terminals and with output that takes the letters of one code page only: nothing raises."""

import fcntl
import io
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios

import cv2
import numpy as np
import pytest
from conftest import EXAMPLES
from typer.main import get_command

from mien.cli import console
from mien.cli.app import app, main
from mien.cli.plain import in_ascii, write_anything
from mien.datasets import CropDataset
from videos import write_video

ASTRONAUT = EXAMPLES / "astronaut.jpg"
WIDTHS = (40, 80, 120)  # columns
OLD_NAME = os.fsdecode(b"caf\xe9.jpg")  # from a disk of the years before UTF-8: no text at all
OWN = (os.fsdecode(b"gl\xfccklich"), "悲しい", "🙂→")  # folders of classes
SCREENS = ("cp1252", "ascii", "cp437", "utf-8")  # the first is a pipe, the others are terminals of 40 columns
QUICK = ("--net", "tiny", "--epochs", "1", "--batch-size", "8", "--accelerator", "cpu", "--threads", "1")
PLAIN = ("--no-curves", "--no-tensorboard")

RUNS = {  # what each command does on tiny inputs, after the exit code
    "analyze": [
        (0, "{photo}"),
        (0, "{photo}", "--labels", "ferplus", "--json"),
        (1, "{photos}"),
        (1, "{photos}", "-o", "{new}/", "-o", "{new}.csv", "-o", "{new}.jsonl", "-o", "{new}.parquet"),
        (1, "{photos}", "--json", "--summary", "{new}.md"),
        (0, "{video}", "-o", "{new}/", "--summary", "{new}.json", "--timeline", "{new}.html", "--truth", "{truth}"),
        (0, "{video}", "{photo}", "--json", "--interval", "1s"),
        (0, "{old}", "--json"),
        (0, "{old}", "-o", "{new}/", "--timeline", "{new}.png", "--summary", "{new}.md"),
        (1, "missing–日本.jpg"),
        (2, "{photo}", "--interval", "日本"),
        (2, "{photo}", "--model", "日本"),
    ],
    "compare": [(0, "mien-b", "mien-s", "{fer2013}", "-o", "{new}.html"), (2, "mien-b", "日本.onnx", "{fer2013}")],
    "data augment": [(0, "{crops}", "-o", "{new}.png", "--rows", "1", "--tries", "1")],
    "data convert": [
        (0, "{crops}", "{new}.parquet"),
        (0, "{crops}", "{new}.npz"),
        (0, "{photos}", "{new}", "--faces", "--left-out", "{new}.csv"),
        (2, "{crops}", "{new}.日本"),
    ],
    "data info": [
        (0, "{crops}", "--html", "{new}.html", "--sheets", "{new}"),
        (0, "{crops}", "--json"),
        (2, "missing…"),
        (2, "{photo}"),
    ],
    "data split": [(0, "stratified", "{crops}", "-o", "{new}.csv", "--no-near"), (2, "kfold", "missing…")],
    "detectors": [(0,)],
    "doctor": [(0,)],
    "evaluate": [
        (0, "{run}/model.onnx", "{crops}", "--split", "Unsplit", "-o", "{new}", "--predictions", "{new}.csv"),
        (0, "mien-b", "{people}", "-o", "{new}", "--json"),
        (2, "mien-b", "{fer2013}", "--slices", "missing–日本.csv"),
    ],
    "export": [(0, "{run}/best.ckpt", "--data", "{crops}", "-o", "{new}.onnx", "--name", "日本"), (2, "日本.ckpt")],
    "import-keras": [(0, "{keras}", "-o", "{new}.onnx", "--labels", "glücklich,悲しい,🙂→"), (2, "日本.h5")],
    "live": [
        (0, "{video}", "--headless", "--log", "{new}.csv", "--record", "{new}.mp4"),
        (0, "{old}", "--headless"),
        (1, "日本.mp4", "--headless"),
    ],
    "models diagram": [(0, "{run}/model.onnx", "-o", "{new}.svg"), (2, "mien-s", "-o", "{new}.日本")],
    "models list": [(0,), (0, "--json")],
    "models nets": [(0,), (0, "--json")],
    "models pull": [(2, "日本"), (2, "age", "--from", "日本.whl")],
    "models show": [(0, "mien-b"), (0, "{run}/model.onnx"), (0, "{run}/model.onnx", "--json"), (2, "日本")],
    "models summary": [(0, "{run}/model.onnx"), (0, "tiny", "--json"), (2, "日本")],
    "people find": [(2, "日本.jpg", "{people}")],  # with the weights: tests/cli/test_people_cli.py
    "people verify": [(2, "日本.jpg", "{photo}")],
    "report": [(2, "日本.csv", "-o", "{new}.html"), (2, "{photo}")],  # with tables: tests/video/test_aligned.py
    "serve": [(2, "--host", "日本", "--port", "0")],  # and the test below
    "train": [(2, "{crops}", "-o", "{new}", "--net", "日本")],  # and the fixture "world"
    "train-baseline": [(0, "{crops}", "--model", "knn", "--hold-out", "0.3", "-o", "{new}")],
    "tune": [
        (0, "{crops}", "-o", "{new}", "--trials", "1", "--search", "lr", *QUICK),
        (0, "{crops}", "-o", "{new}", "--space"),
    ],
}
SLOW = {
    "compare",
    "data augment",
    "doctor",
    "evaluate",
    "export",
    "train",
    "train-baseline",
    "tune",
}  # in one encoding alone


def commands(group, path=()):
    """Yield the words of every command and group, and whether it is a group."""
    inner = getattr(group, "commands", None)
    yield " ".join(path), inner is not None
    for name, command in (inner or {}).items():
        yield from commands(command, (*path, name))


COMMANDS = dict(commands(get_command(app)))


def test_every_command_runs_below():
    assert sorted(RUNS) == sorted(words for words, is_group in COMMANDS.items() if not is_group)


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny):
    """Tiny inputs by name; their names, classes and people have letters that few code pages have."""
    for module in ("av", "h5py", "kornia", "matplotlib", "optuna", "pyarrow", "scipy"):
        pytest.importorskip(module)
    from drawn_faces import draw_face, drawn_faces
    from mien.datasets import PUBLIC_TEST, TRAINING, write_dataset
    from videos import portraits, write_video

    here = tmp_path_factory.mktemp("wörld→日本😄")
    face = cv2.imread(str(ASTRONAUT))[20:230, 110:330]
    photos, people, crops = here / "photos", here / "people", here / "crops"
    for folder in (photos / "happy", people):
        folder.mkdir(parents=True)
        for name in ("Zoë–日本😄.jpg", OLD_NAME):
            cv2.imencode(".jpg", face)[1].tofile(folder / name)
    (photos / "happy" / "空.png").write_bytes(b"")
    (people / "people.csv").write_text("file,expression,name\nZoë–日本😄.jpg,happy,Ørjan 日本 😄\n", encoding="utf-8")
    rng = np.random.default_rng(0)
    for number in range(36):
        place = crops / OWN[number % 3]
        place.mkdir(parents=True, exist_ok=True)
        drawn = draw_face(("happy", "sad", "surprise")[number % 3], rng)
        cv2.imencode(".png", drawn)[1].tofile(place / (f"ж→{number}.png" if number else OLD_NAME))
    (here / "wahr.csv").write_text("start_s,end_s,expression\n0,0.2,happy\n", encoding="utf-8")
    both = [drawn_faces(12, votes=False), drawn_faces(9, seed=1, votes=False, usage=PUBLIC_TEST)]
    whole = CropDataset(*(np.concatenate([getattr(d, f) for d in both]) for f in ("crops", "label", "usage")))
    assert set(whole.splits()) == {TRAINING, PUBLIC_TEST}
    (fer2013,) = write_dataset(whole, here / "données.csv")
    names = {
        "photo": photos / "happy" / "Zoë–日本😄.jpg", "photos": photos, "people": people, "crops": crops,
        "video": write_video(here / "映画.mp4", portraits(6, scale=0.45), fps=10), "truth": here / "wahr.csv",
        "fer2013": fer2013, "keras": keras_model(here / "モデル.h5"), "run": here / "Läufe",
        "old": here / os.fsdecode(b"film-\xe9.mp4"),
    }  # fmt: skip
    names["old"].write_bytes(names["video"].read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        code, out, err = run(patch, "ascii", "train", crops, "-o", names["run"], *QUICK, *PLAIN)
        assert code == 0, out + err
    return names


def keras_model(path):
    """Write a network as Keras 2 saves it, one layer of three outputs, and return its path."""
    import h5py

    layers = [
        {"class_name": "Flatten", "config": {"name": "flatten", "batch_input_shape": [None, 48, 48, 1]}},
        {"class_name": "Dense", "config": {"name": "dense", "units": 3, "activation": "softmax", "use_bias": False}},
    ]
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"name": "n", "layers": layers}})
        file.attrs["keras_version"] = "2.4.0"
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [b"flatten", b"dense"]
        weights.create_group("flatten").attrs["weight_names"] = []
        kernel = weights.create_group("dense")
        kernel.attrs["weight_names"] = [b"dense/kernel:0"]
        kernel["dense/kernel:0"] = np.random.default_rng(0).normal(size=(2304, 3)).astype(np.float32)
    return path


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    def isatty(self):
        """Say so."""
        return True


def run(monkeypatch, encoding, *arguments):
    """Run the command line whose two outputs have an encoding: (exit code, what was written to each)."""
    kind = io.TextIOWrapper if encoding == SCREENS[0] else Terminal
    streams = [kind(io.BytesIO(), encoding=encoding, newline="\n") for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    if kind is Terminal:
        monkeypatch.setattr(console.out, "width", 40)
        monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys, "argv", ["mien", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
        sys.exit(0)
    written = []
    for stream in streams:
        stream.flush()
        written.append(stream.buffer.getvalue().decode(encoding))
    return ended.value.code or 0, *written


@pytest.mark.parametrize("encoding", SCREENS)
@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_helps_in_every_encoding(monkeypatch, encoding, words):
    code, out, err = run(monkeypatch, encoding, *words.split(), "-h")
    assert code == 0 and "Usage:" in out and err == ""


@pytest.mark.parametrize(
    ("encoding", "words", "number"),
    [
        pytest.param(encoding, words, number, id=f"{words} {number} {encoding}")
        for words, runs in RUNS.items()
        for number in range(len(runs))
        for encoding in SCREENS
        if encoding == "ascii" or words not in SLOW
    ],
)
def test_what_is_printed_raises_in_no_encoding(monkeypatch, world, tmp_path, encoding, words, number):
    expected, *arguments = RUNS[words][number]
    filled = [argument.format(**world, new=tmp_path / "ергебnis") for argument in arguments]
    code, out, err = run(monkeypatch, encoding, *words.split(), *filled)
    assert code == expected, out + err
    assert "Traceback" not in out + err
    if "--json" in arguments:  # a terminal is told what was written, too
        lines = [line for line in out.splitlines() if line[:1] == "{"] if words == "analyze" else [out]
        assert all(json.JSONDecoder().raw_decode(line)[0] for line in lines) and lines


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


@pytest.mark.parametrize("words", [("detectors",), ("models", "list"), ("analyze", "clip")], ids=" ".join)
def test_forty_columns_cut_no_words(words, tmp_path):
    if words[-1] == "clip":
        pytest.importorskip("av")
        images = [cv2.imread(str(ASTRONAUT))[:352, :352, ::-1]] * 8
        words = ("analyze", write_video(tmp_path / "clip.mp4", images))
    code, shown = in_terminal(40, *words)
    told = shown[shown.rindex("frames/s") :] if words[0] == "analyze" else shown
    assert code == 0 and "…" not in told, shown
    assert len(told.splitlines()) > 2


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


def leaves(group, path=()):
    """Yield the words of every command, and the command."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


@pytest.mark.parametrize(
    ("words", "command"), list(leaves(get_command(app))), ids=lambda value: value if isinstance(value, str) else ""
)
def test_help_is_plain_sentences_that_fit_into_80_columns(words, command):
    assert all("\n" not in paragraph for paragraph in command.help.split("\n\n"))
    for parameter in command.params:
        said = parameter.help or ""
        assert said.rstrip("`")[-1:] in (".", "…", "]"), (parameter.name, said)
        assert not said.startswith("Whether") and "PROVIDERS" not in said
        assert max(map(len, said.split())) <= 24, (parameter.name, said)
