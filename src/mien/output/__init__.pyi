from .base import Sink as Sink
from .base import SinkSettings as SinkSettings
from .draw.faces import draw_faces as draw_faces
from .draw.style import DrawStyle as DrawStyle
from .progress import ProgressBar as ProgressBar
from .rows import rows_of as rows_of
from .sinks import open_sink as open_sink
from .tables import JsonLinesStream as JsonLinesStream
