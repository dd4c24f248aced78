"""`mien serve` as a process: options, variables, signals, several workers."""

import json
import os
import re
import signal
import socket
import subprocess
import sys

import httpx
import pytest
from conftest import EXAMPLES

from helpers import free_port, wait_for

pytest.importorskip("fastapi")
pytest.importorskip("av")

from typer.testing import CliRunner
from websockets.sync.client import connect

from mien.cli.app import app
from mien.errors import InputError
from mien.server.settings import PREFIX, ServerSettings
from videos import make_video

ASTRONAUT = (EXAMPLES / "astronaut.jpg").read_bytes()


class Process:
    """A running `mien serve`."""

    def __init__(self, folder, *options, **variables):
        self.port = free_port()
        self.log = folder / "log.txt"
        environment = {**os.environ, "MIEN_DATA_DIR": str(folder), "MIEN_RATE": "0", **variables}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mien", "serve", "--port", str(self.port), *options],
                env=environment,
                stdout=log,
                stderr=log,
            )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def __enter__(self):
        try:
            wait_for(self.answers, seconds=120)  # each of its processes opens the models, beside other work
        except BaseException:
            self.__exit__()  # nobody else ends it
            raise
        return self

    def answers(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.http.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, sent=signal.SIGTERM):
        self.process.send_signal(sent)
        return self.process.wait(20)

    def __exit__(self, *_):
        self.http.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)


def test_help_names_every_setting_and_its_variable():
    text = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "250", "TERM": "dumb"}, color=False).output
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    for name in ServerSettings.__dataclass_fields__:
        assert f"--{name.replace('_', '-')}" in plain, name
        assert PREFIX + name.upper() in plain, name
    assert "Article 5(1)(f)" in plain


def test_settings_go_through_the_environment_and_back():
    settings = ServerSettings(token="t" * 20, url_allowed=True, rate=2.5, port=1, allowed_hosts="a.example", workers=3)
    assert ServerSettings.from_environment(settings.to_environment()) == settings
    assert ServerSettings.from_environment({"MIEN_PORT": "99"}, port=5, rate=None).port == 5
    for name, value in (("PORT", "x"), ("INSECURE", "maybe"), ("RATE", "fast")):
        with pytest.raises(InputError, match=f"MIEN_{name}"):
            ServerSettings.from_environment({f"MIEN_{name}": value})


@pytest.mark.parametrize("wrong", [{"port": 70_000}, {"max_images": 0}, {"rate": -1.0}, {"detector": "ssd"}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        ServerSettings(**wrong)


def test_another_address_without_a_token_is_refused_before_anything_starts():
    result = subprocess.run(
        [sys.executable, "-m", "mien", "serve", "--host", "0.0.0.0"], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 2 and "--token or MIEN_TOKEN" in result.stderr


def test_a_port_that_is_taken_is_an_error(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = subprocess.run(
            [sys.executable, "-m", "mien", "serve", "--port", str(taken.getsockname()[1])],
            capture_output=True, text=True, timeout=60, env={**os.environ, "MIEN_DATA_DIR": str(tmp_path)},
        )  # fmt: skip
    assert result.returncode == 1 and "port" in result.stderr


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_politely(tmp_path, sent):
    with Process(tmp_path, "-v") as server:
        with connect(f"ws://127.0.0.1:{server.port}/v1/stream") as stream:
            stream.send("{}")
            stream.recv(10)
            stream.send(ASTRONAUT)
            assert json.loads(stream.recv(10))["type"] == "faces"
            server.process.send_signal(sent)
            assert json.loads(stream.recv(10))["type"] == "closing"
        assert server.process.wait(20) == 0
        log = server.log.read_text()
        assert "stopped" in log and "Traceback" not in log and "127.0.0.1 " not in log


def test_a_video_survives_the_process_being_killed(tmp_path):
    video = make_video(tmp_path / "video.mp4", frames=200)
    with Process(tmp_path) as server:
        name = server.http.post("/v1/jobs", files={"file": video.read_bytes()}).json()["id"]
        wait_for(lambda: server.http.get(f"/v1/jobs/{name}").json()["progress"]["frames"] > 10)
        server.process.kill()
        server.process.wait(20)
    from sqlalchemy import create_engine, text

    engine = create_engine(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    with engine.begin() as connection:
        (state, lease) = connection.execute(text("SELECT state, lease FROM mien_jobs")).one()
        assert state == "running" and lease > 0
        connection.execute(text("UPDATE mien_jobs SET lease = 0"))  # instead of waiting until it runs out
    engine.dispose()
    with Process(tmp_path) as server:
        wait_for(lambda: server.http.get(f"/v1/jobs/{name}").json()["state"] == "done", seconds=60)
        assert server.http.get(f"/v1/jobs/{name}").json()["progress"]["frames"] == 200


@pytest.mark.slow
def test_several_processes_share_port_and_jobs(tmp_path):
    video = make_video(tmp_path / "video.mp4", frames=6)
    with Process(tmp_path, "--processes", "2", MIEN_WORKERS="1") as server:
        name = server.http.post("/v1/jobs", files={"file": video.read_bytes()}).json()["id"]
        wait_for(lambda: server.http.get(f"/v1/jobs/{name}").json()["state"] == "done")
        faces = server.http.post("/v1/analyze", files={"file": ASTRONAUT}).json()["results"][0]["faces"]
        assert faces[0]["expression"] == "happy"
        assert server.stop() == 0
