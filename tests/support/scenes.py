"""Videos in memory with known truth: people cut out of portraits move over a background, without any encoding.

    scene = crossing(people)                      # one passes in front of the other
    for frame, truth in scene:                    # truth.xyxy (N, 4), truth.person (N,), truth.hidden (N,)
        ...
    frames = [frame for frame, _ in scene]        # scenes can be run through more than once

`people` come from `portrait_people(EXAMPLES)` (two, always there) or `photo_people(shared)` (more, from photos). All
scenes take `fps` and `size`; `CASES` names them. What a person does is a function of time, so that the same scene at
another frame rate is the same video.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from mien.faces import Frame

SIZE = (640, 360)  # width, height
FPS = 25.0
HIDDEN_SHARE = 0.35  # of a face's box behind somebody else: no detector has to find it


@dataclass(frozen=True)
class Person:
    """A cut-out head with shoulders.

    Attributes:
        name: Who.
        image: (H, W, 3) uint8 RGB.
        alpha: (H, W) float32, 1 inside the person, soft at the edge.
        box: (4,) float32, the face in the cut-out, pixels.
    """

    name: str
    image: np.ndarray
    alpha: np.ndarray
    box: np.ndarray


@dataclass(frozen=True)
class Truth:
    """Who is where in one frame.

    Attributes:
        xyxy: (N, 4) float32 boxes of the faces, pixels.
        person: (N,) int64 numbers of the persons.
        hidden: (N,) bool, whether so much of the face is covered or outside that it need not be found.
        shot: Number of the shot, from 0: one more after every cut.
    """

    xyxy: np.ndarray
    person: np.ndarray
    hidden: np.ndarray
    shot: int = 0


@dataclass(frozen=True)
class Pose:
    """Where a face is: its centre in shares of the image, and its height as a share of the image's height."""

    x: float
    y: float
    height: float
    turn_deg: float = 0.0


Path = Callable[[float], Pose | None]  # of the time in seconds; None while out of the video


@dataclass(frozen=True)
class Shot:
    """What happens between two cuts: later people are in front of earlier ones.

    Attributes:
        start_s: When it begins.
        cast: Number of the person (within the scene) and path of each.
        background: Seed of the background, or an image to pan over.
        pan: Share of the width by which the camera moves, as a function of the time.
        light: Gain of the whole image as a function of the time, for flashes and fades.
    """

    start_s: float
    cast: tuple[tuple[int, Path], ...]
    background: int | np.ndarray = 0
    pan: Callable[[float], float] = lambda _: 0.0
    light: Callable[[float], float] = lambda _: 1.0


@dataclass(frozen=True)
class Scene:
    """A video: iterate it for `(Frame, Truth)`, as often as wanted.

    Attributes:
        name: For messages.
        people: Who plays.
        shots: One after the other.
        duration_s: Length.
        fps: Frames per second.
        size: (width, height).
        noise: Standard deviation of the camera's noise, gray levels.
    """

    name: str
    people: tuple[Person, ...]
    shots: tuple[Shot, ...]
    duration_s: float
    fps: float = FPS
    size: tuple[int, int] = SIZE
    noise: float = 2.0
    _backgrounds: dict = field(default_factory=dict, repr=False)

    def __len__(self):
        return round(self.duration_s * self.fps)

    def __iter__(self):
        rng = np.random.default_rng(0)
        grain = rng.normal(0, self.noise, (self.size[1] + 64, self.size[0] + 64, 1)).repeat(3, axis=2)
        brighter, darker = (np.clip(np.round(sign * grain), 0, 255).astype(np.uint8) for sign in (1, -1))
        for index in range(len(self)):
            image, truth = self._draw(index / self.fps)
            left, top = rng.integers(0, 64, 2)
            part = slice(top, top + self.size[1]), slice(left, left + self.size[0])
            image = cv2.subtract(cv2.add(image, brighter[part]), darker[part])
            yield Frame(image, self.name, index, index / self.fps), truth

    def frames(self):
        """Yield the frames alone."""
        for frame, _ in self:
            yield frame

    @property
    def cut_times_s(self):
        """When cuts happen."""
        return [shot.start_s for shot in self.shots[1:]]

    def _draw(self, time_s):
        number = max(i for i, shot in enumerate(self.shots) if shot.start_s <= time_s + 1e-9)
        shot = self.shots[number]
        image = self._backdrop(number, shot.pan(time_s)).copy()
        boxes, persons, hidden = [], [], []
        for person, path in shot.cast:
            pose = path(time_s)
            if pose is None:
                continue
            where, layer, cover, box = _placed(self.people[person], pose, shot.pan(time_s), self.size)
            if where is not None:
                under = image[where].astype(np.float32)
                image[where] = np.round(under + cover[..., None] * (layer - under))
                hidden = [max(h, _covered(cover, b, where)) for h, b in zip(hidden, boxes, strict=True)]
            boxes.append(box)
            persons.append(person)
            hidden.append(_outside(box, self.size))
        return cv2.convertScaleAbs(image, alpha=shot.light(time_s)), Truth(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.array(persons, np.int64),
            np.array([h > HIDDEN_SHARE for h in hidden], bool),
            number,
        )

    def _backdrop(self, number, pan):
        if number not in self._backgrounds:
            self._backgrounds[number] = _background(self.shots[number].background, self.size)
        wide = self._backgrounds[number]
        shift = round(pan * self.size[0]) % (wide.shape[1] - self.size[0] or 1)
        return wide[:, shift : shift + self.size[0]]


def _background(what, size):
    width, height = size
    if isinstance(what, np.ndarray):
        scale = max(height / what.shape[0], 2 * width / what.shape[1])
        wide = cv2.resize(what, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return wide[:height]
    rng = np.random.default_rng(what)
    coarse = rng.integers(40, 215, (5, 14, 3)).astype(np.float32)
    wide = cv2.resize(coarse, (2 * width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(40):  # furniture: edges for the eye of a cut detector
        x, y = int(rng.integers(0, 2 * width)), int(rng.integers(0, height))
        w, h = int(rng.integers(width // 40, width // 8)), int(rng.integers(height // 30, height // 4))
        cv2.rectangle(wide, (x, y), (x + w, y + h), tuple(float(v) for v in rng.integers(20, 235, 3)), -1)
    return np.clip(cv2.GaussianBlur(wide, (0, 0), 1.2), 0, 255).astype(np.uint8)


def _placed(person, pose, pan, size):
    """Return where in the frame the person is (slices), its layer and cover there, and the face box in the frame."""
    width, height = size
    x1, y1, x2, y2 = person.box
    scale = pose.height * height / (y2 - y1)
    centre = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
    angle = np.deg2rad(pose.turn_deg)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    place = np.array([(pose.x - pan) * width, pose.y * height])
    half = np.array([x2 - x1, y2 - y1]) * scale / 2
    box = np.concatenate([place - half, place + half]).astype(np.float32)
    tall, wide = person.alpha.shape
    corners = np.array([[0, 0], [wide, 0], [0, tall], [wide, tall]]) @ turn.T + place - turn @ centre
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, size).astype(int).tolist()
    right, bottom = np.clip(np.ceil(corners.max(axis=0)), 0, size).astype(int).tolist()
    if right <= left or bottom <= top:
        return None, None, None, box
    matrix = np.concatenate([turn, (place - turn @ centre - (left, top))[:, None]], axis=1)
    part = (right - left, bottom - top)
    source = person.image if scale >= 0.5 else cv2.GaussianBlur(person.image, (0, 0), 0.35 / scale)
    layer = cv2.warpAffine(source, matrix, part, borderMode=cv2.BORDER_REPLICATE)
    return (slice(top, bottom), slice(left, right)), layer, cv2.warpAffine(person.alpha, matrix, part), box


def _covered(cover, box, where):
    """Return the share of a box that somebody's cover, which lies at `where`, hides."""
    rows, columns = where
    x1, y1, x2, y2 = (round(float(v)) for v in box)
    left, right = (min(max(x - columns.start, 0), cover.shape[1]) for x in (x1, x2))
    top, bottom = (min(max(y - rows.start, 0), cover.shape[0]) for y in (y1, y2))
    return float(cover[top:bottom, left:right].sum()) / max((x2 - x1) * (y2 - y1), 1)


def _outside(box, size):
    x1, y1, x2, y2 = box
    inside = max(min(x2, size[0]) - max(x1, 0), 0) * max(min(y2, size[1]) - max(y1, 0), 0)
    return 1 - float(inside / ((x2 - x1) * (y2 - y1)))


def cut_out(name, image, box):
    """Return the person around a face: head and shoulders, with a soft edge.

    Args:
        name: Who.
        image: (H, W, 3) uint8 RGB.
        box: (4,) face box, pixels.
    """
    box = np.asarray(box, np.float32)
    width, height = box[2:] - box[:2]
    left, top = np.maximum(np.floor([box[0] - 0.6 * width, box[1] - 0.45 * height]), 0).astype(int)
    right, bottom = (
        int(min(v, n)) for v, n in zip((box[2] + 0.6 * width, box[3] + 0.7 * height), image.shape[1::-1], strict=True)
    )
    part = image[top:bottom, left:right]
    inner = box - np.array([left, top] * 2, np.float32)
    alpha = np.zeros(part.shape[:2], np.float32)
    centre = ((inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2 - 0.05 * height)
    cv2.ellipse(alpha, (centre, (1.5 * width, 1.6 * height), 0), 1.0, -1)
    chest = (centre[0], inner[3] + 0.75 * height)
    cv2.ellipse(alpha, (chest, (2.0 * width, 1.3 * height), 0), 1.0, -1)
    soft = cv2.GaussianBlur(alpha, (0, 0), 0.03 * float(height))
    soft[:1], soft[:, :1], soft[:, -1:] = 0, 0, 0
    return Person(name, np.ascontiguousarray(part), soft, inner)


def portrait_people(examples):
    """Return the two people of the example portraits."""
    boxes = {"astronaut.jpg": (175, 75, 275, 207), "grace_hopper.jpg": (193, 63, 352, 277)}
    return tuple(cut_out(name, _read(examples / name), box) for name, box in boxes.items())


def photo_people(shared, count=6, *, least_px=110, detector=None):
    """Return people of the shared photos with large faces, one of each photo.

    Args:
        shared: Folder with data/photos.
        count: How many.
        least_px: Sides of the smallest face.
        detector: Takes only those whom it finds surely in the photo at half size, too.
    """
    folder = shared / "data" / "photos"
    people = []
    for photo in json.loads((folder / "faces.json").read_text()):
        large = [f["box"] for f in photo["faces"] if not f["ignore"] and min(f["box"][2:]) >= least_px]
        if len(large) == 1 and len(people) < count:
            x, y, w, h = large[0]
            image = _read(folder / photo["file"])
            if detector is None or _surely_found(detector, image, (x, y, x + w, y + h)):
                people.append(cut_out(photo["file"], image, (x, y, x + w, y + h)))
    return tuple(people)


def _surely_found(detector, image, box):
    faces = detector.detect(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    x, y = (box[0] + box[2]) / 4, (box[1] + box[3]) / 4
    inside = (faces.xyxy[:, :2] < (x, y)).all(axis=1) & (faces.xyxy[:, 2:] > (x, y)).all(axis=1)
    return bool((inside & (faces.score > 0.99)).any())


def _read(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def still(x, y, height):
    """Return the path of somebody who stays, breathing a little."""
    return lambda t: Pose(x + 0.003 * np.sin(2 * t), y + 0.004 * np.sin(3 * t), height, 1.5 * np.sin(1.3 * t))


def line(start, end, start_s, end_s, y, height, *, gone=False):
    """Return the path of somebody who walks from x `start` to x `end`; `gone` leaves the video outside that time."""

    def path(t):
        if gone and not start_s <= t <= end_s:
            return None
        share = float(np.clip((t - start_s) / (end_s - start_s), 0, 1))
        return Pose(start + share * (end - start), y + 0.006 * np.sin(7 * t), height, 2 * np.sin(4 * t))

    return path


def panning(people, **options):
    """Two people sit; the camera pans over them and back."""
    shot = Shot(0, ((0, still(0.4, 0.45, 0.3)), (1, still(0.9, 0.5, 0.35))), 1, lambda t: 0.55 * np.sin(0.8 * t) ** 2)
    return Scene("pan", tuple(people), (shot,), 6.0, **options)


def zooming(people, **options):
    """One person comes from far away to close up and goes back."""
    path = lambda t: Pose(0.5, 0.5, 0.14 * 4 ** np.sin(0.7 * t) ** 2, 0)  # noqa: E731
    return Scene("zoom", tuple(people), (Shot(0, ((0, path),), 2),), 5.0, **options)


def cutting(people, **options):
    """Four shots: the second shows somebody else at the same place, the third nobody, the fourth the first again."""
    place = still(0.5, 0.5, 0.45)
    shots = (Shot(0, ((0, place),), 3), Shot(1.6, ((1, place),), 4), Shot(3.2, (), 5), Shot(4.4, ((0, place),), 6))
    return Scene("cuts", tuple(people), shots, 6.0, **options)


def crossing(people, **options):
    """Two people walk past each other; the second is in front."""
    cast = ((0, line(0.15, 0.85, 0.4, 3.6, 0.45, 0.38)), (1, line(0.85, 0.15, 0.4, 3.6, 0.5, 0.4)))
    return Scene("crossing", tuple(people), (Shot(0, cast, 7),), 4.0, **options)


def crossing_fast(people, **options):
    """The same, in a hurry, and the first is in front."""
    cast = ((1, line(0.85, 0.15, 0.5, 1.7, 0.5, 0.36)), (0, line(0.15, 0.85, 0.5, 1.7, 0.45, 0.38)))
    return Scene("crossing fast", tuple(people), (Shot(0, cast, 8),), 2.4, **options)


def meeting(people, **options):
    """Two people meet, overlap, and go back where they came from."""
    swing = lambda a, b: lambda t: Pose(a + (b - a) * np.sin(np.pi * t / 4) ** 2, 0.48, 0.36)  # noqa: E731
    return Scene(
        "meeting", tuple(people), (Shot(0, ((0, swing(0.2, 0.52)), (1, swing(0.8, 0.55))), 9),), 4.0, **options
    )


def returning(people, **options):
    """One person stays; another walks out of the image, and comes back on the other side three seconds later."""

    def path(t):
        return line(0.6, 1.3, 0.8, 2.0, 0.5, 0.4)(t) if t < 4 else line(-0.3, 0.25, 4.5, 5.6, 0.5, 0.4)(t)

    away = lambda t: None if 2.0 < t < 4.5 else path(t)  # noqa: E731
    return Scene("return", tuple(people), (Shot(0, ((0, still(0.75, 0.4, 0.25)), (1, away)), 10),), 7.0, **options)


def arriving(people, **options):
    """An empty room; people appear one by one, the later ones while others are there."""
    cast = ((0, line(-0.2, 0.3, 0.8, 2.2, 0.5, 0.4)), (1, line(1.2, 0.7, 2.6, 3.6, 0.45, 0.35)))
    return Scene("arrival", tuple(people), (Shot(0, cast, 11),), 5.0, **options)


def flashing(people, **options):
    """Photographers: flashes of one and of three frames, one of them white all over, and a slow fade to half light."""

    def light(t):
        flash = 2.2 if 1.0 <= t < 1.04 or 1.6 <= t < 1.72 else 30.0 if 2.4 <= t < 2.48 else 1.0
        return flash * (1 - 0.5 * float(np.clip(t - 3, 0, 1)))

    cast = ((0, still(0.3, 0.5, 0.4)), (1, still(0.72, 0.45, 0.36)))
    return Scene("flashes", tuple(people), (Shot(0, cast, 12, light=light),), 4.5, **options)


def recutting(people, **options):
    """Five shots of three people, eight tracks in all; everybody is seen in several, sizes and places change.

    `people` are two cut-outs of each, one after the other: the shots take them in turn. The number of a person is that
    of the cut-out divided by two.
    """
    casts = (
        ((0, still(0.28, 0.5, 0.42)), (2, still(0.72, 0.48, 0.4))),
        ((4, still(0.5, 0.5, 0.5)),),
        ((3, still(0.4, 0.45, 0.34)),),
        ((1, still(0.7, 0.5, 0.36)), (5, still(0.3, 0.5, 0.44))),
        ((2, still(0.3, 0.5, 0.5)), (0, still(0.75, 0.45, 0.3))),
    )
    shots = tuple(Shot(1.2 * number, cast, 20 + number) for number, cast in enumerate(casts))
    return Scene("recut", tuple(people), shots, 6.0, **options)


CASES = {
    make.__name__: make
    for make in (
        panning, zooming, cutting, crossing, crossing_fast, meeting, returning, arriving, flashing,
    )
}  # fmt: skip
