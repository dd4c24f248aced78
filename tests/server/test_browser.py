"""The page in a real browser: Chromium against a real server, with a camera that plays the example portraits."""

import base64
import csv
import io
import itertools
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import EXAMPLES, read_rgb

import browser_tools as tools
from page_fixtures import FIXTURES, MARKS, PHONE, saved, serious, start_camera, sync_api, wait_until
from videos import make_video

sync_api.expect.set_options(timeout=20_000)
pytestmark = MARKS
videos, server, playwright, browser, open_page = FIXTURES

VIEWS = ("live", "images", "videos", "camera")
TOKEN = "a token of the tests"


def names_of_people(page):
    return sorted(page.locator("#live-people .person-name").all_inner_texts())


def test_the_live_page_names_the_expression_of_each_face(open_page):
    page = open_page()
    start_camera(page)
    assert names_of_people(page) == ["happy", "neutral"]
    happy = page.locator(".person", has=page.locator(".person-name", has_text="happy"))
    assert int(happy.locator(".prob.most .prob-value").inner_text().rstrip("%")) > 50
    sync_api.expect(page.locator("#live-lanes .lane")).to_have_count(2)
    sync_api.expect(page.locator("#meter-rate")).to_have_text(re.compile(r"^\d+\.\d$"))
    sync_api.expect(page.locator("#meter-delay")).to_have_text(re.compile(r"^\d+ ms$"))
    sync_api.expect(page.locator("#announcer")).to_contain_text("happy")
    inked = "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v > 0)"
    assert page.locator("#live-overlay").evaluate(inked)
    assert page.locator("#live-lanes canvas").first.evaluate(inked)


def test_mirroring_turns_image_and_boxes(open_page):
    page = open_page()
    start_camera(page)
    yellow = """c => { // the middle of the tag of the happy face, as a share of the width
        const { data, width } = c.getContext('2d').getImageData(0, 0, c.width, c.height);
        let [sum, n] = [0, 0];
        for (let i = 0; i < data.length; i += 4)
            if (data[i] > 230 && data[i + 1] > 160 && data[i + 1] < 200 && data[i + 2] < 60 && data[i + 3] > 250)
                [sum, n] = [sum + (i / 4) % width, n + 1];
        return n > 200 ? sum / n / width : null; }"""
    places = []
    for mirrored in ("true", "false"):
        if page.get_attribute("#live-mirror", "aria-pressed") != mirrored:
            page.click("#live-mirror")
        page.wait_for_timeout(400)
        places.append(page.locator("#live-overlay").evaluate(yellow))
    assert places[0] > 0.55 and places[1] < 0.45
    assert places[0] + places[1] == pytest.approx(1, abs=0.08)


def test_one_image_is_under_way_at_a_time_and_none_while_paused(open_page):
    page = open_page()
    under_way, most, sent = [0], [0], [0]

    def on_socket(socket):
        def on_sent(payload):
            if isinstance(payload, bytes):
                assert payload.startswith(b"\xff\xd8"), "images go as JPEG"
                sent[0] += 1
                under_way[0] += 1
                most[0] = max(most[0], under_way[0])

        def on_received(payload):
            if json.loads(payload)["type"] == "faces":
                under_way[0] -= 1

        socket.on("framesent", on_sent)
        socket.on("framereceived", on_received)

    page.on("websocket", on_socket)
    start_camera(page)
    for _ in range(100):  # a busy machine takes its time
        page.wait_for_timeout(100)
        if sent[0] > 3:
            break
    assert sent[0] > 3 and most[0] == 1
    page.click("#live-pause")
    page.wait_for_timeout(300)
    before = sent[0]
    page.wait_for_timeout(500)
    assert sent[0] == before
    page.get_by_role("button", name="Go on").click()
    for _ in range(100):
        page.wait_for_timeout(100)
        if sent[0] > before:
            break
    assert sent[0] > before
    page.click("#live-stop")
    sync_api.expect(page.locator("#live-start")).to_be_visible()
    assert page.evaluate("document.querySelector('#live-video').srcObject") is None


def test_another_label_set_is_used_at_once(open_page):
    page = open_page()
    start_camera(page)
    page.select_option("#live-labels", "ferplus")
    sync_api.expect(page.locator("#live-legend")).to_contain_text("contempt")
    sync_api.expect(page.locator(".person .prob", has_text="contempt")).to_have_count(2)
    assert names_of_people(page) == ["happy", "neutral"]


def test_images_are_analysed_and_saved(open_page, tmp_path):
    page = open_page("images")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    page.set_input_files("#image-files", [EXAMPLES / "astronaut.jpg", EXAMPLES / "grace_hopper.jpg", broken])
    sync_api.expect(page.locator(".shot:not(.waiting)")).to_have_count(3)
    headings = page.locator(".shot h2").all_inner_texts()
    assert headings == ["astronaut.jpg", "grace_hopper.jpg", "broken.jpg"]
    expressions = page.locator(".shot tbody td:nth-child(2)").all_inner_texts()
    assert [words.split()[-1] for words in expressions] == ["happy", "neutral"]
    assert page.locator(".shot tbody th").all_inner_texts() == ["0", "0"]  # as in tables and on annotated images
    sync_api.expect(page.locator(".shot").nth(2).locator(".problem")).to_contain_text("broken.jpg")

    _, text = saved(page, "#image-csv")
    rows = {row["source"]: row["expression"] for row in csv.DictReader(io.StringIO(text.decode()))}
    assert rows == {"astronaut.jpg": "happy", "grace_hopper.jpg": "neutral"}
    _, text = saved(page, "#image-json")
    assert {one["source"]: len(one["faces"]) for one in json.loads(text)} == dict.fromkeys(rows, 1)
    name, jpeg = saved(page, ".shot:first-child .shot-body .button")
    drawn = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    original = cv2.imread(str(EXAMPLES / "astronaut.jpg"))
    assert name == "astronaut-faces.jpg" and drawn.shape == original.shape
    changed = (np.abs(drawn.astype(int) - original).max(axis=2) > 60).mean()
    assert 0.005 < changed < 0.2

    page.get_by_role("button", name="Remove broken.jpg").click()
    sync_api.expect(page.locator(".shot")).to_have_count(2)
    page.click("#image-clear")
    sync_api.expect(page.locator(".undo")).to_contain_text("2 images removed")
    sync_api.expect(page.locator(".shot")).to_have_count(0)
    assert serious(page) == []
    page.keyboard.press("Enter")  # the way back has the focus
    assert page.locator(".shot h2").all_inner_texts() == headings[:2]
    sync_api.expect(page.locator(".undo")).to_have_count(0)
    assert len(json.loads(saved(page, "#image-json")[1])) == 2


def test_an_image_is_dropped_and_pasted(open_page):
    page = open_page("images")
    page.wait_for_selector("#image-drop")
    hand_over = """async ([selector, kind, bytes]) => {
        const files = new DataTransfer();
        files.items.add(new File([new Uint8Array(bytes)], kind + '.jpg', { type: 'image/jpeg' }));
        const target = document.querySelector(selector);
        if (kind === 'drop') target.dispatchEvent(new DragEvent('drop', { dataTransfer: files, bubbles: true }));
        else target.dispatchEvent(new ClipboardEvent('paste', { clipboardData: files, bubbles: true }));
    }"""
    image = list((EXAMPLES / "astronaut.jpg").read_bytes())
    page.evaluate(hand_over, ["#image-drop", "drop", image])
    page.evaluate(hand_over, ["body", "paste", image])
    sync_api.expect(page.locator(".shot tbody tr", has_text="happy")).to_have_count(2)
    assert sorted(page.locator(".shot h2").all_inner_texts()) == ["drop.jpg", "paste.jpg"]


def test_a_video_becomes_a_job_that_survives_a_reload_and_can_be_watched(open_page, videos):
    page = open_page("videos")
    sync_api.expect(page.locator(".blank")).to_contain_text("No videos yet")
    page.set_input_files("#video-file", videos[1])
    page.wait_for_selector(".job:is([data-state=queued], [data-state=running])")
    page.reload()
    sync_api.expect(page.locator(".job .job-name")).to_have_text("two scenes.mp4")
    page.wait_for_selector(".job[data-state=done]")
    sync_api.expect(page.locator(".job .job-note")).to_contain_text("100 frames")

    page.get_by_role("link", name="Open two scenes.mp4").click()
    sync_api.expect(page.locator(".video h2").first).to_be_visible()
    first, second = page.locator(".video .people .person").all()[:2]
    assert {first.locator(".prob span").first.inner_text(), second.locator(".prob span").first.inner_text()} == {
        "happy", "neutral",
    }  # fmt: skip
    wait_until(page, "document.querySelector('.video video').readyState >= 2")
    box = page.locator(".scrub").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + 20)
    wait_until(page, "Math.abs(document.querySelector('.video video').currentTime - 15) < 0.3")
    page.focus(".scrub")
    page.keyboard.press("ArrowLeft")
    wait_until(page, "Math.abs(document.querySelector('.video video').currentTime - 14) < 0.3")
    page.keyboard.press("Home")
    wait_until(page, "document.querySelector('.video video').currentTime === 0")

    starts = {"csv": b"source,frame", "jsonl": b'{"source"', "parquet": b"PAR1"}
    for kind, start in starts.items():
        name, content = saved(page, f"a[data-kind={kind}]")
        assert name == f"two scenes.{kind}" and content.startswith(start)
    name, content = saved(page, "a[data-kind=mp4]")
    assert name == "two scenes.mp4" and content[4:8] == b"ftyp"


def test_a_video_that_the_browser_cannot_play_is_shown_annotated(open_page, videos, tmp_path):
    old = tools.write_video(tmp_path / "old.mp4", [[read_rgb(EXAMPLES / "astronaut.jpg")]], count=10, codec="mpeg4")
    page = open_page("videos")
    page.set_input_files("#video-file", old)
    page.locator(".job[data-state=done]").get_by_role("link", name="Open old.mp4").click()
    video = page.locator(".video video")
    sync_api.expect(video).to_have_attribute("src", re.compile(r"/result\.mp4$"))
    wait_until(page, "document.querySelector('.video video').videoWidth === 640")


def test_a_running_video_is_cancelled_and_removed(open_page, videos):
    page = open_page("videos")
    page.wait_for_selector(".job, .blank")
    before = page.locator(".job").count()
    page.set_input_files("#video-file", videos[1])
    page.locator(".job").first.get_by_role("button", name="Cancel two scenes.mp4", exact=True).click()
    sync_api.expect(page.locator(".job-note").first).to_have_text("Cancelled")
    undo = page.get_by_role("button", name="Keep two scenes.mp4")
    sync_api.expect(undo).to_be_focused()
    undo.click()
    page.locator(".job").first.get_by_role("button", name="Cancel two scenes.mp4", exact=True).click()
    page.reload()  # who leaves means it
    sync_api.expect(page.locator(".job[data-state=cancelled]")).to_have_count(1)
    page.locator(".job[data-state=cancelled]").get_by_role("button", name="Remove two scenes.mp4").click()
    page.reload()
    page.wait_for_selector(".job, .blank")
    sync_api.expect(page.locator(".job")).to_have_count(before)


def test_a_removed_video_comes_back_and_goes_after_a_while(open_page, server, tmp_path):
    page = open_page("videos")
    page.clock.install()
    page.set_input_files("#video-file", make_video(tmp_path / "a smile.mp4"))
    for _ in range(60):
        page.clock.run_for(1000)
        page.wait_for_timeout(200)
        if page.locator(".job[data-state=done]").count():
            break
    link = page.get_by_role("link", name="Open a smile.mp4").get_attribute("href")
    page.get_by_role("button", name="Remove a smile.mp4").click()
    page.clock.run_for(10_000)
    sync_api.expect(page.locator(".job-note")).to_have_text("Removed, with its results")
    page.get_by_role("button", name="Keep a smile.mp4").click()
    page.clock.run_for(60_000)
    sync_api.expect(page.get_by_role("link", name="Open a smile.mp4")).to_be_visible()
    page.get_by_role("button", name="Remove a smile.mp4").click()
    page.clock.run_for(21_000)
    sync_api.expect(page.locator(".job")).to_have_count(0)
    page.wait_for_timeout(500)
    gone = page.evaluate("id => fetch('v1/jobs/' + id).then((answer) => answer.status)", link.partition("/")[2])
    assert gone == 404


def test_each_browser_has_its_own_videos_and_a_link_shares_one(open_page, tmp_path):
    mine, other = open_page("videos"), open_page("videos")
    mine.set_input_files("#video-file", make_video(tmp_path / "mine.mp4"))
    mine.get_by_role("link", name="Open mine.mp4").click()
    mine.locator("summary", has_text="Share").click()
    link = mine.get_by_label("Link to this video").input_value()
    other.reload()
    sync_api.expect(other.locator(".blank")).to_contain_text("No videos yet")
    other.goto(link)
    sync_api.expect(other.locator(".video-head h1")).to_have_text("mine.mp4")
    status = "id => fetch('v1/jobs/' + id, { method: 'DELETE' }).then((answer) => answer.status)"
    assert other.evaluate(status, link.rpartition("/")[2]) == 403
    mine.reload()
    sync_api.expect(mine.locator(".video-head h1")).to_have_text("mine.mp4")


def test_what_is_no_video_is_refused_in_words(open_page):
    page = open_page("videos")
    page.wait_for_selector("#video-drop")
    page.set_input_files("#video-file", EXAMPLES / "README.md")
    sync_api.expect(page.locator(".job[data-state=failed] .job-note")).to_contain_text("video")


def test_the_servers_camera_is_shown(open_page):
    page = open_page("camera")
    page.wait_for_selector("#camera-stage[data-state=running]")
    assert page.evaluate("document.querySelector('#camera-image').naturalWidth") == tools.CAMERA_SIZE[0]
    name, jpeg = saved(page, "#camera-save")
    assert name == "mien-camera.jpg" and jpeg.startswith(b"\xff\xd8")
    sync_api.expect(page.locator("#camera-lanes .lane-head").first).to_contain_text("happy")
    sync_api.expect(page.locator("#camera-people .person-name").first).to_have_text("happy")
    page.wait_for_selector("#camera-people canvas:not([hidden])")
    lane = page.locator("#camera-lanes .lane").first.bounding_box()
    assert lane["y"] + lane["height"] <= 860, "the timeline is in view"
    assert page.locator("#view-camera .primary:visible").count() == 0, "to stop is not what one comes for"
    page.click("#camera-stop")
    sync_api.expect(page.locator("#camera-card")).to_contain_text("The camera is off")
    sync_api.expect(page.locator("#camera-lanes")).to_contain_text("Each person gets a lane")


def test_a_refused_camera_is_explained(open_page, playwright):
    strict = tools.launch(playwright, allow=False)
    try:
        page = open_page(using=strict)
        page.click("#live-start")
        sync_api.expect(page.locator("#stage-card h2")).to_have_text("The camera is blocked")
        sync_api.expect(page.locator("#stage-card")).to_contain_text("allow the camera")
        sync_api.expect(page.get_by_role("button", name="Try again")).to_be_enabled()
    finally:
        strict.close()


def test_sharing_nothing_is_not_taken_for_a_blocked_camera(open_page):
    page = open_page()
    said_no = "() => Promise.reject(new DOMException('', 'NotAllowedError'))"  # a headless browser shows no choice
    page.evaluate(f"() => {{ navigator.mediaDevices.getDisplayMedia = {said_no}; }}")
    page.click("#live-screen")
    sync_api.expect(page.locator("#stage-card h2")).to_have_text("Nothing is shared")
    sync_api.expect(page.locator("#stage-card")).not_to_contain_text("allow the camera")
    sync_api.expect(page.locator("#live-screen")).to_be_enabled()
    page.click("#live-start")
    page.wait_for_selector("#stage[data-state=running]")


def test_a_shared_tab_is_analysed_until_it_is_closed(open_page, playwright):
    sharing = tools.launch(playwright, share="Portrait to share")
    try:
        page = open_page(using=sharing)
        shared = page.context.new_page()
        image = base64.b64encode((EXAMPLES / "astronaut.jpg").read_bytes()).decode()
        sway = "<style>img { animation: sway 1s infinite alternate } @keyframes sway { to { translate: 6px } }</style>"
        shared.set_content(f'<title>Portrait to share</title>{sway}<img src="data:image/jpeg;base64,{image}">')
        page.bring_to_front()
        page.click("#live-screen")
        page.wait_for_selector("#stage[data-state=running]")
        sync_api.expect(page.locator("#live-people .person-name", has_text="happy")).to_be_visible()
        assert page.get_attribute("#live-mirror", "aria-pressed") == "false", "writing on a screen is to be read"
        surface = "document.querySelector('#live-video').srcObject.getVideoTracks()[0].getSettings().displaySurface"
        assert page.evaluate(surface) == "browser"
        shared.close()
        sync_api.expect(page.locator("#live-start")).to_be_visible()
        assert page.evaluate("document.querySelector('#live-video').srcObject") is None
    finally:
        sharing.close()


def test_the_page_connects_again_after_a_restart_of_the_server(open_page, server):
    page = open_page()
    start_camera(page)
    server.stop()
    sync_api.expect(page.locator("#stage[data-state=away] h2")).to_have_text("Connection lost")
    sync_api.expect(page.locator("#connection")).to_have_text("No connection")
    server.start()
    page.wait_for_selector("#stage[data-state=running]")
    sync_api.expect(page.locator(".person")).to_have_count(2)
    sync_api.expect(page.locator("#connection")).to_have_text("Connected")
    sync_api.expect(page.locator("#banner")).to_be_hidden()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server with a token and one place for streams, which may fetch images, also from this machine."""
    allowed = {"url_allowed": "1", "allow_private": "1", "streams": "1"}
    with tools.running_server(tmp_path_factory.mktemp("guarded") / "data", token=TOKEN, **allowed) as guarded:
        yield guarded


def unlock(page, token=TOKEN):
    page.wait_for_selector("#token-dialog[open]")
    page.fill("#token-input", token)
    page.keyboard.press("Enter")


def test_the_token_is_asked_for_and_kept_in_the_tab_only(open_page, guarded):
    page = open_page(url=guarded.url)
    unlock(page, "wrong")
    sync_api.expect(page.locator("#token-error")).to_have_text("That is not the token of this server.")
    unlock(page)
    start_camera(page)
    kept = page.evaluate("[Object.values(sessionStorage), Object.values(localStorage), document.cookie]")
    assert kept == [[TOKEN], [], ""]
    page.reload()
    sync_api.expect(page.locator("#live-start")).to_be_visible()


def test_videos_and_downloads_load_from_signed_addresses_that_are_renewed(open_page, guarded, tmp_path):
    page = open_page("videos", url=guarded.url)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    unlock(page)
    sync_api.expect(page.locator(".blank")).to_contain_text("No videos yet")
    page.set_input_files("#video-file", make_video(tmp_path / "a smile.mp4"))
    page.wait_for_selector(".job[data-state=done]")
    page.get_by_role("link", name="Open a smile.mp4").click()
    wait_until(page, "document.querySelector('.video video')?.readyState >= 2")
    with page.expect_download() as download:
        page.click("a[data-kind=csv]")
    assert "result.csv?until=" in download.value.url and "token" not in download.value.url
    assert Path(download.value.path()).read_bytes().startswith(b"source,frame")
    page.evaluate(
        "{ const v = document.querySelector('.video video'); v.src = v.src.replace('signature=', 'signature=x'); }"
    )
    wait_until(page, "!document.querySelector('.video video').src.includes('signature=x')")
    wait_until(page, "document.querySelector('.video video').readyState >= 2")
    assert sum("v1/addresses?" in url for url in asked) >= 3  # to play, to download, and when the address was refused
    assert not any("token" in url for url in asked)


def test_a_busy_server_is_waited_for(open_page, guarded):
    first, second = (open_page(url=guarded.url) for _ in range(2))
    unlock(first)
    start_camera(first)
    unlock(second)
    second.click("#live-start")
    sync_api.expect(second.locator("#stage[data-state=busy] h2")).to_have_text("The server is busy")
    first.click("#live-stop")
    sync_api.expect(second.locator(".person")).to_have_count(2)


def test_an_image_is_fetched_only_where_the_server_allows_it(open_page, guarded):
    sync_api.expect(open_page("images").locator("#image-url")).to_be_hidden()
    page = open_page("images", url=guarded.url)
    unlock(page)
    with tools.served_folder(EXAMPLES) as address:
        page.fill("#image-address", f"{address}astronaut.jpg")
        page.keyboard.press("Enter")
        sync_api.expect(page.locator(".shot tbody tr")).to_contain_text("happy")
    width = page.locator(".shot-image img").evaluate("image => image.decode().then(() => image.naturalWidth)")
    assert width == 512


def fill(page, view):
    """Wait until a view has something to show."""
    page.wait_for_selector(f"#view-{view}")
    if view == "live":
        start_camera(page)
    if view == "images":
        page.set_input_files("#image-files", EXAMPLES / "astronaut.jpg")
        page.wait_for_selector(".shot table")
    if view == "videos":
        page.wait_for_selector(".job, .blank")


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_wider_than_a_phone(open_page, view):
    page = open_page(view, **PHONE)
    fill(page, view)
    if view == "live":
        page.click("#live-record")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    tabs = page.locator(".tabs").bounding_box()
    assert tabs["y"] + tabs["height"] == pytest.approx(740, abs=1), "the tabs are at the lower edge"


def test_dark_mode_follows_the_system_and_the_switch(open_page, server):
    brightness = "() => Math.max(...getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number))"
    assert open_page(url=server.url, color_scheme="dark", java_script_enabled=False).evaluate(brightness) < 40
    page = open_page(color_scheme="dark")
    page.wait_for_selector("#live-start")
    assert page.evaluate(brightness) < 40
    page.get_by_role("button", name="Colours: as the system").click()
    assert page.evaluate(brightness) > 220
    page.reload()
    page.wait_for_selector("#live-start")
    assert page.evaluate(brightness) > 220
    page.get_by_role("button", name="Colours: light").click()
    assert page.evaluate(brightness) < 40
    page.emulate_media(color_scheme="light")
    assert page.evaluate(brightness) < 40, "the choice outweighs the system"


def test_everything_is_reached_with_the_keyboard(open_page):
    page = open_page()
    page.wait_for_selector("#live-start")

    def tab_to(selector):
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none" or page.evaluate("document.activeElement.matches('input.file')")
                return
        pytest.fail(f"Tab does not reach {selector}")

    tab_to(".skip")
    page.keyboard.press("Enter")
    tab_to("#live-start")
    page.keyboard.press("Enter")
    page.wait_for_selector("#stage[data-state=running]")
    assert page.evaluate("document.activeElement.id") == "live-pause", "focus goes on where the button was"
    page.keyboard.press("Space")
    page.wait_for_selector("#stage[data-state=paused]")
    tab_to("#live-mirror")
    tab_to("#live-stop")
    page.keyboard.press("Enter")
    page.wait_for_selector("#live-start")
    tab_to("#live-labels")
    tab_to("#live-smoothing")
    page.keyboard.press("ArrowRight")
    sync_api.expect(page.locator("#live-smoothing-out")).to_have_text("0.4 s")
    tab_to(".skip")
    tab_to('.tabs a[data-view="images"]')
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#images-title")).to_be_focused()
    tab_to("#image-files")
    tab_to(".skip")
    tab_to("#about")
    page.keyboard.press("Enter")
    page.wait_for_selector("#about-dialog[open]")
    page.keyboard.press("Escape")
    sync_api.expect(page.locator("#about")).to_be_focused()


@pytest.mark.parametrize(("scheme", "view"), list(itertools.product(("light", "dark"), VIEWS)))
def test_axe_finds_nothing_serious(open_page, videos, scheme, view):
    page = open_page(view, color_scheme=scheme, reduced_motion="reduce")
    fill(page, view)
    if view == "videos" and page.locator(".job[data-state=done]").count():
        assert serious(page) == []
        page.click(".job[data-state=done] a")
        page.wait_for_selector(".video video")
    if view == "camera":
        page.wait_for_selector("#camera-stage[data-state=running]")
    assert serious(page) == []


def test_the_smoothing_has_a_name_and_forced_colours_show_where_one_is(open_page):
    page = open_page(forced_colors="active")
    slider = page.get_by_role("slider", name="Smoothing", exact=True)
    assert slider.get_attribute("aria-valuetext") == "0.3 seconds"
    slider.fill("0")
    assert slider.get_attribute("aria-valuetext") == "off"
    colours = "links => links.map((a) => [Boolean(a.ariaCurrent), getComputedStyle(a).backgroundColor])"
    tabs = page.locator(".tabs a").evaluate_all(colours)
    (current,) = (colour for is_current, colour in tabs if is_current)
    assert current not in {colour for is_current, colour in tabs if not is_current}


def test_axe_finds_nothing_serious_in_other_states(open_page):
    page = open_page(reduced_motion="reduce")
    assert serious(page) == []
    start_camera(page)
    page.click("#live-record")
    page.click("#live-pause")
    assert serious(page) == []
    page.click("#about")
    assert serious(page) == []
