"""The files of the page belong together: what one names, another holds."""

import re
from importlib import resources

import pytest

STATIC = resources.files("mien.server") / "static"
TEXTS = {file.name: file.read_text(encoding="utf-8") for file in STATIC.iterdir() if file.is_file()}
SCRIPTS = {name: text for name, text in TEXTS.items() if name.endswith(".js")}
NAMED_ICON = re.compile(r"""icons\.svg#([\w-]+)|(?:\bicon\(|symbol: |relabel\([^,]+, )"([\w-]+)\"""")


def test_every_icon_that_is_named_exists_and_no_other():
    drawn = set(re.findall(r'id="([^"]+)"', TEXTS["icons.svg"]))
    pieces = "\n".join([TEXTS["index.html"], *SCRIPTS.values()])
    named = {one or other for one, other in NAMED_ICON.findall(pieces)}
    assert named and named <= drawn
    assert {name for name in drawn if f'"{name}"' not in pieces and f"#{name}" not in pieces} == set()


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_every_id_that_a_script_asks_for_is_there(name):
    here = "\n".join([TEXTS["index.html"], *SCRIPTS.values()])
    ids = set(re.findall(r"""\bid[=:] ?["']([^"'$]+)["']""", here))
    assert set(re.findall(r"""\$\("#([\w-]+)["' .]""", SCRIPTS[name])) <= ids
