"""Videos and people aligned at an event: curves, means with intervals, changes, and the report of them."""

import csv
import json
import re

import numpy as np
import pytest

from mien.errors import InputError
from mien.labels import FER7
from mien.output.base import SinkSettings
from mien.output.read_rows import ResultTable
from mien.output.rows import table_columns
from mien.output.tables import CsvSink
from mien.video.aligned import ChosenVideo, Mean, TimeWindow, align, seen_videos, shown_expressions, t975
from mien.video.aligned_page import alignment_to_html
from mien.video.corrections import Correction, Corrections

FPS = 10


def rows(source, onsets, *, seconds=8, gap=()):
    """Yield the rows of people who are neutral until their onset and happy from then on."""
    for frame in range(seconds * FPS):
        time_s = frame / FPS
        there = [(track, onset) for track, onset in onsets.items() if time_s not in gap]
        if not there:
            yield {"source": source, "frame": frame, "time_s": time_s}
        for face, (track, onset) in enumerate(there):
            name = "happy" if time_s >= onset else "neutral"
            probs = {label: float(label == name) for label in FER7.names}
            yield {
                "source": source, "frame": frame, "time_s": time_s, "face": face, "track_id": track, "x1": 0.0,
                "y1": 0.0, "x2": 9.0, "y2": 9.0, "score": 1.0, "expression": name, "confidence": 1.0, **probs,
                "steady_expression": name, **{f"smooth_{label}": value for label, value in probs.items()},
            }  # fmt: skip


def table(path, *videos):
    with CsvSink(path, SinkSettings(FER7), table_columns(FER7, tracked=True)) as sink:
        for video in videos:
            sink.add_rows(list(video))
    return ResultTable.open(path)


@pytest.fixture
def two(tmp_path):
    """Two videos in one table: two people who smile at 3 s and 4 s, and one who smiles at 5 s."""
    return table(tmp_path / "two.csv", rows("a.mp4", {1: 3.0, 2: 4.0}), rows("b.mp4", {1: 5.0}))


def test_the_quantiles_are_students():
    stats = pytest.importorskip("scipy.stats")
    for df in (1, 2, 5, 30, 31, 60, 400):
        assert t975(df) == pytest.approx(stats.t.ppf(0.975, df), abs=2e-4)


def test_a_mean_weighs_people_alike_and_has_an_interval_from_two_on():
    values = [np.array([0.2, np.nan, 1.0]), np.array([0.4, np.nan, np.nan]), np.array([0.9, np.nan, np.nan])]
    mean = Mean.over(values)
    assert mean.n.tolist() == [3, 0, 1] and mean.mean[0] == pytest.approx(0.5)
    half = 4.3027 * np.std([0.2, 0.4, 0.9], ddof=1) / np.sqrt(3)
    assert mean.high[0] - mean.mean[0] == pytest.approx(half, rel=1e-4) == mean.mean[0] - mean.low[0]
    assert np.isnan(mean.mean[1]) and mean.mean[2] == 1 and np.isnan(mean.low[2])


def test_people_are_aligned_at_the_event(two):
    first, second = seen_videos(two)
    assert [person.name for person in first.people] == ["#1", "#2"] and second.source == "b.mp4"
    chosen = [ChosenVideo(first, group="A", events_s=(3.0,)), ChosenVideo(second, group="B", events_s=(5.0,))]
    found = align(chosen, FER7, window=TimeWindow(2, 3), event="joke")
    happy = FER7.index("happy")
    early, late, other = (curve.probs[:, happy] for curve in found.curves)
    times = found.window.times
    for curve, onset in ((early, 0.0), (late, 1.0), (other, 0.0)):
        assert np.nanmax(curve[times < onset - 0.1]) == 0 and np.nanmin(curve[times > onset + 0.1]) > 1 - 1e-9
    assert found.curves[0].after[happy] == pytest.approx(1) and found.curves[0].before[happy] == pytest.approx(0)
    assert found.curves[1].after[happy] == pytest.approx(2 / 3, abs=0.02)
    change = found.changes()
    assert change["A"].n[happy] == 2 and change["A"].mean[happy] == pytest.approx(5 / 6, abs=0.02)
    assert np.isnan(change["B"].low[happy]) and list(found.people) == ["A", "B"]
    assert set(shown_expressions(found, None, most=2)) == {happy, FER7.index("neutral")}
    json.dumps(found.to_dict(), allow_nan=False)


def test_several_events_of_a_person_are_one_observation_and_gaps_stay_gaps(tmp_path):
    gap = {time / FPS for time in range(20, 30)}
    (video,) = seen_videos(table(tmp_path / "t.csv", rows("a.mp4", {1: 4.0}, gap=gap)))
    found = align([ChosenVideo(video, events_s=(2.5, 4.0))], FER7, window=TimeWindow(1, 1))
    (curve,) = found.curves
    assert curve.events == 2 and found.means()[""].n.max() == 1
    alone = align([ChosenVideo(video, events_s=(2.5,))], FER7, window=TimeWindow(1, 1)).curves[0].probs[:, 0]
    times = found.window.times
    assert np.isfinite(alone[(times > 0.6)]).all() and np.isnan(alone[(times > -0.3) & (times < 0.4)]).any()


def test_somebody_in_several_videos_is_one_observation_where_the_table_says_who_it_is(tmp_path):
    def of(person, *videos):
        return [[{**row, "person": person} for row in video] for video in videos]

    path, columns = tmp_path / "t.csv", table_columns(FER7, tracked=True)
    with CsvSink(path, SinkSettings(FER7), [*columns[:-1], "person", columns[-1]]) as sink:
        for video in (*of("person 1", rows("a.mp4", {1: 3.0}), rows("b.mp4", {1: 5.0})), rows("c.mp4", {1: 4.0})):
            sink.add_rows(list(video))
    videos = seen_videos(ResultTable.open(path))
    happy, window = FER7.index("happy"), TimeWindow(1, 1)
    found = align([ChosenVideo(video, events_s=(4.0,)) for video in videos], FER7, window=window)
    assert len(found.curves) == 3 and [len(own) for own in found.people[""]] == [2, 1]
    changes = [(curve.after - curve.before)[happy] for curve in found.curves]
    assert changes[0] == pytest.approx(0) == changes[1] and changes[2] == pytest.approx(1, abs=0.02)
    mean = found.changes()[""]
    assert mean.n[happy] == 2 and mean.mean[happy] == pytest.approx(changes[2] / 2)
    assert found.to_dict()["groups"][0]["n"] == 2 and "N = 2<" in alignment_to_html(found)
    mother = Corrections([Correction(1, "mother")])
    tables = [table(tmp_path / f"{name}.csv", rows(name, {1: 4.0})) for name in ("a", "b")]
    named = [video for one in tables for video in seen_videos(one, mother)]
    found = align([ChosenVideo(video) for video in named], FER7)
    assert found.means()[""].n.max() == 2  # a name that somebody gave holds within its video


def test_corrected_people_are_compared_and_chosen_by_name(two):
    first, *_ = seen_videos(two, Corrections([Correction(1, "Anna"), Correction(2, "Anna")]))
    assert [person.name for person in first.people] == ["Anna"]
    with pytest.raises(InputError, match="nobody"):
        align([ChosenVideo(first, people=frozenset(["Ben"]))], FER7)
    with pytest.raises(InputError, match="window"):
        TimeWindow(-1, 2)


def test_the_report_needs_nothing_else_and_says_what_was_measured(two):
    first, second = seen_videos(two)
    chosen = [ChosenVideo(first, "<b>first</b>", "A & B", (3.0,)), ChosenVideo(second, events_s=(5.0,))]
    found = align(chosen, FER7, event="<joke>")
    page = alignment_to_html(found, facts={"Model": "mien-b 1"}, expressions=["joy"])
    assert "<script" not in page and "http" not in page.replace("http-equiv", "") and "<b>first" not in page
    for words in ("mien-b 1", "95 % t interval", "A &amp; B", "&lt;joke&gt;", "not what a person feels", "Limits"):
        assert words in page
    assert page.count("<svg") == 1 + 3 and "nan" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    assert "@media print" in page


def test_the_command_writes_a_report(two, tmp_path, mien):
    (tmp_path / "e.tsv").write_text("file\tonset\ttrial_type\na.mp4\t0:03\tjoke\nx/b.mp4\t5\tjoke\nb.mp4\t1\tother\n")
    (tmp_path / "g.csv").write_text("file,group\na.mp4,A\nb.mp4,B\n")
    (tmp_path / "t.csv").write_text("start_s,end_s,expression\n0,3,neutral\n")
    files = ["--events", tmp_path / "e.tsv", "--groups", tmp_path / "g.csv", "--truth", tmp_path / "t.csv"]
    out = tmp_path / "r.html"
    code, _, said = mien("report", two.path, *files, "--event", "joke", "-o", out)
    assert code == 0 and "r.html" in said
    page = out.read_text(encoding="utf-8")
    assert "Against the truth" in page and "A, N = 2" in page and "B, N = 1" in page
    for wrong, word in (
        (["--events", tmp_path / "e.tsv"], "joke, other"),
        (["--event", "joke"], "--events"),
        (["--events", tmp_path / "g.csv"], "onset"),
        (["--groups", tmp_path / "e.tsv"], "group"),
        (["--expressions", "hunger"], "hunger"),
        (["-o", tmp_path / "r.pdf"], ".html"),
    ):
        code, _, said = mien("report", two.path, "-o", tmp_path / "no.html", *wrong)
        assert code == 2 and word in said and not (tmp_path / "no.html").exists()


def test_videos_of_one_name_in_several_folders_are_told_apart_and_images_left_out(tmp_path, mien):
    photo = {**next(rows("study/anna/1.jpg", {1: 0.0})), "track_id": None}
    both = table(tmp_path / "t.csv", [photo], rows("study/anna/1.mp4", {1: 3.0}), rows("study/ben/1.mp4", {1: 5.0}))
    (tmp_path / "e.csv").write_text("onset,trial_type,file\n3,joke,anna/1.mp4\n5,joke,./study/ben/1.mp4\n")
    (tmp_path / "g.csv").write_text("file,group\nanna/1.mp4,A\nben/1.mp4,B\n")
    out = tmp_path / "r.html"
    options = ["--events", tmp_path / "e.csv", "--groups", tmp_path / "g.csv", "-o", out]
    code, _, said = mien("report", both.path, *options)
    assert code == 0, said
    page = out.read_text(encoding="utf-8")
    assert "Expressions in 2 videos" in page and "A, N = 1<" in page and "B, N = 1<" in page
    assert ">3.0 s<" in page and ">5.0 s<" in page and "3.0 s, 5.0 s" not in page
    (tmp_path / "e.csv").write_text("onset,trial_type,file\n3,joke,anna/1.mp4\n")
    code, _, said = mien("report", both.path, *options)
    assert code == 2 and "no event 'joke' of 'study/ben/1.mp4'" in said


def test_a_table_with_corrected_names_compares_those(tmp_path, two):
    with two.path.open() as file:
        lines = list(csv.DictReader(file))
    path = tmp_path / "named.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*lines[0], "corrected_person"])
        writer.writeheader()
        writer.writerows({**line, "corrected_person": "Anna" if line["track_id"] == "1" else ""} for line in lines)
    first, second = seen_videos(ResultTable.open(path))
    assert [p.name for p in first.people] == ["Anna", "#2"] and [p.name for p in second.people] == ["Anna"]
