"""The live view and the player as people use them: what lies where, options of videos, examples, settings."""

import re

import pytest
from conftest import EXAMPLES

from page_fixtures import FIXTURES, MARKS, PHONE, serious, start_camera, sync_api, wait_until
from videos import make_video

pytestmark = MARKS
videos, server, playwright, browser, open_page = FIXTURES

ZOOMED = {"viewport": {"width": 640, "height": 430}, "device_scale_factor": 2}  # a laptop's window at 200 %
ORDER = ["angry", "disgust", "fear", "happy", "sad", "surprise", "contempt", "neutral"]


def box_of(page, selector):
    return page.locator(selector).first.bounding_box()


@pytest.mark.parametrize("how", [{}, PHONE], ids=["desktop", "phone"])
def test_nothing_lies_on_the_image_and_the_timeline_is_seen_while_it_runs(open_page, how):
    page = open_page(**how)
    start_camera(page)
    page.click("#live-record")
    sync_api.expect(page.locator("#recording")).to_contain_text("rows")
    stage, lane = box_of(page, "#stage"), box_of(page, "#live-lanes .lane")
    for selector in ("#meters", "#recording", "#live-tools"):
        box = box_of(page, selector)
        assert box["y"] + box["height"] <= stage["y"] or box["y"] >= stage["y"] + stage["height"], selector
    lower_edge = page.viewport_size["height"] - (64 if how else 0)
    assert lane["y"] + lane["height"] <= lower_edge
    assert page.locator(".primary:visible").all_inner_texts() == ["Stop recording"]
    page.click("#live-record")
    assert page.locator("#live-tools .primary").inner_text() == "Record"


def test_expressions_have_one_order_in_all_label_sets(open_page):
    page = open_page()
    start_camera(page)
    for labels in ("ferplus", "fer2013", "combined"):
        page.select_option("#live-labels", labels)
        wanted = [name for name in ORDER if labels != "fer2013" or name != "contempt"]
        sync_api.expect(page.locator(".person").first.locator(".prob")).to_have_count(len(wanted))
        shown = page.locator(".person").first.locator(".prob > span:first-child").all_inner_texts()
        assert shown == wanted == page.locator("#live-legend li").all_inner_texts()


@pytest.mark.parametrize("view", ["live", "images", "videos"])
def test_with_large_letters_what_has_the_focus_is_seen(open_page, view):
    page = open_page(view, **ZOOMED)
    hidden = """(() => {
        const one = document.activeElement, { x, y, width, height } = one.getBoundingClientRect();
        if (one === document.body || one.matches('.skip, input.file')) return null;
        const there = document.elementFromPoint(x + width / 2, Math.max(1, y + Math.min(height, innerHeight) / 2));
        const seen = there && (one.contains(there) || there.contains(one) || there.closest('label')?.contains(one));
        return seen && y >= 0 ? null : `${one.outerHTML.slice(0, 90)} at ${y}`;
    })()"""
    page.wait_for_selector(f"#view-{view} h1")
    for key in ("Tab", "Shift+Tab"):
        for _ in range(16):
            page.keyboard.press(key)
            page.wait_for_timeout(20)
            assert page.evaluate(hidden) is None
    assert page.evaluate("document.documentElement.scrollWidth") == 640


def analyzed(page, path):
    """Send a video and open its page."""
    page.set_input_files("#video-file", path)
    page.locator(".job[data-state=done]").first.get_by_role("link").click()
    page.wait_for_selector(".video h2")


@pytest.mark.parametrize("how", [{}, PHONE], ids=["desktop", "phone"])
def test_the_players_controls_lie_below_the_image_and_obey_the_keyboard(open_page, videos, how):
    page = open_page("videos", **how)
    analyzed(page, videos[1])
    wait_until(page, "document.querySelector('.video video').readyState >= 2")
    assert page.get_attribute(".video video", "controls") is None, "the browser's own would lie under the labels"
    stage, bar = box_of(page, ".video-stage"), box_of(page, ".player-bar")
    assert bar["y"] >= stage["y"] + stage["height"] and bar["height"] < 60
    play = page.get_by_role("button", name="Play")
    play.focus()
    page.keyboard.press("Space")
    wait_until(page, "document.querySelector('.video video').currentTime > 0.2")
    page.get_by_role("button", name="Pause").press("Enter")
    wait_until(page, "document.querySelector('.video video').paused")
    page.get_by_label("Speed").select_option("2")
    assert page.evaluate("document.querySelector('.video video').playbackRate") == 2
    page.get_by_role("button", name="Sound off").click()
    assert page.evaluate("document.querySelector('.video video').muted")
    page.get_by_role("button", name="Whole screen").click()
    wait_until(page, "document.fullscreenElement?.className === 'player'")
    page.get_by_role("button", name="Whole screen").click()
    wait_until(page, "document.fullscreenElement === null")
    assert page.evaluate("document.documentElement.scrollWidth") == page.viewport_size["width"]
    assert serious(page) == []


PAINTED = """document.querySelector('.person canvas:not([hidden])') && [...document.querySelectorAll('.person canvas')]
    .every((c) => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size > 60)"""


def test_people_have_images_of_their_faces(open_page, videos):
    page = open_page()
    start_camera(page)
    wait_until(page, PAINTED)
    page.goto(page.url.replace("#live", "#videos"))
    analyzed(page, videos[1])
    wait_until(page, PAINTED)
    assert page.locator(".video .person canvas:not([hidden])").count() == page.locator(".video .person").count()


def test_options_of_a_video_are_those_of_the_api(open_page, videos):
    page = open_page("videos")
    page.locator("summary", has_text="More options").click()
    page.fill("#video-end", "soon")
    page.set_input_files("#video-file", videos[1])
    assert (
        page.evaluate("document.querySelector('#video-end').validationMessage") == "Type a time as 1:05, or in seconds"
    )
    sync_api.expect(page.locator(".job")).to_have_count(0)
    page.fill("#video-start", "0:02")
    page.fill("#video-end", "6.5")
    page.select_option("#video-fps", "2")
    page.check("#video-blur")
    page.locator("#video-smoothing").fill("1")
    assert serious(page) == []
    with page.expect_response(lambda answer: answer.request.method == "POST") as sent:
        analyzed(page, videos[1])
    wanted = {"fps": 2.0, "start_s": 2.0, "end_s": 6.5, "blur": True, "keep_video": False, "half_life_s": 1.0}
    assert wanted.items() <= sent.value.json()["options"].items()
    sync_api.expect(page.locator(".video video")).to_have_attribute("src", re.compile(r"/result\.mp4$"))
    page.goto(page.url.partition("#")[0] + "#live")
    sync_api.expect(page.locator("#live-smoothing-out")).to_have_text("1.0 s")


def test_an_example_is_there_for_a_first_try(open_page):
    page = open_page("images")
    page.get_by_role("button", name="Try an example").click()
    sync_api.expect(page.locator(".shot tbody tr")).to_have_count(2)
    assert page.locator(".shot tbody td:nth-child(2)").all_inner_texts() == ["😄 happy", "😐 neutral"]
    page.goto(page.url.replace("#images", "#videos"))
    page.get_by_role("button", name="Try an example").click()
    page.locator(".job[data-state=done]").get_by_role("link").click()
    sync_api.expect(page.locator(".video .people .person")).to_have_count(2)


def test_settings_hold_in_all_views_and_on_the_next_visit(open_page):
    page = open_page()
    page.select_option("#live-labels", "ferplus")
    page.select_option("#live-detector", "haar")
    for view in ("images", "videos"):
        page.goto(page.url.partition("#")[0] + f"#{view}")
        one = view.removesuffix("s")
        sync_api.expect(page.locator(f"#{one}-labels")).to_have_value("ferplus")
        sync_api.expect(page.locator(f"#{one}-detector")).to_have_value("haar")
    page.select_option("#video-labels", "fer2013")
    page.reload()
    page.goto(page.url.partition("#")[0] + "#live")
    sync_api.expect(page.locator("#live-labels")).to_have_value("fer2013")
    sync_api.expect(page.locator("#live-detector")).to_have_value("haar")
    start_camera_without_names(page)
    page.click("#live-mirror")
    page.reload()
    start_camera_without_names(page)
    assert page.get_attribute("#live-mirror", "aria-pressed") == "false"


def start_camera_without_names(page):
    page.click("#live-start")
    page.wait_for_selector("#stage[data-state=running]")


def test_an_upload_that_broke_off_is_tried_again(open_page, tmp_path):
    page = open_page("videos")
    page.wait_for_selector(".blank")
    tries = []

    def answer(route):
        if route.request.method == "POST" and not tries:
            tries.append(1)
            return route.abort()
        return route.continue_()

    page.route("**/v1/jobs", answer)
    page.set_input_files("#video-file", make_video(tmp_path / "again.mp4"))
    page.get_by_role("button", name="Try again: again.mp4").click()
    sync_api.expect(page.locator(".job[data-state=done]")).to_have_count(1)


@pytest.mark.parametrize(("view", "chosen"), [("images", "#image-files"), ("videos", "#video-file")])
def test_what_is_chosen_before_the_scripts_have_come_is_analyzed(open_page, videos, view, chosen):
    page = open_page()
    waiting = []
    page.route("**/app.js", lambda route: waiting.append(route))
    page.goto(f"{page.url.partition('#')[0]}?slow#{view}", wait_until="commit")
    page.locator(chosen).wait_for(state="attached")
    page.set_input_files(chosen, EXAMPLES / "astronaut.jpg" if view == "images" else videos[1])
    waiting.pop().continue_()
    page.wait_for_selector(".shot tbody tr" if view == "images" else ".job[data-state=done]")
    assert page.locator(chosen).input_value() == ""
