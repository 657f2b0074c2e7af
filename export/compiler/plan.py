"""Where each tensor lives: one static buffer, tensors that are never alive together share bytes.

An operator may also write over its own input, where the rows that it still has to read are never reached; how far the
output must start before the input for that is the operator's `slack` (see step.py). The placing is a greedy one, tried
in several orders; every placing is checked, so the peak is a fact and not a hope.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

ALIGNMENT = 4
_TRIES = 60


@dataclass
class Buffer:
    key: str | int
    """The tensor's number, or the name of a scratch buffer."""
    size: int
    """Bytes."""
    first: int
    """The step that writes it; -1: it is there before the first."""
    last: int
    """The last step that reads it."""
    over: dict[str | int, int] = field(default_factory=dict)
    """Buffers that it may share bytes with at its first step, if it starts at least that many bytes before them."""


@dataclass
class Plan:
    offsets: dict[str | int, int]
    size: int
    """Bytes of the whole buffer."""


def place(buffers: list[Buffer], steps: int) -> Plan:
    """Finds an offset for each buffer; deterministic."""
    orders = [
        sorted(buffers, key=lambda b: (-b.size, b.first)),
        sorted(buffers, key=lambda b: (b.first, -b.size)),
        sorted(buffers, key=lambda b: (-(b.last - b.first) * b.size, b.first)),
    ]
    dice = random.Random(0)
    pressure = _pressure(buffers, steps)
    for _ in range(_TRIES):
        orders.append(sorted(buffers, key=lambda b: -max(pressure[b.first + 1 : b.last + 2]) * dice.uniform(0.7, 1.3)))
        orders.append(sorted(buffers, key=lambda b: -b.size * dice.uniform(0.5, 2.0)))
    best: dict[str | int, int] = {}
    best_size = None
    for order in orders:
        offsets = _place_in_order(order)
        size = max((offsets[b.key] + b.size for b in buffers), default=0)
        if best_size is None or size < best_size:
            best, best_size = offsets, size
    check(buffers, best)
    size = -(-(best_size or 0) // ALIGNMENT) * ALIGNMENT
    return Plan(best, size)


def check(buffers: list[Buffer], offsets: dict[str | int, int]) -> None:
    """Every two buffers that are alive together are apart, or one may lie over the other as it does."""
    for i, a in enumerate(buffers):
        for b in buffers[:i]:
            if _alive_together(a, b) and not _compatible(a, offsets[a.key], b, offsets[b.key]):
                raise AssertionError(f"{a.key} and {b.key} share bytes")  # a defect of this file, never of a model


def _pressure(buffers: list[Buffer], steps: int) -> list[int]:
    """Bytes alive at each step, from -1 on."""
    totals = [0] * (steps + 2)
    for b in buffers:
        for step in range(b.first, b.last + 1):
            totals[step + 1] += b.size
    return totals


def _alive_together(a: Buffer, b: Buffer) -> bool:
    return a.first <= b.last and b.first <= a.last


def _compatible(a: Buffer, at_a: int, b: Buffer, at_b: int) -> bool:
    if at_a + a.size <= at_b or at_b + b.size <= at_a:
        return True
    for over, at_over, under, at_under in ((a, at_a, b, at_b), (b, at_b, a, at_a)):
        slack = over.over.get(under.key)
        if slack is not None and under.last == over.first and at_under - at_over >= slack:
            return True
    return False


def _place_in_order(order: list[Buffer]) -> dict[str | int, int]:
    offsets: dict[str | int, int] = {}
    placed: list[Buffer] = []
    for b in order:
        rivals = [r for r in placed if _alive_together(b, r)]
        candidates = {0}
        for r in rivals:
            at = offsets[r.key]
            candidates |= {at + r.size, at - b.size}
            if r.key in b.over:
                candidates.add(at - b.over[r.key])
            if b.key in r.over:
                candidates.add(at + r.over[b.key])
        for at in sorted({-(-c // ALIGNMENT) * ALIGNMENT for c in candidates if c >= 0}):
            if all(_compatible(b, at, r, offsets[r.key]) for r in rivals):
                offsets[b.key] = at
                break
        placed.append(b)
    return offsets
