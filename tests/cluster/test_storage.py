"""Object storage: a local S3 server, through pyarrow's file systems."""

import pandas
import pytest
from conftest import EXAMPLES

from clusters import ray_environment
from mien.analyzer import AnalyzerSettings, analyze_images
from mien.cluster.inputs import MISSING, stream
from mien.cluster.parts import open_home, scan
from mien.cluster.places import Store, is_stored, split
from mien.cluster.run import analyze
from mien.cluster.settings import ClusterSettings
from mien.cluster.worker import Chunk, ClusterWorker, WorkerSettings
from mien.errors import InputError, SourceError
from mien.video.run import analyze_video
from videos import portraits, write_video

pytestmark = pytest.mark.filterwarnings("default")  # those of the server


@pytest.fixture(scope="module")
def s3():
    """A bucket with two portraits, a broken image, a text, a hidden file; yield the client."""
    server_module = pytest.importorskip("moto.server", reason="needs moto[server]")
    boto3 = pytest.importorskip("boto3")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="photos")
        for key in ("in/astronaut.jpg", "in/deep/grace_hopper.jpg"):
            client.upload_file(str(EXAMPLES / key.rpartition("/")[2]), "photos", key)
        client.put_object(Bucket="photos", Key="in/broken.jpg", Body=b"no image")
        client.put_object(Bucket="photos", Key="in/notes.md", Body=b"text")
        client.put_object(Bucket="photos", Key="in/.hidden.jpg", Body=b"x")
        yield client
    server.stop()


IMAGES = ["s3://photos/in/astronaut.jpg", "s3://photos/in/broken.jpg", "s3://photos/in/deep/grace_hopper.jpg"]


def test_folders_and_globs(s3):
    assert sorted(found.path for found in stream("s3://photos/in")) == IMAGES
    assert sorted(found.path for found in stream("s3://photos/in/")) == IMAGES
    assert [found.path for found in stream("s3://photos/in/a*.jpg")] == IMAGES[:1]
    assert sorted(found.path for found in stream("s3://photos/**/*.jpg")) == IMAGES
    assert [found.path for found in stream("s3://photos/in/*/*")] == IMAGES[2:]


def test_the_tag_of_a_folder_is_that_of_the_file(s3):
    by_folder = {found.path: found.tag for found in stream("s3://photos/in")}
    (alone,) = stream(IMAGES[0])
    assert by_folder[IMAGES[0]] == alone.tag != MISSING
    (missing,) = stream("s3://photos/in/gone.jpg")
    assert missing.tag == MISSING


def test_lists_lie_there_too(s3):
    s3.put_object(Bucket="photos", Key="in/list.txt", Body=b"astronaut.jpg\ns3://other/x.jpg\n")
    assert [found.path for found in stream("s3://photos/in/list.txt")] == [IMAGES[0], "s3://other/x.jpg"]
    s3.delete_object(Bucket="photos", Key="in/list.txt")


def test_a_bucket_that_is_missing_says_so(s3):
    with pytest.raises(SourceError, match=r"s3://nobody/x cannot be|s3://nobody/x/\* cannot be"):
        list(stream("s3://nobody/x/*.jpg"))


@pytest.mark.parametrize("uri", ["ftp://a/b", "abc://x", "s3:///x"])
def test_other_storage_is_refused(uri):
    assert is_stored(uri)
    with pytest.raises(InputError, match="known are plain paths"):
        split(uri)


def test_the_rows_are_those_of_files(s3, tmp_path):
    store = Store("s3://photos/out")
    open_home(store, "run", {})
    worker = ClusterWorker(WorkerSettings(AnalyzerSettings().open, store.uri, "run"))
    done = worker.work(Chunk("image", (*IMAGES, "s3://photos/in/gone.jpg"), ("",) * 4))
    assert (done.rows, done.failed) == (4, 2) and scan(store).names == [done.name]
    rows = pandas.read_parquet("s3://photos/out", storage_options=None).set_index("source")
    for result in analyze_images([EXAMPLES / "astronaut.jpg", EXAMPLES / "grace_hopper.jpg"]):
        name = next(name for name in IMAGES if name.endswith(result.source.rpartition("/")[2]))
        (theirs,) = result.to_records()
        mine = rows.loc[name]
        assert {key: mine[key] for key in ("x1", "y2", "score", "happy", "expression")} == {
            key: theirs[key] for key in ("x1", "y2", "score", "happy", "expression")
        }
    assert "gone.jpg" in rows.loc["s3://photos/in/gone.jpg", "error"]
    assert "broken.jpg" in rows.loc[IMAGES[1], "error"]


def test_videos_lie_there_too(s3, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    video = write_video(tmp_path / "clip.mp4", portraits(20))
    s3.upload_file(str(video), "photos", "videos/clip.mp4")
    store = Store(str(tmp_path / "out"))
    open_home(store, "run", {})
    worker = ClusterWorker(WorkerSettings(AnalyzerSettings().open, store.uri, "run"))
    done = worker.work(Chunk("video", ("s3://photos/videos/clip.mp4",), ("",)))
    with analyze_video(video) as result:
        expected = result.to_pandas()
    rows = pandas.read_parquet(tmp_path / "out")
    assert done.failed == 0 and set(rows["source"]) == {"s3://photos/videos/clip.mp4"}
    assert rows["x1"].tolist() == expected["x1"].tolist()
    gone = worker.work(Chunk("video", ("s3://photos/videos/gone.mp4",), ("",)))
    assert gone.failed == 1
    worker.leave()
    assert not list(temporary.iterdir())


@pytest.mark.slow
def test_from_bucket_to_bucket_on_a_cluster(s3, tmp_path):
    pytest.importorskip("ray")
    with ray_environment(tmp_path):
        first = analyze("s3://photos/in", "s3://photos/faces", cluster=ClusterSettings(wait_s=60), progress=False)
        second = analyze("s3://photos/in", "s3://photos/faces", cluster=ClusterSettings(wait_s=60), progress=False)
    assert (first.images, first.failed, second.images, second.before) == (3, 1, 0, 3)
    assert sorted(pandas.read_parquet("s3://photos/faces")["source"]) == IMAGES
