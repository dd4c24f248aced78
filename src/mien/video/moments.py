"""A contact sheet of the strongest moments of a video, collected while it runs, in memory that stays flat."""

import textwrap
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.faces import Face, Faces, Frame
from mien.files import write_whole
from mien.labels import EMOJI, LabelSet, canonical_name
from mien.output.draw.colours import DARK, WHITE
from mien.output.draw.faces import draw_faces
from mien.output.draw.letters import text_width
from mien.output.draw.paint import paint_emoji, paint_text
from mien.output.draw.style import DrawStyle
from mien.output.encode import annotated_bytes
from mien.output.kinds import MOMENTS
from mien.video.summary_text import time_text

CELL_PX, GAP_PX, CAPTION_PX, HEAD_PX, MARGIN_PX, NAME_PX = 128, 10, 24, 40, 18, 46
NAME_LETTERS = 7  # of a line of a name
CROP_MARGIN = 0.18
CLEARLY = 0.01  # how much stronger a moment must be to take another's place
INK, MUTED, EMPTY = DARK, (102, 112, 122), (243, 244, 246)
ONLY_BLUR = DrawStyle(box=False, tag=False, blur=True)


@dataclass(frozen=True)
class Moment:
    """The strongest moment of an expression.

    Attributes:
        probability: Its probability then, 0-1.
        time_s: Its time in the video, seconds.
        crop: (CELL_PX, CELL_PX, 3) uint8 RGB, the face then.
    """

    probability: float
    time_s: float
    crop: NDArray[np.uint8]


class _PersonMoments:
    """The strongest moments of one track."""

    def __init__(self) -> None:
        self.frames = 0
        self.last_s = 0.0
        self.moments: dict[int, Moment] = {}


class ContactSheet:
    """The strongest moment of each person and expression, collected while a video runs.

    Holds at most twice `most_people` people: who was seen least, and not lately, is forgotten.
    """

    def __init__(self, labels: LabelSet, *, blur: bool = False, most_people: int = 12) -> None:
        """Start empty.

        Args:
            labels: The label set of the results.
            blur: Make faces unrecognisable.
            most_people: How many people the sheet shows, those seen in most frames.

        Raises:
            InputError: `most_people` is less than 1.
        """
        if most_people < 1:
            raise InputError(f"most_people must be at least 1, got {most_people}")
        self.labels, self._blur, self._most = labels, blur, most_people
        self._people: dict[int, _PersonMoments] = {}
        self._names: dict[int, str] = {}
        self._first_tracks: dict[str, int] = {}  # where it is known who people are, their tracks are one

    def add(self, frame: Frame, faces: Faces) -> None:
        """Add a frame of the video.

        Args:
            frame: The frame.
            faces: Its faces; those without a track count as one person.

        Raises:
            InputError: The faces carry another label set.
        """
        if faces.labels is not None and faces.labels.names != self.labels.names:
            raise InputError(
                f"the faces carry the label set {faces.labels.key!r}, the sheet is for {self.labels.key!r}"
            )
        for face in faces:
            if face.probs is not None:
                self._see(frame, faces, face)
        if len(self._people) > 2 * self._most:
            self._forget(frame.time_s)

    def _see(self, frame: Frame, faces: Faces, face: Face) -> None:
        number = face.track_id or 0
        if face.person is not None:
            number = self._first_tracks.setdefault(face.person, number)
            self._names[number] = face.person
        person = self._people.setdefault(number, _PersonMoments())
        person.frames += 1
        person.last_s = frame.time_s
        probs = face.probs if face.smoothed is None else face.smoothed
        shown = int(probs.argmax()) if face.steady is None else face.steady  # type: ignore[union-attr]
        probability = float(probs[shown])  # type: ignore[index]
        before = person.moments.get(shown)
        if before is None or probability > before.probability + CLEARLY:
            crop = self._crop(frame.image, faces, face)
            if crop is not None:
                person.moments[shown] = Moment(probability, frame.time_s, crop)

    def _crop(self, image: NDArray[np.uint8], faces: Faces, face: Face) -> NDArray[np.uint8] | None:
        """Return the face with a margin, square, (CELL_PX, CELL_PX, 3); None where it is outside the image."""
        x1, y1, x2, y2 = (float(v) for v in face.xyxy)
        half = (0.5 + CROP_MARGIN) * max(x2 - x1, y2 - y1, 2.0)
        left, top, side = round((x1 + x2) / 2 - half), round((y1 + y2) / 2 - half), max(2, round(2 * half))
        area = image[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)]
        if not area.size:
            return None
        if self._blur:
            shift = np.array([max(0, left), max(0, top)] * 2, np.float32)
            area = draw_faces(np.ascontiguousarray(area), replace(faces, xyxy=faces.xyxy - shift), style=ONLY_BLUR)
        square = np.full((side, side, 3), EMPTY, np.uint8)
        square[max(0, -top) :, max(0, -left) :][: area.shape[0], : area.shape[1]] = area
        how = cv2.INTER_AREA if side >= CELL_PX else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(square, (CELL_PX, CELL_PX), interpolation=how), np.uint8)

    def _forget(self, now_s: float) -> None:
        gone = [track for track, person in self._people.items() if person.last_s < now_s - 2]
        fewest = sorted(gone or self._people, key=lambda track: self._people[track].frames)
        for track in fewest[: len(self._people) - 2 * self._most]:
            del self._people[track]

    def moments(self) -> dict[int, dict[str, Moment]]:
        """Return the strongest moments by person and expression, the people seen most in the order of their number."""
        most = sorted(self._people, key=lambda track: -self._people[track].frames)[: self._most]
        names = self.labels.names
        return {
            track: {names[number]: moment for number, moment in sorted(self._people[track].moments.items())}
            for track in sorted(most)
        }

    def image(self) -> NDArray[np.uint8]:
        """Return the sheet: a row per person, a column per expression that somebody showed.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        moments = {track: found for track, found in self.moments().items() if found}
        names = [name for name in self.labels.names if any(name in found for found in moments.values())]
        width = 2 * MARGIN_PX + NAME_PX + max(2, len(names)) * (CELL_PX + GAP_PX) - GAP_PX
        height = 2 * MARGIN_PX + HEAD_PX + max(1, len(moments)) * (CELL_PX + CAPTION_PX + GAP_PX) - GAP_PX
        canvas = np.full((height, width, 3), WHITE, np.uint8)
        if not moments:
            paint_text(canvas, "no face was seen", MARGIN_PX, height / 2, 16, MUTED)
        for column, name in enumerate(names):
            _paint_head(canvas, name, MARGIN_PX + NAME_PX + column * (CELL_PX + GAP_PX))
        for row, (track, found) in enumerate(moments.items()):
            top = MARGIN_PX + HEAD_PX + row * (CELL_PX + CAPTION_PX + GAP_PX)
            name = self._names.get(track, f"#{track}" if track else "")
            for step, line in enumerate(textwrap.wrap(name, NAME_LETTERS)[:3]):
                paint_text(canvas, line, MARGIN_PX, top + CELL_PX / 2 + 17 * step, 12 if name[0] != "#" else 17, INK)
            for column, name in enumerate(names):
                _paint_cell(canvas, found.get(name), MARGIN_PX + NAME_PX + column * (CELL_PX + GAP_PX), top)
        return canvas

    def write(self, path: str | Path) -> Path:
        """Write the sheet; the file appears whole or not at all.

        Args:
            path: Ends in `.png`, `.jpg`, `.jpeg` or `.webp`.

        Returns:
            The path.

        Raises:
            InputError: Another extension.
            OutputError: It cannot be written.
        """
        kind = MOMENTS.check(path)
        return write_whole(path, annotated_bytes(self.image(), kind))


def _paint_head(canvas: NDArray[np.uint8], name: str, x: int) -> None:
    middle = MARGIN_PX + HEAD_PX // 2 - 4
    if canonical_name(name) in EMOJI:
        paint_emoji(canvas, canonical_name(name), x, middle - 11, 22)
        x += 30
    paint_text(canvas, name, x, middle, 16, INK)


def _paint_cell(canvas: NDArray[np.uint8], moment: Moment | None, x: int, y: int) -> None:
    area = canvas[y : y + CELL_PX, x : x + CELL_PX]
    if moment is None:
        area[:] = EMPTY
        return
    area[:] = moment.crop
    middle = y + CELL_PX + CAPTION_PX / 2
    percent = f"{moment.probability:.0%}"
    paint_text(canvas, time_text(moment.time_s), x, middle, 13, INK)
    paint_text(canvas, percent, x + CELL_PX - text_width(percent, 13), middle, 13, MUTED)
