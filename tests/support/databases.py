"""A PostgreSQL server of the tests' own, on machines that have its programs."""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers import free_port

USER = "postgres"  # PostgreSQL refuses to run as root


class Postgresql:
    """A running server without passwords that only this machine reaches."""

    def __init__(self, port: int) -> None:
        """Take down where it listens."""
        self._base = f"postgresql+psycopg://mien@127.0.0.1:{port}/"

    def new_database(self) -> str:
        """Make an empty database and return its SQLAlchemy URL."""
        import sqlalchemy

        name = f"mien_{uuid.uuid4().hex[:8]}"
        engine = sqlalchemy.create_engine(f"{self._base}postgres", isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self._base + name


@contextmanager
def postgresql() -> Iterator[Postgresql]:
    """Run a server for as long as the context lasts; skip the test where there is none to run."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'mien[postgresql]'")
    programs, prefix = _programs(), _prefix()
    with tempfile.TemporaryDirectory(prefix="mien-pg-", dir="/tmp") as name:  # sockets want short paths
        folder = Path(name)
        if prefix:
            shutil.chown(folder, USER)
        data, port = folder / "data", free_port()

        def run(program: str, *arguments: str) -> None:
            with (folder / "said").open("w+") as said:  # not a pipe: the server would keep it open
                command = [*prefix, programs / program, "-D", data, *arguments]
                done = subprocess.run(command, cwd="/", stdout=said, stderr=said, check=False)
                said.seek(0)
                assert done.returncode == 0, f"{program}: {said.read()}"

        run("initdb", "-A", "trust", "-U", "mien", "-N")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        try:
            run("pg_ctl", "-w", "-l", f"{folder}/log", "-o", options, "start")
            yield Postgresql(port)
        finally:
            run("pg_ctl", "-m", "immediate", "stop")


def _programs() -> Path:
    """Return the folder with PostgreSQL's programs, of the newest version; Debian keeps them off the path."""
    found = shutil.which("pg_ctl")
    if found and shutil.which("initdb"):
        return Path(found).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parent.parent.name))
    if not versions:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    return versions[-1].parent


def _prefix() -> list[str]:
    """Return what runs a program as somebody else where the tests run as root."""
    if os.getuid() != 0:
        return []
    program = shutil.which("runuser")
    known = subprocess.run(["id", USER], capture_output=True, check=False).returncode == 0
    if not (program and known):
        pytest.skip(f"PostgreSQL does not run as root; needs runuser and the user {USER}")
    return [program, "-u", USER, "--"]
