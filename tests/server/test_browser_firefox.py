"""The page in Firefox: each view once, on a dark system. test_browser.py tries it in detail, in Chromium."""

import base64
import gzip
import json
from pathlib import Path

import pytest
from conftest import EXAMPLES, read_rgb

import browser_tools as tools
import firefox_tools

pytest.importorskip("fastapi", reason="needs the extra server")
pytest.importorskip("av", reason="needs the extra video")
pytest.importorskip("websockets", reason="needs the extra server")
pytestmark = [
    pytest.mark.skipif(firefox_tools.FIREFOX is None, reason="needs Firefox: apt-get install firefox-esr"),
    pytest.mark.timeout(120),
]

AXE = Path(__file__).resolve().parents[1] / "assets" / "axe" / "axe.min.js.gz"
PHONE = (360, 740)
BRIGHTNESS = "Math.max(...getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number))"


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    smiling = read_rgb(EXAMPLES / "astronaut.jpg")[:320, 60:380]
    path = tmp_path_factory.mktemp("video") / "smile.webm"  # Firefox plays H.264 only where the system has a decoder
    return tools.write_video(path, [[smiling]], count=30, fps=5, codec="libvpx-vp9")


@pytest.fixture(scope="module")
def server(tmp_path_factory, video):
    with tools.running_server(tmp_path_factory.mktemp("server") / "data", source=str(video)) as server:
        yield server


@pytest.fixture(scope="module")
def firefox(tmp_path_factory):
    with firefox_tools.launched(tmp_path_factory.mktemp("firefox")) as firefox:
        yield firefox


@pytest.fixture
def open_page(firefox, server):
    """Return a function that opens a view; at the end, whatever the page complained of is an error."""
    pages = []

    def open_(view, **size):
        page = firefox.new_page(**size)
        pages.append(page)
        page.open(f"{server.url}#{view}")
        page.wait_until(f"document.querySelector('#view-{view}:not([hidden])') !== null")
        return page

    yield open_
    for page in pages:
        page.close()
    complaints, firefox.complaints = firefox.complaints, []
    assert not complaints


def serious(page):
    """Return what axe-core finds, without the lesser things."""
    axe = gzip.decompress(AXE.read_bytes()).decode()
    found = page.run(f"async () => {{ {axe}; return (await window.axe.run()).violations; }}")
    bad = [one for one in found if one["impact"] in ("serious", "critical")]
    return [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in bad]


@pytest.mark.parametrize("size", [{}, {"width": PHONE[0], "height": PHONE[1]}], ids=["desktop", "phone"])
def test_axe_finds_nothing_serious(open_page, size):
    page = open_page("live", **size)
    page.run(firefox_tools.PLAY_A_PORTRAIT, base64.b64encode((EXAMPLES / "astronaut.jpg").read_bytes()).decode())
    page.click("#live-start")
    page.wait_until("document.querySelector('.person canvas:not([hidden])') !== null")
    page.click("#live-record")
    page.wait_until(f"parseInt({text_of('#recording-count')}?.split('· ')[1]) >= 2")
    assert serious(page) == []
    page.click("#live-record")
    page.wait_until("document.querySelector('[data-kind=csv]') !== null")
    assert serious(page) == []
    page.click(".tabs a[data-view=images]")
    page.click("#image-example")
    page.click(".shot:last-child .number")
    assert serious(page) == []
    page.click(".tabs a[data-view=videos]")
    page.click(".options summary")
    page.choose_files("#video-file", EXAMPLES / "README.md")
    page.click(".job[data-state=failed] summary")
    assert serious(page) == []


def text_of(selector):
    return f"document.querySelector({json.dumps(selector)})?.innerText"


def test_the_live_page_names_the_expression(open_page):
    page = open_page("live")
    page.run(firefox_tools.PLAY_A_PORTRAIT, base64.b64encode((EXAMPLES / "astronaut.jpg").read_bytes()).decode())
    page.click("#live-start")
    page.wait_until(f"{text_of('.person-name')} === 'happy'")
    page.wait_until(f"parseFloat({text_of('#meter-rate')}) > 1")
    assert page.evaluate("document.querySelectorAll('#live-lanes .lane').length") == 1
    inked = "(c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v > 0))"
    assert page.evaluate(f"{inked}(document.querySelector('#live-overlay'))")
    page.click("#live-stop")
    page.wait_until("document.querySelector('#live-video').srcObject === null")


def test_a_recording_with_its_video_outlives_the_page(open_page):
    page = open_page("live")
    page.run(firefox_tools.PLAY_A_PORTRAIT, base64.b64encode((EXAMPLES / "astronaut.jpg").read_bytes()).decode())
    page.click("#live-film")
    page.click("#live-start")
    page.wait_until(f"{text_of('.person-name')} === 'happy'")
    page.click("#live-record")
    page.wait_until(f"parseInt({text_of('#recording-count')}?.split('· ')[1]) >= 5")
    page.click("#live-record")
    page.wait_until("document.querySelector('[data-kind=video]') !== null")
    recorded = page.evaluate(text_of(".recording-note"))
    page.open("about:blank")
    page = open_page("live")
    assert page.wait_until(text_of(".recording-note")) == recorded
    page.run("() => { const make = URL.createObjectURL; URL.createObjectURL = (b) => make((window.made = b)); }")
    for kind, largest in (("csv", 100_000), ("video", 10_000_000)):
        page.run("() => { window.made = null; }")
        page.click(f"[data-kind={kind}]")
        size = page.wait_until("window.made?.size")
        assert 1000 < size < largest
    start = "window.made.slice(0, 4).arrayBuffer().then((data) => [...new Uint8Array(data)])"
    assert page.evaluate(start) == [0x1A, 0x45, 0xDF, 0xA3], "Matroska's first four bytes"


def test_firefoxs_own_camera_is_shown(open_page):
    page = open_page("live")
    page.click("#live-start")
    page.wait_until("document.querySelector('#stage').dataset.state === 'running'")
    page.wait_until(f"parseFloat({text_of('#meter-rate')}) > 1")
    assert page.evaluate("document.querySelector('#live-video').videoWidth") > 0


def test_an_image_is_analyzed(open_page):
    page = open_page("images")
    page.choose_files("#image-files", EXAMPLES / "astronaut.jpg")
    assert "happy" in page.wait_until(text_of(".shot tbody tr"))


def test_a_video_becomes_a_job_that_can_be_watched(open_page, video):
    page = open_page("videos")
    page.choose_files("#video-file", video)
    page.click(".job[data-state=done] a")
    page.wait_until("document.querySelector('.video video')?.readyState >= 2")
    assert page.evaluate("document.querySelector('.video video').videoWidth") == tools.CAMERA_SIZE[0]
    page.evaluate("document.querySelector('.video video').currentTime = 3")
    page.wait_until("document.querySelector('.scrub').getAttribute('aria-valuenow') === '3'")
    assert page.evaluate(text_of(".video .people .person .prob")).startswith("happy")
    page.wait_until("document.querySelector('.video .person canvas:not([hidden])') !== null")
    assert page.evaluate("document.querySelector('.video video').controls") is False
    page.evaluate("document.querySelector('.video video').currentTime = 0")
    page.click("[data-do=play]")
    page.wait_until("document.querySelector('.video video').currentTime > 0.3")
    page.click("[data-do=play]")
    page.wait_until("document.querySelector('.video video').paused")
    page.resize(*PHONE)
    page.wait_until("innerWidth === 360")
    below = "document.querySelector('.player-bar').getBoundingClientRect().top"
    assert page.evaluate(f"{below} >= document.querySelector('.video-stage').getBoundingClientRect().bottom")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_removing_is_undone_and_failures_are_told_in_words(open_page, video):
    page = open_page("videos")
    page.click("#video-example")
    page.click(".job[data-state=done] .round")
    page.wait_until(f"{text_of('.job[data-state=leaving] .job-note')} === 'Removed, with its results'")
    assert page.evaluate("document.activeElement.innerText") == "Undo"
    page.click(".job[data-state=leaving] button")
    page.wait_until("document.querySelector('.job[data-state=done]') !== null")
    page.choose_files("#video-file", EXAMPLES / "README.md")
    words = page.wait_until(text_of(".job[data-state=failed] .job-note"))
    assert words.startswith("This is not a video, or only a part of one. ")
    page.click(".job[data-state=failed] summary")
    assert "FFmpeg" in page.wait_until(text_of(".job[data-state=failed] .technical p"))


def test_all_of_a_face_is_told_at_phone_size(open_page):
    page = open_page("images", width=PHONE[0], height=PHONE[1])
    page.click("#image-example")
    page.wait_until("document.querySelectorAll('.shot tbody tr').length === 2")
    page.click(".shot:last-child .number")
    page.wait_until("document.querySelectorAll('tr.detail .prob').length === 8")
    assert page.evaluate("document.querySelector('.shot:last-child .number').ariaExpanded") == "true"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_servers_camera_is_shown(open_page):
    page = open_page("camera")
    page.wait_until("document.querySelector('#camera-stage').dataset.state === 'running'")
    assert page.evaluate("document.querySelector('#camera-image').naturalWidth") == tools.CAMERA_SIZE[0]
    page.wait_until(f"{text_of('#camera-people .person-name')} === 'happy'")


def test_the_colours_follow_the_system_and_the_switch(open_page):
    page = open_page("images")
    assert page.evaluate(BRIGHTNESS) < 40
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    assert page.evaluate(BRIGHTNESS) > 220
    page.click("#theme")
    assert page.evaluate(BRIGHTNESS) < 40
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme ?? 'auto'") == "auto"


@pytest.mark.parametrize("view", ["live", "images", "videos", "camera"])
def test_nothing_is_wider_than_a_phone(open_page, view):
    page = open_page(view, width=PHONE[0], height=PHONE[1])
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("Math.round(document.querySelector('.tabs').getBoundingClientRect().bottom)") == PHONE[1]
