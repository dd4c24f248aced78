"""Make the pictures of the documentation from the example portraits.

    python docs/pictures.py [made] [live] [images] [videos]

`made` runs the Python blocks, and the lines of `mien`, of every page that shows pictures of docs/images/made/, and
writes these; `tests/test_pages.py` compares them with what the blocks make. The others are the views of the web page
that README shows; they need the extras `server` and `dev`, and Chromium, and an idle machine gives fair speeds.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "tests" / "support"), str(ROOT / "tests")]

from test_pages import PAGES, blocks, made_pictures, small  # noqa: E402

import browser_tools as tools  # noqa: E402

SIZE = {"width": 1120, "height": 880}
LIVE_S, VIDEO_S, WAIT_MS = 25, 30, 240_000


def main(names: list[str]) -> None:
    """Write what the names stand for into docs/images/."""
    if "made" in names:
        for page in PAGES:
            if made_pictures(page):
                make(page)
    if views := [name for name in names if name != "made"]:
        show_page(views)


def make(page: Path) -> None:
    """Run a page's code in an empty folder and keep the pictures that the page shows."""
    back = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "examples", Path(folder) / "examples")
        os.chdir(folder)
        names: dict[str, object] = {}
        for comment, code, _ in blocks(page, "python", "sh"):
            if comment.startswith("not run"):
                continue
            lines = [line for line in code.splitlines() if line.startswith("mien ")]
            if not lines:
                exec(compile(code, str(page), "exec"), names)
            elif any(f" {stem}.png" in code for stem in made_pictures(page)):
                for line in lines:
                    subprocess.run([sys.executable, "-m", *shlex.split(line, comments=True)], check=True)
        for stem, path in made_pictures(page).items():
            made = next((one for one in Path().iterdir() if one.stem == stem and one.suffix in (".png", ".jpg")), None)
            if made:
                keep(made, path)
        os.chdir(back)


def keep(made: Path, path: Path) -> None:
    """Write a picture as WebP, as large as a page shows it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small(Image.open(made)).save(path, quality=80, method=6)
    print(path.relative_to(ROOT), path.stat().st_size)


def show_page(views: list[str]) -> None:
    """Write `web-live.jpg`, `web-images.jpg` and `web-videos.jpg`."""
    from playwright.sync_api import sync_playwright

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
    main(sys.argv[1:] or ["made", "live", "images", "videos"])
