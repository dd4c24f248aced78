from .baseline import Baselines as Baselines
from .settings import TrackSettings as TrackSettings
from .tracker import Tracker as Tracker
from .tracker import track_video as track_video
