"""Annotated videos as a writer of results."""

from pathlib import Path

from mien.errors import InputError, OutputError
from mien.faces import Faces, Frame
from mien.files import check_not_source
from mien.output.base import DrawingSink, SinkSettings
from mien.output.video_writer import VideoWriter, time_base_of


class VideoSink(DrawingSink):
    """An annotated video: the images with faces drawn on them, at their own times, and the sound of the source.

    After Ctrl-C the video holds what was done by then.
    """

    def __init__(self, path: Path, settings: SinkSettings) -> None:
        """Start the file.

        Args:
            path: Ends in one of `mien.output.kinds.VIDEO.extensions`.
            settings: Its `draw` draws the faces, its `video` is the source.

        Raises:
            InputError: One of those is missing, or the video would replace its source.
            OutputError: Nothing can be written there.
            MissingExtraError: PyAV is not installed.
        """
        super().__init__(settings)
        video = settings.video
        if video is None:
            raise InputError(f"{path} is a video, but what is analyzed is not; give a folder for annotated images")
        source = Path(str(video.source)).expanduser()
        check_not_source(path, source)
        known = source.is_file()  # a camera or a stream is none
        sound = source if known and video.has_audio else None
        self._writer = VideoWriter(path, sound=sound, time_base=time_base_of(source, video.stream) if known else None)

    @property
    def problems(self) -> list[str]:
        """What could not be kept without harm to the image."""
        return self._writer.problems

    def _write(self, frame: Frame, faces: Faces) -> None:
        drawn = self._draw(frame.image, faces.at(frame))
        try:
            self._writer.add(drawn, frame.time_s, start_s=frame.time_s if frame.index else 0.0)
        except OutputError:
            self.discard()
            raise

    def _commit(self) -> None:
        self._writer.close()

    def _drop(self) -> None:
        self._writer.discard()
