"""What the commands share: the names of their arguments, and how they print aside and write a result."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg
from tyro.constructors import PrimitiveConstructorSpec


def given_path(text: str) -> Path:
    """A path as it was typed. Path makes `b0` of ./b0 and b0/, which would then mean the released model b0."""
    path = Path(text)
    return path.absolute() if "/" in text and len(path.parts) == 1 else path


def _run_or_model(metavar: str) -> PrimitiveConstructorSpec[Path]:
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda words: given_path(words[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    )


Data = Annotated[str, arg(metavar="SPEC")]
Run = Annotated[Path, _run_or_model("RUN")]
Model = Annotated[Path, _run_or_model("MODEL")]
Json = Annotated[Path | None, arg(metavar="FILE")]


def say_aside(line: str) -> None:
    """Print a line on standard error, where standard output is for data."""
    print(line, file=sys.stderr, flush=True)


def write_result(path: Path | None, value: Any) -> None:
    """Write the value that --json asked for, if it did."""
    if path is not None:
        from hpe.io.files import write_json

        write_json(path, value)
