"""Group photos on the page: numbers on the image, names beside it, and the layout that the command line draws."""

import json

import cv2
import numpy as np
import pytest
from conftest import EXAMPLES, read_rgb

from mien.output.draw.layout import Layout, Rect
from page_fixtures import FIXTURES, MARKS, PHONE, saved, serious, sync_api, wait_until

pytestmark = MARKS
videos, server, playwright, browser, open_page = FIXTURES

ACROSS, DOWN = 7, 4
WATCH = """{ // notes what is written on images, and the panels it is written on
    const { drawImage, fillText, roundRect } = CanvasRenderingContext2D.prototype;
    Object.assign(CanvasRenderingContext2D.prototype, {
        drawImage(...all) { window.drawn = { texts: [], panels: [] }; return drawImage.apply(this, all); },
        fillText(text, ...all) { window.drawn?.texts.push(text); return fillText.call(this, text, ...all); },
        roundRect(...all) { window.drawn?.panels.push(all.slice(0, 4)); return roundRect.apply(this, all); },
    });
}"""


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    """A photo of 28 people who stand close to one another."""
    smiling = read_rgb(EXAMPLES / "astronaut.jpg")[30:200, 150:300]
    neutral = read_rgb(EXAMPLES / "grace_hopper.jpg")[70:325, 120:345]
    tiles = [cv2.resize(one, (90, 102), interpolation=cv2.INTER_AREA) for one in (smiling, neutral)]
    rows = [np.hstack([tiles[(x + y) % 2] for x in range(ACROSS)]) for y in range(DOWN)]
    path = tmp_path_factory.mktemp("group") / "group.png"
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))
    return path


def show(open_page, image, **how):
    """Open the page, note what is drawn, and have an image looked at."""
    page = open_page("images", **how)
    page.add_init_script(WATCH)
    page.reload()
    page.wait_for_selector("#image-drop")
    page.set_input_files("#image-files", image)
    page.wait_for_selector(".shot:not(.waiting) table")
    return page


def tags_of(page):
    """Return texts and panels of the tags that are on the image now; the boxes of faces are drawn before them."""
    drawn = page.evaluate("window.drawn")
    texts = [text for text in drawn["texts"] if text.isascii()]
    return texts, np.array(drawn["panels"][-len(texts) :], dtype=float)


def covered(panels):
    """Return the largest share of a panel that lies on another one."""
    low = np.maximum(panels[:, None, :2], panels[None, :, :2])
    high = np.minimum((panels[:, :2] + panels[:, 2:])[:, None], (panels[:, :2] + panels[:, 2:])[None])
    shared = np.maximum(high - low, 0).prod(axis=-1)
    np.fill_diagonal(shared, 0)
    return float((shared / panels[:, 2:].prod(axis=1)).max())


@pytest.mark.parametrize("how", [{}, PHONE], ids=["desktop", "phone"])
def test_a_group_has_numbers_on_the_image_and_names_beside_it(open_page, group, how):
    page = show(open_page, group, **how)
    count = page.locator(".shot tbody tr").count()
    assert count >= 26
    texts, panels = tags_of(page)
    assert sorted(map(int, texts)) == list(range(count))
    assert covered(panels) < 0.01, "no number lies on another"
    assert page.locator(".number").all_inner_texts() == [str(i) for i in range(count)]
    assert page.evaluate("document.documentElement.scrollWidth") == page.viewport_size["width"]
    assert serious(page) == []


def test_a_saved_group_has_names_where_there_is_room_and_shows_the_faces(open_page, group):
    page = show(open_page, group)
    count = page.locator(".shot tbody tr").count()
    with page.expect_download():
        page.locator(".shot-body").get_by_role("button", name="Annotated image").click()
    wait_until(page, "!window.drawn.texts.every((text) => /^[0-9]+$/.test(text))")
    panels = np.array(page.evaluate("window.drawn.panels")[-count:], dtype=float)
    assert covered(panels) < 0.35
    faces = np.array([[f["x1"], f["y1"], f["x2"], f["y2"]] for f in faces_of(page)])
    middles = (faces[:, None, :2] + faces[:, None, 2:]) / 2
    inside = (middles > panels[:, :2]) & (middles < panels[:, :2] + panels[:, 2:])
    assert not inside.all(axis=-1).any(), "no tag lies on the middle of a face"


def faces_of(page):
    return json.loads(saved(page, "#image-json")[1])[0]["faces"]


def test_two_faces_far_apart_have_their_names_on_the_image(open_page, tmp_path):
    smiling = read_rgb(EXAMPLES / "astronaut.jpg")[:320, 60:380]
    path = tmp_path / "two.png"
    cv2.imwrite(str(path), cv2.cvtColor(np.hstack([smiling, smiling]), cv2.COLOR_RGB2BGR))
    page = show(open_page, path)
    texts, panels = tags_of(page)
    assert [text.split()[:2] for text in texts] == [["0", "happy"], ["1", "happy"]] and covered(panels) == 0


def test_hover_and_tap_and_the_keyboard_tell_all_of_one_face(open_page, group):
    page = show(open_page, group)
    texts, _ = tags_of(page)
    name = page.locator(".shot tbody td:nth-child(2)").nth(5).inner_text().split()[-1]
    box = page.evaluate("""(() => { // where face 5 is on the page
        const canvas = document.querySelector('.shot canvas'), { x, y, width } = canvas.getBoundingClientRect();
        return [x, y, width / 630]; })()""")
    face = faces_of(page)[5]
    x = box[0] + box[2] * (face["x1"] + face["x2"]) / 2
    y = box[1] + box[2] * (face["y1"] + face["y2"]) / 2
    page.mouse.move(x, y)
    wait_until(page, f"window.drawn.texts.some((text) => text.startsWith('5 {name}'))")
    sync_api.expect(page.locator(".shot tbody tr.lit")).to_have_count(1)
    page.mouse.click(x, y)
    sync_api.expect(page.locator("tr.detail .prob")).to_have_count(8)
    sync_api.expect(page.locator("tr.detail .prob.most")).to_contain_text(name)
    sync_api.expect(page.locator(".number").nth(5)).to_have_attribute("aria-expanded", "true")
    page.mouse.move(5, 5)
    assert page.evaluate(f"window.drawn.texts.some((text) => text.startsWith('5 {name}'))"), "it stays while open"
    page.mouse.click(x, y)
    sync_api.expect(page.locator("tr.detail")).to_have_count(0)
    page.mouse.move(5, 5)
    wait_until(page, f"window.drawn.texts.length === {len(texts)}")
    page.locator(".number").nth(2).focus()
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("tr.detail")).to_have_count(1)
    assert serious(page) == []


def test_the_page_lays_tags_out_as_the_command_line_does(open_page):
    page = open_page("images")
    random = np.random.default_rng(5)
    ask = """async ([boxes, taken, spots, width, height, number]) => {
        const { Layout } = await import(new URL('layout.js', location.href).href);
        const rect = ([x, y, w, h]) => ({ x, y, w, h });
        const layout = new Layout(boxes.map(rect), width, height);
        taken.forEach((one) => layout.add(rect(one)));
        const { spot, tags, boxes: on } = layout.best(spots.map(rect), number);
        return [spot.x, spot.y, spot.w, spot.h, tags, on]; }"""
    for _ in range(40):
        width, height = (int(n) for n in random.integers(200, 900, 2))
        size = [int(n) for n in random.integers(20, 150, 2)]

        def rects(count, size=None, room=(width, height)):
            return [
                Rect(*(int(n) for n in random.integers(-20, room)), *(size or random.integers(10, 200, 2).tolist()))
                for _ in range(count)
            ]

        boxes, taken, spots = rects(6), rects(5), rects(8, size)
        layout = Layout(boxes, width, height)
        for one in taken:
            layout.add(one)
        spot, tags, on = layout.best([layout.inside(one) for one in spots], 2)
        answer = page.evaluate(ask, [boxes, taken, spots, width, height, 2])
        assert answer == pytest.approx([*spot, tags, on], abs=1e-6)


def test_results_get_the_room_of_the_drop_zone_and_failed_images_are_tried_again(open_page, tmp_path):
    page = open_page("images")
    page.wait_for_selector("#image-drop")
    before = page.locator("#image-drop").bounding_box()["height"]
    answers = iter([{"status": 500, "json": {"title": "t", "status": 500, "detail": "no"}}])

    def answer(route):
        first = next(answers, None)
        return route.fulfill(**first) if first else route.continue_()

    page.route("**/v1/analyze?*", answer)
    page.set_input_files("#image-files", EXAMPLES / "astronaut.jpg")
    page.get_by_role("button", name="Try again: astronaut.jpg").click()
    sync_api.expect(page.locator(".shot tbody tr")).to_contain_text("happy")
    sync_api.expect(page.locator(".shot .problem")).to_have_count(0)
    assert page.locator("#image-drop").bounding_box()["height"] < before / 2


def test_forced_colours_leave_the_bars_and_show_which_face_is_meant(open_page):
    page = open_page("images", forced_colors="active")
    page.wait_for_selector("#image-drop")
    page.get_by_role("button", name="Try an example").click()
    page.locator(".number").first.click()
    colour = "element => getComputedStyle(element).backgroundColor"
    bars = {page.locator(".prob-bar i").nth(i).evaluate(colour) for i in range(8)}
    assert len(bars) == 8 and page.locator(".prob-bar").first.evaluate(colour) not in bars
    rows = [page.locator(".shot tbody th").nth(i).evaluate(colour) for i in range(2)]
    assert rows[0] != rows[1]
    edge = "element => getComputedStyle(element).borderTopStyle"
    assert page.locator("#image-drop").evaluate(edge) == "solid"
    assert serious(page) == []
