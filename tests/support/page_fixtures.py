"""What the tests of the page in Chromium share: a server, the browser with a camera, a function that opens the page."""

import gzip
import re
from pathlib import Path

import pytest
from conftest import EXAMPLES, read_rgb

import browser_tools as tools

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'mien[dev]'")
pytest.importorskip("fastapi", reason="needs the extra server")
pytest.importorskip("av", reason="needs the extra video")

AXE = Path(__file__).resolve().parents[1] / "assets" / "axe" / "axe.min.js.gz"
PHONE = {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
WAIT_MS = 30_000
MARKS = [
    pytest.mark.skipif(tools.CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
    pytest.mark.timeout(120),
]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A video for the camera (both portraits at once), and one to upload (one after the other)."""
    folder = tmp_path_factory.mktemp("videos")
    smiling = read_rgb(EXAMPLES / "astronaut.jpg")[:320, 60:380]
    neutral = read_rgb(EXAMPLES / "grace_hopper.jpg")[40:480, 30:470]
    camera = tools.write_camera_video(folder / "camera.mjpeg", [smiling, neutral], count=30)
    upload = tools.write_video(folder / "two scenes.mp4", [[smiling], [neutral]], count=100, fps=5)
    return camera, upload


@pytest.fixture(scope="module")
def server(tmp_path_factory, videos):
    with tools.running_server(tmp_path_factory.mktemp("server") / "data", source=str(videos[1])) as server:
        yield server


@pytest.fixture(scope="module")
def playwright():
    with sync_api.sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright, videos):
    browser = tools.launch(playwright, camera=videos[0])
    yield browser
    browser.close()


@pytest.fixture
def open_page(browser, server):
    """Return a function that opens the page; at the end, whatever it complained of or asked of others is an error."""
    pages, complaints = [], []

    def open_(view="live", *, url=None, using=browser, **context):
        page = using.new_context(**{"viewport": {"width": 1280, "height": 860}} | context).new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: complaints.append(f"{error.stack or error}"))
        page.on("console", lambda message: complaints.extend(complaint_of(message)))
        page.on("request", lambda request: complaints.extend(foreign(request.url, url or server.url)))
        pages.append(page)
        page.goto(f"{url or server.url}#{view}")
        if url is None:
            page.wait_for_selector(f"#view-{view}:not([hidden])")
        return page

    yield open_
    for page in pages:
        page.context.close()
    assert not complaints, complaints


def complaint_of(message):
    """Yield what the console says of a broken page; answers with a problem, a stopped server and tests are not that."""
    expected = re.search(
        r"ERR_(CONNECTION|FAILED)|status of (4\d\d|500|503|507)|WebSocket connection|willReadFrequently",
        message.text,
    )
    if message.type in ("error", "warning") and not expected:
        yield message.text


def foreign(address, home):
    """Yield an address that is not the server's own."""
    if not address.startswith((home, "blob:" + home, "data:", "ws" + home.removeprefix("http"))):
        yield f"asked another host: {address}"


def start_camera(page):
    page.click("#live-start")
    page.wait_for_selector("#stage[data-state=running]")
    sync_api.expect(page.locator(".person")).to_have_count(2)
    sync_api.expect(page.locator(".person-name", has_text="happy")).to_be_visible()


def wait_until(page, expression):
    """Wait until an expression is true; Playwright's own way needs eval, which the page's policy forbids."""
    for _ in range(WAIT_MS // 50):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never true: {expression}")


def saved(page, selector):
    """Click a download and return its name and bytes."""
    with page.expect_download() as download:
        page.click(selector)
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def serious(page):
    """Return what axe-core finds, without the lesser things."""
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(gzip.decompress(AXE.read_bytes()).decode())
    found = page.evaluate("async () => (await axe.run()).violations")
    return [
        (one["id"], one["impact"], [node["html"][:200] for node in one["nodes"]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


FIXTURES = videos, server, playwright, browser, open_page
