"""Tracking against known truth: numbers, cuts, recall, smoothing over time, resuming, and the threads around it."""

import functools
import itertools
import json
import threading
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
from conftest import EXAMPLES

import scenes
from mien import Analyzer
from mien.detect._octaves import Octaves, sample_near
from mien.detect.boxes import overlap
from mien.detect.detector import Detector
from mien.detect.mtcnn import MtcnnDetector
from mien.errors import InputError
from mien.faces import Faces, Frame
from mien.models.expression import ExpressionModel
from mien.tracking.settings import TrackSettings
from mien.tracking.tracker import Tracker, track_video


class SaidModel(ExpressionModel):
    """A model whose probabilities a function gives."""

    def __init__(self, model, predict):
        self.card, self.sha256, self.device = model.card, model.sha256, model.device
        self._predict = predict

    def predict_proba(self, crops, *, head=None):
        return self._predict(crops)


def saying(analyzer, predict):
    """Return the analyzer with a function in the place of its model."""
    return Analyzer(detector=analyzer.detector, model=SaidModel(analyzer.model, predict), labels=analyzer.labels.key)


@pytest.fixture(scope="module")
def people():
    return scenes.portrait_people(EXAMPLES)


def track_scene(scene, analyzer, settings=None):
    """Return (truth, faces) of every frame, and the tracker."""
    tracker = Tracker(analyzer, settings)
    steps = [(truth, tracker.track([frame])[0]) for frame, truth in scene]
    return steps, tracker


def numbers_of(steps):
    """Return the numbers that each (person, shot) had, in order of appearance; and the recall of faces in view."""
    numbers, found, wanted = {}, 0, 0
    for truth, faces in steps:
        iou = overlap(truth.xyxy, faces.xyxy)
        for row in np.flatnonzero(~truth.hidden):
            wanted += 1
            if len(faces) and iou[row].max() >= 0.4:
                found += 1
                seen = numbers.setdefault((int(truth.person[row]), truth.shot), [])
                number = int(faces.track_id[iou[row].argmax()])
                if number not in seen:
                    seen.append(number)
    return numbers, found / max(wanted, 1)


def same(first, second):
    """Return whether two results agree in every bit."""
    names = ("xyxy", "score", "landmarks", "probs", "smoothed", "steady", "track_id")
    return all(np.array_equal(getattr(first, n), getattr(second, n)) for n in names) and first.time_s == second.time_s


class TestTruth:
    @pytest.mark.parametrize("make", [scenes.crossing, scenes.crossing_fast, scenes.meeting])
    def test_people_who_cross_keep_their_numbers(self, analyzer, people, make):
        steps, tracker = track_scene(make(people), analyzer)
        numbers, recall = numbers_of(steps)
        assert sorted(numbers.values()) == [[1], [2]]
        assert recall > 0.98
        assert tracker.searches < 0.25 * len(steps)
        assert tracker.cuts == 0

    def test_crossing_at_half_the_frame_rate(self, analyzer, people):
        numbers, recall = numbers_of(track_scene(scenes.crossing(people, fps=12.5), analyzer)[0])
        assert sorted(numbers.values()) == [[1], [2]]
        assert recall > 0.98

    @pytest.mark.parametrize("make", [scenes.panning, scenes.zooming, scenes.arriving])
    def test_moving_camera_and_arriving_people_are_tracked(self, analyzer, people, make):
        steps, tracker = track_scene(make(people, fps=12.5), analyzer)
        assert numbers_of(steps)[1] > 0.97
        assert tracker.cuts == 0

    def test_cuts_end_tracks_and_are_all_found(self, analyzer, people):
        scene = scenes.cutting(people)
        steps, tracker = track_scene(scene, analyzer)
        numbers, recall = numbers_of(steps)
        assert tracker.cuts == 3
        assert recall == 1
        assert numbers == {(0, 0): [1], (1, 1): [2], (0, 3): [3]}

    def test_flashes_are_no_cuts(self, analyzer, people):
        steps, tracker = track_scene(scenes.flashing(people), analyzer)
        assert tracker.cuts == 0
        assert [len(seen) for seen in numbers_of(steps)[0].values()] == [1, 1]

    def test_who_returns_is_new_unless_asked_otherwise(self, analyzer, people):
        scene = scenes.returning(people, fps=12.5)
        numbers, _ = numbers_of(track_scene(scene, analyzer)[0])
        assert [len(numbers[person, 0]) for person in (0, 1)] == [1, 2]
        steps, _ = track_scene(scene, analyzer, TrackSettings(reid=True))
        assert steps[0][1].track_id.tolist() == steps[-1][1].track_id.tolist() == [1, 2]

    def test_reid_tells_people_apart_over_cuts(self, analyzer, people):
        numbers, _ = numbers_of(track_scene(scenes.cutting(people), analyzer, TrackSettings(reid=True))[0])
        assert numbers == {(0, 0): [1], (1, 1): [2], (0, 3): [1]}

    def test_a_short_memory_gives_new_numbers(self, analyzer, people):
        steps, _ = track_scene(scenes.crossing(people), analyzer, TrackSettings(max_age_s=0.05))
        assert max(len(seen) for seen in numbers_of(steps)[0].values()) > 1


class TestVideos:
    def test_nearly_as_many_faces_as_detection_on_every_frame(self, analyzer, shared):
        tracker, found, wanted = Tracker(analyzer), 0, 0
        for frame in clip(shared / "data/media/face_noface.mov", step=2):
            (faces,) = tracker.track([frame])
            every = analyzer.detector.detect(frame.image)
            wanted += len(every)
            found += int((overlap(every.xyxy, faces.xyxy).max(axis=1, initial=0) >= 0.4).sum())
            assert len(faces) <= len(every)
        assert wanted > 30
        assert found >= 0.99 * wanted
        assert tracker.searches < 0.25 * 85

    def test_the_smile_is_one_steady_change(self, analyzer, shared):
        steady = []
        for _, faces in track_video(clip(shared / "data/media/single_face.mp4"), Tracker(analyzer)):
            assert faces.track_id.tolist() == [1]
            steady.append(analyzer.labels.names[faces.steady[0]])
        changes = [(a, b) for a, b in itertools.pairwise(steady) if a != b]
        assert changes in ([("neutral", "happy")], [("neutral", "happy"), ("happy", "neutral")])
        assert 0.2 < np.mean([s == "happy" for s in steady]) < 0.8


def clip(path, step=1):
    reader = cv2.VideoCapture(str(path))
    number = 0
    while (got := reader.read())[0]:
        if number % step == 0:
            yield Frame(cv2.cvtColor(got[1], cv2.COLOR_BGR2RGB), path.name, number, number / 30)
        number += 1
    reader.release()


@functools.cache
def crossing_frames():
    return list(itertools.islice(scenes.crossing(scenes.portrait_people(EXAMPLES)).frames(), 20))


def short(count=20):
    """Return frames with two people."""
    return crossing_frames()[:count]


class TestResults:
    def test_batches_make_no_difference(self, analyzer, people):
        frames = short()
        alone, together = Tracker(analyzer), Tracker(analyzer)
        singles = [alone.track([frame])[0] for frame in frames]
        batches = together.track(frames[:7]) + together.track([]) + together.track(frames[7:])
        for one, other in zip(singles, batches, strict=True):
            assert np.array_equal(one.xyxy, other.xyxy) and np.array_equal(one.track_id, other.track_id)
            assert np.allclose(one.probs, other.probs, atol=1e-5) and np.allclose(
                one.smoothed, other.smoothed, atol=1e-5
            )

    def test_everything_is_set_and_valid(self, analyzer, people):
        frames = short(5)
        for frame, faces in zip(frames, Tracker(analyzer).track(frames), strict=True):
            assert (faces.frame_index, faces.time_s, faces.source) == (frame.index, frame.time_s, "crossing")
            assert len(faces) == 2 and faces.landmarks.shape == (2, 5, 2)
            assert np.allclose(faces.smoothed.sum(axis=1), 1, atol=1e-5)
            assert faces.labels == analyzer.labels

    def test_no_face_is_empty_and_complete(self, analyzer):
        frames = [Frame(np.full((90, 120, 3), 80, np.uint8), "gray", i, i / 10) for i in range(5)]
        for faces in Tracker(analyzer).track(frames):
            assert len(faces) == 0
            assert faces.track_id.shape == faces.steady.shape == (0,)
            assert faces.probs.shape == faces.smoothed.shape == (0, len(analyzer.labels))

    def test_all_crops_of_a_batch_go_through_one_call(self, analyzer, people):
        calls = []

        def predict(crops):
            calls.append(len(crops))
            return analyzer.model.predict_proba(crops, head=analyzer.labels.key)

        Tracker(saying(analyzer, predict)).track(short(6))
        assert calls == [12]

    def test_time_that_stands_still_or_jumps_back_does_no_harm(self, analyzer, people):
        frames = [replace(frame, time_s=0.0) for frame in short(4)]
        numbers = {tuple(f.track_id.tolist()) for f in Tracker(analyzer).track(frames)}
        assert numbers == {(1, 2)}
        tracker = Tracker(analyzer)
        later = [replace(frames[0], time_s=50.0), replace(frames[1], time_s=0.0), replace(frames[2], time_s=0.04)]
        assert [f.track_id.tolist() for f in tracker.track(later)] == [[1, 2], [3, 4], [3, 4]]

    @pytest.mark.parametrize("make", [scenes.panning, scenes.zooming, scenes.meeting])
    def test_who_begins_later_sees_the_same_after_two_searches(self, analyzer, people, make):
        frames = list(make(people).frames())[:85]
        early, late = Tracker(analyzer).track(frames), Tracker(analyzer).track(frames[13:])
        for one, other in zip(early[50:], late[37:], strict=True):
            assert len(one) and one.time_s == other.time_s
            one, other = (faces[np.argsort(faces.xyxy[:, 0])] for faces in (one, other))  # numbers are each one's own
            assert np.array_equal(one.xyxy, other.xyxy)
            assert np.allclose(one.probs, other.probs, atol=1e-6)  # sums of other batches are rounded otherwise

    def test_sparse_frames_keep_numbers(self, analyzer, people):
        image = short(1)[0].image
        frames = [Frame(image, "sparse", i, 3.0 * i) for i in range(4)]
        assert {tuple(f.track_id.tolist()) for f in Tracker(analyzer).track(frames)} == {(1, 2)}

    def test_half_life_is_in_seconds(self, analyzer, people):
        image = short(1)[0].image
        values = {}
        for fps in (5, 30):
            high = np.zeros((1, len(analyzer.labels)), np.float32)
            high[:, 0] = 1
            low = np.roll(high, 1, axis=1)
            count = iter(range(10**6))
            predict = lambda crops: np.repeat(low if next(count) > 4 * fps else high, len(crops), axis=0)  # noqa: E731, B023
            tracker = Tracker(saying(analyzer, predict), TrackSettings(half_life_s=0.6))
            for i in range(4 * fps + 1 + round(0.6 * fps)):
                (faces,) = tracker.track([Frame(image, "", i, i / fps)])
            values[fps] = faces.smoothed[0, 1]
        assert values[5] == pytest.approx(0.5, abs=0.02)
        assert values[30] == pytest.approx(0.5, abs=0.02)


class SearchOnly(Detector):
    """A detector without `refine` and without landmarks."""

    identity = "search only"

    def __init__(self):
        self._mtcnn, self.sizes = MtcnnDetector(), []

    def detect(self, image):
        self.sizes.append(image.shape[:2])
        return replace(self._mtcnn.detect(image), landmarks=None)


class TestDetectors:
    def test_without_refine_every_frame_is_searched(self, people):
        detector = SearchOnly()
        steps, tracker = track_scene(scenes.crossing(people, fps=12.5), Analyzer(detector=detector))
        numbers, recall = numbers_of(steps)
        assert tracker.searches == len(detector.sizes) == len(steps)
        assert sorted(numbers.values()) == [[1], [2]]
        assert recall > 0.98

    @pytest.mark.parametrize(("every_s", "searches"), [(0.5, 3), (0.2, 6), (0.0, 26), (10.0, 1)])
    def test_a_still_video_is_searched_by_the_clock_alone(self, analyzer, astronaut, every_s, searches):
        frames = [Frame(astronaut, "", i, i / 25) for i in range(26)]
        tracker = Tracker(analyzer, TrackSettings(detect_every_s=every_s))
        results = [faces for _, faces in track_video(frames, tracker)]
        assert tracker.searches == searches
        assert [f.track_id.tolist() for f in results] == [[1]] * 26

    def test_whole_images_are_one_track(self, astronaut):
        tracker = Tracker(Analyzer(detector="none"))
        results = tracker.track([Frame(astronaut, "", i, i / 25) for i in range(3)])
        assert [f.track_id.tolist() for f in results] == [[1]] * 3

    def test_large_frames_are_searched_in_a_reduced_copy(self, people):
        frame = replace(short(1)[0], image=cv2.resize(short(1)[0].image, (2560, 1440)))
        detector = SearchOnly()
        (faces,) = Tracker(Analyzer(detector=detector), TrackSettings(detect_max_side_px=640)).track([frame])
        (whole,) = Tracker(Analyzer()).track([frame])
        assert detector.sizes == [(360, 640)]
        assert len(faces) == 2
        assert np.diagonal(overlap(faces.xyxy, whole.xyxy)).min() > 0.8 or overlap(faces.xyxy, whole.xyxy).max() > 0.8

    def test_searching_every_frame_gives_what_the_detector_gives(self, analyzer, people):
        settings = TrackSettings(detect_every_s=0)
        for frame, faces in zip(short(4), Tracker(analyzer, settings).track(short(4)), strict=True):
            every = analyzer.detector.detect(frame.image)
            assert sorted(map(tuple, every.xyxy)) == sorted(map(tuple, faces.xyxy))

    def test_looking_near_a_box_sees_what_reducing_the_whole_image_shows(self):
        image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (640, 960, 3)).astype(np.uint8), (0, 0), 2)
        rng = np.random.default_rng(1)
        side, corner = rng.uniform(20, 620, 40), rng.uniform(-300, 900, (2, 40))
        squares = np.stack([*corner, *(corner + side)], axis=1).astype(np.float32)
        near, whole = sample_near(image, squares, 48), Octaves(image).sample(squares, 48)
        difference = np.abs(near.astype(int) - whole)
        assert difference.max() <= 1 and difference.mean() < 0.001


class TestState:
    def test_restored_video_goes_on_the_same(self, analyzer, people):
        frames = list(scenes.returning(people, fps=10).frames())
        settings = TrackSettings(reid=True)
        whole = Tracker(analyzer, settings)
        expected = [whole.track([frame])[0] for frame in frames]
        for stop in (1, 14, 37):
            first, second = Tracker(analyzer, settings), Tracker(analyzer, settings)
            for frame in frames[:stop]:
                first.track([frame])
            state = json.loads(json.dumps(first.state(), allow_nan=False))
            assert state["frame"] == stop - 1
            second.restore(state)
            again = [second.track([frame])[0] for frame in frames[stop : stop + 8]]
            assert all(same(a, b) for a, b in zip(again, expected[stop : stop + 8], strict=True))

    def test_state_of_a_video_is_that_of_the_frame_just_given(self, analyzer, people):
        frames = short(12)
        tracker, plain = Tracker(analyzer), Tracker(analyzer)
        for frame, _ in track_video(frames, tracker, batch_size=1, ahead=3):
            plain.track([frame])
            assert tracker.state()["frame"] == frame.index
            assert json.dumps(tracker.state()) == json.dumps(plain.state())

    def test_before_the_first_frame(self, analyzer):
        state = Tracker(analyzer).state()
        assert state["frame"] is None
        Tracker(analyzer).restore(json.loads(json.dumps(state)))

    @pytest.mark.parametrize(
        "damage", [lambda s: s.pop("memory"), lambda s: s.update(version=99), lambda s: s.update(labels=["x"]),
                   lambda s: s["memory"].update(tracks=[{"track_id": 1}]), lambda s: s["memory"].update(scene=3)],
    )  # fmt: skip
    def test_a_damaged_state_is_refused_and_changes_nothing(self, analyzer, people, damage):
        tracker = Tracker(analyzer)
        tracker.track(short(2))
        before = json.dumps(tracker.state())
        state = json.loads(before)
        damage(state)
        with pytest.raises(InputError, match="start the video from the beginning"):
            tracker.restore(state)
        assert json.dumps(tracker.state()) == before


class TestSettings:
    @pytest.mark.parametrize(
        "wrong", [{"detect_every_s": -1}, {"half_life_s": float("nan")}, {"max_age_s": float("inf")}, {"keep_score": 2},
                  {"steady_margin": -0.1}, {"detect_max_side_px": 10}],
    )  # fmt: skip
    def test_wrong_values_are_named(self, wrong):
        with pytest.raises(InputError, match=next(iter(wrong))):
            TrackSettings(**wrong)

    @pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"ahead": 0}])
    def test_wrong_video_options_fail_at_once(self, analyzer, wrong):
        with pytest.raises(InputError, match=next(iter(wrong))):
            track_video([], Tracker(analyzer), **wrong)


def blank(count, started=None, *, size=(48, 64)):
    for i in range(count):
        if started is not None:
            started.append(i)
        yield Frame(np.full((*size, 3), 90, np.uint8), "blank", i, i / 25)


def mien_threads():
    return [t for t in threading.enumerate() if t.name.startswith("mien-")]


class TestVideo:
    def test_same_as_frame_by_frame_and_in_order(self, analyzer, people):
        frames = short()
        plain = Tracker(analyzer)
        for (frame, faces), wanted in zip(
            track_video(iter(frames), Tracker(analyzer), batch_size=3), frames, strict=True
        ):
            assert frame is wanted
            (alone,) = plain.track([wanted])
            assert np.array_equal(faces.xyxy, alone.xyxy) and np.array_equal(faces.track_id, alone.track_id)
            assert np.allclose(faces.smoothed, alone.smoothed, atol=1e-5)
        assert not mien_threads()

    def test_an_error_of_the_source_comes_after_all_frames_before_it(self, analyzer):
        def broken():
            yield from blank(11)
            raise OSError("cable")

        seen = []
        with pytest.raises(OSError, match="cable"):
            for frame, _ in track_video(broken(), Tracker(analyzer), batch_size=4):
                seen.append(frame.index)
        assert seen == list(range(11))
        assert not mien_threads()

    def test_an_error_of_the_model_comes_after_all_results_before_it(self, analyzer, people):
        calls = []

        def predict(crops):
            calls.append(1)
            if len(calls) == 3:
                raise RuntimeError("device lost")
            return analyzer.model.predict_proba(crops, head=analyzer.labels.key)

        seen = []
        with pytest.raises(RuntimeError, match="device lost"):
            for frame, _ in track_video(short(20), Tracker(saying(analyzer, predict)), batch_size=4):
                seen.append(frame.index)
        assert len(seen) == 8
        assert not mien_threads()

    def test_reading_runs_ahead_but_not_far(self, analyzer):
        started = []
        video = track_video(blank(1000, started), Tracker(analyzer), batch_size=5, ahead=3)
        next(video)
        time.sleep(0.3)
        assert 10 <= len(started) <= 16
        video.close()
        assert not mien_threads()

    def test_large_frames_make_small_batches(self, analyzer):
        started = []
        video = track_video(blank(100, started, size=(2160, 3840)), Tracker(analyzer), batch_size=50, ahead=2)
        next(video)
        time.sleep(0.1)
        video.close()
        assert len(started) <= 4

    def test_stopping_early_stops_the_threads_and_keeps_the_place(self, analyzer, people):
        frames = short(20)
        tracker, plain = Tracker(analyzer), Tracker(analyzer)
        video = track_video(iter(frames), tracker, batch_size=4)
        for _ in range(6):
            next(video)
        start = time.perf_counter()
        video.close()
        assert time.perf_counter() - start < 2
        assert not mien_threads()
        plain.track(frames[:6])
        assert tracker.state()["frame"] == frames[5].index
        assert same(tracker.track(frames[6:7])[0], plain.track(frames[6:7])[0])

    def test_an_empty_video(self, analyzer):
        assert list(track_video([], Tracker(analyzer))) == []
        assert not mien_threads()

    def test_the_parts_overlap(self, analyzer):
        def slow():
            for frame in blank(12):
                time.sleep(0.03)
                yield frame

        start = time.perf_counter()
        for _ in track_video(slow(), Tracker(analyzer), batch_size=1):
            time.sleep(0.03)
        assert time.perf_counter() - start < 0.85 * 12 * 0.06


def test_faces_of_two_videos_do_not_mix(analyzer, people):
    first, second = Tracker(analyzer), Tracker(analyzer)
    frames = short(3)
    first.track(frames)
    assert [f.track_id.tolist() for f in second.track(frames)] == [[1, 2]] * 3
    assert isinstance(first.track(frames[:1])[0], Faces)
