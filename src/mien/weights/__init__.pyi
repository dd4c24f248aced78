from .catalogue import WEIGHTS as WEIGHTS
from .catalogue import Weights as Weights
from .catalogue import cache_folder as cache_folder
from .catalogue import damaged as damaged
from .catalogue import path_of as path_of
from .pull import pull as pull
