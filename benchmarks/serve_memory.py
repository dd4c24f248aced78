"""What `mien serve` keeps of the memory that large images took.

    python benchmarks/serve_memory.py --requests 10

Starts a server of its own on a free port of 127.0.0.1. Six clients at once send requests with two images of 12 to 35
megapixels each, every second one to be annotated. Prints resident memory in MB: at the start, after the last answer, at
its highest, and 40 s later, when the server has given back what it could. Linux.
"""

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import httpx
import numpy as np

from serve_load import EXAMPLES, memory_mb, server

CLIENTS = 6
SIZES = ((4000, 3000), (6000, 4000), (3000, 4000), (7000, 5000))
LATER_S = 40


def large_images() -> list[bytes]:
    """Return JPEGs with two faces each."""
    faces = [cv2.resize(cv2.imread(str(EXAMPLES / name)), (512, 512)) for name in ("astronaut.jpg", "grace_hopper.jpg")]
    both = np.hstack(faces)
    return [cv2.imencode(".jpg", cv2.resize(both, size), [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes() for size in SIZES]


def most_mb(pid: int) -> float:
    """Return the highest resident memory that a process has had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10)
    given = parser.parse_args()
    images = large_images()
    with server(request_timeout_s=900) as (address, pid):

        def ask(number: int) -> None:
            files = [("file", (f"{i}.jpg", images[(number + i) % len(images)], "image/jpeg")) for i in range(2)]
            params = {"annotated": "1"} if number % 2 else {}
            url = f"http://{address}/v1/analyze"
            httpx.post(url, files=files, params=params, timeout=900).raise_for_status()

        found = {"start": memory_mb(pid)}
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(ask, range(given.requests)))
        found["after"] = memory_mb(pid)
        found["highest"] = most_mb(pid)
        time.sleep(LATER_S)
        found[f"{LATER_S} s later"] = memory_mb(pid)
    print(json.dumps({name: round(value) for name, value in found.items()}, indent=2))


if __name__ == "__main__":
    main()
