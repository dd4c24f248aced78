"""The Typer application, put together from one small file per group of commands."""

import glob
import inspect
import os
import sys
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from mien._version import __version__
from mien.cli import data, detectors, doctor, evaluate, import_keras, models, nets, people, report, serve
from mien.cli.analyze import command as analyze
from mien.cli.console import DONE, INTERRUPTED, WRONG_USE, say_error
from mien.cli.live import command as live
from mien.cli.plain import write_anything
from mien.cli.train import command as train
from mien.errors import MienError, shortened
from mien.sources.addresses import URL
from mien.sources.images import STDIN


class _CommandsAndSources(TyperGroup):
    """The commands; where the first word is none but names an image or the like, it is analyzed."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Take `mien photo.jpg` for `mien analyze photo.jpg`."""
        if args and args[0] not in self.commands and _may_be_a_source(args[0]):
            args = ["analyze", *args]
        return super().resolve_command(ctx, args)


def _may_be_a_source(word: str) -> bool:
    return word == STDIN or URL.match(word) is not None or glob.has_magic(word) or _is_like_a_path(word)


def _is_like_a_path(word: str) -> bool:
    return bool(Path(word).suffix) or os.sep in word or "/" in word or os.path.exists(word)


app = typer.Typer(
    help="Find faces in images and videos and say which expression each one shows. `mien photo.jpg` is short for "
    "`mien analyze photo.jpg`.",
    cls=_CommandsAndSources,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("analyze", cls=analyze.WithAddress)(analyze.analyze)
app.command("detectors")(detectors.detectors)
app.command("live")(live.live)
models.app.command("nets")(nets.nets)
models.app.command("summary")(nets.summary)
models.app.command("diagram")(nets.diagram)
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")
app.add_typer(people.app, name="people")
app.command("train")(train.train)
app.command("tune")(train.tune)
app.command("train-baseline")(nets.baseline)
app.command("export")(train.export)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(evaluate.compare)
app.command("report")(report.report)
app.command("import-keras")(import_keras.import_keras)
app.command("serve")(serve.serve)
app.command("doctor")(doctor.doctor)


def _paragraph_per_line(text: str) -> str:
    """Return a docstring without the line breaks that only its source needs; the terminal breaks lines itself."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text).split("\n\n"))


for _group in (app, data.app, models.app, people.app):
    for _command in _group.registered_commands:
        _command.help = _paragraph_per_line((_command.callback and _command.callback.__doc__) or "")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mien {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Show the version."),
) -> None:
    pass


def main() -> None:
    """Run the command line.

    Exit codes: 0 done; 1 something in the input failed, the rest is done and written; 2 wrong use;
    130 stopped with Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        write_anything(stream)
    try:
        app()
    except MienError as error:
        say_error(error)
        sys.exit(WRONG_USE)
    except KeyboardInterrupt:
        say_error("stopped; what was done is written")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader went away: `mien … | head`
        sys.exit(DONE)
    except OSError as error:
        name = shortened(str(error.filename or "the system"))
        say_error(f"{name}: {error.strerror or error}; check the name and its permissions")
        sys.exit(WRONG_USE)
