"""Every view walked with the keyboard alone, at both sizes and in all colours, with axe, in Chromium."""

import pytest
from conftest import EXAMPLES, read_rgb

import browser_tools as tools
from keyboard_walk import walk
from page_fixtures import FIXTURES, MARKS, serious, wait_until

pytestmark = MARKS
videos, server, playwright, browser, open_page = FIXTURES

SIZES = {"desktop": {"width": 1280, "height": 860}, "phone": {"width": 390, "height": 844}}
COLOURS = {"light": {"color_scheme": "light"}, "dark": {"color_scheme": "dark"}, "forced": {"forced_colors": "active"}}


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    portraits = [
        read_rgb(EXAMPLES / "astronaut.jpg")[:320, 60:380],
        read_rgb(EXAMPLES / "grace_hopper.jpg")[40:480, 30:470],
    ]
    return tools.write_video(tmp_path_factory.mktemp("short") / "short.mp4", [portraits], count=15, fps=5)


def check(page, where):
    assert walk(page.keyboard.press, page.evaluate) == [], where
    assert serious(page) == [], where
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where


def go(page, view):
    page.evaluate(f"location.hash = '#{view}'")
    page.wait_for_selector(f"#view-{view.partition('/')[0]}:not([hidden])")


@pytest.mark.parametrize("colours", COLOURS)
@pytest.mark.parametrize("size", SIZES)
def test_every_view_is_walked_with_the_keyboard(open_page, short, size, colours):
    page = open_page("live", viewport=SIZES[size], reduced_motion="reduce", **COLOURS[colours])
    page.wait_for_selector("#live-start")
    check(page, "live, before")
    page.locator("#live-start").press("Enter")
    page.wait_for_selector("#stage[data-state=running]")
    page.locator("#live-record").press("Enter")
    wait_until(page, "/· [2-9]/.test(document.querySelector('#recording-count').textContent)")
    check(page, "live, recording")
    page.locator("#live-record").press("Enter")
    page.wait_for_selector("[data-kind=csv]")
    page.locator("#live-stop").press("Enter")
    go(page, "images")
    page.locator("#image-example").press("Enter")
    page.wait_for_selector(".shot:not(.waiting) table")
    page.locator(".shot .number").first.press("Enter")
    check(page, "images")
    go(page, "videos")
    page.wait_for_selector("#video-drop")
    page.locator(".options summary").press("Enter")
    page.set_input_files("#video-file", short)
    page.wait_for_selector(".job[data-state=done]")
    check(page, "videos")
    page.locator(".job[data-state=done]").first.get_by_role("link").press("Enter")
    page.wait_for_selector(".marking summary")
    page.locator(".marking summary").press("Enter")
    for fold in page.locator(".correct summary").all():
        fold.press("Enter")
    page.locator(".scrub").focus()
    for key in ("1", "ArrowRight", "0", "e"):
        page.keyboard.press(key)
    page.wait_for_selector(".spans li")
    page.locator("[data-do=score]").press("Enter")
    page.wait_for_selector(".score p")
    check(page, "a video")
    go(page, "videos/compare")
    page.wait_for_selector(".chosen")
    page.locator(".compare button[type=submit]").press("Enter")
    page.wait_for_selector(".curves")
    check(page, "comparing")
    go(page, "camera")
    page.wait_for_selector("#camera-stage[data-state=running]")
    check(page, "the server's camera")


def test_the_walk_sees_what_is_wrong(open_page):
    page = open_page("images")
    page.wait_for_selector("#image-drop")
    page.evaluate("document.querySelector('#image-labels').tabIndex = -1")
    page.evaluate("document.querySelector('#image-detector').style.outline = 'none'")
    wrong = walk(page.keyboard.press, page.evaluate)
    assert any(one.startswith("not reached") and "image-labels" in one for one in wrong)
    assert any(one.startswith("no outline") and "image-detector" in one for one in wrong) and len(wrong) == 2
