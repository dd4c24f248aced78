import csv
import gc
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import tracemalloc
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from conftest import read_rgb
from numpy.typing import NDArray

from mien import faces as hall
from mien.errors import InputError, MissingExtraError, OutputError
from mien.faces import Faces, Frame, Record
from mien.files import plain_cell
from mien.labels import FER7, FERPLUS8, LabelSet
from mien.output import images, tables
from mien.output.base import Sink
from mien.output.encode import annotated_bytes
from mien.output.images import image_name
from mien.output.kinds import IMAGE
from mien.output.rows import INTERRUPTED_ROW, rows_of, table_columns
from mien.output.sinks import SINKS, open_sink
from mien.output.tables import FileTableSink, JsonLinesStream
from mien.video.intervals import open_interval_sink

COLUMNS = [*hall.COLUMNS, *FER7.names, "error"]
TABLES = [".jsonl", ".csv", ".parquet"]
NAME = 'Fotos, «neu»/žába "1"\n=2+3.jpg'


def paint(image: NDArray[np.uint8], faces: Faces) -> NDArray[np.uint8]:
    """Stand in for `draw_faces`: a red square per face on a copy."""
    painted = image.copy()
    for x1, y1, x2, y2 in faces.xyxy.astype(int):
        painted[y1:y2, x1:x2] = (255, 0, 0)
    return painted


def make_frame(source: str = "a.jpg", *, index: int = 0, time_s: float = 0.0) -> Frame:
    return Frame(np.full((48, 64, 3), (10, 120, 240), np.uint8), source, index, time_s)


def make_faces(count: int = 2) -> Faces:
    xyxy = np.array([[8 + 20 * i, 8, 24 + 20 * i, 40.25] for i in range(count)], np.float32).reshape(-1, 4)
    probs = np.full((count, 7), 0.05, np.float32)
    probs[:, 3] = 0.7
    return Faces(xyxy, np.full(count, 0.97, np.float32)).with_probs(probs, FER7)


def read_rows(path: Path) -> list[Record]:
    """Read a table back with other people's readers, empty CSV fields as None."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if path.suffix == ".parquet":
        return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    with path.open(encoding="utf-8", newline="") as file:
        return [{k: _typed(k, v) for k, v in row.items()} for row in csv.DictReader(file)]


def _typed(column: str, value: str) -> str | int | float | None:
    if value == "":
        return None
    if column in ("source", "expression", "steady_expression", "error"):
        return value
    return int(value) if column in ("frame", "face", "track_id", "interval", "frames") else float(value)


@pytest.mark.parametrize("suffix", TABLES)
def test_tables_hold_one_row_per_face(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    faces = replace(make_faces(2), track_id=np.array([4, 9]))
    with open_sink(path, labels=FER7) as sink:
        sink.write(make_frame(NAME, index=3, time_s=0.125), faces)
    rows = read_rows(path)
    assert [list(row) for row in rows] == [COLUMNS, COLUMNS]
    assert rows[1] == {
        "source": NAME, "frame": 3, "time_s": 0.125, "face": 1, "track_id": 9, "x1": 28.0, "y1": 8.0, "x2": 44.0,
        "y2": 40.25, "score": 0.97, "expression": "happy", "confidence": 0.7, "angry": 0.05, "disgust": 0.05,
        "fear": 0.05, "happy": 0.7, "sad": 0.05, "surprise": 0.05, "neutral": 0.05, "error": None,
    }  # fmt: skip


@pytest.mark.parametrize("suffix", TABLES)
def test_an_image_without_a_face_is_a_result(tmp_path: Path, suffix: str) -> None:
    for keep_empty, expected in ((True, ["a.jpg", "b.jpg"]), (False, ["b.jpg"])):
        path = tmp_path / f"{keep_empty}{suffix}"
        with open_sink(path, labels=FER7, keep_empty=keep_empty) as sink:
            sink.write(make_frame("a.jpg"), Faces.empty())
            sink.write(make_frame("b.jpg"), make_faces(1))
        rows = read_rows(path)
        assert [row["source"] for row in rows] == expected
        if keep_empty:
            assert {k: v for k, v in rows[0].items() if v is not None} == {"source": "a.jpg", "frame": 0, "time_s": 0.0}


@pytest.mark.parametrize("suffix", TABLES)
def test_failed_sources_are_rows_too(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    with open_sink(path, labels=FER7) as sink:
        sink.write(make_frame("a.jpg"), make_faces(1))
        sink.fail("broken.jpg", "it is truncated; copy it again")
        sink.write(make_frame("c.jpg"), make_faces(1))
    rows = read_rows(path)
    assert [(row["source"], row["error"]) for row in rows] == [
        ("a.jpg", None), ("broken.jpg", "it is truncated; copy it again"), ("c.jpg", None),
    ]  # fmt: skip
    assert rows[1]["face"] is None and rows[1]["happy"] is None and list(rows[1]) == COLUMNS


@pytest.mark.parametrize("suffix", TABLES)
def test_tables_without_any_row_are_valid(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    with open_sink(path, labels=FER7):
        pass
    assert read_rows(path) == []
    if suffix == ".csv":
        assert path.read_bytes() == (",".join(COLUMNS) + "\n").encode()
    if suffix == ".parquet":
        assert pytest.importorskip("pyarrow.parquet").read_schema(path).names == COLUMNS


def test_tables_of_all_formats_say_the_same(tmp_path: Path) -> None:
    tables = []
    for suffix in TABLES:
        with open_sink(tmp_path / f"t{suffix}", labels=FER7) as sink:
            for index in range(5):
                sink.write(make_frame(NAME, index=index, time_s=index / 30), make_faces(index % 3))
        tables.append(read_rows(tmp_path / f"t{suffix}"))
    assert tables[0] == tables[1] == tables[2] and len(tables[0]) == 6


def test_faces_without_probabilities_leave_the_classes_empty() -> None:
    faces = Faces(np.array([[1, 2, 3, 4]], np.float32), np.array([0.5], np.float32))
    (row,) = rows_of(faces.at(make_frame()), FER7)
    assert row["score"] == 0.5 and row["expression"] is None and all(row[name] is None for name in FER7.names)


def test_rows_never_hold_nan_or_text_that_is_not_utf8(tmp_path: Path) -> None:
    faces = replace(make_faces(1), score=np.array([np.nan], np.float32))
    (row,) = rows_of(faces.at(make_frame("ca\udcfft.jpg", time_s=float("inf"))), FER7)
    assert (row["source"], row["time_s"], row["score"]) == ("ca\\udcfft.jpg", None, None)
    for suffix in TABLES:
        with open_sink(tmp_path / f"t{suffix}", labels=FER7) as sink:
            sink.fail("ca\udcfft.jpg", "no \udcff")
        assert read_rows(tmp_path / f"t{suffix}")[0]["error"] == "no \\udcff"


def test_faces_of_another_label_set_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="'fer2013', the table is for 'ferplus'"),
        open_sink(tmp_path / "t.csv", labels=FERPLUS8) as sink,
    ):
        sink.write(make_frame(), make_faces(1))
    assert list(tmp_path.iterdir()) == []


def test_expressions_named_like_a_column_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="another column: error, score"):
        table_columns(LabelSet("own", ("score", "happy", "error")))
    with pytest.raises(InputError):
        open_sink(tmp_path / "t.csv", labels=LabelSet("own", ("face",)))
    assert list(tmp_path.iterdir()) == []


def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path) -> None:
    names = ["=cmd|'/c calc'!A1.jpg", "@SUM(1).jpg", "'=quoted.jpg", "plain.jpg", "\n=2.jpg"]
    odd = LabelSet("odd", ("=happy", "-sad"))
    with open_sink(tmp_path / "t.csv", labels=odd) as sink:
        for name in names:
            faces = make_faces(1).with_probs(np.array([[0.75, 0.25]], np.float32), odd)
            sink.write(make_frame(name), faces)
        sink.fail("+broken.jpg", "-1 is no image")
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    for cell in (cell for row in rows for cell in row):
        assert not cell.startswith(("=", "+", "-", "@", "\n")), cell
    header, *rest = [[plain_cell(cell) for cell in row] for row in rows]
    assert [dict(zip(header, row, strict=True))["source"] for row in rest] == [*names, "+broken.jpg"]
    assert {dict(zip(header, row, strict=True))["expression"] for row in rest} == {"=happy", ""}
    assert dict(zip(header, rest[0], strict=True))["=happy"] == "0.75"


def test_csv_ends_lines_with_newlines_alone(tmp_path: Path) -> None:
    with open_sink(tmp_path / "t.csv", labels=FER7) as sink:
        sink.write(make_frame("plain.jpg"), make_faces(2))
    data = (tmp_path / "t.csv").read_bytes()
    assert data.count(b"\n") == 3 and b"\r" not in data and not data.startswith(b"\xef\xbb\xbf")


def test_parquet_columns_are_typed(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    with open_sink(tmp_path / "t.parquet", labels=FER7) as sink:
        sink.write(make_frame(), make_faces(1))
    types = {field.name: str(field.type) for field in parquet.read_schema(tmp_path / "t.parquet")}
    assert types["source"] == types["expression"] == types["error"] == "string"
    assert types["frame"] == types["face"] == types["track_id"] == "int64"
    assert {types[name] for name in (*FER7.names, "x1", "time_s", "score")} == {"double"}


def test_parquet_is_written_in_groups_with_flat_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(tables, "ROWS_PER_GROUP", 100)
    frame, faces = make_frame(), make_faces(2)
    with open_sink(tmp_path / "t.parquet", labels=FER7) as sink:
        for _ in range(100):  # what pyarrow imports late is not to be counted
            sink.write(frame, faces)
        tracemalloc.start()
        for _ in range(900):
            sink.write(frame, faces)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    read = parquet.ParquetFile(tmp_path / "t.parquet")
    assert read.metadata.num_rows == 2000 and read.num_row_groups == 20
    assert peak < 500_000  # in one group they take over 1.5 MB


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mien\[data\]'"):
        open_sink(tmp_path / "t.parquet", labels=FER7)
    assert list(tmp_path.iterdir()) == []


# Videos


def make_tracked(count: int = 2) -> Faces:
    smoothed = np.full((count, 7), 0.1, np.float32)
    smoothed[:, 4] = 0.4
    track, steady = np.arange(5, 5 + count), np.full(count, 4)
    return replace(make_faces(count), track_id=track, smoothed=smoothed, steady=steady)


TRACKED_COLUMNS = [
    *hall.COLUMNS,
    *FER7.names,
    "steady_expression",
    *(f"smooth_{n}" for n in FER7.names),
    "baseline",
    "error",
]


@pytest.mark.parametrize("suffix", TABLES)
def test_tables_of_videos_hold_what_was_smoothed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    with open_sink(path, labels=FER7, tracked=True) as sink:
        sink.write(make_frame("a.mp4", index=2, time_s=0.08), make_tracked(2))
        sink.write(make_frame("a.mp4", index=3, time_s=0.12), Faces.empty())
        sink.fail("a.mp4", "it breaks off")
    rows = read_rows(path)
    assert [list(row) for row in rows] == [TRACKED_COLUMNS] * 4
    assert (rows[1]["track_id"], rows[1]["expression"], rows[1]["steady_expression"]) == (6, "happy", "sad")
    assert (rows[1]["happy"], rows[1]["smooth_happy"], rows[1]["smooth_sad"]) == (0.7, 0.1, 0.4)
    assert rows[2]["steady_expression"] is None and rows[2]["frame"] == 3
    assert rows[3]["error"] == "it breaks off"


def test_columns_of_videos_come_between_the_classes_and_the_error() -> None:
    assert table_columns(FER7, tracked=True) == TRACKED_COLUMNS
    assert table_columns(FER7) == COLUMNS
    with pytest.raises(InputError, match="another column: steady_expression"):
        table_columns(LabelSet("own", ("happy", "steady_expression")), tracked=True)


def test_a_table_that_is_not_of_a_video_leaves_smoothed_values_out(tmp_path: Path) -> None:
    with open_sink(tmp_path / "t.csv", labels=FER7) as sink:
        sink.write(make_frame(), make_tracked(1))
    assert list(read_rows(tmp_path / "t.csv")[0]) == COLUMNS


def test_parquet_columns_of_videos_are_typed(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    with open_sink(tmp_path / "t.parquet", labels=FER7, tracked=True) as sink:
        sink.write(make_frame(), make_tracked(1))
    types = {field.name: str(field.type) for field in parquet.read_schema(tmp_path / "t.parquet")}
    assert types["steady_expression"] == "string" and types["smooth_sad"] == "double"


def test_rows_that_are_made_already_can_be_added(tmp_path: Path) -> None:
    for suffix in TABLES:
        with open_sink(tmp_path / f"first{suffix}", labels=FER7, tracked=True) as sink:
            for index in range(3):
                sink.write(make_frame("a.mp4", index=index, time_s=index / 25), make_tracked(index))
        with open_sink(tmp_path / f"again{suffix}", labels=FER7, tracked=True) as sink:
            assert isinstance(sink, FileTableSink)
            sink.add_rows(read_rows(tmp_path / f"first{suffix}"))
        assert (tmp_path / f"first{suffix}").read_bytes() == (tmp_path / f"again{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", TABLES)
def test_intervals_are_streamed_to_tables(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    with open_interval_sink(path, labels=FER7, interval_s=0.5) as sink:
        for index in range(30):
            sink.write(make_frame("a.mp4", index=index, time_s=index / 25), make_tracked(2))
        sink.fail("a.mp4", "it breaks off")
    rows = read_rows(path)
    assert [(r["interval"], r["track_id"], r["frames"], r["seconds"]) for r in rows[:-1]] == [
        (0, 5, 13, 0.5), (0, 6, 13, 0.5), (1, 5, 12, 0.5), (1, 6, 12, 0.5), (2, 5, 5, 0.2), (2, 6, 5, 0.2),
    ]  # fmt: skip
    assert (rows[0]["start_s"], rows[0]["end_s"], rows[0]["expression"]) == (0.0, 0.5, "sad")
    assert (rows[0]["confidence"], rows[0]["sad"], rows[0]["happy"]) == (0.4, 0.4, 0.1)
    assert rows[-1]["error"] == "it breaks off" and rows[-1]["interval"] is None
    assert list(tmp_path.iterdir()) == [path]


def test_ctrl_c_keeps_the_intervals_and_an_error_none(tmp_path: Path) -> None:
    for error, expected in ((KeyboardInterrupt, [5, None]), (ZeroDivisionError, None)):
        path = tmp_path / f"{error.__name__}.jsonl"
        with pytest.raises(error), open_interval_sink(path, labels=FER7, interval_s=60) as sink:
            sink.write(make_frame("a.mp4"), make_tracked(1))
            sink.write(make_frame("a.mp4", index=1, time_s=1.0), make_tracked(1))
            raise error
        assert path.exists() == (expected is not None)
        if expected:
            rows = read_rows(path)
            assert [row["track_id"] for row in rows] == expected and rows[-1]["error"] == INTERRUPTED_ROW
            assert rows[0]["seconds"] == 2.0


def test_intervals_need_a_table_and_a_length(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a table ends in \.jsonl, \.csv, \.parquet"):
        open_interval_sink(tmp_path / "t.png", labels=FER7, interval_s=1)
    for length in (0, -1, float("nan")):
        with pytest.raises(InputError, match=r"interval_s must be at least 0\.001"):
            open_interval_sink(tmp_path / "t.csv", labels=FER7, interval_s=length)
    assert list(tmp_path.iterdir()) == []


# Whole or absent


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.parquet", "t.jpg"])
def test_the_file_appears_at_the_end_and_not_before(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with open_sink(path, labels=FER7, draw=paint) as sink:
        sink.write(make_frame(), make_faces(1))
        assert not path.exists()
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.parquet", "t.png"])
def test_an_error_leaves_the_older_file_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"older")
    with pytest.raises(ZeroDivisionError), open_sink(path, labels=FER7, draw=paint) as sink:
        sink.write(make_frame(), make_faces(1))
        raise ZeroDivisionError
    gc.collect()
    assert [p.name for p in tmp_path.iterdir()] == [name] and path.read_bytes() == b"older"


@pytest.mark.parametrize("suffix", TABLES)
def test_ctrl_c_keeps_what_was_done_and_says_so(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    with pytest.raises(KeyboardInterrupt), open_sink(path, labels=FER7) as sink:
        sink.write(make_frame("a.jpg"), make_faces(1))
        raise KeyboardInterrupt
    assert [(row["source"], row["error"]) for row in read_rows(path)] == [("a.jpg", None), (None, INTERRUPTED_ROW)]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_ctrl_c_in_the_middle_of_a_row_leaves_no_half_a_row(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    with pytest.raises(KeyboardInterrupt), open_sink(path, labels=FER7) as sink:
        sink.write(make_frame("a.jpg"), make_faces(1))
        with sink._part.guarded() as file:
            file.write(b'{"source": "b')
            raise KeyboardInterrupt
    assert [row["source"] for row in read_rows(path)] == ["a.jpg", None]


def test_ctrl_c_while_a_parquet_group_is_written_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(tables, "ROWS_PER_GROUP", 1)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), open_sink(tmp_path / "t.parquet", labels=FER7) as sink:
        sink.write(make_frame("a.jpg"), make_faces(1))
        monkeypatch.setattr(parquet.ParquetWriter, "write_table", interrupted)
        sink.write(make_frame("b.jpg"), make_faces(1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_real_ctrl_c_in_a_folder_run(tmp_path: Path) -> None:
    code = f"""
import numpy as np
from mien.output.sinks import open_sink
from mien.faces import Frame, Faces
from mien.labels import FER7
from contextlib import ExitStack
image = np.zeros((32, 32, 3), np.uint8)
with ExitStack() as stack:
    files = [stack.enter_context(open_sink(p, labels=FER7, draw=lambda i, f: i.copy()))
             for p in ({str(tmp_path / "t.csv")!r}, {str(tmp_path / "t.jsonl")!r}, {str(tmp_path / "out/")!r})]
    number = 0
    while True:
        for file in files:
            file.write(Frame(image, f"{{number}}.png"), Faces.empty())
        number += 1
        if number == 20:
            print("ready", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=250)
    assert b"KeyboardInterrupt" in errors and b"OutputError" not in errors
    for name in ("t.csv", "t.jsonl"):
        rows = read_rows(tmp_path / name)
        assert len(rows) >= 21 and rows[-1]["error"] == INTERRUPTED_ROW
        assert [row["source"] for row in rows[:-1]] == [f"{i}.png" for i in range(len(rows) - 1)]
    images = list((tmp_path / "out").glob("*.png"))
    assert len(images) >= 19 and all(read_rgb(p).shape == (32, 32, 3) for p in images)
    assert not [p for p in tmp_path.rglob("*.part")]


def test_close_can_be_called_twice_and_ends_the_writer(tmp_path: Path) -> None:
    sink = open_sink(tmp_path / "t.csv", labels=FER7)
    sink.close()
    sink.close()
    for use in (lambda: sink.write(make_frame(), make_faces(1)), lambda: sink.fail("a", "b")):
        with pytest.raises(InputError, match="closed"):
            use()
    sink.interrupt()
    assert read_rows(tmp_path / "t.csv") == []


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "real" / "t.csv")
    with open_sink(tmp_path / "link.csv", labels=FER7):
        pass
    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "real" / "t.csv").is_file()


def test_files_get_ordinary_permissions(tmp_path: Path) -> None:
    with open_sink(tmp_path / "t.csv", labels=FER7):
        pass
    (tmp_path / "plain").touch()
    assert (tmp_path / "t.csv").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_very_long_names_work(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 120 + ".jsonl")
    with open_sink(path, labels=FER7):
        pass
    assert path.is_file()


# Places that cannot be written to


def test_missing_folders_are_made(tmp_path: Path) -> None:
    with open_sink(tmp_path / "a" / "b" / "t.jsonl", labels=FER7) as sink:
        sink.write(make_frame(), make_faces(1))
    assert len(read_rows(tmp_path / "a" / "b" / "t.jsonl")) == 1


def test_unknown_extensions_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown extension '\.xlsx'; known: \.jsonl, \.csv, \.parquet, \.jpg"):
        open_sink(tmp_path / "t.xlsx", labels=FER7)


@pytest.mark.parametrize("name", ["t.csv", "t.png"])
def test_a_folder_in_the_files_place_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(OutputError, match=rf"{name}: it is not a file"):
        open_sink(tmp_path / name, labels=FER7, draw=paint)


@pytest.mark.parametrize("name", ["file/t.csv", "file/deep/t.csv", "file/out/"])
def test_a_file_in_the_folders_place_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OutputError, match="not a folder"):
        open_sink(f"{tmp_path}/{name}", labels=FER7, draw=paint)
    with pytest.raises(OutputError, match="it is a file; give a folder"):
        open_sink(f"{tmp_path}/file/", labels=FER7, draw=paint)
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs device files")
@pytest.mark.parametrize("path", ["/dev/null", "/dev/null/"])
def test_devices_are_never_replaced(path: str) -> None:
    with pytest.raises(OutputError, match="give a folder"):
        open_sink(path, labels=FER7, draw=paint)


def test_pipes_are_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(OutputError, match="it is not a file"):
        open_sink(tmp_path / "pipe.csv", labels=FER7)
    assert (tmp_path / "pipe.csv").is_fifo()


def as_nobody(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a process that root's rights do not help."""
    drop = "import os\nif os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    return subprocess.run(
        [sys.executable, "-c", f"{PRELUDE}{drop}{code}", str(folder)], capture_output=True, text=True, timeout=250
    )


PRELUDE = """
import resource, signal, sys
from pathlib import Path
import numpy as np
import pyarrow.parquet
from mien.errors import OutputError
from mien.faces import Faces, Frame
from mien.labels import FER7
from mien.output.sinks import open_sink
folder = Path(sys.argv[1])
draw = lambda image, faces: image.copy()
"""


UNWRITABLE = """
for name in ("locked/t.csv", "locked/new/t.parquet", "locked/out/", "locked/", "old.csv"):
    try:
        open_sink(f"{folder}/{name}", labels=FER7, draw=draw)
    except OutputError as error:
        print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="users")
def test_unwritable_places_are_explained() -> None:
    pytest.importorskip("pyarrow")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        locked, old = folder / "locked", folder / "old.csv"
        locked.mkdir(mode=0o555)
        old.write_text("kept")
        old.chmod(0o444)
        result = as_nobody(UNWRITABLE, folder)
        lines = result.stdout.splitlines()
        assert len(lines) == 5, result.stderr
        assert all("no permission; give another folder or change the permissions" in line for line in lines)
        assert str(locked / "t.csv") in lines[0] and str(old) in lines[4]
        assert old.read_text() == "kept" and list(locked.iterdir()) == []


LIMITED = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
noise = np.random.default_rng(0).integers(0, 255, (600, 600, 3), dtype=np.uint8)
frame = Frame(noise, "a.png")
faces = Faces(np.tile(np.array([[1, 2, 3, 4]], np.float32), (50, 1)), np.full(50, 0.5, np.float32))
for name in ("t.jsonl", "t.csv", "t.parquet", "t.png", "out/"):
    try:
        with open_sink(f"{folder}/{name}", labels=FER7, draw=draw) as sink:
            for number in range(1 if name == "t.png" else 2000):
                sink.write(Frame(noise, f"{np.random.default_rng(number).bytes(400).hex()}.png", number), faces)
    except OutputError as error:
        print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="resource limits")
def test_a_file_that_cannot_grow_is_explained_and_removed(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + LIMITED, str(tmp_path)],
        capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    lines = result.stdout.splitlines()
    assert len(lines) == 5 and result.stderr == "", result.stderr
    for line, name in zip(lines, ("t.jsonl", "t.csv", "t.parquet", "t.png", "out/"), strict=True):
        assert line.startswith(f"cannot write {tmp_path / name}") and "write to another disk or in parts" in line
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == ["out"]


def fill_disk(sink: FileTableSink) -> None:
    """Put the device that is always full behind a writer's open file."""
    with open("/dev/full", "wb", buffering=0) as device:
        os.dup2(device.fileno(), sink._file.fileno())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_full_disk_is_explained_and_nothing_is_left(tmp_path: Path, suffix: str) -> None:
    """The real error of the real device, met when the last rows go out."""
    path = tmp_path / f"t{suffix}"
    sink = open_sink(path, labels=FER7)
    fill_disk(sink)
    with pytest.raises(OutputError, match="the disk is full; free some space") as caught, sink:
        sink.write(make_frame(), make_faces(2))
    assert str(path) in str(caught.value)
    del sink
    gc.collect()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_after_a_failure_the_writer_is_closed(tmp_path: Path) -> None:
    sink = open_sink(tmp_path / "t.csv", labels=FER7)
    fill_disk(sink)
    with pytest.raises(OutputError, match="the disk is full"):
        for _ in range(1000):
            sink.write(make_frame(), make_faces(2))
    with pytest.raises(InputError, match="closed"):
        sink.write(make_frame(), make_faces(1))
    sink.close()
    assert list(tmp_path.iterdir()) == []


# Streams


def test_json_lines_go_to_an_open_stream_at_once() -> None:
    stream = io.StringIO()
    with JsonLinesStream(stream, labels=FER7) as sink:
        sink.write(make_frame("žába.jpg"), make_faces(1))
        (line,) = stream.getvalue().splitlines()
        assert json.loads(line)["source"] == "žába.jpg" and "žába" in line
        sink.fail("b.jpg", "broken")
    assert not stream.closed and len(stream.getvalue().splitlines()) == 2


def test_json_lines_suit_the_encoding_of_the_stream() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="latin-1")
    with JsonLinesStream(stream, labels=FER7) as sink:
        sink.fail("žába.jpg", "x")
    assert json.loads(raw.getvalue())["source"] == "žába.jpg" and raw.getvalue().isascii()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_a_stream_is_explained() -> None:
    stream = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115
    with pytest.raises(OutputError, match="cannot write /dev/full: the disk is full"):
        JsonLinesStream(stream, labels=FER7).fail("a", "b")
    with pytest.raises(OSError):
        stream.close()


def test_a_reader_that_goes_away_is_a_broken_pipe() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w", encoding="utf-8")
    with pytest.raises(BrokenPipeError), JsonLinesStream(stream, labels=FER7) as sink:
        sink.fail("a", "b")
    with pytest.raises(BrokenPipeError):
        stream.close()


# Images


@pytest.mark.parametrize("suffix", [*IMAGE.extensions, ".PNG"])
def test_one_annotated_image(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    frame, faces = make_frame(), make_faces(1)
    with open_sink(path, labels=FER7, draw=paint) as sink:
        sink.fail("other.jpg", "broken")
        sink.write(frame, faces)
    read = read_rgb(path).astype(int)
    assert read.shape == frame.image.shape
    tolerance = 0 if suffix.lower() == ".png" else 20
    assert np.abs(read - paint(frame.image, faces))[16:32, 12:20].max() <= tolerance
    assert np.abs(read - frame.image)[:, 40:].max() <= tolerance


def test_one_image_cannot_hold_two(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"out\.jpg holds one image.*give a folder: .*out/"),
        open_sink(tmp_path / "out.jpg", labels=FER7, draw=paint) as sink,
    ):
        sink.write(make_frame("a.jpg"), make_faces(1))
        sink.write(make_frame("b.jpg"), make_faces(1))
    assert list(tmp_path.iterdir()) == []


def test_no_image_gives_no_file(tmp_path: Path) -> None:
    with open_sink(tmp_path / "out.jpg", labels=FER7, draw=paint) as sink:
        sink.fail("a.jpg", "broken")
    assert list(tmp_path.iterdir()) == []


def test_the_analysed_image_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "me.png"
    cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    before = path.read_bytes()
    with (
        pytest.raises(InputError, match="is the image that is analyzed"),
        open_sink(path, labels=FER7, draw=paint) as sink,
    ):
        sink.write(make_frame(str(path)), make_faces(1))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["out.png", "out/"])
def test_images_need_a_function_that_draws(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"draw=mien\.draw_faces"):
        open_sink(f"{tmp_path}/{name}", labels=FER7)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("extension", IMAGE.extensions)
def test_images_say_that_mien_made_them_and_still_open(extension: str, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (37, 53, 3), dtype=np.uint8)
    data = annotated_bytes(image, extension)
    assert b"Annotated by mien" in data
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == image.shape
    pillow = pytest.importorskip("PIL.Image")
    with pillow.open(io.BytesIO(data)) as opened:
        opened.load()
        assert opened.size == (53, 37)
        assert opened.info.get("Software", "Annotated by mien") == "Annotated by mien"


def test_an_image_too_large_for_its_format_is_an_output_error() -> None:
    with pytest.raises(OutputError, match=r"16400 x 2 cannot be written as \.webp; use \.png"):
        annotated_bytes(np.zeros((2, 16400, 3), np.uint8), ".webp")


def write_all(folder: Path, sources: list[str], draw: Callable[..., NDArray[np.uint8]] = paint) -> list[str]:
    with open_sink(f"{folder}/", labels=FER7, draw=draw) as sink:
        for source in sources:
            sink.write(make_frame(source), make_faces(1))
    return sorted(p.name for p in folder.iterdir())


def test_a_folder_gets_one_image_per_source(tmp_path: Path) -> None:
    sources = ["a/x.jpg", "b/x.jpg", "c/X.JPG", "x-2.jpg", "y.png", "z.webp", "scan.tiff", "no_ending", "-"]
    names = write_all(tmp_path / "out", sources)
    assert names == sorted(
        ["x.jpg", "x-2.jpg", "X-3.JPG", "x-2-2.jpg", "y.png", "z.webp", "scan.jpg", "no_ending.jpg", "stdin.jpg"]
    )
    assert all(read_rgb(tmp_path / "out" / name).shape == (48, 64, 3) for name in names)


def test_a_second_run_replaces_the_images_of_the_first(tmp_path: Path) -> None:
    sources = ["a/x.jpg", "b/x.jpg", "y.png", "z.webp"]
    first = write_all(tmp_path / "out", sources)
    assert write_all(tmp_path / "out", sources, lambda image, faces: np.zeros_like(image)) == first
    assert all(read_rgb(tmp_path / "out" / name).max() == 0 for name in first)


def test_originals_in_the_folder_are_never_replaced(tmp_path: Path) -> None:
    for name in ("x.jpg", "y.png", "z.webp"):
        cv2.imwrite(str(tmp_path / name), np.full((9, 9, 3), 77, np.uint8))
    (tmp_path / "d.jpg").mkdir()
    before = {name: (tmp_path / name).read_bytes() for name in ("x.jpg", "y.png", "z.webp")}
    names = write_all(tmp_path, ["other/x.jpg", str(tmp_path / "x.jpg"), "y.png", "z.webp", "d.jpg"])
    assert names == ["d-2.jpg", "d.jpg", "x-2.jpg", "x-3.jpg", "x.jpg", "y-2.png", "y.png", "z-2.webp", "z.webp"]
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_frames_of_one_source_are_numbered(tmp_path: Path) -> None:
    with open_sink(tmp_path / "out", labels=FER7, draw=paint) as sink:
        for index in (0, 1, 25):
            sink.write(make_frame("clip.mp4", index=index, time_s=index / 25), make_faces(1))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["clip-000001.jpg", "clip-000025.jpg", "clip.jpg"]


def test_after_an_error_the_finished_images_stay(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), open_sink(f"{tmp_path}/out/", labels=FER7, draw=paint) as sink:
        sink.write(make_frame("a.jpg"), make_faces(1))
        raise ZeroDivisionError
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.jpg"]


def test_ctrl_c_between_writing_and_naming_an_image_leaves_only_whole_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), open_sink(f"{tmp_path}/out/", labels=FER7, draw=paint) as sink:
        sink.write(make_frame("a.jpg"), make_faces(1))
        monkeypatch.setattr(images.PartFile, "commit", interrupted)
        sink.write(make_frame("b.jpg"), make_faces(1))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.jpg"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("/photos/me.jpeg", ("me", ".jpeg")),
        ("https://example.org/p/cat%20one.png?size=2#top", ("cat one", ".png")),
        ("https://example.org/p/..%2F..%2Fetc%2Fpasswd", ("_.._etc_passwd", ".jpg")),
        ("https://example.org/", ("example_org", ".jpg")),
        ("http://[bad/x.png", ("x", ".png")),
        ("rtsp://cam:554/live", ("live", ".jpg")),
        ("-", ("stdin", ".jpg")),
        ("", ("image", ".jpg")),
        ("..", ("image", ".jpg")),
        ("/photos/.jpg", ("image", ".jpg")),
        ("photos/v1.2 final", ("v1.2 final", ".jpg")),
        ('a<b>:"|?*\n\x00.png', ("a_b_", ".png")),
        ("žába.webp", ("žába", ".webp")),
        ("ca\udcfft.jpg", ("ca_t", ".jpg")),
    ],
)
def test_image_names_are_safe(source: str, expected: tuple[str, str]) -> None:
    assert image_name(source) == expected


def test_image_names_are_not_too_long() -> None:
    stem, extension = image_name("日" * 200 + ".png")
    assert extension == ".png" and stem == "日" * 50 and unicodedata.is_normalized("NFC", stem)


def test_sinks_know_every_extension_that_is_documented() -> None:
    assert list(SINKS) == [
        ".jsonl", ".csv", ".parquet", ".jpg", ".jpeg", ".png", ".webp", ".mp4", ".mkv", ".mov", ".webm",
    ]  # fmt: skip


def test_every_writer_is_a_sink(tmp_path: Path) -> None:
    video = SimpleNamespace(source="camera", has_audio=False)
    for extension in SINKS:
        with open_sink(tmp_path / f"t{extension}", labels=FER7, draw=paint, video=video) as sink:
            assert isinstance(sink, Sink)
