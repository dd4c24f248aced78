"""What the command line and the function refuse, before anything is made."""

import importlib
from types import SimpleNamespace

import pytest
from conftest import EXAMPLES

from mien.cli.analyze.command import ADDRESS
from mien.cluster import ClusterSettings, analyze
from mien.errors import InputError, MissingExtraError
from mien.tracking.settings import TrackSettings


@pytest.fixture
def without_ray(monkeypatch):
    def no_ray(name):
        if name.partition(".")[0] == "ray":
            raise ModuleNotFoundError("No module named 'ray'", name="ray")
        return importlib.import_module(name)

    monkeypatch.setattr("mien.errors.importlib", SimpleNamespace(import_module=no_ray))


def test_a_missing_extra_is_said_before_any_folder_is_made(tmp_path, mien, without_ray):
    with pytest.raises(MissingExtraError, match=r"pip install 'mien\[ray\]'"):
        analyze(EXAMPLES, tmp_path / "out")
    code, _, said = mien("analyze", EXAMPLES, "-o", tmp_path / "out", "--ray")
    assert code == 2 and "pip install 'mien[ray]'" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ([], "--ray needs one -o"),
        (["-o", "a/", "-o", "b/"], "--ray needs one -o"),
        (["-o", "rows.csv"], "which is a folder, not rows.csv"),
        (["-o", "x.mp4"], "which is a folder, not x.mp4"),
        (["-o", "a/", "--json"], "--json cannot be had with --ray"),
        (["-o", "a/", "--timeline", "t.png", "--summary", "s.csv"], "--summary, --timeline cannot be had"),
        (["-o", "a/", "-"], "standard input"),
        (["-o", "a/", "--worker-cpus", "0"], "--worker-cpus must be more than 0"),
        (["-o", "a/", "--segment", "0"], "--segment must be more than 0"),
    ],
)
def test_what_has_no_place_in_a_data_set_is_refused(tmp_path, monkeypatch, mien, more, says):
    monkeypatch.chdir(tmp_path)
    code, _, said = mien("analyze", EXAMPLES / "astronaut.jpg", *more, "--ray")
    assert code == 2 and says in " ".join(said.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"workers": 0}, "workers must be at least 1"),
        ({"gpus": -1}, "gpus must be at least 0"),
        ({"images": 0}, "images must be at least 1"),
        ({"wait_s": 0}, "wait_s must be more than 0"),
        ({"segment_s": -1}, "segment_s must be more than 0"),
    ],
)
def test_settings_are_checked(settings, says):
    with pytest.raises(InputError, match=says):
        ClusterSettings(**settings)


@pytest.mark.parametrize("settings", [TrackSettings(people="auto"), TrackSettings(baseline="auto")])
def test_what_looks_at_a_whole_video_is_refused(tmp_path, settings):
    pytest.importorskip("ray")
    with pytest.raises(InputError, match="people and baseline do not work on a cluster"):
        analyze(EXAMPLES, tmp_path / "out", track=settings)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("word", ["auto", "local", "host:6379", "10.0.0.1:6379", "[::1]:6379", "ray://h:10001"])
def test_words_that_are_addresses(word):
    assert ADDRESS.fullmatch(word)


@pytest.mark.parametrize("word", ["photos/", "a.jpg", "-o", "s3://bucket/x", "C:\\photos", "https://a.b/c.jpg", ""])
def test_words_that_are_none(word):
    assert not ADDRESS.fullmatch(word)
