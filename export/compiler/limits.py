"""Does it fit? Flash and RAM against a board's, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass

from export.compiler.graph import CompileError, Graph
from export.compiler.plan import Plan
from export.compiler.step import Step

CODE_BYTES = 20_000
"""The kernels' code on a Cortex-M4 (gcc -O2) is 8 to 20 KB; the check takes the most."""
_NAMED = 3


@dataclass(frozen=True)
class Limits:
    flash: int | None = None
    """Bytes for tables and code; None: no limit."""
    ram: int | None = None
    """Bytes for the static buffer, which holds the input, too."""


NO_LIMITS = Limits()


def check_limits(graph: Graph, steps: list[Step], plan: Plan, limits: Limits) -> None:
    """CompileError where a limit is exceeded: by how much, and by which layers."""
    flash = sum(step.flash for step in steps) + CODE_BYTES
    if limits.flash is not None and flash > limits.flash:
        raise CompileError(
            f"{graph.path} takes {flash:,} bytes of flash, {CODE_BYTES:,} of them for code: {flash - limits.flash:,} "
            f"more than the {limits.flash:,} allowed. Most of it: {largest(steps, 'flash')}. Prune the model, or raise "
            "--flash."
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
