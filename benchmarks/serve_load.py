"""What `mien serve` bears: live streams, /health meanwhile, and images beside the pipeline's own speed.

    python benchmarks/serve_load.py --streams 32 --seconds 300

Starts a server of its own on a free port of 127.0.0.1 and talks to nothing else. Prints one JSON document:

- streams: frames answered per second, of each stream and in ten parts of the time; streams dropped; resident memory.
- health: latency of /health, asked 200 times a second meanwhile.
- analyze: images per second of POST /v1/analyze beside those of `Analyzer.map_items`, taken in turns.

The clients run on the same cores as the server, so the figures are those of the whole machine.
"""

import argparse
import asyncio
import base64
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import httpx
from websockets.asyncio.client import connect

from mien.analyzer import Analyzer
from mien.sources.images import Item

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PARTS = 10
HEALTH_PER_S = 200
PER_REQUEST = 16
MOST_SECONDS, MOST_STREAMS, MOST_FPS = 600, 64, 15.0
START_S = 60


@contextmanager
def server(**settings: object) -> Iterator[tuple[str, int]]:
    """Run `mien serve` and yield its address and process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        variables = {f"MIEN_{name.upper()}": str(value) for name, value in settings.items()}
        process = subprocess.Popen(
            [sys.executable, "-m", "mien", "serve", "--port", str(port)],
            env={**os.environ, "MIEN_DATA_DIR": folder, "MIEN_RATE": "0", "PYTHONFAULTHANDLER": "1", **variables},
            stdout=subprocess.DEVNULL,
        )
        try:
            wait_until_up(port, process)
            yield f"127.0.0.1:{port}", process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def wait_until_up(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/ready", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise SystemExit("the server did not start")


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def images(width: int) -> list[bytes]:
    """Return JPEGs of the example portraits, as a browser would send them."""
    found = []
    for path in sorted(EXAMPLES.glob("*.jpg")):
        image = cv2.imread(str(path))
        height = round(image.shape[0] * width / image.shape[1])
        found.append(
            cv2.imencode(".jpg", cv2.resize(image, (width, height)), [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
        )
    return found


async def live(address: str, frames: list[bytes], start: float, seconds: float, counts: list[int]) -> str:
    """Be one live stream; return why it ended early, or nothing."""
    try:
        async with connect(f"ws://{address}/v1/stream", compression=None, open_timeout=30, ping_timeout=60) as stream:
            await stream.send("{}")
            json.loads(await stream.recv())
            number = 0
            while (now := time.monotonic() - start) < seconds:
                await stream.send(frames[number % len(frames)])
                answer = json.loads(await asyncio.wait_for(stream.recv(), 60))
                if answer["type"] != "faces":
                    return str(answer)
                number += 1
                counts[min(PARTS - 1, int((time.monotonic() - start) / seconds * PARTS))] += 1
                await asyncio.sleep(max(0.0, 1 / MOST_FPS - (time.monotonic() - start - now)))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def ask_health(address: str, seconds: float) -> dict[str, float]:
    """Ask for /health at a fixed rate, whatever the answers take; return the latencies in milliseconds.

    In a process of its own, so that the streams' clients do not delay it. Latency counts from the time at which the
    question was due (no coordinated omission).
    """
    code = (
        "import asyncio, sys, json; sys.path.insert(0, sys.argv[1]); import serve_load as s;"
        "print(json.dumps(asyncio.run(s.health(sys.argv[2], float(sys.argv[3])))))"
    )
    folder = str(Path(__file__).resolve().parent)
    result = subprocess.run([sys.executable, "-c", code, folder, address, str(seconds)], capture_output=True, text=True)
    return json.loads(result.stdout) if result.returncode == 0 else {"error": result.stderr[-500:]}  # type: ignore[dict-item]


async def health(address: str, seconds: float) -> dict[str, float]:
    host, _, port = address.partition(":")
    latencies: list[float] = []
    lanes = 20

    async def lane(number: int, start: float) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        due = start + number / HEALTH_PER_S
        while due < start + seconds:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            if b" 200 " not in head.split(b"\r\n")[0]:
                raise SystemExit(f"/health answered {head!r}")
            latencies.append((time.monotonic() - due) * 1000)
            due += lanes / HEALTH_PER_S
        writer.close()

    start = time.monotonic() + 0.2
    await asyncio.gather(*(lane(number, start) for number in range(lanes)))
    latencies.sort()
    at = {name: round(latencies[int(share * (len(latencies) - 1))], 2) for name, share in QUANTILES.items()}
    over = sum(value > 50 for value in latencies)
    return {"asked": len(latencies), "per_s": round(len(latencies) / seconds, 1), **at, "over_50_ms": over}


QUANTILES = {"median_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99, "p999_ms": 0.999, "max_ms": 1.0}


async def many_streams(address: str, pid: int, count: int, seconds: float, width: int) -> dict[str, Any]:
    frames = images(width)
    counts = [[0] * PARTS for _ in range(count)]
    memory: list[float] = []
    start = time.monotonic()

    async def watch() -> None:
        while time.monotonic() - start < seconds:
            memory.append(round(memory_mb(pid), 1))
            await asyncio.sleep(seconds / 20)

    streams = [live(address, frames, start, seconds, one) for one in counts]
    asked = asyncio.to_thread(ask_health, address, seconds)
    *ended, latencies, _ = await asyncio.gather(*streams, asked, watch())
    rates = [sum(one) / seconds for one in counts]
    parts = [round(sum(one[i] for one in counts) / (seconds / PARTS), 1) for i in range(PARTS)]
    return {
        "streams": {
            "count": count,
            "seconds": seconds,
            "image_width_px": width,
            "dropped": [why for why in ended if why],
            "frames_per_s_in_all": round(sum(rates), 1),
            "frames_per_s_of_one": {
                "least": round(min(rates), 2),
                "median": round(statistics.median(rates), 2),
                "most": round(max(rates), 2),
            },
            "frames_per_s_in_tenths_of_the_time": parts,
            "memory_mb": memory,
        },
        "health": latencies,
    }


def throughput(address: str, count: int, rounds: int) -> dict[str, Any]:
    """Compare POST /v1/analyze with the pipeline in turns, so that what else runs here disturbs both alike."""
    data = [path.read_bytes() for path in sorted(EXAMPLES.glob("*.jpg"))]
    count = max(1, count // PER_REQUEST) * PER_REQUEST
    items = [Item(f"{i}", data[i % len(data)]) for i in range(count)]
    forms, texts = (pack(items, as_form=as_form) for as_form in (True, False))
    analyzer = Analyzer()
    ways = {
        "pipeline": lambda: pipeline(analyzer, items),
        "form": lambda: post(address, forms),
        "json": lambda: post(address, texts),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()  # warm
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            rates[name].append(count / (time.perf_counter() - start))
    best = {f"{name}_per_s": round(statistics.median(values), 1) for name, values in rates.items()}
    ratios = {
        f"{name}_share": round(statistics.median(a / b for a, b in zip(rates[name], rates["pipeline"], strict=True)), 3)
        for name in ("form", "json")
    }
    return {"images": count, "rounds": rounds, **best, **ratios}


def pipeline(analyzer: Analyzer, items: list[Item]) -> None:
    assert sum(1 for _ in analyzer.map_items(items)) == len(items)


def post(address: str, packed: list[tuple[bytes, str]]) -> None:
    """Send the requests, four at a time."""

    async def all_of_them() -> None:
        async with httpx.AsyncClient(base_url=f"http://{address}", timeout=120) as client:
            gate = asyncio.Semaphore(4)

            async def one(content: bytes, kind: str) -> None:
                async with gate:
                    answer = await client.post("/v1/analyze", content=content, headers={"Content-Type": kind})
                    assert len(answer.json()["results"]) == PER_REQUEST, answer.text

            await asyncio.gather(*(one(*request) for request in packed))

    asyncio.run(all_of_them())


def pack(items: list[Item], *, as_form: bool) -> list[tuple[bytes, str]]:
    """Return requests of sixteen images, ready to be sent: packing them is no work of the server."""
    batches = [items[i : i + PER_REQUEST] for i in range(0, len(items), PER_REQUEST)]
    requests = [httpx.Request("POST", "http://x", **body(batch, as_form=as_form)) for batch in batches]
    return [(request.read(), request.headers["Content-Type"]) for request in requests]


def body(batch: list[Item], *, as_form: bool) -> dict[str, Any]:
    if as_form:
        return {"files": [("file", (f"{item.name}.jpg", item.origin, "image/jpeg")) for item in batch]}
    return {"json": {"images": [base64.b64encode(item.origin).decode() for item in batch]}}  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--width", type=int, default=480, help="of the streams' images, pixels")
    parser.add_argument("--images", type=int, default=128, help="for the throughput")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("streams", "analyze"))
    given = parser.parse_args()
    seconds, streams = min(given.seconds, MOST_SECONDS), min(given.streams, MOST_STREAMS)
    found: dict[str, Any] = {"cores": os.cpu_count(), "load_before": os.getloadavg()}
    if given.only != "analyze":
        with server(streams=streams, streams_per_client=streams) as (address, pid):
            found |= asyncio.run(many_streams(address, pid, streams, seconds, given.width))
    if given.only != "streams":
        with server(waiting=1000) as (address, _):
            found["analyze"] = throughput(address, given.images, given.rounds)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
