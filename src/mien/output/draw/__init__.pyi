from .colours import expression_colour as expression_colour
from .faces import draw_faces as draw_faces
from .style import DrawStyle as DrawStyle
