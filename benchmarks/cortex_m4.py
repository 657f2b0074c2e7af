"""Compiled models on an emulated Cortex-M4: instructions, RAM and flash, beside TensorFlow Lite Micro with CMSIS-NN.

    apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm
    python benchmarks/cortex_m4.py --out benchmarks/results

Each model is compiled (gcc -O2), run in qemu-system-arm's mps2-an386 and compared with LiteRT's reference kernels, byte
for byte; instructions are exact, by layer and in all. Cycles are rough, by the rules of
export/compiler/emulator/cycles.py: they know no flash wait states. Then benchmarks/sparse_curve.py: zeros against time
and flash.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks.sparse_curve import PRUNED, measure, with_zeros
from export import load_runtime
from export.compiler import Compiled, compile_model
from export.compiler.cost import step_instructions
from export.compiler.emulator.cycles import estimate_cycles
from export.compiler.emulator.model import ModelRun, build_model, run_model
from hpe.io.environment import environment
from hpe.io.files import write_csv, write_text
from hpe.io.markdown import markdown_table
from hpe.model.zoo import resolve_model

REFERENCES = (PRUNED.parent, Path(__file__).resolve().parents[2] / "shared" / "reference" / "mlperf_tiny")
"""Where the other models of MICRO lie; those that are not there are left out."""
CLOCK_MHZ = 64
"""The Nano 33 BLE Sense's."""


@dataclass(frozen=True)
class Micro:
    """TensorFlow Lite Micro with CMSIS-NN, gcc 12.2 -O2, in the same emulator: measured once, not by this script."""

    instructions: int
    arena_bytes: int


MICRO = {
    "relu6_pruned": Micro(17_735_000, 82_372),
    "relu6_small": Micro(14_165_000, 70_788),
    "vww_96_int8": Micro(24_102_320, 100_708),
    "pretrainedResnet_quant": Micro(29_871_480, 54_996),
    "silu_se": Micro(75_254_520, 166_308),
    "hswish_se": Micro(36_011_198, 134_020),
    "relu6_se": Micro(26_137_791, 121_508),
    "relu6_nose": Micro(16_516_835, 92_548),
}
MICRO_CODE = (53, 87)
"""kB of code that TensorFlow Lite Micro adds to the model."""
MASKED = {"relu6_pruned, 75 % zeros": 0.75, "relu6_pruned, 87.5 % zeros": 0.875}
"""A network with zeros in its 1x1 layers; TensorFlow Lite Micro takes what it takes for it without them."""


@dataclass(frozen=True)
class Options:
    """Compiled models on an emulated Cortex-M4."""

    models: tyro.conf.Positional[tuple[str, ...]] = ()
    """Int8 .tflite files or names of released models; left out: all of the table that are there."""
    inputs: int = 4
    """Random inputs for the comparison with the reference kernels."""
    curve: bool = True
    """Measure zeros against time and flash, too."""
    out: Path | None = None
    """Folder for cortex_m4_qemu-mps2-an386_<yyyymm>.{csv,md}, and the sparse curve."""


@dataclass(frozen=True)
class Row:
    """One model."""

    model: str
    macs: int
    tflm_instructions: int | None
    instructions: int
    cycles: int
    tflm_arena_bytes: int | None
    ram_bytes: int
    stack_bytes: int
    tflite_bytes: int
    flash_bytes: int
    equal: str


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    with tempfile.TemporaryDirectory() as folder:
        files = chosen(options.models, Path(folder))
        measured = [measure_model(name, file, options.inputs) for name, file in files.items()]
    rows, layers = [row for row, _ in measured], [layer for _, part in measured for layer in part]
    report = markdown(rows, layers)
    print(report)
    if options.out:
        stem = options.out / f"cortex_m4_qemu-mps2-an386_{time.strftime('%Y%m')}"
        write_text(f"{stem}.md", report)
        write_csv(f"{stem}.csv", layers)
    if options.curve and not options.models:
        measure(str(PRUNED), 8, options.out)
    if any(row.equal.split("/")[0] != row.equal.split("/")[1] for row in rows):
        sys.exit("cortex_m4.py: an output differs from that of the reference kernels")


def chosen(models: tuple[str, ...], folder: Path) -> dict[str, Path]:
    """Name -> file; masked networks are written into `folder`."""
    if models:
        return {path.stem: path for path in (resolve_model(text) for text in models)}
    files = {name: resolve_model(name) for name in ("b0-nano", "b0-tiny")}
    others = {path.stem: path for place in REFERENCES for path in place.glob("*.tflite")}
    files |= {name: others[name] for name in MICRO if name in others}
    for name, share in MASKED.items():
        whole = name.split(",")[0]
        files[name] = folder / f"{whole}-{share:g}.tflite"
        files[name].write_bytes(with_zeros(files[whole].read_bytes(), share))
    return files


def measure_model(name: str, path: Path, count: int) -> tuple[Row, list[dict[str, Any]]]:
    """The model's row of the table, and a row for each of its steps."""
    runtime = load_runtime(path, reference_kernels=True)
    inputs = np.random.default_rng(0).integers(-128, 128, (count, *runtime.input_shape), dtype=np.int8)
    with tempfile.TemporaryDirectory() as folder:
        model = compile_model(path, folder)
        run = run_model(model, [image.tobytes() for image in inputs], count_steps=True)
        plain = run_model(model, [inputs[0].tobytes()])
        cycles = run_cycles(model, inputs[0].tobytes(), Path(folder))
    equal = int((run.outputs == runtime.invoke_raw(inputs).view(np.uint8)).all(axis=1).sum())
    micro = MICRO.get(name.split(",")[0])
    row = Row(
        name,
        model.macs,
        micro.instructions if micro else None,
        plain.instructions[0],
        cycles,
        micro.arena_bytes if micro else None,
        plain.ram_bytes,
        plain.stack_bytes,
        path.stat().st_size,
        plain.flash_bytes,
        f"{equal}/{count}",
    )
    return row, step_rows(name, model, run)


def run_cycles(model: Compiled, data: bytes, folder: Path) -> int:
    """Rough cycles of one run: those of a program with two, less those of one with one."""
    program = build_model(model, folder)
    return estimate_cycles(program, 2 * data).cycles - estimate_cycles(program, data).cycles


def step_rows(name: str, model: Compiled, run: ModelRun) -> list[dict[str, Any]]:
    return [
        {
            "model": name,
            "step": step.name,
            "kernel": step.kernel,
            "macs": step.macs,
            "instructions": count,
            "estimated": round(step_instructions(step)),
            "per_mac": round(count / step.macs, 2) if step.macs else "",
            "flash_bytes": step.flash,
        }
        for step, count in zip(model.steps, run.steps[0], strict=True)
    ]


def markdown(rows: list[Row], layers: list[dict[str, Any]]) -> str:
    facts = environment()
    head = ("model", "MACs", "instructions: TFLM", "compiled", "ratio", "per MAC", "cycles (rough)")
    head += (f"ms at {CLOCK_MHZ} MHz", "RAM: TFLM", "compiled", "stack", ".tflite", "flash: code + constants", "equal")
    lines = []
    for row in rows:
        ratio = f"{row.tflm_instructions / row.instructions:.1f}" if row.tflm_instructions else "-"
        counts = (_number(row.tflm_instructions), f"{row.instructions:,}", ratio, f"{row.instructions / row.macs:.2f}")
        speed = (f"{row.cycles:,}", f"{row.cycles / CLOCK_MHZ / 1000:.0f}")
        memory = (_number(row.tflm_arena_bytes), f"{row.ram_bytes:,}", f"{row.stack_bytes:,}")
        sizes = (f"{row.tflite_bytes:,}", f"{row.flash_bytes:,}", row.equal)
        lines.append((row.model, f"{row.macs:,}", *counts, *speed, *memory, *sizes))
    first = rows[0].model
    steps = []
    for layer in layers:
        if layer["model"] == first:
            cells = (layer["step"], layer["kernel"], f"{layer['macs']:,}", f"{layer['instructions']:,}")
            cells += (f"{layer['estimated'] / layer['instructions'] - 1:+.1%}",)
            steps.append((*cells, str(layer["per_mac"]), f"{layer['flash_bytes']:,}"))
    where = ", ".join(f"{key} {facts[key]}" for key in ("processor", "python", "commit"))
    return (
        "\n\n".join(
            (
                "# Compiled models on a Cortex-M4",
                f"`python benchmarks/cortex_m4.py`: qemu-system-arm mps2-an386, gcc -O2. Emulated on {where}.",
                NOTES,
                markdown_table(head, lines),
                "## The cost model against these counts",
                COST_NOTES,
                markdown_table(COST_HEAD, cost_rows(layers)),
                f"## {first}, step by step",
                markdown_table(STEP_HEAD, steps, text=2),
            )
        )
        + "\n"
    )


def cost_rows(layers: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Errors of export/compiler/cost.py: of each whole network, and of its steps."""
    rows = []
    for name in dict.fromkeys(layer["model"] for layer in layers):
        counts, guesses = (
            np.array([layer[key] for layer in layers if layer["model"] == name])
            for key in ("instructions", "estimated")
        )
        total, estimated, large = counts.sum(), guesses.sum(), counts > SHARE * counts.sum()
        errors = np.abs(guesses / counts - 1)
        cells = (f"{total:,}", f"{estimated:,}", f"{estimated / total - 1:+.2%}", f"{np.median(errors):.1%}")
        rows.append((name, *cells, f"{errors[large].max():.1%}"))
    return rows


STEP_HEAD = ("step", "kernel", "MACs", "instructions", "cost model", "per MAC", "flash")
COST_HEAD = ("model", "counted in steps", "estimated", "error", "error of a step: median", "most")
SHARE = 0.01
"""Of a network's instructions; the greatest error is that of the steps that take more."""
COST_NOTES = f"""\
`hpe profile`, `hpe footprint` and the choice of kernels estimate instructions without an emulator. The model was fitted
to these networks and three small ones; of a network left out of the fit the error is at most 1.3 %, but 4.9 % for
hswish_se, which alone multiplies by whole images. Most: among steps of more than {SHARE:.0%} of the network."""
NOTES = f"""\
- TFLM: TensorFlow Lite Micro of 2026-08 (of 2026-10 for the last four) with CMSIS-NN, same compiler, same
  emulator, measured once. It adds {MICRO_CODE[0]} to {MICRO_CODE[1]} kB of code to the .tflite; its RAM is the arena.
- compiled: the C that `hpe compile` writes. RAM: its static buffer; stack: what a run takes beside it.
- Instructions are exact. Cycles are rough, by the rules of the processor's manual, with memory that answers at once: a
  board's flash has wait states and a cache of its own, so a real board takes longer. MACs: as the network has them.
- equal: random inputs whose output is LiteRT's (reference kernels), byte for byte."""


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


if __name__ == "__main__":
    main()
