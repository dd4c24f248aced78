"""A real server in a thread of the test's process, on a free port of 127.0.0.1."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from helpers import wait_for
from mien.server.app import create_app
from mien.server.run import configured
from mien.server.settings import ServerSettings

START_S = 30
PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Served:
    """A running server."""

    http: httpx.Client
    port: int
    app: Any
    uvicorn: uvicorn.Server
    data_dir: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def stream_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/stream"


@contextmanager
def served(data_dir: Path, **wanted: Any) -> Iterator[Served]:
    """Run a server with some settings."""
    settings = ServerSettings(**{"port": 0, "data_dir": data_dir, "rate": 0.0, "workers": 2, "grace_s": 5.0} | wanted)
    app = create_app(settings)
    server = uvicorn.Server(configured(settings, app=app, log_level=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started or not thread.is_alive())
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            yield Served(http, port, app, server, data_dir)
    finally:
        server.should_exit = True
        thread.join(START_S)
        assert not thread.is_alive(), "the server did not stop"


def send(server, *images, **params):
    """Send images as a form."""
    files = [("file", (name, data, "image/jpeg")) for name, data in images]
    return server.http.post("/v1/analyze", files=files, params=params)


def check_problem(answer, status, word=""):
    """Check that an answer is a problem document, and return its detail."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    problem = answer.json()
    assert problem["status"] == status and problem["title"] and problem["type"] == "about:blank"
    assert word in problem["detail"]
    return problem["detail"]
