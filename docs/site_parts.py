"""What the site takes from the code, put in place of comments in the pages as Sphinx reads them.

`<!-- made: NAME -->` stands for one of MADE. `<!-- page: README.md -->` stands for a page outside docs/, and links to
such a page lead to the one that shows it.
"""

import importlib.util
import inspect
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_type_hints

import typer
from docutils import nodes
from rich.text import Text
from sphinx.application import Sphinx

import mien
from mien.analyzer import AnalyzerSettings
from mien.attributes.settings import AttributeSettings
from mien.cli.app import app
from mien.cli.options import described
from mien.cluster.settings import ClusterSettings
from mien.faces import ATTRIBUTES, RELATIVE, RELATIVE_TO, attribute_columns
from mien.labels import LABEL_SETS
from mien.output.rows import table_columns, type_of
from mien.sources import SourceSettings
from mien.sources.live import LiveSettings
from mien.train.augment import AugmentSettings
from mien.train.settings import TrainSettings

DOCS = Path(__file__).parent
SHOWN_BY = {  # pages outside docs/, or that moved, and the pages that show them
    "README.md": "index.md",
    "CHANGELOG.md": "developers/changelog.md",
    "CONTRIBUTING.md": "developers/contributing.md",
    "SECURITY.md": "developers/security.md",
    "CODE_OF_CONDUCT.md": "developers/conduct.md",
    "examples/README.md": "example-photos.md",
    "docs/log.md": "developers/log.md",
}
BESIDE = (  # what the names at the door take, give and raise, and the server's client
    *(f"mien.sources.{name}" for name in ("Item", "Failed", "SourceSettings", "LiveSettings", "VideoInfo")),
    *(f"mien.video.{name}" for name in ("VideoJob", "VideoOutputs", "VideoSummary", "Truth", "TruthSpan", "Progress")),
    *(f"mien.client.{name}" for name in ("Client", "Analyzed", "Stream", "ServerError")),
    *(f"mien.errors.{name}" for name in ("InputError", "SourceError", "ModelError", "DeviceError", "OutputError",
                                         "MissingExtraError")),
)  # fmt: skip
IN_ROOMS = (  # what the pages on people, weights, clusters and several videos call
    *(f"mien.people.{name}" for name in ("find_person", "PersonMatch", "verify", "Verification", "read_gallery",
                                         "FaceEmbedder")),
    *(f"mien.weights.{name}" for name in ("pull", "path_of")),
    "mien.video.analyze_videos", "mien.cluster.analyze", "mien.cluster.ClusterResult", "mien.cluster.AnalyzeBatch",
)  # fmt: skip
SETTINGS = (
    AnalyzerSettings, mien.DetectorSettings, mien.RuntimeSettings, mien.FaceFilter, AttributeSettings, mien.DrawStyle,
    SourceSettings, mien.VideoSettings, mien.TrackSettings, LiveSettings, ClusterSettings, TrainSettings,
    AugmentSettings,
)  # fmt: skip


def setup(app: Sphinx) -> dict[str, Any]:
    """Let Sphinx call the functions below."""
    app.connect("source-read", _fill)
    app.connect("missing-reference", _find_by_short_name)
    app.connect("autodoc-process-docstring", _code_as_code, priority=400)  # before napoleon
    return {"parallel_read_safe": True}


def _fill(app: Sphinx, page: str, source: list[str]) -> None:
    folder, text = posixpath.dirname(page), source[0]
    text = re.sub(r"<!-- made: (\w+) -->", lambda found: MADE[found[1]](), text)
    text = _with_links(text, posixpath.join("docs", folder), folder)
    source[0] = re.sub(r"<!-- page: (\S+) -->", lambda found: _outside(found[1], folder), text)


def _outside(name: str, folder: str) -> str:
    return _with_links((DOCS.parent / name).read_text(encoding="utf-8"), posixpath.dirname(name), folder)


def _with_links(text: str, written_in: str, shown_in: str) -> str:
    """Return the text of a page of one folder (of the repository) with links that work in another (of docs/)."""

    def link(found: re.Match[str]) -> str:
        path, hash_, anchor = found[1].partition("#")
        if not path or ":" in path:
            return found[0]
        target = posixpath.normpath(posixpath.join(written_in, path))
        target = SHOWN_BY.get(target, posixpath.relpath(target, "docs"))
        return f"]({posixpath.relpath(target, shown_in or '.')}{hash_}{anchor})"

    return re.sub(r"\]\(([^()\s]+)\)", link, text)


def _find_by_short_name(app: Sphinx, env: Any, node: Any, contnode: nodes.Node) -> nodes.Node | None:
    """Lead `mien.faces.Faces` to where `mien.Faces` is described; what exists and is not described is plain text."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.startswith("mien."):
        return None
    objects = env.get_domain("py").objects
    name = target.rpartition(".")[2]
    full = next((known for known in objects if known.rpartition(".")[2] == name and known[-len(name) - 1] == "."), None)
    if full is None:
        room, _, last = target.rpartition(".")
        return contnode if importlib.util.find_spec(room) and hasattr(importlib.import_module(room), last) else None
    at = objects[full]
    href = app.builder.get_relative_uri(node.get("refdoc"), at.docname)
    return nodes.reference("", "", contnode, internal=True, refuri=f"{href}#{at.node_id}")


def _code_as_code(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Show the indented examples of a docstring, which stand before its first section, as code."""
    heads = (i for i, line in enumerate(lines) if re.fullmatch(r"[A-Z][a-z]+:", line))
    for i in reversed(range(1, next(heads, len(lines)))):
        if lines[i].startswith("    ") and not lines[i - 1].strip():
            lines[i:i] = [".. code-block:: python", ""]


def _described(names: Iterable[str]) -> str:
    lines = []
    for name in names:
        room, _, last = name.rpartition(".")
        thing = getattr(importlib.import_module(room), last)
        if inspect.isclass(thing):
            bases = ["   :show-inheritance:"] if issubclass(thing, Exception) else []
            lines += [f".. autoclass:: {name}", "   :members:", *bases, ""]
        elif callable(thing):
            lines += [f".. autofunction:: {name}", ""]
    return "\n".join(["```{eval-rst}", *lines, "```"])


def _commands() -> str:
    return "\n".join(_command(typer.main.get_command(app), "mien"))


def _command(command: Any, name: str) -> Iterator[str]:
    context = typer.Context(command, info_name=name)
    inner = getattr(command, "commands", {})
    if not inner:
        yield f"## {name}\n"
        yield f"```text\n{name} {' '.join(command.collect_usage_pieces(context))}\n```\n"
        yield _plain(inspect.cleandoc(command.help or "")) + "\n"
        yield from _parameters(command, context)
    for word, one in inner.items():
        if not one.hidden:
            yield from _command(one, f"{name} {word}")


def _parameters(command: Any, context: Any) -> Iterator[str]:
    panels: dict[str, list[str]] = {}
    for one in command.params:
        record = None if one.hidden or one.name == "help" else one.get_help_record(context)
        if record:
            rest = re.search(r"\[(?:default: .*|required|env var: .*)\]$", record[1])
            meaning = f"{_plain(one.help or '')} {rest[0] if rest else ''}"
            panels.setdefault(one.rich_help_panel or "", []).append(f"| `{_cell(record[0])}` | {_cell(meaning)} |")
    for panel, rows in panels.items():
        yield "\n".join([*([f"**{panel}**\n"] if panel else []), "| option | meaning |", "|---|---|", *rows]) + "\n"


def _settings() -> str:
    return "\n".join(line for kind in SETTINGS for line in _table_of(kind))


def _table_of(kind: type) -> Iterator[str]:
    meaning, hints = described(kind), get_type_hints(kind)
    yield f"## {kind.__name__}\n"
    yield f"{inspect.cleandoc(kind.__doc__ or '').partition(chr(10))[0]}\n"
    yield "| field | type | default | meaning |\n|---|---|---|---|"
    for field in fields(kind):  # type: ignore[arg-type]
        default = f"`{_cell(_default(field))}`"
        shown = getattr(hints[field.name], "__name__", "") if isinstance(hints[field.name], type) else ""
        shown = shown or re.sub(r"\b[a-z_.]+\.", "", str(hints[field.name]))
        yield f"| `{field.name}` | `{_cell(shown)}` | {default} | {_cell(meaning.get(field.name, ''))} |"
    yield ""


def _default(field: Any) -> str:
    if field.default is not MISSING:
        return repr(field.default)
    return f"{field.default_factory.__name__}()"


def _columns() -> str:
    labels = LABEL_SETS["combined"]
    columns = table_columns(labels, tracked=True)
    return "\n".join(["| column | type |", "|---|---|", *(f"| `{c}` | {type_of(c).__name__} |" for c in columns)])


def _attribute_columns() -> str:
    lines = ["| asked for | column | type |", "|---|---|---|"]
    for column in attribute_columns((*ATTRIBUTES, RELATIVE)):
        plain = column.removeprefix(RELATIVE_TO)
        asked = next((name for name, columns in ATTRIBUTES.items() if plain in columns), "any")
        lines.append(f"| {asked} | `{column}` | {type_of(column).__name__} |")
    return "\n".join(lines)


def _unlisted() -> str:
    listed = (DOCS / "index.md").read_text(encoding="utf-8").splitlines()
    return "\n".join(sorted(page.stem for page in DOCS.glob("*.md") if page.stem not in [*listed, "index"]))


def _plain(markup: str) -> str:
    return Text.from_markup(markup).plain.replace("<", "&lt;")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


MADE = {
    "api": lambda: _described(f"mien.{name}" for name in mien.__all__),
    "beside": lambda: _described(BESIDE),
    "in_rooms": lambda: _described(IN_ROOMS),
    "commands": _commands,
    "settings": _settings,
    "columns": _columns,
    "measures": _attribute_columns,
    "unlisted": _unlisted,
}
