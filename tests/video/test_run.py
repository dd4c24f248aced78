"""Videos from file to outputs: rows, resuming after kill -9, Ctrl-C, damage, full disks, many at once."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import chain

import cv2
import numpy as np
import pytest

pytest.importorskip("av")

import video_memory
from helpers import names_in, rows_in
from mien import Analyzer
from mien.analyzer import AnalyzerSettings
from mien.detect.detector import Detector
from mien.errors import InputError, OutputError, SourceError
from mien.labels import COMBINED8
from mien.output.draw.style import DrawStyle
from mien.output.rows import INTERRUPTED_ROW
from mien.output.sinks import open_sink
from mien.sources.videos import Video, VideoSettings
from mien.tracking.settings import TrackSettings
from mien.video import VideoJob, VideoOutputs, analyze_video, analyze_videos, attempt_job, replay, run_job
from mien.video._journal import Journal, read_past, read_results
from mien.video.truth import Truth, TruthSpan
from videos import numbered, portraits, write_video

FRAMES = 60


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """60 frames at 25/s: somebody smiling moves, a cut, somebody else, nobody."""
    size = (320, 240)
    gray = (np.full((240, 320, 3), 90, np.uint8) for _ in range(10))
    parts = chain(portraits(25, size=size, scale=0.45), portraits(25, size=size, scale=0.45, name="grace_hopper"), gray)
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", parts, audio=True)


@pytest.fixture(scope="module")
def whole(analyzer, clip, tmp_path_factory):
    """The outputs of a run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    result = analyze_video(clip, analyzer=analyzer, outputs=outputs_in(folder), interval_s=0.5)
    assert (result.frames, result.error, result.interrupted) == (FRAMES, None, False)
    return folder


def outputs_in(folder):
    return VideoOutputs(
        tables=(folder / "rows.csv", folder / "rows.jsonl"),
        intervals=(folder / "intervals.csv",),
        videos=(folder / "annotated.mp4",),
        summaries=(folder / "summary.json",),
        timelines=(folder / "timeline.html",),
        moments=(folder / "moments.png",),
    )


def images(path):
    with Video(path) as video:
        return [frame.image.copy() for frame in video]


def times(path):
    with Video(path) as video:
        return [frame.time_s for frame in video]


def assert_same_outputs(folder, whole):
    """Everything is as if the run had never been interrupted, and nothing else lies about."""
    assert names_in(folder) == names_in(whole)
    for name in ("rows.csv", "rows.jsonl", "intervals.csv", "timeline.html", "moments.png"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    assert json.loads((folder / "summary.json").read_text()) == json.loads((whole / "summary.json").read_text())
    for one, other in zip(images(folder / "annotated.mp4"), images(whole / "annotated.mp4"), strict=True):
        apart = np.abs(one.astype(int) - other)  # frames are the same; the encoder's threads may not be
        assert apart.mean() < 1 and np.percentile(apart, 99.9) < 30


class StopAfter:
    """A progress callback that sets `stop` after some frames."""

    def __init__(self, frames):
        self.stop, self._frames, self.seen = threading.Event(), frames, []

    def __call__(self, progress):
        self.seen.append(progress)
        if progress.frames >= self._frames:
            self.stop.set()


class TestOutputs:
    def test_rows_follow_the_video(self, whole):
        table = rows_in(whole / "rows.jsonl")
        assert [row["frame"] for row in table] == list(range(FRAMES))
        assert [row["time_s"] for row in table] == pytest.approx([n / 25 for n in range(FRAMES)])
        assert {row["steady_expression"] for row in table[5:25]} == {"happy"}
        assert {row["steady_expression"] for row in table[30:50]} == {"neutral"}
        assert {row["face"] for row in table[50:]} == {None}
        first, second = {row["track_id"] for row in table[:25]}, {row["track_id"] for row in table[25:50]}
        assert len(first) == len(second) == 1 and not first & second  # a cut makes other people of them

    def test_csv_and_jsonl_agree(self, whole):
        with (whole / "rows.csv").open(newline="") as file:
            table = list(csv.DictReader(file))
        for one, other in zip(table, rows_in(whole / "rows.jsonl"), strict=True):
            assert {k: "" if v is None else str(v) for k, v in other.items()} == one

    def test_annotated_video_has_every_frame_at_its_time_and_sound(self, whole, clip):
        assert times(whole / "annotated.mp4") == pytest.approx(times(clip), abs=1e-3)
        with Video(whole / "annotated.mp4") as video:
            assert video.info.has_audio
        drawn, plain = images(whole / "annotated.mp4"), images(clip)
        assert np.abs(drawn[10].astype(int) - plain[10]).max() > 60
        assert np.abs(drawn[55].astype(int) - plain[55]).max() < 40  # nobody there

    def test_summary_shares_are_those_of_the_rows(self, whole):
        summary = json.loads((whole / "summary.json").read_text())
        table = rows_in(whole / "rows.jsonl")
        happy = sum(row["steady_expression"] == "happy" for row in table)
        faces = sum(row["face"] is not None for row in table)
        assert summary["share"]["happy"] == pytest.approx(happy / faces, abs=1e-3)
        assert (summary["frames"], summary["people"], summary["errors"]) == (FRAMES, 2, [])

    def test_every_kind_in_a_folder(self, analyzer, clip, tmp_path):
        pytest.importorskip("matplotlib")
        made = analyze_video(clip, analyzer=analyzer, outputs=[f"{tmp_path}/out/"], video=VideoSettings(every=10))
        expected = ["annotated.mp4", "moments.png", "rows.csv", "summary.json", "timeline.html", "timeline.png"]
        assert names_in(tmp_path / "out") == expected == sorted(path.name for path in made.outputs)
        assert cv2.imread(str(tmp_path / "out" / "timeline.png")).std() > 5

    def test_settings_choose_the_frames(self, analyzer, clip, tmp_path):
        video = VideoSettings(every=3, start_s=0.5, end_s=1.5)
        analyze_video(clip, analyzer=analyzer, outputs=[tmp_path / "r.jsonl"], video=video)
        assert [row["frame"] for row in rows_in(tmp_path / "r.jsonl")] == list(range(15, 38, 3))

    def test_blurred_faces_cannot_be_found(self, analyzer, clip, tmp_path):
        video = VideoSettings(max_frames=5)
        analyze_video(clip, analyzer=analyzer, outputs=[tmp_path / "b.mp4"], style=DrawStyle(blur=True), video=video)
        assert not any(len(analyzer.detector.detect(image)) for image in images(tmp_path / "b.mp4"))

    def test_faces_missed_for_a_moment_stay_blurred(self, analyzer, clip, tmp_path):
        frames = iter(range(100))

        class Blinking(Detector):
            """Sees nothing in frames 3 to 5."""

            identity = "blinking"

            def detect(self, image):
                return analyzer.detector.detect(image)[: 0 if 3 <= next(frames) <= 5 else None]

        result = analyze_video(
            clip, analyzer=Analyzer(detector=Blinking()), outputs=[tmp_path / "b.mp4"], style=DrawStyle(blur=True),
            video=VideoSettings(max_frames=8),
        )  # fmt: skip
        assert result.faces == 5 * len(analyzer.detector.detect(images(clip)[0]))
        assert not any(len(analyzer.detector.detect(image)) for image in images(tmp_path / "b.mp4"))

    def test_truth_is_drawn_and_scored(self, analyzer, clip, tmp_path):
        truth = Truth([TruthSpan(0, 1, "happy"), TruthSpan(1, 2, "sad")], COMBINED8)
        result = analyze_video(
            clip, analyzer=analyzer, outputs=[tmp_path / "t.mp4", tmp_path / "s.json"], truth=truth,
            video=VideoSettings(every=5),
        )  # fmt: skip
        score = json.loads((tmp_path / "s.json").read_text())["truth"]
        assert score == result.figures["truth"]
        assert (score["n"], score["accuracy"]) == (10, 0.5)
        plain = analyze_video(clip, analyzer=analyzer, outputs=[tmp_path / "p.mp4"], video=VideoSettings(every=5))
        assert "truth" not in plain.figures
        gray, none = images(tmp_path / "t.mp4")[2], images(tmp_path / "p.mp4")[2]
        assert np.abs(gray.astype(int) - none).max() > 60

    def test_another_name_changes_the_rows_and_not_the_sound(self, analyzer, clip, tmp_path):
        video = VideoSettings(name="holiday.mp4", max_frames=5)
        analyze_video(clip, analyzer=analyzer, outputs=[tmp_path / "a.mp4", tmp_path / "r.jsonl"], video=video)
        assert {row["source"] for row in rows_in(tmp_path / "r.jsonl")} == {"holiday.mp4"}
        with Video(tmp_path / "a.mp4") as annotated:
            assert annotated.info.has_audio

    def test_progress_counts_up_to_the_estimate(self, analyzer, clip):
        seen = []
        analyze_video(clip, analyzer=analyzer, progress=seen.append)
        assert [p.frames for p in seen] == list(range(1, FRAMES + 1))
        assert {p.total for p in seen} == {FRAMES}
        assert seen[-1].left_s == 0 and seen[-1].fps > 0 and seen[0].left_s is None

    @pytest.mark.parametrize(
        ("paths", "message"),
        [
            (["x.xlsx"], "unknown extension '.xlsx'; known: .jsonl"),
            (["rows.csv", "rows.csv"], "two outputs have the same name"),
        ],
    )
    def test_wrong_outputs_name_the_fix(self, analyzer, clip, tmp_path, paths, message):
        with pytest.raises(InputError, match=message):
            analyze_video(clip, analyzer=analyzer, outputs=[tmp_path / path for path in paths])
        assert names_in(tmp_path) == []

    def test_the_video_itself_is_never_replaced(self, analyzer, clip):
        before = clip.read_bytes()
        with pytest.raises(InputError, match="is the video that is analyzed"):
            analyze_video(clip, analyzer=analyzer, outputs=[clip])
        assert clip.read_bytes() == before


class TestResume:
    @pytest.mark.parametrize("frames", [1, 8, 27, FRAMES - 1])
    def test_after_stop_the_outputs_are_those_of_one_run(self, analyzer, clip, whole, tmp_path, frames):
        outputs, watch = outputs_in(tmp_path), StopAfter(frames)
        first = analyze_video(clip, analyzer=analyzer, outputs=outputs, interval_s=0.5, progress=watch, stop=watch.stop)
        assert first.interrupted and first.frames == frames
        assert [row["frame"] for row in rows_in(tmp_path / "rows.jsonl")] == [*range(frames), None]
        assert rows_in(tmp_path / "rows.jsonl")[-1]["error"] == INTERRUPTED_ROW
        assert len(images(tmp_path / "annotated.mp4")) == frames
        assert json.loads((tmp_path / "summary.json").read_text())["errors"] == [INTERRUPTED_ROW]
        second = analyze_video(clip, analyzer=analyzer, outputs=outputs, interval_s=0.5, resume=True)
        assert (second.resumed, second.frames, second.interrupted) == (frames, FRAMES, False)
        assert_same_outputs(tmp_path, whole)

    def test_ctrl_c_in_python_completes_the_files_too(self, analyzer, clip, whole, tmp_path):
        def interrupt(progress):
            if progress.frames == 20:
                raise KeyboardInterrupt

        arguments = {"analyzer": analyzer, "outputs": outputs_in(tmp_path), "interval_s": 0.5}
        with pytest.raises(KeyboardInterrupt):
            analyze_video(clip, **arguments, progress=interrupt)
        assert [row["frame"] for row in rows_in(tmp_path / "rows.jsonl")] == [*range(20), None]
        assert len(images(tmp_path / "annotated.mp4")) == 20
        analyze_video(clip, **arguments, resume=True)
        assert_same_outputs(tmp_path, whole)

    def test_without_images_the_video_is_entered_where_it_stopped(self, analyzer, clip, whole, tmp_path):
        watch = StopAfter(40)
        arguments = {"analyzer": analyzer, "outputs": [tmp_path / "rows.csv"]}
        analyze_video(clip, **arguments, progress=watch, stop=watch.stop)
        seen = []
        analyze_video(clip, **arguments, resume=True, progress=seen.append)
        assert [p.frames for p in seen] == list(range(41, FRAMES + 1))
        assert (tmp_path / "rows.csv").read_bytes() == (whole / "rows.csv").read_bytes()

    @pytest.mark.parametrize(
        "video",
        [
            VideoSettings(fps=7, start_s=0.3), VideoSettings(every=4, end_s=2.0),
            VideoSettings(max_frames=30), VideoSettings(every=2, max_frames=20, start_s=0.2),
        ],
    )  # fmt: skip
    def test_whatever_frames_are_chosen(self, analyzer, clip, tmp_path, video):
        one, other = tmp_path / "one.csv", tmp_path / "other.csv"
        analyze_video(clip, analyzer=analyzer, outputs=[one], video=video)
        for frames in (5, 9):
            watch = StopAfter(frames)
            analyze_video(
                clip, analyzer=analyzer, outputs=[other], video=video, resume=True, progress=watch, stop=watch.stop
            )
        analyze_video(clip, analyzer=analyzer, outputs=[other], video=video, resume=True)
        assert other.read_bytes() == one.read_bytes()

    def test_without_an_earlier_run_it_starts(self, analyzer, clip, whole, tmp_path):
        result = analyze_video(clip, analyzer=analyzer, outputs=[tmp_path / "rows.csv"], resume=True)
        assert result.resumed == 0
        assert (tmp_path / "rows.csv").read_bytes() == (whole / "rows.csv").read_bytes()

    def test_without_resume_it_starts_again(self, analyzer, clip, whole, tmp_path):
        watch = StopAfter(20)
        analyze_video(clip, analyzer=analyzer, outputs=[tmp_path / "rows.csv"], progress=watch, stop=watch.stop)
        result = analyze_video(clip, analyzer=analyzer, outputs=[tmp_path / "rows.csv"])
        assert (result.resumed, names_in(tmp_path)) == (0, ["rows.csv"])
        assert (tmp_path / "rows.csv").read_bytes() == (whole / "rows.csv").read_bytes()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"video": VideoSettings(every=2)}, "every was 1 and is 2"),
            ({"track": TrackSettings(half_life_s=1)}, "half_life_s was 0.3 and is 1"),
        ],
    )
    def test_other_settings_are_refused(self, analyzer, clip, tmp_path, change, message):
        watch = StopAfter(20)
        arguments = {"analyzer": analyzer, "outputs": [tmp_path / "rows.csv"]}
        analyze_video(clip, **arguments, progress=watch, stop=watch.stop)
        with pytest.raises(InputError, match=message):
            analyze_video(clip, **arguments, **change, resume=True)
        assert analyze_video(clip, **arguments, resume=True).resumed == 20  # no harm was done

    def test_another_video_of_the_same_name_is_refused(self, analyzer, tmp_path):
        clip = write_video(tmp_path / "clip.mp4", portraits(30))
        watch = StopAfter(10)
        arguments = {"analyzer": analyzer, "outputs": [tmp_path / "rows.csv"]}
        analyze_video(clip, **arguments, progress=watch, stop=watch.stop)
        write_video(clip, portraits(31, amount_px=10))
        with pytest.raises(InputError, match=r"cannot resume: video size was \d+ and is \d+"):
            analyze_video(clip, **arguments, resume=True)

    def test_two_runs_do_not_write_the_same_output(self, analyzer, clip, tmp_path):
        inside = []

        def try_another(progress):
            if progress.frames == 5:
                with pytest.raises(InputError, match="another run is writing the same output"):
                    analyze_video(clip, analyzer=analyzer, outputs=[tmp_path / "rows.csv"])
                inside.append(progress)

        result = analyze_video(clip, analyzer=analyzer, outputs=[tmp_path / "rows.csv"], progress=try_another)
        assert len(inside) == 1 and result.frames == FRAMES == len((tmp_path / "rows.csv").read_text().splitlines()) - 1


KILLED = """
import json, sys, time
from mien import Analyzer
from mien.video import VideoJob, run_job
from test_run import outputs_in
from pathlib import Path

def slowly(progress):
    print(progress.frames, flush=True)
    time.sleep(0.01)

job = VideoJob(sys.argv[1], outputs_in(Path(sys.argv[2])), interval_s=0.5, resume=True, snapshot_s=0.05)
run_job(job, Analyzer(), progress=slowly)
"""


class TestKill:
    def run(self, clip, folder):
        path = os.pathsep.join(sys.path)
        return subprocess.Popen(
            [sys.executable, "-c", KILLED, str(clip), str(folder)],
            stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "default"},
        )  # fmt: skip

    def test_kill_9_at_random_moments_loses_and_doubles_nothing(self, clip, whole, tmp_path):
        random = np.random.default_rng()
        reached, kills = 0, 0
        while reached < FRAMES:
            reached += int(random.integers(8, 22))
            with self.run(clip, tmp_path) as process:
                if any(int(line) >= reached for line in process.stdout):
                    time.sleep(random.uniform(0, 0.03))
                    process.kill()
                    kills += 1
        assert kills >= 2
        with self.run(clip, tmp_path) as process:  # the last one may have been killed at the very end
            resumed = len(process.stdout.readlines())
        assert process.returncode == 0 and resumed == FRAMES
        assert_same_outputs(tmp_path, whole)

    def test_what_was_killed_leaves_nothing_half(self, clip, tmp_path):
        with self.run(clip, tmp_path) as process:
            for _ in range(10):
                process.stdout.readline()
            process.kill()
        (hidden,) = names_in(tmp_path)
        assert hidden.startswith(".mien-")


class TestJournal:
    def test_results_come_back_to_the_last_bit(self, analyzer, clip, tmp_path):
        with Video(clip) as video:
            frames = [frame for _, frame in zip(range(3), video, strict=False)]
        found = [analyzer.analyze_frames([frame])[0] for frame in frames]
        with Journal(tmp_path / "j", {"format": 1}) as journal:
            for frame, faces in zip(frames, found, strict=True):
                journal.add(frame, faces)
            journal.snapshot({"x": 1}, ["a problem"])
        _, past = read_past(tmp_path / "j")
        assert (past.frames, past.last_index, past.state, past.problems) == (3, 2, {"x": 1}, ["a problem"])
        for before, (frame, after) in zip(found, read_results(tmp_path / "j", COMBINED8, 3, str(clip)), strict=True):
            assert np.array_equal(before.probs, after.probs) and np.array_equal(before.landmarks, after.landmarks)
            assert (frame.index, frame.time_s, after.to_records()) == (
                before.frame_index, before.time_s, before.to_records(),
            )  # fmt: skip

    @pytest.mark.parametrize("rest", [b'{"n":1,"t":', b"\0" * 50, b'{"n":1,"t":0.04,"faces":null}\n', b"[1]\n"])
    def test_what_a_crash_left_behind_the_last_snapshot_is_cut_off(self, clip, tmp_path, rest):
        with Video(clip) as video:
            frame = next(iter(video))
        path = tmp_path / "j"
        with Journal(path, {"format": 1}) as journal:
            journal.add(frame, Analyzer().analyze_frames([frame])[0])
            journal.snapshot({"x": 1}, [])
        whole = path.read_bytes()
        path.write_bytes(whole + rest)
        with Journal(path, {"format": 1}, resume=True) as journal:
            assert (journal.past.frames, journal.past.last_index) == (1, 0)
        assert path.read_bytes() == whole

    def test_what_was_not_snapshot_is_not_there(self, clip, tmp_path):
        with Video(clip) as video, Journal(tmp_path / "j", {"format": 1}) as journal:
            frame = next(iter(video))
            journal.add(frame, Analyzer().analyze_frames([frame])[0])
        assert read_past(tmp_path / "j")[1].frames == 0


class TestBadVideos:
    def test_a_truncated_video_gives_all_it_holds_and_an_error(self, analyzer, clip, tmp_path):
        whole = write_video(tmp_path / "whole.mkv", portraits(50), codec="mpeg4")
        cut = tmp_path / "cut.mkv"
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
        outputs = [tmp_path / "rows.jsonl", tmp_path / "a.mp4", tmp_path / "s.json"]
        result = analyze_video(cut, analyzer=analyzer, outputs=outputs)
        *good, last = rows_in(tmp_path / "rows.jsonl")
        assert 15 < len(good) < 45 and [row["frame"] for row in good] == list(range(len(good)))
        assert "breaks off" in last["error"] and last["error"] == result.error
        assert json.loads((tmp_path / "s.json").read_text())["errors"] == [result.error]
        assert len(images(tmp_path / "a.mp4")) == len(good)

    def test_a_broken_packet_is_a_warning(self, analyzer, tmp_path):
        video = write_video(tmp_path / "video.avi", portraits(50), codec="mpeg4", gop=5)
        data = bytearray(video.read_bytes())
        middle = len(data) // 2
        data[middle : middle + 400] = bytes(400)
        video.write_bytes(data)
        result = analyze_video(video, analyzer=analyzer, outputs=[tmp_path / "rows.jsonl"])
        assert result.problems and result.frames > 40
        assert rows_in(tmp_path / "rows.jsonl")[-1]["frame"] == 49

    def test_no_video_at_all(self, analyzer, tmp_path):
        (tmp_path / "text.mp4").write_text("no video")
        with pytest.raises(SourceError, match=r"text\.mp4 is not a video"):
            analyze_video(tmp_path / "text.mp4", analyzer=analyzer, outputs=[tmp_path / "rows.csv"])
        assert names_in(tmp_path) == ["text.mp4"]

    def test_odd_sizes_and_nobody(self, analyzer, tmp_path):
        video = write_video(tmp_path / "odd.mkv", numbered(5, size=(97, 63)), codec="ffv1")
        result = analyze_video(video, analyzer=analyzer, outputs=[tmp_path / "a.mp4", tmp_path / "rows.jsonl"])
        assert (result.frames, result.faces, result.figures["people"]) == (5, 0, 0)
        assert [row["frame"] for row in rows_in(tmp_path / "rows.jsonl")] == list(range(5))
        assert len(images(tmp_path / "a.mp4")) == 5


class TestDisk:
    def test_unwritable_output(self, analyzer, clip, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match=r"rows\.csv.*part of the path is a file"):
            analyze_video(clip, analyzer=analyzer, outputs=[tmp_path / "file" / "rows.csv"])
        assert names_in(tmp_path) == ["file"]

    @pytest.mark.parametrize("name", ["rows.csv", "annotated.mp4"])
    def test_full_disk(self, clip, tmp_path, name):
        code = (
            "import resource, sys; from mien import Analyzer; from mien.video import analyze_video;"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000));"
            "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
            "analyze_video(sys.argv[1], analyzer=Analyzer(), outputs=[sys.argv[2]])"
        )
        command = [sys.executable, "-c", code, str(clip), str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("mien.errors.OutputError: cannot write") and "larger than this disk" in last
        assert ".part" not in last
        assert name not in names_in(tmp_path)


class TestMany:
    def jobs(self, folder, names_, **more):
        return [
            VideoJob(
                str(name),
                VideoOutputs.named([folder / f"{number}.jsonl"]),
                journal=folder / f"{number}.journal",
                **more,
            )
            for number, name in enumerate(names_)
        ]

    def test_one_bad_video_does_not_stop_the_others(self, clip, whole, tmp_path):
        bad = tmp_path / "bad.mp4"
        bad.write_text("no video")
        seen = []
        jobs = self.jobs(tmp_path, [clip, bad, tmp_path / "missing.mp4", clip])
        results = list(analyze_videos(jobs, AnalyzerSettings(), workers=2, progress=seen.append))
        assert [result.frames for result in results] == [FRAMES, 0, 0, FRAMES]
        assert [bool(result.error) for result in results] == [False, True, True, False]
        assert "is not a video" in results[1].error and "does not exist" in results[2].error
        for number in (0, 3):
            assert (tmp_path / f"{number}.jsonl").read_bytes() == (whole / "rows.jsonl").read_bytes()
        assert seen and {report.source for report in seen} <= {str(clip)}
        with open_sink(tmp_path / "all.jsonl", labels=COMBINED8, tracked=True) as table:
            for result in results:
                replay(result, COMBINED8, [table])
        merged = rows_in(tmp_path / "all.jsonl")
        assert merged[:FRAMES] == merged[FRAMES + 2 :] == rows_in(whole / "rows.jsonl")
        assert [bool(row["error"]) for row in merged[FRAMES : FRAMES + 2]] == [True, True]

    def test_a_crash_costs_one_video(self, clip, tmp_path, monkeypatch):
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        jobs = [
            *self.jobs(tmp_path, [clip]),
            VideoJob(str(clip), CrashingOutputs()),
            *self.jobs(tmp_path / "b", [clip]),
        ]
        first, crashed, last = analyze_videos(jobs, AnalyzerSettings(), workers=2)
        assert (first.frames, last.frames, crashed.frames) == (FRAMES, FRAMES, 0)
        assert "crashed or was killed" in crashed.error

    def test_finished_videos_are_not_done_again(self, clip, tmp_path):
        analyzer, stop, seen = Analyzer(), threading.Event(), []
        (job,) = self.jobs(tmp_path, [clip], resume=True)
        first = attempt_job(job, analyzer, stop=stop)
        before = (tmp_path / "0.jsonl").stat().st_mtime_ns
        again = attempt_job(job, analyzer, progress=seen.append, stop=stop)
        assert (first.frames, again.frames, again.resumed, seen) == (FRAMES, FRAMES, FRAMES, [])
        assert again.figures == first.figures and again.outputs == first.outputs
        assert (tmp_path / "0.jsonl").stat().st_mtime_ns == before

    def test_a_finished_video_without_its_outputs_gets_them_again(self, analyzer, clip, whole, tmp_path):
        (job,) = self.jobs(tmp_path, [clip], resume=True)
        run_job(job, analyzer)
        (tmp_path / "0.jsonl").unlink()
        again = run_job(job, analyzer)
        assert (again.resumed, again.outputs) == (FRAMES, (tmp_path / "0.jsonl",))
        assert (tmp_path / "0.jsonl").read_bytes() == (whole / "rows.jsonl").read_bytes()

    def test_an_error_is_raised_or_becomes_a_result(self, analyzer, tmp_path):
        (job,) = self.jobs(tmp_path, [tmp_path / "missing.mp4"])
        with pytest.raises(SourceError, match=r"missing\.mp4 does not exist"):
            run_job(job, analyzer)
        result = attempt_job(job, analyzer)
        assert (result.source, result.frames) == (job.name, 0) and "does not exist" in result.error

    def test_stop_reaches_the_workers(self, clip, tmp_path):
        stop = threading.Event()
        jobs = self.jobs(tmp_path, [clip] * 6)
        results = list(analyze_videos(jobs, AnalyzerSettings(), workers=1, progress=lambda _: stop.set(), stop=stop))
        assert all(result.interrupted or result.frames == FRAMES for result in results)
        assert results[-1].interrupted and results[-1].info is None


class CrashingOutputs(VideoOutputs):
    def all(self):
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_video(clip, tmp_path):
    peaks = []
    for minutes in (1, 15):
        video = tmp_path / f"{minutes}.mp4"
        video_memory.make_video(clip, video, minutes=minutes, fps=2, size=(160, 120))
        result = video_memory.measure(video, tmp_path / str(minutes), video_memory.OUTPUTS + video_memory.IMAGES)
        assert result["frames"] == 120 * minutes
        peaks.append(result["peak_mb"])
    assert peaks[1] - peaks[0] < 30
