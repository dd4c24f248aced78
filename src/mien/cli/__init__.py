"""The command line. The only place that prints."""

from mien.cli.app import main

__all__ = ["main"]
