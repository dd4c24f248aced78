"""Following against known truth: numbers, cuts, recall, smoothing over time, resuming, and the threads around it."""

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
from mien.detect.mtcnn import MtcnnDetector
from mien.errors import InputError
from mien.faces import Faces, Frame
from mien.tracking.tracker import Follower, FollowSettings, follow_film


@pytest.fixture(scope="module")
def people():
    return scenes.portrait_people(EXAMPLES)


def follow_scene(scene, analyzer, settings=None):
    """Return (truth, faces) of every frame, and the follower."""
    follower = Follower(analyzer, settings)
    steps = [(truth, follower.follow([frame])[0]) for frame, truth in scene]
    return steps, follower


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
        steps, follower = follow_scene(make(people), analyzer)
        numbers, recall = numbers_of(steps)
        assert sorted(numbers.values()) == [[1], [2]]
        assert recall > 0.98
        assert follower.searches < 0.25 * len(steps)
        assert follower.cuts == 0

    def test_crossing_at_half_the_frame_rate(self, analyzer, people):
        numbers, recall = numbers_of(follow_scene(scenes.crossing(people, fps=12.5), analyzer)[0])
        assert sorted(numbers.values()) == [[1], [2]]
        assert recall > 0.98

    @pytest.mark.parametrize("make", [scenes.panning, scenes.zooming, scenes.arriving])
    def test_moving_camera_and_arriving_people_are_followed(self, analyzer, people, make):
        steps, follower = follow_scene(make(people, fps=12.5), analyzer)
        assert numbers_of(steps)[1] > 0.97
        assert follower.cuts == 0

    def test_cuts_end_tracks_and_are_all_found(self, analyzer, people):
        scene = scenes.cutting(people)
        steps, follower = follow_scene(scene, analyzer)
        numbers, recall = numbers_of(steps)
        assert follower.cuts == 3
        assert recall == 1
        assert numbers == {(0, 0): [1], (1, 1): [2], (0, 3): [3]}

    def test_flashes_are_no_cuts(self, analyzer, people):
        steps, follower = follow_scene(scenes.flashing(people), analyzer)
        assert follower.cuts == 0
        assert [len(seen) for seen in numbers_of(steps)[0].values()] == [1, 1]

    def test_who_returns_is_new_unless_asked_otherwise(self, analyzer, people):
        scene = scenes.returning(people, fps=12.5)
        numbers, _ = numbers_of(follow_scene(scene, analyzer)[0])
        assert [len(numbers[person, 0]) for person in (0, 1)] == [1, 2]
        steps, _ = follow_scene(scene, analyzer, FollowSettings(reid=True))
        assert steps[0][1].track_id.tolist() == steps[-1][1].track_id.tolist() == [1, 2]

    def test_reid_tells_people_apart_over_cuts(self, analyzer, people):
        numbers, _ = numbers_of(follow_scene(scenes.cutting(people), analyzer, FollowSettings(reid=True))[0])
        assert numbers == {(0, 0): [1], (1, 1): [2], (0, 3): [1]}

    def test_a_short_memory_gives_new_numbers(self, analyzer, people):
        steps, _ = follow_scene(scenes.crossing(people), analyzer, FollowSettings(max_age_s=0.05))
        assert max(len(seen) for seen in numbers_of(steps)[0].values()) > 1


class TestFilms:
    def test_nearly_as_many_faces_as_detection_on_every_frame(self, analyzer, shared):
        follower, found, wanted = Follower(analyzer), 0, 0
        for frame in clip(shared / "data/media/face_noface.mov", step=2):
            (faces,) = follower.follow([frame])
            every = analyzer.detector.detect(frame.image)
            wanted += len(every)
            found += int((overlap(every.xyxy, faces.xyxy).max(axis=1, initial=0) >= 0.4).sum())
            assert len(faces) <= len(every)
        assert wanted > 30
        assert found >= 0.99 * wanted
        assert follower.searches < 0.25 * 85

    def test_the_smile_is_one_steady_change(self, analyzer, shared):
        steady = []
        for _, faces in follow_film(clip(shared / "data/media/single_face.mp4"), Follower(analyzer)):
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
        alone, together = Follower(analyzer), Follower(analyzer)
        singles = [alone.follow([frame])[0] for frame in frames]
        batches = together.follow(frames[:7]) + together.follow([]) + together.follow(frames[7:])
        for one, other in zip(singles, batches, strict=True):
            assert np.array_equal(one.xyxy, other.xyxy) and np.array_equal(one.track_id, other.track_id)
            assert np.allclose(one.probs, other.probs, atol=1e-5) and np.allclose(
                one.smoothed, other.smoothed, atol=1e-5
            )

    def test_everything_is_set_and_valid(self, analyzer, people):
        frames = short(5)
        for frame, faces in zip(frames, Follower(analyzer).follow(frames), strict=True):
            assert (faces.frame_index, faces.time_s, faces.source) == (frame.index, frame.time_s, "crossing")
            assert len(faces) == 2 and faces.landmarks.shape == (2, 5, 2)
            assert np.allclose(faces.smoothed.sum(axis=1), 1, atol=1e-5)
            assert faces.labels == analyzer.labels

    def test_no_face_is_empty_and_complete(self, analyzer):
        frames = [Frame(np.full((90, 120, 3), 80, np.uint8), "gray", i, i / 10) for i in range(5)]
        for faces in Follower(analyzer).follow(frames):
            assert len(faces) == 0
            assert faces.track_id.shape == faces.steady.shape == (0,)
            assert faces.probs.shape == faces.smoothed.shape == (0, len(analyzer.labels))

    def test_all_crops_of_a_batch_go_through_one_call(self, analyzer, people):
        calls = []

        def predict(crops):
            calls.append(len(crops))
            return analyzer.model.predict_proba(crops, head=analyzer.labels.key)

        Follower(analyzer, predict=predict).follow(short(6))
        assert calls == [12]

    def test_time_that_stands_still_or_jumps_back_does_no_harm(self, analyzer, people):
        frames = [replace(frame, time_s=0.0) for frame in short(4)]
        numbers = {tuple(f.track_id.tolist()) for f in Follower(analyzer).follow(frames)}
        assert numbers == {(1, 2)}
        follower = Follower(analyzer)
        later = [replace(frames[0], time_s=50.0), replace(frames[1], time_s=0.0), replace(frames[2], time_s=0.04)]
        assert [f.track_id.tolist() for f in follower.follow(later)] == [[1, 2], [3, 4], [3, 4]]

    def test_sparse_frames_keep_numbers(self, analyzer, people):
        image = short(1)[0].image
        frames = [Frame(image, "sparse", i, 3.0 * i) for i in range(4)]
        assert {tuple(f.track_id.tolist()) for f in Follower(analyzer).follow(frames)} == {(1, 2)}

    def test_half_life_is_in_seconds(self, analyzer, people):
        image = short(1)[0].image
        values = {}
        for fps in (5, 30):
            high = np.zeros((1, len(analyzer.labels)), np.float32)
            high[:, 0] = 1
            low = np.roll(high, 1, axis=1)
            count = iter(range(10**6))
            predict = lambda crops: np.repeat(low if next(count) > 4 * fps else high, len(crops), axis=0)  # noqa: E731, B023
            follower = Follower(analyzer, FollowSettings(half_life_s=0.6), predict=predict)
            for i in range(4 * fps + 1 + round(0.6 * fps)):
                (faces,) = follower.follow([Frame(image, "", i, i / fps)])
            values[fps] = faces.smoothed[0, 1]
        assert values[5] == pytest.approx(0.5, abs=0.02)
        assert values[30] == pytest.approx(0.5, abs=0.02)


class SearchOnly:
    """A detector without `refine` and without landmarks."""

    def __init__(self):
        self._mtcnn, self.sizes = MtcnnDetector(), []

    def detect(self, image):
        self.sizes.append(image.shape[:2])
        return replace(self._mtcnn.detect(image), landmarks=None)


class TestDetectors:
    def test_without_refine_every_frame_is_searched(self, people):
        detector = SearchOnly()
        steps, follower = follow_scene(scenes.crossing(people, fps=12.5), Analyzer(detector=detector))
        numbers, recall = numbers_of(steps)
        assert follower.searches == len(detector.sizes) == len(steps)
        assert sorted(numbers.values()) == [[1], [2]]
        assert recall > 0.98

    @pytest.mark.parametrize(("every_s", "searches"), [(0.5, 3), (0.2, 6), (0.0, 26), (10.0, 1)])
    def test_a_still_film_is_searched_by_the_clock_alone(self, analyzer, astronaut, every_s, searches):
        frames = [Frame(astronaut, "", i, i / 25) for i in range(26)]
        follower = Follower(analyzer, FollowSettings(detect_every_s=every_s))
        results = [faces for _, faces in follow_film(frames, follower)]
        assert follower.searches == searches
        assert [f.track_id.tolist() for f in results] == [[1]] * 26

    def test_whole_pictures_are_one_track(self, astronaut):
        follower = Follower(Analyzer(detector="none"))
        results = follower.follow([Frame(astronaut, "", i, i / 25) for i in range(3)])
        assert [f.track_id.tolist() for f in results] == [[1]] * 3

    def test_large_frames_are_searched_in_a_reduced_copy(self, people):
        frame = replace(short(1)[0], image=cv2.resize(short(1)[0].image, (2560, 1440)))
        detector = SearchOnly()
        (faces,) = Follower(Analyzer(detector=detector), FollowSettings(detect_max_side_px=640)).follow([frame])
        (whole,) = Follower(Analyzer()).follow([frame])
        assert detector.sizes == [(360, 640)]
        assert len(faces) == 2
        assert np.diagonal(overlap(faces.xyxy, whole.xyxy)).min() > 0.8 or overlap(faces.xyxy, whole.xyxy).max() > 0.8

    def test_searching_every_frame_gives_what_the_detector_gives(self, analyzer, people):
        settings = FollowSettings(detect_every_s=0)
        for frame, faces in zip(short(4), Follower(analyzer, settings).follow(short(4)), strict=True):
            every = analyzer.detector.detect(frame.image)
            assert sorted(map(tuple, every.xyxy)) == sorted(map(tuple, faces.xyxy))

    def test_looking_near_a_box_sees_what_reducing_the_whole_picture_shows(self):
        image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (640, 960, 3)).astype(np.uint8), (0, 0), 2)
        rng = np.random.default_rng(1)
        side, corner = rng.uniform(20, 620, 40), rng.uniform(-300, 900, (2, 40))
        squares = np.stack([*corner, *(corner + side)], axis=1).astype(np.float32)
        near, whole = sample_near(image, squares, 48), Octaves(image).sample(squares, 48)
        difference = np.abs(near.astype(int) - whole)
        assert difference.max() <= 1 and difference.mean() < 0.001


class TestState:
    def test_restored_film_goes_on_the_same(self, analyzer, people):
        frames = list(scenes.returning(people, fps=10).frames())
        settings = FollowSettings(reid=True)
        whole = Follower(analyzer, settings)
        expected = [whole.follow([frame])[0] for frame in frames]
        for stop in (1, 14, 37):
            first, second = Follower(analyzer, settings), Follower(analyzer, settings)
            for frame in frames[:stop]:
                first.follow([frame])
            state = json.loads(json.dumps(first.state(), allow_nan=False))
            assert state["frame"] == stop - 1
            second.restore(state)
            again = [second.follow([frame])[0] for frame in frames[stop : stop + 8]]
            assert all(same(a, b) for a, b in zip(again, expected[stop : stop + 8], strict=True))

    def test_state_of_a_film_is_that_of_the_frame_just_given(self, analyzer, people):
        frames = short(12)
        follower, plain = Follower(analyzer), Follower(analyzer)
        for frame, _ in follow_film(frames, follower, batch_size=1, ahead=3):
            plain.follow([frame])
            assert follower.state()["frame"] == frame.index
            assert json.dumps(follower.state()) == json.dumps(plain.state())

    def test_before_the_first_frame(self, analyzer):
        state = Follower(analyzer).state()
        assert state["frame"] is None
        Follower(analyzer).restore(json.loads(json.dumps(state)))

    @pytest.mark.parametrize(
        "damage", [lambda s: s.pop("memory"), lambda s: s.update(version=99), lambda s: s.update(labels=["x"]),
                   lambda s: s["memory"].update(tracks=[{"track_id": 1}]), lambda s: s["memory"].update(scene=3)],
    )  # fmt: skip
    def test_a_damaged_state_is_refused_and_changes_nothing(self, analyzer, people, damage):
        follower = Follower(analyzer)
        follower.follow(short(2))
        before = json.dumps(follower.state())
        state = json.loads(before)
        damage(state)
        with pytest.raises(InputError, match="start the film from the beginning"):
            follower.restore(state)
        assert json.dumps(follower.state()) == before


class TestSettings:
    @pytest.mark.parametrize(
        "wrong", [{"detect_every_s": -1}, {"half_life_s": float("nan")}, {"max_age_s": float("inf")}, {"keep_score": 2},
                  {"steady_margin": -0.1}, {"detect_max_side_px": 10}],
    )  # fmt: skip
    def test_wrong_values_are_named(self, wrong):
        with pytest.raises(InputError, match=next(iter(wrong))):
            FollowSettings(**wrong)

    @pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"ahead": 0}])
    def test_wrong_film_options_fail_at_once(self, analyzer, wrong):
        with pytest.raises(InputError, match=next(iter(wrong))):
            follow_film([], Follower(analyzer), **wrong)


def blank(count, started=None, *, size=(48, 64)):
    for i in range(count):
        if started is not None:
            started.append(i)
        yield Frame(np.full((*size, 3), 90, np.uint8), "blank", i, i / 25)


def mien_threads():
    return [t for t in threading.enumerate() if t.name.startswith("mien-")]


class TestFilm:
    def test_same_as_frame_by_frame_and_in_order(self, analyzer, people):
        frames = short()
        plain = Follower(analyzer)
        for (frame, faces), wanted in zip(
            follow_film(iter(frames), Follower(analyzer), batch_size=3), frames, strict=True
        ):
            assert frame is wanted
            (alone,) = plain.follow([wanted])
            assert np.array_equal(faces.xyxy, alone.xyxy) and np.array_equal(faces.track_id, alone.track_id)
            assert np.allclose(faces.smoothed, alone.smoothed, atol=1e-5)
        assert not mien_threads()

    def test_an_error_of_the_source_comes_after_all_frames_before_it(self, analyzer):
        def broken():
            yield from blank(11)
            raise OSError("cable")

        seen = []
        with pytest.raises(OSError, match="cable"):
            for frame, _ in follow_film(broken(), Follower(analyzer), batch_size=4):
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
            for frame, _ in follow_film(short(20), Follower(analyzer, predict=predict), batch_size=4):
                seen.append(frame.index)
        assert len(seen) == 8
        assert not mien_threads()

    def test_reading_runs_ahead_but_not_far(self, analyzer):
        started = []
        film = follow_film(blank(1000, started), Follower(analyzer), batch_size=5, ahead=3)
        next(film)
        time.sleep(0.3)
        assert 10 <= len(started) <= 16
        film.close()
        assert not mien_threads()

    def test_large_frames_make_small_batches(self, analyzer):
        started = []
        film = follow_film(blank(100, started, size=(2160, 3840)), Follower(analyzer), batch_size=50, ahead=2)
        next(film)
        time.sleep(0.1)
        film.close()
        assert len(started) <= 4

    def test_stopping_early_stops_the_threads_and_keeps_the_place(self, analyzer, people):
        frames = short(20)
        follower, plain = Follower(analyzer), Follower(analyzer)
        film = follow_film(iter(frames), follower, batch_size=4)
        for _ in range(6):
            next(film)
        start = time.perf_counter()
        film.close()
        assert time.perf_counter() - start < 2
        assert not mien_threads()
        plain.follow(frames[:6])
        assert follower.state()["frame"] == frames[5].index
        assert same(follower.follow(frames[6:7])[0], plain.follow(frames[6:7])[0])

    def test_an_empty_film(self, analyzer):
        assert list(follow_film([], Follower(analyzer))) == []
        assert not mien_threads()

    def test_the_parts_overlap(self, analyzer):
        def slow():
            for frame in blank(12):
                time.sleep(0.03)
                yield frame

        start = time.perf_counter()
        for _ in follow_film(slow(), Follower(analyzer), batch_size=1):
            time.sleep(0.03)
        assert time.perf_counter() - start < 0.85 * 12 * 0.06


def test_faces_of_two_films_do_not_mix(analyzer, people):
    first, second = Follower(analyzer), Follower(analyzer)
    frames = short(3)
    first.follow(frames)
    assert [f.track_id.tolist() for f in second.follow(frames)] == [[1, 2]] * 3
    assert isinstance(first.follow(frames[:1])[0], Faces)
