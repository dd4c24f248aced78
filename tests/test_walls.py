"""The house plan: a module imports only from rows above its own, and importing mien loads nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parent.parent / "src" / "mien"

PACKAGE = "__init__"


def modules():
    return sorted(SRC.rglob("*.py"))


def room(path):
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imported_rooms(path):
    """Yield the rooms of mien that a file imports at run time."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "mien":
            for alias in node.names:
                yield PACKAGE if alias.name == "__version__" else alias.name
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mien."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("mien."))


def test_onnx_runtime_is_loaded_in_one_place_which_silences_it_first():
    for path in modules():
        if room(path) != "_onnxruntime":
            plain = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Import)]
            assert not [a for n in plain for a in n.names if a.name == "onnxruntime"], path


def test_training_never_imports_the_pipeline():
    for path in (SRC / "train").glob("*.py"):
        assert "pipeline" not in set(imported_rooms(path)), path


def test_only_the_command_line_prints():
    for path in modules():
        if room(path) != "cli":
            calls = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
            assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"], path


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_loads_nothing_heavy():
    heavy = "torch lightning ray fastapi matplotlib pandas pyarrow cv2 onnxruntime dlib tensorflow sklearn rich typer"
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
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = mien.nonsense
