"""Writers of results, chosen by the extension of a path."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mien.labels import LabelSet
from mien.output.base import Draw, Sink, SinkSettings
from mien.output.images import FolderSink, ImageSink
from mien.output.kinds import FOLDER, IMAGE, VIDEO, kind_of
from mien.output.tables import TABLES
from mien.output.video import VideoSink

if TYPE_CHECKING:
    from mien.sources.videos import VideoInfo


def open_sink(
    path: str | Path,
    *,
    labels: LabelSet,
    draw: Draw | None = None,
    keep_empty: bool = True,
    tracked: bool = False,
    video: "VideoInfo | None" = None,
    root: Path | None = None,
    attributes: Sequence[str] = (),
) -> Sink:
    """Open the writer that fits a path: a known extension, or else a folder for annotated images.

    A path is taken for a folder when it ends with a slash, has no extension, or is one and has no extension of a file
    that mien writes. Missing folders are made.

    Args:
        path: Where the result goes.
        labels: The label set of the results.
        draw: Draws faces on a copy of an image, `mien.draw_faces` say; needed for images and videos only.
        keep_empty: Whether a frame without a face gets a row in tables.
        tracked: Whether tables have the columns of videos: steady expression and smoothed probabilities.
        video: The video that is analyzed; needed for annotated videos, which take times and sound from it.
        root: Sources below this folder keep their folders in a folder of images; None puts all images side by side.
        attributes: Names of `mien.faces.ATTRIBUTES` that have columns in tables.

    Returns:
        An open writer, for use in a `with` statement.

    Raises:
        InputError: Unknown extension (the message lists the known ones), an image is asked for without `draw`, or a
            video without `video`.
        OutputError: Nothing can be written there.
        MissingExtraError: The format needs an extra.
    """
    settings = SinkSettings(labels, draw, keep_empty, tracked, video, root, tuple(attributes))
    target = Path(path)
    if kind_of(path) is FOLDER:
        return FolderSink(target, settings)
    return SINKS[target.suffix.lower()](target, settings)


SINKS: dict[str, Callable[[Path, SinkSettings], Sink]] = {
    **TABLES,
    **dict.fromkeys(IMAGE.extensions, ImageSink),
    **dict.fromkeys(VIDEO.extensions, VideoSink),
}
