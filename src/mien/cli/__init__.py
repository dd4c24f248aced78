"""The command line. The only place that prints."""


def main() -> None:
    """Run the command line."""
