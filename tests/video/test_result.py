"""The Python API of videos: `mien.analyze_video` and what its result can do, `mien.track`."""

import gc
import json
import logging
import threading
import time
from fractions import Fraction
from itertools import chain, pairwise

import cv2
import numpy as np
import pytest

pytest.importorskip("av")

import mien
from mien.errors import InputError, SourceError
from mien.output import progress
from mien.sources.live import LiveSettings
from mien.sources.videos import Video, VideoSettings
from mien.video import analyze_video
from videos import numbered, portraits, write_two_streams, write_video

SIZE = (320, 240)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """2.4 s: somebody smiling, a cut, somebody else, nobody."""
    nobody = (np.full((240, 320, 3), 90, np.uint8) for _ in range(10))
    parts = chain(portraits(25, scale=0.45), portraits(25, scale=0.45, name="grace_hopper"), nobody)
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", parts)


@pytest.fixture(scope="module")
def result(clip):
    return mien.analyze_video(clip)


# The result -----------------------------------------------------------------------------------------------------------


def test_one_line_analyzes_a_video(result):
    assert (result.frames, result.faces, result.error, result.outputs) == (60, 50, None, ())
    assert repr(result).startswith("VideoResult(") and len(repr(result)) < 200
    assert "60 frames, 2 people, mostly" in repr(result)


def test_tracks_say_who_was_seen_when_and_showed_what(result):
    first, second = result.tracks
    assert (first.expression, second.expression) == ("happy", "neutral")
    assert (first.first_s, first.last_s, first.seconds, first.frames) == pytest.approx((0, 1, 1, 25), abs=0.01)
    assert second.first_s == pytest.approx(1, abs=0.01)
    assert first.share["happy"] > 0.9
    assert sum(second.share.values()) == pytest.approx(1, abs=0.001)


def test_the_summary_is_that_of_the_files(result, tmp_path):
    (path,) = result.save(tmp_path / "summary.json")
    assert json.loads(path.read_text()) == result.summary()
    assert result.summary()["people"] == 2


def test_a_data_frame_has_the_rows_of_the_tables(result, tmp_path):
    pandas = pytest.importorskip("pandas")
    table = result.to_pandas()
    (path,) = result.save(tmp_path / "rows.csv")
    written = pandas.read_csv(path)
    assert list(table.columns) == list(written.columns)
    for column in table.columns:
        if table[column].dtype.kind == "f":
            assert np.allclose(table[column], written[column], equal_nan=True), column
    assert table["frame"].tolist() == list(range(60))
    assert table["track_id"].isna().sum() == 10
    assert set(table["steady_expression"].dropna()) == {"happy", "neutral"}
    assert table.loc[table["track_id"] == 1, "happy"].mean() > 0.5


def test_saving_writes_what_a_run_with_outputs_writes(result, clip, tmp_path):
    pytest.importorskip("matplotlib")
    names = ("rows.jsonl", "annotated.mp4", "timeline.html", "timeline.png")
    assert result.save(*(tmp_path / name for name in names)) == [
        tmp_path / name for name in ("rows.jsonl", "annotated.mp4", "timeline.html", "timeline.png")
    ]
    analyze_video(clip, [tmp_path / "again.jsonl", tmp_path / "again.html"])
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "rows.jsonl").read_bytes()
    assert (tmp_path / "again.html").read_bytes() == (tmp_path / "timeline.html").read_bytes()
    with Video(tmp_path / "annotated.mp4") as drawn, Video(clip) as plain:
        pairs = list(zip(drawn, plain, strict=True))
    apart = [np.abs(one.image.astype(int) - other.image).mean() for one, other in pairs]
    assert min(apart[:50]) > 3 * max(apart[52:])  # boxes, and nothing where nobody is
    assert [one.time_s for one, _ in pairs] == pytest.approx([other.time_s for _, other in pairs])


def test_a_folder_gets_everything_and_intervals_are_written(result, tmp_path):
    pytest.importorskip("matplotlib")
    written = result.save(tmp_path / "all", interval_s=0.5)
    assert {path.name for path in written} == {
        "rows.csv", "intervals.csv", "annotated.mp4", "summary.json", "timeline.png", "timeline.html", "moments.png",
    }  # fmt: skip
    assert len((tmp_path / "all" / "intervals.csv").read_text().splitlines()) >= 5


def test_the_plot_is_a_figure(result):
    figure = pytest.importorskip("matplotlib.figure")
    drawn = result.plot(title="clip")
    assert isinstance(drawn, figure.Figure)
    assert len(drawn.axes) == 2


def test_the_faces_of_every_frame_can_be_read_again(result):
    faces = list(result)
    assert [len(one) for one in faces] == [1] * 50 + [0] * 10
    assert faces[3].frame_index == 3
    assert faces[3][0].steady_expression == "happy"


def test_the_kept_rows_go_with_the_result(clip):
    settings = VideoSettings(max_frames=2)
    one, other = (mien.analyze_video(clip, video=settings) for _ in range(2))
    kept = one.journal, other.journal
    assert all(path.exists() for path in kept)
    with one:
        pass
    with pytest.raises(InputError, match=r"were not kept, or are closed; call mien\.analyze_video"):
        one.save("rows.csv")
    del other
    gc.collect()
    assert not any(path.parent.exists() for path in kept)


def test_with_outputs_the_rows_are_kept_as_well(clip, tmp_path):
    result = mien.analyze_video(clip, [tmp_path / "rows.csv"], video=VideoSettings(max_frames=3))
    assert result.outputs == (tmp_path / "rows.csv",)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
    assert len(list(result)) == 3


def test_another_source_than_before_is_not_drawn_on(clip, tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip.read_bytes())
    result = mien.analyze_video(path)
    write_video(path, numbered(5, size=SIZE))
    with pytest.raises(InputError, match="gives other frames than before; analyze it again"):
        result.save(tmp_path / "annotated.mp4")
    assert not (tmp_path / "annotated.mp4").exists()


def test_a_source_is_never_replaced(clip, result):
    before = clip.read_bytes()
    with pytest.raises(InputError):
        result.save(clip)
    assert clip.read_bytes() == before


def test_settings_reach_the_analyzer(clip):
    some = VideoSettings(max_frames=3)
    assert mien.analyze_video(clip, video=some, min_face=200).faces == 0
    assert mien.analyze_video(clip, video=some, labels="ferplus").labels.key == "ferplus"
    assert mien.analyze_video(clip, video=some, detector="none").faces == 3


def test_a_late_start_is_an_error_that_says_how_long_the_video_is(clip, tmp_path):
    with pytest.raises(InputError, match=r"is 2\.40 s long, and start_s = 30 leaves none of its frames"):
        mien.analyze_video(clip, [tmp_path / "rows.csv"], video=VideoSettings(start_s=30))
    assert list(tmp_path.iterdir()) == []


def test_pixels_that_are_not_square_change_no_answer(tmp_path):
    squeezed = [cv2.resize(image, (160, 240), interpolation=cv2.INTER_AREA) for image in portraits(30, scale=0.45)]
    result = mien.analyze_video(write_video(tmp_path / "clip.mp4", squeezed, aspect=Fraction(2)))
    (track,) = result.tracks
    assert (track.expression, track.frames, result.info.width) == ("happy", 30, 320)
    result.save(tmp_path / "annotated.mp4")
    with Video(tmp_path / "annotated.mp4") as video:
        assert (video.info.width, video.info.height) == SIZE


def test_a_bar_is_shown_where_somebody_watches_and_can_be_turned_off(clip, monkeypatch):
    painted = []
    monkeypatch.setattr(progress, "_painter", lambda: lambda *told: painted.append(told))
    mien.analyze_video(clip, video=VideoSettings(max_frames=2), progress=False)
    assert painted == []
    mien.analyze_video(clip, video=VideoSettings(max_frames=2))
    assert painted[0][1:3] == (1, 2)
    assert "frames" in painted[0][3]
    assert painted[-1][0] == ""


def test_long_results_do_not_fill_the_memory(clip):
    tracemalloc = pytest.importorskip("tracemalloc")
    result = mien.analyze_video(clip)
    lines = result.journal.read_bytes().splitlines(keepends=True)
    head, frames, end = lines[0], [line for line in lines if b'"n":' in line], lines[-1]
    result.journal.write_bytes(head + b"".join(frames * 100) + end)

    def peak(work):
        gc.collect()
        tracemalloc.start()
        work()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(lambda: [None for _ in result]) < 1 << 20
    assert sum(1 for _ in result) == 6000


# Frame by frame -------------------------------------------------------------------------------------------------------


def test_tracking_gives_every_frame_of_a_video_with_its_faces(clip, result):
    pairs = list(mien.track(clip))
    assert [frame.index for frame, _ in pairs] == list(range(60))
    assert pairs[0][0].image.shape == (240, 320, 3)
    for (_, faces), known in zip(pairs, result, strict=True):
        assert [face.track_id for face in faces] == [face.track_id for face in known]
    assert pairs[20][1][0].steady_expression == "happy"


def threads_left():
    deadline = time.monotonic() + 3
    while (names := [t.name for t in threading.enumerate() if "mien" in t.name]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return names


def test_closing_the_loop_closes_the_source(clip, monkeypatch):
    closed = []
    monkeypatch.setattr(Video, "close", lambda self: closed.append(self.info.source))
    results = mien.track(clip)
    next(results)
    results.close()
    assert closed == [str(clip)]
    live = mien.track(clip, live=True)
    next(live)
    live.close()
    assert threads_left() == []


def test_a_live_source_gives_the_newest_frames(clip):
    frames = []
    for frame, _ in mien.track(clip, live=LiveSettings(realtime=True), video=None):
        frames.append(frame)
        time.sleep(0.2)
    assert 5 < len(frames) < 20
    assert all(b.index > a.index for a, b in pairwise(frames))


def test_what_cannot_be_opened_says_so_at_the_first_step():
    with pytest.raises(SourceError, match="does not exist"):
        next(mien.track("absent.mp4"))
    with pytest.raises(SourceError, match="there is no camera 97"):
        next(mien.track(97))


def test_warnings_are_logged_once(tmp_path, caplog):
    path = write_two_streams(tmp_path / "two.mkv")
    with caplog.at_level(logging.WARNING, logger="mien"):
        list(mien.track(path))
    (told,) = [record.getMessage() for record in caplog.records if record.name.startswith("mien")]
    assert "holds 2 video streams" in told
    assert mien.analyze_video(path).problems == (told,)
