"""`mien detectors`."""

from rich.table import Table
from rich.text import Text

from mien.analyzer import DEFAULT_DETECTOR
from mien.cli.console import out, print_entry
from mien.detect.detector import DetectorSettings
from mien.detect.registry import DETECTORS, create_detector
from mien.errors import InputError, MissingExtraError, MissingWeightsError

WIDE = 80  # characters
ABOUT = {
    "mtcnn": "three-stage cascade with five landmarks; fast and accurate",
    "haar": "OpenCV's frontalface_default at 1.3 / 5, as in the tutorials",
    "haar-alt2": "OpenCV's frontalface_alt2 at 1.1 / 5; finds more, slower",
    "dlib-hog": "dlib's frontal detector; close frontal faces",
    "dlib-mmod": "dlib's network; slow without a GPU",
    "yunet": "OpenCV's YuNet with five landmarks; you give the model file",
    "ssd": "OpenCV's res10 SSD; you give the model files",
    "blazeface-short": "MediaPipe's, for near faces, as in selfies and webcams; five landmarks",
    "blazeface-full": "MediaPipe's, for faces farther away; five landmarks",
    "none": "for images that are face crops already",
}


def detectors() -> None:
    """List the face detectors and what each one needs."""
    table = Table("detector", "ready", "about")
    for name in DETECTORS:
        title = Text(name, "bold").append(" (default)" if name == DEFAULT_DETECTOR else "", "not bold")
        ready, about = _readiness(name), ABOUT.get(name, "")
        if out.width < WIDE:
            print_entry(title, ["ready" if ready == "yes" else ready], about)
        else:
            table.add_row(title, ready, about)
    if table.row_count:
        out.print(table)


def _readiness(name: str) -> str:
    try:
        create_detector(name, DetectorSettings())
    except MissingExtraError:
        return "needs pip install 'mien[dlib]'"
    except MissingWeightsError:
        return f"needs mien models pull {name}"
    except InputError:
        return "needs --detector-model"
    return "yes"
