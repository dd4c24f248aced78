"""The examples of docs/server.md run as they are written; its tables name what there is."""

import re
import runpy
import shutil
import subprocess

import pytest
from conftest import EXAMPLES, ROOT

pytest.importorskip("fastapi")
pytest.importorskip("av")

from helpers import wait_for
from mien.cli.options import described
from mien.server.settings import PANELS, PREFIX, ServerSettings
from served import served
from videos import make_video

PAGE = ROOT / "docs" / "server.md"
TEXT = PAGE.read_text(encoding="utf-8")
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


def test_the_table_of_variables_is_that_of_the_settings():
    """If not: python docs/settings_table.py."""
    made = runpy.run_path(str(PAGE.with_name("settings_table.py")))
    assert made["with_table"](TEXT) == TEXT
    assert set(re.findall(rf"`({PREFIX}\w+)` \|", TEXT)) == {*ServerSettings().to_environment(), "MIEN_PROCESSES"}


def test_every_setting_has_a_heading_and_a_meaning():
    names = [name for panel in PANELS.values() for name in panel]
    assert sorted(names) == sorted(ServerSettings.__dataclass_fields__) == sorted(described(ServerSettings))
