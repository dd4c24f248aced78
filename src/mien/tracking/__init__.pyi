from .smooth import SmoothSettings as SmoothSettings
from .tracker import Follower as Follower
from .tracker import FollowSettings as FollowSettings
from .tracker import follow_film as follow_film
