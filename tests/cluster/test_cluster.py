"""On a real cluster of this machine: the rows are those of the sequential run, and each input has its rows once."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pandas
import pytest
from conftest import EXAMPLES

from clusters import begun, node, paths, ray_environment, small_cluster, sources_in, work
from mien.analyzer import AnalyzerSettings, analyze_images
from mien.cluster import ClusterSettings
from mien.errors import InputError, MienError

pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = pytest.mark.filterwarnings("default")  # Ray's own


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A cluster of two nodes with one core each, for the tests that leave it as it is."""
    with small_cluster(tmp_path_factory.mktemp("cluster"), 1, 1) as cluster:
        yield cluster


def settings(cluster, **more):
    return ClusterSettings(address=cluster.address, wait_s=60, **more)


def expected(count, special=None, what="slow"):
    return Counter({f"{(special or {}).get(number, what)}-{number:05d}.jpg": 1 for number in range(count)})


def test_rows_are_those_of_the_sequential_run_and_a_second_run_does_what_is_missing(two, tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("astronaut.jpg", "grace_hopper.jpg"):
        (tmp_path / "photos" / name).write_bytes((EXAMPLES / name).read_bytes())
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no image")
    given = [str(tmp_path / "photos"), str(tmp_path / "gone.jpg")]
    result = work(given, tmp_path / "out", settings(two), opener=AnalyzerSettings())
    assert (result.images, result.failed, result.rows, result.before) == (4, 2, 4, 0)
    keys = ["source", "face"]
    mine = pandas.read_parquet(tmp_path / "out").sort_values(keys).reset_index(drop=True)
    theirs = analyze_images(given).to_pandas().sort_values(keys).reset_index(drop=True)
    pandas.testing.assert_frame_equal(mine[theirs.columns], theirs, check_dtype=False)

    (tmp_path / "photos" / "broken.jpg").write_bytes((EXAMPLES / "astronaut.jpg").read_bytes())
    again = work(given, tmp_path / "out", settings(two), opener=AnalyzerSettings())
    assert (again.images, again.failed, again.before) == (1, 0, 3)
    assert set(sources_in(tmp_path / "out").values()) == {1}


def test_small_inputs_are_shared_and_a_pool_as_large_as_the_cluster_does_not_hang(two, tmp_path):
    result = work(paths(tmp_path, 40), tmp_path / "out", settings(two, workers=2))
    assert len(result.by_worker) == 2 and min(result.by_worker.values()) >= 10
    assert sources_in(tmp_path / "out") == expected(40)


@pytest.mark.slow
def test_a_pool_larger_than_the_cluster_works_with_what_there_is(two, tmp_path):
    result = work(paths(tmp_path, 20), tmp_path / "out", settings(two, workers=9))
    assert 1 <= len(result.by_worker) <= 2 and sources_in(tmp_path / "out") == expected(20)


@pytest.mark.slow
def test_a_worker_that_fits_nowhere_is_refused_with_what_there_is(two, tmp_path):
    told = ClusterSettings(address=two.address, cpus=3, wait_s=3)
    with pytest.raises(InputError, match=r"each needs 3 CPU on one node, and the cluster has 2 CPU"):
        work(paths(tmp_path, 4), tmp_path / "out", told)


@pytest.mark.slow
def test_a_worker_that_cannot_start_says_why(two, tmp_path):
    with pytest.raises(MienError, match=r"workers cannot start: .*no weights here"):
        work(paths(tmp_path, 4), tmp_path / "out", settings(two), opener=no_weights)


def no_weights():
    raise RuntimeError("no weights here")


@pytest.mark.slow
def test_one_bad_image_costs_no_other(two, tmp_path):
    special = {7: "broken"}
    result = work(paths(tmp_path, 30, what="fine", special=special), tmp_path / "out", settings(two, images=30))
    table = pandas.read_parquet(tmp_path / "out")
    assert result.failed == 1 and sources_in(tmp_path / "out") == expected(30, special, "fine")
    (error,) = table["error"].dropna()
    assert error.endswith("broken-00007.jpg is broken")
    again = work(tmp_path / "list.txt", tmp_path / "out", settings(two))
    retried = work(tmp_path / "list.txt", tmp_path / "out", settings(two, retry_errors=True))
    assert (again.images, retried.images, retried.failed) == (0, 1, 1)
    assert sources_in(tmp_path / "out") == expected(30, special, "fine")


@pytest.mark.slow
def test_a_long_video_is_shared_by_the_workers(two, tmp_path):
    """Its segments go to both; of a video that is none, and of one in one piece, there is a row as well."""
    from videos import portraits, write_video

    write_video(tmp_path / "long.mp4", portraits(430), gop=25)
    write_video(tmp_path / "short.mp4", portraits(20))
    (tmp_path / "none.mp4").write_bytes(b"no video")
    told = settings(two, segment_s=4.0)
    result = work(tmp_path, tmp_path / "out", told, opener=AnalyzerSettings())
    assert (result.videos, result.failed, result.parts) == (3, 1, 3)
    counts = sources_in(tmp_path / "out")
    assert counts["none.mp4"] == 1 and counts["short.mp4"] >= 20 and counts["long.mp4"] >= 430
    rows = pandas.read_parquet(tmp_path / "out")
    rows = rows[rows["source"].str.endswith("long.mp4")]
    assert sorted(set(rows["frame"])) == list(range(430)) and not rows.duplicated(["frame", "face"]).any()
    assert work(tmp_path, tmp_path / "out", told, opener=AnalyzerSettings()).before == 3
    assert not list((tmp_path / "out").rglob("*.piece"))


@pytest.mark.slow
def test_a_video_whose_segment_crashes_is_an_error_row(tmp_path):
    from videos import portraits, write_video

    write_video(tmp_path / "long.mp4", portraits(330), gop=25)
    write_video(tmp_path / "short.mp4", portraits(20))
    with small_cluster(tmp_path, 1) as cluster:
        result = work(tmp_path, tmp_path / "out", settings(cluster, segment_s=4.0), opener=crashing_after(150))
    assert (result.videos, result.failed, result.crashes) == (2, 1, 2)
    rows = pandas.read_parquet(tmp_path / "out")
    (said,) = rows["error"].dropna()
    assert said.endswith("long.mp4 brought its worker down twice; try it alone with mien analyze")
    assert len(rows[rows["source"].str.endswith("long.mp4")]) == 1


def crashing_after(frame):
    """Return what opens an analyzer that ends its process at a frame of a video."""

    def opener():
        analyzer = AnalyzerSettings().open()
        express = analyzer.with_expressions

        def crash(found, probs):
            if any(faces.frame_index >= frame for faces in found):
                os._exit(1)
            return express(found, probs)

        analyzer.with_expressions = crash
        analyzer.keeping = lambda keep: analyzer
        return analyzer

    return opener


@pytest.mark.slow
def test_what_is_named_twice_counts_once(two, tmp_path):
    place = paths(tmp_path, 10, what="fine")
    result = work([place, place, tmp_path / "fine-00003.jpg"], tmp_path / "out", settings(two))
    assert result.images == 10 and sources_in(tmp_path / "out") == expected(10, what="fine")


@pytest.mark.slow
def test_what_crashes_its_process_is_tried_twice_alone_and_then_an_error_row(tmp_path):
    special = {20: "poison", 90: "poison"}
    with small_cluster(tmp_path, 2) as cluster:
        result = work(
            paths(tmp_path, 120, what="fine", special=special), tmp_path / "out", settings(cluster, images=64)
        )
    assert sources_in(tmp_path / "out") == expected(120, special, "fine")
    errors = pandas.read_parquet(tmp_path / "out")["error"].dropna()
    assert len(errors) == 2 and all(re.search(r"poison-000\d0.jpg brought its worker down twice", e) for e in errors)
    tries = begun(tmp_path)
    assert 3 <= tries["poison-00020.jpg"] <= 4 and 3 <= tries["poison-00090.jpg"] <= 4  # in company, then alone, twice
    assert 6 <= result.crashes <= 8 and result.failed == 2


@pytest.mark.slow
def test_an_actor_that_is_killed_costs_nothing(two, tmp_path):
    killer = Killer(times=2)
    result = work(paths(tmp_path, 240), tmp_path / "out", settings(two, images=16), progress=killer)
    assert killer.killed == 2 and result.crashes == 2
    assert sources_in(tmp_path / "out") == expected(240) and result.failed == 0


class Killer:
    """Kills the process that began the last image, as the work goes on."""

    def __init__(self, times):
        self.log = Path(os.environ["CLUSTER_LOG"])
        self.times, self.killed, self.next = times, 0, 0
        self.start = len(self.log.read_text()) if self.log.exists() else 0

    def __call__(self, at):
        begun = self.log.read_text()[self.start :].splitlines() if self.log.exists() else []
        if begun and self.killed < self.times and at.done >= self.next:
            try:
                os.kill(int(begun[-1].split()[0]), signal.SIGKILL)
            except ProcessLookupError:
                return
            self.killed, self.next = self.killed + 1, at.done + 50


@pytest.mark.slow
def test_nodes_come_and_go_while_a_job_runs(tmp_path):
    with small_cluster(tmp_path, 1, 1) as cluster:
        first = next(one for one in cluster.list_all_nodes() if not one.head)
        events = {40: lambda: cluster.remove_node(first), 80: lambda: cluster.add_node(**node(2))}
        seen = set()

        def at(progress):
            for when in [when for when in events if progress.done >= when]:
                events.pop(when)()
            seen.add(progress.workers)

        result = work(paths(tmp_path, 400), tmp_path / "out", settings(cluster, images=16), progress=at)
    assert not events and {1, 3} <= seen
    assert result.crashes >= 1 and len(result.by_worker) >= 3
    assert sources_in(tmp_path / "out") == expected(400) and result.failed == 0


DRIVER = """
import sys, clusters
from mien.cluster import ClusterSettings
if __name__ == "__main__":
    clusters.work(sys.argv[1], sys.argv[2], ClusterSettings(address=sys.argv[3], images=16, wait_s=60))
"""


@pytest.mark.slow
@pytest.mark.parametrize("own", [False, True], ids=["of a cluster that stays", "with a cluster of its own"])
def test_a_driver_that_is_killed_goes_on_with_the_same_line(two, tmp_path, own):
    out, place = tmp_path / "out", paths(tmp_path, 320)
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    line = [sys.executable, str(script), str(place), str(out), "local" if own else two.address]
    driver = subprocess.Popen(line, start_new_session=True)
    wait_for(lambda: len(list(out.rglob("*.parquet"))) >= 3)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    result = work(place, out, settings(two, images=16))  # at once: the old workers may still be at work
    assert result.before >= 48 and 0 < result.images < 320 and result.images + result.before == 320
    assert sources_in(out) == expected(320)


def wait_for(true, timeout_s=60):
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


@pytest.mark.slow
def test_of_two_runs_the_newer_one_has_the_data_set(two, tmp_path):
    from mien.errors import OutputError

    place, errors = paths(tmp_path, 400), []

    def older():
        line = [sys.executable, str(tmp_path / "driver.py"), str(place), str(tmp_path / "out"), two.address]
        errors.append(subprocess.run(line, capture_output=True, text=True).stderr)

    (tmp_path / "driver.py").write_text(DRIVER)
    thread = threading.Thread(target=older)
    thread.start()
    wait_for(lambda: len(list((tmp_path / "out").rglob("*.parquet"))) >= 3)
    work(place, tmp_path / "out", settings(two, images=16))
    thread.join()
    assert OutputError.__name__ in errors[0] and "another run writes into" in errors[0]
    assert sources_in(tmp_path / "out") == expected(400)


@pytest.mark.slow
def test_a_file_that_changed_is_done_again_and_its_neighbours_are_not(two, tmp_path):
    for number in range(20):
        (tmp_path / f"fine-{number:05d}.jpg").write_bytes(b"1")
    work(tmp_path, tmp_path / "out", settings(two, images=20))
    (tmp_path / "fine-00004.jpg").write_bytes(b"22")
    again = work(tmp_path, tmp_path / "out", settings(two, images=20))
    assert (again.images, again.before) == (1, 19)
    assert sources_in(tmp_path / "out") == expected(20, what="fine")


@pytest.mark.slow
def test_duckdb_reads_the_partitions(two, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    work(paths(tmp_path, 10, what="fine"), tmp_path / "out", settings(two))
    rows = duckdb.sql(f"select kind, count(*), count(error) from '{tmp_path}/out/*/*.parquet' group by kind")
    assert rows.fetchall() == [("image", 10, 0)]


@pytest.mark.slow
def test_ray_keeps_to_itself(tmp_path):
    """Ray's report of use is off, and its token lies in the home of the test, not in that of the user."""
    mine = Path("~/.ray/auth_token").expanduser()
    before = mine.stat().st_mtime_ns if mine.exists() else None
    with small_cluster(tmp_path, 1) as cluster:
        work(paths(tmp_path, 2, what="fine"), tmp_path / "out", settings(cluster))
        from ray._common.usage.usage_lib import usage_stats_enabled

        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0" and not usage_stats_enabled()
        assert Path(os.environ["HOME"]).is_relative_to(tmp_path)
    assert (mine.stat().st_mtime_ns if mine.exists() else None) == before


@pytest.mark.slow
def test_the_command_works_on_this_machine_alone(tmp_path):
    with ray_environment(tmp_path):
        line = [sys.executable, "-m", "mien", "analyze", "--ray", str(EXAMPLES), "-o", str(tmp_path / "faces")]
        first = subprocess.run(line, capture_output=True, text=True, check=True)
        second = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "2 images and 0 videos" in first.stderr and "usage report is switched off" in first.stderr
    assert "0 images and 0 videos" in second.stderr and "2 were done before" in second.stderr
    assert len(pandas.read_parquet(tmp_path / "faces")) == 2


@pytest.mark.slow
def test_batches_of_ray_data_have_a_row_per_image_with_its_faces_nested(two, tmp_path):
    import ray
    import ray.data

    from mien.cluster import AnalyzeBatch

    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("astronaut.jpg", "grace_hopper.jpg"):
        (photos / name).write_bytes((EXAMPLES / name).read_bytes())
    (photos / "broken.jpg").write_bytes(b"no image")
    ray.init(address=two.address, log_to_driver=False, logging_level="ERROR", ignore_reinit_error=True)
    try:
        found = ray.data.read_binary_files(str(photos), include_paths=True).map_batches(
            AnalyzeBatch,
            batch_format="pyarrow",
            batch_size=2,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=1),
        )
        rows = {Path(row["path"]).name: row for row in found.take_all()}
    finally:
        ray.shutdown()
    theirs = {Path(r.source).name: r for r in analyze_images(photos)}
    assert set(rows) == set(theirs) and "bytes" not in rows["astronaut.jpg"]
    assert rows["broken.jpg"]["faces"] == [] and "broken.jpg" in rows["broken.jpg"]["error"]
    for name in ("astronaut.jpg", "grace_hopper.jpg"):
        (face,), (expected_,) = rows[name]["faces"], theirs[name].to_records()
        assert face == {key: value for key, value in expected_.items() if key not in ("source", "error")}
