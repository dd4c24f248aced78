"""Make the pictures of the web page that README shows, with the example portraits.

    python docs/pictures.py [live] [images] [videos]

Needs the extras `server` and `dev`, and Chromium. An idle machine gives fair figures of speed.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "tests" / "support"), str(ROOT / "tests")]

import browser_tools as tools  # noqa: E402

SIZE = {"width": 1120, "height": 880}
LIVE_S, VIDEO_S, WAIT_MS = 25, 30, 240_000


def main(views: list[str]) -> None:
    """Write `web-live.jpg`, `web-images.jpg` and `web-videos.jpg` beside the other pictures."""
    examples = [ROOT / "examples" / f"{name}.jpg" for name in ("astronaut", "grace_hopper")]
    smiling, calm = (cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in examples)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        work = Path(folder)
        camera = tools.write_camera_video(work / "camera.mjpeg", [smiling, calm], count=90)
        scenes = [[smiling], [smiling, calm], [calm]]
        video = tools.write_video(work / "portraits.mp4", scenes, count=VIDEO_S * 10)
        with tools.running_server(work / "data") as server:
            browser = tools.launch(playwright, camera=camera)
            for view in views:
                page = browser.new_page(viewport=SIZE, color_scheme="dark" if view == "videos" else "light")
                page.set_default_timeout(WAIT_MS)
                page.goto(f"{server.url}#{view}")
                {"live": show_live, "images": show_images, "videos": show_video}[view](
                    page, {"images": examples, "videos": video}.get(view)
                )
                save(page, view)
                page.close()
            browser.close()


def show_live(page: Any, _: object) -> None:
    """Start the camera and wait until the timeline shows something."""
    page.click("#live-start")
    page.wait_for_selector(".person-name:has-text('happy')")
    page.wait_for_timeout(LIVE_S * 1000)
    page.evaluate(
        "for (const one of document.querySelectorAll('option'))"
        " if (one.text.includes('mjpeg')) one.text = 'Built-in camera'"
    )


def show_images(page: Any, files: list[Path]) -> None:
    """Have both examples analyzed and scroll to them."""
    page.set_input_files("#image-files", files)
    page.locator("td", has_text="neutral").wait_for()
    page.evaluate("scrollTo(0, document.querySelector('#view-images canvas').getBoundingClientRect().top - 64)")


def show_video(page: Any, file: Path) -> None:
    """Have a video analyzed, open it, and go to its middle."""
    page.set_input_files("#video-file", file)
    page.wait_for_selector(".job[data-state=done]")
    page.get_by_role("link", name=f"Open {file.name}").click()
    page.wait_for_timeout(2000)
    box = page.locator(".scrub").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + 20)
    page.wait_for_timeout(2000)


def save(page: Any, name: str) -> None:
    """Write what the page shows; as JPEG, since most of it is photos."""
    path = ROOT / "docs" / "images" / f"web-{name}.jpg"
    page.screenshot(path=path, quality=88)


if __name__ == "__main__":
    main(sys.argv[1:] or ["live", "images", "videos"])
