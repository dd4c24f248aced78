"""One private instance per thread of an object that several threads must not share."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerThread(Generic[T]):
    """Makes an object when a thread first asks for it, and keeps it for that thread."""

    def __init__(self, make: Callable[[], T]) -> None:
        """Remember how to make the object.

        Args:
            make: Called without arguments, once per thread; a picklable one makes this holder picklable.
        """
        self._make = make
        self._local = threading.local()

    def get(self) -> T:
        """Return the calling thread's instance."""
        if not hasattr(self._local, "instance"):
            self._local.instance = self._make()
        instance: T = self._local.instance
        return instance

    def __reduce__(self) -> tuple[type["PerThread[T]"], tuple[Callable[[], T]]]:
        """Pickle the recipe only; every process makes its own instances."""
        return PerThread, (self._make,)
