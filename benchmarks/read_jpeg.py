"""What reading a JPEG costs: mien's read with its checks beside one plain decode of the same file.

python benchmarks/read_jpeg.py [--megapixels 12] [--max-pixels N]
"""

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image

from mien.sources.images import read_image

PHOTO = Path(__file__).parents[1] / "examples" / "astronaut.jpg"
RUNS = 7


def photo(megapixels: float) -> Image.Image:
    """Return the example photo at a size of 4:3, with the noise of a camera."""
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    image = np.asarray(Image.open(PHOTO).convert("RGB").resize((width, width * 3 // 4)), np.int16)
    rng = np.random.default_rng(0)
    for top in range(0, len(image), 256):
        image[top : top + 256] += rng.normal(0, 4, image[top : top + 256].shape).astype(np.int16)
    return Image.fromarray(image.clip(0, 255).astype(np.uint8))


def cpu_ms(work: Callable[[], object]) -> float:
    """Return the least processor time of several runs, milliseconds."""
    times = []
    for _ in range(RUNS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    image = photo(options.megapixels)
    if options.write:
        image.save(options.write, "JPEG", quality=90)
        return
    print(f"{image.width} x {image.height}, least CPU time of {RUNS} runs")
    for name, how in {
        "baseline": {}, "4:4:4": {"subsampling": 0}, "restart markers": {"restart_marker_rows": 1},
        "progressive": {"progressive": True},
    }.items():  # fmt: skip
        file = io.BytesIO()
        image.save(file, "JPEG", quality=90, **how)
        data = file.getvalue()
        plain = cpu_ms(lambda data=data: simplejpeg.decode_jpeg(data, colorspace="RGB", strict=False))
        ours = cpu_ms(lambda data=data: read_image(data))
        print(
            f"{name:16} {len(data) / 1e6:5.1f} MB  plain {plain:6.0f} ms  mien {ours:6.0f} ms  {ours / plain - 1:+.1%}"
        )


if __name__ == "__main__":
    main()
