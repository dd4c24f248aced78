"""The stage that measures faces: mesh, pose, eyes, mouth, brows, gaze and quality, with reasons.

A number that cannot be trusted is NaN, and the note says why: no face there, a face too small, turned away or partly
outside the image, a mesh that disagrees with the detector, a value outside of what faces can do.
"""

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mien.attributes import geometry
from mien.attributes.age_gender import GUESSED, AgeGender
from mien.attributes.geometry import LEFT_EYE_CORNERS, RIGHT_EYE_CORNERS, Points
from mien.attributes.iris import EyeLook, IrisFinder, closed_by
from mien.attributes.mesh import FaceMesh, chosen_mesh
from mien.attributes.quality import qualities
from mien.attributes.settings import AttributeSettings, GivenAttributes, as_attributes
from mien.detect.align import known_places
from mien.faces import ATTRIBUTES, Faces, Floats
from mien.models.runtime import RuntimeSettings

PRESENT = 0.5  # the network is surer than this that there is a face
POSE_PX, DETAIL_PX, GAZE_PX = 12.0, 14.0, 20.0  # least eye distances, pixels: pose; eyes, mouth and brows; gaze
PROFILE_DEG = 60.0  # yaw or pitch beyond which a mesh is a guess
SIDEWAYS_DEG, TILTED_DEG = 45.0, 40.0  # yaw and pitch up to which mouth, brows and the nearer eye are seen
FAR_EYE_DEG = 35.0  # yaw up to which the farther eye is seen, and the gaze
LEAST_INSIDE = 0.75  # share of the mesh inside the image
NARROW = 0.5  # eyes of the detector nearer than this to each other, in distances from eyes to mouth: a profile
APART = 0.25  # eye distances between the detector's landmarks and the same points of the mesh, on average
NOSE, MOUTH = 4, (geometry.RIGHT_MOUTH, geometry.LEFT_MOUTH)
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 0, 13, 14, 37, 267)
CLOSE = ("gaze", "blinks")  # need the iris network, which then measures the eyes, too
MEASURED = ("mesh", "pose", "eyes", "mouth", "brows", *CLOSE, "quality")  # from the mesh; others: age_gender.py
RANGES = {  # what faces can do; docs/attributes.md
    "eye_left": (0.0, 0.8), "eye_right": (0.0, 0.8),
    "mouth_opening": (0.0, 1.5), "mouth_width": (0.3, 1.5),
    "mouth_corners": (-0.5, 0.5), "mouth_asymmetry": (-0.4, 0.4),
    "brow_raise": (-0.4, 0.5), "brow_furrow": (-0.4, 0.4), "gaze_yaw": (-60.0, 60.0), "gaze_pitch": (-60.0, 60.0),
    "eyes_closed": (0.0, 1.0),
}  # fmt: skip


class FaceMeasures:
    """Measures faces that a detector found. Safe to call from several threads at once.

    Attributes:
        settings: What is measured, and how.
        names: What is measured here.
        mesh: The mesh that measures stand on; None where nothing needs one.
    """

    def __init__(self, settings: GivenAttributes, *, runtime: RuntimeSettings | None = None) -> None:
        """Open the networks that are needed.

        Args:
            settings: What is measured: names of `mien.faces.ATTRIBUTES`, or settings.
            runtime: Device, threads and memory of the networks.

        Raises:
            InputError: An unknown name.
            MissingWeightsError: A network must be pulled first; the message has the line to type.
        """
        self.settings = as_attributes(settings)
        self.names = tuple(name for name in self.settings.names if name in MEASURED)
        self.mesh = _opened_mesh(chosen_mesh(self.settings.mesh), runtime) if self.names else None
        self._irises = _opened_irises(runtime) if set(CLOSE) & set(self.names) else None
        guessed = [name for name in self.settings.names if name in GUESSED]
        self._guesses = AgeGender(guessed, runtime=runtime) if guessed else None

    @property
    def identity(self) -> str:
        """Tells these measures from every other that may give other values; what an interrupted run notes."""
        chosen = self.settings
        low = f", min_quality={chosen.min_quality:g}" if chosen.min_quality else ""
        mesh = f" (mesh={self.mesh.name}{low})" if self.mesh else ""
        return f"{', '.join(chosen.names)}{mesh}"

    def measure(
        self, image: NDArray[np.uint8], faces: Faces, crops: NDArray[np.uint8], *, framed: bool = False
    ) -> Faces:
        """Return the same faces with what was measured.

        Args:
            image: (H, W, 3) uint8 RGB, the image in which they were found.
            faces: N faces in pixels of that image.
            crops: (N, 48, 48) uint8, what the expression model sees of them.
            framed: Whether the image already is a crop with the framing of FER2013.
        """
        if self._guesses is not None:
            guessed = self._guesses.guess(image, faces)
            faces = faces.with_attributes(guessed.values, guessed.notes)
        if self.mesh is None:
            return faces
        found = self.mesh.find(image, faces, framed=framed)
        seen = _Seen(image, faces, found.points, found.presence)
        look = self._look(image, seen)
        values: dict[str, Floats] = {}
        for name in self.names:
            if name == "quality":
                told = qualities(crops, seen.eye_px, seen.pose, found.presence)
                seen.mark(told < self.settings.min_quality, f"low quality (below {self.settings.min_quality:g})")
                values["quality"] = told
            elif columns := ATTRIBUTES[name]:
                values |= seen.checked(name, columns, _columns(name, seen, look))
        mesh = found.points[..., :2].astype(np.float32) if "mesh" in self.names else None
        if mesh is not None:
            mesh[seen.missing] = np.nan
        return faces.with_attributes(values, seen.notes(), mesh=mesh)

    def _look(self, image: NDArray[np.uint8], seen: "_Seen") -> EyeLook | None:
        """Return what the iris network sees of the eyes that are not hidden; None without it."""
        if self._irises is None:
            return None
        good = ~seen.unseen("gaze")[:, 0]
        gaze, openness = np.full((2, len(good), 2), np.nan)
        if good.any():
            found = self._irises.find(image, seen.points[good])
            gaze[good], openness[good] = found.gaze, found.openness
        return EyeLook(gaze, openness)


def _columns(name: str, seen: "_Seen", look: EyeLook | None) -> Points:
    """Return the values (N, columns) of one attribute, trusted or not."""
    if name == "pose":
        return seen.pose
    if name == "gaze" and look is not None:
        return look.gaze
    if name == "blinks" and look is not None:
        return closed_by(look.openness.mean(axis=1, keepdims=True))
    if name == "eyes" and look is not None:
        return look.openness
    measure = {"eyes": geometry.eye_openness, "mouth": geometry.mouth_of, "brows": geometry.brows_of}[name]
    return measure(seen.heads)


@functools.lru_cache(maxsize=4)
def _opened_mesh(name: str, runtime: RuntimeSettings | None) -> FaceMesh:
    return FaceMesh(name, runtime=runtime)


@functools.lru_cache(maxsize=2)
def _opened_irises(runtime: RuntimeSettings | None) -> IrisFinder:
    return IrisFinder(runtime=runtime)


@functools.lru_cache(maxsize=8)
def open_measures(settings: AttributeSettings, runtime: RuntimeSettings) -> FaceMeasures:
    """Return measures whose networks are opened once per process and used again.

    Args:
        settings: What is measured, and how.
        runtime: Device, threads and memory of the networks.

    Raises:
        MienError: As `FaceMeasures`.
    """
    return FaceMeasures(settings, runtime=runtime)


class _Seen:
    """What is known of the faces of one image, and of which values can be trusted."""

    def __init__(self, image: NDArray[np.uint8], faces: Faces, points: Points, presence: Floats) -> None:
        self.points, self._presence = points, presence
        self._turns = geometry.rotations(points)
        self.pose = geometry.pose_of(self._turns)
        self.heads = geometry.in_head_frame(points, self._turns)
        eyes = points[:, LEFT_EYE_CORNERS].mean(axis=1), points[:, RIGHT_EYE_CORNERS].mean(axis=1)
        self.eye_px = np.linalg.norm(eyes[0] - eyes[1], axis=1)
        self._notes: list[dict[str, list[str]]] = [{} for _ in points]
        height, width = image.shape[:2]
        slack = 0.15 * self.eye_px[:, None]
        x, y = points[..., 0], points[..., 1]
        self._inside = (x >= -slack) & (x <= width + slack) & (y >= -slack) & (y <= height + slack)
        self._narrow = _narrowness(faces)
        self._far = _distance_to_landmarks(faces, points, eyes) / np.maximum(self.eye_px, 1e-6)
        self.missing = np.zeros(len(points), bool)
        self._reasons = [self._why_not(i) for i in range(len(points))]
        for i, reason in enumerate(self._reasons):
            if reason:
                self.missing[i] = True
                self._note(i, "", reason)

    def _why_not(self, i: int) -> str:
        """Return why nothing can be measured of a face, or nothing."""
        if not np.isfinite(self.points[i]).all() or self._presence[i] < PRESENT:
            return f"no face seen here ({self._presence[i]:.0%})"
        if self.eye_px[i] < POSE_PX:
            return f"too small ({self.eye_px[i]:.0f} px between the eyes)"
        if self._inside[i].mean() < LEAST_INSIDE:
            return f"partly outside the image ({self._inside[i].mean():.0%} inside)"
        if self._narrow[i] < NARROW or abs(self.pose[i, 0]) > PROFILE_DEG or abs(self.pose[i, 1]) > PROFILE_DEG:
            return "in profile"
        if self._far[i] > APART:
            return "mesh and detector disagree"
        return ""

    def unseen(self, name: str, columns: int = 1, *, tell: bool = False) -> NDArray[np.bool_]:
        """Return which values (N, columns) of an attribute cannot be seen."""
        hidden = np.repeat(self.missing[:, None], columns, axis=1)
        if name == "pose":
            return hidden
        least = GAZE_PX if name in CLOSE else DETAIL_PX
        for i in map(int, np.flatnonzero(~self.missing)):
            yaw, pitch = self.pose[i, :2]
            reason = ""
            if self.eye_px[i] < least:
                reason = f"too small ({self.eye_px[i]:.0f} px between the eyes)"
            elif abs(yaw) > (FAR_EYE_DEG if name in CLOSE else SIDEWAYS_DEG) or abs(pitch) > TILTED_DEG:
                reason = f"turned away (yaw {yaw:.0f}°, pitch {pitch:.0f}°)"
            elif name == "mouth" and not self._inside[i, LIPS].all():
                reason = "outside the image"
            if reason:
                hidden[i] = True
            elif name == "eyes" and abs(yaw) > FAR_EYE_DEG and columns == 2:
                far = 0 if yaw > 0 else 1  # who turns to their left hides the left eye
                hidden[i, far] = True
                self._tell(tell, i, ATTRIBUTES["eyes"][far], f"turned away (yaw {yaw:.0f}°)")
            if reason:
                self._tell(tell, i, name, reason)
        return hidden

    def _tell(self, tell: bool, i: int, what: str, reason: str) -> None:
        if tell:
            self._note(i, what, reason)

    def checked(self, name: str, columns: Sequence[str], told: Points) -> dict[str, Floats]:
        """Return the columns of an attribute, NaN where a value cannot be seen or is no value of a face."""
        hidden = self.unseen(name, len(columns), tell=True)
        for k, column in enumerate(columns):
            low, high = RANGES.get(column, (-180.0, 180.0))
            wild = ~hidden[:, k] & ~((told[:, k] >= low) & (told[:, k] <= high))
            hidden[:, k] |= wild
            for i in np.flatnonzero(wild):
                self._note(int(i), column, "no value of a face")
        shown = np.where(hidden, np.nan, told).astype(np.float32)
        return {column: shown[:, k] for k, column in enumerate(columns)}

    def mark(self, which: NDArray[np.bool_], why: str) -> None:
        """Note something of some faces."""
        for i in np.flatnonzero(which):
            self._note(int(i), "", why)

    def _note(self, i: int, what: str, reason: str) -> None:
        self._notes[i].setdefault(reason, []).append(what)

    def notes(self) -> list[str]:
        """Return a text per face: each reason with what it is for."""
        return ["; ".join(_text(reason, what) for reason, what in one.items()) for one in self._notes]


def _text(reason: str, what: Sequence[str]) -> str:
    named = ", ".join(filter(None, what))
    return f"{named}: {reason}" if named else reason


def _distance_to_landmarks(faces: Faces, points: Points, eyes: tuple[Points, Points]) -> NDArray[np.float64]:
    """Return how far the detector's landmarks lie from the same points of the mesh, pixels; 0 without landmarks."""
    if faces.landmarks is None:
        return np.zeros(len(points))
    left, right = eyes
    five = np.stack([right, left, points[:, NOSE], points[:, MOUTH[0]], points[:, MOUTH[1]]], axis=1)[..., :2]
    return np.asarray(np.linalg.norm(five - known_places(faces.landmarks), axis=2).mean(axis=1))


def _narrowness(faces: Faces) -> NDArray[np.float64]:
    """Return the distance between the detector's eyes over that from eyes to mouth; infinite without landmarks."""
    if faces.landmarks is None:
        return np.full(len(faces), np.inf)
    points = known_places(faces.landmarks)
    height = np.linalg.norm(points[:, 3:].mean(axis=1) - points[:, :2].mean(axis=1), axis=1)
    return np.asarray(np.linalg.norm(points[:, 1] - points[:, 0], axis=1) / np.maximum(height, 1e-6))
