"""The timeline's sums, figures and page, and the contact sheet, on videos whose values are known."""

import itertools
import json
import re
import subprocess
import sys
import tracemalloc
import xml.etree.ElementTree as ElementTree

import cv2
import numpy as np
import pytest

from mien.errors import InputError, MissingExtraError, OutputError
from mien.faces import Faces, Frame
from mien.labels import FER7, FERPLUS8
from mien.video.moments import CELL_PX, ContactSheet
from mien.video.timeline import MOST_BINS, Timeline
from mien.video.truth import Truth, TruthSpan

HAPPY, SAD, NEUTRAL = (FER7.index(name) for name in ("happy", "sad", "neutral"))
IMAGE = np.zeros((60, 80, 3), np.uint8)


def seen(time_s, who, *, index=0, image=IMAGE, boxes=None, source="a.mp4"):
    """Return a frame and its faces; `who` maps tracks to (expression, its smoothed probability)."""
    n = len(who)
    smoothed = np.zeros((n, 7), np.float32)
    for row, (number, p) in enumerate(who.values()):
        smoothed[row] = (1 - p) / 6
        smoothed[row, number] = p
    steady = np.array([number for number, _ in who.values()], np.int64)
    xyxy = np.array(boxes or [[10, 10, 40, 40]] * n, np.float32).reshape(-1, 4)
    faces = Faces(
        xyxy, np.ones(n, np.float32), probs=smoothed, labels=FER7, track_id=np.array(list(who), np.int64),
        smoothed=smoothed, steady=steady,
    )  # fmt: skip
    frame = Frame(image, source, index, time_s)
    return frame, faces.at(frame)


def timeline_of(video, **settings):
    timeline = Timeline(FER7, **settings)
    for index, (time_s, who) in enumerate(video):
        timeline.add(*seen(time_s, who, index=index))
    return timeline


def smiling(seconds, fps=25):
    """One person, neutral, happy in the middle third; a second one from the half on, gone for a while."""
    for k in range(round(seconds * fps)):
        t = k / fps / seconds
        who = {1: (HAPPY, 0.8) if 1 / 3 <= t < 2 / 3 else (NEUTRAL, 0.9)}
        if t >= 0.5 and not 0.7 <= t < 0.8:
            who[2] = (SAD, 0.6)
        yield k / fps, who


# Sums


def test_rows_hold_what_was_shown_when():
    timeline = timeline_of(smiling(3.0))
    one, two = timeline.rows()
    assert (one.track_id, two.track_id, timeline.bin_s, timeline.people) == (1, 2, 0.02, 2)
    assert one.seconds == pytest.approx(3.0, abs=1e-3) and two.seconds == pytest.approx(1.2, abs=0.05)
    at = one.bins * timeline.bin_s
    assert (one.shown[at < 0.98] == NEUTRAL).all() and (one.shown[(at > 1.02) & (at < 1.98)] == HAPPY).all()
    assert one.probs[at < 0.98, NEUTRAL] == pytest.approx(0.9, abs=1e-4)
    for row in (one, two):
        assert row.probs.sum(axis=1) == pytest.approx(1, abs=1e-4)
        assert (np.diff(row.bins) > 0).all()
    assert [len(row.runs()) for row in (one, two)] == [1, 2]
    gone = [two.bins[run][[0, -1]] * timeline.bin_s for run in two.runs()]
    assert np.concatenate(gone) == pytest.approx([1.5, 2.08, 2.4, 2.98], abs=0.045)


def test_bins_grow_with_the_video_and_keep_the_averages():
    video = [(k / 2, {1: (HAPPY, 0.8) if k < 5000 else (SAD, 0.6)}) for k in range(10_000)]
    timeline = timeline_of(video)
    (row,) = timeline.rows()
    assert len(row.bins) <= MOST_BINS < 2.1 * len(row.bins)
    assert row.seconds == pytest.approx(5000, rel=1e-3)
    assert row.probs[:, HAPPY].mean() == pytest.approx((0.8 + 0.4 / 6) / 2, abs=2e-3)
    assert timeline.bin_s == pytest.approx(0.02 * 2**7) and timeline.span() == (0.0, 5000.0)


def test_a_late_start_stays_late():
    timeline = timeline_of([(100 + k / 10, {1: (HAPPY, 0.8)}) for k in range(20)])
    (row,) = timeline.rows()
    assert row.bins[0] * timeline.bin_s == pytest.approx(100, abs=timeline.bin_s)
    assert timeline.span() == pytest.approx((100, 102))


def test_memory_stays_flat_over_hours():
    timeline = Timeline(FER7)
    images = itertools.cycle([seen(0, {1: (HAPPY, 0.8), 2: (SAD, 0.5)}), seen(0, {1: (NEUTRAL, 0.8)})])

    def run(first, last):
        for k in range(first, last):
            timeline.add(Frame(IMAGE, "a.mp4", k, k / 2), next(images)[1])

    run(0, 2000)
    tracemalloc.start()
    run(2000, 20_000)
    late, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert late < 400_000


def test_rows_of_a_table_give_the_same_timeline():
    live, again = timeline_of(smiling(2.0)), Timeline(FER7)
    for index, (time_s, who) in enumerate(smiling(2.0)):
        for row in seen(time_s, who, index=index)[1].to_records():
            again.add_record(row)
    for one, other in zip(live.rows(), again.rows(), strict=True):
        assert one.track_id == other.track_id and (one.bins == other.bins).all() and (one.shown == other.shown).all()
        assert one.probs == pytest.approx(other.probs, abs=2e-4)


def test_the_people_seen_longest_are_shown_in_the_order_they_came():
    video = [(float(k), {track: (HAPPY, 0.8) for track in range(1, 6) if k >= 6 - track}) for k in range(12)]
    assert [row.track_id for row in timeline_of(video).rows(most=3)] == [5, 4, 3]


def test_wrong_videos_are_refused():
    timeline = timeline_of(smiling(1.0))
    with pytest.raises(InputError, match="one video at a time"):
        timeline.add(*seen(9, {1: (HAPPY, 0.8)}, source="b.mp4"))
    with pytest.raises(InputError, match="'ferplus'"):
        Timeline(FERPLUS8).add(*seen(0, {1: (HAPPY, 0.8)}))


# Figures

TRUTH = Truth([TruthSpan(0, 1, "neutral"), TruthSpan(1, 2, "happy"), TruthSpan(2.5, 9, "sad")], FER7)


def test_the_figure_shows_people_expressions_and_truth():
    pytest.importorskip("matplotlib")
    figure = timeline_of(smiling(3.0), truth=TRUTH).figure(title="a.mp4")
    assert [axes.get_ylabel() for axes in figure.axes] == ["#1", "#2"]
    assert figure.axes[-1].get_xlabel() == "time (s)" and figure.axes[0].get_xlim() == (0.0, 3.0)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*FER7.names, "truth"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["neutral", "happy", "sad"]
    assert {"answer", "truth"} <= {label.get_text() for label in figure.axes[0].get_yticklabels()}
    assert figure.get_suptitle() == "a.mp4"


def test_areas_are_stacked_to_one_and_leave_gaps_open():
    pytest.importorskip("matplotlib")
    figure = timeline_of(smiling(3.0)).figure()
    areas = [c for c in figure.axes[1].collections if c.get_paths()][:7]
    tops = [max(path.vertices[:, 1].max() for path in area.get_paths()) for area in areas]
    assert tops[-1] == pytest.approx(1, abs=1e-4) and tops == sorted(tops)
    assert all(len(area.get_paths()) == 2 for area in areas)  # one for each time the person was there
    inside = [v for area in areas for path in area.get_paths() for v in path.vertices[:, 0]]
    assert not [x for x in inside if 2.14 < x < 2.38]


@pytest.mark.parametrize(
    ("seconds", "unit", "tick"),
    [(90, "time (s)", "30"), (600, "time (min:s)", "2:00"), (7500, "time (h:min:s)", "0:15:00")],
)
def test_the_axis_reads_as_people_tell_time(seconds, unit, tick):
    pytest.importorskip("matplotlib")
    figure = timeline_of([(k * seconds / 100, {1: (HAPPY, 0.8)}) for k in range(100)]).figure()
    figure.draw_without_rendering()
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert figure.axes[0].get_xlabel() == unit and tick in labels and 4 <= len(labels) <= 12


def test_many_people_are_cut_to_those_seen_longest_and_counted():
    pytest.importorskip("matplotlib")
    video = [(k / 10, {track: (HAPPY, 0.8) for track in range(1, 21)}) for k in range(10)]
    figure = timeline_of(video).figure()
    assert len(figure.axes) == 12 and "8 more seen for a shorter time" in figure.axes[-1].get_xlabel()


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".html"])
def test_timelines_are_written_whole(tmp_path, suffix):
    pytest.importorskip("matplotlib")
    for name, video in (("full", smiling(2.0)), ("empty", [(0.0, {}), (1.0, {})]), ("none", [])):
        path = timeline_of(video, truth=TRUTH).write(tmp_path / "new" / f"{name}{suffix}", title="<a> & b")
        data = path.read_bytes()
        assert data.startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF", ".html": b"<!doctype"}[suffix])
        if suffix == ".svg":
            ElementTree.fromstring(data)
    with pytest.raises(InputError, match=r"a timeline ends in \.png, \.svg, \.pdf, \.html"):
        timeline_of([]).write(tmp_path / "t.gif")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        timeline_of([]).write(tmp_path / "file" / f"t{suffix}")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "new"]


def test_a_figure_without_matplotlib_names_the_extra_and_a_page_needs_none(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    timeline = timeline_of(smiling(1.0))
    with pytest.raises(MissingExtraError, match=r"mien\[plots\]"):
        timeline.write(tmp_path / "t.png")
    assert timeline.write(tmp_path / "t.html").is_file()


# The page


def page_data(page):
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL).group(1))


def test_the_page_holds_the_values_and_asks_nobody():
    page = timeline_of(smiling(3.0), truth=TRUTH).to_html(title="<b>x</b>")
    assert "{{" not in page and "<b>x" not in page and "&lt;b&gt;x" in page
    assert not re.search(r"(?:src|href)\s*=|@import|url\(|fetch\(|XMLHttp|https?://(?!www\.w3\.org/2000/svg)", page)
    data = page_data(page)
    assert (data["names"], data["bin"], data["end"]) == (list(FER7.names), 0.02, 3.0)
    one, two = data["rows"]
    assert (one["name"], len(one["runs"]), two["name"], len(two["runs"])) == ("#1", 1, "#2", 2)
    run = one["runs"][0]
    assert len(run["probs"]) == len(run["shown"]) == 150 and run["probs"][0][NEUTRAL] == 900
    assert all(abs(sum(probs) - 1000) <= 4 for probs in run["probs"])
    assert one["truth"] == [[0, 1, "neutral"], [1, 2, "happy"], [2.5, 3.0, "sad"]]


def test_names_of_videos_cannot_break_out_of_the_page():
    evil = "</script><script>alert(1)</script>.mp4"
    timeline = Timeline(FER7)
    for k in range(3):
        timeline.add(*seen(k / 2, {1: (HAPPY, 0.8)}, index=k, source=evil))
    page = timeline.to_html()
    assert "<script>alert" not in page and page.count("<script") == 2


def test_the_page_of_a_long_video_stays_small():
    video = ((k / 2, {track: (k // 50 % 7, 0.7) for track in range(1, 5)}) for k in range(7200))
    assert len(timeline_of(video).to_html()) < 500_000


# Contact sheet


def marked(value):
    return np.full((60, 80, 3), value, np.uint8)


def test_the_strongest_moment_of_each_expression_is_kept():
    sheet = ContactSheet(FER7)
    strengths = [0.5, 0.7, 0.9, 0.6]
    for k, strength in enumerate(strengths):
        sheet.add(*seen(k / 2, {1: (HAPPY, strength), 2: (SAD, 1 - strength / 2)}, index=k, image=marked(50 * k)))
    found = sheet.moments()
    assert {track: list(moments) for track, moments in found.items()} == {1: ["happy"], 2: ["sad"]}
    happy, sad = found[1]["happy"], found[2]["sad"]
    assert (happy.time_s, happy.probability) == (1.0, pytest.approx(0.9))
    assert (sad.time_s, sad.probability) == (0.0, pytest.approx(0.75))
    assert happy.crop.shape == (CELL_PX, CELL_PX, 3) and (happy.crop == 100).all() and (sad.crop == 0).all()


def test_faces_at_the_border_and_outside_are_no_trouble():
    sheet = ContactSheet(FER7)
    boxes = [[-20, -20, 10, 10], [70, 50, 120, 90], [500, 500, 600, 600], [40, 30, 40, 30]]
    who = {track: (HAPPY, 0.8) for track in range(1, 5)}
    sheet.add(*seen(0, who, image=marked(77), boxes=boxes))
    assert [bool(moments) for moments in sheet.moments().values()] == [True, True, False, True]
    first = sheet.moments()[1]["happy"].crop
    assert (first[-30:, -30:] == 77).all() and (first[:30, :30] != 77).all()
    assert sheet.image().ndim == 3


def test_the_sheet_has_a_row_per_person_and_a_column_per_expression(tmp_path):
    sheet = ContactSheet(FER7)
    for k in range(3):
        sheet.add(*seen(k / 2, {1: (HAPPY, 0.8), 3: (SAD, 0.6)}, index=k, image=marked(90)))
    two = sheet.image()
    sheet.add(*seen(2, {1: (NEUTRAL, 0.8)}, index=3, image=marked(90)))
    three = sheet.image()
    assert three.shape[0] == two.shape[0] and three.shape[1] > two.shape[1] + CELL_PX
    assert (two == 90).all(axis=-1).sum() == pytest.approx(2 * CELL_PX**2, abs=50)
    for suffix in (".png", ".jpg", ".webp"):
        read = cv2.imread(str(sheet.write(tmp_path / "new" / f"sheet{suffix}")))
        assert read.shape == three.shape
    with pytest.raises(InputError, match=r"a sheet of moments ends in \.jpg, \.jpeg, \.png, \.webp"):
        sheet.write(tmp_path / "t.gif")
    assert ContactSheet(FER7).write(tmp_path / "none.png").is_file()


def test_a_blurred_sheet_holds_no_face(astronaut):
    box = [[180, 30, 290, 185]]
    plain, blurred = ContactSheet(FER7), ContactSheet(FER7, blur=True)
    for sheet in (plain, blurred):
        sheet.add(*seen(0, {1: (HAPPY, 0.8)}, image=astronaut, boxes=box))
    detail = [
        cv2.Laplacian(sheet.moments()[1]["happy"].crop[20:108, 40:88], cv2.CV_64F).var() for sheet in (plain, blurred)
    ]
    assert detail[1] < 0.05 * detail[0]


def test_crowds_are_forgotten_but_for_those_seen_most():
    sheet = ContactSheet(FER7, most_people=3)
    for k in range(200):
        sheet.add(*seen(k / 2, {1: (HAPPY, 0.8), 10 + k: (SAD, 0.6), 2: (SAD, 0.7)}, index=k))
        assert len(sheet._people) <= 7
    assert [track for track in sheet.moments() if track < 10] == [1, 2]
    with pytest.raises(InputError, match="most_people must be at least 1"):
        ContactSheet(FER7, most_people=0)
    with pytest.raises(InputError, match="the sheet is for 'ferplus'"):
        ContactSheet(FERPLUS8).add(*seen(0, {1: (HAPPY, 0.8)}))


def test_nothing_heavy_is_loaded_for_a_page():
    code = """
import sys
from mien.labels import FER7
from mien.video.moments import ContactSheet
from mien.video.timeline import Timeline
Timeline(FER7).to_html(), ContactSheet(FER7).image()
print([m for m in ("matplotlib", "pandas", "pyarrow", "av", "torch") if m in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
