from .deepface import DeepFace as DeepFace
from .deepface import FaceNotDetected as FaceNotDetected
from .fer import FER as FER
from .fer import InvalidImage as InvalidImage
from .fer_video import Video as Video
from .fer_video import VideoNotFound as VideoNotFound
