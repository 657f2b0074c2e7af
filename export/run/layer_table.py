"""What layers of int8 files take in LiteRT on the machine at hand: a table, measured once and asked for any width.

A layer is timed in a file of it, `COPIES` times and once: the difference is the layer without what an inference adds.
Widths in between are interpolated. It is a sum of layers measured by themselves, in warm caches: near a whole
network's time, not equal to it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from export.compiler.predict import Shape
from export.errors import ExportError
from export.run.layer_files import Operator, layer_file

FORMAT = 1
COPIES = 9
WIDTHS = (8, 16, 32, 64, 128, 256, 512, 1024)
"""Channels of convolutions; beyond the last a layer's time goes on in proportion."""
WHOLE = Operator("add", (16, 16), 64, 64)
"""The shape on which operators without weights are timed."""


@dataclass(frozen=True)
class Timed:
    """One operator and what it takes."""

    kind: str
    image: tuple[int, int]
    inputs: int
    outputs: int
    kernel: int
    stride: int
    ns: float


@dataclass(frozen=True)
class LayerTable:
    """Nanoseconds of layers on one machine."""

    layers: list[Timed]
    fixed_ns: float
    """What an inference takes beside its layers."""
    machine: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def _grids(self) -> dict[tuple, dict[tuple[int, int], float]]:
        grids: dict[tuple, dict[tuple[int, int], float]] = {}
        for row in self.layers:
            key = (row.kind, tuple(row.image), row.kernel, row.stride)
            grids.setdefault(key, {})[row.inputs, row.outputs] = row.ns
        return grids

    def layer_ns(self, shape: Shape) -> float:
        """One layer with what follows it: activation table, residual, squeeze-excitation.

        Raises:
            ExportError: if no layer of that kind, image and kernel was measured.
        """
        stride = -(-shape.image_in[0] // shape.image_out[0])
        kind = "depthwise" if shape.kind == "depthwise" else "conv"
        total = self._between(kind, shape.image_in, (shape.kernel, stride), (shape.inputs, shape.outputs))
        values = shape.image_out[0] * shape.image_out[1] * shape.outputs
        return total + values * (
            shape.table * self._per_value("silu")
            + shape.added * self._per_value("add")
            + shape.gated * (self._per_value("gate") + self._per_value("mean"))
            + shape.averaged * self._per_value("mean")
        )

    def _per_value(self, kind: str) -> float:
        (ns,) = self._grids[kind, WHOLE.image, 1, 1].values()
        return ns / (WHOLE.image[0] * WHOLE.image[1] * WHOLE.inputs)

    def _between(self, kind: str, image: tuple[int, int], window: tuple[int, int], widths: tuple[int, int]) -> float:
        grid = self._grids.get((kind, image, *window))
        if grid is None:
            raise ExportError(
                f"The table has no {kind} of {window[0]}x{window[0]}, stride {window[1]}, on {image[0]}x{image[1]} "
                "pixels; measure one with this version: hpe bench --layers --out TABLE.json."
            )
        if kind == "depthwise":
            places = sorted(inputs for inputs, _ in grid)
            return _linear(places, [grid[n, n] for n in places], widths[0])
        rows = sorted({inputs for inputs, _ in grid})
        columns = sorted({outputs for _, outputs in grid})
        along = [_linear(columns, [grid[row, column] for column in columns], widths[1]) for row in rows]
        return _linear(rows, along, widths[0])


def _linear(places: list[int], values: list[float], at: float) -> float:
    """Interpolated; beyond the ends in proportion to the last, and no less than the first."""
    if at > places[-1]:
        return values[-1] * at / places[-1]
    return float(np.interp(at, places, values))


def measure_layers(
    operators: Iterable[Operator],
    machine: dict[str, Any],
    threads: int = 1,
    report: Callable[[int], None] = lambda done: None,
) -> LayerTable:
    """Time operators on this machine, some milliseconds each; `report` is told how many are done."""
    rows = []
    for done, operator in enumerate(operators, 1):
        once, more = (_inference_ns(layer_file(operator, copies), threads) for copies in (1, COPIES))
        rows.append(Timed(**asdict(operator), ns=max((more - once) / (COPIES - 1), 1.0)))
        report(done)
    small = Operator("conv", (1, 1), 8, 8)
    once, more = (_inference_ns(layer_file(small, copies), threads) for copies in (1, COPIES))
    return LayerTable(rows, max(once - (more - once) / (COPIES - 1), 0.0), machine)


def efficientnet_operators() -> list[Operator]:
    """The shapes of an EfficientNet-B0's layers on images of 64x64, on a grid of widths."""
    images = [(64 >> n, 64 >> n) for n in range(1, 6)]
    found = [Operator(kind, WHOLE.image, WHOLE.inputs, WHOLE.inputs) for kind in ("add", "gate", "silu", "mean")]
    found += [Operator("conv", (64, 64), 3, width, 3, 2) for width in WIDTHS[:4]]
    for image in dict.fromkeys([*images, (1, 1)]):
        found += [Operator("conv", image, inputs, outputs) for inputs in WIDTHS for outputs in WIDTHS]
    for image in images[:-1]:
        found += [Operator("depthwise", image, n, n, kernel, s) for kernel in (3, 5) for s in (1, 2) for n in WIDTHS]
    return found + [Operator("depthwise", images[-1], n, n, kernel) for kernel in (3, 5) for n in WIDTHS]


def write_table(table: LayerTable, path: Path) -> Path:
    """The table as JSON; whole or not at all."""
    from export.files import write_json

    return write_json(path, {"format": FORMAT, **asdict(table)})


def read_table(path: Path) -> LayerTable:
    """What `write_table` wrote.

    Raises:
        ExportError: if the file is no such table.
    """
    try:
        values = json.loads(Path(path).read_text())
        if values["format"] != FORMAT:
            raise ValueError(f"format {values['format']}")
        rows = [Timed(**{**row, "image": tuple(row["image"])}) for row in values["layers"]]
        if not all(np.isfinite(row.ns) and row.ns > 0 for row in rows):
            raise ValueError("a time is no positive number")
        return LayerTable(rows, float(values["fixed_ns"]), dict(values["machine"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(
            f"{path}: no table of layers ({error}); make one with hpe bench --layers --out TABLE.json."
        ) from None


def _inference_ns(model: bytes, threads: int) -> float:
    """The least of some mean times of an inference."""
    from ai_edge_litert.interpreter import Interpreter

    runtime = Interpreter(model_content=model, num_threads=threads)
    runtime.allocate_tensors()
    runtime.invoke()
    runs, means = 1, []
    while len(means) < 5:
        begin = time.perf_counter_ns()
        for _ in range(runs):
            runtime.invoke()
        spent = time.perf_counter_ns() - begin
        if spent < 1_000_000 and runs < 1000:  # too short to time
            runs *= 2
            continue
        means.append(spent / runs)
    return min(means)
