"""Extras are named right: each one that a message or a page names exists, and brings the module that is asked for."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import run_cli

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DISTRIBUTIONS = {
    "PIL": "pillow", "av": "av", "cv2": "opencv-python-headless", "dlib": "dlib-bin", "pillow_heif": "pillow-heif",
    "pygame": "pygame-ce", "sklearn": "scikit-learn",
}  # fmt: skip
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMED_IN_TEXT = re.compile(r"mien\[([\w,-]+)\]|'\.\[([\w,-]+)\]'|extras? `([\w-]+)`")


def brought_by(extra: str) -> set[str]:
    """Return the distributions that an extra brings, those of the extras it includes too."""
    found = set()
    for requirement in EXTRAS[extra]:
        name, inner = re.match(r"([\w-]+)(?:\[([\w,-]+)\])?", requirement).groups()
        if name == "mien":
            found |= set().union(*(brought_by(each) for each in inner.split(",")))
        else:
            found.add(name.lower().replace("_", "-"))
    return found


def required() -> Iterator[tuple[str, str, str]]:
    """Yield file, extra and module of each call of `require_extra`."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "require_extra":
                extra, module = (part.value for part in node.args if isinstance(part, ast.Constant))
                yield path.relative_to(ROOT).as_posix(), extra, module


def test_each_required_module_comes_with_the_extra_that_the_message_names() -> None:
    calls = list(required())
    assert len(calls) > 50
    for path, extra, module in calls:
        top = module.partition(".")[0]
        name = DISTRIBUTIONS.get(top, top).lower().replace("_", "-")
        assert extra in EXTRAS, f"{path} names an extra {extra!r} that pyproject.toml lacks"
        assert name in brought_by(extra), f"{path}: the extra {extra!r} does not bring {module}"


def test_each_extra_that_a_text_names_exists() -> None:
    named = 0
    for path in [*PAGES, *sorted((ROOT / "src").rglob("*.py"))]:
        for match in NAMED_IN_TEXT.finditer(path.read_text(encoding="utf-8")):
            for extra in next(filter(None, match.groups())).split(","):
                named += 1
                assert extra in EXTRAS or path.name == "coming-from.md", f"{path} names an extra {extra!r}"
    assert named > 15


def test_how_to_install_stands_in_one_place() -> None:
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        assert "pip install 'mien" not in text and "pip install mien" not in text, f"{path}: nothing is published yet"
        if path.name not in ("README.md", "CONTRIBUTING.md", "benchmarks.md", "coming-from.md"):
            assert "pip install '." not in text, f"{path}: link to README's «Installing» instead"


@pytest.mark.parametrize(
    ("module", "command", "extra"),
    [
        ("lightning", ("train", "x", "-o", "run"), "train"),
        ("lightning", ("tune", "x", "-o", "run"), "train"),
        ("kornia", ("data", "augment", "x"), "train"),
        ("h5py", ("export", "x.onnx", "--keras-pair", "x"), "keras"),
        ("fastapi", ("serve",), "server"),
        ("sklearn", ("train-baseline", "x", "-o", "y"), "train"),
        ("matplotlib", ("compare", "a", "b", "x", "-o", "x.html"), "plots"),
    ],
)
def test_a_command_names_the_extra_it_lacks(module, command, extra, monkeypatch, capsys) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    code, _, said = run_cli(monkeypatch, capsys)(*command)
    assert code == 2
    assert f"pip install 'mien[{extra}]'" in " ".join(said.split())
