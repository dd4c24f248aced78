"""`Video` as fer 25.10.3 has it: a video through `FER`, to a list, a CSV file, a data frame and an annotated copy."""

import csv
import logging
import re
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from mien.compat.fer import FER
from mien.errors import InputError, SourceError, check_known, listed, require_extra
from mien.faces import Faces, Frame
from mien.files import PartFile, explained, write_whole
from mien.labels import FER7
from mien.output.draw.faces import draw_faces
from mien.output.draw.style import DrawStyle
from mien.output.encode import encode_image
from mien.output.kinds import VIDEO
from mien.output.video_writer import VideoWriter
from mien.sources.videos import Video as VideoSource
from mien.sources.videos import VideoSettings

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
Data = list[list[Row]] | list[Row]
Sink = Callable[[NDArray[np.uint8], Frame], None]

FORMATS = ("csv", "pandas")
NUMBERED = re.compile(r"^(\D+)(\d+)$")
SIDES = ("x_min", "y_min", "x_max", "y_max")
QUALITY = 95  # of the JPEG files, as fer writes them

logger = logging.getLogger(__name__)


class VideoNotFound(SourceError, AssertionError):
    """There is no such video; an `AssertionError`, too, which is what fer raises."""


class FerVideo:
    """A video, analyzed frame by frame, in the shapes of `fer.classes.Video`; `mien.compat.Video` is its public name.

    `mien.analyze_video` does more: who is who, steady expressions, resuming, several cores.

    Attributes:
        filepath: The video.
        filename: Its name without folders.
        outdir: Where images and the annotated video go.
        first_face_only: Whether `to_pandas` keeps the first face of each frame only.
    """

    def __init__(
        self, video_file: str, outdir: str = "output", first_face_only: bool = True, tempfile: str | None = None
    ) -> None:
        """Note what is to be analyzed and make the folder.

        Args:
            video_file: Path of the video.
            outdir: Folder for images and the annotated video.
            first_face_only: Whether `to_pandas` keeps the first face of each frame only.
            tempfile: Without effect: the annotated video takes its name when it is complete.

        Raises:
            VideoNotFound: There is no such file.
        """
        path = Path(video_file)
        if not path.exists():
            raise VideoNotFound(f"Video file not found at {path.absolute()}; check the name")
        with explained(Path(outdir)):
            Path(outdir).mkdir(parents=True, exist_ok=True)
        self.filepath, self.filename, self.outdir = str(video_file), path.name, outdir
        self.first_face_only, self.tempfile = first_face_only, tempfile

    def analyze(
        self,
        detector: FER,
        display: bool = False,
        output: str = "csv",
        frequency: int | None = None,
        max_results: int | None = None,
        save_fps: int | None = None,
        video_id: str | None = None,
        save_frames: bool = True,
        save_video: bool = True,
        annotate_frames: bool = True,
        zip_images: bool = True,
        detection_box: dict[str, int] | None = None,
        lang: str = "en",
        include_audio: bool = False,
        size_multiplier: int = 1,
        batch_size: int = 1,
        use_async_io: bool = True,
    ) -> "list[Row] | pd.DataFrame":
        """Return what the faces of the video show, one entry for each frame that has a face.

        Args:
            detector: `mien.compat.FER`.
            display: Opens no window: `mien live` does, for cameras and videos.
            output: `"csv"` writes `data.csv` into the current folder and returns a list of dictionaries (`box0`,
                `angry0`, … `box1`, …); `"pandas"` returns a data frame.
            frequency: Take every n-th frame; None takes all.
            max_results: Stop after so many frames; None for no limit.
            save_fps: Take about so many frames a second, in place of `frequency`.
            video_id: What the names of saved images start with; None takes the video's name.
            save_frames: Write each frame as `outdir/<video>N.jpg`.
            save_video: Write `outdir/<video>_output.mp4` (or the video's own extension where that can be written).
            annotate_frames: Draw boxes and expressions on what is saved.
            zip_images: Put the saved images into `outdir/images.zip` instead.
            detection_box: The part to search: `x_min`, `y_min`, `x_max`, `y_max`, pixels.
            lang: Names are drawn in English, `"en"`.
            include_audio: Write `outdir/<video>_output_audio.mp4` with the sound of the video as well.
            size_multiplier: Factor on the size of what is drawn.
            batch_size: Frames whose faces go through the model together.
            use_async_io: Without effect.

        Raises:
            InputError: Another `output` or detector, or an impossible `detection_box`.
            SourceError: The file is no video, or breaks off.
            OutputError: Something cannot be written.
            MissingExtraError: The extra `video` (or `data`, for pandas) is not installed.
        """
        check_known("output", output, FORMATS)
        if not isinstance(detector, FER):
            raise InputError(f"detector must be a mien.compat.FER, got {type(detector).__name__}")
        if display:
            logger.warning("display=True opens no window; to watch, run: mien live %s", self.filepath)
        if lang != "en":
            logger.warning("lang=%r: names are drawn in English", lang)
        style = DrawStyle(scale=float(size_multiplier))
        settings = VideoSettings(
            every=max(1, int(frequency or 1)) if not save_fps else 1,
            fps=float(save_fps) if save_fps else None,
            max_frames=max_results or None,
        )
        found: list[list[Row]] = []
        with VideoSource(self.filepath, settings) as source, ExitStack() as files:
            sinks = self._sinks(files, video_id, save_frames, zip_images, save_video, include_audio)
            for frame, faces in _analyzed(source, detector, detection_box, batch_size):
                shown = draw_faces(frame.image, faces, style=style) if annotate_frames and sinks else frame.image
                for sink in sinks:
                    sink(shown, frame)
                if len(faces):
                    found.append(detector.results(faces))
        return self.to_format(found, output)

    def _sinks(
        self, files: ExitStack, video_id: str | None, stills: bool, zipped: bool, video: bool, sound: bool
    ) -> list[Sink]:
        """Open what was asked for; `files` closes it."""
        path, folder = Path(self.filepath), Path(self.outdir)
        ending = path.suffix if path.suffix.lower() in VIDEO.extensions else ".mp4"
        sinks: list[Sink] = []
        if stills:
            sinks.append(_stills(files, folder, video_id or path.stem, zipped))
        if video:
            sinks.append(_video(files, VideoWriter(folder / f"{path.stem}_output{ending}")))
        if sound:
            sinks.append(_video(files, VideoWriter(folder / f"{path.stem}_output_audio{ending}", sound=path)))
        return sinks

    def to_format(self, data: Data, format: str) -> "list[Row] | pd.DataFrame":
        """Return results as `"csv"` (written, and as dictionaries) or `"pandas"`.

        Args:
            data: What the faces of each frame show.
            format: One of the two.

        Raises:
            InputError: Another format.
        """
        check_known("format", format, FORMATS)
        return self.to_csv(data) if format == "csv" else self.to_pandas(data)

    def to_csv(self, data: Data, filename: str = "data.csv") -> list[Row]:
        """Write results as CSV, one row a frame, and return the rows.

        Args:
            data: From `analyze`, or `FER.batch_detect_emotions`.
            filename: Where to.

        Raises:
            OutputError: It cannot be written there.
        """
        rows = _flat(data)
        columns = sorted({column for row in rows for column in row} or _flat_names(0), key=_by_name_and_number)
        text = StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_whole(filename, text.getvalue())
        return rows

    def to_pandas(self, data: "Data | pd.DataFrame") -> "pd.DataFrame":
        """Return results as a data frame, one row for each frame that has a face.

        Args:
            data: From `analyze`, or `FER.batch_detect_emotions`.

        Returns:
            `box`, `angry` … `neutral` of the first face; with `first_face_only=False`, `box0`, `angry0` … `box1` …

        Raises:
            MissingExtraError: pandas is not installed.
        """
        pandas = require_extra("data", "pandas")
        if not isinstance(data, list):
            return data
        table: pd.DataFrame = pandas.DataFrame(_flat(data))
        return self.get_first_face(table) if self.first_face_only else table

    @staticmethod
    def get_first_face(df: "pd.DataFrame") -> "pd.DataFrame":
        """Return the columns of the first face, without their number.

        Args:
            df: From `to_pandas`.
        """
        names = {str(column): match for column in df.columns if (match := NUMBERED.match(str(column)))}
        first = {column: match[1] for column, match in names.items() if match[2] == "0"}
        return df[list(first)].rename(columns=first) if names else df

    @staticmethod
    def get_emotions(df: "pd.DataFrame") -> "pd.DataFrame":
        """Return the columns of probabilities.

        Args:
            df: From `to_pandas`.
        """
        return df[[column for column in df.columns if "box" not in column]]

    @staticmethod
    def get_max_faces(data: list[list[Row]]) -> int:
        """Return the most faces in one frame.

        Args:
            data: From `FER.batch_detect_emotions`.
        """
        return max((len(frame) for frame in data), default=0)


Video = FerVideo


def _analyzed(
    source: VideoSource, detector: FER, part: dict[str, int] | None, batch_size: int
) -> Iterator[tuple[Frame, Faces]]:
    """Yield whole frames and their faces, those of a part only where one is named."""
    if part is None:
        yield from detector.analyzer.stream(source, batch_size=batch_size)
        return
    x1, y1, x2, y2 = _sides(part, source.info.width, source.info.height)
    whole: deque[Frame] = deque()

    def cut() -> Iterator[Frame]:
        for frame in source:
            whole.append(frame)
            yield replace(frame, image=np.ascontiguousarray(frame.image[y1:y2, x1:x2]))

    for _, faces in detector.analyzer.stream(cut(), batch_size=batch_size):
        yield whole.popleft(), _moved(faces, x1, y1)


def _sides(part: dict[str, int], width: int, height: int) -> tuple[int, int, int, int]:
    if missing := [side for side in SIDES if side not in part]:
        raise InputError(f"detection_box needs {', '.join(SIDES)}; {listed(missing)} is missing")
    x1, y1 = max(0, part["x_min"]), max(0, part["y_min"])
    x2, y2 = min(width, part["x_max"]), min(height, part["y_max"])
    if x1 >= x2 or y1 >= y2:
        raise InputError(f"detection_box must lie in the {width}x{height} frame, got {part!r:.100}")
    return x1, y1, x2, y2


def _moved(faces: Faces, x: int, y: int) -> Faces:
    by = np.array([x, y], np.float32)
    points = None if faces.landmarks is None else faces.landmarks + by
    return replace(faces, xyxy=faces.xyxy + np.tile(by, 2), landmarks=points)


def _video(files: ExitStack, writer: VideoWriter) -> Sink:
    def close(kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        writer.close() if error is None else writer.discard()

    files.push(close)
    return lambda image, frame: writer.add(image, frame.time_s)


def _stills(files: ExitStack, folder: Path, name: str, zipped: bool) -> Sink:
    """Write frames as JPEG, into one ZIP file if wanted."""
    if not zipped:

        def still(image: NDArray[np.uint8], frame: Frame) -> None:
            write_whole(folder / f"{name}{frame.index}.jpg", _jpeg(image))

        return still
    part = PartFile(folder / "images.zip")
    archive = ZipFile(part.start(), "w")

    def close(kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        archive.close()
        part.commit() if error is None else part.discard()

    files.push(close)
    return lambda image, frame: archive.writestr(f"{name}{frame.index}.jpg", _jpeg(image))


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    return encode_image(image, ".jpg", quality=QUALITY)


def _flat(data: Data) -> list[Row]:
    """Return one dictionary per frame, with the number of the face behind each name."""
    return [frame if isinstance(frame, dict) else _flat_frame(frame) for frame in data]


def _flat_frame(faces: list[Row]) -> Row:
    row: Row = {}
    for number, face in enumerate(faces):
        values = (face["box"], *(face["emotions"][name] for name in FER7.names))
        row |= dict(zip(_flat_names(number), values, strict=True))
    return row


def _flat_names(number: int) -> list[str]:
    return [f"{name}{number}" for name in ("box", *FER7.names)]


def _by_name_and_number(column: str) -> tuple[str, int]:
    match = NUMBERED.match(column)
    return (match[1], int(match[2])) if match else (column, 0)
