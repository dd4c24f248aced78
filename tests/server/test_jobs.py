"""Videos: taken in, analyzed in the background, kept for a while, and through restarts."""

import csv
import io
import json
import os
import socket
import threading
import time
from fractions import Fraction

import cv2
import numpy as np
import pytest

import databases

pytest.importorskip("fastapi")
pytest.importorskip("av")

import httpx
from sqlalchemy import text

from browser_tools import running_server
from helpers import wait_for
from mien.errors import InputError, OutputError
from mien.server.work.jobs import ORPHAN_S, JobFiles
from mien.server.work.store import CANCELLED, DONE, FAILED, QUEUED, RUNNING, JobStore, _jobs
from mien.sources.videos import Video
from served import check_problem, served
from videos import make_video, portraits, write_audio, write_two_streams, write_video

ENDED = ("done", "failed", "cancelled")


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("videos") / "video.mp4").read_bytes()


@pytest.fixture(scope="module")
def long_video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("videos") / "long.mp4", frames=3000).read_bytes()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("jobs"), max_video_mb=16, max_video_s=400.0) as running:
        yield running


def submit(server, data, name="video.mp4", **options):
    form = {"options": json.dumps(options)} if options else {}
    return server.http.post("/v1/jobs", files={"file": (name, data)}, data=form)


def state_of(server, name):
    return server.http.get(f"/v1/jobs/{name}").json()["state"]


def finished(server, answer, *, seconds=60):
    assert answer.status_code == 202, answer.text
    name = answer.json()["id"]
    wait_for(lambda: state_of(server, name) in ENDED, seconds=seconds)
    return server.http.get(f"/v1/jobs/{name}").json()


def test_a_video_gives_tables_a_summary_and_an_annotated_video(server, video):
    answer = submit(server, video, "My video.mp4")
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
    assert answer.json()["state"] == "queued" and answer.json()["source"] == "My video.mp4"
    job = finished(server, answer)
    assert (job["state"], job["error"]) == ("done", None)
    assert job["progress"]["frames"] == 12 == job["progress"]["total"] and job["progress"]["fps"] > 0
    assert job["created"] <= job["started"] <= job["finished"] < job["expires"]
    assert set(job["results"]) == {"csv", "jsonl", "parquet", "mp4", "summary", "video"}
    table = server.http.get(job["results"]["csv"])
    assert 'filename="My video.csv"' in table.headers["content-disposition"].replace("%20", " ") or (
        "My%20video.csv" in table.headers["content-disposition"]
    )
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert len(rows) == 12 and {row["source"] for row in rows} == {"My video.mp4"}
    assert {row["steady_expression"] for row in rows} == {"happy"}
    lines = [json.loads(line) for line in server.http.get(job["results"]["jsonl"]).text.splitlines()]
    assert [line["frame"] for line in lines] == list(range(12))
    assert server.http.get(job["results"]["parquet"]).content.startswith(b"PAR1")
    summary = server.http.get(job["results"]["summary"]).json()
    assert summary["frames"] == 12 and summary["people"] == 1 and summary["source"] == "My video.mp4"
    assert server.http.get(job["results"]["mp4"]).content[4:8] == b"ftyp"


def test_no_result_tells_where_the_server_keeps_its_files(server, video):
    job = finished(server, submit(server, video))
    told = json.dumps(job) + "".join(server.http.get(job["results"][kind]).text for kind in ("csv", "jsonl", "summary"))
    assert str(server.data_dir) not in told and "upload" not in told


def test_players_may_ask_for_pieces_of_the_video(server, video):
    job = finished(server, submit(server, video))
    whole = server.http.get(job["results"]["video"])
    assert whole.content == video and whole.headers["content-type"] == "video/mp4"
    piece = server.http.get(job["results"]["video"], headers={"Range": "bytes=100-199"})
    assert piece.status_code == 206 and piece.content == video[100:200]
    assert piece.headers["content-range"] == f"bytes 100-199/{len(video)}"
    assert server.http.get(job["results"]["video"], headers={"Range": "bytes=99999999-"}).status_code == 416


def test_options_choose_frames_labels_and_outputs(server, video):
    wanted = {"every": 4, "labels": "ferplus", "annotate": False, "keep_video": False, "baseline": "0-0:01"}
    job = finished(server, submit(server, video, **wanted))
    assert job["options"] == wanted
    assert set(job["results"]) == {"csv", "jsonl", "parquet", "summary"}
    rows = list(csv.DictReader(io.StringIO(server.http.get(job["results"]["csv"]).text)))
    assert [row["frame"] for row in rows] == ["0", "4", "8"] and "contempt" in rows[0]
    assert all(float(row["baseline"]) > 0 for row in rows)
    check_problem(server.http.get(f"/v1/jobs/{job['id']}/video"), 409)
    check_problem(server.http.get(f"/v1/jobs/{job['id']}/result.mp4"), 409)


def test_people_of_a_video_are_told_apart_where_the_network_was_pulled(tmp_path, video, monkeypatch, request):
    monkeypatch.setenv("MIEN_HOME", str(tmp_path / "empty"))
    wanted = {"people": "auto", "annotate": False}
    with served(tmp_path / "without") as own:
        job = finished(own, submit(own, video, **wanted))
        assert job["state"] == "failed" and "mien models pull identity" in job["error"]["detail"]
        check_problem(submit(own, video, people="folder"), 422, "auto")
    monkeypatch.undo()
    request.getfixturevalue("identity")
    with served(tmp_path / "with") as own:
        job = finished(own, submit(own, video, **wanted))
        rows = list(csv.DictReader(io.StringIO(own.http.get(job["results"]["csv"]).text)))
        assert {row["person"] for row in rows} == {"person 1"}
        assert own.http.get(job["results"]["summary"]).json()["tracks"][0]["person"] == "person 1"


def test_a_video_that_breaks_off_gives_what_it_holds_and_says_so(server, tmp_path):
    whole = make_video(tmp_path / "whole.mkv", frames=60).read_bytes()
    job = finished(server, submit(server, whole[: len(whole) * 2 // 3], "cut.mkv"))
    assert job["state"] == "done" and "breaks off" in job["error"]["detail"] and "csv" in job["results"]
    assert 0 < job["progress"]["frames"] < 60


def test_all_jobs_are_listed_the_newest_first_and_removed_with_their_files(server, video):
    first, second = finished(server, submit(server, video)), finished(server, submit(server, video))
    listed = [job["id"] for job in server.http.get("/v1/jobs").json()["jobs"]]
    assert listed[:2] == [second["id"], first["id"]]
    folder = server.data_dir / "jobs" / first["id"]
    assert folder.is_dir()
    answer = server.http.delete(f"/v1/jobs/{first['id']}")
    assert answer.status_code == 204 and not answer.content and not folder.exists()
    check_problem(server.http.get(f"/v1/jobs/{first['id']}"), 404, "expired")
    check_problem(server.http.delete(f"/v1/jobs/{first['id']}"), 404)


def test_a_key_makes_a_list_of_ones_own_that_others_neither_see_nor_change(server, video):
    mine, theirs = ({"Mien-List": key * 16} for key in "ab")
    form = {"files": {"file": ("mine.mp4", video)}, "headers": mine}
    job = finished(server, server.http.post("/v1/jobs", **form))
    lists = [server.http.get("/v1/jobs", headers=headers).json()["jobs"] for headers in (mine, theirs, {})]
    assert [[one["id"] for one in some if one["source"] == "mine.mp4"] for some in lists] == [[job["id"]], [], []]
    address = f"/v1/jobs/{job['id']}"
    assert server.http.get(address).json() == job, "whoever has the id sees it"
    for headers in (theirs, {}):
        check_problem(server.http.delete(address, headers=headers), 403, "somebody else's list")
        check_problem(server.http.post(f"{address}/again", headers=headers), 403)
    check_problem(server.http.get("/v1/jobs", headers={"Mien-List": "short"}), 422, "Mien-List")
    assert not any(b"a" * 16 in path.read_bytes() for path in server.data_dir.glob("jobs.sqlite*"))
    assert server.http.delete(address, headers=mine).status_code == 204


def test_a_job_that_failed_is_tried_again_without_another_upload(server, video):
    job = finished(server, submit(server, video))
    check_problem(server.http.post(f"/v1/jobs/{job['id']}/again"), 409, "only a job that failed")
    store = server.app.state.jobs.store
    with store._begin() as connection:
        values = {"state": FAILED, "error": json.dumps({"title": "t", "status": 503, "detail": "d"})}
        connection.execute(_jobs.update().where(_jobs.c.id == job["id"]).values(**values))
    assert server.http.get(f"/v1/jobs/{job['id']}").json()["state"] == "failed"
    tried = finished(server, server.http.post(f"/v1/jobs/{job['id']}/again"))
    assert (tried["state"], tried["error"], tried["progress"]["frames"]) == ("done", None, 12)


def test_a_list_that_an_earlier_version_made_gets_its_new_column(tmp_path):
    url = f"sqlite:///{tmp_path / 'old.db'}"
    old = JobStore(url)
    kept = old.add("old.mp4", ".mp4", {})
    with old._begin() as connection:
        connection.execute(text("DROP INDEX ix_mien_jobs_list_id"))
        connection.execute(text("ALTER TABLE mien_jobs DROP COLUMN list_id"))
    old.close()
    new = JobStore(url)
    assert new.all(list_id="") == [kept]
    mine = new.add("new.mp4", ".mp4", {}, list_id="a")
    assert new.all(list_id="a") == [mine]
    new.close()


def test_a_running_video_is_cancelled_and_its_files_go(server, long_video):
    name = submit(server, long_video).json()["id"]
    wait_for(lambda: server.http.get(f"/v1/jobs/{name}").json()["progress"]["frames"] > 0)
    running = server.http.get(f"/v1/jobs/{name}").json()
    assert running["state"] == "running" and running["progress"]["total"] == 3000
    assert running["progress"]["left_s"] > 0
    check_problem(server.http.get(f"/v1/jobs/{name}/result.csv"), 409, "running")
    answer = server.http.delete(f"/v1/jobs/{name}")
    assert answer.status_code == 200 and answer.json()["state"] == "cancelled"
    wait_for(lambda: not (server.data_dir / "jobs" / name).exists(), seconds=10)
    assert state_of(server, name) == "cancelled"


def test_removing_videos_that_are_worked_on_leaves_no_trace_in_log_or_folder(tmp_path, video, caplog):
    with served(tmp_path, job_workers=2) as server:
        for number in range(8):
            name = submit(server, video).json()["id"]
            wait_for(lambda name=name: state_of(server, name) != "queued")
            time.sleep(0.02 * number)
            for _ in range(3):
                assert server.http.delete(f"/v1/jobs/{name}").status_code in (200, 204, 404)
            assert server.http.get(f"/v1/jobs/{name}").status_code == 404
        wait_for(lambda: not list((tmp_path / "jobs").iterdir()), seconds=10)
    told = [record for record in caplog.records if record.levelname in ("WARNING", "ERROR") or record.exc_info]
    assert not told, [record.getMessage() for record in told]
    assert str(tmp_path) not in caplog.text


def test_a_full_disk_is_told_as_such_and_leaves_nothing(tmp_path, video, caplog):
    resource = pytest.importorskip("resource")
    with served(tmp_path, job_workers=0) as server:
        submit(server, video)
        before = sorted((tmp_path / "jobs").iterdir())
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
        try:
            check_problem(submit(server, bytes(3 << 20)), 507, "disk is full")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert sorted((tmp_path / "jobs").iterdir()) == before
        assert submit(server, video).status_code == 202
    told = [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    assert [record.exc_info for record in told] == [None] and str(tmp_path) not in caplog.text


# What is refused.


@pytest.mark.parametrize(
    ("data", "status", "word"),
    [
        (b"", 422, "no video"),
        (b"hello", 422, "video"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 100, 422, "video"),
        (b"x" * (17 << 20), 413, "16,777,216"),
    ],
)
def test_what_is_no_video_or_too_large_is_refused_and_leaves_no_file(server, data, status, word):
    before = sorted((server.data_dir / "jobs").glob("*")) if (server.data_dir / "jobs").exists() else []
    problem = check_problem(submit(server, data), status, word)
    assert str(server.data_dir) not in problem
    assert sorted((server.data_dir / "jobs").glob("*")) == before


def still(suffix):
    pillow = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    pillow.fromarray(next(portraits(1))).save(file, suffix)
    return file.getvalue()


def test_stills_and_songs_are_refused_with_what_they_are(server, tmp_path):
    song = write_audio(tmp_path / "song.m4a").read_bytes()
    check_problem(submit(server, song, "song.m4a"), 422, "holds sound but no video")
    check_problem(submit(server, still("AVIF"), "photo.mp4"), 422, "is an image, not a video")


def test_what_is_asked_of_a_video_that_lacks_it_is_refused(server, video, tmp_path):
    check_problem(submit(server, video, start_s=30), 422, r"1.20 s long; start_s must be less, got 30")
    check_problem(submit(server, video, stream=1), 422, "there is no stream 1")
    two = write_two_streams(tmp_path / "two.mkv").read_bytes()
    assert finished(server, submit(server, two, "two.mkv", stream=1))["state"] == "done"


@pytest.mark.parametrize("shape", [{"aspect": Fraction(2)}, {"matrix": (-1, 0, 0, 1)}, {"matrix": (0, 1, 1, 0)}])
def test_a_job_sees_videos_as_players_show_them(server, tmp_path, shape):
    upright = list(portraits(10, scale=0.45))
    images = {
        "aspect": [cv2.resize(image, (160, 240), interpolation=cv2.INTER_AREA) for image in upright],
        (-1, 0, 0, 1): [image[:, ::-1] for image in upright],
        (0, 1, 1, 0): [image.transpose(1, 0, 2) for image in upright],
    }["aspect" if "aspect" in shape else shape["matrix"]]
    job = finished(server, submit(server, write_video(tmp_path / "clip.mp4", images, **shape).read_bytes()))
    rows = [json.loads(line) for line in server.http.get(job["results"]["jsonl"]).text.splitlines()]
    assert len(rows) == 10
    assert {row["steady_expression"] for row in rows} == {"happy"}
    (tmp_path / "result.mp4").write_bytes(server.http.get(job["results"]["mp4"]).content)
    with Video(tmp_path / "result.mp4") as drawn:
        assert (drawn.info.width, drawn.info.height) == (320, 240)


def test_forms_without_a_video_or_with_wrong_options_are_refused(server, video):
    check_problem(server.http.post("/v1/jobs", content=video), 415)
    check_problem(server.http.post("/v1/jobs", files={"options": (None, b"{}")}), 422, "no video")
    check_problem(submit(server, video, every=0), 422, "every")
    check_problem(submit(server, video, end_s=-1), 422, "end_s")
    check_problem(submit(server, video, start_s=2, end_s=1), 422, "end_s")
    check_problem(submit(server, video, every=2, fps=3), 422, "every")
    check_problem(submit(server, video, baseline="always"), 422, "0:02-0:06")
    check_problem(submit(server, video, labels="nine"), 422, "fer2013")
    check_problem(submit(server, video, detector="yunet"), 422, "mtcnn")
    check_problem(submit(server, video, path="/etc/passwd"), 422, "path")
    two = [("file", ("a.mp4", video)), ("file", ("b.mp4", video))]
    check_problem(server.http.post("/v1/jobs", files=two), 413, "at most 1")


@pytest.mark.parametrize("name", ["x", "0" * 31, "0" * 33, "..%2f..%2fetc", "A" * 32, "%00" * 32])
def test_ids_are_32_hexadecimal_digits(server, name):
    assert server.http.get(f"/v1/jobs/{name}").status_code in (404, 422)
    assert server.http.get(f"/v1/jobs/{name}/result.csv").status_code in (404, 422)
    check_problem(server.http.get(f"/v1/jobs/{'0' * 32}/result.exe"), 422)


def test_a_video_that_lasts_too_long_or_is_too_wide_is_refused(tmp_path, video):
    with served(tmp_path, max_video_s=1.0, job_workers=0) as server:
        check_problem(submit(server, video), 413, "at most 1 s")
    with served(tmp_path, max_pixels_mp=0.01, job_workers=0) as server:
        check_problem(submit(server, video), 413, "10,000 pixels")


def test_a_video_whose_frames_grow_on_the_way_does_not_have_them_converted(tmp_path):
    parts = {}
    for size in (60, 640):
        images = [np.full((size, size, 3), 8 * i, np.uint8) for i in range(24)]
        parts[size] = write_video(tmp_path / "part.h264", images).read_bytes()
    with served(tmp_path / "data", max_pixels_mp=0.1) as server:
        job = finished(server, submit(server, parts[60] + parts[640], "grows.h264"))
        told = json.dumps(job) + json.dumps(server.http.get(f"/v1/jobs/{job['id']}/summary").json())
        assert job["progress"]["frames"] <= 24 and "scaled" not in told  # FFmpeg drops them, or reading ends there
        assert job["state"] == "done" or "640 x 640 pixels" in job["error"]["detail"]
        assert str(tmp_path) not in told


SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n"
PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{target}'\n",
    "sdp": SDP + "a=rtpmap:96 H264/90000\na=control:{target}\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
    '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{target}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".ts"])
def test_a_play_list_reaches_neither_other_files_nor_the_network(server, tmp_path, video, kind, suffix):
    """A video may be a list of other videos; one that a stranger sends must not open what the server can reach."""
    (tmp_path / "secret.mp4").write_bytes(video)
    secrets = [make_video(tmp_path / "secret.ts"), tmp_path / "secret.mp4", f"file://{tmp_path / 'secret.mp4'}"]
    with socket.create_server(("127.0.0.1", 0)) as inside:
        inside.settimeout(0.1)
        for target in (*secrets, "/etc/passwd", f"http://127.0.0.1:{inside.getsockname()[1]}/x.ts"):
            for noise in ("", "\x01"):
                data = (PLAYLISTS[kind].format(target=target) + noise).encode()
                check_problem(submit(server, data, f"list{suffix}"), 422)
        with pytest.raises(TimeoutError):
            inside.accept()


# Limits.


def test_a_video_that_takes_too_long_fails(tmp_path, long_video):
    with served(tmp_path, job_timeout_s=1.0) as server:
        job = finished(server, submit(server, long_video))
        assert job["state"] == "failed" and "longer than 1 s" in job["error"]["detail"]
        assert set(job["results"]) <= {"video"}


def test_a_job_analyzes_no_more_frames_than_allowed(tmp_path, video):
    with served(tmp_path, max_frames=5) as server:
        assert finished(server, submit(server, video))["progress"]["frames"] == 5


def test_more_videos_than_may_wait_or_be_kept_are_refused_at_once(tmp_path, video):
    with served(tmp_path, job_workers=0, jobs_waiting=2, jobs_kept=3) as server:
        names = [submit(server, video).json()["id"] for _ in range(2)]
        answer = submit(server, video)
        check_problem(answer, 503, "2 videos wait")
        assert answer.headers["retry-after"] == "60"
        assert server.http.delete(f"/v1/jobs/{names[0]}").json()["state"] == "cancelled"
        assert not (tmp_path / "jobs" / names[0]).exists()
        submit(server, video)
        check_problem(submit(server, video), 503)


def test_more_videos_than_may_come_in_at_once_are_refused(server, video, monkeypatch):
    monkeypatch.setattr("mien.server.work.jobs.MOST_INCOMING", 0)
    check_problem(submit(server, video), 503, "come in")
    monkeypatch.undo()
    assert submit(server, video).status_code == 202


def test_jobs_expire_with_their_files(tmp_path, video, monkeypatch):
    monkeypatch.setattr("mien.server.work.jobs.TIDY_S", 0.2)
    with served(tmp_path, keep_s=0.5) as server:
        name = submit(server, video).json()["id"]
        wait_for(lambda: server.http.get(f"/v1/jobs/{name}").status_code == 404)
        wait_for(lambda: not (tmp_path / "jobs" / name).exists())


def test_folders_that_belong_to_no_job_are_found_when_they_are_old(tmp_path):
    files = JobFiles(tmp_path)
    assert files.orphans(set()) == []
    for name in ("known", "old", "new"):
        files.of(name).mkdir(parents=True)
    long_ago = time.time() - ORPHAN_S - 1
    for name in ("known", "old"):
        os.utime(files.of(name), (long_ago, long_ago))
    assert files.orphans({"known"}) == ["old"]


# Restarts, on every database at hand.


@pytest.fixture(scope="module")
def postgresql():
    with databases.postgresql() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    return request.getfixturevalue("postgresql").new_database()


def test_a_waiting_video_survives_a_restart(tmp_path, video, url):
    with served(tmp_path, database=url, job_workers=0) as server:
        name = submit(server, video).json()["id"]
    with served(tmp_path, database=url) as server:
        wait_for(lambda: state_of(server, name) == "done")
        assert server.http.get(f"/v1/jobs/{name}").json()["progress"]["frames"] == 12


def test_a_running_video_is_put_back_and_goes_on_after_a_restart(tmp_path, tmp_path_factory):
    data = make_video(tmp_path_factory.mktemp("f") / "middle.mp4", frames=600).read_bytes()
    with served(tmp_path) as server:
        name = submit(server, data).json()["id"]
        wait_for(lambda: server.http.get(f"/v1/jobs/{name}").json()["progress"]["frames"] > 20)
    store = JobStore(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    row = store.get(name)
    store.close()
    assert row.state == QUEUED and row.owner is None and row.attempts == 0 and 20 < row.frames < 600
    with served(tmp_path) as server:
        wait_for(lambda: state_of(server, name) in ENDED, seconds=60)
        job = server.http.get(f"/v1/jobs/{name}").json()
        assert (job["state"], job["progress"]["frames"]) == ("done", 600)
        rows = list(csv.DictReader(io.StringIO(server.http.get(job["results"]["csv"]).text)))
        assert [int(row["frame"]) for row in rows] == list(range(600))
        assert len({row["track_id"] for row in rows}) == 1


def test_a_running_video_does_not_go_on_with_another_detector(tmp_path, tmp_path_factory):
    data = make_video(tmp_path_factory.mktemp("f") / "middle.mp4", frames=600).read_bytes()
    with served(tmp_path) as server:
        name = submit(server, data).json()["id"]
        wait_for(lambda: server.http.get(f"/v1/jobs/{name}").json()["progress"]["frames"] > 20)
    with served(tmp_path, detector="haar") as server:
        wait_for(lambda: state_of(server, name) in ENDED, seconds=60)
        job = server.http.get(f"/v1/jobs/{name}").json()
        assert job["state"] == "failed"
        assert "detector was mtcnn(" in job["error"]["detail"] and "and is haar(" in job["error"]["detail"]


def test_a_video_is_finished_after_the_server_was_killed(tmp_path, postgresql):
    url = postgresql.new_database()  # with SQLite, test_serve_cli.py tries it
    video = make_video(tmp_path / "killed.mp4", frames=600)
    with running_server(tmp_path / "data", database=url) as server, httpx.Client(base_url=server.url) as http:
        name = http.post("/v1/jobs", files={"file": video.read_bytes()}).json()["id"]
        wait_for(lambda: http.get(f"/v1/jobs/{name}").json()["progress"]["frames"] > 0)
        server.kill()
        store = JobStore(url)
        row = store.get(name)
        assert row.state == RUNNING and 0 < row.frames < 600
        assert store.renew(name, row.owner, lease_s=-1)  # as if the half minute had passed
        server.start()
        wait_for(lambda: store.get(name).state in ENDED, seconds=60)
        assert (store.get(name).state, store.get(name).attempts) == (DONE, 2)
        store.close()
        rows = list(csv.DictReader(io.StringIO(http.get(f"/v1/jobs/{name}/result.csv").text)))
        assert [int(row["frame"]) for row in rows] == list(range(600)) and {row["track_id"] for row in rows} == {"1"}


def test_two_servers_share_one_list_and_no_video_is_done_twice(tmp_path, video, url):
    with served(tmp_path, database=url) as one, served(tmp_path, database=url) as other:
        names = [submit(server, video).json()["id"] for server in (one, other) * 4]
        wait_for(lambda: all(state_of(one, name) == "done" for name in names), seconds=60)
        assert {job["id"] for job in other.http.get("/v1/jobs").json()["jobs"]} == set(names)
        counts = [server.app.state.jobs.store.get(name).attempts for server in (one,) for name in names]
        assert counts == [1] * 8


# The list itself.


def test_the_list_keeps_what_was_put_into_it_and_gives_each_job_to_one_server(url):
    store, other = JobStore(url), JobStore(url)
    rows = [store.add(f"video {i} ü😀.mp4", ".mp4", {"every": i + 1}) for i in range(20)]
    assert other.get(rows[3].id) == rows[3] and len({row.id for row in rows}) == 20
    assert [row.id for row in other.all()] == [row.id for row in reversed(rows)]
    claimed, lock = [], threading.Lock()

    def work(mine, owner):
        while (row := mine.claim(owner, lease_s=60)) is not None:
            with lock:
                claimed.append((row.id, row.owner == owner))

    threads = [threading.Thread(target=work, args=(s, f"{n}")) for n, s in enumerate((store, other, store, other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for name, _ in claimed) == sorted(row.id for row in rows) and all(own for _, own in claimed)
    assert store.counts() == {QUEUED: 0, RUNNING: 20, DONE: 0, FAILED: 0, CANCELLED: 0}
    for one in (store, other):
        one.close()


def test_a_lease_that_ran_out_gives_the_job_to_the_next_server(url):
    store = JobStore(url)
    row = store.add("a.mp4", ".mp4", {})
    assert store.claim("dead", lease_s=-1).attempts == 1
    again = store.claim("alive", lease_s=60)
    assert (again.id, again.owner, again.attempts) == (row.id, "alive", 2)
    assert not store.renew(row.id, "dead", lease_s=60, frames=5)
    assert not store.finish(row.id, "dead", DONE, keep_s=60)
    assert store.renew(row.id, "alive", lease_s=60, frames=7, total=9, fps=1.5, left_s=2.0)
    assert (store.get(row.id).frames, store.get(row.id).total, store.get(row.id).fps) == (7, 9, 1.5)
    assert store.finish(row.id, "alive", FAILED, keep_s=-1, error={"status": 500})
    assert store.get(row.id).error == {"status": 500} and store.expired() == [row.id]
    assert store.remove(row.id) and not store.remove(row.id) and store.get(row.id) is None
    store.close()


def test_cancelling_ends_the_owners_right_and_putting_back_gives_it_up(url):
    store = JobStore(url)
    first, second = store.add("a.mp4", ".mp4", {}), store.add("b.mp4", ".mp4", {})
    assert store.claim("me", lease_s=60).id == first.id
    store.cancel(first.id, keep_s=60)
    assert store.get(first.id).state == CANCELLED and not store.renew(first.id, "me", lease_s=60)
    store.put_back(first.id, "me")
    assert store.get(first.id).state == CANCELLED  # too late
    assert store.claim("me", lease_s=60).id == second.id
    store.put_back(second.id, "me")
    assert (store.get(second.id).state, store.get(second.id).attempts) == (QUEUED, 0)
    store.close()


def test_wrong_databases_are_named_without_their_password(tmp_path):
    with pytest.raises(InputError, match="SQLAlchemy URL"):
        JobStore("nonsense")
    with pytest.raises(OutputError) as refused:
        JobStore("sqlite:////nowhere/at/all/jobs.sqlite")
    assert "check the database" in str(refused.value)
    pytest.importorskip("psycopg")
    with pytest.raises(OutputError) as refused:
        JobStore("postgresql+psycopg://me:secret@127.0.0.1:1/mien")
    assert "secret" not in str(refused.value)


def test_a_database_that_is_away_is_told_as_passing(tmp_path, video):
    with served(tmp_path, job_workers=0) as server:
        (tmp_path / "jobs.sqlite").rename(tmp_path / "away")
        (tmp_path / "jobs.sqlite").mkdir()
        for answer in (server.http.get("/v1/jobs"), submit(server, video)):
            check_problem(answer, 503, "check the database")
            assert int(answer.headers["retry-after"]) > 0
        (tmp_path / "jobs.sqlite").rmdir()
        (tmp_path / "away").rename(tmp_path / "jobs.sqlite")
        assert submit(server, video).status_code == 202


def test_a_video_that_ends_the_process_each_time_is_given_up(tmp_path, video):
    with served(tmp_path, job_workers=0) as server:
        name = submit(server, video).json()["id"]
    store = JobStore(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    for _ in range(3):
        assert store.claim("dying", lease_s=-1).id == name
    store.close()
    with served(tmp_path) as server:
        wait_for(lambda: state_of(server, name) == "failed")
        assert "given up" in server.http.get(f"/v1/jobs/{name}").json()["error"]["detail"]
