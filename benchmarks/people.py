"""Who it is: how well faces are told apart, by group and by size, what videos make of it, and what it costs.

    mien models pull identity mesh
    OMP_NUM_THREADS=1 python benchmarks/people.py [--shared FOLDER] [--only crops verify sizes videos several
        clips speed]

Prints Markdown tables. Faces of the Face Research Lab London Set: 102 people, neutral and smiling.

- *crops*: the embedding of our crop (five landmarks of `mtcnn`; the box alone; 68 points of a mesh) against dlib's own
  pipeline (its HOG detector, its 5 or 68 points, its crop): Euclidean distance, and what verification makes of it.
  Needs the extra dlib.
- *verify*: 102 pairs of one person, and all pairs of two people, at several thresholds, all and within groups.
- *sizes*: a small copy of the neutral picture against the smiling one at full size.
- *videos*: made scenes with cuts: tracks of one person split, tracks of two people merged, per threshold. First people
  with odd numbers, then those with even ones, then people who all count
  themselves to one of the three smaller groups, whom the network confuses most.
- *several*: the same over studies of three such videos, whose casts come from the same six people: pairs of tracks of
  two different videos.
- *clips*: the two real clips, which show one man.
- *speed*: milliseconds a face on one thread, and frames per second of a video with and without.
"""

import argparse
import csv
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from scipy.linalg import block_diag

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests")]

import scenes  # noqa: E402
from mien import Analyzer, analyze_video  # noqa: E402
from mien.attributes import MESHES, FaceMesh, landmarks68  # noqa: E402
from mien.detect.chips import face_chips  # noqa: E402
from mien.detect.registry import create_detector  # noqa: E402
from mien.errors import MissingWeightsError  # noqa: E402
from mien.faces import Faces, Floats  # noqa: E402
from mien.people.embedding import PADDING, SIDE_PX, FaceEmbedder, distances  # noqa: E402
from mien.people.grouping import average_distances, group_tracks  # noqa: E402
from mien.tracking.tracker import Tracker, track_video  # noqa: E402
from mien.video._people import Sightings, embed_tracks  # noqa: E402

THRESHOLDS = (0.4, 0.45, 0.5, 0.55, 0.6)
SCENES_PER_HALF = 20
STUDIES, VIDEOS = 15, 3  # of several videos whose people are the same
FPS = 10.0


class London:
    """The pictures, their faces and what the people say of themselves."""

    def __init__(self, folder: Path) -> None:
        """Read them, and find the face of each."""
        self.rows = list(csv.DictReader((folder / "people.csv").read_text().splitlines()))
        self.images = [scenes._read(folder / row["file"]) for row in self.rows]
        self.who = np.array([row["face_id"] for row in self.rows])
        detector = create_detector("mtcnn")
        self.faces = [detector.detect(image).largest() for image in self.images]

    def column(self, name: str) -> np.ndarray:
        """(204,) str."""
        return np.array([row[name] for row in self.rows])

    def embed(self, embedder: FaceEmbedder) -> Floats:
        """(204, 128) float32."""
        return np.concatenate([embedder.embed(i, f) for i, f in zip(self.images, self.faces, strict=True)])


def pairs(embeddings: Floats, who: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return distance, whether it is one person, and the two numbers, of all pairs."""
    first, second = np.triu_indices(len(who), 1)
    return distances(embeddings, embeddings)[first, second], who[first] == who[second], first, second


def rates(away: np.ndarray, same: np.ndarray) -> str:
    cells = [f"{(away[same] >= t).mean():.1%} / {(away[~same] < t).mean():.2%}" for t in THRESHOLDS]
    return " | ".join(cells)


def crops(london: London, embedder: FaceEmbedder) -> None:
    import dlib

    from mien.detect.dlib_ import model_file

    hog = dlib.get_frontal_face_detector()
    predictors = {n: dlib.shape_predictor(str(model_file(f"shape_predictor_{f}.dat")))
                  for n, f in ((5, "5_face_landmarks"), (68, "68_face_landmarks"))}  # fmt: skip
    made: dict[str, list[np.ndarray]] = {"dlib, 5 points": [], "dlib, 68 points": []}
    made |= {"mien, 5 landmarks": [], "mien, box alone": []}
    meshes = {}
    for name in MESHES:
        with suppress(MissingWeightsError):  # mien models pull mesh
            meshes[name] = FaceMesh(name)
    made |= {f"68 points of {name}": [] for name in meshes}
    for image, faces in zip(london.images, london.faces, strict=True):
        box = max(hog(image, 1), key=lambda r: r.area())
        for n, predictor in predictors.items():
            made[f"dlib, {n} points"].append(dlib.get_face_chip(image, predictor(image, box), SIDE_PX, PADDING))
        for name, one in (("mien, 5 landmarks", faces), ("mien, box alone", Faces(faces.xyxy, faces.score))):
            made[name].append(face_chips(image, one, SIDE_PX, padding=PADDING)[0])
        for name, mesh in meshes.items():
            points = landmarks68(mesh.find(image, faces).points)[0, :, :2].round().astype(int).tolist()
            shape = dlib.full_object_detection(box, [dlib.point(*point) for point in points])
            made[f"68 points of {name}"].append(dlib.get_face_chip(image, shape, SIDE_PX, PADDING))
    found = {name: embedder.embed_chips(np.stack(chips)) for name, chips in made.items()}
    print("| crop | from dlib's with 5 points, mean (largest) | from dlib's with 68 | one person, mean (largest) | "
          "two people, mean (smallest) | two people < 0.6 |\n|---|---|---|---|---|---|")  # fmt: skip
    for name, embeddings in found.items():
        cells = []
        for other in ("dlib, 5 points", "dlib, 68 points"):
            away = np.linalg.norm(embeddings - found[other], axis=1)
            cells.append("" if other == name else f"{away.mean():.3f} ({away.max():.3f})")
        away, same, _, _ = pairs(embeddings, london.who)
        cells += [f"{away[same].mean():.3f} ({away[same].max():.3f})",
                  f"{away[~same].mean():.3f} ({away[~same].min():.3f})",
                  f"{(away[~same] < 0.6).mean():.2%}"]  # fmt: skip
        print(f"| {name} | {' | '.join(cells)} |")


def verify(london: London, embedder: FaceEmbedder) -> None:
    away, same, first, second = pairs(london.embed(embedder), london.who)
    print("| pairs | of one person | of two | " + " | ".join(f"< {t:g}" for t in THRESHOLDS) + " |")
    print("|---|---|---|" + "---|" * len(THRESHOLDS))
    print(f"| all | {same.sum()} | {(~same).sum():,} | {rates(away, same)} |")
    for name in ("face_gender", "face_eth"):
        values = london.column(name)
        for value in sorted(set(values)):
            own = (values[first] == value) & (values[second] == value)
            if not (own & ~same).any():
                continue
            print(f"| both {value.replace('_', ' ')} | {(own & same).sum()} | {(own & ~same).sum():,} | "
                  f"{rates(away[own], same[own])} |")  # fmt: skip


def sizes(london: London, embedder: FaceEmbedder) -> None:
    detector = create_detector("mtcnn")
    full = london.embed(embedder)
    look = london.column("expression")
    neutral, smiling = np.flatnonzero(look == "neutral"), np.flatnonzero(look != "neutral")
    print("| shorter side of the box, px | found | one person, not < 0.5 | two people < 0.5 | two people < 0.6 |\n"
          "|---|---|---|---|---|")  # fmt: skip
    for side in (20, 24, 32, 40, 48, 64, 96, 150):
        found, embedded = [], []
        for i in neutral.tolist():
            box = london.faces[i].xyxy[0]
            scale = side / float((box[2:] - box[:2]).min())
            image = cv2.resize(london.images[i], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            faces = detector.detect(image).largest()
            if len(faces):
                found.append(i)
                embedded.append(embedder.embed(image, faces)[0])
        away = distances(np.stack(embedded), full[smiling])
        same = london.who[found][:, None] == london.who[smiling][None]
        print(f"| {side} | {len(found)} of {len(neutral)} | {(away[same] >= 0.5).mean():.1%} | "
              f"{(away[~same] < 0.5).mean():.2%} | {(away[~same] < 0.6).mean():.2%} |")  # fmt: skip


def made_scene(london: London, people: Sequence[str], seed: int) -> scenes.Scene:
    """Return a scene with cuts of some of these people; its cut-outs number the people by two."""
    rng = np.random.default_rng(seed)
    cast = rng.choice(people, int(rng.integers(2, 5)), replace=False)
    cut_outs = [
        scenes.cut_out(who, london.images[i], london.faces[i].xyxy[0])
        for who in cast
        for i in np.flatnonzero(london.who == who).tolist()
    ]
    shots = []
    for number in range(int(rng.integers(5, 9))):
        some = rng.choice(len(cast), int(rng.integers(1, 3)), replace=False)
        places = ((0.5,),) if len(some) == 1 else ((0.27, 0.73),)
        paths = [
            (int(2 * who + rng.integers(2)), _path(x + rng.uniform(-0.05, 0.05), rng.uniform(0.2, 0.5), rng))
            for who, x in zip(some.tolist(), places[0], strict=True)
        ]
        gain = float(rng.uniform(0.5, 1.3))
        shots.append(scenes.Shot(0.8 * number, tuple(paths), int(rng.integers(1000)), light=lambda _, g=gain: g))
    return scenes.Scene(f"made {seed}", tuple(cut_outs), tuple(shots), 0.8 * len(shots), fps=FPS)


def _path(x: float, height: float, rng: np.random.Generator) -> Callable[[float], scenes.Pose]:
    turn = float(rng.uniform(-12, 12))
    return lambda t: scenes.Pose(x + 0.02 * np.sin(5 * t), 0.5, height, turn + 2 * np.sin(3 * t))


def tracked(scene: scenes.Scene, analyzer: Analyzer, embedder: FaceEmbedder) -> tuple[list, np.ndarray, np.ndarray]:
    """Return the embeddings of each track, who it is, and which were seen together."""
    sightings, results, votes = Sightings(), [], {}
    truths = [truth for _, truth in scene]
    for frame, faces in track_video(scene.frames(), Tracker(analyzer)):
        sightings.add(faces)
        results.append((frame, faces))
        truth = truths[frame.index]
        for face in faces:
            centre = (face.xyxy[:2] + face.xyxy[2:]) / 2
            away = np.abs((truth.xyxy[:, :2] + truth.xyxy[:, 2:]) / 2 - centre).sum(axis=1)
            votes.setdefault(face.track_id, []).append(int(truth.person[away.argmin()]) // 2)
    found = embed_tracks(sightings, iter(results), scene.frames(), embedder, threading.Event())
    who = np.array([np.bincount(votes[track]).argmax() for track in sightings.tracks])
    return [found[track] for track in sightings.tracks], who, sightings.apart()


def videos(london: London, embedder: FaceEmbedder) -> None:
    analyzer = Analyzer()
    known = sorted(set(london.who))
    print("| people | scenes, tracks | threshold | one person, split | two people, merged | people counted right |\n"
          "|---|---|---|---|---|---|")  # fmt: skip
    own = {who: london.column("face_eth")[i] for i, who in enumerate(london.who)}
    alike = [[who for who in known if own[who] == group] for group in ("black", "east_asian", "west_asian")]
    for name, casts, start in (
        ("odd numbers", [known[1::2]], 0), ("even numbers", [known[0::2]], 1000), ("of one minority", alike, 2000),
    ):  # fmt: skip
        made = [
            tracked(made_scene(london, casts[k % len(casts)], start + k), analyzer, embedder)
            for k in range(SCENES_PER_HALF)
        ]
        tracks = sum(len(who) for _, who, _ in made)
        for threshold in THRESHOLDS:
            split, merged, right = [], [], 0
            for embeddings, who, apart in made:
                groups = group_tracks(embeddings, apart=apart, threshold=threshold)
                a, b = np.triu_indices(len(who), 1)
                same, one = who[a] == who[b], groups[a] == groups[b]
                split += (~one[same]).tolist()
                merged += one[~same].tolist()
                right += len(set(groups.tolist())) == len(set(who.tolist()))
            print(f"| {name} | {len(made)}, {tracks} | {threshold:g} | {np.mean(split):.2%} of {len(split):,} | "
                  f"{np.mean(merged):.2%} of {len(merged):,} | {right} of {len(made)} |")  # fmt: skip


def _by_name(scene: scenes.Scene, embeddings: list, who: np.ndarray, apart: np.ndarray) -> tuple:
    """Return the same with the names of the people in place of their numbers within the scene."""
    return embeddings, np.array([scene.people[2 * number].name for number in who]), apart.astype(bool)


def several(london: London, embedder: FaceEmbedder) -> None:
    analyzer = Analyzer()
    known = sorted(set(london.who))
    print("| people | studies, videos, tracks | threshold | one person, split | two people, merged | "
          "people counted right |\n|---|---|---|---|---|---|")  # fmt: skip
    own = {who: london.column("face_eth")[i] for i, who in enumerate(london.who)}
    alike = [[who for who in known if own[who] == group] for group in ("black", "east_asian", "west_asian")]
    for name, pools, start in (("all", [known], 3000), ("of one minority", alike, 4000)):
        made = []
        for study in range(STUDIES):
            rng = np.random.default_rng(start + study)
            six = rng.choice(pools[study % len(pools)], 6, replace=False).tolist()
            casts = [made_scene(london, six, start + 100 * study + k) for k in range(VIDEOS)]
            made.append([_by_name(scene, *tracked(scene, analyzer, embedder)) for scene in casts])
        tracks = sum(len(who) for study in made for _, who, _ in study)
        for threshold in THRESHOLDS:
            split, merged, right = [], [], 0
            for study in made:
                embeddings = [own for faces, _, _ in study for own in faces]
                who = np.concatenate([names for _, names, _ in study])
                groups = group_tracks(
                    embeddings, apart=block_diag(*(apart for *_, apart in study)), threshold=threshold
                )
                video = np.repeat(np.arange(len(study)), [len(names) for _, names, _ in study])
                a, b = np.triu_indices(len(who), 1)
                across = video[a] != video[b]
                same, one = who[a] == who[b], groups[a] == groups[b]
                split += (~one[across & same]).tolist()
                merged += one[across & ~same].tolist()
                right += len(set(groups.tolist())) == len(set(who.tolist()))
            print(f"| {name} | {len(made)}, {VIDEOS * len(made)}, {tracks} | {threshold:g} | {np.mean(split):.2%} of "
                  f"{len(split):,} | {np.mean(merged):.2%} of {len(merged):,} | {right} of {len(made)} |")  # fmt: skip


def clips(media: Path, embedder: FaceEmbedder) -> None:
    from mien.sources.videos import Video

    analyzer, found = Analyzer(), {}
    for name in ("single_face.mp4", "face_noface.mov"):
        sightings, results = Sightings(), []
        with Video(media / name) as video:
            for frame, faces in track_video(iter(video), Tracker(analyzer)):
                sightings.add(faces)
                results.append((frame, faces))
        with Video(media / name) as video:
            for track, some in embed_tracks(sightings, iter(results), iter(video), embedder, threading.Event()).items():
                found[f"{name} #{track}"] = some
    away = average_distances(list(found.values()))
    for i, name in enumerate(found):
        cells = [f"{other} {away[i, j]:.3f}" for j, other in enumerate(found) if j > i]
        print(f"- {name}, {len(found[name])} crops: {', '.join(cells)}")


def _rate(work: Callable[[], object]) -> float:
    """Return the milliseconds of the median of seven runs."""
    took = []
    for _ in range(7):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return 1000 * float(np.median(took))


def speed(london: London, embedder: FaceEmbedder) -> None:
    chips = np.concatenate(
        [face_chips(i, f, SIDE_PX, padding=PADDING) for i, f in zip(london.images[:8], london.faces[:8], strict=True)]
    )
    cut = _rate(lambda: face_chips(london.images[0], london.faces[0], SIDE_PX, padding=PADDING))
    print(f"- crop: {cut:.2f} ms; network: {_rate(lambda: embedder.embed_chips(chips[:1])):.1f} ms alone, "
          f"{_rate(lambda: embedder.embed_chips(chips)) / 8:.1f} ms in a batch")  # fmt: skip
    try:
        import dlib

        from mien.detect.dlib_ import model_file

        theirs = dlib.face_recognition_model_v1(str(model_file("dlib_face_recognition_resnet_model_v1.dat")))
        print(f"- dlib's: {_rate(lambda: theirs.compute_face_descriptor(chips[0])):.0f} ms alone, "
              f"{_rate(lambda: theirs.compute_face_descriptor(list(chips))) / 8:.0f} ms in a batch")  # fmt: skip
    except ImportError:
        print("- dlib is not installed")


def video_speed(london: London) -> None:
    from videos import write_video

    scene = made_scene(london, sorted(set(london.who)), 7)
    with tempfile.TemporaryDirectory() as folder:
        clip = write_video(Path(folder) / "clip.mp4", (f.image for f in replace(scene, fps=25.0).frames()), fps=25)
        for people in (None, "auto"):
            fps = []
            for _ in range(3):
                with analyze_video(clip, people=people, progress=False) as result:
                    fps.append(result.frames / result.seconds)
            print(f"- video of {result.frames} frames, 640x360, people={people}: {np.median(fps):.0f} frames/s, "
                  f"{result.figures['people']} people")  # fmt: skip


def _headed(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        print(f"\n## {name}\n", flush=True)
        yield name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument(
        "--only", nargs="+", default=["crops", "verify", "sizes", "videos", "several", "clips", "speed"]
    )
    args = parser.parse_args()
    embedder, london = FaceEmbedder(), London(args.shared / "data" / "faces" / "london")
    for name in _headed(args.only):
        if name == "clips":
            clips(args.shared / "data" / "media", embedder)
        elif name == "speed":
            speed(london, embedder)
            video_speed(london)
        else:
            {"crops": crops, "verify": verify, "sizes": sizes, "videos": videos, "several": several}[name](
                london, embedder
            )


if __name__ == "__main__":
    main()
