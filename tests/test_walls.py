"""The walls of the house: docs/architecture.md is the plan, and these tests hold it."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "mien"
PLAN = ROOT / "docs" / "architecture.md"
ENTRANCE = ("__init__", "__main__")


def plan() -> dict[str, int]:
    """Rooms and modules at the top of the house, with their rows, as the plan has them."""
    text = PLAN.read_text(encoding="utf-8").split("## Rooms")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d) \| ([^|]+) \|", text, re.M)
    return {
        name.removesuffix(".py").strip("/"): int(row) for row, names in rows for name in re.findall(r"`([^`]+)`", names)
    }


ROWS = plan()
MODULES = sorted(SRC.rglob("*.py")) + sorted(SRC.rglob("*.pyi"))


def room(path: Path) -> str:
    return path.relative_to(SRC).parts[0].split(".")[0]


def dotted(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(("mien", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def imports(path: Path) -> set[str]:
    """Return the full names of what a file imports from mien, at run time or for types."""
    found = set()
    package = dotted(path).split(".") if path.stem == "__init__" else dotted(path).split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module or "")))
            if module.split(".")[0] == "mien":
                found |= {f"{module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "mien"}
    return found


def test_the_plan_is_the_house() -> None:
    here = {
        p.name.split(".")[0] for p in SRC.iterdir() if (p.is_dir() and p.name != "__pycache__") or p.suffix == ".py"
    }
    assert here - set(ENTRANCE) == set(ROWS)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_imports_come_from_lower_rows(path: Path) -> None:
    own = room(path)
    if own in ENTRANCE:
        return
    for name in imports(path):
        other = name.split(".")[1]
        assert other not in ENTRANCE and other in ROWS, f"{path}: {name}: nothing runs up; name the module"
        if other != own:
            assert ROWS[other] < ROWS[own] or ROWS[other] == ROWS[own] == 0, (
                f"{own} (row {ROWS[own]}) imports {name} (row {ROWS[other]})"
            )


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_private_modules_stay_in_their_folder(path: Path) -> None:
    for name in imports(path):
        parts = name.split(".")
        for i, part in enumerate(parts[2:], 2):
            if part.startswith("_") and not part.startswith("__") and (SRC / Path(*parts[1:i]) / f"{part}.py").exists():
                assert dotted(path).startswith(".".join(parts[:i])) and path.parent == SRC / Path(*parts[1:i]), (
                    f"{name} is private"
                )


def test_no_public_class_has_a_namesake() -> None:
    homes = defaultdict(list)
    for path in sorted(SRC.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(dotted(path))
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_no_module_imports_itself_through_others() -> None:
    modules = {dotted(p): p for p in sorted(SRC.rglob("*.py")) if p.stem != "__init__"}
    arrows = {
        name: {".".join(n.split(".")[:k]) for n in imports(p) for k in range(2, n.count(".") + 2)} & set(modules)
        for name, p in modules.items()
    }
    while leaves := [name for name, to in arrows.items() if not to & set(arrows)]:
        for name in leaves:
            del arrows[name]
    assert arrows == {}, "a cycle"


def test_no_two_rooms_import_each_other() -> None:
    arrows = {(room(p), n.split(".")[1]) for p in MODULES for n in imports(p) if room(p) not in ENTRANCE}
    assert [(a, b) for a, b in arrows if a != b and (b, a) in arrows] == []


def test_onnx_runtime_is_loaded_in_one_place_which_silences_it_first():
    for path in sorted(SRC.rglob("*.py")):
        if room(path) != "_onnxruntime":
            plain = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Import)]
            assert not [a for n in plain for a in n.names if a.name == "onnxruntime"], path


def test_training_never_imports_the_analyzer_tracking_or_videos():
    for path in (SRC / "train").rglob("*.py"):
        rooms = {name.split(".")[1] for name in imports(path)}
        assert not rooms & {"analyzer", "tracking", "video"}, path


def test_only_the_command_line_prints():
    for path in sorted(SRC.rglob("*.py")):
        if room(path) != "cli":
            calls = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
            assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"], path


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_loads_nothing_heavy():
    heavy = (
        "torch lightning ray fastapi matplotlib pandas pyarrow av cv2 onnxruntime dlib tensorflow sklearn rich typer"
    )
    code = f"import sys, mien; print([m for m in {heavy.split()!r} if m in sys.modules])"
    assert run_python(code).strip() == "[]"


def test_using_the_analyzer_loads_no_training_packages():
    heavy = ["torch", "lightning", "pandas", "matplotlib", "tensorflow", "onnx"]
    code = f"import sys, mien; mien.Analyzer(); print([m for m in {heavy!r} if m in sys.modules])"
    assert run_python(code).strip() == "[]"


def test_import_takes_less_than_the_promised_time():
    code = "import time; t = time.perf_counter(); import mien; print(time.perf_counter() - t)"
    assert min(float(run_python(code)) for _ in range(3)) < 0.3


def test_public_names_are_sorted_and_exist():
    import mien

    assert mien.__all__ == sorted(mien.__all__)
    assert all(hasattr(mien, name) for name in mien.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = mien.nonsense


def test_the_public_names_are_those_of_the_plan() -> None:
    import mien

    listed = PLAN.read_text(encoding="utf-8").split("## Names at the door")[1].split("\n## ")[0]
    assert sorted(re.findall(r"`(\w+)`", listed)) == sorted(mien.__all__)


def shown_imports() -> list[str]:
    """Return every import of mien that README and the docs show."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    blocks = [b for p in pages for b in re.findall(r"```python\n(.*?)```", p.read_text(encoding="utf-8"), re.S)]
    nodes = [n for block in blocks for n in ast.walk(ast.parse(block)) if isinstance(n, ast.Import | ast.ImportFrom)]
    return sorted({line for node in nodes if "mien" in (line := ast.unparse(node))})


@pytest.mark.parametrize("line", shown_imports())
def test_imports_that_the_docs_show_work(line: str) -> None:
    exec(line, {})
