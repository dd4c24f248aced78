"""One worker, without a cluster: its rows are those of the sequential run."""

from dataclasses import replace

import numpy as np
import pandas
import pytest
from conftest import EXAMPLES

from mien.analyzer import AnalyzerSettings, analyze_images
from mien.cluster.parts import open_home
from mien.cluster.places import Store
from mien.cluster.videos import PieceMade, Planned
from mien.cluster.worker import Chunk, ClusterWorker, WorkerSettings
from mien.errors import OutputError
from mien.tracking.settings import TrackSettings
from mien.video.run import analyze_video
from videos import portraits, write_video


def worker(out, **settings):
    store = Store(str(out))
    open_home(store, "run", {})
    return ClusterWorker(WorkerSettings(AnalyzerSettings().open, store.uri, "run", **settings))


LOOSE = {"check_dtype": False, "check_exact": True}


def same_rows(mine, theirs):
    """Compare two tables by source, frame and face, in the columns of the second."""
    keys = ["source", "frame", "face"]
    mine, theirs = (table.sort_values(keys).reset_index(drop=True) for table in (mine, theirs))
    mine = mine[theirs.columns]
    pandas.testing.assert_frame_equal(mine.where(mine.notna(), None), theirs.where(theirs.notna(), None), **LOOSE)


def test_images_give_the_rows_of_the_sequential_run(tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    given = [str(EXAMPLES / "astronaut.jpg"), str(broken), str(EXAMPLES / "grace_hopper.jpg"), str(tmp_path / "no.jpg")]
    done = worker(tmp_path / "out").work(Chunk("image", tuple(given), ("",) * 4))
    assert (done.count, done.failed, done.rows) == (4, 2, 4)
    same_rows(pandas.read_parquet(tmp_path / "out"), analyze_images(given).to_pandas())


def test_a_video_gives_the_rows_of_the_sequential_run(tmp_path):
    video = str(write_video(tmp_path / "clip.mp4", portraits(20)))
    done = worker(tmp_path / "out").work(Chunk("video", (video,), ("",)))
    with analyze_video(video) as result:
        expected = result.to_pandas()
    assert (done.count, done.failed, done.rows) == (1, 0, len(expected)) and done.rows >= 20
    same_rows(pandas.read_parquet(tmp_path / "out"), expected)


def test_an_animated_gif_is_a_video_and_a_still_one_an_image(tmp_path):
    moving = str(write_video(tmp_path / "moving.gif", portraits(5), codec="gif"))
    still = str(write_video(tmp_path / "still.gif", portraits(1), codec="gif"))
    done = worker(tmp_path / "out").work(Chunk("image", (moving, still, str(EXAMPLES / "astronaut.jpg")), ("",) * 3))
    rows = pandas.read_parquet(tmp_path / "out")
    assert done.failed == 0 and set(rows["source"]) == {moving, still, str(EXAMPLES / "astronaut.jpg")}
    assert rows[rows["source"] == moving]["frame"].tolist() == [0, 1, 2, 3, 4]
    assert rows[rows["source"] == still]["track_id"].isna().all()


def in_segments(worker, video):
    """Do what the cluster does with a video; return what became of it and its plan."""
    whole = Chunk("video", (video,), ("tag",))
    planned = worker.work(whole)
    assert isinstance(planned, Planned)
    for segment in reversed(planned.segments):
        assert worker.work(replace(whole, segments=planned.segments, number=segment.number)) == PieceMade(
            segment.number
        )
    return worker.work(replace(whole, segments=planned.segments)), planned.segments


def test_a_long_video_is_cut_and_gives_the_rows_of_one_pass(tmp_path):
    video = str(write_video(tmp_path / "clip.mp4", portraits(330), gop=25))
    mine = worker(tmp_path / "out", segment_s=4.0)
    done, segments = in_segments(mine, video)
    with analyze_video(video) as result:
        expected = result.to_pandas()
    rows = pandas.read_parquet(tmp_path / "out").sort_values(["frame", "face"]).reset_index(drop=True)
    assert len(segments) == 3 and done.rows == len(rows) == len(expected)
    for name in ("source", "frame", "face", "track_id", "expression", "steady_expression"):
        assert (rows[name] == expected[name]).mean() >= 0.99, name
    apart = np.abs(rows[["x1", "y1", "x2", "y2"]] - expected[["x1", "y1", "x2", "y2"]]).max(axis=1)
    assert apart.quantile(0.9) < 0.5 and apart.max() < 2
    assert np.abs(rows["smooth_happy"] - expected["smooth_happy"]).max() < 0.03
    assert Store(str(tmp_path / "out")).names(".piece") == []


def test_pieces_that_are_there_are_not_made_again(tmp_path, monkeypatch):
    video = str(write_video(tmp_path / "clip.mp4", portraits(230), gop=25))
    mine = worker(tmp_path / "out", segment_s=4.0)
    whole = Chunk("video", (video,), ("tag",))
    segments = mine.work(whole).segments
    assert len(segments) == 2
    mine.work(replace(whole, segments=segments, number=0))
    monkeypatch.setattr("mien.cluster.videos.analyze_segment", lambda *_: pytest.fail("it was made again"))
    assert mine.work(replace(whole, segments=segments, number=0)) == PieceMade(0)
    (tmp_path / "clip.mp4").unlink()
    monkeypatch.undo()
    assert "clip.mp4" in mine.work(replace(whole, segments=segments, number=1)).error


def test_a_video_that_is_none_is_an_error_row(tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"no video")
    done = worker(tmp_path / "out").work(Chunk("video", (str(tmp_path / "x.mp4"),), ("",)))
    (row,) = pandas.read_parquet(tmp_path / "out").to_dict("records")
    assert done.failed == 1 and row["source"] == str(tmp_path / "x.mp4") and "x.mp4" in row["error"]


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_those_that_the_worker_was_given(tmp_path, threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")  # ONNX Runtime does not look at it, and we do not either
    mine = worker(tmp_path / "out", threads=threads)
    told = mine.ready()
    assert told["onnxruntime"] == told["opencv"] == 1  # per image, of which so many are worked on at once
    assert told["images"] == told["ffmpeg"] == threads
    seen = []
    monkeypatch.setattr(
        "mien.cluster.videos.attempt_job", lambda job, analyzer: seen.append(job.video.threads) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        mine.work(Chunk("video", ("a.mp4",), ("",)))
    assert seen == [threads]


def test_a_worker_of_an_earlier_run_writes_nothing(tmp_path):
    mine = worker(tmp_path / "out")
    open_home(Store(str(tmp_path / "out")), "later", {})
    with pytest.raises(OutputError, match="another run"):
        mine.work(Chunk("image", (str(EXAMPLES / "astronaut.jpg"),), ("",)))
    assert Store(str(tmp_path / "out")).names(".parquet") == []


def test_chunks_are_split_without_loss():
    chunk = Chunk("image", tuple(map(str, range(21))), tuple("t" * 21), tries=1)
    pieces = chunk.split(16)
    assert len(pieces) <= 16 and sum((piece.paths for piece in pieces), ()) == chunk.paths
    assert all(piece.tries == 0 for piece in pieces) and np.ptp([len(piece.paths) for piece in pieces]) <= 1


def test_tracking_settings_travel(tmp_path):
    settings = WorkerSettings(AnalyzerSettings().open, "x", "y", track=TrackSettings(detect_every_s=1.0))
    assert settings.track.detect_every_s == 1.0
