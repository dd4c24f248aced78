"""The Typer application, put together from one small file per group of commands."""

import sys

import typer

from mien._version import __version__
from mien.cli import data, detectors, doctor, evaluate, import_keras, models, nets, serve
from mien.cli.analyze import command as analyze
from mien.cli.console import DONE, INTERRUPTED, WRONG_USE, say_error
from mien.cli.live import command as live
from mien.cli.train import command as train
from mien.errors import MienError

app = typer.Typer(
    help="Find faces in images and say which expression each one shows.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("analyze")(analyze.analyze)
app.command("detectors")(detectors.detectors)
app.command("live")(live.live)
models.app.command("nets")(nets.nets)
models.app.command("summary")(nets.summary)
models.app.command("diagram")(nets.diagram)
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")
app.command("train")(train.train)
app.command("tune")(train.tune)
app.command("train-baseline")(nets.baseline)
app.command("export")(train.export)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(evaluate.compare)
app.command("import-keras")(import_keras.import_keras)
app.command("serve")(serve.serve)
app.command("doctor")(doctor.doctor)


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

    Exit codes: 0 done; 1 something in the input failed, the rest is done and written; 2 wrong use.
    """
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
