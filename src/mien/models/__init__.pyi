from .catalogue import CATALOGUE as CATALOGUE
from .catalogue import DEFAULT_MODEL as DEFAULT_MODEL
from .catalogue import load_model as load_model
from .expression import (
    ExpressionModel as ExpressionModel,
)
from .expression import (
    Measured as Measured,
)
from .expression import (
    ModelCard as ModelCard,
)
from .expression import (
    RuntimeSettings as RuntimeSettings,
)
from .expression import (
    available_devices as available_devices,
)
from .foreign import Adapter as Adapter
from .foreign import ForeignModel as ForeignModel
from .foreign import read_adapter as read_adapter
