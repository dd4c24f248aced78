from .faces import DrawStyle as DrawStyle
from .faces import draw_faces as draw_faces
