"""Summaries and intervals of videos whose every figure can be reckoned by hand."""

import csv
import json
import tracemalloc

import numpy as np
import pytest

from mien.errors import InputError, OutputError
from mien.faces import Faces, Frame
from mien.labels import FER7, FERPLUS8
from mien.output.sinks import open_sink
from mien.video.held import Holder, pieces
from mien.video.intervals import IntervalTable
from mien.video.summary import VideoSummary
from mien.video.summary_text import time_text

IMAGE = np.zeros((8, 8, 3), np.uint8)
ANGRY, HAPPY, NEUTRAL = (FER7.index(name) for name in ("angry", "happy", "neutral"))


def seen(time_s, who, *, index=0, source="a.mp4", labels=FER7):
    """Return a frame and its faces; `who` maps each track to the number of its steady expression.

    The raw expression is always angry, and the steady one has a smoothed probability of 0.7.
    """
    n = len(who)
    probs = np.full((n, 7), 0.05, np.float32)
    probs[:, ANGRY] = 0.7
    smoothed = np.full((n, 7), 0.05, np.float32)
    smoothed[np.arange(n), list(who.values())] = 0.7
    faces = Faces(
        np.tile(np.array([[1, 1, 5, 5]], np.float32), (n, 1)),
        np.ones(n, np.float32),
        probs=probs,
        labels=labels,
        track_id=np.array(list(who), np.int64),
        smoothed=smoothed,
        steady=np.array(list(who.values()), np.int64),
    )
    frame = Frame(IMAGE, source, index, time_s)
    return frame, faces.at(frame)


UNEVEN = [  # time, what each track shows: the lengths differ, so that frames and time give other shares
    (0.0, {1: NEUTRAL}),
    (0.1, {1: NEUTRAL}),
    (0.2, {1: HAPPY, 2: NEUTRAL}),
    (3.0, {2: NEUTRAL}),
    (3.5, {}),
    (4.0, {2: HAPPY}),
]  # the last is held as long as the one before it: until 4.5


def summed(video=UNEVEN):
    summary = VideoSummary(FER7)
    for index, (time_s, who) in enumerate(video):
        summary.add(*seen(time_s, who, index=index))
    return summary


def test_shares_are_shares_of_time_not_of_frames():
    whole = summed().to_dict()
    one, two = whole["tracks"]
    assert (one["track_id"], one["frames"], one["first_s"], one["last_s"], one["seconds"]) == (1, 3, 0.0, 3.0, 3.0)
    assert one["share"]["neutral"] == pytest.approx(0.2 / 3.0, abs=1e-4)
    assert one["share"]["happy"] == pytest.approx(2.8 / 3.0, abs=1e-4)
    assert sum(one["share"].values()) == pytest.approx(1, abs=1e-3)
    assert (two["first_s"], two["last_s"], two["seconds"], two["frames"]) == (0.2, 4.5, 3.8, 3)
    assert whole["share"]["happy"] == pytest.approx((2.8 + 0.5) / 6.8, abs=1e-4)
    assert one["dominant"] == "happy" and whole["seconds_shown"]["neutral"] == pytest.approx(0.2 + 3.3)
    assert one["mean_probs"]["happy"] == pytest.approx((0.7 * 2.8 + 0.05 * 0.2) / 3, abs=1e-3)
    assert sum(one["mean_probs"].values()) == pytest.approx(1, abs=1e-3)


def test_totals_of_the_video():
    whole = summed().to_dict()
    expected = {
        "source": "a.mp4", "labels": "fer2013", "start_s": 0.0, "end_s": 4.5, "seconds": 4.5, "frames": 6,
        "frames_with_faces": 5, "seconds_with_faces": 4.0, "faces": 6, "most_faces": 2, "people": 2, "errors": [],
    }  # fmt: skip
    assert {key: whole[key] for key in expected} == expected


def test_transitions_and_spans_are_those_of_the_tracks():
    whole = summed().to_dict()
    assert whole["transitions"] == [{"from": "neutral", "to": "happy", "count": 2}]
    assert [track["transitions"][0]["count"] for track in whole["tracks"]] == [1, 1]
    spans = [(s["track_id"], s["expression"], s["start_s"], s["end_s"]) for s in whole["longest_spans"]]
    assert spans == [(2, "neutral", 0.2, 3.5), (1, "happy", 0.2, 3.0), (2, "happy", 4.0, 4.5), (1, "neutral", 0.0, 0.2)]


def test_a_moment_without_the_face_does_not_end_a_span_but_a_long_one_does():
    video = [(0.0, {1: HAPPY}), (0.5, {}), (0.9, {1: HAPPY}), (1.0, {}), (2.0, {1: HAPPY}), (2.5, {1: HAPPY})]
    spans = summed(video).to_dict()["longest_spans"]
    assert [(s["start_s"], s["end_s"], s["seconds"]) for s in spans] == [(0.0, 1.0, 1.0), (2.0, 3.0, 1.0)]
    assert summed(video).to_dict()["transitions"] == []


def test_the_five_longest_spans_are_kept():
    video, time_s = [], 0.0
    for k in range(30):
        video.append((time_s, {1: HAPPY if k % 2 else NEUTRAL}))
        time_s += 0.1 * (1 + (k * 7) % 30)
    lengths = [s["seconds"] for s in summed(video).to_dict()["longest_spans"]]
    assert lengths == sorted(lengths, reverse=True) and lengths == pytest.approx([3.0, 2.9, 2.8, 2.7, 2.6])


def test_without_steady_expressions_the_most_probable_ones_count():
    summary = VideoSummary(FER7)
    for index, (time_s, who) in enumerate(UNEVEN):
        frame, faces = seen(time_s, who, index=index)
        summary.add(frame, Faces(faces.xyxy, faces.score, probs=faces.probs, labels=FER7, track_id=faces.track_id))
    assert summary.to_dict()["share"]["angry"] == 1


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_rows_of_a_table_give_the_same_summary(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    with open_sink(path, labels=FER7, tracked=True) as sink:
        for index, (time_s, who) in enumerate(UNEVEN):
            sink.write(*seen(time_s, who, index=index))
        sink.fail("a.mp4", "it breaks off")
    summary = VideoSummary(FER7)
    for row in _rows(path):
        summary.add_record(row)
    expected = summed()
    expected.fail("it breaks off")
    assert summary.to_dict() == expected.to_dict()


def _rows(path):
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()


def test_a_summary_may_be_read_while_the_video_goes_on():
    summary = VideoSummary(FER7)
    for index, (time_s, who) in enumerate(UNEVEN):
        summary.add(*seen(time_s, who, index=index))
        assert summary.to_dict()["frames"] == index + 1
    assert summary.to_dict() == summary.to_dict() == summed().to_dict()


def test_no_frame_and_one_frame_are_videos_too():
    empty = VideoSummary(FER7).to_dict()
    assert (empty["frames"], empty["seconds"], empty["dominant"], empty["tracks"]) == (0, 0, None, [])
    assert VideoSummary(FER7).to_markdown().startswith("# video\n")
    one = summed(UNEVEN[:1]).to_dict()
    assert (one["frames"], one["seconds"], one["share"]["neutral"], one["dominant"]) == (1, 0, 1, "neutral")


def test_wrong_videos_are_refused():
    summary = summed()
    with pytest.raises(InputError, match=r"one video at a time: after 'a\.mp4' came 'b\.mp4'"):
        summary.add(*seen(9.0, {1: HAPPY}, source="b.mp4"))
    with pytest.raises(InputError, match="time runs backwards, from 4 s to 1 s"):
        summary.add(*seen(1.0, {1: HAPPY}))
    with pytest.raises(InputError, match="the summary is for 'ferplus'"):
        VideoSummary(FERPLUS8).add(*seen(0.0, {1: HAPPY}))
    with pytest.raises(InputError, match="lacks a value or holds a wrong one"):
        for number in range(2):
            summary.add_record({"source": "a.mp4", "frame": number, "time_s": "soon"})
    with pytest.raises(InputError, match="name the expression 'joyful', which 'fer2013' has not"):
        for number in range(2):
            VideoSummary(FER7)._holder._sight_of({"expression": "joyful", "track_id": number})
    assert summary.to_dict()["frames"] == 6


def test_summaries_are_written_whole(tmp_path):
    summary = summed()
    assert json.loads(summary.write(tmp_path / "deep" / "s.json").read_text(encoding="utf-8")) == summary.to_dict()
    text = summary.write(tmp_path / "s.md").read_text(encoding="utf-8")
    assert "| video | 0.0 s – 4.5 s |" in text and "| neutral | happy | 2 |" in text and "😄 happy" in text
    with pytest.raises(InputError, match=r"ends in \.json, \.csv, \.md, \.txt"):
        summary.write(tmp_path / "s.xlsx")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="not a folder"):
        summary.write(tmp_path / "file" / "s.json")


def test_an_hour_of_video_takes_no_more_memory_than_a_minute():
    faces = seen(0.0, {1: HAPPY, 2: NEUTRAL})[1]
    other = seen(0.0, {1: NEUTRAL, 2: ANGRY})[1]
    summary, intervals, rows = VideoSummary(FER7), IntervalTable(FER7, 10), 0

    def run(first, last):
        nonlocal rows
        for k in range(first, last):
            at = Frame(IMAGE, "a.mp4", k, k / 5)
            summary.add(at, faces if k % 3 else other)
            rows += len(intervals.add(at, faces))

    run(0, 300)
    tracemalloc.start()
    run(300, 3000)
    early, _ = tracemalloc.get_traced_memory()
    run(3000, 18_000)
    late, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert summary.to_dict()["seconds"] == pytest.approx(3600, abs=0.3) and rows == 2 * 359
    assert late - early < 10_000


# Intervals


def table_of(video, interval_s):
    table = IntervalTable(FER7, interval_s)
    rows = [row for index, item in enumerate(video) for row in table.add(*seen(*item, index=index))]
    return rows + table.finish()


def test_intervals_share_out_what_is_held():
    rows = table_of(UNEVEN, 1.0)
    assert [(r["interval"], r["track_id"], r["frames"], r["seconds"]) for r in rows] == [
        (0, 1, 3, 1.0), (0, 2, 1, 0.8), (1, 1, 0, 1.0), (1, 2, 0, 1.0), (2, 1, 0, 1.0), (2, 2, 0, 1.0),
        (3, 2, 1, 0.5), (4, 2, 1, 0.5),
    ]  # fmt: skip
    assert rows[0]["expression"] == "happy" and rows[0]["happy"] == pytest.approx(0.8 * 0.7 + 0.2 * 0.05)
    assert rows[0]["confidence"] == rows[0]["happy"] and (rows[3]["start_s"], rows[3]["end_s"]) == (1.0, 2.0)
    assert all(sum(row[name] for name in FER7.names) == pytest.approx(1, abs=1e-3) for row in rows)
    assert list(rows[0]) == list(IntervalTable(FER7, 1.0).columns)


@pytest.mark.parametrize("interval_s", [0.1, 0.3, 0.5, 1.0, 7.0])
def test_no_time_is_lost_between_intervals(interval_s):
    rows = table_of(UNEVEN, interval_s)
    for track in summed().to_dict()["tracks"]:
        mine = [row for row in rows if row["track_id"] == track["track_id"]]
        assert sum(row["seconds"] for row in mine) == pytest.approx(track["seconds"], abs=1e-4)
        assert sum(row["frames"] for row in mine) == track["frames"]
        assert len({row["interval"] for row in mine}) == len(mine)


def test_intervals_from_rows_are_the_same():
    table, rows = IntervalTable(FER7, 0.5), []
    for index, (time_s, who) in enumerate(UNEVEN):
        faces = seen(time_s, who, index=index)[1]
        records = faces.to_records() or [{"source": "a.mp4", "frame": index, "time_s": time_s}]
        rows += [made for record in records for made in table.add_record(record)]
    assert rows + table.finish() == table_of(UNEVEN, 0.5)


def test_a_table_is_ready_for_the_next_video():
    table = IntervalTable(FER7, 1.0)
    for source in ("a.mp4", "b.mp4"):
        rows = [row for k in range(3) for row in table.add(*seen(k / 2, {1: HAPPY}, index=k, source=source))]
        rows += table.finish()
        assert [(row["source"], row["interval"]) for row in rows] == [(source, 0), (source, 1)]


@pytest.mark.parametrize(
    ("start_s", "end_s", "length_s", "expected"),
    [
        (0.0, 1.0, 0.5, [(0, 0.0, 0.5), (1, 0.5, 1.0)]),
        (0.3, 0.4, 0.1, [(3, 0.3, 0.4)]),  # 0.3 is a little less than 3 times 0.1
        (0.25, 0.25, 0.1, [(2, 0.25, 0.25)]),
        (1.9, 2.1, 1.0, [(1, 1.9, 2.0), (2, 2.0, 2.1)]),
    ],
)
def test_pieces_end_at_multiples(start_s, end_s, length_s, expected):
    got = list(pieces(start_s, end_s, length_s))
    assert [piece[0] for piece in got] == [piece[0] for piece in expected]
    assert np.array(got) == pytest.approx(np.array(expected))


@pytest.mark.parametrize(
    ("time_s", "words"),
    [(4.24, "4.2 s"), (65.0, "1:05.0"), (59.94, "59.9 s"), (3723.4, "1:02:03"), (3599.97, "1:00:00")],
)
def test_times_are_written_as_people_read_them(time_s, words):
    assert time_text(time_s) == words


def test_a_holder_gives_every_frame_once():
    holder, held = Holder(FER7), []
    for index, (time_s, who) in enumerate(UNEVEN):
        held += holder.add(*seen(time_s, who, index=index))
    held += holder.finish()
    assert [(h.start_s, h.end_s) for h in held] == [(0, 0.1), (0.1, 0.2), (0.2, 3), (3, 3.5), (3.5, 4), (4, 4.5)]
    assert holder.finish() == []
