"""Assignment, motion, smoothing, hysteresis, cuts and looks, each against a plain computation or a known truth."""

import itertools
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from mien.faces import Faces
from mien.tracking.appearance import LENGTH, describe_looks, likeness, recognise
from mien.tracking.scene import Glance, SceneMemory, glance, is_cut, news, similarity
from mien.tracking.settings import TrackSettings
from mien.tracking.smooth import RunningExpression
from mien.tracking.tracks import Track, assign, matching_costs


def faces_at(*boxes, score=0.99, landmarks=False):
    xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    shape = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)
    points = xyxy[:, None, :2] + shape * (xyxy[:, None, 2:] - xyxy[:, None, :2])
    return Faces(xyxy, np.full(len(xyxy), score, np.float32), points if landmarks else None)


def track_at(box, time_s=0.0, **values):
    return replace(Track.first(1, faces_at(box, landmarks=True), 0, time_s), **values)


class TestAssign:
    @pytest.mark.parametrize("seed", range(60))
    def test_total_is_the_least_there_is(self, seed):
        rng = np.random.default_rng(seed)
        rows, columns = rng.integers(1, 6, 2)
        cost = rng.random((rows, columns))
        cost[rng.random(cost.shape) < 0.25] = np.inf
        limit = 0.6
        pairs = assign(cost, limit=limit)
        assert all(cost[pair] < limit for pair in pairs)
        assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
        total = sum(cost[pair] for pair in pairs) + limit * (rows - len(pairs))
        choices = itertools.product(range(-1, columns), repeat=rows)
        valid = [c for c in choices if len({j for j in c if j >= 0}) == sum(j >= 0 for j in c)]
        least = min(sum(cost[i, j] if j >= 0 else limit for i, j in enumerate(c)) for c in valid)
        assert total == pytest.approx(least)

    def test_the_best_for_all_is_not_the_best_for_the_first(self):
        assert assign(np.array([[0.1, 0.2], [0.15, 0.9]]), limit=1.0) == [(0, 1), (1, 0)]

    @pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
    def test_nothing_to_assign(self, shape):
        assert assign(np.zeros(shape), limit=1.0) == []


class TestMotion:
    def test_constant_velocity_is_learned_and_predicted(self):
        track = track_at((100, 100, 140, 150))
        for n in range(1, 20):
            track = track.seen(faces_at((100 + 5 * n, 100, 140 + 5 * n, 150), landmarks=True), 0, n * 0.04, sure=True)
        box, points = track.at(20 * 0.04)
        assert np.allclose(box, (200, 100, 240, 150), atol=0.6)
        assert np.allclose(points[2], (220, 130), atol=0.6)

    def test_growth_is_predicted(self):
        track = track_at((100, 100, 140, 140))
        for n in range(1, 20):
            half = 20 * 1.03**n
            track = track.seen(faces_at((120 - half, 120 - half, 120 + half, 120 + half)), 0, n * 0.04, sure=True)
        box, _ = track.at(20 * 0.04)
        assert (box[2] - box[0]) / 2 == pytest.approx(20 * 1.03**20, rel=0.01)

    def test_motion_out_of_sight_dies_down(self):
        track = track_at((0, 0, 40, 40), velocity=np.array([100.0, 0, 0]))
        near, far = track.at(0.1)[0][0], track.at(20.0)[0][0]
        assert near == pytest.approx(10, abs=0.5)
        assert far == pytest.approx(200, abs=1)

    def test_same_motion_at_any_frame_rate(self):
        velocities = []
        for fps in (10, 25, 60):
            track = track_at((100, 100, 140, 150))
            for n in range(1, fps + 1):
                x = 100 + 80 * n / fps
                track = track.seen(faces_at((x, 100, x + 40, 150)), 0, n / fps, sure=True)
            velocities.append(track.velocity[0])
        assert np.allclose(velocities, 80, atol=0.5)

    def test_distance_prefers_the_nearer_and_rules_out_the_far_and_the_larger(self):
        track = track_at((100, 100, 140, 150))
        faces = faces_at(
            (102, 101, 142, 151), (115, 100, 155, 150), (300, 100, 340, 150), (80, 75, 160, 175), landmarks=True
        )
        cost = matching_costs([track], faces, 0.04)[0]
        assert cost[0] < 0.15 < cost[1] < 1
        assert np.isinf(cost[2]) and np.isinf(cost[3])

    def test_reach_grows_with_the_time_out_of_sight(self):
        faces = faces_at((150, 100, 190, 150))
        assert np.isinf(matching_costs([track_at((100, 100, 140, 150))], faces, 0.04)).all()
        assert np.isfinite(matching_costs([track_at((100, 100, 140, 150))], faces, 0.5)).all()

    def test_json_keeps_every_bit(self):
        looks = np.random.default_rng(0).random((2, LENGTH)).astype(np.float16)
        for track in (
            track_at((1 / 3, 2, 30, 40.1)),
            track_at((1, 2, 3, 4), looks=looks, looked_s=0.1, landmarks=None),
        ):
            again = Track.from_json(json.loads(json.dumps(track.to_json(), allow_nan=False)))
            for name, value in vars(track).items():
                assert np.array_equal(getattr(again, name), value), name
                assert getattr(getattr(again, name), "dtype", None) == getattr(value, "dtype", None)


def smoothed_over(probs, times, settings=None):
    state = RunningExpression.first(probs[0], times[0])
    states = [state]
    for row, time_s in zip(probs[1:], times[1:], strict=True):
        state = state.after(row, time_s, settings or TrackSettings())
        states.append(state)
    return states


def step_probs(count, at, high=0.9):
    probs = np.full((count, 3), (1 - high) / 2, np.float32)
    probs[:at, 0], probs[at:, 1] = high, high
    return probs


class TestSmoothing:
    @pytest.mark.parametrize("fps", [5, 10, 30, 120])
    def test_half_way_after_one_half_life_at_any_frame_rate(self, fps):
        times = np.arange(0, 12 * fps) / fps
        probs = step_probs(len(times), 10 * fps)
        states = smoothed_over(probs, times, TrackSettings(half_life_s=0.4))
        at = 10 * fps - 1 + round(0.4 * fps)
        assert states[at].smoothed[1] == pytest.approx((0.05 + 0.9) / 2, abs=0.01)

    def test_the_first_two_frames_count_by_recency_alone(self):
        probs = step_probs(2, 1)
        last = smoothed_over(probs, [0, 0.3], TrackSettings(half_life_s=0.3))[-1]
        assert np.allclose(last.smoothed, (probs[0] / 2 + probs[1]) / 1.5)

    def test_rows_sum_to_one_and_noise_shrinks(self):
        probs = np.random.default_rng(0).dirichlet(np.ones(7), 100).astype(np.float32)
        smoothed = np.stack([s.smoothed for s in smoothed_over(probs, np.arange(100) / 25)])
        assert np.allclose(smoothed.sum(axis=1), 1, atol=1e-6)
        assert smoothed[20:].std(axis=0).max() < 0.5 * probs[20:].std(axis=0).min()

    def test_no_half_life_is_no_smoothing(self):
        probs = step_probs(4, 2)
        states = smoothed_over(probs, np.arange(4) / 25, TrackSettings(half_life_s=0))
        assert np.allclose([s.smoothed for s in states], probs)

    def test_equal_times_do_no_harm(self):
        assert np.isfinite(smoothed_over(step_probs(4, 2), np.zeros(4))[-1].smoothed).all()

    def test_steady_does_not_flicker_where_two_are_close(self):
        probs = np.array([[0.52, 0.48], [0.48, 0.52]] * 50, np.float32)
        states = smoothed_over(probs, np.arange(100) / 25, TrackSettings(half_life_s=0))
        assert {s.steady for s in states} == {0}

    def test_steady_follows_a_clear_change_at_once_and_a_slight_one_later(self):
        times = np.arange(100) / 25
        clear = smoothed_over(step_probs(100, 50), times)
        assert [s.steady for s in clear].index(1) in range(54, 62)
        slight = smoothed_over(step_probs(100, 50, high=0.38), times, TrackSettings(half_life_s=0))
        changed = [s.steady for s in slight].index(1)
        assert times[changed] - times[50] == pytest.approx(0.5, abs=0.05)

    def test_json_goes_on_the_same(self):
        probs, times = step_probs(20, 10), np.arange(20) / 25
        whole = smoothed_over(probs, times)
        middle = RunningExpression.from_json(json.loads(json.dumps(whole[11].to_json())))
        for n in range(12, 20):
            middle = middle.after(probs[n], times[n], TrackSettings())
            assert np.array_equal(middle.smoothed, whole[n].smoothed)
            assert (middle.steady, middle.rival) == (whole[n].steady, whole[n].rival)


def moved(image, dx=0.0, dy=0.0, zoom=1.0):
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 0, zoom)
    matrix[:, 2] += dx * width, dy * height
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)


def lit(image, gain, offset=0):
    return np.clip(image.astype(np.float32) * gain + offset, 0, 255).astype(np.uint8)


class TestCuts:
    def test_two_images_make_a_cut(self, astronaut, hopper):
        assert is_cut(glance(astronaut), glance(hopper))
        assert is_cut(glance(hopper), glance(astronaut))

    @pytest.mark.parametrize(
        "change",
        [
            lambda i: moved(i, 0.12), lambda i: moved(i, -0.05, 0.1), lambda i: moved(i, zoom=1.08),
            lambda i: lit(i, 2), lambda i: lit(i, 0.4), lambda i: lit(i, 1, 100), lambda i: cv2.blur(i, (25, 1)),
        ],
        ids=["pan", "tilt", "zoom", "flash", "dark", "fog", "motion blur"],
    )  # fmt: skip
    def test_these_are_no_cuts(self, astronaut, hopper, change):
        for image in (astronaut, hopper):
            assert not is_cut(glance(image), glance(change(image)))

    def test_black_white_and_saturated_frames_are_flat(self, astronaut):
        assert not glance(astronaut).flat
        for image in (np.zeros_like(astronaut), np.full_like(astronaut, 200), lit(astronaut, 30)):
            assert glance(image).flat

    def test_similarity_is_one_with_itself(self, hopper):
        assert similarity(glance(hopper), glance(hopper)) == pytest.approx(1)

    def test_json(self, astronaut):
        first = glance(astronaut)
        assert np.array_equal(Glance.from_json(json.loads(json.dumps(first.to_json()))).pixels, first.pixels)

    @pytest.mark.parametrize("shape", [(1, 1), (3, 700), (2160, 3840)])
    def test_any_size_will_do(self, shape):
        assert glance(np.zeros((*shape, 3), np.uint8)).pixels.shape == (48, 64, 3)


NOBODY = np.zeros((0, 4), np.float32)


class TestNews:
    def test_nothing_new_in_noise_and_light(self, astronaut):
        rng = np.random.default_rng(0)
        noisy = lit(astronaut, 1, rng.normal(0, 6, astronaut.shape))
        assert news(glance(astronaut), glance(noisy), NOBODY, (512, 512)) == []
        assert news(glance(astronaut), glance(lit(astronaut, 1, 15)), NOBODY, (512, 512)) == []

    def test_the_part_holds_what_appeared(self, astronaut):
        other = astronaut.copy()
        other[300:360, 20:70] = 255 - other[300:360, 20:70]
        (found,) = news(glance(astronaut), glance(other), NOBODY, (512, 512))
        left, top, right, bottom = found.part
        assert 0 <= left <= 20 and 70 <= right < 140
        assert 240 < top <= 300 and 360 <= bottom < 430

    def test_a_camera_that_shakes_is_no_news(self, astronaut):
        before, now = glance(astronaut[:, 2:]), glance(astronaut[:, :-2])
        assert (np.abs(now.gray - before.gray) > 20).mean() > 0.05
        assert news(before, now, NOBODY, (510, 512)) == []

    def test_what_was_searched_is_no_news_again(self, astronaut):
        other = astronaut.copy()
        for x in (10, 440):
            other[300:360, x : x + 50] = 255 - other[300:360, x : x + 50]
        memory = SceneMemory(searched=glance(astronaut))
        first, second = news(glance(astronaut), glance(other), NOBODY, (512, 512))
        seen = memory.looked_at(glance(other), [first])
        assert news(seen.searched, glance(other), NOBODY, (512, 512)) == [second]
        assert np.array_equal(memory.searched.pixels, glance(astronaut).pixels)

    def test_two_places_are_two_parts(self, astronaut):
        other = astronaut.copy()
        for x in (10, 440):
            other[300:360, x : x + 50] = 255 - other[300:360, x : x + 50]
        assert len(news(glance(astronaut), glance(other), NOBODY, (512, 512))) == 2

    def test_known_people_are_no_news(self, astronaut):
        other = astronaut.copy()
        other[100:200, 180:270] = 255 - other[100:200, 180:270]
        face = np.array([[180, 90, 270, 210]], np.float32)
        assert news(glance(astronaut), glance(other), NOBODY, (512, 512))
        assert news(glance(astronaut), glance(other), face, (512, 512)) == []


class TestLooks:
    box = np.array([176, 70, 274, 206], np.float32)

    def looks(self, image, box):
        x1, y1, x2, y2 = (round(float(v)) for v in box)
        crop = cv2.resize(cv2.cvtColor(image[y1:y2, x1:x2], cv2.COLOR_RGB2GRAY), (48, 48), interpolation=cv2.INTER_AREA)
        return describe_looks(image, box, crop)

    def test_same_face_in_other_light_is_recognised(self, astronaut, hopper):
        known = self.looks(astronaut, self.box)[None]
        other = self.looks(hopper, np.array([195, 65, 350, 275], np.float32))[None]
        again = self.looks(lit(astronaut, 0.9, 10), self.box + 2)
        assert recognise(again, [other, known]) == 1

    def test_a_stranger_and_a_twin_are_not_recognised(self, astronaut, hopper):
        known = self.looks(astronaut, self.box)[None]
        other = self.looks(hopper, np.array([195, 65, 350, 275], np.float32))
        assert recognise(other, [known]) is None
        assert recognise(known[0], [known, known]) is None
        assert recognise(other, []) is None
        assert recognise(other, [np.zeros((0, LENGTH), np.float32)]) is None

    def test_description_is_normalised_and_like_itself(self, astronaut):
        looks = self.looks(astronaut, self.box)
        assert looks.shape == (LENGTH,) and looks.dtype == np.float32
        assert likeness(looks, looks[None]) == pytest.approx((1, 1), abs=1e-5)

    def test_a_box_beyond_the_border_will_do(self, astronaut):
        crop = np.zeros((48, 48), np.uint8)
        for box in ((-900, -900, -800, -800), (600, 600, 700, 700), (5, 5, 5, 5)):
            assert np.isfinite(describe_looks(astronaut, np.array(box, np.float32), crop)).all()
