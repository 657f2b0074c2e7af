"""What the commands share: the names of their arguments, and how they print and write a result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

Data = Annotated[str, arg(metavar="SPEC")]
Run = Annotated[Path, arg(metavar="RUN")]
Model = Annotated[Path, arg(metavar="MODEL")]
Json = Annotated[Path | None, arg(metavar="FILE")]


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


def write(path: Path | None, value: Any) -> None:
    """Write the value that --json asked for, if it did."""
    if path is not None:
        from hpe.io.files import write_json

        write_json(path, value)
