"""What is measured of faces beside their expression, and how."""

from collections.abc import Sequence
from dataclasses import dataclass

from mien.attributes.mesh import AUTO, check_mesh
from mien.errors import InputError
from mien.faces import known_attributes


@dataclass(frozen=True)
class AttributeSettings:
    """What is measured of faces beside their expression, and how.

    Attributes:
        names: What is measured: mesh, pose, eyes, mouth, brows, gaze, blinks, quality, age, gender, those wanted with
            commas between them or, in Python, as a sequence; nothing unless asked.
        mesh: The mesh that measures stand on: auto (mien's own where it is shipped), mien-mesh, or mediapipe.
        min_quality: Faces of a lower `quality` (0-1) are marked in their note; none is dropped.
    """

    names: Sequence[str] = ()
    mesh: str = AUTO
    min_quality: float = 0.0

    def __post_init__(self) -> None:
        """Check names and ranges."""
        object.__setattr__(self, "names", known_attributes(self.names))
        check_mesh(self.mesh)
        if not 0 <= self.min_quality <= 1:
            raise InputError(f"min_quality must be 0 to 1, got {self.min_quality}")
        if self.min_quality and "quality" not in self.names:
            raise InputError("min_quality needs the attribute quality; add it: pose,quality")


GivenAttributes = Sequence[str] | AttributeSettings
"""Names of `mien.faces.ATTRIBUTES`, or settings."""


def as_attributes(given: GivenAttributes) -> AttributeSettings:
    """Return settings as they are, or those with these names.

    Args:
        given: Names or settings.

    Raises:
        InputError: A name is unknown; the message lists the known ones.
    """
    return given if isinstance(given, AttributeSettings) else AttributeSettings(given)
