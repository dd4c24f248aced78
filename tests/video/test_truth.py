"""Truth tables: reading, errors with their rows, lookup, and scores that can be reckoned by hand."""

import json

import numpy as np
import pytest

from mien.errors import InputError
from mien.faces import Faces, Frame
from mien.labels import FER7, FIVE
from mien.output.sinks import open_sink
from mien.video.truth import Truth, TruthScore, TruthSpan, parse_time, read_truth

IMAGE = np.zeros((8, 8, 3), np.uint8)


def table(tmp_path, text, *, name="truth.csv", labels=FER7):
    path = tmp_path / name
    path.write_bytes(text.encode())
    return read_truth(path, labels)


def answer(time_s, *shown, tracks=None, source="a.mp4", index=0, raw="angry"):
    """Return a frame with a face per name in `shown`, the steady expression; the raw one is `raw`."""
    n = len(shown)
    probs = np.full((n, 7), 0.05, np.float32)
    probs[:, FER7.index(raw)] = 0.7
    smoothed = np.full((n, 7), 0.05, np.float32)
    steady = np.array([FER7.index(name) for name in shown], np.int64)
    smoothed[np.arange(n), steady] = 0.7
    faces = Faces(
        np.tile(np.array([[1, 1, 5, 5]], np.float32), (n, 1)), np.ones(n, np.float32), probs=probs, labels=FER7,
        track_id=np.array(tracks or range(1, n + 1), np.int64)[:n], smoothed=smoothed, steady=steady,
    )  # fmt: skip
    frame = Frame(IMAGE, source, index, time_s)
    return frame, faces.at(frame)


# Reading


def test_spans_are_read_and_looked_up(tmp_path):
    truth = table(tmp_path, "start_s,end_s,expression\n0,1.5,neutral\n1.5,1:02.5,Joy\n1:10,,sad\n")
    assert [truth.at(t) for t in (0, 1.49, 1.5, 62.4, 62.5, 69.9, 70, 9999)] == [
        "neutral", "neutral", "happy", "happy", None, None, "sad", "sad",
    ]  # fmt: skip
    assert truth.at(-0.1) is None and len(truth) == 3
    assert truth.spans_of(track_id=4) == list(truth.spans)


def test_a_track_with_rows_of_its_own_takes_those_alone(tmp_path):
    truth = table(tmp_path, "track_id,start_s,end_s,expression\n,0,10,neutral\n2,0,4,happy\n")
    assert [truth.at(t, track_id=k) for t, k in ((1, 1), (1, 2), (5, 2), (5, 1), (1, None))] == [
        "neutral", "happy", None, "neutral", "neutral",
    ]  # fmt: skip
    frame, faces = answer(1.0, "sad", "sad", "sad", tracks=[7, 2, 1])
    assert truth.of(faces) == ["neutral", "happy", "neutral"]
    assert truth.of(Faces.empty()) == [] and frame.time_s == 1.0


def test_spans_may_name_their_video(tmp_path):
    truth = table(tmp_path, "file,start_s,end_s,expression\nx/a.mp4,0,2,happy\nb.mp4,0,2,sad\n,0,9,neutral\n")
    assert truth.at(1, source="x/a.mp4") == "happy"
    assert truth.at(1, source="/data/x/a.mp4") == "happy"
    assert truth.at(1, source="a.mp4") == "happy"  # shorter than in the table
    assert truth.at(1, source="y/a.mp4") == "neutral"  # another one of that name
    assert truth.at(3, source="x/a.mp4") is None
    assert truth.at(1, source="videos/b.mp4") == "sad"
    assert truth.at(1, source="c.mp4") == truth.at(1) == "neutral"


def test_images_are_found_by_the_end_of_their_path(tmp_path):
    truth = table(tmp_path, "file,expression\nhappy/1.jpg,happy\nsad/1.jpg,sad\n./two.png,neutral\nc:\\x\\3.png,fear\n")
    sources = ("happy/1.jpg", "/home/me/photos/sad/1.jpg", "1.jpg", "deep/two.png", "x/3.png", "other.jpg")
    assert [truth.at(0, source=s) for s in sources] == ["happy", "sad", None, "neutral", "fear", None]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_spreadsheets_of_all_countries_are_read(tmp_path, delimiter):
    text = "\ufeffStart_s,END_S, Expression \r\n0,1,HAPPY\r\n\r\n , , \r\n1,2,sad\r\n".replace(",", delimiter)
    assert [span.expression for span in table(tmp_path, text).spans] == ["happy", "sad"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start_s,end_s,expression\n0,1,happy\n1,2,glad\n", r"row 3: .*has no 'glad'; it has angry, disgust"),
        ("start_s,end_s,expression\n0,1,contempt\n", "row 2: .*has no 'contempt'"),
        ("start_s,end_s,expression\nx,1,happy\n", r"row 2: start_s must be seconds \(65\.5\) or min:s .* got 'x'"),
        ("start_s,end_s,expression\n0,nan,happy\n", "row 2: end_s must be seconds"),
        ("start_s,end_s,expression\n-1,2,happy\n", "row 2: start_s must be seconds"),
        ("start_s,end_s,expression\n2,2,happy\n", "row 2: end_s must be after start_s, got 2 and 2"),
        ("start_s,end_s,expression\n0,5,happy\n9,10,sad\n4,6,sad\n", r"rows 2 and 4 overlap: 0 s to 5 s \(happy\)"),
        ("start_s,end_s,expression\n0,,happy\n9,10,sad\n", r"rows 2 and 3 overlap: 0 s to the end \(happy\)"),
        ("start_s,end_s,expression\n0,9,happy\n1,2,sad\n3,4,sad\n", "rows 2 and 3 overlap.*rows 2 and 4 overlap"),
        ("start_s,end_s,expression,track_id\n0,1,happy,one\n", "row 2: track_id must be a whole number, got 'one'"),
        ("start_s,end_s,expression\n0,1,\n", "row 2: the expression is missing"),
        ("start_s,end_s,expression\n0,1\n", "row 2: the expression is missing"),
        ("file,expression\n,happy\n", "row 2: the file is missing"),
        ("file,expression\na.jpg,happy\nb.jpg,sad\n./a.jpg,sad\n", r"rows 2 and 4 are both about a\.jpg; keep one"),
        ("time,label\n0,happy\n", "has the columns time, label; it needs the columns start_s,end_s,expression"),
        ("file,start_s,expression\na,0,happy\n", "has the columns file, start_s, expression; it needs"),
        ("file,expression,mood\na,happy,good\n", "has a column that is not known: mood"),
        ("", r"has the columns \(none\)"),
        ("start_s,end_s,expression\n", "has no rows"),
        ('start_s,end_s,expression\n0,1,"happy\n', "check the quotation marks"),
    ],
)
def test_bad_tables_are_refused_with_their_rows(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        table(tmp_path, text)
    assert "truth.csv" in str(caught.value)


def test_many_errors_are_counted_and_the_first_ones_told(tmp_path):
    with pytest.raises(InputError, match=r"row 2: .*row 6: .*; and 4 more$"):
        table(tmp_path, "start_s,end_s,expression\n" + "0,1,glad\n" * 9)


def test_files_that_are_no_table_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*missing\.csv"):
        read_truth(tmp_path / "missing.csv", FER7)
    with pytest.raises(InputError, match="cannot read"):
        read_truth(tmp_path, FER7)
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(InputError, match="is not text in UTF-8"):
        read_truth(tmp_path / "photo.jpg", FER7)


def test_truth_made_in_python_is_checked_too():
    with pytest.raises(InputError, match="two spans overlap"):
        Truth([TruthSpan(0, 2, "happy"), TruthSpan(1, 3, "sad")], FER7)
    with pytest.raises(InputError, match="has no 'fear'"):
        Truth([TruthSpan(0, 2, "fear")], FIVE)
    assert len(Truth([TruthSpan(0, 2, "happy"), TruthSpan(1, 3, "sad", track_id=1)], FER7)) == 2


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("65.5", 65.5), ("1:05.5", 65.5), ("01:02:03", 3723), (" 7 ", 7)]
)
def test_times_are_understood(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "1:2:3:4", "1:-5", "-1:00", "inf", "1:xx", "a"])
def test_other_times_are_refused(text):
    with pytest.raises(InputError):
        parse_time(text)


# Scoring

TRUTH = Truth([TruthSpan(0, 2, "neutral"), TruthSpan(2, 5, "happy")], FER7)
VIDEO = [  # time, what is shown
    (0.0, ["neutral"]),
    (0.5, ["neutral"]),
    (1.0, ["happy"]),  # wrong for 1 s, then right for 1 s
    (3.0, ["happy"]),
    (4.0, []),  # missed for 0.5 s
    (4.5, ["sad"]),  # wrong for 0.5 s; then the truth ends
    (6.0, ["sad"]),  # nothing is known
]


def scored(video=VIDEO, truth=TRUTH, **more):
    score = TruthScore(truth)
    for index, (time_s, shown) in enumerate(video):
        score.add(*answer(time_s, *shown, index=index, **more))
    return score.to_dict()


def test_scores_by_frames_and_by_time():
    score = scored()
    assert (score["n"], score["accuracy"], score["missed"], score["missed_s"]) == (5, 0.6, 1, 0.5)
    assert score["seconds"] == 4.5 and score["accuracy_by_time"] == round((1.0 + 1.0 + 1.0) / 4.5, 4)
    assert score["accuracy_raw"] == 0 and scored(raw="neutral")["accuracy_raw"] == 0.6
    neutral, happy, sad = (score["per_class"][name] for name in ("neutral", "happy", "sad"))
    assert (neutral["n"], neutral["recall"], neutral["precision"], neutral["f1"]) == (3, 0.6667, 1.0, 0.8)
    assert (happy["n"], happy["recall"], happy["precision"], happy["seconds"]) == (2, 0.5, 0.5, 2.5)
    assert (sad["n"], sad["recall"], sad["precision"]) == (0, None, 0.0)
    assert score["macro_f1"] == pytest.approx((0.8 + 0.5) / 2)


def test_the_confusion_says_the_same():
    score = scored()
    confusion, seconds = np.array(score["confusion"]), np.array(score["confusion_s"])
    names = score["expressions"]
    assert confusion.sum() == score["n"] and np.trace(confusion) / confusion.sum() == score["accuracy"]
    assert confusion[names.index("neutral"), names.index("happy")] == 1
    assert seconds.sum() == score["seconds"] and seconds[names.index("neutral"), names.index("happy")] == 1.0


def test_every_track_is_scored_against_its_own_truth():
    truth = Truth([TruthSpan(0, 9, "neutral", track_id=1), TruthSpan(0, 9, "happy", track_id=2)], FER7)
    score = TruthScore(truth)
    for k in range(4):
        score.add(*answer(float(k), "neutral", "happy", "sad", index=k))
    assert (score.to_dict()["n"], score.to_dict()["accuracy"]) == (8, 1.0)


def test_images_are_scored_by_their_best_face(tmp_path):
    truth = table(tmp_path, "file,expression\na.jpg,happy\nb.jpg,sad\nc.jpg,fear\nd.jpg,fear\n")
    score = TruthScore(truth)
    shown = {"a.jpg": ["happy", "sad"], "b.jpg": ["happy"], "c.jpg": [], "other.jpg": ["sad"], "d.jpg": ["fear"]}
    for source, names in shown.items():
        score.add(*answer(0.0, *names, source=f"folder/{source}"))
    found = score.to_dict()
    assert (found["n"], found["accuracy"], found["missed"], found["sources"]) == (3, 0.6667, 1, 3)
    assert found["seconds"] == 0 and found["accuracy_by_time"] is None
    assert found["accuracy_95"] == pytest.approx([0.2077, 0.9385], abs=1e-4)  # Wilson, 2 of 3


def test_rows_of_a_table_give_the_same_score(tmp_path):
    with open_sink(tmp_path / "t.jsonl", labels=FER7, tracked=True) as sink:
        for index, (time_s, shown) in enumerate(VIDEO):
            sink.write(*answer(time_s, *shown, index=index))
    score = TruthScore(TRUTH)
    for line in (tmp_path / "t.jsonl").read_text().splitlines():
        score.add_record(json.loads(line))
    assert score.to_dict() == scored()


def test_a_score_is_readable_and_says_when_there_is_none():
    score = TruthScore(TRUTH)
    assert score.to_dict()["accuracy"] is None
    assert score.to_markdown().startswith("Nothing to score")
    for index, (time_s, shown) in enumerate(VIDEO):
        score.add(*answer(time_s, *shown, index=index))
    text = score.to_markdown()
    assert "Right in 60.0% of 5 frames, 66.7% of 4.5 s" in text and "| neutral | 3 | 67% | 100% | 80% |" in text
    assert "| | happy | sad | neutral |" in text and "| neutral | 1 | 0 | 2 |" in text
