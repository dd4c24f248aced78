from .age_gender import AgeGender as AgeGender
from .geometry import landmarks68 as landmarks68
from .measure import FaceMeasures as FaceMeasures
from .mesh import MESHES as MESHES
from .mesh import FaceMesh as FaceMesh
from .settings import AttributeSettings as AttributeSettings
