"""Does it fit? Flash and RAM against a board's, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass

from export.compiler.graph import CompileError, Graph
from export.compiler.plan import Plan
from export.compiler.source import needed_functions
from export.compiler.step import Step

_MODEL_CODE, _FUNCTION_CODE, _PIECE_CODE = 780, 230, 490
"""Bytes of code of a compiled model (Cortex-M4, gcc -O2), its kernel functions and the pieces of them that it needs: a
fit to 13 models of 4,754 to 12,993 bytes, of which it is 15 % off at most."""
_MOST = 1.25
"""Times the estimate: what a check takes, since compilers differ, too."""
_NAMED = 3


@dataclass(frozen=True)
class Limits:
    flash: int | None = None
    """Bytes for tables and code; None: no limit."""
    ram: int | None = None
    """Bytes for the static buffer, which holds the input, too."""


NO_LIMITS = Limits()


def code_bytes(steps: list[Step]) -> int:
    """Estimated bytes of a compiled model's code on a Cortex-M4."""
    functions = needed_functions({name for step in steps for name in step.functions})
    pieces = {piece for step in steps for piece in step.pieces}
    return _MODEL_CODE + _FUNCTION_CODE * len(functions) + _PIECE_CODE * len(pieces)


def most_flash(steps: list[Step]) -> int:
    """Bytes of flash that a compiled model takes at most: constants, and code with room for error."""
    return sum(step.flash for step in steps) + round(_MOST * code_bytes(steps))


def check_limits(graph: Graph, steps: list[Step], plan: Plan, limits: Limits) -> None:
    """CompileError where a limit is exceeded: by how much, and by which layers."""
    flash = most_flash(steps)
    if limits.flash is not None and flash > limits.flash:
        raise CompileError(
            f"{graph.path} takes {flash:,} bytes of flash, {flash - sum(step.flash for step in steps):,} of them for "
            f"code: {flash - limits.flash:,} more than the {limits.flash:,} allowed. Most of it: "
            f"{largest(steps, 'flash')}. Prune the model, or raise --flash."
        )
    if limits.ram is not None and plan.size > limits.ram:
        raise CompileError(
            f"{graph.path} takes {plan.size:,} bytes of RAM: {plan.size - limits.ram:,} more than the {limits.ram:,} "
            f"allowed. Most of it: {largest(steps, 'ram')}. Take narrower layers or a smaller image, or raise --ram."
        )


def largest(steps: list[Step], memory: str) -> str:
    """The steps that take most of a memory ("flash" or "ram"), and how much: for messages."""
    worst = sorted(steps, key=lambda step: -getattr(step, memory))[:_NAMED]
    return "; ".join(f"{step.name} ({getattr(step, memory):,})" for step in worst)
