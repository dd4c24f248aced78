from ._outputs import Drawing as Drawing
from ._outputs import VideoOutputs as VideoOutputs
from ._parallel import Recipe as Recipe
from ._parallel import VideoJob as VideoJob
from ._parallel import analyze_videos as analyze_videos
from ._run import (
    Progress as Progress,
)
from ._run import (
    VideoResult as VideoResult,
)
from ._run import (
    analyze_video as analyze_video,
)
from ._run import (
    replay as replay,
)
from ._work import WorkFolder as WorkFolder
