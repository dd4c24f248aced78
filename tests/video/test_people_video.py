"""Who is who in videos: made scenes with cuts, people with names, stopped runs, tables and summaries."""

import csv
import json
import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip("av")

from conftest import EXAMPLES, read_rgb

from helpers import rows_in
from mien.analyzer import AnalyzerSettings
from mien.errors import InputError, MissingWeightsError
from mien.faces import PERSON, Frame
from mien.tracking.settings import TrackSettings
from mien.video import VideoJob, VideoOutputs, VideoSummary, analyze_video, analyze_videos, run_job, track
from mien.video._people import KnownPeople
from mien.video.run import see_people
from scenes import cut_out, cutting, portrait_people, recutting
from videos import write_video

FPS = 10


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Somebody, somebody else at the same place, nobody, the first again: three tracks, two people."""
    scene = cutting(portrait_people(EXAMPLES), fps=FPS)
    return write_video(tmp_path_factory.mktemp("people") / "cuts.mp4", (f.image for f in scene.frames()), fps=FPS)


@pytest.fixture(scope="module")
def named_folder(tmp_path_factory):
    """A folder per name, Ada with a second picture that is none, and Nobody without a face."""
    root = tmp_path_factory.mktemp("named")
    for name, file in (("Ada", "astronaut.jpg"), ("Grace", "grace_hopper.jpg")):
        (root / name).mkdir()
        small = cv2.resize(cv2.imread(str(EXAMPLES / file)), None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(root / name / "1.jpg"), small[:, ::-1])  # mirrored: not the very same pixels
    (root / "Ada" / "2.jpg").write_bytes(b"no image")
    (root / "Nobody").mkdir()
    cv2.imwrite(str(root / "Nobody" / "1.png"), np.full((80, 80, 3), 128, np.uint8))
    return root


def people_of(rows):
    """Return the tracks of each person, and the people of each second."""
    tracks = {}
    for row in rows:
        if row["track_id"] not in (None, ""):
            tracks.setdefault(row[PERSON], set()).add(int(row["track_id"]))
    return tracks


def test_somebody_who_comes_back_after_cuts_is_one_person(analyzer, identity, clip, tmp_path):
    outputs = VideoOutputs.named(
        [tmp_path / name for name in ("rows.jsonl", "rows.csv", "summary.json", "summary.md", "annotated.mp4")]
    )
    with analyze_video(clip, analyzer=analyzer, progress=False) as plain:
        assert len(plain.tracks) == 3 and PERSON not in plain.to_pandas().columns
    with analyze_video(clip, outputs, analyzer=analyzer, people="auto", progress=False) as result:
        assert result.problems == ()
        assert [(track.person, track.track_id) for track in result.tracks] == [("person 1", 1), ("person 2", 2)]
        assert result.figures["people"] == 2
        assert result.tracks[0].seconds == pytest.approx(1.6 + 1.6, abs=0.35)
        assert set(result.to_pandas()[PERSON].dropna()) == {"person 1", "person 2"}
        assert {face.person for faces in result for face in faces} == {"person 1", "person 2"}
    assert people_of(rows_in(tmp_path / "rows.jsonl")) == {"person 1": {1, 3}, "person 2": {2}}
    with (tmp_path / "rows.csv").open(newline="") as file:
        assert people_of(csv.DictReader(file)) == {"person 1": {1, 3}, "person 2": {2}}
    told = json.loads((tmp_path / "summary.json").read_text())
    assert [track[PERSON] for track in told["tracks"]] == ["person 1", "person 2"]
    assert "person 1" in (tmp_path / "summary.md").read_text()


def test_a_summary_made_of_rows_counts_the_same_people(analyzer, identity, clip):
    with analyze_video(clip, analyzer=analyzer, people="auto", progress=False) as result:
        summary = VideoSummary(result.labels)
        for row in result.to_pandas().to_dict("records"):
            summary.add_record({name: None if value != value else value for name, value in row.items()})
        told, ours = summary.to_dict(), result.summary()
    assert told["people"] == 2
    assert [(t["track_id"], t[PERSON]) for t in told["tracks"]] == [(t["track_id"], t[PERSON]) for t in ours["tracks"]]


def test_a_folder_per_name_names_them(analyzer, identity, clip, named_folder):
    with analyze_video(clip, analyzer=analyzer, people=named_folder, progress=False) as result:
        assert [(track.person, track.track_id) for track in result.tracks] == [("Ada", 1), ("Grace", 2)]
        said = "\n".join(result.problems)
    assert "2.jpg" in said and "no picture of Nobody can be used" in said


def test_somebody_without_a_picture_keeps_a_number(analyzer, identity, clip, named_folder, tmp_path):
    (tmp_path / "Grace").symlink_to(named_folder / "Grace")
    with analyze_video(clip, analyzer=analyzer, people=tmp_path, progress=False) as result:
        assert [track.person for track in result.tracks] == ["person 1", "Grace"]


def test_a_stopped_run_goes_on_to_the_same_people(analyzer, identity, clip, tmp_path):
    settings = TrackSettings(people="auto")
    whole, parts = (VideoOutputs(tables=(tmp_path / name / "rows.jsonl",)) for name in ("whole", "parts"))
    run_job(VideoJob(clip, whole, track=settings), analyzer)
    stop, seen = threading.Event(), []

    def count(at):
        seen.append(at.frames)
        if len(seen) == 25:
            stop.set()

    job = VideoJob(clip, parts, track=settings, snapshot_s=0)
    assert run_job(job, analyzer, progress=count, stop=stop).interrupted
    with pytest.raises(InputError, match="cannot resume: people was auto and is None"):
        run_job(VideoJob(clip, parts, resume=True), analyzer)
    assert not run_job(replace(job, resume=True), analyzer).interrupted
    assert parts.tables[0].read_bytes() == whole.tables[0].read_bytes()
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(path.name for path in kept) == ["rows.jsonl", "rows.jsonl"]  # no embedding is left anywhere


@pytest.fixture(scope="module")
def other_clip(tmp_path_factory):
    """The second person of `clip`, then the first."""
    scene = cutting(portrait_people(EXAMPLES)[::-1], fps=FPS)
    return write_video(tmp_path_factory.mktemp("people") / "other.mp4", (f.image for f in scene.frames()), fps=FPS)


def test_people_of_several_videos_have_one_name_in_all(analyzer, identity, clip, other_clip, tmp_path):
    track = TrackSettings(people="auto")
    jobs = [
        VideoJob(source, VideoOutputs(tables=(tmp_path / f"{n}.jsonl",)), track=track)
        for n, source in enumerate((clip, other_clip, tmp_path / "none.mp4"))
    ]
    first, second, missing = analyze_videos(jobs, AnalyzerSettings(), workers=2)
    assert [(one.person, one.track_id) for one in first.tracks] == [("person 1", 1), ("person 2", 2)]
    assert [(one.person, one.track_id) for one in second.tracks] == [("person 2", 1), ("person 1", 2)]
    assert "none.mp4" in missing.error and (first.resumed, second.resumed) == (0, 0)
    assert people_of(rows_in(tmp_path / "1.jsonl")) == {"person 2": {1, 3}, "person 1": {2}}
    kept = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert kept == ["0.jsonl", "1.jsonl"], "neither embeddings nor journals are left"
    with analyze_video(other_clip, analyzer=analyzer, people="auto", progress=False) as alone:
        assert alone.tracks[0].person == "person 1", "alone, a video begins with its own first person"


def test_the_time_of_the_round_that_finds_people_counts(analyzer, identity, clip, tmp_path):
    track = TrackSettings(people="auto")
    job = VideoJob(clip, VideoOutputs(tables=(tmp_path / "rows.jsonl",)), track=track, journal=tmp_path / "journal")
    seen = see_people(job, analyzer)
    known = KnownPeople(dict.fromkeys(seen.tracks, "person 1"), seconds=seen.seconds + 1000)
    assert 0 < seen.seconds < 1000 < run_job(replace(job, known=known, resume=True), analyzer).seconds


def test_the_command_names_people_over_several_videos(identity, clip, other_clip, named_folder, tmp_path, mien):
    for people, expected in (("auto", ["person 2", "person 1"]), (str(named_folder), ["Grace", "Ada"])):
        table = tmp_path / "rows.csv"
        code, out, err = mien(
            "analyze", str(clip), str(other_clip), "--people", people, "-o", str(table), "--jobs", "2"
        )
        assert code == 0, out + err
        with table.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["source"].endswith("other.mp4")]
        assert list(people_of(rows)) == expected


def test_several_videos_that_were_stopped_go_on_to_the_same_people(identity, clip, other_clip, tmp_path):
    track = TrackSettings(people="auto")
    whole, parts = (
        [
            VideoJob(source, VideoOutputs(tables=(tmp_path / name / f"{n}.jsonl",)), track=track, snapshot_s=0)
            for n, source in enumerate((clip, other_clip))
        ]
        for name in ("whole", "parts")
    )
    assert all(result.error is None for result in analyze_videos(whole, AnalyzerSettings(), workers=1))
    stop = threading.Event()
    parts = [replace(job, journal=tmp_path / f"{n}.journal") for n, job in enumerate(parts)]
    stopped = list(analyze_videos(parts, AnalyzerSettings(), workers=1, stop=stop, progress=lambda _: stop.set()))
    assert all(result.interrupted for result in stopped)
    again = list(analyze_videos([replace(job, resume=True) for job in parts], AnalyzerSettings(), workers=1))
    assert [result.interrupted for result in again] == [False, False]
    for job, other in zip(whole, parts, strict=True):
        assert job.outputs.tables[0].read_bytes() == other.outputs.tables[0].read_bytes()


def test_faces_too_small_to_compare_are_nobody(analyzer, identity, tmp_path):
    image = cv2.resize(read_rgb(EXAMPLES / "astronaut.jpg"), (150, 150), interpolation=cv2.INTER_AREA)
    clip = write_video(tmp_path / "far.mp4", [np.pad(image, ((20, 20), (60, 60), (0, 0)), "edge")] * 8, fps=FPS)
    with analyze_video(clip, analyzer=analyzer, people="auto", min_face=12, progress=False) as result:
        (track,) = result.tracks
        assert track.person is None and result.to_pandas()[PERSON].isna().all()


@pytest.mark.parametrize("people", ["auto", "no/such/folder"])
def test_what_is_missing_is_said_before_any_work(analyzer, clip, tmp_path, monkeypatch, request, people):
    if people == "auto":
        monkeypatch.setenv("MIEN_HOME", str(tmp_path / "empty"))
        error, said = MissingWeightsError, "mien models pull identity"
    else:
        request.getfixturevalue("identity")
        error, said = InputError, "must be auto or a folder that holds a folder of pictures per name"
    frames = []
    with pytest.raises(error, match=said):
        analyze_video(clip, analyzer=analyzer, people=people, progress=frames.append)
    assert frames == []


def test_three_people_over_cuts_with_eight_tracks_are_three(analyzer, identity, shared, tmp_path):
    folder = shared / "data" / "faces" / "london"
    cut_outs = []
    for who in ("004", "016", "025"):
        for look in ("neutral", "smiling"):
            image = read_rgb(folder / f"{who}_{look}.jpg")
            cut_outs.append(cut_out(who, image, analyzer.detector.detect(image).largest().xyxy[0]))
    scene = recutting(cut_outs, fps=FPS)
    clip = write_video(tmp_path / "recut.mp4", (f.image for f in scene.frames()), fps=FPS)
    with analyze_video(clip, analyzer=analyzer, progress=False) as plain:
        assert len(plain.tracks) == 8
    with analyze_video(clip, analyzer=analyzer, people="auto", progress=False) as result:
        assert len(result.tracks) == 3
        who = {}
        for faces, (_, truth) in zip(result, scene, strict=True):
            centres = (truth.xyxy[:, :2] + truth.xyxy[:, 2:]) / 2
            for face in faces:
                x, y = (face.xyxy[:2] + face.xyxy[2:]) / 2
                nearest = int(np.abs(centres - (x, y)).sum(axis=1).argmin())
                who.setdefault(face.person, set()).add(int(truth.person[nearest]) // 2)
    assert sorted(who.values(), key=min) == [{0}, {1}, {2}]


def test_frames_as_they_come_have_nobody_known(analyzer, clip):
    with pytest.raises(InputError, match="known after the last frame only"):
        list(track(clip, settings=TrackSettings(people="auto"), analyzer=analyzer))


def test_a_frame_is_given_without_people_unless_asked(analyzer):
    image = read_rgb(EXAMPLES / "astronaut.jpg")
    (faces,) = analyzer.analyze_frames([Frame(image)])
    assert faces.person is None
