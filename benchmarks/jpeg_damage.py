"""How much of the damage to JPEGs is noticed: an error, a warning, or nothing, by kind of damage.

python benchmarks/jpeg_damage.py
"""

import io
import itertools
import logging
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from mien.errors import SourceError
from mien.sources.images import decode_image

PHOTO = Image.open(Path(__file__).parents[1] / "examples" / "astronaut.jpg").convert("RGB")
MAKINGS = {
    "baseline": {}, "optimized": {"optimize": True}, "progressive": {"progressive": True},
    "rows": {"restart_marker_rows": 1}, "blocks": {"restart_marker_blocks": 3},
    "progressive rows": {"progressive": True, "restart_marker_rows": 1}, "4:4:4": {"subsampling": 0}, "gray": {},
}  # fmt: skip
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)
RNG = np.random.default_rng(1)


def hurt(data: bytes, at: int, how: str, count: int) -> bytes:
    end = min(at + count, len(data) - 2)  # the end marker stays
    put = {"zeroed": bytes(end - at), "noise": RNG.integers(0, 256, end - at, np.uint8).tobytes(), "taken out": b""}
    return data[:at] + put[how] + data[end:]


def main() -> None:
    warnings: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("mien").addHandler(handler)
    logging.getLogger("mien").propagate = False
    counts: dict[str, Counter[str]] = {}
    for size, quality, making in itertools.product(((256, 192), (512, 512)), (60, 75, 90, 97), MAKINGS):
        file = io.BytesIO()
        image = PHOTO.resize(size).convert("L" if making == "gray" else "RGB")
        image.save(file, "JPEG", quality=quality, **MAKINGS[making])
        data = file.getvalue()
        begin = data.index(b"\xff\xda") + 14
        for (how, count), share in itertools.product(
            (("zeroed", 1 << 30), ("taken out", 1 << 30), ("zeroed", 400), ("taken out", 400), ("zeroed", 64),
             ("taken out", 64), ("noise", 64)), SHARES,
        ):  # fmt: skip
            warnings.clear()
            try:
                decode_image(hurt(data, begin + int(share * (len(data) - begin)), how, count), name="x")
                answer = "warning" if warnings else "unnoticed"
            except SourceError:
                answer = "error"
            what = f"{count} bytes {how}" if count < 1 << 30 else f"all from there {how}"
            counts.setdefault(what, Counter())[answer] += 1
    for what, answers in counts.items():
        print(f"{what:24} " + "  ".join(f"{name} {answers[name]:5}" for name in ("error", "warning", "unnoticed")))


if __name__ == "__main__":
    main()
