"""`mien models`: what ships, and what each model says about itself."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from mien.cli.console import megabytes, out, print_json
from mien.cli.options import JsonOption
from mien.models.card import ModelCard
from mien.models.catalogue import CATALOGUE, DEFAULT_MODEL, load_model, model_path

app = typer.Typer(help="List the models and show their cards.", no_args_is_help=True)


@app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """List the models that ship with mien."""
    rows = [(entry, load_model(entry.name)) for entry in CATALOGUE.values()]
    if as_json:
        cards = [
            {"sha256": model.sha256, "default": e.name == DEFAULT_MODEL, **model.card.to_json()} for e, model in rows
        ]
        print_json(cards)
        return
    table = Table("model", "size", "accuracy on FER2013 PublicTest", "for")
    for entry, model in rows:
        measured = "\n".join(_headline(model.card, head) for head in model.card.heads)
        size = megabytes(entry.path.stat().st_size)
        name = Text(entry.name, "bold").append(" (default)" if entry.name == DEFAULT_MODEL else "", "not bold")
        table.add_row(name, size, measured, entry.summary)
    out.print(table)


def _headline(card: ModelCard, head: str) -> str:
    """Return the accuracy of a head on the largest set of images it was measured on."""
    known = [m for m in card.measured if m.head == head]
    if not known:
        return f"{head}: not measured"
    best = max(known, key=lambda m: m.n)
    return f"{head} {best.accuracy:.1%} (N {best.n:,})"


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="A name from `mien models list`, or an .onnx file.")],
    as_json: JsonOption = False,
) -> None:
    """Show the card of one model: labels, framing, data, licence, accuracy with N, hash."""
    path = model_path(model)
    opened = load_model(model)
    card = opened.card
    if as_json:
        print_json({"sha256": opened.sha256, **card.to_json()})
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("model", f"{card.name} {card.version}")
    table.add_row("file", f"{path} ({megabytes(path.stat().st_size)})")
    table.add_row("sha256", opened.sha256)
    for head, names in card.heads.items():
        table.add_row(f"labels {head}", f"{', '.join(names)} ({card.calibration_text(head)})")
    for head in card.priors:
        table.add_row(f"shares assumed by {head}", card.shares_text(head))
    for m in card.measured:
        table.add_row("accuracy", f"{m.head}: {m.accuracy:.2%} on {m.split}, N {m.n:,}")
    table.add_row("data", card.data or "not stated")
    table.add_row("trained", card.trained or "not stated")
    table.add_row("licence", card.licence or "not stated")
    out.print(table)
