"""The Dockerfile and the compose file name files, extras, services and settings that there are."""

import fnmatch
import json
import re
import shlex
import tomllib

import pytest
from conftest import ROOT

pytest.importorskip("yaml", reason="needs PyYAML: pip install 'mien[dev]'")
pytest.importorskip("fastapi", reason="needs the extra server")

import yaml
from sqlalchemy import make_url

from mien.server.settings import PREFIX, ServerSettings

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SERVICES = COMPOSE["services"]
SECRETS = {"MIEN_TOKEN": "0123456789abcdef", "POSTGRES_PASSWORD": "fedcba9876543210"}  # what .env holds


def instructions(name):
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def image_environment():
    return dict(word.split("=", 1) for line in instructions("ENV") for word in shlex.split(line))


def filled_in(value):
    """Return a value of the compose file as it is with .env beside it."""
    return re.sub(r"\$\{(\w+)(:\?[^}]*)?\}", lambda match: SECRETS[match[1]], str(value))


def running_environment(service):
    return {name: filled_in(value) for name, value in SERVICES[service]["environment"].items()}


def test_every_variable_is_a_setting_and_all_of_them_together_are_accepted():
    given = image_environment() | running_environment("mien")
    known = {*ServerSettings().to_environment(), "MIEN_PROCESSES"}
    assert {name for name in given if name.startswith(PREFIX)} <= known
    settings = ServerSettings.from_environment(given)
    assert settings.token == SECRETS["MIEN_TOKEN"] and settings.host == "0.0.0.0"
    assert str(settings.data_dir) in instructions("VOLUME") == [str(settings.data_dir)]
    assert instructions("EXPOSE") == [str(settings.port)]
    (port,) = SERVICES["mien"]["ports"]
    assert port == f"127.0.0.1:{settings.port}:{settings.port}", "TLS belongs before it"
    assert float(SERVICES["mien"]["stop_grace_period"].removesuffix("s")) > settings.grace_s
    assert [json.loads(instructions(name)[0]) for name in ("ENTRYPOINT", "CMD")] == [["mien"], ["serve"]]


def test_the_list_of_videos_is_the_database_service():
    url = make_url(running_environment("mien")["MIEN_DATABASE"])
    database = running_environment("database")
    assert url.host in SERVICES and url.get_driver_name() == "psycopg"
    assert (url.username, url.password, url.database) == (
        database["POSTGRES_USER"],
        database["POSTGRES_PASSWORD"],
        database["POSTGRES_DB"],
    )
    assert set(SERVICES["mien"]["depends_on"]) == {"database"}


def test_volumes_are_declared_and_the_videos_are_on_one():
    mounts = {name: [mount.split(":") for mount in service["volumes"]] for name, service in SERVICES.items()}
    assert {volume for parts in mounts.values() for volume, _ in parts} == set(COMPOSE["volumes"])
    assert ["videos", "/data"] in mounts["mien"]
    assert SERVICES["mien"]["read_only"] and SERVICES["mien"]["cap_drop"] == ["ALL"]


def test_what_the_image_is_built_from_is_there_and_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    sources = [word for line in instructions("COPY") for word in line.split()[:-1]]
    sources += re.findall(r"--mount=type=bind,source=([^,]+),", DOCKERFILE)
    assert "src" in sources and "constraints.txt" in sources
    for source in sources:
        assert (ROOT / source).exists() and source in kept, source
    assert any(fnmatch.fnmatch("src", pattern) for pattern in ignored if not pattern.startswith("!"))


def test_the_image_installs_extras_that_there_are_on_a_python_that_will_do():
    (extras,) = re.findall(r"\.whl\)\[([\w,]+)\]", DOCKERFILE)
    assert set(extras.split(",")) == {"server", "postgresql"} <= set(PROJECT["optional-dependencies"])
    versions = {tuple(map(int, found)) for found in re.findall(r"python:(\d+)\.(\d+)-", DOCKERFILE)}
    least = tuple(map(int, PROJECT["requires-python"].removeprefix(">=").split(".")))
    assert len(versions) == 1 and versions.pop() >= least


def test_nobody_is_root_in_the_image():
    (user,) = instructions("USER")
    assert f"--uid 10001 {user}" in DOCKERFILE
    assert DOCKERFILE.index("\nUSER ") < DOCKERFILE.index("\nENTRYPOINT ")
