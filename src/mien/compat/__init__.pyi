from ._faces import FaceNotDetected as FaceNotDetected
from .deepface import DeepFace as DeepFace
from .fer import FER as FER
from .fer import InvalidImage as InvalidImage
from .fer_video import Video as Video
from .fer_video import VideoNotFound as VideoNotFound
