"""Measures on the page: asked for with one checkbox in all views, shown for the chosen face."""

import csv
import io

import pytest
from conftest import EXAMPLES

from mien.attributes.mesh import MESHES
from mien.weights import WEIGHTS
from page_fixtures import FIXTURES, MARKS, saved, serious

pytestmark = [
    *MARKS,
    pytest.mark.skipif(not (WEIGHTS["mesh"].is_there() or MESHES["mien-mesh"].is_there()), reason="no mesh is here"),
]
videos, server, playwright, browser, open_page = FIXTURES


def test_the_measures_of_a_chosen_face(open_page):
    page = open_page("images")
    assert not page.is_checked("#image-measures")
    page.set_input_files("#image-files", EXAMPLES / "astronaut.jpg")
    page.wait_for_selector(".shot:not(.waiting) table")
    page.click(".shot .number")
    assert page.locator(".measures:visible").count() == 0
    page.check("#image-measures")
    page.wait_for_selector(".shot:not(.waiting) table .number[aria-expanded=false]")
    page.click(".shot .number")
    page.wait_for_selector(".measures:visible")
    words = page.inner_text(".measures")
    assert all(word in words for word in ("Head", "turned to their left", "Mouth", "corners +0.", "Quality"))
    assert not serious(page)
    rows = list(csv.DictReader(io.StringIO(saved(page, "#image-csv")[1].decode())))
    assert abs(float(rows[0]["yaw"])) < 10 and rows[0]["note"] == ""
    page.reload()
    page.wait_for_selector("#image-drop")
    assert page.is_checked("#image-measures")
    page.evaluate("location.hash = 'videos'")
    page.wait_for_selector("#video-drop")
    assert page.locator("#video-measures").is_checked()
