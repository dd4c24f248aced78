"""What `import mien` offers for one image and for many."""

import json

import cv2
import numpy as np
import pytest
from conftest import EXAMPLES

import mien
from mien.errors import InputError, SourceError

ASTRONAUT, HOPPER = EXAMPLES / "astronaut.jpg", EXAMPLES / "grace_hopper.jpg"


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).integers(100, 120, (80, 90, 3), np.uint8)


def test_one_image_gives_faces_that_keep_it(astronaut):
    faces = mien.analyze_image(ASTRONAUT)
    assert faces[0].expression == "happy" and faces.source == str(ASTRONAUT)
    assert mien.analyze is mien.analyze_image
    np.testing.assert_array_equal(faces.draw(), mien.draw_faces(faces.image, faces))
    assert (faces.draw(bars=True) != faces.draw()).any()
    (crop,) = faces.crops(margin=0.2)
    x1, y1, x2, y2 = faces.xyxy[0]
    assert crop.shape[1] == pytest.approx(1.4 * (x2 - x1), abs=2) and crop.shape[0] == pytest.approx(
        1.4 * (y2 - y1), abs=2
    )
    assert json.loads(json.dumps(faces.to_dict()))["faces"][0]["probabilities"]["happy"] > 0.5


def test_bgr_arrays_give_the_answer_of_their_rgb_twins(astronaut):
    rgb, bgr = mien.analyze(astronaut), mien.analyze(cv2.cvtColor(astronaut, cv2.COLOR_RGB2BGR), channels="bgr")
    np.testing.assert_array_equal(rgb.probs, bgr.probs)
    with pytest.raises(InputError, match="known: rgb, bgr"):
        mien.analyze(astronaut, channels="grb")


def test_which_faces_are_kept():
    astronaut, hopper = (mien.read_image(path).image for path in (ASTRONAUT, HOPPER))
    canvas = np.zeros((512, 712, 3), np.uint8)
    canvas[:, :512], canvas[:200, 530:700] = astronaut, cv2.resize(hopper, (170, 200), interpolation=cv2.INTER_AREA)
    assert len(mien.analyze(canvas)) == 2
    (largest,) = mien.analyze(canvas, largest_only=True)
    assert largest.xyxy[0] < 512
    assert len(mien.analyze(canvas, min_face=90)) == 1
    assert len(mien.analyze(canvas, min_confidence=1.0)) == 0
    face = mien.analyze(ASTRONAUT)[0]
    x1, y1, x2, y2 = face.xyxy.astype(int)
    cut = np.ascontiguousarray(mien.analyze(ASTRONAUT).image[y1 + 12 : y2 + 40, max(0, x1 - 60) : x2 + 60])
    loose, clipped = mien.analyze(cut), mien.analyze(cut, clip_boxes=True)
    assert loose.xyxy.min() < 0 <= clipped.xyxy.min()
    with pytest.raises(InputError, match="min_confidence must be 0 to 1, got 80"):
        mien.analyze(ASTRONAUT, min_confidence=80)


def test_many_images_come_in_order_and_none_costs_another(tmp_path, noise):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 not an image")
    cv2.imwrite(str(tmp_path / "empty.png"), noise)
    results = mien.analyze_images([ASTRONAUT, tmp_path, "missing.jpg", noise], progress=False)
    assert len(results) == 5
    found = list(results)
    assert [r.error is None for r in found] == [True, False, True, False, True]
    assert found[0].faces[0].expression == "happy" and (found[0].width, found[0].height) == (512, 512)
    assert isinstance(found[1].error, SourceError) and "broken.jpg" in str(found[1].error)
    assert len(found[2].faces) == 0
    assert all(len(repr(r)) < 400 for r in found)
    with pytest.raises(InputError, match="taken already"):
        results.to_pandas()


def test_a_table_of_many_has_a_row_for_an_image_without_a_face_and_for_an_error(tmp_path, noise):
    table = mien.analyze_images([ASTRONAUT, noise, "missing.jpg", HOPPER], progress=False).to_pandas()
    assert list(table["expression"].fillna("")) == ["happy", "", "", "neutral"]
    assert "missing.jpg" in table["error"][2] and table["error"].isna().tolist() == [True, True, False, True]
    assert list(table.columns)[:3] == ["source", "frame", "time_s"] and table.columns[-1] == "error"
    empty = mien.analyze_images([], progress=False).to_pandas()
    assert len(empty) == 0 and list(empty.columns) == list(table.columns)


def test_a_notebook_shows_the_image_the_crops_and_the_bars():
    html = mien.analyze(ASTRONAUT)._repr_html_()
    assert html.count("<img") == 2 and "happy" in html and html.count("<tr>") == 8
    assert mien.analyze(ASTRONAUT)[0]._repr_html_().count("<tr>") == 8
    assert len(html) < 200_000
