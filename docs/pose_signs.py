"""Draws `docs/images/pose.svg`: the canonical face with each sign of yaw, pitch and roll.

python docs/pose_signs.py
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.attributes.geometry import canonical_face, turn_of
from mien.output.draw.measures import AXES, CLOSED_LINES, OPEN_LINES, axes_of

FILE = Path(__file__).parent / "images" / "pose.svg"
CELL, SCALE, TOP = 190, 52, 118
POSES = {
    "straight": (0, 0, 0), "yaw +30: to their left": (30, 0, 0), "pitch +20: upwards": (0, 20, 0),
    "roll +20: to their left shoulder": (0, 0, 20),
}  # fmt: skip


def lines(points: NDArray[np.float64]) -> str:
    """Return the lines of a mesh as SVG."""
    parts = []
    for group, end in ((CLOSED_LINES, "Z"), (OPEN_LINES, "")):
        for line in group:
            path = " L".join(f"{x:.1f},{y:.1f}" for x, y in points[list(line), :2])
            parts.append(f'<path d="M{path}{end}"/>')
    return "\n".join(parts)


def face(number: int, title: str, pose: tuple[float, float, float]) -> str:
    """Return one face, with its axes, as SVG."""
    middle = np.array([CELL * (number + 0.5), TOP])
    points = canonical_face() @ turn_of(*pose).T * SCALE
    points[:, :2] += middle
    axes = axes_of(dict(zip(("yaw", "pitch", "roll"), pose, strict=True)))
    assert axes is not None
    x, y = points[4, :2]
    arrows = "".join(
        f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x + 58 * a[0]:.1f}" y2="{y + 58 * a[1]:.1f}" stroke="rgb{colour}"/>'
        for a, colour in zip(axes, AXES, strict=True)
    )
    return (
        f'<g fill="none" stroke="#5b6570" stroke-width="1.4">{lines(points)}</g><g stroke-width="4">{arrows}</g>'
        f'<text x="{middle[0]}" y="{2 * TOP - 6}" text-anchor="middle">{title}</text>'
    )


def main() -> None:
    """Write the picture."""
    faces = "\n".join(face(number, *one) for number, one in enumerate(POSES.items()))
    size = f'width="{CELL * len(POSES)}" height="{2 * TOP + 6}"'
    FILE.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12" fill="#333">'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{faces}\n</svg>\n',
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
