"""One video in segments: planned without decoding, stitched to what one pass gives, over processes that may die."""

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from itertools import chain, pairwise

import cv2
import numpy as np
import pytest

pytest.importorskip("av")

import av
from conftest import EXAMPLES

import scenes
from helpers import names_in, rows_in
from mien import Analyzer
from mien.analyzer import AnalyzerSettings
from mien.detect.detector import Detector
from mien.errors import InputError, MienError
from mien.faces import FaceFilter, Faces
from mien.output.rows import INTERRUPTED_ROW
from mien.sources.videos import Video, VideoSettings
from mien.tracking.settings import TrackSettings
from mien.tracking.tracker import Tracker, track_video
from mien.video import VideoJob, VideoOutputs, analyze_segment, analyze_video, plan_segments, run_job, stitch
from mien.video.segment_pool import SegmentPool
from videos import numbered, portraits, write_video, write_webp

SIZE = (320, 180)
STEP_S = 4.0  # the shortest there is with the usual overlap


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """24 s at 25 frames/s: people walk, meet, leave, come back; cuts, a pan and flashes; a key frame per second."""
    people = scenes.portrait_people(EXAMPLES)
    made = (scenes.meeting, scenes.returning, scenes.cutting, scenes.arriving, scenes.crossing_fast)
    images = chain.from_iterable((f.image for f in make(people, size=SIZE).frames()) for make in made)
    path = tmp_path_factory.mktemp("segments") / "clip.mp4"
    return write_video(path, images, gop=25, b_frames=2, options={"preset": "veryfast"}, audio=True)


@pytest.fixture
def short(monkeypatch):
    """Segments of four seconds, so that small videos have several."""
    monkeypatch.setattr("mien.video._plan.SHORTEST_S", STEP_S)


class Here:
    """Analyzes the segments in this process, one after another."""

    def __init__(self, analyzer):
        self.analyzer, self.done = analyzer, []

    def pieces(self, job, segments, place, *, stop, progress):
        for segment in segments:
            if stop.is_set():
                return
            path = analyze_segment(job, segment, self.analyzer, place(segment), resume=job.resume, stop=stop)
            self.done.append(segment.number)
            yield path


def in_one_pass(source, analyzer, video=None, track=None):
    with Video(source, video) as frames:
        return [faces for _, faces in track_video(frames, Tracker(analyzer, track))]


def in_segments(source, analyzer, folder, video=None, track=None, segment_s=STEP_S):
    job = VideoJob(source, video=video or VideoSettings(), track=track or TrackSettings())
    segments = plan_segments(source, video, track=track, segment_s=segment_s)
    pieces = (analyze_segment(job, s, analyzer, folder / f"{s.number}.journal") for s in reversed(segments))
    stitched = stitch(job, segments, sorted(pieces, key=lambda path: int(path.stem)), analyzer)
    return [faces for _, faces in stitched], segments, stitched


def assert_same(some, others):
    assert [faces.frame_index for faces in some] == [faces.frame_index for faces in others]
    for one, other in zip(some, others, strict=True):
        assert np.array_equal(one.xyxy, other.xyxy) and len(one) == len(other)
        if len(one):
            assert (one.track_id.tolist(), one.steady.tolist()) == (other.track_id.tolist(), other.steady.tolist())
            assert np.allclose(one.probs, other.probs, atol=1e-5)  # sums of other batches are rounded otherwise
            assert np.allclose(one.smoothed, other.smoothed, atol=1e-5)


def assert_same_tables(path, other):
    """Rows are the same but for the last digit of a probability, which sums of other batches may round otherwise."""
    for one, two in zip(_rows(path), _rows(other), strict=True):
        for name in one:
            if one[name] != two[name]:
                assert float(one[name]) == pytest.approx(float(two[name]), abs=1.1e-4), name


def _rows(path):
    if path.suffix == ".jsonl":
        return rows_in(path)
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_rows(source, path, **options):
    return analyze_video(source, [path], progress=False, **options)


class TestPlan:
    def test_segments_follow_one_another_from_key_frame_to_key_frame(self, clip):
        segments = plan_segments(clip, segment_s=STEP_S)
        assert [segment.number for segment in segments] == list(range(len(segments))) and len(segments) == 6
        assert (segments[0].lead_s, segments[0].start_s, segments[-1].end_s) == (0, 0, None)
        for before, after in pairwise(segments):
            assert before.end_s == after.start_s == after.lead_s + 1
            assert after.lead_s == after.entry.time_s == pytest.approx(after.entry.number / 25)
            assert after.lead_s - before.lead_s >= STEP_S / 2

    def test_nothing_is_decoded_but_the_first_frame(self, clip, monkeypatch):
        import mien.sources._ffmpeg as ffmpeg

        decoded = []
        whole = ffmpeg._Pass.decoded
        monkeypatch.setattr(ffmpeg._Pass, "decoded", lambda self: (decoded.append(f) or f for f in whole(self)))
        plan_segments(clip, segment_s=STEP_S)
        assert len(decoded) == 1

    def test_the_wish_of_the_user_bounds_it(self, clip):
        video = VideoSettings(start_s=5.3, end_s=15)
        segments = plan_segments(clip, video, segment_s=STEP_S)
        assert [segment.lead_s for segment in segments] == [5.3, 10] and segments[0].end_s == 11
        assert segments[-1].settings(video).end_s == 15
        assert len(plan_segments(clip, VideoSettings(max_frames=211), segment_s=STEP_S)) == 2

    def test_a_longer_memory_asks_for_a_longer_overlap(self, clip):
        _, second = plan_segments(clip, track=TrackSettings(max_age_s=2.5), segment_s=STEP_S)[:2]
        assert second.start_s == second.lead_s + 2.5 and second.lead_s >= 10

    def test_long_videos_have_segments_of_a_minute_and_short_ones_one(self, tmp_path, clip):
        long = write_video(tmp_path / "long.mkv", numbered(600), fps=0.5, codec="mpeg4")
        starts = [segment.lead_s for segment in plan_segments(long)]
        assert len(starts) > 10 and all(48 <= b - a < 90 for a, b in pairwise(starts))
        assert len(plan_segments(clip)) == 2

    @pytest.mark.parametrize("name", ["a.gif", "a.webp", "%d.png", "a.h264"])
    def test_what_cannot_be_entered_is_one_segment(self, tmp_path, name):
        path = tmp_path / name
        if name == "a.webp":
            write_webp(path, numbered(120))
        elif "%" in name:
            for number, image in enumerate(numbered(120)):
                cv2.imwrite(str(tmp_path / f"{number}.png"), image)
        else:
            write_video(path, numbered(300), fps=10, codec="gif" if name == "a.gif" else "h264")
        (only,) = plan_segments(path, segment_s=4)
        assert (only.lead_s, only.start_s, only.end_s, only.entry) == (0, 0, None, None)

    def test_looks_that_are_compared_with_all_before_need_one_pass(self, clip):
        assert len(plan_segments(clip, track=TrackSettings(reid=True), segment_s=STEP_S)) == 1

    def test_no_length_is_an_error(self, clip):
        with pytest.raises(InputError, match="segment_s must be more than 0 seconds, got 0"):
            plan_segments(clip, segment_s=0)


class TestStitch:
    @pytest.mark.parametrize(
        "video",
        [
            None, VideoSettings(every=3), VideoSettings(fps=8, start_s=1.7), VideoSettings(start_s=3.4, end_s=18.2),
            VideoSettings(max_frames=211),
        ],
        ids=str,
    )  # fmt: skip
    def test_rows_are_those_of_one_pass_to_the_last_bit(self, analyzer, clip, tmp_path, video):
        results, segments, _ = in_segments(clip, analyzer, tmp_path, video)
        assert len(segments) > 1
        assert_same(results, in_one_pass(clip, analyzer, video))

    @pytest.mark.parametrize("name", ["face_noface.mov", "single_face.mp4"])
    def test_real_clips_too(self, analyzer, shared, tmp_path, name):
        clip = shared / "data" / "media" / name
        results, _, _ = in_segments(clip, analyzer, tmp_path)
        assert_same(results, in_one_pass(clip, analyzer))

    @pytest.mark.parametrize("segment_s", [4.6, 7.0])
    def test_wherever_it_is_cut(self, analyzer, clip, tmp_path, segment_s):
        results, _, _ = in_segments(clip, analyzer, tmp_path, segment_s=segment_s)
        assert_same(results, in_one_pass(clip, analyzer))

    def test_which_faces_are_kept_is_decided_at_the_end(self, analyzer, clip, tmp_path):
        largest = analyzer.keeping(FaceFilter(largest_only=True, min_confidence=0.4, clip_boxes=True))
        results, _, _ = in_segments(clip, largest, tmp_path)
        assert_same(results, in_one_pass(clip, largest))

    def test_a_face_that_only_the_earlier_tracker_knows_is_not_lost(self, analyzer, clip, tmp_path):
        class Blind(Detector):
            """Its searches find nobody unless it is `open`; looking near a known face always works."""

            identity, refines, open = "blind", True, True

            def detect(self, image):
                found = analyzer.detector.detect(image)
                return found if self.open else Faces.empty()

            def refine(self, image, xyxy):
                return analyzer.detector.refine(image, xyxy)

        path = write_video(tmp_path / "still.mp4", portraits(250, amount_px=20), gop=25)
        blind = Blind()
        half_blind = Analyzer(detector=blind, model=analyzer.model)
        track = TrackSettings(detect_every_s=0.5)
        segments = plan_segments(path, track=track, segment_s=STEP_S)
        job = VideoJob(path, track=track)
        pieces = []
        for segment in segments:
            pieces.append(tmp_path / f"{segment.number}.journal")
            blind.open = segment.number == 0  # the second segment sees nobody in its overlap, and nobody after it
            analyze_segment(job, segment, half_blind, pieces[-1])
        blind.open = False
        stitched = stitch(job, segments, pieces, half_blind)
        results = [faces for _, faces in stitched]
        assert len(results) == 250 and stitched.repeated > 0
        assert [faces.track_id.tolist() for faces in results] == [[1]] * 250


class TestWhole:
    def test_outputs_are_those_of_one_process(self, clip, analyzer, tmp_path, short):
        for name, workers in (("one", None), ("two", 2)):
            write_rows(clip, tmp_path / f"{name}.csv", workers=workers, video=VideoSettings(end_s=13))
        assert_same_tables(tmp_path / "one.csv", tmp_path / "two.csv")
        assert names_in(tmp_path) == ["one.csv", "two.csv"]

    @pytest.mark.parametrize("track", [TrackSettings(), TrackSettings(baseline="auto")], ids=["plain", "baseline"])
    def test_annotated_videos_and_baselines_as_well(self, clip, analyzer, tmp_path, short, track):
        results = []
        for name, runner in (("one", None), ("two", Here(analyzer))):
            folder = tmp_path / name
            outputs = VideoOutputs.named([f"{folder}/"])
            job = VideoJob(clip, outputs, VideoSettings(end_s=11), track)
            results.append(run_job(job, analyzer, runner=runner))
        assert runner.done == [0, 1, 2]
        shares = [result.figures["share"] for result in results]
        assert shares[0] == pytest.approx(shares[1], abs=1e-3) and results[0].faces == results[1].faces
        assert names_in(tmp_path / "one") == names_in(tmp_path / "two")
        assert_same_tables(tmp_path / "one" / "rows.csv", tmp_path / "two" / "rows.csv")
        with Video(tmp_path / "two" / "annotated.mp4") as video:
            assert sum(1 for _ in video) == results[0].frames and video.info.has_audio

    def test_the_result_in_python_keeps_its_rows(self, clip, analyzer, short):
        job = VideoJob(clip, video=VideoSettings(end_s=11), keep=True)
        one, two = run_job(job, analyzer), run_job(job, analyzer, runner=Here(analyzer))
        one, two = one.to_pandas(), two.to_pandas()
        assert one.select_dtypes("number").to_numpy() == pytest.approx(
            two.select_dtypes("number").to_numpy(), abs=1.1e-4, nan_ok=True
        )

    def test_progress_goes_up_to_the_number_of_frames(self, clip, short):
        seen = []
        result = analyze_video(clip, workers=2, progress=seen.append, video=VideoSettings(end_s=11))
        frames = [at.frames for at in seen]
        assert frames == sorted(frames) and frames[-1] == result.frames == seen[-1].total

    def test_a_video_that_breaks_off_gives_what_one_pass_gives(self, analyzer, tmp_path, short):
        whole = _index_first(write_video(tmp_path / "whole.mp4", portraits(250), codec="mpeg4", gop=10))
        for share in (9, 3):
            cut = tmp_path / "cut.mp4"
            cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * share // 10])
            told = []
            for name, runner in (("one", None), ("two", Here(analyzer))):
                job = VideoJob(cut, VideoOutputs(tables=(tmp_path / f"{name}.jsonl",)))
                told.append(run_job(job, analyzer, runner=runner))
            assert "breaks off" in told[0].error and told[1].error == told[0].error
            assert_same_tables(tmp_path / "one.jsonl", tmp_path / "two.jsonl")

    def test_what_is_open_here_cannot_go_elsewhere(self, clip, analyzer):
        with pytest.raises(InputError, match=r"with workers, say detector=…, model=…"):
            analyze_video(clip, analyzer=analyzer, workers=2)

    @pytest.mark.parametrize("workers", ["many", -1, 1.5])
    def test_a_number_that_is_none_is_named(self, clip, workers):
        with pytest.raises(InputError, match="workers must be a whole number of at least 1, or auto"):
            analyze_video(clip, workers=workers)


def _index_first(path):
    """Return the path of the same MP4 with the index before the frames, so that what is cut off still has it."""
    other = path.with_name("first.mp4")
    with av.open(str(path)) as given, av.open(str(other), "w", options={"movflags": "faststart"}) as taken:
        stream = taken.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                taken.mux(packet)
    return other


class TestResume:
    def test_stopped_in_the_middle_it_goes_on_with_the_pieces(self, clip, analyzer, tmp_path, short):
        one, two = tmp_path / "one.csv", tmp_path / "two.csv"
        run_job(VideoJob(clip, VideoOutputs(tables=(one,))), analyzer)

        class Stopping(Here):
            def pieces(self, job, segments, place, *, stop, progress):
                for path in super().pieces(job, segments, place, stop=stop, progress=progress):
                    yield path
                    if len(self.done) == 2:
                        stop.set()

        job = VideoJob(clip, VideoOutputs(tables=(two,)))
        first = run_job(job, analyzer, runner=Stopping(analyzer), stop=threading.Event())
        assert first.interrupted and 100 < first.frames < 300
        *good, last = _rows(two)
        assert last["error"] == INTERRUPTED_ROW and good[-1]["frame"] == str(first.frames - 1)
        again = Here(analyzer)
        second = run_job(replace(job, resume=True), analyzer, runner=again)
        assert second.resumed > 200 and not second.interrupted
        assert_same_tables(one, two)
        assert names_in(tmp_path) == ["one.csv", "two.csv"]

    def test_segments_and_one_pass_do_not_mix(self, clip, analyzer, tmp_path, short):
        class Broken(Here):
            def pieces(self, job, segments, place, *, stop, progress):
                yield next(super().pieces(job, segments, place, stop=stop, progress=progress))
                raise KeyboardInterrupt

        job = VideoJob(clip, VideoOutputs(tables=(tmp_path / "rows.csv",)))
        with pytest.raises(KeyboardInterrupt):
            run_job(job, analyzer, runner=Broken(analyzer))
        with pytest.raises(InputError, match="segments was 6 and is None"):
            run_job(replace(job, resume=True), analyzer)


RUN = """
import sys
import mien.video._plan as plan
from mien.video import analyze_video

if __name__ == "__main__":
    plan.SHORTEST_S = 4.0
    analyze_video(sys.argv[1], [sys.argv[2]], workers=2, resume=True, model="mien-s", progress=False)
"""


@dataclass(frozen=True)
class Deadly(AnalyzerSettings):
    """Opens an analyzer whose detector kills its process, as often as there are files in a folder to take away."""

    folder: str = ""

    def open(self):
        found = super().open()
        found.detector = Killer(found.detector, self.folder)
        return found


class Killer(Detector):
    refines = True

    def __init__(self, inner, folder):
        self._inner, self._folder, self.identity = inner, folder, inner.identity

    def detect(self, image):
        if image[:, : image.shape[1] // 2].mean() > 200 and (lives := sorted(os.listdir(self._folder))):
            os.unlink(os.path.join(self._folder, lives[0]))
            os.kill(os.getpid(), signal.SIGKILL)
        return self._inner.detect(image)

    def refine(self, image, xyxy):
        return self._inner.refine(image, xyxy)


@pytest.fixture(scope="module")
def one(clip, tmp_path_factory):
    """The rows of one pass with the small model."""
    path = tmp_path_factory.mktemp("one") / "rows.csv"
    write_rows(clip, path, model="mien-s")
    return path


class TestDeath:
    def start(self, clip, path):
        script = path.parent / "run.py"
        script.write_text(RUN)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.Popen([sys.executable, str(script), str(clip), str(path)], env=env, stderr=subprocess.PIPE)

    def test_kill_9_of_everything_at_random_moments_loses_and_doubles_nothing(self, clip, one, tmp_path):
        random, path = np.random.default_rng(), tmp_path / "rows.csv"
        for _ in range(3):
            with self.start(clip, path) as process:
                time.sleep(random.uniform(1.5, 4.0))
                process.kill()
        with self.start(clip, path) as process:
            told = process.stderr.read().decode()
        assert process.returncode == 0, told
        assert_same_tables(path, one)
        assert names_in(tmp_path) == ["rows.csv", "run.py"]

    def test_a_worker_that_is_killed_is_replaced(self, clip, one, tmp_path):
        with self.start(clip, tmp_path / "rows.csv") as process:
            killed = _kill_a_worker_of(process.pid)
            told = process.stderr.read().decode()
        assert killed and process.returncode == 0, told
        assert_same_tables(tmp_path / "rows.csv", one)

    @pytest.fixture
    def bright(self, tmp_path):
        images = chain(portraits(150), (np.full((240, 320, 3), 255, np.uint8) for _ in range(5)), portraits(120))
        return write_video(tmp_path / "bright.mp4", images, gop=25)

    @pytest.mark.parametrize("deaths", [2, 9])
    def test_a_frame_that_kills_is_tried_again_and_then_named(self, bright, tmp_path, short, deaths):
        lives = tmp_path / "lives"
        lives.mkdir()
        for number in range(deaths):
            (lives / str(number)).touch()
        job = VideoJob(bright, VideoOutputs(tables=(tmp_path / "rows.csv",)))
        settings = AnalyzerSettings(model="mien-s")
        pool = SegmentPool(Deadly(model="mien-s", folder=str(lives)), 2)
        if deaths == 2:
            assert run_job(job, settings.open(), runner=pool).frames == 275
            return
        with pytest.raises(MienError, match=r"analyzes it from 4 s to \S+ s? ?.*crashed or was killed 3 times"):
            run_job(job, settings.open(), runner=pool)
        assert run_job(replace(job, resume=True), settings.open(), runner=SegmentPool(settings, 2)).resumed > 90
        assert len(_rows(tmp_path / "rows.csv")) >= 275


def _kill_a_worker_of(pid):
    """Kill a worker process once two of them are at work; return whether there was one."""
    for _ in range(200):
        time.sleep(0.05)
        found = subprocess.run(["pgrep", "-P", str(pid), "-f", "spawn_main"], capture_output=True, text=True)
        workers = found.stdout.split()
        if len(workers) >= 2:
            time.sleep(1.5)
            os.kill(int(workers[-1]), signal.SIGKILL)
            return True
    return False
