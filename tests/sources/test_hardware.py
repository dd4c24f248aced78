"""Decoding by a graphics card: which is asked, and that what none takes is decoded by the processor."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.codec import hwaccel

from mien.errors import InputError
from mien.sources import _hardware, _opening
from mien.sources._convert import FrameConverter
from mien.sources._upright import orientation_of
from mien.sources.videos import Video, VideoSettings
from videos import numbered, read_number, write_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_video(path, numbered(6))
    return path


def numbers(clip: Path, settings: VideoSettings) -> tuple[list[int], list[str]]:
    with Video(clip, settings) as video:
        return [read_number(frame.image) for frame in video], video.problems


def test_a_machine_without_a_card_decodes_by_itself(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = _hardware.open_on_hardware
    monkeypatch.setattr(_opening, "open_on_hardware", lambda open_, wanted: asked.append(wanted) or real(open_, wanted))
    assert numbers(clip, VideoSettings(hwaccel="auto")) == (list(range(6)), [])
    assert asked and set(asked) == {"auto"}
    asked.clear()
    assert numbers(clip, VideoSettings())[0] == list(range(6)) and not asked


def test_a_card_that_fails_is_passed_over_and_a_named_one_is_told_of(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hwaccel, "hwdevices_available", lambda: ["vaapi", "cuda"])
    assert _hardware.hardware_of("auto") == ["cuda", "vaapi"]
    tried = []

    def broken(kind: str, **options: object) -> None:
        tried.append((kind, options))
        raise av.error.PermissionError(1, "no device")

    monkeypatch.setattr(hwaccel, "HWAccel", broken)
    assert numbers(clip, VideoSettings(hwaccel="auto")) == (list(range(6)), [])
    assert tried[:2] == [("cuda", {"allow_software_fallback": True}), ("vaapi", {"allow_software_fallback": True})]
    found, (problem,) = numbers(clip, VideoSettings(hwaccel="vaapi"))
    assert found == list(range(6))
    assert "decoded by the processor: hwaccel vaapi is not ready" in problem


def test_hardware_that_ffmpeg_does_not_know_is_refused(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hwaccel, "hwdevices_available", lambda: ["cuda", "qsv"])
    with pytest.raises(InputError, match=r"hwaccel must be auto or what this FFmpeg has \(cuda, qsv\), got 'gpu'"):
        Video(clip, VideoSettings(hwaccel="gpu"))


def test_a_frame_of_a_card_gives_what_the_processor_gives(tmp_path: Path) -> None:
    path = tmp_path / "turned.mp4"
    write_video(path, numbered(2), rotation=90)
    with av.open(str(path)) as video:
        frame = next(video.decode(video=0))
    converter = FrameConverter()
    back = converter.as_decoded(frame.reformat(format="nv12"))
    assert (back.format.name, back.pts, orientation_of(back)) == ("yuv420p", frame.pts, orientation_of(frame))
    np.testing.assert_array_equal(converter.rgb(back, 1.0), converter.rgb(frame, 1.0))
    assert converter.as_decoded(frame) is frame
