"""What the browser tests share: a server in its own process, Chromium, and a camera that plays example portraits."""

import functools
import http.server
import math
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from helpers import free_port

Image = NDArray[np.uint8]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
START_S = 60
CAMERA_SIZE = (640, 360)
EDGE = cv2.BORDER_REPLICATE
CALM_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio")


class Server:
    """`mien serve` on a free port of this machine; it can be stopped and started again on the same one."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        """Choose a port.

        Args:
            data_dir: Where jobs live.
            settings: Further settings; `token="…"` becomes MIEN_TOKEN.
        """
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self._env = os.environ | {"MIEN_DATA_DIR": str(data_dir), "MIEN_PORT": str(self.port), "OMP_NUM_THREADS": "1"}
        self._env |= {f"MIEN_{name.upper()}": value for name, value in settings.items()}
        self._log = data_dir.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mien", "serve"], env=self._env, stdout=log, stderr=log
            )
        until = time.monotonic() + START_S
        while time.monotonic() < until and self._process.poll() is None:
            try:
                with urllib.request.urlopen(self.url + "ready", timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        raise RuntimeError(f"mien serve did not start:\n{self._log.read_text(encoding='utf-8')}")

    def stop(self) -> None:
        """Stop it as Ctrl-C would."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Do nothing."""


@contextmanager
def served_folder(folder: Path) -> Iterator[str]:
    """Serve the files of a folder on this machine and yield their address."""
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def running_server(data_dir: Path, **settings: str) -> Iterator[Server]:
    """Run a server for as long as the context lasts."""
    server = Server(data_dir, **settings)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def launch(playwright: Any, *, camera: Path | None = None, allow: bool = True, share: str = "") -> Any:
    """Start headless Chromium.

    Args:
        playwright: What `sync_playwright` gives.
        camera: A video in Motion JPEG that its camera plays again and again.
        allow: Whether it grants the camera to whoever asks; else it refuses.
        share: Words in the title of the tab that is chosen where a page asks to share one; there is no camera then.
    """
    arguments = [*CALM_ARGUMENTS]
    if share:  # with a fake device its image would stand for every tab
        arguments.append(f"--auto-select-tab-capture-source-by-title={share}")
    else:
        arguments.append("--use-fake-device-for-media-stream")
        if allow:
            arguments.append("--use-fake-ui-for-media-stream")
    if camera is not None:
        arguments.append(f"--use-file-for-fake-video-capture={camera}")
    return playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)


def portrait_frames(portraits: list[Image], *, count: int, sway: float = 0.04) -> Iterator[NDArray[np.uint8]]:
    """Yield images that show portraits side by side, moving as before a camera held in a hand.

    Args:
        portraits: (H, W, 3) uint8 RGB each.
        count: How many images; the movement is closed, so that the video can be repeated.
        sway: How far they move, as a share of the height.

    Returns:
        Images, (360, 640, 3) uint8 RGB.
    """
    width, height = CAMERA_SIZE
    part = min(width // len(portraits), height)
    left = (width - part * len(portraits)) // 2
    for number in range(count):
        turn = 2 * math.pi * number / count
        frame = np.full((height, width, 3), 24, np.uint8)
        for place, portrait in enumerate(portraits):
            scale = height * (1.08 + sway * math.sin(turn + place)) / min(portrait.shape[:2])
            x = (part - portrait.shape[1] * scale) / 2 + sway * height * math.sin(turn + 2 * place) / 2
            y = -0.03 * height + sway * height * math.cos(turn) / 2
            move = np.array([[scale, 0, x], [0, scale, y]], np.float32)
            start = left + place * part
            frame[:, start : start + part] = cv2.warpAffine(portrait, move, (part, height), borderMode=EDGE)
        yield frame


def write_camera_video(path: Path, portraits: list[Image], *, count: int = 60) -> Path:
    """Write a video for Chromium's fake camera: JPEG files one after another."""
    with path.open("wb") as file:
        for frame in portrait_frames(portraits, count=count):
            _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])
            file.write(jpeg.tobytes())
    return path


def write_video(path: Path, scenes: list[list[Image]], *, count: int, fps: int = 10, codec: str = "libx264") -> Path:
    """Write a video as people upload them; each scene shows its portraits side by side."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            codec, rate=fps, options={"preset": "ultrafast", "g": "10"} if codec == "libx264" else {}
        )
        stream.width, stream.height, stream.pix_fmt = *CAMERA_SIZE, "yuv420p"
        for portraits in scenes:
            for frame in portrait_frames(portraits, count=count // len(scenes)):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path
