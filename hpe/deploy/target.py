"""Whether an exported file meets what its network was pruned for: pruning could only estimate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hpe.io.records import read_record
from hpe.model.lineage import RunOrigin

Report = Callable[[str], None]


def report_target(run: Path, file: Path, report: Report) -> None:
    """Where a network was pruned for a board, to a size or to cycles, say whether its int8 file meets that."""
    target = read_record(RunOrigin, run / "result.json").config.lineage.target
    if "board" in target:
        _report_board(file, str(target["board"]), report)
    if "int8_bytes" in target:
        _report_limit(file, "int8_bytes", file.stat().st_size, int(target["int8_bytes"]), report)
    if "cycles" in target:
        _report_cycles(file, int(target["cycles"]), report)


def _report_board(file: Path, board: str, report: Report) -> None:
    from export.micro.footprint import footprint

    answer = footprint(file, board)
    for line in (f"{file} {answer.verdict}", *(f"- {advice}" for advice in answer.advice)):
        report(line)


def _report_cycles(file: Path, wanted: int, report: Report) -> None:
    """Cycles by the compiler's cost model, of the kernels that it takes for this file."""
    from export.compiler import CompileError
    from export.compiler.size import compiled_size

    try:
        cycles = round(compiled_size(file, count_code=False).cycles)
    except CompileError as error:
        report(f"warning: {file} was pruned to {wanted:,} cycles of compiled C, but cannot be compiled: {error}")
        return
    _report_limit(file, "cycles", cycles, wanted, report)


def _report_limit(file: Path, measure: str, has: int, wanted: int, report: Report) -> None:
    unit, share = measure.removeprefix("int8_"), abs(has - wanted) / wanted
    if has <= wanted:
        report(f"{file}: {has:,} {unit}, {share:.1%} below the target of {wanted:,}")
        return
    report(f"warning: {file}: {has:,} {unit}, {share:.1%} above the target of {wanted:,}")
    report(f"- Prune again with --target-{measure.replace('_', '-')} {wanted * wanted // has}.")
