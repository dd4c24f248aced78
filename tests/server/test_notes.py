"""Notes of a video: who is who, what was shown, when something happened; beside the results, undoable, lasting."""

import csv
import io
import json

import pytest

import databases

pytest.importorskip("fastapi")
pytest.importorskip("av")

from helpers import wait_for
from mien.client import Client, ServerError
from mien.output.read_rows import ResultTable
from mien.server.work.store import JobStore
from mien.video import TruthScore, read_truth
from served import check_problem, served
from videos import make_video

ENDED = ("done", "failed", "cancelled")
ANNA = {"track_id": 1, "person": "Anna", "start_s": None, "end_s": None}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("notes")) as running:
        yield running


@pytest.fixture(scope="module")
def job(server, tmp_path_factory):
    return submitted(server, tmp_path_factory.mktemp("video"))


def submitted(server, folder, **headers):
    data = make_video(folder / "who.mp4").read_bytes()
    options = {"options": json.dumps({"annotate": False})}
    answer = server.http.post("/v1/jobs", files={"file": ("who.mp4", data)}, data=options, headers=headers)
    name = answer.json()["id"]
    wait_for(lambda: server.http.get(f"/v1/jobs/{name}").json()["state"] in ENDED, seconds=60)
    return name


def put(server, job, kind, value, after, **headers):
    body = {"after": after, "value": value}
    return server.http.put(f"/v1/jobs/{job}/notes/{kind}", json=body, headers=headers)


def test_names_are_kept_beside_the_answers_and_changes_are_undone_one_by_one(server, job):
    address = f"/v1/jobs/{job}/notes/people"
    before = server.http.get(f"/v1/jobs/{job}/result.csv").content
    assert server.http.get(address).json() == {
        "kind": "people", "number": 0, "made": None, "undoable": False, "value": [],
    }  # fmt: skip
    first = put(server, job, "people", [ANNA], 0).json()
    assert first["value"] == [ANNA] and first["number"] == 1 and first["undoable"] and first["made"].endswith("Z")
    second = put(server, job, "people", [{**ANNA, "person": "Ben"}], 1).json()
    check_problem(put(server, job, "people", [ANNA], 1), 409, "meanwhile")
    people = [server.http.post(f"{address}/undo").json() for _ in range(2)]
    assert [one["value"] for one in people] == [[ANNA], []] and not people[1]["undoable"]
    check_problem(server.http.post(f"{address}/undo"), 409, "no earlier change")
    third = put(server, job, "people", [{**ANNA, "person": "Cleo"}], people[1]["number"]).json()
    assert third["number"] > second["number"] and server.http.post(f"{address}/undo").json()["value"] == []
    assert server.http.get(f"/v1/jobs/{job}/result.csv").content == before


def test_corrected_tables_have_a_column_more_and_all_else_as_it_was(server, job):
    after = server.http.get(f"/v1/jobs/{job}/notes/people").json()["number"]
    parts = [{**ANNA, "end_s": 0.5}, {**ANNA, "person": "=Ben", "start_s": 0.5}]
    assert put(server, job, "people", parts, after).status_code == 200
    plain = list(csv.DictReader(io.StringIO(server.http.get(f"/v1/jobs/{job}/result.csv").text)))
    text = server.http.get(f"/v1/jobs/{job}/corrected.csv")
    assert "who-corrected.csv" in text.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(text.text)))
    names = [row.pop("corrected_person") for row in rows]
    assert rows == plain and set(names) == {"Anna", "'=Ben"}, "no spreadsheet takes a name for a formula"
    assert [name == "Anna" for name in names] == [float(row["time_s"]) < 0.5 for row in rows]
    lines = server.http.get(f"/v1/jobs/{job}/corrected.jsonl").text.splitlines()
    assert {json.loads(line)["corrected_person"] for line in lines} == {"Anna", "=Ben"}
    assert server.http.get(f"/v1/jobs/{job}/corrected.parquet").content.startswith(b"PAR1")
    summary = server.http.get(f"/v1/jobs/{job}/corrected.json").json()
    assert [(one["corrected_person"], one["tracks"]) for one in summary["tracks"]] == [("Anna", [1]), ("=Ben", [1])]
    assert summary["people"] == 2 and summary["tracks"][0]["seconds"] == pytest.approx(0.5, abs=0.11)


def test_the_truth_goes_in_and_out_as_the_command_line_reads_it_and_scores_as_there(server, job, tmp_path):
    spans = [
        {"start_s": 0, "end_s": 0.6, "expression": "joy", "track_id": 1},
        {"start_s": 0.6, "end_s": None, "expression": "sad", "track_id": 1},
    ]
    noted = put(server, job, "truth", spans, 0).json()
    assert [span["expression"] for span in noted["value"]] == ["happy", "sad"]
    path = tmp_path / "truth.csv"
    path.write_bytes(server.http.get(f"/v1/jobs/{job}/truth.csv").content)
    table = tmp_path / "rows.jsonl"
    table.write_bytes(server.http.get(f"/v1/jobs/{job}/result.jsonl").content)
    rows = ResultTable.open(table)
    score = TruthScore(read_truth(path, rows.labels))
    for row in rows:
        score.add_record(row)
    told = server.http.get(f"/v1/jobs/{job}/score").json()
    assert told == score.to_dict() and told["n"] == 12 and 0 < told["accuracy"] < 1
    text = "file;start_s;end_s;expression\nother.mp4;0;1;happy\nfolder/who.mp4;0:00.2;0.9;surprised\n"
    kind = {"Content-Type": "text/csv"}
    noted = server.http.put(f"/v1/jobs/{job}/truth.csv", content=text, headers=kind).json()
    assert noted["value"] == [{"start_s": 0.2, "end_s": 0.9, "expression": "surprise", "track_id": None}]
    assert len(server.http.post(f"/v1/jobs/{job}/notes/truth/undo").json()["value"]) == 2
    for wrong, word in (
        ("a,b\n1,2\n", "columns"),
        ("start_s,end_s,expression,track_id\n0,1,sad,99\n", "got 99"),
        ("file,start_s,end_s,expression\nx.mp4,0,1,sad\n", "who.mp4"),
    ):
        said = check_problem(server.http.put(f"/v1/jobs/{job}/truth.csv", content=wrong, headers=kind), 422, word)
        assert "/tmp" not in said and str(server.data_dir) not in said


@pytest.mark.parametrize(
    ("kind", "value", "word"),
    [
        ("people", [{"track_id": 1}], "person"),
        ("people", [{**ANNA, "person": "a\nb"}], "printable"),
        ("people", [{**ANNA, "person": "x" * 81}], "80"),
        ("people", [ANNA, {**ANNA, "person": "Ben"}], "overlap"),
        ("people", [{**ANNA, "start_s": 2, "end_s": 1}], "after start_s"),
        ("people", [{**ANNA, "track_id": 99}], "has the tracks 1, got 99"),
        ("truth", [{"start_s": 0, "end_s": 1, "expression": "sad", "track_id": 99}], "has the tracks 1, got 99"),
        ("truth", [{"start_s": 0, "end_s": 1, "expression": "hungry"}], "hungry"),
        (
            "truth",
            [{"start_s": 0, "end_s": 2, "expression": "sad"}, {"start_s": 1, "end_s": 3, "expression": "sad"}],
            "",
        ),
        ("events", [{"time_s": -1, "name": "x"}], "time_s"),
        ("events", [{"time_s": 1, "name": ""}], "name"),
        ("events", "x", "list"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(server, job, kind, value, word):
    before = server.http.get(f"/v1/jobs/{job}/notes/{kind}").json()
    check_problem(put(server, job, kind, value, before["number"]), 422, word)
    assert server.http.get(f"/v1/jobs/{job}/notes/{kind}").json() == before


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"value": []}', b'{"after": "x", "value": []}', b"[" * 100_000])
def test_bodies_that_are_none_are_told_what_to_send(server, job, body):
    check_problem(server.http.put(f"/v1/jobs/{job}/notes/events", content=body), 422, "/docs")
    check_problem(server.http.put(f"/v1/jobs/{job}/notes/events", content=b" " * (3 << 20)), 413)
    check_problem(server.http.put(f"/v1/jobs/{job}/notes/hats", content=body), 422)
    check_problem(server.http.put(f"/v1/jobs/{'0' * 32}/notes/events", content=body), 404)


def test_only_who_owns_a_video_notes_something_and_it_goes_with_the_job(server, tmp_path):
    key = {"Mien-List": "a secret of my own"}
    name = submitted(server, tmp_path, **key)
    check_problem(put(server, name, "events", [{"time_s": 1, "name": "x"}], 0), 403, "list")
    check_problem(server.http.post(f"/v1/jobs/{name}/notes/events/undo"), 403)
    check_problem(server.http.put(f"/v1/jobs/{name}/truth.csv", content=b""), 403)
    assert put(server, name, "events", [{"time_s": 1, "name": "x"}], 0, **key).status_code == 200
    assert server.http.get(f"/v1/jobs/{name}/notes/events").json()["number"] == 1, "all who know the id may read"
    mine = Client(server.url, list_key=key["Mien-List"])
    assert [job["id"] for job in mine.jobs()] == [name]
    noted = mine.correct(name, [{"track_id": 1, "person": "Anna"}])
    assert noted == mine.note(name, "people") and noted["value"] == [ANNA]
    assert mine.set_note(name, "events", [{"time_s": 2, "name": "y"}])["number"] == 2
    assert mine.undo_note(name, "events")["value"] == [{"time_s": 1.0, "name": "x"}]
    assert "Anna" in mine.download(name, "csv", tmp_path / "a.csv", corrected=True).read_text()
    assert json.loads(mine.download(name, "summary", tmp_path / "a.json", corrected=True).read_text())["people"] == 1
    with pytest.raises(ServerError, match="list"):
        Client(server.url, list_key="another one's secret").cancel(name)
    with pytest.raises(ServerError, match="nothing"):
        mine.score(name)
    mine.cancel(name)
    assert server.app.state.jobs.store.note(name, "events").number == 0


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    else:
        with databases.postgresql() as running:
            yield running.new_database()


def test_both_databases_keep_notes_and_let_one_of_two_writers_win(url):
    first, second = JobStore(url), JobStore(url)
    name = first.add("a.mp4", ".mp4", {}).id
    assert first.add_note(name, "people", [1], after=0).value == (1,)
    assert second.add_note(name, "people", [2], after=0) is None
    assert second.add_note(name, "people", [2], after=1).number == 2
    for number in range(2, 230):
        first.add_note(name, "people", [number], after=number)
    seen = []
    while (note := second.undo_note(name, "people")) is not None:
        seen.append(note.value)
    assert 90 < len(seen) <= 200 and seen[0] == (228,), "the last changes can be undone, and old ones do not pile up"
    first.close()
    second.close()
    again = JobStore(url)
    assert again.note(name, "people").value == seen[-1]
    assert again.remove(name) and again.note(name, "people").number == 0
    again.close()


def test_videos_are_compared_around_an_event_and_reported(server, job, tmp_path):
    other = submitted(server, tmp_path)
    for name, time_s in ((job, 0.5), (other, 0.4)):
        number = server.http.get(f"/v1/jobs/{name}/notes/events").json()["number"]
        assert put(server, name, "events", [{"time_s": time_s, "name": "beep"}], number).status_code == 200
    videos = [{"job": job, "group": "A"}, {"job": other, "group": "B", "label": "second"}]
    wanted = {"videos": videos, "event": "beep", "before_s": 0.3, "after_s": 0.5, "expressions": ["joy"]}
    told = server.http.post("/v1/compare", json=wanted).json()
    assert [group["group"] for group in told["groups"]] == ["A", "B"] and told["interval"].startswith("95 % t")
    assert {curve["video"] for curve in told["curves"]} == {"who.mp4", "second"} and len(told["times_s"]) == 60
    page = server.http.post("/v1/report", json=wanted)
    assert page.headers["content-type"].startswith("text/html") and "attachment" in page.headers["content-disposition"]
    assert "mien-b" in page.text and "sha256" in page.text and "second" in page.text and "<script" not in page.text
    mine = Client(server.url)
    assert mine.compare([job, other], event="beep")["event"] == "beep"
    path = mine.report([{"job": job}], tmp_path / "r.html", title="Mine")
    assert "<h1>Mine</h1>" in path.read_text(encoding="utf-8")
    check_problem(server.http.post("/v1/compare", json={**wanted, "event": "boop"}), 422, "boop")
    check_problem(server.http.post("/v1/report", json={**wanted, "videos": []}), 422, "videos")
    check_problem(server.http.post("/v1/report", json={"videos": [{"job": "0" * 32}]}), 404)
    check_problem(server.http.post("/v1/report", content=b"{"), 422, "/docs")
    nobody = [{"job": job, "people": ["Nobody"]}]
    check_problem(server.http.post("/v1/compare", json={"videos": nobody}), 422, "nobody")
