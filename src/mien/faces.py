"""`Frame` goes in, `Faces` comes out: the two values that cross every stage."""

import functools
import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self, cast, overload

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError, require_extra, shown
from mien.labels import LabelSet

if TYPE_CHECKING:
    import pandas as pd
    import supervision as sv

    from mien.planes import Pixels

Floats = NDArray[np.float32]
Record = dict[str, str | int | float | None]
SHOWN = 4  # faces that a repr names

COLUMNS: dict[str, type] = {  # of a row, in this order, with the types of their values
    "source": str, "frame": int, "time_s": float, "face": int, "track_id": int,
    "x1": float, "y1": float, "x2": float, "y2": float, "score": float, "expression": str, "confidence": float,
}  # fmt: skip
ATTRIBUTES: dict[str, tuple[str, ...]] = {  # what else a face can tell, and the columns of each; docs/attributes.md
    "mesh": (),  # no column: the points are in `Faces.mesh`
    "pose": ("yaw", "pitch", "roll"),
    "eyes": ("eye_left", "eye_right"),
    "mouth": ("mouth_opening", "mouth_width", "mouth_corners", "mouth_asymmetry"),
    "brows": ("brow_raise", "brow_furrow"),
    "gaze": ("gaze_yaw", "gaze_pitch"),
    "blinks": ("eyes_closed",),
    "quality": ("quality",),
    "age": ("age_estimate",),
    "gender": ("gender_estimate",),
    "people": ("person",),  # a name, in `Faces.person`, not in `Faces.attributes`
}
PEOPLE, PERSON = "people", "person"
CORRECTED = "corrected_person"  # a column that people add, beside the answer in `person`
RELATIVE, RELATIVE_TO = "relative", "relative_"  # columns of their own for videos: less the track's own median
WITH_RELATIVE = tuple(column for name in ("eyes", "mouth", "brows") for column in ATTRIBUTES[name])
ERROR = "error"  # the last column of tables
NOTE = "note"  # the last column of attributes: why a value is missing, or what is doubtful
MESH_POINTS = 468
FAR_PX = 1e12  # farther out than any image reaches
CROP_PX = 48  # width and height of the gray crops that expression models take: those of FER2013
STEADY, SMOOTHED, BASELINE = "steady_expression", "smooth_", "baseline"


def columns_of(labels: LabelSet | None, *, tracked: bool = False, attributes: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the columns of `Faces.to_records`.

    Args:
        labels: The label set of the probabilities; None where there are none.
        tracked: Whether the faces are those of a video, with smoothed probabilities.
        attributes: Names of `ATTRIBUTES` that are measured.

    Raises:
        InputError: An expression has the name of another column.
    """
    return _columns_of(labels, tracked, tuple(attributes))


@functools.lru_cache(maxsize=64)  # rows ask for every frame
def _columns_of(labels: LabelSet | None, tracked: bool, attributes: tuple[str, ...]) -> tuple[str, ...]:
    names = labels.names if labels else ()
    smoothed = (STEADY, *(SMOOTHED + name for name in names), BASELINE) if tracked else ()
    columns = (*COLUMNS, *names, *smoothed, *attribute_columns(attributes), ERROR)
    if labels and len(set(columns)) < len(columns):
        clash = ", ".join(sorted({name for name in names if columns.count(name) > 1}))
        raise InputError(f"label set {labels.key!r} has the name of another column: {clash}; rename the expression")
    return columns[:-1]


def attribute_columns(attributes: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of attributes in the order of `ATTRIBUTES`, then `NOTE`; of none, none.

    Args:
        attributes: Names of `ATTRIBUTES`; with `RELATIVE` among them a video has relative columns, too.
    """
    found = [column for name, columns in ATTRIBUTES.items() if name in attributes for column in columns]
    if RELATIVE in attributes:
        place = found.index(PERSON) if PERSON in found else len(found)
        found[place:place] = relative_columns(attributes)
    return (*found, NOTE) if set(attributes) - {PEOPLE} else tuple(found)


def relative_columns(attributes: Sequence[str]) -> list[str]:
    """Return the columns that a video has beside those of attributes, for values less the median of their own track.

    Args:
        attributes: Names of `ATTRIBUTES`.
    """
    found = (column for name, columns in ATTRIBUTES.items() if name in attributes for column in columns)
    return [RELATIVE_TO + column for column in found if column in WITH_RELATIVE]


def known_attributes(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of attributes in the order of `ATTRIBUTES`, each once.

    Args:
        names: As a user gives them.

    Raises:
        InputError: One is unknown; the message lists those that are.
    """
    if isinstance(names, str):
        names = [name.strip() for name in names.split(",") if name.strip()]
    for name in names:
        if name == PEOPLE:
            raise InputError("people are told apart with people=…, on the command line --people; leave it out here")
        if name not in ATTRIBUTES:
            known = ", ".join(name for name in ATTRIBUTES if name != PEOPLE)
            raise InputError(f"attributes must be among {known}, got {shown(name)}")
    return tuple(name for name in ATTRIBUTES if name in names)


@dataclass(frozen=True)
class Reduced:
    """How an image was read that is smaller than its file says: pixels of faces stay those of the file.

    Attributes:
        factor: How many pixels of the file, in each direction, became one: 2, 4 or 8.
        width: Width of the whole image, upright, pixels.
        height: Its height.
    """

    factor: int
    width: int
    height: int

    def of(self, image: "Pixels") -> int:
        """Return how many pixels of the file, in each direction, are one of `image`: 1 where it is the whole image."""
        return 1 if image.shape[:2] == (self.height, self.width) else self.factor


@dataclass(frozen=True)
class Frame:
    """One image, still or from a video.

    A frame of a video holds its planes as they were decoded; `image` is made of them when somebody asks for it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        source: Where the image came from: a path, URL or name for people to read.
        index: Number of the frame within its source, from 0.
        time_s: Time within its source from the container's timestamps, in seconds; 0 for a still.
        reduced: What `image` was before it was read at a half, a fourth or an eighth; None where it is whole.
    """

    image: NDArray[np.uint8]
    source: str = ""
    index: int = 0
    time_s: float = 0.0
    reduced: Reduced | None = None

    def __post_init__(self) -> None:
        """Check the image."""
        check_pixels(self.pixels)

    @classmethod
    def of(cls, pixels: "Pixels", source: str, index: int, time_s: float) -> Self:
        """Return a frame of planes, or of RGB as any other."""
        return cls(cast(Any, pixels), source, index, time_s)

    @property
    def pixels(self) -> "Pixels":
        """What was given as `image`: planes or RGB. The stages of mien read these."""
        given: Pixels = self.__dict__["_pixels"]
        return given

    @property
    def width(self) -> int:
        """Width of the whole image, whose pixels faces are given in."""
        return self.reduced.width if self.reduced else self.pixels.shape[1]

    @property
    def height(self) -> int:
        """Its height."""
        return self.reduced.height if self.reduced else self.pixels.shape[0]


class _LateImage:
    """The RGB image of a `Frame`, made of its planes when it is first asked for."""

    def __get__(self, frame: Any, owner: type | None = None) -> Any:
        if frame is None:
            return self
        if "_image" not in frame.__dict__:
            given = frame.pixels
            frame.__dict__["_image"] = given.rgb() if hasattr(given, "rgb") else given
        return frame.__dict__["_image"]

    def __set__(self, frame: Any, given: "Pixels") -> None:
        frame.__dict__["_pixels"] = given
        frame.__dict__.pop("_image", None)


Frame.image = _LateImage()  # type: ignore[assignment]  # after the class, whose field it would else be a default of


def check_pixels(image: "Pixels") -> "Pixels":
    """Return `image` if it is one that every stage can work on: the planes of a frame, or what `check_image` takes."""
    return image if hasattr(image, "rgb") else check_image(image)


def check_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return `image` if it is one that every stage can work on.

    Args:
        image: (H, W, 3) uint8 RGB, H and W at least 1.

    Raises:
        InputError: It is something else; the message says what came and what to do.
    """
    if not isinstance(image, np.ndarray):
        raise InputError(f"image must be a NumPy array (H, W, 3) uint8 RGB, got {type(image).__name__}; load it first")
    came = f"got {image.shape} {image.dtype}"
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
        raise InputError(f"image must be (H, W, 3) uint8 RGB, {came}; repeat the gray channel: np.dstack([gray] * 3)")
    if image.ndim == 3 and image.shape[2] != 3 and image.shape[0] == 3:
        raise InputError(f"image must be (H, W, 3) uint8 RGB, {came}; move the channels last: image.transpose(1, 2, 0)")
    if image.ndim == 3 and image.shape[2] == 4:
        raise InputError(f"image must be (H, W, 3) uint8 RGB, {came}; drop the alpha channel: image[..., :3]")
    if image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"image must be (H, W, 3) uint8 RGB, {came}; pass one image at a time")
    if image.dtype != np.uint8:
        raise InputError(f"image must be (H, W, 3) uint8 RGB, {came}; {_dtype_fix(image)}")
    if 0 in image.shape:
        raise InputError(f"image must have at least one pixel, {came}; check the slice that made it")
    return image


def _dtype_fix(image: NDArray[Any]) -> str:
    if not np.issubdtype(image.dtype, np.floating):
        return "scale it to 0-255 and convert: image.astype(np.uint8)"
    if image.size and not np.isfinite(image).all():
        return "it holds NaN or infinity; replace those, then (255 * image).astype(np.uint8)"
    return "convert it: (255 * image).astype(np.uint8) if its values are 0-1, image.astype(np.uint8) if 0-255"


def _sum_to_one(probs: Floats) -> bool:
    return bool((np.abs(probs.sum(axis=1) - 1) <= 1e-3).all())  # NaN is not; np.allclose takes five times as long


@dataclass(frozen=True, repr=False)
class Face:
    """One face of a `Faces`, for reading.

    Attributes:
        xyxy: (4,) float32, left, top, right, bottom, pixels.
        score: Score of the detector, 0-1.
        landmarks: (5, 2) float32, pixels: left eye, right eye, nose, left and right mouth corner as the viewer sees
            them; None where the detector gives none.
        probs: (C,) float32 probabilities; None before the expression model has run.
        labels: The label set of `probs`.
        track_id: Identity across frames, or None.
        smoothed: (C,) float32 probabilities smoothed over the track, or None.
        steady: Number of the track's steady expression in `labels`, or None.
        reduced: How the image was read where that was not whole; the pixels are those of the whole image.
        baseline: How much of the person's resting face was taken out of the probabilities: the largest change of a
            logarithm, nats; None where nothing was.
        attributes: What was measured, by column of `ATTRIBUTES`; NaN where it could not be. Empty where nothing was
            asked for.
        note: Why a value of `attributes` is missing, or what is doubtful; "" where all is well.
        mesh: (468, 2) float32, the points of the face's mesh, pixels; None where they were not asked for.
        person: Who it is: a name, or `person 3` for somebody without one; None where that is not known.
    """

    xyxy: Floats
    score: float
    landmarks: Floats | None = None
    probs: Floats | None = None
    labels: LabelSet | None = None
    track_id: int | None = None
    smoothed: Floats | None = None
    steady: int | None = None
    reduced: Reduced | None = None
    baseline: float | None = None
    attributes: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    mesh: Floats | None = None
    person: str | None = None

    @property
    def expression(self) -> str | None:
        """The most probable expression, or None without probabilities."""
        if self.probs is None or self.labels is None:
            return None
        return self.labels.names[int(self.probs.argmax())]

    @property
    def confidence(self) -> float | None:
        """The probability of that expression, 0-1, or None."""
        return None if self.probs is None else float(self.probs.max())

    @property
    def probabilities(self) -> dict[str, float]:
        """The probability of every expression by name, 0-1, in the order of `labels`; empty before the model ran."""
        return _by_name(self.labels, self.probs)

    @property
    def landmarks68(self) -> Floats | None:
        """(68, 2) float32, the landmarks of iBUG 300-W by index from the mesh, pixels; None without `mesh`."""
        return None if self.mesh is None else _room("attributes.geometry").landmarks68(self.mesh)

    @property
    def steady_expression(self) -> str | None:
        """The expression the track has settled on, which does not flicker; None outside a video."""
        return None if self.steady is None or self.labels is None else self.labels.names[self.steady]

    def crop(self, image: NDArray[np.uint8], *, margin: float = 0.0) -> NDArray[np.uint8]:
        """Return a copy of the part of the image that the face's box covers.

        Args:
            image: (H, W, 3) uint8 RGB, the image in which the face was found; of one that was read reduced, that or the
                whole.
            margin: How much more to take on each side, in widths and heights of the box; negative takes less.

        Returns:
            (h, w, 3) uint8 RGB, as far as the image reaches.

        Raises:
            InputError: `image` is something else, or nothing of the box lies inside it.
        """
        height, width = check_image(image).shape[:2]
        x1, y1, x2, y2 = self.xyxy.astype(np.float64) / (self.reduced.of(image) if self.reduced else 1)
        across, down = margin * (x2 - x1), margin * (y2 - y1)
        left, top = max(0, int(np.floor(x1 - across))), max(0, int(np.floor(y1 - down)))
        right, bottom = min(width, int(np.ceil(x2 + across))), min(height, int(np.ceil(y2 + down)))
        if left >= right or top >= bottom:
            raise InputError(
                f"nothing of the box {_box_text(self.xyxy)} lies in an image of {width}x{height}; "
                "pass the image in which the face was found"
            )
        return image[top:bottom, left:right].copy()

    def to_dict(self) -> dict[str, Any]:
        """Return what is known of the face as plain values, ready for JSON.

        Returns:
            `box` [x1, y1, x2, y2] in pixels, `score`, `landmarks` (five [x, y], or None), `expression`, `confidence`
            and `probabilities` by name; for a face of a video `track_id`, `steady_expression` and `smoothed` as well;
            where asked for, `attributes` by column, None where one could not be measured, with `note`, and `mesh`, None
            where there is none.
        """
        told: dict[str, Any] = {
            "box": [round(v, 2) for v in self.xyxy.tolist()],
            "score": round(self.score, 4),
            "landmarks": _points(self.landmarks),
            "expression": self.expression,
            "confidence": None if self.confidence is None else round(self.confidence, 4),
            "probabilities": _rounded(self.probabilities),
        }
        if self.track_id is not None:
            told["track_id"] = self.track_id
        if self.smoothed is not None:
            told |= {
                "steady_expression": self.steady_expression,
                "smoothed": _rounded(_by_name(self.labels, self.smoothed)),
            }
        if self.baseline is not None:
            told["baseline"] = round(self.baseline, 4)
        if self.attributes:
            told |= {"attributes": _measured(self.attributes), NOTE: self.note or None}
        if self.person is not None:
            told[PERSON] = self.person
        if self.mesh is not None:
            told["mesh"] = _points(self.mesh)
        return told

    @property
    def answer(self) -> str:
        """What the face shows and how sure that is, as in `happy 94%`; before the model has run, the score."""
        return f"{self.expression} {self.confidence:.0%}" if self.confidence is not None else f"score {self.score:.2f}"

    def __str__(self) -> str:
        """Say where the face is and what it shows."""
        return f"{self.answer} at {_box_text(self.xyxy)}"

    def __repr__(self) -> str:
        """Say the same in one short line."""
        who = "" if self.track_id is None else f", track {self.track_id}"
        return f"Face({self}{who})"

    def _repr_html_(self) -> str:
        """Show a notebook the expression with a bar per probability."""
        html: str = _room("output.notebook").face_html(self)
        return html


def _room(name: str) -> Any:
    """Return a room above the hall when a method needs one: drawing is asked for here, and done there."""
    return importlib.import_module(f"{__package__}.{name}")


def _by_name(labels: LabelSet | None, probs: NDArray[np.float32] | None) -> dict[str, float]:
    return {} if labels is None or probs is None else dict(zip(labels.names, probs.tolist(), strict=True))


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def _measured(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: round(value, 4) if np.isfinite(value) else None for name, value in values.items()}


def _points(points: Floats | None) -> list[list[float]] | None:
    """Return points for JSON, which knows no NaN: None where one is missing."""
    if points is None or not np.isfinite(points).all():
        return None
    rounded: list[list[float]] = points.astype(np.float64).round(2).tolist()
    return rounded


def _box_text(xyxy: NDArray[np.float32]) -> str:
    x1, y1, x2, y2 = (round(float(v)) for v in xyxy)
    return f"({x1}, {y1})-({x2}, {y2})"


@dataclass(frozen=True, repr=False)
class Faces:
    """All faces of one frame, as arrays that share their first axis. No face at all is an ordinary value.

    Attributes:
        xyxy: (N, 4) float32, left, top, right, bottom, pixels of the frame; may reach beyond its border.
        score: (N,) float32, the detector's score, 0-1.
        landmarks: (N, 5, 2) float32 pixels (left eye, right eye, nose, left and right mouth corner as the viewer sees
            them), or None.
        probs: (N, C) float32, rows sum to 1, or None before the expression model has run.
        track_id: (N,) int64 identity across frames, or None.
        labels: The label set of `probs`; given exactly when `probs` is.
        smoothed: (N, C) float32, `probs` smoothed over each track, rows sum to 1; None outside a video.
        steady: (N,) int64, the number in `labels` of the expression that each track has settled on; given exactly when
            `smoothed` is.
        baseline: (N,) float32, how much of each person's resting face was taken out of `probs`: the largest change of a
            logarithm, nats, NaN where nothing was; None without such a correction.
        attributes: What else was measured: (N,) float32 per column of `ATTRIBUTES`, NaN where it could not be; None
            where nothing was asked for.
        notes: N texts: why values of `attributes` are missing, or what is doubtful; "" where all is well. Given exactly
            when `attributes` is.
        mesh: (N, 468, 2) float32, the points of each face's mesh, pixels of the frame, NaN where there is none; None
            where they were not asked for.
        person: N names, or None for a face that is nobody known; None where that was not asked for.
        frame_index: Number of the frame within its source, from 0.
        time_s: Time of the frame within its source, seconds.
        source: Where the frame came from.
        image: The image, where `mien.analyze_image` kept it.
        reduced: How the image was read where that was not whole; all pixels are those of the whole image.
    """

    xyxy: Floats
    score: Floats
    landmarks: Floats | None = None
    probs: Floats | None = None
    track_id: NDArray[np.int64] | None = None
    labels: LabelSet | None = None
    smoothed: Floats | None = None
    steady: NDArray[np.int64] | None = None
    baseline: Floats | None = None
    attributes: Mapping[str, Floats] | None = None
    notes: tuple[str, ...] | None = None
    mesh: Floats | None = None
    person: tuple[str | None, ...] | None = None
    frame_index: int = 0
    time_s: float = 0.0
    source: str = ""
    image: NDArray[np.uint8] | None = field(default=None, compare=False)
    reduced: Reduced | None = None

    def __post_init__(self) -> None:
        """Check shapes, dtypes and values."""
        n = len(self.xyxy)
        _check("xyxy", self.xyxy, (n, 4), np.float32)
        _check("score", self.score, (n,), np.float32)
        if n and not np.isfinite(self.xyxy).all():
            raise InputError("xyxy must be finite, got NaN or infinity; drop such boxes before building Faces")
        if n and (np.abs(self.xyxy) > FAR_PX).any():
            raise InputError(f"xyxy must lie within {FAR_PX:g} pixels; drop such boxes before building Faces")
        if n and (self.xyxy[:, 2:] < self.xyxy[:, :2]).any():
            raise InputError("xyxy must have x2 >= x1 and y2 >= y1; are these (x, y, width, height) boxes?")
        if self.landmarks is not None:
            _check("landmarks", self.landmarks, (n, 5, 2), np.float32)
        if self.track_id is not None:
            _check("track_id", self.track_id, (n,), np.int64)
        if self.baseline is not None:
            _check("baseline", self.baseline, (n,), np.float32)
        self._check_probs(n)
        self._check_smoothed(n)
        self._check_attributes(n)

    def _check_probs(self, n: int) -> None:
        if (self.probs is None) != (self.labels is None):
            raise InputError("probs and labels come together; pass both or neither")
        if self.probs is None or self.labels is None:
            return
        _check("probs", self.probs, (n, len(self.labels)), np.float32)
        if n and not _sum_to_one(self.probs):
            raise InputError("every row of probs must sum to 1; pass probabilities (0-1), not logits or percentages")

    def _check_attributes(self, n: int) -> None:
        if (self.attributes is None) != (self.notes is None):
            raise InputError("attributes and notes come together; pass both or neither")
        for name, values in (self.attributes or {}).items():
            _check(f"attributes[{name!r}]", values, (n,), np.float32)
        if self.notes is not None and len(self.notes) != n:
            raise InputError(f"notes must be {n} texts, got {len(self.notes)}; pass one per face")
        if self.mesh is not None:
            _check("mesh", self.mesh, (n, MESH_POINTS, 2), np.float32)
        if self.person is not None and len(self.person) != n:
            raise InputError(f"person must be {n} names, got {len(self.person)}; pass one per face, None for nobody")

    def _check_smoothed(self, n: int) -> None:
        if (self.smoothed is None) != (self.steady is None):
            raise InputError("smoothed and steady come together; pass both or neither")
        if self.smoothed is None or self.steady is None:
            return
        if self.labels is None:
            raise InputError("smoothed probabilities need probs and labels; pass those, too")
        _check("smoothed", self.smoothed, (n, len(self.labels)), np.float32)
        _check("steady", self.steady, (n,), np.int64)
        if n and not _sum_to_one(self.smoothed):
            raise InputError("every row of smoothed must sum to 1; pass probabilities (0-1)")
        if n and not ((self.steady >= 0) & (self.steady < len(self.labels))).all():
            raise InputError(
                f"steady must number the {len(self.labels)} labels from 0, got {shown(self.steady.tolist())}"
            )

    @classmethod
    def empty(cls, *, frame: Frame | None = None) -> Self:
        """Return a `Faces` without faces.

        Args:
            frame: The frame in which none was found.
        """
        none = cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
        return none if frame is None else none.at(frame)

    def at(self, frame: Frame) -> Self:
        """Return the same faces with the source, number and time of `frame`, and how it was read."""
        return self._with(source=frame.source, frame_index=frame.index, time_s=frame.time_s, reduced=frame.reduced)

    def _with(self, **changes: Any) -> Self:
        """Return a copy with changes that need no checks, which take as long as finding some faces."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, **changes)
        return other

    def found_in(self, frame: Frame) -> Self:
        """Return faces whose pixels are those of `frame.image` as faces of the frame, in pixels of the whole image."""
        return (self._times(frame.reduced.factor) if frame.reduced else self).at(frame)

    def on(self, image: "Pixels") -> Self:
        """Return the same faces in pixels of an image: that which was read, reduced or not, or the whole one.

        Args:
            image: (H, W, 3) uint8 RGB, or its planes.
        """
        return replace(self._times(1 / self.reduced.of(image)), reduced=None) if self.reduced else self

    def _times(self, factor: float) -> Self:
        landmarks = None if self.landmarks is None else self.landmarks * np.float32(factor)
        mesh = None if self.mesh is None else self.mesh * np.float32(factor)
        return replace(self, xyxy=self.xyxy * np.float32(factor), landmarks=landmarks, mesh=mesh)

    def with_probs(self, probs: Floats, labels: LabelSet) -> Self:
        """Return the same faces with probabilities.

        Args:
            probs: (N, len(labels)) float32, rows sum to 1.
            labels: Their label set.
        """
        named = self._with(probs=probs, labels=labels)
        named._check_probs(len(named))
        if named.smoothed is not None:
            named._check_smoothed(len(named))
        return named

    def with_smoothed(self, smoothed: Floats, steady: NDArray[np.int64]) -> Self:
        """Return the same faces with probabilities smoothed over their tracks.

        Args:
            smoothed: (N, C) float32, rows sum to 1.
            steady: (N,) int64, the number of each track's steady expression.
        """
        told = self._with(smoothed=smoothed, steady=steady)
        told._check_smoothed(len(told))
        return told

    def with_attributes(
        self, values: Mapping[str, Floats], notes: Sequence[str], *, mesh: Floats | None = None
    ) -> Self:
        """Return the same faces with what was measured, beside what they have of it already.

        Args:
            values: (N,) float32 per column of `ATTRIBUTES`, NaN where it could not be measured.
            notes: N texts, why not, or what is doubtful; "" where all is well.
            mesh: (N, 468, 2) float32, pixels of the frame; None leaves it as it is.
        """
        before = self.notes or ("",) * len(self)
        both = tuple("; ".join(filter(None, pair)) for pair in zip(before, notes, strict=True))
        told = {**(self.attributes or {}), **values}
        return replace(self, attributes=told, notes=both, mesh=self.mesh if mesh is None else mesh)

    def with_person(self, names: Sequence[str | None]) -> Self:
        """Return the same faces with the names of the people.

        Args:
            names: N names; None for a face that is nobody known.
        """
        return replace(self, person=tuple(names))

    def __len__(self) -> int:
        """Return the number of faces."""
        return len(self.xyxy)

    def __iter__(self) -> Iterator[Face]:
        """Yield the faces one by one."""
        return (self._face(i) for i in range(len(self)))

    def _face(self, i: int) -> Face:
        return Face(
            self.xyxy[i],
            float(self.score[i]),
            None if self.landmarks is None else self.landmarks[i],
            None if self.probs is None else self.probs[i],
            self.labels,
            None if self.track_id is None else int(self.track_id[i]),
            None if self.smoothed is None else self.smoothed[i],
            None if self.steady is None else int(self.steady[i]),
            self.reduced,
            None if self.baseline is None or np.isnan(self.baseline[i]) else float(self.baseline[i]),
            {name: float(values[i]) for name, values in (self.attributes or {}).items()},
            self.notes[i] if self.notes else "",
            None if self.mesh is None else self.mesh[i],
            None if self.person is None else self.person[i],
        )

    @overload
    def __getitem__(self, which: int) -> Face: ...
    @overload
    def __getitem__(self, which: slice | NDArray[Any] | Sequence[int]) -> Self: ...
    def __getitem__(self, which: int | slice | NDArray[Any] | Sequence[int]) -> Face | Self:
        """Return one face, or several as a `Faces`.

        Args:
            which: A number gives a `Face`; a slice, a mask (N,) bool or an array of numbers a `Faces`.

        Raises:
            IndexError: There is no such face.
        """
        if isinstance(which, int | np.integer):
            return self._face(range(len(self))[which])
        return self._some(np.arange(len(self))[which])

    def _some(self, index: NDArray[Any]) -> Self:
        return replace(
            self,
            xyxy=self.xyxy[index],
            score=self.score[index],
            landmarks=None if self.landmarks is None else self.landmarks[index],
            probs=None if self.probs is None else self.probs[index],
            track_id=None if self.track_id is None else self.track_id[index],
            smoothed=None if self.smoothed is None else self.smoothed[index],
            steady=None if self.steady is None else self.steady[index],
            baseline=None if self.baseline is None else self.baseline[index],
            attributes=None if self.attributes is None else {n: v[index] for n, v in self.attributes.items()},
            notes=None if self.notes is None else tuple(self.notes[i] for i in index),
            mesh=None if self.mesh is None else self.mesh[index],
            person=None if self.person is None else tuple(self.person[i] for i in index),
        )

    def largest(self) -> Self:
        """Return the face with the largest box alone; of none, none."""
        if len(self) < 2:
            return self
        sides = self.xyxy[:, 2:] - self.xyxy[:, :2]
        return self._some(np.array([sides.prod(axis=1).argmax()]))

    def clipped(self, width: int, height: int) -> Self:
        """Return the same faces with boxes that end where the image does; landmarks stay as they are.

        Args:
            width: Width of the image, pixels.
            height: Its height.
        """
        limits = np.array([width, height, width, height], np.float32)
        return replace(self, xyxy=np.clip(self.xyxy, 0, limits))

    def crops(self, image: NDArray[np.uint8] | None = None, *, margin: float = 0.0) -> list[NDArray[np.uint8]]:
        """Return a copy of the part of the image that each face's box covers; see `Face.crop`.

        Args:
            image: (H, W, 3) uint8 RGB; None takes the `image` that `mien.analyze_image` kept.
            margin: How much more to take on each side, in widths and heights of the box.
        """
        return [face.crop(self._image(image), margin=margin) for face in self]

    def draw(self, image: NDArray[np.uint8] | None = None, **style: Any) -> NDArray[np.uint8]:
        """Return a copy of the image with boxes, labels and emoji.

        Args:
            image: (H, W, 3) uint8 RGB; None takes the `image` that `mien.analyze_image` kept.
            **style: Fields of `mien.output.DrawStyle`: `bars=True`, `landmarks=True`, `blur=True`…

        Returns:
            (H, W, 3) uint8 RGB.
        """
        draw = _room("output.draw")
        drawn: NDArray[np.uint8] = draw.draw_faces(self._image(image), self, style=draw.DrawStyle(**style))
        return drawn

    def _image(self, image: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        if image is None and self.image is None:
            raise InputError("these faces come without their image; pass it: faces.draw(image)")
        return check_image(self.image if image is None else image)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """Return the frame and its faces as plain values, ready for JSON; see `Face.to_dict`.

        `reduced` is among them where the image was read at 1/2, 1/4 or 1/8: 2, 4 or 8.
        """
        told = {
            "source": self.source,
            "frame": self.frame_index,
            "time_s": round(self.time_s, 6),
            "faces": [face.to_dict() for face in self],
        }
        return told | {"reduced": self.reduced.factor} if self.reduced else told

    def __repr__(self) -> str:
        """Say in one short line how many there are and what the first ones show."""
        shown = ", ".join(face.answer for _, face in zip(range(SHOWN), self, strict=False))
        more = ", …" if len(self) > SHOWN else ""
        source = f" in {self.source!r}" if self.source and len(self.source) <= 80 else ""
        return f"Faces({len(self)}{': ' if shown else ''}{shown}{more}{source})"

    def _repr_html_(self) -> str:
        """Show a notebook every face with a bar per probability, and the annotated image where it was kept."""
        html: str = _room("output.notebook").faces_html(self)
        return html

    @property
    def landmarks68(self) -> Floats | None:
        """(N, 68, 2) float32, the landmarks of iBUG 300-W by index from the mesh, pixels; None without `mesh`."""
        return None if self.mesh is None else _room("attributes.geometry").landmarks68(self.mesh)

    @property
    def measured(self) -> tuple[str, ...]:
        """The names of `ATTRIBUTES` that were asked for; `RELATIVE` last, where measures are relative, too."""
        told = {*(self.attributes or {}), *({PERSON} if self.person is not None else ())}
        meshed = self.attributes is not None and self.mesh is not None
        found = tuple(n for n, columns in ATTRIBUTES.items() if (told & set(columns) if columns else meshed))
        return (*found, RELATIVE) if any(name.startswith(RELATIVE_TO) for name in told) else found

    @property
    def expression(self) -> list[str | None]:
        """The most probable expression of each face; None before the model has run."""
        return [face.expression for face in self]

    @property
    def confidence(self) -> Floats:
        """(N,) float32, the probability of that expression; NaN before the model has run."""
        if self.probs is None:
            return np.full(len(self), np.nan, np.float32)
        best: Floats = self.probs.max(axis=1, initial=0)
        return best

    def to_records(self) -> list[Record]:
        """Return one flat row per face: `COLUMNS`, then one probability column per expression.

        Faces of a video have more: `STEADY`, the expression that the track has settled on, and per expression one
        column of smoothed probabilities, named after it with `SMOOTHED` before; then `BASELINE`. Last come the columns
        of `attributes`, None where one could not be measured, and `NOTE`, which says why.
        """
        columns_of(self.labels, tracked=self.smoothed is not None, attributes=self.measured)  # raises where names clash
        return [self._record(number, face) for number, face in enumerate(self)]

    def _record(self, number: int, face: Face) -> Record:
        x1, y1, x2, y2 = (round(v, 2) for v in face.xyxy.tolist())
        row: Record = dict(
            zip(
                COLUMNS,
                (self.source, self.frame_index, round(self.time_s, 6), number, face.track_id, x1, y1, x2, y2,
                 round(face.score, 4), face.expression, None if face.confidence is None else round(face.confidence, 4)),
                strict=True,
            )
        )  # fmt: skip
        if face.probs is not None and face.labels is not None:
            row |= {name: round(p, 4) for name, p in zip(face.labels.names, face.probs.tolist(), strict=True)}
        if face.smoothed is not None and face.labels is not None:
            row[STEADY] = face.steady_expression
            row |= {SMOOTHED + n: round(p, 4) for n, p in zip(face.labels.names, face.smoothed.tolist(), strict=True)}
            row[BASELINE] = None if face.baseline is None else round(face.baseline, 4)
        if self.attributes is not None:
            row |= {**_measured(face.attributes), NOTE: face.note or None}
        if self.person is not None:
            row[PERSON] = face.person
        return row

    def to_pandas(self) -> "pd.DataFrame":
        """Return the rows of `to_records` as a data frame, with all columns even when there is no face.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        pandas = require_extra("data", "pandas")
        columns = list(columns_of(self.labels, tracked=self.smoothed is not None, attributes=self.measured))
        frame: pd.DataFrame = pandas.DataFrame(self.to_records(), columns=columns)
        return frame

    def to_supervision(self) -> "sv.Detections":
        """Return a `supervision.Detections`: class = expression, confidence = its probability (else the score).

        Raises:
            MissingExtraError: supervision is not installed.
        """
        supervision = require_extra("supervision", "supervision")
        known = self.probs is not None
        detections: sv.Detections = supervision.Detections(
            xyxy=self.xyxy.copy(),
            confidence=self.confidence if known else self.score.copy(),
            class_id=self.probs.argmax(axis=1) if self.probs is not None else np.zeros(len(self), int),
            tracker_id=self.track_id,
            data={"class_name": np.array(self.expression if known else ["face"] * len(self), dtype=str)},
        )
        return detections


@dataclass(frozen=True)
class FaceFilter:
    """Which of the faces that were found are kept, and whether their boxes end with the image.

    Attributes:
        min_face_px: Faces whose box is smaller than this, on its longer side, are dropped; pixels of the image.
        min_confidence: Faces whose most probable expression is less probable than this are dropped, 0-1.
        largest_only: Only the largest face of an image is kept.
        clip_boxes: Boxes end where the image does; without, they may reach beyond its border.
    """

    min_face_px: int = field(default=0, metadata={"help": "Drop faces smaller than this, pixels."})
    min_confidence: float = field(
        default=0.0, metadata={"help": "Drop faces whose expression is less probable than this, 0-1."}
    )
    largest_only: bool = field(default=False, metadata={"help": "Keep the largest face of an image alone."})
    clip_boxes: bool = field(default=False, metadata={"help": "Let boxes end where the image does."})

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.min_face_px < 0:
            raise InputError(f"min_face_px must be at least 0, got {self.min_face_px}")
        if not 0 <= self.min_confidence <= 1:
            raise InputError(f"min_confidence must be 0 to 1, got {self.min_confidence}; 0.5 is fifty per cent")

    def found(self, faces: Faces) -> Faces:
        """Return the faces that are worth a look of the expression model: large enough, and the largest if so asked."""
        if self.min_face_px and len(faces):
            sides = (faces.xyxy[:, 2:] - faces.xyxy[:, :2]).max(axis=1)
            faces = faces[sides >= self.min_face_px]
        return faces.largest() if self.largest_only else faces

    def named(self, faces: Faces, width: int, height: int) -> Faces:
        """Return the faces whose expression is probable enough, their boxes clipped if so asked.

        Args:
            faces: With probabilities.
            width: Width of the image, pixels.
            height: Its height.
        """
        if self.min_confidence and len(faces):
            faces = faces[faces.confidence >= self.min_confidence]
        return faces.clipped(width, height) if self.clip_boxes else faces


KEEP_ALL = FaceFilter()


def _check(name: str, array: NDArray[Any], shape: tuple[int, ...], dtype: type) -> None:
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
        came = f"{array.shape} {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
        wanted = np.dtype(dtype).name
        raise InputError(f"{name} must be {shape} {wanted}, got {came}; convert it with np.asarray(…, np.{wanted})")
