"""Medians and blinks of a track: from made series, from a real pipeline on a portrait that blinks, and in summaries."""

import csv

import numpy as np
import pytest

import mien
from mien.attributes import FaceMesh
from mien.attributes.mesh import MESHES
from mien.video.outputs import VideoOutputs
from mien.video.summary import VideoSummary
from mien.video.summary_text import summary_as_markdown
from mien.video.track_measures import Blinks, TrackMeasures
from mien.weights import WEIGHTS
from turned_faces import with_closed_eyes
from videos import write_video


def blinks_of(closed, fps=30.0):
    found = Blinks()
    for number, value in enumerate(closed):
        found.add(number / fps, value)
    return found


def series(*closed_frames, frames=90):
    values = np.full(frames, 0.1)
    for start, count in closed_frames:
        values[start : start + count] = 0.95
    return values


def test_blinks_have_a_length():
    assert blinks_of(series((20, 4), (60, 6))).times_s == pytest.approx([22 / 30, 63 / 30])
    assert blinks_of(series((20, 30))).times_s == [], "closed for a second is no blink"
    assert blinks_of(series()).times_s == []
    assert blinks_of(series((80, 10))).times_s == [], "not yet open again"
    assert blinks_of(0.5 + 0 * series()).times_s == []


def test_eyes_that_are_lost_are_no_blink_and_no_time():
    values = series((40, 3))
    values[43:75] = np.nan
    found = blinks_of(values)
    assert found.times_s == []
    assert found.seconds == pytest.approx((42 + 14) / 30, abs=0.01)


def test_frames_far_apart_cannot_tell():
    assert blinks_of(series(), fps=30).fast_enough
    assert not blinks_of(series(), fps=5).fast_enough


def test_medians_in_flat_memory():
    rng = np.random.default_rng(0)
    values = rng.normal(0.8, 0.05, 1001)
    measures = TrackMeasures()
    for number, value in enumerate(values):
        measures.add(number / 30, {"mouth_width": value, "yaw": -value * 10, "roll": np.nan})
    told = measures.to_dict()
    assert told["medians"]["mouth_width"] == pytest.approx(np.median(values), abs=0.006)
    assert told["medians"]["yaw"] == pytest.approx(-10 * np.median(values), abs=0.3)
    assert "roll" not in told["medians"] and "blinks" not in told


@pytest.fixture(scope="module")
def blinking(tmp_path_factory, request):
    """Two seconds of a portrait that blinks twice."""
    if not WEIGHTS["iris"].is_there() or not (WEIGHTS["mesh"].is_there() or MESHES["mien-mesh"].is_there()):
        pytest.skip("the weights iris and a mesh are not here; run: mien models pull mesh iris")
    portrait = request.getfixturevalue("astronaut")
    face = mien.analyze_image(portrait, largest_only=True)
    shut = with_closed_eyes(portrait, FaceMesh().find(portrait, face).points[0])
    open_, closed = (np.ascontiguousarray(image[20:260, 100:340]) for image in (portrait, shut))
    frames = [closed if 12 <= n < 16 or 36 <= n < 41 else open_ for n in range(50)]
    return write_video(tmp_path_factory.mktemp("blinks") / "blinks.mp4", frames, fps=25)


def test_a_portrait_that_blinks(tmp_path, blinking):
    summary = tmp_path / "summary.csv"
    asked = ("eyes", "blinks")
    result = mien.analyze_video(
        blinking, VideoOutputs(summaries=(summary,)), attributes=asked, largest_only=True, progress=False
    )
    (track,) = result.tracks
    assert track.blinks == pytest.approx([14 / 25, 38.5 / 25], abs=0.05)
    assert track.blinks_per_minute == pytest.approx(60 * 2 / (49 / 25), rel=0.05)
    assert 0.25 < track.medians["eye_left"] < 0.45
    rows = result.to_pandas()
    assert rows["eyes_closed"][12:16].min() > 0.6 > 0.4 > rows["eyes_closed"][:10].max()
    with summary.open(newline="") as file:
        told = list(csv.DictReader(file))[1]
    assert float(told["blinks_per_minute"]) == pytest.approx(track.blinks_per_minute)
    assert float(told["median_eye_left"]) == track.medians["eye_left"]
    assert "blinks a minute" in summary_as_markdown(result.summary())
    again = VideoSummary(result.labels)
    for row in rows.astype(object).where(rows.notna(), None).to_dict("records"):
        again.add_record(row)
    assert again.to_dict()["tracks"][0]["blinks"]["times_s"] == list(track.blinks)
