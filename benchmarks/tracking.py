"""What following faces costs against searching every frame, and how fast it is.

    OMP_NUM_THREADS=1 python benchmarks/tracking.py [--videos FILE…] [--shared FOLDER] [--only quality parts speed]

Prints three Markdown tables:

- *quality*: for each video, and each scene of `tests/support/scenes.py` (known truth, made from portraits), the share
  of frames that were searched, the recall of faces over frames of detection on every frame and of following, the faces
  found by following that detection on every frame does not have, changes of a person's number, and cuts found and
  invented. Where there is no truth, the faces of detection on every frame are the truth. A face is found where the IoU
  is at least 0.4.
- *parts*: CPU milliseconds per frame of every part.
- *speed*: frames per second from a file, decoding included, against detection on every frame; and CPU time, which
  holds on a busy machine, too.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

import scenes  # noqa: E402
from mien import Analyzer  # noqa: E402
from mien.detect.align import crop_faces  # noqa: E402
from mien.detect.boxes import overlap  # noqa: E402
from mien.faces import Faces, Frame  # noqa: E402
from mien.sources.videos import Video  # noqa: E402
from mien.tracking.scene import glance, news, similarity  # noqa: E402
from mien.tracking.settings import TrackSettings  # noqa: E402
from mien.tracking.tracker import Tracker, track_video  # noqa: E402

FOUND_IOU = 0.4
CUT_TOLERANCE_S = 0.1

Boxes = NDArray[np.float32]


@dataclass
class Quality:
    """Counts over one video.

    Attributes:
        frames: How many.
        searches: Frames that were searched.
        faces: Faces to be found.
        found_always: Of these, how many detection on every frame finds.
        found: Of these, how many following finds.
        extra: Faces given by following that neither the truth nor detection on every frame has.
        changes: How often a person's number changed while in view (or behind somebody for less than `max_age_s`).
        cuts: Cuts there are, or None where unknown.
        cuts_found: Cuts found at the right time.
        cuts_wrong: Cuts found where there is none.
    """

    frames: int = 0
    searches: int = 0
    faces: int = 0
    found_always: int = 0
    found: int = 0
    extra: int = 0
    changes: int = 0
    cuts: int | None = None
    cuts_found: int = 0
    cuts_wrong: int = 0

    @property
    def loss_points(self) -> float:
        """Recall of detection on every frame less that of following, in percentage points."""
        return 100 * (self.found_always - self.found) / max(self.faces, 1)


def matches(found: Boxes, wanted: Boxes) -> dict[int, int]:
    """Return which wanted box each found box takes, best overlap first."""
    iou = overlap(found, wanted)
    pairs: dict[int, int] = {}
    for place in np.argsort(-iou, axis=None, kind="stable").tolist():
        i, j = divmod(place, len(wanted))
        if iou[i, j] < FOUND_IOU:
            break
        if i not in pairs and j not in pairs.values():
            pairs[i] = j
    return pairs


def matches_of(found: Boxes, truth: scenes.Truth) -> dict[int, int]:
    """Return which true box each found box takes; faces in view come before hidden ones."""
    seen, hidden = np.flatnonzero(~truth.hidden), np.flatnonzero(truth.hidden)
    pairs = {i: int(seen[j]) for i, j in matches(found, truth.xyxy[seen]).items()}
    rest = [i for i in range(len(found)) if i not in pairs]
    return pairs | {rest[i]: int(hidden[j]) for i, j in matches(found[rest], truth.xyxy[hidden]).items()}


def measure_scene(scene: scenes.Scene, analyzer: Analyzer, settings: TrackSettings) -> Quality:
    """Return the quality on a scene whose truth is known."""
    tracker, result = Tracker(analyzer, settings), Quality(cuts=len(scene.cut_times_s))
    numbers: dict[tuple[int, int], tuple[int, float]] = {}
    cut_times = []
    for frame, truth in scene:
        before = tracker.cuts
        (faces,) = tracker.track([frame])
        cut_times += [frame.time_s] if tracker.cuts > before else []
        always = analyzer.detector.detect(frame.image).xyxy
        wanted = truth.xyxy[~truth.hidden]
        pairs = matches_of(faces.xyxy, truth)
        result.faces += len(wanted)
        result.found_always += len(matches(always, wanted))
        result.found += sum(1 for j in pairs.values() if not truth.hidden[j])
        result.extra += sum(
            1 for i in range(len(faces)) if i not in pairs and not len(matches(faces.xyxy[i : i + 1], always))
        )
        for i, j in pairs.items():
            if truth.hidden[j]:
                continue
            who = (int(truth.person[j]), truth.shot)
            number, seen_s = numbers.get(who, (None, 0.0))
            went = frame.time_s - seen_s > settings.max_age_s
            result.changes += int(number is not None and number != int(faces.track_id[i]) and not went)
            numbers[who] = (int(faces.track_id[i]), frame.time_s)
    result.frames, result.searches = len(scene), tracker.searches
    result.cuts_found = sum(any(abs(t - c) < CUT_TOLERANCE_S for t in cut_times) for c in scene.cut_times_s)
    result.cuts_wrong = len(cut_times) - result.cuts_found
    return result


def measure_video(frames: Iterable[Frame], analyzer: Analyzer, settings: TrackSettings) -> Quality:
    """Return the quality on a video without truth: detection on every frame is taken for it."""
    tracker, result = Tracker(analyzer, settings), Quality()
    numbers = set()
    for frame in frames:
        (faces,) = tracker.track([frame])
        always = analyzer.detector.detect(frame.image).xyxy
        pairs = matches(faces.xyxy, always)
        result.frames += 1
        result.faces += len(always)
        result.found_always += len(always)
        result.found += len(pairs)
        result.extra += len(faces) - len(pairs)
        numbers |= set(faces.track_id.tolist())
    result.searches, result.cuts_found, result.changes = tracker.searches, tracker.cuts, len(numbers)
    return result


def print_quality(videos: Sequence[Path], people: Sequence[scenes.Person], photo_people, analyzer, settings) -> None:
    print("| video | frames | searched | faces | recall, every frame | recall, followed | loss, points | extra faces | "
          "changes of number | cuts found / there / wrong |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|")
    total = Quality()
    casts = [("portraits", people)] + [
        (f"photos {i}", photo_people[i : i + 2]) for i in range(0, len(photo_people) - 1, 2)
    ]
    for cast, pair in casts:
        for make in scenes.CASES.values():
            scene = make(pair)
            print_row(f"{scene.name}, {cast}", measure_scene(scene, analyzer, settings), total)
    print_row("all scenes", total, Quality())
    for video in videos:
        print_row(video.name, measure_video(Video(video), analyzer, settings), Quality())


def print_row(name: str, q: Quality, total: Quality) -> None:
    for field in (
        "frames",
        "searches",
        "faces",
        "found_always",
        "found",
        "extra",
        "changes",
        "cuts_found",
        "cuts_wrong",
    ):
        setattr(total, field, getattr(total, field) + getattr(q, field))
    total.cuts = (total.cuts or 0) + (q.cuts or 0)
    always, followed = (f"{n / max(q.faces, 1):.4f}" for n in (q.found_always, q.found))
    cuts = f"{q.cuts_found} / {'?' if q.cuts is None else q.cuts} / {q.cuts_wrong}"
    changes = f"{q.changes}" if q.cuts is not None else f"({q.changes} numbers in all)"
    print(f"| {name} | {q.frames} | {q.searches / max(q.frames, 1):.1%} | {q.faces} | {always} | {followed} | "
          f"{q.loss_points:+.2f} | {q.extra} | {changes} | {cuts} |", flush=True)  # fmt: skip


def cpu_ms(work: Callable[[], object], repeats: int = 30) -> float:
    """Return the median CPU milliseconds of a call."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(1e3 * (time.process_time() - start))
    return float(np.median(times))


def print_parts(analyzer: Analyzer, people: Sequence[scenes.Person]) -> None:
    print("| part, CPU ms | 640x360, 1 face | 1280x720, 4 faces | 3840x2160, 4 faces |")
    print("|---|---|---|---|")
    columns = [parts(analyzer, crowd(people, count, size)) for count, size in SIZES]
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(f"{column[name]:.2f}" for column in columns) + " |")


SIZES = ((1, (640, 360)), (4, (1280, 720)), (4, (3840, 2160)))


def crowd(people: Sequence[scenes.Person], count: int, size: tuple[int, int], duration_s: float = 4.0) -> scenes.Scene:
    """Return a scene of people beside one another, who walk a little."""
    place = [(i + 0.5) / count for i in range(count)]
    cast = tuple(
        (i % len(people), scenes.line(x - 0.05, x + 0.05, 0, duration_s, 0.45, 0.3)) for i, x in enumerate(place)
    )
    return scenes.Scene(f"{count} faces", tuple(people), (scenes.Shot(0, cast, 3),), duration_s, size=size)


def parts(analyzer: Analyzer, scene: scenes.Scene) -> dict[str, float]:
    """Return the CPU milliseconds of every part for one frame."""
    frames = iter(scene)
    (frame, _), (other, _) = next(frames), next(frames)
    image, small = frame.image, glance(other.image)
    tracker = Tracker(analyzer)
    tracker.track([frame])
    faces = analyzer.detector.detect(image)
    crops = crop_faces(image, faces)
    now, memory = glance(image), tracker._memory
    following = tracker._locator.prepare(other, other.time_s)  # not one that is searched by the clock
    size = (image.shape[1], image.shape[0])

    def compare() -> None:
        similarity(type(now)(now.pixels), small)
        news(small, now, faces.xyxy, size)

    return {
        "faces seen": float(len(faces)),
        "search (`detect`, reduced to 1920 px)": cpu_ms(lambda: tracker._locator._detect(image), 10),
        "follow (`refine`)": cpu_ms(lambda: analyzer.detector.refine(image, faces.xyxy)),
        "glance at the frame": cpu_ms(lambda: glance(image)),
        "cut and change": cpu_ms(compare),
        "a followed frame in all (these and the tracks)": cpu_ms(lambda: tracker._locator.step(memory, following)),
        "align": cpu_ms(lambda: crop_faces(image, faces)),
        "expression model": cpu_ms(lambda: analyzer.model.predict_proba(crops)),
        "expression model, 8 frames in one call, per frame": cpu_ms(
            lambda: analyzer.model.predict_proba(np.repeat(crops, 8, axis=0))
        ) / 8,
    }  # fmt: skip


def write_video(path: Path, scene: scenes.Scene) -> Path:
    """Encode a scene as H.264."""
    with av.open(str(path), "w") as video:
        stream = video.add_stream("h264", rate=round(scene.fps), options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height = scene.size
        stream.pix_fmt = "yuv420p"
        for frame in scene.frames():
            video.mux(stream.encode(av.VideoFrame.from_ndarray(frame.image, format="rgb24")))
        video.mux(stream.encode(None))
    return path


def always(analyzer: Analyzer, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Faces]]:
    return analyzer.stream(frames)


def frames_per_s(run: Callable[[Iterable[Frame]], Iterable[object]], path: Path, repeat: int) -> tuple[float, float]:
    """Return frames per second of wall time, and the cores that were busy."""

    def frames() -> Iterator[Frame]:
        number = 0
        for turn in range(repeat):
            for frame in Video(path):
                number += 1
                yield Frame(frame.image, frame.source, number, frame.time_s + 1000.0 * turn)

    start, cpu = time.perf_counter(), time.process_time()
    count = sum(1 for _ in run(frames()))
    wall = time.perf_counter() - start
    return count / wall, (time.process_time() - cpu) / wall


def print_speed(videos: Sequence[Path], people: Sequence[scenes.Person], analyzer, settings) -> None:
    head = ("video, decoding included", "every frame searched, frames/s", "followed, frames/s", "cores busy")
    print("| " + " | ".join((*head, "CPU ms per frame", "ratio")) + " |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        made = []
        for count, size in SIZES[:2]:
            scene = crowd(people, count, size)
            made.append(write_video(Path(folder) / f"{size[0]}x{size[1]}, {count} faces.mp4", scene))
        for video in [*videos, *made]:
            follow = lambda frames: track_video(frames, Tracker(analyzer, settings))  # noqa: E731
            frames_per_s(follow, video, 1)
            slow, _ = frames_per_s(partial(always, analyzer), video, 1)
            fast, busy = frames_per_s(follow, video, 3)
            print(
                f"| {video.stem} | {slow:.1f} | {fast:.1f} | {busy:.2f} | {1e3 * busy / fast:.2f} | {fast / slow:.1f} |",  # noqa: E501
                flush=True,
            )


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, nargs="*", default=[])
    parser.add_argument("--shared", type=Path, help="folder with data/photos: more people for the scenes")
    parser.add_argument("--people", type=int, default=6, help="how many of them")
    parser.add_argument(
        "--only", nargs="*", choices=("quality", "parts", "speed"), default=("quality", "parts", "speed")
    )
    parser.add_argument("--detect-every-s", type=float, default=TrackSettings().detect_every_s)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    analyzer, settings = Analyzer(), TrackSettings(detect_every_s=arguments.detect_every_s)
    people = scenes.portrait_people(ROOT / "examples")
    if "quality" in arguments.only:
        extra = (
            scenes.photo_people(arguments.shared, arguments.people, detector=analyzer.detector)
            if arguments.shared
            else ()
        )
        print_quality(arguments.videos, people, extra, analyzer, settings)
    if "parts" in arguments.only:
        print_parts(analyzer, people)
    if "speed" in arguments.only:
        print_speed(arguments.videos, people, analyzer, settings)


if __name__ == "__main__":
    main()
