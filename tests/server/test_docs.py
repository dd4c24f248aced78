"""The examples of docs/server.md run as they are written; its tables name what there is."""

import re
import shutil
import subprocess

import pytest
from conftest import EXAMPLES, ROOT

pytest.importorskip("fastapi")
pytest.importorskip("av")

from helpers import wait_for
from mien.server.settings import PREFIX, ServerSettings
from served import served
from videos import make_video

TEXT = (ROOT / "docs" / "server.md").read_text(encoding="utf-8")
EXAMPLE = TEXT[TEXT.index("## The API by example") : TEXT.index("## The live stream")]


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", EXAMPLE, re.DOTALL)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("docs")) as running:
        yield running


@pytest.fixture
def folder(tmp_path, monkeypatch):
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    make_video(tmp_path / "video.mp4", frames=6)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_example_runs(server, folder, capsys):
    (code,) = blocks("python")
    code = code.replace("http://127.0.0.1:8000", server.url).replace(
        'open("examples/astronaut.jpg", "rb").read()', "IMAGE"
    )
    exec(compile(code, "docs/server.md", "exec"), {"IMAGE": (EXAMPLES / "astronaut.jpg").read_bytes()})
    printed = capsys.readouterr().out
    assert "astronaut.jpg ['happy']" in printed and "grace_hopper.jpg ['neutral']" in printed and "done 3" in printed
    assert len((folder / "video.csv").read_text().splitlines()) == 4


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_every_curl_example_is_answered(server, folder):
    commands = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("curl")]
    assert len(commands) == 9
    name = ""
    for command in commands:
        if "$ID" in command:
            wait_for(lambda name=name: server.http.get(f"/v1/jobs/{name}").json()["state"] == "done")
        line = command.replace("http://127.0.0.1:8000", server.url).replace("$ID", name)
        result = subprocess.run(
            ["bash", "-c", f"{line.replace('curl', 'curl --fail-with-body -sS', 1)}"], capture_output=True
        )
        assert result.returncode == 0, (command, result.stdout, result.stderr)
        if "options=" in command:
            name = server.http.get("/v1/jobs").json()["jobs"][0]["id"]
    assert (folder / "video.csv").is_file() and server.http.get("/v1/jobs").json()["jobs"] == []


def test_the_table_of_variables_is_complete_and_says_the_true_defaults():
    rows = dict(re.findall(r"^\| (`MIEN_.*?) \| (.*?) \|", TEXT, re.MULTILINE))
    told = {}
    for names, defaults in rows.items():
        for name, default in zip(re.findall(r"`(MIEN_\w+)`", names), defaults.split(", "), strict=False):
            told[name] = default
    settings = ServerSettings().to_environment()
    assert set(told) == set(settings) | {"MIEN_PROCESSES"}
    others = {
        "DETECTORS",
        "DEVICE",
        "WORKERS",
        "LABELS",
        "SOURCE",
        "TOKEN",
        "ALLOWED_HOSTS",
        "TRUSTED_PROXIES",
        "DATABASE",
        "DATA_DIR",
    }
    spoken = [name.removeprefix(PREFIX) for name in settings if name.removeprefix(PREFIX) not in others]
    for name in spoken:
        assert told[PREFIX + name] == settings[PREFIX + name].removesuffix(".0"), name


def test_the_help_says_the_true_defaults():
    from mien.cli.serve import serve

    settings = ServerSettings(workers=2)
    checked = 0
    for name, annotation in serve.__annotations__.items():
        said = re.search(r"\\\[([\w.,-]+)\]$", annotation.__metadata__[0].help) if name not in ("return",) else None
        if said and name in settings.__dataclass_fields__:
            assert said[1] == str(getattr(settings, name)).removesuffix(".0"), name
            checked += 1
    assert checked >= 25
