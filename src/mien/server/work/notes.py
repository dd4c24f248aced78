"""What people note of a video, beside its results: who is who, what was really shown, when something happened.

Every change is a row of its own, so that each can be undone, and the model's answers are never touched. Undoing is a
change, too: it goes back to an earlier value, and says to which.
"""

import json
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Float, Integer, MetaData, String, Table, Text, delete, select

MOST_KEPT = 200  # changes of one kind; what was before cannot be had back any more


@dataclass(frozen=True)
class Note:
    """What is noted of a video now.

    Attributes:
        number: Number of the last change; 0 where nothing was ever noted.
        made: When that was, seconds since 1970, UTC.
        value: What was noted, a list ready for JSON.
        undoable: Whether there is something to go back to.
    """

    number: int = 0
    made: float | None = None
    value: tuple[Any, ...] = ()
    undoable: bool = False


def notes_table(metadata: MetaData) -> Table:
    """Return the table of notes, which belongs to those of `metadata`."""
    return Table(
        "mien_notes",
        metadata,
        Column("job", String(32), primary_key=True),
        Column("kind", String(12), primary_key=True),
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("goes_back_to", Integer),
        Column("made", Float, nullable=False),
        Column("value", Text, nullable=False),
    )


class NoteTable:
    """Reads and writes the table of notes within a transaction of the caller."""

    def __init__(self, table: Table) -> None:
        """Take down which table it is."""
        self._table = table

    def last(self, connection: Connection, job: str, kind: str) -> Note:
        """Return what is noted now."""
        row = self._row(connection, job, kind)
        if row is None:
            return Note()
        stands_for = _stands_for(row)
        undoable = stands_for == 1 or (stands_for > 1 and self._row(connection, job, kind, stands_for - 1) is not None)
        return Note(row["number"], row["made"], tuple(json.loads(row["value"])), undoable)

    def add(
        self, connection: Connection, job: str, kind: str, value: list[Any], *, after: int, back_to: int | None = None
    ) -> None:
        """Add a change after the last; the database refuses another of that number.

        Raises:
            IntegrityError: Of SQLAlchemy: somebody else made the change of that number.
        """
        t = self._table
        values = {"job": job, "kind": kind, "number": after + 1, "goes_back_to": back_to, "made": time.time()}
        connection.execute(t.insert().values(**values, value=json.dumps(value)))
        connection.execute(delete(t).where(t.c.job == job, t.c.kind == kind, t.c.number <= after + 1 - MOST_KEPT))

    def before(self, connection: Connection, job: str, kind: str) -> tuple[list[Any], int, int] | None:
        """Return what the last change changed, the number of the change that made it, and that of the last change.

        Returns:
            None where there is nothing to go back to.
        """
        row = self._row(connection, job, kind)
        if row is None or _stands_for(row) == 0:
            return None
        if _stands_for(row) == 1:
            return [], 0, row["number"]
        earlier = self._row(connection, job, kind, _stands_for(row) - 1)
        return None if earlier is None else (json.loads(earlier["value"]), _stands_for(earlier), row["number"])

    def remove(self, connection: Connection, job: str) -> None:
        """Remove all that was noted of a job."""
        connection.execute(delete(self._table).where(self._table.c.job == job))

    def _row(self, connection: Connection, job: str, kind: str, number: int | None = None) -> Any:
        t = self._table
        wanted = select(t).where(t.c.job == job, t.c.kind == kind)
        wanted = wanted.order_by(t.c.number.desc()).limit(1) if number is None else wanted.where(t.c.number == number)
        return connection.execute(wanted).mappings().first()


def _stands_for(row: Any) -> int:
    """Return the number of the change whose value a row has: its own, or that to which it goes back."""
    return int(row["number"] if row["goes_back_to"] is None else row["goes_back_to"])
