"""What a compiled model takes, without a file of it: flash, RAM and cycles."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from export.compiler import emulator
from export.compiler.arrange import arrange
from export.compiler.cost import CYCLES_PER_INSTRUCTION, step_instructions
from export.compiler.emit import emit
from export.compiler.limits import code_bytes
from export.compiler.read import read_graph
from export.errors import ExportError

COUNTED_UP_TO = 2_500_000
"""Bytes of constants beyond which the cross compiler is not asked: it would take long, and hardly a board has them."""


@dataclass(frozen=True)
class CompiledSize:
    flash_bytes: int
    """Constants, exact, and code."""
    code_bytes: int
    code_is_counted: bool
    """By the cross compiler; otherwise estimated."""
    ram_bytes: int
    """The static buffer, exact; the stack (0.7 KB at most) comes on top."""
    cycles: float
    """Of one run on a Cortex-M4 (gcc -O2), by the cost model."""


def compiled_size(model: str | Path, count_code: bool = True) -> CompiledSize:
    """What `compile_model` would make of the file.

    count_code: let the cross compiler count the code, where it is installed.
    Raises CompileError or ModelFileError as `compile_model` does.
    """
    path = Path(model)
    try:
        facts = path.stat()
        return _size(path.resolve(), facts.st_mtime_ns, facts.st_size, count_code)
    except OSError:
        read_graph(path)  # says what is wrong with the file
        raise


@lru_cache(maxsize=32)
def _size(path: Path, _changed: int, _bytes: int, count_code: bool) -> CompiledSize:
    graph = read_graph(path)
    steps, buffers, plan = arrange(graph)
    constants = sum(step.flash for step in steps)
    cycles = CYCLES_PER_INSTRUCTION * sum(step_instructions(step) for step in steps)
    counted = None
    if count_code and constants <= COUNTED_UP_TO and shutil.which(emulator.COMPILER):
        counted = _compiled_flash(emit(graph, steps, buffers, plan, "model"))
    code = code_bytes(steps) if counted is None else counted - constants
    return CompiledSize(constants + code, code, counted is not None, plan.size, cycles)


def _compiled_flash(texts: dict[str, str]) -> int | None:
    """Bytes of the object file; None where the cross compiler lacks its headers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8")
        try:
            made = emulator.compile_object(folder / "model.c", folder / "model.o", ("-O2", "-I", name))
        except ExportError:
            return None
        return emulator.section_sizes([made]).flash
