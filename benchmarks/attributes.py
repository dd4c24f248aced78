"""Attributes on real faces, and what they cost.

    python benchmarks/attributes.py faces ../shared/data/faces/london
    python benchmarks/attributes.py eyes ../shared/data/photos
    python benchmarks/attributes.py speed ../shared/data/media/single_face.mp4

`faces` takes the people of the Face Research Lab London Set (102, neutral and smiling): what a smile changes, how far
the answers on an image and its mirror image are apart, and how far the meshes that are here agree. `eyes` asks the mesh
and the iris network for the openness of the eyes in photos of WIDER FACE, where those in `SHUT` were seen to have
closed or lowered lids (one person looked at all of them; sunglasses and blur stayed in). `speed` analyzes a
video with one face again and again, without attributes, with all that need nothing pulled, and with all.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import mien
from mien.attributes import AttributeSettings
from mien.attributes.mesh import MESHES
from mien.errors import MienError
from mien.faces import ATTRIBUTES, Faces
from mien.sources.videos import VideoSettings

OWN = ("mesh", "pose", "eyes", "mouth", "brows", "quality")
CLOSE = ("gaze", "blinks")
SIGNED = {"yaw", "roll", "mouth_asymmetry", "gaze_yaw"}
SWAPPED = {"eye_left": "eye_right", "eye_right": "eye_left"}
CLOSED = 0.186  # openness by the iris network at which `eyes_closed` is .6, so that a blink begins
SHUT = (  # photo, left and top of the face
    ("0_Parade_Parade_0_246", 187, 363), ("0_Parade_Parade_0_519", 257, 157),
    ("13_Interview_Interview_2_People_Visible_13_327", 365, 96), ("19_Couple_Couple_19_667", 199, 62),
    ("19_Couple_Couple_19_667", 233, 65), ("19_Couple_Couple_19_88", 421, 77),
    ("20_Family_Group_Family_Group_20_64", 473, 305), ("20_Family_Group_Family_Group_20_730", 237, 114),
)  # fmt: skip
Values = dict[str, NDArray[np.float64]]


def meshes() -> list[str]:
    """Return the meshes that are here."""
    here = []
    for name in MESHES:
        try:
            mien.Analyzer(attributes=AttributeSettings(("pose",), mesh=name))
        except MienError:
            continue
        here.append(name)
    return here


def measured(paths: list[Path], settings: AttributeSettings, *, mirrored: bool = False) -> Values:
    """Return the columns of the largest face of each image; NaN where there is none."""
    analyzer = mien.Analyzer(attributes=settings)
    columns = [column for name in settings.names for column in ATTRIBUTES[name]]
    rows = []
    for path in paths:
        image = mien.read_image(path).image
        faces = analyzer.analyze(np.ascontiguousarray(image[:, ::-1]) if mirrored else image).largest()
        told = faces.attributes or {}
        rows.append([float(told[name][0]) if len(faces) else np.nan for name in columns])
    return dict(zip(columns, np.array(rows).T, strict=True))


def faces(folder: Path) -> None:
    """Print what is true on the London set."""
    paths = sorted(folder.glob("*.jpg"))
    smiling = np.array(["smiling" in path.name for path in paths])
    here, by_mesh = meshes(), {}
    for name in here:
        settings = AttributeSettings(OWN[1:], mesh=name)
        plain, mirror = measured(paths, settings), measured(paths, settings, mirrored=True)
        by_mesh[name] = plain
        print(f"\n{name}: {len(paths)} images, {np.isnan(plain['yaw']).sum()} without a pose")
        print("column            neutral  smiling  smile > neutral  mirror: median, 95 %")
        for column, values in plain.items():
            other = mirror[SWAPPED.get(column, column)] * (-1 if column in SIGNED else 1)
            apart = np.abs(values - other)[~np.isnan(values - other)]
            more = (values[smiling] > values[~smiling]).mean()
            medians = [np.nanmedian(values[part]) for part in (~smiling, smiling)]
            print(f"{column:16} {medians[0]:8.3f} {medians[1]:8.3f} {more:16.0%}  {np.median(apart):.3f}, "
                  f"{np.percentile(apart, 95):.3f}")  # fmt: skip
    if len(here) > 1:
        one, two = (by_mesh[name] for name in here[:2])
        print(f"\n{here[0]} against {here[1]}: median difference, correlation")
        for column in one:
            good = np.isfinite(one[column] + two[column])
            apart = np.median(np.abs(one[column] - two[column])[good])
            print(f"{column:16} {apart:8.3f} {np.corrcoef(one[column][good], two[column][good])[0, 1]:8.2f}")


def eyes(folder: Path) -> None:
    """Print how well the openness of the eyes tells closed eyes from others."""
    rows: dict[str, list[float]] = {}
    shut: list[bool] = []
    for path in sorted(folder.glob("*.jpg")):
        image = mien.read_image(path).image
        for name, attributes in (("mesh", ("pose", "eyes")), ("iris", ("pose", "eyes", "blinks"))):
            told = mien.analyze_image(image, attributes=attributes, people=None)
            rows.setdefault(name, []).extend(_openness(told))
        shut += [
            any(path.name.startswith(start) and max(abs(face.xyxy[:2] - place)) < 3 for start, *place in SHUT)
            for face in told
        ]
    closed, good = np.array(shut), np.all(np.isfinite(list(rows.values())), axis=0)
    print(f"{good.sum()} faces, {(closed & good).sum()} of them with closed eyes; median closed, others; AUC")
    for name, values in rows.items():
        there, others = np.array(values)[closed & good], np.array(values)[~closed & good]
        area = (there[:, None] < others).mean()
        print(f"{name}: {np.median(there):.3f}, {np.median(others):.3f}; {area:.2f}; called closed: "
              f"{(there < CLOSED).sum()} of {len(there)}, {(others < CLOSED).sum()} of {len(others)}")  # fmt: skip


def _openness(faces: Faces) -> list[float]:
    told = faces.attributes or {}
    return np.mean([told["eye_left"], told["eye_right"]], axis=0).tolist() if len(faces) else []


def speed(video: Path, rounds: int) -> None:
    """Print frames per second and memory, one process per choice and round, in turns."""
    choices = {"nothing": (), "all own": OWN, "all": (*OWN, *CLOSE)}
    told: dict[str, list[tuple[float, float]]] = {name: [] for name in choices}
    for _ in range(rounds):
        for name, attributes in choices.items():
            command = [sys.executable, __file__, "once", str(video), ",".join(attributes)]
            rate, mib = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-2:]
            told[name].append((float(rate), float(mib)))
    first = statistics.median(rate for rate, _ in told["nothing"])
    for name, pairs in told.items():
        rate, mib = (statistics.median(values) for values in zip(*pairs, strict=True))
        print(f"{name:8} {rate:7.1f} frames/s ({rate / first:.0%}), {mib:.0f} MiB")


def once(video: Path, attributes: str) -> None:
    """Print frames per second of one analysis, and the most memory that the process had."""
    import resource

    analyzer = mien.Analyzer(attributes=attributes)
    mien.analyze_video(video, analyzer=analyzer, video=VideoSettings(max_frames=10), progress=False)
    start, frames = time.perf_counter(), 0
    while time.perf_counter() - start < 6:
        frames += mien.analyze_video(video, analyzer=analyzer, progress=False).frames
    rate = frames / (time.perf_counter() - start)
    print(rate, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Do what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("faces", "eyes", "speed", "once"))
    parser.add_argument("path", type=Path)
    parser.add_argument("attributes", nargs="?", default="")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if given.what == "faces":
        faces(given.path)
    elif given.what == "eyes":
        eyes(given.path)
    elif given.what == "speed":
        speed(given.path, given.rounds)
    else:
        once(given.path, given.attributes)


if __name__ == "__main__":
    main()
