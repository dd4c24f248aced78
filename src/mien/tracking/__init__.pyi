from .smooth import SmoothSettings as SmoothSettings
from .tracker import Tracker as Tracker
from .tracker import TrackSettings as TrackSettings
from .tracker import track_video as track_video
