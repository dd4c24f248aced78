"""Files about the project say what pyproject.toml, constraints.txt and the tree say."""

import re
import tomllib

import pytest
from conftest import ROOT

from mien import __version__

yaml = pytest.importorskip("yaml", reason="needs PyYAML: pip install 'mien[dev]'")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").split())
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(name):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version_and_licence():
    citation = read("CITATION.cff")
    assert citation["version"] == __version__
    assert citation["license"] == PROJECT["license"]


def test_the_conda_recipe_needs_what_the_package_needs():
    recipe = read("conda/recipe.yaml")
    assert recipe["context"]["version"] == __version__
    assert f">={recipe['context']['python_min']}" == PROJECT["requires-python"]
    needed = {line.replace(" ", "") for line in recipe["requirements"]["run"]} - {"python>=${{python_min}}"}
    assert needed == {line.replace("opencv-python-headless", "py-opencv") for line in PROJECT["dependencies"]}
    ((name, target),) = (line.split(" = ") for line in recipe["build"]["python"]["entry_points"])
    assert PROJECT["scripts"][name] == target


def test_hooks_have_the_versions_that_are_pinned():
    for repository in read(".pre-commit-config.yaml")["repos"]:
        if "ruff" in repository["repo"]:
            assert repository["rev"] == f"v{PINS['ruff']}"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_name_files_and_extras_that_there_are(path):
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"\b(?:tests|src|examples|\.ci)/[\w/.-]+", text):
        assert (ROOT / name).exists(), name
    for extras in re.findall(r"\.whl\)\[([\w,]+)\]", text):
        assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_releases_are_tested_on_every_python_from_the_least_on():
    pythons = read(".github/workflows/release.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert f">={pythons[0]}" == PROJECT["requires-python"]
    assert [int(version.split(".")[1]) for version in pythons] == list(range(11, 11 + len(pythons)))


def test_only_the_job_that_publishes_may_write():
    for path in WORKFLOWS:
        workflow = read(path)
        assert workflow["permissions"] == {"contents": "read"}
        assert {name for name, job in workflow["jobs"].items() if "permissions" in job} <= {"publish"}


def test_what_builds_the_image_is_pinned():
    built_with = re.search(r"--constraint constraints\.txt (.+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"))[1]
    assert set(built_with.split()) <= set(PINS)
