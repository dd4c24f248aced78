"""Ray, told to keep to itself.

A cluster that Ray starts reports its use to its makers unless a variable says otherwise before it starts. mien never
talks to anybody unasked, so everything here takes Ray from this module. Whoever sets the variable keeps the choice; a
cluster that runs already was told by whoever started it.
"""

import os
from typing import Any

from mien.errors import require_extra

USAGE = "RAY_USAGE_STATS_ENABLED"


def load_ray() -> Any:
    """Return the module `ray`, its report of use switched off.

    Raises:
        MissingExtraError: It is not installed; the message has the line to type.
    """
    os.environ.setdefault(USAGE, "0")
    return require_extra("ray", "ray")
