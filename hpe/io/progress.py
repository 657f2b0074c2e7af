"""Progress bars (rich on a terminal, silent elsewhere), and where tables are printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hpe.io.processes import is_first_process

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar on standard error as a context manager that gives `advance()`; silent when that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal or not is_first_process()
    ) as progress:
        task = progress.add_task(title, total=total)
        yield lambda: progress.advance(task)


def standard_output() -> Console:
    """Rich's console, but for one thing: a closed pipe raises BrokenPipeError, as it does everywhere else."""
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Output()
