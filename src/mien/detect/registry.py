"""`DETECTORS` maps a name to a factory; heavy imports happen inside the factory."""

from collections.abc import Callable

from mien.detect.detector import Detector, DetectorSettings
from mien.errors import check_known

Factory = Callable[[DetectorSettings], Detector]


def _mtcnn(settings: DetectorSettings) -> Detector:
    from mien.detect.mtcnn import MtcnnDetector

    return MtcnnDetector(settings)


def _haar(settings: DetectorSettings) -> Detector:
    from mien.detect.haar import FRONTALFACE_DEFAULT, HaarDetector

    return HaarDetector(FRONTALFACE_DEFAULT, settings)


def _haar_alt2(settings: DetectorSettings) -> Detector:
    from mien.detect.haar import FRONTALFACE_ALT2, HaarDetector

    return HaarDetector(FRONTALFACE_ALT2, settings)


def _dlib_hog(settings: DetectorSettings) -> Detector:
    from mien.detect.dlib_ import HogDetector

    return HogDetector(settings)


def _dlib_mmod(settings: DetectorSettings) -> Detector:
    from mien.detect.dlib_ import MmodDetector

    return MmodDetector(settings)


def _yunet(settings: DetectorSettings) -> Detector:
    from mien.detect.yunet import YunetDetector

    return YunetDetector(settings)


def _ssd(settings: DetectorSettings) -> Detector:
    from mien.detect.ssd import SsdDetector

    return SsdDetector(settings)


def _blazeface_short(settings: DetectorSettings) -> Detector:
    from mien.detect.blazeface import SHORT, BlazefaceDetector

    return BlazefaceDetector(SHORT, settings)


def _blazeface_full(settings: DetectorSettings) -> Detector:
    from mien.detect.blazeface import FULL, BlazefaceDetector

    return BlazefaceDetector(FULL, settings)


def _none(settings: DetectorSettings) -> Detector:
    from mien.detect.none import WholeImage

    return WholeImage()


DETECTORS: dict[str, Factory] = {
    "mtcnn": _mtcnn,
    "haar": _haar,
    "haar-alt2": _haar_alt2,
    "dlib-hog": _dlib_hog,
    "dlib-mmod": _dlib_mmod,
    "yunet": _yunet,
    "ssd": _ssd,
    "blazeface-short": _blazeface_short,
    "blazeface-full": _blazeface_full,
    "none": _none,
}


def create_detector(name: str, settings: DetectorSettings | None = None) -> Detector:
    """Return a detector by its name.

    Args:
        name: A key of `DETECTORS`.
        settings: Settings; None takes the defaults.

    Raises:
        InputError: No such detector (the message lists the known ones), or a file it needs was not given.
        MissingExtraError: The detector's extra is not installed.
        MissingWeightsError: Its weights were not pulled; the message has the line to type.
        ModelError: A model file of the detector cannot be used.
    """
    check_known("detector", name, DETECTORS)
    return DETECTORS[name](settings or DetectorSettings())
