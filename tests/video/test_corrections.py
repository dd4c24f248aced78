"""Who people really are: names beside the model's answers, merged and split, in tables and summaries."""

import csv
import json
import math

import pytest

from mien.errors import InputError
from mien.labels import FER7
from mien.output.base import SinkSettings
from mien.output.read_rows import ResultTable
from mien.output.rows import table_columns
from mien.output.tables import TABLES
from mien.video.corrections import Correction, Corrections, corrected_summary, write_corrected


def row(frame, track, expression="happy", person=None):
    probs = {name: float(name == expression) for name in FER7.names}
    return {
        "source": "a.mp4", "frame": frame, "time_s": frame / 10, "face": 0, "track_id": track, "x1": 1.0, "y1": 2.0,
        "x2": 3.0, "y2": 4.0, "score": 0.9, "expression": expression, "confidence": 1.0, **probs,
        "steady_expression": expression, **{f"smooth_{name}": value for name, value in probs.items()}, "person": person,
    }  # fmt: skip


ROWS = [
    *(row(i, 1, person="person 1") for i in range(4)),
    {"source": "a.mp4", "frame": 4, "time_s": 0.4},
    *(row(i, 2, "sad", "person 2") for i in range(5, 8)),
    *(row(i, 3, person="person 1") for i in range(8, 10)),
]


@pytest.fixture(params=[".jsonl", ".csv", ".parquet"])
def table(request, tmp_path):
    path = tmp_path / f"rows{request.param}"
    columns = table_columns(FER7, tracked=True, attributes=("people",))
    with TABLES[request.param](path, SinkSettings(FER7), columns) as sink:
        sink.add_rows(ROWS)
    return ResultTable.open(path)


def test_a_table_is_read_as_it_was_written(table):
    rows = list(table)
    assert table.labels == FER7 and len(rows) == 10
    for read, written in zip(rows, ROWS, strict=True):
        assert read == {name: written.get(name) for name in table.columns}
        assert all(type(value) is type(written[name]) for name, value in read.items() if value is not None)


def test_merging_and_splitting_stand_in_a_column_and_in_the_summary(table, tmp_path):
    corrections = Corrections([Correction(1, "Anna"), Correction(2, "Anna", end_s=0.6), Correction(3, "person 2")])
    path = write_corrected(table, corrections, tmp_path / "out.csv")
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [r["corrected_person"] for r in rows] == [*["Anna"] * 4, "", "Anna", "", "", "person 2", "person 2"]
    assert [r["person"] for r in rows] == [str(r.get("person") or "") for r in ROWS]
    assert list(rows[0]).index("corrected_person") == list(rows[0]).index("person") + 1
    summary = corrected_summary(table, corrections)
    told = [(one.get("corrected_person"), one.get("person"), one["tracks"], one["frames"]) for one in summary["tracks"]]
    assert told == [("Anna", "person 1", [1, 2], 5), ("person 2", "person 2", [2, 3], 4)]
    assert summary["tracks"][1]["track_id"] == 2 and summary["people"] == 2
    assert summary["tracks"][0]["share"]["sad"] == pytest.approx(0.2, abs=0.05)
    assert {span["track_id"] for span in summary["longest_spans"]} == {1, 2}
    json.dumps(summary, allow_nan=False)


def test_without_corrections_people_are_who_the_model_says(table):
    summary = corrected_summary(table, Corrections())
    assert [(one["person"], one["tracks"]) for one in summary["tracks"]] == [("person 1", [1, 3]), ("person 2", [2])]
    assert not any("corrected_person" in one for one in summary["tracks"])


def test_values_go_out_and_in_again():
    values = [
        {"track_id": 1, "person": "Anna", "start_s": None, "end_s": 2.5},
        {"track_id": 1, "person": "Ben", "start_s": 2.5, "end_s": None},
    ]
    corrections = Corrections.from_values(reversed(values))
    assert corrections.to_values() == values
    assert [corrections.of(1, t) for t in (0, 2.4, 2.5, 1e9)] == ["Anna", "Anna", "Ben", "Ben"]
    assert corrections.of(2, 0) is None and corrections.of(None, 0) is None


@pytest.mark.parametrize(
    ("corrections", "word"),
    [
        ([Correction(1, "A"), Correction(1, "B", 3.0)], "overlap"),
        ([Correction(1, "")], "printable"),
        ([Correction(1, "A", 2.0, 2.0)], "end_s must be after"),
        ([Correction(1, "A", math.nan)], "end_s"),
        ([Correction(i, "A") for i in range(2001)], "2000"),
    ],
)
def test_what_contradicts_itself_is_refused(corrections, word):
    with pytest.raises(InputError, match=word):
        Corrections(corrections)


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("a.csv", "", "columns"),
        ("a.csv", "x,y\n1,2\n", "columns"),
        ("a.jsonl", "{", "JSON"),
        ("a.jsonl", "[1]", "table"),
        ("a.parquet", "no", "table|read"),
        ("a.txt", "x", "ends in"),
    ],
)
def test_files_that_are_no_table_of_faces_are_told(tmp_path, name, text, word):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=word):
        ResultTable.open(tmp_path / name)
    with pytest.raises(InputError, match="check the path"):
        ResultTable.open(tmp_path / f"none{(tmp_path / 'x.csv').suffix}")


def test_a_row_that_is_broken_is_named(table):
    if table.path.suffix != ".csv":
        pytest.skip("only text can be damaged so")
    table.path.write_text(table.path.read_text().replace("0.9,sad", "high,sad", 1))
    with pytest.raises(InputError, match="row 6"):
        list(ResultTable.open(table.path))
