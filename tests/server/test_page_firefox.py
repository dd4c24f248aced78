"""People of a video, what is noted of it, comparing, and the keyboard, in Firefox: in its own and in forced colours."""

import base64
import gzip
import json
import time
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
def cuts(tmp_path_factory):
    """One person, the other, and the first again: three tracks for a tracker that knows nobody."""
    smiling = read_rgb(EXAMPLES / "astronaut.jpg")[:220, 114:334]
    neutral = read_rgb(EXAMPLES / "grace_hopper.jpg")[40:480, 30:470]
    path = tmp_path_factory.mktemp("cuts") / "cuts.webm"
    return tools.write_video(path, [[smiling], [neutral], [smiling]], count=45, fps=5, codec="libvpx-vp9")


@pytest.fixture(scope="module")
def server(tmp_path_factory, video):
    with tools.running_server(tmp_path_factory.mktemp("server") / "data", source=str(video)) as server:
        yield server


@pytest.fixture(params=COLOURS)
def colours(request):
    return request.param


@pytest.fixture
def firefox(tmp_path, colours):
    for name in ("profile", "saved"):
        (tmp_path / name).mkdir()
    there = {"browser__download__folderList": 2, "browser__download__dir": str(tmp_path / "saved")}
    chosen = COLOURS[colours] | there
    with firefox_tools.launched(tmp_path / "profile", ui__prefersReducedMotion=1, **chosen) as firefox:
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


def open_video(page, video):
    page.wait_until("document.querySelector('#connection').dataset.state === 'online'")
    page.choose_files("#video-file", video)
    page.wait_until("document.querySelector('.job[data-state=done]') !== null")
    page.click(".job[data-state=done] a")
    page.wait_until("document.querySelector('.video video')?.readyState >= 2")


def saved(folder, pattern, *, seconds=30):
    """Wait for a file that the browser saves, and return what is in it."""
    until = time.monotonic() + seconds
    while list(folder.glob("*.part")) or not any(file.stat().st_size for file in folder.glob(pattern)):
        assert time.monotonic() < until, f"never saved: {pattern}; there is {[f.name for f in folder.iterdir()]}"
        time.sleep(0.1)
    return next(folder.glob(pattern)).read_text(encoding="utf-8")


@pytest.mark.parametrize(("colours", "size"), [("light", "desktop"), ("forced", "phone")], indirect=["colours"])
def test_people_are_merged_split_and_given_back_and_files_go_in_and_out(firefox, server, cuts, size, tmp_path):
    page = firefox.new_page(**SIZES[size])
    page.open(f"{server.url}#videos")
    open_video(page, cuts)
    page.click("[data-person='Person 1'] .correct summary")
    page.evaluate("(document.querySelector(\"[data-person='Person 1'] select\").focus(), 1)")
    page.press("End")
    same = "document.querySelector(\"[data-person='Person 1'] select\").selectedOptions[0].text"
    assert page.evaluate(same) == "Person 3"
    page.click("[data-person='Person 1'] [data-do=merge]")
    page.wait_until(f"{count_of('.person')} === 2")
    assert "by the model: Person 1, Person 3" in page.evaluate(text_of("[data-person='Person 3']"))
    page.evaluate("(document.querySelector('.scrub').focus(), 1)")
    page.press("ArrowRight", "ArrowRight")
    page.click("[data-person='Person 3'] [data-do=split]")
    page.wait_until(f"{count_of('.person')} === 3")
    check(page, "people")
    for _ in range(2):
        before = page.evaluate(text_of("[aria-label=People]"))
        page.click("[data-do=undo-people]")
        page.wait_until(f"{text_of('[aria-label=People]')} !== {json.dumps(before)}")
    page.wait_until("document.querySelector('[data-do=undo-people]').hidden")
    assert page.evaluate("[...document.querySelectorAll('.person-name')].map(name => name.innerText)") == [
        "Person 1",
        "Person 2",
        "Person 3",
    ]
    page.click(".marking summary")
    (tmp_path / "truth.csv").write_text("start_s;end_s;expression\n0:01;0:03;joy\n0:05;;sad\n", encoding="utf-8")
    page.choose_files("#truth-file", tmp_path / "truth.csv")
    page.wait_until(f"{count_of('.spans li')} === 2")
    page.click("a[data-kind=truth]")
    go(page, "videos/compare")
    page.wait_until("document.querySelector('.chosen') !== null")
    page.click("[data-do=report]")
    report = saved(tmp_path / "saved", "mien-report.html")
    assert "cuts.webm" in report and "<script" not in report
    assert "happy" in saved(tmp_path / "saved", "truth-*.csv")
    page.close()


@pytest.mark.parametrize("colours", ["dark"], indirect=True)
def test_one_switch_tells_who_is_who(firefox, tmp_path, cuts, identity):
    with tools.running_server(tmp_path / "data") as own:
        page = firefox.new_page(**SIZES["phone"])
        page.open(f"{own.url}#videos")
        page.wait_until("document.querySelector('.options summary') !== null")
        page.click(".options summary")
        page.click("#video-people")
        open_video(page, cuts)
        assert page.evaluate(count_of(".person")) == 2
        check(page, "two people")
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
