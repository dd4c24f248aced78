"""What the rivals' seven emotions are made from: the model's answer of all its expressions."""

from mien.faces import Faces
from mien.labels import FER7, convert_probs


def seven_of(faces: Faces) -> Faces:
    """Return the faces with FER2013's seven expressions alone, which share what the answer gives to contempt.

    Args:
        faces: With the probabilities of any label set, or without.
    """
    if faces.probs is None or faces.labels is None:
        return faces
    return faces.with_probs(convert_probs(faces.probs, faces.labels, FER7), FER7)
