"""What README and docs show works: Python blocks run, in order, and every `mien` line is one that mien takes.

A block that cannot run here says so on its page, in the comment above it: `<!-- not run: needs a camera -->`. A line of
the command line is read, with its options and their values, and not run.
"""

import itertools
import json
import os
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import typer
from conftest import EXAMPLES, ROOT, read_rgb
from PIL import Image

import mien
from mien.cli.app import app
from mien.errors import MissingExtraError

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(?:<!-- ([^\n]+?) -->\n+)?```(\w+)\n(.*?)```(?:\n+```text\n(.*?)```)?", re.S)
NOT_RUN = re.compile(r"not run: \w|run by (tests/\S+\.py)")
STANDS_FOR = {  # what is not at hand, and what is taken for it
    "rtsp://camera.local/stream": "clip.mp4",
    "https://example.org/a.jpg": "photo.jpg",
}
MADE = re.compile(r"\]\(((?:\.\./)*(?:docs/)?images/made/([\w-]+)\.webp)\)")  # by a block: `docs/pictures.py`


def blocks(page: Path, *kinds: str) -> list[tuple[str, str, str]]:
    """Return the blocks of a page, each with the comment above it and the output below it."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(comment, code, output) for comment, kind, code, output in found if kind in kinds]


def made_pictures(page: Path) -> dict[str, Path]:
    """Return the pictures that a page shows and that its code, or that of another page, makes: their files by name."""
    return {name: (page.parent / link).resolve() for link, name in MADE.findall(page.read_text(encoding="utf-8"))}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages speak of: photos and a short video."""
    pytest.importorskip("av")
    from videos import portraits, write_video

    folder = tmp_path_factory.mktemp("pages")
    for name in ("photo.jpg", "team.jpg", "photos/a.jpg", "more/b.jpg", "more/c.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.open(EXAMPLES / "astronaut.jpg").save(folder / name)
    shutil.copytree(EXAMPLES, folder / "examples")
    write_video(folder / "clip.mp4", portraits(4))
    return folder


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_python_blocks_run_and_print_what_the_page_says(
    page: Path,
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib").use("agg")
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    ran = 0
    for comment, code, output in blocks(page, "python"):
        if told := NOT_RUN.match(comment):
            assert not told[1] or (ROOT / told[1]).is_file(), comment
            continue
        for named, taken in STANDS_FOR.items():
            code = code.replace(named, taken)
        capsys.readouterr()
        try:
            exec(compile(code, name_of(page), "exec"), names)
        except MissingExtraError as error:
            pytest.skip(str(error))
        assert not output or capsys.readouterr().out == output
        ran += 1
    for name, shown in made_pictures(page).items():
        for made in (tmp_path / f"{name}{ending}" for ending in (".png", ".jpg")):
            assert not made.exists() or difference(made, shown) < 60, f"{shown}: python docs/pictures.py made"
    if not ran:
        pytest.skip("every block of this page says why it is not run")


def small(picture: Image.Image) -> Image.Image:
    """Return a picture as a page shows it: with a longest side of 560 pixels, or 1,000 where it is very wide."""
    picture = picture.convert("RGB")
    side = 1000 if picture.width > 2 * picture.height else 560
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture


def difference(made: Path, shown: Path) -> int:
    """Return the largest difference of two pictures, in means of 4 x 4 pixels, gray levels.

    Compression makes some 30, other bars 110.
    """
    here, there = (small(Image.open(path)).reduce(4) for path in (made, shown))
    return int(np.abs(np.asarray(here, int) - np.asarray(there, int)).max()) if here.size == there.size else 255


def test_every_made_picture_is_shown_and_comes_from_a_block_of_a_page_that_shows_it() -> None:
    shown = {path: name for page in PAGES for name, path in made_pictures(page).items()}
    assert set(shown) == set((ROOT / "docs" / "images" / "made").iterdir())
    for path, name in shown.items():
        pages = [page for page in PAGES if name in made_pictures(page)]
        code = "".join(code for page in pages for _, code, _ in blocks(page, "python", "sh"))
        assert re.search(rf"\"{name}[\".]| {name}\.png", code), f"no block makes {path.name}"


@pytest.mark.parametrize("notebook", sorted((ROOT / "docs").rglob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_is_kept_without_outputs_and_runs(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av")
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib").use("agg")
    monkeypatch.chdir(notebook.parent)
    names: dict[str, object] = {}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None, "clear the outputs: the site makes them"
            code = "".join(line for line in cell["source"] if not line.startswith("%"))
            exec(compile(code, notebook.name, "exec"), names)
    assert names["table"]["expression"].tolist() == ["happy", "neutral"]


def tasks() -> list[str]:
    """Return mien's code for each task of the page for those who come from other tools."""
    page = (ROOT / "docs" / "coming-from.md").read_text(encoding="utf-8")
    rows = page.partition("## Task by task")[2].partition("\n## ")[0].splitlines()
    return [code for row in rows if row.startswith("|") for code in re.findall(r"`([^`]+)`", row.split("|")[-2])]


@pytest.mark.parametrize("code", tasks())
def test_a_task_takes_the_one_line_that_the_page_shows(
    code: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas")
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    shutil.copy(tmp_path / "photo.jpg", tmp_path / "a.jpg")
    shutil.copy(tmp_path / "clip.mp4", tmp_path / "a.mp4")
    monkeypatch.chdir(tmp_path)
    if code.startswith("mien "):
        test_lines_of_the_command_line_are_understood("", code, tmp_path, monkeypatch)
    elif code.startswith("for "):
        names: dict[str, object] = {"mien": mien}
        exec(code.replace("(0)", "('a.mp4')") + "\n    break", names)
        assert len(names["faces"]) == 1
    else:
        assert eval(code, {"mien": mien, "bgr": read_rgb(tmp_path / "a.jpg")[..., ::-1].copy()}) is not None


def lines() -> list[tuple[str, str]]:
    """Return page and text of each line of a page's code that calls mien."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        code = [code for _, code, _ in blocks(page, "sh", "console", "bash")]
        indented = re.findall(r"^ {4}(?:\$ )?(mien .*)$", BLOCK.sub("", text), re.M)
        joined = "\n".join([*code, *indented]).replace("\\\n", " ")
        found += [(name_of(page), line) for line in re.findall(r"^(?:\$ )?(mien .+)$", joined, re.M)]
    return found


@pytest.mark.parametrize(("page", "line"), lines(), ids=lambda text: text)
def test_lines_of_the_command_line_are_understood(
    page: str, line: str, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inputs)
    words = shlex.split(line, comments=True)[1:]
    words = list(itertools.takewhile(lambda word: not word.startswith(("|", ">")), words))
    command, context = typer.main.get_command(app), None
    while hasattr(command, "commands"):
        context = typer.Context(command, parent=context, info_name="mien")
        _, command, words = command.resolve_command(context, words)
    command.make_context(command.name, words, parent=context).close()


def test_a_wrong_line_would_be_noticed(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Exception, match="--colour"):
        test_lines_of_the_command_line_are_understood("", f"mien analyze {os.devnull} --colour", inputs, monkeypatch)
