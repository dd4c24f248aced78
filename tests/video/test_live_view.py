"""The screen of `mien live`, drawn without a display."""

from dataclasses import replace

import numpy as np
import pytest

from mien.errors import InputError
from mien.faces import Faces, Frame
from mien.labels import FER7, FERPLUS8
from mien.output.draw.colours import WHITE, expression_colour
from mien.output.draw.style import DrawStyle
from mien.video.live.history import GAP_S, POINTS, SPAN_S, History
from mien.video.live.lanes import LANE, column_times, stacked
from mien.video.live.marks import HELP, RED, Status, length_text
from mien.video.live.view import BACKGROUND, ViewOptions, arrange, fitted, mirrored_faces, render, scaled_faces

SIZES = [(1, 1), (40, 30), (160, 120), (320, 240), (300, 900), (960, 720), (1920, 1080)]
OPTIONS = ViewOptions()


def faces_of(*expressions, labels=FER7, first=1, boxes=None):
    """Return tracked faces that show these expressions with 0.88 or 0.86."""
    count = len(expressions)
    probs = np.full((count, len(labels)), 0.02, np.float32)
    for row, name in enumerate(expressions):
        probs[row, labels.index(name)] = 1 - 0.02 * (len(labels) - 1)
    xyxy = np.tile(np.array([10, 10, 60, 60], np.float32), (count, 1)) if boxes is None else boxes
    return Faces(
        xyxy,
        np.full(count, 0.99, np.float32),
        probs=probs,
        labels=labels,
        track_id=np.arange(first, first + count),
        smoothed=probs,
        steady=probs.argmax(axis=1),
    )


def history_of(*expressions, seconds=5.0, fps=30, labels=FER7):
    history = History()
    for time_s in np.arange(0, seconds, 1 / fps):
        history.add(faces_of(*expressions, labels=labels), time_s=float(time_s))
    return history


@pytest.fixture
def gray():
    return Frame(np.full((120, 160, 3), 128, np.uint8), "gray")


def cut(canvas, spot):
    return canvas[spot.y : spot.y + spot.h, spot.x : spot.x + spot.w]


def most_frequent(pixels):
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    return tuple(colours[counts.argmax()].tolist())


class TestArrange:
    @pytest.mark.parametrize("size", SIZES)
    def test_the_parts_fill_the_window_from_top_to_bottom(self, size):
        places = arrange(size)
        assert [part.w for part in places[:3]] == [size[0]] * 3
        assert places.image.y == 0
        assert places.timeline.y == places.image.h
        assert places.status.y == places.timeline.y + places.timeline.h
        assert places.status.y + places.status.h == size[1]
        assert places.image.h > 0.5 * size[1]

    def test_a_small_window_is_for_the_image(self):
        assert arrange((200, 150)).timeline.h == 0
        assert arrange((100, 100)).status.h == 0

    @pytest.mark.parametrize("image", [(640, 480), (480, 640), (1, 1), (4000, 10)])
    def test_an_image_keeps_its_proportions_and_stays_inside(self, image):
        area = arrange((640, 480)).image
        spot = fitted(image, area)
        assert spot.x >= area.x and spot.x + spot.w <= area.x + area.w
        assert spot.y >= area.y and spot.y + spot.h <= area.y + area.h
        assert spot.w == area.w or spot.h == area.h
        assert spot.w / spot.h == pytest.approx(image[0] / image[1], rel=0.5 / min(spot.w, spot.h) + 0.01)


class TestRender:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("labels", [FER7, FERPLUS8])
    def test_every_size_with_everything_on(self, size, labels, gray):
        status = Status("camera 0", labels.key, 29.7, 21.0, 12, 3725.0, True, "saved " + 30 * "long/" + ".png")
        options = ViewOptions(DrawStyle(bars=True, landmarks=True), mirror=True, help=True)
        shown = faces_of("happy", "sad", "fear", labels=labels)
        history = history_of("happy", "sad", "fear", labels=labels)
        canvas = render(size, gray, shown, history, status, options)
        assert canvas.shape == (size[1], size[0], 3)
        assert canvas.dtype == np.uint8

    def test_no_window_is_an_error(self, gray):
        with pytest.raises(InputError, match="at least one pixel, got 0 x 5"):
            render((0, 5), gray, None, History(), Status(), OPTIONS)

    def test_before_the_first_frame_it_says_what_it_waits_for(self):
        waiting = render((640, 480), None, None, History(), Status("camera 3"), OPTIONS)
        other = render((640, 480), None, None, History(), Status("camera 8"), OPTIONS)
        image = arrange((640, 480)).image
        assert (cut(waiting, image) != cut(other, image)).any()

    def test_the_image_is_in_its_place_and_nothing_beside_it(self, gray):
        canvas = render((640, 480), gray, None, History(), Status(), OPTIONS)
        area = arrange((640, 480)).image
        spot = fitted((160, 120), area)
        assert (cut(canvas, spot) == 128).all()
        assert (canvas[: area.h, : spot.x] == BACKGROUND).all()

    def test_the_image_given_is_not_changed(self, gray):
        before = gray.image.copy()
        render((160, 120), gray, faces_of("happy"), History(), Status(message="hello"), OPTIONS)
        assert (gray.image == before).all()

    def test_a_mirror_turns_the_image_and_the_boxes(self):
        image = np.zeros((480, 640, 3), np.uint8)
        image[:, :320] = 200
        frame, face = Frame(image), faces_of("happy", boxes=np.array([[40, 200, 140, 300]], np.float32))
        yellow = np.array(expression_colour("happy"))

        def middle_of_box(options):
            canvas = render((800, 800), frame, face, History(), Status(), options)
            shown = cut(canvas, fitted((640, 480), arrange((800, 800)).image))
            _, columns = np.nonzero((np.abs(shown.astype(int) - yellow) < 8).all(axis=-1))
            return columns.mean() / shown.shape[1], shown[:, :100].mean()

        (plain, left), (turned, right) = (middle_of_box(replace(OPTIONS, mirror=on)) for on in (False, True))
        assert plain < 0.3 and turned > 0.7
        assert left > 150 and right < 50

    def test_the_mark_of_a_recording_is_red_and_away_otherwise(self, gray):
        def reds(status):
            canvas = render((640, 480), gray, None, History(), status, OPTIONS)
            return int((canvas == RED).all(axis=-1).sum())

        assert reds(Status()) == 0
        assert reds(Status(recording_s=5.0)) > 20

    def test_pause_message_and_help_lie_on_the_image(self, gray):
        plain = render((640, 480), gray, None, History(), Status(), OPTIONS)
        area = arrange((640, 480)).image

        def changed(status=None, options=OPTIONS):
            canvas = render((640, 480), gray, None, History(), status or Status(), options)
            rows, columns = np.nonzero((canvas != plain).any(axis=-1))
            assert rows.max() < area.h
            return (columns.mean() / area.w, rows.mean() / area.h), len(rows) / (area.w * area.h)

        (x, y), _ = changed(Status(paused=True))
        assert x < 0.3 and y < 0.2
        (x, y), _ = changed(Status(message="saved image.png"))
        assert x == pytest.approx(0.5, abs=0.02) and y > 0.75
        (x, y), share = changed(options=replace(OPTIONS, help=True))
        assert (x, y) == pytest.approx((0.5, 0.5), abs=0.02)
        assert share > 0.1

    def test_a_silent_source_is_said_to_be_silent(self, gray):
        plain = render((640, 480), gray, None, History(), Status(silent_s=0.5), OPTIONS)
        silent = render((640, 480), gray, None, History(), Status(silent_s=4.0), OPTIONS)
        paused = render((640, 480), gray, None, History(), Status(silent_s=4.0, paused=True), OPTIONS)
        low = slice(250, arrange((640, 480)).image.h)
        assert (plain[low] != silent[low]).any()
        assert (plain[low] == paused[low]).all()

    def test_the_status_line_drops_what_has_no_room(self, gray):
        status = Status(labels="fer2013", fps=30.0, delay_ms=20.0)

        def ink(width):
            canvas = render((width, 400), gray, None, History(), status, OPTIONS)
            line = cut(canvas, arrange((width, 400)).status)
            return np.nonzero((line == WHITE).all(axis=-1))[1]

        wide, narrow = ink(800), ink(170)
        assert len(wide) > len(narrow) > 0
        assert narrow.max() < 170 - 5

    def test_every_key_is_explained_once(self):
        keys = [key for line, _ in HELP for key in line.split()]
        assert sorted(keys) == ["Esc", "b", "h", "l", "m", "q", "r", "s", "space"]


class TestGeometry:
    def faces(self):
        boxes = np.array([[10, 20, 50, 80]], np.float32)
        points = np.array([[[20, 40], [40, 40], [31, 50], [22, 60], [38, 60]]], np.float32)
        return Faces(boxes, np.ones(1, np.float32), landmarks=points)

    def test_scaled(self):
        large = scaled_faces(self.faces(), 2, 3)
        assert large.xyxy.tolist() == [[20, 60, 100, 240]]
        assert large.landmarks[0, 2].tolist() == [62, 150]

    def test_mirrored_keeps_left_eyes_on_the_left(self):
        turned = mirrored_faces(self.faces(), 100)
        assert turned.xyxy.tolist() == [[50, 20, 90, 80]]
        assert turned.landmarks[0].tolist() == [[60, 40], [80, 40], [69, 50], [62, 60], [78, 60]]

    def test_twice_mirrored_is_the_same(self):
        again = mirrored_faces(mirrored_faces(self.faces(), 100), 100)
        assert (again.xyxy == self.faces().xyxy).all()
        assert (again.landmarks == self.faces().landmarks).all()

    def test_no_landmarks_no_faces(self):
        assert len(mirrored_faces(scaled_faces(Faces.empty(), 2, 2), 100)) == 0
        assert mirrored_faces(Faces.empty(), 100).landmarks is None


class TestTimeline:
    def lane_colours(self, history, size=(960, 720)):
        """Return which colours the lanes have, column by column: the most frequent one."""
        places = arrange(size)
        canvas = render(size, None, None, history, Status(), OPTIONS)
        left = round(4.4 * places.px)
        part = cut(canvas, places.timeline)[3 * places.px : -3 * places.px, left : -round(0.8 * places.px)]
        return [most_frequent(column) for column in part.swapaxes(0, 1)]

    def test_the_last_seconds_have_the_colour_of_what_was_shown(self):
        colours = self.lane_colours(history_of("happy", seconds=5))
        shown = [colour == expression_colour("happy") for colour in colours]
        quarter = len(colours) // 4  # 5 of 20 s
        assert np.mean(shown[-quarter + 3 :]) > 0.95
        assert not any(shown[: -quarter - 3])
        assert np.mean([colour == LANE for colour in colours[: -quarter - 3]]) > 0.95

    def test_a_person_who_leaves_leaves_a_hole(self):
        history = History()
        for time_s in np.arange(0, 18, 1 / 30):
            away = 6 < time_s < 12
            history.add(Faces.empty() if away else faces_of("sad"), time_s=float(time_s))
        person = history.people[1]
        _, seen = person.at(np.array([-1.0, 0.0, 3.0, 5.9, 6.5, 9.0, 11.9, 12.5, 17.9, 18.5]))
        assert seen.tolist() == [False, True, True, True, False, False, False, True, True, False]

    def test_short_gaps_are_bridged(self):
        history = History()
        for time_s in (0.0, 0.9 * GAP_S, 3 * GAP_S):
            history.add(faces_of("sad"), time_s=time_s)
        _, seen = history.people[1].at(np.array([0.5 * GAP_S, 2 * GAP_S]))
        assert seen.tolist() == [True, False]

    def test_probabilities_come_back_at_their_times(self):
        history = History()
        for time_s, name in ((0.0, "happy"), (0.5, "sad"), (1.0, "fear")):
            history.add(faces_of(name), time_s=time_s)
        probs, _ = history.people[1].at(np.array([0.2, 0.5, 0.9, 1.0]))
        assert [FER7.names[i] for i in probs.argmax(axis=1)] == ["happy", "sad", "sad", "fear"]

    def test_memory_is_flat_and_the_newest_stay(self):
        history = history_of("happy", seconds=3, fps=1000)
        for time_s in np.arange(3, 60, 1 / 100):
            history.add(faces_of("sad"), time_s=float(time_s))
        person = history.people[1]
        assert person.probs.shape == (POINTS, 7)
        probs, seen = person.at(column_times(history.now_s, 200))
        assert seen.all()
        assert (probs.argmax(axis=1) == FER7.index("sad")).all()

    def test_people_are_forgotten_after_the_span(self):
        history = history_of("happy", seconds=1)
        history.add(faces_of("sad", first=7), time_s=SPAN_S / 2)
        assert list(history.people) == [1, 7]
        history.add(Faces.empty(), time_s=SPAN_S + 1)
        assert list(history.people) == [7]

    def test_another_label_set_or_a_clock_that_goes_back_starts_anew(self):
        history = history_of("happy", "sad", seconds=1)
        history.add(faces_of("happy", labels=FERPLUS8, first=9), time_s=1.0)
        assert (list(history.people), history.labels) == ([9], FERPLUS8)
        history.add(faces_of("happy", labels=FERPLUS8, first=3), time_s=0.2)
        assert list(history.people) == [3]

    def test_faces_without_track_or_probabilities_are_left_out(self):
        history = History()
        history.add(replace(faces_of("happy"), track_id=None), time_s=0.0)
        history.add(Faces(np.zeros((1, 4), np.float32), np.ones(1, np.float32), track_id=np.array([1])), time_s=0.1)
        assert not history.people

    def test_lanes_are_for_those_seen_last_in_order(self):
        history = history_of("happy", "sad", "fear", "angry", seconds=1)
        history.add(faces_of("happy", first=9), time_s=2.0)
        assert [number for number, _ in history.lanes(3)] == [1, 2, 9]
        assert history.lanes(0) == []

    def test_columns_move_by_whole_columns(self):
        step = SPAN_S / 500
        before, same, after = (column_times(100 * step + part * step, 500) for part in (0.1, 0.9, 1.1))
        assert (before == same).all()
        assert np.allclose(before[1:], after[:-1])
        assert after[-1] == pytest.approx(101 * step)

    def test_stacked_gives_each_its_share_from_the_bottom(self):
        levels = stacked(np.array([[0.5, 0.3, 0.2], [0, 0, 1], [1, 0, 0]], np.float32), 10)
        assert levels[:, 0].tolist() == [2, 2, 1, 1, 1, 0, 0, 0, 0, 0]
        assert (levels[:, 1] == 2).all() and (levels[:, 2] == 0).all()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7.9, "0:07"), (67, "1:07"), (3725, "1:02:05"), (-1, "0:00")]
)
def test_clock(seconds, text):
    assert length_text(seconds) == text
