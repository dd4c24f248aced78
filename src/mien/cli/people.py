"""`mien people`: find somebody in images, and say whether two images show one person."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from mien.analyzer import DEFAULT_DETECTOR
from mien.cli.console import FAILED, errors, out, print_json, say, say_failure, say_problem, say_written
from mien.cli.options import DetectorOption, JsonOption
from mien.detect.registry import create_detector
from mien.faces import ERROR, Record
from mien.labels import FER7
from mien.output.base import SinkSettings
from mien.output.kinds import TABLE
from mien.output.progress import ProgressBar
from mien.output.tables import TABLES
from mien.people.embedding import SAME_DISTANCE, shared_embedder
from mien.people.rates import ErrorRates, rates_at
from mien.people.search import PersonMatch, QueryFace, matches, query_face, ranked
from mien.people.search import verify as verify_images
from mien.sources.images import expand

NARROW = 60  # characters; a terminal that is narrower shows less
COLUMNS = ("source", "distance", "x1", "y1", "x2", "y2", "faces", ERROR)

app = typer.Typer(
    help="Find somebody in images, and say whether two images show one person: `mien models pull identity` first. "
    "Faces compared like this are biometric data: docs/people.md.",
    no_args_is_help=True,
)

ThresholdOption = Annotated[
    float, typer.Option(help="Distance below which two faces are said to be of one person; less is stricter.")
]


@app.command()
def find(
    query: Annotated[str, typer.Argument(help="An image of the person; of several faces the largest is taken.")],
    sources: Annotated[list[str], typer.Argument(help="Images, folders and globs to look in.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Table of all images: .csv, .jsonl or .parquet.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Images that are shown at most; --json and -o give all.")] = 20,
    threshold: ThresholdOption = SAME_DISTANCE,
    detector: DetectorOption = DEFAULT_DETECTOR,
    as_json: JsonOption = False,
) -> None:
    """Look for somebody in images: the nearest face of each image, the nearest image first.

    Exit code 0: all images were read; 1: some could not be (the others are ranked); 2: wrong use, or no face in QUERY.
    """
    if output:
        TABLE.check(output)
    embedder, finder = shared_embedder(), create_detector(detector)
    asked, wanted = query_face(query, detector=finder, embedder=embedder)
    items = expand(sources)
    found: list[PersonMatch] = []
    with ProgressBar("images", total=len(items), shown=errors.is_terminal) as bar:
        for match in matches(wanted, items, threshold=threshold, detector=finder, embedder=embedder):
            found.append(match)
            bar.update(len(found))
    found = ranked(found)
    _say_note(asked)
    failed = [match for match in found if match.error is not None]
    for match in failed:
        say_failure(str(match.error))
    if output:
        with TABLES[output.suffix.lower()](output, SinkSettings(FER7), COLUMNS) as table:
            table.add_rows([_row(match) for match in found])
        say_written(output)
    if as_json:
        print_json([{**_row(match), "same": match.same} for match in found])
    elif not output or out.is_terminal:
        _show(found, top, threshold)
    if failed:
        raise typer.Exit(FAILED)


@app.command()
def verify(
    first: Annotated[str, typer.Argument(metavar="A", help="An image; of several faces the largest is taken.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another image.")],
    threshold: ThresholdOption = SAME_DISTANCE,
    detector: DetectorOption = DEFAULT_DETECTOR,
    as_json: JsonOption = False,
) -> None:
    """Say whether two images show one person, how far apart the faces are, and how often such an answer is wrong."""
    answer = verify_images(first, second, threshold=threshold, detector=detector)
    rates = rates_at(threshold)
    if as_json:
        print_json(
            {
                "same": answer.same,
                "distance": round(answer.distance, 4),
                "threshold": threshold,
                "first": vars(answer.first),
                "second": vars(answer.second),
                "error_rates": None if rates is None else vars(rates),
            }
        )
        return
    for face in (answer.first, answer.second):
        _say_note(face)
    said = ("one person", "bold green") if answer.same else ("two people", "bold yellow")
    relation = "below" if answer.same else "not below"
    out.print(Text.assemble(said, f": distance {answer.distance:.3f}, {relation} the threshold of {threshold:g}"))
    say(_rates_text(rates), to=errors)


def _rates_text(rates: ErrorRates | None) -> str:
    if rates is None:
        return "how often that is wrong was not measured at this threshold: docs/people.md"
    worst = f", but {rates.worst_false_match:.1%} where both are {rates.worst_group}" if rates.worst_false_match else ""
    return (
        f"how often that is wrong, on the 102 people of the London Set at {rates.threshold:g}: of pairs of one person "
        f"{rates.missed:.1%} are called two; of pairs of two people {rates.false_match:.2%} are called one{worst}: "
        "docs/people.md"
    )


def _say_note(face: QueryFace) -> None:
    if face.note:
        say_problem(f"{face.source}: {face.note}")


def _row(match: PersonMatch) -> Record:
    x1, y1, x2, y2 = match.xyxy or (None,) * 4
    return {
        "source": match.source,
        "distance": None if match.distance is None else round(match.distance, 4),
        "x1": x1,
        "y1": y1,
        "x2": x2,
        "y2": y2,
        "faces": match.faces,
        ERROR: None if match.error is None else str(match.error),
    }


def _show(found: Sequence[PersonMatch], top: int, threshold: float) -> None:
    near = [match for match in found if match.distance is not None]
    table = Table("distance", "same", Column("image", overflow="fold"), "face at")
    if out.width < NARROW:  # the names of the images are the answer
        table = Table("distance", Column("image", overflow="fold"))
    for match in near[:top]:
        x1, y1, x2, y2 = (round(v) for v in match.xyxy or (0, 0, 0, 0))
        where = f"({x1}, {y1})-({x2}, {y2})" + (f", one of {match.faces}" if match.faces > 1 else "")
        cells = f"{match.distance:.3f}", "yes" if match.same else "no", Text(match.source), where
        table.add_row(*(cells[::2] if out.width < NARROW else cells))
    out.print(table)
    rest = [f"{len(near) - top:,} more images with faces"] if len(near) > top else []
    without = sum(match.distance is None and match.error is None for match in found)
    rest += [f"{without:,} without a face"] if without else []
    same = sum(match.same for match in near)
    said = f"below the distance of {threshold:g}: {same:,} of {len(found):,} images"
    say("; ".join([said, *rest]), to=errors)
