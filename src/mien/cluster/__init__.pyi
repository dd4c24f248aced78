from .batches import AnalyzeBatch as AnalyzeBatch
from .result import ClusterProgress as ClusterProgress
from .result import ClusterResult as ClusterResult
from .run import analyze as analyze
from .settings import ClusterSettings as ClusterSettings
