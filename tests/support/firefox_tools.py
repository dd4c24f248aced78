"""Firefox without a window, driven over WebDriver BiDi (https://w3c.github.io/webdriver-bidi/)."""

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
PLAY_A_PORTRAIT = """async portrait => { // Firefox's fake camera has one colour and no face
    const bytes = Uint8Array.from(atob(portrait), letter => letter.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes]));
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [640, 480];
    const paint = () => canvas.getContext("2d").drawImage(image, 80, -40 + 4 * Math.sin(Date.now() / 300), 560, 560);
    navigator.mediaDevices.getUserMedia = async () => {
        paint();
        setInterval(paint, 50);
        return canvas.captureStream(20);
    };
}"""
START_S = 40
WAIT_S = 30
LARGEST_MESSAGE = 64 << 20
KEYS = {  # https://w3c.github.io/webdriver/#keyboard-actions
    "Tab": "\ue004", "Enter": "\ue007", "Space": " ", "Delete": "\ue017", "Home": "\ue011", "End": "\ue010",
    "ArrowLeft": "\ue012", "ArrowUp": "\ue013", "ArrowRight": "\ue014", "ArrowDown": "\ue015",
}  # fmt: skip
PREFERENCES: dict[str, bool | int | str] = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    "layout.css.prefers-color-scheme.content-override": 0,  # the system's colours are dark
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "browser.aboutwelcome.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "app.update.disabledForTesting": True,
    "app.normandy.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "extensions.update.enabled": False,
}


class Page:
    """A tab."""

    def __init__(self, firefox: "Firefox", context: str) -> None:
        """Take down which."""
        self._firefox = firefox
        self._here = {"context": context}

    def open(self, url: str) -> None:
        """Load an address."""
        self._firefox.call("browsingContext.navigate", **self._here, url=url, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, or what it promises, as JSON can hold it."""
        return self._call(f"async () => JSON.stringify(await ({expression}) ?? null)")

    def run(self, function: str, *arguments: str) -> Any:
        """Call a function of the page's language with texts and return what it promises."""
        return self._call(f"async (...all) => JSON.stringify(await ({function})(...all) ?? null)", *arguments)

    def _call(self, function: str, *arguments: str) -> Any:
        answer = self._firefox.call(
            "script.callFunction",
            functionDeclaration=function,
            arguments=[{"type": "string", "value": value} for value in arguments],
            target=self._here,
            awaitPromise=True,
            userActivation=True,
        )
        assert answer["type"] == "success", answer["exceptionDetails"]["text"]
        return json.loads(answer["result"]["value"])

    def wait_until(self, expression: str, *, seconds: float = WAIT_S) -> Any:
        """Wait until an expression is true and return its value."""
        until = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < until, f"never true: {expression}"
            time.sleep(0.05)
        return value

    def click(self, selector: str) -> None:
        """Click with the mouse on the middle of an element, once it has come to rest and nothing covers it."""
        until, before, point = time.monotonic() + WAIT_S, None, None
        while point is None or point != before:
            assert time.monotonic() < until, f"never at rest, or covered: {selector}"
            before = point
            time.sleep(0.1)
            point = self.run(
                """selector => { const element = document.querySelector(selector);
                if (!element?.checkVisibility()) return null;
                element.scrollIntoView({ block: "center", behavior: "instant" });
                const box = element.getBoundingClientRect();
                const x = Math.round(box.x + box.width / 2), y = Math.round(box.y + box.height / 2);
                return element.contains(document.elementFromPoint(x, y)) ? [x, y] : null; }""",
                selector,
            )
        moves = [
            {"type": "pointerMove", "x": point[0], "y": point[1]},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        mouse = {"type": "pointer", "id": "mouse", "actions": moves}
        self._firefox.call("input.performActions", **self._here, actions=[mouse])

    def press(self, *keys: str) -> None:
        """Press keys one after another: letters, or names of `KEYS`."""
        actions = [{"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")]
        keyboard = {"type": "key", "id": "keyboard", "actions": actions}
        self._firefox.call("input.performActions", **self._here, actions=[keyboard])

    def choose_files(self, selector: str, *files: Path) -> None:
        """Choose files in a file input."""
        found = self._firefox.call(
            "browsingContext.locateNodes", **self._here, locator={"type": "css", "value": selector}
        )
        element = {"sharedId": found["nodes"][0]["sharedId"]}
        self._firefox.call("input.setFiles", **self._here, element=element, files=[str(file) for file in files])

    def resize(self, width: int, height: int) -> None:
        """Give the tab another size, in CSS pixels."""
        self._firefox.call("browsingContext.setViewport", **self._here, viewport={"width": width, "height": height})

    def image(self, path: Path) -> Path:
        """Save what is to be seen as PNG."""
        answer = self._firefox.call("browsingContext.captureScreenshot", **self._here)
        path.write_bytes(base64.b64decode(answer["data"]))
        return path

    def close(self) -> None:
        """Close the tab."""
        self._firefox.call("browsingContext.close", **self._here)


class Firefox:
    """A running browser."""

    def __init__(self, socket: Any) -> None:
        """Begin a session.

        Args:
            socket: A web socket to the browser.
        """
        self.complaints: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["log.entryAdded"])

    def call(self, method: str, **parameters: Any) -> Any:
        """Send a command and return its result; what the pages say meanwhile is noted."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=2 * WAIT_S))
            if message["type"] == "event":
                entry = message["params"]
                if entry["level"] in ("error", "warn"):
                    self.complaints.append(entry["text"])
            elif message["id"] == number:
                assert message["type"] == "success", f"{method}: {message['error']}: {message['message']}"
                return message["result"]

    def new_page(self, *, width: int = 1280, height: int = 860) -> Page:
        """Open a tab."""
        page = Page(self, self.call("browsingContext.create", type="tab")["context"])
        page.resize(width, height)
        return page


@contextmanager
def launched(profile: Path, **preferences: bool | int | str) -> Iterator[Firefox]:
    """Run Firefox for as long as the context lasts.

    Args:
        profile: An empty folder of its own.
        preferences: Further ones; `__` stands for a dot.
    """
    from websockets.sync.client import connect

    chosen = PREFERENCES | {name.replace("__", "."): value for name, value in preferences.items()}
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in chosen.items()]
    (profile / "user.js").write_text("\n".join(lines), encoding="utf-8")
    said = profile / "said.log"
    command = [
        FIREFOX,
        "--headless",
        "--no-remote",
        "--profile",
        profile,
        "--remote-debugging-port",
        "0",
        "about:blank",
    ]
    environment = os.environ | {"HOME": str(profile), "MOZ_CRASHREPORTER_DISABLE": "1"}
    with said.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    try:
        address = _address(process, said)
        with connect(f"{address}/session", max_size=LARGEST_MESSAGE, open_timeout=START_S) as socket:
            yield Firefox(socket)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(process: "subprocess.Popen[bytes]", said: Path) -> str:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        found = re.search(r"WebDriver BiDi listening on (ws://\S+)", said.read_text(encoding="utf-8", errors="replace"))
        if found:
            return found[1]
        time.sleep(0.1)
    pytest.fail(f"Firefox did not start:\n{said.read_text(encoding='utf-8', errors='replace')[-2000:]}")
