from ._version import __version__ as __version__
from .analyzer import (
    Analyzer as Analyzer,
)
from .analyzer import (
    ImageResult as ImageResult,
)
from .analyzer import (
    ImageResults as ImageResults,
)
from .analyzer import (
    analyze as analyze,
)
from .analyzer import (
    analyze_image as analyze_image,
)
from .analyzer import (
    analyze_images as analyze_images,
)
from .detect.detector import DetectorSettings as DetectorSettings
from .errors import MienError as MienError
from .faces import Face as Face
from .faces import FaceFilter as FaceFilter
from .faces import Faces as Faces
from .faces import Frame as Frame
from .labels import LabelSet as LabelSet
from .models.expression import ExpressionModel as ExpressionModel
from .models.runtime import RuntimeSettings as RuntimeSettings
from .output.draw.faces import draw_faces as draw_faces
from .output.draw.style import DrawStyle as DrawStyle
from .sources.images import read_image as read_image
from .sources.videos import VideoSettings as VideoSettings
from .tracking.settings import TrackSettings as TrackSettings
from .video.result import VideoResult as VideoResult
from .video.result import VideoTrack as VideoTrack
from .video.run import analyze_video as analyze_video
from .video.stream import track as track
