"""The list of jobs in a database: SQLite by default, PostgreSQL by URL. Several servers may share it.

A server claims a job by writing its name and a lease into it, and renews the lease while it works. A job whose lease
ran out belongs to nobody any more, and the next server takes it up.
"""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateColumn

from mien.errors import InputError, MissingExtraError, OutputError
from mien.server.work.notes import Note, NoteTable, notes_table

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
ENDED = (DONE, FAILED, CANCELLED)
BUSY_S = 15.0  # how long SQLite waits for another writer

_metadata = MetaData()
_jobs = Table(
    "mien_jobs",
    _metadata,
    Column("id", String(32), primary_key=True),
    Column("state", String(12), nullable=False, index=True),
    Column("source", Text, nullable=False),
    Column("suffix", String(12), nullable=False),
    Column("options", Text, nullable=False),
    Column("created", Float, nullable=False, index=True),
    Column("started", Float),
    Column("finished", Float),
    Column("expires", Float, index=True),
    Column("frames", Integer, nullable=False, default=0),
    Column("total", Integer),
    Column("fps", Float),
    Column("left_s", Float),
    Column("error", Text),
    Column("owner", String(64)),
    Column("lease", Float),
    Column("attempts", Integer, nullable=False, default=0),
    Column("list_id", String(64), nullable=False, server_default="", index=True),
)
_notes = NoteTable(notes_table(_metadata))


@dataclass(frozen=True)
class JobRow:
    """A job as the database has it. Times are seconds since 1970, UTC.

    Attributes:
        id: Name of the job, which nobody can guess.
        state: One of the states.
        source: The video's name for people.
        suffix: The video's extension, `".mp4"` say.
        options: How it is analyzed.
        created: When it came in.
        started: When it was first taken up.
        finished: When it ended.
        expires: When it is removed.
        frames: Frames done.
        total: Frames in all, if known.
        fps: Frames per second of work.
        left_s: Seconds left.
        error: A problem document.
        owner: The server that works on it.
        lease: Until when it is that server's.
        attempts: How often it was taken up.
        list_id: Whose list it stands in; empty for the one that is everybody's.
    """

    id: str
    state: str
    source: str
    suffix: str
    options: dict[str, Any]
    created: float
    started: float | None = None
    finished: float | None = None
    expires: float | None = None
    frames: int = 0
    total: int | None = None
    fps: float | None = None
    left_s: float | None = None
    error: dict[str, Any] | None = None
    owner: str | None = None
    lease: float | None = None
    attempts: int = 0
    list_id: str = ""


class ListError(OutputError):
    """The list of jobs cannot be used now: its database is away, busy or full."""


class JobStore:
    """The jobs. Safe to use from several threads and processes at once."""

    def __init__(self, url: str) -> None:
        """Open the database and make the table where there is none.

        Args:
            url: SQLAlchemy URL.

        Raises:
            InputError: It is not one.
            ListError: The database cannot be used.
        """
        try:
            options: dict[str, Any] = {"pool_pre_ping": True, "pool_size": 4, "max_overflow": 4}
            if url.startswith("sqlite"):  # a file is opened quickly, and pooled connections would lock it
                options = {"poolclass": NullPool, "connect_args": {"timeout": BUSY_S}}
            self._engine = create_engine(url, **options)
        except (ArgumentError, ValueError) as error:
            raise InputError(
                "the database must be an SQLAlchemy URL, postgresql+psycopg://user@host/name say"
            ) from error
        except ImportError as error:
            raise MissingExtraError(
                f"the database needs the module {error.name!r}; pip install 'mien[postgresql]'"
            ) from error
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _set_up_sqlite)
        self._create()

    def _create(self) -> None:
        try:
            with self._begin() as connection:
                _metadata.create_all(connection)
                _add_new_columns(connection)
        except ListError:
            with self._begin() as connection:  # another server may have been quicker
                connection.execute(select(func.count()).select_from(_jobs))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            kind = type(getattr(error, "orig", None) or error).__name__
            raise ListError(f"the list of jobs cannot be used ({kind}); check the database and its disk") from error

    # Jobs come and go.

    def add(
        self, source: str, suffix: str, options: dict[str, Any], *, name: str | None = None, list_id: str = ""
    ) -> JobRow:
        """Add a job to the queue.

        Args:
            source: The video's name for people.
            suffix: The video's extension.
            options: How it is analyzed.
            name: Its id, from `new_id`.
            list_id: Whose list it stands in; empty for everybody's.
        """
        row = JobRow(name or new_id(), QUEUED, source, suffix, options, time.time(), list_id=list_id)
        values = {"id": row.id, "state": QUEUED, "source": source, "suffix": suffix, "created": row.created}
        values["list_id"] = list_id
        with self._begin() as connection:
            connection.execute(_jobs.insert().values(**values, options=json.dumps(options)))
        return row

    def get(self, name: str) -> JobRow | None:
        """Return a job, or None where there is none of that id."""
        with self._begin() as connection:
            row = connection.execute(select(_jobs).where(_jobs.c.id == name)).mappings().first()
        return None if row is None else _row(row)

    def all(self, *, limit: int = 1000, list_id: str | None = None) -> list[JobRow]:
        """Return the jobs, the newest first; of one list, where one is named."""
        wanted = select(_jobs).order_by(_jobs.c.created.desc()).limit(limit)
        if list_id is not None:
            wanted = wanted.where(_jobs.c.list_id == list_id)
        with self._begin() as connection:
            found = connection.execute(wanted).mappings().all()
        return [_row(row) for row in found]

    def counts(self) -> dict[str, int]:
        """Return how many jobs there are in each state."""
        with self._begin() as connection:
            found = connection.execute(select(_jobs.c.state, func.count()).group_by(_jobs.c.state)).all()
        return {state: 0 for state in (QUEUED, RUNNING, *ENDED)} | {state: count for state, count in found}

    def remove(self, name: str) -> bool:
        """Remove a job, with what was noted of it; return whether it was there."""
        with self._begin() as connection:
            _notes.remove(connection, name)
            return connection.execute(_jobs.delete().where(_jobs.c.id == name)).rowcount > 0

    def expired(self) -> list[str]:
        """Return the ids of jobs whose time is over."""
        with self._begin() as connection:
            return list(connection.execute(select(_jobs.c.id).where(_jobs.c.expires < time.time())).scalars())

    # What people note of a job.

    def note(self, name: str, kind: str) -> Note:
        """Return what is noted of a job.

        Args:
            name: The job.
            kind: What is noted: `people`, `truth` or `events`.
        """
        with self._begin() as connection:
            return _notes.last(connection, name, kind)

    def add_note(self, name: str, kind: str, value: list[Any], *, after: int) -> Note | None:
        """Note something anew; return what is noted now, or None where somebody else was quicker.

        Args:
            name: The job.
            kind: What is noted.
            value: Ready for JSON; it takes the place of what was noted, which `undo_note` brings back.
            after: Number of the change that it changes, 0 for the first.
        """
        with self._refused_twice() as tried, self._begin() as connection:
            if _notes.last(connection, name, kind).number == after:
                _notes.add(connection, name, kind, value, after=after)
                tried.append(True)
        return self.note(name, kind) if tried else None

    def undo_note(self, name: str, kind: str) -> Note | None:
        """Go back to what was noted before the last change; return it, or None where there is nothing to go back to.

        Args:
            name: The job.
            kind: What is noted.
        """
        with self._refused_twice() as tried, self._begin() as connection:
            before = _notes.before(connection, name, kind)
            if before is not None:
                value, back_to, last = before
                _notes.add(connection, name, kind, value, after=last, back_to=back_to)
                tried.append(True)
        return self.note(name, kind) if tried else None

    @contextmanager
    def _refused_twice(self) -> Iterator[list[bool]]:
        """Note whether a change was made; it was not where another server made one of the same number meanwhile."""
        made: list[bool] = []
        try:
            yield made
        except ListError as error:
            if not isinstance(error.__cause__, IntegrityError):
                raise
            made.clear()

    # A server works on a job.

    def claim(self, owner: str, *, lease_s: float) -> JobRow | None:
        """Take up the oldest job that is nobody's, or return None.

        Args:
            owner: Name of the server.
            lease_s: For how long it is this server's.
        """
        now = time.time()
        free = (_jobs.c.state == QUEUED) | ((_jobs.c.state == RUNNING) & (_jobs.c.lease < now))
        with self._begin() as connection:
            waiting = connection.execute(select(_jobs).where(free).order_by(_jobs.c.created).limit(8)).mappings().all()
        for row in waiting:
            with self._begin() as connection:
                mine = connection.execute(
                    _jobs.update()
                    .where(_jobs.c.id == row["id"], free)
                    .values(
                        state=RUNNING,
                        owner=owner,
                        lease=now + lease_s,
                        attempts=_jobs.c.attempts + 1,
                        started=func.coalesce(_jobs.c.started, now),
                    )
                )
            if mine.rowcount == 1:
                return self.get(row["id"])
        return None

    def renew(self, name: str, owner: str, *, lease_s: float, **progress: float | None) -> bool:
        """Keep a job for longer and note how far it is; return whether to go on.

        Args:
            name: The job.
            owner: Name of the server.
            lease_s: For how long it is still this server's.
            progress: `frames`, `total`, `fps`, `left_s`.
        """
        with self._begin() as connection:
            mine = connection.execute(
                _jobs.update()
                .where(_jobs.c.id == name, _jobs.c.owner == owner, _jobs.c.state == RUNNING)
                .values(lease=time.time() + lease_s, **progress)
            )
        return mine.rowcount == 1

    def put_back(self, name: str, owner: str) -> None:
        """Give a job up, for another server or the next start."""
        with self._begin() as connection:
            connection.execute(
                _jobs.update()
                .where(_jobs.c.id == name, _jobs.c.owner == owner, _jobs.c.state == RUNNING)
                .values(state=QUEUED, owner=None, lease=None, attempts=_jobs.c.attempts - 1)
            )

    def finish(self, name: str, owner: str, state: str, *, keep_s: float, error: dict[str, Any] | None = None) -> bool:
        """Note how a job ended; return whether it was still this server's.

        Args:
            name: The job.
            owner: Name of the server.
            state: One of `ENDED`.
            keep_s: Seconds until it is removed.
            error: A problem document.
        """
        now = time.time()
        with self._begin() as connection:
            mine = connection.execute(
                _jobs.update()
                .where(_jobs.c.id == name, _jobs.c.owner == owner, _jobs.c.state == RUNNING)
                .values(
                    state=state,
                    finished=now,
                    expires=now + keep_s,
                    error=None if error is None else json.dumps(error),
                    owner=None,
                    lease=None,
                    left_s=None,
                )
            )
        return mine.rowcount == 1

    def again(self, name: str) -> bool:
        """Put a job that failed into the queue once more; return whether it was one."""
        fresh = {"state": QUEUED, "error": None, "started": None, "finished": None, "expires": None, "attempts": 0}
        with self._begin() as connection:
            mine = connection.execute(_jobs.update().where(_jobs.c.id == name, _jobs.c.state == FAILED).values(**fresh))
        return mine.rowcount == 1

    def cancel(self, name: str, *, keep_s: float) -> None:
        """End a job that waits, and have one that runs stopped by the server that works on it.

        Args:
            name: The job.
            keep_s: Seconds until it is removed.
        """
        now = time.time()
        with self._begin() as connection:
            connection.execute(
                _jobs.update()
                .where(_jobs.c.id == name, _jobs.c.state.in_((QUEUED, RUNNING)))
                .values(state=CANCELLED, finished=now, expires=now + keep_s)
            )


def _add_new_columns(connection: Connection) -> None:
    """Give a table that an earlier mien made the columns that it lacks."""
    there = {column["name"] for column in inspect(connection).get_columns(_jobs.name)}
    for column in _jobs.columns:
        if column.name not in there:
            made = CreateColumn(column).compile(dialect=connection.dialect)
            connection.execute(text(f"ALTER TABLE {_jobs.name} ADD COLUMN {made}"))


def new_id() -> str:
    """Return an id that nobody can guess."""
    return secrets.token_hex(16)


def _set_up_sqlite(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _row(row: Any) -> JobRow:
    values = dict(row)
    values["options"] = json.loads(values["options"])
    values["error"] = json.loads(values["error"]) if values["error"] else None
    return JobRow(**values)
