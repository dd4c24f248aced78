"""Thousands of malformed requests to `mien serve`: no error of the server, no leak, no hang.

    python benchmarks/serve_fuzz.py --requests 20000

Starts a server of its own on a free port of 127.0.0.1 and talks to nothing else. Three kinds of requests:

- schemathesis: made from the server's own OpenAPI description, valid and not; the answers must be as described.
- images: broken files to POST /v1/analyze, as forms, JSON and plain bodies.
- messages: broken images and settings to the web socket /v1/stream.

Prints one JSON document with the number of requests as the server itself counted them, the answers by status, memory,
threads and open files before and after, and the slowest answer. Exits with 1 where something is wrong.
"""

import argparse
import asyncio
import base64
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from serve_load import EXAMPLES, memory_mb, server

HANG_S = 30.0
MOST_REQUESTS = 20_000
MOST_GROWTH_MB = 150.0  # caches fill and allocators keep pages; a leak of one image per request would be gigabytes
OPERATIONS = 10  # of the description, over which schemathesis spreads its examples
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def seeds() -> list[bytes]:
    """Return small good files of every format."""
    import cv2

    image = cv2.resize(cv2.imread(str(EXAMPLES / "astronaut.jpg"))[40:200, 150:290], (70, 80))
    return [cv2.imencode(kind, image)[1].tobytes() for kind in (".jpg", ".png", ".webp", ".bmp", ".tiff", ".gif")]


def broken(random_: random.Random, good: list[bytes]) -> bytes:
    """Return a file that is broken in one of several ways, or not at all."""
    data = bytearray(random_.choice(good))
    ways: tuple[Callable[[], bytes], ...] = (
        lambda: bytes(data),
        lambda: bytes(data[: random_.randrange(len(data))]),
        lambda: flipped(random_, data, random_.randrange(1, 20)),
        lambda: flipped(random_, data, 3, within=64),
        lambda: bytes(data[:20]) + random_.randbytes(random_.randrange(500)),
        lambda: random_.randbytes(random_.randrange(300)),
        lambda: bytes(data) + random_.choice(good),
        lambda: spliced(random_, data),
        lambda: b"",
    )
    return random_.choice(ways)()


def flipped(random_: random.Random, data: bytearray, count: int, *, within: int | None = None) -> bytes:
    for _ in range(count):
        data[random_.randrange(min(len(data), within or len(data)))] = random_.randrange(256)
    return bytes(data)


def spliced(random_: random.Random, data: bytearray) -> bytes:
    start, end = sorted(random_.randrange(len(data)) for _ in range(2))
    return bytes(data[:start] + data[end:])


class Seen:
    """Answers by kind and status, and the slowest."""

    def __init__(self) -> None:
        """Start with none."""
        self.answers: Counter[str] = Counter()
        self.slowest_s = 0.0
        self.wrong: list[str] = []

    def take(self, kind: str, status: int, seconds: float, said: str = "") -> None:
        """Take down an answer."""
        self.answers[f"{kind} {status}"] += 1
        self.slowest_s = max(self.slowest_s, seconds)
        if status >= 500 and status != 503:
            self.wrong.append(f"{kind}: {said[:300]}")


async def send_images(address: str, count: int, seed: int, seen: Seen) -> None:
    """Send broken images to /v1/analyze, eight requests at a time."""
    random_, good = random.Random(seed), seeds()
    async with httpx.AsyncClient(base_url=f"http://{address}", timeout=HANG_S) as client:

        async def lane(number: int) -> None:
            for body in bodies(random_, good, number):
                start = time.monotonic()
                answer = await client.post("/v1/analyze", params=parameters(random_), **body)
                seen.take("images", answer.status_code, time.monotonic() - start, answer.text)
                if answer.status_code == 200:
                    for result in answer.json()["results"]:
                        if result["error"] and result["error"]["status"] != 422:
                            seen.wrong.append(f"images: {result['error']}")

        await asyncio.gather(*(lane(count // 8) for _ in range(8)))


def parameters(random_: random.Random) -> dict[str, str]:
    return random_.choice(({}, {}, {"annotated": "1"}, {"labels": "ferplus"}, {"detector": "haar"}, {"labels": "\0ü"}))


def bodies(random_: random.Random, good: list[bytes], count: int) -> Iterator[dict[str, Any]]:
    for _ in range(count):
        data = [broken(random_, good) for _ in range(random_.randrange(1, 4))]
        kind = random_.randrange(4)
        if kind == 0:
            yield {
                "files": [("file", (random_.choice(("a.jpg", "../x", "ü\n", "")), one, "image/jpeg")) for one in data]
            }
        elif kind == 1:
            yield {"json": {"images": [base64.b64encode(one).decode() for one in data]}}
        elif kind == 2:
            yield {"content": data[0], "headers": {"Content-Type": random_.choice(("image/jpeg", "application/json"))}}
        else:
            yield {
                "content": broken_form(random_, data[0]),
                "headers": {"Content-Type": "multipart/form-data; boundary=b"},
            }


def broken_form(random_: random.Random, data: bytes) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    form = bytearray(head + data + b"\r\n--b--\r\n")
    return random_.choice((bytes(form), flipped(random_, form, 3, within=len(head)), spliced(random_, form)))


async def send_messages(address: str, count: int, seed: int, seen: Seen) -> None:
    """Send broken messages to the web socket, four streams at a time."""
    random_, good = random.Random(seed), seeds()

    async def lane(number: int) -> None:
        while number > 0:
            async with connect(f"ws://{address}/v1/stream", compression=None, open_timeout=HANG_S) as stream:
                try:
                    await stream.send("{}")
                    await asyncio.wait_for(stream.recv(), HANG_S)
                    for _ in range(min(number, random_.randrange(1, 200))):
                        number -= 1
                        await one_message(stream, message(random_, good), seen)
                except ConnectionClosed as closed:
                    if closed.rcvd is None or closed.rcvd.code in (1006, 1011):
                        seen.wrong.append(f"messages: {closed}")

    await asyncio.gather(*(lane(count // 4) for _ in range(4)))


async def one_message(stream: Any, said: str | bytes, seen: Seen) -> None:
    start = time.monotonic()
    await stream.send(said)
    answer = json.loads(await asyncio.wait_for(stream.recv(), HANG_S))
    status = answer["problem"]["status"] if answer["type"] == "error" else 200
    seen.take("messages", status, time.monotonic() - start, str(answer))


def message(random_: random.Random, good: list[bytes]) -> str | bytes:
    if random_.random() < 0.8:
        return broken(random_, good)
    return random_.choice(
        (
            "", "{", "[]", "null", "1e999", '{"half_life_s": 1e308}', '{"half_life_s": "x"}', '{"labels": null}',
            '{"labels": "ferplus"}', '{"detector": "haar"}', '{"detector": "\\u0000"}', '{"token": 1}', "\u0000" * 50,
            "[" * 4000, "x" * 5000, '{"labels": "' + "ü" * 900 + '"}',
        )
    )  # fmt: skip


def send_largest(address: str) -> None:
    """Send the largest images that the server takes: working memory for them stays, and is no leak."""
    import cv2
    import numpy as np

    large = cv2.imencode(".png", np.full((6300, 6300), 127, np.uint8))[1].tobytes()
    files = [("file", ("large.png", large, "image/png"))] * 4
    for _ in range(2):
        answer = httpx.post(f"http://{address}/v1/analyze", files=files, params={"annotated": "1"}, timeout=120)
        assert all(result["error"] is None for result in answer.json()["results"])


def run_schemathesis(address: str, count: int, seed: int) -> tuple[bool, str]:
    """Let schemathesis test the description; return whether all was well, and what it printed."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"http://{address}/openapi.json",
        "--max-examples", str(max(5, count // OPERATIONS)), "--checks", CHECKS, "--seed", str(seed), "--workers", "1",
        "--request-timeout", str(HANG_S), "--exclude-path", "/video_feed", "--continue-on-failure",
        "--max-failures", "20", "--suppress-health-check", "all", "--no-color",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:  # it leaves a folder where it runs
        result = subprocess.run(command, capture_output=True, text=True, timeout=3600, cwd=folder)
    return result.returncode == 0, result.stdout + result.stderr


def counted(address: str) -> Counter[str]:
    """Return the answers by status, as the server counted them."""
    found: Counter[str] = Counter()
    text = httpx.get(f"http://{address}/metrics", timeout=HANG_S).text
    for status, number in re.findall(r'mien_requests_total\{.*status="(\d+)"\} ([\d.e+]+)', text):
        found[status] += int(float(number))
    return found


def state_of(pid: int) -> dict[str, float]:
    return {
        "memory_mb": round(memory_mb(pid), 1),
        "threads": len(list(Path(f"/proc/{pid}/task").iterdir())),
        "files": len(list(Path(f"/proc/{pid}/fd").iterdir())),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, help="where schemathesis' report goes")
    given = parser.parse_args()
    count, seen, start = min(given.requests, MOST_REQUESTS), Seen(), time.monotonic()
    with server(body_timeout_s=5, job_timeout_s=20, jobs_kept=50) as (address, pid):
        asyncio.run(send_images(address, 80, given.seed, Seen()))  # fills the caches
        send_largest(address)
        before = state_of(pid)
        asyncio.run(send_images(address, count * 4 // 10, given.seed + 1, seen))
        asyncio.run(send_messages(address, count * 3 // 10, given.seed + 2, seen))
        described, report = run_schemathesis(address, count * 3 // 10, given.seed)
        answers = counted(address)
        time.sleep(2)
        after, alive = state_of(pid), httpx.get(f"http://{address}/health", timeout=5).status_code == 200
    if given.log:
        given.log.write_text(report)
    errors = {status: number for status, number in answers.items() if status >= "500" and status != "503"}
    grown = after["memory_mb"] - before["memory_mb"]
    fine = (
        described
        and alive
        and not errors
        and not seen.wrong
        and grown < MOST_GROWTH_MB
        and after["files"] <= before["files"] + 10
    )
    messages = sum(number for name, number in seen.answers.items() if name.startswith("messages"))
    found = {
        "fine": fine,
        "seconds": round(time.monotonic() - start),
        "http_requests": sum(answers.values()),
        "messages": messages,
        "http_answers": dict(sorted(answers.items())),
        "answers": dict(sorted(seen.answers.items())),
        "errors": errors,
        "wrong": seen.wrong[:10],
        "slowest_s": round(seen.slowest_s, 2),
        "as_described": described,
        "before": before,
        "after": after,
    }
    print(json.dumps(found, indent=2))
    if not fine:
        print("\n".join(report.splitlines()[-80:]), file=sys.stderr)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
