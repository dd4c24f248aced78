"""The parts of the data set: a Parquet file per task, which names the inputs whose rows it holds.

A part is what a task commits: it appears at once or not at all, with the hashes of its inputs in its footer. So there
is no moment at which rows are there and nobody knows it, and no list beside them that a crash could leave behind. Its
name comes from its inputs: the same task done twice writes the same file.

`scan` reads the footers. A part that cannot be read, or that holds an input which another holds too (both can only come
from a crash), is removed, and its inputs are done again.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from mien.cluster.known import ENTRY, Entries, KnownInputs, entries_of
from mien.cluster.places import Store
from mien.errors import InputError, OutputError, require_extra
from mien.faces import Record
from mien.output.base import SinkSettings
from mien.output.tables import ROWS_PER_GROUP, TableSink, arrow_schema

FOOTER = b"mien.inputs"
NOTED = ["high", "low", "tag", "failed"]
READERS = 16  # footers at once
HOME = "_mien/run.json"  # what begins with _ is no data for Parquet's readers
ENDING = ".parquet"


def name_of(kind: str, entries: Entries, *, also: str = "") -> str:
    """Return the name of the part of some inputs, below the data set.

    Args:
        kind: `image` or `video`, the partition.
        entries: The inputs.
        also: What else tells it from other parts of the same inputs.
    """
    digest = hashlib.blake2b(entries[NOTED[:3]].tobytes() + also.encode(), digest_size=12)
    return f"kind={kind}/part-{digest.hexdigest()}{ENDING}"


class PartSink(TableSink):
    """Rows that become one part, in memory until it is complete."""

    def __init__(self, settings: SinkSettings, source: str | None = None) -> None:
        """Start the part.

        Args:
            settings: Label set and attributes.
            source: What all rows say as their source; None leaves what they say.
        """
        super().__init__(settings)
        self._arrow: Any = require_extra("ray", "pyarrow")
        parquet: Any = require_extra("ray", "pyarrow.parquet")
        self._source, self._held = source, list[Record]()
        self._schema = arrow_schema(self.columns)
        self._buffer = self._arrow.BufferOutputStream()
        self._writer = parquet.ParquetWriter(self._buffer, self._schema, compression="zstd")
        self.rows = 0
        self.failed: set[str] = set()

    def content(self, entries: Entries) -> bytes:
        """Complete the part and return it.

        Args:
            entries: Its inputs, for the footer.
        """
        noted = np.ascontiguousarray(entries[NOTED]).astype([(name, ENTRY[name]) for name in NOTED])
        self._writer.add_key_value_metadata({FOOTER: base64.b64encode(noted.tobytes())})
        self.close()
        whole: bytes = self._buffer.getvalue().to_pybytes()
        return whole

    def _fail(self, source: str, message: str) -> None:
        self.failed.add(self._source or source)
        super()._fail(source, message)

    def _put(self, rows: list[Record]) -> None:
        self._held += [row | {"source": self._source} for row in rows] if self._source else rows
        self.rows += len(rows)
        if len(self._held) >= ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(self._arrow.Table.from_pylist(self._held, schema=self._schema))
        self._held = []

    def _commit(self) -> None:
        if self._held:
            self._flush()
        self._writer.close()

    def _drop(self) -> None:
        self._writer.close()


@dataclass(frozen=True)
class Scanned:
    """What a data set holds.

    Attributes:
        names: Its parts.
        known: Their inputs; `part` is the place in `names`.
        removed: Parts that a crash had left and that are gone.
    """

    names: list[str]
    known: KnownInputs
    removed: int


def scan(store: Store) -> Scanned:
    """Read which inputs the parts of a data set hold, and remove parts that a crash has left.

    Args:
        store: The data set.

    Raises:
        OutputError: A part cannot be removed.
        InputError: There are Parquet files of something else.
    """
    names = store.names(ENDING)
    with ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(lambda name: _inputs(store, name), names))
    numbered = [_in_part(entries, number) for number, entries in enumerate(found) if entries is not None]
    entries = np.concatenate(numbered) if numbered else np.zeros(0, ENTRY)
    bad = {number for number, part in enumerate(found) if part is None} | _overlapping(entries)
    for number in bad:
        store.remove(names[number])
    known = KnownInputs()
    known.add(entries[~np.isin(entries["part"], list(bad))])
    return Scanned(names, known, len(bad))


def _in_part(entries: Entries, number: int) -> Entries:
    numbered = np.zeros(len(entries), ENTRY)
    for name in NOTED:
        numbered[name] = entries[name]
    numbered["part"] = number
    return numbered


def _inputs(store: Store, name: str) -> Entries | None:
    """Return the inputs of a part, None for one that is damaged."""
    arrow: Any = require_extra("ray", "pyarrow")
    parquet: Any = require_extra("ray", "pyarrow.parquet")
    try:
        noted = parquet.read_metadata(f"{store.root}/{name}", filesystem=store.system).metadata or {}
    except arrow.ArrowInvalid:
        return None
    except OSError as error:
        raise OutputError(f"{store.uri}/{name} cannot be read: {error}; check your keys and the network") from error
    if FOOTER not in noted:
        raise InputError(f"{store.uri}/{name} is no result of mien; choose another folder, or an empty one")
    return np.frombuffer(base64.b64decode(noted[FOOTER]), [(column, ENTRY[column]) for column in NOTED])


def _overlapping(entries: Entries) -> set[int]:
    """Return the parts that hold an input which an earlier one holds."""
    order = np.lexsort((entries["part"], entries["low"], entries["high"]))
    ordered = entries[order]
    twice = (ordered["high"][1:] == ordered["high"][:-1]) & (ordered["low"][1:] == ordered["low"][:-1])
    return set(ordered["part"][1:][twice].tolist())


def without(store: Store, name: str, entries: Entries) -> str | None:
    """Take inputs and their rows out of a part: their files have changed.

    Args:
        store: The data set.
        name: The part; it is gone afterwards, and another holds the rest.
        entries: The inputs, whose rows are told by the hash of their source.

    Returns:
        The part that holds the rest; None where there is no rest.

    Raises:
        OutputError: The part cannot be read or written.
    """
    parquet: Any = require_extra("ray", "pyarrow.parquet")
    arrow: Any = require_extra("ray", "pyarrow")
    before, content = _inputs(store, name), store.read(name)
    if before is None or content is None:
        return None
    gone = set(zip(entries["high"].tolist(), entries["low"].tolist(), strict=True))
    pairs = zip(before["high"].tolist(), before["low"].tolist(), strict=True)
    rest = before[[pair not in gone for pair in pairs]]
    store.remove(name)  # first: a crash in between costs work, not rows
    if not len(rest):
        return None
    table = parquet.read_table(arrow.BufferReader(content))
    kept = table.filter(_rows_to_keep(table, gone))
    sink = arrow.BufferOutputStream()
    with parquet.ParquetWriter(sink, kept.schema, compression="zstd") as writer:
        writer.add_key_value_metadata({FOOTER: base64.b64encode(rest.tobytes())})
        writer.write_table(kept)
    new = name_of(name.partition("/")[0].removeprefix("kind="), _in_part(rest, 0))
    store.write(new, sink.getvalue().to_pybytes())
    return new


def _rows_to_keep(table: Any, gone: set[tuple[int, int]]) -> Any:
    arrow: Any = require_extra("ray", "pyarrow")
    sources = [value or "" for value in table["source"].to_pylist()]
    found = entries_of(sources, [""] * len(sources))
    pairs = zip(found["high"].tolist(), found["low"].tolist(), strict=True)
    return arrow.array([pair not in gone for pair in pairs])


# Whose data set it is ---------------------------------------------------------------------------------------------


def open_home(store: Store, run: str, identity: dict[str, Any]) -> None:
    """Note that a run writes into a data set from now on; another one that still does stops.

    Args:
        store: The data set.
        run: The name of this run.
        identity: What must be the same in all runs, as JSON values.

    Raises:
        InputError: It holds results of other settings; the message names the first that differs.
        OutputError: Nothing can be written there.
    """
    noted = store.read(HOME)
    if noted is not None:
        before = json.loads(noted).get("identity", {})
        for name, value in json.loads(json.dumps(identity)).items():
            if before.get(name) != value:
                raise InputError(
                    f"{store.uri} holds results of another run: {name} was {before.get(name)} and is {value}; "
                    "give what that run had, or choose another folder"
                )
    store.write(HOME, json.dumps({"run": run, "identity": identity}, indent=1).encode())


def check_home(store: Store, run: str) -> None:
    """See that no other run has taken over a data set.

    Raises:
        OutputError: One has.
    """
    noted = store.read(HOME)
    if noted is None or json.loads(noted).get("run") != run:
        raise OutputError(
            f"another run writes into {store.uri} now, so this one stops; nothing is lost, the other goes on with it"
        )


def rows_without_result(paths: Sequence[str], message: str, settings: SinkSettings) -> PartSink:
    """Return a part of error rows.

    Args:
        paths: The inputs.
        message: What each row says.
        settings: Label set and attributes.
    """
    sink = PartSink(settings)
    for path in paths:
        sink.fail(path, message)
    return sink
