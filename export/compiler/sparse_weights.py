"""Weights that are mostly 0, as the sparse kernels read them: see kernels/sparse.h."""

from __future__ import annotations

import numpy as np

_GAP = 16
"""Inputs that one entry of a pair can move on."""
_BYTE = 256
"""The same of the second entry where it stands alone; also the most entries of an output, and the inputs at which the
first can stand."""


def pack_sparse(weights: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """int8 (outputs, inputs) -> (entries, how many each output has); at least one an output, of value 0.

    sparse3: uint8, the counts being among the entries; sparse4: uint32. See kernels/sparse.h.
    """
    if kind == "sparse3":
        rows = [_pack_row(row, inputs) for row, inputs in zip(weights, _places(weights), strict=True)]
        return np.frombuffer(b"".join(rows) + b"\0", np.uint8), np.zeros(0, np.uint16)
    counts, entries = [], []
    for row in weights:
        at = np.flatnonzero(row)
        at = at if at.size else np.zeros(1, np.int64)
        counts.append(at.size)
        values = row[at].astype(np.int16).view(np.uint16).astype(np.uint32)
        entries.append(values | at.astype(np.uint32) << 20)
    return np.concatenate(entries), np.array(counts, np.uint16)


def sparse3_entries(weights: np.ndarray) -> int | None:
    """Entries of the whole layer, those of value 0 included; None where an output has more than the kernel counts."""
    counts = [len(inputs) for inputs in _places(weights)]
    return sum(counts) if max(counts) <= _BYTE else None


def _places(weights: np.ndarray) -> list[list[int]]:
    """The inputs of each output's entries, ascending."""
    return [_row_places(np.flatnonzero(row).tolist()) for row in weights]


def _row_places(inputs: list[int]) -> list[int]:
    """With entries of value 0 where the next weight is too far away."""
    inputs = inputs or [0]
    first = min(inputs[0], _BYTE - 1)
    near = _reach([first], inputs[first == inputs[0] :])
    if len(inputs) > 1 and first == inputs[0] and inputs[1] - first <= _BYTE:
        far = _reach([first, inputs[1]], inputs[2:])  # the second alone, if the count allows it
        if len(far) % 2 == 0 and len(far) < len(near):
            return far
    return near


def _reach(places: list[int], inputs: list[int]) -> list[int]:
    for place in inputs:
        while place - places[-1] > _GAP:
            places.append(places[-1] + _GAP)
        places.append(place)
    return places


def _pack_row(row: np.ndarray, places: list[int]) -> bytes:
    values = row[places].view(np.uint8).tolist()
    gaps = (np.diff(places) - 1).tolist()
    packed = [len(gaps), places[0], values[0]]
    values, at = values[1:], len(gaps) % 2
    if at:
        packed += [gaps[0], values[0]]
    for i in range(at, len(gaps), 2):
        packed += [values[i], gaps[i] | gaps[i + 1] << 4, values[i + 1]]
    return bytes(packed)
