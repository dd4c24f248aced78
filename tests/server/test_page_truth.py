"""What was really shown is marked by keyboard on the timeline of a video, scored, and goes out and in as a table."""

import csv
import io

import pytest

from mien.labels import FER7
from mien.video import read_truth
from page_fixtures import FIXTURES, MARKS, PHONE, saved, serious, sync_api, wait_until

pytestmark = MARKS
videos, server, playwright, browser, open_page = FIXTURES


def opened(page, path):
    page.set_input_files("#video-file", path)
    page.locator(".job[data-state=done]").first.get_by_role("link").click()
    page.wait_for_selector(".video h2")
    wait_until(page, "document.querySelector('.video video').readyState >= 2")
    page.locator(".marking summary").click()
    page.locator("#truth-whose").select_option("")


def number_of(page, expression):
    return page.locator(f".truth-keys [data-name={expression}]").get_attribute("aria-keyshortcuts")


def spans(page):
    return page.locator(".spans").first.locator("li").all_inner_texts()


@pytest.mark.parametrize("how", [{}, PHONE], ids=["desktop", "phone"])
def test_spans_are_marked_with_the_keyboard_alone_and_scored(open_page, videos, tmp_path, how):
    page = open_page("videos", **how)
    opened(page, videos[1])
    happy, sad = number_of(page, "happy"), number_of(page, "sad")
    page.locator(".scrub").focus()
    for key in (happy, *["ArrowRight"] * 6, sad, *["ArrowRight"] * 6, "0", "e"):
        page.keyboard.press(key)
        page.wait_for_timeout(30)
    sync_api.expect(page.locator(".spans").first.locator("li")).to_have_count(2)
    assert [one.split("\n")[0] for one in spans(page)] == ["happy", "sad"]
    assert page.locator(".track .truth").first.locator("i").all_inner_texts() == ["happy", "sad"]
    sync_api.expect(page.locator(".scrub .events i")).to_have_count(1)
    page.get_by_role("button", name="Score").click()
    sync_api.expect(page.locator(".score")).to_contain_text("Right in ")
    assert page.locator(".score tbody tr").count() >= 2
    assert serious(page) == [] and page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    _, text = saved(page, "a[data-kind=truth]")
    (tmp_path / "truth.csv").write_bytes(text)
    truth = read_truth(tmp_path / "truth.csv", FER7)
    assert [(s.start_s, s.end_s, s.expression, s.track_id) for s in truth.spans] == [
        (0, 6, "happy", None),
        (6, 12, "sad", None),
    ]
    page.locator(".scrub").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Delete")
    sync_api.expect(page.locator(".spans").first.locator("li")).to_have_count(1)
    page.keyboard.press("Control+z")
    sync_api.expect(page.locator(".spans").first.locator("li")).to_have_count(2)
    page.reload()
    page.locator(".marking summary").click()
    assert len(spans(page)) == 2, "what was marked outlives the page"


def test_a_span_over_others_takes_their_time_and_is_of_one_person(open_page, videos):
    page = open_page("videos")
    opened(page, videos[1])
    page.locator("#truth-whose").select_option(label="Person 1")
    page.locator(".scrub").focus()
    keys = [number_of(page, "happy"), *["ArrowRight"] * 8, "0", *["ArrowLeft"] * 5, number_of(page, "fear")]
    for key in (*keys, "ArrowRight", "ArrowRight", "0"):
        page.keyboard.press(key)
        page.wait_for_timeout(30)
    sync_api.expect(page.locator(".spans").first.locator("li")).to_have_count(3)
    rows = list(csv.DictReader(io.StringIO(saved(page, "a[data-kind=truth]")[1].decode())))
    assert [(float(row["start_s"]), float(row["end_s"]), row["expression"], row["track_id"]) for row in rows] == [
        (0, 3, "happy", "1"),
        (3, 5, "fear", "1"),
        (5, 8, "happy", "1"),
    ]
    second = page.locator(".track .lane", has_text="Person 2").locator(".truth")
    assert second.locator("i").count() == 0


def test_a_table_is_read_and_a_wrong_one_is_told_in_words(open_page, videos, tmp_path):
    page = open_page("videos")
    opened(page, videos[1])
    (tmp_path / "t.csv").write_text("start_s;end_s;expression\n0:01;0:03;joy\n0:05;;sad\n")
    page.set_input_files("#truth-file", tmp_path / "t.csv")
    sync_api.expect(page.locator(".spans").first.locator("li")).to_have_count(2)
    assert "5.0 s" in spans(page)[1] or "0:05" in spans(page)[1]
    (tmp_path / "t.csv").write_text("when,what\n1,2\n")
    page.set_input_files("#truth-file", tmp_path / "t.csv")
    sync_api.expect(page.locator(".toast.bad")).to_contain_text("The table cannot be read")
    assert len(spans(page)) == 2


def test_marking_works_with_the_mouse_and_keys_mean_nothing_while_it_is_closed(open_page, videos):
    page = open_page("videos", **PHONE)
    opened(page, videos[1])
    page.locator(".truth-keys [data-name=surprise]").click()
    assert page.locator(".truth-keys [data-name=surprise]").get_attribute("aria-pressed") == "true"
    page.locator(".scrub").focus()
    page.keyboard.press("ArrowRight")
    page.locator(".truth-keys [data-do=end]").click()
    sync_api.expect(page.locator(".spans").first.locator("li")).to_have_count(1)
    page.locator("#event-name").fill("3 beeps e")
    page.keyboard.press("Enter")
    sync_api.expect(page.locator(".spans").last.locator("li")).to_contain_text("3 beeps e")
    assert len(spans(page)) == 1, "letters of a name mark nothing"
    page.get_by_role("button", name="Take away 3 beeps e").click()
    sync_api.expect(page.locator(".spans").last.locator("li")).to_have_count(0)
    page.locator("[data-do=undo-events]").click()
    sync_api.expect(page.locator(".spans").last.locator("li")).to_have_count(1)
    page.locator(".marking summary").click()
    page.locator(".scrub").focus()
    page.keyboard.press("Delete")
    page.wait_for_timeout(300)
    page.locator(".marking summary").click()
    assert len(spans(page)) == 1
