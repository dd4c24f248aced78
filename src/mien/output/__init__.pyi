from .sinks import Sink as Sink
from .sinks import SinkSettings as SinkSettings
from .sinks import open_sink as open_sink
