"""What people note of a video, comparing, and the keyboard, in Firefox: in its own and in forced colours."""

import base64
import gzip
import json
from pathlib import Path

import pytest
from conftest import EXAMPLES, read_rgb

import browser_tools as tools
import firefox_tools
from keyboard_walk import walk

pytest.importorskip("fastapi", reason="needs the extra server")
pytest.importorskip("av", reason="needs the extra video")
pytest.importorskip("websockets", reason="needs the extra server")
pytestmark = [
    pytest.mark.skipif(firefox_tools.FIREFOX is None, reason="needs Firefox: apt-get install firefox-esr"),
    pytest.mark.timeout(180),
]

AXE = Path(__file__).resolve().parents[1] / "assets" / "axe" / "axe.min.js.gz"
SIZES = {"desktop": {"width": 1280, "height": 860}, "phone": {"width": 390, "height": 844}}
COLOURS = {  # 2: always the browser's colours, as with a contrast theme of the system
    "light": {"layout__css__prefers-color-scheme__content-override": 1},
    "dark": {},
    "forced": {"browser__display__document_color_use": 2},
}


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    smiling = read_rgb(EXAMPLES / "astronaut.jpg")[:320, 60:380]
    neutral = read_rgb(EXAMPLES / "grace_hopper.jpg")[40:480, 30:470]
    path = tmp_path_factory.mktemp("video") / "two.webm"
    return tools.write_video(path, [[smiling, neutral]], count=30, fps=5, codec="libvpx-vp9")


@pytest.fixture(scope="module")
def server(tmp_path_factory, video):
    with tools.running_server(tmp_path_factory.mktemp("server") / "data", source=str(video)) as server:
        yield server


@pytest.fixture(params=COLOURS)
def colours(request):
    return request.param


@pytest.fixture
def firefox(tmp_path, colours):
    (tmp_path / "profile").mkdir()
    with firefox_tools.launched(tmp_path / "profile", ui__prefersReducedMotion=1, **COLOURS[colours]) as firefox:
        yield firefox
        assert firefox.complaints == []


def text_of(selector):
    return f"document.querySelector({json.dumps(selector)})?.innerText"


def count_of(selector):
    return f"document.querySelectorAll({json.dumps(selector)}).length"


def check(page, where):
    assert walk(page.press, page.evaluate) == [], where
    axe = gzip.decompress(AXE.read_bytes()).decode()
    found = page.run(f"async () => {{ {axe}; return (await window.axe.run()).violations; }}")
    bad = [one for one in found if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in bad] == [], where
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where


def go(page, view):
    page.evaluate(f"location.hash = '#{view}'")
    page.wait_until(f"document.querySelector('#view-{view.partition('/')[0]}:not([hidden])') !== null")


def fill(page, selector, words):
    """Type over what stands in a field."""
    page.evaluate(f"(document.querySelector({json.dumps(selector)}).focus(), document.activeElement.select(), 1)")
    page.press(*words)


@pytest.mark.parametrize("size", SIZES)
def test_a_video_is_corrected_marked_and_compared_with_the_keyboard(firefox, server, video, size, colours):
    page = firefox.new_page(**SIZES[size])
    page.open(f"{server.url}#videos")
    page.wait_until("document.querySelector('#video-drop') !== null")
    assert page.evaluate("matchMedia('(forced-colors: active)').matches") == (colours == "forced")
    page.click(".options summary")
    page.choose_files("#video-file", video)
    page.click(".job[data-state=done] a")
    page.wait_until("document.querySelector('.video video')?.readyState >= 2")
    page.click(".correct summary")
    before = page.evaluate(text_of(".person-name"))
    fill(page, "[data-do=name]", "Anna")
    page.press("Enter")
    page.wait_until(f"{text_of('.person-name')} === 'Anna'")
    assert before in page.evaluate(text_of(".person"))
    page.wait_until("document.activeElement.dataset.do === 'name'")
    page.click(".marking summary")
    page.evaluate("(document.querySelector('.scrub').focus(), 1)")
    page.press("4", "ArrowRight", "ArrowRight", "0", "e")
    page.wait_until(f"{count_of('.spans li')} === 2")
    page.click("[data-do=score]")
    assert "Right in" in page.wait_until(text_of(".score p"))
    assert page.evaluate(f"{count_of('.truth i')} >= 1 && {count_of('.events i')} === 1")
    check(page, "a video")
    go(page, "videos/compare")
    page.wait_until("document.querySelector('.chosen') !== null")
    page.click(".compare button[type=submit]")
    page.wait_until("document.querySelector('.curves') !== null")
    assert "Anna" in page.evaluate(text_of(".compare-result .lanes"))
    check(page, "comparing")
    page.close()


@pytest.mark.parametrize("size", SIZES)
def test_all_other_views_are_walked_with_the_keyboard(firefox, server, size):
    page = firefox.new_page(**SIZES[size])
    page.open(f"{server.url}#live")
    page.wait_until("document.querySelector('#live-start') !== null")
    check(page, "live, before")
    page.run(firefox_tools.PLAY_A_PORTRAIT, base64.b64encode((EXAMPLES / "astronaut.jpg").read_bytes()).decode())
    page.click("#live-measures")
    page.click("#live-start")
    page.wait_until("document.querySelector('#live-people .measures:not([hidden])') !== null")
    page.click("#live-record")
    page.wait_until("/· [2-9]/.test(document.querySelector('#recording-count').textContent)")
    check(page, "live, recording")
    page.click("#live-record")
    page.wait_until("document.querySelector('[data-kind=csv]') !== null")
    page.click("#live-stop")
    go(page, "images")
    page.click("#image-example")
    page.wait_until("document.querySelectorAll('.shot tbody tr').length === 2")
    page.click(".shot:last-child .number")
    check(page, "images")
    go(page, "videos")
    page.wait_until("document.querySelector('.options summary') !== null")
    page.click(".options summary")
    page.wait_until("document.querySelector('#compare-link, .blank, .job') !== null")
    check(page, "videos")
    go(page, "camera")
    page.wait_until("document.querySelector('#camera-stage').dataset.state === 'running'")
    check(page, "the server's camera")
    page.close()
