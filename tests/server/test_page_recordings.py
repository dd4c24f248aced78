"""Recordings of the live view: none is lost, in Chromium."""

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import EXAMPLES, read_rgb

import browser_tools as tools
from mien.attributes.mesh import MESHES
from mien.weights import WEIGHTS
from page_fixtures import FIXTURES, MARKS, PHONE, saved, serious, start_camera, sync_api, wait_until

pytestmark = MARKS
videos, server, playwright, browser, open_page = FIXTURES

ROWS = "parseInt(document.querySelector('#recording-count').textContent.split('· ')[1])"


def record(page, rows):
    """Record at least so many rows and end it."""
    page.click("#live-record")
    sync_api.expect(page.locator("#recording")).to_be_visible()
    wait_until(page, f"{ROWS} >= {rows}")
    page.click("#live-record")
    sync_api.expect(page.locator(".recording-item .row").first).to_contain_text("CSV")


def rows_of(page, number=0):
    """Download a recording and return its rows."""
    with page.expect_download() as download:
        page.locator("[data-kind=csv]").nth(number).click()
    return list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))


def test_recorded_rows_are_downloaded_as_csv_and_jsonl(open_page):
    page = open_page()
    start_camera(page)
    record(page, 6)
    rows = rows_of(page)
    name, lines = saved(page, "[data-kind=jsonl]")
    records = [json.loads(line) for line in lines.splitlines()]
    assert re.fullmatch(r"Recording \d{4}-\d\d-\d\d \d\d\.\d\d\.jsonl", name)
    assert len(rows) == len(records) >= 6
    assert {row["steady_expression"] for row in rows} == {"happy", "neutral"}
    assert list(records[0]) == list(rows[0])
    for row in records:
        names = [key.removeprefix("smooth_") for key in row if key.startswith("smooth_")]
        assert sum(row[name] for name in names) == pytest.approx(1, abs=0.01)
        assert row["x2"] > row["x1"] and row["source"] == "live" and row["labels"] == "combined"
        seen = datetime.fromisoformat(row["clock"])
        assert timedelta(0) < datetime.now(UTC) - seen < timedelta(minutes=2)
    times = [(row["time_s"], row["clock"]) for row in records]
    assert times == sorted(times)
    passed = datetime.fromisoformat(times[-1][1]) - datetime.fromisoformat(times[0][1])
    assert passed.total_seconds() == pytest.approx(times[-1][0] - times[0][0], abs=0.002)


def test_another_label_set_does_not_end_a_recording(open_page):
    page = open_page()
    start_camera(page)
    page.click("#live-record")
    wait_until(page, f"{ROWS} >= 6")
    page.select_option("#live-labels", "fer2013")
    sync_api.expect(page.locator("#live-legend")).not_to_contain_text("contempt")
    before = page.evaluate(ROWS)
    wait_until(page, f"{ROWS} >= {before + 6}")
    sync_api.expect(page.locator("#live-record")).to_have_text("Stop recording")
    page.click("#live-record")
    rows = rows_of(page)
    assert {(row["labels"], row["contempt"] != "") for row in rows} == {("combined", True), ("fer2013", False)}
    assert len({row["source"] for row in rows}) == 2, "people are counted anew"


def test_a_recording_survives_a_reload_and_a_second_one(open_page):
    page = open_page()
    start_camera(page)
    record(page, 4)
    kept = len(rows_of(page))
    page.click("#live-record")
    wait_until(page, f"{ROWS} >= 6")
    at_least = page.evaluate(ROWS)
    page.wait_for_timeout(700)  # it is written twice a second
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.reload()
    sync_api.expect(page.locator(".recording-item")).to_have_count(2)
    assert asked == ["beforeunload"], "who would interrupt a recording is asked"
    sync_api.expect(page.locator(".recording-note").first).to_contain_text("in this browser only")
    assert len(rows_of(page)) >= at_least
    sync_api.expect(page.locator(".recording-note").first).to_contain_text("downloaded")
    page.locator("summary", has_text="1 earlier recording").click()
    assert len(rows_of(page, 1)) == kept


@pytest.mark.skipif(not (WEIGHTS["mesh"].is_there() or MESHES["mien-mesh"].is_there()), reason="no mesh is here")
def test_what_is_measured_is_recorded(open_page):
    page = open_page()
    start_camera(page)
    page.click("#live-record")
    wait_until(page, f"{ROWS} >= 4")
    page.check("#live-measures")
    wait_until(page, "document.querySelector('.person .measures:not([hidden])') !== null")
    before = page.evaluate(ROWS)
    wait_until(page, f"{ROWS} >= {before + 4}")
    page.click("#live-record")
    rows = rows_of(page)
    assert {"yaw", "mouth_corners", "quality", "note", "clock"} <= set(rows[0])
    assert rows[0]["yaw"] == "" and abs(float(rows[-1]["yaw"])) < 45
    assert list(rows[0])[-3:] == ["clock", "labels", "mark"]


def test_a_recording_goes_on_while_another_view_is_shown(open_page):
    page = open_page()
    start_camera(page)
    page.click("#live-record")
    wait_until(page, f"{ROWS} >= 2")
    page.click(".tabs a[data-view=images]")
    sync_api.expect(page.get_by_role("link", name="Live recording")).to_be_visible()
    before = page.evaluate(ROWS)
    wait_until(page, f"{ROWS} >= {before + 8}")
    assert serious(page) == []
    page.click(".tabs a[data-view=live]")
    page.click("#live-record")
    rows = rows_of(page)
    assert len({row["x1"] for row in rows}) > 4, "the images are new ones"
    page.click(".tabs a[data-view=images]")
    sync_api.expect(page.get_by_role("link", name="Live", exact=True)).to_be_visible()
    page.click(".tabs a[data-view=live]")
    page.wait_for_selector("#stage[data-state=running]")


def test_a_recording_is_thrown_away_by_name_only(open_page):
    page = open_page()
    start_camera(page)
    record(page, 2)
    page.locator(".recording-name").fill("Participant 7")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Throw away Participant 7").click()
    sync_api.expect(page.locator("#throw-title")).to_have_text("Throw away «Participant 7»?")
    page.get_by_role("button", name="Keep it").click()
    page.reload()
    page.get_by_role("button", name="Throw away Participant 7").click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Throw away Participant 7").click()
    page.get_by_role("button", name="Throw away", exact=True).click()
    sync_api.expect(page.locator("#recordings")).to_be_hidden()
    page.reload()
    page.wait_for_selector("#live-start")
    sync_api.expect(page.locator("#recordings")).to_be_hidden()


def test_markers_are_set_by_key_and_frames_without_faces_have_rows(open_page, playwright, tmp_path):
    empty = [frame * 0 + 90 for frame in tools.portrait_frames([read_rgb(EXAMPLES / "astronaut.jpg")], count=8)]
    camera = tools.write_camera_video(tmp_path / "nobody.mjpeg", empty[:1], count=8)
    using = tools.launch(playwright, camera=camera)
    try:
        page = open_page(using=using)
        page.click("#live-start")
        page.wait_for_selector("#stage[data-state=running]")
        page.keyboard.press("3")  # no recording: no marker
        page.click("#live-record")
        wait_until(page, f"{ROWS} >= 2")
        page.keyboard.press("3")
        page.click("#live-mark")
        page.uncheck("#live-keys")
        page.keyboard.press("4")
        before = page.evaluate(ROWS)
        wait_until(page, f"{ROWS} >= {before + 2}")
        page.click("#live-record")
        rows = rows_of(page)
        name, table = saved(page, "[data-kind=events]")
    finally:
        using.close()
    assert {row["x1"] for row in rows} == {""} and {row["expression"] for row in rows} == {""}
    assert len({row["frame"] for row in rows}) == len(rows) >= 4
    assert " ".join(row["mark"] for row in rows if row["mark"]) == "3 M"
    header, *events = [line.split("\t") for line in table.decode().splitlines()]
    assert name.endswith("-events.tsv") and header == ["onset", "duration", "trial_type", "clock"]
    assert [event[2] for event in events] == ["3", "M"]
    marked = next(row for row in rows if "3" in row["mark"])
    assert 0 <= float(marked["time_s"]) - float(events[0][0]) < 2


def test_the_video_is_recorded_on_request(open_page, tmp_path):
    import av

    page = open_page()
    page.check("#live-film")
    start_camera(page)
    record(page, 8)
    sync_api.expect(page.locator(".recording-note")).to_contain_text("with video")
    name, film = saved(page, "[data-kind=video]")
    path = tmp_path / name
    path.write_bytes(film)
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert path.suffix == ".webm" and (frames[0].width, frames[0].height) == tools.CAMERA_SIZE and len(frames) > 3
    page.reload()
    assert saved(page, "[data-kind=video]")[1] == film
    sync_api.expect(page.locator("#live-film")).to_be_checked()


def test_what_the_browser_cannot_keep_is_kept_in_the_tab_and_said(open_page):
    page = open_page()
    page.add_init_script("Object.defineProperty(window, 'indexedDB', { value: undefined })")
    page.reload()
    start_camera(page)
    record(page, 2)
    sync_api.expect(page.locator(".recording-note")).to_contain_text("in this tab only: download it")
    assert len(rows_of(page)) >= 2


def test_a_full_disk_ends_a_recording_loudly_and_leaves_what_came_before(open_page):
    page = open_page()
    start_camera(page)
    page.click("#live-record")
    wait_until(page, f"{ROWS} >= 4")
    page.wait_for_timeout(700)
    page.evaluate("""() => { IDBObjectStore.prototype.add = () => {
        throw new DOMException("no room", "QuotaExceededError"); }; }""")
    sync_api.expect(page.locator(".toast.bad")).to_contain_text("storage is full")
    sync_api.expect(page.locator("#live-record")).to_have_text("Record")
    assert page.locator(".toast.bad").count() == 1
    page.reload()
    assert len(rows_of(page)) >= 4


@pytest.mark.parametrize("how", [{}, PHONE, {"color_scheme": "dark"}, {"forced_colors": "active"}])
def test_axe_finds_nothing_serious_in_recordings(open_page, how):
    page = open_page(reduced_motion="reduce", **how)
    start_camera(page)
    record(page, 2)
    page.click("#live-record")
    page.click("#live-mark")
    assert serious(page) == []
    page.click("#live-record")
    page.get_by_role("button", name=re.compile("^Throw away Recording")).first.click()
    assert serious(page) == []
    page.keyboard.press("Escape")
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
