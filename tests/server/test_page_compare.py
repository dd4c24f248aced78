"""Videos and people side by side on the page, aligned at an event, and the report of them, in Chromium."""

import pytest
from conftest import EXAMPLES, read_rgb

import browser_tools as tools
from page_fixtures import FIXTURES, MARKS, PHONE, saved, serious, sync_api, wait_until

pytestmark = MARKS
videos, server, playwright, browser, open_page = FIXTURES


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two short videos: one person after the other, and both at once."""
    folder = tmp_path_factory.mktemp("pair")
    smiling = read_rgb(EXAMPLES / "astronaut.jpg")[:320, 60:380]
    neutral = read_rgb(EXAMPLES / "grace_hopper.jpg")[40:480, 30:470]
    one = tools.write_video(folder / "one after one.mp4", [[smiling], [neutral]], count=30, fps=5)
    return one, tools.write_video(folder / "both.mp4", [[smiling, neutral]], count=30, fps=5)


def analyzed_with_events(page, pair):
    for path in pair:
        page.evaluate("location.hash = '#videos'")
        page.wait_for_selector("#video-drop")
        page.set_input_files("#video-file", path)
        page.get_by_role("link", name=f"Open {path.name}").click()
        page.wait_for_selector(".marking summary")
        page.locator(".marking summary").click()
        page.locator(".scrub").focus()
        for key in (*["ArrowRight"] * 3, "e"):
            page.keyboard.press(key)
        sync_api.expect(page.locator(".spans").last.locator("li")).to_have_count(1)
    page.evaluate("location.hash = '#videos'")
    page.click("#compare-link")
    page.wait_for_selector(".chosen")


@pytest.mark.parametrize("how", [{}, PHONE], ids=["desktop", "phone"])
def test_videos_are_compared_at_an_event_and_people_left_away(open_page, pair, how):
    page = open_page("videos", **how)
    analyzed_with_events(page, pair)
    for path, group in zip(pair, ("first", "second"), strict=True):
        page.get_by_label(f"Group of {path.name}").fill(group)
    assert page.locator("#compare-event option").all_inner_texts() == ["event", "the beginning of each video"]
    page.get_by_role("button", name="Compare").press("Enter")
    page.wait_for_selector(".curves")
    lanes = page.locator(".compare-result .lane")
    count = lanes.count()
    assert count >= 3 and "N = 2" in page.locator(".compare-result .legend").first.inner_text()
    painted = "[...document.querySelectorAll('.compare-result canvas')].every((c) => c.width > 50)"
    wait_until(page, painted)
    assert "before" in page.locator(".curves").get_attribute("aria-label")
    page.locator("#compare-expression").select_option("sad")
    assert page.locator(".curves").get_attribute("aria-label").startswith("sad around time 0")
    assert serious(page) == [] and page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = page.get_by_role("checkbox", name="Person 1 of both.mp4")
    box.press("Space")
    sync_api.expect(page.locator(".compare-result canvas")).to_have_count(count - 1)
    sync_api.expect(page.get_by_role("checkbox", name="Person 1 of both.mp4")).to_be_focused()
    name, text = saved(page, "[data-do=report]")
    assert name == "mien-report.html"
    report = text.decode()
    assert "<script" not in report and "first" in report and "mien-b" in report and "both.mp4" in report
    page.get_by_role("checkbox", name="Person 1 of both.mp4").press("Space")
    sync_api.expect(page.locator(".compare-result canvas")).to_have_count(count)


def test_what_cannot_be_compared_is_told_in_words(open_page, pair):
    page = open_page("videos")
    page.evaluate("location.hash = '#videos/compare'")
    sync_api.expect(page.locator(".compare")).to_contain_text("no finished videos yet")
    analyzed_with_events(page, pair[1:])
    page.select_option("#compare-event", label="event")
    page.fill("#compare-after", "0.1")
    page.fill("#compare-before", "0")
    page.evaluate("document.querySelector('.compare').noValidate = true")
    page.get_by_role("button", name="Compare").click()
    page.wait_for_selector(".curves")
    assert page.locator(".compare-result section").count() == 2, "without a before there is no change"
    page.locator(".chosen input[type=checkbox]").uncheck()
    page.get_by_role("button", name="Compare").click()
    sync_api.expect(page.locator(".toast.bad")).to_be_visible()


def test_the_report_prints_light_and_whole(open_page, pair, tmp_path, playwright):
    page = open_page("videos")
    analyzed_with_events(page, pair)
    path = tmp_path / "report.html"
    path.write_bytes(saved(page, "[data-do=report]")[1])
    dark = page.context.browser.new_context(color_scheme="dark")
    report = dark.new_page()
    report.goto(path.as_uri())
    bright = "() => getComputedStyle(document.body).backgroundColor"
    assert report.evaluate(bright) == "rgb(20, 23, 26)"
    report.emulate_media(media="print", color_scheme="dark")
    assert report.evaluate(bright) == "rgb(255, 255, 255)"
    assert report.pdf(format="A4").startswith(b"%PDF")
    report.set_viewport_size({"width": 720, "height": 1000})  # about A4
    assert report.evaluate("document.documentElement.scrollWidth") == 720, "a table reaches beyond the paper"
    dark.close()
