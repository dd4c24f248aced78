"""Less chatter from the libraries below."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def quiet(names: Sequence[str | None], level: int) -> Iterator[None]:
    """Let loggers pass on nothing below a level within the block, after which warning filters are as before, too.

    Args:
        names: The loggers; None is the root.
        level: Of `logging`.
    """
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for logger in loggers:
            logger.setLevel(level)
        try:
            yield
        finally:
            for logger, before in zip(loggers, levels, strict=True):
                logger.setLevel(before)
