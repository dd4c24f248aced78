"""What must be the same when a run goes on: every detector and model is told from the others, in old journals too."""

import json
import threading

import pytest

pytest.importorskip("av")

from conftest import ROOT

from detector_files import settings_of
from helpers import rows_in
from mien.analyzer import Analyzer
from mien.errors import InputError, MissingExtraError, MissingWeightsError
from mien.models.card import METADATA_KEY
from mien.models.catalogue import model_path
from mien.server.work.turns import TurnTaking
from mien.server.work.workers import FairWorkers
from mien.video import analyze_video
from videos import numbered, portraits, write_video

OLD_JOURNAL = ROOT / "tests" / "assets" / "old.journal"  # the first 8 frames of `portraits(20)`, by `mien-b` 2
OLD_FRAMES = 8


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", numbered(6, size=(64, 64)))


def analyzer_or_skip(detector, settings=None, model="mien-s"):
    try:
        return Analyzer(detector=detector, detector_settings=settings, model=str(model))
    except (MissingExtraError, MissingWeightsError) as error:
        pytest.skip(str(error))


def begin(clip, table, analyzer, frames=3):
    """Analyze the first frames, as if interrupted after them."""
    stop = threading.Event()
    progress = lambda at: stop.set() if at.frames >= frames else None  # noqa: E731
    assert analyze_video(clip, analyzer=analyzer, outputs=[table], progress=progress, stop=stop).interrupted


@pytest.mark.parametrize(
    ("name", "other", "change"),
    [
        ("mtcnn", "mtcnn", {"threshold": 0.7}), ("mtcnn", "none", {}),
        ("haar", "haar-alt2", {}), ("haar", "haar", {"min_face_px": 48}),
        ("haar-alt2", "haar", {}), ("haar-alt2", "haar-alt2", {"threshold": 0.6}),
        ("dlib-hog", "dlib-hog", {"threshold": 0.6}), ("dlib-hog", "mtcnn", {}),
        ("dlib-mmod", "dlib-mmod", {"upsample": 1}),
        ("yunet", "yunet", {"threshold": 0.6}), ("yunet", "yunet", {"comment": b"another file"}),
        ("ssd", "ssd", {"threshold": 0.6}), ("ssd", "ssd", {"comment": b"n"}),
        ("none", "haar", {}),
    ],
)  # fmt: skip
def test_another_detector_setting_or_file_is_refused_and_both_are_named(clip, tmp_path, name, other, change):
    table = tmp_path / "rows.csv"
    first = analyzer_or_skip(name, settings_of(name, tmp_path))
    begin(clip, table, first)
    second = analyzer_or_skip(other, settings_of(other, tmp_path, **change))
    with pytest.raises(InputError) as refused:
        analyze_video(clip, analyzer=second, outputs=[table], resume=True)
    message = f"cannot resume: detector was {first.detector.identity} and is {second.detector.identity}; "
    assert str(refused.value).startswith(message)
    assert analyze_video(clip, analyzer=first, outputs=[table], resume=True).resumed == 3  # no harm was done


def test_two_models_of_one_name_are_told_apart(clip, tmp_path):
    onnx, paths = pytest.importorskip("onnx"), []
    for trained in ("monday", "tuesday"):
        model = onnx.load(model_path("mien-s"))
        (card,) = [entry for entry in model.metadata_props if entry.key == METADATA_KEY]
        card.value = json.dumps(json.loads(card.value) | {"name": "custom", "version": "1", "trained": trained})
        paths.append(tmp_path / f"{trained}.onnx")
        onnx.save(model, paths[-1])
    table = tmp_path / "rows.csv"
    first, second = (analyzer_or_skip("none", model=path) for path in paths)
    begin(clip, table, first)
    hashes = [analyzer.model.sha256[:16] for analyzer in (first, second)]
    message = rf"model was custom 1 \(sha256 {hashes[0]}\) and is custom 1 \(sha256 {hashes[1]}\)"
    with pytest.raises(InputError, match=message):
        analyze_video(clip, analyzer=second, outputs=[table], resume=True)
    assert analyze_video(clip, analyzer=first, outputs=[table], resume=True).resumed == 3


def test_the_servers_turns_do_not_hide_the_detector(clip, tmp_path):
    table = tmp_path / "rows.csv"
    workers = FairWorkers(1, waiting=4)
    try:
        plain, other = (analyzer_or_skip(name) for name in ("haar", "haar-alt2"))
        waiting = [
            Analyzer(detector=TurnTaking(one.detector, workers, "job"), model=one.model) for one in (plain, other)
        ]
        begin(clip, table, waiting[0])
        with pytest.raises(InputError, match=r"detector was haar\(.*\) and is haar-alt2\("):
            analyze_video(clip, analyzer=waiting[1], outputs=[table], resume=True)
        assert analyze_video(clip, analyzer=plain, outputs=[table], resume=True).resumed == 3
    finally:
        workers.close()


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("walk") / "walk.mp4", portraits(20))


def put_old_journal(walk, table, analyzer, **change):
    """Begin a run of the video and put the older journal in the place of its own, as if it were of this file."""
    begin(walk, table, analyzer)
    (journal,) = table.parent.glob(".*/*.journal")
    head, *lines = OLD_JOURNAL.read_text().splitlines(keepends=True)
    card = analyzer.model.card
    film = json.loads(journal.read_text().splitlines()[0])["video"]
    head = json.dumps(json.loads(head) | {"film": film, "model": f"{card.name} {card.version}"} | change)
    journal.write_text(head + "\n" + "".join(lines))


@pytest.fixture(scope="module")
def as_labels():
    return Analyzer(labels="fer2013")


def test_a_journal_of_an_older_version_goes_on(as_labels, walk, tmp_path):
    whole, table = tmp_path / "whole.jsonl", tmp_path / "rows.jsonl"
    analyze_video(walk, analyzer=as_labels, outputs=[whole])
    put_old_journal(walk, table, as_labels)
    assert analyze_video(walk, analyzer=as_labels, outputs=[table], resume=True).resumed == OLD_FRAMES
    for row, expected in zip(rows_in(table), rows_in(whole), strict=True):
        assert (row["track_id"], row["steady_expression"]) == (1, "happy")
        assert [row[side] for side in ("x1", "y1", "x2", "y2")] == pytest.approx(
            [expected[side] for side in ("x1", "y1", "x2", "y2")], abs=1.0
        )
        assert row["smooth_happy"] == pytest.approx(expected["smooth_happy"], abs=0.04)  # two versions of the model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "mien-s 2"}, r"model was mien-s 2 and is mien-b 3\.0 \(sha256"),
        ({}, "labels was fer2013 and is combined"),
        ({"detector": "WholeImage", "labels": "combined"}, r"detector was WholeImage and is mtcnn\(min_face_px=32"),
    ],
)
def test_a_journal_of_an_older_version_and_another_model_or_detector_is_refused(
    analyzer, walk, tmp_path, change, message
):
    put_old_journal(walk, tmp_path / "rows.csv", analyzer, **change)
    with pytest.raises(InputError, match=message):
        analyze_video(walk, analyzer=analyzer, outputs=[tmp_path / "rows.csv"], resume=True)


def test_other_shares_are_refused_and_none_go_on_where_an_older_journal_names_none(clip, tmp_path):
    plain, even = Analyzer(model="mien-s"), Analyzer(model="mien-s", prior="even")
    begin(clip, tmp_path / "rows.csv", even)
    with pytest.raises(InputError, match="prior was even and is natural"):
        analyze_video(clip, analyzer=plain, outputs=[tmp_path / "rows.csv"], resume=True)
    begin(clip, tmp_path / "old.csv", plain)
    journals = tmp_path.glob(".*/*.journal")
    journal = next(path for path in journals if json.loads(path.read_text().splitlines()[0])["prior"] == "natural")
    head, *lines = journal.read_text().splitlines(keepends=True)
    older = {name: value for name, value in json.loads(head).items() if name != "prior"}
    journal.write_text(json.dumps(older) + "\n" + "".join(lines))
    assert analyze_video(clip, analyzer=plain, outputs=[tmp_path / "old.csv"], resume=True).resumed == 3
