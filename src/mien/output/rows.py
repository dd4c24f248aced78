"""The schema of rows: which columns a table has, in which order and of which types, and how a frame becomes rows.

The columns of one face are `mien.faces.COLUMNS`, which the client, too, must know; everything else of a row is here.
A table has one row per face. The last column, `error`, is empty but for sources that gave no result, which get a row of
their own with nothing else in it but the `source`. An image without a face is a result: it gets a row with `source`,
`frame` and `time_s`, and nothing else, unless `keep_empty` is off. Tables of videos (`tracked`) have further columns:
the steady expression of the track, its smoothed probabilities, and how much of the person's resting face was taken out
of all of them; that last one is there without such a correction as well, empty, so that tables of one study are alike.
Attributes that were asked for add their columns (`mien.faces.ATTRIBUTES`) and a `note`, before `error`.
"""

import math
from collections.abc import Iterable, Sequence

from mien.errors import InputError
from mien.faces import COLUMNS, CORRECTED, ERROR, NOTE, PERSON, STEADY, Faces, Record, columns_of
from mien.files import storable
from mien.labels import LabelSet

INTERRUPTED_ROW = "interrupted: what comes after this was not analyzed"
INTERVAL_COLUMNS: dict[str, type] = {
    "source": str, "interval": int, "start_s": float, "end_s": float, "track_id": int, "frames": int, "seconds": float,
    "expression": str, "confidence": float,
}  # fmt: skip
TYPES = {**COLUMNS, **INTERVAL_COLUMNS, STEADY: str, NOTE: str, PERSON: str, CORRECTED: str, ERROR: str}


def type_of(column: str) -> type:
    """Return the type of a column's values: str, int or float, which probabilities are."""
    return TYPES.get(column, float)


def table_columns(labels: LabelSet, *, tracked: bool = False, attributes: Sequence[str] = ()) -> list[str]:
    """Return the columns of a table: those of `mien.faces.columns_of`, then `error`.

    Args:
        labels: The label set of the results.
        tracked: Whether it is the table of a video.
        attributes: Names of `mien.faces.ATTRIBUTES` that are measured.

    Raises:
        InputError: An expression has the name of another column.
    """
    return [*columns_of(labels, tracked=tracked, attributes=attributes), ERROR]


def rows_of(
    faces: Faces,
    labels: LabelSet,
    *,
    keep_empty: bool = True,
    tracked: bool = False,
    attributes: Sequence[str] = (),
) -> list[Record]:
    """Return the rows of one frame, every one with all the columns of `table_columns` for the same choices.

    Args:
        faces: The faces of the frame, with its source, number and time.
        labels: The label set of the table.
        keep_empty: Whether a frame without a face gets a row with its source, number and time alone.
        tracked: Whether it is the table of a video.
        attributes: Names of `mien.faces.ATTRIBUTES` that have columns.

    Raises:
        InputError: The faces carry another label set.
    """
    if faces.labels is not None and faces.labels.names != labels.names:
        raise InputError(
            f"the faces carry the label set {faces.labels.key!r}, the table is for {labels.key!r}; "
            "open it for that one or use convert_probs()"
        )
    records = faces.to_records()
    if not records and keep_empty:
        records = [{"source": faces.source, "frame": faces.frame_index, "time_s": round(faces.time_s, 6)}]
    columns = table_columns(labels, tracked=tracked, attributes=attributes)
    return [complete_row(record, columns) for record in records]


def complete_row(record: Record, columns: Iterable[str]) -> Record:
    """Return a row with exactly these columns, each value one that every format can hold.

    Args:
        record: The row; columns that are missing stay empty, others are dropped.
        columns: Names, in order.
    """
    return {column: _storable(record.get(column)) for column in columns}


def _storable(value: str | int | float | None) -> str | int | float | None:
    """Return what every format can hold: no NaN, and text that is UTF-8 whatever a file name was."""
    if isinstance(value, str):
        return storable(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
