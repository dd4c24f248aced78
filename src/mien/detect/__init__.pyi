from .detector import Detector as Detector
from .detector import DetectorSettings as DetectorSettings
from .registry import DETECTORS as DETECTORS
from .registry import create_detector as create_detector
