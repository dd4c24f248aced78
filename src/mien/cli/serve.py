"""`mien serve`."""

import logging
from typing import Annotated

import typer

from mien.cli.console import FAILED, errors, out, say, say_error
from mien.cli.options import Shown, with_groups
from mien.errors import require_extra
from mien.server.settings import PANELS, PREFIX, ServerSettings

SWITCHES = ("insecure", "url_allowed", "allow_private")
FLAGS = {name: f"--{name.replace('_', '-')}" for names in PANELS.values() for name in names}
PANEL_OF = {name: panel for panel, names in PANELS.items() for name in names}


@with_groups
def serve(
    settings: Annotated[ServerSettings, Shown(PANEL_OF, env=PREFIX, **FLAGS)],
    processes: Annotated[
        int,
        typer.Option(
            min=1,
            help="Worker processes that share the port.",
            rich_help_panel=PANEL_OF["port"],
            envvar=f"{PREFIX}PROCESSES",
        ),
    ] = 1,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Serve the web page, the API and the jobs for videos; Ctrl-C lets running requests finish.

    The page is at /, the description of the API at /docs, and what a person should know at docs/server.md. Without
    further options only this machine reaches the server. Every option has an environment variable of the same name.

    Telling emotions from faces concerns people: ask them first. The EU AI Act (Article 5(1)(f)) forbids it at
    workplaces and in schools, except for medical or safety reasons.
    """
    require_extra("server", "fastapi")
    require_extra("server", "sqlalchemy")
    from mien.server import run

    say(f"mien serves at {_address(settings.host, settings.port)} (API: /docs)", to=out)
    if settings.insecure and not settings.token:
        errors.print("no token: whoever reaches this address may use it", style="yellow")
    if not run.serve(settings, processes=processes, log_level=logging.INFO if verbose else logging.WARNING):
        say_error("the server could not start; is the port taken? see the messages above")
        raise typer.Exit(FAILED)


def _address(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/"
