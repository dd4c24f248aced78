"""Writes the table of the server's settings into docs/server.md: python docs/settings_table.py."""

import re
from dataclasses import fields
from pathlib import Path

from mien.cli.options import described
from mien.server.settings import PANELS, PREFIX, ServerSettings

PAGE = Path(__file__).with_name("server.md")
BEGIN, END = "<!-- made by docs/settings_table.py -->", "<!-- end -->"


def table() -> str:
    """Return the table as Markdown, one row per setting, in the order of `mien serve --help`."""
    meaning, default = described(ServerSettings), {field.name: field.default for field in fields(ServerSettings)}
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    rows.append(f"| `{PREFIX}PROCESSES` | 1 | Worker processes that share the port. |")
    for panel, names in PANELS.items():
        rows.append(f"| **{panel}** | | |")
        rows += [f"| `{PREFIX}{name.upper()}` | {_shown(default[name])} | {meaning[name]} |" for name in names]
    return "\n".join(rows)


def _shown(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value).removesuffix(".0")


def with_table(page: str) -> str:
    """Return the page with the table as it should be."""
    return re.sub(rf"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n\n{table()}\n\n{END}", page, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
