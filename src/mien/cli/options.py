"""Options that several commands share, alone or as a dataclass per group, each field an option of the command."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

DataArgument = Annotated[Path, typer.Argument(help="Data set: fer2013.csv, class folders, a list CSV, .npz, …")]
LabelSetOption = Annotated[
    str | None, typer.Option(help="Label set: fer2013 (7 classes), ferplus (8), …; the model's first by default.")
]
DetectorOption = Annotated[str, typer.Option(help="Face detector; see `mien detectors`.")]
ModelOption = Annotated[str, typer.Option(help="Expression model; see `mien models list`.")]
CardName = Annotated[str, typer.Option(help="Name in the model's card.")]
CardVersion = Annotated[str, typer.Option(help="Version of the weights in the model's card.")]
CardLicence = Annotated[str, typer.Option(help="Licence of the weights in the model's card.")]


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Let a Typer command take dataclasses as parameters; on the command line each field is an option of its own.

    Args:
        command: A function whose parameters are annotated; a dataclass stands for all of its fields.

    Returns:
        A function with the fields in place of the dataclasses, for `app.command`.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if is_dataclass(kind):
            groups[parameter.name] = kind
            parameters += _parameters_of(kind)
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=kind))

    def flat(**given: Any) -> None:
        made = {name: kind(**{f.name: given.pop(f.name) for f in fields(kind)}) for name, kind in groups.items()}
        command(**made, **given)

    flat.__name__, flat.__doc__, flat.__module__ = command.__name__, command.__doc__, command.__module__
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return flat


def _parameters_of(kind: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=_default(f), annotation=hints[f.name])
        for f in fields(kind)
    ]


def _default(field: Field[Any]) -> Any:
    return inspect.Parameter.empty if field.default is MISSING else field.default
