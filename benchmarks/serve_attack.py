"""Attacks on `mien serve` at the level of bytes, while its owner goes on using it.

    python benchmarks/serve_attack.py --requests 20000 --seconds 3600

Starts a server with a token of its own on a free port of 127.0.0.1 and talks to nothing else. Strangers and holders of
the token, at many made-up addresses, send random paths and headers, bodies that stop half-way, answers that they do not
read, web sockets without a first message, broken frames, and nothing at all, spread over the time. Meanwhile the owner
asks each second for the faces of an image and of the frame of a new live stream, and has one video after the other
analyzed, looks at the results and deletes it; each time there must be an answer.

Prints one JSON document: attacks by kind, answers by status, how the owner fared, memory, threads and open files at
the start, after five minutes (or a quarter of a shorter time), at the end and 45 s later, and memory in twelve parts of
the time. Exits with 1 where the owner was not served, the server gave an error of its own, or memory at the end is more
than a tenth above that after five minutes.
"""

import argparse
import asyncio
import base64
import json
import math
import os
import random
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import av
import cv2
import httpx
import numpy as np
from websockets.asyncio.client import connect

from serve_fuzz import broken, flipped, seeds, state_of
from serve_load import EXAMPLES, server

LANES = 48
TOKEN = "token-of-the-attacked-server"
BEARER = f"Authorization: Bearer {TOKEN}\r\n"
HANG_S = 20.0
AFTER_S = 45.0  # longer than the server keeps free memory
MOST_GROWTH = 1.1
EARLY_S = 300.0
PARTS = 12
PATHS = (
    "/",
    "/health",
    "/ready",
    "/docs",
    "/metrics",
    "/v1/models",
    "/v1/jobs",
    "/v1/analyze",
    "/v1/stream",
    "/video_feed",
)
METHODS = ("GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW", "get", "\0")
ODD = (
    "%00",
    "%2e%2e/",
    "//",
    "..\\",
    "%c0%af",
    "?token=x",
    "?until=1&signature=0",
    "#",
    "é",
    " ",
    "\t",
    "*",
    "http://x/",
)


class Attack:
    """All attackers together."""

    def __init__(self, address: str, seed: int) -> None:
        """Begin with nothing sent."""
        self.host, _, port = address.partition(":")
        self.port = int(port)
        self.random = random.Random(seed)
        self.good = seeds()
        self.kinds: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.left = 0

    async def run(self, count: int, seconds: float) -> None:
        """Make so many attacks, evenly over the time, or as many as there is time for."""
        self.left, start = count, time.monotonic()

        async def lane() -> None:
            while self.left > 0 and time.monotonic() - start < seconds:
                due = start + (count - self.left) * seconds / count
                self.left -= 1
                await asyncio.sleep(due - time.monotonic())
                kind, attack = self.random.choice(self.all())
                self.kinds[kind] += 1
                with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
                    async with asyncio.timeout(HANG_S):
                        await attack()

        await asyncio.gather(*(lane() for _ in range(LANES)))

    def all(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        """Return the attacks by name."""
        return [
            ("paths", self.paths), ("headers", self.headers), ("half bodies", self.half_bodies),
            ("garbage", self.garbage), ("slow readers", self.slow_readers), ("frames", self.frames),
            ("silent sockets", self.silent_sockets), ("silence", self.silence), ("broken images", self.broken_images),
        ]  # fmt: skip

    def client(self) -> str:
        """Return the headers of a made-up address, sometimes with the token."""
        known = self.random.random() < 0.4
        number = self.random.randrange(6 if known else 200)
        return f"X-Forwarded-For: 198.51.{100 + known}.{number}\r\n{BEARER if known else ''}"

    async def say(self, data: bytes, *, then: float | None = None) -> None:
        """Send bytes and take down the answer's status; with `then`, wait so long instead and hang up."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(data)
            await writer.drain()
            if then is not None:
                return await asyncio.sleep(then)
            line = await reader.readline()
            self.answers[line[9:12].decode("latin-1") or "none"] += 1
            for _ in range(8):
                if not await reader.read(1 << 16):
                    break
        finally:
            writer.transport.abort()

    async def paths(self) -> None:
        """Addresses and methods that are not, or not quite, the server's."""
        pick = self.random.choice
        path = pick(PATHS) + "".join(pick(ODD) for _ in range(self.random.randrange(4)))
        await self.say(
            f"{pick(METHODS)} {path} HTTP/1.{pick('0119')}\r\nHost: localhost\r\n{self.client()}\r\n".encode()
        )

    async def headers(self) -> None:
        """Too many, too long, contradicting or broken fields."""
        pick, size = self.random.choice, self.random.randrange
        fields = pick(
            (
                "X: y\r\n" * size(500), f"X: {'y' * size(60_000)}\r\n", f"{'X' * size(60_000)}: y\r\n",
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Content-Length: -1\r\n",
                "Transfer-Encoding: gzip\r\n", "Connection: upgrade\r\nUpgrade: websocket\r\n",
                "Host: a\r\nHost: b\r\n", "Content-Length: 9\r\n" * 2,
                f"Content-Type: multipart/form-data; boundary={'b' * size(90)}\r\n", "Range: bytes=9-1,-\r\n",
                "Expect: 100-continue\r\nContent-Length: 10\r\n", " folded: x\r\n", "no colon\r\n",
                "\u00e9: \u00e9\r\n",
            )
        )  # fmt: skip
        head = f"{pick(('GET', 'POST'))} {pick(PATHS)} HTTP/1.1\r\nHost: localhost\r\n{self.client()}{fields}\r\n"
        await self.say(head.encode("latin-1"), then=None if self.random.random() < 0.9 else 1.0)

    async def half_bodies(self) -> None:
        """Bodies that stop before their end; the client waits or hangs up."""
        pick = self.random.choice
        path, kind = pick(
            (
                ("/v1/analyze", "image/jpeg"),
                ("/v1/analyze", "application/json"),
                ("/v1/jobs", "multipart/form-data; boundary=b"),
            )
        )
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{self.client()}Content-Type: {kind}\r\n"
        form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
        body = (form if path == "/v1/jobs" else b"") + os.urandom(self.random.randrange(200_000))
        announced = self.random.choice((1 << 20, 32 << 20, 1 << 40))
        length = pick((f"Content-Length: {announced}", "Transfer-Encoding: chunked"))
        chunk = body if "Length" in length else b"%x\r\n" % len(body) + body
        await self.say(f"{head}{length}\r\n\r\n".encode() + chunk, then=pick((None, 0.0, 0.5, 3.0)))

    async def garbage(self) -> None:
        """What is no HTTP."""
        request = f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n{self.client()}\r\n".encode()
        data = self.random.choice(
            (os.urandom(3000), flipped(self.random, bytearray(request), 5), b"\r\n" * 5000, request * 300)
        )
        await self.say(data)

    async def slow_readers(self) -> None:
        """Answers that are read slowly, or not at all."""
        body = json.dumps({"images": [base64.b64encode(self.good[0]).decode()] * 8}).encode()
        head = f"POST /v1/analyze?annotated=1&detector=none HTTP/1.1\r\nHost: localhost\r\n{self.client()}"
        about = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        many = f"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n{self.client()}\r\n".encode() * 20
        await self.say(
            self.random.choice(((head + about).encode() + body, many)), then=self.random.choice((0.1, 1.0, 4.0))
        )

    def handshake(self) -> bytes:
        """Return the beginning of a web socket."""
        fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        key = f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
        return f"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n{self.client()}{fields}{key}\r\n".encode()

    async def silent_sockets(self) -> None:
        """Web sockets that say nothing, or only half of what they must."""
        hello = self.random.choice(
            (b"", b"\x81", b"\x81\xfe\xff\xff", b"\x01\x80\0\0\0\0" + b"\x00\x80\0\0\0\0" * 3000)
        )
        await self.say(self.handshake() + hello, then=self.random.choice((0.0, 0.5, 3.0)))

    async def frames(self) -> None:
        """Frames that are broken, too large, or pings that nobody reads the answers of."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(self.handshake())
            line = await reader.readline()
            self.answers[f"socket {line[9:12].decode('latin-1')}"] += 1
            kind = self.random.choice((0x81, 0x82, 0x89, 0x8A, 0x88, 0xF1, 0x03))
            size = self.random.choice((0, 2, 125, 5000, 100_000, 20_000_000))
            length = bytes([0x80 | size]) if size < 126 else b"\xff" + struct.pack(">Q", size)
            writer.write(
                (bytes([kind]) + length + b"\0\0\0\0" + os.urandom(min(size, 100_000))) * self.random.choice((1, 50))
            )
            await writer.drain()
            await asyncio.sleep(self.random.choice((0.0, 1.0)))
        finally:
            writer.transport.abort()

    async def silence(self) -> None:
        """A connection, and nothing more."""
        await self.say(b"", then=self.random.choice((0.0, 1.0, 3.0)))

    async def broken_images(self) -> None:
        """Broken files, sent as they must be."""
        data = broken(self.random, self.good)
        about = f"Content-Type: image/jpeg\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
        await self.say(f"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\n{self.client()}{about}".encode() + data)


class Owner:
    """Who uses the server meanwhile."""

    def __init__(self, address: str, image: bytes, video: bytes) -> None:
        """Take an image and a video to ask about."""
        self._address, self._image, self._video = address, image, video
        self._headers = {"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "203.0.113.1"}
        self.served: Counter[str] = Counter()
        self.failed, self.slowest_s = list[str](), Counter[str]()

    async def run(self) -> None:
        """Ask, until cancelled."""
        await asyncio.gather(*(self.again(use) for use in (self.image, self.stream, self.video)))

    async def again(self, use: Callable[[], Awaitable[None]]) -> None:
        """Use the server in one way, each second."""
        while True:
            start = time.monotonic()
            try:
                await use()
                self.served[use.__name__] += 1
            except Exception as error:
                self.failed.append(f"{use.__name__}: {type(error).__name__}: {str(error)[:200]}")
            self.slowest_s[use.__name__] = max(self.slowest_s[use.__name__], round(time.monotonic() - start, 2))
            await asyncio.sleep(1)

    def http(self) -> httpx.AsyncClient:
        """Return a client with the token."""
        return httpx.AsyncClient(base_url=f"http://{self._address}", headers=self._headers, timeout=60)

    async def image(self) -> None:
        """Ask for the faces of an image."""
        async with self.http() as http:
            answer = await http.post("/v1/analyze", content=self._image, headers={"Content-Type": "image/jpeg"})
            assert answer.status_code == 200 and answer.json()["results"][0]["error"] is None, answer.text

    async def stream(self) -> None:
        """Open a live stream and ask for the faces of one frame."""
        url = f"ws://{self._address}/v1/stream"
        async with connect(url, additional_headers=self._headers, compression=None, open_timeout=60) as stream:
            for said, kind in (("{}", "ready"), (self._image, "faces")):
                await stream.send(said)
                assert json.loads(await asyncio.wait_for(stream.recv(), 60))["type"] == kind

    async def video(self) -> None:
        """Have a video analyzed, read the rows, and delete it."""
        async with self.http() as http:
            made = await http.post("/v1/jobs", files={"file": ("video.mp4", self._video, "video/mp4")})
            assert made.status_code in (200, 201, 202), made.text
            job = f"/v1/jobs/{made.json()['id']}"
            while (state := (await http.get(job)).json()["state"]) in ("queued", "running"):
                await asyncio.sleep(0.5)
            assert state == "done", state
            for method, address in (("GET", f"{job}/result.csv"), ("DELETE", job)):
                answer = await http.request(method, address)
                assert answer.is_success, answer.text


def short_video() -> bytes:
    """Return three seconds with a face that moves."""
    image = cv2.imread(str(EXAMPLES / "astronaut.jpg"))[:360, :512]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 480, 360, "yuv420p"
            for number in range(75):
                x = round(16 + 16 * math.sin(number / 12))
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:, x : x + 480]), format="bgr24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path.read_bytes()


async def attacked(address: str, pid: int, count: int, seconds: float, seed: int) -> dict[str, object]:
    """Attack, and return what was seen."""
    attack = Attack(address, seed)
    owner = Owner(address, attack.good[0], short_video())
    early_s = min(EARLY_S, seconds / 4)
    states, parts = {"start": state_of(pid)}, list[float]()

    async def watch() -> None:
        await asyncio.sleep(early_s)
        states[f"after {early_s:g} s"] = state_of(pid)

    async def sample() -> None:
        for _ in range(PARTS):
            await asyncio.sleep(seconds / PARTS)
            parts.append(state_of(pid)["memory_mb"])

    using, *beside = [asyncio.create_task(task) for task in (owner.run(), watch(), sample())]
    start = time.monotonic()
    await attack.run(count, seconds)
    states["end"] = state_of(pid)
    whole_s = time.monotonic() - start
    using.cancel()
    await asyncio.sleep(AFTER_S)
    states[f"{AFTER_S:g} s later"] = state_of(pid)
    for task in beside:
        task.cancel()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    metrics = httpx.get(f"http://{address}/metrics", headers=headers, timeout=HANG_S).text
    errors = [
        line for line in metrics.splitlines() if line.startswith("mien_requests_total") and 'status="500"' in line
    ]
    steady = states["end"]["memory_mb"] < MOST_GROWTH * states[f"after {early_s:g} s"]["memory_mb"]
    return {
        "fine": steady and not errors and not owner.failed,
        "seconds": round(whole_s),
        "attacks": sum(attack.kinds.values()),
        "kinds": dict(sorted(attack.kinds.items())),
        "answers": dict(sorted(attack.answers.items())),
        "owner": {"served": owner.served, "failed": owner.failed[:10], "slowest_s": owner.slowest_s},
        "errors": errors,
        "states": states,
        "memory_mb_in_twelfths": parts,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with server(token=TOKEN, trusted_proxies="127.0.0.1", body_timeout_s=2, job_timeout_s=60, rate=100) as (
        address,
        pid,
    ):
        found = asyncio.run(attacked(address, pid, given.requests, given.seconds, given.seed))
    print(json.dumps(found, indent=2))
    sys.exit(0 if found["fine"] else 1)


if __name__ == "__main__":
    main()
