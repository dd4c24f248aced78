"""`mien people find` and `verify`, and names in `mien analyze --people`."""

import csv
import json

import cv2
import numpy as np
import pytest
from conftest import EXAMPLES

ADA, GRACE = str(EXAMPLES / "astronaut.jpg"), str(EXAMPLES / "grace_hopper.jpg")


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "photos"
    root.mkdir()
    for name, file in (("a.jpg", ADA), ("g.jpg", GRACE)):
        cv2.imwrite(str(root / name), cv2.resize(cv2.imread(file), None, fx=0.6, fy=0.6)[:, ::-1])
    cv2.imwrite(str(root / "wall.png"), np.zeros((90, 90, 3), np.uint8))
    return root


def test_verify_says_same_or_not_and_how_often_that_is_wrong(mien, identity, folder):
    code, out, err = mien("people", "verify", ADA, str(folder / "a.jpg"))
    assert code == 0 and out.startswith("one person: distance 0.")
    assert "of pairs of two people" in err and "both are black" in err
    code, out, _ = mien("people", "verify", ADA, GRACE, "--json")
    told = json.loads(out)
    assert code == 0 and told["same"] is False and told["distance"] > 0.6 and told["threshold"] == 0.5
    assert told["error_rates"]["false_match"] > 0 and told["first"]["faces"] == 1
    assert "both are" not in mien("people", "verify", ADA, GRACE, "--threshold", "0.45")[2]  # nobody was wrong there
    _, _, err = mien("people", "verify", ADA, GRACE, "--threshold", "0.42")
    assert "was not measured at this threshold" in err


def test_find_ranks_and_a_broken_file_is_a_row(mien, identity, folder, tmp_path):
    table = tmp_path / "found.csv"
    code, out, err = mien("people", "find", ADA, str(folder), "-o", str(table), "--json")
    ranked = json.loads(out)
    assert code == 0
    assert [row["source"].rpartition("/")[2] for row in ranked] == ["a.jpg", "g.jpg", "wall.png"]
    assert [row["same"] for row in ranked] == [True, False, False]
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["distance"]) for row in rows[:2]] == [row["distance"] for row in ranked[:2]]
    (folder / "broken.jpg").write_bytes(b"no image")
    code, out, err = mien("people", "find", ADA, str(folder))
    assert code == 1 and "broken.jpg is not an image" in err
    assert "below the distance of 0.5: 1 of 4 images" in err and "1 without a face" in err and "a.jpg" in out


def test_a_query_without_a_face_and_a_missing_network_end_the_command(mien, identity, folder, monkeypatch, tmp_path):
    code, _, err = mien("people", "find", str(folder / "wall.png"), str(folder))
    assert code == 2 and "wall.png: no face was found" in err
    code, _, err = mien("people", "find", ADA, str(folder), "-o", "x.txt")
    assert code == 2 and "x.txt" in err
    from mien.people.embedding import shared_embedder

    monkeypatch.setenv("MIEN_HOME", str(tmp_path / "empty"))
    shared_embedder.cache_clear()
    code, _, err = mien("people", "verify", ADA, GRACE)
    assert code == 2 and "run: mien models pull identity" in err


def test_analyze_names_people_in_images(mien, identity, folder, tmp_path):
    people = tmp_path / "people"
    (people / "Ada").mkdir(parents=True)
    (folder / "a.jpg").rename(people / "Ada" / "1.jpg")
    (people / "Ada" / "2.jpg").write_bytes(b"no image")
    code, out, err = mien("analyze", ADA, GRACE, "--people", str(people), "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [row["person"] for row in rows] == ["Ada", None]
    assert "2.jpg" in err
    code, _, err = mien("analyze", ADA, "--people", "auto")
    assert code == 2 and "--people auto is for videos only" in err
    code, out, _ = mien("analyze", ADA, "--json")
    assert "person" not in json.loads(out)


def test_analyze_tells_people_of_a_video_apart(mien, identity, tmp_path):
    pytest.importorskip("av")
    from scenes import cutting, portrait_people
    from videos import write_video

    scene = cutting(portrait_people(EXAMPLES), fps=10)
    clip = write_video(tmp_path / "cuts.mp4", (f.image for f in scene.frames()), fps=10)
    code, out, _ = mien("analyze", str(clip), "--people", "auto", "--json", "--summary", str(tmp_path / "s.csv"))
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and {row["person"] for row in rows if row["track_id"]} == {"person 1", "person 2"}
    with (tmp_path / "s.csv").open(newline="") as file:
        told = list(csv.DictReader(file))
    assert [row["person"] for row in told] == ["", "person 1", "person 2"] and told[0]["people"] == "2"
    code, out, _ = mien("analyze", str(clip), "--people", "auto", "--json", "--interval", "2s")
    assert {json.loads(line)["person"] for line in out.splitlines()} == {"person 1", "person 2"}
