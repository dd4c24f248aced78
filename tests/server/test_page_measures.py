"""Measures on the page: asked for with one checkbox in all views, shown for the chosen face."""

import csv
import io

import numpy as np
import pytest
from conftest import EXAMPLES

from mien.attributes.mesh import MESHES
from mien.output.draw.measures import CLOSED_LINES, OPEN_LINES, axes_of
from mien.weights import WEIGHTS
from page_fixtures import FIXTURES, MARKS, saved, serious, sync_api, wait_until

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
    assert all(word in words for word in ("Head", "turned to their left", "Mouth", "up +0.", "left higher", "Quality"))
    assert not serious(page)
    rows = list(csv.DictReader(io.StringIO(saved(page, "#image-csv")[1].decode())))
    assert abs(float(rows[0]["yaw"])) < 10 and rows[0]["note"] == ""
    page.reload()
    page.wait_for_selector("#image-drop")
    assert page.is_checked("#image-measures")
    page.evaluate("location.hash = 'videos'")
    page.wait_for_selector("#video-drop")
    assert page.locator("#video-measures").is_checked()


WATCH = """{
    const { closePath } = CanvasRenderingContext2D.prototype;
    window.closings = 0;
    CanvasRenderingContext2D.prototype.closePath = function () { closings += 1; return closePath.call(this); };
}"""


def test_the_lines_of_the_mesh_are_those_of_the_command_line(open_page):
    page = open_page("images")
    lines = page.evaluate("import('./mesh.js').then((mesh) => [mesh.CLOSED_LINES, mesh.OPEN_LINES])")
    assert lines == [[list(line) for line in kind] for kind in (CLOSED_LINES, OPEN_LINES)]
    pose = {"yaw": 20.0, "pitch": -10.0, "roll": 35.0}
    found = page.evaluate("(pose) => import('./mesh.js').then((mesh) => mesh.axesOf(pose))", pose)
    assert np.allclose(found, axes_of(pose))
    assert page.evaluate("import('./mesh.js').then((mesh) => mesh.axesOf({ yaw: 1, pitch: null, roll: 2 }))") is None


def test_the_mesh_is_drawn_on_images_and_on_the_live_image(open_page):
    page = open_page("images")
    page.add_init_script(WATCH)
    page.reload()
    page.wait_for_selector("#image-drop")
    page.set_input_files("#image-files", EXAMPLES / "astronaut.jpg")
    page.wait_for_selector(".shot:not(.waiting) table")
    assert page.evaluate("window.closings") == 0
    page.check("#image-measures")
    wait_until(page, f"window.closings >= {2 * len(CLOSED_LINES)}")
    page.evaluate("location.hash = '#live'")
    page.wait_for_selector("#view-live:not([hidden])")
    assert page.is_checked("#live-measures")
    page.click("#live-start")
    page.wait_for_selector("#live-people .measures:visible")
    page.evaluate("window.closings = 0")
    wait_until(page, f"window.closings >= {2 * len(CLOSED_LINES)}")
    words = page.locator("#live-people .measures").first.inner_text()
    assert "Head" in words and "Quality" in words and not serious(page)
    page.click("#live-record")
    wait_until(page, "/· [2-9]/.test(document.querySelector('#recording-count').textContent)")
    page.click("#live-record")
    page.wait_for_selector("[data-kind=jsonl]")
    kept = "import('./shelf.js').then(async ({ openShelf }) => { const shelf = await openShelf();"
    kept += " const [one] = await shelf.all(); return JSON.stringify(await shelf.pieces('frames', one.id)); })"
    frames = page.evaluate(kept)
    assert '"yaw"' in frames and '"mesh"' not in frames, "468 points a face would fill the disk"


def test_the_player_tells_the_measures_of_the_moment(open_page, videos):
    page = open_page("videos")
    page.click(".options summary")
    page.check("#video-measures")
    page.set_input_files("#video-file", videos[1])
    page.locator(".job[data-state=done]").first.get_by_role("link").click()
    page.wait_for_selector(".video h2")
    wait_until(page, "document.querySelector('.video video').readyState >= 2")
    card = page.locator(".person", has=page.locator(".measures:visible"))
    sync_api.expect(card).to_have_count(1)
    head = card.locator("dd").first.inner_text()
    assert "turned to their" in head and "-" not in head and "−" not in head
    first = card.locator(".person-name").inner_text()
    page.locator(".scrub").focus()
    page.keyboard.press("End")
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    wait_until(page, f"!document.querySelector('[data-person=\"{first}\"] .measures').checkVisibility()")
    sync_api.expect(page.locator(".measures:visible")).to_have_count(1)
    assert not serious(page)
