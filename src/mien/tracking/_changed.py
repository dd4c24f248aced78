"""Changed copies of frozen values, some of which are made for every face of every frame."""

from typing import Any, TypeVar

T = TypeVar("T")


def changed(value: T, **changes: Any) -> T:
    """Do what `dataclasses.replace` does, in a fourth of the time, for a class that checks nothing when it is made.

    Args:
        value: Of a dataclass without slots, cached properties and `__post_init__`.
        **changes: Fields and their new values.
    """
    other = object.__new__(type(value))
    other.__dict__.update(value.__dict__, **changes)
    return other
