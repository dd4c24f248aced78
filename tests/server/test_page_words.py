"""What goes wrong is said in sentences with what to do; the server's own words are one click away."""

import re

import cv2
import numpy as np
import pytest
from conftest import EXAMPLES, read_rgb

import browser_tools as tools
from page_fixtures import FIXTURES, MARKS, PHONE, serious, sync_api
from videos import make_video

pytestmark = MARKS
videos, server, playwright, browser, open_page = FIXTURES

JARGON = re.compile(r"Unprocessable|Content Too Large|max_pixels|--\w|_pipe|FFmpeg|matroska|\b4\d\d\b|start_s|end_s")


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """A server that takes small things only."""
    limits = {"max_pixels_mp": "0.2", "max_video_s": "1.5"}
    with tools.running_server(tmp_path_factory.mktemp("strict") / "data", **limits) as strict:
        yield strict


def written(path, data):
    path.write_bytes(data)
    return path


def bad_file(kind, folder):
    """Make a file that cannot be used."""
    jpeg = (EXAMPLES / "astronaut.jpg").read_bytes()
    if kind == "large":
        path = folder / "large.png"
        cv2.imwrite(str(path), np.zeros((500, 500, 3), np.uint8))
        return path
    if kind == "long":
        return make_video(folder / "long.mp4", frames=40)
    if kind == "wide":
        return tools.write_video(folder / "wide.mp4", [[read_rgb(EXAMPLES / "astronaut.jpg")]], count=4)
    text = {"text": b"no image", "cut": jpeg[:5000], "empty": b"", "still": jpeg, "page": b"# Title\n" * 200}[kind]
    return written(folder / f"{kind}.{'mp4' if kind in ('still', 'page') else 'jpg'}", text)


SAID = {
    ("images", "text"): "This is not an image",
    ("images", "cut"): "The image is damaged",
    ("images", "empty"): "The file is empty",
    ("images", "large"): "The image is too large",
    ("videos", "page"): "This is not a video, or only a part of one",
    ("videos", "still"): "This is an image. Add it under Images.",
    ("videos", "long"): "The video is too long",
    ("videos", "wide"): "The images of the video are too large",
}


@pytest.mark.parametrize(("view", "kind"), SAID)
def test_what_cannot_be_used_is_told_in_words_with_what_to_do(open_page, strict, tmp_path, view, kind):
    page = open_page(view, url=strict.url, **(PHONE if kind in ("text", "still") else {}))
    page.wait_for_selector(f"#view-{view} .drop")
    page.set_input_files("#image-files" if view == "images" else "#video-file", bad_file(kind, tmp_path))
    place = page.locator(".shot .problem" if view == "images" else ".job[data-state=failed]")
    sync_api.expect(place).to_contain_text(SAID[view, kind])
    assert not JARGON.search(place.inner_text()), place.inner_text()
    fold = place.locator("summary")
    fold.focus()
    page.keyboard.press("Enter")
    sync_api.expect(place.locator(".technical p")).to_contain_text(re.compile(r"4\d\d · .+ · .+"))
    assert place.locator(".technical p").is_visible()
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == page.viewport_size["width"]


@pytest.mark.parametrize(
    ("start", "end", "title"), [("9:00", "", "The video ends before that"), ("2", "1", "The end lies")]
)
def test_times_that_a_video_has_not_are_told_in_words(open_page, videos, start, end, title):
    page = open_page("videos")
    page.locator("summary", has_text="More options").click()
    page.fill("#video-start", start)
    page.fill("#video-end", end)
    page.set_input_files("#video-file", videos[1])
    place = page.locator(".job[data-state=failed]")
    sync_api.expect(place).to_contain_text(title)
    assert not JARGON.search(place.inner_text())


def test_detectors_have_names_for_people_and_those_of_programs_are_a_click_away(open_page):
    page = open_page()
    options = page.locator("#live-detector option").all_inner_texts()
    assert "Thorough" in options and not re.search("mtcnn|haar|alt2", " ".join(options))
    page.click("#about")
    sync_api.expect(page.locator("#about-facts")).to_contain_text("Thorough = mtcnn")


def test_a_problem_of_a_kind_without_words_of_its_own_is_told_by_its_status(open_page):
    page = open_page("images")
    page.wait_for_selector("#image-drop")
    page.route(
        "**/v1/analyze?*",
        lambda route: route.fulfill(
            status=507, json={"title": "Insufficient Storage", "status": 507, "detail": "quota of inode"}
        ),
    )
    page.set_input_files("#image-files", EXAMPLES / "astronaut.jpg")
    sync_api.expect(page.locator(".problem b")).to_have_text("The server’s disk is full")
    sync_api.expect(page.locator(".technical p")).to_have_text("507 · Insufficient Storage · quota of inode")
