"""People of a video on the page: one switch tells who is who, and they are named, merged and split, in Chromium."""

import csv
import io
import json

import pytest
from conftest import EXAMPLES, read_rgb

import browser_tools as tools
from page_fixtures import FIXTURES, MARKS, PHONE, saved, serious, sync_api, wait_until

pytestmark = MARKS
videos, server, playwright, browser, open_page = FIXTURES

WATCH = """() => {
    const { fillText } = CanvasRenderingContext2D.prototype;
    window.texts = [];
    CanvasRenderingContext2D.prototype.fillText = function (...all) {
        texts.push(all[0]);
        return fillText.apply(this, all);
    };
}"""


@pytest.fixture(scope="module")
def cuts(tmp_path_factory):
    """A video with two people and three cuts between them: five tracks for a tracker that knows nobody."""
    smiling = read_rgb(EXAMPLES / "astronaut.jpg")[:320, 60:380]
    neutral = read_rgb(EXAMPLES / "grace_hopper.jpg")[40:480, 30:470]
    path = tmp_path_factory.mktemp("cuts") / "cuts.mp4"
    return tools.write_video(path, [[smiling], [neutral], [smiling], [neutral]], count=60, fps=5)


def opened(page, path):
    page.set_input_files("#video-file", path)
    page.locator(".job[data-state=done]").first.get_by_role("link").click()
    page.wait_for_selector(".video h2")


def names(page):
    return page.locator(".person-name").all_inner_texts()


def tools_of(page, person):
    card = page.locator(f"[data-person='{person}']")
    if card.locator(".correct").get_attribute("open") is None:
        card.locator(".correct summary").click()
    return card


@pytest.mark.parametrize("how", [{}, PHONE], ids=["desktop", "phone"])
def test_people_are_named_merged_split_and_given_back(open_page, cuts, how):
    page = open_page("videos", **how)
    opened(page, cuts)
    assert {"Person 1", "Person 2", "Person 3", "Person 4"} <= set(names(page))
    card = tools_of(page, "Person 1")
    card.get_by_label("Name of Person 1").fill("Anna")
    page.keyboard.press("Enter")
    sync_api.expect(page.get_by_label("Name of Anna")).to_be_focused()
    card = tools_of(page, "Anna")
    card.get_by_label("The same person as Anna").select_option(label="Person 3")
    card.get_by_role("button", name="Merge Anna").click()
    sync_api.expect(page.locator("[data-person='Person 3']")).to_have_count(0)
    assert "by the model: Person 1, Person 3" in page.locator("[data-person=Anna]").inner_text()
    assert serious(page) == []
    page.reload()
    page.wait_for_selector("[data-person=Anna]")
    rows = list(csv.DictReader(io.StringIO(saved(page, "a[data-kind=csv]")[1].decode())))
    assert {row["track_id"] for row in rows if row["corrected_person"] == "Anna"} == {"1", "3"}
    summary = json.loads(saved(page, "a[data-kind=summary]")[1])
    assert summary["tracks"][0]["corrected_person"] == "Anna" and summary["tracks"][0]["tracks"] == [1, 3]
    lane = page.get_by_role("img", name="Anna, mostly happy")
    assert lane.is_visible() and page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    card, before = tools_of(page, "Anna"), len(names(page))
    card.get_by_role("button", name="Take out of Anna: track 3").click()
    sync_api.expect(page.locator(".person")).to_have_count(before + 1)
    sync_api.expect(
        page.locator("[data-person=Anna]").get_by_role("button", name="Take out of Anna: track 3")
    ).to_have_count(0)
    page.locator(".scrub").focus()
    page.keyboard.press("ArrowRight")
    card = tools_of(page, "Anna")
    card.get_by_role("button", name="Split at 1.0 s: Anna").click()
    sync_api.expect(page.locator("[data-person=Anna] .person-note").first).to_contain_text("0.0 s–1.0 s")
    for _ in range(4):
        page.locator("[data-do=undo-people]").click()
        page.wait_for_timeout(300)
    sync_api.expect(page.locator("[data-do=undo-people]")).to_be_hidden()
    assert "Person 1" in names(page) and "Anna" not in names(page)
    assert page.locator("a[data-kind=csv]").get_attribute("href").endswith("/result.csv")


def test_names_stand_on_the_image_and_a_stranger_cannot_change_them(open_page, cuts):
    page = open_page("videos")
    opened(page, cuts)
    card = tools_of(page, "Person 1")
    page.evaluate(WATCH)
    card.get_by_label("Name of Person 1").fill("Zoë")
    page.keyboard.press("Enter")
    wait_until(page, "window.texts.some((words) => words.startsWith('Zoë happy'))")
    stranger = open_page("live")
    stranger.goto(page.url)
    stranger.wait_for_selector("[data-person='Zoë']")
    card = tools_of(stranger, "Zoë")
    card.get_by_label("Name of Zoë").fill("Bob")
    stranger.keyboard.press("Enter")
    sync_api.expect(stranger.locator(".toast.bad")).to_contain_text("This video is not yours")
    assert "Zoë" in names(stranger)


def test_who_corrects_what_somebody_else_corrected_is_told(open_page, cuts):
    page = open_page("videos")
    opened(page, cuts)
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_selector(".video h2")
    for tab, name in ((other, "Anna"), (page, "Ben")):
        tools_of(tab, "Person 1").get_by_label("Name of Person 1").fill(name)
        tab.keyboard.press("Enter")
        tab.wait_for_selector("[data-person=Anna]")
    sync_api.expect(page.locator(".toast.bad")).to_contain_text("Somebody else changed this meanwhile")


def test_one_switch_makes_two_people_of_many_tracks(open_page, cuts, tmp_path_factory, identity):
    with tools.running_server(tmp_path_factory.mktemp("who") / "data") as own:
        page = open_page("videos", url=own.url)
        page.wait_for_selector("#video-drop")
        page.click(".options summary")
        page.get_by_label("Tell who is who, over cuts, too").check()
        opened(page, cuts)
        found = names(page)
        assert {"Person 1", "Person 2"} <= set(found) and len(found) <= 3, "a helmet may be taken for a third"
        lane = page.locator(".track .lane").first
        assert lane.locator("b").inner_text() == found[0]
        card = tools_of(page, "Person 1")
        assert card.locator(".parts li").count() == 2, "the parts of a person that the model put together"
        assert serious(page) == []


def test_without_the_network_the_switch_says_what_is_missing(open_page, tmp_path, monkeypatch):
    monkeypatch.setenv("MIEN_HOME", str(tmp_path / "empty"))
    with tools.running_server(tmp_path / "data") as own:
        page = open_page("videos", url=own.url)
        page.wait_for_selector("#video-drop")
        page.click(".options summary")
        assert page.locator("#video-people").is_disabled()
        assert "mien models pull identity" in page.inner_text("#video-people-hint")


def test_assigning_parts_keeps_the_rest(open_page):
    page = open_page("videos")
    made = page.evaluate("""async () => {
        const { Who } = await import("./who.js");
        const models = new Map([[1, "person 1"], [2, null]]);
        let who = new Who([{ track_id: 1, person: "A", start_s: 1, end_s: 4 }], models);
        const first = who.assigned([{ track: 1, start: 2, end: 3 }], null);
        who = new Who(first, models);
        const all = ["A", "person 1", "#2"].flatMap((key) => who.partsOf(key));
        return [first, who.partsOf("person 1"), who.assigned(all, "B")];
    }""")
    part = {"track_id": 1, "person": "A"}
    assert made[0] == [{**part, "start_s": 1, "end_s": 2}, {**part, "start_s": 3, "end_s": 4}]
    assert [(one["start"], one["end"]) for one in made[1]] == [(None, 1), (2, 3), (4, None)]
    assert made[2] == [{"track_id": track, "person": "B", "start_s": None, "end_s": None} for track in (1, 2)]
