"""A progress bar for whoever watches: in a terminal or a notebook, and nowhere else."""

import html
import importlib
import math
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.console import Console

REFRESH_S = 0.2
NAME_LENGTH = 40


class ProgressBar:
    """Shows how far some work is, and goes away at its end.

        with ProgressBar("clip.mp4", total=300, unit="frames") as bar:
            for number, frame in enumerate(frames, 1):
                bar.update(number)

    In a terminal it is a line on standard error, in a notebook a bar in the cell. Where nobody watches (a pipe, a
    file, a service), and with `shown=False`, nothing is written.
    """

    def __init__(self, name: str, *, total: int | None = None, unit: str = "", shown: bool = True) -> None:
        """Choose where to show it; nothing is written before the first `update`.

        Args:
            name: What is worked on.
            total: How many steps there will be, or None.
            unit: What is counted: `frames`, `images`.
            shown: False shows nothing.
        """
        self._name = name if len(name) <= NAME_LENGTH else f"…{name[1 - NAME_LENGTH :]}"
        self._total, self._unit = total, unit
        self._paint = _painter() if shown else None
        self._started = time.monotonic()
        self._next_s = 0.0

    @property
    def shown(self) -> bool:
        """Whether anybody watches."""
        return self._paint is not None

    def update(self, done: int, total: int | None = None) -> None:
        """Say how far the work is; cheap enough for every step.

        Args:
            done: Steps that are done.
            total: How many there will be, where that is known better by now.
        """
        self._total = total if total is not None else self._total
        if self._paint is None or time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + REFRESH_S
        self._paint(self._name, min(done, self._total or done), self._total, self._words(done))

    def _words(self, done: int) -> str:
        seconds = time.monotonic() - self._started
        speed = done / seconds if seconds > 0 else 0.0
        count = f"{done:,}" + (f"/{self._total:,}" if self._total else "") + (f" {self._unit}" if self._unit else "")
        left = f", {_clock((self._total - done) / speed)} left" if self._total and speed and self._total > done else ""
        return f"{count}, {speed:.1f}/s{left}"

    def close(self) -> None:
        """Take the bar away."""
        if self._paint is not None:
            self._paint("", 0, None, "")
            self._paint = None

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        self.close()


Paint = Callable[[str, int, int | None, str], None]  # name, done, total, words; an empty name takes it away


def _painter() -> Paint | None:
    if in_notebook():
        return _NotebookBar()
    from rich.console import Console

    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    return _TerminalBar(console) if console.is_terminal and not console.is_dumb_terminal else None


def in_notebook() -> bool:
    """Whether the program runs in the cells of a Jupyter notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ in ("ZMQInteractiveShell", "Shell")  # Jupyter, Google Colab


class _TerminalBar:
    def __init__(self, console: "Console") -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(24),
            TextColumn("{task.fields[words]}", markup=False),
        )
        seen = sys.stdout is not None and sys.stdout.isatty()  # then what the caller prints goes above the bar
        self._progress = Progress(
            *columns, console=console, transient=True, auto_refresh=False, redirect_stdout=seen, redirect_stderr=seen
        )
        self._task: Any = None

    def __call__(self, name: str, done: int, total: int | None, words: str) -> None:
        if not name:
            self._progress.stop()
            return
        if self._task is None:
            self._task = self._progress.add_task(name, total=total, words=words)
            self._progress.start()
        self._progress.update(self._task, completed=done, total=total, words=words, refresh=True)


class _NotebookBar:
    """HTML in the cell: needs IPython alone, no widgets."""

    def __init__(self) -> None:
        self._handle: Any = None

    def __call__(self, name: str, done: int, total: int | None, words: str) -> None:
        display: Any = importlib.import_module("IPython.display")
        share = f' value="{done}" max="{total}"' if total else ""
        shown = display.HTML(f"{html.escape(name)} <progress{share}></progress> {html.escape(words)}" if name else "")
        if self._handle is not None:
            self._handle.update(shown)
        elif name:
            self._handle = display.display(shown, display_id=True)


def _clock(seconds: float) -> str:
    minutes, left = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"
