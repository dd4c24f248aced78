"""Videos with a baseline: made people whose resting face looks angry or sad, stopped runs, filters, many, streams."""

import json
import threading

import numpy as np
import pytest

pytest.importorskip("av")

from helpers import rows_in
from mien.analyzer import AnalyzerSettings
from mien.errors import InputError
from mien.faces import KEEP_ALL, FaceFilter
from mien.sources.videos import VideoSettings
from mien.tracking.settings import TrackSettings
from mien.video import VideoJob, VideoOutputs, analyze_video, analyze_videos, replay, run_job, track
from mien.video.baseline import read_baseline
from resting_people import FPS, resting_then_smiling
from videos import write_video


@pytest.fixture(scope="module", params=["angry", "sad"])
def looks(request):
    return request.param


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resting")
    return {
        looks: write_video(folder / f"{looks}.mp4", resting_then_smiling(looks), fps=FPS) for looks in ("angry", "sad")
    }


def shown(rows, start_s, end_s, column="expression"):
    return [row[column] for row in rows if start_s <= float(row["time_s"]) <= end_s]


def share(names, name):
    return names.count(name) / len(names)


def test_the_resting_face_becomes_neutral_and_the_smile_stays_one(analyzer, clips, looks, tmp_path):
    found = {}
    for name, choice in (("plain", None), ("auto", "auto"), ("named", "0:00-0:02.5")):
        outputs = VideoOutputs(tables=(tmp_path / f"{name}.jsonl",), videos=(tmp_path / f"{name}.mp4",))
        with analyze_video(clips[looks], outputs, analyzer=analyzer, baseline=choice, progress=False) as result:
            assert (result.frames, result.error, result.problems) == (60, None, ())
            kept = result.to_pandas()
            (person,) = result.tracks
        found[name] = rows = rows_in(tmp_path / f"{name}.jsonl")
        assert kept["expression"].tolist() == [row["expression"] for row in rows]
        assert share(shown(rows, 3.2, 4.5), "happy") == 1
        assert (person.share["neutral"] > 0.5) == (choice is not None)
    assert share(shown(found["plain"], 0, 2.9), looks) > 0.8
    assert set(shown(found["plain"], 0, 9, "baseline")) == {None}
    for name in ("auto", "named"):
        for column in ("expression", "steady_expression"):
            assert share(shown(found[name], 0.5, 2.9, column), "neutral") > 0.95
            assert share(shown(found[name], 5.3, 6, column), "neutral") == 1
        assert all(0.5 < float(size) < 3 for size in shown(found[name], 0, 9, "baseline"))


def outputs_in(folder):
    return VideoOutputs(
        tables=(folder / "rows.jsonl",), videos=(folder / "annotated.mkv",), summaries=(folder / "summary.json",)
    )


def test_a_run_that_was_stopped_goes_on_to_the_same_results_and_only_with_the_same_baseline(analyzer, clips, tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "parts"
    settings = TrackSettings(baseline="auto")
    whole.mkdir()
    run_job(VideoJob(clips["angry"], outputs_in(whole), track=settings), analyzer)
    folder.mkdir()
    job = VideoJob(clips["angry"], outputs_in(folder), track=settings, snapshot_s=0)
    for last in (25, 60 + 5):  # in the first pass, and in the second
        stop, seen = threading.Event(), []

        def count(at, stop=stop, seen=seen, last=last):
            seen.append(at.frames)
            if len(seen) == last:
                stop.set()

        result = run_job(VideoJob(**{**vars(job), "resume": bool(last > 25)}), analyzer, progress=count, stop=stop)
        assert result.interrupted
        assert 20 < len(rows_in(folder / "rows.jsonl")) <= 60
    with pytest.raises(InputError, match="cannot resume: baseline was auto and is"):
        run_job(
            VideoJob(clips["angry"], outputs_in(folder), track=TrackSettings(baseline=(0.0, 2.0)), resume=True),
            analyzer,
        )
    result = run_job(VideoJob(**{**vars(job), "resume": True}), analyzer)
    assert (result.frames, result.interrupted) == (60, False)
    assert result.resumed > 0
    for name in ("rows.jsonl", "summary.json"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == ["annotated.mkv", "rows.jsonl", "summary.json"]


def test_faces_are_left_out_by_what_they_show_with_the_baseline(analyzer, clips, tmp_path):
    def rows(keep, choice):
        video = VideoSettings(end_s=2.0)
        own = analyzer.keeping(keep)
        with analyze_video(clips["angry"], analyzer=own, video=video, baseline=choice, progress=False) as result:
            return [(f.time_s, face.confidence, face.smoothed.tolist()) for f in result for face in f]

    least = 0.385  # some are surer with the baseline, others without it
    sure = FaceFilter(min_confidence=least)
    wanted = [row for row in rows(KEEP_ALL, "auto") if row[1] >= least]
    assert rows(sure, "auto") == wanted
    assert 0 < len(wanted) < 20
    assert [row[0] for row in wanted] != [row[0] for row in rows(sure, None)]


def test_a_stretch_in_which_nobody_is_seen_changes_nothing_and_says_so(analyzer, clips, tmp_path):
    video = VideoSettings(max_frames=8)
    with analyze_video(clips["sad"], analyzer=analyzer, video=video, baseline=(50, 60), progress=False) as result:
        assert result.problems == ("nobody was seen in the stretch that the baseline names, so it changes nothing",)
        assert result.to_pandas()["baseline"].isna().all()


def test_a_finished_job_with_a_journal_is_replayed_with_the_baseline(clips, tmp_path):
    """The work of many videos: other processes do it, and tables of all are filled from their journals."""
    jobs = [
        VideoJob(
            clips["angry"],
            VideoOutputs(summaries=(tmp_path / "summary.json",)),
            VideoSettings(end_s=1.5),
            TrackSettings(baseline="auto"),
            journal=tmp_path / "work.journal",
        )
    ]
    settings = AnalyzerSettings()
    (result,) = analyze_videos(jobs, settings, workers=1)
    assert result.error is None
    seen = []

    class Seen:
        def write(self, frame, faces):
            seen.extend(faces.expression)

    replay(result, result.labels, [Seen()])
    assert share(seen, "neutral") > 0.6
    assert json.loads((tmp_path / "summary.json").read_text())["dominant"] == "neutral"
    assert not list(tmp_path.glob("first-*"))


def test_a_stream_learns_the_resting_face_as_it_goes(analyzer, clips):
    found = {
        choice: [faces for _, faces in track(clips["angry"], analyzer=analyzer, baseline=choice)]
        for choice in ("auto", "0:00-0:02")
    }
    for faces in found.values():
        assert faces[0].expression == ["angry"]
        assert np.isnan(faces[0].baseline).all()
        assert share([name for one in faces[20:30] for name in one.expression], "neutral") >= 0.8
        assert {name for one in faces[32:46] for name in one.expression} == {"happy"}
        assert faces[29].baseline[0] > 0.3
    assert found["0:00-0:02"][-1].baseline == found["0:00-0:02"][40].baseline


@pytest.mark.parametrize(
    ("text", "value"), [("auto", "auto"), ("0:02-0:06", (2.0, 6.0)), ("2s-6.5s", (2.0, 6.5)), ((1, 2), (1, 2))]
)
def test_what_a_user_names_is_read(text, value):
    assert read_baseline(text) == value


@pytest.mark.parametrize("text", ["always", "0:06-0:02", "2", "-", "1-2-3"])
def test_what_names_no_stretch_is_refused(text):
    with pytest.raises(InputError, match="baseline must be"):
        read_baseline(text)


def test_the_command_line_takes_a_baseline(mien, clips, tmp_path):
    table = tmp_path / "rows.jsonl"
    code, _, said = mien("analyze", clips["angry"], "--end", "1", "--baseline", "0-1", "-o", table)
    assert code == 0, said
    assert all(row["baseline"] for row in rows_in(table))
    code, _, said = mien("analyze", clips["angry"], "--baseline", "sometimes", "-o", table)
    assert code == 2
    assert "--baseline must be auto or a stretch" in said or "baseline must be auto" in said
