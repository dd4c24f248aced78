from ._shots import VideoInfo as VideoInfo
from .images import (
    IMAGE_SUFFIXES as IMAGE_SUFFIXES,
)
from .images import (
    IMAGES as IMAGES,
)
from .images import (
    Failed as Failed,
)
from .images import (
    Item as Item,
)
from .images import (
    Kind as Kind,
)
from .images import (
    Source as Source,
)
from .images import (
    SourceSettings as SourceSettings,
)
from .images import (
    expand as expand,
)
from .images import (
    load as load,
)
from .images import (
    read_frames as read_frames,
)
from .images import (
    read_image as read_image,
)
from .images import (
    read_items as read_items,
)
from .live import LiveFrame as LiveFrame
from .live import LiveSettings as LiveSettings
from .live import LiveSource as LiveSource
from .videos import (
    VIDEO_SUFFIXES as VIDEO_SUFFIXES,
)
from .videos import (
    Video as Video,
)
from .videos import (
    VideoSettings as VideoSettings,
)
from .videos import (
    is_video as is_video,
)
