"""Options that several commands share, and the options that a dataclass of settings gives to a command.

A setting is written once, in its dataclass: the field carries type and default, the line of the docstring under
`Attributes` says what it means, with its unit and range, and `__post_init__` checks it. A command takes the dataclass:

    @with_groups
    def analyze(…, tracking: Annotated[TrackSettings, Shown("Tracking", half_life_s="--half-life", reid="--reid")]):

Each field that `Shown` names becomes an option of the command line; the others keep their defaults.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer
from rich.markup import escape

from mien.attributes.settings import AttributeSettings
from mien.cli.console import say_problem
from mien.detect.detector import DetectorSettings
from mien.errors import InputError
from mien.faces import FaceFilter, known_attributes
from mien.models.runtime import RuntimeSettings
from mien.output.draw.style import DrawStyle

DataArgument = Annotated[
    Path,
    typer.Argument(help="Data set: FER2013 CSV, train.csv, test.csv, a list CSV, class folders, .npz or .parquet."),
]
VotesOption = Annotated[
    Path | None, typer.Option("--votes", help="The FER+ file fer2013new.csv, joined by image name.")
]
SkipOption = Annotated[bool, typer.Option("--skip-bad", help="Skip broken rows and images, and say how many.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LabelSetOption = Annotated[
    str | None,
    typer.Option(
        help="Label set: combined (8, made of both others), fer2013 (7), ferplus (8); the model's first by default."
    ),
]
PriorOption = Annotated[
    str,
    typer.Option(
        help="Shares of the expressions where the faces come from: natural, even, or a .csv or .json file of "
        "name,share."
    ),
]
DetectorOption = Annotated[str, typer.Option(help="Face detector; see `mien detectors`.")]
ModelOption = Annotated[str, typer.Option(help="Expression model; see `mien models list`.")]
CardName = Annotated[
    str | None, typer.Option(help="Name in the model's card; the name of the file written if not given.")
]
CardVersion = Annotated[str, typer.Option(help="Version of the weights in the model's card.")]
CardLicence = Annotated[str, typer.Option(help="Licence of the weights in the model's card.")]


def read_baseline_later(text: str) -> str | tuple[float, float]:
    """Read the text of `--baseline`; what knows videos is loaded only then."""
    from mien.video.baseline import read_baseline

    return read_baseline(text)


class Shown:
    """Says which fields of a dataclass are options of a command.

    Attributes:
        flags: The flag of each field that is shown.
        panels: The heading in the help under which each stands.
        env: Prefix of the environment variables that set them, too; "" for none.
        reads: What reads the text of a field, where its type alone does not say how; a time may be `65.5` or `1:05.5`.
    """

    def __init__(
        self,
        panel: str | Mapping[str, str] | None = None,
        *,
        env: str = "",
        reads: Mapping[str, Callable[[str], Any]] | None = None,
        **flags: str,
    ) -> None:
        """Choose the fields.

        Args:
            panel: The heading of all, or of each field.
            env: Prefix of environment variables.
            reads: What reads the text of a field that is not read by its type; it raises InputError.
            flags: The flag of each field: `half_life_s="--half-life"`.
        """
        self.flags, self.env, self.reads = flags, env, reads or {}
        self.panels = panel if isinstance(panel, Mapping) else dict.fromkeys(flags, panel)


MACHINE = "Detector and machine"
DrawOptions = Annotated[
    DrawStyle,
    Shown(
        "What is drawn",
        bars="--bars",
        landmarks="--landmarks",
        measures="--measures/--no-measures",
        blur="--blur-faces",
    ),
]
KeepOptions = Annotated[
    FaceFilter,
    Shown(
        "Which faces",
        min_confidence="--min-confidence",
        largest_only="--largest-only",
        clip_boxes="--clip-boxes",
    ),
]
DetectorOptions = Annotated[
    DetectorSettings,
    Shown(
        MACHINE,
        min_face_px="--min-face",
        threshold="--threshold",
        model_path="--detector-model",
        config_path="--detector-config",
    ),
]
RuntimeOptions = Annotated[
    RuntimeSettings,
    Shown(
        MACHINE,
        device="--device",
        gpu_memory_mb="--gpu-memory",
        half_precision="--half-precision",
        threads="--threads",
    ),
]


AttributeOptions = Annotated[
    AttributeSettings,
    Shown(
        "What else a face tells",
        reads={"names": known_attributes},
        names="--attributes",
        mesh="--mesh",
        min_quality="--min-quality",
    ),
]


def say_guesses(names: Sequence[str]) -> None:
    """Say of attributes that are guesses how far they are to be trusted, on standard error.

    Args:
        names: Names of attributes that were asked for.
    """
    from mien.attributes.age_gender import SAID

    for name in names:
        if name in SAID:
            say_problem(SAID[name])


def with_smallest(keep: FaceFilter, detecting: DetectorSettings) -> FaceFilter:
    """Return a filter that drops what is smaller than the detector was told to look for.

    Args:
        keep: What else it drops.
        detecting: What the detector is told; its ordinary size drops nothing.
    """
    asked = detecting.min_face_px if detecting.min_face_px != DetectorSettings.min_face_px else 0
    return replace(keep, min_face_px=asked)


@dataclass(frozen=True)
class _Group:
    """A parameter that stands for several options."""

    kind: Any
    names: Mapping[str, str]
    flags: Mapping[str, str]
    reads: Mapping[str, Callable[[str], Any]]

    def make(self, given: dict[str, Any]) -> Any:
        """Take the values of the group and return the dataclass; its errors name the flags."""
        values = {field: given.pop(name) for field, name in self.names.items()}
        for field, read in self.reads.items():
            text = values.pop(field)
            values |= {} if text is None else {field: read(text)}
        try:
            return self.kind(**values)
        except InputError as error:
            text = str(error)
            for field, flag in self.flags.items():
                text = re.sub(rf"(?<![\w-]){field}(?= must| needs|=| =)", flag.partition("/")[0], text)
            raise InputError(text) from error


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Let a Typer command take dataclasses as parameters; on the command line each field is an option of its own.

    Args:
        command: A function whose parameters are annotated. A dataclass stands for all of its fields, which then say
            themselves what kind of option they are; `Annotated[Dataclass, Shown(…)]` for those that are shown.

    Returns:
        A function with the fields in place of the dataclasses, for `app.command`.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, _Group] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        shown = next((extra for extra in get_args(kind)[1:] if isinstance(extra, Shown)), None)
        if shown is not None:
            dataclass_of = get_args(kind)[0]
            names = {field: f"{parameter.name}_{field}" for field in shown.flags}
            groups[parameter.name] = _Group(dataclass_of, names, shown.flags, shown.reads)
            parameters += _options_of(dataclass_of, shown, names)
        elif is_dataclass(kind):
            groups[parameter.name] = _Group(kind, {f.name: f.name for f in fields(kind)}, {}, {})
            parameters += _parameters_of(kind)
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=kind))

    def flat(**given: Any) -> None:
        made = {name: group.make(given) for name, group in groups.items()}
        command(**made, **given)

    flat.__name__, flat.__doc__, flat.__module__ = command.__name__, command.__doc__, command.__module__
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return flat


def described(kind: type) -> dict[str, str]:
    """Return what each field of a dataclass means, as its docstring says it.

    Args:
        kind: A dataclass with a docstring in Google's style.
    """
    found: dict[str, str] = {}
    last = ""
    _, _, section = inspect.cleandoc(kind.__doc__ or "").partition("\nAttributes:\n")
    for line in inspect.cleandoc(section.split("\n\n")[0]).splitlines():
        name, colon, text = line.partition(": ")
        if line[:1] != " " and colon:
            found[name] = text
            last = name
        else:
            found[last] += f" {line.strip()}"
    return found


def _options_of(kind: Any, shown: Shown, names: Mapping[str, str]) -> list[inspect.Parameter]:
    """Return an option for each field that is shown."""
    hints, help_of, by_name = get_type_hints(kind), described(kind), {f.name: f for f in fields(kind)}
    found = []
    for field, flag in shown.flags.items():
        default = _default(by_name[field])
        show: bool | str = default not in (None, "", inspect.Parameter.empty) and hints[field] is not bool
        hint = hints[field]
        if field in shown.reads:
            show, default, hint = False, None, str | None
        option = typer.Option(
            flag,
            help=escape(re.sub(r"[;.] None [^.;]*", "", help_of[field]).replace("`", "")),
            rich_help_panel=shown.panels[field],
            metavar="s|min:s" if field in shown.reads and field.endswith("_s") else None,
            envvar=f"{shown.env}{field.upper()}" if shown.env else None,
            show_default=show,
        )
        annotation: Any = Annotated[hint, option]
        found.append(
            inspect.Parameter(names[field], inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        )
    return found


def _parameters_of(kind: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=_default(f), annotation=hints[f.name])
        for f in fields(kind)
    ]


def _default(field: Field[Any]) -> Any:
    return inspect.Parameter.empty if field.default is MISSING else field.default
