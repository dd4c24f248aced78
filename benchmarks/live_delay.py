"""Delay of `mien live` from capture to screen, on a video that plays in real time, and where the time goes.

    python benchmarks/live_delay.py [VIDEO] [--seconds 20] [--headless] [--record]

Without VIDEO, a portrait that sways in 640 x 480 at 30 frames/s. A frame is captured when its time in the video has
come (decoded then), and shown when the window has it. Where there is no display, Xvfb is started as one, if it is
installed. Prints Markdown.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

import mien.cli.live.command as command
from mien.analyzer import Analyzer
from mien.cli.live.command import Look, Window
from mien.output.draw.style import DrawStyle
from mien.sources.live import LiveSettings, LiveSource
from mien.tracking.tracker import Tracker
from mien.video.live.files import LiveOutputs
from mien.video.live.session import LiveSession
from mien.video.live.view import ViewOptions

WIDTH, HEIGHT, FPS, LENGTH_S = 640, 480, 30, 8
PORTRAIT = Path(__file__).resolve().parent.parent / "examples" / "astronaut.jpg"


def write_swaying_portrait(path: Path) -> Path:
    """Write a video of a portrait that moves to and fro, nearer and farther."""
    image = cv2.cvtColor(cv2.imread(str(PORTRAIT)), cv2.COLOR_BGR2RGB)
    with av.open(str(path), "w") as video:
        stream = video.add_stream("libx264", rate=FPS, options={"preset": "fast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FPS * LENGTH_S):
            turn = 2 * np.pi * number / (FPS * LENGTH_S)
            scale = 1.3 + 0.25 * np.cos(2 * turn)
            move = np.array(
                [[scale, 0, 320 - 256 * scale + 90 * np.sin(turn)], [0, scale, 60 - 40 * scale]], np.float64
            )
            swayed = cv2.warpAffine(image, move, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
            video.mux(stream.encode(av.VideoFrame.from_ndarray(swayed, format="rgb24")))
        video.mux(stream.encode(None))
    return path


@contextmanager
def a_display() -> Iterator[None]:
    """Start Xvfb where there is no display."""
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or not shutil.which("Xvfb"):
        yield
        return
    reader, writer = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1280x1024x24"],
        pass_fds=[writer],
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    try:
        with os.fdopen(reader) as answer:
            os.environ["DISPLAY"] = f":{answer.readline().strip()}"
        yield
    finally:
        server.terminate()
        server.wait()


def timed(spent: list[float], function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, noting how long each call takes."""

    def run(*args: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*args, **named)
        finally:
            spent.append(1e3 * (time.perf_counter() - started))

    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--headless", action="store_true")
    parser.add_argument("--record", action="store_true", help="record and log as well")
    wanted = parser.parse_args()
    follows: list[float] = []
    renders: list[float] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        video = wanted.video or write_swaying_portrait(folder / "swaying.mp4")
        if not wanted.headless:
            stack.enter_context(a_display())
        analyzer = Analyzer()
        command._warm_up(analyzer)
        tracker = Tracker(analyzer)
        tracker.follow = timed(follows, tracker.follow)  # type: ignore[method-assign]
        command.render = timed(renders, command.render)
        outputs = LiveOutputs(folder / "log.jsonl", folder / "video.mp4") if wanted.record else LiveOutputs()
        look = Look(ViewOptions(DrawStyle()))
        source = stack.enter_context(LiveSource(video, LiveSettings(loop=True)))
        size = source.info.width, source.info.height
        session = LiveSession(
            source,
            lambda labels: tracker,
            [analyzer.labels],
            outputs=outputs,
            window=not wanted.headless,
            seconds=wanted.seconds,
        )
        with session:
            if wanted.headless:
                while not session.done:
                    time.sleep(0.1)
            else:
                with Window(session, look, source=source.name, image=size) as window:
                    while window.step():
                        pass
        summary = session.summary()
    print("| image | shown | frames/s | dropped | delay, median | 95 % | follow, median | draw, median |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    draws = f"{statistics.median(renders):.1f} ms" if renders else "-"
    print(
        f"| {size[0]}x{size[1]} | {'terminal' if wanted.headless else 'window'}{', recorded' if wanted.record else ''} "
        f"| {summary.frames / summary.seconds:.1f} | {summary.dropped} | {summary.median_ms:.1f} ms "
        f"| {summary.p95_ms:.1f} ms | {statistics.median(follows):.1f} ms | {draws} |"
    )


if __name__ == "__main__":
    main()
