from .faces import DrawStyle as DrawStyle
from .faces import blur_faces as blur_faces
from .faces import draw_faces as draw_faces
